use super::*;
use crate::{
    pairing::{DistanceLaw, Weights, mask::Rules},
    view::Plane,
};

const OFF: Rules = Rules {
    within_mm: 0.0,
    unplaced: false,
    subject: false,
    template_mm: 0.0,
    soft_positives_mm: 0.0,
    plane: Plane::Axial,
};

fn pair(kind: Kind, subject: usize, modalities: [&str; 2], z: f64, distance: f64) -> PairRow {
    let word = |text: &str| text.to_owned();
    PairRow {
        kind: word(kind.as_str()),
        split: word("train"),
        source: word("test"),
        subject: format!("sub-{subject}"),
        world: format!("w-{subject}"),
        anchor_series: format!("{subject}-{}", modalities[0]),
        anchor_session: word("s"),
        anchor_modality: word(modalities[0]),
        anchor_mm: [0.0, 0.0, z],
        positive_series: format!("{subject}-{}", modalities[1]),
        positive_session: word("s"),
        positive_modality: word(modalities[1]),
        positive_world: format!("w-{subject}"),
        positive_mm: [0.0, 0.0, z + distance],
        distance_mm: Some(distance),
        context: None,
        reason: String::new(),
    }
}

fn cohort(subjects: usize, slices: usize) -> Vec<PairRow> {
    let mut pairs = Vec::new();
    for subject in 0..subjects {
        for slice in 0..slices {
            let z = 4.0 * slice as f64;
            pairs.push(pair(Kind::Augmented, subject, ["T1", "T1"], z, 0.0));
            pairs.push(pair(Kind::CrossModality, subject, ["T1", "T2"], z, 0.0));
            pairs.push(pair(Kind::CrossModality, subject, ["FLAIR", "T1"], z, 0.0));
            for near in 1..=3 {
                let distance = 4.0 * f64::from(near);
                pairs.push(pair(Kind::CrossSlice, subject, ["T1", "T1"], z, distance));
            }
        }
    }
    pairs
}

fn settings(batch: usize, draw: Draw) -> Settings {
    Settings {
        batch,
        weights: Weights {
            augmented: 1.0,
            cross_slice: 1.0,
            cross_modality: 2.0,
            ..Weights::default()
        },
        draw,
        ..crate::train::tests::settings()
    }
}

fn draw(max_subject_share: f64, rules: Rules) -> Draw {
    Draw { distance_law: DistanceLaw::Uniform, max_subject_share, rules }
}

fn most_of_a_subject(batch: &[&PairRow]) -> usize {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    batch.iter().for_each(|pair| *counts.entry(&pair.subject).or_default() += 1);
    counts.into_values().max().unwrap_or(0)
}

#[test]
fn a_batch_depends_on_its_number_alone_and_holds_no_pair_twice() {
    let (pairs, settings) = (cohort(6, 10), settings(32, draw(1.0, OFF)));
    let sampler = Sampler::new(&pairs, &settings).unwrap();
    let late = sampler.draw(7);
    assert_eq!(late, Sampler::new(&pairs, &settings).unwrap().draw(7));
    assert_ne!(late, sampler.draw(8));
    for number in 0..20 {
        let batch = sampler.draw(number);
        let distinct: BTreeSet<*const PairRow> = batch.iter().map(|&pair| pair as _).collect();
        assert_eq!((batch.len(), distinct.len()), (32, 32));
    }
}

#[test]
fn a_subject_has_at_most_its_share() {
    let pairs = cohort(8, 10);
    let free = Sampler::new(&pairs, &settings(32, draw(1.0, OFF))).unwrap();
    let bound = Sampler::new(&pairs, &settings(32, draw(0.15, OFF))).unwrap();
    let most = |sampler: &Sampler| (0..50).map(|n| most_of_a_subject(&sampler.draw(n))).max();
    assert!(most(&free).unwrap() > 4);
    assert_eq!(most(&bound), Some(4));
    assert!(bound.remarks().is_empty());
    // Three subjects cannot fill a batch at 15 % each: as even as can be, and told.
    let few = cohort(3, 10);
    let sampler = Sampler::new(&few, &settings(32, draw(0.15, OFF))).unwrap();
    assert_eq!(most(&sampler), Some(11));
    let said = sampler.remarks()[0].to_string();
    assert!(said.contains("3 training subjects") && said.contains("up to 11"), "{said}");
}

