//! Work spread over the threads of a session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use ort::operator::ComputeContext;

/// The intra-op threads of the session that runs a node.
pub struct Pool<'a>(pub &'a ComputeContext);

impl Pool<'_> {
    /// Runs `f` on every task. Tasks must be cut by shapes alone: the results
    /// are then the same on any number of threads.
    pub fn each<T: Send>(&self, tasks: Vec<T>, f: impl Fn(T) + Send + Sync) -> ort::Result<()> {
        let slots: Vec<_> = tasks.into_iter().map(|task| Mutex::new(Some(task))).collect();
        self.0.par_for(slots.len(), slots.len(), |i| {
            let slot = slots.get(i).map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some(task) = slot.and_then(|mut slot| slot.take()) {
                f(task);
            }
        })
    }
}

impl Pool<'_> {
    /// As [`Pool::each`]; an error where `f` says of a task that its matrices do not
    /// fit.
    pub fn each_fitting<T: Send>(
        &self,
        tasks: Vec<T>,
        f: impl Fn(T) -> Option<()> + Send + Sync,
    ) -> ort::Result<()> {
        let fit = AtomicBool::new(true);
        self.each(tasks, |task| {
            if f(task).is_none() {
                fit.store(false, Ordering::Relaxed);
            }
        })?;
        let wrong = || ort::Error::new("matrices within an operator do not fit");
        if fit.into_inner() { Ok(()) } else { Err(wrong()) }
    }
}

/// The length of the parts that `len` elements are cut into: at least `least`,
/// and at most 32 parts.
pub fn part(len: usize, least: usize) -> usize {
    len.div_ceil(32).max(least).max(1)
}
