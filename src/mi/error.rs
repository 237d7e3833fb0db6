//! What can be wrong with two tables and an estimate.

use onnx_grad::Error as GraphError;

use super::MAX_CATEGORIES;
use crate::{runtime::RuntimeError, table::TableError};

/// Why mutual information cannot be estimated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MiError {
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A folder or pattern leads to no table.
    #[error("{place} holds no Parquet file")]
    NoTable {
        /// Which table: A or B.
        place: &'static str,
    },
    /// A pattern of files cannot be understood, or what it leads to not be listed.
    #[error("the files of table {place} cannot be listed")]
    List {
        /// Which table: A or B.
        place: &'static str,
        /// What was wrong.
        source: std::io::Error,
    },
    /// Parts of one table differ.
    #[error("column {column} of table {place} is not of one kind and width in all its parts")]
    Parts {
        /// Which table: A or B.
        place: &'static str,
        /// The column.
        column: String,
    },
    /// No column was named, and there is no usual one.
    #[error(
        "table {place} has no column embedding: name one or more by {option}; it has: {present}"
    )]
    NoColumn {
        /// Which table: A or B.
        place: &'static str,
        /// What to type.
        option: &'static str,
        /// The columns that there are.
        present: String,
    },
    /// Text that is no category.
    #[error(
        "column {column} holds {found} different words; at most {MAX_CATEGORIES} are taken as categories"
    )]
    Categories {
        /// The column.
        column: String,
        /// How many.
        found: usize,
    },
    /// Rows cannot be matched by their order.
    #[error(
        "tables of different length: A has {a} rows and B has {b}; name the column that both share by --key"
    )]
    Length {
        /// Rows of A.
        a: usize,
        /// Rows of B.
        b: usize,
    },
    /// A key is no key.
    #[error(
        "the key is not unique in either table: {a} rows of A and {b} of B share theirs with another row"
    )]
    Key {
        /// Rows of A whose key is not theirs alone.
        a: usize,
        /// Rows of B.
        b: usize,
    },
    /// The groups are in neither table.
    #[error("neither table has a column {column} to group by")]
    NoGroup {
        /// The column.
        column: String,
    },
    /// Every row was left out.
    #[error(
        "no pair of rows is left: {unmatched} rows without a partner, {incomplete} with empty cells or NaN"
    )]
    Nothing {
        /// Rows without a partner.
        unmatched: usize,
        /// Rows with missing values.
        incomplete: usize,
    },
    /// One side is the same everywhere.
    #[error(
        "all columns of table {place} are the same in all {rows} rows: they share no information with anything"
    )]
    Constant {
        /// Which table: A or B.
        place: &'static str,
        /// How many rows.
        rows: usize,
    },
    /// Too few groups for the folds.
    #[error(
        "{groups} {noun} are too few for {folds} folds: each needs 2 held out, 2 to choose the critic by and 2 to train on"
    )]
    Groups {
        /// How many.
        groups: usize,
        /// What they are.
        noun: String,
        /// Folds asked for.
        folds: usize,
    },
    /// Too few rows for a batch.
    #[error(
        "{rows} rows to train on are fewer than a batch of {batch}: give --batch at most {rows}"
    )]
    Batch {
        /// Rows in the smallest training part.
        rows: usize,
        /// Pairs in a batch.
        batch: usize,
    },
    /// The critic's graph cannot be built.
    #[error("the critic's graph cannot be built")]
    Graph(#[from] GraphError),
    /// ONNX Runtime refused.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The estimate is no number.
    #[error(
        "the estimate became {estimate} at step {step}; lower the learning rate (now {learning_rate}), or take infonce, which cannot overflow"
    )]
    Diverged {
        /// The estimate.
        estimate: f32,
        /// The step.
        step: usize,
        /// The learning rate.
        learning_rate: f32,
    },
}
