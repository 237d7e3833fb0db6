//! Files that were changed at random: no panic, no hang, one verdict.

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mivox::io::dicom::DecoderFault;

use super::{
    mutate::damaged,
    seeds::{Seed, seeds},
    verdict::{Place, Verdict},
};
use crate::readers::files::decode_apart;

/// What no file may take. A decoder may take ten seconds, and is tried again where it
/// died.
const HANG: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Row {
    cases: u64,
    volumes: u64,
    /// Decoders that panicked, and that died or were killed.
    faults: [u64; 2],
    slowest: Duration,
}

struct Run<'a> {
    seeds: &'a [Seed],
    seed: u64,
    cases: u64,
    next: AtomicU64,
    rows: Mutex<BTreeMap<usize, Row>>,
    failures: Mutex<Vec<String>>,
}

impl Run<'_> {
    /// One thread's work in a folder of its own; `now` says what it does.
    fn work(&self, folder: &Path, now: &Mutex<Option<(u64, Instant)>>) {
        let place = |at: usize| Place::new(&folder.join(at.to_string()), &self.seeds[at]);
        let places: Vec<Place> = (0..self.seeds.len()).map(place).collect();
        loop {
            let case = self.next.fetch_add(1, Ordering::Relaxed);
            if case >= self.cases {
                *now.lock().unwrap() = None;
                return;
            }
            let at = (case % self.seeds.len() as u64) as usize;
            let (seed, place) = (&self.seeds[at], &places[at]);
            let (file, bytes) = damaged(seed, self.seed, case);
            place.put(file, &bytes);
            let start = Instant::now();
            *now.lock().unwrap() = Some((case, start));
            let verdict = catch_unwind(AssertUnwindSafe(|| place.verdict(seed)));
            let took = start.elapsed();
            place.put(file, &seed.files[file].1);
            if verdict.is_err() {
                let kept = folder.parent().unwrap().join(format!("case-{case}"));
                fs::write(&kept, &bytes).unwrap();
                let line = format!("case {case} of {} panicked: {}", seed.name, kept.display());
                self.failures.lock().unwrap().push(line);
            }
            let mut rows = self.rows.lock().unwrap();
            let row = rows.entry(at).or_default();
            row.cases += 1;
            match verdict {
                Ok(Verdict::Volume) => row.volumes += 1,
                Ok(Verdict::Fault(DecoderFault::Panicked)) => row.faults[0] += 1,
                Ok(Verdict::Fault(_)) => row.faults[1] += 1,
                Ok(Verdict::None) | Err(_) => {}
            }
            row.slowest = row.slowest.max(took);
        }
    }

    fn table(&self) {
        let rows = self.rows.lock().unwrap();
        println!("| seed | files | refused | read | decoder panicked | ended | slowest, ms |");
        println!("|---|---|---|---|---|---|---|");
        let line = |name: &str, row: &Row| {
            let refused = row.cases - row.volumes;
            let (cases, volumes, [panicked, ended]) = (row.cases, row.volumes, row.faults);
            let slowest = row.slowest.as_millis();
            println!(
                "| {name} | {cases} | {refused} | {volumes} | {panicked} | {ended} | {slowest} |"
            );
        };
        let mut all = Row::default();
        for (&at, row) in rows.iter() {
            line(&self.seeds[at].name, row);
            all.cases += row.cases;
            all.volumes += row.volumes;
            all.faults = [0, 1].map(|n| all.faults[n] + row.faults[n]);
            all.slowest = all.slowest.max(row.slowest);
        }
        line("**all**", &all);
        let failures = self.failures.lock().unwrap().len();
        println!("\nseed {}, {failures} panics", self.seed);
        println!("peak memory of this process: {}", peak_memory("self"));
        println!("peak memory of the decoders that live: {}", peak_of_workers());
        assert!(all.cases == self.cases && all.volumes > 0 && all.volumes < all.cases);
    }
}

/// *VmHWM* of a process.
fn peak_memory(process: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("not known").trim().to_owned()
}

