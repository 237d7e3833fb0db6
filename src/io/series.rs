//! Series: which DICOM instances make a volume, and its voxels.
//!
//! Instances are grouped by their identifiers, their frames split by what makes
//! images incomparable, and sorted by their distance along the normal: never by
//! instance number or file name. Where every place is there several times, each
//! time is a volume. A stack that is not complete and regular is refused with the
//! place where it is not, never repaired.

mod error;
mod group;
mod image;
mod phase;
mod read;
mod slice;
mod stack;
mod uptake;

pub use error::SeriesError;
pub use read::read_series;
pub use slice::SliceSource;

use std::{path::PathBuf, sync::Arc};

use super::dicom::{Instance, Kind};
use crate::{
    geometry::Grid,
    study::{Identity, Modality},
};
use image::{Image, files_of};

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

/// Sorts instances into volumes, images that make none, and other objects.
///
/// The order of the input does not matter. A series whose planes have two
/// orientations, or whose slices are missing, irregular or ambiguous, is
/// refused as a whole or in that part which is split from the rest by size,
/// spacing, frame of reference, SOP class, image type, unit, stack, echo,
/// inversion time or flip angle. Only where two files have one SOP Instance UID
/// are files read again, to compare them.
///
/// # Source
/// DICOM PS3.3 A.1.2.3 (series), C.7.6.2.1.1 (position and orientation), C.12.1
/// (SOP Instance UID), C.7.6.16.2.2.4 (concatenations).
pub fn assemble(instances: Vec<Instance>) -> Assembly {
    let mut assembly = Assembly::default();
    for group in group::by_series(instances) {
        add_series(group, &mut assembly);
    }
    assembly
}

fn add_series(instances: Vec<Instance>, assembly: &mut Assembly) {
    let Some(identity) = instances.first().map(group::identity) else { return };
    let (images, others): (Vec<_>, Vec<_>) =
        instances.into_iter().partition(|instance| instance.kind == Kind::Image);
    for instance in others {
        add_other(instance, &mut assembly.others);
    }
    if images.is_empty() {
        return;
    }
    let files: Vec<PathBuf> = images.iter().map(|instance| instance.file.clone()).collect();
    let (parts, copies) = match parts(images) {
        Ok(parts) => parts,
        Err(reason) => {
            return assembly.refused.push(Refused { files, identity: Some(identity), reason });
        }
    };
    let volumes: Vec<_> =
        parts.into_iter().map(|part| (part.clone(), stack::volumes(part, &identity))).collect();
    let split = volumes.len() > 1;
    let count = volumes.iter().map(|(_, result)| result.as_ref().map_or(1, Vec::len));
    let several = count.sum::<usize>() > 1;
    let mut number = 0;
    let mut numbered = || {
        number += 1;
        let series = &identity.series;
        let series = if several { format!("{series}#{number}") } else { series.clone() };
        Identity { series, ..identity.clone() }
    };
    for (part, (images, result)) in volumes.into_iter().enumerate() {
        match result {
            Ok(found) => {
                for mut series in found {
                    series.identity = numbered();
                    if split {
                        series
                            .remarks
                            .push(format!("part {} of a series that was split", part + 1));
                    }
                    if copies > 0 {
                        series.remarks.push(format!("{copies} copies of files were passed over"));
                    }
                    assembly.series.push(series);
                }
            }
            Err(reason) => {
                let files = files_of(images.iter().map(|image| &image.instance.file));
                let identity = Some(numbered());
                assembly.refused.push(Refused { files, identity, reason });
            }
        }
    }
}

/// The frames of a series' images, split by what makes them incomparable, and how
/// many copies were passed over.
fn parts(images: Vec<Instance>) -> Result<(Vec<Vec<Image>>, usize), SeriesError> {
    group::check_patients(&images)?;
    let (images, copies) = group::without_copies(images)?;
    group::check_concatenations(&images)?;
    group::check_frames(&images)?;
    let images: Vec<Image> = images.into_iter().map(Arc::new).flat_map(Image::all_of).collect();
    group::check_orientations(&images)?;
    Ok((group::split(images), copies))
}

fn add_other(instance: Instance, others: &mut Vec<Other>) {
    let Kind::NotAVolume(kind) = instance.kind else { return };
    let identity = group::identity(&instance);
    match others.last_mut() {
        Some(last) if last.kind == kind && last.identity == identity => {
            last.files.push(instance.file);
        }
        _ => {
            let modality = instance.modality;
            others.push(Other { kind, identity, modality, files: vec![instance.file] });
        }
    }
}
