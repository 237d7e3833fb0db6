//! Which groups are trained on, chosen by and held out; batches drawn of them.

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{MiError, Pairs, Settings};

/// Fewest groups of each part of a fold: one pair needs a negative.
const FEWEST: usize = 2;

/// Groups of pairs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    groups: Vec<Vec<[usize; 2]>>,
}

/// Three parts that share no group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fold {
    pub train: Part,
    /// What chooses the step whose critic is taken.
    pub validation: Part,
    /// What it is estimated on.
    pub held_out: Part,
}

/// What a draw is for, so that no two share a stream.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Cut,
    Train,
    Choose,
    Judge,
    Shuffle,
}

fn stream(seed: u64, purpose: Purpose, fold: usize, number: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((purpose as u64) << 56 | (fold as u64) << 40 | number as u64);
    rng
}

/// The folds of the groups: each held out once; of the others a fifth validates.
pub(super) fn cut(pairs: &Pairs, settings: &Settings) -> Result<Vec<Fold>, MiError> {
    let (groups, folds) = (pairs.groups.len(), settings.folds);
    let noun = pairs.noun.clone();
    let largest = groups.div_ceil(folds.max(1));
    if folds < 2 || groups / folds < FEWEST || groups - largest < 2 * FEWEST {
        return Err(MiError::Groups { groups, noun, folds });
    }
    let mut order: Vec<usize> = (0..groups).collect();
    order.shuffle(&mut stream(settings.seed, Purpose::Cut, 0, 0));
    let part = |numbers: &[usize]| Part {
        groups: numbers.iter().filter_map(|&n| pairs.groups.get(n).cloned()).collect(),
    };
    let cut: Vec<Fold> = (0..folds)
        .map(|fold| {
            let (held_out, rest): (Vec<_>, Vec<_>) =
                order.iter().enumerate().partition(|(n, _)| n % folds == fold);
            let only = |of: Vec<(usize, &usize)>| of.into_iter().map(|(_, &n)| n).collect();
            let (held_out, rest): (Vec<usize>, Vec<usize>) = (only(held_out), only(rest));
            let (validation, train) = rest.split_at((rest.len() / 5).max(FEWEST));
            Fold { train: part(train), validation: part(validation), held_out: part(&held_out) }
        })
        .collect();
    let rows = cut.iter().map(|fold| fold.train.rows()).min().unwrap_or(0);
    if rows < settings.batch {
        return Err(MiError::Batch { rows, batch: settings.batch });
    }
    Ok(cut)
}

/// Pairs of a batch that judges: as many as are trained with, where every part that
/// judges has so many groups.
pub(super) fn judged_k(folds: &[Fold], batch: usize) -> [usize; 2] {
    let fewest = |part: fn(&Fold) -> &Part| {
        let groups = folds.iter().map(|fold| part(fold).groups.len());
        groups.min().unwrap_or(0).min(batch)
    };
    [fewest(|fold| &fold.validation), fewest(|fold| &fold.held_out)]
}

impl Fold {
    /// The same with every x beside a y of another group of its part.
    pub fn shuffled(&self, seed: u64, number: usize) -> Self {
        let part =
            |part: &Part, n: usize| part.shuffled(&mut stream(seed, Purpose::Shuffle, number, n));
        Self {
            train: part(&self.train, 0),
            validation: part(&self.validation, 1),
            held_out: part(&self.held_out, 2),
        }
    }
}

