//! Columns of any table, for whoever does not know beforehand what they hold.

use std::{fs::File, path::Path};

use polars::prelude::{DataFrame, DataType, ParquetReader, SerReader, Series};

use super::{TableError, name_of, polars_failed};

/// The cells of a column, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// One number a row, NaN where the cell is empty; true is 1, false 0.
    Numbers(Vec<f64>),
    /// Lists of one width, laid row by row, NaN where an element is empty.
    Vectors {
        /// Numbers a row.
        width: usize,
        /// All of them.
        values: Vec<f32>,
    },
    /// Text.
    Words(Vec<Option<String>>),
}

/// What a column may hold.
const KNOWN: &str = "numbers of 32 or 64 bits, text, or lists of numbers of one width";

/// Reads the columns of these names, in their order.
///
/// # Errors
/// [`TableError::Missing`] with the names that there are; [`TableError::Column`] where
/// a column holds neither numbers, text nor lists of one width.
pub fn read_values(path: &Path, names: &[String]) -> Result<Vec<Values>, TableError> {
    let frame = read_columns(path, names)?;
    let cells = |name: &String| {
        let column = frame.column(name).map_err(polars_failed("read", path))?;
        of_series(column.as_materialized_series())
            .ok_or_else(|| TableError::Column { column: name.clone(), required: KNOWN })
    };
    names.iter().map(cells).collect()
}

/// Reads the columns of these names as text, whole numbers and truth too.
///
/// # Errors
/// [`TableError::Missing`]; [`TableError::Column`] where a column holds something else.
pub fn read_words(path: &Path, names: &[String]) -> Result<Vec<Vec<Option<String>>>, TableError> {
    let frame = read_columns(path, names)?;
    let cells = |name: &String| {
        let series = frame.column(name).map_err(polars_failed("read", path))?;
        let series = series.as_materialized_series();
        let dtype = series.dtype();
        let named = dtype.is_integer() || matches!(dtype, DataType::String | DataType::Boolean);
        let words = named.then(|| words_of(series)).flatten();
        words.ok_or_else(|| TableError::Column {
            column: name.clone(),
            required: "text or whole numbers",
        })
    };
    names.iter().map(cells).collect()
}

/// The names of a table's columns; no row is read.
///
/// # Errors
/// [`TableError`] where the file is missing or no Parquet.
pub fn column_names(path: &Path) -> Result<Vec<String>, TableError> {
    let schema = open(path)?.schema().map_err(polars_failed("read", path))?;
    Ok(schema.iter_names().map(ToString::to_string).collect())
}

fn open(path: &Path) -> Result<ParquetReader<File>, TableError> {
    let file = File::open(path);
    let file = file.map_err(|source| TableError::Open { name: name_of(path), source })?;
    Ok(ParquetReader::new(file))
}

fn read_columns(path: &Path, names: &[String]) -> Result<DataFrame, TableError> {
    let present = column_names(path)?;
    if let Some(missing) = names.iter().find(|name| !present.contains(name)) {
        let (table, present) = (name_of(path), present.join(", "));
        return Err(TableError::Missing { column: missing.clone(), table, present });
    }
    let read =
        |names: &[String]| open(path).map(|it| it.with_columns(Some(names.to_vec())).finish());
    read(names)?.map_err(|error| {
        // polars does not say which column has a type that it was built without
        let refused = |name: &&String| !matches!(read(&[(*name).clone()]), Ok(Ok(_)));
        match names.iter().find(refused) {
            Some(name) => TableError::Column { column: name.clone(), required: KNOWN },
            None => polars_failed("read", path)(error),
        }
    })
}

fn of_series(series: &Series) -> Option<Values> {
    match series.dtype() {
        DataType::String => Some(Values::Words(words_of(series)?)),
        DataType::Array(_, width) => {
            let width = *width;
            let leaf = numbers_of(&series.array().ok()?.get_inner())?;
            let mut values: Vec<f32> = leaf.into_iter().map(|v| v as f32).collect();
            // an empty list may hold any numbers below
            for (row, empty) in values.chunks_exact_mut(width.max(1)).zip(series.is_null().iter()) {
                if empty == Some(true) {
                    row.fill(f32::NAN);
                }
            }
            Some(Values::Vectors { width, values })
        }
        DataType::List(_) if series.is_empty() => {
            Some(Values::Vectors { width: 0, values: Vec::new() })
        }
        DataType::List(_) => {
            let lists = series.list().ok()?;
            let width = lists.amortized_iter().flatten().map(|row| row.as_ref().len()).next()?;
            let mut values = Vec::with_capacity(width * lists.len());
            for row in lists.amortized_iter() {
                match row {
                    Some(row) if row.as_ref().len() == width => {
                        values.extend(numbers_of(row.as_ref())?.into_iter().map(|v| v as f32));
                    }
                    Some(_) => return None,
                    None => values.extend(std::iter::repeat_n(f32::NAN, width)),
                }
            }
            Some(Values::Vectors { width, values })
        }
        // the categories of pandas and polars
        other if other.to_string() == "cat" => Some(Values::Words(words_of(series)?)),
        _ => numbers_of(series).map(Values::Numbers),
    }
}

fn numbers_of(series: &Series) -> Option<Vec<f64>> {
    let dtype = series.dtype();
    if !dtype.is_primitive_numeric() && *dtype != DataType::Boolean {
        return None;
    }
    let cast = series.cast(&DataType::Float64).ok()?;
    Some(cast.f64().ok()?.iter().map(|cell| cell.unwrap_or(f64::NAN)).collect())
}

fn words_of(series: &Series) -> Option<Vec<Option<String>>> {
    let cast = series.cast(&DataType::String).ok()?;
    Some(cast.str().ok()?.iter().map(|cell| cell.map(str::to_owned)).collect())
}
