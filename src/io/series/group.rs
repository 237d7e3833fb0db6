//! Which instances belong together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{self, BufReader, Read},
    path::Path,
};

use super::{SeriesError, image::Image, orientation};
use crate::{
    io::{
        archive,
        dicom::{Frame, Instance},
    },
    study::Identity,
};

/// Largest relative difference of echo time, repetition time and flip angle,
/// which scanners adjust a little from slice to slice.
const SAME_NUMBER: f64 = 1e-2;

/// Largest relative difference of pixel spacings, which files only round.
const SAME_SPACING: f64 = 1e-4;

/// Words of *Image Type* that may differ between slices of one volume: filters
/// and corrections that are noted where they were applied.
const REMARKS: [&str; 7] = ["ND", "NORM", "DIS2D", "DIS3D", "FIL", "SH", "ADD"];

/// Instances by study and series, in the order of their identifiers.
pub(super) fn by_series(instances: Vec<Instance>) -> Vec<Vec<Instance>> {
    let mut groups: BTreeMap<(String, String), Vec<Instance>> = BTreeMap::new();
    for instance in instances {
        let key = (instance.study_uid.clone(), instance.series_uid.clone());
        groups.entry(key).or_default().push(instance);
    }
    groups
        .into_values()
        .map(|mut group| {
            group.sort_by(|a, b| (a.kind, &a.sop_uid, &a.file).cmp(&(b.kind, &b.sop_uid, &b.file)));
            group
        })
        .collect()
}

pub(super) fn identity(instance: &Instance) -> Identity {
    Identity {
        subject: instance.patient_id.clone(),
        session: instance.study_uid.clone(),
        study: instance.study_uid.clone(),
        series: instance.series_uid.clone(),
    }
}

pub(super) fn check_patients(images: &[Instance]) -> Result<(), SeriesError> {
    let patients = images.iter().map(|image| &image.patient_id).collect::<BTreeSet<_>>().len();
    if patients > 1 { Err(SeriesError::Patients { patients }) } else { Ok(()) }
}

/// The instances with every SOP Instance UID once, and how many copies were
/// left out.
pub(super) fn without_copies(images: Vec<Instance>) -> Result<(Vec<Instance>, usize), SeriesError> {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<Instance> = Vec::new();
    let mut copies = 0;
    for image in images {
        match first.get(&image.sop_uid) {
            None => {
                first.insert(image.sop_uid.clone(), kept.len());
                kept.push(image);
            }
            Some(&index) => match same_bytes(&kept[index].file, &image.file) {
                Ok(true) => copies += 1,
                Ok(false) => return Err(SeriesError::Conflict),
                Err(error) => return Err(SeriesError::Compare(error)),
            },
        }
    }
    Ok((kept, copies))
}

