//! The key encoder of MoCo and its queue, as state of the training graph.

use onnx_grad::Value;

use super::{Plan, TrainError};
use crate::objective;

/// The key encoder's parameters in the state.
const KEY_PARAMS: &str = "key_params";
/// The queue in the state: `[Q, P]` laid row by row, the newest batch first.
const QUEUE: &str = "queue";

/// The parameters of the key encoder, and the queue of the keys that it has made.
pub(super) struct Momentum {
    /// Flat, by the layout of what is trained.
    pub params: Value,
    queue: Value,
    keep: f32,
    queue_len: usize,
    width: usize,
}

impl Momentum {
    /// A key encoder that begins as the query encoder `initial`, and an empty queue of
    /// keys of this width.
    pub fn new(
        plan: &mut Plan,
        initial: Vec<f32>,
        queue_len: usize,
        width: usize,
        keep: f32,
    ) -> Self {
        let params = plan.state(KEY_PARAMS, initial);
        let queue = plan.state(QUEUE, vec![0.0; queue_len * width]);
        Self { params, queue, keep, queue_len, width }
    }

    /// The queue as the loss sees it.
    pub fn queue(&self, plan: &mut Plan, batch: usize) -> Result<objective::Queue, TrainError> {
        let keys = plan.g.reshape(self.queue, &[self.queue_len, self.width])?;
        let allowed = plan.input("allowed_queue", vec![batch, self.queue_len]);
        Ok(objective::Queue { keys, allowed })
    }

    /// Puts the keys of a batch, `[K, P]`, first into the queue and drops the oldest; and
    /// moves the key encoder towards the query encoder's parameters after the step.
    ///
    /// # Source
    /// He et al. 2020 (MoCo), eq. 2 and algorithm 1. There the key encoder moves before
    /// the keys are made, here after the update before: that is the same.
    pub fn step(
        &self,
        plan: &mut Plan,
        projections: Value,
        params: Value,
        apply: Option<Value>,
    ) -> Result<(), TrainError> {
        let keys = objective::keys(&mut plan.g, projections)?;
        let count: usize = plan.g.shape(keys).iter().product();
        let keys = plan.g.reshape(keys, &[count])?;
        let longer = plan.g.concat(&[keys, self.queue], 0)?;
        let queue = plan.g.slice(longer, 0, 0..self.queue_len * self.width)?;
        plan.next(QUEUE, queue);

        let take = 1.0 - f64::from(self.keep);
        let (keep, take) = (plan.g.scalar(self.keep), plan.g.scalar(take as f32));
        let (old, new) = (plan.g.mul(self.params, keep)?, plan.g.mul(params, take)?);
        let after = plan.g.add(old, new)?;
        let after = plan.applied(apply, after, self.params)?;
        plan.next(KEY_PARAMS, after);
        Ok(())
    }
}