impl Part {
    /// How many pairs it has.
    pub fn rows(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// How many groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// All its pairs.
    pub fn pairs(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        self.groups.iter().flatten().copied()
    }

    /// Every group gets the y of one that is drawn, each once, in a drawn order: rows of
    /// two subjects in the order of their slices would still have their height in common.
    /// Groups move as a whole, so that what the rows of one have in common stays together.
    /// A group may draw itself: true pairs are then as rare beside an x as among what it is
    /// held against, and knowing them gains nothing.
    fn shuffled(&self, rng: &mut ChaCha8Rng) -> Self {
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        order.shuffle(rng);
        let mut groups = vec![Vec::new(); self.groups.len()];
        for (group, &other) in order.iter().enumerate() {
            let mut other = self.groups[other].clone();
            other.shuffle(rng);
            let pairs = self.groups[group].iter().zip(other.iter().cycle());
            groups[group] = pairs.map(|(&[x, _], &[_, y])| [x, y]).collect();
        }
        Self { groups }
    }

    /// A batch to train on: the groups in turn, in a drawn order, a row of each that
    /// was not drawn before, until there are `batch`.
    pub fn training_batch(
        &self,
        batch: usize,
        (seed, fold): (u64, usize),
        step: usize,
    ) -> Vec<[usize; 2]> {
        let mut rng = stream(seed, Purpose::Train, fold, step);
        self.in_turn(batch, &mut rng).into_iter().map(|(_, pair)| pair).collect()
    }

    /// A batch to judge by: `k` groups, one row of each, with the groups' numbers.
    pub fn judging_batch(
        &self,
        k: usize,
        purpose: Purpose,
        (seed, fold): (u64, usize),
        number: usize,
    ) -> Vec<(usize, [usize; 2])> {
        let k = k.min(self.groups.len());
        self.in_turn(k, &mut stream(seed, purpose, fold, number))
    }

    fn in_turn(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<(usize, [usize; 2])> {
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        order.shuffle(rng);
        let mut turns: Vec<(usize, usize)> = Vec::with_capacity(order.len());
        for group in order.into_iter().take(count) {
            turns.push((group, rng.random_range(0..self.groups[group].len())));
        }
        let mut drawn = Vec::with_capacity(count);
        for turn in 0.. {
            let before = drawn.len();
            for &(group, first) in &turns {
                let rows = &self.groups[group];
                if turn < rows.len() && drawn.len() < count {
                    drawn.push((group, rows[(first + turn) % rows.len()]));
                }
            }
            if drawn.len() == before || drawn.len() == count {
                break;
            }
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pairs(groups: usize, rows: usize) -> Pairs {
        let groups = (0..groups).map(|g| (0..rows).map(|r| [g * rows + r; 2]).collect()).collect();
        Pairs { groups, noun: "subjects".to_owned(), ..Pairs::default() }
    }

    fn settings(folds: usize, batch: usize) -> Settings {
        Settings { folds, batch, ..Settings::default() }
    }

    #[test]
    fn no_group_is_in_two_parts_and_each_is_held_out_once() {
        let folds = cut(&pairs(23, 3), &settings(5, 8)).unwrap();
        let mut held = Vec::new();
        for fold in &folds {
            let rows = |part: &Part| part.pairs().map(|[x, _]| x / 3).collect::<BTreeSet<_>>();
            let parts = [&fold.train, &fold.validation, &fold.held_out].map(rows);
            assert_eq!(parts.iter().map(BTreeSet::len).sum::<usize>(), 23);
            assert_eq!(parts.iter().flatten().collect::<BTreeSet<_>>().len(), 23);
            held.extend(parts[2].iter().copied());
        }
        held.sort_unstable();
        assert_eq!(held, (0..23).collect::<Vec<_>>());
    }

    #[test]
    fn too_few_groups_or_rows_are_refused_with_their_number() {
        let error = cut(&pairs(7, 9), &settings(5, 8)).unwrap_err().to_string();
        assert!(error.contains("7 subjects are too few for 5 folds"), "{error}");
        let error = cut(&pairs(20, 2), &settings(5, 64)).unwrap_err().to_string();
        assert!(error.contains("--batch at most 26"), "{error}");
    }

    #[test]
    fn batches_take_groups_in_turn_and_no_row_twice() {
        let part = Part { groups: pairs(6, 4).groups };
        let batch = part.training_batch(20, (1, 0), 3);
        assert_eq!(batch.iter().collect::<BTreeSet<_>>().len(), 20);
        let counts: BTreeSet<usize> =
            (0..6).map(|g| batch.iter().filter(|[x, _]| x / 4 == g).count()).collect();
        assert_eq!(counts, BTreeSet::from([3, 4]));
        assert_ne!(batch, part.training_batch(20, (1, 0), 4));
        let judged = part.judging_batch(5, Purpose::Judge, (1, 0), 0);
        assert_eq!(judged.iter().map(|(g, _)| g).collect::<BTreeSet<_>>().len(), 5);
    }

    #[test]
    fn the_control_gives_every_group_the_rows_of_one() {
        let part = Part { groups: pairs(5, 4).groups };
        let shuffled = part.shuffled(&mut stream(3, Purpose::Shuffle, 0, 0));
        assert_eq!(shuffled.rows(), 20);
        let mut others: Vec<usize> = Vec::new();
        for (group, rows) in shuffled.groups.iter().enumerate() {
            assert!(rows.iter().all(|&[x, y]| x / 4 == group && y / 4 == rows[0][1] / 4));
            others.push(rows[0][1] / 4);
        }
        assert!(!others.is_sorted());
        others.sort_unstable();
        assert_eq!(others, [0, 1, 2, 3, 4]);
        // nor are rows of the same place in their groups beside each other
        let in_order = shuffled.pairs().filter(|[x, y]| x % 4 == y % 4).count();
        assert!((1..12).contains(&in_order), "{in_order}");
    }
}
