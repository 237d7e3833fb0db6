//! From files to rows under pseudonyms.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::{
    Cohort, CohortRow, Found, Link, Quarantined, Source,
    damaged::{self, Damaged},
    look::{Content, Looked, look_at},
    naming::{self, Named},
    reason,
};
use crate::{
    durable,
    io::{
        Format,
        dicom::Instance,
        image::ImageHead,
        series::{self, SeriesError, SliceSource},
    },
    progress::Progress,
    study::{Identity, Kind, Pseudonymizer},
};

/// Adds one source to a cohort: rows under pseudonyms, and the links behind them.
pub(super) struct Builder<'a> {
    pseudonyms: &'a Pseudonymizer,
    source: &'a Source,
    states: HashMap<&'a Path, &'a Found>,
    linked: BTreeSet<String>,
    cohort: Cohort,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        pseudonyms: &'a Pseudonymizer,
        source: &'a Source,
        files: &'a [Found],
        cohort: Cohort,
    ) -> Self {
        let states = files.iter().map(|file| (file.path.as_path(), file)).collect();
        Self { pseudonyms, source, states, linked: BTreeSet::new(), cohort }
    }

    /// The cohort with the volumes of the source's files.
    pub(super) fn add(mut self, files: &[Found], progress: &Progress) -> Cohort {
        let source = self.source;
        let looked: Vec<Looked> = files
            .par_iter()
            .map(|file| {
                let looked = look_at(source, &file.path);
                progress.advance(1);
                looked
            })
            .collect();
        let data_files: HashSet<PathBuf> =
            looked.iter().filter_map(|looked| looked.data_file.clone()).collect();
        let (mut instances, mut damaged) = (Vec::new(), Damaged::default());
        self.cohort.files += files.len();
        for (file, looked) in files.iter().zip(looked) {
            if data_files.contains(&file.path) {
                self.cohort.companions += 1;
                continue;
            }
            match looked.content {
                Ok(Content::Companion) => self.cohort.companions += 1,
                Ok(Content::Dicom(instance)) => instances.push(*instance),
                Ok(Content::Image(head, named)) => {
                    self.add_image(&file.path, &head, named.as_ref())
                }
                Err(error) => {
                    damaged.note(&file.path, &error);
                    self.refuse(&file.path, None, &error);
                }
            }
        }
        self.add_dicom(instances, &damaged);
        self.cohort
    }

    fn link(&mut self, kind: Kind, word: &str, real: &str) -> String {
        let pseudonym = self.pseudonyms.pseudonym(kind, real);
        if self.linked.insert(pseudonym.clone()) {
            self.cohort.links.push(Link {
                kind: word.to_owned(),
                pseudonym: pseudonym.clone(),
                real: real.to_owned(),
                series: None,
                position: None,
                frame: None,
                scale: None,
            });
        }
        pseudonym
    }

    fn link_file(&mut self, path: &Path, series: Option<&str>, position: Option<u32>) -> String {
        self.link_slice(path, series, position, None)
    }

    /// `slice`: which frame, and what its values are multiplied by.
    fn link_slice(
        &mut self,
        path: &Path,
        series: Option<&str>,
        position: Option<u32>,
        slice: Option<(u32, f64)>,
    ) -> String {
        let real = path.to_string_lossy();
        let pseudonym = self.pseudonyms.pseudonym(Kind::File, &real);
        self.cohort.links.push(Link {
            kind: "file".to_owned(),
            pseudonym: pseudonym.clone(),
            real: real.into_owned(),
            series: series.map(str::to_owned),
            position,
            frame: slice.map(|(frame, _)| frame),
            scale: slice.map(|(_, scale)| scale),
        });
        pseudonym
    }

    fn refuse(&mut self, path: &Path, series: Option<&str>, error: &dyn std::error::Error) {
        let file = self.link_file(path, series, None);
        self.cohort.quarantined.push(Quarantined {
            file,
            series: series.map(str::to_owned),
            stage: "index".to_owned(),
            reason: reason(error),
        });
    }

    /// A row for every frame of an image file.
    fn add_image(&mut self, path: &Path, head: &ImageHead, named: Option<&Named>) {
        let source = self.source;
        let file = path.to_string_lossy();
        let (subject, session, modality) = match named {
            Some(named) => (&*named.subject, &*named.session, named.modality.as_str()),
            None => (&*file, "", naming::word(path)),
        };
        let session = format!("{}\n{subject}\n{session}", source.name);
        let files: Vec<PathBuf> =
            [path].into_iter().chain(head.data_file()).map(Path::to_owned).collect();
        let identity = |series: String| Identity {
            subject: subject.to_owned(),
            study: session.clone(),
            session: session.clone(),
            series,
        };
        if let Some(kind) = named.map_or(head.kind, |named| named.kind) {
            return self.add_other(&identity(file.to_string()), head.format, kind, &files);
        }
        for frame in 0..head.frames {
            let series =
                if head.frames == 1 { file.to_string() } else { format!("{file}\nframe {frame}") };
            let row = self.row(&identity(series), head.format, modality, &files);
            let row = CohortRow {
                frame: frame as u32,
                status: "volume".to_owned(),
                reason: (!head.remarks.is_empty()).then(|| head.remarks.join("; ")),
                ..row.with_grid(&head.grid)
            };
            for (position, path) in files.iter().enumerate() {
                self.link_file(path, Some(&row.series), Some(position as u32));
            }
            self.cohort.rows.push(row);
        }
    }

    fn add_dicom(&mut self, instances: Vec<Instance>, damaged: &Damaged) {
        let lacking = damaged.by_series(&instances);
        let assembly = series::assemble(instances);
        for found in assembly.series {
            let files = SliceSource::files(&found.slices);
            if let Err(reason) = damaged::check(&lacking, &found.identity.series, &found.slices) {
                self.refuse_series(Some(&found.identity), &files, &reason);
                continue;
            }
            let modality = found.modality.as_str();
            let frame = found.frame_of_reference.as_deref();
            let frame = frame.map(|uid| self.link(Kind::Frame, "frame", uid));
            let row = self.row(&found.identity, Format::Dicom, modality, &files);
            let row = CohortRow {
                body_part: found.body_part.map(str::to_owned),
                frame_of_reference: frame,
                status: "volume".to_owned(),
                reason: (!found.remarks.is_empty()).then(|| found.remarks.join("; ")),
                ..row.with_grid(&found.grid)
            };
            for (position, slice) in found.slices.iter().enumerate() {
                let (position, part) = (Some(position as u32), Some((slice.frame, slice.scale)));
                self.link_slice(&slice.file, Some(&row.series), position, part);
            }
            self.cohort.rows.push(row);
        }
        for other in assembly.others {
            self.add_other(&other.identity, Format::Dicom, other.kind, &other.files);
        }
        for refused in assembly.refused {
            self.refuse_series(refused.identity.as_ref(), &refused.files, &refused.reason);
        }
    }

    fn refuse_series(
        &mut self,
        identity: Option<&Identity>,
        files: &[PathBuf],
        reason: &SeriesError,
    ) {
        let series = identity.map(|identity| {
            self.link(Kind::Subject, "subject", &identity.subject);
            self.link(Kind::Series, "series", &identity.series)
        });
        for path in files {
            self.refuse(path, series.as_deref(), reason);
        }
    }

    /// A row of what is listed and is no volume.
    fn add_other(&mut self, identity: &Identity, format: Format, kind: &str, files: &[PathBuf]) {
        let row = self.row(identity, format, kind, files);
        for (position, path) in files.iter().enumerate() {
            self.link_file(path, Some(&row.series), Some(position as u32));
        }
        let reason = Some(format!("{kind} is not a volume"));
        self.cohort.rows.push(CohortRow { reason, ..row });
    }

    /// A row of status `other` without geometry.
    fn row(
        &mut self,
        identity: &Identity,
        format: Format,
        modality: &str,
        files: &[PathBuf],
    ) -> CohortRow {
        let states: Vec<(u64, u128)> = files
            .iter()
            .filter_map(|path| self.states.get(path.as_path()))
            .map(|state| (state.size, state.modified))
            .collect();
        CohortRow {
            source: self.source.name.clone(),
            subject: self.link(Kind::Subject, "subject", &identity.subject),
            session: self.link(Kind::Session, "session", &identity.session),
            study: self.link(Kind::Study, "study", &identity.study),
            series: self.link(Kind::Series, "series", &identity.series),
            modality: modality.to_owned(),
            body_part: None,
            shape: None,
            spacing_mm: None,
            affine: None,
            frame_of_reference: None,
            format: format.as_str().to_owned(),
            frame: 0,
            files: files.len() as u32,
            fingerprint: durable::sha256_hex(format!("{states:?}").as_bytes()),
            status: "other".to_owned(),
            reason: None,
        }
    }
}
