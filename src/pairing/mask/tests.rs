use super::*;

const OFF: Rules = Rules {
    within_mm: 0.0,
    unplaced: false,
    subject: false,
    template_mm: 0.0,
    soft_positives_mm: 0.0,
    plane: Plane::Axial,
};

/// A pair of a subject and world, its anchor and positive at two levels.
fn pair(subject: &str, world: &str, anchor: f64, positive: f64) -> PairRow {
    let word = |text: &str| text.to_owned();
    // In the plane the places differ: the body's middle is another in each volume.
    let wander = 30.0 * (anchor * 1.7).sin();
    PairRow {
        kind: word("cross-slice"),
        split: word("train"),
        source: word("test"),
        subject: word(subject),
        world: word(world),
        anchor_series: word("a"),
        anchor_session: word("s"),
        anchor_modality: word("T1"),
        anchor_mm: [wander, 0.0, anchor],
        positive_series: word("b"),
        positive_session: word("s"),
        positive_modality: word("T1"),
        positive_world: word(world),
        positive_mm: [0.0, -wander, positive],
        distance_mm: Some((anchor - positive).abs()),
        context: None,
        reason: String::new(),
    }
}

fn excluded(rules: &Rules, pairs: &[PairRow]) -> Vec<(usize, usize)> {
    let batch: Vec<&PairRow> = pairs.iter().collect();
    let mask = rules.mask(&batch);
    let count = batch.len();
    (0..count * count)
        .filter(|&at| mask.allowed[at] == 0.0)
        .map(|at| (at / count, at % count))
        .collect()
}

#[test]
fn near_places_of_a_subject_are_no_negatives_and_far_ones_are() {
    let pairs = [
        pair("x", "w", 0.0, 2.0),
        pair("x", "w", 5.0, 5.0),
        pair("x", "w", 50.0, 50.0),
        // The same level in another world and in another subject.
        pair("x", "v", 0.0, 0.0),
        pair("y", "w", 0.0, 0.0),
    ];
    let near = Rules { within_mm: 5.0, ..OFF };
    assert_eq!(excluded(&near, &pairs), [(0, 1), (1, 0)]);
    // The positive at 2 and the place at 5 are nearest: that counts in both directions.
    assert_eq!(excluded(&Rules { within_mm: 3.0, ..OFF }, &pairs), [(0, 1), (1, 0)]);
    assert_eq!(excluded(&Rules { within_mm: 2.9, ..OFF }, &pairs), []);
    assert_eq!(excluded(&OFF, &pairs), []);
    let unplaced = Rules { unplaced: true, ..OFF };
    assert_eq!(excluded(&unplaced, &pairs), [(0, 3), (1, 3), (2, 3), (3, 0), (3, 1), (3, 2)]);
    let subject = Rules { subject: true, ..OFF };
    assert_eq!(excluded(&subject, &pairs).len(), 4 * 3);
}

#[test]
fn a_pair_twice_and_a_place_of_another_pair_are_no_negatives() {
    let near = Rules { within_mm: 0.5, ..OFF };
    let twice = [pair("x", "w", 7.0, 9.0), pair("x", "w", 7.0, 9.0), pair("x", "w", 9.0, 7.0)];
    let all = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
    assert_eq!(excluded(&near, &twice), all);
    // Without any rule a pair and its copy still share a view.
    assert_eq!(excluded(&OFF, &twice), [(0, 1), (1, 0)]);
    // The anchor of one is the positive of the other.
    let mut chain = [pair("x", "w", 0.0, 5.0), pair("x", "w", 5.0, 10.0)];
    for pair in &mut chain {
        pair.positive_series = pair.anchor_series.clone();
        pair.anchor_mm[0] = 0.0;
        pair.positive_mm[1] = 0.0;
    }
    assert_eq!(excluded(&OFF, &chain), [(0, 1), (1, 0)]);
    // Two positives of one anchor are no negatives of it, whatever their distance.
    let star = [pair("x", "w", 7.0, 9.0), pair("x", "w", 7.0, 70.0)];
    assert_eq!(excluded(&OFF, &star), [(0, 1), (1, 0)]);
    let same = [pair("x", "w", 7.0, 7.0), pair("x", "w", 7.0, 7.0)];
    assert_eq!(excluded(&near, &same), [(0, 1), (1, 0)]);
}

