//! The command line: what may be typed, one file a subcommand.

mod convert;
mod doctor;
mod embed;
mod evaluate;
mod index;
mod job;
mod leave_one_out;
mod mi;
mod pairs;
mod phantom;
mod prepare;
mod pull;
mod register;
mod run;
mod show;
mod train;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::{config::Overrides, io::dicom};

/// mivox learns features from unlabelled medical scans by maximising mutual
/// information between views of the same anatomy, and writes them as tables.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLE)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "Example:\n  mivox run pipelines/default.toml --input /data/scans --out results\n\n\
Exit codes: 0 all good; 1 failed; 2 finished, some inputs quarantined; \
3 an alarm was raised in training, with --strict; 75 stopped, can be resumed";

#[derive(Subcommand)]
enum Command {
    /// Run every stage of a pipeline, passing over what is done already
    #[command(
        after_help = "Example:\n  mivox run pipelines/default.toml --input /data/scans --out results"
    )]
    Run {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        alarms: Alarms,
    },
    /// Find the series below the sources: cohort.parquet, quarantine.parquet
    #[command(
        after_help = "Example:\n  mivox index pipelines/default.toml --input /data/scans --out results"
    )]
    Index {
        #[command(flatten)]
        pipeline: PipelineArgs,
        /// Read the whole content of every file too, and its header again where the
        /// content changed although size and time did not
        #[arg(long)]
        rehash: bool,
    },
    /// Bring every volume to one orientation, spacing and intensity scale
    #[command(
        after_help = "Example:\n  mivox prepare pipelines/default.toml --input /data/scans --out results"
    )]
    Prepare(PipelineArgs),
    /// Align the scans of every subject, where the pipeline asks for it: alignment.parquet
    #[command(after_help = "Example, of a pipeline with [pairs] register = \"rigid\":\n  \
                      mivox register pipeline.toml --input /data/scans --out results")]
    Register(PipelineArgs),
    /// Name the places that show the same anatomy: pairs.parquet
    #[command(after_help = pairs::EXAMPLE)]
    Pairs {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        sheet: pairs::SheetArgs,
    },
    /// Train the encoder: encoder.onnx
    #[command(
        after_help = "Example:\n  mivox train pipelines/default.toml --input /data/scans --out results --resume"
    )]
    Train {
        #[command(flatten)]
        pipeline: PipelineArgs,
        /// Go on from the last checkpoint, where there is one
        #[arg(long)]
        resume: bool,
        #[command(flatten)]
        alarms: Alarms,
    },
    /// Embed every slice and volume: embeddings/part-*.parquet
    #[command(
        after_help = "Example:\n  mivox embed pipelines/default.toml --input /data/scans --out results"
    )]
    Embed(PipelineArgs),
    /// Measure the encoder on held-out subjects, beside an untrained one
    #[command(
        after_help = "Example:\n  mivox evaluate pipelines/default.toml --input /data/scans --out results"
    )]
    Evaluate(PipelineArgs),
    /// Train on all subjects but one, for each in turn, and look for places in that one
    #[command(after_help = leave_one_out::EXAMPLE)]
    LeaveOneOut(leave_one_out::LeaveOneOutArgs),
    /// Write every volume found as NIfTI on its own grid, under pseudonyms
    #[command(after_help = convert::EXAMPLE)]
    Convert(convert::ConvertArgs),
    /// Draw three planes of every volume, for a person to look through
    #[command(after_help = show::EXAMPLE)]
    Show(show::ShowArgs),
    /// Fetch studies from a PACS, by DICOMweb or by DIMSE
    #[command(after_help = pull::EXAMPLE)]
    Pull(Box<pull::PullArgs>),
    /// Estimate how much two tables know of each other, in nats
    #[command(after_help = mi::EXAMPLE)]
    Mi(Box<mi::MiArgs>),
    /// Say whether this machine has what mivox needs
    #[command(after_help = "Example:\n  mivox doctor")]
    Doctor,
    /// Write a cohort of synthetic scans whose truth is known
    #[command(after_help = "Example:\n  mivox phantom data/phantom --subjects 24 --seed 7")]
    Phantom(phantom::PhantomArgs),
    /// Decode frames from standard input, apart from the process that needs them
    #[command(name = dicom::DECODER_COMMAND, hide = true)]
    DecodeWorker,
}

