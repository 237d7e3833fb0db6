//! `mivox pull`

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::{
    End,
    job::{self, counted, say},
};
use crate::{
    durable::{self, Lock},
    pull::{
        self, Address, Connection, Credentials, Dates, Effort, Folder, Method, Outcome, Query,
        Server, TlsFiles, Whose,
    },
    stop,
    study::Pseudonymizer,
    table,
};

pub(super) const EXAMPLE: &str = "Examples:
  DICOMweb (QIDO-RS, WADO-RS), user:password in a file:
    mivox pull https://pacs.example/dicom-web --out data/pacs \\
        --study-date 20240101-20241231 --modality MR --user-file ~/.pacs
  DIMSE (C-FIND and C-GET), the patients whose ids are in a file, one a line:
    mivox pull dicom://ORTHANC@pacs.example:4242 --out data/pacs \\
        --calling MIVOX --patient-id-file ids.txt
  C-MOVE: the archive must know MIVOX as this machine, port 11113:
    mivox pull dicom://ORTHANC@pacs.example:4242 --out data/pacs \\
        --calling MIVOX --method move --move-port 11113 --study-uid-file uids.txt
  and then:
    mivox index pipelines/default.toml --input data/pacs/dicom --out results

The same command goes on where the last one ended, however it ended. Scans lie in
OUT/dicom under keyed pseudonyms; they are the archive's own files, with everything
that these say about patients. OUT/pull.parquet says of every series what was expected
and what came, OUT/quarantine.parquet which instances failed, and why.

Credentials are read from a file or from MIVOX_PACS_USER and MIVOX_PACS_PASSWORD or
MIVOX_PACS_TOKEN, never from the command line, which others on the machine can see.

Exit codes: 0 all there; 1 failed; 2 finished, something did not come; 75 stopped, or
the archive went away: the same command goes on";

#[derive(Args)]
pub(super) struct PullArgs {
    /// The archive: https://HOST/PATH for DICOMweb, dicom://AE_TITLE@HOST:PORT for
    /// DIMSE, dicoms:// for DIMSE over TLS
    #[arg(value_name = "URL")]
    address: String,
    /// The folder for scans and tables
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Studies of a day or a range: 20240131, 20240101-20241231, 20240101-
    #[arg(long, value_name = "DATES")]
    study_date: Option<String>,
    /// Series of these modalities, such as MR or CT,PT
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    modality: Vec<String>,
    /// A file with patient ids, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "study_uid_file")]
    patient_id_file: Option<PathBuf>,
    /// A file with Study Instance UIDs, one a line
    #[arg(long, value_name = "FILE")]
    study_uid_file: Option<PathBuf>,
    /// Pull all that the archive has, where nothing above narrows it down
    #[arg(long)]
    all: bool,
    /// Say how much there is and how much is missing, and fetch nothing
    #[arg(long)]
    dry_run: bool,
    /// Our AE title (DIMSE)
    #[arg(long, value_name = "AE_TITLE", default_value = "MIVOX")]
    calling: String,
    /// How instances come (DIMSE)
    #[arg(long, value_enum, default_value_t = How::Get)]
    method: How,
    /// The port at which instances of C-MOVE arrive
    #[arg(long, value_name = "PORT", default_value_t = 11113)]
    move_port: u16,
    /// A host that C-MOVE may come from besides the archive's; may be repeated
    #[arg(long, value_name = "HOST")]
    move_from: Vec<String>,
    /// A file with user:password
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    user_file: Option<PathBuf>,
    /// A file with a bearer token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Send credentials even where everybody between can read them
    #[arg(long)]
    allow_plaintext: bool,
    /// PEM file of the authorities to believe, in place of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of our own certificate
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of the certificate's private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Connections at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    parallel: u8,
    /// How often to try again, in a row without anything new, at intervals from half
    /// a second to half a minute
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(0..=100))]
    retries: u8,
    /// Seconds of silence before a connection is given up; ten times as many while the
    /// instances of a C-MOVE come over another one
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    timeout: u16,
    /// GiB of the largest instance that is taken
    #[arg(long, value_name = "GIB", default_value_t = 4.0)]
    largest: f64,
    /// A file with the pseudonyms' key, in place of OUT/pseudonym.key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// C-GET, over the connection that mivox opens
    Get,
    /// C-MOVE, over a connection that the archive opens to mivox
    Move,
}

impl PullArgs {
    fn query(&self) -> anyhow::Result<Query> {
        let whose = match (&self.patient_id_file, &self.study_uid_file) {
            (Some(path), _) => Whose::Patients(pull::read_patient_ids(path)?),
            (None, Some(path)) => Whose::Studies(pull::read_study_uids(path)?),
            (None, None) => Whose::Everybody,
        };
        let codes = self.modality.iter().map(|code| pull::modality_code(code));
        let query = Query {
            dates: self.study_date.as_deref().map(Dates::new).transpose()?,
            modalities: codes.collect::<Result<_, _>>()?,
            whose,
        };
        if query.is_open() && !self.all {
            bail!("this would pull the whole archive; narrow it down, or say --all");
        }
        Ok(query)
    }

