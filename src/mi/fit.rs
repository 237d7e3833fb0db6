//! A critic in training, and one that scores.

use onnx_grad::{
    AdamW, ElementType, Graph, Kernels, Optimizer, OptimizerState, Value, gradient,
    model::{self, WriteOptions},
};

use super::MiError;
use crate::{
    objective::bound::{Bound, Critic, Given},
    runtime::{self, Runtime, RuntimeError, Session, StateVariable, StepSession},
};

const PARAMS: &str = "params";
const LOG_MEAN: &str = "log_mean";
const OUTPUTS: [&str; 2] = ["loss", "estimate"];

/// A critic that is trained to raise a bound, by Adam.
pub struct Trainer {
    session: StepSession,
    optimizer: AdamW,
    learning_rate: f32,
    step: usize,
}

impl Trainer {
    /// A critic with these parameters, that takes batches of `batch` pairs.
    ///
    /// # Errors
    /// [`MiError::Graph`], [`MiError::Runtime`].
    pub fn new(
        runtime: &Runtime,
        critic: &Critic,
        parameters: &[f32],
        bound: Bound,
        batch: usize,
        learning_rate: f32,
    ) -> Result<Self, MiError> {
        // Adam is AdamW without decay
        let optimizer = AdamW { weight_decay: 0.0, ..AdamW::default() };
        let (model, state, inputs) =
            graph(critic, parameters, bound, batch, &optimizer, runtime.kernels())?;
        let session = StepSession::new(runtime, &model, &state, &inputs, &OUTPUTS)?;
        Ok(Self { session, optimizer, learning_rate, step: 0 })
    }

    /// Makes one step on `[K, width]` rows of x and y, made standard, and returns the
    /// estimate of the batch in nats before it.
    ///
    /// # Errors
    /// [`MiError::Diverged`] where the estimate is no number.
    pub fn step(&mut self, x: Vec<f32>, y: Vec<f32>) -> Result<f32, MiError> {
        let learning_rate = self.learning_rate;
        let number = self.step as u64 + 1;
        let scalars = self.optimizer.scalar_values(f64::from(learning_rate), number);
        let mut inputs = vec![x, y];
        inputs.extend(scalars.into_iter().map(|scalar| vec![scalar]));
        let &[loss, estimate] = self.session.step(inputs)?.as_slice() else {
            return Err(RuntimeError::Output { name: OUTPUTS[0].to_owned() }.into());
        };
        if !loss.is_finite() || !estimate.is_finite() {
            return Err(MiError::Diverged { estimate, step: self.step, learning_rate });
        }
        self.step += 1;
        Ok(estimate)
    }

    /// The flat parameters as they are.
    ///
    /// # Errors
    /// [`MiError::Runtime`].
    pub fn parameters(&self) -> Result<Vec<f32>, MiError> {
        Ok(self.session.state()?.into_iter().next().unwrap_or_default())
    }
}

