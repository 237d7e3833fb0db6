//! Normalisations against naive references, and their gradients against
//! central differences.

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
use onnx_grad::{ElementType, Error, Graph, Value, gradient};
use problem::{check, check_to, weighted_sum};
use proptest::collection::vec;
use proptest::prelude::*;
use reference::Array;

/// What `f32` leaves of differences of nearly equal numbers.
const NEARLY_EQUAL: f64 = 2e-5;

/// One number a channel, against `[n, c, ..]`.
fn column(numbers: &Array, rank: usize) -> Array {
    let mut shape = vec![1; rank - 1];
    shape[0] = numbers.shape[0];
    numbers.reshape(&shape)
}

/// scale · (x − mean) / √(variance + ε) + bias, the definition.
fn batch_norm(x: &Array, numbers: &[Array], epsilon: f32) -> Array {
    let [scale, bias, mean, variance] = [0, 1, 2, 3].map(|i| column(&numbers[i], x.shape.len()));
    let deviation = variance.map(|v| (v + f64::from(epsilon)).sqrt());
    let normal = x.zip(&mean, |x, m| x - m).zip(&deviation, |x, d| x / d);
    normal.zip(&scale, |x, s| x * s).zip(&bias, |x, b| x + b)
}

/// The mean and the population variance of every channel.
fn statistics(x: &Array) -> [Array; 2] {
    let axes: Vec<usize> = (0..x.shape.len()).filter(|&a| a != 1).collect();
    let mean = x.mean(&axes);
    let variance = x.zip(&mean, |x, m| (x - m) * (x - m)).mean(&axes);
    [mean, variance].map(|s| s.reshape(&x.shape[1..2]))
}

fn of_batch(x: &[Array], epsilon: f32) -> Array {
    let [mean, variance] = statistics(&x[0]);
    batch_norm(&x[0], &[x[1].clone(), x[2].clone(), mean, variance], epsilon)
}

/// Scale and bias, one a channel.
fn affine(channels: usize) -> [Array; 2] {
    [31, 32].map(|seed| Array::random(&[channels], seed))
}

/// `[n, c, ..]`, with up to three spatial axes.
fn images() -> impl Strategy<Value = Vec<usize>> {
    (1..4usize, 1..4usize, vec(1..4usize, 0..4))
        .prop_map(|(n, c, rest)| [vec![n, c], rest].concat())
}

fn epsilons() -> impl Strategy<Value = f32> {
    prop_oneof![Just(1e-5f32), Just(0.25)]
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn batch_norm_with_fixed_statistics(shape in images(), epsilon in epsilons()) {
        let c = shape[1];
        let [scale, bias] = affine(c);
        let mean = Array::random(&[c], 33);
        let variance = Array::random(&[c], 34).map(|v| v.abs() + 0.25);
        check(
            &[Array::random(&shape, 30), scale, bias, mean, variance],
            |g, x| g.batch_norm(x[0], x[1], x[2], x[3], x[4], epsilon),
            |x| batch_norm(&x[0], &x[1..], epsilon),
        );
    }
}

/// Running averages that the batch has no part in.
fn running(g: &mut Graph, channels: usize) -> Result<[Value; 2], Error> {
    let zeros = g.constant_f32(&[channels], &vec![0.0; channels])?;
    let ones = g.constant_f32(&[channels], &vec![1.0; channels])?;
    Ok([zeros, ones])
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn batch_norm_of_the_batch((shape, epsilon) in prop_oneof![
        // of few elements a small ε leaves differences of nearly equal numbers
        8 => (images(), 0.1f32..0.5),
        1 => Just((vec![4, 3, 3, 5], 1e-5)),
    ]) {
        let [scale, bias] = affine(shape[1]);
        check_to(
            NEARLY_EQUAL,
            &[Array::random(&shape, 35), scale, bias],
            |g, x| {
                let [mean, variance] = running(g, shape[1])?;
                Ok(g.batch_norm_training(x[0], x[1], x[2], mean, variance, epsilon, 0.9)?.y)
            },
            |x| of_batch(x, epsilon),
        );
    }
}

