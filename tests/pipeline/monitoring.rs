//! Watching changes nothing, and what is wrong with a run is told, by an exit code
//! too.

use std::fs;

use mivox::{
    table,
    train::{MetricRow, monitor::Alarm},
};

use crate::workplace::{Pipeline, SMALL, Workplace, phantom};

/// A phantom of so many subjects, prepared, with pairs.
fn workplace(subjects: usize, rest: &str) -> Workplace {
    let sources = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    let place = Workplace::new(&Pipeline { sources, rest });
    let subjects = subjects.to_string();
    phantom(place.folder.path(), &["--subjects", &subjects, "--sessions", "1", "--seed", "5"]);
    for stage in ["index", "prepare", "pairs"] {
        place.run(&[stage], 0);
    }
    place
}

fn metrics(place: &Workplace) -> Vec<MetricRow> {
    table::read(&place.results().join("metrics.parquet")).unwrap()
}

/// Names of the alarms and steps.
fn alarms(rows: &[MetricRow]) -> Vec<(String, u32)> {
    rows.iter().filter_map(|row| Some((row.alarms.clone()?, row.step))).collect()
}

/// Other words in the pipeline.
fn change(place: &Workplace, from: &str, to: &str) {
    let path = place.path("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn event_files(place: &Workplace) -> usize {
    fs::read_dir(place.results().join("train/tensorboard")).map_or(0, Iterator::count)
}

#[test]
fn a_run_gives_the_same_bits_whether_it_is_watched_or_not() {
    let watched = "[monitor]\nevery = 2\nprobe = 32\n";
    let place = workplace(8, &format!("{SMALL}{watched}"));
    let encoder = place.results().join("encoder.onnx");
    place.run(&["train"], 0);
    let bits = fs::read(&encoder).unwrap();

    let rows = metrics(&place);
    let looks: Vec<u32> = rows.iter().filter(|r| r.rank_me.is_some()).map(|r| r.step).collect();
    assert_eq!(looks, [1, 3, 5]);
    for row in &rows {
        // Fewer where near slices of one subject are excluded.
        assert!(row.negatives.is_some_and(|count| (1.0..=15.0).contains(&count)), "{row:?}");
        assert!(row.temperature.is_some_and(|t| (t - 0.1).abs() < 1e-6));
        let ceiling = row.ceiling_nats.unwrap();
        assert!((0.0..=16f32.ln() + 1e-5).contains(&ceiling), "{ceiling}");
        assert_eq!(row.held_out_bound_nats.is_some(), row.rank_me.is_some());
        if let (Some(nats), Some(control)) = (row.held_out_bound_nats, row.control_nats) {
            assert!(nats <= row.look_ceiling_nats.unwrap());
            // 32 pairs of chance.
            assert!((0.0..0.1).contains(&control), "{control}");
        }
        assert!(row.rank_me.is_none_or(|rank| (1.0..=32.0).contains(&rank)));
    }
    assert_eq!(event_files(&place), 1);

    fs::remove_file(&encoder).unwrap();
    change(&place, watched, "[monitor]\nevery = 0\ntensorboard = false\n");
    place.run(&["train"], 0);
    assert!(fs::read(&encoder).unwrap() == bits, "the monitor changed the encoder");
    let alone = metrics(&place);
    assert!(alone.iter().all(|row| row.rank_me.is_none() && row.look_seconds.is_none()));
    let losses = |rows: &[MetricRow]| rows.iter().map(|row| row.loss).collect::<Vec<_>>();
    assert_eq!(losses(&alone), losses(&rows));
}

#[test]
fn a_strict_run_stops_with_its_state_saved_and_goes_on_where_told() {
    let rest = SMALL
        .replace("[train]", "[objective]\ntemperature = 100.0\n[train]")
        .replace("steps = 6", "steps = 16");
    let place = workplace(4, &format!("{rest}[monitor]\nevery = 4\nprobe = 16\n"));
    let (encoder, checkpoint) = ("encoder.onnx", "train/checkpoint.safetensors");
    let there = |name: &str| place.results().join(name).exists();

    let stopped = place.run(&["train", "--strict"], 3);
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(said.contains("nothing-learned at step 9") && said.contains("--strict"), "{said}");
    assert!(said.contains("Usual causes"), "no advice: {said}");
    let rows = metrics(&place);
    assert_eq!(rows.len(), 10);
    assert_eq!(alarms(&rows), [("nothing-learned".to_owned(), 9)]);
    assert!(there(checkpoint) && !there(encoder));

    // The same again makes no step more: who starts it over must not pass the alarm.
    place.run(&["train", "--strict", "--resume"], 3);
    assert_eq!(metrics(&place).len(), 10);

    // Without --strict it goes on, and the alarm is told once.
    let done = place.run(&["train", "--resume"], 0);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains("WARNING: nothing-learned at step 9"), "{said}");
    let rows = metrics(&place);
    assert_eq!(rows.len(), 16);
    assert_eq!(alarms(&rows), [("nothing-learned".to_owned(), 9)]);
    assert!(there(encoder));
    assert_eq!(event_files(&place), 3, "one for each time it was begun or gone on with");

    // A finished run with an alarm fails a strict one, unless the alarm is silenced.
    place.run(&["run", "--strict"], 3);
    change(&place, "probe = 16", "probe = 16\nsilence = ['nothing-learned']");
    place.run(&["train", "--strict"], 0);
}