#[test]
fn the_distance_of_neighbours_follows_its_law() {
    let pairs = cohort(4, 40);
    let law = DistanceLaw::Exponential { scale_mm: 4.0 };
    let mut settings = settings(32, Draw { distance_law: law, ..draw(1.0, OFF) });
    settings.weights = Weights { cross_slice: 1.0, ..Weights::default() };
    let counts = |settings: &Settings| {
        let sampler = Sampler::new(&pairs, settings).unwrap();
        let mut counts = [0.0; 3];
        for pair in (0..400).flat_map(|n| sampler.draw(n)) {
            counts[(pair.distance_mm.unwrap() / 4.0).round() as usize - 1] += 1.0;
        }
        counts.map(|count| count / 12_800.0)
    };
    let e = (-1.0_f64).exp();
    let expected = [1.0, e, e * e].map(|weight| weight / (1.0 + e + e * e));
    for (found, expected) in counts(&settings).into_iter().zip(expected) {
        // A batch holds a pair once, which takes a little from the likely ones.
        assert!((found - expected).abs() < 0.03, "{found} {expected}");
    }
    settings.draw.distance_law = DistanceLaw::Uniform;
    for found in counts(&settings) {
        assert!((found - 1.0 / 3.0).abs() < 0.02, "{found}");
    }
}

#[test]
fn slots_are_the_same_in_every_batch_and_follow_the_weights() {
    let (pairs, settings) = (cohort(6, 12), settings(32, draw(0.5, OFF)));
    let sampler = Sampler::with_slots(&pairs, &settings).unwrap();
    let slots = sampler.slots();
    assert_eq!(slots.len(), 32);
    for number in 0..20 {
        let batch = sampler.draw(number);
        assert!(batch.iter().zip(slots).all(|(pair, slot)| slot_of(pair) == *slot));
    }
    let count = |anchor: &str, positive: &str| {
        let is =
            |slot: &&Slot| slot.anchor_modality == anchor && slot.positive_modality == positive;
        slots.iter().filter(is).count()
    };
    // Half the weight is of one modality, the other half of two pairs of them.
    assert_eq!([count("T1", "T1"), count("T1", "T2"), count("FLAIR", "T1")], [16, 8, 8]);
    assert!(Sampler::new(&pairs, &settings).unwrap().slots().is_empty());
}

#[test]
fn what_is_left_by_rounding_goes_to_the_largest_remainder() {
    assert_eq!(quotas(&[0.5, 0.25, 0.25], &[99; 3], 10), [5, 3, 2]);
    assert_eq!(quotas(&[1.0, 1.0, 1.0], &[99; 3], 8), [3, 3, 2]);
    // What has no room goes to others.
    assert_eq!(quotas(&[0.9, 0.1], &[4, 99], 10), [4, 6]);
    assert_eq!(quotas(&[0.9, 0.1], &[4, 3], 10), [4, 3]);
}

#[test]
fn too_few_pairs_and_no_negatives_are_told_with_their_counts() {
    let pairs = cohort(1, 3);
    let error = Sampler::new(&pairs, &settings(64, draw(1.0, OFF))).unwrap_err().to_string();
    assert!(error.contains("64") && error.contains("there are 18 of 1 subjects"), "{error}");
    let alone = Rules { subject: true, ..OFF };
    let error = Sampler::new(&pairs, &settings(8, draw(1.0, alone))).unwrap_err().to_string();
    assert!(
        error.contains("8 batches of 8") && error.contains("the 1 training subject"),
        "{error}"
    );
    let mut none = settings(8, draw(1.0, OFF));
    none.weights = Weights { longitudinal: 1.0, ..Weights::default() };
    assert!(matches!(Sampler::new(&pairs, &none), Err(BatchError::NoKind)));
    // Two subjects: some anchors have negatives in the other one.
    let two = cohort(2, 3);
    let sampler = Sampler::new(&two, &settings(2, draw(1.0, alone))).unwrap();
    let said = sampler.remarks().iter().map(ToString::to_string).collect::<String>();
    assert!(said.contains("of 16 pairs have no negative"), "{said}");
}

#[test]
fn the_queue_is_that_of_the_batches_before() {
    let (pairs, settings) = (cohort(5, 20), settings(8, draw(1.0, Rules { subject: true, ..OFF })));
    let sampler = Sampler::new(&pairs, &settings).unwrap().with_queue(20);
    // Before anything was put into it, nothing of it is allowed.
    assert_eq!(sampler.allowed_queue(&sampler.draw(0), 0), vec![0.0; 8 * 20]);
    for number in [1, 2, 3, 9] {
        let batch = sampler.draw(number);
        let allowed = sampler.allowed_queue(&batch, number);
        assert_eq!(allowed.len(), 8 * 20);
        for (row, anchor) in batch.iter().enumerate() {
            for at in 0..20 {
                let ago = 1 + at / 8;
                let expected =
                    ago <= number && sampler.draw(number - ago)[at % 8].subject != anchor.subject;
                assert_eq!(allowed[row * 20 + at] == 1.0, expected, "{number} {row} {at}");
            }
        }
    }
}
