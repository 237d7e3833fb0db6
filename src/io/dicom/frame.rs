//! What is known of each frame without its pixels.

use std::sync::Arc;

use glam::DVec3;
use serde::{Deserialize, Serialize};

use super::{
    DicomError, Kind, PixelLayout, mosaic, nuclear,
    scope::Scope,
    tags,
    values::{Attributes, Values},
    walk::Walked,
    weighting,
};
use crate::study::Modality;

/// One plane: an image of one frame, a frame of many, or a tile of a mosaic.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Frame {
    /// Where its pixels lie, where the header says so.
    pub plane: Option<Plane>,
    /// What was measured, where it is one of the modalities that are known.
    pub modality: Option<Modality>,
    /// *Image Type*, or *Frame Type* with the complex component; upper case.
    /// Written down once for all frames that share it.
    #[serde(skip)]
    pub image_type: Arc<[String]>,
    /// Timing of MR.
    pub timing: MrTiming,
    /// *Temporal Position Identifier* or *Index*.
    pub temporal_position: Option<i64>,
    /// Unit vector of the diffusion gradient in the patient.
    pub gradient: Option<[f64; 3]>,
    /// *Stack ID*.
    pub stack: Option<String>,
    /// *Dimension Index Values*, but for those that number places.
    pub dimensions: Vec<u32>,
}

/// Frames as they are written down and read back: what they share is there once, so
/// that they take no more room than in memory.
pub(super) mod kept {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Frame;

    pub fn serialize<S: Serializer>(frames: &[Frame], to: S) -> Result<S::Ok, S::Error> {
        let runs = frames.chunk_by(|a, b| Arc::ptr_eq(&a.image_type, &b.image_type));
        let image_types: Vec<(&[String], usize)> =
            runs.filter_map(|run| Some((&*run.first()?.image_type, run.len()))).collect();
        (image_types, frames).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Frame>, D::Error> {
        let (image_types, mut frames) =
            <(Vec<(Vec<String>, usize)>, Vec<Frame>)>::deserialize(from)?;
        let mut rest = frames.iter_mut();
        for (image_type, count) in image_types {
            let image_type: Arc<[String]> = image_type.into();
            rest.by_ref().take(count).for_each(|frame| frame.image_type = image_type.clone());
        }
        Ok(frames)
    }
}

/// Where the pixels of a frame lie, in DICOM's LPS+ mm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plane {
    /// *Rows*, or those of a tile.
    pub rows: usize,
    /// *Columns*, or those of a tile.
    pub columns: usize,
    /// Distance in mm between the centres of neighbouring rows, then columns.
    pub spacing_mm: [f64; 2],
    /// Unit vector along a row: the way the column index grows.
    pub along_row: DVec3,
    /// Unit vector along a column: the way the row index grows.
    pub along_column: DVec3,
    /// Centre of the first pixel.
    pub position_mm: DVec3,
}

impl Plane {
    /// The plane by what holds its position, its orientation and its spacing; none
    /// where one of them is absent.
    pub(super) fn of(
        position: Option<&Attributes>,
        orientation: Option<&Attributes>,
        spacing: Option<&Attributes>,
        layout: &PixelLayout,
    ) -> Result<Option<Self>, DicomError> {
        fn decimals<const N: usize>(
            holds: Option<&Attributes>,
            tag: tags::Tag,
        ) -> Result<Option<[f64; N]>, DicomError> {
            holds.map_or(Ok(None), |attributes| attributes.decimals::<N>(tag))
        }
        let position = decimals::<3>(position, tags::IMAGE_POSITION)?;
        let orientation = decimals::<6>(orientation, tags::IMAGE_ORIENTATION)?;
        let spacing = decimals::<2>(spacing, tags::PIXEL_SPACING)?;
        let (Some(position), Some([a, b, c, d, e, f]), Some(spacing_mm)) =
            (position, orientation, spacing)
        else {
            return Ok(None);
        };
        if spacing_mm.iter().any(|&mm| !(1e-6..1e6).contains(&mm)) {
            return Err(DicomError::Malformed { attribute: tags::name(tags::PIXEL_SPACING) });
        }
        let (row, column) = (DVec3::new(a, b, c), DVec3::new(d, e, f));
        // Files round the cosines to as few as four digits.
        let is_unit = |v: DVec3| (v.length() - 1.0).abs() < 1e-2;
        if !is_unit(row) || !is_unit(column) || row.dot(column).abs() > 1e-2 {
            return Err(DicomError::Malformed { attribute: tags::name(tags::IMAGE_ORIENTATION) });
        }
        Ok(Some(Self {
            rows: layout.rows,
            columns: layout.columns,
            spacing_mm,
            along_row: row.normalize(),
            along_column: column.normalize(),
            position_mm: DVec3::from_array(position),
        }))
    }

