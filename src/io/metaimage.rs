//! MetaImage (`.mha`, `.mhd` with a raw file), the format of ITK.
//!
//! A reader of our own: crates.io has no crate of it, and `bioformats`, which
//! reads its pixels, does not read where they lie.
//!
//! # Source
//! "MetaIO Documentation", section MetaImage (docs.itk.org); where it is silent,
//! what ITK 5.4 does.

use std::path::{Path, PathBuf};

use glam::{DAffine3, DMat3, DVec3};

use super::{
    Format,
    fields::{FieldError, Fields, values},
    image::{Coding, ImageError, ImageHead, Layout, MAX_HEADER, VoxelType, named, numbered, place},
};
use crate::geometry::{Affine, ras_from_lps};

/// Stands for the lines behind `ElementDataFile = LIST`.
const LISTED: &str = "listed";

/// Most axes of a file; above any that ITK writes.
const MAX_AXES: usize = 10;

/// Names of fields that may stand in the first line.
const FIRST: [&str; 5] = ["objecttype", "objectsubtype", "ndims", "comment", "name"];

pub(super) fn looks_like_metaimage(start: &[u8]) -> bool {
    // Spares every DICOM file a look at its preamble as text.
    if !start.first().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    let text = String::from_utf8_lossy(start);
    let mut names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let is_first =
        names.next().is_some_and(|name| FIRST.contains(&name.trim().to_ascii_lowercase().as_str()));
    is_first
        && text.lines().any(|line| {
            line.split_once('=').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("ndims"))
        })
}

/// The fields of a header, and its length: it ends with `ElementDataFile`, or with the
/// names of the files behind that.
fn parse(start: &[u8]) -> Result<(Fields, u64), FieldError> {
    let mut fields = Fields::default();
    let mut at = 0;
    let mut lines = start.split_inclusive(|&byte| byte == b'\n');
    while let Some(line) = lines.next() {
        at += line.len() as u64;
        // Comments may be in any encoding; no field that is read is.
        let line = String::from_utf8_lossy(line);
        if let Some((name, value)) = line.split_once('=') {
            fields.push(name, value);
            if name.trim().eq_ignore_ascii_case("ElementDataFile") {
                if is_list(value.trim()) {
                    let names = lines.filter_map(|line| std::str::from_utf8(line).ok());
                    names.filter(|name| !name.trim().is_empty()).for_each(|name| {
                        fields.push(LISTED, name);
                    });
                }
                return Ok((fields, at));
            }
        }
    }
    if at < MAX_HEADER {
        Err(FieldError::Missing { field: "ElementDataFile" })
    } else {
        Err(FieldError::NoEnd { limit: MAX_HEADER })
    }
}

/// Whether the header ends within these bytes. A list of files ends where its file does.
pub(super) fn is_whole(start: &[u8]) -> bool {
    let is_list = |fields: &Fields| fields.get("ElementDataFile").is_some_and(is_list);
    parse(start).is_ok_and(|(fields, _)| !is_list(&fields))
}

/// Whether this stands in the place of files' names. How many axes a file has may stand
/// behind it, and changes nothing: files follow one another.
fn is_list(name: &str) -> bool {
    name.split_ascii_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("LIST"))
}

/// The files that a header names, where they are usable.
pub(super) fn data_files(start: &[u8], path: &Path) -> Vec<PathBuf> {
    let fields = parse(start).map(|(fields, _)| fields).unwrap_or_default();
    files(&fields, path).unwrap_or_default()
}

/// The files of the voxels, none where they follow the header.
fn files(fields: &Fields, path: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let field = "ElementDataFile";
    let name = fields.need(field)?;
    if name.eq_ignore_ascii_case("LOCAL") {
        return Ok(Vec::new());
    }
    if is_list(name) {
        let files: Vec<PathBuf> =
            fields.all(LISTED).map(|name| named(path, name)).collect::<Result<_, _>>()?;
        return if files.is_empty() {
            Err(FieldError::Missing { field }.into())
        } else {
            Ok(files)
        };
    }
    if name.contains('%') {
        let names = numbered(name).ok_or(FieldError::Malformed { field })?;
        return names.iter().map(|name| named(path, name)).collect();
    }
    Ok(vec![named(path, name)?])
}

/// What the header at the start of a file says, and where its voxels are.
///
/// # Errors
/// [`ImageError`] where the header cannot be used.
pub(super) fn read_head(start: &[u8], path: &Path) -> Result<ImageHead, ImageError> {
    let (fields, header_len) = parse(start)?;
    let unsupported = |field, what| FieldError::Unsupported { field, what };
    if fields.get("ObjectType").is_some_and(|kind| !kind.eq_ignore_ascii_case("Image")) {
        return Err(unsupported("ObjectType", "not an image").into());
    }
    let axes: usize = fields.parse("NDims")?.ok_or(FieldError::Missing { field: "NDims" })?;
    if !(3..=MAX_AXES).contains(&axes) {
        return Err(unsupported("NDims", "not 3 or more").into());
    }
    let lens: Vec<u64> = values(fields.need("DimSize")?, axes, "DimSize")?;
    let frames = lens[3..].iter().fold(1u64, |n, &len| n.saturating_mul(len));
    if frames == 0 || frames > super::nifti::MAX_FRAMES as u64 {
        return Err(FieldError::Malformed { field: "DimSize" }.into());
    }
    let voxel_type = voxel_type(&fields)?;
    let mut remarks = Vec::new();
    let (affine, affine_source) = affine(&fields, axes, &mut remarks)?;
    let grid = place([lens[0], lens[1], lens[2]], affine, affine_source, &mut remarks)?;
    let slope = fields.parse("ElementToIntensityFunctionSlope")?.unwrap_or(1.0);
    let intercept = fields.parse("ElementToIntensityFunctionOffset")?.unwrap_or(0.0);
    if slope == 0.0 || !f64::is_finite(slope) || !f64::is_finite(intercept) {
        return Err(FieldError::Malformed { field: "ElementToIntensityFunctionSlope" }.into());
    }
    if (slope, intercept) != (1.0, 0.0) {
        remarks.push(
            "the header's slope and offset of intensity are applied; ITK ignores them".into(),
        );
    }
    Ok(ImageHead {
        format: Format::MetaImage,
        grid,
        affine_source,
        frames: frames as usize,
        voxel_type,
        scale: (slope, intercept),
        kind: None,
        remarks,
        layout: layout(&fields, header_len, path)?,
    })
}

