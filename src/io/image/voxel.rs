//! How a voxel is stored, and what it is as f32.

use super::ImageError;

/// How a voxel is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VoxelType {
    /// One bit; the lowest of a byte comes first.
    Bit,
    /// 8 bits, unsigned.
    U8,
    /// 8 bits, signed.
    I8,
    /// 16 bits, signed.
    I16,
    /// 16 bits, unsigned.
    U16,
    /// 32 bits, signed.
    I32,
    /// 32 bits, unsigned.
    U32,
    /// 64 bits, signed.
    I64,
    /// 64 bits, unsigned.
    U64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary128.
    F128,
    /// Real and imaginary part, binary32 each.
    Complex64,
    /// Real and imaginary part, binary64 each.
    Complex128,
    /// Real and imaginary part, binary128 each.
    Complex256,
    /// Red, green, blue, 8 bits each.
    Rgb24,
    /// Red, green, blue, opacity, 8 bits each.
    Rgba32,
}

impl VoxelType {
    /// Bits of one voxel.
    pub fn bits(self) -> u64 {
        match self {
            Self::Bit => 1,
            Self::U8 | Self::I8 => 8,
            Self::I16 | Self::U16 => 16,
            Self::Rgb24 => 24,
            Self::I32 | Self::U32 | Self::F32 | Self::Rgba32 => 32,
            Self::I64 | Self::U64 | Self::F64 | Self::Complex64 => 64,
            Self::F128 | Self::Complex128 => 128,
            Self::Complex256 => 256,
        }
    }

    /// Bytes of one number, of which a voxel has one or several.
    fn number_len(self) -> usize {
        match self {
            Self::Bit | Self::U8 | Self::I8 | Self::Rgb24 | Self::Rgba32 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 | Self::Complex64 => 4,
            Self::I64 | Self::U64 | Self::F64 | Self::Complex128 => 8,
            Self::F128 | Self::Complex256 => 16,
        }
    }

    /// Whether a voxel is a colour.
    pub fn is_colour(self) -> bool {
        matches!(self, Self::Rgb24 | Self::Rgba32)
    }

    /// What reading such voxels as f32 intensities makes of them, where that is
    /// more than another notation.
    pub(super) fn remark(self) -> Option<&'static str> {
        match self {
            Self::Bit => Some("single bits are read from the lowest of each byte"),
            Self::Rgb24 | Self::Rgba32 => Some("colours are read as their luma (BT.601)"),
            Self::Complex64 | Self::Complex128 | Self::Complex256 => {
                Some("complex voxels are read as their magnitude")
            }
            _ => None,
        }
    }

    /// Whether every value that this type holds is one of f32.
    pub fn fits_f32(self) -> bool {
        matches!(self, Self::Bit | Self::U8 | Self::I8 | Self::I16 | Self::U16 | Self::F32)
    }
}

/// Appends the voxels of some whole bytes. Their order is turned in place where
/// it is not little-endian.
///
/// # Errors
/// [`ImageError::Voxels`] where 128-bit floats are not what they should be.
pub(super) fn decode(
    bytes: &mut [u8],
    voxel_type: VoxelType,
    big_endian: bool,
    scale: (f64, f64),
    out: &mut Vec<f32>,
) -> Result<(), ImageError> {
    if big_endian {
        match voxel_type.number_len() {
            2 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|n| n.reverse()),
            4 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|n| n.reverse()),
            8 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|n| n.reverse()),
            16 => bytes.as_chunks_mut::<16>().0.iter_mut().for_each(|n| n.reverse()),
            _ => {}
        }
    }
    let (slope, intercept) = scale;
    let scaled = |v: f64| (v * slope + intercept) as f32;
    macro_rules! numbers {
        ($number:ty) => {{
            let numbers = bytes.as_chunks::<{ size_of::<$number>() }>().0.iter();
            let numbers = numbers.map(|&n| <$number>::from_le_bytes(n));
            if scale == (1.0, 0.0) {
                out.extend(numbers.map(|n| n as f32));
            } else {
                out.extend(numbers.map(|n| scaled(n as f64)));
            }
        }};
    }
    let magnitude = |re: f64, im: f64| (re * slope + intercept).hypot(im * slope) as f32;
    match voxel_type {
        VoxelType::Bit => {
            let bits = bytes.iter().flat_map(|byte| (0..8).map(move |n| byte >> n & 1));
            out.extend(bits.map(|bit| scaled(f64::from(bit))));
        }
        VoxelType::U8 => numbers!(u8),
        VoxelType::I8 => numbers!(i8),
        VoxelType::I16 => numbers!(i16),
        VoxelType::U16 => numbers!(u16),
        VoxelType::I32 => numbers!(i32),
        VoxelType::U32 => numbers!(u32),
        VoxelType::I64 => numbers!(i64),
        VoxelType::U64 => numbers!(u64),
        VoxelType::F32 => numbers!(f32),
        VoxelType::F64 => numbers!(f64),
        VoxelType::F128 => {
            for number in bytes.as_chunks::<16>().0 {
                out.push(scaled(f64_from_binary128(*number)?));
            }
        }
        VoxelType::Complex64 => {
            let voxels = bytes.as_chunks::<4>().0.as_chunks::<2>().0;
            let parts = voxels.iter().map(|v| v.map(f32::from_le_bytes).map(f64::from));
            out.extend(parts.map(|[re, im]| magnitude(re, im)));
        }
        VoxelType::Complex128 => {
            let voxels = bytes.as_chunks::<8>().0.as_chunks::<2>().0;
            let parts = voxels.iter().map(|v| v.map(f64::from_le_bytes));
            out.extend(parts.map(|[re, im]| magnitude(re, im)));
        }
        VoxelType::Complex256 => {
            for [re, im] in bytes.as_chunks::<16>().0.as_chunks::<2>().0 {
                out.push(magnitude(f64_from_binary128(*re)?, f64_from_binary128(*im)?));
            }
        }
        VoxelType::Rgb24 => out.extend(bytes.as_chunks::<3>().0.iter().map(luma)),
        VoxelType::Rgba32 => {
            out.extend(bytes.as_chunks::<4>().0.iter().map(|[r, g, b, _]| luma(&[*r, *g, *b])));
        }
    }
    Ok(())
}

