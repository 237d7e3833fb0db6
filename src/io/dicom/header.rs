//! What the header of one instance says.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
};

use glam::DVec3;

use super::{
    DicomError, Kind,
    source::Source,
    tags,
    values::Values,
    walk::{PixelStart, Walked, walk},
    weighting,
};
use crate::study::{Modality, known_body_part};

/// One DICOM instance: its real identifiers and what is needed to place it in
/// a volume.
///
/// `Debug` prints neither identifiers nor the path.
#[derive(Clone)]
#[non_exhaustive]
pub struct Instance {
    /// Where it lies.
    pub file: PathBuf,
    /// *Patient ID*; empty where the file has none.
    pub patient_id: String,
    /// *Study Instance UID*; empty where the file has none.
    pub study_uid: String,
    /// *Series Instance UID*; empty where the file has none.
    pub series_uid: String,
    /// *SOP Instance UID*; empty where the file has none.
    pub sop_uid: String,
    /// *Frame of Reference UID*, where there is one.
    pub frame_of_reference: Option<String>,
    /// *SOP Class UID*; empty where it is absent.
    pub sop_class: String,
    /// *Transfer Syntax UID*, guessed where the file has no meta information.
    pub transfer_syntax: String,
    /// Whether it is a plane of a volume, and what else it is if not.
    pub kind: Kind,
    /// What was measured, where it is one of the modalities that are known.
    pub modality: Option<Modality>,
    /// *Body Part Examined*, where it is one of the standard's words.
    pub body_part: Option<&'static str>,
    /// *Image Type*, upper case.
    pub image_type: Vec<String>,
    /// Where its pixels lie, where the header says so.
    pub plane: Option<Plane>,
    /// *Number of Frames*; 1 where it is absent.
    pub frames: u32,
    /// How its pixels are stored; none where it has no pixels.
    pub pixels: Option<PixelLayout>,
    /// Unit of the values after rescale: `HU`, or one of the standard's words
    /// for PET.
    pub unit: Option<&'static str>,
    /// Timing of MR.
    pub timing: MrTiming,
    /// *Instance Number*.
    pub instance_number: Option<i64>,
    /// *Temporal Position Identifier*.
    pub temporal_position: Option<i64>,
    /// *Acquisition Time* as written.
    pub acquisition_time: Option<String>,
}

/// Where the pixels of an instance lie, in DICOM's LPS+ mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// *Rows*.
    pub rows: usize,
    /// *Columns*.
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

/// How pixels are stored, and what turns them into values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelLayout {
    /// 8 or 16 in what can be read.
    pub bits_allocated: u16,
    /// Bits that carry the value.
    pub bits_stored: u16,
    /// The highest of them, counted from 0.
    pub high_bit: u16,
    /// Whether the stored number is two's complement.
    pub signed: bool,
    /// 1 for grey, 3 for colour.
    pub samples: u16,
    /// Value per stored unit.
    pub slope: f64,
    /// Value of a stored zero.
    pub intercept: f64,
    /// Lowest and highest stored number that stand for "nothing here".
    pub padding: Option<(i32, i32)>,
}

/// Times and angle of an MR sequence, and what else tells echoes and
/// directions apart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
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
    /// *Trigger Time* in ms.
    pub trigger_ms: Option<f64>,
    /// b-value in s/mm².
    pub b_value: Option<f64>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("kind", &self.kind)
            .field("modality", &self.modality)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

/// The header of the DICOM file at a path; its pixels are not read, but it is
/// checked that they are there.
///
/// # Errors
/// [`DicomError`] where the structure is damaged or hostile, an identifier is
/// missing, or an image has no pixels or fewer than it promises.
///
/// # Source
/// DICOM PS3.3 C.7.6.2 (plane), C.7.6.3 (pixels), C.11.1 (rescale).
pub fn open_header(path: &Path) -> Result<Instance, DicomError> {
    let walked = walk(Source::new(File::open(path)?)?)?;
    let mut instance = Instance::from_walk(path, &walked)?;
    if instance.kind == Kind::Image {
        let layout = instance.pixels.ok_or(DicomError::NoPixels)?;
        let start = walked.pixels.ok_or(DicomError::NoPixels)?;
        check_length(&instance, &layout, start)?;
        if start.length.is_none() {
            super::codec::skip_fragments(walked.source)?;
        }
    }
    if layout_is_colour(&instance) {
        instance.kind = Kind::NotAVolume("colour image");
    }
    Ok(instance)
}

