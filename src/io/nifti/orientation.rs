//! From the fields of a header to its affine.

use glam::{DAffine3, DMat3, DQuat, DVec3};

use super::{Header, NiftiError};
use crate::geometry::{Affine, affine_from_rows, spacing_mm};

/// Share of the smallest voxel side by which sform and qform may differ before
/// it is remarked: a qform's quaternion is rounded to f32, and its turn may be
/// off by 3e-4 near 180°.
const AGREEMENT: f64 = 0.1;

/// Voxel to RAS+ mm of a NIfTI header, and where it is from: the sform where it
/// has a code, then the qform, then the voxel sizes with the first axis running
/// to the left and the middle of the volume at the origin, as nibabel has it.
///
/// # Source
/// `nifti1.h`, "3D image (volume) orientation and location in space", methods
/// 3, 2 and 1; the unit from `xyzt_units`, which nibabel leaves to the caller.
pub(super) fn nifti(header: &Header, remarks: &mut Vec<String>) -> (Affine, &'static str) {
    let (unit, mm) = match header.xyzt_units & 7 {
        1 => ("metres", 1000.0),
        3 => ("micrometres", 0.001),
        _ => ("millimetres", 1.0),
    };
    if mm != 1.0 {
        remarks.push(format!("the header's {unit} are read as millimetres"));
    }
    let mm = DAffine3::from_scale(DVec3::splat(mm));
    if header.sform_code > 0 {
        let [x, y, z] = header.srow;
        let sform = mm * affine_from_rows(&[x, y, z, [0.0; 4]]);
        if header.qform_code > 0 {
            compare(header, &sform, &(mm * qform(header)), remarks);
        }
        return (sform, "sform");
    }
    remark_signs(header, remarks);
    if header.qform_code > 0 {
        return (mm * qform(header), "qform");
    }
    remarks.push("no sform or qform: the first axis is taken to run to the left".to_owned());
    (mm * from_sizes(header, [0; 3]), "pixdim")
}

/// Voxel to RAS+ mm of an Analyze header: the voxel sizes, the first axis
/// running to the left, the origin where SPM noted it or in the middle.
///
/// # Errors
/// [`NiftiError::Orient`] where slices are not transverse: tools disagree on
/// what the other codes mean.
///
/// # Source
/// `spm_vol_ana.m` of SPM2 for the origin; nibabel reads it alike.
pub(super) fn analyze(
    header: &Header,
    remarks: &mut Vec<String>,
) -> Result<(Affine, &'static str), NiftiError> {
    if header.orient != 0 {
        return Err(NiftiError::Orient { orient: header.orient });
    }
    remarks
        .push("Analyze has no left and right: the first axis is taken to run to the left".into());
    if header.has_ranges && (header.slope == 0.0 || !header.slope.is_finite()) {
        remarks.push("the header's ranges are taken for display's, not for a scale".to_owned());
    }
    remark_signs(header, remarks);
    let origin = header.originator;
    let near = origin.iter().zip(&header.dim[1..]).all(|(&at, &len)| {
        let at = i64::from(at);
        at > -len && at < 2 * len
    });
    let is_set = origin != [0; 3] && near;
    let source = if is_set { "origin" } else { "pixdim" };
    Ok((from_sizes(header, if is_set { origin } else { [0; 3] }), source))
}

/// The sizes of the voxels along axes that run to the left, anterior and
/// superior, with a voxel (from 1) at the origin; (0, 0, 0) is the middle.
fn from_sizes(header: &Header, origin: [i16; 3]) -> Affine {
    let size = DVec3::new(-1.0, 1.0, 1.0) * pixdim(header);
    let at: [f64; 3] = if origin == [0; 3] {
        std::array::from_fn(|n| {
            let used = (n as i64) < header.dim[0];
            if used { (header.dim[n + 1] - 1) as f64 / 2.0 } else { 0.0 }
        })
    } else {
        origin.map(|n| f64::from(n) - 1.0)
    };
    DAffine3::from_mat3_translation(DMat3::from_diagonal(size), -(size * DVec3::from_array(at)))
}

fn qform(header: &Header) -> Affine {
    let [b, c, d] = header.quatern;
    let a = 1.0 - (b * b + c * c + d * d);
    // The three stored numbers are rounded to f32: at a turn of 180° their
    // squares may sum to a little more than one.
    let quaternion = if a < 1e-7 {
        DQuat::from_xyzw(b, c, d, 0.0).normalize()
    } else {
        DQuat::from_xyzw(b, c, d, a.sqrt())
    };
    let qfac = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let size = pixdim(header) * DVec3::new(1.0, 1.0, qfac);
    DAffine3::from_mat3_translation(
        DMat3::from_quat(quaternion) * DMat3::from_diagonal(size),
        DVec3::from_array(header.qoffset),
    )
}

/// The sizes of the voxels, of which none is negative: no axis is turned by one, as nibabel
/// has it.
fn pixdim(header: &Header) -> DVec3 {
    let [_, x, y, z, ..] = header.pixdim;
    DVec3::new(x, y, z).abs()
}

fn remark_signs(header: &Header, remarks: &mut Vec<String>) {
    if header.pixdim[1..4].iter().any(|&mm| mm < 0.0) {
        remarks.push("negative voxel sizes are taken as positive".to_owned());
    }
}

/// Remarks on an sform and a qform that put a corner of the volume into two places.
fn compare(header: &Header, sform: &Affine, qform: &Affine, remarks: &mut Vec<String>) {
    let last = [1, 2, 3].map(|n| if n <= header.dim[0] { header.dim[n as usize] - 1 } else { 0 });
    let corners = (0..8).map(|corner| {
        let pick = |n: usize| if corner >> n & 1 == 1 { last[n] as f64 } else { 0.0 };
        DVec3::new(pick(0), pick(1), pick(2))
    });
    let apart = |at: DVec3| sform.transform_point3(at).distance(qform.transform_point3(at));
    let apart_mm = corners.map(apart).fold(0.0, f64::max);
    let smallest_mm = spacing_mm(sform).into_iter().fold(f64::INFINITY, f64::min);
    if apart_mm > AGREEMENT * smallest_mm || apart_mm.is_nan() {
        remarks.push(format!(
            "sform (code {}) and qform (code {}) differ by up to {apart_mm:.2} mm; the sform is taken",
            header.sform_code, header.qform_code
        ));
    }
}