type Plan = (Vec<u8>, Vec<StateVariable>, Vec<(&'static str, Vec<usize>)>);

fn graph(
    critic: &Critic,
    parameters: &[f32],
    bound: Bound,
    batch: usize,
    optimizer: &AdamW,
    kernels: Option<Kernels>,
) -> Result<Plan, MiError> {
    let mut g = match kernels {
        Some(kernels) => Graph::new().with_kernels(kernels),
        None => Graph::new(),
    };
    let mut states = Vec::new();
    let mut state = |g: &mut Graph, name: &str, values: Vec<f32>| {
        let value = g.input(name, ElementType::F32, &[values.len()]);
        states.push(StateVariable { name: name.to_owned(), values });
        value
    };
    let params = state(&mut g, PARAMS, parameters.to_vec());
    let zeros = vec![0.0; parameters.len()];
    let moments: Vec<Value> =
        optimizer.moments().iter().map(|name| state(&mut g, name, zeros.clone())).collect();
    let log_mean = match bound {
        Bound::Mine { .. } => Some(state(&mut g, LOG_MEAN, vec![0.0])),
        _ => None,
    };
    let mut inputs = Vec::new();
    let mut input = |g: &mut Graph, name: &'static str, shape: Vec<usize>| {
        let value = g.input(name, ElementType::F32, &shape);
        inputs.push((name, shape));
        value
    };
    let [of_x, of_y] = critic.widths();
    let x = input(&mut g, "x", vec![batch, of_x]);
    let y = input(&mut g, "y", vec![batch, of_y]);
    let scalars: Vec<Value> =
        optimizer.scalars().iter().map(|&name| input(&mut g, name, vec![])).collect();

    let bound_parameters = critic.layout().bind_flat(&mut g, params)?;
    let (scores, log_baseline) = critic.forward(&mut g, &bound_parameters, x, y)?;
    let given = Given { log_baseline, log_mean, ..Given::scores(scores) };
    let fragment = bound.fragment(&mut g, given)?;
    let grads = gradient(&mut g, fragment.loss, &[params])?;
    // not clipped: at a high truth NWJ and TUBA would then go on to critics that one
    // batch in a hundred sends below −1000 nats
    let before = OptimizerState { params, moments };
    let after = optimizer.update(&mut g, critic.layout(), &before, grads[0], &scalars)?;
    g.output(&format!("next_{PARAMS}"), after.params);
    for (name, moment) in optimizer.moments().iter().zip(after.moments) {
        g.output(&format!("next_{name}"), moment);
    }
    if let Some(log_mean) = fragment.log_mean {
        g.output(&format!("next_{LOG_MEAN}"), log_mean);
    }
    g.output(OUTPUTS[0], fragment.loss);
    g.output(OUTPUTS[1], fragment.estimate);
    Ok((model::write(&g, &WriteOptions::default())?, states, inputs))
}

/// A critic that scores batches of `k` pairs and is not trained.
pub struct Scorer {
    session: Session,
    shape: [usize; 2],
    learns_baseline: bool,
}

impl Scorer {
    /// A critic with these parameters.
    ///
    /// # Errors
    /// [`MiError::Graph`], [`MiError::Runtime`].
    pub fn new(
        runtime: &Runtime,
        critic: &Critic,
        parameters: &[f32],
        k: usize,
    ) -> Result<Self, MiError> {
        let mut g = Graph::new();
        let [of_x, of_y] = critic.widths();
        let rows = g.input("rows", ElementType::F32, &[k, of_x + of_y]);
        let sides = g.split(rows, 1, &[of_x, of_y])?;
        let parameters = critic.layout().bind_initializers(&mut g, parameters)?;
        let (scores, log_baseline) = critic.forward(&mut g, &parameters, sides[0], sides[1])?;
        g.output("scores", scores);
        if let Some(log_baseline) = log_baseline {
            g.output("log_baseline", log_baseline);
        }
        let session = runtime.session(&model::write(&g, &WriteOptions::default())?)?;
        let learns_baseline = log_baseline.is_some();
        Ok(Self { session, shape: [k, of_x + of_y], learns_baseline })
    }

    /// The scores `[K, K]` of `[K, width]` rows of x beside those of y, row by row,
    /// and ln a(y) `[K]`, empty where it is not learned.
    ///
    /// # Errors
    /// [`MiError::Runtime`].
    pub fn scores(&mut self, rows: &[f32]) -> Result<(Vec<f64>, Vec<f64>), MiError> {
        let outputs: &[&str] =
            if self.learns_baseline { &["scores", "log_baseline"] } else { &["scores"] };
        let values = runtime::run(&mut self.session, ("rows", &self.shape, rows), outputs)?;
        let mut values = values.into_iter().map(|v| v.into_iter().map(f64::from).collect());
        Ok((values.next().unwrap_or_default(), values.next().unwrap_or_default()))
    }
}
