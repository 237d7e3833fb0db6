//! The files that an index refused, on their way into the quarantine.

use super::{IndexError, Store};
use crate::cohort::Quarantined;

impl Store {
    /// Forgets the files that were refused by the index before.
    pub(in crate::cohort) fn clear_refused(&self) -> Result<(), IndexError> {
        self.db.execute("DELETE FROM refused", [])?;
        Ok(())
    }

    /// Adds a row of the quarantine.
    pub(in crate::cohort) fn refuse(
        &self,
        file: &str,
        series: Option<&str>,
        reason: &str,
    ) -> Result<(), IndexError> {
        let mut refuse = self.db.prepare_cached("INSERT INTO refused VALUES (?, ?, ?)")?;
        refuse.execute((file, series, reason))?;
        Ok(())
    }

    /// The rows of the quarantine by pseudonym: an order by real name would tell
    /// something of the names.
    pub(in crate::cohort) fn refused<E: From<IndexError>>(
        &self,
        mut each: impl FnMut(Quarantined) -> Result<(), E>,
    ) -> Result<(), E> {
        let stored = |error: rusqlite::Error| IndexError::from(error);
        let mut refused = self
            .db
            .prepare("SELECT file, series, reason FROM refused ORDER BY file")
            .map_err(stored)?;
        let mut rows = refused.query([]).map_err(stored)?;
        while let Some(row) = rows.next().map_err(stored)? {
            let cells = (row.get(0), row.get(1), row.get(2));
            let (file, series, reason) =
                (cells.0.map_err(stored)?, cells.1.map_err(stored)?, cells.2.map_err(stored)?);
            each(Quarantined { file, series, stage: "index".to_owned(), reason })?;
        }
        Ok(())
    }

    /// How many files were refused for each reason.
    pub(in crate::cohort) fn reasons(&self) -> Result<Vec<(String, usize)>, IndexError> {
        let mut reasons = self
            .db
            .prepare("SELECT reason, count(*) FROM refused GROUP BY reason ORDER BY 2 DESC, 1")?;
        let rows =
            reasons.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
