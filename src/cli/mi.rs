//! `mivox mi`

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, value_parser};

use super::{
    End,
    job::{counted, say},
};
use crate::{
    mi::{self, Estimate, Interval, MiRow, Pairs, Report, Request, Settings},
    objective::bound::{BOUNDS, Baseline, Bound, CRITICS, CriticKind, CriticSettings},
    progress::Progress,
    runtime::{Device, Runtime},
    stop, table,
};

pub(super) const EXAMPLE: &str = "Example:\n  mivox mi results/embeddings clinical.parquet --key subject --column-b age,sex\n\n\
A table is a Parquet file, a folder of parts or a pattern of files in quotes. Its columns are\n\
numbers, lists of numbers of one width, or text of at most 32 different words. How to read the\n\
numbers: docs/mutual-information.md\n\n\
Exit codes: 0 all good; 1 failed; 2 finished, some rows were left out; 75 stopped";

#[derive(Args)]
pub(super) struct MiArgs {
    /// Table A, as of embeddings
    #[arg(value_name = "A.parquet")]
    a: String,
    /// Table B, as of clinical variables
    #[arg(value_name = "B.parquet")]
    b: String,
    /// Columns of A, with commas between them; "embedding" where there is one
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    column_a: Vec<String>,
    /// Columns of B
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    column_b: Vec<String>,
    /// Columns that both tables share, to match rows by; without it rows are matched by their
    /// order, where both tables are equally long
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    key: Vec<String>,
    /// The column of A or B that says which rows belong together and are never divided between
    /// training and estimating; by default "subject" where there is one, else the key
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// Take every row as independent of all others
    #[arg(long, conflicts_with = "group")]
    ungrouped: bool,
    /// What is estimated
    #[arg(long, default_value = "infonce", value_parser = BOUNDS)]
    bound: String,
    /// How pairs are scored
    #[arg(long, default_value = "separable", value_parser = CRITICS)]
    critic: String,
    /// Parts that the groups are cut into; each is held out once
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u16).range(2..=100))]
    folds: u16,
    /// Steps of training a fold
    #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    steps: u32,
    /// Pairs in a batch, K; InfoNCE cannot exceed ln K
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u16).range(2..=4096))]
    batch: u16,
    /// Learning rate of Adam
    #[arg(long, value_name = "RATE", default_value_t = 5e-4)]
    lr: f32,
    /// Units of a hidden layer
    #[arg(long, default_value_t = 256, value_parser = value_parser!(u16).range(1..=8192))]
    hidden: u16,
    /// Hidden layers
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u16).range(1..=16))]
    layers: u16,
    /// Width of what a separable critic multiplies
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u16).range(1..=8192))]
    embed: u16,
    /// smile: scores are cut to -CLIP to CLIP under the mean
    #[arg(long, default_value_t = 5.0)]
    clip: f32,
    /// mine: share of the newest batch in the moving average, above 0 and at most 1
    #[arg(long, default_value_t = 0.01)]
    alpha: f32,
    /// tuba: the baseline, "learned" or its logarithm as a number
    #[arg(long, default_value = "learned", allow_hyphen_values = true)]
    baseline: String,
    /// The same seed gives the same numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where it runs: auto, cpu or cuda:0
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads; 0 for one a core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// A table to write, one row a fold and one for all
    #[arg(long, value_name = "FILE.parquet")]
    out: Option<PathBuf>,
}

impl MiArgs {
    fn bound(&self) -> anyhow::Result<Bound> {
        let above_0 = |name: &str, value: f32, most: f32| {
            let good = value > 0.0 && value <= most;
            if good { Ok(value) } else { bail!("--{name} is {value}; above 0, at most {most}") }
        };
        Ok(match self.bound.parse()? {
            Bound::Smile { .. } => Bound::Smile { clip: above_0("clip", self.clip, 80.0)? },
            Bound::Mine { .. } => Bound::Mine { rate: above_0("alpha", self.alpha, 1.0)? },
            Bound::Tuba(_) if self.baseline == "learned" => Bound::Tuba(Baseline::Learned),
            Bound::Tuba(_) => match self.baseline.parse::<f32>() {
                Ok(ln_a) if ln_a.abs() <= 80.0 => Bound::Tuba(Baseline::Constant(ln_a)),
                _ => bail!(
                    "--baseline is {:?}; \"learned\", or a number from -80 to 80",
                    self.baseline
                ),
            },
            other => other,
        })
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        if !(self.lr > 0.0 && self.lr <= 1.0) {
            bail!("--lr is {}; above 0, at most 1", self.lr);
        }
        Ok(Settings {
            bound: self.bound()?,
            critic: CriticSettings {
                kind: self.critic.parse::<CriticKind>()?,
                layers: usize::from(self.layers),
                hidden: usize::from(self.hidden),
                embed: usize::from(self.embed),
            },
            folds: usize::from(self.folds),
            steps: self.steps as usize,
            batch: usize::from(self.batch),
            learning_rate: self.lr,
            seed: self.seed,
        })
    }

