//! Operators that move, join or sum elements, against naive references, and
//! their gradients against central differences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/draw.rs"]
mod draw;
#[path = "support/problem.rs"]
mod problem;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use draw::{cases, narrowed, shape, shape_and_axes, shape_and_axis, size};
use onnx_grad::{Error, Graph, PadMode, Value};
use problem::check;
use proptest::prelude::*;
use reference::Array;

/// A reduction and what it makes of the elements that it takes together.
type Reduction = (fn(&mut Graph, Value, &[i64], bool) -> Result<Value, Error>, fn(&[f64]) -> f64);

/// Two matrices with leading axes that broadcast.
fn product() -> impl Strategy<Value = [Vec<usize>; 2]> {
    ((size(), size(), size()), shape(0..=2)).prop_flat_map(|((m, k, n), batch)| {
        let leading = (narrowed(batch.clone()), narrowed(batch));
        leading.prop_map(move |(a, b)| [[a, vec![m, k]].concat(), [b, vec![k, n]].concat()])
    })
}

fn swap(x: &Array) -> Array {
    let mut perm: Vec<usize> = (0..x.shape.len()).collect();
    perm.swap(x.shape.len() - 2, x.shape.len() - 1);
    x.transpose(&perm)
}

#[test]
fn matmul() {
    // each operand as it is, or as the transposition of another value, and the
    // product transposed: the transpositions become part of the products
    proptest!(cases(64), |(shapes in product(), turned: [bool; 3], seed: u64)| {
        let mut x = [Array::random(&shapes[0], seed), Array::random(&shapes[1], seed ^ 1)];
        for (x, &turned) in x.iter_mut().zip(&turned) {
            if turned {
                *x = swap(x);
            }
        }
        let turn = |g: &mut Graph, x: Value| {
            let mut perm: Vec<usize> = (0..g.shape(x).len()).collect();
            let rank = perm.len();
            perm.swap(rank - 2, rank - 1);
            g.transpose(x, &perm)
        };
        check(
            &x,
            |g, x| {
                let a = if turned[0] { turn(g, x[0])? } else { x[0] };
                let b = if turned[1] { turn(g, x[1])? } else { x[1] };
                let y = g.matmul(a, b)?;
                if turned[2] { turn(g, y) } else { Ok(y) }
            },
            |x| {
                let flip = |x: &Array, turned: bool| if turned { swap(x) } else { x.clone() };
                flip(&flip(&x[0], turned[0]).matmul(&flip(&x[1], turned[1])), turned[2])
            },
        );
    });
}

#[test]
fn gemm() {
    let sizes = (size(), size(), size());
    proptest!(cases(16), |((m, k, n) in sizes, turned: [bool; 2], seed: u64)| {
        let flip = |x: Array, turned: bool| if turned { swap(&x) } else { x };
        let x = [
            flip(Array::random(&[m, k], seed), turned[0]),
            flip(Array::random(&[k, n], seed ^ 1), turned[1]),
        ];
        check(
            &x,
            |g, x| g.gemm(x[0], turned[0], x[1], turned[1]),
            |x| flip(x[0].clone(), turned[0]).matmul(&flip(x[1].clone(), turned[1])),
        );
    });
}

#[test]
fn reduction() {
    let kinds: [Reduction; 7] = [
        (Graph::reduce_sum, |line| line.iter().sum()),
        (Graph::reduce_mean, |line| line.iter().sum::<f64>() / line.len() as f64),
        (Graph::reduce_max, |line| line.iter().copied().fold(f64::MIN, f64::max)),
        (Graph::reduce_min, |line| line.iter().copied().fold(f64::MAX, f64::min)),
        (Graph::reduce_l1, |line| line.iter().map(|x| x.abs()).sum()),
        (Graph::reduce_l2, |line| line.iter().map(|x| x * x).sum::<f64>().sqrt()),
        (Graph::reduce_sum_square, |line| line.iter().map(|x| x * x).sum()),
    ];
    proptest!(cases(16), |((shape, axes) in shape_and_axes(0..=3), keep: bool, seed: u64)| {
        let x = [Array::random(&shape, seed)];
        let signed: Vec<i64> = axes.iter().map(|&a| a as i64 - shape.len() as i64).collect();
        for (build, reference) in kinds {
            let naive = |x: &[Array]| {
                let y = x[0].reduce(&axes, reference);
                let kept = (0..shape.len()).filter(|a| keep || !axes.contains(a));
                y.reshape(&kept.map(|a| y.shape[a]).collect::<Vec<_>>())
            };
            check(&x, |g, x| build(g, x[0], &signed, keep), naive);
        }
    });
}

