//! What can go wrong between an archive and the disk.

use std::{io, path::PathBuf, time::Duration};

use crate::{durable::DurableError, io::dicom::DicomError, study::KeyError, table::TableError};

/// Why something could not be pulled. No message holds a UID, a patient attribute
/// or the words of the server, which may.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The address names no archive.
    #[error("the address of the archive {what}")]
    Address {
        /// What is wrong with it.
        what: &'static str,
    },
    /// What is asked for is malformed.
    #[error("{what}")]
    Query {
        /// What is wrong with it.
        what: String,
    },
    /// A file with identifiers, credentials or certificates cannot be used.
    #[error("{what} {name}", name = .path.display())]
    File {
        /// What is wrong with it.
        what: String,
        /// The file, as typed.
        path: PathBuf,
    },
    /// A secret would travel where everybody can read it.
    #[error(
        "credentials are not sent without encryption; use https or dicoms, or allow it with --allow-plaintext"
    )]
    Plaintext,
    /// TLS cannot be set up, or the peer does not prove who it is.
    #[error("TLS: {what}")]
    Tls {
        /// What is wrong.
        what: String,
    },
    /// The key of the pseudonyms cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The disk refuses.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The disk refuses in the middle of a file.
    #[error("a file that was received cannot be written")]
    Disk(#[source] io::Error),
    /// The port for C-MOVE cannot be listened at.
    #[error("port {port} cannot be listened at for C-MOVE")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The archive cannot be reached.
    #[error("the archive cannot be reached: {why}")]
    Unreachable {
        /// In a word or two.
        why: String,
    },
    /// The connection broke, or what was announced did not come.
    #[error("the archive broke off: {why}")]
    Cut {
        /// In a word or two.
        why: String,
    },
    /// The archive does not let us in.
    #[error("the archive denies access ({why}); check credentials and AE titles")]
    Denied {
        /// Status or reason.
        why: String,
    },
    /// The archive answers a request with a status of HTTP.
    #[error("the archive answers with status {status}")]
    Status {
        /// Status of HTTP.
        status: u16,
        /// How long it asks to wait.
        after: Option<Duration>,
    },
    /// The archive answers an operation with a status of DIMSE.
    #[error("the archive answers {operation} with status {status:04X}")]
    Operation {
        /// C-FIND, C-GET or C-MOVE.
        operation: &'static str,
        /// Status of DIMSE (PS3.7 annex C).
        status: u16,
    },
    /// The archive does not offer an operation.
    #[error("the archive does not offer {operation}")]
    Unsupported {
        /// C-FIND, C-GET or C-MOVE.
        operation: &'static str,
    },
    /// The archive ended an operation and something did not come.
    #[error("the archive did not send it")]
    NotSent,
    /// Something is larger than it may be.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The archive does not speak as it should.
    #[error("the archive's answer is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Another instance came than was asked for.
    #[error("another instance came than was asked for")]
    Another,
    /// What came is no whole DICOM file.
    #[error("what came is damaged: {0}")]
    Damaged(#[source] DicomError),
    /// A stop was asked for.
    #[error("stopped")]
    Stopped,
}

/// What an error means for the work around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Nothing else can work either.
    Fatal,
    /// It may work later.
    Passing,
    /// This instance, or this list, does not work.
    Own,
}

impl PullError {
    pub(super) fn weight(&self) -> Weight {
        match self {
            Self::Unreachable { .. } | Self::Cut { .. } => Weight::Passing,
            Self::Status { status: 408 | 425 | 429 | 500..=599, .. } => Weight::Passing,
            // Out of resources (PS3.4 C.4), which pass.
            Self::Operation { status: 0xA700..=0xA702, .. } => Weight::Passing,
            Self::Status { .. }
            | Self::Operation { .. }
            | Self::NotSent
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::Another
            | Self::Damaged(_) => Weight::Own,
            _ => Weight::Fatal,
        }
    }

    /// How often to try again at most: an archive that fails inside mostly fails
    /// again.
    pub(super) fn patience(&self, retries: u32) -> u32 {
        match self {
            Self::Status { status: 500, .. } => retries.min(2),
            _ => retries,
        }
    }

    /// A broken connection.
    pub(super) fn cut(error: &io::Error) -> Self {
        Self::Cut { why: words(error) }
    }
}

/// What the system said, without what a peer may have said in it.
pub(super) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        kind => kind.to_string(),
    }
}