fn is_true(fields: &Fields, names: &[&str]) -> bool {
    fields.any(names).is_some_and(|value| matches!(value, "True" | "true" | "TRUE" | "T" | "1"))
}

fn layout(fields: &Fields, header_len: u64, path: &Path) -> Result<Layout, ImageError> {
    let data_files = files(fields, path)?;
    let is_binary = fields.get("BinaryData").is_none() || is_true(fields, &["BinaryData"]);
    let is_compressed = is_true(fields, &["CompressedData"]);
    let coding = match (is_binary, is_compressed) {
        (true, false) => Coding::Raw,
        (true, true) => Coding::Zlib,
        (false, false) => Coding::Text,
        (false, true) => return Err(FieldError::Malformed { field: "CompressedData" }.into()),
    };
    let before = if data_files.is_empty() { header_len } else { 0 };
    let skip: i64 = fields.parse("HeaderSize")?.unwrap_or(0);
    let start = match (skip, coding) {
        (-1, Coding::Raw) => None,
        (0.., _) => Some(before.saturating_add(skip as u64)),
        _ => return Err(FieldError::Malformed { field: "HeaderSize" }.into()),
    };
    Ok(Layout {
        data_files,
        coding,
        start,
        skip: 0,
        stored: if is_compressed { fields.parse("CompressedDataSize")? } else { None },
        big_endian: is_true(fields, &["ElementByteOrderMSB", "BinaryDataByteOrderMSB"]),
        interleaved: 1,
    })
}

/// `MET_LONG` has four bytes, as on the machines on which the format was made.
fn voxel_type(fields: &Fields) -> Result<VoxelType, FieldError> {
    let channels: usize = fields.parse("ElementNumberOfChannels")?.unwrap_or(1);
    let name = fields.need("ElementType")?.to_ascii_uppercase();
    let number = match name.trim_end_matches("_ARRAY") {
        "MET_CHAR" => VoxelType::I8,
        "MET_UCHAR" => VoxelType::U8,
        "MET_SHORT" => VoxelType::I16,
        "MET_USHORT" => VoxelType::U16,
        "MET_INT" | "MET_LONG" => VoxelType::I32,
        "MET_UINT" | "MET_ULONG" => VoxelType::U32,
        "MET_LONG_LONG" => VoxelType::I64,
        "MET_ULONG_LONG" => VoxelType::U64,
        "MET_FLOAT" => VoxelType::F32,
        "MET_DOUBLE" => VoxelType::F64,
        _ => return Err(FieldError::Malformed { field: "ElementType" }),
    };
    match (channels, number) {
        (1, number) => Ok(number),
        (3, VoxelType::U8) => Ok(VoxelType::Rgb24),
        (4, VoxelType::U8) => Ok(VoxelType::Rgba32),
        _ => Err(FieldError::Unsupported { field: "ElementNumberOfChannels", what: "vectors" }),
    }
}

/// Voxel to RAS+ mm. The header's world is LPS; row n of its matrix is the
/// direction of axis n.
fn affine(
    fields: &Fields,
    axes: usize,
    remarks: &mut Vec<String>,
) -> Result<(Affine, &'static str), FieldError> {
    let numbers = |names: &[&str], count: usize, field: &'static str| {
        fields.any(names).map(|text| values::<f64>(text, count, field)).transpose()
    };
    let size = numbers(&["ElementSpacing", "ElementSize"], axes, "ElementSpacing")?
        .ok_or(FieldError::Missing { field: "ElementSpacing" })?;
    let matrix =
        numbers(&["TransformMatrix", "Orientation", "Rotation"], axes * axes, "TransformMatrix")?;
    let origin = numbers(&["Offset", "Position", "Origin"], axes, "Offset")?;
    if origin.is_none() {
        remarks.push("no Offset: the first voxel is taken to lie at 0".to_owned());
    }
    let source = if matrix.is_some() { "TransformMatrix" } else { "ElementSpacing" };
    if matrix.is_none() {
        remarks.push("no TransformMatrix: the axes are taken as those of LPS".to_owned());
    }
    let direction = |axis: usize| match &matrix {
        Some(matrix) => DVec3::from_slice(&matrix[axis * axes..axis * axes + 3]),
        None => DVec3::AXES[axis],
    };
    let column = |axis: usize| direction(axis) * size[axis];
    let matrix = DMat3::from_cols(column(0), column(1), column(2));
    let origin = origin.map_or(DVec3::ZERO, |origin| DVec3::from_slice(&origin[..3]));
    let mm = match fields.get("DistanceUnits") {
        Some("um") => 0.001,
        Some("cm") => 10.0,
        _ => 1.0,
    };
    if mm != 1.0 {
        remarks.push("the header's unit of length is read as millimetres".to_owned());
    }
    let lps_from_voxel = DAffine3::from_mat3_translation(matrix * mm, origin * mm);
    Ok((ras_from_lps() * lps_from_voxel, source))
}
