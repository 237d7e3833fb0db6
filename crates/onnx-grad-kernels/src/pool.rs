//! Work spread over the threads of a session.

use std::sync::{Mutex, PoisonError};

use ort::operator::ComputeContext;

/// Who does the work.
pub enum Pool<'a> {
    /// The intra-op threads of the session that runs the node.
    Session(&'a ComputeContext),
    /// The calling thread.
    #[cfg(test)]
    Caller,
}

impl Pool<'_> {
    /// Runs `f` on every task. Tasks must be cut by shapes alone: the results
    /// are then the same on any number of threads.
    pub fn each<T: Send>(&self, tasks: Vec<T>, f: impl Fn(T) + Send + Sync) -> ort::Result<()> {
        match self {
            Self::Session(context) if tasks.len() > 1 => {
                let slots: Vec<_> = tasks.into_iter().map(|task| Mutex::new(Some(task))).collect();
                context.par_for(slots.len(), slots.len(), |i| {
                    let task = slots.get(i).and_then(|slot| {
                        slot.lock().unwrap_or_else(PoisonError::into_inner).take()
                    });
                    if let Some(task) = task {
                        f(task);
                    }
                })
            }
            _ => {
                tasks.into_iter().for_each(f);
                Ok(())
            }
        }
    }
}

/// The length of the parts that `len` elements are cut into: at least `least`,
/// and at most 32 parts.
pub fn part(len: usize, least: usize) -> usize {
    len.div_ceil(32).max(least).max(1)
}
