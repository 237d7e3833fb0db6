//! Every objective in the whole of the pipeline: it learns, and a run that was killed goes
//! on as if it had not been.

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use mivox::{table, train::MetricRow};

use crate::{encoders::workplace, workplace::Workplace};

const PLANE: &str = "size = 48\npixel_mm = 4.5";
const ENCODER: &str = "dim = 32\ndepth = 1\nheads = 2\nprojection = 16";
const TRAIN: &str = "batch = 16\nlearning_rate = 3e-3\n[objective]\n";

fn metrics(place: &Workplace) -> Vec<MetricRow> {
    table::read(&place.results().join("metrics.parquet")).unwrap()
}

fn prepared() -> Workplace {
    let place = workplace(PLANE, ENCODER, TRAIN);
    for stage in ["index", "prepare", "pairs"] {
        place.run(&[stage], 0);
    }
    place
}

/// Trains the pipeline of a workplace with another objective.
fn trained(place: &Workplace, objective: &str) -> Vec<MetricRow> {
    let path = place.path("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once("[objective]").unwrap();
    fs::write(&path, format!("{before}[objective]\n{objective}\n")).unwrap();
    place.run(&["train"], 0);
    let rows = metrics(place);
    assert_eq!(rows.len(), 20, "{objective}");
    rows
}

fn mean(rows: &[MetricRow], of: impl Fn(&MetricRow) -> f32) -> f32 {
    rows.iter().map(of).sum::<f32>() / rows.len() as f32
}

#[test]
fn contrastive_objectives_raise_their_bounds() {
    let place = prepared();
    for (objective, negatives) in [
        ("kind = 'info-nce'", 15.0),
        ("sides = 'anchor'", 15.0),
        ("kind = 'nt-xent'", 30.0),
        ("kind = 'supcon'", 30.0),
        ("kind = 'moco'\nqueue_len = 32\nmomentum = 0.9", 47.0),
    ] {
        let rows = trained(&place, objective);
        let bound = |rows: &[MetricRow]| mean(rows, |row| row.bound_nats.unwrap());
        let (first, last) = (bound(&rows[..4]), bound(&rows[16..]));
        println!("{}: bound {first:.3} to {last:.3} nats", objective.replace('\n', ", "));
        assert!(last > first + 0.1, "{objective}: {first} to {last}");
        let end = &rows[19];
        assert_eq!(end.negatives, Some(negatives), "{objective}");
        assert_eq!(end.without_negatives, Some(0.0), "{objective}");
        assert!((end.ceiling_nats.unwrap() - (negatives + 1.0).ln()).abs() < 1e-5, "{objective}");
        assert!((end.bound_nats.unwrap() + end.loss - end.ceiling_nats.unwrap()).abs() < 1e-5);
    }
    // the queue of MoCo fills batch by batch
    let counts: Vec<f32> = metrics(&place)[..4].iter().map(|row| row.negatives.unwrap()).collect();
    assert_eq!(counts, [15.0, 31.0, 47.0, 47.0]);
}

#[test]
fn contexts_predict_and_slabs_are_channels() {
    let view = format!("{PLANE}\ndepth = 3\nslice_mm = 4.0\nas = 'slab'");
    let place = workplace(&view, ENCODER, TRAIN);
    let path = place.path("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    let without = format!("{text}kind = 'cpc'\n");
    fs::write(&path, &without).unwrap();
    let refused = String::from_utf8_lossy(&place.run(&["index"], 1).stderr).into_owned();
    assert!(refused.contains("pairs.context = 0.0"), "{refused}");
    // contexts alone, and beside another kind
    for (kinds, negatives) in [("augmented = 0.0", 15.0), ("augmented = 1.0", 15.0)] {
        let text = text.replace(
            "augmented = 1.0",
            &format!("{kinds}\ncontext = 1.0\nexclude_within_mm = 0.0"),
        );
        fs::write(&path, text).unwrap();
        for stage in ["index", "prepare", "pairs"] {
            place.run(&[stage], 0);
        }
        let rows = trained(&place, "kind = 'cpc'");
        let bound = |rows: &[MetricRow]| mean(rows, |row| row.bound_nats.unwrap());
        let (first, last) = (bound(&rows[..4]), bound(&rows[16..]));
        println!("cpc, {kinds}: bound {first:.3} to {last:.3} nats");
        assert!(last > first + 0.1, "{kinds}: {first} to {last}");
        assert!(rows[19].negatives.unwrap() <= negatives);
    }
    place.run(&["embed"], 0);
}

#[test]
fn each_modality_may_have_its_own_encoder_or_projector() {
    for (own, objective) in [
        ("per = 'modality'\nprojector_per = 'modality'", "kind = 'info-nce'"),
        ("per = 'modality'", "kind = 'moco'\nqueue_len = 32\nmomentum = 0.9"),
        ("projector_per = 'modality'", "kind = 'vicreg'\nexpander = 32"),
    ] {
        let place = workplace(PLANE, &format!("{ENCODER}\n{own}"), TRAIN);
        let path = place.path("pipeline.toml");
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("cross_modality = 0.0", "cross_modality = 1.0");
        fs::write(&path, &text).unwrap();
        for stage in ["index", "prepare", "pairs"] {
            place.run(&[stage], 0);
        }
        let rows = trained(&place, objective);
        let gain = |rows: &[MetricRow]| mean(rows, |row| row.bound_nats.unwrap_or(-row.loss));
        let (first, last) = (gain(&rows[..4]), gain(&rows[16..]));
        println!("{}: {first:.3} to {last:.3}", own.replace('\n', ", "));
        assert!(last > first, "{own}: {first} to {last}");
        let mut files: Vec<String> = fs::read_dir(place.results())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("encoder"))
            .collect();
        files.sort();
        assert!(
            files.len() >= 2 && files.iter().all(|name| name.starts_with("encoder-")),
            "{files:?}"
        );
        let contents = |n: usize| fs::read(place.results().join(&files[n])).unwrap();
        assert!(contents(0) != contents(1), "{own}: the towers are the same");
        place.run(&["embed"], 0);
        place.run(&["evaluate"], 0);
        // what lacks an encoder is said
        let stamp = place.results().join("stages/embed");
        fs::remove_file(stamp).unwrap();
        fs::remove_file(place.results().join(&files[0])).unwrap();
        let said = String::from_utf8_lossy(&place.run(&["embed"], 1).stderr).into_owned();
        let modality = files[0].trim_start_matches("encoder-").trim_end_matches(".onnx");
        assert!(said.contains(&format!("there is no encoder for {modality}")), "{said}");
    }
}

#[test]
fn objectives_without_negatives_lower_their_losses_and_bound_nothing() {
    let place = prepared();
    for objective in ["kind = 'vicreg'\nexpander = 32", "kind = 'barlow-twins'\nexpander = 32"] {
        let rows = trained(&place, objective);
        let (first, last) = (mean(&rows[..4], |row| row.loss), mean(&rows[16..], |row| row.loss));
        println!("{}: loss {first:.3} to {last:.3}", objective.replace('\n', ", "));
        assert!(last < 0.95 * first, "{objective}: {first} to {last}");
        let nothing = |row: &MetricRow| {
            row.bound_nats.or(row.ceiling_nats).or(row.temperature).or(row.negatives).is_none()
        };
        assert!(rows.iter().all(nothing), "{objective}");
    }
    // the expander's running averages are in the file, and it embeds
    place.run(&["embed"], 0);
}

#[test]
fn temperatures_are_learned_or_follow_their_schedule() {
    let place = prepared();
    let of = |rows: &[MetricRow]| -> Vec<f32> {
        rows.iter().map(|row| row.temperature.unwrap()).collect()
    };
    let fixed = of(&trained(&place, "temperature = 0.2"));
    assert_eq!(fixed, [0.2; 20]);
    let linear =
        trained(&place, "temperature = 0.4\ntemperature_rule = 'linear'\ntemperature_end = 0.2");
    for (step, temperature) in of(&linear).into_iter().enumerate() {
        assert!((temperature - (0.4 - 0.01 * step as f32)).abs() < 1e-5, "{step} {temperature}");
    }
    let learned = of(&trained(&place, "temperature = 0.2\ntemperature_rule = 'learned'"));
    assert!((learned[0] - 0.2).abs() < 1e-6, "{learned:?}");
    assert!(learned[19] != learned[0] && learned.iter().all(|t| (0.01..1.0).contains(t)));
    // at its limit it stays
    let least = "temperature = 0.0101\ntemperature_rule = 'learned'";
    let least = of(&trained(&place, least));
    assert!(least.iter().all(|&t| t >= 0.009_999), "{least:?}");
    println!(
        "learned: {:.4} to {:.4}; from {:.4} to {:.4}",
        learned[0], learned[19], least[0], least[19]
    );
}

#[test]
fn queue_key_encoder_and_temperature_survive_a_kill() {
    let place = prepared();
    let objective = "kind = 'moco'\nqueue_len = 64\nmomentum = 0.9\ntemperature_rule = 'learned'";
    let path = place.path("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("steps = 20", "steps = 60\ncheckpoint_every = 3");
    fs::write(&path, format!("{text}{objective}\n")).unwrap();
    let encoder = place.results().join("encoder.onnx");
    place.run(&["train"], 0);
    let in_one_go = fs::read(&encoder).unwrap();
    let told = metrics(&place);

    fs::remove_file(&encoder).unwrap();
    let checkpoint = place.results().join("train/checkpoint.safetensors");
    let mut running = place.command(&["train"]).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !checkpoint.exists() && started.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(2));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(checkpoint.exists() && !encoder.exists());
    place.run(&["train", "--resume"], 0);
    assert!(fs::read(&encoder).unwrap() == in_one_go, "the resumed encoder has other bits");
    // also what was measured, but for the time it took
    for (a, b) in told.iter().zip(metrics(&place)) {
        assert_eq!((a.loss, a.temperature, a.negatives), (b.loss, b.temperature, b.negatives));
    }
}