#[derive(Args)]
struct PipelineArgs {
    /// The pipeline file
    pipeline: PathBuf,
    /// A folder of scans, in place of the pipeline's sources; may be repeated
    #[arg(long, value_name = "FOLDER")]
    input: Vec<PathBuf>,
    /// What names of image files below --input mean, for example
    /// "{subject}/study{session}_{modality}.nii.gz"; BIDS where it is not given
    #[arg(long, requires = "input")]
    pattern: Option<String>,
    /// The folder for results, in place of the pipeline's
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Another value for a key of the pipeline, such as train.steps=100; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Stop where the index refuses a file, or at the first volume that cannot be used
    #[arg(long)]
    fail_first: bool,
}

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[derive(Args)]
struct Alarms {
    /// Stop training at an alarm of the monitor, with exit code 3: a bound at zero, a
    /// collapse, overfitting and others, as docs/monitoring.md explains them
    #[arg(long)]
    strict: bool,
}

impl PipelineArgs {
    fn overrides(&self) -> Overrides {
        Overrides {
            input: self.input.clone(),
            pattern: self.pattern.clone(),
            out: self.out.clone(),
            set: self.set.clone(),
        }
    }
}

/// How a command ended, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All good: 0.
    Good,
    /// Failed, and it has been said why: 1.
    Failed,
    /// Finished, some inputs quarantined: 2.
    Quarantined,
    /// An alarm was raised in training, which was to be strict: 3.
    Alarmed,
    /// Stopped on request, can be resumed: 75 (`EX_TEMPFAIL` of sysexits).
    Stopped,
}

impl End {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Failed => 1,
            Self::Quarantined => 2,
            Self::Alarmed => 3,
            Self::Stopped => 75,
        }
    }
}

impl Cli {
    /// Runs the command that was typed.
    ///
    /// # Errors
    /// What went wrong, with its causes; no path or attribute of a patient.
    pub fn run(self) -> anyhow::Result<End> {
        self.command.run().or_else(|error| match error.downcast_ref::<train::Alarmed>() {
            Some(alarmed) => {
                eprintln!("mivox: {alarmed}");
                Ok(End::Alarmed)
            }
            None => Err(error),
        })
    }
}

impl Command {
    fn run(self) -> anyhow::Result<End> {
        match self {
            Self::Run { pipeline, alarms } => run::run(&pipeline, alarms.strict),
            Self::Index { pipeline, rehash } => job::with(&pipeline, |job| index::run(job, rehash)),
            Self::Prepare(args) => job::with(&args, prepare::run),
            Self::Register(args) => job::with(&args, register::run),
            Self::Pairs { pipeline, sheet } => {
                job::with(&pipeline, |job| pairs::run_with_sheet(job, &sheet))
            }
            Self::Train { pipeline, resume, alarms } => {
                job::with(&pipeline, |job| train::run(job, resume, alarms.strict))
            }
            Self::Embed(args) => job::with(&args, embed::run),
            Self::Evaluate(args) => job::with(&args, evaluate::run),
            Self::LeaveOneOut(args) => leave_one_out::run(&args),
            Self::Convert(args) => convert::run(&args),
            Self::Show(args) => show::run(&args),
            Self::Pull(args) => pull::run(&args),
            Self::Mi(args) => mi::run(&args),
            Self::Doctor => doctor::run(),
            Self::Phantom(args) => phantom::run(&args),
            Self::DecodeWorker => dicom::serve_decoder().map(|()| End::Good).context("no decoder"),
        }
    }
}
