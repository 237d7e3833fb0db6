//! Rust types as columns and back.

use polars::prelude::{
    ChunkedArray, Column, DataType, Float32Type, IntoColumn, IntoSeries, NamedFrom,
    ReshapeDimension, Series,
};

use super::TableError;

/// A type that a column can hold.
pub trait Cell: Sized {
    /// The type in the words of a message.
    const NAME: &'static str;

    /// The column of the cells given.
    ///
    /// # Errors
    /// [`TableError::Column`] where polars cannot hold them.
    fn into_column(name: &str, cells: Vec<Self>) -> Result<Column, TableError>;

    /// The cells of a column, or `None` where its type is another one or a cell
    /// is empty that must not be.
    fn from_column(column: &Column) -> Option<Vec<Self>>;
}

macro_rules! cell {
    ($type:ty, $name:literal, $accessor:ident) => {
        impl Cell for $type {
            const NAME: &'static str = $name;

            fn into_column(name: &str, cells: Vec<Self>) -> Result<Column, TableError> {
                Ok(Series::new(name.into(), cells).into_column())
            }

            fn from_column(column: &Column) -> Option<Vec<Self>> {
                let cells = column.$accessor().ok()?;
                cells.iter().map(|cell| cell.map(Into::into)).collect()
            }
        }

        impl Cell for Option<$type> {
            const NAME: &'static str = $name;

            fn into_column(name: &str, cells: Vec<Self>) -> Result<Column, TableError> {
                Ok(Series::new(name.into(), cells).into_column())
            }

            fn from_column(column: &Column) -> Option<Vec<Self>> {
                let cells = column.$accessor().ok()?;
                Some(cells.iter().map(|cell| cell.map(Into::into)).collect())
            }
        }
    };
}

cell!(String, "text", str);
cell!(bool, "true or false", bool);
cell!(u32, "32-bit counts", u32);
cell!(u64, "64-bit counts", u64);
cell!(f32, "32-bit floats", f32);
cell!(f64, "64-bit floats", f64);

macro_rules! array_cell {
    ($type:ty, $name:literal, $accessor:ident) => {
        impl<const N: usize> Cell for [$type; N] {
            const NAME: &'static str = $name;

            fn into_column(name: &str, cells: Vec<Self>) -> Result<Column, TableError> {
                into_array_column(name, Series::new(name.into(), cells.as_flattened()), N)
            }

            fn from_column(column: &Column) -> Option<Vec<Self>> {
                Option::<Self>::from_column(column)?.into_iter().collect()
            }
        }

        impl<const N: usize> Cell for Option<[$type; N]> {
            const NAME: &'static str = $name;

            /// An empty cell is a list of nulls, which every reader understands.
            fn into_column(name: &str, cells: Vec<Self>) -> Result<Column, TableError> {
                let flat: Vec<Option<$type>> = cells
                    .into_iter()
                    .flat_map(|cell| (0..N).map(move |n| cell.map(|c| c[n])))
                    .collect();
                into_array_column(name, Series::new(name.into(), flat), N)
            }

            fn from_column(column: &Column) -> Option<Vec<Self>> {
                let series = column.as_materialized_series();
                let DataType::Array(_, width) = series.dtype() else { return None };
                if *width != N || series.null_count() > 0 {
                    return None;
                }
                let leaf = series.array().ok()?.get_inner();
                let flat: Vec<Option<$type>> = leaf.$accessor().ok()?.iter().collect();
                let cell = |chunk: &[Option<$type>]| {
                    let values: Option<Vec<$type>> = chunk.iter().copied().collect();
                    values.and_then(|v| v.try_into().ok())
                };
                Some(flat.chunks_exact(N).map(cell).collect())
            }
        }
    };
}

array_cell!(f64, "fixed-size lists of 64-bit floats", f64);
array_cell!(u32, "fixed-size lists of 32-bit counts", u32);

fn into_array_column(name: &str, flat: Series, width: usize) -> Result<Column, TableError> {
    let wrong =
        || TableError::Column { column: name.to_owned(), required: "lists of one fixed size" };
    if flat.is_empty() {
        let inner = Box::new(flat.dtype().clone());
        return Ok(Series::new_empty(name.into(), &DataType::Array(inner, width)).into_column());
    }
    let dimensions = [ReshapeDimension::Infer, ReshapeDimension::new_dimension(width as u64)];
    flat.reshape_array(&dimensions).map(IntoColumn::into_column).map_err(|_| wrong())
}

/// A column of fixed-size f32 lists from values laid row by row.
pub(super) fn vectors_into_column(
    name: &str,
    values: Vec<f32>,
    width: usize,
) -> Result<Column, TableError> {
    let flat = ChunkedArray::<Float32Type>::from_vec(name.into(), values);
    into_array_column(name, flat.into_series(), width)
}

/// The values of a column of fixed-size f32 lists row by row, with their width.
pub(super) fn vectors_from_column(column: &Column) -> Option<(Vec<f32>, usize)> {
    let series = column.as_materialized_series();
    let DataType::Array(_, width) = series.dtype() else { return None };
    let width = *width;
    if series.null_count() > 0 {
        return None;
    }
    let leaf = series.array().ok()?.get_inner();
    let values: Option<Vec<f32>> = leaf.f32().ok()?.iter().collect();
    Some((values?, width))
}
