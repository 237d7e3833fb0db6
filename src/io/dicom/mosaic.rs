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
        let slices = by_csa().or_else(by_tag).filter(|n| n.fract() == 0.0 && *n >= 1.0)? as usize;
        let side = (1..).find(|side| side * side >= slices)?;
        let even = layout.rows.is_multiple_of(side) && layout.columns.is_multiple_of(side);
        let fits = even && slices <= MAX_SLICES;
        let (rows, columns) = (layout.rows / side, layout.columns / side);
        fits.then_some(Self { side, rows, columns, slices })
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

/// The numbers of an entry of a CSA header of the second kind (`SV10`); none
/// where it is absent or the header another one.
///
/// # Source
/// Siemens writes it without a specification; the layout is described in the
/// documentation of nibabel, "Siemens format DICOM with CSA header".
fn csa_numbers(csa: &[u8], name: &str) -> Vec<f64> {
    csa_texts(csa, name)
        .unwrap_or_default()
        .iter()
        .filter_map(|text| text.trim_matches(['\0', ' ']).parse().ok())
        .collect()
}

fn csa_texts(csa: &[u8], name: &str) -> Option<Vec<String>> {
    let mut rest = csa.strip_prefix(b"SV10")?.get(4..)?;
    let number = |rest: &mut &[u8]| {
        let (four, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        Some(u32::from_le_bytes(*four) as usize)
    };
    let entries = number(&mut rest)?.min(1024);
    number(&mut rest)?;
    for _ in 0..entries {
        let (head, after) = rest.split_at_checked(64)?;
        rest = after;
        let title = head.split(|&byte| byte == 0).next()?;
        for _ in 0..3 {
            number(&mut rest)?;
        }
        let items = number(&mut rest)?.min(1024);
        number(&mut rest)?;
        let mut texts = Vec::new();
        for _ in 0..items {
            number(&mut rest)?;
            let length = number(&mut rest)?;
            number(&mut rest)?;
            number(&mut rest)?;
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
