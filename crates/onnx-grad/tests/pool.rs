//! Pools and padding against naive references, and their gradients against
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
use onnx_grad::{ElementType, Error, Graph, PadMode, Sliding, Value, gradient, model};
use problem::{check, weighted_sum};
use proptest::collection::vec;
use proptest::prelude::*;
use reference::Array;
use runtime::Model;

/// A pool along one axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    image: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

impl Axis {
    /// Where the windows begin, relative to the image, as ONNX counts them.
    fn starts(&self, ceil: bool) -> Vec<i64> {
        let Self { image, kernel, stride, dilation, before, after } = *self;
        let room = image + before + after - (dilation * (kernel - 1) + 1);
        let mut count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
        if ceil && (count - 1) * stride >= image + before {
            count -= 1;
        }
        (0..count).map(|place| (place * stride) as i64 - before as i64).collect()
    }
}

/// One to three axes that a window fits.
fn axes() -> impl Strategy<Value = Vec<Axis>> {
    let axis = (1..7usize, 1..4usize, 1..4usize, 1..3usize, 0..3usize, 0..3usize)
        .prop_map(|(image, kernel, stride, dilation, before, after)| {
            let (before, after) = (before.min(kernel - 1), after.min(kernel - 1));
            Axis { image, kernel, stride, dilation, before, after }
        })
        .prop_filter("a window must fit", |a| {
            a.image + a.before + a.after > a.dilation * (a.kernel - 1)
                && (a.before == 0 || a.dilation <= a.image)
        });
    vec(axis, 1..4).prop_filter("a small image", |axes| {
        axes.iter().map(|a| a.image * a.kernel).product::<usize>() < 400
    })
}

fn sliding(axes: &[Axis]) -> (Vec<usize>, Sliding) {
    let list = |f: fn(&Axis) -> usize| axes.iter().map(f).collect::<Vec<_>>();
    let sliding = Sliding {
        strides: list(|a| a.stride),
        dilations: list(|a| a.dilation),
        pads_before: list(|a| a.before),
        pads_after: list(|a| a.after),
    };
    (list(|a| a.kernel), sliding)
}

fn image(outer: [usize; 2], axes: &[Axis]) -> Vec<usize> {
    outer.into_iter().chain(axes.iter().map(|a| a.image)).collect()
}

/// All index tuples below `shape`, row-major.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &size in shape {
        all = (all.iter())
            .flat_map(|head| (0..size).map(move |i| [&head[..], &[i]].concat()))
            .collect();
    }
    all
}

/// For every window, `f` of the places in it: within the image where `Some`, in
/// the padding where `None`; what lies beyond the padding is not there.
fn windows(
    x: &[usize],
    axes: &[Axis],
    ceil: bool,
    mut f: impl FnMut(&[Option<Vec<usize>>]) -> f64,
) -> Array {
    let starts: Vec<Vec<i64>> = axes.iter().map(|a| a.starts(ceil)).collect();
    let mut shape = x[..2].to_vec();
    shape.extend(starts.iter().map(Vec::len));
    let kernel: Vec<usize> = axes.iter().map(|a| a.kernel).collect();
    let mut data = Vec::new();
    for window in indices(&shape) {
        let mut places = Vec::new();
        for offset in indices(&kernel) {
            let place: Vec<i64> = (0..axes.len())
                .map(|i| starts[i][window[i + 2]] + (offset[i] * axes[i].dilation) as i64)
                .collect();
            if place.iter().zip(axes).any(|(&p, a)| p >= (a.image + a.after) as i64) {
                continue;
            }
            let inside = place.iter().zip(axes).all(|(&p, a)| (0..a.image as i64).contains(&p));
            let spatial = place.iter().map(|&p| p as usize);
            places.push(inside.then(|| window[..2].iter().copied().chain(spatial).collect()));
        }
        data.push(f(&places));
    }
    Array::new(&shape, &data)
}

