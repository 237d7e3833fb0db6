//! Transposition of matrices.

/// y = xᵀ, of a matrix x of rows `x_stride` elements apart, into one of rows
/// `y_stride` elements apart.
pub fn transpose(
    x: &[f32],
    [rows, columns]: [usize; 2],
    x_stride: usize,
    y: &mut [f32],
    y_stride: usize,
) {
    if squares(x, [rows, columns], x_stride, y, y_stride) {
        return;
    }
    for row in 0..rows {
        for column in 0..columns {
            let from = x.get(row * x_stride + column);
            if let Some((x, y)) = from.zip(y.get_mut(column * y_stride + row)) {
                *y = *x;
            }
        }
    }
}

/// Transposes by squares of 8 × 8 elements, the last ones over the ones before;
/// `false` where the matrix is smaller or the machine does not have AVX2.
#[cfg(target_arch = "x86_64")]
fn squares(
    x: &[f32],
    [rows, columns]: [usize; 2],
    x_stride: usize,
    y: &mut [f32],
    y_stride: usize,
) -> bool {
    let Some(simd) = pulp::x86::V3::try_new() else { return false };
    if rows.min(columns) < 8 {
        return false;
    }
    simd.vectorize(Squares { simd, x, rows, columns, x_stride, y, y_stride });
    true
}

#[cfg(not(target_arch = "x86_64"))]
fn squares(_: &[f32], _: [usize; 2], _: usize, _: &mut [f32], _: usize) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
struct Squares<'a> {
    simd: pulp::x86::V3,
    x: &'a [f32],
    rows: usize,
    columns: usize,
    x_stride: usize,
    y: &'a mut [f32],
    y_stride: usize,
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for row in (0..self.rows).step_by(8) {
            let row = row.min(self.rows - 8);
            for column in (0..self.columns).step_by(8) {
                let column = column.min(self.columns - 8);
                let mut square = [[0.0; 8]; 8];
                for (i, line) in square.iter_mut().enumerate() {
                    let from = (row + i) * self.x_stride + column;
                    line.copy_from_slice(&self.x[from..from + 8]);
                }
                let square = transposed(self.simd, square);
                for (i, line) in square.iter().enumerate() {
                    let to = (column + i) * self.y_stride + row;
                    self.y[to..to + 8].copy_from_slice(line);
                }
            }
        }
    }
}

/// A square of pairs of rows, of pairs of pairs, and of halves.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed(simd: pulp::x86::V3, x: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let avx = simd.avx;
    let x: [std::arch::x86_64::__m256; 8] = pulp::cast(x);
    let mut pairs = x;
    for i in 0..4 {
        pairs[2 * i] = avx._mm256_unpacklo_ps(x[2 * i], x[2 * i + 1]);
        pairs[2 * i + 1] = avx._mm256_unpackhi_ps(x[2 * i], x[2 * i + 1]);
    }
    let mut fours = x;
    for i in [0, 4] {
        for j in 0..2 {
            let (a, b) = (pairs[i + j], pairs[i + j + 2]);
            fours[i + 2 * j] = avx._mm256_shuffle_ps::<0b01_00_01_00>(a, b);
            fours[i + 2 * j + 1] = avx._mm256_shuffle_ps::<0b11_10_11_10>(a, b);
        }
    }
    let mut y = x;
    for i in 0..4 {
        y[i] = avx._mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        y[i + 4] = avx._mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
    }
    pulp::cast(y)
}

#[cfg(test)]
mod tests {
    #[test]
    fn transposes_squares_and_what_is_left() {
        for (rows, columns) in [(1, 1), (8, 8), (16, 9), (7, 30), (19, 41)] {
            let x: Vec<f32> = (0..rows * (columns + 2)).map(|i| i as f32).collect();
            let mut y = vec![-1.0; columns * (rows + 3)];
            super::transpose(&x, [rows, columns], columns + 2, &mut y, rows + 3);
            for row in 0..rows + 3 {
                for column in 0..columns {
                    let expected = if row < rows { x[row * (columns + 2) + column] } else { -1.0 };
                    assert_eq!(y[column * (rows + 3) + row], expected);
                }
            }
        }
    }
}