    fn connection(&self) -> anyhow::Result<Connection> {
        let Some(calling) = pull::ae_title(&self.calling) else {
            bail!("--calling must be an AE title of at most 16 characters");
        };
        let method = match self.method {
            How::Get => Method::Get,
            How::Move => Method::Move { port: self.move_port, from: self.move_from.clone() },
        };
        Ok(Connection {
            address: Address::new(&self.address)?,
            calling,
            method,
            credentials: Credentials::find(self.user_file.as_deref(), self.token_file.as_deref())?,
            allow_plaintext: self.allow_plaintext,
            tls: TlsFiles { ca: self.ca.clone(), cert: self.cert.clone(), key: self.key.clone() },
            timeout: Duration::from_secs(u64::from(self.timeout)),
        })
    }

    fn effort(&self) -> anyhow::Result<Effort> {
        if !(self.largest.is_finite() && self.largest > 0.0) {
            bail!("--largest must be above 0");
        }
        Ok(Effort {
            parallel: usize::from(self.parallel),
            retries: u32::from(self.retries),
            largest: (self.largest * f64::from(1 << 30)) as u64,
            dry_run: self.dry_run,
        })
    }
}

pub(super) fn run(args: &PullArgs) -> anyhow::Result<End> {
    let (query, effort) = (args.query()?, args.effort()?);
    let connection = args.connection()?;
    stop::listen().context("signals cannot be listened to")?;
    durable::create_private_folder(&args.out)?;
    let _lock = Lock::take(&args.out)?;
    let key = args.key_file.clone().unwrap_or_else(|| args.out.join("pseudonym.key"));
    let folder = Arc::new(Folder::open(&args.out, Pseudonymizer::open_or_create(&key)?)?);
    let private = connection.address.is_private();
    let server = Server::new(connection, effort.parallel)?;
    if !private {
        eprintln!("note: this connection is not encrypted; use https or dicoms where you can");
    }
    let outcome = pull::pull(&server, &query, &effort, &folder)?;
    if !effort.dry_run {
        let metadata = [("mivox.version", env!("CARGO_PKG_VERSION").to_owned())];
        table::write(&args.out.join("pull.parquet"), outcome.rows.clone(), &metadata)?;
        let quarantine = args.out.join("quarantine.parquet");
        let mut quarantined = job::quarantined(&quarantine)?;
        quarantined.retain(|row| row.stage != "pull");
        quarantined.extend(outcome.quarantined.iter().cloned());
        table::write(&quarantine, quarantined, &[])?;
    }
    Ok(summarise(&outcome, &effort))
}

/// Says what came of it.
fn summarise(outcome: &Outcome, effort: &Effort) -> End {
    let expected = outcome.sum(|row| u64::from(row.expected));
    let present = outcome.sum(|row| u64::from(row.present));
    let received = outcome.sum(|row| u64::from(row.received));
    let failed = outcome.sum(|row| u64::from(row.failed));
    let missing = expected - present - received - failed;
    let series = outcome.rows.iter().filter(|row| row.series.is_some()).count();
    say(
        "pull",
        &format!(
            "{expected} instances of {} and {}: {received} received, {present} there before, \
             {failed} failed, {missing} missing; {:.1} MB on the disk",
            counted(series, "series"),
            if outcome.studies == 1 {
                "1 study".to_owned()
            } else {
                format!("{} studies", outcome.studies)
            },
            outcome.sum(|row| row.bytes) as f64 / 1e6
        ),
    );
    if outcome.alien > 0 {
        eprintln!(
            "{} of the archive did not match what was asked for and were passed over",
            counted(outcome.alien, "answer")
        );
    }
    let lists = outcome.lists_failed();
    if lists > 0 {
        let lists = counted(lists, "list");
        let rows = outcome.rows.iter().filter(|row| row.series.is_none());
        match rows.filter_map(|row| row.reason.as_deref()).next() {
            // No table is written.
            Some(reason) if effort.dry_run => eprintln!("{lists} did not come; of one: {reason}"),
            _ => eprintln!("{lists} did not come; pull.parquet says why"),
        }
    }
    match outcome.end {
        pull::End::Stopped => {
            eprintln!("stopped; the same command goes on from here");
            End::Stopped
        }
        pull::End::Gone => {
            eprintln!("the archive went away; the same command goes on from here");
            End::Stopped
        }
        pull::End::Complete if failed > 0 || lists > 0 => {
            if failed > 0 {
                let failed = counted(failed as usize, "instance");
                eprintln!("{failed} did not come; quarantine.parquet says why");
            }
            End::Quarantined
        }
        pull::End::Complete => End::Good,
    }
}
