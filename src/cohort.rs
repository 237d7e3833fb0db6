//! Index: the series found below some folders, as a table.

pub mod naming;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use crate::{
    durable,
    geometry::{Grid, affine_from_flat, affine_to_flat},
    io::{
        Format, SniffError,
        dicom::{self, DicomError, Instance},
        nifti::{self, NiftiError},
        series::{self, SeriesError},
        sniff,
    },
    progress::Progress,
    study::{Identity, Kind, Modality, Pseudonymizer},
    table::{self, TableError, record},
};

use naming::{NameError, Pattern, read_name};
pub use walk::{Found, is_companion, walk};

/// A folder of scans.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the tables.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// What NIfTI names mean, `None` for BIDS; and whose a DICOM file is that
    /// has no Patient ID.
    pub pattern: Option<Pattern>,
    /// The modality of NIfTI files whose names do not say it.
    pub modality: Option<Modality>,
}

/// Why an index cannot be made at all. What is wrong with one file is a
/// [`Quarantined`] row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A source's folder cannot be read.
    #[error("the folder of source {source_name:?} cannot be read")]
    Source {
        /// Name of the source.
        source_name: String,
        /// What the system said.
        source: io::Error,
    },
    /// No file was found in any source.
    #[error("no file was found in any source")]
    NoFiles,
    /// A table cannot be written or read.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Why one input was not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Neither DICOM nor NIfTI, or not readable.
    #[error(transparent)]
    Sniff(#[from] SniffError),
    /// Not a DICOM image that can be read.
    #[error(transparent)]
    Dicom(#[from] DicomError),
    /// Not a NIfTI volume that can be read.
    #[error(transparent)]
    Nifti(#[from] NiftiError),
    /// Its name does not say whose it is.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its series is not a volume.
    #[error(transparent)]
    Series(#[from] SeriesError),
}

record! {
    /// A row of `cohort.parquet`: a volume, or a series that is none.
    pub struct CohortRow {
        /// The pipeline's name of the source.
        pub source: String,
        /// Pseudonym of the subject.
        pub subject: String,
        /// Pseudonym of the session.
        pub session: String,
        /// Pseudonym of the study.
        pub study: String,
        /// Pseudonym of the series, one for each volume.
        pub series: String,
        /// A word of [`Modality`], or the kind of object where it is no image.
        pub modality: String,
        /// A defined term, where the header has one.
        pub body_part: Option<String>,
        /// Voxels along (i, j, k).
        pub shape: Option<[u32; 3]>,
        /// mm between voxel centres along (i, j, k).
        pub spacing_mm: Option<[f64; 3]>,
        /// RAS+ mm from voxel index, 4 × 4, row by row.
        pub affine: Option<[f64; 16]>,
        /// Pseudonym of the frame of reference.
        pub frame_of_reference: Option<String>,
        /// `dicom` or `nifti`.
        pub format: String,
        /// Files of the series.
        pub files: u32,
        /// Changes when a file of the series does.
        pub fingerprint: String,
        /// `volume`, or `other` for what is listed and not used.
        pub status: String,
        /// Why it is `other`, or what was decided in reading it.
        pub reason: Option<String>,
    }
}

record! {
    /// A row of `quarantine.parquet`: an input that was not used.
    pub struct Quarantined {
        /// Pseudonym of the file; its path is in the linkage.
        pub file: String,
        /// Pseudonym of its series, where it is known.
        pub series: Option<String>,
        /// The stage that refused it.
        pub stage: String,
        /// Why.
        pub reason: String,
    }
}

record! {
    /// A row of `linkage.parquet`, which alone says who is behind a pseudonym.
    pub struct Link {
        /// `subject`, `session`, `study`, `series`, `frame` or `file`.
        pub kind: String,
        /// The pseudonym.
        pub pseudonym: String,
        /// The real identifier or path.
        pub real: String,
        /// Of a file: the series it belongs to.
        pub series: Option<String>,
        /// Of a file: its place in the series, from 0.
        pub position: Option<u32>,
    }
}

/// What an index found.
#[derive(Debug, Default)]
pub struct Cohort {
    /// Volumes and other series.
    pub rows: Vec<CohortRow>,
    /// Files that were not used.
    pub quarantined: Vec<Quarantined>,
    /// Who is behind the pseudonyms.
    pub links: Vec<Link>,
    /// Files looked at.
    pub files: usize,
    /// Files that lie beside scans: sidecars, tables, masks, notes.
    pub companions: usize,
}

/// Indexes sources: every file's header is read once, in parallel, and DICOM
/// files are grouped into series.
///
/// # Errors
/// [`IndexError`] where a source cannot be walked or holds no file.
pub fn index(
    sources: &[(Source, Vec<Found>)],
    pseudonyms: &Pseudonymizer,
    progress: &Progress,
) -> Result<Cohort, IndexError> {
    let mut cohort = Cohort::default();
    for (source, files) in sources {
        let states = files.iter().map(|file| (file.path.as_path(), file)).collect();
        let mut builder = Builder { pseudonyms, source, states, linked: BTreeSet::new(), cohort };
        builder.add(files, progress);
        cohort = builder.cohort;
    }
    if cohort.files == 0 {
        return Err(IndexError::NoFiles);
    }
    // By pseudonym: an order by real id would tell something of the ids.
    cohort.rows.sort_by(|a, b| (&a.subject, &a.series).cmp(&(&b.subject, &b.series)));
    cohort.quarantined.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(cohort)
}

/// What one file is.
enum Content {
    Dicom(Box<Instance>),
    Nifti(Grid, naming::Named),
    Companion,
}

fn look_at(source: &Source, path: &Path) -> Result<Content, InputError> {
    let relative = path.strip_prefix(&source.path).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    let relative = parts.join("/");
    match sniff(path) {
        Ok(Format::Dicom) => {
            let mut instance = dicom::open_header(path)?;
            instance.complete(source.pattern.as_ref().and_then(|p| p.subject(&relative)))?;
            Ok(Content::Dicom(Box::new(instance)))
        }
        Ok(Format::Nifti) => {
            match read_name(&relative, source.pattern.as_ref(), source.modality)? {
                Some(named) => Ok(Content::Nifti(nifti::open_grid(path)?.grid, named)),
                None => Ok(Content::Companion),
            }
        }
        Err(_) if is_companion(path) => Ok(Content::Companion),
        Err(error) => Err(error.into()),
    }
}

/// Adds one source to a cohort: rows under pseudonyms, and the links behind them.
struct Builder<'a> {
    pseudonyms: &'a Pseudonymizer,
    source: &'a Source,
    states: HashMap<&'a Path, &'a Found>,
    linked: BTreeSet<String>,
    cohort: Cohort,
}

impl Builder<'_> {
    fn add(&mut self, files: &[Found], progress: &Progress) {
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

    fn add_nifti(&mut self, path: &Path, grid: Grid, named: naming::Named) {
        let source = self.source;
        let session = format!("{}\n{}\n{}", source.name, named.subject, named.session);
        let identity = Identity {
            subject: named.subject,
            study: session.clone(),
            session,
            series: path.to_string_lossy().into_owned(),
        };
        let row = self.row(&identity, Format::Nifti, named.modality.as_str(), &[path.to_owned()]);
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

impl CohortRow {
    fn with_grid(self, grid: &Grid) -> Self {
        Self {
            shape: Some(grid.shape.map(|n| n as u32)),
            spacing_mm: Some(grid.spacing_mm()),
            affine: Some(affine_to_flat(&grid.ras_from_voxel)),
            ..self
        }
    }

    /// Where the voxels lie, for a row that is a volume.
    pub fn grid(&self) -> Option<Grid> {
        let shape = self.shape?.map(|n| n as usize);
        Some(Grid { shape, ras_from_voxel: affine_from_flat(&self.affine?) })
    }
}

/// The files of every series, in order, from `linkage.parquet`.
///
/// # Errors
/// [`TableError`].
pub fn files_by_series(linkage: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, TableError> {
    let mut files: BTreeMap<String, Vec<(u32, PathBuf)>> = BTreeMap::new();
    for link in table::read::<Link>(linkage)? {
        if let (Some(series), Some(position)) = (link.series, link.position) {
            files.entry(series).or_default().push((position, link.real.into()));
        }
    }
    let in_order = |mut files: Vec<(u32, PathBuf)>| {
        files.sort();
        files.into_iter().map(|(_, path)| path).collect()
    };
    Ok(files.into_iter().map(|(series, files)| (series, in_order(files))).collect())
}
