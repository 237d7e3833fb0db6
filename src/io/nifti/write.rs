//! A volume as a single-file NIfTI-1 image.

use std::io::{self, Error, ErrorKind, Write};

use glam::{DMat3, DQuat, DVec3};
use ndarray::ArrayView3;

use crate::geometry::{Grid, affine_to_rows};

/// Header and four bytes that say "no extension".
const DATA_OFFSET: usize = 352;

/// Cosine between two axes up to which they count as perpendicular: a qform
/// holds no shear.
const PERPENDICULAR: f64 = 1e-5;

/// Writes int16 voxels `[k, j, i]` as an uncompressed little-endian NIfTI-1
/// file; an intensity is `slope × stored + intercept`.
///
/// The sform (code 1, scanner) holds the affine in f32; the qform says the same
/// where the axes are perpendicular and has code 0 elsewhere. The unit is mm.
/// Of the description the first 79 bytes are kept.
///
/// # Errors
/// Invalid input where the shape of the array is not the grid's, a side is
/// above 32767, the slope is zero or slope, intercept or affine are not finite;
/// otherwise the error of the writer.
///
/// # Source
/// `nifti1.h`, methods 2 and 3 of the orientation.
pub fn write_i16(
    out: impl Write,
    voxels: ArrayView3<'_, i16>,
    grid: &Grid,
    slope: f32,
    intercept: f32,
    description: &str,
) -> io::Result<()> {
    let head = header(grid, voxels.dim(), 4, 16, (slope, intercept), description)?;
    write(out, &head, voxels, |v| v.to_le_bytes())
}

/// Writes float32 voxels `[k, j, i]` as [`write_i16`] does, without scaling.
///
/// # Errors
/// As [`write_i16`].
pub fn write_f32(
    out: impl Write,
    voxels: ArrayView3<'_, f32>,
    grid: &Grid,
    description: &str,
) -> io::Result<()> {
    let head = header(grid, voxels.dim(), 16, 32, (1.0, 0.0), description)?;
    write(out, &head, voxels, |v| v.to_le_bytes())
}

fn write<T: Copy, const N: usize>(
    mut out: impl Write,
    head: &[u8],
    voxels: ArrayView3<'_, T>,
    bytes_of: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    out.write_all(head)?;
    let mut bytes = Vec::new();
    for plane in voxels.outer_iter() {
        bytes.clear();
        plane.iter().for_each(|&v| bytes.extend_from_slice(&bytes_of(v)));
        out.write_all(&bytes)?;
    }
    out.flush()
}

fn header(
    grid: &Grid,
    (nk, nj, ni): (usize, usize, usize),
    datatype: i16,
    bitpix: i16,
    (slope, intercept): (f32, f32),
    description: &str,
) -> io::Result<Vec<u8>> {
    let refuse = |why: &str| Err(Error::new(ErrorKind::InvalidInput, why.to_owned()));
    if grid.shape != [ni, nj, nk] {
        return refuse("the array has not the shape of the grid");
    }
    if grid.shape.iter().any(|&n| n == 0 || n > i16::MAX as usize) {
        return refuse("a side of the grid is not within 1 to 32767 voxels");
    }
    if slope == 0.0 || !slope.is_finite() || !intercept.is_finite() {
        return refuse("slope and intercept must be finite, and the slope not zero");
    }
    if !grid.ras_from_voxel.is_finite() {
        return refuse("the affine is not finite");
    }
    let size = DVec3::from_array(grid.spacing_mm());
    let (quaternion, qfac) = quaternion(grid.ras_from_voxel.matrix3, size);
    let mut fields = Fields(vec![0; DATA_OFFSET]);
    fields.i32(0, 348);
    fields.put(39, b"r");
    fields.i16s(40, &[3, ni as i16, nj as i16, nk as i16, 1, 1, 1, 1]);
    fields.i16s(70, &[datatype, bitpix]);
    fields.f32s(76, &[qfac, size.x, size.y, size.z, 1.0, 1.0, 1.0, 1.0]);
    fields.f32s(108, &[DATA_OFFSET as f64, f64::from(slope), f64::from(intercept)]);
    fields.put(123, &[2]); // millimetres
    let text: Vec<u8> = description.bytes().take(79).collect();
    fields.put(148, &text);
    fields.i16s(252, &[i16::from(quaternion.is_some()), 1]);
    let q = quaternion.unwrap_or(DQuat::IDENTITY);
    let origin = grid.ras_from_voxel.translation;
    fields.f32s(256, &[q.x, q.y, q.z, origin.x, origin.y, origin.z]);
    let [x, y, z, _] = affine_to_rows(&grid.ras_from_voxel);
    fields.f32s(280, &[x, y, z].concat());
    fields.put(344, b"n+1\0");
    Ok(fields.0)
}

/// The rotation with a real part that is not negative, and the sign of the
/// third axis; no rotation where the axes are not perpendicular.
fn quaternion(matrix: DMat3, size: DVec3) -> (Option<DQuat>, f64) {
    let [x, y, z] = [matrix.x_axis / size.x, matrix.y_axis / size.y, matrix.z_axis / size.z];
    let qfac = if matrix.determinant() < 0.0 { -1.0 } else { 1.0 };
    let slant = x.dot(y).abs().max(y.dot(z).abs()).max(z.dot(x).abs());
    // Also false for NaN, where a side is zero.
    if slant < PERPENDICULAR {
        let q = DQuat::from_mat3(&DMat3::from_cols(x, y, z * qfac)).normalize();
        (Some(if q.w < 0.0 { -q } else { q }), qfac)
    } else {
        (None, qfac)
    }
}

/// Whether a qform can say where a grid lies: it holds no shear, as a gantry
/// tilt makes, and then has code 0 while the sform holds all.
pub fn has_qform(grid: &Grid) -> bool {
    quaternion(grid.ras_from_voxel.matrix3, DVec3::from_array(grid.spacing_mm())).0.is_some()
}

/// Little-endian fields at the offsets of `nifti1.h`.
struct Fields(Vec<u8>);

impl Fields {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn i32(&mut self, at: usize, value: i32) {
        self.put(at, &value.to_le_bytes());
    }

    fn i16s(&mut self, at: usize, values: &[i16]) {
        for (n, value) in values.iter().enumerate() {
            self.put(at + 2 * n, &value.to_le_bytes());
        }
    }

    fn f32s(&mut self, at: usize, values: &[f64]) {
        for (n, &value) in values.iter().enumerate() {
            self.put(at + 4 * n, &(value as f32).to_le_bytes());
        }
    }
}
