//! From what was read to rows under pseudonyms.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::{
    Cohort, CohortRow, IndexError, Link, Source,
    damaged::{self, Damage},
    index::ImageFile,
    naming, reason,
    store::{State, Store},
};
use crate::{
    durable,
    io::{
        Format,
        dicom::Instance,
        series::{self, Assembly, SeriesError, SliceSource},
    },
    study::{Identity, Kind, Pseudonymizer},
};

/// Files of the series that are assembled at the same time, at least.
const AT_ONCE: usize = 1 << 14;

/// Adds one source to a cohort: rows under pseudonyms, and the links behind them.
pub(super) struct Builder<'a> {
    pseudonyms: &'a Pseudonymizer,
    source: &'a Source,
    store: &'a Store,
    cohort: &'a mut Cohort,
    sink: &'a mut dyn FnMut(Link) -> Result<(), IndexError>,
    listed: &'a mut Listed,
    linked: BTreeSet<String>,
    /// How many files of each series are damaged.
    lacking: HashMap<String, usize>,
}

/// The series listed, by pseudonym, and the source of each. One that comes twice, as of two
/// exports that overlap, is one: its files would be taken together.
pub(super) type Listed = BTreeMap<String, String>;

/// The states of some files.
type States = HashMap<PathBuf, State>;

impl<'a> Builder<'a> {
    pub(super) fn new(
        pseudonyms: &'a Pseudonymizer,
        source: &'a Source,
        store: &'a Store,
        cohort: &'a mut Cohort,
        listed: &'a mut Listed,
        sink: &'a mut dyn FnMut(Link) -> Result<(), IndexError>,
    ) -> Self {
        Self {
            pseudonyms,
            source,
            store,
            cohort,
            listed,
            sink,
            linked: BTreeSet::new(),
            lacking: HashMap::new(),
        }
    }

    /// Adds what the store keeps of the source's files, but for those that are the
    /// `voxels` of others. Series may lack those that are `unreadable`, of which it keeps
    /// nothing.
    pub(super) fn add_lasting(
        &mut self,
        voxels: &BTreeSet<String>,
        unreadable: &[(&str, &Damage)],
    ) -> Result<(), IndexError> {
        let (store, source) = (self.store, self.source);
        self.lacking = store.lacking(&source.name, unreadable)?;
        self.cohort.companions += store.companions(&source.name)?;
        self.cohort.companions += store.refusals(&source.name, voxels, |path, reason| {
            self.refuse(Path::new(path), None, reason)
        })?;
        let (mut together, mut files) = (Vec::new(), 0);
        for (series, count) in store.series(&source.name)? {
            together.push(store.instances(series)?);
            files += count;
            if files >= AT_ONCE {
                self.add_series(std::mem::take(&mut together))?;
                files = 0;
            }
        }
        self.add_series(together)
    }

    fn add_series(&mut self, series: Vec<Vec<(Instance, State)>>) -> Result<(), IndexError> {
        let missing = self.source.missing;
        let assembled: Vec<(Assembly, States)> = series
            .into_par_iter()
            .map(|instances| {
                let states = instances.iter().map(|(one, state)| (one.file.clone(), *state));
                let states = states.collect();
                let instances = instances.into_iter().map(|(one, _)| one).collect();
                (series::assemble_with(instances, missing), states)
            })
            .collect();
        assembled.into_iter().try_for_each(|(assembly, states)| self.add_dicom(assembly, &states))
    }

    pub(super) fn add_companion(&mut self) {
        self.cohort.companions += 1;
    }

    fn link(&mut self, kind: Kind, word: &str, real: &str) -> Result<String, IndexError> {
        let pseudonym = self.pseudonyms.pseudonym(kind, real);
        if self.linked.insert(pseudonym.clone()) {
            (self.sink)(Link {
                kind: word.to_owned(),
                pseudonym: pseudonym.clone(),
                real: real.to_owned(),
                series: None,
                position: None,
                frame: None,
                scale: None,
                k: None,
            })?;
        }
        Ok(pseudonym)
    }

