//! The fields of the three headers: Analyze 7.5 and NIfTI-1 in 348 bytes,
//! NIfTI-2 in 540.

use super::NiftiError;

/// Whose conventions a header follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Analyze,
    Nifti,
}

/// The fields that matter, in the widest of their types.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub kind: Kind,
    /// Bytes of the header.
    pub len: usize,
    pub big_endian: bool,
    /// Whether the voxels are in a file beside it.
    pub pair: bool,
    pub dim: [i64; 8],
    pub datatype: i16,
    pub bitpix: i16,
    pub intent_code: i32,
    pub pixdim: [f64; 8],
    pub vox_offset: f64,
    pub slope: f64,
    pub intercept: f64,
    pub xyzt_units: i32,
    pub qform_code: i32,
    pub sform_code: i32,
    pub quatern: [f64; 3],
    pub qoffset: [f64; 3],
    pub srow: [[f64; 4]; 3],
    /// Analyze only: which plane a slice is.
    pub orient: u8,
    /// Analyze only: highest and lowest value, calibrated and as stored, where
    /// the header has both.
    pub has_ranges: bool,
    /// Analyze only, as SPM uses it: the voxel at the origin, from 1.
    pub originator: [i16; 3],
}

impl Header {
    /// # Source
    /// `nifti1.h`, `nifti2.h`; `dbh.h` of Analyze 7.5, and for SPM's use of its
    /// fields `spm_vol_ana.m` of SPM2.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, NiftiError> {
        let size = bytes.first_chunk::<4>().ok_or(NiftiError::NotNifti)?;
        let size = i32::from_le_bytes(*size);
        let (size, big_endian) =
            if [348, 540].contains(&size) { (size, false) } else { (size.swap_bytes(), true) };
        match size {
            348 => Self::short(bytes.first_chunk().ok_or(NiftiError::NotNifti)?, big_endian),
            540 => Self::long(bytes.first_chunk().ok_or(NiftiError::NotNifti)?, big_endian),
            _ => Err(NiftiError::NotNifti),
        }
    }

    fn short(bytes: &[u8; 348], big_endian: bool) -> Result<Self, NiftiError> {
        let at = Reader { bytes, big_endian };
        let (kind, pair) = match &bytes[344..347] {
            b"n+1" => (Kind::Nifti, false),
            b"ni1" => (Kind::Nifti, true),
            _ => (Kind::Analyze, true),
        };
        Ok(Self {
            kind,
            len: 348,
            big_endian,
            pair,
            dim: std::array::from_fn(|n| at.i16(40 + 2 * n).into()),
            intent_code: at.i16(68).into(),
            datatype: at.i16(70),
            bitpix: at.i16(72),
            pixdim: at.f32s(76),
            vox_offset: at.f32(108),
            slope: at.f32(112),
            intercept: at.f32(116),
            xyzt_units: bytes[123].into(),
            qform_code: at.i16(252).into(),
            sform_code: at.i16(254).into(),
            quatern: at.f32s(256),
            qoffset: at.f32s(268),
            srow: [at.f32s(280), at.f32s(296), at.f32s(312)],
            orient: bytes[252],
            has_ranges: at.f32(124) != at.f32(128) && at.at::<4>(140) != at.at::<4>(144),
            originator: std::array::from_fn(|n| at.i16(253 + 2 * n)),
        })
    }

    fn long(bytes: &[u8; 540], big_endian: bool) -> Result<Self, NiftiError> {
        let at = Reader { bytes, big_endian };
        let pair = match (&bytes[4..7], &bytes[7..12]) {
            (b"n+2", b"\0\r\n\x1a\n") => false,
            (b"ni2", b"\0\r\n\x1a\n") => true,
            (b"n+2" | b"ni2", _) => return Err(NiftiError::TextMode),
            _ => return Err(NiftiError::NotNifti),
        };
        Ok(Self {
            kind: Kind::Nifti,
            len: 540,
            big_endian,
            pair,
            datatype: at.i16(12),
            bitpix: at.i16(14),
            dim: std::array::from_fn(|n| at.i64(16 + 8 * n)),
            pixdim: at.f64s(104),
            vox_offset: at.i64(168) as f64,
            slope: at.f64(176),
            intercept: at.f64(184),
            qform_code: at.i32(344),
            sform_code: at.i32(348),
            quatern: at.f64s(352),
            qoffset: at.f64s(376),
            srow: [at.f64s(400), at.f64s(432), at.f64s(464)],
            xyzt_units: at.i32(500),
            intent_code: at.i32(504),
            orient: 0,
            has_ranges: false,
            originator: [0; 3],
        })
    }
}

/// Numbers at fixed places.
struct Reader<'a, const LEN: usize> {
    bytes: &'a [u8; LEN],
    big_endian: bool,
}

impl<const LEN: usize> Reader<'_, LEN> {
    /// Little-endian bytes. All places are constants below `LEN`.
    fn at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut number = [0; N];
        number.copy_from_slice(&self.bytes[at..at + N]);
        if self.big_endian {
            number.reverse();
        }
        number
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.at(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.at(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.at(at))
    }

    fn f32(&self, at: usize) -> f64 {
        f32::from_le_bytes(self.at(at)).into()
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.at(at))
    }

    fn f32s<const N: usize>(&self, at: usize) -> [f64; N] {
        std::array::from_fn(|n| self.f32(at + 4 * n))
    }

    fn f64s<const N: usize>(&self, at: usize) -> [f64; N] {
        std::array::from_fn(|n| self.f64(at + 8 * n))
    }
}
