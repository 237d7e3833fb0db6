//! Rows as Parquet; the only user of polars.
//!
//! A table is a list of records, and a record a plain struct declared by
//! the macro `record`: one place says a column's name and type, for writing and reading.

use std::{fs::File, io, path::Path};

use polars::prelude::{
    BatchedWriter, Column, DataFrame, KeyValueMetadata, ParquetReader, ParquetWriter, PolarsError,
    SerReader,
};

use crate::durable::{self, DurableError};

mod cell;
mod values;

pub use cell::Cell;
pub use values::{Values, column_names, read_values, read_words};

/// Rows in one Parquet row group: what a reader must hold at once.
const ROW_GROUP: usize = 65_536;

/// Why a table cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The file did not reach the disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The file cannot be opened.
    #[error("the table {name} cannot be opened")]
    Open {
        /// Name of the table.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The table was not filled.
    #[error("the table was not filled")]
    Unfilled,
    /// polars refused.
    #[error("the table {name} cannot be {action}")]
    Polars {
        /// What was being done.
        action: &'static str,
        /// Name of the table.
        name: String,
        /// What polars said.
        source: PolarsError,
    },
    /// A column holds another type, or an empty cell where one is needed.
    #[error("column {column} of the table must hold {required}")]
    Column {
        /// Name of the column.
        column: String,
        /// The type that is needed.
        required: &'static str,
    },
    /// A table has no such column.
    #[error("the table {table} has no column {column}; it has: {present}")]
    Missing {
        /// Name of the column.
        column: String,
        /// Name of the table.
        table: String,
        /// Names of its columns.
        present: String,
    },
}

/// A row of a table. Implemented by the macro `record`.
pub trait Record: Sized {
    /// The columns of the rows.
    ///
    /// # Errors
    /// [`TableError`] where a column cannot be built.
    fn into_columns(rows: Vec<Self>) -> Result<Vec<Column>, TableError>;

    /// The rows of the columns.
    ///
    /// # Errors
    /// [`TableError::Column`] where one is missing or of another type.
    fn from_frame(frame: &DataFrame) -> Result<Vec<Self>, TableError>;
}

/// Declares a struct whose fields are the columns of a table, in order.
macro_rules! record {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)+ }

        impl $crate::table::Record for $name {
            fn into_columns(
                rows: Vec<Self>,
            ) -> Result<Vec<polars::prelude::Column>, $crate::table::TableError> {
                $(let mut $field = Vec::with_capacity(rows.len());)+
                for row in rows {
                    $($field.push(row.$field);)+
                }
                Ok(vec![$($crate::table::Cell::into_column(stringify!($field), $field)?,)+])
            }

            fn from_frame(
                frame: &polars::prelude::DataFrame,
            ) -> Result<Vec<Self>, $crate::table::TableError> {
                $(let mut $field = $crate::table::column::<$type>(frame, stringify!($field))?.into_iter();)+
                let mut rows = Vec::with_capacity(frame.height());
                while let ($(Some($field),)+) = ($($field.next(),)+) {
                    rows.push(Self { $($field,)+ });
                }
                Ok(rows)
            }
        }
    };
}
pub(crate) use record;

/// The cells of one column.
///
/// # Errors
/// [`TableError::Column`] where it is missing or of another type.
pub fn column<C: Cell>(frame: &DataFrame, name: &str) -> Result<Vec<C>, TableError> {
    let wrong = || TableError::Column { column: name.to_owned(), required: C::NAME };
    C::from_column(frame.column(name).map_err(|_| wrong())?).ok_or_else(wrong)
}

/// Writes records as one Parquet file, whole or not at all, with key-value
/// metadata.
///
/// # Errors
/// [`TableError`].
pub fn write<R: Record>(
    path: &Path,
    rows: Vec<R>,
    metadata: &[(&str, String)],
) -> Result<(), TableError> {
    let mut frame = frame_of(path, R::into_columns(rows)?)?;
    durable::write_atomically(path, |out| write_frame(path, out, &mut frame, metadata))
}

