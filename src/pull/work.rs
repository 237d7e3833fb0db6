//! Several connections at work, and patience with them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    Batch, Effort, Folder, PullError,
    archive::Archive,
    error::Weight,
    inbox::{Inbox, Received},
    report::End,
};
use crate::{progress::Progress, stop};

/// The first wait before something is tried again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Instances that may fail one by one before the rest of their batch is given up.
const SINGLE_FAILURES: usize = 8;

/// What a command does with an archive.
pub(super) struct Worker<'a> {
    pub archive: &'a dyn Archive,
    effort: Effort,
    /// Whether it has ever answered.
    reached: AtomicBool,
    /// Whether it went away.
    gone: AtomicBool,
    /// Whether it has been said that something is tried again.
    said: AtomicBool,
}

impl<'a> Worker<'a> {
    pub fn new(archive: &'a dyn Archive, effort: Effort) -> Self {
        let [reached, gone, said] = [(); 3].map(|()| AtomicBool::new(false));
        Self { archive, effort, reached, gone, said }
    }

    /// Whether nothing more is to be begun.
    pub fn is_over(&self) -> bool {
        stop::requested() || self.gone.load(Ordering::SeqCst)
    }

    pub fn end(&self) -> End {
        match (stop::requested(), self.gone.load(Ordering::SeqCst)) {
            (true, _) => End::Stopped,
            (false, true) => End::Gone,
            (false, false) => End::Complete,
        }
    }

