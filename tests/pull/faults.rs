//! Archives that do wrong.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use mivox::{
    cohort::Quarantined,
    geometry::{Grid, affine_from_rows},
    io::dicom::{MrTiming, NewSlice, write_slice},
    study::Modality,
    table,
};
use ndarray::Array2;

use crate::{
    archives::installed,
    fake::{Answer, Fake, SECRETS, endless, http, json, lists, part, raw},
    node,
    workplace::{Workplace, free_port},
};

/// A slice with a SOP Instance UID.
fn slice(uid: &str) -> Vec<u8> {
    slice_of([SECRETS[0], SECRETS[1], uid])
}

fn slice_of([study, series, uid]: [&str; 3]) -> Vec<u8> {
    let rows =
        [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let grid = Grid { shape: [64, 64, 1], ras_from_voxel: affine_from_rows(&rows) };
    let pixels = Array2::from_elem((64, 64), 7i16);
    let slice = NewSlice {
        patient_id: SECRETS[3],
        study_uid: study,
        series_uid: series,
        sop_uid: uid,
        frame_of_reference: "1.2.3",
        modality: Modality::T1,
        timing: MrTiming::default(),
        body_part: None,
        grid: &grid,
        k: 0,
        instance_number: 1,
        slope: 1.0,
        intercept: 0.0,
        bits_stored: 16,
        padding: None,
        pixels: pixels.view(),
    };
    let mut bytes = Vec::new();
    write_slice(&mut bytes, &slice).unwrap();
    bytes
}

#[test]
fn one_bad_instance_costs_itself_alone() {
    let instance = |n: usize| format!("{}.{n}", SECRETS[2]);
    let good = slice(&instance(0));
    let mut nested = good[..good.len() - 8192 - 12].to_vec();
    // Sequences in sequences, 20,000 deep.
    nested.extend(
        [
            0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 255, 255, 255, 255, 0xFE, 0xFF, 0, 0xE0, 255,
            255, 255, 255,
        ]
        .repeat(20_000),
    );
    let cut = part(&slice(&instance(3)));
    let whole = part(&good);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=limit\r\n\r\n";
    let head: &'static str = Box::leak(format!("{head}--limit\r\n").into_boxed_str());
    let body: &'static str = Box::leak(format!("{head}\r\n").into_boxed_str());
    let huge = String::from_utf8_lossy(&http("application/dicom", b""))
        .replace("Content-Length: 0", "Content-Length: 99999999999999");
    let cases: Vec<(Answer, &str)> = vec![
        (raw(whole), ""),
        (raw(part(&slice("1.2.3.4.5"))), "another instance"),
        (raw(part(&slice(&instance(2))[..6000])), "damaged"),
        (raw(cut[..cut.len() / 2].to_vec()), "broke off"),
        (endless(head, b"X-Header: SAGT^NICHTS\r\n"), "larger than the limit"),
        (endless(body, b"SAGT^NICHTS"), "larger than the limit"),
        (raw(huge.into_bytes()), "broke off"),
        (raw(http("text/html", b"SAGT^NICHTS")), "malformed"),
        (raw(part(&nested)), "damaged"),
        (raw(part(b"SAGT^NICHTS")), "damaged"),
        (
            raw(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
                    .to_vec(),
            ),
            "status 302",
        ),
        (
            raw(b"HTTP/1.1 500 SAGT^NICHTS\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .to_vec()),
            "status 500",
        ),
        (raw(b"SAGT^NICHTS\r\n\r\n".to_vec()), "broke off"),
        (endless("HTTP/1.1 200 OK\r\n", b"X-Header: SAGT^NICHTS\r\n"), ""),
        (raw(part(&slice(&instance(14)))), ""),
    ];
    let mut answers = lists(cases.len() + 1);
    answers.extend(
        cases
            .iter()
            .enumerate()
            .map(|(n, (answer, _))| (format!("/instances/{}", instance(n)), answer.clone())),
    );
    let fake = Fake::start(answers);
    let place = Workplace::new();
    let words = ["--all", "--retries", "1", "--largest", "0.01", "--timeout", "5"];
    let said = place.pull(&fake.address, &words, 2);
    assert_eq!(place.sums(), [16, 0, 2, 14], "{said}");
    assert_eq!(place.files().len(), 2);
    let reasons: Vec<String> = place.quarantined().into_iter().map(|row| row.reason).collect();
    for (_, reason) in &cases {
        assert!(reasons.iter().any(|found| found.contains(reason)), "{reason}: {reasons:?}");
    }
    assert!(reasons.iter().any(|reason| reason.contains("status 404")), "{reasons:?}");
    // What cannot pass is not tried again; what can is.
    let asked = fake.asked.lock().unwrap();
    let times = |n: usize| {
        let end = format!("/instances/{}", instance(n));
        asked
            .iter()
            .filter(|(path, _)| path.ends_with(&end))
            .map(|(_, times)| *times)
            .sum::<usize>()
    };
    assert_eq!((times(0), times(1), times(2), times(15)), (1, 1, 1, 1));
    assert!(times(3) > 1 && times(11) > 1);
}

#[test]
fn lists_are_read_within_bounds() {
    let lists_with = |studies: Answer| {
        let mut answers = lists(1);
        answers[0].1 = studies;
        answers
    };
    let repeated: Vec<String> = (0..1000)
        .map(|n| format!("{{\"0020000D\":{{\"Value\":[\"1.2.826.77.1.{n}\"]}}}}"))
        .collect();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n\r\n[";
    let cases: Vec<(Answer, &str, &str)> = vec![
        (raw(json("{\"SAGT^NICHTS\": 1}")), "", "no DICOM JSON"),
        (raw(json(&"[".repeat(1 << 20))), "", "no DICOM JSON"),
        (endless(head, b"{\"00100010\":{\"Value\":[\"SAGT^NICHTS\"]}},"), "", "larger than"),
        (raw(json(&format!("[{}]", repeated.join(",")))), "/again", "again and again"),
        (
            raw(b"HTTP/1.1 401 SAGT^NICHTS\r\nContent-Length: 0\r\n\r\n".to_vec()),
            "",
            "denies access",
        ),
        (raw(Vec::new()), "", "cannot be reached"),
    ];
    for (studies, under, reason) in cases {
        let fake = Fake::start(lists_with(studies));
        let place = Workplace::new();
        let address = format!("{}{under}", fake.address);
        let said = place.pull(&address, &["--all", "--retries", "0", "--timeout", "5"], 1);
        assert!(said.contains(reason), "{reason}: {said}");
    }
    // Answers that do not hold to the question: another patient's study.
    let row = "[{\"0020000D\":{\"Value\":[\"1.2.826.77.1\"]},\"00100020\":{\"Value\":[\"SAGT^NICHTS\"]}},\
                {\"0020000D\":{\"Value\":[\"../../etc\"]}}]";
    let fake = Fake::start(lists_with(raw(json(row))));
    let place = Workplace::new();
    std::fs::write(place.path("ids"), "somebody\n").unwrap();
    let ids = place.path("ids");
    let said = place.pull(&fake.address, &["--patient-id-file", ids.to_str().unwrap()], 0);
    assert!(said.contains("2 answers") && said.contains("0 studies"), "{said}");
}

#[test]
fn what_is_of_another_study_or_series_is_passed_over() {
    let [study, series, instance, _] = SECRETS;
    let uid = |tag: &str, uid: &str| format!("\"{tag}\":{{\"Value\":[\"{uid}\"]}}");
    let list = |rows: &[[(&str, String); 2]]| {
        let rows = rows.iter().map(|[a, b]| format!("{{{},{}}}", uid(a.0, &a.1), uid(b.0, &b.1)));
        raw(json(&format!("[{}]", rows.collect::<Vec<_>>().join(","))))
    };
    let (of_study, of_series, of_instance) = ("0020000D", "0020000E", "00080018");
    let number = |n: usize| format!("{instance}.{n}");
    let other = |uid: &str| format!("{uid}.99");
    let mut answers = lists(1);
    answers[1].1 = list(&[
        [(of_study, study.into()), (of_series, series.into())],
        [(of_study, other(study)), (of_series, other(series))],
    ]);
    answers[2].1 = list(&[
        [(of_series, series.into()), (of_instance, number(0))],
        // What is not said may be what was asked for.
        [(of_series, String::new()), (of_instance, number(1))],
        [(of_study, study.into()), (of_instance, number(2))],
        [(of_series, other(series)), (of_instance, number(3))],
        [(of_study, other(study)), (of_instance, number(4))],
    ]);
    let files = [
        slice(&number(0)),
        slice_of([&other(study), series, &number(1)]),
        slice_of([study, &other(series), &number(2)]),
        slice(&number(3)),
        slice(&number(4)),
    ];
    answers.extend(
        files
            .iter()
            .enumerate()
            .map(|(n, file)| (format!("/instances/{}", number(n)), raw(part(file)))),
    );
    let fake = Fake::start(answers);
    let place = Workplace::new();
    let said = place.pull(&fake.address, &["--all", "--retries", "0"], 2);
    assert!(said.contains("3 answers of the archive did not match"), "{said}");
    assert_eq!((place.sums(), place.files().len()), ([3, 0, 1, 2], 1), "{said}");
    let reasons = place.quarantined();
    assert!(reasons.iter().all(|row| row.reason.contains("another instance")), "{reasons:?}");
    // What other stages said in the folder stays.
    let index = Quarantined { stage: "index".into(), ..reasons[0].clone() };
    let both = [reasons.clone(), vec![index.clone()]].concat();
    table::write(&place.path("out/quarantine.parquet"), both, &[]).unwrap();
    place.pull(&fake.address, &["--all", "--retries", "0"], 2);
    assert_eq!(place.quarantined(), [vec![index], reasons].concat());
}

#[test]
fn a_list_that_does_not_come_is_told_without_a_table_too() {
    let mut answers = lists(1);
    answers.retain(|(end, _)| end != "/instances");
    let fake = Fake::start(answers);
    let place = Workplace::new();
    let said = place.pull(&fake.address, &["--all", "--retries", "0", "--dry-run"], 2);
    assert!(said.contains("1 list did not come") && said.contains("status 404"), "{said}");
    assert!(!said.contains("pull.parquet") && !place.path("out/pull.parquet").exists(), "{said}");
    let said = place.pull(&fake.address, &["--all", "--retries", "0"], 2);
    assert!(said.contains("pull.parquet says why"), "{said}");
}

#[test]
fn silence_is_not_waited_for_longer_than_was_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let silent: Vec<_> = listener.incoming().collect();
        drop(silent);
    });
    let to = free_port().to_string();
    for (address, words) in [
        (format!("http://{address}"), &[][..]),
        (format!("dicom://FAKE@{address}"), &["--method", "move", "--move-port", &to]),
    ] {
        let began = Instant::now();
        let words = [&["--all", "--retries", "0", "--timeout", "1"], words].concat();
        Workplace::new().pull(&address, &words, 1);
        // One second for the list, and one to see whether the archive is there.
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
}

#[test]
fn a_hostile_association_ends() {
    let answers: [(&[u8], &str); 4] = [
        (&[2, 0, 255, 255, 255, 240, 0, 1], "PDU is larger"),
        (b"SAGT^NICHTS, und das auf Dauer", "PDU is larger"),
        (&[7, 0, 0, 0, 0, 4, 0, 0, 2, 1], "archive"),
        (&[3, 0, 0, 0, 0, 4, 0, 1, 1, 3], "denies access"),
    ];
    for (answer, reason) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("dicom://FAKE@{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 1 << 16]);
                let _ = stream.write_all(answer);
            }
        });
        let place = Workplace::new();
        let said = place.pull(&address, &["--all", "--retries", "0", "--timeout", "5"], 1);
        assert!(said.contains(reason), "{said}");
    }
}