fn peak_of_workers() -> String {
    let workers = children().into_iter().map(|process| peak_memory(&process));
    workers.collect::<Vec<_>>().join(", ")
}

/// Processes of this one.
fn children() -> Vec<String> {
    let me = format!("PPid:\t{}", std::process::id());
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| {
            let status = fs::read_to_string(format!("/proc/{name}/status"));
            status.is_ok_and(|status| status.lines().any(|line| line == me))
        })
        .collect()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// `MIVOX_HOSTILE` asks for more files than 20,000, `MIVOX_HOSTILE_SEED` for others:
/// `make hostile` for a million.
#[test]
fn any_bytes_may_be_wrong() {
    decode_apart();
    let seeds = seeds();
    let cases = number("MIVOX_HOSTILE", 20_000);
    let run = Run {
        seeds: &seeds,
        seed: number("MIVOX_HOSTILE_SEED", 1),
        cases,
        next: AtomicU64::new(0),
        rows: Mutex::default(),
        failures: Mutex::default(),
    };
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("mivox-hostile-").tempdir_in(root).unwrap();
    for (at, seed) in seeds.iter().enumerate() {
        let sound = Place::new(&folder.path().join(format!("sound-{at}")), seed);
        assert_eq!(sound.verdict(seed), Verdict::Volume, "{} is not read", seed.name);
        fs::remove_dir_all(sound.folder()).unwrap();
    }
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let now: Vec<Mutex<_>> = (0..threads).map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        let work: Vec<_> = now
            .iter()
            .enumerate()
            .map(|(thread, now)| {
                let folder: PathBuf = folder.path().join(format!("thread-{thread}"));
                let run = &run;
                scope.spawn(move || run.work(&folder, now))
            })
            .collect();
        while !work.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(100));
            for now in &now {
                if let Some((case, start)) = *now.lock().unwrap()
                    && start.elapsed() > HANG
                {
                    // Nothing else ends a thread that hangs.
                    eprintln!("case {case} hangs; its files are in {:?}", folder.path());
                    std::process::abort();
                }
            }
        }
    });
    run.table();
    let failures = run.failures.into_inner().unwrap();
    if !failures.is_empty() {
        let _ = folder.keep();
        panic!("{}", failures.join("\n"));
    }
}

/// Every seed with damage in a folder of its own, for the fuzzers to start from.
#[test]
#[ignore = "writes files: MIVOX_FUZZ_SEEDS names the folder"]
fn seeds_of_the_fuzzers() {
    let folder = PathBuf::from(std::env::var("MIVOX_FUZZ_SEEDS").expect("MIVOX_FUZZ_SEEDS"));
    for seed in seeds() {
        let first = &seed.files[0].1;
        let kinds: &[&str] = match (seed.dicom, seed.files.len()) {
            (true, 1) => &["dicom_header", "enhanced"],
            (true, _) => &["dicom_header"],
            (false, 1) => &["nifti"],
            (false, _) => &[],
        };
        for kind in kinds {
            fs::create_dir_all(folder.join(kind)).unwrap();
            fs::write(folder.join(kind).join(seed.name.replace(' ', "_")), first).unwrap();
        }
        const CODECS: [&str; 8] = [
            "jpeg",
            "jpeg_lossless",
            "jpeg_ls",
            "jpeg_2000",
            "htj2k",
            "jpeg_xl",
            "RLE",
            "deflated frame",
        ];
        if let Some(which) = CODECS.iter().position(|&name| name == seed.name) {
            // Behind the pixel data's head: an empty table and the only fragment.
            let at = first.windows(4).rposition(|w| w == [0xE0, 0x7F, 0x10, 0]).unwrap() + 12;
            let table = u32::from_le_bytes(first[at + 4..at + 8].try_into().unwrap()) as usize;
            let code = &first[at + 8 + table + 8..first.len() - 8];
            fs::create_dir_all(folder.join("codecs")).unwrap();
            let bytes = [&[which as u8], code].concat();
            fs::write(folder.join("codecs").join(seed.name.replace(' ', "_")), bytes).unwrap();
        }
    }
}
