//! From the sources' files to a cohort: walk, read what is new, assemble.

use std::{
    collections::BTreeSet,
    io::Read as _,
    path::{Path, PathBuf},
    sync::mpsc::sync_channel,
    thread,
};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{
    Cohort, IndexError, Link, Quarantined, Source,
    build::{Builder, Listed},
    look::{Content, Looked, Passing, look_at},
    naming::Named,
    reason,
    sidecar::Sidecars,
    store::{Noted, State, Store, Unread},
    walk,
};
use crate::{
    io::{archive, image::ImageHead},
    progress::Progress,
    stop,
    study::Pseudonymizer,
};

/// Files read between two times that what was read is kept.
const CHUNK: usize = 1 << 13;

/// Files that a walk may be ahead of the store.
const AHEAD: usize = 1 << 12;

/// An index of some sources: what it read stays, and the next one reads what changed.
///
/// Made in three steps: [`Index::find`] walks over the sources, [`Index::read`] reads
/// the headers of what is new, [`Index::assemble`] makes a cohort of them.
pub struct Index {
    store: Store,
    sources: Vec<Source>,
    /// What was read of files that hold whole volumes, by source. Their headers are
    /// read by every index, as what they say also depends on the files beside them.
    passing: Vec<(usize, PathBuf, Passing)>,
}

/// An image file that was read.
pub(super) struct ImageFile {
    pub path: PathBuf,
    pub head: Box<ImageHead>,
    pub named: Option<Named>,
}

impl Index {
    /// An index whose readings are kept in a file of mode 0600 for the next one.
    ///
    /// # Errors
    /// [`IndexError::Store`] where the file cannot be made or used.
    pub fn open(store: &Path, sources: &[Source]) -> Result<Self, IndexError> {
        Self::of(Store::open(store)?, sources)
    }

    /// An index that keeps nothing.
    ///
    /// # Errors
    /// [`IndexError::Store`] where there is no room for temporary files.
    pub fn temporary(sources: &[Source]) -> Result<Self, IndexError> {
        Self::of(Store::temporary()?, sources)
    }

    fn of(store: Store, sources: &[Source]) -> Result<Self, IndexError> {
        Ok(Self { store, sources: sources.to_vec(), passing: Vec::new() })
    }

    /// Walks over the sources and gives how many files are to be read: those that are
    /// new, or have another size or time than when they were read.
    ///
    /// # Errors
    /// [`IndexError`] where a source cannot be walked or none holds a file.
    pub fn find(&mut self, progress: &Progress) -> Result<usize, IndexError> {
        let readings: Vec<(String, String)> =
            self.sources.iter().map(|source| (source.name.clone(), source.reading())).collect();
        self.store.keep_sources(&readings)?;
        for source in &self.sources {
            let (found, files) = sync_channel(AHEAD);
            thread::scope(|scope| {
                let walk = scope.spawn(move || walk::walk(&source.path, &source.name, &found));
                let added = self.store.add_files(&source.name, files, || progress.advance(1));
                let walked = walk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                added.and(walked)
            })?;
        }
        self.store.end_of_walk()?;
        if self.store.files()? == 0 {
            return Err(IndexError::NoFiles);
        }
        self.try_again()?;
        self.store.unread()
    }

    /// Looks whether files can be read that could not be before, so that the cohort is
    /// another one though no size and time is.
    fn try_again(&self) -> Result<(), IndexError> {
        for source in &self.sources {
            let sidecars = Sidecars::new(&source.path, source.pattern.is_none());
            let files = self.store.unreadable(&source.name)?;
            let passed: Vec<bool> = files
                .par_iter()
                .map(|file| !look_at(source, &sidecars, Path::new(&file.path)).may_pass())
                .collect();
            for file in files.iter().zip(passed).filter(|(_, passed)| *passed).map(|(file, _)| file)
            {
                let now = Noted { digest: None, said: None, unreadable: false, changed: false };
                self.store.note(file, &now)?;
            }
        }
        Ok(())
    }

