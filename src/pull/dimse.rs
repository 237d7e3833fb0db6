//! DIMSE: C-FIND lists, C-GET or C-MOVE sends.
//!
//! # Source
//! DICOM PS3.4 C (query/retrieve), PS3.7 (messages), PS3.8 (upper layer).

mod element;
mod find;
mod listen;
mod message;
mod peer;
mod retrieve;
mod store;
mod syntax;

use std::{
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex},
    time::Duration,
};

use dicom_ul::{
    ClientAssociationOptions,
    association::{
        Error,
        client::{ClientAssociation, TlsStream},
    },
    pdu::AssociationRJResult,
};

use super::{
    Batch, Credentials, PullError,
    archive::{Answer, Archive, Level},
    error::words,
    inbox::Inbox,
    tls::Trust,
};
use element::{COMMAND, DATA_SET_TYPE, Elements, MESSAGE_ID};
use listen::Listener;
use message::{MAX_PDU, Messages, broken};
use peer::Over;

/// Value of *Command Data Set Type* where no data set follows.
const NO_DATA_SET: u16 = 0x0101;

/// Of the requests that we send. One association has one request at a time.
const OUR_ID: u16 = 1;

/// Most instances of a batch: one association and one request.
const BATCH: usize = 500;

/// How instances come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// C-GET: over the association that we open.
    Get,
    /// C-MOVE: over an association that the archive opens to us.
    Move {
        /// The port that we listen at.
        port: u16,
        /// Hosts that it may come from besides the archive's own.
        from: Vec<String>,
    },
}

/// An archive that speaks DIMSE.
pub(super) struct Dimse {
    called: String,
    calling: String,
    host: String,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
    credentials: Option<Credentials>,
    timeout: Duration,
    /// Where instances of C-MOVE arrive; none for C-GET.
    listener: Option<Listener>,
    /// Associations for C-FIND that are open and idle.
    idle: Mutex<Vec<Messages>>,
}

/// Where and who.
pub(super) struct Node {
    pub called: String,
    pub calling: String,
    pub host: String,
    pub port: u16,
}

impl Dimse {
    pub(super) fn new(
        node: Node,
        method: &Method,
        credentials: Option<Credentials>,
        trust: Option<Trust>,
        timeout: Duration,
    ) -> Result<Self, PullError> {
        let Node { called, calling, host, port } = node;
        let listener = match method {
            Method::Get => None,
            Method::Move { port: own, from } => {
                let hosts = from.iter().chain([&host]);
                let addresses = hosts.map(|host| resolve(host)).collect::<Result<Vec<_>, _>>()?;
                let expected = listen::Expected {
                    calling: called.clone(),
                    called: calling.clone(),
                    addresses: addresses.concat(),
                    timeout,
                };
                let tls = trust.as_ref().map(Trust::server).transpose()?;
                Some(Listener::start(*own, expected, tls)?)
            }
        };
        let tls = trust.map(|trust| trust.client()).transpose()?.map(Arc::new);
        let idle = Mutex::new(Vec::new());
        Ok(Self { called, calling, host, port, tls, credentials, timeout, listener, idle })
    }

