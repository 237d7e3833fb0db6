//! TLS with an authority of one's own, passwords and tokens.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::{
    archives::Orthanc,
    workplace::{CONTENT, Workplace, checked},
};

/// An authority and two certificates that it has signed, by openssl.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let run = |words: &str| {
            let mut command = Command::new("openssl");
            command.args(words.split(' ')).current_dir(folder.path());
            command.output().is_ok_and(|output| output.status.success())
        };
        let key = "req -newkey rsa:2048 -nodes -days 2";
        if !run(&format!("{key} -x509 -keyout ca.key -out ca.pem -subj /CN=authority")) {
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
            .unwrap();
        for name in ["archive", "own"] {
            let signing = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
            assert!(run(&format!("{key} -keyout {name}.key -out {name}.csr -subj /CN={name}")));
            assert!(run(&format!("x509 -req -in {name}.csr {signing} -out {name}.pem")));
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        fs::write(folder.path().join("both.pem"), read("archive.pem") + &read("archive.key"))
            .unwrap();
        Some(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn word(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// What hospitals put before an archive: TLS, with certificates of both sides. (Debian's
/// Orthanc 1.10.1 dies of its first HTTPS connection.)
fn front(authority: &Authority, to: u16) -> u16 {
    let certificate = |name: &str| CertificateDer::from_pem_file(authority.path(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![certificate("archive.pem")],
            PrivateKeyDer::from_pem_file(authority.path("archive.key")).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for outside in listener.incoming().flatten() {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let inside = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for side in [&outside, &inside] {
                side.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
            }
            thread::spawn(move || relay(StreamOwned::new(tls, outside), inside));
        }
    });
    port
}

/// Carries bytes both ways, in turns, until either side ends.
fn relay(
    mut outside: StreamOwned<ServerConnection, TcpStream>,
    mut inside: TcpStream,
) -> Option<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        carry(&mut outside, &mut inside, &mut buffer)?;
        carry(&mut inside, &mut outside, &mut buffer)?;
    }
}

fn carry(from: &mut impl Read, to: &mut impl Write, buffer: &mut [u8]) -> Option<()> {
    match from.read(buffer) {
        Ok(0) => None,
        Ok(count) => to.write_all(&buffer[..count]).and_then(|()| to.flush()).ok(),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Some(())
        }
        Err(_) => None,
    }
}

fn written(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn dicomweb_over_tls_with_a_password() {
    let Some(authority) = Authority::new() else { return };
    let settings = ", \"AuthenticationEnabled\": true,
                    \"RegisteredUsers\": { \"reader\": \"open sesame\" }";
    let Some(orthanc) = Orthanc::start(settings) else { return };
    let front = front(&authority, orthanc.http);
    let mut store = Command::new("storescu");
    store.args(["-aec", "ORTHANC", "127.0.0.1", &orthanc.dicom.to_string()]);
    let few = &CONTENT.manifest.files[..290];
    let few: Vec<_> = few.iter().step_by(30).map(|s| CONTENT.folder.join(&s.file)).collect();
    checked(store.args(&few), 0);

    let place = Workplace::new();
    let right = written(&place.path("right"), "reader:open sesame\n");
    let wrong = written(&place.path("wrong"), "reader:sesame\n");
    let [ca, cert, key] = ["ca.pem", "own.pem", "own.key"].map(|name| authority.word(name));
    let address = format!("https://127.0.0.1:{front}/dicom-web");
    let own = ["--all", "--retries", "1", "--cert", &cert, "--key", &key];
    let pull = |words: &[&str], code| place.pull(&address, &[&own, words].concat(), code);

    let said = pull(&["--ca", &ca], 1);
    assert!(said.contains("denies access"), "{said}");
    let said = pull(&["--ca", &ca, "--user-file", &wrong], 1);
    assert!(said.contains("denies access") && !said.contains("sesame"), "{said}");
    // Whom the system believes did not sign this.
    let said = pull(&["--user-file", &right], 1);
    assert!(said.contains("TLS"), "{said}");
    let words = ["--all", "--retries", "0", "--ca", &ca, "--user-file", &right];
    place.pull(&address, &words, 1);
    assert!(place.files().is_empty());

    pull(&["--ca", &ca, "--user-file", &right], 0);
    assert_eq!(place.files().len(), few.len());
    let place = Workplace::new();
    let mut command = place.command(&address, &[&own[..], &["--ca", &ca]].concat());
    command.env("MIVOX_PACS_USER", "reader").env("MIVOX_PACS_PASSWORD", "open sesame");
    checked(&mut command, 0);
    assert_eq!(place.files().len(), few.len());
}

#[test]
fn dimse_over_tls() {
    let Some(authority) = Authority::new() else { return };
    let [ca, cert, key] = ["ca.pem", "own.pem", "own.key"].map(|name| authority.word(name));
    let settings = format!(
        ", \"DicomTlsEnabled\": true, \"DicomTlsCertificate\": \"{}\",
         \"DicomTlsPrivateKey\": \"{}\", \"DicomTlsTrustedCertificates\": \"{ca}\"",
        authority.word("archive.pem"),
        authority.word("archive.key"),
    );
    let Some(orthanc) = Orthanc::start(&settings) else { return };
    let sent: Vec<_> = CONTENT.manifest.files.iter().step_by(30).collect();
    orthanc.store(sent.iter().copied());
    let address = orthanc.dimse().replace("dicom:", "dicoms:");
    let to = orthanc.to.to_string();
    let own = ["--all", "--retries", "1", "--cert", &cert, "--key", &key, "--ca", &ca];
    for words in [&[][..], &["--method", "move", "--move-port", &to]] {
        let place = Workplace::new();
        place.pull(&address, &[&own, words].concat(), 0);
        assert_eq!(place.sums()[2] as usize, sent.len());
        assert_eq!(place.compare("data"), sent.len());
    }
    // Without a certificate of one's own, and without TLS.
    let place = Workplace::new();
    place.pull(&address, &["--all", "--retries", "0", "--ca", &ca], 1);
    place.pull(&orthanc.dimse(), &["--all", "--retries", "0", "--timeout", "5"], 1);
    let said =
        place.pull(&address, &["--all", "--ca", &ca, "--method", "move", "--move-port", &to], 1);
    assert!(said.contains("--cert"), "{said}");
}

#[test]
fn secrets_do_not_travel_in_the_open() {
    let place = Workplace::new();
    let token = written(&place.path("token"), "abcdef\n");
    for address in ["http://pacs.invalid/dicom-web", "dicom://A@pacs.invalid:104"] {
        let said = place.pull(address, &["--all", "--token-file", &token], 1);
        assert!(said.contains("--allow-plaintext") && !said.contains("abcdef"), "{said}");
    }
    let said = place.pull("https://me:abcdef@pacs.invalid/", &["--all"], 1);
    assert!(said.contains("--user-file") && !said.contains("abcdef"), "{said}");
}