/// The first of the greatest elements of a window.
fn first_maximum(x: &Array, places: &[Option<Vec<usize>>]) -> Vec<usize> {
    let inside = places.iter().flatten().cloned();
    inside.reduce(|best, next| if x.at(&next) > x.at(&best) { next } else { best }).unwrap()
}

fn max_pool(x: &Array, axes: &[Axis], ceil: bool) -> Array {
    windows(&x.shape, axes, ceil, |places| x.at(&first_maximum(x, places)))
}

fn average_pool(x: &Array, axes: &[Axis], ceil: bool, count_include_pad: bool) -> Array {
    windows(&x.shape, axes, ceil, |places| {
        let inside: Vec<f64> = places.iter().flatten().map(|place| x.at(place)).collect();
        let counted = if count_include_pad { places.len() } else { inside.len() };
        inside.iter().sum::<f64>() / counted as f64
    })
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn max_pool_of_windows(axes in axes(), n in 1..3usize, c in 1..3usize, ceil: bool) {
        let (kernel, sliding) = sliding(&axes);
        check(
            &[Array::random(&image([n, c], &axes), 50)],
            |g, x| g.max_pool(x[0], &kernel, &sliding, ceil),
            |x| max_pool(&x[0], &axes, ceil),
        );
    }
}

/// The gradient of Σ w·pool(x) in ONNX Runtime.
fn gradient_of(
    x: &Array,
    w: &Array,
    pool: impl Fn(&mut Graph, Value) -> Result<Value, Error>,
) -> Array {
    let mut g = Graph::new();
    let input = g.input("x", ElementType::F32, &x.shape);
    let y = pool(&mut g, input).unwrap();
    let loss = weighted_sum(&mut g, y, w).unwrap();
    let dx = gradient(&mut g, loss, &[input]).unwrap()[0];
    g.output("dx", dx);
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    Model::load(&bytes).run(&[("x", x)]).remove("dx").unwrap()
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn the_first_of_equal_maxima_receives_the_cotangent(
        axes in axes(),
        ceil: bool,
        seed in 0..1u64 << 40,
    ) {
        // half of the elements are tied at zero, as behind a Relu
        let x = Array::random(&image([2, 2], &axes), seed).map(|x| x.round().max(0.0));
        let w = Array::random(&max_pool(&x, &axes, ceil).shape, seed + 1);
        let mut dx = x.map(|_| 0.0);
        let mut weights = w.data.iter();
        windows(&x.shape, &axes, ceil, |places| {
            let place = first_maximum(&x, places);
            let flat = place.iter().zip(&x.shape).fold(0, |flat, (i, n)| flat * n + i);
            dx.data[flat] += weights.next().unwrap();
            0.0
        });
        let (kernel, sliding) = sliding(&axes);
        let received = gradient_of(&x, &w, |g, x| g.max_pool(x, &kernel, &sliding, ceil));
        reference::assert_close("dx", &received, &dx, 1e-6);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn average_pool_of_windows(
        axes in axes(),
        n in 1..3usize,
        c in 1..3usize,
        ceil: bool,
        include: bool,
    ) {
        let (kernel, sliding) = sliding(&axes);
        let x = Array::random(&image([n, c], &axes), 51);
        check(
            &[x],
            |g, x| g.average_pool(x[0], &kernel, &sliding, ceil, include),
            |x| average_pool(&x[0], &axes, ceil, include),
        );
    }
}

#[test]
fn pools_differentiated_twice() {
    // overlapping, gapped and left-over windows, along one axis each
    let axes = [
        Axis { image: 6, kernel: 3, stride: 2, dilation: 1, before: 1, after: 0 },
        Axis { image: 5, kernel: 2, stride: 3, dilation: 1, before: 0, after: 1 },
    ];
    let (kernel, sliding) = sliding(&axes);
    let x = [Array::random(&image([1, 2], &axes), 52)];
    type Forward<'a> = &'a dyn Fn(&mut Graph, Value) -> Result<Value, Error>;
    let twice = |pool: Forward, naive: &dyn Fn(&Array) -> Array| {
        check(
            &x,
            |g, x| {
                let y = pool(g, x[0])?;
                let square = g.mul(y, y)?;
                let loss =
                    weighted_sum(g, square, &naive(&Array::random(&image([1, 2], &axes), 53)))?;
                Ok(gradient(g, loss, x)?[0])
            },
            |x| {
                // both are linear near x, so their slopes are their differences
                let w = naive(&Array::random(&image([1, 2], &axes), 53));
                let y = naive(&x[0]);
                let weights = y.zip(&w, |y, w| 2.0 * y * w);
                let mut dx = x[0].clone();
                for i in 0..dx.data.len() {
                    let mut moved = x[0].clone();
                    moved.data[i] += 1e-3;
                    let slope = naive(&moved).zip(&y, |a, b| (a - b) / 1e-3);
                    dx.data[i] = slope.zip(&weights, |s, w| s * w).total();
                }
                dx
            },
        );
    };
    twice(&|g, x| g.max_pool(x, &kernel, &sliding, false), &|x| max_pool(x, &axes, false));
    twice(&|g, x| g.average_pool(x, &kernel, &sliding, true, false), &|x| {
        average_pool(x, &axes, true, false)
    });
}

#[test]
fn global_pools() {
    for shape in [&[2, 3, 4][..], &[1, 2, 3, 5], &[2, 1, 2, 3, 2], &[2, 3, 1, 1]] {
        let spatial: Vec<usize> = (2..shape.len()).collect();
        let x = [Array::random(shape, 54)];
        check(&x, |g, x| g.global_average_pool(x[0]), |x| x[0].mean(&spatial));
        check(
            &x,
            |g, x| g.global_max_pool(x[0]),
            |x| x[0].reduce(&spatial, |line| line.iter().copied().fold(f64::MIN, f64::max)),
        );
    }
}

/// `x` padded along every axis; a negative number takes elements off first.
fn pad(x: &Array, margins: &[(i64, i64)], mode: PadMode) -> Array {
    let crop = |n: i64| n.min(0).unsigned_abs() as usize;
    let sizes = x.shape.iter().zip(margins);
    let kept: Vec<usize> = sizes.map(|(&n, &(a, b))| n - crop(a) - crop(b)).collect();
    let shape: Vec<usize> = (kept.iter().zip(margins))
        .map(|(&n, &(a, b))| n + a.max(0) as usize + b.max(0) as usize)
        .collect();
    Array::from_fn(&shape, |index| {
        let mut place = Vec::new();
        for (axis, &i) in index.iter().enumerate() {
            let (n, i) = (kept[axis] as i64, i as i64 - margins[axis].0.max(0));
            let i = match mode {
                PadMode::Constant(value) if !(0..n).contains(&i) => return f64::from(value),
                PadMode::Constant(_) => i,
                PadMode::Edge => i.clamp(0, n - 1),
                PadMode::Reflect if i < 0 => -i,
                PadMode::Reflect if i >= n => 2 * (n - 1) - i,
                PadMode::Reflect => i,
            };
            place.push(i as usize + crop(margins[axis].0));
        }
        x.at(&place)
    })
}

fn modes() -> impl Strategy<Value = PadMode> {
    prop_oneof![Just(PadMode::Constant(0.75)), Just(PadMode::Reflect), Just(PadMode::Edge)]
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn pad_and_crop(axes in vec((1..5usize, -2..4i64, -2..4i64), 1..5), mode in modes()) {
        let shape: Vec<usize> = axes.iter().map(|a| a.0).collect();
        let before: Vec<i64> = axes.iter().map(|a| a.1).collect();
        let after: Vec<i64> = axes.iter().map(|a| a.2).collect();
        let margins: Vec<(i64, i64)> = axes.iter().map(|a| (a.1, a.2)).collect();
        let possible = axes.iter().all(|&(n, a, b)| {
            let kept = n as i64 + a.min(0) + b.min(0);
            kept > 0 && (mode != PadMode::Reflect || a.max(b) < kept)
        });
        let x = [Array::random(&shape, 55)];
        if possible {
            check(&x, |g, x| g.pad(x[0], &before, &after, mode), |x| pad(&x[0], &margins, mode));
        } else {
            let mut g = Graph::new();
            let x = g.input("x", ElementType::F32, &shape);
            let y = g.pad(x, &before, &after, mode);
            assert!(matches!(y, Err(Error::Shape { .. })), "{y:?}");
        }
    }
}

#[test]
fn numbers_out_of_all_proportion() {
    const MOST: usize = usize::MAX;
    let refused = |shape: &[usize], kernel: &[usize], sliding: &Sliding| {
        for ceil in [false, true] {
            let mut g = Graph::new();
            let x = g.input("x", ElementType::F32, shape);
            let max = g.max_pool(x, kernel, sliding, ceil);
            let mean = g.average_pool(x, kernel, sliding, ceil, false);
            for y in [max, mean] {
                assert!(matches!(y, Err(Error::Shape { .. })), "{shape:?} {kernel:?} {sliding:?}");
            }
        }
    };
    let unit = Sliding::unit(1);
    let with = |strides, dilations, before, after| Sliding {
        strides: vec![strides],
        dilations: vec![dilations],
        pads_before: vec![before],
        pads_after: vec![after],
    };
    refused(&[1, 1, 4], &[5], &unit);
    refused(&[1, 1, 4], &[0], &unit);
    refused(&[1, 1, 4], &[MOST], &unit);
    refused(&[1, 1, 4], &[2, 2], &Sliding::unit(2));
    refused(&[1, 1, 4], &[2, 2], &unit);
    refused(&[1, 1], &[], &Sliding::unit(0));
    refused(&[1, 1, 2, 2, 2, 2], &[1; 4], &Sliding::unit(4));
    refused(&[1, 1, 4], &[2], &with(0, 1, 0, 0));
    refused(&[1, 1, 4], &[2], &with(1, 0, 0, 0));
    refused(&[1, 1, 4], &[2], &with(1, MOST, 0, 0));
    // windows in the padding alone
    refused(&[1, 1, 4], &[2], &with(1, 1, 2, 0));
    refused(&[1, 1, 4], &[2], &with(1, 1, 0, 2));
    refused(&[1, 1, 2], &[2], &with(1, 3, 1, 1));
    refused(&[1, 1, MOST], &[MOST], &with(1, 1, MOST - 1, MOST - 1));

    let mut g = Graph::new();
    let huge = g.input("huge", ElementType::F32, &[1, 1, 1 << 60]);
    let zero = vec![0; 3];
    assert!(g.pad(huge, &zero, &[0, 0, i64::MAX], PadMode::Edge).is_ok());
    for (before, after) in [([0, 0, i64::MIN], [0; 3]), ([0, 0, i64::MAX], [i64::MAX; 3])] {
        let y = g.pad(huge, &before, &after, PadMode::Reflect);
        assert!(matches!(y, Err(Error::Shape { .. })), "{y:?}");
    }
    assert!(matches!(g.pad(huge, &[0], &zero, PadMode::Edge), Err(Error::Shape { .. })));
    // a constant or a gradient that no memory holds is refused before it is made
    let wide = with(1, 1, 0, 1);
    let y = g.average_pool(huge, &[2], &wide, false, false);
    assert!(matches!(y, Err(Error::Shape { .. })), "{y:?}");
    let max = g.max_pool(huge, &[1 << 40], &unit, true).unwrap();
    let mean = g.average_pool(huge, &[1 << 40], &unit, true, true).unwrap();
    for y in [max, mean] {
        let loss = g.reduce_sum(y, &[0, 1, 2], false).unwrap();
        let dx = gradient(&mut g, loss, &[huge]);
        assert!(matches!(dx, Err(Error::NoGradient { .. })), "{dx:?}");
    }
}
