//! Convolutions and their transposes, and their gradients, against naive
//! references over drawn shapes and attributes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/problem.rs"]
mod problem;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use onnx_grad::{ElementType, Error, Graph, Sliding, gradient};
use problem::check;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reference::Array;

/// A convolution's shapes and attributes.
#[derive(Clone, Debug)]
struct Problem {
    n: usize,
    groups: usize,
    /// The channels of a group, of the image and of the places.
    depth: [usize; 2],
    image: Vec<usize>,
    kernel: Vec<usize>,
    sliding: Sliding,
    bias: bool,
}

impl Problem {
    fn new(n: usize, groups: usize, depth: [usize; 2], image: &[usize], kernel: &[usize]) -> Self {
        let (image, kernel) = (image.to_vec(), kernel.to_vec());
        let sliding = Sliding::unit(image.len());
        Self { n, groups, depth, image, kernel, sliding, bias: false }
    }

    fn strides(mut self, strides: &[usize]) -> Self {
        self.sliding.strides = strides.to_vec();
        self
    }

    fn dilations(mut self, dilations: &[usize]) -> Self {
        self.sliding.dilations = dilations.to_vec();
        self
    }

    fn pads(mut self, before: &[usize], after: &[usize]) -> Self {
        self.sliding.pads_before = before.to_vec();
        self.sliding.pads_after = after.to_vec();
        self
    }

    fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.sliding.dilations[axis] + 1
    }

    fn padded(&self, axis: usize) -> usize {
        self.image[axis] + self.sliding.pads_before[axis] + self.sliding.pads_after[axis]
    }

    fn places(&self) -> Vec<usize> {
        let places = |i| (self.padded(i) - self.reach(i)) / self.sliding.strides[i] + 1;
        (0..self.image.len()).map(places).collect()
    }

    fn image_shape(&self) -> Vec<usize> {
        [&[self.n, self.groups * self.depth[0]], &self.image[..]].concat()
    }

    fn kernel_shape(&self) -> Vec<usize> {
        [&[self.groups * self.depth[1], self.depth[0]], &self.kernel[..]].concat()
    }

    fn places_shape(&self) -> Vec<usize> {
        [&[self.n, self.groups * self.depth[1]], &self.places()[..]].concat()
    }

    /// The offsets of an element of the image, one of the kernel and one of the
    /// places, for all that meet.
    fn meetings(&self) -> Vec<[usize; 3]> {
        let [c, o] = self.depth;
        let (places, sliding) = (self.places(), &self.sliding);
        let lines = |axis: usize| {
            let all =
                (0..places[axis]).flat_map(move |p| (0..self.kernel[axis]).map(move |k| (p, k)));
            all.filter_map(move |(p, k)| {
                let at = p * sliding.strides[axis] + k * sliding.dilations[axis];
                let at = at.checked_sub(sliding.pads_before[axis])?;
                (at < self.image[axis]).then_some([at, k, p])
            })
        };
        let mut met = Vec::new();
        for (n, group) in (0..self.n).flat_map(|n| (0..self.groups).map(move |g| (n, g))) {
            for (i, j) in (0..c).flat_map(|i| (0..o).map(move |j| (i, j))) {
                let (image, place) = (group * c + i, group * o + j);
                met.push([n * self.groups * c + image, place * c + i, n * self.groups * o + place]);
            }
        }
        for (axis, &places) in places.iter().enumerate() {
            let sizes = [self.image[axis], self.kernel[axis], places];
            let line: Vec<_> = lines(axis).collect();
            let further = met.iter().flat_map(|at| {
                line.iter().map(move |step| [0, 1, 2].map(|k| at[k] * sizes[k] + step[k]))
            });
            met = further.collect();
        }
        met
    }

    /// Σ of the products of what meets, by the third.
    fn sum(&self, operands: [(usize, &Array); 2], result: (usize, &[usize])) -> Array {
        let mut sum = Array::from_fn(result.1, |_| 0.0);
        let [(a, x), (b, y)] = operands;
        for at in self.meetings() {
            sum.data[at[result.0]] += x.data[at[a]] * y.data[at[b]];
        }
        sum
    }

    fn conv(&self, x: &Array, kernel: &Array) -> Array {
        self.sum([(0, x), (1, kernel)], (2, &self.places_shape()))
    }

    fn transpose(&self, x: &Array, kernel: &Array) -> Array {
        self.sum([(2, x), (1, kernel)], (0, &self.image_shape()))
    }

    fn kernel_gradient(&self, x: &Array, dy: &Array) -> Array {
        self.sum([(0, x), (2, dy)], (1, &self.kernel_shape()))
    }

    fn check_conv(&self) {
        println!("{self:?}");
        let mut inputs =
            vec![Array::random(&self.image_shape(), 1), Array::random(&self.kernel_shape(), 2)];
        if self.bias {
            inputs.push(Array::random(&[self.groups * self.depth[1]], 3));
        }
        check(
            &inputs,
            |g, x| g.conv(x[0], x[1], x.get(2).copied(), self.groups, &self.sliding),
            |x| biased(self.conv(&x[0], &x[1]), x.get(2)),
        );
    }

    /// Checks the transpose with this output padding, which must give the image.
    fn check_transpose(&self, output_padding: &[usize]) {
        println!("{self:?} {output_padding:?}");
        let mut inputs =
            vec![Array::random(&self.places_shape(), 1), Array::random(&self.kernel_shape(), 2)];
        if self.bias {
            inputs.push(Array::random(&[self.groups * self.depth[0]], 3));
        }
        check(
            &inputs,
            |g, x| {
                let bias = x.get(2).copied();
                g.conv_transpose(x[0], x[1], bias, self.groups, output_padding, &self.sliding)
            },
            |x| biased(self.transpose(&x[0], &x[1]), x.get(2)),
        );
    }

    /// What of the image lies beyond the window's last place.
    fn unreached(&self) -> Vec<usize> {
        let left = |i| (self.padded(i) - self.reach(i)) % self.sliding.strides[i];
        (0..self.image.len()).map(left).collect()
    }
}