    /// Files whose content no index has read as a whole yet: what changed of them under
    /// an old size and time is found by their headers alone.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn without_digest(&self) -> Result<usize, IndexError> {
        self.store.without_digest()
    }

    /// Files of all sources.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn files(&self) -> Result<usize, IndexError> {
        self.store.files()
    }

    /// A digest of the names, sizes and times of all files, of whether they can be read,
    /// and of how their names are: where it is the same, so is the cohort.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn digest(&self) -> Result<String, IndexError> {
        let mut digest = Sha256::new();
        for source in &self.sources {
            let missing = source.missing;
            digest.update(format!("{}\n{}\n{missing:?}\n", source.name, source.reading()));
            self.store.listing(&source.name, |path, state| {
                let State { size, modified, changes, unreadable } = state;
                let unreadable = if unreadable { " unreadable" } else { "" };
                digest.update(format!("{path} {size} {modified} {changes}{unreadable}\n"));
            })?;
        }
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads the header of every file that is to be read, in parallel and each in one
    /// go, and keeps what it found; gives whether it came to the end. After a stop, or
    /// a crash, the next index goes on from there.
    ///
    /// `rehash`: reads the whole content of every file too, and the header again where
    /// the content is not what it was although size and time are, or was never read.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn read(&mut self, rehash: bool, progress: &Progress) -> Result<bool, IndexError> {
        self.passing.clear();
        let Self { store, sources, passing } = self;
        for (number, source) in sources.iter().enumerate() {
            let sidecars = Sidecars::new(&source.path, source.pattern.is_none());
            let mut behind = i64::MIN;
            loop {
                if stop::requested() {
                    return Ok(false);
                }
                let files = store.next(&source.name, behind, rehash, CHUNK)?;
                let Some(last) = files.last() else { break };
                behind = last.id;
                let read: Vec<Reading> = files
                    .par_iter()
                    .map(|file| {
                        let read = Reading::of(source, &sidecars, file, rehash);
                        progress.advance(1);
                        read
                    })
                    .collect();
                store.together(|store| {
                    for (file, Reading { digest, looked }) in files.iter().zip(read) {
                        let (mut said, mut unreadable) = (None, false);
                        let other = match looked {
                            Some(Looked::Lasting(lasting)) => {
                                store.keep(&source.name, file, lasting)? || file.said.is_some()
                            }
                            Some(Looked::Passing(looked)) => {
                                store.forget(file.id)?;
                                unreadable = looked.may_pass();
                                said = (!unreadable).then(|| looked.digest());
                                passing.push((number, PathBuf::from(&file.path), looked));
                                !unreadable
                                    && (file.known || file.said.is_some() && file.said != said)
                            }
                            None => false,
                        };
                        let changed = match (&file.digest, &digest) {
                            (Some(before), Some(now)) => before != now,
                            // What it was is not known, but what its header said.
                            (None, Some(_)) => other,
                            (_, None) => false,
                        };
                        let digest = digest.or_else(|| file.digest.clone());
                        store.note(file, &Noted { digest, said, unreadable, changed })?;
                    }
                    Ok(())
                })?;
            }
        }
        Ok(true)
    }

    /// The cohort of what was read: files that hold volumes, DICOM files grouped into
    /// series. `link` takes who and which file is behind each pseudonym.
    ///
    /// One series is in memory at a time, but for the rows.
    ///
    /// # Errors
    /// [`IndexError::Store`], or what `link` gives.
    pub fn assemble(
        &mut self,
        pseudonyms: &Pseudonymizer,
        link: &mut dyn FnMut(Link) -> Result<(), IndexError>,
    ) -> Result<Cohort, IndexError> {
        self.passing.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let passing = std::mem::take(&mut self.passing);
        let sources = &self.sources;
        self.store.together(|store| {
            store.clear_refused()?;
            let mut cohort = Cohort { files: store.files()?, ..Cohort::default() };
            let mut passing = passing.into_iter().peekable();
            let mut listed = Listed::new();
            for (number, source) in sources.iter().enumerate() {
                let mut own = Vec::new();
                while let Some((_, path, looked)) = passing.next_if(|next| next.0 == number) {
                    own.push((path, looked));
                }
                let builder =
                    &mut Builder::new(pseudonyms, source, store, &mut cohort, &mut listed, link);
                add(own, builder)?;
            }
            let key = |row: &super::CohortRow| (row.subject.clone(), row.series.clone());
            // By pseudonym: an order by real id would tell something of the ids.
            cohort.rows.sort_by_cached_key(key);
            cohort.reasons = store.reasons()?;
            Ok(cohort)
        })
    }

    /// The files that were not used, by pseudonym.
    ///
    /// # Errors
    /// [`IndexError::Store`], or what `each` gives.
    pub fn quarantined<E: From<IndexError>>(
        &self,
        each: impl FnMut(Quarantined) -> Result<(), E>,
    ) -> Result<(), E> {
        self.store.refused(each)
    }
}

/// Adds a source to a cohort.
fn add(passing: Vec<(PathBuf, Passing)>, builder: &mut Builder<'_>) -> Result<(), IndexError> {
    let voxels: BTreeSet<String> = passing
        .iter()
        .flat_map(|(_, looked)| &looked.voxels)
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    let damaged = passing.iter().filter_map(|(path, looked)| {
        Some((path.to_str()?, looked.damage.as_ref()?)).filter(|(path, _)| !voxels.contains(*path))
    });
    builder.add_lasting(&voxels, &damaged.collect::<Vec<_>>())?;
    for (path, looked) in passing {
        if voxels.contains(&*path.to_string_lossy()) {
            builder.add_companion();
            continue;
        }
        match looked.content {
            Ok(Content::Image(head, named)) => {
                builder.add_image(&ImageFile { path, head, named })?;
            }
            Ok(Content::Companion) => builder.add_companion(),
            Err(error) => builder.refuse(&path, None, &reason(&error))?,
        }
    }
    Ok(())
}

/// What reading one file gave.
struct Reading {
    digest: Option<Vec<u8>>,
    /// None where what is kept still holds.
    looked: Option<Looked>,
}

impl Reading {
    fn of(source: &Source, sidecars: &Sidecars, file: &Unread, rehash: bool) -> Self {
        let path = Path::new(&file.path);
        let digest = rehash.then(|| digest_of(path)).flatten();
        let same = digest.is_some() && file.digest == digest;
        Self { looked: (!(file.known && same)).then(|| look_at(source, sidecars, path)), digest }
    }
}

/// SHA-256 of a file's content; none where it cannot be read.
fn digest_of(path: &Path) -> Option<Vec<u8>> {
    archive::len(path)?;
    let mut file = archive::open(path).ok()?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(digest.finalize().to_vec()),
            count => digest.update(&buffer[..count]),
        }
    }
}