fn layout_is_colour(instance: &Instance) -> bool {
    instance.kind == Kind::Image && instance.pixels.is_some_and(|layout| layout.samples != 1)
}

/// Native pixel data must hold all frames.
fn check_length(
    instance: &Instance,
    layout: &PixelLayout,
    start: PixelStart,
) -> Result<(), DicomError> {
    let (Some(found), Some(plane)) = (start.length, instance.plane) else { return Ok(()) };
    let bits = (plane.rows * plane.columns) as u64
        * u64::from(layout.samples)
        * u64::from(layout.bits_allocated);
    let promised = bits.div_ceil(8).saturating_mul(u64::from(instance.frames));
    if promised > found { Err(DicomError::PixelLength { promised, found }) } else { Ok(()) }
}

impl Instance {
    /// Fills in the identifiers that anonymisers empty: the subject by the name
    /// given, study and series by the folder the file lies in, the instance by
    /// the file. What the file says itself stays.
    ///
    /// # Errors
    /// [`DicomError::Missing`] where nothing says whose scan it is: without a
    /// subject, splits could leak.
    pub fn complete(&mut self, subject: Option<String>) -> Result<(), DicomError> {
        if self.patient_id.is_empty() {
            let attribute = tags::name(tags::PATIENT_ID);
            self.patient_id = subject.ok_or(DicomError::Missing { attribute })?;
        }
        let folder = self.file.parent().unwrap_or(Path::new("")).to_string_lossy();
        for uid in [&mut self.study_uid, &mut self.series_uid] {
            if uid.is_empty() {
                *uid = folder.clone().into_owned();
            }
        }
        if self.sop_uid.is_empty() {
            self.sop_uid = self.file.to_string_lossy().into_owned();
        }
        Ok(())
    }

    pub(super) fn from_walk(path: &Path, walked: &Walked) -> Result<Self, DicomError> {
        let values = &walked.values;
        let sop_class = values.text(tags::SOP_CLASS).unwrap_or_default().into_owned();
        let image_type = values.words(tags::IMAGE_TYPE);
        let code = values.text(tags::MODALITY).unwrap_or_default().to_ascii_uppercase();
        let kind = Kind::of(&sop_class, &image_type, &code);
        let timing = timing(values);
        let modality = match code.as_str() {
            "CT" => Some(Modality::Ct),
            "PT" => Some(Modality::Pet),
            "NM" => Some(Modality::Spect),
            "MR" => Some(weighting::weighting(values, &timing, &image_type)),
            _ => None,
        };
        let image = kind == Kind::Image;
        // Anonymisers empty these; `complete` fills them in.
        let identifier = |tag| values.text(tag).unwrap_or_default().into_owned();
        Ok(Self {
            file: path.to_owned(),
            patient_id: identifier(tags::PATIENT_ID),
            study_uid: identifier(tags::STUDY_INSTANCE),
            series_uid: identifier(tags::SERIES_INSTANCE),
            sop_uid: identifier(tags::SOP_INSTANCE),
            frame_of_reference: values.text(tags::FRAME_OF_REFERENCE).map(|uid| uid.into_owned()),
            sop_class,
            transfer_syntax: walked.transfer_syntax.clone(),
            kind,
            modality,
            body_part: values.text(tags::BODY_PART).and_then(|word| known_body_part(&word)),
            image_type,
            plane: if image { plane(values)? } else { None },
            frames: frames(values)?,
            pixels: if image { Some(layout(values)?) } else { None },
            unit: unit(values, &code),
            timing,
            instance_number: values.decimal(tags::INSTANCE_NUMBER).map(|n| n as i64),
            temporal_position: values.decimal(tags::TEMPORAL_POSITION).map(|n| n as i64),
            acquisition_time: values.text(tags::ACQUISITION_TIME).map(|time| time.into_owned()),
        })
    }
}

fn frames(values: &Values) -> Result<u32, DicomError> {
    let attribute = tags::name(tags::NUMBER_OF_FRAMES);
    match values.decimals::<1>(tags::NUMBER_OF_FRAMES)? {
        None => Ok(1),
        Some([n]) if n >= 1.0 && n <= f64::from(i32::MAX) && n.fract() == 0.0 => Ok(n as u32),
        Some(_) => Err(DicomError::Malformed { attribute }),
    }
}