fn biased(y: Array, bias: Option<&Array>) -> Array {
    let Some(bias) = bias else { return y };
    let mut shape = vec![1; y.shape.len()];
    shape[1] = bias.data.len();
    y.zip(&bias.reshape(&shape), |y, b| y + b)
}

/// The sizes, stride, dilation and pads of an axis on which the window fits.
fn axis(most: usize) -> impl Strategy<Value = [usize; 6]> {
    (1..=most, 1..=3usize, 1..=3usize, 1..=2usize, 0..=3usize, 0..=3usize).prop_map(
        |(image, kernel, stride, dilation, before, after)| {
            let reach = (kernel - 1) * dilation + 1;
            let lacking = reach.saturating_sub(image + before + after);
            [image, kernel, stride, dilation, before, after + lacking]
        },
    )
}

fn problem() -> impl Strategy<Value = Problem> {
    let axes = prop_oneof![
        prop::collection::vec(axis(7), 1),
        prop::collection::vec(axis(4), 2),
        prop::collection::vec(axis(2), 3),
    ];
    (1..=2usize, 1..=3usize, 1..=2usize, 1..=2usize, any::<bool>(), axes).prop_map(
        |(n, groups, c, o, bias, axes)| {
            let list = |k: usize| -> Vec<usize> { axes.iter().map(|axis| axis[k]).collect() };
            let problem = Problem::new(n, groups, [c, o], &list(0), &list(1));
            let problem = problem.strides(&list(2)).dilations(&list(3));
            Problem { bias, ..problem.pads(&list(4), &list(5)) }
        },
    )
}

fn config() -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(3);
    ProptestConfig { cases: 64, failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_conv(problem in problem()) {
        problem.check_conv();
    }

    #[test]
    fn any_conv_transpose(problem in problem()) {
        problem.check_transpose(&problem.unreached());
    }
}

#[test]
fn every_form_of_the_kernels_cotangent() {
    // a point, with many places and with few
    Problem::new(2, 1, [3, 2], &[4, 4], &[1, 1])
        .strides(&[2, 1])
        .pads(&[1, 0], &[0, 1])
        .check_conv();
    Problem::new(2, 1, [5, 4], &[2], &[1]).check_conv();
    // few channels and many
    Problem::new(2, 1, [7, 2], &[3, 4], &[2, 3]).strides(&[1, 2]).check_conv();
    Problem::new(2, 1, [8, 2], &[3, 4], &[2, 3]).strides(&[1, 2]).check_conv();
    // a large window over grouped channels, at steps of one and of two
    for dilations in [[1, 1], [2, 1], [1, 2]] {
        let problem = Problem::new(2, 2, [2, 1], &[3, 5], &[6, 5]).dilations(&dilations);
        problem.pads(&[5, 3], &[6, 2]).check_conv();
    }
    let depthwise = Problem::new(3, 2, [1, 1], &[4, 3], &[7, 7]).pads(&[3, 3], &[3, 3]);
    depthwise.check_conv();
    depthwise.strides(&[2, 2]).check_conv();
    Problem::new(1, 2, [1, 1], &[30], &[26]).check_conv();
}

