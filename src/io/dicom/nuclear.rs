//! Nuclear medicine: where the frames of a reconstructed SPECT lie.

use super::{
    DicomError, Frame, PixelLayout, Plane, tags,
    tags::Tag,
    values::{Attributes, Values},
};

/// *NM Image Storage*.
const NM: &str = "1.2.840.10008.5.1.4.1.1.20";

/// What else than its slice tells a frame from the others.
const VECTORS: [Tag; 7] = [
    tags::ENERGY_WINDOW_VECTOR,
    tags::DETECTOR_VECTOR,
    tags::PHASE_VECTOR,
    tags::ROTATION_VECTOR,
    tags::RR_INTERVAL_VECTOR,
    tags::TIME_SLOT_VECTOR,
    tags::TIME_SLICE_VECTOR,
];

/// Gives a frame of a nuclear medicine image the place that its detector has, and
/// its slice behind that; and what tells it apart at its place. Other images, and
/// frames that have a plane, stay as they are.
///
/// The first slice lies at *Image Position* of the detector, the next ones *Spacing
/// Between Slices* further along the normal, against it where that is negative:
/// positions of their own they have not. Without *Slice Vector* the frames are the
/// slices, where there are as many.
///
/// # Source
/// DICOM PS3.3 C.8.4.8 (frame increment vectors), C.8.4.11 (detector), C.8.4.15
/// (reconstruction; sign of the spacing).
pub(super) fn complete(
    frame: &mut Frame,
    values: &Values,
    index: usize,
    frames: u32,
    layout: &PixelLayout,
) -> Result<(), DicomError> {
    let own = &values.own;
    if own.text(tags::SOP_CLASS).as_deref() != Some(NM) {
        return Ok(());
    }
    let number = |tag| own.u16_at(tag, index);
    frame.temporal_position = number(tags::TIME_SLOT_VECTOR).map(i64::from);
    frame.dimensions = VECTORS.iter().filter_map(|&tag| number(tag).map(u32::from)).collect();
    if frame.plane.is_some() {
        return Ok(());
    }
    let Some(first) = first_plane(values, index, layout)? else { return Ok(()) };
    if frames == 1 {
        frame.plane = Some(first);
        return Ok(());
    }
    let gap_mm =
        own.decimal(tags::SPACING_BETWEEN_SLICES).filter(|mm| (1e-3..1e3).contains(&mm.abs()));
    let all = || own.u16(tags::NUMBER_OF_SLICES).ok().flatten().map(u32::from) == Some(frames);
    let slice = number(tags::SLICE_VECTOR)
        .and_then(|slice| slice.checked_sub(1))
        .map(usize::from)
        .or_else(|| (own.bytes(tags::SLICE_VECTOR).is_none() && all()).then_some(index));
    frame.plane = gap_mm.zip(slice).map(|(gap_mm, slice)| Plane {
        position_mm: first.position_mm + first.normal() * gap_mm * slice as f64,
        ..first
    });
    Ok(())
}

/// The plane of the first slice, as the detector of a frame has it.
fn first_plane(
    values: &Values,
    index: usize,
    layout: &PixelLayout,
) -> Result<Option<Plane>, DicomError> {
    let own = &values.own;
    let detectors = values.items(tags::DETECTOR);
    let detector = match own.u16_at(tags::DETECTOR_VECTOR, index) {
        Some(number) => usize::from(number).checked_sub(1).and_then(|n| detectors.get(n)),
        None => detectors.first(),
    };
    let holds = |tag| {
        let has = |attributes: &&Attributes| attributes.text(tag).is_some();
        detector.filter(has).or(Some(own).filter(has))
    };
    Plane::of(holds(tags::IMAGE_POSITION), holds(tags::IMAGE_ORIENTATION), Some(own), layout)
}
