//! Operators that move, join or sum elements, against naive references, and
//! their gradients against central differences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/problem.rs"]
mod problem;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use onnx_grad::PadMode;
use problem::check;
use reference::Array;

#[test]
fn gather() {
    let x = [Array::random(&[3, 4, 2], 8)];
    // a row twice, one never, and one counted from the back
    let rows = [2usize, 0, 2, 1, 0, 2];
    for (axis, indices) in [(0, [2, 0, -1, 1, 0, 2]), (1, [2, 0, 2, 1, -4, 2])] {
        check(
            &x,
            |g, x| {
                let indices = g.constant_i64(&[2, 3], &indices)?;
                g.gather(x[0], indices, axis)
            },
            |x| match axis {
                0 => {
                    Array::from_fn(&[2, 3, 4, 2], |i| x[0].at(&[rows[i[0] * 3 + i[1]], i[2], i[3]]))
                }
                _ => {
                    Array::from_fn(&[3, 2, 3, 2], |i| x[0].at(&[i[0], rows[i[1] * 3 + i[2]], i[3]]))
                }
            },
        );
    }
    check(
        &x,
        |g, x| {
            let index = g.constant_i64(&[], &[1])?;
            g.gather(x[0], index, -1)
        },
        |x| Array::from_fn(&[3, 4], |i| x[0].at(&[i[0], i[1], 1])),
    );
}

#[test]
fn matmul() {
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[2, 3], &[3, 4]),
        (&[1, 3], &[3, 1]),
        (&[5, 2, 3], &[3, 4]),
        (&[1, 1, 3], &[3, 2]),
        (&[2, 2, 2, 3], &[3, 4]),
        (&[2, 2, 3], &[2, 3, 4]),
        (&[2, 1, 2, 3], &[3, 3, 2]),
        (&[1, 2, 3], &[4, 3, 2]),
        (&[2, 3], &[2, 3, 4]),
    ];
    for (a, b) in shapes {
        let x = [Array::random(a, 9), Array::random(b, 10)];
        check(&x, |g, x| g.matmul(x[0], x[1]), |x| x[0].matmul(&x[1]));
    }
}

#[test]
fn matmul_of_transposed_operands() {
    // the transpositions become part of the products, forwards and backwards
    let swap = |x: &Array| {
        let mut perm: Vec<usize> = (0..x.shape.len()).collect();
        perm.swap(x.shape.len() - 2, x.shape.len() - 1);
        x.transpose(&perm)
    };
    let shapes: [(&[usize], &[usize]); 3] =
        [(&[3, 2], &[4, 3]), (&[2, 3, 2], &[2, 4, 3]), (&[2, 2, 2, 3], &[4, 3])];
    for (a, b) in shapes {
        let b = Array::random(b, 12);
        let perm: &[usize] = if b.shape.len() == 2 { &[1, 0] } else { &[0, 2, 1] };
        let both = a.len() < 4;
        check(
            &[Array::random(a, 11), b],
            |g, x| {
                let left = if both { g.transpose(x[0], perm)? } else { x[0] };
                let right = g.transpose(x[1], perm)?;
                g.matmul(left, right)
            },
            |x| match both {
                true => swap(&x[0]).matmul(&swap(&x[1])),
                false => x[0].matmul(&swap(&x[1])),
            },
        );
    }
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        let a: [usize; 2] = if ta { [3, 2] } else { [2, 3] };
        let b: [usize; 2] = if tb { [4, 3] } else { [3, 4] };
        let flip = |x: &Array, t: bool| if t { swap(x) } else { x.clone() };
        check(
            &[Array::random(&a, 13), Array::random(&b, 14)],
            |g, x| g.gemm(x[0], ta, x[1], tb),
            |x| flip(&x[0], ta).matmul(&flip(&x[1], tb)),
        );
    }
}

#[test]
fn transpose_after_a_product() {
    let x = [Array::random(&[2, 2, 3], 15), Array::random(&[2, 3, 4], 16)];
    check(
        &x,
        |g, x| {
            let y = g.matmul(x[0], x[1])?;
            let y = g.transpose(y, &[0, 2, 1])?;
            g.tanh(y)
        },
        |x| x[0].matmul(&x[1]).transpose(&[0, 2, 1]).map(f64::tanh),
    );
}

#[test]
fn reduction() {
    for keep in [true, false] {
        for (shape, axes) in [
            (&[2, 3, 4][..], &[0usize, 2][..]),
            (&[2, 3, 4], &[1]),
            (&[1, 3], &[0]),
            (&[3, 1], &[1]),
            (&[2, 3], &[0, 1]),
            (&[2, 3], &[]),
        ] {
            let x = [Array::random(shape, 17)];
            let signed: Vec<i64> = axes.iter().map(|&a| a as i64 - shape.len() as i64).collect();
            let squeezed = |y: Array| {
                let kept = (0..shape.len()).filter(|a| keep || !axes.contains(a));
                y.reshape(&kept.map(|a| y.shape[a]).collect::<Vec<_>>())
            };
            let max = |line: &[f64]| line.iter().copied().fold(f64::MIN, f64::max);
            let l2 = |line: &[f64]| line.iter().map(|x| x * x).sum::<f64>().sqrt();
            check(&x, |g, x| g.reduce_sum(x[0], &signed, keep), |x| squeezed(x[0].sum(axes)));
            check(&x, |g, x| g.reduce_mean(x[0], &signed, keep), |x| squeezed(x[0].mean(axes)));
            check(
                &x,
                |g, x| g.reduce_max(x[0], &signed, keep),
                |x| squeezed(x[0].reduce(axes, max)),
            );
            check(&x, |g, x| g.reduce_l2(x[0], &signed, keep), |x| squeezed(x[0].reduce(axes, l2)));
        }
    }
}

#[test]
fn arrangement() {
    let x = [Array::random(&[2, 3, 4], 18)];
    check(&x, |g, x| g.reshape(x[0], &[4, 6]), |x| x[0].reshape(&[4, 6]));
    check(&x, |g, x| g.unsqueeze(x[0], &[0, -1]), |x| x[0].reshape(&[1, 2, 3, 4, 1]));
    for perm in [[0, 2, 1], [1, 2, 0], [2, 0, 1], [2, 1, 0], [0, 1, 2]] {
        check(&x, |g, x| g.transpose(x[0], &perm), |x| x[0].transpose(&perm));
    }
    let one = [Array::random(&[1, 3, 1], 19)];
    check(&one, |g, x| g.squeeze(x[0], &[0, -1]), |x| x[0].reshape(&[3]));
    check(
        &one,
        |g, x| g.expand(x[0], &[2, 4, 3, 2]),
        |x| Array::from_fn(&[2, 4, 3, 2], |i| x[0].broadcast_at(i)),
    );
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
    for (shape, axis) in [(&[2, 3, 4][..], 1), (&[2, 5], 1), (&[3, 2], 0), (&[2, 1], 1)] {
        let x = [Array::random(shape, 24)];
        check(&x, |g, x| g.softmax(x[0], axis as i64), |x| x[0].softmax(axis));
        check(&x, |g, x| g.log_softmax(x[0], axis as i64), |x| x[0].softmax(axis).map(f64::ln));
    }
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
