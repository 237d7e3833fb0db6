//! Archives of others, started on loopback and ended with the test.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::workplace::{CONTENT, Sent, checked, free_port};

const PLUGIN: &str = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";

/// Whether a program is there; says so where it is not.
pub fn installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    let found = command.status().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// An Orthanc with DICOMweb.
pub struct Orthanc {
    child: Child,
    folder: TempDir,
    pub http: u16,
    pub dicom: u16,
    /// Where it sends instances of C-MOVE.
    pub to: u16,
    agent: ureq::Agent,
}

impl Orthanc {
    /// Starts one, with further settings (members of a JSON object); none where it is
    /// not installed.
    pub fn start(settings: &str) -> Option<Self> {
        if !Path::new(PLUGIN).exists() {
            eprintln!("skipped: orthanc-dicomweb is not installed");
            return None;
        }
        if !installed("Orthanc") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let [http, dicom, to] = [(); 3].map(|()| free_port());
        let storage = folder.path().display();
        let target = match settings.contains("DicomTls") {
            true => format!(
                "{{ \"AET\": \"MIVOX\", \"Host\": \"127.0.0.1\", \"Port\": {to}, \"UseDicomTls\": true }}"
            ),
            false => format!("[\"MIVOX\", \"127.0.0.1\", {to}]"),
        };
        let text = format!(
            "{{ \"StorageDirectory\": \"{storage}/db\", \"IndexDirectory\": \"{storage}/db\",
               \"HttpPort\": {http}, \"DicomPort\": {dicom}, \"DicomAet\": \"ORTHANC\",
               \"DicomCheckCalledAet\": true, \"DicomAlwaysAllowGet\": true,
               \"DicomModalities\": {{ \"mivox\": {target} }},
               \"Plugins\": [\"{PLUGIN}\"], \"DicomWeb\": {{ \"Enable\": true }},
               \"RemoteAccessAllowed\": false {settings} }}"
        );
        fs::write(folder.path().join("orthanc.json"), text).unwrap();
        let child = Self::spawn(folder.path());
        let agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build();
        let agent = agent.new_agent();
        let own = Self { child, folder, http, dicom, to, agent };
        own.wait();
        Some(own)
    }

    fn spawn(folder: &Path) -> Child {
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new("Orthanc");
        command.arg(folder.join("orthanc.json")).stdout(Stdio::null()).stderr(log);
        command.spawn().unwrap()
    }

    /// Waits until it listens at both ports.
    fn wait(&self) {
        for _ in 0..600 {
            let open = |port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            if open(self.http) && open(self.dicom) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "Orthanc does not start: {}",
            fs::read_to_string(self.folder.path().join("log")).unwrap()
        );
    }

    /// Ends it as a failing machine would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on what it has stored.
    pub fn restart(&mut self) {
        self.child = Self::spawn(self.folder.path());
        self.wait();
    }

    pub fn web(&self) -> String {
        format!("http://127.0.0.1:{}/dicom-web", self.http)
    }

    pub fn dimse(&self) -> String {
        format!("dicom://ORTHANC@127.0.0.1:{}", self.dicom)
    }

    /// Stores instances, by its own interface, as they are.
    pub fn store<'a>(&self, sent: impl IntoIterator<Item = &'a Sent>) {
        for sent in sent {
            let bytes = fs::read(CONTENT.folder.join(&sent.file)).unwrap();
            let url = format!("http://127.0.0.1:{}/instances", self.http);
            let status = self.agent.post(url).send(&bytes[..]).unwrap().status();
            assert_eq!(status, 200, "{}", sent.file);
        }
    }
}

impl Drop for Orthanc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// dcmtk's archive.
pub struct Qrscp {
    child: Child,
    _folder: TempDir,
    pub port: u16,
    pub to: u16,
}

impl Qrscp {
    pub fn start() -> Option<Self> {
        if !["dcmqrscp", "storescu"].into_iter().all(installed) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let [port, to] = [(); 2].map(|()| free_port());
        let storage = folder.path().join("storage");
        fs::create_dir(&storage).unwrap();
        let text = format!(
            "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n\
             HostTable BEGIN\nmivox = (MIVOX, localhost, {to})\nHostTable END\n\
             VendorTable BEGIN\nVendorTable END\n\
             AETable BEGIN\nQRSCP {} RW (500, 1024mb) ANY\nAETable END\n",
            storage.display()
        );
        let config = folder.path().join("dcmqrscp.cfg");
        fs::File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
        let mut command = Command::new("dcmqrscp");
        command.arg("--config").arg(&config).arg(port.to_string());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let own = Self { child, _folder: folder, port, to };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(own);
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("dcmqrscp does not start");
    }

    /// Stores instances in an explicit syntax.
    pub fn store<'a>(&self, sent: impl IntoIterator<Item = &'a Sent>) {
        let mut command = Command::new("storescu");
        command.args(["-xe", "-aec", "QRSCP", "127.0.0.1", &self.port.to_string()]);
        command.args(sent.into_iter().map(|sent| CONTENT.folder.join(&sent.file)));
        checked(&mut command, 0);
    }
}

impl Drop for Qrscp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
