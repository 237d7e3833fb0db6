//! Resizing against a naive reference, and its gradient against central
//! differences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/draw.rs"]
mod draw;
#[path = "support/problem.rs"]
mod problem;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use draw::cases;
use onnx_grad::{
    Coordinates, ElementType, Error, Graph, Interpolation, InterpolationMode, Rounding, gradient,
    model,
};
use problem::{check, weighted_sum};
use proptest::collection::vec;
use proptest::prelude::*;
use reference::Array;
use runtime::Model;

fn coordinates() -> impl Strategy<Value = Coordinates> {
    prop_oneof![
        Just(Coordinates::HalfPixel),
        Just(Coordinates::PytorchHalfPixel),
        Just(Coordinates::Asymmetric),
        Just(Coordinates::AlignCorners),
    ]
}

fn interpolations() -> impl Strategy<Value = Interpolation> {
    let mode = prop_oneof![
        4 => Just(InterpolationMode::Linear),
        1 => Just(InterpolationMode::Nearest(Rounding::PreferFloor)),
        1 => Just(InterpolationMode::Nearest(Rounding::PreferCeil)),
        1 => Just(InterpolationMode::Nearest(Rounding::Floor)),
        1 => Just(InterpolationMode::Nearest(Rounding::Ceil)),
    ];
    (mode, coordinates()).prop_map(|(mode, coordinates)| Interpolation { mode, coordinates })
}

/// The place of an element of the result in the operand, as ONNX defines it.
fn place(how: Coordinates, i: usize, from: usize, to: usize, scale: f64) -> f64 {
    let i = i as f64;
    match how {
        Coordinates::HalfPixel => (i + 0.5) / scale - 0.5,
        Coordinates::PytorchHalfPixel if to > 1 => (i + 0.5) / scale - 0.5,
        Coordinates::AlignCorners if to > 1 => i * (from - 1) as f64 / (to - 1) as f64,
        Coordinates::Asymmetric => i / scale,
        _ => 0.0,
    }
}

/// The share of every element of the operand in an element of the result.
fn shares(mode: InterpolationMode, place: f64, from: usize) -> Vec<f64> {
    let mut shares = vec![0.0; from];
    let within = |place: f64| place.clamp(0.0, (from - 1) as f64) as usize;
    match mode {
        InterpolationMode::Linear => {
            let part = place - place.floor();
            shares[within(place.floor())] += 1.0 - part;
            shares[within(place.floor() + 1.0)] += part;
        }
        InterpolationMode::Nearest(rounding) => {
            let nearest = match rounding {
                Rounding::PreferFloor => (place - 0.5).ceil(),
                Rounding::PreferCeil => (place + 0.5).floor(),
                Rounding::Floor => place.floor(),
                Rounding::Ceil => place.ceil(),
            };
            shares[within(nearest)] = 1.0;
        }
    }
    shares
}

/// Whether `f64` and `f32` may choose another neighbour: a place that rounding
/// alone may have put on this side of a boundary.
fn doubtful(mode: InterpolationMode, place: f64, from: usize, to: usize) -> bool {
    let boundary = match mode {
        InterpolationMode::Linear => return false,
        InterpolationMode::Nearest(Rounding::PreferFloor | Rounding::PreferCeil) => 0.5,
        InterpolationMode::Nearest(_) => 0.0,
    };
    let exact = to.is_multiple_of(from) && (to / from).is_power_of_two()
        || from.is_multiple_of(to) && (from / to).is_power_of_two();
    let off = place - boundary - (place - boundary).round();
    off.abs() < 1e-5 && !exact
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn resize_to_sizes_and_by_scales(
        axes in vec((1..6usize, 1..9usize), 1..4),
        n in 1..3usize,
        how in interpolations(),
        scaled: bool,
    ) {
        let rank = axes.len() + 2;
        let shape: Vec<usize> = [n, 2].into_iter().chain(axes.iter().map(|a| a.0)).collect();
        let sizes: Vec<usize> = [n, 2].into_iter().chain(axes.iter().map(|a| a.1)).collect();
        // a scale a little above the ratio leads to the same size
        let ratio = |axis: usize| sizes[axis] as f32 / shape[axis] as f32;
        let scale = |axis: usize| if axis < 2 { 1.0 } else { ratio(axis) * 1.03 };
        let scales: Vec<f32> = (0..rank).map(scale).collect();
        let scales = scaled.then_some(&scales[..]);
        let matrices: Vec<Vec<Vec<f64>>> = (0..rank)
            .map(|axis| {
                let (from, to) = (shape[axis], sizes[axis]);
                let scale = scales.map_or(to as f64 / from as f64, |s| f64::from(s[axis]));
                let places = (0..to).map(|i| place(how.coordinates, i, from, to, scale));
                places
                    .map(|p| match axis < 2 {
                        true => shares(InterpolationMode::Linear, p, from),
                        false if doubtful(how.mode, p, from, to) => vec![],
                        false => shares(how.mode, p, from),
                    })
                    .collect()
            })
            .collect();
        if matrices[2..].iter().flatten().any(Vec::is_empty) {
            return Ok(());
        }
        check(
            &[Array::random(&shape, 60)],
            |g, x| g.resize(x[0], &sizes, scales, how),
            |x| {
                let mut y = x[0].clone();
                for (axis, matrix) in matrices.iter().enumerate().skip(2) {
                    let mut shape = y.shape.clone();
                    shape[axis] = sizes[axis];
                    y = Array::from_fn(&shape, |index| {
                        let mut own = index.to_vec();
                        let shares = matrix[index[axis]].iter().enumerate();
                        let part = |(i, share): (usize, &f64)| {
                            own[axis] = i;
                            share * y.at(&own)
                        };
                        shares.map(part).sum()
                    });
                }
                y
            },
        );
    }
}