fn same_bytes(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (archive::open(a)?, archive::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let mut b = BufReader::new(b);
    let mut a = BufReader::new(a);
    let (mut left, mut right) = (vec![0; 1 << 14], Vec::new());
    loop {
        let count = a.read(&mut left)?;
        right.clear();
        b.by_ref().take(count as u64).read_to_end(&mut right)?;
        if left[..count] != right[..] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Refuses concatenations of which a part is missing: the end of a volume could
/// be.
pub(super) fn check_concatenations(images: &[Instance]) -> Result<(), SeriesError> {
    let mut parts: BTreeMap<&str, (u16, usize)> = BTreeMap::new();
    for (uid, total) in images.iter().filter_map(|image| image.concatenation.as_ref()) {
        let (promised, found) = parts.entry(uid).or_default();
        *promised = total.unwrap_or(0).max(*promised);
        *found += 1;
    }
    match parts.into_values().find(|&(promised, found)| usize::from(promised) > found) {
        Some((promised, found)) => Err(SeriesError::Concatenation { promised, found }),
        None => Ok(()),
    }
}

/// Refuses an image of many frames where one does not say where it lies: the rest
/// would be a volume without its end.
pub(super) fn check_frames(images: &[Instance]) -> Result<(), SeriesError> {
    let lost = |image: &&Instance| {
        image.frames.len() > 1 && image.frames.iter().any(|frame| frame.plane.is_none())
    };
    match images.iter().find(lost) {
        Some(image) => Err(SeriesError::MultiFrame { frames: image.number_of_frames }),
        None => Ok(()),
    }
}

/// Splits a series by what makes its images incomparable. The parts come in
/// the order of their echo, their image type and their first instance.
pub(super) fn split(images: Vec<Image>) -> Vec<Vec<Image>> {
    let mut parts: BTreeMap<Coarse, Vec<Vec<Image>>> = BTreeMap::new();
    for image in images {
        let parts = parts.entry(Coarse::of(&image)).or_default();
        match parts.iter_mut().find(|part| part.first().is_some_and(|one| alike(one, &image))) {
            Some(part) => part.push(image),
            None => parts.push(vec![image]),
        }
    }
    let mut parts: Vec<_> = parts.into_values().flatten().collect();
    parts.sort_by_key(|part| {
        let first = part.iter().map(|image| image.instance.instance_number).min().flatten();
        let echo = part.first().and_then(|image| image.frame().timing.echo_number);
        let one = part.first().map(|image| (image.instance.sop_uid.clone(), image.index));
        (echo, first, one)
    });
    parts
}

/// What parts of a series differ in, each from the first, in words for a remark.
pub(super) fn differences(parts: &[Vec<Image>]) -> String {
    let mut firsts = parts.iter().filter_map(|part| part.first());
    let Some(first) = firsts.next() else { return String::new() };
    let mut words: Vec<&str> = Vec::new();
    for other in firsts {
        let found = Coarse::of(first).differences(&Coarse::of(other));
        for word in found.into_iter().chain(fine_differences(first, other)) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    words.join(", ")
}

/// What must be equal word for word.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Coarse {
    sop_class: String,
    frame_of_reference: Option<String>,
    size: Option<(usize, usize)>,
    /// From the third word on: the first two say original or derived.
    image_type: Vec<String>,
    echo_number: Option<i64>,
    stack: Option<String>,
    unit: Option<&'static str>,
}

impl Coarse {
    fn of(image: &Image) -> Self {
        let telling = |word: &&String| !REMARKS.contains(&word.as_str());
        let (instance, frame) = (&image.instance, image.frame());
        Self {
            sop_class: instance.sop_class.clone(),
            frame_of_reference: instance.frame_of_reference.clone(),
            size: frame.plane.map(|plane| (plane.rows, plane.columns)),
            image_type: frame.image_type.iter().skip(2).filter(telling).cloned().collect(),
            echo_number: frame.timing.echo_number,
            stack: frame.stack.clone(),
            unit: instance.unit,
        }
    }

    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            (self.sop_class != other.sop_class, "SOP class"),
            (self.frame_of_reference != other.frame_of_reference, "frame of reference"),
            (self.size != other.size, "size"),
            (self.image_type != other.image_type, "image type"),
            (self.echo_number != other.echo_number, "echo number"),
            (self.stack != other.stack, "stack"),
            (self.unit != other.unit, "unit"),
        ];
        pairs.into_iter().filter_map(|(differs, word)| differs.then_some(word)).collect()
    }
}

/// Whether orientation and numbers agree, up to rounding.
fn alike(a: &Image, b: &Image) -> bool {
    fine_differences(a, b).next().is_none()
}

/// In which numbers two images differ by more than rounding.
fn fine_differences(a: &Image, b: &Image) -> impl Iterator<Item = &'static str> {
    let (a, b) = (a.frame(), b.frame());
    let spacing = |frame: &Frame, axis: usize| frame.plane.map(|plane| plane.spacing_mm[axis]);
    let (ta, tb) = (a.timing, b.timing);
    let pairs = [
        (spacing(a, 0), spacing(b, 0), SAME_SPACING, "pixel spacing"),
        (spacing(a, 1), spacing(b, 1), SAME_SPACING, "pixel spacing"),
        (ta.echo_ms, tb.echo_ms, SAME_NUMBER, "echo time"),
        (ta.repetition_ms, tb.repetition_ms, SAME_NUMBER, "repetition time"),
        (ta.inversion_ms, tb.inversion_ms, SAME_NUMBER, "inversion time"),
        (ta.flip_degrees, tb.flip_degrees, SAME_NUMBER, "flip angle"),
    ];
    let turned = a.plane.zip(b.plane).is_some_and(|(a, b)| !orientation::same(&a, &b));
    let numbers = pairs.into_iter().filter_map(|(a, b, same, word)| {
        let equal = match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= same * a.abs().max(b.abs()),
            (a, b) => a == b,
        };
        (!equal).then_some(word)
    });
    turned.then_some("orientation").into_iter().chain(numbers)
}