    /// Unit vector across the plane: along a row times along a column.
    pub fn normal(&self) -> DVec3 {
        self.along_row.cross(self.along_column).normalize()
    }
}

/// Times and angle of an MR sequence, and what else tells echoes and
/// directions apart.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct MrTiming {
    /// TR in ms.
    pub repetition_ms: Option<f64>,
    /// TE in ms.
    pub echo_ms: Option<f64>,
    /// TI in ms.
    pub inversion_ms: Option<f64>,
    /// Flip angle in degrees.
    pub flip_degrees: Option<f64>,
    /// *Echo Number*, the first one.
    pub echo_number: Option<i64>,
    /// *Trigger Time* or *Nominal Cardiac Trigger Delay Time* in ms.
    pub trigger_ms: Option<f64>,
    /// b-value in s/mm².
    pub b_value: Option<f64>,
}

/// The frames of an image; for another object none. The pixels must have been
/// found to be there: as many frames are made as the header announces.
pub(super) fn frames_of(
    walked: &Walked,
    kind: Kind,
    layout: &PixelLayout,
    frames: u32,
) -> Result<Vec<Frame>, DicomError> {
    if kind != Kind::Image {
        return Ok(Vec::new());
    }
    let values = &walked.values;
    if frames == 1
        && let Some(tiles) = mosaic::tiles(values, layout)?
    {
        let whole = frame(values, 0, 1, layout)?;
        return Ok(tiles.into_iter().map(|plane| Frame { plane, ..whole.clone() }).collect());
    }
    // Frames that say the same share it: a file may have as many as it has bits.
    let mut last: Arc<[String]> = Arc::from([]);
    let mut shared = |mut frame: Frame| {
        if frame.image_type == last {
            frame.image_type = last.clone();
        }
        last = frame.image_type.clone();
        frame
    };
    let frames_of = (0..frames as usize).map(|index| frame(values, index, frames, layout));
    let mut found: Vec<Frame> =
        frames_of.map(|frame| frame.map(&mut shared)).collect::<Result<_, _>>()?;
    for (index, frame) in found.iter_mut().enumerate() {
        nuclear::complete(frame, values, index, frames, layout)?;
    }
    Ok(found)
}

fn frame(
    values: &Values,
    index: usize,
    frames: u32,
    layout: &PixelLayout,
) -> Result<Frame, DicomError> {
    let scope = Scope::of_frame(values, index);
    let mut image_type = scope.with(tags::FRAME_TYPE).words(tags::FRAME_TYPE);
    if image_type.is_empty() {
        image_type = values.own.words(tags::IMAGE_TYPE);
    }
    image_type.extend(scope.with(tags::COMPLEX_COMPONENT).words(tags::COMPLEX_COMPONENT));
    let timing = timing(&scope);
    let code = values.own.text(tags::MODALITY).unwrap_or_default().to_ascii_uppercase();
    let modality = match code.as_str() {
        "CT" => Some(Modality::Ct),
        "PT" => Some(Modality::Pet),
        "NM" => Some(Modality::Spect),
        "MR" => Some(weighting::weighting(&scope, &timing, &image_type)),
        _ => None,
    };
    let index = scope.with(tags::TEMPORAL_POSITION_INDEX).u32s(tags::TEMPORAL_POSITION_INDEX);
    let identifier = scope.with(tags::TEMPORAL_POSITION).decimal(tags::TEMPORAL_POSITION);
    let gradient = scope.with(tags::GRADIENT_ORIENTATION);
    let gradient: Vec<f64> = gradient.f64s(tags::GRADIENT_ORIENTATION).collect();
    Ok(Frame {
        plane: plane(&scope, frames, layout)?,
        modality,
        image_type: image_type.into(),
        timing,
        temporal_position: index.first().map(|&n| i64::from(n)).or(identifier.map(|n| n as i64)),
        gradient: gradient.first_chunk::<3>().copied(),
        stack: scope.with(tags::STACK_ID).text(tags::STACK_ID).map(|text| text.into_owned()),
        dimensions: dimensions(values, &scope),
    })
}

