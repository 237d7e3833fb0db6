//! From files to pairs of rows.

use std::{io, path::PathBuf};

use super::{MiError, Pairs, Side, pairs::matched_by_key};
use crate::table::{self, Values};

/// The column of an embedding, as mivox writes it.
const EMBEDDING: &str = "embedding";
/// The column of subjects, as mivox writes it.
const SUBJECT: &str = "subject";

/// Which tables, and what of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Table A: a file, a folder of parts, or a pattern of files.
    pub a: String,
    /// Table B.
    pub b: String,
    /// Columns of A; `embedding` where none is named.
    pub columns_a: Vec<String>,
    /// Columns of B.
    pub columns_b: Vec<String>,
    /// Columns that both tables share, to match rows by; by their order where none is named.
    pub key: Vec<String>,
    /// The column to group by, of A or of B. By default `subject` where there is one,
    /// else the key where several rows have the same.
    pub group: Option<String>,
    /// Whether every row is a group of its own.
    pub ungrouped: bool,
}

/// The pairs of rows that a request names.
///
/// # Errors
/// [`MiError`] where tables, columns or rows are not there or do not fit.
pub fn open(request: &Request) -> Result<Pairs, MiError> {
    let a = Table::open("A", &request.a)?;
    let b = Table::open("B", &request.b)?;
    let x = a.side(&request.columns_a, "--column-a")?;
    let y = b.side(&request.columns_b, "--column-b")?;
    let (matched, unmatched, keys) = if request.key.is_empty() {
        if x.rows() != y.rows() {
            return Err(MiError::Length { a: x.rows(), b: y.rows() });
        }
        ((0..x.rows()).map(|row| [row, row]).collect(), [0, 0], None)
    } else {
        let keys = a.keys(&request.key)?;
        let (matched, unmatched) = matched_by_key(&keys, &b.keys(&request.key)?)?;
        (matched, unmatched, Some(keys))
    };
    let (labels, noun) = labels(request, &a, &b, &matched, keys.as_deref())?;
    Pairs::new(x, y, matched, unmatched, &labels, &noun)
}

/// The group of each pair, and what the groups are called.
fn labels(
    request: &Request,
    a: &Table,
    b: &Table,
    matched: &[[usize; 2]],
    keys: Option<&[Option<String>]>,
) -> Result<(Vec<Option<String>>, String), MiError> {
    let each = || (0..matched.len()).map(|n| Some(n.to_string())).collect();
    if request.ungrouped {
        return Ok((each(), "rows".to_owned()));
    }
    let column = request.group.as_deref().unwrap_or(SUBJECT);
    for (n, table) in [a, b].into_iter().enumerate() {
        if table.columns.iter().any(|name| name == column) {
            let words = table.keys(&[column.to_owned()])?;
            let label = |pair: &[usize; 2]| words.get(*pair.get(n)?).cloned().flatten();
            let noun = if column == SUBJECT {
                "subjects".to_owned()
            } else {
                format!("groups by {column}")
            };
            return Ok((matched.iter().map(label).collect(), noun));
        }
    }
    if let Some(column) = &request.group {
        return Err(MiError::NoGroup { column: column.clone() });
    }
    match keys {
        Some(keys) => {
            let label = |&[a, _]: &[usize; 2]| keys.get(a).cloned().flatten();
            Ok((matched.iter().map(label).collect(), "keys".to_owned()))
        }
        None => Ok((each(), "rows".to_owned())),
    }
}

/// A table, perhaps of several files.
struct Table {
    place: &'static str,
    parts: Vec<PathBuf>,
    /// Columns of the first part.
    columns: Vec<String>,
}

impl Table {
    fn open(place: &'static str, pattern: &str) -> Result<Self, MiError> {
        let listed = |source| MiError::List { place, source };
        let path = PathBuf::from(pattern);
        let parts = if path.is_dir() {
            let entries = std::fs::read_dir(&path).map_err(listed)?;
            let paths: Result<Vec<PathBuf>, _> =
                entries.map(|entry| entry.map(|entry| entry.path())).collect();
            let mut paths = paths.map_err(listed)?;
            paths.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
            paths.sort();
            paths
        } else if path.exists() || !pattern.contains(['*', '?', '[']) {
            vec![path]
        } else {
            // in the order of the names
            let wrong = |error: glob::PatternError| {
                listed(io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))
            };
            let paths: Result<Vec<PathBuf>, _> = glob::glob(pattern).map_err(wrong)?.collect();
            paths.map_err(|error| listed(error.into()))?
        };
        let first = parts.first().ok_or(MiError::NoTable { place })?;
        let columns = table::column_names(first)?;
        Ok(Self { place, parts, columns })
    }

    fn side(&self, names: &[String], option: &'static str) -> Result<Side, MiError> {
        let usual = [EMBEDDING.to_owned()];
        let names = match names {
            [] if self.columns.contains(&usual[0]) => &usual,
            [] => {
                let (place, present) = (self.place, self.columns.join(", "));
                return Err(MiError::NoColumn { place, option, present });
            }
            names => names,
        };
        let mut whole: Vec<Option<Values>> = vec![None; names.len()];
        for part in &self.parts {
            let read = table::read_values(part, names)?;
            for ((whole, part), name) in whole.iter_mut().zip(read).zip(names) {
                *whole = Some(match whole.take() {
                    Some(before) => joined(before, part).ok_or_else(|| MiError::Parts {
                        place: self.place,
                        column: name.clone(),
                    })?,
                    None => part,
                });
            }
        }
        Side::of_columns(names.iter().cloned().zip(whole.into_iter().flatten()).collect())
    }

    /// The words of columns, joined, of every row.
    fn keys(&self, names: &[String]) -> Result<Vec<Option<String>>, MiError> {
        let mut keys = Vec::new();
        for part in &self.parts {
            let columns = table::read_words(part, names)?;
            let rows = columns.first().map_or(0, Vec::len);
            keys.extend((0..rows).map(|row| {
                let words: Option<Vec<&str>> =
                    columns.iter().map(|column| column.get(row)?.as_deref()).collect();
                // no name holds the separator of ASCII
                words.map(|words| words.join("\u{1f}"))
            }));
        }
        Ok(keys)
    }
}

/// Cells of one part after those of another; none where they are of another kind.
fn joined(before: Values, after: Values) -> Option<Values> {
    Some(match (before, after) {
        // a part without rows
        (Values::Vectors { width: 0, .. }, all) | (all, Values::Vectors { width: 0, .. }) => all,
        (Values::Numbers(mut all), Values::Numbers(more)) => {
            all.extend(more);
            Values::Numbers(all)
        }
        (Values::Words(mut all), Values::Words(more)) => {
            all.extend(more);
            Values::Words(all)
        }
        (
            Values::Vectors { width, values: mut all },
            Values::Vectors { width: other, values: more },
        ) if width == other => {
            all.extend(more);
            Values::Vectors { width, values: all }
        }
        _ => return None,
    })
}
