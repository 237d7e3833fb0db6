//! A small server of HTTP that does wrong what no real archive does on request.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What the server calls a study, a series and two kinds of things it says.
pub const SECRETS: [&str; 4] = ["1.2.826.77.1", "1.2.826.77.2", "1.2.826.77.3", "SAGT^NICHTS"];

/// What is written to a connection for a request, raw; and whether it stays open.
pub type Answer = Arc<dyn Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync>;

pub struct Fake {
    pub address: String,
    /// How often each path was asked for.
    pub asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Fake {
    /// Answers by what the path ends with; the longest ending wins.
    pub fn start(answers: Vec<(String, Answer)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let counts = Arc::clone(&asked);
        thread::spawn(move || {
            let answers = Arc::new(answers);
            for stream in listener.incoming().flatten() {
                let (answers, counts) = (Arc::clone(&answers), Arc::clone(&counts));
                thread::spawn(move || serve(stream, &answers, &counts));
            }
        });
        Self { address, asked }
    }
}

fn serve(
    mut stream: TcpStream,
    answers: &[(String, Answer)],
    asked: &Mutex<HashMap<String, usize>>,
) -> Option<()> {
    // One request a connection.
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let target = first.split(' ').nth(1)?.to_owned();
    let path = target.split('?').next()?.to_owned();
    *asked.lock().unwrap().entry(path.clone()).or_default() += 1;
    let later = target.contains("offset=") && !target.contains("offset=0");
    let answer =
        answers.iter().filter(|(end, _)| path.ends_with(end)).max_by_key(|(end, _)| end.len());
    let _ = match answer {
        Some(_) if later && !path.contains("again") => stream.write_all(&json("[]")),
        Some((_, answer)) => answer(&mut stream),
        None => stream.write_all(
            b"HTTP/1.1 404 SAGT^NICHTS\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
    };
    Some(())
}

/// An answer of bytes.
pub fn raw(bytes: Vec<u8>) -> Answer {
    Arc::new(move |stream| stream.write_all(&bytes))
}

/// Some bytes and then others without end.
pub fn endless(start: &'static str, again: &'static [u8]) -> Answer {
    Arc::new(move |stream| {
        stream.write_all(start.as_bytes())?;
        let again = again.repeat(1 + (1 << 16) / again.len());
        loop {
            stream.write_all(&again)?;
        }
    })
}

pub fn json(text: &str) -> Vec<u8> {
    http("application/dicom+json", text.as_bytes())
}

pub fn http(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A multipart answer with one instance.
pub fn part(instance: &[u8]) -> Vec<u8> {
    let head = b"--limit\r\nContent-Type: application/dicom\r\n\r\n".as_slice();
    let body = [head, instance, b"\r\n--limit--\r\n"].concat();
    http("multipart/related; type=\"application/dicom\"; boundary=limit", &body)
}

/// Lists of one study with one series with instances `1.2.826.77.3.N`.
pub fn lists(count: usize) -> Vec<(String, Answer)> {
    let [study, series, instance, _] = SECRETS;
    let row =
        |tag: &str, uid: &str| format!("{{\"{tag}\":{{\"vr\":\"UI\",\"Value\":[\"{uid}\"]}}}}");
    let rows: Vec<String> =
        (0..count).map(|n| row("00080018", &format!("{instance}.{n}"))).collect();
    vec![
        ("/studies".into(), raw(json(&format!("[{}]", row("0020000D", study))))),
        ("/series".into(), raw(json(&format!("[{}]", row("0020000E", series))))),
        ("/instances".into(), raw(json(&format!("[{}]", rows.join(","))))),
    ]
}
