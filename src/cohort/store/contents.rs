//! What is asked of a store: files, series and their instances.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    path::Path,
};

use rusqlite::OptionalExtension;

use super::{IndexError, State, Store};
use crate::{cohort::damaged::Damage, io::dicom::Instance};

impl Store {
    /// How many files each series of a source lacks, by its identifier. A file that does
    /// not say its series any more belongs to the one in its folder, where there is one
    /// alone whose files have its ending.
    /// `unreadable` are such files of which nothing is kept.
    pub(in crate::cohort) fn lacking(
        &self,
        source: &str,
        unreadable: &[(&str, &Damage)],
    ) -> Result<HashMap<String, usize>, IndexError> {
        let mut lost = self.db.prepare(
            "SELECT path, lost_of FROM header JOIN file USING (id)
             WHERE source = ? AND lost_of IS NOT NULL",
        )?;
        let mut lacking = HashMap::new();
        let mut nameless: HashMap<(String, Option<OsString>), usize> = HashMap::new();
        let mut rows = lost.query([source])?;
        let mut add = |path: &str, series: &str| match series {
            "" => *nameless.entry(place(path)).or_default() += 1,
            _ => *lacking.entry(series.to_owned()).or_default() += 1,
        };
        while let Some(row) = rows.next()? {
            add(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?);
        }
        for (path, damage) in unreadable {
            add(path, damage.series.as_deref().unwrap_or_default());
        }
        for (place, files) in nameless {
            if let Some(series) = self.only_series_in(source, &place)? {
                *lacking.entry(series).or_default() += files;
            }
        }
        Ok(lacking)
    }

    /// The series of the files with an ending in a folder, where it is one alone.
    fn only_series_in(
        &self,
        source: &str,
        place_of: &(String, Option<OsString>),
    ) -> Result<Option<String>, IndexError> {
        // From the folder's separator to the letter behind it.
        let mut beside = self.db.prepare_cached(
            "SELECT path, uid FROM file JOIN header USING (id)
             JOIN series ON series.id = header.series
             WHERE file.source = ?1 AND path > ?2 || '/' AND path < ?2 || '0'",
        )?;
        let mut rows = beside.query((source, &place_of.0))?;
        let mut only: Option<String> = None;
        while let Some(row) = rows.next()? {
            let (path, uid): (String, String) = (row.get(0)?, row.get(1)?);
            if place(&path) != *place_of {
                continue;
            }
            match &only {
                Some(other) if *other != uid => return Ok(None),
                _ => only = Some(uid),
            }
        }
        Ok(only)
    }

    /// The series of a source that have files, in the order of their identifiers,
    /// and their files.
    pub(in crate::cohort) fn series(&self, source: &str) -> Result<Vec<(i64, usize)>, IndexError> {
        let mut series = self.db.prepare(
            "SELECT series.id, count(*) FROM series JOIN header ON header.series = series.id
             WHERE source = ? GROUP BY series.id ORDER BY study, uid",
        )?;
        let rows =
            series.query_map([source], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The instances of a series, and the states of their files.
    pub(in crate::cohort) fn instances(
        &self,
        series: i64,
    ) -> Result<Vec<(Instance, State)>, IndexError> {
        let mut instances = self.db.prepare_cached(
            "SELECT path, size, modified, changes, unreadable, instance FROM header JOIN file USING (id)
             WHERE series = ?",
        )?;
        let mut rows = instances.query([series])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(5)?.as_blob().map_err(|_| IndexError::Kept)?;
            let mut instance: Instance =
                postcard::from_bytes(bytes).map_err(|_| IndexError::Kept)?;
            instance.file = row.get::<_, String>(0)?.into();
            found.push((instance, state(row, 1)?));
        }
        Ok(found)
    }

    /// The state of a file.
    pub(in crate::cohort) fn state(
        &self,
        source: &str,
        path: &str,
    ) -> Result<Option<State>, IndexError> {
        let mut state_of = self.db.prepare_cached(
            "SELECT size, modified, changes, unreadable FROM file WHERE source = ? AND path = ?",
        )?;
        Ok(state_of.query_row((source, path), |row| state(row, 0)).optional()?)
    }

    /// Files of a source that lie beside scans.
    pub(in crate::cohort) fn companions(&self, source: &str) -> Result<usize, IndexError> {
        let count = "SELECT count(*) FROM header JOIN file USING (id)
             WHERE source = ? AND series IS NULL AND reason IS NULL";
        Ok(self.db.query_row(count, [source], |row| row.get::<_, i64>(0))? as usize)
    }

    /// Files of a source that were refused by what they are, with the reason; not
    /// those that are the voxels of another file.
    pub(in crate::cohort) fn refusals(
        &self,
        source: &str,
        voxels: &BTreeSet<String>,
        mut each: impl FnMut(&str, &str) -> Result<(), IndexError>,
    ) -> Result<usize, IndexError> {
        let mut refusals = self.db.prepare(
            "SELECT path, reason FROM header JOIN file USING (id)
             WHERE source = ? AND reason IS NOT NULL ORDER BY path",
        )?;
        let mut rows = refusals.query([source])?;
        let mut voxel_files = 0;
        while let Some(row) = rows.next()? {
            let (path, reason): (String, String) = (row.get(0)?, row.get(1)?);
            if voxels.contains(&path) {
                voxel_files += 1;
            } else {
                each(&path, &reason)?;
            }
        }
        Ok(voxel_files)
    }

    /// Names and states of all files, in the order of their paths.
    pub(in crate::cohort) fn listing(
        &self,
        source: &str,
        mut each: impl FnMut(&str, State),
    ) -> Result<(), IndexError> {
        let mut files = self.db.prepare(
            "SELECT path, size, modified, changes, unreadable FROM file
             WHERE source = ? ORDER BY path",
        )?;
        let mut rows = files.query([source])?;
        while let Some(row) = rows.next()? {
            each(&row.get::<_, String>(0)?, state(row, 1)?);
        }
        Ok(())
    }
}

/// The folder of a file, and its ending; a number behind a dot is none, but a part of an
/// identifier or a count.
fn place(path: &str) -> (String, Option<OsString>) {
    let path = Path::new(path);
    let folder = path.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
    let is_number = |ending: &&OsStr| ending.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    (folder, path.extension().filter(|ending| !is_number(ending)).map(OsStr::to_owned))
}

fn state(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<State> {
    Ok(State {
        size: row.get::<_, i64>(first)? as u64,
        modified: row.get::<_, i64>(first + 1)? as u64 as u128,
        changes: row.get(first + 2)?,
        unreadable: row.get(first + 3)?,
    })
}