/// # Source
/// ITU-R BT.601-7, 2.5.1.
fn luma(&[r, g, b]: &[u8; 3]) -> f32 {
    (0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)) as f32
}

/// The number of a little-endian binary128, cut to the 52 bits of an f64.
///
/// Programs on x86 store their `long double` here, which has 80 bits and six
/// bytes of padding. Their first bits are no binary128 that anybody means
/// (below 1e-4900), and a number that is silently zero is worse than none.
///
/// # Source
/// IEEE 754-2008, table 3.5: 1 sign bit, 15 of the exponent (bias 16383), 112.
fn f64_from_binary128(bytes: [u8; 16]) -> Result<f64, ImageError> {
    let bits = u128::from_le_bytes(bytes);
    let sign = if bits >> 127 == 1 { -1.0 } else { 1.0 };
    let exponent = (bits >> 112 & 0x7fff) as i32;
    let mantissa = bits & ((1 << 112) - 1);
    match (exponent, mantissa) {
        (0, 0) => Ok(sign * 0.0),
        (0, _) => Err(ImageError::Voxels { what: "80-bit floats where 128-bit ones should be" }),
        (0x7fff, 0) => Ok(sign * f64::INFINITY),
        (0x7fff, _) => Ok(f64::NAN),
        _ => {
            let fraction = 1.0 + (mantissa >> 60) as f64 / (1u64 << 52) as f64;
            Ok(sign * fraction * 2f64.powi(exponent - 16383))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8], voxel_type: VoxelType, scale: (f64, f64)) -> f32 {
        let mut out = Vec::new();
        decode(&mut bytes.to_vec(), voxel_type, false, scale, &mut out).unwrap();
        assert_eq!(out.len(), 1);
        let mut turned = bytes.to_vec();
        turned.chunks_mut(voxel_type.number_len()).for_each(<[u8]>::reverse);
        decode(&mut turned, voxel_type, true, scale, &mut out).unwrap();
        assert!(out[0] == out[1] || out[0].is_nan() && out[1].is_nan());
        out[0]
    }

    /// Sign and exponent in the highest two bytes, then the mantissa.
    fn binary128(top: u16, mantissa: u128) -> [u8; 16] {
        ((u128::from(top) << 112) | mantissa).to_le_bytes()
    }

    #[test]
    fn binary128_has_its_value() {
        let of = |top, mantissa| one(&binary128(top, mantissa), VoxelType::F128, (1.0, 0.0));
        assert_eq!(of(0x3fff, 0), 1.0);
        assert_eq!(of(0xc000, 1 << 111), -3.0);
        assert_eq!(of(0x4000, 0x921f_b544_42d1_8469_898c_c517_01b8), std::f32::consts::PI);
        assert_eq!(of(0, 0), 0.0);
        assert_eq!(of(0x7fff, 0), f32::INFINITY);
        assert!(of(0x7fff, 1).is_nan());
        assert_eq!(of(0x7ffe, 0), f32::INFINITY);
        assert_eq!(of(1, 0), 0.0);
    }

    #[test]
    fn an_x87_number_is_not_taken_for_a_tiny_one() {
        let mut x87 = [0; 16];
        x87[7] = 0x80; // 1.0: explicit leading bit, exponent 0x3fff
        x87[8..10].copy_from_slice(&0x3fffu16.to_le_bytes());
        let error = decode(&mut x87, VoxelType::F128, false, (1.0, 0.0), &mut Vec::new());
        assert!(matches!(error, Err(ImageError::Voxels { .. })));
    }

    #[test]
    fn complex_voxels_are_scaled_before_their_magnitude_is_taken() {
        let bytes = [3f32.to_le_bytes(), 4f32.to_le_bytes()].concat();
        assert_eq!(one(&bytes, VoxelType::Complex64, (1.0, 0.0)), 5.0);
        assert_eq!(one(&bytes, VoxelType::Complex64, (2.0, -1.0)), 89f32.sqrt());
        let bytes = [3f64.to_le_bytes(), (-4f64).to_le_bytes()].concat();
        assert_eq!(one(&bytes, VoxelType::Complex128, (1.0, 0.0)), 5.0);
    }

    #[test]
    fn colours_are_luma_and_opacity_is_nothing() {
        assert_eq!(one(&[255, 255, 255], VoxelType::Rgb24, (1.0, 0.0)), 255.0);
        assert_eq!(one(&[10, 20, 30], VoxelType::Rgb24, (1.0, 0.0)), 18.15);
        assert_eq!(one(&[10, 20, 30, 7], VoxelType::Rgba32, (1.0, 0.0)), 18.15);
    }
}
