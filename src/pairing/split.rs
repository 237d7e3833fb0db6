//! Who is trained on and who is held out: by subject, never by slice.

use std::collections::{BTreeMap, BTreeSet};

use crate::durable::sha256_hex;

/// The split of subjects that the encoder learns from.
pub const TRAIN: &str = "train";
/// The split of subjects that it never sees.
pub const HELD_OUT: &str = "held-out";

/// The subjects that are held out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    held_out: BTreeSet<String>,
}

impl Split {
    /// Holds out a share of the subjects of every source, chosen by the seed.
    ///
    /// `subjects` are pairs of source and subject. A subject that appears in
    /// several sources is counted with the first, so that it is on one side
    /// only. A source with two subjects or more gives at least one to either
    /// side; a source with one subject is trained on.
    pub fn new<'a>(
        subjects: impl IntoIterator<Item = (&'a str, &'a str)>,
        held_out: f64,
        seed: u64,
    ) -> Self {
        let mut seen = BTreeSet::new();
        let mut sources: BTreeMap<&str, Vec<(String, &str)>> = BTreeMap::new();
        for (source, subject) in subjects.into_iter().collect::<BTreeSet<_>>() {
            if seen.insert(subject) {
                let rank = sha256_hex(format!("{seed} {subject}").as_bytes());
                sources.entry(source).or_default().push((rank, subject));
            }
        }
        let mut chosen = BTreeSet::new();
        for mut ranked in sources.into_values() {
            ranked.sort();
            let wanted = (ranked.len() as f64 * held_out).round() as usize;
            let least = usize::from(held_out > 0.0);
            let count = match ranked.len() {
                0 | 1 => 0,
                n => wanted.clamp(least, n - 1),
            };
            chosen.extend(ranked.iter().take(count).map(|(_, subject)| (*subject).to_owned()));
        }
        Self { held_out: chosen }
    }

    /// Holds out one subject.
    pub fn of_one(subject: &str) -> Self {
        Self { held_out: BTreeSet::from([subject.to_owned()]) }
    }

    /// The split of a subject: [`TRAIN`] or [`HELD_OUT`].
    pub fn of(&self, subject: &str) -> &'static str {
        if self.held_out.contains(subject) { HELD_OUT } else { TRAIN }
    }

    /// How many subjects are held out.
    pub fn held_out_count(&self) -> usize {
        self.held_out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(n: usize) -> Vec<(String, String)> {
        (0..n).map(|i| (format!("source{}", i % 2), format!("sub-{i}"))).collect()
    }

    fn split(all: &[(String, String)], held_out: f64, seed: u64) -> Split {
        Split::new(all.iter().map(|(a, b)| (a.as_str(), b.as_str())), held_out, seed)
    }

    #[test]
    fn holds_out_the_share_of_every_source() {
        let all = subjects(40);
        let split = split(&all, 0.25, 1);
        assert_eq!(split.held_out_count(), 10);
        for source in ["source0", "source1"] {
            let held = all.iter().filter(|(s, p)| s == source && split.of(p) == HELD_OUT).count();
            assert_eq!(held, 5);
        }
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let mut all = subjects(40);
        let first = split(&all, 0.25, 1);
        all.reverse();
        assert_eq!(first, split(&all, 0.25, 1));
        assert_ne!(first, split(&all, 0.25, 2));
    }

    #[test]
    fn a_subject_of_two_sources_is_on_one_side() {
        let all: Vec<_> =
            (0..20).flat_map(|i| ["a", "b"].map(|s| (s.to_owned(), format!("sub-{i}")))).collect();
        assert_eq!(split(&all, 0.5, 3).held_out_count(), 10);
    }

    #[test]
    fn one_subject_is_trained_on_and_two_are_parted() {
        assert_eq!(split(&subjects(2), 0.25, 1).held_out_count(), 0);
        let two = [("a".to_owned(), "x".to_owned()), ("a".to_owned(), "y".to_owned())];
        assert_eq!(split(&two, 0.01, 1).held_out_count(), 1);
        assert_eq!(split(&two, 0.99, 1).held_out_count(), 1);
    }
}
