//! Whom we believe, and how we prove who we are, over TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::PullError;

/// Whom to believe and what to show.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// PEM file of the authorities to believe, in place of the system's.
    pub ca: Option<PathBuf>,
    /// PEM file of our own certificate, with those that lead to its authority.
    pub cert: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
}

/// Certificates and key, read.
pub(super) struct Trust {
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) own: Option<Own>,
}

/// What proves who we are.
pub(super) struct Own {
    /// Our certificate first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The same key as it was read, which is how ureq takes it.
    pub(super) key_pem: Vec<u8>,
}

impl TlsFiles {
    /// Reads the files; the system's authorities where none are named.
    pub(super) fn read(&self) -> Result<Trust, PullError> {
        let roots = match &self.ca {
            Some(path) => certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        if roots.is_empty() {
            let what = "the system has no certificate authorities; name one with --ca".to_owned();
            return Err(PullError::Tls { what });
        }
        let own = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let wrong = || unusable("no private key can be read from", key);
                let key_pem = fs::read(key).map_err(|_| wrong())?;
                let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| wrong())?;
                Some(Own { chain: certificates(cert)?, key, key_pem })
            }
            _ => None,
        };
        Ok(Trust { roots, own })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PullError> {
    let wrong = || unusable("no certificate can be read from", path);
    let found = CertificateDer::pem_file_iter(path).map_err(|_| wrong())?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|_| wrong())?;
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}

fn unusable(what: &str, path: &Path) -> PullError {
    PullError::File { what: what.to_owned(), path: path.to_owned() }
}

/// The cryptography that TLS is spoken with.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Trust {
    fn store(&self) -> Arc<RootCertStore> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.roots.iter().cloned());
        Arc::new(store)
    }

    /// For connections that we open.
    pub(super) fn client(&self) -> Result<ClientConfig, PullError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_root_certificates(self.store());
        match &self.own {
            Some(Own { chain, key, .. }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(refused)
            }
            None => Ok(builder.with_no_client_auth()),
        }
    }

    /// For connections that the archive opens, which must show a certificate too.
    pub(super) fn server(&self) -> Result<ServerConfig, PullError> {
        let Some(Own { chain, key, .. }) = &self.own else {
            let what = "C-MOVE over TLS needs a certificate of our own: --cert and --key";
            return Err(PullError::Tls { what: what.to_owned() });
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(self.store(), provider())
            .build()
            .map_err(|error| PullError::Tls { what: error.to_string() })?;
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(refused)
    }
}

pub(super) fn refused(error: rustls::Error) -> PullError {
    PullError::Tls { what: error.to_string() }
}