    /// Opens an association that proposes each class with each of its syntaxes, and
    /// takes the role of a provider for some of them.
    fn associate(
        &self,
        contexts: &[(&str, &[&str])],
        provided: &[String],
        operation: &'static str,
    ) -> Result<Messages, PullError> {
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(self.calling.clone())
            .called_ae_title(self.called.clone())
            .max_pdu_length(MAX_PDU)
            .strict(true)
            .connection_timeout(self.timeout)
            .write_timeout(self.timeout)
            // Of C-MOVE little comes here while instances arrive elsewhere.
            .read_timeout(self.timeout * if operation == "C-MOVE" { 10 } else { 1 });
        for (class, syntaxes) in contexts {
            for syntax in *syntaxes {
                options = options.with_presentation_context(*class, vec![*syntax]);
            }
        }
        for class in provided {
            options = options.with_role_selection(class.clone(), false, true);
        }
        options = match &self.credentials {
            Some(Credentials::User { name, password }) => {
                options.username_password(name.clone(), password.clone())
            }
            Some(Credentials::Token(token)) => options.jwt(token.clone()),
            None => options,
        };
        let address = (self.host.as_str(), self.port);
        let failed = |error| refused(error, operation);
        let peer: Messages = match &self.tls {
            None => {
                let association: ClientAssociation<std::net::TcpStream> =
                    options.establish(address).map_err(failed)?;
                Messages::new(Box::new(Over::new(association)))
            }
            Some(config) => {
                let association: ClientAssociation<TlsStream> = options
                    .tls_config(Arc::clone(config))
                    .server_name(&self.host)
                    .establish_tls(address)
                    .map_err(failed)?;
                Messages::new(Box::new(Over::new(association)))
            }
        };
        Ok(peer)
    }
}

fn resolve(host: &str) -> Result<Vec<IpAddr>, PullError> {
    let found = (host, 0).to_socket_addrs().map_err(|error| PullError::Unreachable {
        why: format!("a host is not known ({})", words(&error)),
    })?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Why no association came about, in our own words.
fn refused(error: Error, operation: &'static str) -> PullError {
    match error {
        Error::Connect { source, .. } => PullError::Unreachable { why: words(&source) },
        Error::ToAddress { .. } => {
            PullError::Unreachable { why: "the host is not known".to_owned() }
        }
        Error::TlsConnection { source, .. } => super::tls::refused(source),
        Error::InvalidServerName { .. } => {
            PullError::Tls { what: "the host has no valid name".to_owned() }
        }
        Error::TlsNotSupported => {
            PullError::Tls { what: "the archive speaks TLS; use dicoms".to_owned() }
        }
        Error::TlsHandshake { source, .. } => {
            match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => super::tls::refused(error.clone()),
                None => PullError::Unreachable { why: words(&source) },
            }
        }
        Error::Rejected { association_rj, .. } => match association_rj.result {
            AssociationRJResult::Permanent => {
                PullError::Denied { why: association_rj.source.to_string() }
            }
            AssociationRJResult::Transient => {
                PullError::Unreachable { why: "it takes no association now".to_owned() }
            }
        },
        Error::NoAcceptedPresentationContexts { .. } => PullError::Unsupported { operation },
        error => broken(&error),
    }
}

impl Archive for Dimse {
    fn find(&self, level: Level<'_>) -> Result<Vec<Answer>, PullError> {
        find::find(self, level)
    }

    fn fetch(&self, batch: &Batch, inbox: &Arc<Inbox>) -> Result<(), PullError> {
        retrieve::fetch(self, batch, inbox)
    }

    /// # Source
    /// DICOM PS3.7 9.1.5 (C-ECHO).
    fn ping(&self) -> Result<(), PullError> {
        let contexts: [(&str, &[&str]); 1] = [(syntax::VERIFICATION, &[syntax::IMPLICIT])];
        let mut messages = match self.associate(&contexts, &[], "C-ECHO") {
            // It answers, and that is all there is to know.
            Err(PullError::Unsupported { .. }) => return Ok(()),
            other => other?,
        };
        let command = Elements::default()
            .with_text(element::AFFECTED_CLASS, syntax::VERIFICATION)
            .with_u16(COMMAND, 0x0030)
            .with_u16(MESSAGE_ID, OUR_ID)
            .with_u16(DATA_SET_TYPE, NO_DATA_SET);
        let context = messages.context_of(syntax::VERIFICATION).unwrap_or(1);
        messages.send(context, command.encode_command(), None)?;
        messages.command()?;
        messages.release();
        Ok(())
    }

    fn batch(&self) -> usize {
        BATCH
    }
}

impl Drop for Dimse {
    fn drop(&mut self) {
        if let Ok(idle) = self.idle.get_mut() {
            idle.drain(..).for_each(Messages::release);
        }
    }
}
