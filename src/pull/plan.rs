//! What an archive has of what is wanted, and what of it is on the disk.

use std::collections::BTreeSet;

use super::{
    Batch, Folder, PullError, Query, Uid,
    archive::{self, Wanted},
    work::Worker,
};
use crate::progress::Progress;

/// Everything that is wanted.
pub(super) struct Plan {
    pub series: Vec<SeriesPlan>,
    /// Lists that did not come, with the reason; where it is known, of which study.
    pub failed: Vec<(Option<Uid>, String)>,
    /// Answers that did not hold to the question or name nothing, passed over.
    pub alien: usize,
    /// Studies found.
    pub studies: usize,
}

/// A series and its instances.
pub(super) struct SeriesPlan {
    pub study: Uid,
    pub series: Uid,
    pub modality: Option<String>,
    /// In the order of their UIDs, each once.
    pub instances: Vec<Wanted>,
}

/// What of a series is on the disk: number and bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Present {
    pub count: usize,
    pub bytes: u64,
}

/// What is not on the disk, and what is.
pub(super) struct Missing {
    /// Batches, each with the number of its series.
    pub batches: Vec<(usize, Batch)>,
    /// What is there of each series.
    pub present: Vec<Present>,
}

impl Plan {
    /// Asks for studies, their series and their instances.
    ///
    /// # Errors
    /// [`PullError`] where nothing can be done about it, or no list came at all.
    pub fn make(worker: &Worker<'_>, query: &Query) -> Result<Self, PullError> {
        let mut plan = Self { series: Vec::new(), failed: Vec::new(), alien: 0, studies: 0 };
        let filters = query.filters();
        let progress = Progress::new("find", "questions", filters.len());
        let answers = worker.each(&filters, |filter| {
            let found = worker.ask(|| archive::studies(worker.archive, *filter));
            progress.advance(1);
            found
        })?;
        progress.finish();
        let mut studies = BTreeSet::new();
        let (mut came, mut first) = (false, None);
        for answer in answers {
            match answer {
                Some(Ok(found)) => {
                    came = true;
                    studies.extend(found.uids);
                    plan.alien += found.alien;
                }
                Some(Err(error)) => {
                    plan.failed.push((None, error.to_string()));
                    first.get_or_insert(error);
                }
                None => {}
            }
        }
        if let (false, Some(error)) = (came, first) {
            return Err(error);
        }
        plan.studies = studies.len();
        let studies: Vec<Uid> = studies.into_iter().collect();
        let progress = Progress::new("list", "studies", studies.len());
        let listed = worker.each(&studies, |study| {
            let found = list_study(worker, query, study);
            progress.advance(1);
            found
        })?;
        progress.finish();
        for (study, listed) in studies.into_iter().zip(listed) {
            // What was not asked for because of the end is not known.
            let Some(listed) = listed else { continue };
            plan.series.extend(listed.series);
            plan.alien += listed.invalid;
            let failed = listed.failed.into_iter();
            plan.failed.extend(failed.map(|reason| (Some(study.clone()), reason)));
        }
        Ok(plan)
    }

    /// Instances of all series.
    pub fn instances(&self) -> usize {
        self.series.iter().map(|series| series.instances.len()).sum()
    }

    /// What is not on the disk, in batches, and what is.
    pub fn missing(&self, worker: &Worker<'_>, folder: &Folder) -> Result<Missing, PullError> {
        let looked = worker.each(&self.series, |plan| Ok(look(plan, folder)))?;
        let mut batches = Vec::new();
        let mut present = Vec::new();
        for (n, (plan, looked)) in self.series.iter().zip(looked).enumerate() {
            let (there, missing) = looked.unwrap_or_else(|| (Present::default(), Vec::new()));
            present.push(there);
            let whole = missing.len() == plan.instances.len();
            let whole = whole && missing.len() <= worker.archive.batch();
            for wanted in missing.chunks(worker.archive.batch()) {
                let (study, series) = (plan.study.clone(), plan.series.clone());
                let (modality, wanted) = (plan.modality.clone(), wanted.to_vec());
                batches.push((n, Batch { study, series, modality, wanted, whole }));
            }
        }
        Ok(Missing { batches, present })
    }
}

fn look(plan: &SeriesPlan, folder: &Folder) -> (Present, Vec<Wanted>) {
    let mut present = Present::default();
    let mut missing = Vec::new();
    for wanted in &plan.instances {
        match folder.whole(&plan.study, &plan.series, &wanted.uid) {
            Some(bytes) => {
                present.count += 1;
                present.bytes += bytes;
            }
            None => missing.push(wanted.clone()),
        }
    }
    (present, missing)
}

#[derive(Default)]
struct Listed {
    series: Vec<SeriesPlan>,
    failed: Vec<String>,
    invalid: usize,
}

fn list_study(worker: &Worker<'_>, query: &Query, study: &Uid) -> Result<Listed, PullError> {
    let mut listed = Listed::default();
    let (series, invalid) = match worker.ask(|| archive::series(worker.archive, study))? {
        Ok(found) => found,
        Err(error) => {
            listed.failed.push(error.to_string());
            return Ok(listed);
        }
    };
    listed.invalid += invalid;
    for archive::Listed { uid: series, modality } in series {
        let codes = &query.modalities;
        let other = modality.as_ref().is_some_and(|code| !codes.contains(code));
        if !codes.is_empty() && other {
            continue;
        }
        match worker.ask(|| archive::instances(worker.archive, study, &series))? {
            Ok((mut instances, invalid)) => {
                listed.invalid += invalid;
                instances.dedup_by(|a, b| a.uid == b.uid);
                let study = study.clone();
                listed.series.push(SeriesPlan { study, series, modality, instances });
            }
            Err(error) => listed.failed.push(error.to_string()),
        }
    }
    Ok(listed)
}
