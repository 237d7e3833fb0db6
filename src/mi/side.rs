//! One side of the pairs: columns of a table as rows of numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::MiError;
use crate::table::Values;

/// Different words of a column that become numbers, one each.
pub const MAX_CATEGORIES: usize = 32;

/// Rows of numbers, made of one or more columns: numbers as they are, text as one
/// number a category, 1 where the row is of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Side {
    /// Numbers a row.
    width: usize,
    /// All of them, row by row.
    values: Vec<f32>,
    /// Name of each column, and how many of the numbers are its own.
    columns: Vec<(String, usize)>,
}

impl Side {
    /// The rows of columns that are equally long.
    ///
    /// An empty cell, and what is not finite, becomes NaN: see [`Side::is_whole`].
    ///
    /// # Errors
    /// [`MiError::Categories`] where text is of too many kinds.
    pub fn of_columns(columns: Vec<(String, Values)>) -> Result<Self, MiError> {
        let mut parts = Vec::new();
        for (name, values) in columns {
            let (width, values) = match values {
                // Seconds since 1970 are the same to within a minute in 32 bits.
                Values::Numbers(values) => {
                    let first = values.iter().copied().find(|v| v.is_finite()).unwrap_or(0.0);
                    (1, values.into_iter().map(|v| (v - first) as f32).collect())
                }
                Values::Vectors { width, values } => (width, values),
                Values::Words(words) => one_hot(&name, &words)?,
            };
            parts.push((name, width, values));
        }
        let width = parts.iter().map(|(_, width, _)| width).sum();
        let rows = parts.iter().map(|(_, width, values)| values.len() / (*width).max(1)).max();
        let mut values = Vec::with_capacity(width * rows.unwrap_or(0));
        for row in 0..rows.unwrap_or(0) {
            for (_, width, part) in &parts {
                values.extend(part.iter().skip(row * width).take(*width));
            }
        }
        let columns = parts.into_iter().map(|(name, width, _)| (name, width)).collect();
        Ok(Self { width, values, columns })
    }

    /// Numbers a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// The numbers of a row; none of a row that there is not.
    pub fn row(&self, row: usize) -> &[f32] {
        self.values.get(row * self.width..(row + 1) * self.width).unwrap_or_default()
    }

    /// Whether all numbers of a row are there and finite.
    pub fn is_whole(&self, row: usize) -> bool {
        let row = self.row(row);
        !row.is_empty() && row.iter().all(|v| v.is_finite())
    }

    /// The columns with how many numbers each has.
    pub fn columns(&self) -> &[(String, usize)] {
        &self.columns
    }

    /// For each column, how many of its numbers are the same in all the rows given.
    pub fn constant(&self, rows: impl Iterator<Item = usize> + Clone) -> Vec<usize> {
        let first = rows.clone().next().map(|row| self.row(row)).unwrap_or_default();
        let mut same = vec![true; first.len()];
        for row in rows {
            for ((same, a), b) in same.iter_mut().zip(self.row(row)).zip(first) {
                *same &= a == b;
            }
        }
        let mut same = same.into_iter();
        let count =
            |&(_, width): &(String, usize)| same.by_ref().take(width).filter(|s| *s).count();
        self.columns.iter().map(count).collect()
    }

    /// The entropy in nats of weighted rows, where they take at most so many values; none
    /// where they take more.
    pub fn entropy_nats(
        &self,
        rows: impl Iterator<Item = (usize, f64)>,
        most: usize,
    ) -> Option<f64> {
        let mut weights: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
        for (row, weight) in rows {
            let bits = self.row(row).iter().map(|v| v.to_bits()).collect();
            *weights.entry(bits).or_default() += weight;
            if weights.len() > most {
                return None;
            }
        }
        let total: f64 = weights.values().sum();
        Some(weights.values().map(|w| -(w / total) * (w / total).ln()).sum())
    }

