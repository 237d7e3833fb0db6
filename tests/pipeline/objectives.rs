//! Every objective against PyTorch's numbers, and against itself written plainly.

mod plain;
mod runs;

use mivox::{
    objective::{Inputs, Objective, Prediction, Queue, Sides},
    runtime::{Device, Runtime, StateVariable, StepSession},
};
use onnx_grad::{ElementType, Graph, gradient, model};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

/// What a loss is computed from, and what PyTorch made of it.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub struct Case {
    pub name: String,
    pub width: usize,
    /// 0 stands for 1.
    pub places: usize,
    pub temperature: f64,
    pub anchors: Vec<f64>,
    pub positives: Vec<f64>,
    pub targets: Vec<f64>,
    pub allowed: Vec<f64>,
    pub queue: Vec<f64>,
    pub allowed_queue: Vec<f64>,
    pub weight: Vec<f64>,
    pub context: Vec<f64>,
    pub loss: f64,
    pub gradient: Vec<f64>,
}

/// What a graph gives.
struct Given {
    loss: f64,
    /// By the anchors, the positives and the matrix of CPC.
    gradient: Vec<f64>,
    /// Ceiling, negatives and rows without any.
    candidates: Option<[f64; 3]>,
}

fn objective(name: &str) -> Objective {
    let first = name.split(' ').next().unwrap();
    match first {
        "info-nce" if name.contains("anchor") => Objective::InfoNce { sides: Sides::Anchor },
        "info-nce" => Objective::InfoNce { sides: Sides::Both },
        "nt-xent" => Objective::NtXent,
        "supcon" => Objective::SupCon,
        "moco" => Objective::Moco { queue_len: 0, momentum: 0.9 },
        "cpc" => Objective::Cpc,
        "vicreg" => Objective::VicReg { invariance: 25.0, variance: 25.0, covariance: 1.0 },
        "barlow-twins" => Objective::BarlowTwins { redundancy: 5e-3 },
        _ => panic!("{name}"),
    }
}

/// Runs the loss and its gradient through ONNX Runtime: what is differentiated is the
/// state, and its next value is its gradient.
fn run(runtime: &Runtime, case: &Case) -> Given {
    let mut g = Graph::new();
    let width = case.width;
    let count = case.anchors.len() / width;
    let queue_len = case.queue.len() / width;
    let mut state = Vec::new();
    let mut flat = Vec::new();
    for (name, values) in
        [("anchors", &case.anchors), ("positives", &case.positives), ("weight", &case.weight)]
    {
        if !values.is_empty() {
            flat.push(g.input(name, ElementType::F32, &[values.len()]));
            let values = values.iter().map(|&v| v as f32).collect();
            state.push(StateVariable { name: name.to_owned(), values });
        }
    }
    let mut inputs: Vec<(&str, Vec<usize>)> = Vec::new();
    let mut fed: Vec<Vec<f32>> = Vec::new();
    let mut given = Vec::new();
    for (name, shape, values) in [
        ("targets", vec![count, count], &case.targets),
        ("allowed", vec![count, count], &case.allowed),
        ("temperature", vec![], &vec![case.temperature]),
        ("queue", vec![queue_len, width], &case.queue),
        ("allowed_queue", vec![count, queue_len], &case.allowed_queue),
        ("context", vec![count, 1], &case.context),
    ] {
        if values.is_empty() {
            continue;
        }
        given.push(g.input(name, ElementType::F32, &shape));
        inputs.push((name, shape));
        fed.push(values.iter().map(|&v| v as f32).collect());
    }
    let anchors = g.reshape(flat[0], &[count, width]).unwrap();
    let positives = g.reshape(flat[1], &[count, width]).unwrap();
    let queue = (!case.queue.is_empty()).then(|| Queue { keys: given[3], allowed: given[4] });
    let prediction = (!case.weight.is_empty()).then(|| Prediction {
        weight: g.reshape(flat[2], &[width, width]).unwrap(),
        context: given[3],
    });
    let what = Inputs {
        anchors,
        positives,
        targets: given[0],
        allowed: given[1],
        temperature: given[2],
        queue,
        prediction,
        places: case.places.max(1),
    };
    let loss = objective(&case.name).loss(&mut g, &what).unwrap();
    let gradients = gradient(&mut g, loss.loss, &flat).unwrap();
    for (variable, gradient) in state.iter().zip(gradients) {
        g.output(&format!("next_{}", variable.name), gradient);
    }
    let mut outputs = vec!["loss"];
    g.output("loss", loss.loss);
    if let Some(candidates) = loss.candidates {
        g.output("ceiling", candidates.ceiling);
        g.output("negatives", candidates.negatives);
        g.output("alone", candidates.alone);
        outputs.extend(["ceiling", "negatives", "alone"]);
    }
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let mut session = StepSession::new(runtime, &bytes, &state, &inputs, &outputs).unwrap();
    let values: Vec<f64> = session.step(fed).unwrap().into_iter().map(f64::from).collect();
    let gradient = session.state().unwrap().concat().into_iter().map(f64::from).collect();
    let candidates = values.get(1..4).map(|v| [v[0], v[1], v[2]]);
    Given { loss: values[0], gradient, candidates }
}

