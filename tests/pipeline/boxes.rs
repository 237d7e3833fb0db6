//! Views of several slices, from the pipeline file to embeddings and evaluation.

use mivox::{
    config::{Config, Overrides},
    embed::{Embedder, EmbeddingRow, Request, embed_all},
    encoder,
    evaluate::evaluate,
    pairing::{PairRow, Split},
    prepare::VolumeRow,
    progress::Progress,
    runtime::Runtime,
    table,
    view::{Settings, Volumes},
};
use onnx_grad::{ElementType, Graph, model};

use crate::workplace::{Pipeline, SMALL, Workplace, phantom};

const DEPTH: usize = 6;

/// An encoder whose embedding is the mean of each slice of a box.
fn slice_means(view: &Settings, recipe: &str) -> Vec<u8> {
    let mut g = Graph::new();
    let views = g.input(encoder::INPUT, ElementType::F32, &view.shape(2));
    let means = g.reduce_mean(views, &[1, 3, 4], false).unwrap();
    g.output(encoder::EMBEDDING, means);
    let two = g.scalar(2.0);
    let projection = g.mul(means, two).unwrap();
    g.output(encoder::PROJECTION, projection);
    let options = model::WriteOptions {
        metadata: vec![(encoder::RECIPE.to_owned(), recipe.to_owned())],
        dynamic_batch: Some("N".to_owned()),
        ..model::WriteOptions::default()
    };
    model::write(&g, &options).unwrap()
}

#[test]
fn boxes_are_paired_embedded_and_evaluated() {
    // As far apart as the prepared slices: neighbouring boxes share all but one.
    let view = format!("[view]\ndepth = {DEPTH}\nslice_mm = 4.0");
    let rest = SMALL.replace("[view]", &view);
    let sources = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    let place = Workplace::new(&Pipeline { sources, rest: &rest });
    phantom(place.folder.path(), &["--subjects", "4", "--sessions", "1", "--seed", "3"]);
    // The transformer sees planes, and says so before anything is done.
    let refused = place.run(&["run"], 1);
    assert!(!place.results().join("cohort.parquet").exists());
    for stage in ["index", "prepare", "pairs"] {
        place.run(&[stage], 0);
    }
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("or view.as = \"slab\"; received view.depth = 6"), "{said}");

    let config = Config::open(&place.path("pipeline.toml"), &Overrides::default()).unwrap();
    let pairs: Vec<PairRow> = table::read(&place.results().join("pairs.parquet")).unwrap();
    let rows: Vec<VolumeRow> = table::read(&place.results().join("volumes.parquet")).unwrap();
    let subjects = rows.iter().map(|row| (row.source.as_str(), row.subject.as_str()));
    let split = Split::new(subjects, config.pairs.held_out, config.seed);
    let volumes = Volumes::open(&place.results(), rows.clone()).unwrap();
    let runtime = Runtime::open(config.device, 1).unwrap();
    let bytes = slice_means(&config.view, &config.recipe());
    let mut embedder = Embedder::new(&runtime, &bytes, &config.recipe()).unwrap();
    assert_eq!(embedder.dim(), DEPTH);

    let folder = place.path("embeddings");
    let request = Request {
        volumes: volumes.all(),
        view: &config.view,
        min_body_share: config.pairs.min_body_share,
        split: &split,
        folder: &folder,
        metadata: vec![],
    };
    let progress = Progress::new("embed", "volumes", rows.len());
    assert!(embed_all(&mut embedder, &request, &progress).unwrap().complete);
    let embedded: Vec<EmbeddingRow> = table::read(&folder.join("part-00000.parquet")).unwrap();
    let slices: Vec<_> = embedded.iter().filter(|row| row.level == "slice").collect();
    assert!(slices.len() > 100, "{}", slices.len());
    assert!(slices.iter().all(|row| row.foreground > 0.0 && row.foreground <= 1.0));

    let (mut compared, mut moved) = (0, 0);
    for volume in volumes.all() {
        let shares = volume.body_shares(&config.view);
        let stack = volume.stack(config.view.plane);
        let in_table = slices.iter().filter(|row| row.series == volume.row.series).count();
        assert_eq!(in_table, shares.iter().filter(|&&share| share > 0.0).count());
        let (means, _) = embedder
            .embed(&config.view, &volume.row.modality, shares.len(), |k, values| {
                volume.sample(&config.view.grid(stack.centre_mm(k)), values);
            })
            .unwrap();
        let means: Vec<&[f32]> = means.chunks_exact(DEPTH).collect();
        for pair in means.windows(2) {
            // What one box sees in its second slice, the next one sees in its first.
            for (lower, upper) in pair[0][1..].iter().zip(pair[1]) {
                assert!((lower - upper).abs() < 1e-4, "{pair:?}");
                compared += 1;
            }
            moved += usize::from((pair[0][0] - pair[1][0]).abs() > 1e-3);
        }
    }
    assert!(compared > 500 && moved > 100, "{compared} {moved}");

    let rows =
        evaluate(&mut embedder, "means", &volumes, &pairs, &config.view, &config.evaluate).unwrap();
    let metrics = ["bound_nats", "retrieval_top1", "alignment", "uniformity", "rank_me"];
    for metric in metrics {
        let row = rows.iter().find(|row| row.metric == metric).unwrap();
        assert!(row.value.is_finite() && row.count > 0, "{metric}");
    }
}