    /// What brings the numbers of these rows to mean 0 and variance 1.
    pub(super) fn standard(&self, rows: &[usize]) -> Standard {
        let n = rows.len().max(1) as f64;
        let mut mean = vec![0.0; self.width];
        for &row in rows {
            mean.iter_mut().zip(self.row(row)).for_each(|(m, v)| *m += f64::from(*v) / n);
        }
        let mut variance = vec![0.0; self.width];
        for &row in rows {
            let parts = variance.iter_mut().zip(&mean).zip(self.row(row));
            parts.for_each(|((s, m), v)| *s += (f64::from(*v) - m).powi(2) / n);
        }
        // what does not vary stays at 0
        let scale = |(variance, mean): (&f64, &f64)| {
            let tiny = 1e-12 * mean.abs().max(1e-30);
            if variance.sqrt() > tiny { variance.sqrt().recip() } else { 0.0 }
        };
        let scale = variance.iter().zip(&mean).map(scale).collect();
        Standard { mean, scale }
    }
}

/// Mean and inverse deviation of each number of a row.
pub(super) struct Standard {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standard {
    /// Adds a row, made standard, to a batch.
    pub fn extend(&self, batch: &mut Vec<f32>, row: &[f32]) {
        let parts = row.iter().zip(&self.mean).zip(&self.scale);
        batch.extend(parts.map(|((v, mean), scale)| ((f64::from(*v) - mean) * scale) as f32));
    }
}

/// One number a category, in the order of the words.
fn one_hot(name: &str, words: &[Option<String>]) -> Result<(usize, Vec<f32>), MiError> {
    let known: BTreeSet<&str> = words.iter().flatten().map(String::as_str).collect();
    if known.len() > MAX_CATEGORIES {
        return Err(MiError::Categories { column: name.to_owned(), found: known.len() });
    }
    let known: Vec<&str> = known.into_iter().collect();
    // one number even where every cell is empty, so that the rows are seen as empty
    let width = known.len().max(1);
    let mut values = Vec::with_capacity(words.len() * width);
    for word in words {
        match word {
            Some(word) => values.extend(known.iter().map(|k| f32::from(u8::from(k == word)))),
            None => values.extend(std::iter::repeat_n(f32::NAN, width)),
        }
    }
    Ok((width, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side() -> Side {
        let words = ["m", "f", "m"].map(|w| Some(w.to_owned())).to_vec();
        Side::of_columns(vec![
            ("age".to_owned(), Values::Numbers(vec![50.0, f64::NAN, 70.0])),
            ("sex".to_owned(), Values::Words([words, vec![None]].concat())),
        ])
        .unwrap()
    }

    #[test]
    fn text_is_one_number_a_category_and_gaps_are_seen() {
        let side = side();
        // numbers less the first one
        assert_eq!((side.row(0), side.row(2)), (&[0.0, 0.0, 1.0][..], &[20.0, 0.0, 1.0][..]));
        assert_eq!(side.columns(), [("age".to_owned(), 1), ("sex".to_owned(), 2)]);
        let whole: Vec<bool> = (0..4).map(|row| side.is_whole(row)).collect();
        assert_eq!(whole, [true, false, true, false]);
        assert_eq!(side.constant([0, 2].into_iter()), [0, 2]);
    }

    #[test]
    fn rows_become_standard_and_what_is_constant_zero() {
        let standard = side().standard(&[0, 2]);
        let mut batch = Vec::new();
        standard.extend(&mut batch, side().row(0));
        assert_eq!(batch, [-1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_entropy_is_that_of_the_weights() {
        let side = side();
        let entropy = side.entropy_nats([(0, 0.5), (2, 0.5)].into_iter(), 2).unwrap();
        assert!((entropy - 2f64.ln()).abs() < 1e-12);
        assert_eq!(side.entropy_nats([(0, 0.5), (2, 0.5)].into_iter(), 1), None);
    }

    #[test]
    fn too_many_words_are_refused_with_their_number() {
        let words = (0..40).map(|n| Some(format!("word {n}"))).collect();
        let error = Side::of_columns(vec![("site".to_owned(), Values::Words(words))]).unwrap_err();
        assert!(error.to_string().contains("40 different words"), "{error}");
    }
}
