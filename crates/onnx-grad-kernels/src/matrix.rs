//! Matrix products over strided views, by the crate `gemm`.

// `gemm` takes pointers, and the columns of one result are written by several
// threads.
#![allow(unsafe_code)]

use gemm::Parallelism;

use crate::pool::Pool;

/// A matrix that lies in a slice with any distances between rows and columns.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The matrix of the first elements of a slice, row after row, `row_stride`
    /// elements apart. `None` where they do not fit in it.
    pub fn new(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Option<Self> {
        fits(data.len(), rows, columns, row_stride)?;
        Some(Self { data, rows, columns, row_stride, column_stride: 1 })
    }

    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    pub fn transposed_if(self, transpose: bool) -> Self {
        if transpose { self.transposed() } else { self }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }
}

fn fits(len: usize, rows: usize, columns: usize, row_stride: usize) -> Option<()> {
    let before = rows.saturating_sub(1).checked_mul(row_stride)?;
    let last = before.checked_add(columns)?;
    (rows == 0 || columns == 0 || last <= len).then_some(())
}

/// Where a product goes: rows of a slice, `row_stride` elements apart.
pub struct Target<'a> {
    pub data: &'a mut [f32],
    pub row_stride: usize,
}

/// a·b, put in place of the target or added to it; `false` where the shapes do
/// not fit.
#[must_use]
pub fn multiply(a: Matrix, b: Matrix, target: Target, add: bool) -> bool {
    let (m, n) = (a.rows, b.columns);
    if a.columns != b.rows
        || n > target.row_stride
        || fits(target.data.len(), m, n, target.row_stride).is_none()
    {
        return false;
    }
    // SAFETY: the target holds m rows of n elements, was checked just above, and is ours alone.
    unsafe { multiply_into(a, b, target.data.as_mut_ptr(), target.row_stride, add) };
    true
}

/// # Safety
/// a's columns are b's rows. `target` points to a's rows times b's columns
/// elements, rows `row_stride` apart, that nobody else reads or writes.
unsafe fn multiply_into(a: Matrix, b: Matrix, target: *mut f32, row_stride: usize, add: bool) {
    let stride = |n: usize| n as isize;
    // SAFETY: a and b hold the elements that their sizes and strides name, as
    // their constructor checked; the target does by the caller's word.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            target,
            1,
            stride(row_stride),
            add,
            a.data.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.data.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// A pointer that threads share; who makes it says why they may.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: used in `multiply_on` alone, where each task writes elements of its own.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn get(self) -> *mut f32 {
        self.0
    }
}

/// a·b + bias into a dense target, on the threads of a pool. `None` where the
/// shapes do not fit.
pub fn multiply_on(
    pool: &Pool,
    a: Matrix,
    b: Matrix,
    bias: Option<&[f32]>,
    target: &mut [f32],
) -> Option<ort::Result<()>> {
    let (m, n) = (a.rows, b.columns);
    let fitting = a.columns == b.rows
        && m.checked_mul(n) == Some(target.len())
        && bias.is_none_or(|bias| bias.len() == n);
    fitting.then_some(())?;
    // the longer side is cut, and what is cut is packed once more by every task
    let by_rows = m >= n;
    let size = m.max(n).div_ceil(8).next_multiple_of(48).max(96);
    let tasks: Vec<usize> = (0..m.max(n)).step_by(size).collect();
    let shared = Shared(target.as_mut_ptr());
    Some(pool.each(tasks, |start| {
        let (mut a, mut b) = (a, b);
        let place = if by_rows {
            a.rows = size.min(m - start);
            a.data = &a.data[(start * a.row_stride).min(a.data.len())..];
            start * n
        } else {
            b.columns = size.min(n - start);
            b.data = &b.data[(start * b.column_stride).min(b.data.len())..];
            start
        };
        // SAFETY: `start` is below m or n, so the place lies in the target. The tasks' rows
        // or columns do not overlap, and the target is borrowed until all have run.
        unsafe {
            let target = shared.get().add(place);
            if let Some(bias) = bias {
                let bias = if by_rows { bias } else { &bias[start..start + b.columns] };
                for row in 0..a.rows {
                    std::slice::from_raw_parts_mut(target.add(row * n), b.columns)
                        .copy_from_slice(bias);
                }
            }
            multiply_into(a, b, target, n, bias.is_some());
        }
    }))
}
