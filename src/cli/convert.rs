//! `mivox convert`

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io::Write,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::{
    End, index,
    job::{self, counted, say},
};
use crate::{
    cohort::{
        Cohort, Index, IndexError, Quarantined, Scan, Source, naming::Pattern, reason, scans,
    },
    convert::{
        BYTES_PER_VOXEL, Left, Naming, Settings, Stored, bids_ignored, convert, remove_left,
    },
    durable::{self, DurableError, Lock},
    io::series::Missing,
    progress::Progress,
    stop,
    study::{Kind, Modality, Pseudonymizer},
    table,
};

pub(super) const EXAMPLE: &str = "Example:\n  mivox convert /data/scans converted --like bids\n\n\
Images lie below OUT/nifti, or as a BIDS dataset in OUT/bids: nothing in there says who a\n\
pseudonym is. The tables beside them do: keep what is named linkage, and pseudonym.key, to yourself.";

#[derive(Args)]
pub(super) struct ConvertArgs {
    /// A folder of scans, DICOM or NIfTI, or one file
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The folder to write to
    out: PathBuf,
    /// What NIfTI names in IN mean, for example
    /// "{subject}/study{session}_{modality}.nii.gz"; BIDS where it is not given
    #[arg(long)]
    pattern: Option<String>,
    /// The modality of NIfTI files whose names do not say it
    #[arg(long)]
    modality: Option<String>,
    /// What becomes of DICOM series that lack slices: "refuse", or "fill" to interpolate
    /// up to a quarter of them, at most three one behind the other
    #[arg(long, value_name = "HOW", default_value = "refuse", value_parser = Missing::from_str)]
    missing: Missing,
    /// Lay the files out like this
    #[arg(long, value_enum, conflicts_with = "name")]
    like: Option<Like>,
    /// What files are called, of {subject}, {session}, {study}, {series} and
    /// {modality}, all of them pseudonyms but the last; BIDS-like where it is not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Do not compress: .nii in place of .nii.gz
    #[arg(long)]
    uncompressed: bool,
    /// The intensity of voxels that were not measured (DICOM's padding); without
    /// it they are NaN, which makes the file float32
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    padding: Option<f32>,
    /// A file with the pseudonyms' key, in place of OUT/pseudonym.key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// GiB of memory for the voxels of volumes that are converted at the same
    /// time; a larger volume is converted alone
    #[arg(long, value_name = "GIB", default_value_t = 2.0)]
    memory: f64,
    /// Stop where the index refuses a file, or at the first volume that cannot be used
    #[arg(long)]
    fail_first: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Like {
    /// The Brain Imaging Data Structure, <https://bids.neuroimaging.io>
    Bids,
}

impl ConvertArgs {
    fn settings(&self) -> anyhow::Result<Settings> {
        let naming = match (&self.name, self.like) {
            (Some(name), _) => Naming::from_pattern(name)?,
            (None, Some(Like::Bids)) => Naming::Bids,
            (None, None) => Naming::Flat,
        };
        if self.padding.is_some_and(|value| !value.is_finite()) {
            bail!("--padding must be a finite number");
        }
        job::check_memory(self.memory)?;
        Ok(Settings { naming, gzip: !self.uncompressed, padding: self.padding })
    }