#[test]
fn flattening() {
    proptest!(cases(8), |(shape in shape(0..=4), axis in 0..=4usize, back: bool, seed: u64)| {
        let axis = axis.min(shape.len());
        let flat = [shape[..axis].iter().product(), shape[axis..].iter().product()];
        let signed = axis as i64 - if back && axis < shape.len() { shape.len() as i64 } else { 0 };
        let x = [Array::random(&shape, seed)];
        check(&x, |g, x| g.flatten(x[0], signed), |x| x[0].reshape(&flat));
    });
}

#[test]
fn arrangement() {
    let x = [Array::random(&[2, 3, 4], 18)];
    check(&x, |g, x| g.reshape(x[0], &[4, 6]), |x| x[0].reshape(&[4, 6]));
    check(&x, |g, x| g.unsqueeze(x[0], &[0, -1]), |x| x[0].reshape(&[1, 2, 3, 4, 1]));
    let one = [Array::random(&[1, 3, 1], 19)];
    check(&one, |g, x| g.squeeze(x[0], &[0, -1]), |x| x[0].reshape(&[3]));
}

#[test]
fn transpose() {
    let drawn = shape(0..=4).prop_flat_map(|shape| {
        let perm: Vec<usize> = (0..shape.len()).collect();
        (Just(shape), Just(perm).prop_shuffle())
    });
    proptest!(cases(24), |((shape, perm) in drawn, seed: u64)| {
        let x = [Array::random(&shape, seed)];
        check(&x, |g, x| g.transpose(x[0], &perm), |x| x[0].transpose(&perm));
    });
}

#[test]
fn expand() {
    let drawn = shape(0..=3).prop_flat_map(|full| (narrowed(full.clone()), Just(full)));
    proptest!(cases(16), |((narrow, full) in drawn, seed: u64)| {
        let x = [Array::random(&narrow, seed)];
        check(
            &x,
            |g, x| g.expand(x[0], &full),
            |x| Array::from_fn(&full, |i| x[0].broadcast_at(i)),
        );
    });
}

#[test]
fn partition() {
    let x = [Array::random(&[2, 3], 20), Array::random(&[2, 1], 21), Array::random(&[2, 2], 22)];
    let joined = |x: &[Array]| {
        Array::from_fn(&[2, 6], |i| match i[1] {
            0..3 => x[0].at(&[i[0], i[1]]),
            3 => x[1].at(&[i[0], 0]),
            _ => x[2].at(&[i[0], i[1] - 4]),
        })
    };
    check(&x, |g, x| g.concat(x, -1), joined);
    let x = [Array::random(&[3, 5], 23)];
    // the middle part is not used: its cotangent is zero
    check(
        &x,
        |g, x| {
            let parts = g.split(x[0], 1, &[2, 1, 2])?;
            g.mul(parts[0], parts[2])
        },
        |x| Array::from_fn(&[3, 2], |i| x[0].at(i) * x[0].at(&[i[0], i[1] + 3])),
    );
    check(
        &x,
        |g, x| g.slice(x[0], 1, 1..4),
        |x| Array::from_fn(&[3, 3], |i| x[0].at(&[i[0], i[1] + 1])),
    );
    check(&x, |g, x| g.slice(x[0], 0, 2..3), |x| Array::from_fn(&[1, 5], |i| x[0].at(&[2, i[1]])));
}

#[test]
fn softmax() {
    proptest!(cases(16), |((shape, axis) in shape_and_axis(1..=3), seed: u64)| {
        let x = [Array::random(&shape, seed)];
        check(&x, |g, x| g.softmax(x[0], axis as i64), |x| x[0].softmax(axis));
        check(&x, |g, x| g.log_softmax(x[0], axis as i64), |x| x[0].softmax(axis).map(f64::ln));
    });
}

#[test]
fn layer_norm() {
    for (shape, axis) in [(&[2, 3, 5][..], 2), (&[2, 3, 2], 1), (&[1, 4], 1), (&[3, 4], 0)] {
        let x = [
            Array::random(shape, 25),
            Array::random(&shape[axis..], 26),
            Array::random(&shape[axis..], 27),
        ];
        let epsilon = 1e-3;
        check(
            &x,
            |g, x| g.layer_norm(x[0], x[1], x[2], axis as i64, epsilon),
            |x| x[0].layer_norm(&x[1], &x[2], axis, f64::from(epsilon)),
        );
    }
}

#[test]
fn pad_between_transposes() {
    // ONNX Runtime moves both past the Pad, and must not lose the margins' axis
    let x = [Array::random(&[2, 3, 4], 28)];
    check(
        &x,
        |g, x| {
            let x = g.transpose(x[0], &[1, 0, 2])?;
            let x = g.pad(x, &[0, 0, 1], &[0, 0, 2], PadMode::Constant(0.0))?;
            g.transpose(x, &[1, 0, 2])
        },
        |x| {
            Array::from_fn(&[2, 3, 7], |at| match at[2] {
                1..5 => x[0].at(&[at[0], at[1], at[2] - 1]),
                _ => 0.0,
            })
        },
    );
}
