//! What the header of one instance says.

use std::{fs::File, io::BufReader, path::Path};

use super::{
    DicomError, Instance, Kind, Photometric, PixelLayout, frame,
    pixel_data::PixelData,
    source::Source,
    suv, tags,
    values::{Attributes, Values},
    walk::{Walked, salvage, walk},
};
use crate::study::known_body_part;

/// The header of the DICOM file at a path; its pixels are not read, but it is
/// checked that they are there.
///
/// # Errors
/// [`DicomError`] where the structure is damaged or hostile, or an image has no
/// pixels or fewer than it promises. Identifiers may be empty: see
/// [`Instance::complete`].
///
/// # Source
/// DICOM PS3.3 C.7.6.2 (plane), C.7.6.3 (pixels), C.7.6.16 (multi-frame).
pub fn open_header(path: &Path) -> Result<Instance, DicomError> {
    Ok(open(path)?.instance)
}

/// The header of a DICOM file that is open at its start; `path` is where it lies.
///
/// # Errors
/// As [`open_header`].
pub fn read_header(file: BufReader<File>, path: &Path) -> Result<Instance, DicomError> {
    Ok(read(Source::new(file)?, path)?.instance)
}

/// *Series Instance UID* of a file that [`open_header`] refuses, where it stands
/// before the damage.
pub fn series_of_damaged(path: &Path) -> Option<String> {
    let values = salvage(Source::open(path).ok()?)?;
    values.own.text(tags::SERIES_INSTANCE).map(|uid| uid.into_owned())
}

/// A file whose header was read.
pub(super) struct Opened {
    pub(super) walked: Walked,
    pub(super) instance: Instance,
    /// Where the pixels of an image lie.
    pub(super) data: Option<PixelData>,
}

pub(super) fn open(path: &Path) -> Result<Opened, DicomError> {
    read(Source::open(path)?, path)
}

fn read(source: Source, path: &Path) -> Result<Opened, DicomError> {
    let mut walked = walk(source)?;
    let mut instance = Instance::of(path, &walked)?;
    let own = &walked.values.own;
    let mut data = None;
    if instance.kind == Kind::Image {
        let layout = PixelLayout::of(own)?;
        instance.pixels = Some(layout);
        data = Some(PixelData::find(&mut walked, &layout, instance.number_of_frames)?);
        match layout.photometric {
            Photometric::Grey => {}
            Photometric::Palette => instance.kind = Kind::NotAVolume("palette image"),
            _ => instance.kind = Kind::NotAVolume("colour image"),
        }
        let frames = instance.number_of_frames;
        instance.frames = frame::frames_of(&walked, instance.kind, &layout, frames)?;
        instance.modality = instance.frames.first().and_then(|frame| frame.modality);
    } else if walked.pixels.is_some() {
        instance.pixels = PixelLayout::of(own).ok();
    }
    Ok(Opened { walked, instance, data })
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

    /// All but the frames and how pixels are stored.
    fn of(path: &Path, walked: &Walked) -> Result<Self, DicomError> {
        let values = &walked.values;
        let own = &values.own;
        let sop_class = own.text(tags::SOP_CLASS).unwrap_or_default().into_owned();
        let code = own.text(tags::MODALITY).unwrap_or_default().to_ascii_uppercase();
        if sop_class.is_empty() && code.is_empty() {
            return Err(DicomError::Missing { attribute: tags::name(tags::SOP_CLASS) });
        }
        let (unit, suv_factor) = unit(values, &code);
        // Anonymisers empty these; `complete` fills them in.
        let identifier = |tag| own.text(tag).unwrap_or_default().into_owned();
        Ok(Self {
            file: path.to_owned(),
            patient_id: identifier(tags::PATIENT_ID),
            study_uid: identifier(tags::STUDY_INSTANCE),
            series_uid: identifier(tags::SERIES_INSTANCE),
            sop_uid: identifier(tags::SOP_INSTANCE),
            frame_of_reference: own.text(tags::FRAME_OF_REFERENCE).map(|uid| uid.into_owned()),
            kind: Kind::of(&sop_class, &own.words(tags::IMAGE_TYPE), &code),
            sop_class,
            transfer_syntax: walked.transfer_syntax.clone(),
            modality: None,
            body_part: own.text(tags::BODY_PART).and_then(|word| known_body_part(&word)),
            number_of_frames: number_of_frames(own)?,
            frames: Vec::new(),
            pixels: None,
            unit,
            suv_factor,
            concatenation: own.text(tags::CONCATENATION).map(|uid| {
                let total = own.u16(tags::CONCATENATION_TOTAL).ok().flatten();
                (uid.into_owned(), total)
            }),
            instance_number: own.decimal(tags::INSTANCE_NUMBER).map(|n| n as i64),
            acquisition_time: own.text(tags::ACQUISITION_TIME).map(|time| time.into_owned()),
        })
    }
}

fn number_of_frames(own: &Attributes) -> Result<u32, DicomError> {
    let attribute = tags::name(tags::NUMBER_OF_FRAMES);
    match own.decimals::<1>(tags::NUMBER_OF_FRAMES)? {
        None => Ok(1),
        Some([n]) if n >= 1.0 && n <= f64::from(i32::MAX) && n.fract() == 0.0 => Ok(n as u32),
        Some(_) => Err(DicomError::Malformed { attribute }),
    }
}

/// The unit of the values after rescale, from the standard's list, and what makes
/// them g/ml of a PET.
///
/// # Source
/// DICOM PS3.3 C.11.1.1.2 (HU is the default of CT).
fn unit(values: &Values, modality: &str) -> (Option<&'static str>, Result<f64, &'static str>) {
    match modality {
        "CT" => (Some("HU"), Err("no PET")),
        "PT" => (suv::unit(values), suv::factor(values)),
        _ => (None, Err("no PET")),
    }
}
