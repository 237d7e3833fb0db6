//! NRRD: headers with their voxels, and headers with their voxels beside them.
//!
//! A reader of our own: crates.io has no crate `nrrd`, and `bioformats`, which
//! reads NRRD pixels, makes no affine of `space directions` and passes over
//! `space origin`.
//!
//! # Source
//! "Definition of NRRD File Format", teem.sourceforge.net/nrrd/format.html.

mod axes;

use std::path::{Path, PathBuf};

use super::{
    Format,
    fields::{FieldError, Fields, values},
    image::{Coding, ImageError, ImageHead, Layout, MAX_HEADER, VoxelType, named, numbered, place},
};
use axes::Axes;

/// Stands for the key by which 3D Slicer tells its segmentations.
const SEGMENT: &str = "segment";

/// Stands for the lines behind `data file: LIST`.
const LISTED: &str = "listed";

/// The field that names the files of the voxels.
const DATA_FILE: [&str; 2] = ["data file", "datafile"];

/// Most axes that teem allows.
const MAX_AXES: usize = 16;

pub(super) fn looks_like_nrrd(start: &[u8]) -> bool {
    start.starts_with(b"NRRD000") && start.get(7).is_some_and(u8::is_ascii_digit)
}

/// The fields of a header, and its length with the empty line behind it. A
/// header whose voxels are elsewhere may end with its file.
fn parse(start: &[u8]) -> Result<(Fields, u64), FieldError> {
    let mut fields = Fields::default();
    let (mut at, mut is_list) = (0, false);
    for line in start.split_inclusive(|&byte| byte == b'\n') {
        at += line.len() as u64;
        let is_whole = line.ends_with(b"\n");
        let line = line.trim_ascii_end();
        if line.is_empty() && is_whole {
            return Ok((fields, at));
        }
        if is_list {
            // To the end of the header nothing but names follows.
            if let Ok(name) = std::str::from_utf8(line) {
                fields.push(LISTED, name);
            }
            continue;
        }
        // Fields are ASCII; key-value pairs, which are passed over, may be UTF-8.
        if let Ok(line) = std::str::from_utf8(line)
            && !line.starts_with('#')
            && let Some((name, value)) = line.split_once(':')
            && !value.starts_with('=')
        {
            is_list |= DATA_FILE.iter().any(|field| name.trim().eq_ignore_ascii_case(field))
                && value.trim().starts_with("LIST");
            fields.push(name, value);
        } else if line.starts_with(b"Segment0_ID:=") {
            fields.push(SEGMENT, "");
        }
    }
    let is_detached = data_name(&fields).is_some();
    if is_detached && at < MAX_HEADER {
        Ok((fields, at))
    } else {
        Err(FieldError::NoEnd { limit: MAX_HEADER })
    }
}

/// Whether the header ends within these bytes. A list of files may end where its file
/// does.
pub(super) fn is_whole(start: &[u8]) -> bool {
    parse(start).is_ok_and(|(fields, len)| {
        start[..len as usize].ends_with(b"\n") && fields.get(LISTED).is_none()
    })
}

fn data_name(fields: &Fields) -> Option<&str> {
    fields.any(&DATA_FILE)
}

/// The files that a header names, where they are usable.
pub(super) fn data_files(start: &[u8], path: &Path) -> Vec<PathBuf> {
    let fields = parse(start).map(|(fields, _)| fields).unwrap_or_default();
    files(&fields, path).unwrap_or_default()
}

/// The files of the voxels, none where they follow the header.
fn files(fields: &Fields, path: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let field = "data file";
    match data_name(fields) {
        None => Ok(Vec::new()),
        Some(name) if name.starts_with("LIST") => {
            let files: Vec<PathBuf> =
                fields.all(LISTED).map(|name| named(path, name)).collect::<Result<_, _>>()?;
            if files.is_empty() { Err(FieldError::Missing { field }.into()) } else { Ok(files) }
        }
        Some(name) if name.contains('%') => {
            let names = numbered(name).ok_or(FieldError::Malformed { field })?;
            names.iter().map(|name| named(path, name)).collect()
        }
        Some(name) => Ok(vec![named(path, name)?]),
    }
}