#[test]
fn batch_norm_far_from_the_origin() {
    // a mean of 300 deviations: differences of great sums would show
    let x = Array::random(&[4, 2, 3, 3], 36).map(|x| x + 300.0);
    let [scale, bias] = affine(2);
    let build = |g: &mut Graph, x: &[Value]| {
        let far = g.scalar(300.0);
        let x0 = g.add(x[0], far)?;
        let [mean, variance] = running(g, 2)?;
        Ok(g.batch_norm_training(x0, x[1], x[2], mean, variance, 1e-5, 0.9)?.y)
    };
    // whole eighths, which f32 holds beside 300
    let near = x.map(|x| ((x - 300.0) * 8.0).round() / 8.0);
    let reference = |x: &[Array]| {
        let far = x[0].map(|x| x + 300.0);
        of_batch(&[far, x[1].clone(), x[2].clone()], 1e-5)
    };
    check_to(2e-4, &[near, scale, bias], build, reference);
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn running_averages(shape in images(), momentum in 0.0..1.0f32) {
        let c = shape[1];
        let [scale, bias] = affine(c);
        let [old_mean, old_variance] = [37, 38].map(|seed| Array::random(&[c], seed));
        let inputs = [Array::random(&shape, 39), scale, bias, old_mean, old_variance];
        for which in 0..2 {
            check(
                &inputs,
                |g, x| {
                    let next =
                        g.batch_norm_training(x[0], x[1], x[2], x[3], x[4], 1e-5, momentum)?;
                    Ok([next.mean, next.variance][which])
                },
                |x| {
                    let (keep, take) = (f64::from(momentum), 1.0 - f64::from(momentum));
                    x[3 + which].zip(&statistics(&x[0])[which], |old, new| old * keep + new * take)
                },
            );
        }
    }
}

/// dx of Σ w·y, by Ioffe and Szegedy's equations.
fn batch_norm_gradient(x: &Array, scale: &Array, w: &Array, epsilon: f64) -> Array {
    let axes: Vec<usize> = (0..x.shape.len()).filter(|&a| a != 1).collect();
    let centred = x.zip(&x.mean(&axes), |x, m| x - m);
    let deviation = centred.map(|x| x * x).mean(&axes).map(|v| (v + epsilon).sqrt());
    let normal = centred.zip(&deviation, |x, d| x / d);
    let slope = normal.zip(w, |x, w| x * w).mean(&axes);
    let rest = w.zip(&w.mean(&axes), |w, m| w - m);
    let rest = rest.zip(&normal.zip(&slope, |x, s| x * s), |a, b| a - b);
    rest.zip(&deviation, |r, d| r / d).zip(&column(scale, x.shape.len()), |r, s| r * s)
}

#[test]
fn batch_norm_differentiated_twice() {
    for shape in [&[3, 2, 2][..], &[2, 3, 1, 2], &[4, 1]] {
        let w = Array::random(shape, 40);
        let [scale, bias] = affine(shape[1]);
        check(
            &[Array::random(shape, 41), scale],
            |g, x| {
                let [mean, variance] = running(g, shape[1])?;
                let data: Vec<f32> = bias.data.iter().map(|&b| b as f32).collect();
                let bias = g.constant_f32(&bias.shape, &data)?;
                let y = g.batch_norm_training(x[0], x[1], bias, mean, variance, 0.125, 0.9)?.y;
                let loss = weighted_sum(g, y, &w)?;
                Ok(gradient(g, loss, &x[..1])?[0])
            },
            |x| batch_norm_gradient(&x[0], &x[1], &w, 0.125),
        );
    }
}