proptest! {
    #![proptest_config(cases(400))]

    // a linear map and its transpose: Σ w·y(x) = Σ dx·x, at every boundary too
    #[test]
    fn the_gradient_takes_the_same_neighbours(
        from in 1..20usize,
        to in 1..40usize,
        how in interpolations(),
    ) {
        let mut g = Graph::new();
        let input = g.input("x", ElementType::F32, &[1, 1, 2, from]);
        let y = g.resize(input, &[1, 1, 2, to], None, how).unwrap();
        let w = Array::random(&[1, 1, 2, to], 61);
        let loss = weighted_sum(&mut g, y, &w).unwrap();
        let dx = gradient(&mut g, loss, &[input]).unwrap()[0];
        g.output("y", y);
        g.output("dx", dx);
        let x = Array::random(&[1, 1, 2, from], 62);
        let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
        let outputs = Model::load(&bytes).run(&[("x", &x)]);
        let forward = outputs["y"].zip(&w, |y, w| y * w).total();
        let backward = outputs["dx"].zip(&x, |d, x| d * x).total();
        assert!((forward - backward).abs() < 1e-4, "{from} to {to}: {forward}, {backward}");
    }
}

#[test]
fn resize_differentiated_twice() {
    let how =
        Interpolation { mode: InterpolationMode::Linear, coordinates: Coordinates::HalfPixel };
    // 2 elements to 4: shares of ¼ and ¾
    let naive = |x: &Array| {
        Array::from_fn(&[1, 1, 4], |i| {
            let part = [0.0, 0.25, 0.75, 1.0][i[2]];
            x.at(&[0, 0, 0]) * (1.0 - part) + x.at(&[0, 0, 1]) * part
        })
    };
    check(
        &[Array::random(&[1, 1, 2], 63)],
        |g, x| {
            let y = g.resize(x[0], &[1, 1, 4], None, how)?;
            let square = g.mul(y, y)?;
            let loss = g.reduce_sum(square, &[0, 1, 2], false)?;
            Ok(gradient(g, loss, x)?[0])
        },
        |x| {
            let y = naive(&x[0]);
            Array::from_fn(&[1, 1, 2], |i| {
                let parts = [0.0, 0.25, 0.75, 1.0].map(|p| if i[2] == 1 { p } else { 1.0 - p });
                (0..4).map(|k| 2.0 * parts[k] * y.data[k]).sum()
            })
        },
    );
}

#[test]
fn sizes_that_do_not_fit() {
    let how =
        Interpolation { mode: InterpolationMode::Linear, coordinates: Coordinates::AlignCorners };
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[1, 2, 4]);
    let flat = g.input("flat", ElementType::F32, &[1, 2]);
    let empty = g.input("empty", ElementType::F32, &[1, 2, 0]);
    let huge = g.input("huge", ElementType::F32, &[1, 2, 1 << 60]);
    let whole = g.input("whole", ElementType::I64, &[1, 2, 4]);
    let scale = |s: f32| Some([1.0, 1.0, s]);
    for (x, sizes, scales) in [
        (x, &[1, 2, 0][..], None),
        (x, &[1, 2], None),
        (x, &[1, 4, 4], None),
        (x, &[2, 2, 4], None),
        (flat, &[1, 4], None),
        (empty, &[1, 2, 4], None),
        (x, &[1, 2, 8], scale(3.0)),
        (x, &[1, 2, 8], scale(f32::NAN)),
        (x, &[1, 2, 8], scale(-2.0)),
        (x, &[1, 2, usize::MAX], scale(2.0)),
    ] {
        let y = g.resize(x, sizes, scales.as_ref().map(|s| &s[..]), how);
        assert!(matches!(y, Err(Error::Shape { .. })), "{sizes:?} {scales:?}: {y:?}");
    }
    let y = g.resize(x, &[1, 2, 8], Some(&[2.0]), how);
    assert!(matches!(y, Err(Error::Shape { .. })), "{y:?}");
    let y = g.resize(whole, &[1, 2, 8], None, how);
    assert!(matches!(y, Err(Error::ElementType { .. })), "{y:?}");
    // a matrix that no memory holds is not made
    let y = g.resize(huge, &[1, 2, 1 << 61], None, how).unwrap();
    let loss = g.reduce_sum(y, &[0, 1, 2], false).unwrap();
    let dx = gradient(&mut g, loss, &[huge]);
    assert!(matches!(dx, Err(Error::NoGradient { .. })), "{dx:?}");
}
