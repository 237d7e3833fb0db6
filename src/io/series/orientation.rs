//! Series whose planes have several orientations.

use std::collections::BTreeSet;

use super::{SeriesError, image::Image};
use crate::io::dicom::Plane;

/// Largest difference between direction cosines of parallel planes.
const SAME_COSINE: f64 = 1e-4;

/// Where counting stops: a rotating stack may have one for every image.
const MAX_ORIENTATIONS: usize = 100;

/// Most slices of an orientation that is looked at to plan a scan, and not a scan:
/// localizers have up to ten in each of three planes.
const LOCALIZER_SLICES: usize = 10;

/// Angle between planes, in degrees, above which few slices of one are a
/// localizer. Below it they may be a slab along a spine.
const ACROSS_DEGREES: f64 = 45.0;

/// Difference between direction cosines below which planes are not two
/// orientations but one that wavers: then which slices belong together is unknown.
const WAVERING: f64 = 0.02;

/// What the orientations of a series are.
pub(super) struct Split {
    /// Images that may make volumes, one orientation behind the other.
    pub(super) stacks: Vec<Image>,
    /// Few slices across others.
    pub(super) localizer: Vec<Image>,
    /// Few slices askew, and why they make no volume.
    pub(super) askew: Option<(Vec<Image>, SeriesError)>,
}

/// The images of a series by their orientations. Those without a plane are stacks.
///
/// # Errors
/// [`SeriesError::Orientations`] where there are very many, or some that hardly
/// differ.
pub(super) fn split(images: Vec<Image>) -> Result<Split, SeriesError> {
    let (planar, mut stacks): (Vec<Image>, Vec<Image>) =
        images.into_iter().partition(|image| image.frame().plane.is_some());
    let mut found: Vec<(Plane, Vec<Image>)> = Vec::new();
    for image in planar {
        let Some(plane) = image.frame().plane else { continue };
        match found.iter_mut().find(|(other, _)| parallel(other, &plane, SAME_COSINE)) {
            Some((_, stack)) => stack.push(image),
            None => found.push((plane, vec![image])),
        }
        if found.len() > MAX_ORIENTATIONS {
            return Err(SeriesError::Orientations { orientations: found.len() });
        }
    }
    let planes: Vec<Plane> = found.iter().map(|(plane, _)| *plane).collect();
    let orientations = planes.len();
    let wavers = |(n, plane): (usize, &Plane)| {
        planes[..n].iter().any(|other| parallel(other, plane, WAVERING))
    };
    if planes.iter().enumerate().any(wavers) {
        return Err(SeriesError::Orientations { orientations });
    }
    let (mut localizer, mut askew) = (Vec::new(), Vec::new());
    for (plane, stack) in found {
        if orientations == 1 || places(&stack) > LOCALIZER_SLICES {
            stacks.extend(stack);
        } else if planes.iter().any(|other| across(other, &plane)) {
            localizer.extend(stack);
        } else {
            askew.extend(stack);
        }
    }
    let askew = (!askew.is_empty()).then_some((askew, SeriesError::Orientations { orientations }));
    Ok(Split { stacks, localizer, askew })
}

/// How many places the images of one orientation have, to a hundredth of a mm.
fn places(stack: &[Image]) -> usize {
    let planes = stack.iter().filter_map(|image| image.frame().plane);
    let places = planes.map(|plane| {
        let distance_mm = plane.normal().dot(plane.position_mm);
        (distance_mm * 100.0).round() as i64
    });
    places.collect::<BTreeSet<_>>().len()
}

fn across(a: &Plane, b: &Plane) -> bool {
    a.normal().dot(b.normal()).abs() < ACROSS_DEGREES.to_radians().cos()
}

fn parallel(a: &Plane, b: &Plane, cosine: f64) -> bool {
    let near = |a: glam::DVec3, b: glam::DVec3| (a - b).abs().max_element() <= cosine;
    near(a.along_row, b.along_row) && near(a.along_column, b.along_column)
}

/// Whether two planes have one orientation.
pub(super) fn same(a: &Plane, b: &Plane) -> bool {
    parallel(a, b, SAME_COSINE)
}
