//! Operators that take a part of a tensor, against naive references, and their
//! gradients against central differences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/draw.rs"]
mod draw;
#[path = "support/problem.rs"]
mod problem;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use draw::{cases, shape};
use onnx_grad::{ElementType, Error, Graph, Value, gradient, model};
use problem::check;
use proptest::prelude::*;
use reference::Array;

/// A size, and a start, a number and a step of places within it.
fn cut() -> impl Strategy<Value = (usize, usize, usize, i64)> {
    (1..=6usize, 1..=4i64, any::<bool>()).prop_flat_map(|(size, step, back)| {
        let step = if back { -step } else { step };
        (0..size).prop_flat_map(move |start| {
            let room = if back { start } else { size - 1 - start };
            let most = room / step.unsigned_abs() as usize + 1;
            (Just(size), Just(start), 1..=most, Just(step))
        })
    })
}

#[test]
fn strided_slice() {
    proptest!(cases(48), |(cuts in prop::collection::vec(cut(), 0..=3), seed: u64)| {
        let shape: Vec<usize> = cuts.iter().map(|cut| cut.0).collect();
        let starts: Vec<usize> = cuts.iter().map(|cut| cut.1).collect();
        let sizes: Vec<usize> = cuts.iter().map(|cut| cut.2).collect();
        let steps: Vec<i64> = cuts.iter().map(|cut| cut.3).collect();
        check(
            &[Array::random(&shape, seed)],
            |g, x| g.strided_slice(x[0], &starts, &sizes, &steps),
            |x| {
                Array::from_fn(&sizes, |at| {
                    let place = |(axis, &i): (usize, &usize)| {
                        (starts[axis] as i64 + i as i64 * steps[axis]) as usize
                    };
                    x[0].at(&at.iter().enumerate().map(place).collect::<Vec<_>>())
                })
            },
        );
    });
}

#[test]
fn slices_that_leave_their_axis_are_refused() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[5, 2]);
    for (start, size, step) in [
        (5, 1, 1),
        (0, 0, 1),
        (0, 6, 1),
        (1, 3, 2),
        (1, 3, -1),
        (0, 1, 0),
        (0, 2, i64::MAX),
        (0, 2, i64::MIN),
        (0, usize::MAX, i64::MAX),
        (usize::MAX, 2, 1),
    ] {
        let error = g.strided_slice(x, &[start, 0], &[size, 2], &[step, 1]).unwrap_err();
        assert!(matches!(error, Error::Shape { operator: "Slice", .. }), "{error}");
    }
    for (starts, sizes, steps) in [
        (&[0][..], &[1, 2][..], &[1, 1][..]),
        (&[0, 0], &[1, 2, 3], &[1, 1]),
        (&[0, 0], &[1, 2], &[]),
    ] {
        let error = g.strided_slice(x, starts, sizes, steps).unwrap_err();
        assert!(matches!(error, Error::Shape { operator: "Slice", .. }), "{error}");
    }
    // one place fits whatever the step
    for step in [i64::MIN, i64::MAX] {
        let y = g.strided_slice(x, &[4, 0], &[1, 2], &[step, 1]).unwrap();
        assert_eq!(g.shape(y), [1, 2]);
    }
}

#[test]
fn a_step_that_leaves_one_place() {
    let x = [Array::random(&[5, 2], 1)];
    for step in [i64::MIN + 1, -7, 7, i64::MAX] {
        check(
            &x,
            |g, x| g.strided_slice(x[0], &[3, 0], &[1, 2], &[step, 1]),
            |x| Array::from_fn(&[1, 2], |i| x[0].at(&[3, i[1]])),
        );
    }
}

#[test]
fn trilu() {
    proptest!(cases(24), |(shape in shape(2..=3), upper: bool, k in -5..=5i64, seed: u64)| {
        check(
            &[Array::random(&shape, seed)],
            |g, x| g.trilu(x[0], upper, k),
            |x| {
                Array::from_fn(&shape, |i| {
                    let (row, column) = (i[i.len() - 2] as i64, i[i.len() - 1] as i64);
                    let kept = if upper { column - row >= k } else { column - row <= k };
                    if kept { x[0].at(i) } else { 0.0 }
                })
            },
        );
    });
    let mut g = Graph::new();
    let line = g.input("line", ElementType::F32, &[3]);
    assert!(matches!(g.trilu(line, true, 0), Err(Error::Shape { operator: "Trilu", .. })));
}

/// Data, an axis, and indices of any shape into it, negative ones included.
fn indexed() -> impl Strategy<Value = (Vec<usize>, usize, Vec<usize>, Vec<i64>)> {
    (draw::shape_and_axis(1..=3), shape(0..=2)).prop_flat_map(|((data, axis), indices)| {
        let (size, count) = (data[axis] as i64, indices.iter().product::<usize>());
        let places = prop::collection::vec(-size..size, count);
        (Just(data), Just(axis), Just(indices), places)
    })
}