fn close(name: &str, what: &str, given: f64, wanted: f64, within: f64) {
    let error = (given - wanted).abs() / wanted.abs().max(1.0);
    assert!(error <= within, "{name}: {what} {given} where {wanted} is wanted, off by {error:e}");
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let text = std::fs::read_to_string("tests/fixtures/objectives/golden.json").unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 16);
    let runtime = Runtime::open(Device::Cpu, 1).unwrap();
    let mut worst: f64 = 0.0;
    for case in &cases {
        let given = run(&runtime, case);
        close(&case.name, "loss", given.loss, case.loss, 1e-5);
        assert_eq!(given.gradient.len(), case.gradient.len(), "{}", case.name);
        for (&given, &wanted) in given.gradient.iter().zip(&case.gradient) {
            close(&case.name, "gradient", given, wanted, 1e-5);
            worst = worst.max((given - wanted).abs());
        }
    }
    println!("{} cases, largest difference of a gradient {worst:.1e}", cases.len());
}

/// Random projections, targets, masks and what else an objective is given.
fn random(name: &str, seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (count, width, queue_len) = (7, 4, 14);
    let mut draw = |n: usize| -> Vec<f64> {
        (0..n).map(|_| f64::from(rng.random_range(-1.0f32..1.0))).collect()
    };
    let (anchors, positives, keys) =
        (draw(count * width), draw(count * width), draw(queue_len * width));
    let weight = draw(width * width);
    let chances = draw(2 * count * count + count * queue_len);
    let mut targets = vec![0.0; count * count];
    let mut allowed = vec![1.0; count * count];
    for row in 0..count {
        for column in 0..count {
            let at = row * count + column;
            let share = if row == column { 1.0 } else { (chances[at] - 0.6).max(0.0) };
            targets[at] = share;
            allowed[at] = f64::from(u8::from(share > 0.0 || chances[count * count + at] < 0.5));
        }
        let row = &mut targets[row * count..(row + 1) * count];
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|share| *share = f64::from((*share / sum) as f32));
    }
    let mut case = Case {
        name: name.to_owned(),
        width,
        temperature: 0.25,
        anchors,
        positives,
        targets,
        allowed,
        ..Case::default()
    };
    match name {
        _ if name.ends_with("places") => case.places = 2,
        "moco" => {
            case.queue =
                keys.chunks(width).flat_map(plain::unit).map(|v| f64::from(v as f32)).collect();
            let chances = &chances[2 * count * count..];
            case.allowed_queue = chances.iter().map(|&c| f64::from(u8::from(c < 0.7))).collect();
        }
        "cpc" => {
            case.weight = weight;
            case.context = (0..count).map(|n| (n % 2) as f64).collect();
        }
        _ => {}
    }
    case
}

const NAMES: [&str; 10] = [
    "info-nce both",
    "info-nce anchor",
    "info-nce both places",
    "info-nce anchor places",
    "nt-xent",
    "supcon",
    "moco",
    "cpc",
    "vicreg",
    "barlow-twins",
];

#[test]
fn losses_and_gradients_are_those_of_the_plain_formulas() {
    let runtime = Runtime::open(Device::Cpu, 1).unwrap();
    for name in NAMES {
        for seed in 1..=3 {
            let case = random(name, seed);
            let given = run(&runtime, &case);
            let (loss, candidates) = plain::loss(&case);
            close(name, "loss", given.loss, loss, 1e-5);
            assert_eq!(given.candidates.is_some(), candidates.is_some(), "{name}");
            for (given, wanted) in
                given.candidates.iter().flatten().zip(candidates.iter().flatten())
            {
                close(name, "candidates", *given, *wanted, 1e-5);
            }
            let differences = plain::differences(&case);
            assert_eq!(given.gradient.len(), differences.len(), "{name}");
            for (&given, &wanted) in given.gradient.iter().zip(&differences) {
                close(name, "gradient", given, wanted, 2e-5);
            }
        }
    }
}

#[test]
fn a_row_without_negatives_counts_nothing_and_is_counted() {
    let runtime = Runtime::open(Device::Cpu, 1).unwrap();
    for name in ["info-nce both", "info-nce anchor", "moco", "cpc"] {
        let mut case = random(name, 4);
        let count = case.anchors.len() / case.width;
        case.targets = vec![0.0; count * count];
        case.targets.iter_mut().step_by(count + 1).for_each(|share| *share = 1.0);
        // only what shares the mass may stand
        case.allowed.fill(0.0);
        case.allowed_queue.fill(0.0);
        let given = run(&runtime, &case);
        assert_eq!(given.loss.abs(), 0.0, "{name}");
        assert!(given.gradient.iter().all(|&v| v == 0.0), "{name}");
        assert_eq!(given.candidates.unwrap(), [0.0, 0.0, count as f64], "{name}");
    }
}

#[test]
fn at_chance_the_bound_is_nothing() {
    let runtime = Runtime::open(Device::Cpu, 1).unwrap();
    for name in ["info-nce both", "info-nce anchor", "nt-xent", "supcon", "moco", "cpc"] {
        let mut case = random(name, 5);
        let count = case.anchors.len() / case.width;
        // all projections alike, also the queue's
        let one = [1.0, 0.0, 0.0, 0.0];
        for rows in [&mut case.anchors, &mut case.positives, &mut case.queue] {
            rows.chunks_mut(4).for_each(|row| row.copy_from_slice(&one));
        }
        if name == "cpc" {
            case.weight = (0..16).map(|n| f64::from(u8::from(n % 5 == 0))).collect();
        }
        case.targets = vec![0.0; count * count];
        case.targets.iter_mut().step_by(count + 1).for_each(|share| *share = 1.0);
        let given = run(&runtime, &case);
        let [ceiling, _, _] = given.candidates.unwrap();
        assert!((ceiling - given.loss).abs() < 1e-5, "{name}: {ceiling} {}", given.loss);
    }
}