    fn source(&self) -> anyhow::Result<Source> {
        let modality: Option<Modality> = self.modality.as_deref().map(str::parse).transpose()?;
        Ok(Source {
            // Not the folder's name: exports are often named after patients.
            name: "input".to_owned(),
            path: self.input.clone(),
            pattern: self.pattern.as_deref().map(Pattern::new).transpose()?,
            modality,
            unnamed: false,
            missing: self.missing,
        })
    }
}

pub(super) fn run(args: &ConvertArgs) -> anyhow::Result<End> {
    let settings = args.settings()?;
    let source = args.source()?;
    stop::listen().context("signals cannot be listened to")?;
    refuse_inside(&args.out, &args.input)?;
    let _lock = Lock::take(&args.out)?;
    refuse_pipeline(&args.out)?;
    let key = args.key_file.clone().unwrap_or_else(|| args.out.join("pseudonym.key"));
    let pseudonyms = Pseudonymizer::open_or_create(&key)?;
    let mut index = Index::open(&args.out.join("linkage.sqlite"), &[source])?;
    let unread = index::find(&mut index)?;
    if !index::read(&mut index, false, unread)? {
        eprintln!("stopped; the same command goes on from here");
        return Ok(End::Stopped);
    }
    let mut links = Vec::new();
    let cohort = index.assemble(&pseudonyms, &mut |link| {
        links.push(link);
        Ok(())
    })?;
    index::summarise(&cohort, unread);
    let mut quarantined = Vec::new();
    index.quarantined(|row| {
        quarantined.push(row);
        Ok::<_, IndexError>(())
    })?;
    let scans = scans(cohort.rows.iter().cloned(), &links);
    table::write_private(&args.out.join("linkage.parquet"), links)?;
    write_tables(&args.out, &cohort, &quarantined)?;
    if args.fail_first
        && let Some(first) = quarantined.first()
    {
        bail!("{}: {} (linkage.parquet has its path)", first.file, first.reason);
    }
    let bids = settings.naming == Naming::Bids;
    let folder = args.out.join(if bids { "bids" } else { "nifti" });
    let names = settings.naming.names(&scans.iter().map(|scan| &scan.row).collect::<Vec<_>>())?;
    let progress = Progress::new("convert", "volumes", scans.len());
    let memory = (args.memory, BYTES_PER_VOXEL);
    let results = job::each_scan(&scans, memory, args.fail_first, |n, last| {
        let result = convert(&scans[n], &settings, &folder, &names[n], last);
        progress.advance(1);
        result
    });
    progress.finish();

    let mut stored: BTreeMap<Stored, usize> = BTreeMap::new();
    let (mut refused, mut complete) = (0, true);
    for (scan, result) in scans.iter().zip(results) {
        match result {
            None => complete = false,
            Some(Ok(how)) => *stored.entry(how).or_default() += 1,
            Some(Err(error)) => {
                if args.fail_first {
                    bail!("{}: {error}", scan.row.series);
                }
                refused += 1;
                quarantined.extend(scan.files().iter().map(|path| Quarantined {
                    file: pseudonyms.pseudonym(Kind::File, &path.to_string_lossy()),
                    series: Some(scan.row.series.clone()),
                    stage: "convert".to_owned(),
                    reason: reason(&error),
                }));
            }
        }
    }
    if bids {
        write_bids_files(&folder, &scans)?;
    }
    write_tables(&args.out, &cohort, &quarantined)?;
    if complete && folder.exists() {
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        let found = cohort.rows.iter().map(|row| row.series.as_str());
        let refused = quarantined.iter().filter_map(|row| row.series.as_deref());
        let left = remove_left(&folder, &names, &found.chain(refused).collect());
        tell(&left.context("what an earlier run left cannot be looked at")?);
    }
    let count = |how| counted(stored.get(&how).copied().unwrap_or(0), "volume");
    say(
        "convert",
        &format!(
            "{} as int16, {} as float32; {refused} refused",
            count(Stored::Int16),
            count(Stored::Float32)
        ),
    );
    if !complete {
        eprintln!("stopped; the same command goes on from here");
        return Ok(End::Stopped);
    }
    if stored.is_empty() {
        bail!("no volume could be converted; quarantine.parquet says why");
    }
    if !quarantined.is_empty() {
        let files = counted(quarantined.len(), "file");
        eprintln!("not used: {files}; quarantine.parquet says why");
        return Ok(End::Quarantined);
    }
    Ok(End::Good)
}

/// Results below the input would be found as scans by the next run.
fn refuse_inside(out: &Path, input: &Path) -> anyhow::Result<()> {
    let absolute = |path: &Path| path.canonicalize().context("a folder cannot be found");
    // Of what is not there yet, where it would be made.
    let made = out.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    if absolute(made)?.starts_with(absolute(input)?) {
        bail!("the output folder lies in the input folder; choose another one");
    }
    Ok(())
}

/// The tables are of another cohort than the pipeline's, which would not be told.
fn refuse_pipeline(out: &Path) -> anyhow::Result<()> {
    if out.join("stages").exists() {
        bail!("the output folder holds the results of a pipeline; choose another one");
    }
    Ok(())
}

/// Says what earlier runs left.
fn tell(left: &Left) {
    if left.removed > 0 {
        let images = counted(left.removed, "image");
        eprintln!("removed: {images} of an earlier run, whose series are now called otherwise");
    }
    if left.others > 0 {
        let images = counted(left.others, "image");
        eprintln!("WARNING: {images} of an earlier run stay, whose series were not found");
    }
}

fn write_tables(out: &Path, cohort: &Cohort, quarantined: &[Quarantined]) -> anyhow::Result<()> {
    let path = out.join("quarantine.parquet");
    let rows = [job::pulled(&path)?, quarantined.to_vec()].concat();
    table::write(&path, rows, &[])?;
    let metadata = [("mivox.version", env!("CARGO_PKG_VERSION").to_owned())];
    table::write(&out.join("cohort.parquet"), cohort.rows.clone(), &metadata)?;
    Ok(())
}

/// The files at the top of a BIDS dataset.
///
/// # Source
/// BIDS 1.10, "Modality-agnostic files".
fn write_bids_files(folder: &Path, scans: &[Scan]) -> anyhow::Result<()> {
    let description = serde_json::json!({
        "Name": "Scans under pseudonyms",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "GeneratedBy": [{ "Name": "mivox", "Version": env!("CARGO_PKG_VERSION") }],
    });
    let subjects: BTreeSet<&str> = scans.iter().map(|scan| scan.row.subject.as_str()).collect();
    let participants: String = subjects.iter().map(|subject| format!("{subject}\n")).collect();
    let files = [
        ("dataset_description.json", format!("{description:#}\n")),
        ("participants.tsv", format!("participant_id\n{participants}")),
        (".bidsignore", bids_ignored().to_owned()),
        (
            "README",
            "Converted by mivox. Subjects and sessions are pseudonyms; the JSON file beside\n\
             each image says how it was read, under \"Mivox\".\n"
                .to_owned(),
        ),
    ];
    for (name, text) in files {
        durable::write_atomically(&folder.join(name), |out| {
            out.write_all(text.as_bytes()).map_err(|source| DurableError::Io {
                action: "write",
                name: name.to_owned(),
                source,
            })
        })?;
    }
    Ok(())
}
