//! What the encoder maximises: bounds on the information between two views.

mod cross_entropy;
mod info_nce;
mod temperature;
mod two_views;

use onnx_grad::{Error, Graph, Value};
use serde::Serialize;

pub use cross_entropy::Candidates;
pub use info_nce::{Sides, info_nce_bound, info_nce_loss};
pub use temperature::{Shape, Temperature};

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
        }
    }

    /// Its name in a pipeline.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InfoNce { .. } => "info-nce",
            Self::NtXent => "nt-xent",
            Self::SupCon => "supcon",
        }
    }

    /// Keys of earlier batches that stand as negatives beside the batch.
    pub fn queue_len(&self) -> usize {
        0
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
