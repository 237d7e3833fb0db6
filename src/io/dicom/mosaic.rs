//! Siemens mosaics: the slices of a volume side by side in one image.

use glam::DVec3;

use super::{
    DicomError, PixelLayout, Plane,
    frame::plane_of_one,
    tags,
    values::{Attributes, Values},
};

/// Most slices: a mosaic of 32 × 32 tiles.
const MAX_SLICES: usize = 1024;

/// Tiles of a mosaic: rows of tiles, filled from the left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tiling {
    /// Tiles in a row of tiles, as many as there are rows.
    pub(super) side: usize,
    /// Rows of a tile.
    pub(super) rows: usize,
    /// Columns of a tile.
    pub(super) columns: usize,
    /// Tiles that hold a slice.
    pub(super) slices: usize,
}

impl Tiling {
    /// The tiling of an image; none where it is no mosaic or does not say how
    /// many slices it has.
    pub(super) fn of(values: &Values, layout: &PixelLayout) -> Option<Self> {
        let own = &values.own;
        if !own.words(tags::IMAGE_TYPE).iter().any(|word| word == "MOSAIC") {
            return None;
        }
        let csa = own.bytes(tags::SIEMENS_CSA_IMAGE).unwrap_or_default();
        let by_csa = || csa_numbers(csa, "NumberOfImagesInMosaic").first().copied();
        let by_tag = || {
            let binary = own.u16(tags::SIEMENS_MOSAIC_IMAGES).ok().flatten();
            own.decimal(tags::SIEMENS_MOSAIC_IMAGES).or(binary.map(f64::from))
        };
        let usable = |n: &f64| n.fract() == 0.0 && (1.0..=MAX_SLICES as f64).contains(n);
        let slices = by_csa().or_else(by_tag).filter(usable)? as usize;
        let side = (1..).find(|side| side * side >= slices)?;
        let even = layout.rows.is_multiple_of(side) && layout.columns.is_multiple_of(side);
        let (rows, columns) = (layout.rows / side, layout.columns / side);
        even.then_some(Self { side, rows, columns, slices })
    }

    /// Row and column of the first pixel of a tile.
    pub(super) fn corner(&self, tile: usize) -> (usize, usize) {
        (tile / self.side * self.rows, tile % self.side * self.columns)
    }
}

/// The planes of a mosaic's slices; none where the image is no mosaic.
///
/// The position in the header is that of a plane as large as the mosaic, whose
/// middle is that of the first slice. The next slice lies *Spacing Between
/// Slices* further along the normal that the CSA header names: positions of
/// its own a slice has not.
pub(super) fn tiles(
    values: &Values,
    layout: &PixelLayout,
) -> Result<Option<Vec<Option<Plane>>>, DicomError> {
    let Some(tiling) = Tiling::of(values, layout) else { return Ok(None) };
    let own = &values.own;
    let whole = plane_of_one(values, layout)?;
    let gap_mm = own.decimal(tags::SPACING_BETWEEN_SLICES).filter(|mm| (1e-3..1e3).contains(mm));
    let (Some(whole), Some(gap_mm)) = (whole, gap_mm) else {
        return Ok(Some(vec![None; tiling.slices]));
    };
    let normal = normal(own, &whole);
    let [between_rows, between_columns] = whole.spacing_mm;
    let cut = |whole: usize, tile: usize| (whole - tile) as f64 / 2.0;
    let first = whole.position_mm
        + whole.along_row * between_columns * cut(layout.columns, tiling.columns)
        + whole.along_column * between_rows * cut(layout.rows, tiling.rows);
    let plane = |slice: usize| {
        let position_mm = first + normal * gap_mm * slice as f64;
        Some(Plane { rows: tiling.rows, columns: tiling.columns, position_mm, ..whole })
    };
    Ok(Some((0..tiling.slices).map(plane).collect()))
}

/// The way from slice to slice: across the plane, to the side that the CSA
/// header names.
fn normal(own: &Attributes, plane: &Plane) -> DVec3 {
    let across = plane.along_row.cross(plane.along_column).normalize();
    let csa = own.bytes(tags::SIEMENS_CSA_IMAGE).unwrap_or_default();
    match csa_numbers(csa, "SliceNormalVector")[..] {
        [x, y, z] if DVec3::new(x, y, z).dot(across) < 0.0 => -across,
        _ => across,
    }
}

/// The numbers of an entry of a CSA header; none where it is absent.
fn csa_numbers(csa: &[u8], name: &str) -> Vec<f64> {
    csa_texts(csa, name)
        .unwrap_or_default()
        .iter()
        .filter_map(|text| text.trim_matches(['\0', ' ']).parse().ok())
        .collect()
}

