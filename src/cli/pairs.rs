//! `mivox pairs`

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use rand::{SeedableRng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    job::{Job, counted, say},
    register,
};
use crate::{
    pairing::{self, Changes, HELD_OUT, Kind, PairRow, Side, TRAIN},
    sheet::pairs::{PairCell, grey, write_pairs},
    table,
    view::Volumes,
};

pub(super) const EXAMPLE: &str = "Example:\n  \
mivox pairs pipelines/default.toml --input /data/scans --out results\n  \
mivox pairs pipelines/default.toml --input /data/scans --out results --sheet pairs.png\n\n\
The sheet shows both views of some pairs as the encoder will see them, augmentations and\n\
masks included: whether they are the same to a person is what the encoder will be told.";

#[derive(Args)]
pub(super) struct SheetArgs {
    /// Draw some training pairs of each kind, as the encoder will see them, on a picture
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// How many pairs the sheet shows
    #[arg(long, value_name = "N", default_value_t = 24, requires = "sheet",
          value_parser = clap::value_parser!(u16).range(1..=400))]
    pairs: u16,
}

/// Slices of a slab or box that a sheet shows at most.
const SLICES: usize = 7;

/// Shares of a view's values that are black and white on a sheet.
const WINDOW: [f64; 2] = [0.005, 0.995];

pub(super) fn run_with_sheet(job: &Job, args: &SheetArgs) -> anyhow::Result<bool> {
    let complete = run(job)?;
    if let (true, Some(path)) = (complete, &args.sheet) {
        let mut pairs: Vec<PairRow> = table::read(&job.run_path("pairs.parquet"))?;
        pairs.retain(|pair| pair.split == TRAIN);
        let cells = cells(job, &pairs, usize::from(args.pairs))?;
        let notes = [
            format!("as the encoder will see them; seed {}", job.config.seed),
            match job.config.view.depth() {
                1 => "left the anchor, right the positive".to_owned(),
                _ => "above the anchor, below the positive; slices along the normal".to_owned(),
            },
            match job.config.view.plane {
                crate::view::Plane::Sagittal => "sagittal: anterior is on the left".to_owned(),
                plane => format!("{plane}: the patient's right is on the left"),
            },
        ];
        write_pairs(path, &cells, 4, &notes)?;
        say("pairs", &format!("{} on the sheet", counted(cells.len(), "pair")));
    }
    Ok(complete)
}

/// Some training pairs of each kind, drawn by the seed, both sides as a batch would have them.
fn cells(job: &Job, pairs: &[PairRow], count: usize) -> anyhow::Result<Vec<PairCell>> {
    let config = &job.config;
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    // The sheet is one batch: what is moved alike there is moved alike here.
    let mut shared = rng.clone();
    shared.set_stream(1);
    let kinds: Vec<Vec<&PairRow>> = Kind::ALL
        .into_iter()
        .map(|kind| pairs.iter().filter(|pair| pair.is(kind)).collect::<Vec<_>>())
        .filter(|pairs| !pairs.is_empty())
        .collect();
    let volumes = job.volumes()?;
    let mut cells = Vec::new();
    for (n, of_kind) in kinds.iter().enumerate() {
        let share = count / kinds.len() + usize::from(n < count % kinds.len());
        let mut drawn = of_kind.iter().copied().sample(&mut rng, share);
        drawn.sort_by_key(|pair| (&pair.subject, &pair.anchor_series));
        for pair in drawn {
            cells.push(cell(job, &volumes, pair, &mut rng, &shared)?);
        }
    }
    Ok(cells)
}

fn cell(
    job: &Job,
    volumes: &Volumes,
    pair: &PairRow,
    rng: &mut ChaCha8Rng,
    shared: &ChaCha8Rng,
) -> anyhow::Result<PairCell> {
    let config = &job.config;
    let size = config.view.size;
    let mut sides = [Vec::new(), Vec::new()];
    for (side, pictures) in Side::BOTH.into_iter().zip(&mut sides) {
        let mut values = vec![0.0; config.view.voxels()];
        let changes =
            Changes { augments: &config.train.augment, rng: &mut *rng, shared: shared.clone() };
        pair.see(side, volumes, &config.view, Some(changes), &mut values)?;
        let range = window(&values);
        let depth = config.view.depth();
        let shown = depth.min(SLICES);
        *pictures = (0..shown)
            .map(|n| (n * 2 + 1) * depth / (2 * shown))
            .filter_map(|slice| values.get(slice * size * size..(slice + 1) * size * size))
            .map(|slice| grey(slice, size, range))
            .collect();
    }
    let distance = match pair.distance_mm {
        Some(distance) => format!("{distance:.1} mm"),
        None => "no common world".to_owned(),
    };
    let context = pair.context.as_deref().map_or_else(String::new, |word| format!(" {word}"));
    let place = |side| {
        let (series, modality, centre) = pair.side(side);
        // Without the sign of a zero.
        let [x, y, z] = centre.to_array().map(|mm| mm.round() + 0.0);
        format!("{modality} {series} at {x} {y} {z}")
    };
    let titles = vec![
        format!("{}{context}, {distance}", pair.kind),
        pair.subject.clone(),
        place(Side::Anchor),
        place(Side::Positive),
    ];
    Ok(PairCell { titles, sides })
}

fn window(values: &[f32]) -> [f32; 2] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    WINDOW.map(|share| {
        let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
        sorted.get(at).copied().unwrap_or(0.0)
    })
}

pub(super) fn run(job: &Job) -> anyhow::Result<bool> {
    let config = &job.config;
    let depends = (&config.pairs, &config.view, config.seed);
    let stamp = job.stamp("pairs", Some(register::before_pairs(job)), &depends)?;
    let output = job.run_path("pairs.parquet");
    if stamp.is_set(std::slice::from_ref(&output)) {
        say("pairs", "unchanged");
        return Ok(true);
    }
    stamp.clear()?;
    let split = job.split(&job.volume_rows()?);
    let plan = pairing::plan(&job.volumes()?, &config.pairs, &config.view, &split, config.seed)?;
    for remark in &plan.remarks {
        let warning = if remark.is_warning() { "WARNING: " } else { "" };
        say("pairs", &format!("{warning}{remark}"));
    }
    let pairs = plan.pairs;
    if split.held_out_count() == 0 {
        say("pairs", "WARNING: no subject is held out, so the encoder cannot be evaluated");
    }
    summarise(&pairs);
    table::write(&output, pairs, &[("mivox.seed", config.seed.to_string())])?;
    stamp.set()?;
    Ok(true)
}

fn summarise(pairs: &[PairRow]) {
    let mut kinds: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for pair in pairs {
        kinds.entry(&pair.kind).or_default()[usize::from(pair.split == HELD_OUT)] += 1;
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, [train, held_out])| format!("{kind} {train} + {held_out} held out"))
        .collect();
    say("pairs", &format!("{}: {}", counted(pairs.len(), "pair"), kinds.join(", ")));
}