/// [`write()`] for what only its owner may read (mode 0600).
///
/// # Errors
/// [`TableError`].
pub fn write_private<R: Record>(path: &Path, rows: Vec<R>) -> Result<(), TableError> {
    let mut frame = frame_of(path, R::into_columns(rows)?)?;
    durable::write_private(path, |out| write_frame(path, out, &mut frame, &[]))
}

/// Writes records that come one by one, a row group at a time, so that no more are
/// in memory; `private` for what only its owner may read.
///
/// # Errors
/// [`TableError`], or what `fill` gives; the old table then stays.
pub fn write_each<R: Record, T, E: From<TableError> + From<DurableError>>(
    path: &Path,
    private: bool,
    fill: impl FnOnce(&mut Rows<'_, R>) -> Result<T, E>,
) -> Result<T, E> {
    let mut filled = None;
    let write = |out: &mut io::BufWriter<&mut File>| {
        let schema = frame_of(path, R::into_columns(Vec::new())?)?;
        let out: &mut dyn io::Write = out;
        let writer = ParquetWriter::new(out)
            .batched(schema.schema())
            .map_err(polars_failed("written", path))?;
        let mut rows = Rows { path, writer, waiting: Vec::new() };
        filled = Some(fill(&mut rows)?);
        Ok::<(), E>(rows.finish()?)
    };
    match private {
        true => durable::write_private(path, write)?,
        false => durable::write_atomically(path, write)?,
    }
    filled.ok_or_else(|| TableError::Unfilled.into())
}

/// A table that is being written.
pub struct Rows<'a, R> {
    path: &'a Path,
    writer: BatchedWriter<&'a mut dyn io::Write>,
    waiting: Vec<R>,
}

impl<R: Record> Rows<'_, R> {
    /// Adds a record.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn push(&mut self, row: R) -> Result<(), TableError> {
        self.waiting.push(row);
        if self.waiting.len() < ROW_GROUP { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), TableError> {
        let rows = std::mem::take(&mut self.waiting);
        let frame = frame_of(self.path, R::into_columns(rows)?)?;
        self.writer.write_batch(&frame).map_err(polars_failed("written", self.path))
    }

    fn finish(mut self) -> Result<(), TableError> {
        if !self.waiting.is_empty() {
            self.flush()?;
        }
        self.writer.finish().map(|_| ()).map_err(polars_failed("written", self.path))
    }
}

/// [`write()`] for records with one more column: a fixed-size list of f32, such as
/// an embedding of `width` numbers a row.
///
/// # Errors
/// [`TableError`].
pub fn write_with_vectors<R: Record>(
    path: &Path,
    rows: Vec<R>,
    vectors: (&str, Vec<f32>, usize),
    metadata: &[(&str, String)],
) -> Result<(), TableError> {
    let mut columns = R::into_columns(rows)?;
    let (name, values, width) = vectors;
    columns.push(cell::vectors_into_column(name, values, width)?);
    let mut frame = frame_of(path, columns)?;
    durable::write_atomically(path, |out| write_frame(path, out, &mut frame, metadata))
}

/// Reads the records of a Parquet file; further columns are left alone.
///
/// # Errors
/// [`TableError`].
pub fn read<R: Record>(path: &Path) -> Result<Vec<R>, TableError> {
    R::from_frame(&open(path)?)
}

/// Reads records and one column of fixed-size f32 lists, flattened row by row,
/// with its width.
///
/// # Errors
/// [`TableError`].
pub fn read_with_vectors<R: Record>(
    path: &Path,
    name: &str,
) -> Result<(Vec<R>, Vec<f32>, usize), TableError> {
    let frame = open(path)?;
    let wrong =
        || TableError::Column { column: name.to_owned(), required: "a fixed-size list of f32" };
    let (values, width) =
        cell::vectors_from_column(frame.column(name).map_err(|_| wrong())?).ok_or_else(wrong)?;
    Ok((R::from_frame(&frame)?, values, width))
}

