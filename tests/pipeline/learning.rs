//! The encoder learns: on held-out subjects it beats itself untrained.

use mivox::{evaluate::EvaluationRow, table};

use crate::workplace::{Pipeline, SMALL, Workplace, phantom};

const PIPELINE: &str = r#"
[prepare]
spacing_mm = [4.0, 4.0, 4.0]
[view]
size = 48
pixel_mm = 4.5
[pairs]
augmented = 0.0
cross_slice = 0.0
cross_modality = 1.0
held_out = 0.3
[augment]
shift_mm = 4.0
rotate_deg = 4.0
scale = 0.03
[encoder]
patch = 8
dim = 64
depth = 2
heads = 4
projection = 32
[train]
steps = 300
batch = 48
warmup = 30
learning_rate = 1e-3
"#;

fn value(rows: &[EvaluationRow], metric: &str, pair: &str, encoder: &str) -> f64 {
    rows.iter()
        .find(|row| row.metric == metric && row.pair == pair && row.encoder == encoder)
        .unwrap_or_else(|| panic!("{metric} {pair} {encoder} is not in the table"))
        .value
}

#[test]
fn retrieval_and_bound_beat_the_untrained_encoder_over_three_seeds() {
    for seed in 1..=3 {
        let rest = format!("{PIPELINE}\n");
        let sources = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
        let place = Workplace::new(&Pipeline { sources, rest: &rest });
        phantom(
            place.folder.path(),
            &["--subjects", "16", "--sessions", "1", "--seed", &seed.to_string()],
        );
        // The pipeline's own seed too: split, parameters and draws.
        let path = place.path("pipeline.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("seed = 1\n", &format!("seed = {seed}\n"))).unwrap();
        place.run(&["run"], 0);
        let rows: Vec<EvaluationRow> =
            table::read(&place.results().join("evaluation.parquet")).unwrap();
        let of = |metric, pair, encoder| value(&rows, metric, pair, encoder);
        let found = of("retrieval_top1", "all", "trained");
        let untrained = of("retrieval_top1", "all", "untrained");
        let bound = of("bound_nats", "cross-modality", "trained");
        let bound_untrained = of("bound_nats", "cross-modality", "untrained");
        println!(
            "seed {seed}: retrieval {found:.3} ({untrained:.3} untrained), \
             bound {bound:.3} nats ({bound_untrained:.3} untrained)"
        );
        assert!(found > untrained + 0.15, "seed {seed}: {found} against {untrained}");
        assert!(bound > bound_untrained + 0.7, "seed {seed}: {bound} against {bound_untrained}");
    }
}

#[test]
fn a_bound_that_stays_at_zero_is_told_aloud() {
    // At this temperature all logits are nearly equal: loss = ln K.
    let rest = SMALL
        .replace("[train]", "[objective]\ntemperature = 100.0\n[train]")
        .replace("steps = 6", "steps = 12");
    let sources = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    let place = Workplace::new(&Pipeline { sources, rest: &rest });
    phantom(place.folder.path(), &["--subjects", "4", "--sessions", "1"]);
    let said = String::from_utf8_lossy(&place.run(&["run"], 0).stderr).into_owned();
    assert!(said.contains("WARNING nothing-learned at step "), "{said}");
}
