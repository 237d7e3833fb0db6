//! What a person should be woken for, and what they may do.

use std::{fmt, str::FromStr};

use super::{MetricRow, Settings};

/// Something that is wrong with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// After the warm-up the bound is zero.
    NothingLearned,
    /// The embeddings fall onto a few directions.
    Collapse,
    /// Held-out subjects are met ever worse, those trained on ever better.
    Overfitting,
    /// A temperature that is learned has come to its limit.
    TemperatureAtLimit,
    /// Shuffled pairs are told apart.
    Control,
    /// Anchors have no negatives left.
    NoNegatives,
}

/// An alarm at the step that raised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// Which.
    pub alarm: Alarm,
    /// The step, from 0.
    pub step: u32,
}

/// The least bound in nats that counts as having learned something; above the
/// spread of a batch's loss at chance.
const NOTHING_NATS: f32 = 0.05;
/// Steps whose mean bound it is compared with.
const RECENT: usize = 10;
/// An effective rank below this is a line.
const LINE: f32 = 1.5;
/// A rank below this share of an earlier look's has fallen.
const RANK_KEPT: f32 = 1.0 / 3.0;
/// How far the held-out bound must have fallen and the other risen, nats.
const APART_NATS: f32 = 0.1;
/// Looks in a row that must show it.
const LOOKS: usize = 2;
/// Above what chance gives on some dozen pairs.
const CONTROL_NATS: f32 = 0.1;
/// How near to its limit a temperature is at it.
const AT_LIMIT: f32 = 1.001;

/// What the rules must know of a run beside its rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// Steps over which the learning rate rises.
    pub warmup: usize,
    /// What a learned temperature is kept from falling below; `None` where none is
    /// learned.
    pub lowest_temperature: Option<f32>,
    /// Alarms that are not to be raised.
    pub silence: Vec<Alarm>,
}

impl Alarm {
    /// Every alarm.
    pub const ALL: [Self; 6] = [
        Self::NothingLearned,
        Self::Collapse,
        Self::Overfitting,
        Self::TemperatureAtLimit,
        Self::Control,
        Self::NoNegatives,
    ];

    /// The word used in tables and pipelines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NothingLearned => "nothing-learned",
            Self::Collapse => "collapse",
            Self::Overfitting => "overfitting",
            Self::TemperatureAtLimit => "temperature-at-limit",
            Self::Control => "control",
            Self::NoNegatives => "no-negatives",
        }
    }

    /// What may be done.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NothingLearned => {
                "Usual causes: learning_rate too high or too low, temperature too high, pairs \
                 that do not show the same anatomy."
            }
            Self::Collapse => {
                "Lower learning_rate, raise warmup or batch; without negatives raise what keeps \
                 the embeddings apart."
            }
            Self::Overfitting => {
                "Add subjects, augment more, raise weight_decay, or train fewer steps: the best \
                 encoder was an earlier one."
            }
            Self::TemperatureAtLimit => {
                "The negatives are too easy: exclude fewer of them, take more, or give a \
                 temperature that is not learned."
            }
            Self::Control => {
                "Something other than anatomy gives pairs away: a mark in the scans, padding \
                 that differs, or an error in mivox. Trust no number of this run."
            }
            Self::NoNegatives => {
                "Loosen the rules that exclude false negatives, raise batch, or add subjects."
            }
        }
    }

    /// What is to be seen of it in the rows up to the last, if anything.
    fn seen(self, rows: &[MetricRow], rules: &Rules) -> Option<String> {
        let last = rows.last()?;
        match self {
            Self::NothingLearned => nothing_learned(rows, rules.warmup),
            Self::Collapse if last.is_look() => collapse(rows, rules.warmup),
            Self::Overfitting if last.is_look() => overfitting(rows),
            Self::Control => {
                let nats = last.control_nats.filter(|&nats| nats > CONTROL_NATS)?;
                Some(format!("shuffled pairs are told apart by {nats:.2} nats, not 0"))
            }
            Self::TemperatureAtLimit => {
                let (lowest, now) = (rules.lowest_temperature?, last.temperature?);
                let after = rows.len() >= rules.warmup;
                (after && now <= lowest * AT_LIMIT)
                    .then(|| format!("the learned temperature is {now:.4}, the least allowed"))
            }
            Self::NoNegatives => {
                let mean = last.negatives.filter(|&mean| mean < 1.0)?;
                Some(format!("an anchor has {mean:.2} negatives, the others are excluded"))
            }
            Self::Collapse | Self::Overfitting => None,
        }
    }
}

