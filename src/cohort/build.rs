//! From files to rows under pseudonyms.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::{
    Cohort, CohortRow, Found, InputError, Link, Quarantined, Source, is_companion,
    naming::{self, read_name},
};
use crate::{
    durable,
    geometry::Grid,
    io::{
        Format,
        dicom::{self, Instance},
        nifti, series, sniff,
    },
    progress::Progress,
    study::{Identity, Kind, Pseudonymizer},
};

/// What one file is.
enum Content {
    Dicom(Box<Instance>),
    /// Without what its name says where it says nothing, and may.
    Nifti(Grid, Option<naming::Named>),
    Companion,
}

fn look_at(source: &Source, path: &Path) -> Result<Content, InputError> {
    let relative = path.strip_prefix(&source.path).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    let relative = match &parts[..] {
        // The source is this file.
        [] => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        parts => parts.join("/"),
    };
    match sniff(path) {
        Ok(Format::Dicom) => {
            let mut instance = dicom::open_header(path)?;
            let named = source.pattern.as_ref().and_then(|p| p.subject(&relative));
            instance.complete(named.or_else(|| source.unnamed.then_some(relative)))?;
            Ok(Content::Dicom(Box::new(instance)))
        }
        Ok(Format::Nifti) => match read_name(&relative, source.pattern.as_ref(), source.modality) {
            Ok(Some(named)) => Ok(Content::Nifti(nifti::open_grid(path)?.grid, Some(named))),
            Err(_) if source.unnamed => Ok(Content::Nifti(nifti::open_grid(path)?.grid, None)),
            Ok(None) => Ok(Content::Companion),
            Err(error) => Err(error.into()),
        },
        Err(_) if is_companion(path) => Ok(Content::Companion),
        Err(error) => Err(error.into()),
    }
}

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
        let contents: Vec<Result<Content, InputError>> = files
            .par_iter()
            .map(|file| {
                let content = look_at(source, &file.path);
                progress.advance(1);
                content
            })
            .collect();
        let mut instances = Vec::new();
        self.cohort.files += files.len();
        for (file, content) in files.iter().zip(contents) {
            match content {
                Ok(Content::Companion) => self.cohort.companions += 1,
                Ok(Content::Dicom(instance)) => instances.push(*instance),
                Ok(Content::Nifti(grid, named)) => self.add_nifti(&file.path, grid, named),
                Err(error) => self.refuse(&file.path, None, &error),
            }
        }
        self.add_dicom(instances);
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
            });
        }
        pseudonym
    }

    fn link_file(&mut self, path: &Path, series: Option<&str>, position: Option<u32>) -> String {
        let real = path.to_string_lossy();
        let pseudonym = self.pseudonyms.pseudonym(Kind::File, &real);
        self.cohort.links.push(Link {
            kind: "file".to_owned(),
            pseudonym: pseudonym.clone(),
            real: real.into_owned(),
            series: series.map(str::to_owned),
            position,
        });
        pseudonym
    }

    fn refuse(&mut self, path: &Path, series: Option<&str>, error: &dyn std::error::Error) {
        let file = self.link_file(path, series, None);
        self.cohort.quarantined.push(Quarantined {
            file,
            series: series.map(str::to_owned),
            stage: "index".to_owned(),
            reason: error.to_string(),
        });
    }

    fn add_nifti(&mut self, path: &Path, grid: Grid, named: Option<naming::Named>) {
        let source = self.source;
        let file = path.to_string_lossy();
        let (subject, session, modality) = match named {
            Some(named) => (named.subject, named.session, named.modality.as_str()),
            None => (file.clone().into_owned(), String::new(), naming::word(path)),
        };
        let session = format!("{}\n{subject}\n{session}", source.name);
        let identity =
            Identity { subject, study: session.clone(), session, series: file.into_owned() };
        let row = self.row(&identity, Format::Nifti, modality, &[path.to_owned()]);
        let row = CohortRow { status: "volume".to_owned(), ..row.with_grid(&grid) };
        self.link_file(path, Some(&row.series), Some(0));
        self.cohort.rows.push(row);
    }

    fn add_dicom(&mut self, instances: Vec<Instance>) {
        let assembly = series::assemble(instances);
        for found in assembly.series {
            let modality = found.modality.as_str();
            let frame = found.frame_of_reference.as_deref();
            let frame = frame.map(|uid| self.link(Kind::Frame, "frame", uid));
            let row = self.row(&found.identity, Format::Dicom, modality, &found.files);
            let row = CohortRow {
                body_part: found.body_part.map(str::to_owned),
                frame_of_reference: frame,
                status: "volume".to_owned(),
                reason: (!found.remarks.is_empty()).then(|| found.remarks.join("; ")),
                ..row.with_grid(&found.grid)
            };
            for (position, path) in found.files.iter().enumerate() {
                self.link_file(path, Some(&row.series), Some(position as u32));
            }
            self.cohort.rows.push(row);
        }
        for other in assembly.others {
            let row = self.row(&other.identity, Format::Dicom, other.kind, &other.files);
            for (position, path) in other.files.iter().enumerate() {
                self.link_file(path, Some(&row.series), Some(position as u32));
            }
            let reason = Some(format!("{} is not a volume", other.kind));
            self.cohort.rows.push(CohortRow { reason, ..row });
        }
        for refused in assembly.refused {
            let series = refused.identity.as_ref().map(|identity| {
                self.link(Kind::Subject, "subject", &identity.subject);
                self.link(Kind::Series, "series", &identity.series)
            });
            for path in &refused.files {
                self.refuse(path, series.as_deref(), &refused.reason);
            }
        }
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
            files: files.len() as u32,
            fingerprint: durable::sha256_hex(format!("{states:?}").as_bytes()),
            status: "other".to_owned(),
            reason: None,
        }
    }
}
