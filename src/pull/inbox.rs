//! What has come of a batch, and what has not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Batch, Folder, PullError, Uid, archive::Wanted};
use crate::{durable::Draft, progress::Progress};

/// The instances of a batch, shared by those who fetch it and those who receive it.
pub(super) struct Inbox {
    study: Uid,
    series: Uid,
    folder: Arc<Folder>,
    progress: Arc<Progress>,
    /// Largest instance in bytes.
    pub limit: u64,
    states: Mutex<BTreeMap<Uid, State>>,
}

enum State {
    Missing,
    Received(u64),
    Refused(String),
}

/// How a batch ended.
#[derive(Default)]
pub(super) struct Received {
    pub count: usize,
    pub bytes: u64,
    /// What does not come, with the reason.
    pub refused: Vec<(Uid, String)>,
    pub missing: usize,
}

impl Inbox {
    pub fn new(batch: &Batch, folder: Arc<Folder>, progress: Arc<Progress>, limit: u64) -> Self {
        let missing = batch.wanted.iter().map(|wanted| (wanted.uid.clone(), State::Missing));
        let states = Mutex::new(missing.collect());
        let (study, series) = (batch.study.clone(), batch.series.clone());
        Self { study, series, folder, progress, limit, states }
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Uid, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an instance belongs to the batch.
    pub fn knows(&self, uid: &Uid) -> bool {
        self.states().contains_key(uid)
    }

    /// Whether an instance is still waited for.
    pub fn waits_for(&self, uid: &Uid) -> bool {
        matches!(self.states().get(uid), Some(State::Missing))
    }

    /// What is still missing of some instances.
    pub fn missing(&self, some: &[Wanted]) -> Vec<Wanted> {
        let states = self.states();
        let missing = |wanted: &&Wanted| matches!(states.get(&wanted.uid), Some(State::Missing));
        some.iter().filter(missing).cloned().collect()
    }

    /// A draft for an instance that comes.
    pub fn draft(&self) -> Result<Draft, PullError> {
        self.folder.draft()
    }

    /// Keeps what came under its name, once it is found to be what was asked for.
    pub fn keep(&self, uid: &Uid, draft: Draft) -> Result<(), PullError> {
        let bytes = self.folder.keep(draft, (&self.study, &self.series, uid))?;
        self.set(uid, State::Received(bytes));
        Ok(())
    }

    /// Gives up on an instance.
    pub fn refuse(&self, uid: &Uid, error: &PullError) {
        self.set(uid, State::Refused(error.to_string()));
    }

    fn set(&self, uid: &Uid, state: State) {
        let mut states = self.states();
        if let Some(old @ State::Missing) = states.get_mut(uid) {
            *old = state;
            self.progress.advance(1);
        }
    }

    /// What came and what did not.
    pub fn end(&self) -> Received {
        let mut end = Received::default();
        for (uid, state) in self.states().iter() {
            match state {
                State::Missing => end.missing += 1,
                State::Received(bytes) => {
                    end.count += 1;
                    end.bytes += bytes;
                }
                State::Refused(reason) => end.refused.push((uid.clone(), reason.clone())),
            }
        }
        end
    }
}
