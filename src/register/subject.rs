//! The scans of one subject, brought into the world of its reference.

use glam::{DAffine3, DQuat, DVec3};

use super::{
    Alignment, AlignmentRow, Doubt, Image, RegisterError, Settings, align,
    plan::{Frame, Plan, compared},
};
use crate::{geometry::affine_to_flat, prepare::VolumeRow};

/// Status of a subject's reference.
pub const REFERENCE: &str = "reference";
/// Status of what lies in the reference's world.
pub const ALIGNED: &str = "aligned";
/// Status of what could not be aligned, or not be believed.
pub const REFUSED: &str = "refused";

/// Why no alignment of a frame is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It could not be computed.
    #[error(transparent)]
    Failed(#[from] RegisterError),
    /// It cannot be believed.
    #[error("{0}")]
    Doubted(Doubt),
}

/// One comparison: which series, and what came of it.
struct Compared {
    fixed: usize,
    moving: usize,
    /// Where there is one, even where it is not believed.
    alignment: Option<Alignment>,
    result: Result<DAffine3, Refusal>,
}

/// The images that others were compared with last: they are needed again.
struct Images<'a, R> {
    read: &'a R,
    kept: Vec<(usize, Image)>,
}

impl<R: Fn(usize) -> Result<Image, RegisterError>> Images<'_, R> {
    fn fixed(&mut self, row: usize) -> Result<&Image, RegisterError> {
        let place = match self.kept.iter().position(|(kept, _)| *kept == row) {
            Some(place) => place,
            None => {
                // The reference, and what its session goes through.
                self.kept.truncate(1);
                self.kept.push((row, (self.read)(row)?));
                self.kept.len() - 1
            }
        };
        Ok(&self.kept[place].1)
    }

    fn compare(
        &mut self,
        fixed: usize,
        moving: usize,
        settings: &Settings,
    ) -> Result<Alignment, RegisterError> {
        let image = (self.read)(moving)?;
        align(self.fixed(fixed)?, &image, settings)
    }
}

/// The rows of `alignment.parquet` for one subject, in the order of `plan`; `None`
/// where `stopped` said so between two comparisons.
///
/// What is refused stays where it was. Frames that would have gone through a
/// refused one are compared with the reference itself.
pub fn align_subject(
    rows: &[VolumeRow],
    plan: &Plan,
    read: &impl Fn(usize) -> Result<Image, RegisterError>,
    settings: &Settings,
    stopped: &impl Fn() -> bool,
) -> Option<Vec<AlignmentRow>> {
    let mut images = Images { read, kept: Vec::new() };
    let reference = &rows[plan.reference];
    let row = |n: usize| Row { row: &rows[n], reference };
    let mut all = vec![row(plan.reference).reference()];
    for &n in plan.fixed.rows.iter().filter(|&&n| n != plan.reference) {
        all.push(row(n).aligned(&DAffine3::IDENTITY, "the reference's frame of reference"));
    }
    let mut placed: Vec<Option<DAffine3>> = Vec::new();
    for step in &plan.steps {
        if stopped() {
            return None;
        }
        let through = step.through.and_then(|n| Some((&plan.steps[n].moving, placed[n]?)));
        let (fixed, world_from_fixed) = through.unwrap_or((&plan.fixed, DAffine3::IDENTITY));
        let done = compare(&mut images, rows, fixed, &step.moving, world_from_fixed, settings);
        for &n in &step.moving.rows {
            let row = row(n);
            let mut line = match &done.result {
                Ok(affine) if n == done.moving => row.aligned(affine, "mutual information"),
                Ok(affine) => row.aligned(affine, "a series of its frame of reference"),
                Err(refusal) => row.refused(refusal),
            };
            if n == done.moving {
                line.fixed_series = Some(rows[done.fixed].series.clone());
                let quality = done.alignment.map(|alignment| alignment.quality);
                line.quality = quality.map(|q| q.halves_mm);
                line.explained = quality.map(|q| q.explained);
                line.gain = quality.map(|q| q.gain);
                line.overlap = quality.map(|q| q.overlap);
            }
            all.push(line);
        }
        placed.push(done.result.ok());
    }
    Some(all)
}

fn compare<R: Fn(usize) -> Result<Image, RegisterError>>(
    images: &mut Images<R>,
    rows: &[VolumeRow],
    fixed: &Frame,
    moving: &Frame,
    world_from_fixed: DAffine3,
    settings: &Settings,
) -> Compared {
    let Some((fixed, moving)) = compared(rows, fixed, moving) else {
        let result = Err(RegisterError::NoBody.into());
        return Compared { fixed: 0, moving: 0, alignment: None, result };
    };
    match images.compare(fixed, moving, settings) {
        Err(error) => Compared { fixed, moving, alignment: None, result: Err(error.into()) },
        Ok(alignment) => {
            let result = match alignment.quality.doubt() {
                Some(doubt) => Err(Refusal::Doubted(doubt)),
                None => Ok(world_from_fixed * alignment.moving_from_fixed.inverse()),
            };
            Compared { fixed, moving, alignment: Some(alignment), result }
        }
    }
}

/// A row in the making.
struct Row<'a> {
    row: &'a VolumeRow,
    reference: &'a VolumeRow,
}

impl Row<'_> {
    fn of(&self, world: String, affine: &DAffine3, status: &str, reason: String) -> AlignmentRow {
        let centre = DVec3::from_array(self.row.centre_mm);
        AlignmentRow {
            source: self.row.source.clone(),
            subject: self.row.subject.clone(),
            series: self.row.series.clone(),
            world,
            reference_series: self.reference.series.clone(),
            fixed_series: None,
            affine: affine_to_flat(affine),
            moved_mm: affine.transform_point3(centre).distance(centre),
            turned_deg: DQuat::from_mat3(&affine.matrix3)
                .normalize()
                .to_axis_angle()
                .1
                .to_degrees(),
            quality: None,
            explained: None,
            gain: None,
            overlap: None,
            status: status.to_owned(),
            reason,
        }
    }

    fn reference(&self) -> AlignmentRow {
        let reason = "the modality of most sessions, then the smallest voxels".to_owned();
        self.of(self.reference.series.clone(), &DAffine3::IDENTITY, REFERENCE, reason)
    }

    fn aligned(&self, affine: &DAffine3, by: &str) -> AlignmentRow {
        self.of(self.reference.series.clone(), affine, ALIGNED, format!("by {by}"))
    }

    fn refused(&self, refusal: &Refusal) -> AlignmentRow {
        let own = self.row.frame_of_reference.as_ref().unwrap_or(&self.row.series).clone();
        let reason = crate::cohort::reason(refusal);
        self.of(own, &DAffine3::IDENTITY, REFUSED, reason)
    }
}
