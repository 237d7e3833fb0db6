//! The transforms along one axis, of vectors of numbers at once.
//!
//! An image of N = M + 2 pixels meets a kernel of 3 elements at M places. Both
//! are polynomials, evaluated at ±a, ±b, infinity and, where N = 6, zero, in the
//! order zero, a, −a, b, −b, infinity; products at these points are those of the
//! whole polynomials.
//!
//! # Source
//! Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks";
//! Barabasz et al. 2020, "Error Analysis and Improving the Accuracy of Winograd
//! Convolution for Deep Neural Networks", for the choice of points.

use pulp::Simd;

const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;
const A2: f32 = 0.5;
const B2: f32 = 2.0;

/// What divides the kernel at ±a and at ±b: the product of the distances to the
/// other points.
const fn scales(n: usize) -> [f32; 2] {
    let [a, b] = if n == 6 { [A2, B2] } else { [A, B] };
    [0.5 / (a * (A2 - B2)), 0.5 / (b * (B2 - A2))]
}

/// A linear map along one axis.
pub trait Transform<const FROM: usize, const TO: usize>: Copy {
    fn apply<S: Simd>(simd: S, x: [S::f32s; FROM]) -> [S::f32s; TO];

    /// Along both axes.
    #[inline(always)]
    fn on_square<S: Simd>(self, simd: S, x: [[S::f32s; FROM]; FROM]) -> [[S::f32s; TO]; TO] {
        let zero = simd.splat_f32s(0.0);
        let mut half = [[zero; FROM]; TO];
        for j in 0..FROM {
            let mut column = [zero; FROM];
            for i in 0..FROM {
                column[i] = x[i][j];
            }
            let column = Self::apply(simd, column);
            for i in 0..TO {
                half[i][j] = column[i];
            }
        }
        let mut y = [[zero; TO]; TO];
        for i in 0..TO {
            y[i] = Self::apply(simd, half[i]);
        }
        y
    }
}

/// x + factor·y.
#[inline(always)]
fn sum<S: Simd>(simd: S, x: S::f32s, factor: f32, y: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(y, simd.splat_f32s(factor), x)
}

#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, x: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(factor), x)
}

/// Pixels of the image to points.
#[derive(Clone, Copy)]
pub struct Image;

impl<const N: usize> Transform<N, N> for Image {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: [S::f32s; N]) -> [S::f32s; N] {
        let zero = N - 5;
        let mut y = [x[0]; N];
        for (row, point, other) in [(zero, A, B2), (zero + 2, B, A2)] {
            let even = sum(simd, x[zero + 3], -other, x[zero + 1]);
            let odd = sum(simd, x[zero + 2], -other, x[zero]);
            y[row] = sum(simd, even, point, odd);
            y[row + 1] = sum(simd, even, -point, odd);
        }
        for (row, at) in [(0, 0), (N - 1, zero)] {
            if row > 0 || zero == 1 {
                let ends = sum(simd, x[at + 4], A2 * B2, x[at]);
                y[row] = sum(simd, ends, -A2 - B2, x[at + 2]);
            }
        }
        y
    }
}

/// Elements of the kernel to points.
#[derive(Clone, Copy)]
pub struct Kernel;

impl<const N: usize> Transform<3, N> for Kernel {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: [S::f32s; 3]) -> [S::f32s; N] {
        let zero = N - 5;
        let mut y = [x[2]; N];
        let pairs = [(zero, A, A2, scales(N)[0]), (zero + 2, B, B2, scales(N)[1])];
        for (row, point, square, scale) in pairs {
            let even = scaled(simd, scale, sum(simd, x[0], square, x[2]));
            let odd = scaled(simd, scale * point, x[1]);
            y[row] = simd.add_f32s(even, odd);
            // the distances to an odd number of other points change their sign
            let (x, y_) = if zero == 1 { (even, odd) } else { (odd, even) };
            y[row + 1] = simd.sub_f32s(x, y_);
        }
        if zero == 1 {
            y[0] = scaled(simd, 1.0 / (A2 * B2), x[0]);
        }
        y
    }
}

/// As [`Kernel`], of a kernel turned around.
#[derive(Clone, Copy)]
pub struct TurnedKernel;

impl<const N: usize> Transform<3, N> for TurnedKernel {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [first, second, third]: [S::f32s; 3]) -> [S::f32s; N] {
        Kernel::apply(simd, [third, second, first])
    }
}

/// Points to elements of the kernel: the transpose of [`Kernel`].
#[derive(Clone, Copy)]
pub struct KernelBack;

impl<const N: usize> Transform<N, 3> for KernelBack {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: [S::f32s; N]) -> [S::f32s; 3] {
        let zero = N - 5;
        let [mut first, mut second, mut third] =
            [simd.splat_f32s(0.0), simd.splat_f32s(0.0), x[N - 1]];
        if zero == 1 {
            first = scaled(simd, 1.0 / (A2 * B2), x[0]);
        }
        let pairs = [(zero, A, A2, scales(N)[0]), (zero + 2, B, B2, scales(N)[1])];
        for (row, point, square, scale) in pairs {
            let (plus, minus) =
                (simd.add_f32s(x[row], x[row + 1]), simd.sub_f32s(x[row], x[row + 1]));
            let (even, odd) = if zero == 1 { (plus, minus) } else { (minus, plus) };
            first = sum(simd, first, scale, even);
            second = sum(simd, second, scale * point, odd);
            third = sum(simd, third, scale * square, even);
        }
        [first, second, third]
    }
}

/// Points to places.
#[derive(Clone, Copy)]
pub struct Places;

impl<const N: usize, const M: usize> Transform<N, M> for Places {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: [S::f32s; N]) -> [S::f32s; M] {
        let zero = N - 5;
        let [even, odd] = [
            [simd.add_f32s(x[zero], x[zero + 1]), simd.add_f32s(x[zero + 2], x[zero + 3])],
            [simd.sub_f32s(x[zero], x[zero + 1]), simd.sub_f32s(x[zero + 2], x[zero + 3])],
        ];
        let mut y = [simd.add_f32s(even[0], even[1]); M];
        if zero == 1 {
            y[0] = simd.add_f32s(y[0], x[0]);
        }
        y[1] = sum(simd, scaled(simd, A, odd[0]), B, odd[1]);
        y[2] = sum(simd, scaled(simd, A2, even[0]), B2, even[1]);
        if zero == 1 {
            y[3] = sum(simd, scaled(simd, A * A2, odd[0]), B * B2, odd[1]);
        }
        y[M - 1] = simd.add_f32s(y[M - 1], x[N - 1]);
        y
    }
}

/// Places to points: the transpose of [`Places`].
#[derive(Clone, Copy)]
pub struct PlacesBack;

impl<const N: usize, const M: usize> Transform<M, N> for PlacesBack {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: [S::f32s; M]) -> [S::f32s; N] {
        let zero = N - 5;
        let mut y = [x[M - 1]; N];
        for (row, point, square) in [(zero, A, A2), (zero + 2, B, B2)] {
            let even = sum(simd, x[0], square, x[2]);
            let mut odd = scaled(simd, point, x[1]);
            if zero == 1 {
                odd = sum(simd, odd, point * square, x[3]);
            }
            y[row] = simd.add_f32s(even, odd);
            y[row + 1] = simd.sub_f32s(even, odd);
        }
        if zero == 1 {
            y[0] = x[0];
        }
        y
    }
}