/// The definition of a normalisation over groups of channels, by loops.
fn group_norm(x: &[Array], groups: usize, epsilon: f32) -> Array {
    let shape = &x[0].shape;
    let (n, c) = (shape[0], shape[1]);
    let size: usize = shape[2..].iter().product();
    let mut y = x[0].clone();
    for group in 0..n * groups {
        let each = c / groups * size;
        let part = &mut y.data[group * each..][..each];
        let mean = part.iter().sum::<f64>() / each as f64;
        let variance = part.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / each as f64;
        for (i, value) in part.iter_mut().enumerate() {
            let channel = group % groups * (c / groups) + i / size;
            let normal = (*value - mean) / (variance + f64::from(epsilon)).sqrt();
            *value = normal * x[1].data[channel] + x[2].data[channel];
        }
    }
    y
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn group_norm_and_instance_norm(
        n in 1..3usize,
        groups in 1..4usize,
        each in 1..4usize,
        rest in vec(1..4usize, 0..4),
    ) {
        let shape = [vec![n, groups * each], rest].concat();
        let [scale, bias] = affine(shape[1]);
        let inputs = [Array::random(&shape, 42), scale, bias];
        check_to(
            NEARLY_EQUAL,
            &inputs,
            |g, x| g.group_norm(x[0], groups, x[1], x[2], 0.1),
            |x| group_norm(x, groups, 0.1),
        );
        check_to(
            NEARLY_EQUAL,
            &inputs,
            |g, x| g.instance_norm(x[0], x[1], x[2], 0.1),
            |x| group_norm(x, shape[1], 0.1),
        );
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn layer_norm_with_and_without_bias(shape in vec(1..4usize, 1..4), axis in 0..3usize) {
        let axis = axis % shape.len();
        let [x, scale, bias] = [(&shape[..], 43), (&shape[axis..], 44), (&shape[axis..], 45)]
            .map(|(s, i)| Array::random(s, i));
        let zero = bias.map(|_| 0.0);
        check_to(
            NEARLY_EQUAL,
            &[x.clone(), scale.clone()],
            |g, x| g.layer_norm(x[0], x[1], None, axis as i64, 0.1),
            |x| x[0].layer_norm(&x[1], &zero, axis, f64::from(0.1f32)),
        );
        check_to(
            NEARLY_EQUAL,
            &[x, scale, bias],
            |g, x| g.layer_norm(x[0], x[1], Some(x[2]), axis as i64, 0.1),
            |x| x[0].layer_norm(&x[1], &x[2], axis, f64::from(0.1f32)),
        );
    }
}

#[test]
fn operands_that_do_not_fit() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 4, 3]);
    let vector = g.input("vector", ElementType::F32, &[2]);
    let four = g.input("four", ElementType::F32, &[4]);
    let three = g.input("three", ElementType::F32, &[3]);
    let whole = g.input("whole", ElementType::I64, &[4]);
    let huge = g.input("huge", ElementType::F32, &[2, 4, usize::MAX]);
    let shape = |result: Result<Value, Error>| matches!(result, Err(Error::Shape { .. }));
    let element = |result: Result<Value, Error>| matches!(result, Err(Error::ElementType { .. }));
    assert!(shape(g.batch_norm(x, four, four, four, three, 1e-5)));
    assert!(shape(g.batch_norm(vector, four, four, four, four, 1e-5)));
    assert!(element(g.batch_norm(x, four, whole, four, four, 1e-5)));
    for (mean, variance) in [(three, four), (four, three), (x, four)] {
        let next = g.batch_norm_training(x, four, four, mean, variance, 1e-5, 0.9);
        assert!(shape(next.map(|next| next.y)));
    }
    for groups in [0, 3, 8, usize::MAX] {
        assert!(shape(g.group_norm(x, groups, four, four, 1e-5)), "{groups} groups");
    }
    assert!(shape(g.group_norm(x, 2, four, three, 1e-5)));
    assert!(shape(g.group_norm(vector, 1, four, four, 1e-5)));
    assert!(shape(g.instance_norm(vector, vector, vector, 1e-5)));
    assert!(element(g.instance_norm(x, whole, four, 1e-5)));
    assert!(shape(g.layer_norm(x, four, None, -1, 1e-5)));
    assert!(shape(g.layer_norm(x, three, four, -1, 1e-5)));
    // a size that no memory holds is refused or carried, and nothing overflows
    let _ = g.instance_norm(huge, four, four, 1e-5);
    let y = g.batch_norm_training(huge, four, four, four, four, 1e-5, 0.9).unwrap().y;
    let loss = g.reduce_sum(y, &[0, 1, 2], false).unwrap();
    gradient(&mut g, loss, &[huge]).unwrap();
}