fn timing(values: &Values) -> MrTiming {
    MrTiming {
        repetition_ms: values.decimal(tags::REPETITION_TIME),
        echo_ms: values.decimal(tags::ECHO_TIME),
        inversion_ms: values.decimal(tags::INVERSION_TIME),
        flip_degrees: values.decimal(tags::FLIP_ANGLE),
        echo_number: values.decimal(tags::ECHO_NUMBERS).map(|n| n as i64),
        trigger_ms: values.decimal(tags::TRIGGER_TIME),
        b_value: values.f64(tags::B_VALUE),
    }
}

/// The plane of a single-frame image; none where position, orientation or
/// spacing is absent, as in a multi-frame image, which has them by frame.
fn plane(values: &Values) -> Result<Option<Plane>, DicomError> {
    let rows = usize::from(values.required_u16(tags::ROWS)?);
    let columns = usize::from(values.required_u16(tags::COLUMNS)?);
    for (size, tag) in [(rows, tags::ROWS), (columns, tags::COLUMNS)] {
        if size == 0 {
            return Err(DicomError::Malformed { attribute: tags::name(tag) });
        }
    }
    let position = values.decimals::<3>(tags::IMAGE_POSITION)?;
    let orientation = values.decimals::<6>(tags::IMAGE_ORIENTATION)?;
    let spacing = values.decimals::<2>(tags::PIXEL_SPACING)?;
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
    Ok(Some(Plane {
        rows,
        columns,
        spacing_mm,
        along_row: row.normalize(),
        along_column: column.normalize(),
        position_mm: DVec3::from_array(position),
    }))
}

fn layout(values: &Values) -> Result<PixelLayout, DicomError> {
    let bits_allocated = values.required_u16(tags::BITS_ALLOCATED)?;
    let bits_stored = values.u16(tags::BITS_STORED)?.unwrap_or(bits_allocated);
    let high_bit = values.u16(tags::HIGH_BIT)?.unwrap_or(bits_stored.saturating_sub(1));
    if bits_stored == 0 || bits_stored > bits_allocated {
        return Err(DicomError::Malformed { attribute: tags::name(tags::BITS_STORED) });
    }
    if high_bit >= bits_allocated || high_bit + 1 < bits_stored {
        return Err(DicomError::Malformed { attribute: tags::name(tags::HIGH_BIT) });
    }
    let signed = values.u16(tags::PIXEL_REPRESENTATION)?.unwrap_or(0) == 1;
    let number = |bits: u16| if signed { i32::from(bits as i16) } else { i32::from(bits) };
    let padding = values.u16(tags::PADDING)?.map(number);
    let limit = values.u16(tags::PADDING_LIMIT)?.map(number);
    let decimal = |tag| values.decimals::<1>(tag).map(|number| number.map(|[n]| n));
    let slope = decimal(tags::RESCALE_SLOPE)?.unwrap_or(1.0);
    if slope == 0.0 {
        return Err(DicomError::Malformed { attribute: tags::name(tags::RESCALE_SLOPE) });
    }
    if values.contains(tags::MODALITY_LUT) {
        return Err(DicomError::Unsupported { what: "a Modality LUT Sequence" });
    }
    Ok(PixelLayout {
        bits_allocated,
        bits_stored,
        high_bit,
        signed,
        samples: values.u16(tags::SAMPLES_PER_PIXEL)?.unwrap_or(1),
        slope,
        intercept: decimal(tags::RESCALE_INTERCEPT)?.unwrap_or(0.0),
        padding: padding.map(|p| (p.min(limit.unwrap_or(p)), p.max(limit.unwrap_or(p)))),
    })
}

/// The unit of the values after rescale, from the standard's list.
///
/// # Source
/// DICOM PS3.3 C.8.9.1.1.3 (*Units* of PET); C.11.1.1.2 (HU is the default of CT).
fn unit(values: &Values, modality: &str) -> Option<&'static str> {
    const PET: [&str; 6] = ["BQML", "GML", "CM2ML", "CNTS", "PROPCNTS", "CPS"];
    match modality {
        "CT" => Some("HU"),
        "PT" => {
            let words = values.words(tags::UNITS);
            PET.into_iter().find(|unit| words.iter().any(|word| word == unit))
        }
        _ => None,
    }
}