    fn request(&self) -> Request {
        Request {
            a: self.a.clone(),
            b: self.b.clone(),
            columns_a: self.column_a.clone(),
            columns_b: self.column_b.clone(),
            key: self.key.clone(),
            group: self.group.clone(),
            ungrouped: self.ungrouped,
        }
    }
}

pub(super) fn run(args: &MiArgs) -> anyhow::Result<End> {
    let settings = args.settings()?;
    let device: Device = args.device.parse()?;
    stop::listen().context("signals cannot be listened to")?;
    let pairs = mi::open(&args.request())?;
    let k = mi::check(&pairs, &settings)?;
    describe(&pairs, &settings, k);
    let runtime = Runtime::open(device, args.threads)?;
    let progress = Progress::new("mi", "steps", 2 * settings.folds * settings.steps);
    let report = mi::estimate(&runtime, &pairs, &settings, &progress)?;
    progress.finish();
    let Some(report) = report else { return Ok(End::Stopped) };
    print(&report, &settings, &pairs);
    if let Some(path) = &args.out {
        table::write(
            path,
            rows(&report, &settings, &pairs),
            &[
                ("mivox.version", env!("CARGO_PKG_VERSION").to_owned()),
                ("mivox.seed", settings.seed.to_string()),
            ],
        )?;
    }
    Ok(if pairs.remarks.is_clean() { End::Good } else { End::Quarantined })
}

/// Names of columns with their widths.
fn columns(side: &mi::Side) -> String {
    let name = |(name, width): &(String, usize)| match width {
        1 => name.clone(),
        width => format!("{name} ({width} numbers)"),
    };
    side.columns().iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What goes in, and what may surprise, before the work starts.
fn describe(pairs: &Pairs, settings: &Settings, k: usize) {
    say(
        "mi",
        &format!(
            "{} of rows from {} {}; A: {}; B: {}",
            counted(pairs.len(), "pair"),
            pairs.groups.len(),
            pairs.noun,
            columns(&pairs.x),
            columns(&pairs.y)
        ),
    );
    for warning in pairs.warnings() {
        eprintln!("WARNING: {warning}");
    }
    if k < settings.batch {
        eprintln!(
            "WARNING: a held-out fold has only {k} {}, so an estimate is made of {k} pairs at a time, not {}{}",
            pairs.noun,
            settings.batch,
            match settings.bound.ceiling_nats(k) {
                Some(ceiling) => format!(", and cannot exceed ln {k} = {ceiling:.3} nats"),
                None => String::new(),
            }
        );
    }
}

fn print(report: &Report, settings: &Settings, pairs: &Pairs) {
    let ceiling = match settings.bound.ceiling_nats(report.k) {
        Some(ceiling) => format!("ceiling ln {} = {ceiling:.3} nats", report.k),
        None if settings.bound.holds() => "no ceiling".to_owned(),
        None => "no ceiling; not a bound, may be above the truth".to_owned(),
    };
    let words = |Interval { value, low, high }: Interval| {
        format!("{value:.3} nats (95 % interval {low:.3} to {high:.3})")
    };
    let (bound, critic) = (settings.bound.name(), settings.critic.kind.name());
    say("mi", &format!("{bound}, {critic} critic: {}; {ceiling}", words(report.pairs.interval)));
    if let Some(entropy) = pairs.entropy_of_b_nats() {
        say(
            "mi",
            &format!("entropy of B: {entropy:.3} nats, more than which no table knows of it"),
        );
    }
    if report.pairs.folds.iter().all(|(_, step)| *step == 0) {
        say("mi", "no critic did better on subjects it had not seen than one that knows nothing");
    }
    let control = report.shuffled.interval;
    say("mi", &format!("shuffled control: {}", words(control)));
    if control.low > 0.0 {
        eprintln!(
            "WARNING: the shuffled control is above zero, where nothing can be learned: \
             do not trust the estimate (rows of one subject in several groups? see --group)"
        );
    }
}

fn rows(report: &Report, settings: &Settings, pairs: &Pairs) -> Vec<MiRow> {
    let row = |kind: &str, fold: Option<u32>, estimate_nats: f64| MiRow {
        bound: settings.bound.name().to_owned(),
        critic: settings.critic.kind.name().to_owned(),
        columns_a: columns(&pairs.x),
        columns_b: columns(&pairs.y),
        kind: kind.to_owned(),
        fold,
        estimate_nats,
        low_nats: None,
        high_nats: None,
        ceiling_nats: settings.bound.ceiling_nats(report.k),
        entropy_b_nats: pairs.entropy_of_b_nats(),
        rows: pairs.len() as u64,
        groups: pairs.groups.len() as u32,
        k: report.k as u32,
        step: None,
    };
    let mut rows = Vec::new();
    for (kind, Estimate { interval, folds }) in
        [("pairs", &report.pairs), ("shuffled", &report.shuffled)]
    {
        let Interval { value, low, high } = *interval;
        rows.push(MiRow { low_nats: Some(low), high_nats: Some(high), ..row(kind, None, value) });
        rows.extend(folds.iter().enumerate().map(|(n, &(value, step))| MiRow {
            step: Some(step as u32),
            ..row(kind, Some(n as u32), value)
        }));
    }
    rows
}
