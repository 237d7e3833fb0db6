//! Event files, as TensorBoard reads them.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use prost::Message;

use super::MetricRow;

/// What the names of our files begin and end with; the number between them is
/// where others have a time, so that their order holds whatever the clock says.
const NAME: (&str, &str) = ("events.out.tfevents.", ".mivox");
/// Most steps of a run that are written: TensorBoard shows a thousand.
const MOST_STEPS: usize = 10_000;
/// What a reader may have to wait for.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// # Source
/// TensorFlow, `core/util/event.proto`, the fields that are written here.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `Summary.Value` with a number.
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.SessionStatus.START`: what earlier files say of this step and
/// later ones is void.
const START: i32 = 1;

/// The event file of a run, or of what is left of it after a resume.
pub(super) struct Events {
    out: BufWriter<File>,
    stride: usize,
    flushed: Instant,
}

impl Events {
    /// A new file in a folder, for the steps from `first` on of so many. A run
    /// from the start removes the files of the one before it.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(folder: &Path, first: usize, steps: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut number = 0;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Some(earlier) = number_of(&entry.file_name().to_string_lossy()) else { continue };
            match first {
                0 => fs::remove_file(entry.path())?,
                _ => number = number.max(earlier + 1),
            }
        }
        let path = folder.join(format!("{}{number:010}{}", NAME.0, NAME.1));
        let out = BufWriter::new(File::create_new(path)?);
        let stride = steps.div_ceil(MOST_STEPS).max(1);
        let mut events = Self { out, stride, flushed: Instant::now() };
        let version = Some("brain.Event:2".to_owned());
        events.write(Event { file_version: version, ..Event::default() })?;
        let started = Some(SessionLog { status: START });
        events.write(Event { step: first as i64, session_log: started, ..Event::default() })?;
        events.flush()?;
        Ok(events)
    }

    /// Adds what is known of a step; of a very long run every few steps, and
    /// every look.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&mut self, row: &MetricRow) -> io::Result<()> {
        if !(row.step as usize).is_multiple_of(self.stride) && !row.is_look() {
            return Ok(());
        }
        let scalar =
            |(tag, value): (&str, f32)| Scalar { tag: tag.to_owned(), simple_value: Some(value) };
        let summary = Some(Summary { value: row.scalars().map(scalar).collect() });
        self.write(Event { step: i64::from(row.step), summary, ..Event::default() })?;
        if row.is_look() || self.flushed.elapsed() >= FLUSH_EVERY { self.flush() } else { Ok(()) }
    }

    /// # Errors
    /// What the system says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        self.out.flush()
    }

    fn write(&mut self, mut event: Event) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        event.wall_time = now.as_secs_f64();
        write_record(&mut self.out, &event.encode_to_vec())
    }
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?.parse().ok()
}

/// Writes one record: its length, the length's checksum, itself, its checksum.
///
/// # Source
/// TensorFlow, *TFRecords format details*.
fn write_record(out: &mut impl Write, data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(&length).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked(data).to_le_bytes())
}

/// CRC-32C, rotated and shifted, as a checksum of data that holds checksums is weak.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a file; panics where a checksum is wrong.
    fn read(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut take = |count: usize| {
            let (part, after) = rest.split_at(count);
            rest = after;
            (part.to_vec(), after.is_empty())
        };
        let mut events = Vec::new();
        loop {
            let (length, _) = take(8);
            assert_eq!(take(4).0, masked(&length).to_le_bytes());
            let (data, _) = take(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (checksum, last) = take(4);
            assert_eq!(checksum, masked(&data).to_le_bytes());
            events.push(Event::decode(data.as_slice()).unwrap());
            if last {
                return events;
            }
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// RFC 3720, B.4: 32 bytes of zeros, and of ones.
    #[test]
    fn the_checksum_is_the_castagnoli_one() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_resume_opens_a_file_that_voids_what_was_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let row = |step| MetricRow { step, loss: 2.5, ..MetricRow::default() };
        let mut events = Events::create(folder.path(), 0, 100).unwrap();
        (0..30).for_each(|step| events.add(&row(step)).unwrap());
        drop(events);
        drop(Events::create(folder.path(), 20, 100).unwrap());
        let names_now = names(folder.path());
        assert_eq!(names_now.len(), 2, "{names_now:?}");
        let [first, second] = [0, 1].map(|n: usize| read(&folder.path().join(&names_now[n])));
        assert_eq!(first.len(), 32);
        assert_eq!(first[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(first[31].step, 29);
        let values = &first[31].summary.as_ref().unwrap().value;
        let loss = values.iter().find(|value| value.tag == "step/loss").unwrap();
        assert_eq!(loss.simple_value, Some(2.5));
        assert_eq!(second[1].step, 20);
        assert_eq!(second[1].session_log, Some(SessionLog { status: START }));
        // A run from the start begins with an empty folder.
        drop(Events::create(folder.path(), 0, 100).unwrap());
        assert_eq!(names(folder.path()), ["events.out.tfevents.0000000000.mivox"]);
    }

    #[test]
    fn of_a_long_run_some_steps_are_written_and_every_look() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::create(folder.path(), 0, 40_000).unwrap();
        for step in 0..10 {
            let rank_me = (step == 5).then_some(3.0);
            events.add(&MetricRow { step, rank_me, ..MetricRow::default() }).unwrap();
        }
        drop(events);
        let steps: Vec<i64> = read(&folder.path().join(&names(folder.path())[0]))
            .into_iter()
            .filter(|event| event.summary.is_some())
            .map(|event| event.step)
            .collect();
        assert_eq!(steps, [0, 4, 5, 8]);
    }
}
