//! Where an archive is.

use std::net::IpAddr;

use ureq::http::Uri;

use super::PullError;

/// The address of an archive, as one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// DICOMweb.
    Web {
        /// Whether TLS is spoken.
        tls: bool,
        /// Host name or IP address.
        host: String,
        /// What `studies` follows: `https://host/dicom-web/`.
        base: String,
    },
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
        let uri: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("is no URL such as https://host/dicom-web or dicom://AE@host:104"));
        };
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        if user.is_some_and(|user| user.contains(':')) {
            return Err(wrong("holds a password: put it into a file, see --user-file"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let place = authority.as_str().rsplit('@').next().unwrap_or_default();
        // What does not fit into a port is none to the parser.
        if place != authority.host() && uri.port_u16().is_none() {
            return Err(wrong("has no valid port"));
        }
        match scheme {
            "http" | "https" => {
                if user.is_some() {
                    return Err(wrong("holds a user: put it into a file, see --user-file"));
                }
                if uri.query().is_some() || text.contains('#') {
                    return Err(wrong("must end where /studies follows"));
                }
                let base = format!("{}/", text.trim_end_matches('/'));
                Ok(Self::Web { tls: scheme == "https", host, base })
            }
            "dicom" | "dicoms" => {
                let tls = scheme == "dicoms";
                // Registered with IANA, see PS3.8 9.1.1 and PS3.15 B.
                let port = uri.port_u16().unwrap_or(if tls { 2762 } else { 104 });
                let called = user.and_then(ae_title);
                let called =
                    called.ok_or_else(|| wrong("has no AE title: dicom://AE_TITLE@host:port"))?;
                if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
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
            Self::Web { tls, host, .. } | Self::Dimse { tls, host, .. } => {
                *tls || is_loopback(host)
            }
        }
    }
}

/// Whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
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
        let Address::Web { base, host, tls } = &web else { panic!() };
        assert_eq!(
            (base.as_str(), host.as_str(), *tls),
            ("https://pacs.example/dicom-web/", "pacs.example", true)
        );
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
            "dicom://A@pacs:99999",
            "dicom://A@pacs:",
            "https://[::1",
            "/dicom-web",
            "https://",
        ] {
            let error = Address::new(wrong).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