/// The key-value metadata of a Parquet file under a key; no row is read.
///
/// # Errors
/// [`TableError`] where the file is missing or no Parquet.
pub fn metadata(path: &Path, key: &str) -> Result<Option<String>, TableError> {
    let file =
        File::open(path).map_err(|source| TableError::Open { name: name_of(path), source })?;
    let mut reader = ParquetReader::new(file);
    let metadata = reader.get_metadata().map_err(polars_failed("read", path))?;
    let pairs = metadata.key_value_metadata().as_deref().unwrap_or_default();
    Ok(pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone()))
}

fn open(path: &Path) -> Result<DataFrame, TableError> {
    let file =
        File::open(path).map_err(|source| TableError::Open { name: name_of(path), source })?;
    ParquetReader::new(file).finish().map_err(polars_failed("read", path))
}

fn frame_of(path: &Path, columns: Vec<Column>) -> Result<DataFrame, TableError> {
    DataFrame::new_infer_height(columns).map_err(polars_failed("built", path))
}

fn write_frame(
    path: &Path,
    out: impl io::Write,
    frame: &mut DataFrame,
    metadata: &[(&str, String)],
) -> Result<(), TableError> {
    let pairs = metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    ParquetWriter::new(out)
        .with_row_group_size(Some(ROW_GROUP))
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(pairs)))
        .finish(frame)
        .map(|_| ())
        .map_err(polars_failed("written", path))
}

fn polars_failed(action: &'static str, path: &Path) -> impl FnOnce(PolarsError) -> TableError {
    let name = name_of(path);
    move |source| TableError::Polars { action, name, source }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    record! {
        /// One row of every cell type.
        pub struct Sample {
            pub word: String,
            pub maybe: Option<String>,
            pub count: u32,
            pub index: Option<u32>,
            pub size: u64,
            pub value: f64,
            pub maybe_value: Option<f64>,
            pub small: f32,
            pub flag: bool,
            pub place_mm: [f64; 3],
            pub shape: [u32; 3],
            pub maybe_affine: Option<[f64; 16]>,
        }
    }

    fn sample(n: u32) -> Sample {
        Sample {
            word: format!("row {n}"),
            maybe: n.is_multiple_of(2).then(|| "even".to_owned()),
            count: n,
            index: (n > 0).then_some(n),
            size: u64::from(n) << 40,
            value: f64::from(n) / 3.0,
            maybe_value: (n == 1).then_some(0.5),
            small: n as f32,
            flag: n == 1,
            place_mm: [f64::from(n), -1.0, 1e-9],
            shape: [n, 2, 3],
            maybe_affine: (n != 2).then_some([f64::from(n); 16]),
        }
    }

    #[test]
    fn rows_and_vectors_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.parquet");
        let rows: Vec<Sample> = (0..5).map(sample).collect();
        let vectors: Vec<f32> = (0..20).map(|v| v as f32).collect();
        write_with_vectors(&path, rows.clone(), ("embedding", vectors.clone(), 4), &[]).unwrap();
        let (back, values, width) = read_with_vectors::<Sample>(&path, "embedding").unwrap();
        assert_eq!((back, values, width), (rows, vectors, 4));
    }

    #[test]
    fn a_table_without_rows_keeps_its_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.parquet");
        write::<Sample>(&path, vec![], &[]).unwrap();
        assert_eq!(read::<Sample>(&path).unwrap(), vec![]);
    }

    #[test]
    fn another_table_is_refused_with_the_column() {
        record! {
            /// A row of another table.
            pub struct Other {
                pub word: f64,
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.parquet");
        write(&path, vec![Other { word: 1.0 }], &[]).unwrap();
        let error = read::<Sample>(&path).unwrap_err();
        assert!(error.to_string().contains("word"), "{error}");
        std::fs::write(&path, b"PAR1 not really").unwrap();
        assert!(read::<Sample>(&path).is_err());
    }
}