    fn link_file(
        &mut self,
        path: &Path,
        series: Option<&str>,
        position: Option<u32>,
    ) -> Result<String, IndexError> {
        self.link_slice(path, series, position, None)
    }

    /// `slice`: which frame, what its values are multiplied by, and where it lies.
    fn link_slice(
        &mut self,
        path: &Path,
        series: Option<&str>,
        position: Option<u32>,
        slice: Option<&SliceSource>,
    ) -> Result<String, IndexError> {
        let real = path.to_string_lossy();
        let pseudonym = self.pseudonyms.pseudonym(Kind::File, &real);
        (self.sink)(Link {
            kind: "file".to_owned(),
            pseudonym: pseudonym.clone(),
            real: real.into_owned(),
            series: series.map(str::to_owned),
            position,
            frame: slice.map(|slice| slice.frame),
            scale: slice.map(|slice| slice.scale),
            k: slice.map(|slice| slice.k),
        })?;
        Ok(pseudonym)
    }

    /// Adds a file to the quarantine.
    pub(super) fn refuse(
        &mut self,
        path: &Path,
        series: Option<&str>,
        reason: &str,
    ) -> Result<(), IndexError> {
        let file = self.link_file(path, series, None)?;
        self.store.refuse(&file, series, reason)
    }

    /// A row for every frame of an image file.
    pub(super) fn add_image(&mut self, image: &ImageFile) -> Result<(), IndexError> {
        let ImageFile { path, head, named } = image;
        let file = path.to_string_lossy();
        let (subject, session, modality) = match named {
            Some(named) => (&*named.subject, &*named.session, named.modality.as_str()),
            None => (&*file, "", naming::word(path)),
        };
        let session = format!("{}\n{subject}\n{session}", self.source.name);
        let files: Vec<PathBuf> =
            [path.to_owned()].into_iter().chain(head.data_files().iter().cloned()).collect();
        let mut states = States::new();
        for file in &files {
            let state = self.store.state(&self.source.name, &file.to_string_lossy())?;
            states.extend(state.map(|state| (file.clone(), state)));
        }
        let identity = |series: String| Identity {
            subject: subject.to_owned(),
            study: session.clone(),
            session: session.clone(),
            series,
        };
        if let Some(kind) = named.as_ref().map_or(head.kind, |named| named.kind) {
            return self.add_other(&identity(file.to_string()), head.format, kind, &files, &states);
        }
        for frame in 0..head.frames {
            let series =
                if head.frames == 1 { file.to_string() } else { format!("{file}\nframe {frame}") };
            let row = self.row(&identity(series), head.format, modality, &files, &states)?;
            let Some(row) = self.first(row, &files)? else { continue };
            let row = CohortRow {
                frame: frame as u32,
                status: "volume".to_owned(),
                reason: (!head.remarks.is_empty()).then(|| head.remarks.join("; ")),
                ..row.with_grid(&head.grid)
            };
            for (position, path) in files.iter().enumerate() {
                self.link_file(path, Some(&row.series), Some(position as u32))?;
            }
            self.cohort.rows.push(row);
        }
        Ok(())
    }

    fn add_dicom(&mut self, assembly: Assembly, states: &States) -> Result<(), IndexError> {
        for found in assembly.series {
            let files = SliceSource::files(&found.slices);
            let check = damaged::check(&self.lacking, &found.identity.series, &found.slices);
            if let Err(reason) = check {
                self.refuse_series(Some(&found.identity), &files, &reason)?;
                continue;
            }
            let modality = found.modality.as_str();
            let frame = found.frame_of_reference.as_deref();
            let frame = frame.map(|uid| self.link(Kind::Frame, "frame", uid)).transpose()?;
            let row = self.row(&found.identity, Format::Dicom, modality, &files, states)?;
            let Some(row) = self.first(row, &files)? else { continue };
            let row = CohortRow {
                body_part: found.body_part.map(str::to_owned),
                frame_of_reference: frame,
                status: "volume".to_owned(),
                reason: (!found.remarks.is_empty()).then(|| found.remarks.join("; ")),
                missing_slices: found.missing_slices as u32,
                ..row.with_grid(&found.grid)
            };
            for (position, slice) in found.slices.iter().enumerate() {
                let position = Some(position as u32);
                self.link_slice(&slice.file, Some(&row.series), position, Some(slice))?;
            }
            self.cohort.rows.push(row);
        }
        for other in assembly.others {
            self.add_other(&other.identity, Format::Dicom, other.kind, &other.files, states)?;
        }
        for refused in assembly.refused {
            self.refuse_series(refused.identity.as_ref(), &refused.files, &refused.reason)?;
        }
        Ok(())
    }

