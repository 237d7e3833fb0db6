//! What was expected, what came, and what did not.

use std::collections::BTreeMap;

use super::{
    Folder,
    inbox::Received,
    plan::{Plan, Present},
};
use crate::{cohort::Quarantined, study::Modality, table::record};

record! {
    /// A row of `pull.parquet`: a series that was asked for, or a study whose list
    /// did not come.
    pub struct PullRow {
        /// Pseudonym of the study; none where a list of studies did not come.
        pub study: Option<String>,
        /// Pseudonym of the series; none where a list did not come.
        pub series: Option<String>,
        /// A word of [`Modality`](crate::study::Modality), where the archive's is one.
        pub modality: Option<String>,
        /// Instances that the archive lists.
        pub expected: u32,
        /// Of them, those that were on the disk before.
        pub present: u32,
        /// Of them, those that came.
        pub received: u32,
        /// Of them, those that failed; what is left was not tried.
        pub failed: u32,
        /// Bytes on the disk.
        pub bytes: u64,
        /// `complete`, `incomplete` or `failed`.
        pub status: String,
        /// Why something failed: the most frequent reason.
        pub reason: Option<String>,
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// Everything was tried.
    #[default]
    Complete,
    /// A stop was asked for.
    Stopped,
    /// The archive went away.
    Gone,
}

/// What a run did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// A row a series.
    pub rows: Vec<PullRow>,
    /// A row for each instance that failed.
    pub quarantined: Vec<Quarantined>,
    /// Studies found.
    pub studies: usize,
    /// Answers that did not hold to the question, or name nothing; passed over.
    pub alien: usize,
    /// How it ended.
    pub end: End,
}

impl Outcome {
    /// What is expected.
    pub(super) fn of(plan: &Plan, folder: &Folder, end: End) -> Self {
        let listed = plan.series.iter().map(|plan| PullRow {
            study: Some(folder.study(&plan.study)),
            series: Some(folder.series(&plan.series)),
            modality: plan
                .modality
                .as_deref()
                .and_then(|code| Some(code.parse::<Modality>().ok()?.as_str().to_owned())),
            expected: count(plan.instances.len()),
            ..empty()
        });
        let failed = plan.failed.iter().map(|(study, reason)| PullRow {
            study: study.as_ref().map(|study| folder.study(study)),
            status: "failed".to_owned(),
            reason: Some(format!("its list did not come: {reason}")),
            ..empty()
        });
        let rows = listed.chain(failed).collect();
        let (studies, alien) = (plan.studies, plan.alien);
        Self { rows, quarantined: Vec::new(), studies, alien, end }
    }

    /// Counts what was there before, series by series, and gives back their sum.
    pub(super) fn add_present(&mut self, present: &[Present]) -> usize {
        for (row, present) in self.rows.iter_mut().zip(present) {
            row.present = count(present.count);
            row.bytes += present.bytes;
        }
        present.iter().map(|present| present.count).sum()
    }

    /// Counts what came of the series of a number.
    pub(super) fn add_received(&mut self, series: usize, received: Received, folder: &Folder) {
        let Some(row) = self.rows.get_mut(series) else { return };
        row.received += count(received.count);
        row.failed += count(received.refused.len());
        row.bytes += received.bytes;
        for (uid, reason) in received.refused {
            self.quarantined.push(Quarantined {
                file: folder.instance(&uid),
                series: row.series.clone(),
                stage: "pull".to_owned(),
                reason,
            });
        }
    }

    /// Says of every series how it stands.
    pub(super) fn close(&mut self, end: End) {
        self.end = end;
        let mut reasons: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for failed in &self.quarantined {
            let series = failed.series.as_deref().unwrap_or_default();
            *reasons.entry(series).or_default().entry(&failed.reason).or_default() += 1;
        }
        for row in &mut self.rows {
            let Some(series) = &row.series else { continue };
            row.status = match row.present + row.received {
                there if there == row.expected => "complete",
                there if there + row.failed == row.expected => "failed",
                _ => "incomplete",
            }
            .to_owned();
            let own = reasons.get(series.as_str()).into_iter().flatten();
            row.reason =
                own.max_by_key(|(_, count)| **count).map(|(reason, _)| (*reason).to_owned());
        }
    }

    /// The sum of a column.
    pub fn sum(&self, column: impl Fn(&PullRow) -> u64) -> u64 {
        self.rows.iter().map(column).sum()
    }

    /// Lists that did not come.
    pub fn lists_failed(&self) -> usize {
        self.rows.iter().filter(|row| row.series.is_none()).count()
    }
}

fn empty() -> PullRow {
    PullRow {
        study: None,
        series: None,
        modality: None,
        expected: 0,
        present: 0,
        received: 0,
        failed: 0,
        bytes: 0,
        status: "incomplete".to_owned(),
        reason: None,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