fn timing(scope: &Scope<'_>) -> MrTiming {
    let decimal = |tag| scope.with(tag).decimal(tag);
    let double = |tag| scope.with(tag).f64(tag);
    let private_b = || {
        let siemens = scope.with(tags::SIEMENS_B_VALUE).decimal(tags::SIEMENS_B_VALUE);
        // GE writes it into every image, and adds 10⁹ to some.
        let ge = scope.with(tags::GE_B_VALUE).decimal(tags::GE_B_VALUE);
        siemens.or(ge.map(|b| b % 1e5).filter(|&b| b > 0.0))
    };
    MrTiming {
        repetition_ms: decimal(tags::REPETITION_TIME),
        echo_ms: double(tags::EFFECTIVE_ECHO_TIME).or(decimal(tags::ECHO_TIME)),
        inversion_ms: double(tags::INVERSION_TIMES).or(decimal(tags::INVERSION_TIME)),
        flip_degrees: decimal(tags::FLIP_ANGLE),
        echo_number: decimal(tags::ECHO_NUMBERS).map(|n| n as i64),
        trigger_ms: double(tags::CARDIAC_TRIGGER_DELAY).or(decimal(tags::TRIGGER_TIME)),
        b_value: double(tags::B_VALUE).or_else(private_b),
    }
}

/// The plane of a frame; none where position, orientation or spacing is absent.
/// Of many frames each has its own: what the data set says itself counts for an
/// image of one frame only.
fn plane(
    scope: &Scope<'_>,
    frames: u32,
    layout: &PixelLayout,
) -> Result<Option<Plane>, DicomError> {
    let holds = |tag| {
        if frames == 1 { Some(scope.with(tag)) } else { scope.in_groups(tag) }
    };
    let [position, orientation, spacing] =
        [tags::IMAGE_POSITION, tags::IMAGE_ORIENTATION, tags::PIXEL_SPACING].map(holds);
    Plane::of(position, orientation, spacing, layout)
}

/// The plane of an image as if it had one frame.
pub(super) fn plane_of_one(
    values: &Values,
    layout: &PixelLayout,
) -> Result<Option<Plane>, DicomError> {
    plane(&Scope::of_frame(values, 0), 1, layout)
}

/// Index values of the dimensions that do not number places.
///
/// # Source
/// DICOM PS3.3 C.7.6.17 (multi-frame dimension).
fn dimensions(values: &Values, scope: &Scope<'_>) -> Vec<u32> {
    const PLACES: [tags::Tag; 4] =
        [(0x0020, 0x9056), (0x0020, 0x9057), tags::IMAGE_POSITION, tags::IMAGE_ORIENTATION];
    let Some(group) = scope.in_groups(tags::DIMENSION_VALUES) else { return Vec::new() };
    let pointers = values.items(tags::DIMENSION_INDEX).iter();
    let pointers = pointers.map(|item| item.pointer(tags::DIMENSION_POINTER));
    let indexed = group.u32s(tags::DIMENSION_VALUES).into_iter().zip(pointers);
    let other = indexed.filter(|(_, tag)| tag.is_some_and(|tag| !PLACES.contains(&tag)));
    other.map(|(index, _)| index).collect()
}
