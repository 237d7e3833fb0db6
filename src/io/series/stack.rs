//! Slices to a volume: their order, their gaps, their affine.

use glam::{DAffine3, DMat3, DVec3};

use super::{
    Missing, Series, SeriesError, SliceSource,
    gaps::{Regular, gaps, median},
    group,
    image::Image,
    phase,
    uptake::Uptake,
};
use crate::{
    geometry::{Grid, ras_from_lps},
    io::dicom::{Frame, Plane},
};

/// Lean of the stack against the normal, in degrees, above which it is told.
const LEAN_DEGREES: f64 = 0.1;

/// The volumes of a stack of alike images: one, or one for each time, b-value or
/// other phase. All have the identity of their first image.
pub(super) fn volumes(images: Vec<Image>, missing: Missing) -> Result<Vec<Series>, SeriesError> {
    let without = images.iter().filter(|image| image.frame().plane.is_none()).count();
    let mosaic = |image: &Image| image.frame().image_type.iter().any(|word| word == "MOSAIC");
    if images.iter().any(|image| mosaic(image) && image.instance.frames.len() == 1) {
        return Err(SeriesError::Mosaic);
    }
    if without > 0 {
        return Err(SeriesError::NoPlace { images: without });
    }
    let slices = placed(images)?;
    let places = places(&slices)?;
    if places.times == 1 {
        return Ok(vec![volume(slices, missing)?]);
    }
    let (volumes, by) = phase::split(slices, &places.of, places.times, places.count)?;
    let count = volumes.len();
    let numbered = volumes.into_iter().enumerate().map(|(index, slices)| {
        let mut series = volume(slices, missing)?;
        series.remarks.push(format!("volume {} of {count} at the same places, by {by}", index + 1));
        Ok(series)
    });
    numbered.collect()
}

/// The images by their distance along the normal.
fn placed(images: Vec<Image>) -> Result<Vec<Placed>, SeriesError> {
    let mut slices: Vec<Placed> = images.into_iter().filter_map(Placed::of).collect();
    let Some(normal) = slices.first().map(|slice| slice.plane.normal()) else {
        return Err(SeriesError::OneSlice);
    };
    for slice in &mut slices {
        slice.distance_mm = slice.plane.position_mm.dot(normal);
    }
    slices.sort_by(|a, b| {
        let (one, other) = (&a.image, &b.image);
        let numbers = one.instance.instance_number.cmp(&other.instance.instance_number);
        a.distance_mm
            .total_cmp(&b.distance_mm)
            .then(numbers)
            .then_with(|| one.instance.sop_uid.cmp(&other.instance.sop_uid))
            .then(one.index.cmp(&other.index))
    });
    Ok(slices)
}

/// The volume of slices that lie at different places, in order.
fn volume(slices: Vec<Placed>, missing: Missing) -> Result<Series, SeriesError> {
    let Some(first) = slices.first() else { return Err(SeriesError::OneSlice) };
    let normal = first.plane.normal();
    let positions: Vec<DVec3> = slices.iter().map(|slice| slice.plane.position_mm).collect();
    let Regular { step, k, slices: count, missing: missing_slices, remark } =
        Regular::of(&positions, normal, missing)?;
    let mut remarks = Vec::new();
    let lean = step.angle_between(normal).to_degrees();
    if lean > LEAN_DEGREES {
        remarks.push(format!("slices lean by {lean:.2}° against their normal"));
    }
    remarks.extend(remark);
    let grid = grid(&first.plane, step, count);
    if grid.voxel_count().is_none() {
        return Err(SeriesError::TooLarge { shape: grid.shape });
    }
    let (instance, frame) = (&first.image.instance, first.frame());
    let modality = frame.modality.ok_or(SeriesError::Modality)?;
    let (body_part, frame_of_reference) = (instance.body_part, instance.frame_of_reference.clone());
    let identity = group::identity(instance);
    let images: Vec<Image> = slices.into_iter().map(|slice| slice.image).collect();
    let Uptake { scale, unit, remark } = Uptake::of(&images);
    remarks.extend(remark);
    let source = |(image, k): (Image, f64)| {
        let (file, frame) = (image.instance.file.clone(), image.index);
        SliceSource { file, frame, scale, k }
    };
    Ok(Series {
        modality,
        body_part,
        frame_of_reference,
        unit,
        grid,
        identity,
        remarks,
        missing_slices,
        slices: images.into_iter().zip(k).map(source).collect(),
    })
}

/// An image at its place.
pub(super) struct Placed {
    pub(super) image: Image,
    plane: Plane,
    distance_mm: f64,
}

impl Placed {
    fn of(image: Image) -> Option<Self> {
        let plane = image.frame().plane?;
        Some(Self { image, plane, distance_mm: 0.0 })
    }

    pub(super) fn frame(&self) -> &Frame {
        self.image.frame()
    }
}

/// How often the places of a stack are there.
struct Places {
    /// The place of each slice.
    of: Vec<usize>,
    count: usize,
    times: usize,
}

/// Counts places. A stack where some are there more often than others is refused.
fn places(slices: &[Placed]) -> Result<Places, SeriesError> {
    let images = slices.len();
    let along: Vec<f64> = slices.iter().map(|slice| slice.distance_mm).collect();
    let gaps = gaps(&along);
    let real: Vec<f64> = gaps.iter().copied().filter(|&gap| gap > 1e-3).collect();
    let same = (0.01 * median(&real)).max(1e-3);
    let mut of = vec![0];
    let mut times = vec![1usize];
    for &gap in &gaps {
        match times.last_mut() {
            Some(last) if gap <= same => *last += 1,
            _ => times.push(1),
        }
        of.push(times.len() - 1);
    }
    let count = times.len();
    match times[..] {
        [1] => Err(SeriesError::OneSlice),
        [first, ..] if times.iter().all(|&t| t == first) => Ok(Places { of, count, times: first }),
        _ => {
            let most = times.iter().copied().min().unwrap_or(1);
            let slice = times.iter().position(|&t| t > most).unwrap_or(0);
            Err(SeriesError::Duplicate { images, places: count, slice })
        }
    }
}

/// The grid in RAS+ of a first plane, the step to the next, and their number.
fn grid(plane: &Plane, step: DVec3, slices: usize) -> Grid {
    let [between_rows, between_columns] = plane.spacing_mm;
    let lps_from_voxel = DAffine3::from_mat3_translation(
        DMat3::from_cols(
            plane.along_row * between_columns,
            plane.along_column * between_rows,
            step,
        ),
        plane.position_mm,
    );
    Grid {
        shape: [plane.columns, plane.rows, slices],
        ras_from_voxel: ras_from_lps() * lps_from_voxel,
    }
}
