//! The slices of a volume along the normal of a plane.

use glam::DVec3;

use super::Plane;
use crate::geometry::Grid;

/// Cosine short of one beyond which a grid's axis counts as oblique.
const OBLIQUE: f64 = 1e-12;

/// The places of a volume's views: one behind the other along a plane's normal,
/// through the middle of the body.
///
/// They are as far apart as the planes of the grid's axis that is nearest to the
/// normal cut the line through the middle. Of a grid along the patient's axes
/// they are its slices; of an oblique one, as alignment makes them, the views
/// still lie across the world's axis, not the grid's.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    centre_mm: DVec3,
    /// World axis of the normal.
    axis: usize,
    /// The grid's axis nearest to it, and how many planes that has.
    along: usize,
    count: usize,
    /// Whether the grid's planes are counted against the normal.
    backwards: bool,
    /// World coordinate of plane 0 on the line, and from each to the next.
    first: f64,
    step: f64,
    /// Whether the grid's planes are those of the world.
    exact: bool,
    grid: Grid,
}

impl Stack {
    /// The stack of a grid along the normal of a plane, through a point in RAS+ mm.
    pub(super) fn new(grid: &Grid, centre_mm: DVec3, plane: Plane) -> Self {
        let (axis, against) = plane.normal();
        let matrix = grid.ras_from_voxel.matrix3;
        let from_world = grid.ras_from_voxel.inverse();
        // How fast each index grows along the world axis.
        let rates = from_world.matrix3.col(axis);
        let spacing = grid.spacing_mm();
        let mm = |n: usize| rates[n].abs() * spacing[n];
        let along = (0..3).max_by(|&a, &b| mm(a).total_cmp(&mm(b))).unwrap_or(axis);
        let column = matrix.col(along);
        let exact = column[axis].abs() >= column.length() * (1.0 - OBLIQUE)
            && (0..3).all(|n| n == along || mm(n) < 1e-6);
        let at_centre = from_world.transform_point3(centre_mm)[along];
        let (first, step) = if exact {
            (grid.ras_from_voxel.translation[axis], column[axis])
        } else {
            (centre_mm[axis] - at_centre / rates[along], rates[along].recip())
        };
        let count = grid.shape[along];
        let backwards = (step < 0.0) != against;
        Self { centre_mm, axis, along, count, backwards, first, step, exact, grid: *grid }
    }

    /// How many slices there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// mm from one slice to the next.
    pub fn step_mm(&self) -> f64 {
        self.step.abs()
    }

    fn turned(&self, n: usize) -> usize {
        if self.backwards { self.count.saturating_sub(1).saturating_sub(n) } else { n }
    }

    /// RAS+ mm of the centre of the view of slice n, counted along the normal.
    pub fn centre_mm(&self, n: usize) -> DVec3 {
        let n = self.turned(n) as f64;
        let mut centre = self.centre_mm;
        centre[self.axis] = if self.exact {
            let mut voxel = DVec3::ZERO;
            voxel[self.along] = n;
            self.grid.world_mm(voxel)[self.axis]
        } else {
            self.first + n * self.step
        };
        centre
    }

    /// The slice nearest to a point in RAS+ mm along the normal, where there is
    /// one within half a step.
    pub fn at(&self, point_mm: DVec3) -> Option<usize> {
        let n = (point_mm[self.axis] - self.first) / self.step;
        let inside = n > -0.5 && n < self.count as f64 - 0.5;
        inside.then(|| self.turned(n.round().max(0.0) as usize))
    }

    /// Area in mm² that so many voxels take up in a slice.
    pub(super) fn area_mm2(&self, voxels: usize) -> f64 {
        if self.exact {
            let spacing = self.grid.spacing_mm();
            let across = (0..3).filter(|&n| n != self.along);
            across.fold(voxels as f64, |area, n| area * spacing[n])
        } else {
            let volume = self.grid.ras_from_voxel.matrix3.determinant().abs();
            voxels as f64 * volume / self.step_mm()
        }
    }

    /// In every slice the number of voxels that a test holds of, given the voxels
    /// of each line along i, by (k, j). A voxel counts in the slice nearest to it.
    pub(super) fn counts<'a>(
        &self,
        line: impl Fn(usize, usize) -> &'a [i16],
        holds: impl Fn(i16) -> bool,
    ) -> Vec<usize> {
        let mut counts = vec![0; self.count];
        let [_, nj, nk] = self.grid.shape;
        let matrix = self.grid.ras_from_voxel.matrix3;
        let per_i = matrix.x_axis[self.axis] / self.step;
        let mut add = |n: f64, voxels: usize| {
            if n > -0.5 && n < self.count as f64 - 0.5 {
                let n = self.turned(n.round().max(0.0) as usize);
                counts[n] += voxels;
            }
        };
        for k in 0..nk {
            for j in 0..nj {
                let start = self.grid.world_mm(DVec3::new(0.0, j as f64, k as f64));
                let first = (start[self.axis] - self.first) / self.step;
                let held = line(k, j).iter().enumerate().filter(|(_, value)| holds(**value));
                if self.exact && self.along != 0 {
                    add(first, held.count());
                } else {
                    held.for_each(|(i, _)| add(first + per_i * i as f64, 1));
                }
            }
        }
        counts
    }
}