    /// Does something for every piece of work, as many at a time as the effort says;
    /// nothing comes of what was not begun before the end.
    ///
    /// # Errors
    /// The first error that an `each` gives back; nothing is begun after it.
    pub fn each<T: Sync, R: Send>(
        &self,
        work: &[T],
        each: impl Fn(&T) -> Result<R, PullError> + Sync,
    ) -> Result<Vec<Option<R>>, PullError> {
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let results: Vec<Mutex<Option<R>>> = work.iter().map(|_| Mutex::new(None)).collect();
        let lock = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        thread::scope(|scope| {
            for _ in 0..self.effort.parallel.clamp(1, work.len().max(1)) {
                scope.spawn(|| {
                    while !self.is_over() && lock().is_none() {
                        let n = next.fetch_add(1, Ordering::SeqCst);
                        let (Some(piece), Some(result)) = (work.get(n), results.get(n)) else {
                            return;
                        };
                        match each(piece) {
                            Ok(found) => {
                                *result.lock().unwrap_or_else(PoisonError::into_inner) =
                                    Some(found);
                            }
                            Err(error) => *lock() = Some(error),
                        }
                    }
                });
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            // A stop is no failure: what was not done is counted as missing.
            Some(PullError::Stopped) | None => {}
            Some(error) => return Err(error),
        }
        let taken =
            |cell: Mutex<Option<R>>| cell.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(results.into_iter().map(taken).collect())
    }

    /// Asks until there is an answer; none where there is no use in asking on.
    ///
    /// # Errors
    /// What nothing can be done about.
    pub fn ask<R>(
        &self,
        question: impl Fn() -> Result<R, PullError>,
    ) -> Result<Result<R, PullError>, PullError> {
        let mut tries = 0;
        loop {
            match question() {
                Ok(answer) => {
                    self.reached.store(true, Ordering::SeqCst);
                    return Ok(Ok(answer));
                }
                Err(error) if error.weight() == Weight::Own => {
                    self.reached.store(true, Ordering::SeqCst);
                    return Ok(Err(error));
                }
                Err(error) if error.weight() == Weight::Fatal => return Err(error),
                Err(error) if tries >= error.patience(self.effort.retries) => {
                    return self.look_whether_gone(error).map(Err);
                }
                Err(error) => {
                    self.wait(tries, &error)?;
                    tries += 1;
                }
            }
        }
    }

    /// After all patience: whether the archive is there, and only this question does
    /// not pass. Where it is not, the work ends; where it never was, that is an error.
    fn look_whether_gone(&self, error: PullError) -> Result<PullError, PullError> {
        match self.archive.ping() {
            Err(ping) if ping.weight() == Weight::Passing => {
                if !self.reached.load(Ordering::SeqCst) {
                    return Err(error);
                }
                self.gone.store(true, Ordering::SeqCst);
                Err(PullError::Stopped)
            }
            Err(ping) if ping.weight() == Weight::Fatal => Err(ping),
            _ if stop::requested() => Err(PullError::Stopped),
            _ => Ok(error),
        }
    }

    fn wait(&self, tries: u32, error: &PullError) -> Result<(), PullError> {
        if !self.said.swap(true, Ordering::SeqCst) {
            eprintln!("{error}; trying again, up to {} times", self.effort.retries);
        }
        let asked = match error {
            PullError::Status { after: Some(after), .. } => *after,
            _ => Duration::ZERO,
        };
        let doubled = FIRST_WAIT.saturating_mul(1 << tries.min(16));
        let mut left = doubled.max(asked).min(LONGEST_WAIT);
        let step = Duration::from_millis(50);
        while !left.is_zero() {
            if self.is_over() {
                return Err(PullError::Stopped);
            }
            thread::sleep(left.min(step));
            left = left.saturating_sub(step);
        }
        Ok(())
    }

    /// Fetches batches; what is missing in the end is so because it ended.
    ///
    /// # Errors
    /// What nothing can be done about.
    pub fn fetch(
        &self,
        batches: &[(usize, Batch)],
        folder: &Arc<Folder>,
        progress: &Arc<Progress>,
    ) -> Result<Vec<Received>, PullError> {
        let one = |(_, batch): &(usize, Batch)| {
            let (folder, progress) = (Arc::clone(folder), Arc::clone(progress));
            let inbox = Arc::new(Inbox::new(batch, folder, progress, self.effort.largest));
            match self.fetch_patiently(batch, &inbox) {
                Ok(()) | Err(PullError::Stopped) => Ok(inbox.end()),
                Err(error) => Err(error),
            }
        };
        let received = self.each(batches, one)?;
        let not_begun =
            |batch: &Batch| Received { missing: batch.wanted.len(), ..Received::default() };
        let pairs = received.into_iter().zip(batches);
        let or_nothing = |(received, (_, batch)): (Option<Received>, &(usize, Batch))| {
            received.unwrap_or_else(|| not_begun(batch))
        };
        Ok(pairs.map(or_nothing).collect())
    }

    fn fetch_patiently(&self, batch: &Batch, inbox: &Arc<Inbox>) -> Result<(), PullError> {
        let mut tries = 0;
        loop {
            let before = inbox.missing(&batch.wanted).len();
            let Err(error) = self.archive.fetch(batch, inbox) else { return Ok(()) };
            let missing = inbox.missing(&batch.wanted);
            if missing.is_empty() {
                return Ok(());
            }
            self.reached.fetch_or(missing.len() < before, Ordering::SeqCst);
            match error.weight() {
                Weight::Fatal => return Err(error),
                Weight::Own => return self.fetch_apart(batch, inbox, &error, &mut 0),
                Weight::Passing => {}
            }
            if missing.len() < before {
                tries = 0;
            }
            if tries >= error.patience(self.effort.retries) {
                let error = self.look_whether_gone(error)?;
                return self.fetch_apart(batch, inbox, &error, &mut 0);
            }
            self.wait(tries, &error)?;
            tries += 1;
        }
    }

    /// Something in a batch does not come, and the rest perhaps because of it: halves
    /// are tried by themselves, until what does not come is alone.
    fn fetch_apart(
        &self,
        batch: &Batch,
        inbox: &Arc<Inbox>,
        error: &PullError,
        failures: &mut usize,
    ) -> Result<(), PullError> {
        let missing = inbox.missing(&batch.wanted);
        if missing.len() < 2 || *failures >= SINGLE_FAILURES {
            missing.iter().for_each(|wanted| inbox.refuse(&wanted.uid, error));
            *failures += missing.len();
            return Ok(());
        }
        let (first, second) = missing.split_at(missing.len() / 2);
        for half in [first, second] {
            let half = Batch { wanted: half.to_vec(), whole: false, ..batch.clone() };
            match self.archive.fetch(&half, inbox) {
                Ok(()) => *failures = 0,
                Err(error) if error.weight() == Weight::Fatal => return Err(error),
                Err(mut error) => {
                    if error.weight() == Weight::Passing {
                        error = self.look_whether_gone(error)?;
                    }
                    if self.is_over() {
                        return Err(PullError::Stopped);
                    }
                    self.fetch_apart(&half, inbox, &error, failures)?;
                }
            }
        }
        Ok(())
    }
}
