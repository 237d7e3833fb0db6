//! Series: which DICOM instances make a volume, and its voxels.
//!
//! Instances are grouped by their identifiers, their frames split by what makes
//! images incomparable, and sorted by their distance along the normal: never by
//! instance number or file name. Where every place is there several times, each
//! time is a volume. A stack that is not complete and regular is refused with the
//! place where it is not, or filled where the caller wants it: see [`Missing`].

mod error;
mod fill;
mod gaps;
mod group;
mod image;
mod orientation;
mod phase;
mod read;
mod slice;
mod stack;
mod uptake;

pub use error::SeriesError;
pub use gaps::Missing;
pub use read::{Reading, read_series, read_whole};
pub use slice::SliceSource;

use std::{path::PathBuf, sync::Arc};

use super::dicom::{Instance, Kind};
use crate::{
    geometry::Grid,
    study::{Identity, Modality},
};
use image::{Image, files_of};
use orientation::Split;

/// What a set of instances holds.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Assembly {
    /// Stacks that are volumes.
    pub series: Vec<Series>,
    /// Images that make no volume, with the reason.
    pub refused: Vec<Refused>,
    /// Instances that are no images of a volume: contours, reports, localizers.
    pub others: Vec<Other>,
}

/// A stack of slices that is a volume; of a series with time, echoes or b-values
/// one for each.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Series {
    /// Whose it is. The session is the study, and the series has `#n` behind
    /// its UID where one UID holds several volumes.
    pub identity: Identity,
    /// What was measured.
    pub modality: Modality,
    /// *Body Part Examined*, where it is one of the standard's words.
    pub body_part: Option<&'static str>,
    /// *Frame of Reference UID*: series that share it share their coordinates.
    pub frame_of_reference: Option<String>,
    /// Unit of the voxels, where it is known: `HU`, `BQML`, `GML`, ….
    pub unit: Option<&'static str>,
    /// Where the voxels lie.
    pub grid: Grid,
    /// Where each slice comes from, slice 0 first.
    pub slices: Vec<SliceSource>,
    /// Slices of the grid that no file has: they are interpolated in reading.
    pub missing_slices: usize,
    /// What was decided on the way, without any attribute of the patient.
    pub remarks: Vec<String>,
}

/// Images that make no volume.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refused {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Whose they are.
    pub identity: Option<Identity>,
    /// Why they make none.
    pub reason: SeriesError,
}

/// Instances of a series that are no images of a volume.
#[derive(Debug)]
#[non_exhaustive]
pub struct Other {
    /// What they are: `RT structure set`, `localizer`, ….
    pub kind: &'static str,
    /// Whose they are.
    pub identity: Identity,
    /// *Modality*, where it is one that is known.
    pub modality: Option<Modality>,
    /// The files.
    pub files: Vec<PathBuf>,
}

/// Sorts instances into volumes, images that make none, and other objects; a
/// stack that lacks slices or is irregular is refused.
///
/// The order of the input does not matter. A series whose slices are ambiguous is
/// refused as a whole or in that part which is split from the rest by orientation,
/// size, spacing, frame of reference, SOP class, image type, unit, stack, echo,
/// inversion time or flip angle. Of a series with several orientations those with
/// few slices are localizers. Only where two files have one SOP Instance UID are
/// files read again, to compare them.
///
/// # Source
/// DICOM PS3.3 A.1.2.3 (series), C.7.6.2.1.1 (position and orientation), C.12.1
/// (SOP Instance UID), C.7.6.16.2.2.4 (concatenations).
pub fn assemble(instances: Vec<Instance>) -> Assembly {
    assemble_with(instances, Missing::Refuse)
}

/// As [`assemble`], with a choice of what becomes of stacks that lack slices.
pub fn assemble_with(instances: Vec<Instance>, missing: Missing) -> Assembly {
    let mut assembly = Assembly::default();
    for group in group::by_series(instances) {
        add_series(group, missing, &mut assembly);
    }
    assembly
}