/// Alarms that the last row raises and no earlier one has, with what was seen.
pub(super) fn raise(rows: &[MetricRow], rules: &Rules, before: &[Raised]) -> Vec<(Alarm, String)> {
    let wanted = |alarm: &Alarm| {
        !rules.silence.contains(alarm) && before.iter().all(|raised| raised.alarm != *alarm)
    };
    let all = Alarm::ALL.into_iter().filter(wanted);
    all.filter_map(|alarm| Some((alarm, alarm.seen(rows, rules)?))).collect()
}

/// The alarms that rows name, but for those that are to be silent.
pub fn raised(rows: &[MetricRow], settings: &Settings) -> Vec<Raised> {
    let alarms = |row: &MetricRow| -> Vec<Raised> {
        let names = row.alarms.iter().flat_map(|names| names.split(','));
        let known = names.filter_map(|name| name.parse().ok());
        known.map(|alarm| Raised { alarm, step: row.step }).collect()
    };
    let all = rows.iter().flat_map(alarms);
    all.filter(|raised| !settings.silence.contains(&raised.alarm)).collect()
}

fn nothing_learned(rows: &[MetricRow], warmup: usize) -> Option<String> {
    // Without a warm-up the first steps still say nothing.
    if rows.len() < warmup.max(RECENT) {
        return None;
    }
    let recent = &rows[rows.len() - RECENT.min(rows.len())..];
    let bounds: Option<Vec<f32>> = recent.iter().map(|row| row.bound_nats).collect();
    let bound = bounds?.iter().sum::<f32>() / recent.len() as f32;
    (bound < NOTHING_NATS).then(|| {
        format!(
            "after the whole warm-up the bound is {bound:.3} nats, that is loss = ln K: the \
             encoder has learned nothing"
        )
    })
}

fn collapse(rows: &[MetricRow], warmup: usize) -> Option<String> {
    let now = rows.last()?.rank_me?;
    if rows.len() < warmup {
        return None;
    }
    if now < LINE {
        return Some(format!("the effective rank of the embeddings is {now:.2}: nearly a line"));
    }
    let ranks = rows.iter().filter_map(|row| Some((row.rank_me?, row.step)));
    let (most, step) = ranks.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (now < most * RANK_KEPT).then(|| {
        format!(
            "the effective rank of the embeddings fell from {most:.1} at step {step} to {now:.1}"
        )
    })
}

fn overfitting(rows: &[MetricRow]) -> Option<String> {
    let both = |row: &MetricRow| Some((row.held_out_bound_nats?, row.probe_bound_nats?, row.step));
    let looks: Vec<_> = rows.iter().filter_map(both).collect();
    let (best, then, step) = looks.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let recent = &looks[looks.len().checked_sub(LOOKS)?..];
    let apart = |&(held_out, probe, _): &(f32, f32, u32)| {
        held_out < best - APART_NATS && probe > then + APART_NATS
    };
    let &(held_out, probe, _) = recent.last()?;
    recent.iter().all(apart).then(|| {
        format!(
            "since step {step} the bound on held-out subjects fell from {best:.2} to \
             {held_out:.2} nats, while on those trained on it rose from {then:.2} to {probe:.2}"
        )
    })
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at step {}", self.alarm.as_str(), self.step)
    }
}

impl FromStr for Alarm {
    type Err = &'static str;

    /// From its name in a pipeline; the error says which there are.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|alarm| alarm.as_str() == name).ok_or(
            "names of alarms: \"nothing-learned\", \"collapse\", \"overfitting\", \
             \"temperature-at-limit\", \"control\" or \"no-negatives\"",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of a healthy run.
    fn healthy(step: u32) -> MetricRow {
        MetricRow {
            step,
            bound_nats: Some(2.0),
            ceiling_nats: Some(4.0),
            negatives: Some(63.0),
            temperature: Some(0.1),
            ..MetricRow::default()
        }
    }

    fn look(step: u32, probe: f32, held_out: f32, rank: f32) -> MetricRow {
        MetricRow {
            probe_bound_nats: Some(probe),
            held_out_bound_nats: Some(held_out),
            control_nats: Some(0.0),
            rank_me: Some(rank),
            ..healthy(step)
        }
    }

    /// The alarms of a history, row after row, by name and step.
    fn alarms(rows: &[MetricRow], rules: &Rules) -> Vec<(&'static str, u32)> {
        let mut raised: Vec<Raised> = Vec::new();
        for (n, row) in rows.iter().enumerate() {
            let new = raise(&rows[..=n], rules, &raised);
            raised.extend(new.iter().map(|&(alarm, _)| Raised { alarm, step: row.step }));
        }
        raised.iter().map(|r| (r.alarm.as_str(), r.step)).collect()
    }

