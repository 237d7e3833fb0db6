//! Naive arrays of `f64`, and central differences.

#![allow(dead_code)]

/// A dense array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Array {
    pub fn new(shape: &[usize], data: &[f64]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len());
        let (shape, data) = (shape.to_vec(), data.to_vec());
        Self { shape, data }
    }

    /// Element by element from its index.
    pub fn from_fn(shape: &[usize], f: impl Fn(&[usize]) -> f64) -> Self {
        let data = (0..shape.iter().product()).map(|i| f(&unravel(i, shape)));
        let data = data.collect();
        let shape = shape.to_vec();
        Self { shape, data }
    }

    /// Numbers in -2..2 that `f32` holds exactly, other ones for other seeds.
    pub fn random(shape: &[usize], seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 44) as f64 / f64::from(1 << 18) - 2.0
        };
        for _ in 0..8 {
            next();
        }
        let data = (0..shape.iter().product()).map(|_| next()).collect();
        let shape = shape.to_vec();
        Self { shape, data }
    }

    pub fn at(&self, index: &[usize]) -> f64 {
        assert_eq!(index.len(), self.shape.len());
        self.data[ravel(index, &self.shape)]
    }

    /// The element that broadcasting puts at the index of a larger array.
    pub fn broadcast_at(&self, index: &[usize]) -> f64 {
        let own = &index[index.len() - self.shape.len()..];
        let own: Vec<usize> = own.iter().zip(&self.shape).map(|(&i, &n)| i % n).collect();
        self.at(&own)
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        let data = self.data.iter().map(|&x| f(x)).collect();
        let shape = self.shape.clone();
        Self { shape, data }
    }

    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let rank = self.shape.len().max(other.shape.len());
        let size =
            |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |k| shape[k]);
        let shape: Vec<usize> =
            (0..rank).map(|i| size(&self.shape, i).max(size(&other.shape, i))).collect();
        Self::from_fn(&shape, |i| f(self.broadcast_at(i), other.broadcast_at(i)))
    }

    pub fn reshape(&self, shape: &[usize]) -> Self {
        Self::new(shape, &self.data)
    }

    pub fn transpose(&self, perm: &[usize]) -> Self {
        let shape: Vec<usize> = perm.iter().map(|&p| self.shape[p]).collect();
        Self::from_fn(&shape, |index| {
            let mut own = vec![0; perm.len()];
            for (i, &p) in perm.iter().enumerate() {
                own[p] = index[i];
            }
            self.at(&own)
        })
    }

    /// `f` of the elements along the axes, which stay as ones.
    pub fn reduce(&self, axes: &[usize], f: impl Fn(&[f64]) -> f64) -> Self {
        let mut shape = self.shape.clone();
        let mut inner = vec![1; shape.len()];
        for &axis in axes {
            inner[axis] = shape[axis];
            shape[axis] = 1;
        }
        Self::from_fn(&shape, |index| {
            let line: Vec<f64> = (0..inner.iter().product())
                .map(|i| {
                    let step = unravel(i, &inner);
                    let own: Vec<usize> = index.iter().zip(step).map(|(a, b)| a + b).collect();
                    self.at(&own)
                })
                .collect();
            f(&line)
        })
    }

    pub fn sum(&self, axes: &[usize]) -> Self {
        self.reduce(axes, |line| line.iter().sum())
    }

    pub fn mean(&self, axes: &[usize]) -> Self {
        self.reduce(axes, |line| line.iter().sum::<f64>() / line.len() as f64)
    }

    pub fn total(&self) -> f64 {
        self.data.iter().sum()
    }

    pub fn matmul(&self, other: &Self) -> Self {
        let (a, b) = (&self.shape, &other.shape);
        let (k, rank) = (a[a.len() - 1], a.len().max(b.len()));
        assert_eq!(k, b[b.len() - 2]);
        let batch = Self::from_fn(&a[..a.len() - 2], |_| 0.0);
        let mut shape = batch.zip(&Self::from_fn(&b[..b.len() - 2], |_| 0.0), |_, _| 0.0).shape;
        shape.extend([a[a.len() - 2], b[b.len() - 1]]);
        Self::from_fn(&shape, |index| {
            (0..k)
                .map(|i| {
                    let (mut left, mut right) = (index.to_vec(), index.to_vec());
                    left[rank - 1] = i;
                    right[rank - 2] = i;
                    self.broadcast_at(&left) * other.broadcast_at(&right)
                })
                .sum()
        })
    }

    pub fn softmax(&self, axis: usize) -> Self {
        let exp = self.map(f64::exp);
        exp.zip(&exp.sum(&[axis]), |x, total| x / total)
    }

    pub fn layer_norm(&self, scale: &Self, bias: &Self, axis: usize, epsilon: f64) -> Self {
        let axes: Vec<usize> = (axis..self.shape.len()).collect();
        let centred = self.zip(&self.mean(&axes), |x, mean| x - mean);
        let variance = centred.map(|x| x * x).mean(&axes);
        let normal = centred.zip(&variance, |x, v| x / (v + epsilon).sqrt());
        normal.zip(scale, |x, s| x * s).zip(bias, |x, b| x + b)
    }

    pub fn gelu(&self) -> Self {
        self.map(|x| x * 0.5 * (1.0 + erf(x / 2f64.sqrt())))
    }
}

/// The error function by a series of positive terms, Abramowitz and Stegun 7.1.6.
pub fn erf(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-18 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// The gradients of `f` at `inputs` by central differences.
pub fn central_differences(inputs: &[Array], f: impl Fn(&[Array]) -> f64) -> Vec<Array> {
    let step = 1e-5;
    let mut moved = inputs.to_vec();
    let mut gradients = Vec::new();
    for (k, input) in inputs.iter().enumerate() {
        let mut gradient = input.clone();
        for i in 0..input.data.len() {
            moved[k].data[i] = input.data[i] + step;
            let above = f(&moved);
            moved[k].data[i] = input.data[i] - step;
            let below = f(&moved);
            moved[k].data[i] = input.data[i];
            gradient.data[i] = (above - below) / (2.0 * step);
        }
        gradients.push(gradient);
    }
    gradients
}

/// Fails unless the shapes agree, and the elements to `tolerance` of the
/// greatest one.
pub fn assert_close(what: &str, received: &Array, expected: &Array, tolerance: f64) {
    assert_eq!(received.shape, expected.shape, "{what}: shape");
    let greatest = expected.data.iter().fold(1e-2, |m: f64, x| m.max(x.abs()));
    for (i, (a, b)) in received.data.iter().zip(&expected.data).enumerate() {
        // not `>`, which a NaN would pass
        assert!(
            (a - b).abs() <= tolerance * greatest,
            "{what}: at {:?} received {a}, expected {b}",
            unravel(i, &expected.shape)
        );
    }
}

fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = i % shape[axis];
        i /= shape[axis];
    }
    index
}

fn ravel(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |i, (&k, &n)| i * n + k)
}
