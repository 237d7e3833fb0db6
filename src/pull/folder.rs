//! Where instances lie on the disk.

use std::path::{Path, PathBuf};

use super::{PullError, Uid};
use crate::{
    durable::{self, Draft},
    io::dicom::{DicomError, check_whole},
    study::{Kind, Pseudonymizer},
};

/// A folder of pulled instances: `dicom/STUDY/SERIES/INSTANCE.dcm`, all of them
/// keyed pseudonyms. The same key gives the same names, so the disk itself says
/// what is there already; without it, no name says anything.
#[derive(Debug)]
pub struct Folder {
    scans: PathBuf,
    incoming: PathBuf,
    pseudonyms: Pseudonymizer,
}

impl Folder {
    /// The folder for pulled scans below a folder of results that is locked; what a
    /// run left half written there is removed.
    ///
    /// # Errors
    /// [`PullError::Durable`].
    pub fn open(out: &Path, pseudonyms: Pseudonymizer) -> Result<Self, PullError> {
        let (scans, incoming) = (out.join("dicom"), out.join(".incoming"));
        if incoming.exists() {
            std::fs::remove_dir_all(&incoming).map_err(PullError::Disk)?;
        }
        durable::create_private_folder(&scans)?;
        durable::create_private_folder(&incoming)?;
        Ok(Self { scans, incoming, pseudonyms })
    }

    /// The pseudonym of a study.
    pub(super) fn study(&self, uid: &Uid) -> String {
        self.pseudonyms.pseudonym(Kind::Study, uid.as_str())
    }

    /// The pseudonym of a series.
    pub(super) fn series(&self, uid: &Uid) -> String {
        self.pseudonyms.pseudonym(Kind::Series, uid.as_str())
    }

    /// The pseudonym of an instance's file.
    pub(super) fn instance(&self, uid: &Uid) -> String {
        self.pseudonyms.pseudonym(Kind::File, uid.as_str())
    }

    fn path(&self, study: &Uid, series: &Uid, instance: &Uid) -> PathBuf {
        let folder = self.scans.join(self.study(study)).join(self.series(series));
        folder.join(format!("{}.dcm", self.instance(instance)))
    }

    /// The bytes of an instance that is there and whole.
    pub(super) fn whole(&self, study: &Uid, series: &Uid, instance: &Uid) -> Option<u64> {
        let path = self.path(study, series, instance);
        let bytes = path.metadata().ok()?.len();
        is_instance(&path, (study, series, instance)).is_ok().then_some(bytes)
    }

    /// A draft for an instance that comes.
    pub(super) fn draft(&self) -> Result<Draft, PullError> {
        Ok(Draft::new_in(&self.incoming)?)
    }

    /// Keeps what came, where it is whole and the instance that was asked for.
    pub(super) fn keep(&self, draft: Draft, wanted: (&Uid, &Uid, &Uid)) -> Result<u64, PullError> {
        is_instance(draft.path(), wanted)?;
        let (study, series, instance) = wanted;
        let bytes = draft.path().metadata().map_err(PullError::Disk)?.len();
        let path = self.path(study, series, instance);
        if let Some(folder) = path.parent() {
            durable::create_private_folder(folder)?;
        }
        draft.keep(&path, 0o600)?;
        Ok(bytes)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Empty by now; where it cannot be removed, the next run does.
        let _ = std::fs::remove_dir(&self.incoming);
    }
}

/// Whether a file is whole, and of the study and the series that were asked for the
/// instance.
fn is_instance(
    path: &Path,
    (study, series, instance): (&Uid, &Uid, &Uid),
) -> Result<(), PullError> {
    let found = check_whole(path).map_err(|error| match error {
        DicomError::Io(error) => PullError::Disk(error),
        error => PullError::Damaged(error),
    })?;
    let pairs =
        [(&found.study_uid, study), (&found.series_uid, series), (&found.sop_uid, instance)];
    match pairs.into_iter().all(|(found, wanted)| Uid::new(found).as_ref() == Some(wanted)) {
        true => Ok(()),
        false => Err(PullError::Another),
    }
}
