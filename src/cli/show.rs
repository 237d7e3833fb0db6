//! `mivox show`

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, bail};
use clap::Args;

use super::{
    End, index,
    job::{self, counted, say},
};
use crate::{
    cohort::{self, Index, Scan, Source, naming::Pattern, scans},
    io::series::Missing,
    prepare::VolumeRow,
    progress::Progress,
    sheet::{self, Cell, Convention, Settings},
    stop,
    study::Pseudonymizer,
    table,
};

pub(super) const EXAMPLE: &str = "Example:\n  mivox show /data/scans --out sheet.png\n\n\
Of a results folder the prepared volumes are shown, or else the scans of its cohort.\n\
Labels are pseudonyms. Without --key-file their key is made anew and forgotten: they tell\n\
the volumes of a sheet apart, and nothing else.";

#[derive(Args)]
pub(super) struct ShowArgs {
    /// A folder of scans, a file, or a results folder
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The sheet to write; further pages get a number behind the name
    #[arg(long, value_name = "FILE.png", default_value = "sheet.png")]
    out: PathBuf,
    /// What NIfTI names in IN mean, see `mivox convert --help`
    #[arg(long)]
    pattern: Option<String>,
    /// What becomes of DICOM series that lack slices: "refuse", or "fill" to interpolate
    /// up to a quarter of them, at most three one behind the other
    #[arg(long, value_name = "HOW", default_value = "refuse", value_parser = Missing::from_str)]
    missing: Missing,
    /// The patient's left on the left, as neurologists see it
    #[arg(long)]
    neurological: bool,
    /// Hounsfield units of CT that are black and white
    #[arg(
        long,
        value_name = "LOW,HIGH",
        default_value = "-160,240",
        allow_hyphen_values = true,
        value_parser = window
    )]
    ct_window: [f32; 2],
    /// Side in pixels of the square that each plane is fitted into
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(64..=1024))]
    tile: u16,
    /// Volumes beside each other
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    columns: u16,
    /// Volumes above each other
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    rows: u16,
    /// The file with the pseudonyms' key of a results folder, to label scans as there
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// GiB of memory for the voxels of volumes that are read at the same time
    #[arg(long, value_name = "GIB", default_value_t = 2.0)]
    memory: f64,
}

/// Two numbers with a comma between them, the lower one first.
fn window(text: &str) -> Result<[f32; 2], String> {
    let numbers = text.split_once(',').map(|(low, high)| [low, high].map(|n| n.trim().parse()));
    match numbers {
        Some([Ok(low), Ok(high)]) if f32::is_finite(low) && f32::is_finite(high) && low < high => {
            Ok([low, high])
        }
        _ => Err("two numbers, the lower one first, such as -160,240".to_owned()),
    }
}

impl ShowArgs {
    fn settings(&self) -> anyhow::Result<Settings> {
        job::check_memory(self.memory)?;
        Ok(Settings {
            convention: match self.neurological {
                true => Convention::Neurological,
                false => Convention::Radiological,
            },
            ct_window_hu: self.ct_window,
            tile: usize::from(self.tile),
            columns: usize::from(self.columns),
            rows: usize::from(self.rows),
        })
    }
}

/// What is to be shown.
struct Found {
    scans: Vec<Scan>,
    /// Whether the numbers are those of the scans.
    calibrated: bool,
    /// Files that are no volume and should be.
    unused: usize,
}

pub(super) fn run(args: &ShowArgs) -> anyhow::Result<End> {
    let settings = args.settings()?;
    stop::listen().context("signals cannot be listened to")?;
    let found = match results(&args.input)? {
        Some(found) => Some(found),
        None => below(args)?,
    };
    let Some(mut found) = found else { return Ok(End::Stopped) };
    if found.scans.is_empty() {
        bail!("no volume was found; `mivox index` says why each file is none");
    }
    found.scans.sort_by(|a, b| {
        let key = |scan: &Scan| {
            let row = &scan.row;
            [&row.subject, &row.session, &row.modality, &row.series].map(Clone::clone)
        };
        key(a).cmp(&key(b))
    });
    let progress = Progress::new("show", "volumes", found.scans.len());
    let (volumes, unused) = (counted(found.scans.len(), "volume"), found.unused);
    let note = match unused {
        _ if !found.calibrated => format!("{volumes}, prepared: CT by percentiles like the others"),
        0 => volumes,
        _ => format!("{volumes}; {} not used", counted(unused, "file")),
    };
    // The voxels, and a copy of them where an oblique volume is smoothed.
    let bytes = |scan: &Scan| scan.voxel_count() * 8.0;
    let pages = found.scans.len().div_ceil(settings.page());
    let mut failed = 0;
    for (n, scans) in found.scans.chunks(settings.page()).enumerate() {
        let cells = job::within_memory(scans, args.memory, bytes, |scan| {
            let cell = Cell::of(scan, found.calibrated, &settings);
            progress.advance(1);
            cell
        });
        let cells: Option<Vec<Cell>> = cells.into_iter().collect();
        let Some(cells) = cells else {
            eprintln!("stopped after {n} of {pages} pages");
            return Ok(End::Stopped);
        };
        failed += cells.iter().filter(|cell| cell.picture.is_err()).count();
        sheet::write_page(&args.out, &cells, &settings, &note, (n + 1, pages))?;
    }
    progress.finish();
    say("show", &format!("{note} on {}; {failed} cannot be shown", counted(pages, "page")));
    Ok(if failed + unused > 0 { End::Quarantined } else { End::Good })
}

/// The volumes of a results folder; none where it is no such folder.
fn results(folder: &Path) -> anyhow::Result<Option<Found>> {
    let path = |name: &str| folder.join(name);
    if path("volumes.parquet").exists() {
        let rows: Vec<VolumeRow> = table::read(&path("volumes.parquet"))?;
        let scans: Result<_, _> = rows.iter().map(|row| Scan::of_prepared(row, folder)).collect();
        let scans = scans.context("a prepared volume is gone; prepare again")?;
        return Ok(Some(Found { scans, calibrated: false, unused: 0 }));
    }
    if path("cohort.parquet").exists() && path("linkage.parquet").exists() {
        let links: Vec<cohort::Link> = table::read(&path("linkage.parquet"))?;
        let scans = scans(table::read(&path("cohort.parquet"))?, &links);
        let unused = job::quarantined(&path("quarantine.parquet"))?.len();
        return Ok(Some(Found { scans, calibrated: true, unused }));
    }
    Ok(None)
}

/// Every volume below a folder; none where a stop was asked for.
fn below(args: &ShowArgs) -> anyhow::Result<Option<Found>> {
    let pattern = args.pattern.as_deref().map(Pattern::new).transpose()?;
    let path = args.input.clone();
    let source = Source {
        name: "input".to_owned(),
        path,
        unnamed: pattern.is_none(),
        pattern,
        modality: None,
        missing: args.missing,
    };
    let pseudonyms = match &args.key_file {
        Some(file) => Pseudonymizer::open_or_create(file)?,
        None => Pseudonymizer::of_this_run()?,
    };
    let mut index = Index::temporary(&[source])?;
    let unread = index::find(&mut index)?;
    if !index::read(&mut index, false, unread)? {
        return Ok(None);
    }
    let mut links = Vec::new();
    let cohort = index.assemble(&pseudonyms, &mut |link| {
        links.push(link);
        Ok(())
    })?;
    let unused = cohort.quarantined();
    Ok(Some(Found { scans: scans(cohort.rows, &links), calibrated: true, unused }))
}