/// What the header at the start of a file says, and where its voxels are.
///
/// # Errors
/// [`ImageError`] where the header cannot be used.
pub(super) fn read_head(start: &[u8], path: &Path) -> Result<ImageHead, ImageError> {
    let (fields, header_len) = parse(start)?;
    let mut remarks = Vec::new();
    let number = number(fields.need("type")?)?;
    let axes = Axes::read(&fields)?;
    let voxel_type = axes.voxel_type(number)?;
    let (affine, affine_source) = axes.affine(&fields, &mut remarks)?;
    let grid = place(axes.shape(), affine, affine_source, &mut remarks)?;
    let (interleaved, frames) = axes.frames()?;
    Ok(ImageHead {
        format: Format::Nrrd,
        grid,
        affine_source,
        frames,
        voxel_type,
        scale: (1.0, 0.0),
        kind: fields.get(SEGMENT).map(|_| "label map"),
        remarks,
        layout: layout(&fields, header_len, path, number, interleaved)?,
    })
}

fn layout(
    fields: &Fields,
    header_len: u64,
    path: &Path,
    number: VoxelType,
    interleaved: usize,
) -> Result<Layout, ImageError> {
    let unsupported = |field, what| FieldError::Unsupported { field, what };
    let data_files = files(fields, path)?;
    if fields.any(&["line skip", "lineskip"]).is_some_and(|lines| lines != "0") {
        return Err(unsupported("line skip", "not zero").into());
    }
    let coding = match fields.need("encoding")?.to_ascii_lowercase().as_str() {
        "raw" => Coding::Raw,
        "gz" | "gzip" => Coding::Gzip,
        "bz2" | "bzip2" => Coding::Bzip2,
        "txt" | "text" | "ascii" => Coding::Text,
        "hex" => Coding::Hex,
        _ => return Err(FieldError::Malformed { field: "encoding" }.into()),
    };
    let big_endian = match fields.get("endian").map(str::to_ascii_lowercase).as_deref() {
        Some("little") => false,
        Some("big") => true,
        None if number.bits() == 8 || coding == Coding::Text => false,
        None => return Err(FieldError::Missing { field: "endian" }.into()),
        Some(_) => return Err(FieldError::Malformed { field: "endian" }.into()),
    };
    let malformed = FieldError::Malformed { field: "byte skip" };
    let skip: i64 = match fields.any(&["byte skip", "byteskip"]) {
        Some(text) => text.parse().map_err(|_| malformed.clone())?,
        None => 0,
    };
    let before = if data_files.is_empty() { header_len } else { 0 };
    let (start, skip) = match (skip, coding) {
        (-1, Coding::Raw) => (None, 0),
        (0.., Coding::Raw) => (Some(before.saturating_add(skip as u64)), 0),
        (0.., Coding::Gzip | Coding::Bzip2) => (Some(before), skip as u64),
        (0, _) => (Some(before), 0),
        _ => return Err(malformed.into()),
    };
    let stored = None;
    Ok(Layout { data_files, coding, start, skip, stored, big_endian, interleaved })
}

/// The type of one number; the names are those of C, C99 and teem.
fn number(name: &str) -> Result<VoxelType, FieldError> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "signed char" | "int8" | "int8_t" => VoxelType::I8,
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => VoxelType::U8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => {
            VoxelType::I16
        }
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => {
            VoxelType::U16
        }
        "int" | "signed int" | "int32" | "int32_t" => VoxelType::I32,
        "uint" | "unsigned int" | "uint32" | "uint32_t" => VoxelType::U32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => VoxelType::I64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            VoxelType::U64
        }
        "float" => VoxelType::F32,
        "double" => VoxelType::F64,
        "block" => return Err(FieldError::Unsupported { field: "type", what: "block" }),
        _ => return Err(FieldError::Malformed { field: "type" }),
    })
}
