//! Pairs of every kind from a phantom cohort, and what is told of cohorts that
//! have none.

use std::collections::{BTreeMap, BTreeSet};

use mivox::{
    config::{Config, Overrides},
    evaluate::EvaluationRow,
    pairing::{Changes, Kind, PairRow, Side},
    prepare::VolumeRow,
    table,
    train::MetricRow,
    view::Volumes,
};

use crate::workplace::{Pipeline, SMALL, Workplace, phantom};

const SOURCE: &str = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";

/// A workplace whose cohort is prepared.
fn prepared(sources: &str, rest: &str, words: &[&str]) -> Workplace {
    let place = Workplace::new(&Pipeline { sources, rest });
    phantom(place.folder.path(), words);
    place.run(&["index"], 0);
    place.run(&["prepare"], 0);
    place
}

fn pairs(place: &Workplace) -> Vec<PairRow> {
    table::read(&place.results().join("pairs.parquet")).unwrap()
}

fn said(output: &std::process::Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams.map(|stream| String::from_utf8_lossy(stream).into_owned()).concat()
}

/// The small pipeline with other keys in [view] and [pairs].
fn with(view: &str, pairs: &str) -> String {
    let rest = SMALL.replace("size = 48", &format!("size = 48\n{view}"));
    let start = rest.find("augmented").unwrap();
    let end = rest.find("[encoder]").unwrap();
    format!("{}{pairs}\n{}", &rest[..start], &rest[end..])
}

const ALL: &str = "augmented = 1.0\ncross_slice = 1.0\ncross_modality = 1.0\nlongitudinal = 1.0\n\
                   multi_instance = 1.0\ncontext = 1.0\nmax_pairs = 40";

#[test]
fn every_kind_says_why_it_is_one() {
    let rest = with("depth = 5\nslice_mm = 4.0\nas = 'slab'", ALL);
    // Stated to lie in a template, sessions share their world.
    let sources = format!("{SOURCE}template = 'made'\n");
    let words = ["--subjects", "4", "--sessions", "2", "--seed", "3"];
    let place = prepared(&sources, &rest, &words);
    let output = said(&place.run(&["pairs"], 0));
    assert!(output.contains("were left out by a seeded draw"), "{output}");
    let pairs = pairs(&place);
    let mut kinds: BTreeMap<&str, Vec<&PairRow>> = BTreeMap::new();
    pairs.iter().for_each(|pair| kinds.entry(&pair.kind).or_default().push(pair));
    assert_eq!(kinds.len(), Kind::ALL.len(), "{:?}", kinds.keys());
    let mut of_subject: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for pair in &pairs {
        *of_subject.entry((&pair.kind, &pair.subject)).or_default() += 1;
        assert!(pair.world.starts_with("template-made"), "{}", pair.world);
        assert!(!pair.reason.is_empty());
        let place = |side| pair.side(side).2;
        let apart = place(Side::Anchor).distance(place(Side::Positive));
        assert!((pair.distance_mm.unwrap() - apart).abs() < 1e-9);
        let one = |a: &str, b: &str| a == b;
        let series = one(&pair.anchor_series, &pair.positive_series);
        let session = one(&pair.anchor_session, &pair.positive_session);
        let modality = one(&pair.anchor_modality, &pair.positive_modality);
        let expected = match pair.kind.as_str() {
            "augmented" | "context" => series && apart == 0.0,
            "cross-slice" => series && apart > 0.0 && apart <= 6.0 + 1e-6,
            "cross-modality" => !modality && session && apart == 0.0,
            "longitudinal" => modality && !session && apart == 0.0,
            "multi-instance" => !series && session,
            _ => false,
        };
        assert!(expected, "{pair:?}");
        assert_eq!(pair.context.is_some(), pair.kind == "context");
    }
    assert!(of_subject.values().all(|&count| count <= 40), "{of_subject:?}");
    // The draw of what is left out is the seed's: the same again.
    let first = pairs.clone();
    std::fs::remove_file(place.results().join("pairs.parquet")).unwrap();
    place.run(&["pairs"], 0);
    assert_eq!(first, self::pairs(&place));
    // The sheet is drawn of what is there, and the same each time.
    let sheet = |name: &str| {
        let path = place.path(name);
        let output = said(&place.run(&["pairs", "--sheet", path.to_str().unwrap()], 0));
        assert!(output.contains("24 pairs on the sheet"), "{output}");
        std::fs::read(path).unwrap()
    };
    let picture = sheet("one.png");
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{}", picture.len());
    assert_eq!(picture, sheet("other.png"));
    // All of them through every stage; the masks reach the loss.
    for stage in ["train", "embed", "evaluate"] {
        place.run(&[stage], 0);
    }
    let metrics: Vec<MetricRow> = table::read(&place.results().join("metrics.parquet")).unwrap();
    for row in metrics {
        let negatives = row.negatives.unwrap();
        assert!((1.0..14.9).contains(&negatives), "{negatives} of 15");
    }
    let rows: Vec<EvaluationRow> =
        table::read(&place.results().join("evaluation.parquet")).unwrap();
    for kind in Kind::ALL {
        assert!(
            rows.iter().any(|row| row.pair == kind.as_str() && row.value.is_finite()),
            "{kind}"
        );
    }
}