#[test]
fn gather() {
    proptest!(cases(24), |((shape, axis, indices, places) in indexed(), seed: u64)| {
        check(
            &[Array::random(&shape, seed)],
            |g, x| {
                let indices = g.constant_i64(&indices, &places)?;
                g.gather(x[0], indices, axis as i64)
            },
            |x| {
                let rank = indices.len();
                let result = [&shape[..axis], &indices, &shape[axis + 1..]].concat();
                let table = Array::new(&indices, &places.iter().map(|&i| i as f64).collect::<Vec<_>>());
                Array::from_fn(&result, |at| {
                    let place = table.at(&at[axis..axis + rank]) as i64;
                    let place = place.rem_euclid(shape[axis] as i64) as usize;
                    x[0].at(&[&at[..axis], &[place], &at[axis + rank..]].concat())
                })
            },
        );
    });
}

#[test]
fn gather_elements() {
    let drawn = draw::shape_and_axis(1..=3).prop_flat_map(|(data, axis)| {
        let indices: Vec<_> =
            (0..data.len()).map(|a| if a == axis { 1..=5usize } else { 1..=data[a] }).collect();
        let size = data[axis] as i64;
        indices.prop_flat_map(move |indices| {
            let places = prop::collection::vec(-size..size, indices.iter().product::<usize>());
            (Just(data.clone()), Just(axis), Just(indices), places)
        })
    });
    proptest!(cases(32), |((shape, axis, indices, places) in drawn, seed: u64)| {
        check(
            &[Array::random(&shape, seed)],
            |g, x| {
                let indices = g.constant_i64(&indices, &places)?;
                g.gather_elements(x[0], indices, axis as i64)
            },
            |x| {
                let table = Array::new(&indices, &places.iter().map(|&i| i as f64).collect::<Vec<_>>());
                Array::from_fn(&indices, |at| {
                    let mut own = at.to_vec();
                    own[axis] = (table.at(at) as i64).rem_euclid(shape[axis] as i64) as usize;
                    x[0].at(&own)
                })
            },
        );
    });
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3]);
    for (shape, size) in [(&[3, 1][..], 3), (&[2], 2)] {
        let indices = g.constant_i64(shape, &vec![0; size]).unwrap();
        let error = g.gather_elements(x, indices, 1).unwrap_err();
        assert!(matches!(error, Error::Shape { operator: "GatherElements", .. }), "{error}");
    }
    assert!(matches!(g.gather_elements(x, x, 1), Err(Error::ElementType { .. })));
}

/// What a graph of whole numbers or truth values gives, as `f32`.
fn value_of(build: impl Fn(&mut Graph) -> Result<Value, Error>) -> Array {
    let mut g = Graph::new();
    let y = build(&mut g).unwrap();
    let y = g.cast(y, ElementType::F32).unwrap();
    g.output("y", y);
    let bytes = model::write(&g, &Default::default()).unwrap();
    runtime::Model::load(&bytes).run(&[])["y"].clone()
}

#[test]
fn parts_of_whole_numbers_and_truth_values() {
    for element in [ElementType::I64, ElementType::Bool] {
        let data = |g: &mut Graph| {
            let x = g.constant_i64(&[2, 3], &[0, 1, 1, 1, 0, 0])?;
            g.cast(x, element)
        };
        let gathered = value_of(|g| {
            let x = data(g)?;
            let last = g.constant_i64(&[], &[-1])?;
            g.gather(x, last, 1)
        });
        assert_eq!(gathered, Array::new(&[2], &[1.0, 0.0]));
        let turned = value_of(|g| {
            let x = data(g)?;
            g.strided_slice(x, &[1, 2], &[2, 2], &[-1, -2])
        });
        assert_eq!(turned, Array::new(&[2, 2], &[0.0, 1.0, 1.0, 0.0]));
    }
    for (k, kept) in
        [(0, [1.0, 0.0, 3.0, 4.0]), (i64::MAX, [1.0, 2.0, 3.0, 4.0]), (i64::MIN, [0.0; 4])]
    {
        let triangle = value_of(|g| {
            let x = g.constant_i64(&[2, 2], &[1, 2, 3, 4])?;
            g.trilu(x, false, k)
        });
        assert_eq!(triangle, Array::new(&[2, 2], &kept));
    }
    let triangle = value_of(|g| {
        let x = g.constant_i64(&[2, 2], &[1, 1, 1, 1])?;
        let x = g.cast(x, ElementType::Bool)?;
        g.trilu(x, true, 0)
    });
    assert_eq!(triangle, Array::new(&[2, 2], &[1.0, 1.0, 0.0, 1.0]));
}

#[test]
fn the_gradient_of_a_slice_has_a_gradient() {
    // the loss is the sum of the squares of the gradient of Σ sliced³
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[7]);
    let part = g.strided_slice(x, &[5], &[3], &[-2]).unwrap();
    let cube = g.mul(part, part).unwrap();
    let cube = g.mul(cube, part).unwrap();
    let loss = g.reduce_sum(cube, &[0], false).unwrap();
    let first = gradient(&mut g, loss, &[x]).unwrap()[0];
    let square = g.reduce_sum_square(first, &[0], false).unwrap();
    let second = gradient(&mut g, square, &[x]).unwrap()[0];
    g.output("second", second);
    let bytes = model::write(&g, &Default::default()).unwrap();
    let x = Array::random(&[7], 1);
    let received = runtime::Model::load(&bytes).run(&[("x", &x)])["second"].clone();
    let expected =
        Array::from_fn(&[7], |i| if i[0] % 2 == 1 { 36.0 * x.at(i).powi(3) } else { 0.0 });
    reference::assert_close("second", &received, &expected, 5e-6);
}