    fn rules() -> Rules {
        Rules { warmup: 20, ..Rules::default() }
    }

    #[test]
    fn a_healthy_run_raises_none() {
        let rows: Vec<_> = (0..100)
            .map(|n| match n % 10 {
                9 => look(n, 2.0 + n as f32 / 50.0, 1.5 + (n % 20) as f32 / 200.0, 10.0),
                _ => healthy(n),
            })
            .collect();
        assert_eq!(alarms(&rows, &rules()), []);
    }

    #[test]
    fn a_bound_at_zero_is_told_after_the_warm_up_once_and_whenever_it_falls() {
        let at = |nats, step| MetricRow { bound_nats: Some(nats), ..healthy(step) };
        let rows: Vec<_> = (0..60).map(|n| at(0.01, n)).collect();
        assert_eq!(alarms(&rows, &rules()), [("nothing-learned", 19)]);
        let falls: Vec<_> = (0..60).map(|n| at(if n < 40 { 2.0 } else { 0.0 }, n)).collect();
        assert_eq!(alarms(&falls, &rules()), [("nothing-learned", 49)]);
        let no_bound: Vec<_> =
            (0..60).map(|n| MetricRow { bound_nats: None, ..healthy(n) }).collect();
        assert_eq!(alarms(&no_bound, &rules()), []);
    }

    #[test]
    fn a_rank_that_falls_or_was_never_there() {
        let ranks = |ranks: &[f32]| -> Vec<MetricRow> {
            let at = |(n, &rank): (usize, &f32)| look(n as u32, 2.0, 1.5, rank);
            ranks.iter().enumerate().map(at).collect()
        };
        let rules = Rules::default();
        assert_eq!(alarms(&ranks(&[8.0, 12.0, 5.0, 3.9]), &rules), [("collapse", 3)]);
        assert_eq!(alarms(&ranks(&[1.4]), &rules), [("collapse", 0)]);
        assert_eq!(alarms(&ranks(&[12.0, 6.0, 4.1]), &rules), []);
    }

    #[test]
    fn held_out_must_fall_while_training_rises_at_two_looks() {
        let looks = |bounds: &[(f32, f32)]| -> Vec<MetricRow> {
            let at = |(n, &(probe, held_out)): (usize, &(f32, f32))| {
                look(n as u32, probe, held_out, 9.0)
            };
            bounds.iter().enumerate().map(at).collect()
        };
        let fit = |bounds: &[(f32, f32)]| alarms(&looks(bounds), &Rules::default());
        let over = [(1.0, 1.0), (2.0, 1.5), (2.5, 1.3), (3.0, 1.2), (3.2, 1.0)];
        assert_eq!(fit(&over), [("overfitting", 3)]);
        // One bad look, both falling, and a fall within the noise are none.
        assert_eq!(fit(&[(2.0, 1.5), (2.5, 1.3), (3.0, 1.6)]), []);
        assert_eq!(fit(&[(2.0, 1.5), (1.5, 1.0), (1.2, 0.8)]), []);
        assert_eq!(fit(&[(2.0, 1.5), (2.5, 1.45), (3.0, 1.42)]), []);
    }

    #[test]
    fn limits_negatives_and_the_control() {
        let learned = Rules { lowest_temperature: Some(0.01), warmup: 2, ..Rules::default() };
        let at = |temperature, step| MetricRow { temperature: Some(temperature), ..healthy(step) };
        assert_eq!(alarms(&[at(0.01, 0), at(0.01, 1)], &learned), [("temperature-at-limit", 1)]);
        assert_eq!(alarms(&[at(0.1, 0), at(0.011, 1)], &learned), []);
        assert_eq!(alarms(&[at(0.01, 0), at(0.01, 1)], &rules()), []);
        let masked = MetricRow { negatives: Some(0.0), ..healthy(0) };
        assert_eq!(alarms(std::slice::from_ref(&masked), &rules()), [("no-negatives", 0)]);
        let leak = MetricRow { control_nats: Some(0.4), ..look(0, 2.0, 1.0, 9.0) };
        assert_eq!(alarms(&[leak], &rules()), [("control", 0)]);
        let silent = Rules { silence: vec![Alarm::NoNegatives], ..rules() };
        assert_eq!(alarms(&[masked], &silent), []);
    }

    #[test]
    fn names_come_back() {
        assert!(Alarm::ALL.into_iter().all(|alarm| alarm.as_str().parse() == Ok(alarm)));
        assert!("overfit".parse::<Alarm>().unwrap_err().contains("\"collapse\""));
    }
}