const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

/// What lies behind the file meta information, which is what C-STORE carries.
fn data_set(file: &[u8]) -> &[u8] {
    // Group length, an element of UL, is the first of group 2.
    let length = u32::from_le_bytes(file[140..144].try_into().unwrap());
    &file[144 + length as usize..]
}

#[test]
fn by_c_get_only_what_was_asked_for_is_taken() {
    let wanted = "1.2.826.77.3.0";
    let statuses: Arc<Mutex<Vec<Option<u16>>>> = Arc::default();
    let seen = Arc::clone(&statuses);
    let deed: node::Deed = Arc::new(move |node| {
        let own = slice(wanted);
        let cases: [(&str, Vec<u8>); 4] = [
            // Not asked for; announced as asked for and another one; as it should be,
            // and once more.
            ("1.2.3.4.5", slice("1.2.3.4.5")),
            ("../../etc/passwd", own.clone()),
            (wanted, own.clone()),
            (wanted, own),
        ];
        let found: Vec<_> =
            cases.iter().map(|(uid, file)| node.store(MR, uid, data_set(file))).collect();
        seen.lock().unwrap().extend(found);
    });
    let port = node::start([SECRETS[0], SECRETS[1], wanted], deed);
    let place = Workplace::new();
    let address = format!("dicom://FAKE@127.0.0.1:{port}");
    place.pull(&address, &["--all", "--retries", "0"], 0);
    let statuses = statuses.lock().unwrap();
    assert_eq!(*statuses, [Some(0x0124), Some(0x0124), Some(0), Some(0)]);
    assert_eq!((place.files().len(), place.sums()), (1, [1, 0, 1, 0]));
}

