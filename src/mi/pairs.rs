//! Pairs of rows of two tables, and the groups that they come from.

use std::collections::HashMap;

use super::{MiError, Side};

/// Pairs of rows, by groups.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pairs {
    /// Rows of A.
    pub x: Side,
    /// Rows of B.
    pub y: Side,
    /// For each group its pairs, as numbers of rows of `x` and `y`.
    pub groups: Vec<Vec<[usize; 2]>>,
    /// What a group is, in the plural: `subjects`.
    pub noun: String,
    /// What was left out.
    pub remarks: Remarks,
}

/// What whoever reads an estimate should know of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remarks {
    /// Rows of A and of B without a partner.
    pub unmatched: [usize; 2],
    /// Pairs left out as a number was missing or not finite, or the group empty.
    pub incomplete: usize,
}

impl Remarks {
    /// Whether every row was used.
    pub fn is_clean(&self) -> bool {
        self.unmatched == [0, 0] && self.incomplete == 0
    }
}

impl Pairs {
    /// The pairs of rows that are whole, each in the group of its label.
    ///
    /// # Errors
    /// [`MiError::Nothing`] where none is left; [`MiError::Constant`] where a side
    /// is the same in all of them.
    pub fn new(
        x: Side,
        y: Side,
        matched: Vec<[usize; 2]>,
        unmatched: [usize; 2],
        labels: &[Option<String>],
        noun: &str,
    ) -> Result<Self, MiError> {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut groups: Vec<Vec<[usize; 2]>> = Vec::new();
        let mut incomplete = 0;
        for (&[a, b], label) in matched.iter().zip(labels) {
            let whole = x.is_whole(a) && y.is_whole(b);
            let Some(label) = label.as_deref().filter(|_| whole) else {
                incomplete += 1;
                continue;
            };
            let number = *numbers.entry(label).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[number].push([a, b]);
        }
        let remarks = Remarks { unmatched, incomplete };
        let pairs = Self { x, y, groups, noun: noun.to_owned(), remarks };
        if pairs.groups.is_empty() {
            let unmatched = unmatched.iter().sum();
            return Err(MiError::Nothing { unmatched, incomplete });
        }
        for (n, place) in ["A", "B"].into_iter().enumerate() {
            let side = pairs.side(n);
            let constant: usize = side.constant(pairs.rows_of(n)).iter().sum();
            if constant == side.width() {
                return Err(MiError::Constant { place, rows: pairs.len() });
            }
        }
        Ok(pairs)
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A (0) or B (1).
    fn side(&self, n: usize) -> &Side {
        if n == 0 { &self.x } else { &self.y }
    }

    fn rows_of(&self, n: usize) -> impl Iterator<Item = usize> + Clone + '_ {
        self.groups.iter().flatten().filter_map(move |pair| pair.get(n).copied())
    }

    /// A line for each thing about the rows that may surprise.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let [a, b] = self.remarks.unmatched;
        if a + b > 0 {
            warnings.push(format!("{a} rows of A and {b} of B have no partner and are left out"));
        }
        if self.remarks.incomplete > 0 {
            warnings.push(format!(
                "{} of {} pairs have an empty cell, NaN or infinity and are left out",
                self.remarks.incomplete,
                self.remarks.incomplete + self.len()
            ));
        }
        for (n, place) in ["A", "B"].into_iter().enumerate() {
            let constant = self.side(n).constant(self.rows_of(n));
            for ((name, width), constant) in self.side(n).columns().iter().zip(constant) {
                if constant > 0 {
                    warnings.push(format!(
                        "column {name} of {place}: {constant} of its {width} numbers are the same in all {} rows",
                        self.len()
                    ));
                }
            }
        }
        if self.groups.len() < 30 {
            warnings.push(format!(
                "only {} {}: the interval is rough, and few can be told apart in a batch",
                self.groups.len(),
                self.noun
            ));
        }
        warnings
    }

    /// The entropy of B in nats, groups weighing the same; none where it takes more
    /// than [`super::MAX_CATEGORIES`] values, or more than half as many as there are groups:
    /// that many numbers that are all different have the logarithm of their count.
    pub fn entropy_of_b_nats(&self) -> Option<f64> {
        let weighted = |group: &Vec<[usize; 2]>| {
            let weight = 1.0 / group.len() as f64;
            group.iter().map(move |&[_, b]| (b, weight)).collect::<Vec<_>>()
        };
        let most = super::MAX_CATEGORIES.min(self.groups.len() / 2);
        self.y.entropy_nats(self.groups.iter().flat_map(weighted), most)
    }
}

/// Rows of A and B that have the same key, and how many of each have no partner.
///
/// A row may have several partners where the key is unique in the other table.
///
/// # Errors
/// [`MiError::Key`] where it is unique in neither.
pub(super) fn matched_by_key(
    a: &[Option<String>],
    b: &[Option<String>],
) -> Result<(Vec<[usize; 2]>, [usize; 2]), MiError> {
    let index = |keys: &[Option<String>]| {
        let mut rows: HashMap<String, Vec<usize>> = HashMap::new();
        for (row, key) in keys.iter().enumerate() {
            if let Some(key) = key {
                rows.entry(key.clone()).or_default().push(row);
            }
        }
        rows
    };
    let of_b = index(b);
    let shared = |rows: &HashMap<String, Vec<usize>>| {
        rows.values().map(Vec::len).filter(|n| *n > 1).sum::<usize>()
    };
    let (in_a, in_b) = (shared(&index(a)), shared(&of_b));
    if in_a > 0 && in_b > 0 {
        return Err(MiError::Key { a: in_a, b: in_b });
    }
    let mut pairs = Vec::new();
    let mut alone = 0;
    let mut used = vec![false; b.len()];
    for (row, key) in a.iter().enumerate() {
        let partners = key.as_ref().and_then(|key| of_b.get(key));
        alone += usize::from(partners.is_none());
        for &partner in partners.into_iter().flatten() {
            used[partner] = true;
            pairs.push([row, partner]);
        }
    }
    Ok((pairs, [alone, used.iter().filter(|used| !**used).count()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<Option<String>> {
        list.iter().map(|word| (!word.is_empty()).then(|| (*word).to_owned())).collect()
    }

    #[test]
    fn keys_match_one_to_many_and_what_is_alone_is_counted() {
        let (pairs, alone) =
            matched_by_key(&words(&["p", "q", "q", "r", ""]), &words(&["q", "p", "s"])).unwrap();
        assert_eq!(pairs, [[0, 1], [1, 0], [2, 0]]);
        assert_eq!(alone, [2, 1]);
    }

    #[test]
    fn a_key_that_is_unique_nowhere_is_refused() {
        let error = matched_by_key(&words(&["p", "p"]), &words(&["p", "p", "q"])).unwrap_err();
        assert!(error.to_string().contains("2 rows of A and 2 of B"), "{error}");
    }
}
