//! Stored voxels to f32.

use std::io::{ErrorKind, Read};

use super::{NiftiError, NiftiHead, VoxelType};

/// Bytes read at a time: enough to keep the inflater busy, small in a cache.
const CHUNK: usize = 1 << 18;

/// The voxels in file order, after slope and intercept.
pub(super) fn read(reader: &mut impl Read, head: &NiftiHead) -> Result<Vec<f32>, NiftiError> {
    let voxels = head.voxel_count();
    let mut out = Vec::new();
    out.try_reserve_exact(voxels).map_err(|_| NiftiError::Memory { voxels })?;
    let mut chunk = vec![0; CHUNK];
    let mut left = head.data_len();
    while left > 0 {
        let part = &mut chunk[..left.min(CHUNK as u64) as usize];
        reader.read_exact(part).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => NiftiError::Short {
                promised: head.data_offset + head.data_len(),
                found: head.data_offset + head.data_len() - left,
            },
            _ => NiftiError::Io(error),
        })?;
        convert(part, head, &mut out);
        left -= part.len() as u64;
    }
    Ok(out)
}

fn convert(bytes: &[u8], head: &NiftiHead, out: &mut Vec<f32>) {
    macro_rules! convert_as {
        ($number:ty) => {
            each::<{ size_of::<$number>() }>(bytes, head, out, |b| {
                <$number>::from_le_bytes(b) as f64
            })
        };
    }
    match head.voxel_type {
        VoxelType::U8 => convert_as!(u8),
        VoxelType::I8 => convert_as!(i8),
        VoxelType::I16 => convert_as!(i16),
        VoxelType::U16 => convert_as!(u16),
        VoxelType::I32 => convert_as!(i32),
        VoxelType::U32 => convert_as!(u32),
        VoxelType::I64 => convert_as!(i64),
        VoxelType::U64 => convert_as!(u64),
        VoxelType::F32 => convert_as!(f32),
        VoxelType::F64 => convert_as!(f64),
    }
}

fn each<const N: usize>(
    bytes: &[u8],
    head: &NiftiHead,
    out: &mut Vec<f32>,
    number: impl Fn([u8; N]) -> f64,
) {
    let (slope, intercept) = (f64::from(head.scale.0), f64::from(head.scale.1));
    let voxels = bytes.as_chunks::<N>().0.iter();
    let scaled = |v: f64| (v * slope + intercept) as f32;
    match (head.big_endian, head.scale == (1.0, 0.0)) {
        (false, true) => out.extend(voxels.map(|&b| number(b) as f32)),
        (false, false) => out.extend(voxels.map(|&b| scaled(number(b)))),
        (true, _) => out.extend(voxels.map(|&b| {
            let mut b = b;
            b.reverse();
            scaled(number(b))
        })),
    }
}
