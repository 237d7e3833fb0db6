//! Studies out of an archive (PACS), by DICOMweb or by DIMSE.
//!
//! An archive is asked for its studies, their series and their instances
//! (`archive`, `plan`); what is not on the disk yet is fetched in batches
//! (`work`), each instance to a draft that gets its name once it is found to be
//! whole and the one that was asked for (`inbox`, `folder`). So the disk alone says
//! what is done, and a run that ended at any point goes on where it was.
//!
//! The archive is hostile until read: whatever it announces has a limit, no message
//! repeats its words, and its data sets are never parsed by recursion.

mod address;
mod archive;
mod credentials;
mod dimse;
mod error;
mod folder;
mod inbox;
mod plan;
mod query;
mod report;
mod tls;
mod uid;
mod web;
mod work;

pub use address::{Address, ae_title};
pub use credentials::{Credentials, VARIABLES};
pub use dimse::Method;
pub use error::PullError;
pub use folder::Folder;
pub use query::{Dates, Query, Whose, modality_code, read_patient_ids, read_study_uids};
pub use report::{End, Outcome, PullRow};
pub use tls::TlsFiles;
pub use uid::Uid;

use std::{sync::Arc, time::Duration};

use archive::{Archive, Batch};
use dimse::{Dimse, Node};
use plan::{Missing, Plan};
use web::Web;
use work::Worker;

use crate::progress::Progress;

/// How an archive is reached.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where it is.
    pub address: Address,
    /// Our AE title (DIMSE).
    pub calling: String,
    /// How instances come (DIMSE).
    pub method: Method,
    /// Who we say we are.
    pub credentials: Option<Credentials>,
    /// Whether credentials may travel without encryption.
    pub allow_plaintext: bool,
    /// Certificates.
    pub tls: TlsFiles,
    /// Longest silence before a connection is given up.
    pub timeout: Duration,
}

/// How much at a time, and how patiently.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Connections at a time.
    pub parallel: usize,
    /// How often something is tried again that may pass, in a row without anything
    /// new; the waits double from half a second to half a minute.
    pub retries: u32,
    /// Largest instance in bytes.
    pub largest: u64,
    /// Whether to list alone.
    pub dry_run: bool,
}

/// An archive that was set up; nothing has been asked of it yet.
pub struct Server {
    archive: Box<dyn Archive>,
}

impl Server {
    /// Sets up the way to an archive; for C-MOVE the port is listened at.
    ///
    /// # Errors
    /// [`PullError`] where credentials would travel in the open, certificates cannot
    /// be read or the port is taken.
    pub fn new(connection: Connection, parallel: usize) -> Result<Self, PullError> {
        let Connection { address, calling, method, credentials, .. } = connection;
        let timeout = connection.timeout;
        if credentials.is_some() && !address.is_private() && !connection.allow_plaintext {
            return Err(PullError::Plaintext);
        }
        let trust = || connection.tls.read();
        let archive: Box<dyn Archive> = match address {
            Address::Web { tls, host, base } => {
                let trust = tls.then(trust).transpose()?;
                let loopback = address::is_loopback(&host);
                Box::new(Web::new((base, loopback), credentials, trust, timeout, parallel)?)
            }
            Address::Dimse { called, host, port, tls } => {
                let trust = tls.then(trust).transpose()?;
                let node = Node { called, calling, host, port };
                Box::new(Dimse::new(node, &method, credentials, trust, timeout)?)
            }
        };
        Ok(Self { archive })
    }
}

/// Fetches everything that a query finds and the folder lacks.
///
/// # Errors
/// [`PullError`] where nothing can work: the archive was never reached or denies
/// access, or the disk refuses. What fails by itself is in the outcome, and so is
/// that the archive went away or a stop was asked for.
pub fn pull(
    server: &Server,
    query: &Query,
    effort: &Effort,
    folder: &Arc<Folder>,
) -> Result<Outcome, PullError> {
    let archive = server.archive.as_ref();
    let worker = Worker::new(archive, *effort);
    let plan = Plan::make(&worker, query)?;
    let mut outcome = Outcome::of(&plan, folder, worker.end());
    let Missing { batches, present } = plan.missing(&worker, folder)?;
    let there = outcome.add_present(&present);
    if !effort.dry_run {
        let progress = Arc::new(Progress::new("pull", "instances", plan.instances()));
        progress.resume_from(there);
        let received = worker.fetch(&batches, folder, &progress)?;
        progress.finish();
        for ((series, _), received) in batches.iter().zip(received) {
            outcome.add_received(*series, received, folder);
        }
    }
    outcome.close(worker.end());
    Ok(outcome)
}
