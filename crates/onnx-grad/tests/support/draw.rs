//! Shapes drawn by proptest, the same ones in every run.

#![allow(dead_code)]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// So many cases from a fixed seed.
pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    }
}

/// A size, often one.
pub fn size() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(1), 3 => 2..=4usize]
}

/// A shape of so many axes.
pub fn shape(axes: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(size(), axes)
}

/// A shape that broadcasts to this one: leading axes missing, others one.
pub fn narrowed(full: Vec<usize>) -> impl Strategy<Value = Vec<usize>> {
    let kept = prop::collection::vec(prop::bool::weighted(0.7), full.len());
    (0..=full.len(), kept).prop_map(move |(lacking, kept)| {
        let sizes = full.iter().zip(&kept).skip(lacking);
        sizes.map(|(&size, &kept)| if kept { size } else { 1 }).collect()
    })
}

/// Two shapes that broadcast with each other.
pub fn pair() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    shape(0..=3).prop_flat_map(|full| (narrowed(full.clone()), narrowed(full)))
}

/// A shape and an axis of it.
pub fn shape_and_axis(
    axes: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = (Vec<usize>, usize)> {
    shape(axes).prop_flat_map(|shape| {
        let rank = shape.len();
        (Just(shape), 0..rank)
    })
}

/// A shape and some of its axes, in rising order.
pub fn shape_and_axes(
    axes: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    shape(axes).prop_flat_map(|shape| {
        let axes: Vec<usize> = (0..shape.len()).collect();
        let rank = axes.len();
        (Just(shape), prop::sample::subsequence(axes, 0..=rank))
    })
}
