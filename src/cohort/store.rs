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
const LAYOUT: u32 = 2;

const TABLES: &str = "
    CREATE TABLE layout (number INTEGER NOT NULL);
    -- How names of a source's files are read: others make other subjects.
    CREATE TABLE source (name TEXT PRIMARY KEY, reading TEXT NOT NULL);
    -- What a walk found. `changes` counts new contents under an old size and time.
    CREATE TABLE file (
        id INTEGER PRIMARY KEY, source TEXT NOT NULL, path TEXT NOT NULL,
        size INTEGER NOT NULL, modified INTEGER NOT NULL, seen INTEGER NOT NULL,
        digest BLOB, changes INTEGER NOT NULL DEFAULT 0, UNIQUE (source, path));
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
}

/// A file's state, as far as the fingerprint of its series needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub size: u64,
    pub modified: u128,
    pub changes: u32,
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
            "UPDATE file SET seen = ?, size = ?, modified = ?, digest = NULL WHERE id = ?",
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
        let mut next = self.db.prepare_cached(
            "SELECT id, path, digest FROM file WHERE source = ? AND id > ?
             AND (? OR NOT EXISTS (SELECT 1 FROM header WHERE header.id = file.id))
             ORDER BY id LIMIT ?",
        )?;
        let rows = next.query_map(params![source, behind, all, limit as i64], |row| {
            Ok(Unread { id: row.get(0)?, path: row.get(1)?, digest: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether something of a file is kept.
    pub(super) fn has_header(&self, id: i64) -> Result<bool, IndexError> {
        let mut has = self.db.prepare_cached("SELECT 1 FROM header WHERE id = ?")?;
        Ok(has.exists([id])?)
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

    /// Keeps what reading a file gave.
    pub(super) fn keep(
        &mut self,
        source: &str,
        id: i64,
        lasting: Lasting,
    ) -> Result<(), IndexError> {
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
        let mut keep =
            self.db.prepare_cached("INSERT OR REPLACE INTO header VALUES (?, ?, ?, ?, ?)")?;
        keep.execute(params![id, series, instance, reason, lost_of])?;
        Ok(())
    }

    /// Forgets what was read of a file.
    pub(super) fn forget(&self, id: i64) -> Result<(), IndexError> {
        let mut forget = self.db.prepare_cached("DELETE FROM header WHERE id = ?")?;
        forget.execute([id])?;
        Ok(())
    }

    /// Keeps the digest of a file's content, and counts it where it is another one.
    pub(super) fn keep_digest(&self, file: &Unread, digest: &[u8]) -> Result<(), IndexError> {
        let changed = file.digest.as_deref().is_some_and(|before| before != digest);
        let mut keep = self
            .db
            .prepare_cached("UPDATE file SET digest = ?, changes = changes + ? WHERE id = ?")?;
        keep.execute(params![digest, changed, file.id])?;
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

fn is_no_database(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::NotADatabase)
}
