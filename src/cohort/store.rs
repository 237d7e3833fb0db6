//! What was read of every file, kept in SQLite between two runs: the next index
//! reads only what changed, and no index holds more in memory than its series.
//!
//! The store holds what the linkage holds, real identifiers and paths, and is as
//! private: mode 0600, under the linkage's name, never read by another stage.

mod contents;
mod refused;

use std::{collections::HashMap, path::Path, sync::mpsc::Receiver};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::{IndexError, look::Lasting, walk::Found};
use crate::durable;

/// Raised where an [`Instance`](crate::io::dicom::Instance) or a table here is another one than before: what was
/// kept is then read anew.
const LAYOUT: u32 = 3;

const TABLES: &str = "
    CREATE TABLE layout (number INTEGER NOT NULL);
    -- How names of a source's files are read: others make other subjects.
    CREATE TABLE source (name TEXT PRIMARY KEY, reading TEXT NOT NULL);
    -- What a walk found. `digest` is of the content, `said` of the header of what holds
    -- a whole volume; `changes` counts new contents under an old size and time.
    CREATE TABLE file (
        id INTEGER PRIMARY KEY, source TEXT NOT NULL, path TEXT NOT NULL,
        size INTEGER NOT NULL, modified INTEGER NOT NULL, seen INTEGER NOT NULL,
        digest BLOB, said TEXT, changes INTEGER NOT NULL DEFAULT 0,
        -- Whether it could not be read, and may be another time.
        unreadable INTEGER NOT NULL DEFAULT 0, UNIQUE (source, path));
    CREATE TABLE series (
        id INTEGER PRIMARY KEY, source TEXT NOT NULL, study TEXT NOT NULL,
        uid TEXT NOT NULL, UNIQUE (source, study, uid));
    -- What reading a file gave, where that depends on the file alone.
    CREATE TABLE header (
        id INTEGER PRIMARY KEY, series INTEGER, instance BLOB, reason TEXT,
        -- Of a file that may be a slice: the series it says, '' for none.
        lost_of TEXT);
    CREATE INDEX of_series ON header (series) WHERE series IS NOT NULL;
    CREATE TABLE refused (file TEXT NOT NULL, series TEXT, reason TEXT NOT NULL);
";

/// By the identifiers alone: SQLite would rather look into the index of sources, and sort
/// all that is left anew for each chunk.
const NEXT: &str = "
    SELECT id, path, digest, said, unreadable,
        EXISTS (SELECT 1 FROM header WHERE header.id = file.id) AS known
    FROM file WHERE +source = ? AND id > ? AND (? OR NOT known) ORDER BY id LIMIT ?";

/// The store of an index.
pub(super) struct Store {
    db: Connection,
    /// The number of this walk.
    walk: i64,
    series: HashMap<(String, String, String), i64>,
}

/// A file that is to be read.
#[derive(Clone)]
pub(super) struct Unread {
    pub id: i64,
    pub path: String,
    /// SHA-256 of the content that was read before, where it is known.
    pub digest: Option<Vec<u8>>,
    /// What [`Passing::digest`](super::look::Passing::digest) gave before.
    pub said: Option<String>,
    /// Whether it could not be read before, and may be now.
    pub unreadable: bool,
    /// Whether something that was read of it is kept.
    pub known: bool,
}

/// What reading a file gave beside what is kept of its header.
pub(super) struct Noted {
    pub digest: Option<Vec<u8>>,
    pub said: Option<String>,
    pub unreadable: bool,
    /// Whether its content is another one, under the same size and time.
    pub changed: bool,
}

/// A file's state, as far as the fingerprint of its series needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub size: u64,
    pub modified: u128,
    pub changes: u32,
    pub unreadable: bool,
}

impl Store {
    /// The store in a file, made where there is none that can be used.
    pub(super) fn open(path: &Path) -> Result<Self, IndexError> {
        // With its mode from the start: SQLite would make it readable by all.
        let empty = || durable::write_private(path, |_| Ok::<(), durable::DurableError>(()));
        if !path.exists() {
            empty()?;
        }
        match Self::of(Connection::open(path)?) {
            Err(IndexError::Store(error)) if is_no_database(&error) => {
                empty()?;
                Self::of(Connection::open(path)?)
            }
            opened => opened,
        }
    }

    /// A store that is gone with this program.
    pub(super) fn temporary() -> Result<Self, IndexError> {
        Self::of(Connection::open("")?)
    }

