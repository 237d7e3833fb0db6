//! Whether a file is whole, whatever it holds.

use std::path::Path;

use super::{
    DicomError, PixelLayout, encapsulated::Frames, pixel_data::PixelData, source::Source, tags,
    walk::walk,
};

/// Which instance a file holds. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identified {
    /// *Study Instance UID*; empty where the file has none.
    pub study_uid: String,
    /// *Series Instance UID*; empty where the file has none.
    pub series_uid: String,
    /// *SOP Instance UID*; empty where the file has none.
    pub sop_uid: String,
    /// *SOP Class UID*; empty where the file has none.
    pub sop_class: String,
}

impl std::fmt::Debug for Identified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identified(hidden)")
    }
}

/// Which instance the DICOM file at a path holds, where it is whole: its structure
/// is sound, its pixel data is as long as it announces, and as long as rows,
/// columns, bits and frames make. What mivox cannot read may be whole all the same.
///
/// # Errors
/// [`DicomError`] where the structure is damaged or hostile, or the file ends too
/// early.
pub fn check_whole(path: &Path) -> Result<Identified, DicomError> {
    let mut walked = walk(Source::open(path)?)?;
    let text = |tag| walked.values.own.text(tag).unwrap_or_default().into_owned();
    let found = Identified {
        study_uid: text(tags::STUDY_INSTANCE),
        series_uid: text(tags::SERIES_INSTANCE),
        sop_uid: text(tags::SOP_INSTANCE),
        sop_class: text(tags::SOP_CLASS),
    };
    let Some(pixels) = walked.pixels else { return Ok(found) };
    let frames = walked.values.own.decimal(tags::NUMBER_OF_FRAMES);
    let frames = frames.map_or(1, |n| n.clamp(1.0, f64::from(u32::MAX)) as u32);
    let layout = PixelLayout::of(&walked.values.own);
    let checked = layout.and_then(|layout| PixelData::find(&mut walked, &layout, frames));
    match (checked, pixels.length) {
        (Ok(PixelData::Encapsulated { .. }), _) => {}
        (Err(error), _) if is_damage(&error) => return Err(error),
        (_, Some(length)) => walked.source.skip(length)?,
        // How many frames there are does not matter where it is not known.
        (Err(_) | Ok(_), None) => {
            Frames::read(&mut walked.source, 1)?;
        }
    }
    Ok(found)
}

/// Whether the bytes are to blame, and not that mivox does not read them.
fn is_damage(error: &DicomError) -> bool {
    !matches!(
        error,
        DicomError::Missing { .. } | DicomError::Malformed { .. } | DicomError::Unsupported { .. }
    )
}