    fn refuse_series(
        &mut self,
        identity: Option<&Identity>,
        files: &[PathBuf],
        error: &SeriesError,
    ) -> Result<(), IndexError> {
        let series = match identity {
            None => None,
            Some(identity) => {
                self.link(Kind::Subject, "subject", &identity.subject)?;
                Some(self.link(Kind::Series, "series", &identity.series)?)
            }
        };
        let reason = reason(error);
        for path in files {
            self.refuse(path, series.as_deref(), &reason)?;
        }
        Ok(())
    }

    /// A row of what is listed and is no volume.
    fn add_other(
        &mut self,
        identity: &Identity,
        format: Format,
        kind: &str,
        files: &[PathBuf],
        states: &States,
    ) -> Result<(), IndexError> {
        let row = self.row(identity, format, kind, files, states)?;
        let Some(row) = self.first(row, files)? else { return Ok(()) };
        for (position, path) in files.iter().enumerate() {
            self.link_file(path, Some(&row.series), Some(position as u32))?;
        }
        let reason = Some(format!("{kind} is not a volume"));
        self.cohort.rows.push(CohortRow { reason, ..row });
        Ok(())
    }

    /// The row of a series that is not listed yet. Another one is added as it is, with the
    /// reason, and without slices.
    fn first(
        &mut self,
        row: CohortRow,
        files: &[PathBuf],
    ) -> Result<Option<CohortRow>, IndexError> {
        let first = match self.listed.entry(row.series.clone()) {
            Entry::Vacant(place) => {
                place.insert(row.source.clone());
                return Ok(Some(row));
            }
            Entry::Occupied(first) => first.get().clone(),
        };
        for path in files {
            self.link_file(path, Some(&row.series), None)?;
        }
        let reason =
            format!("a series of source {first:?} has the same identifier, and is taken for both");
        self.cohort.rows.push(CohortRow { reason: Some(reason), ..row });
        Ok(None)
    }

    /// A row of status `other` without geometry.
    fn row(
        &mut self,
        identity: &Identity,
        format: Format,
        modality: &str,
        files: &[PathBuf],
        states: &States,
    ) -> Result<CohortRow, IndexError> {
        let states: Vec<State> =
            files.iter().filter_map(|path| states.get(path)).copied().collect();
        let seen: Vec<(u64, u128)> =
            states.iter().map(|state| (state.size, state.modified)).collect();
        let mut seen = format!("{seen:?}");
        let changes: u32 = states.iter().map(|state| state.changes).sum();
        if changes > 0 {
            seen.push_str(&format!(" {changes}"));
        }
        Ok(CohortRow {
            source: self.source.name.clone(),
            subject: self.link(Kind::Subject, "subject", &identity.subject)?,
            session: self.link(Kind::Session, "session", &identity.session)?,
            study: self.link(Kind::Study, "study", &identity.study)?,
            series: self.link(Kind::Series, "series", &identity.series)?,
            modality: modality.to_owned(),
            body_part: None,
            shape: None,
            spacing_mm: None,
            affine: None,
            frame_of_reference: None,
            format: format.as_str().to_owned(),
            frame: 0,
            missing_slices: 0,
            files: files.len() as u32,
            fingerprint: durable::sha256_hex(seen.as_bytes()),
            status: "other".to_owned(),
            reason: None,
        })
    }
}