#[test]
fn pads_beyond_the_window() {
    let problem = Problem::new(1, 1, [2, 1], &[2, 3], &[2, 3]);
    problem.clone().pads(&[4, 0], &[0, 5]).check_conv();
    problem.clone().pads(&[4, 0], &[0, 5]).check_transpose(&[0, 0]);
    problem.strides(&[3, 2]).pads(&[5, 4], &[6, 5]).check_conv();
    // more cut off at both ends than the window reaches
    let problem = Problem::new(1, 2, [1, 2], &[2, 1, 1], &[1, 2, 1]);
    let problem = problem.pads(&[1, 2, 0], &[1, 3, 2]);
    problem.check_conv();
    problem.check_transpose(&[0, 0, 0]);
}

#[test]
fn output_padding_up_to_a_dilation() {
    // first what the pads cut off, then zeros, and the bias everywhere
    for (kept, zeros, bias) in
        [([1, 0], [0, 0], true), ([1, 2], [1, 0], true), ([0, 1], [2, 1], false)]
    {
        let problem = Problem::new(2, 2, [1, 2], &[8, 7], &[2, 3]).dilations(&[3, 3]);
        let problem = Problem { bias, ..problem.pads(&[1, 0], &[0, 0]) };
        let mut inputs = vec![
            Array::random(&problem.places_shape(), 1),
            Array::random(&problem.kernel_shape(), 2),
        ];
        if bias {
            inputs.push(Array::random(&[2], 3));
        }
        let sliding = Sliding { pads_after: kept.to_vec(), ..problem.sliding.clone() };
        let output_padding = [kept[0] + zeros[0], kept[1] + zeros[1]];
        check(
            &inputs,
            |g, x| g.conv_transpose(x[0], x[1], x.get(2).copied(), 2, &output_padding, &sliding),
            |x| {
                let y = problem.transpose(&x[0], &x[1]);
                let wide = Array::from_fn(&[2, 2, 8 + zeros[0], 7 + zeros[1]], |at| {
                    if at[2] < 8 && at[3] < 7 { y.at(at) } else { 0.0 }
                });
                biased(wide, x.get(2))
            },
        );
    }
}