#[test]
fn by_c_get_another_instance_and_an_endless_one_are_refused() {
    let wanted = "1.2.826.77.3.0";
    for (data, largest, reason) in [
        (slice("1.2.3.4.5"), "1", "another instance"),
        (slice(wanted)[..5000].to_vec(), "1", "damaged"),
        (slice(wanted), "0.000001", "larger than the limit"),
    ] {
        let deed: node::Deed = Arc::new(move |node| {
            let _ = node.store(MR, wanted, data_set(&data));
        });
        let port = node::start([SECRETS[0], SECRETS[1], wanted], deed);
        let place = Workplace::new();
        let address = format!("dicom://FAKE@127.0.0.1:{port}");
        let words = ["--all", "--retries", "0", "--largest", largest];
        place.pull(&address, &words, 2);
        assert!(place.files().is_empty());
        let reasons = place.quarantined();
        assert!(reasons.len() == 1 && reasons[0].reason.contains(reason), "{reasons:?}");
    }
}

#[test]
fn by_c_move_only_the_archive_is_let_in() {
    if !installed("storescu") {
        return;
    }
    let wanted = "1.2.826.77.3.0";
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);
    std::fs::write(path("own"), slice(wanted)).unwrap();
    std::fs::write(path("other"), slice("1.2.3.4.5")).unwrap();
    let port = free_port();
    let (own, other) = (path("own"), path("other"));
    let ends: Arc<Mutex<Vec<bool>>> = Arc::default();
    let seen = Arc::clone(&ends);
    let deed: node::Deed = Arc::new(move |_| {
        let send = |calling: &str, called: &str, file: &std::path::Path| {
            let mut command = Command::new("storescu");
            command.args(["-aet", calling, "-aec", called, "127.0.0.1", &port.to_string()]);
            command.arg(file).output().unwrap().status.success()
        };
        // Another calling title, another called title, an instance that nobody asked
        // for, and the one that was.
        let found = [
            send("INTRUDER", "MIVOX", &own),
            send("FAKE", "SOMEBODY", &own),
            send("FAKE", "MIVOX", &other),
            send("FAKE", "MIVOX", &own),
        ];
        seen.lock().unwrap().extend(found);
    });
    let archive = node::start([SECRETS[0], SECRETS[1], wanted], deed);
    let place = Workplace::new();
    let address = format!("dicom://FAKE@127.0.0.1:{archive}");
    let to = port.to_string();
    place.pull(&address, &["--all", "--retries", "0", "--method", "move", "--move-port", &to], 0);
    assert_eq!(*ends.lock().unwrap(), [false, false, false, true]);
    assert_eq!((place.files().len(), place.sums()), (1, [1, 0, 1, 0]));
}