#[test]
fn a_context_pair_shows_no_slice_to_both_sides() {
    let pairs_of = |direction: &str| {
        let keys = format!(
            "augmented = 0.0\ncross_slice = 0.0\ncross_modality = 0.0\ncontext = 1.0\n\
             context_direction = '{direction}'"
        );
        with("depth = 5\nslice_mm = 4.0\nas = 'slab'", &keys)
    };
    let words = ["--subjects", "2", "--sessions", "1", "--seed", "3"];
    for (direction, seen) in [
        ("forward", [true, true, false, false, false]),
        ("backward", [false, false, false, true, true]),
        ("both", [true, true, false, true, true]),
    ] {
        let place = prepared(SOURCE, &pairs_of(direction), &words);
        place.run(&["pairs"], 0);
        let config = Config::open(&place.path("pipeline.toml"), &Overrides::default()).unwrap();
        let rows: Vec<VolumeRow> = table::read(&place.results().join("volumes.parquet")).unwrap();
        let volumes = Volumes::open(&place.results(), rows).unwrap();
        let pairs = pairs(&place);
        let mut shown = BTreeSet::new();
        for pair in pairs.iter().step_by(pairs.len() / 40 + 1) {
            let background = volumes.get(&pair.anchor_series).unwrap().row.background;
            for side in Side::BOTH {
                let mut rng = rand::SeedableRng::seed_from_u64(4);
                let mut values = vec![f32::NAN; config.view.voxels()];
                let changes = Changes {
                    augments: &config.train.augment,
                    rng: &mut rng,
                    shared: rand::SeedableRng::seed_from_u64(5),
                };
                pair.see(side, &volumes, &config.view, Some(changes), &mut values).unwrap();
                for (n, slice) in values.chunks_exact(48 * 48).enumerate() {
                    let blank = slice.iter().all(|&value| value == background);
                    let expected = if side == Side::Anchor { seen[n] } else { n == 2 };
                    assert!(blank || expected, "{direction} {side:?} {n}");
                    if !blank {
                        shown.insert((side == Side::Anchor, n));
                    }
                }
            }
        }
        assert_eq!(shown.len(), 1 + seen.iter().filter(|&&sees| sees).count(), "{direction}");
    }
}

#[test]
fn what_a_cohort_lacks_is_counted_before_anything_is_done() {
    let only = |kind: &str| {
        let kinds =
            ["augmented", "cross_slice", "cross_modality", "longitudinal", "multi_instance"];
        let weight = |name: &&str| format!("{name} = {}.0\n", i32::from(*name == kind));
        with("", &kinds.iter().map(weight).collect::<String>())
    };
    let words = ["--subjects", "3", "--sessions", "1", "--seed", "3"];
    let place = prepared(SOURCE, &only("longitudinal"), &words);
    let output = said(&place.run(&["pairs"], 1));
    assert!(output.contains("no pair of any kind among"), "{output}");
    assert!(output.contains("3 of 3 subjects have one session only"), "{output}");
    assert!(!place.results().join("pairs.parquet").exists());

    let rewrite = |rest: &str| {
        let text = format!("out = 'results'\nkey_file = 'test.key'\nseed = 1\n{SOURCE}\n{rest}");
        std::fs::write(place.path("pipeline.toml"), text).unwrap();
    };
    // A kind of two that has no pair is a warning, and the other goes on.
    rewrite(&only("augmented").replace("longitudinal = 0.0", "longitudinal = 1.0"));
    let output = said(&place.run(&["pairs"], 0));
    assert!(output.contains("WARNING: no longitudinal pair: 3 of 3 subjects"), "{output}");

    // The weights are looked at before any file is.
    rewrite(&only("none"));
    let output = said(&place.run(&["run"], 1));
    assert!(output.contains("pairs weights") && output.contains("above 0 for one"), "{output}");

    // Two subjects are left to train on; without the others of a subject some have no negatives.
    rewrite(&only("augmented").replace("batch = 16", "batch = 2").replace(
        "augmented = 1.0",
        "augmented = 1.0\nexclude_subject = true\nmax_subject_share = 1.0",
    ));
    place.run(&["pairs"], 0);
    let output = said(&place.run(&["train"], 0));
    assert!(output.contains("have no negative under the rules of [pairs]"), "{output}");
}

