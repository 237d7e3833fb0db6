//! Where an archive is.

use std::net::IpAddr;

use url::{Host, Url};

use super::PullError;

/// The address of an archive, as one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// DICOMweb: `https://host/dicom-web`, where `/studies` follows.
    Web(Url),
    /// DIMSE: `dicom://AE_TITLE@host:port`, or `dicoms` over TLS.
    Dimse {
        /// AE title of the archive.
        called: String,
        /// Host name or IP address.
        host: String,
        /// TCP port.
        port: u16,
        /// Whether TLS is spoken.
        tls: bool,
    },
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`PullError::Address`] where it is malformed, or holds a password, which
    /// everybody on the machine would see.
    pub fn new(text: &str) -> Result<Self, PullError> {
        let wrong = |what| PullError::Address { what };
        let mut url = Url::parse(text).map_err(|_| wrong("is no URL"))?;
        if url.password().is_some() {
            return Err(wrong("holds a password: put it into a file, see --user-file"));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("has no host"))?;
        match url.scheme() {
            "http" | "https" => {
                if !url.username().is_empty() {
                    return Err(wrong("holds a user: put it into a file, see --user-file"));
                }
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(wrong(
                        "has a question behind it: it must end where /studies follows",
                    ));
                }
                if !url.path().ends_with('/') {
                    url.set_path(&format!("{}/", url.path()));
                }
                Ok(Self::Web(url))
            }
            scheme @ ("dicom" | "dicoms") => {
                let tls = scheme == "dicoms";
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                // PS3.15 B.12 and IANA: 104 and 2762.
                let port = url.port().unwrap_or(if tls { 2762 } else { 104 });
                let called = ae_title(url.username())
                    .ok_or_else(|| wrong("has no AE title: dicom://AE_TITLE@host:port"))?;
                if !matches!(url.path(), "" | "/") {
                    return Err(wrong("ends with a path, and DIMSE has none"));
                }
                Ok(Self::Dimse { called, host, port, tls })
            }
            _ => Err(wrong("must begin with https, http, dicom or dicoms")),
        }
    }

    /// Whether nobody between can read what is sent: TLS, or this very machine.
    pub fn is_private(&self) -> bool {
        match self {
            Self::Web(url) => url.scheme() == "https" || url.host().is_some_and(is_loopback),
            Self::Dimse { tls, host, .. } => {
                *tls || Host::parse(host).is_ok_and(is_loopback) || host == "::1"
            }
        }
    }
}

fn is_loopback<S: AsRef<str>>(host: Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost",
        Host::Ipv4(address) => IpAddr::V4(address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(address).is_loopback(),
    }
}

/// An AE title: 1 to 16 characters, none of them a backslash or a control.
///
/// # Source
/// DICOM PS3.5 table 6.2-1.
pub fn ae_title(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = text.bytes().all(|b| (b == b' ' || b.is_ascii_graphic()) && b != b'\\');
    (plain && (1..=16).contains(&text.len())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let web = Address::new("https://pacs.example/dicom-web").unwrap();
        let Address::Web(url) = &web else { panic!() };
        assert_eq!(url.join("studies").unwrap().path(), "/dicom-web/studies");
        assert!(web.is_private());
        assert!(!Address::new("http://pacs.example/").unwrap().is_private());
        assert!(Address::new("http://127.0.0.1:8042/dicom-web").unwrap().is_private());
        let dimse = Address::new("dicom://ORTHANC@pacs:4242").unwrap();
        let Address::Dimse { called, host, port, tls } = &dimse else { panic!() };
        assert_eq!((called.as_str(), host.as_str(), *port, *tls), ("ORTHANC", "pacs", 4242, false));
        assert!(!dimse.is_private());
        assert!(Address::new("dicom://A@127.0.0.1").unwrap().is_private());
        assert!(Address::new("dicom://A@[::1]:11112").unwrap().is_private());
        assert!(Address::new("dicoms://A@pacs").unwrap().is_private());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "pacs",
            "ftp://pacs/",
            "https://me:secret@pacs/",
            "https://me@pacs/",
            "https://pacs/?PatientID=1",
            "dicom://pacs:104",
            "dicom://A_TITLE_THAT_IS_TOO_LONG@pacs",
            "dicom://A@pacs/path",
        ] {
            let error = Address::new(wrong).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