#[test]
fn weights_that_decay_away_make_the_embeddings_a_line() {
    let decay = "1.0\nweight_decay = 0.9";
    let rest = SMALL.replace("1e-3", decay).replace("steps = 6", "steps = 12");
    let place = workplace(4, &format!("{rest}[monitor]\nevery = 4\nprobe = 32\n"));
    place.run(&["train", "--strict"], 3);
    let rows = metrics(&place);
    let first = alarms(&rows).into_iter().next().unwrap().0;
    assert_eq!(first, Alarm::Collapse.as_str(), "{:?}", rows.last());
    assert!(rows.last().unwrap().rank_me.unwrap() < 1.5);
}

/// Four subjects, seen without augmentation so long that they are known by heart.
fn by_heart(rest: &str) -> Workplace {
    let few = "[pairs]\nheld_out = 0.75\naugmented = 0.0\ncross_slice = 0.0";
    let still = "[augment]\nshift_mm = 0.0\nrotate_deg = 0.0\nscale = 0.0\ncontrast = 0.0\n\
                 brightness = 0.0\nnoise = 0.0\n[monitor]\nevery = 25\n";
    let small = SMALL
        .replace("[pairs]\naugmented = 0.5\ncross_slice = 0.5", few)
        .replace("steps = 6", "steps = 250")
        .replace("batch = 16", "batch = 24")
        .replace("warmup = 2", "warmup = 5")
        .replace("learning_rate = 1e-3", "learning_rate = 3e-3")
        .replace("size = 48\npixel_mm = 4.5", "size = 32\npixel_mm = 6.5");
    workplace(16, &format!("{small}{still}{rest}"))
}

#[test]
fn few_subjects_learned_by_heart_are_told() {
    let place = by_heart("");
    let stopped = place.run(&["train", "--strict"], 3);
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(said.contains("WARNING overfitting") && said.contains("held-out"), "{said}");
    let rows = metrics(&place);
    let last = rows.last().unwrap();
    assert_eq!(last.alarms.as_deref(), Some("overfitting"));
    let best = rows.iter().filter_map(|row| row.held_out_bound_nats).fold(f32::MIN, f32::max);
    assert!(last.held_out_bound_nats.unwrap() < best - 0.1);
}

#[test]
fn a_learned_temperature_that_meets_its_limit_is_told() {
    let learned = "silence = ['overfitting']\n\
                   [objective]\ntemperature = 0.011\ntemperature_rule = 'learned'\n";
    let place = by_heart(learned);
    change(&place, "learning_rate = 3e-3", "learning_rate = 1e-2");
    let stopped = place.run(&["train", "--strict"], 3);
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(said.contains("WARNING temperature-at-limit"), "{said}");
    let rows = metrics(&place);
    assert!(rows.last().unwrap().temperature.unwrap() < 0.010_02, "{:?}", rows.last());
}

#[test]
fn a_loss_that_is_no_number_is_an_error_and_its_steps_are_kept() {
    // A decay of 10 at a rate of 10 takes the parameters times −99 a step.
    let rest = SMALL
        .replace("1e-3", "10.0\nweight_decay = 10.0\noptimizer = 'sgd'\nclip_norm = 1e9")
        .replace("steps = 6", "steps = 200");
    let place = workplace(4, &format!("{rest}[monitor]\nevery = 0\n"));
    let failed = place.run(&["train"], 1);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("the loss became"), "{said}");
    let rows = metrics(&place);
    assert!(!rows.last().unwrap().loss.is_finite(), "{:?}", rows.last());
    assert!(rows.len() < 200);
    assert!(rows[..rows.len() - 1].iter().all(|row| row.loss.is_finite()));
}