/// Most entries of a header, and values of an entry.
const MAX_CSA: usize = 1024;

/// The values of an entry of a CSA header: of the second kind, which begins with
/// `SV10`, or of the first, which does not and writes lengths that are too large by
/// the number of values of its first entry.
///
/// # Source
/// Siemens writes it without a specification; the layout is described in the
/// documentation of nibabel, "Siemens format DICOM with CSA header"; the excess of
/// the first kind is that of the first entry in SPM's reader.
fn csa_texts(csa: &[u8], name: &str) -> Option<Vec<String>> {
    let second = csa.strip_prefix(b"SV10").map(|rest| rest.get(4..));
    let is_first = second.is_none();
    let mut rest = second.unwrap_or(Some(csa))?;
    let number = |rest: &mut &[u8]| {
        let (four, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        Some(u32::from_le_bytes(*four) as usize)
    };
    let entries = number(&mut rest)?;
    if is_first && entries > MAX_CSA {
        return None;
    }
    number(&mut rest)?;
    let mut excess = None;
    for _ in 0..entries.min(MAX_CSA) {
        let (head, after) = rest.split_at_checked(64)?;
        rest = after;
        let title = head.split(|&byte| byte == 0).next()?;
        for _ in 0..3 {
            number(&mut rest)?;
        }
        let items = number(&mut rest)?.min(MAX_CSA);
        number(&mut rest)?;
        let excess = *excess.get_or_insert(if is_first { items } else { 0 });
        let mut texts = Vec::new();
        for _ in 0..items {
            let lengths = [number(&mut rest)?, number(&mut rest)?];
            number(&mut rest)?;
            number(&mut rest)?;
            let length = if is_first {
                // A length below the excess ends the values.
                let Some(length) = lengths[0].checked_sub(excess) else { break };
                length
            } else {
                lengths[1]
            };
            let text = rest.get(..length)?;
            texts.push(String::from_utf8_lossy(text).into_owned());
            rest = rest.get(length.checked_next_multiple_of(4)?..).unwrap_or_default();
        }
        if title == name.as_bytes() {
            texts.retain(|text| !text.trim_matches(['\0', ' ']).is_empty());
            return Some(texts);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header whose entries have room for more values than they have, as Siemens
    /// writes them.
    fn csa(is_first: bool, entries: &[(&str, &[&str])]) -> Vec<u8> {
        const ROOM: usize = 6;
        let mut bytes = if is_first { Vec::new() } else { b"SV10\x04\x03\x02\x01".to_vec() };
        let numbers = |bytes: &mut Vec<u8>, all: &[usize]| {
            all.iter().for_each(|&n| bytes.extend((n as u32).to_le_bytes()));
        };
        numbers(&mut bytes, &[entries.len(), 77]);
        for (name, values) in entries {
            let mut title = [0; 64];
            title[..name.len()].copy_from_slice(name.as_bytes());
            bytes.extend(title);
            numbers(&mut bytes, &[values.len(), 0x5349, 6, ROOM, 77]);
            for n in 0..ROOM {
                let mut text = values.get(n).map_or(Vec::new(), |text| text.as_bytes().to_vec());
                if !text.is_empty() {
                    text.push(0);
                }
                let excess = if is_first { ROOM } else { 0 };
                let other = if is_first { 0 } else { text.len() };
                numbers(&mut bytes, &[text.len() + excess, other, 77, 0]);
                text.resize(text.len().next_multiple_of(4), 0);
                bytes.extend(text);
            }
        }
        bytes
    }

    #[test]
    fn both_kinds_of_header_are_read_and_neither_hangs_where_it_is_cut() {
        let entries: [(&str, &[&str]); 3] = [
            ("EchoLinePosition", &["64"]),
            ("NumberOfImagesInMosaic", &["36"]),
            ("SliceNormalVector", &["0.5", "-0.25", "0.75"]),
        ];
        for is_first in [true, false] {
            let bytes = csa(is_first, &entries);
            assert_eq!(csa_numbers(&bytes, "NumberOfImagesInMosaic"), [36.0]);
            assert_eq!(csa_numbers(&bytes, "SliceNormalVector"), [0.5, -0.25, 0.75]);
            assert!(csa_numbers(&bytes, "Absent").is_empty());
            for cut in 0..bytes.len() {
                let found = csa_numbers(&bytes[..cut], "NumberOfImagesInMosaic");
                assert!(found.is_empty() || found == [36.0]);
            }
        }
    }
}
