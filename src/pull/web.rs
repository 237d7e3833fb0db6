//! DICOMweb: QIDO-RS lists, WADO-RS sends.
//!
//! # Source
//! DICOM PS3.18 10.4 (retrieve), 10.6 (search).

mod answers;
mod multipart;

use std::{
    collections::HashSet,
    io::{BufWriter, Read, Write},
    sync::Arc,
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use ureq::{
    Agent, Body,
    http::{Response, header},
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use super::{
    Batch, Credentials, PullError, Uid,
    archive::{Answer, Archive, Level, MAX_ROWS},
    error::{Weight, words},
    inbox::Inbox,
    tls::{Trust, provider},
};
use crate::stop;

/// What is escaped in a query: all that is not unreserved (RFC 3986 2.3). Archives
/// take an escaped hyphen for three characters, so nothing is escaped without need.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Rows asked for at a time.
const PAGE: usize = 1000;

/// Longest list, one page of it.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// Longest time for the body of one answer, however it trickles.
const MAX_BODY_TIME: Duration = Duration::from_secs(3600);

/// Instances of a batch: what a worker takes at a time.
const BATCH: usize = 32;

/// An archive behind DICOMweb.
pub(super) struct Web {
    /// What `studies` follows.
    base: String,
    agent: Agent,
    credentials: Option<Credentials>,
}

impl Web {
    pub(super) fn new(
        (base, loopback): (String, bool),
        credentials: Option<Credentials>,
        trust: Option<Trust>,
        timeout: Duration,
        parallel: usize,
    ) -> Result<Self, PullError> {
        let mut config = Agent::config_builder()
            // A redirect could lead a secret, or a patient id, to another host.
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("mivox/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_per_read(Some(timeout))
            .timeout_per_write(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_recv_body(Some(MAX_BODY_TIME))
            .max_idle_connections(parallel)
            .max_idle_connections_per_host(parallel);
        if loopback {
            config = config.proxy(None);
        }
        if let Some(trust) = trust {
            config = config.tls_config(tls_config(&trust)?);
        }
        Ok(Self { base, agent: config.build().new_agent(), credentials })
    }

    fn get(&self, url: &str, accept: &str) -> Result<Response<Body>, PullError> {
        if stop::requested() {
            return Err(PullError::Stopped);
        }
        let mut request = self.agent.get(url).header(header::ACCEPT, accept);
        if let Some(credentials) = &self.credentials {
            request = request.header(header::AUTHORIZATION, credentials.header());
        }
        let response = request.call().map_err(failed)?;
        match response.status().as_u16() {
            200 | 204 | 206 => Ok(response),
            status @ (401 | 407) => Err(PullError::Denied { why: format!("status {status}") }),
            status => {
                let after = header_text(&response, header::RETRY_AFTER.as_str());
                let after = after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
                Err(PullError::Status { status, after })
            }
        }
    }

    /// One page of a list; none where the archive has nothing to say.
    fn page(&self, url: &str) -> Result<Vec<Answer>, PullError> {
        let response = self.get(url, "application/dicom+json")?;
        if response.status().as_u16() == 204 {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        let mut body = response.into_body().into_reader().take(MAX_LIST_BYTES + 1);
        body.read_to_end(&mut bytes).map_err(|error| PullError::cut(&error))?;
        if bytes.len() as u64 > MAX_LIST_BYTES {
            return Err(PullError::TooLarge { what: "a list", limit: MAX_LIST_BYTES });
        }
        answers::read(&bytes)
    }

    fn instance(&self, batch: &Batch, uid: &Uid, inbox: &Inbox) -> Result<(), PullError> {
        let url = format!(
            "{}studies/{}/series/{}/instances/{}",
            self.base,
            batch.study.as_str(),
            batch.series.as_str(),
            uid.as_str()
        );
        // As it is stored: nothing is transcoded.
        let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
        let response = self.get(&url, accept)?;
        let kind = header_text(&response, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let mut body = response.into_body().into_reader();
        let mut draft = inbox.draft()?;
        {
            let mut out = BufWriter::with_capacity(1 << 17, draft.file());
            multipart::copy_instance(&mut body, &kind, &mut out, inbox.limit)?;
            out.flush().map_err(PullError::Disk)?;
        }
        inbox.keep(uid, draft)
    }
}

impl Archive for Web {
    /// All pages of a list, until one of them says nothing new: archives cut lists
    /// where they like, and not all of them say so.
    fn find(&self, level: Level<'_>) -> Result<Vec<Answer>, PullError> {
        let mut found: Vec<Answer> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let page = self.page(&self.search(level, found.len()))?;
            let rows = page.len();
            let before = found.len();
            found.extend(page.into_iter().filter(|answer| {
                let own = [&answer.study, &answer.series, &answer.instance];
                seen.insert(own.map(Clone::clone))
            }));
            if found.len() > MAX_ROWS {
                return Err(PullError::TooLarge { what: "a list", limit: MAX_ROWS as u64 });
            }
            if found.len() == before {
                return match rows {
                    PAGE.. => Err(PullError::Malformed {
                        what: "a list whose first page comes again and again",
                    }),
                    _ => Ok(found),
                };
            }
        }
    }

    fn fetch(&self, batch: &Batch, inbox: &Arc<Inbox>) -> Result<(), PullError> {
        for wanted in inbox.missing(&batch.wanted) {
            match self.instance(batch, &wanted.uid, inbox) {
                Err(error) if error.weight() == Weight::Own => inbox.refuse(&wanted.uid, &error),
                other => other?,
            }
        }
        Ok(())
    }

    fn ping(&self) -> Result<(), PullError> {
        self.page(&format!("{}studies?limit=1", self.base)).map(|_| ())
    }

    fn batch(&self) -> usize {
        BATCH
    }
}

impl Web {
    /// The address of a list from a row on.
    fn search(&self, level: Level<'_>, offset: usize) -> String {
        let list = match level {
            Level::Studies(_) => "studies".to_owned(),
            Level::Series { study } => format!("studies/{}/series", study.as_str()),
            Level::Instances { study, series } => {
                format!("studies/{}/series/{}/instances", study.as_str(), series.as_str())
            }
        };
        let mut keys = format!("limit={PAGE}&offset={offset}");
        if let Level::Studies(filter) = level {
            let dates = filter.dates.map(super::Dates::to_matching);
            let pairs = [
                ("StudyDate", dates.as_deref()),
                ("ModalitiesInStudy", filter.modality),
                ("PatientID", filter.patient),
                ("StudyInstanceUID", filter.study.map(Uid::as_str)),
            ];
            for (key, value) in pairs {
                if let Some(value) = value {
                    let value = utf8_percent_encode(value, RESERVED);
                    keys.push_str(&format!("&{key}={value}"));
                }
            }
        }
        format!("{}{list}?{keys}", self.base)
    }
}

fn header_text(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn tls_config(trust: &Trust) -> Result<TlsConfig, PullError> {
    let certificate = |der: &CertificateDer<'_>| Certificate::from_der(der).to_owned();
    let own = match &trust.own {
        Some(own) => {
            let chain: Vec<_> = own.chain.iter().map(certificate).collect();
            let key = PrivateKey::from_pem(&own.key_pem).map_err(failed)?;
            Some(ClientCert::new_with_certs(&chain, key))
        }
        None => None,
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(trust.roots.iter().map(certificate)))
        .client_cert(own)
        .unversioned_rustls_crypto_provider(provider())
        .build())
}

/// In our own words: those of ureq may repeat what the archive said.
fn failed(error: ureq::Error) -> PullError {
    match error {
        ureq::Error::Io(error) => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match inner {
                Some(error) => super::tls::refused(error.clone()),
                None => PullError::Unreachable { why: words(&error) },
            }
        }
        ureq::Error::Rustls(error) => super::tls::refused(error),
        ureq::Error::HostNotFound => {
            PullError::Unreachable { why: "the host is not known".to_owned() }
        }
        ureq::Error::ConnectionFailed => PullError::Unreachable { why: "no connection".to_owned() },
        ureq::Error::Timeout(_) => PullError::Cut { why: "no answer in time".to_owned() },
        ureq::Error::Protocol(_) => PullError::Cut { why: "no valid HTTP".to_owned() },
        _ => PullError::Malformed { what: "no valid HTTP" },
    }
}