    fn of(db: Connection) -> Result<Self, IndexError> {
        // One program at a time holds a results folder, also on a network's disk.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "cache_size", -65_536)?;
        let layout = db.query_row("SELECT number FROM layout", [], |row| row.get::<_, u32>(0));
        if layout.ok() != Some(LAYOUT) {
            let tables: Vec<String> = db
                .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for table in tables {
                db.execute(&format!("DROP TABLE {table}"), [])?;
            }
            db.execute_batch(TABLES)?;
            db.execute("INSERT INTO layout VALUES (?)", [LAYOUT])?;
        }
        let walk =
            db.query_row("SELECT ifnull(max(seen), 0) + 1 FROM file", [], |row| row.get(0))?;
        let mut series = HashMap::new();
        let mut known = db.prepare("SELECT source, study, uid, id FROM series")?;
        let mut rows = known.query([])?;
        while let Some(row) = rows.next()? {
            series.insert((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?);
        }
        drop(rows);
        drop(known);
        Ok(Self { db, walk, series })
    }

    /// Forgets what is not among the sources, and what was read of one whose names
    /// are read in another way now.
    pub(super) fn keep_sources(&self, sources: &[(String, String)]) -> Result<(), IndexError> {
        let mut known = self.db.prepare("SELECT name, reading FROM source")?;
        let known: Vec<(String, String)> =
            known.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        self.db.execute("BEGIN", [])?;
        for gone in known.iter().filter(|known| !sources.contains(known)) {
            let headers = "DELETE FROM header WHERE id IN (SELECT id FROM file WHERE source = ?)";
            self.db.execute(headers, [&gone.0])?;
            self.db.execute("UPDATE file SET said = NULL WHERE source = ?", [&gone.0])?;
            self.db.execute("DELETE FROM source WHERE name = ?", [&gone.0])?;
        }
        for (name, reading) in sources {
            self.db.execute("INSERT OR REPLACE INTO source VALUES (?, ?)", [name, reading])?;
        }
        self.db.execute("COMMIT", [])?;
        Ok(())
    }

    /// Takes the files that a walk finds, and says how many. What was read of one
    /// that changed is forgotten.
    pub(super) fn add_files(
        &self,
        source: &str,
        found: Receiver<Found>,
        mut each: impl FnMut(),
    ) -> Result<(), IndexError> {
        self.db.execute("BEGIN", [])?;
        let mut known =
            self.db.prepare("SELECT id, size, modified FROM file WHERE source = ? AND path = ?")?;
        let mut add = self.db.prepare(
            "INSERT INTO file (source, path, size, modified, seen) VALUES (?, ?, ?, ?, ?)",
        )?;
        let mut keep = self.db.prepare("UPDATE file SET seen = ? WHERE id = ?")?;
        let mut renew = self.db.prepare(
            "UPDATE file SET seen = ?, size = ?, modified = ?, digest = NULL, said = NULL,
             unreadable = 0 WHERE id = ?",
        )?;
        let mut forget = self.db.prepare("DELETE FROM header WHERE id = ?")?;
        for file in found {
            let path = file.path.to_string_lossy();
            // What SQLite has: 63 bits, to the year 2262.
            let (size, modified) = (file.size as i64, file.modified as i64);
            let before = known
                .query_row((source, &path), |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                })
                .optional()?;
            match before {
                None => {
                    add.execute(params![source, path, size, modified, self.walk])?;
                }
                Some((id, old_size, old_modified))
                    if (old_size, old_modified) == (size, modified) =>
                {
                    keep.execute((self.walk, id))?;
                }
                Some((id, ..)) => {
                    renew.execute((self.walk, size, modified, id))?;
                    forget.execute([id])?;
                }
            }
            each();
        }
        self.db.execute("COMMIT", [])?;
        Ok(())
    }

    /// Forgets the files that the walks of this run did not find.
    pub(super) fn end_of_walk(&self) -> Result<(), IndexError> {
        self.db.execute("BEGIN", [])?;
        let gone = "DELETE FROM header WHERE id IN (SELECT id FROM file WHERE seen != ?)";
        self.db.execute(gone, [self.walk])?;
        self.db.execute("DELETE FROM file WHERE seen != ?", [self.walk])?;
        self.db.execute("COMMIT", [])?;
        Ok(())
    }

    /// Files of all sources.
    pub(super) fn files(&self) -> Result<usize, IndexError> {
        Ok(self.db.query_row("SELECT count(*) FROM file", [], |row| row.get::<_, i64>(0))? as usize)
    }

    /// Files of which nothing is kept.
    pub(super) fn unread(&self) -> Result<usize, IndexError> {
        let count = "SELECT (SELECT count(*) FROM file) - (SELECT count(*) FROM header)";
        Ok(self.db.query_row(count, [], |row| row.get::<_, i64>(0))? as usize)
    }

