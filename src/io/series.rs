//! Series: which DICOM instances make a volume, and its voxels.
//!
//! Instances are grouped by their identifiers, split by what makes images
//! incomparable, and sorted by their distance along the normal: never by
//! instance number or file name. A stack that is not complete and regular is
//! refused with the place where it is not, never repaired.

mod error;
mod group;
mod read;
mod stack;

pub use error::SeriesError;
pub use read::read_series;

use std::path::PathBuf;

use super::dicom::{Instance, Kind};
use crate::{
    geometry::Grid,
    study::{Identity, Modality},
};

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

/// A stack of slices that is a volume.
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
    /// One file a slice, slice 0 first.
    pub files: Vec<PathBuf>,
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
/// spacing, frame of reference, SOP class, image type, echo or flip angle.
/// Only where two files have one SOP Instance UID are files read again, to
/// compare them.
///
/// # Source
/// DICOM PS3.3 A.1.2.3 (series), C.7.6.2.1.1 (position and orientation),
/// C.12.1 (SOP Instance UID).
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
    let refuse = |images: &[Instance], identity: &Identity, reason| Refused {
        files: images.iter().map(|instance| instance.file.clone()).collect(),
        identity: Some(identity.clone()),
        reason,
    };
    if let Err(reason) = group::check_patients(&images) {
        return assembly.refused.push(refuse(&images, &identity, reason));
    }
    let files: Vec<PathBuf> = images.iter().map(|instance| instance.file.clone()).collect();
    let (images, copies) = match group::without_copies(images) {
        Ok(kept) => kept,
        Err(reason) => {
            return assembly.refused.push(Refused { files, identity: Some(identity), reason });
        }
    };
    if let Err(reason) = group::check_orientations(&images) {
        return assembly.refused.push(refuse(&images, &identity, reason));
    }
    let stacks = group::split(images);
    let several = stacks.len() > 1;
    for (index, stack) in stacks.into_iter().enumerate() {
        let mut identity = identity.clone();
        if several {
            identity.series = format!("{}#{}", identity.series, index + 1);
        }
        let slices = stack.clone();
        match stack::volume(stack, identity.clone()) {
            Ok(mut series) => {
                if several {
                    series.remarks.push(format!("part {} of a series that was split", index + 1));
                }
                if copies > 0 {
                    series.remarks.push(format!("{copies} copies of files were passed over"));
                }
                assembly.series.push(series);
            }
            Err(reason) => assembly.refused.push(refuse(&slices, &identity, reason)),
        }
    }
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