#[test]
fn gradients_of_gradients() {
    for problem in [
        Problem::new(2, 1, [2, 2], &[4, 3], &[2, 3]).pads(&[1, 1], &[0, 1]),
        Problem::new(1, 2, [1, 2], &[5, 4], &[3, 2]).strides(&[2, 3]).pads(&[1, 0], &[1, 1]),
        Problem::new(2, 1, [3, 2], &[3, 2], &[1, 1]),
        Problem::new(1, 1, [2, 2], &[7], &[3]).strides(&[2]).dilations(&[2]),
    ] {
        let inputs =
            [Array::random(&problem.image_shape(), 1), Array::random(&problem.kernel_shape(), 2)];
        for which in 0..2 {
            check(
                &inputs,
                |g, x| {
                    let y = g.conv(x[0], x[1], None, problem.groups, &problem.sliding)?;
                    let square = g.mul(y, y)?;
                    let axes: Vec<i64> = (0..g.shape(y).len() as i64).collect();
                    let loss = g.reduce_sum(square, &axes, false)?;
                    Ok(gradient(g, loss, &[x[which]])?[0])
                },
                |x| {
                    let dy = problem.conv(&x[0], &x[1]).map(|y| 2.0 * y);
                    match which {
                        0 => problem.transpose(&dy, &x[1]),
                        _ => problem.kernel_gradient(&x[0], &dy),
                    }
                },
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let large = usize::MAX;
    let unit = Sliding::unit(2);
    let with = |change: fn(&mut Sliding)| {
        let mut sliding = Sliding::unit(2);
        change(&mut sliding);
        sliding
    };
    let (x, k) = (vec![1, 4, 5, 5], vec![6, 2, 3, 3]);
    let cases = [
        (x.clone(), vec![6, 3, 3, 3], vec![6], 2, unit.clone()),
        (x.clone(), vec![5, 2, 3, 3], vec![5], 2, unit.clone()),
        (x.clone(), k.clone(), vec![6], 0, unit.clone()),
        (x.clone(), k.clone(), vec![6], large, unit.clone()),
        (x.clone(), vec![6, large, 3, 3], vec![6], 2, unit.clone()),
        (x.clone(), k.clone(), vec![5], 2, unit.clone()),
        (x.clone(), k.clone(), vec![6, 1], 2, unit.clone()),
        (x.clone(), vec![6, 2, 6, 3], vec![6], 2, unit.clone()),
        (x.clone(), vec![6, 2, 0, 3], vec![6], 2, unit.clone()),
        (x.clone(), vec![6, 2, large, large], vec![6], 2, unit.clone()),
        (vec![1, 4, large, large], k.clone(), vec![6], 2, with(|s| s.pads_after[1] = 7)),
        (x.clone(), vec![6, 2, 3], vec![6], 2, unit.clone()),
        (vec![1, 4], vec![6, 2], vec![6], 2, Sliding::unit(0)),
        (vec![1, 4, 1, 1, 1, 1], vec![6, 2, 1, 1, 1, 1], vec![6], 2, Sliding::unit(4)),
        (x.clone(), k.clone(), vec![6], 2, Sliding::unit(1)),
        (x.clone(), k.clone(), vec![6], 2, with(|s| s.strides.truncate(1))),
        (x.clone(), k.clone(), vec![6], 2, with(|s| s.dilations.push(1))),
        (x.clone(), k.clone(), vec![6], 2, with(|s| s.pads_before.clear())),
        (x.clone(), k.clone(), vec![6], 2, with(|s| s.pads_after.push(0))),
        (x.clone(), k.clone(), vec![6], 2, with(|s| s.strides[0] = 0)),
        (x.clone(), k.clone(), vec![6], 2, with(|s| s.strides[0] = usize::MAX)),
        (x.clone(), k.clone(), vec![6], 2, with(|s| s.dilations[1] = 0)),
        (x.clone(), k.clone(), vec![6], 2, with(|s| s.dilations[1] = usize::MAX)),
        (x.clone(), k.clone(), vec![6], 2, with(|s| s.pads_before[1] = usize::MAX)),
    ];
    for (x, k, b, groups, sliding) in cases {
        let mut g = Graph::new();
        let [xv, kv, bv] =
            [("x", &x), ("k", &k), ("b", &b)].map(|(n, s)| g.input(n, ElementType::F32, s));
        let error = g.conv(xv, kv, Some(bv), groups, &sliding).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Shape { operator: "Conv", .. }), "{message}");
        // the transpose takes the kernel the other way round and has more sizes that fit
        let result = g.conv_transpose(xv, kv, Some(bv), groups, &[0, 0], &sliding);
        if let Err(error) = result {
            assert!(matches!(error, Error::Shape { operator: "ConvTranspose", .. }), "{error}");
        }
    }
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[1, 4, 5, 5]);
    let k = g.input("k", ElementType::F32, &[4, 2, 3, 3]);
    let i = g.input("i", ElementType::I64, &[4, 4, 3, 3]);
    let result = g.conv(x, i, None, 1, &unit);
    assert!(matches!(result, Err(Error::ElementType { operator: "Conv", .. })));
    let result = g.conv_transpose(x, i, None, 1, &[0, 0], &unit);
    assert!(matches!(result, Err(Error::ElementType { operator: "ConvTranspose", .. })));
    let refused = [
        (3, vec![0, 0], unit.clone()),
        (0, vec![0, 0], unit.clone()),
        (large, vec![0, 0], unit.clone()),
        (2, vec![0], unit.clone()),
        (2, vec![0, 0, 0], unit.clone()),
        (2, vec![0, 1], unit.clone()),
        (2, vec![large, 0], with(|s| s.dilations[0] = usize::MAX)),
        (2, vec![large / 2 - 1, 0], with(|s| s.dilations[0] = usize::MAX / 2)),
        (2, vec![0, 0], with(|s| s.pads_after[1] = 7)),
        (2, vec![0, 0], with(|s| s.strides[1] = usize::MAX / 2)),
        (2, vec![0, 0], Sliding::unit(3)),
    ];
    for (groups, output_padding, sliding) in refused {
        let error = g.conv_transpose(x, k, None, groups, &output_padding, &sliding).unwrap_err();
        assert!(matches!(error, Error::Shape { operator: "ConvTranspose", .. }), "{error}");
    }
}