    /// Some files of a source behind the one given, in the order in which they were
    /// found; `all` of them, or those of which nothing is kept.
    pub(super) fn next(
        &self,
        source: &str,
        behind: i64,
        all: bool,
        limit: usize,
    ) -> Result<Vec<Unread>, IndexError> {
        let mut next = self.db.prepare_cached(NEXT)?;
        let rows = next.query_map(params![source, behind, all, limit as i64], unread)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Files of a source that could not be read, and may be another time.
    pub(super) fn unreadable(&self, source: &str) -> Result<Vec<Unread>, IndexError> {
        let mut unreadable = self.db.prepare(
            "SELECT id, path, digest, said, unreadable, 0 FROM file
             WHERE source = ? AND unreadable",
        )?;
        let rows = unreadable.query_map([source], unread)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Files whose content was never read as a whole, but for those that cannot be.
    pub(super) fn without_digest(&self) -> Result<usize, IndexError> {
        let count = "SELECT count(*) FROM file WHERE digest IS NULL AND NOT unreadable";
        Ok(self.db.query_row(count, [], |row| row.get::<_, i64>(0))? as usize)
    }

    /// Begins and ends what is kept or lost together.
    pub(super) fn together<T>(
        &mut self,
        action: impl FnOnce(&mut Self) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        self.db.execute("BEGIN", [])?;
        let done = action(self)?;
        self.db.execute("COMMIT", [])?;
        Ok(done)
    }

    /// Keeps what reading a file gave, and says whether something else was kept of it.
    pub(super) fn keep(
        &mut self,
        source: &str,
        file: &Unread,
        lasting: Lasting,
    ) -> Result<bool, IndexError> {
        let (series, instance, reason, lost_of) = match lasting {
            Lasting::Instance(instance) => {
                let bytes = postcard::to_stdvec(&*instance).map_err(|_| IndexError::Kept)?;
                let series = self.series_of(source, instance.study_uid, instance.series_uid)?;
                (Some(series), Some(bytes), None, None)
            }
            Lasting::Companion => (None, None, None, None),
            Lasting::Refused { reason, damage } => {
                let lost_of = damage.map(|damage| damage.series.unwrap_or_default());
                (None, None, Some(reason), lost_of)
            }
        };
        let row = params![file.id, series, instance, reason, lost_of];
        if file.known {
            let mut same = self.db.prepare_cached(
                "SELECT 1 FROM header WHERE id = ? AND series IS ? AND instance IS ?
                 AND reason IS ? AND lost_of IS ?",
            )?;
            if same.exists(row)? {
                return Ok(false);
            }
        }
        let mut keep =
            self.db.prepare_cached("INSERT OR REPLACE INTO header VALUES (?, ?, ?, ?, ?)")?;
        keep.execute(row)?;
        Ok(file.known)
    }

    /// Forgets what was read of a file.
    pub(super) fn forget(&self, id: i64) -> Result<(), IndexError> {
        let mut forget = self.db.prepare_cached("DELETE FROM header WHERE id = ?")?;
        forget.execute([id])?;
        Ok(())
    }

    /// Keeps what else is known of a file now.
    pub(super) fn note(&self, file: &Unread, noted: &Noted) -> Result<(), IndexError> {
        let Noted { digest, said, unreadable, changed } = noted;
        if !changed && (digest, said, unreadable) == (&file.digest, &file.said, &file.unreadable) {
            return Ok(());
        }
        let mut note = self.db.prepare_cached(
            "UPDATE file SET digest = ?, said = ?, unreadable = ?, changes = changes + ?
             WHERE id = ?",
        )?;
        note.execute(params![digest, said, unreadable, changed, file.id])?;
        Ok(())
    }

    fn series_of(&mut self, source: &str, study: String, uid: String) -> Result<i64, IndexError> {
        let key = (source.to_owned(), study, uid);
        if let Some(&id) = self.series.get(&key) {
            return Ok(id);
        }
        let mut add =
            self.db.prepare_cached("INSERT INTO series (source, study, uid) VALUES (?, ?, ?)")?;
        let id = add.insert((&key.0, &key.1, &key.2))?;
        self.series.insert(key, id);
        Ok(id)
    }
}

fn unread(row: &rusqlite::Row<'_>) -> rusqlite::Result<Unread> {
    Ok(Unread {
        id: row.get(0)?,
        path: row.get(1)?,
        digest: row.get(2)?,
        said: row.get(3)?,
        unreadable: row.get(4)?,
        known: row.get(5)?,
    })
}

fn is_no_database(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::NotADatabase)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn files_are_taken_chunk_by_chunk_without_sorting_the_rest() {
        let store = Store::temporary().unwrap();
        let mut explain = store.db.prepare(&format!("EXPLAIN QUERY PLAN {NEXT}")).unwrap();
        let steps: Vec<String> = explain
            .query_map(params!["a", 0, false, 2], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(steps.iter().any(|step| step.contains("rowid>?")), "{steps:?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
        for source in ["a", "b"] {
            let (send, found) = channel();
            for number in 0..3 {
                let path = format!("{source}/{number}").into();
                send.send(Found { path, size: 1, modified: 1 }).unwrap();
            }
            drop(send);
            store.add_files(source, found, || ()).unwrap();
        }
        let (mut behind, mut paths) = (i64::MIN, Vec::new());
        while let Some(last) = {
            let files = store.next("b", behind, false, 2).unwrap();
            paths.extend(files.iter().map(|file| file.path.clone()));
            files.last().cloned()
        } {
            behind = last.id;
        }
        assert_eq!(paths, ["b/0", "b/1", "b/2"]);
    }
}
