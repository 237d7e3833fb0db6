//! What the encoder maximises: bounds on the information between two views, or
//! what takes their place without negatives.

mod barlow_twins;
pub mod bound;
mod cpc;
mod cross_entropy;
mod info_nce;
mod moco;
mod temperature;
mod two_views;
mod vicreg;

use onnx_grad::{Error, Graph, Parameter, Value};
use serde::Serialize;

pub use cpc::Prediction;
pub use cross_entropy::Candidates;
pub use info_nce::{Sides, info_nce_bound, info_nce_bound_of_places};
pub use moco::{Queue, keys};
pub use temperature::{LARGEST_LOG_SCALE, Shape, Temperature, of_log_scale};

/// The objective as a pipeline sets it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    /// What is minimised.
    pub kind: Objective,
    /// What scores are divided by, where there are scores.
    pub temperature: Temperature,
}

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Objective {
    /// Every anchor picks its positive among the positives of the batch.
    InfoNce {
        /// Whether the positives pick their anchors too.
        sides: Sides,
    },
    /// Every view picks its other view among all other views of the batch.
    NtXent,
    /// As NT-Xent, with all views of the same anatomy as positives.
    SupCon,
    /// Every anchor picks its key among those of the batch and of a queue; keys come
    /// from an encoder that follows slowly.
    Moco {
        /// Keys of earlier batches, Q.
        queue_len: usize,
        /// Share of itself that the key encoder keeps in a step.
        momentum: f32,
    },
    /// As InfoNCE from the anchor's side, where a context predicts what it leaves out
    /// through a matrix of its own.
    Cpc,
    /// Pairs alike, every number spread over the batch, no two numbers alike.
    VicReg {
        /// Weight of the distance of pairs, λ.
        invariance: f32,
        /// Weight of the spread, μ.
        variance: f32,
        /// Weight of the covariances, ν.
        covariance: f32,
    },
    /// The correlation of the two sides' numbers is to be the identity.
    BarlowTwins {
        /// Weight of what lies off the diagonal, λ.
        redundancy: f32,
    },
}

/// What a loss is computed from, as values of a graph.
#[derive(Debug, Clone, Copy)]
pub struct Inputs {
    /// Projections of the anchors, `[K, P]`.
    pub anchors: Value,
    /// Projections of the positives, `[K, P]`.
    pub positives: Value,
    /// `[K, K]`: what share of row i's positive mass positive j has; rows sum to 1.
    pub targets: Value,
    /// `[K, K]`: 1 where positive j may stand against anchor i, else 0; what has a
    /// share of the positive mass always may.
    pub allowed: Value,
    /// What scores are divided by, a scalar.
    pub temperature: Value,
    /// The queue of MoCo; without it the batch's own keys are all there are.
    pub queue: Option<Queue>,
    /// How CPC predicts; without it every anchor stands for itself.
    pub prediction: Option<Prediction>,
    /// Places that a projection tells of one by one, L: P is then L times as wide as what
    /// is told of a place. More than 1 for InfoNCE alone.
    pub places: usize,
}

impl Inputs {
    /// Projections of pairs `[K, P]` alone, all that objectives without negatives read.
    pub fn of_projections(g: &mut Graph, anchors: Value, positives: Value) -> Self {
        let unread = g.scalar(1.0);
        let (targets, allowed, temperature) = (unread, unread, unread);
        Self {
            anchors,
            positives,
            targets,
            allowed,
            temperature,
            queue: None,
            prediction: None,
            places: 1,
        }
    }
}

/// A loss in a graph.
#[derive(Debug, Clone, Copy)]
pub struct Loss {
    /// What is minimised, a scalar.
    pub loss: Value,
    /// What its bound on the information is read from; `None` where it bounds nothing.
    pub candidates: Option<Candidates>,
}

impl Objective {
    /// The loss, a function of the projections and of what is said of the pairs
    /// alone, so that it can stand in a graph of its own.
    ///
    /// # Errors
    /// [`Error`] where the shapes differ.
    pub fn loss(&self, g: &mut Graph, inputs: &Inputs) -> Result<Loss, Error> {
        match *self {
            Self::InfoNce { sides } => info_nce::info_nce(g, inputs, sides),
            Self::NtXent => two_views::nt_xent(g, inputs),
            Self::SupCon => two_views::sup_con(g, inputs),
            Self::Moco { .. } => moco::moco(g, inputs),
            Self::Cpc => cpc::cpc(g, inputs),
            Self::VicReg { invariance, variance, covariance } => {
                vicreg::vicreg(g, inputs, [invariance, variance, covariance])
            }
            Self::BarlowTwins { redundancy } => barlow_twins::barlow_twins(g, inputs, redundancy),
        }
    }

    /// Keys of earlier batches that stand as negatives beside the batch.
    pub fn queue_len(&self) -> usize {
        match *self {
            Self::Moco { queue_len, .. } => queue_len,
            _ => 0,
        }
    }

    /// Whether it can tell pairs apart at each place of a view.
    pub fn sees_places(&self) -> bool {
        matches!(self, Self::InfoNce { .. })
    }

    /// Whether a view is told from others: then there are scores, a temperature, and
    /// a bound.
    pub fn contrasts(&self) -> bool {
        !matches!(self, Self::VicReg { .. } | Self::BarlowTwins { .. })
    }
}

impl Settings {
    /// What is trained beside the encoder, with its first values: the matrix of
    /// [`Prediction`] for projections of this width, and last the logarithm of a
    /// learned temperature's inverse.
    pub fn parameters(&self, width: usize) -> Vec<(Parameter, Vec<f32>)> {
        let mut parameters = Vec::new();
        if self.kind == Objective::Cpc {
            let parameter = Parameter::new("objective.prediction.weight", &[width, width], true);
            parameters.push((parameter, cpc::identity(width)));
        }
        if let (Temperature::Learned(first), true) = (self.temperature, self.kind.contrasts()) {
            let parameter = Parameter::new("objective.log_scale", &[1], false);
            parameters.push((parameter, vec![-first.ln()]));
        }
        parameters
    }

    /// Whether the temperature is a parameter.
    pub fn learns_temperature(&self) -> bool {
        matches!(self.temperature, Temperature::Learned(_)) && self.kind.contrasts()
    }
}

/// Keeps the norm of a projection away from zero.
const EPSILON: f32 = 1e-12;

/// Rows brought to length one.
fn normalised(g: &mut Graph, x: Value) -> Result<Value, Error> {
    let square = g.mul(x, x)?;
    let sum = g.reduce_sum(square, &[1], true)?;
    let epsilon = g.scalar(EPSILON);
    let sum = g.add(sum, epsilon)?;
    let norm = g.sqrt(sum)?;
    g.div(x, norm)
}

/// The cosine of every row of one value with every row of another, over the
/// temperature.
fn scores(g: &mut Graph, rows: Value, columns: Value, temperature: Value) -> Result<Value, Error> {
    let cosines = g.gemm(rows, false, columns, true)?;
    g.div(cosines, temperature)
}