#[test]
fn one_subject_is_told_and_without_negatives_refused() {
    let words = ["--subjects", "1", "--sessions", "1", "--seed", "3"];
    let keys = "augmented = 1.0\ncross_slice = 0.0\ncross_modality = 0.0\nexclude_subject = true";
    let place = prepared(SOURCE, &with("", keys), &words);
    let output = said(&place.run(&["pairs"], 0));
    assert!(output.contains("WARNING: all training pairs are of one subject"), "{output}");
    let output = said(&place.run(&["train"], 1));
    assert!(output.contains("has a negative: 1 training subject"), "{output}");
    assert!(!place.results().join("encoder.onnx").exists());
}

#[test]
fn a_batch_above_the_cohort_and_a_damaged_volume_are_refused() {
    let words = ["--subjects", "2", "--sessions", "1", "--seed", "3"];
    let place = prepared(SOURCE, &SMALL.replace("batch = 16", "batch = 8000"), &words);
    place.run(&["pairs"], 0);
    let output = said(&place.run(&["train"], 1));
    assert!(output.contains("a batch of 8000 pairs needs"), "{output}");
    assert!(output.contains("from 1 subject"), "{output}");

    let path = place.results().join("volumes.parquet");
    let mut rows: Vec<VolumeRow> = table::read(&path).unwrap();
    rows[0].background = f32::NAN;
    table::write(&path, rows, &[]).unwrap();
    std::fs::remove_file(place.results().join("pairs.parquet")).unwrap();
    let output = said(&place.run(&["pairs"], 1));
    assert!(output.contains("not finite"), "{output}");
}

#[test]
fn every_plane_goes_through_every_stage() {
    for plane in ["coronal", "sagittal"] {
        let view = format!("plane = '{plane}'");
        let keys = "augmented = 1.0\ncross_slice = 1.0\ncross_modality = 2.0";
        let place = Workplace::new(&Pipeline { sources: SOURCE, rest: &with(&view, keys) });
        phantom(place.folder.path(), &["--subjects", "3", "--sessions", "1", "--seed", "3"]);
        place.run(&["run"], 0);
        let pairs = pairs(&place);
        let (axis, other) = if plane == "coronal" { (1, 0) } else { (0, 1) };
        let neighbours: Vec<_> = pairs.iter().filter(|pair| pair.is(Kind::CrossSlice)).collect();
        assert!(neighbours.len() > 100);
        for pair in neighbours {
            assert!((pair.anchor_mm[axis] - pair.positive_mm[axis]).abs() > 1.0);
            assert_eq!(pair.anchor_mm[other], pair.positive_mm[other]);
            assert_eq!(pair.anchor_mm[2], pair.positive_mm[2]);
        }
        let rows: Vec<mivox::embed::EmbeddingRow> =
            table::read(&place.results().join("embeddings/part-00000.parquet")).unwrap();
        let first = &rows.iter().find(|row| row.level == "volume").unwrap().series;
        let places: Vec<f64> = rows
            .iter()
            .filter(|row| row.level == "slice" && row.series == *first)
            .map(|row| if plane == "coronal" { -row.y_mm } else { row.x_mm })
            .collect();
        assert!(places.len() > 20 && places.windows(2).all(|pair| pair[0] < pair[1]));
        // An encoder of one plane does not embed another.
        let text = std::fs::read_to_string(place.path("pipeline.toml")).unwrap();
        let axial = text.replace(&view, "plane = 'axial'");
        std::fs::write(place.path("pipeline.toml"), axial).unwrap();
        let output = said(&place.run(&["embed"], 1));
        assert!(output.contains("another recipe"), "{output}");
    }
}