/// What became of a part of a series.
enum Part {
    Volumes(Vec<Series>),
    Refused(Vec<PathBuf>, SeriesError),
    Other(&'static str, Option<Modality>, Vec<PathBuf>),
}

fn add_series(instances: Vec<Instance>, missing: Missing, assembly: &mut Assembly) {
    let Some(identity) = instances.first().map(group::identity) else { return };
    let (images, others): (Vec<_>, Vec<_>) =
        instances.into_iter().partition(|instance| instance.kind == Kind::Image);
    let mut parts = if images.is_empty() { Vec::new() } else { of_images(images, missing) };
    parts.extend(of_others(others));
    let count = parts.iter().map(|part| match part {
        Part::Volumes(volumes) => volumes.len(),
        _ => 1,
    });
    let several = count.sum::<usize>() > 1;
    let mut number = 0;
    let mut numbered = || {
        number += 1;
        let series = &identity.series;
        let series = if several { format!("{series}#{number}") } else { series.clone() };
        Identity { series, ..identity.clone() }
    };
    for part in parts {
        match part {
            Part::Volumes(volumes) => assembly.series.extend(
                volumes.into_iter().map(|volume| Series { identity: numbered(), ..volume }),
            ),
            Part::Refused(files, reason) => {
                assembly.refused.push(Refused { files, identity: Some(numbered()), reason });
            }
            Part::Other(kind, modality, files) => {
                assembly.others.push(Other { kind, identity: numbered(), modality, files });
            }
        }
    }
}

/// The volumes of a series' images, and what is left of them.
fn of_images(images: Vec<Instance>, missing: Missing) -> Vec<Part> {
    let files: Vec<PathBuf> = images.iter().map(|instance| instance.file.clone()).collect();
    let (Split { stacks, localizer, askew }, copies) = match by_orientation(images) {
        Ok(found) => found,
        Err(reason) => return vec![Part::Refused(files, reason)],
    };
    let stacks = group::split(stacks);
    let split = group::differences(&stacks);
    let count = stacks.len();
    let files_of = |images: &[Image]| files_of(images.iter().map(|image| &image.instance.file));
    let mut parts = Vec::new();
    for (number, images) in (1..).zip(stacks) {
        let files = files_of(&images);
        let mut remarks = Vec::new();
        if count > 1 {
            remarks.push(format!("part {number} of {count} of a series split by {split}"));
        }
        if copies > 0 {
            remarks.push(format!("{copies} copies of files were passed over"));
        }
        parts.push(match stack::volumes(images, missing) {
            Ok(mut volumes) => {
                volumes.iter_mut().for_each(|volume| volume.remarks.extend(remarks.clone()));
                Part::Volumes(volumes)
            }
            Err(reason) => Part::Refused(files, reason),
        });
    }
    if let Some((images, reason)) = askew {
        parts.push(Part::Refused(files_of(&images), reason));
    }
    if let Some(first) = localizer.first() {
        parts.push(Part::Other("localizer", first.frame().modality, files_of(&localizer)));
    }
    parts
}

/// The frames of a series' images, and how many copies were passed over.
fn by_orientation(images: Vec<Instance>) -> Result<(Split, usize), SeriesError> {
    group::check_patients(&images)?;
    let (images, copies) = group::without_copies(images)?;
    group::check_concatenations(&images)?;
    group::check_frames(&images)?;
    let images = images.into_iter().map(Arc::new).flat_map(Image::all_of).collect();
    Ok((orientation::split(images)?, copies))
}

/// The other objects of a series, each kind once.
fn of_others(others: Vec<Instance>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for instance in others {
        let Kind::NotAVolume(kind) = instance.kind else { continue };
        match parts.last_mut() {
            Some(Part::Other(last, _, files)) if *last == kind => files.push(instance.file),
            _ => parts.push(Part::Other(kind, instance.modality, vec![instance.file])),
        }
    }
    parts
}