#[test]
fn subjects_are_compared_in_a_template_alone() {
    let pairs = |world| [pair("x", world, 0.0, 0.0), pair("y", world, 1.0, 1.0)];
    let rules = Rules { template_mm: 2.0, ..OFF };
    assert_eq!(excluded(&rules, &pairs("template-mni")), [(0, 1), (1, 0)]);
    // A frame of reference that two subjects share is a fault of their headers.
    assert_eq!(excluded(&rules, &pairs("for-1")), []);
    let far = [pair("x", "template-mni", 0.0, 0.0), pair("y", "template-mni", 3.0, 3.0)];
    assert_eq!(excluded(&rules, &far), []);
    let within = Rules { within_mm: 5.0, ..OFF };
    assert_eq!(excluded(&within, &pairs("template-mni")), []);
}

#[test]
fn soft_positives_weigh_by_distance_and_stay_in_the_denominator() {
    let pairs = [
        pair("x", "w", 0.0, 0.0),
        pair("x", "w", 2.0, 2.0),
        pair("x", "w", 7.0, 7.0),
        pair("y", "w", 0.0, 0.0),
    ];
    let batch: Vec<&PairRow> = pairs.iter().collect();
    let rules = Rules { soft_positives_mm: 2.0, within_mm: 8.0, ..OFF };
    let mask = rules.mask(&batch);
    let near = (-0.5_f32).exp();
    let far = (-0.5_f32 * 2.5 * 2.5).exp();
    let first = [1.0, near, 0.0, 0.0].map(|w| w / (1.0 + near));
    let second = [near, 1.0, far, 0.0].map(|w| w / (1.0 + near + far));
    for (row, expected) in [first, second].iter().enumerate() {
        for (column, expected) in expected.iter().enumerate() {
            assert!((mask.targets[row * 4 + column] - expected).abs() < 1e-6, "{row} {column}");
        }
        let sum: f32 = mask.targets[row * 4..row * 4 + 4].iter().sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
    // 7 mm is beyond three deviations: no positive of the first, and no negative.
    assert_eq!(mask.allowed[..4], [1.0, 1.0, 0.0, 1.0]);
    assert_eq!(mask.negatives(), [1, 1, 1, 3]);
}

#[test]
fn the_queue_is_masked_by_the_same_rules() {
    let batch = [pair("x", "w", 0.0, 0.0), pair("y", "w", 0.0, 0.0)];
    let queue = [pair("x", "w", 3.0, 1.0), pair("x", "w", 4.0, 9.0), pair("y", "u", 0.0, 0.0)];
    let (batch, queue): (Vec<_>, Vec<_>) = (batch.iter().collect(), queue.iter().collect());
    let rules = Rules { within_mm: 2.0, unplaced: true, ..OFF };
    assert_eq!(rules.mask_of_queue(&batch, &queue), [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn the_distance_is_that_along_the_normal() {
    let mut a = pair("x", "w", 0.0, 0.0);
    let mut b = pair("x", "w", 40.0, 40.0);
    (a.anchor_mm, a.positive_mm) = ([0.0; 3], [0.0; 3]);
    (b.anchor_mm, b.positive_mm) = ([40.0, 1.0, 40.0], [40.0, 1.0, 40.0]);
    let rules = |plane| Rules { within_mm: 2.0, plane, ..OFF };
    let pairs = [a, b];
    assert_eq!(excluded(&rules(Plane::Coronal), &pairs), [(0, 1), (1, 0)]);
    assert_eq!(excluded(&rules(Plane::Axial), &pairs), []);
    assert_eq!(excluded(&rules(Plane::Sagittal), &pairs), []);
}

/// Every (row, column) by the rules in words, without looking for related ones.
#[test]
fn what_is_not_compared_is_no_false_negative() {
    let worlds = ["w", "v", "template-t"];
    let pairs: Vec<PairRow> = (0..60)
        .map(|n| {
            let subject = ["x", "y", "z"][n % 3];
            let level = (n * 7 % 20) as f64;
            pair(subject, worlds[n / 3 % 3], level, level + 1.0)
        })
        .collect();
    let rules = Rules { within_mm: 3.0, unplaced: true, template_mm: 2.0, ..OFF };
    let mut expected = Vec::new();
    for (i, a) in pairs.iter().enumerate() {
        for (j, b) in pairs.iter().enumerate().filter(|(j, _)| *j != i) {
            let levels = |pair: &PairRow| [pair.anchor_mm[2], pair.positive_mm[2]];
            let apart = levels(a)
                .iter()
                .flat_map(|one| levels(b).map(|other| (one - other).abs()))
                .fold(f64::INFINITY, f64::min);
            let one_world = a.world == b.positive_world;
            let hit = match a.subject == b.subject {
                true if one_world => apart <= 3.0,
                true => true,
                false => one_world && a.world == "template-t" && apart <= 2.0,
            };
            if hit {
                expected.push((i, j));
            }
        }
    }
    assert!(expected.len() > 200);
    assert_eq!(excluded(&rules, &pairs), expected);
}
