//! The places of the fixed image that the metric looks at.

use glam::DVec3;
use ndarray::Array3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::image::{Image, Level};
use crate::resample::linear;

/// Bins of each intensity.
pub(super) const BINS: usize = 40;

/// Places of the fixed image, drawn once: the metric is then a smooth function.
#[derive(Debug, Clone)]
pub(super) struct Samples {
    /// RAS+ mm from the middle of the fixed foreground.
    pub places: Vec<[f32; 3]>,
    /// Bin of the fixed intensity at each place.
    pub bins: Vec<u16>,
}

/// Body and what lies near it: at voxels of the coarsest level.
pub(super) struct Neighbourhood<'a> {
    level: &'a Level,
    near: Array3<bool>,
}

impl<'a> Neighbourhood<'a> {
    /// Air counts as near the body within about two voxels of the coarsest level:
    /// the outline tells much, the empty room around it nothing.
    pub fn of(image: &'a Image) -> Option<Self> {
        const REACH: usize = 1;
        let level = image.levels.last()?;
        let body = level.voxels.mapv(|value| value > image.foreground_above);
        let dim = level.voxels.dim();
        let near = Array3::from_shape_fn(dim, |(k, j, i)| {
            let range = |at: usize, n: usize| at.saturating_sub(REACH)..(at + REACH + 1).min(n);
            range(k, dim.0).any(|k| {
                range(j, dim.1).any(|j| {
                    range(i, dim.2).any(|i| body.get((k, j, i)).is_some_and(|&inside| inside))
                })
            })
        });
        Some(Self { level, near })
    }

    fn has(&self, place: DVec3) -> bool {
        let at = self.level.voxel_from_ras.transform_point3(place).round();
        let [nk, nj, ni] = [0, 1, 2].map(|axis| self.near.shape()[axis] as f64 - 1.0);
        let at = at.clamp(DVec3::ZERO, DVec3::new(ni, nj, nk));
        self.near.get((at.z as usize, at.y as usize, at.x as usize)).is_some_and(|&near| near)
    }
}

impl Samples {
    /// At most `most` places of a level near the body, one in each of so many
    /// voxels that are spread evenly, drawn within its voxel: on a lattice the
    /// metric would have ripples wherever it falls onto the other image's.
    pub fn draw(
        level: &Level,
        near: &Neighbourhood,
        centre: DVec3,
        most: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let [low, high] = level.range();
        let per_unit = BINS as f32 / (high - low).max(f32::MIN_POSITIVE);
        let [ni, nj, nk] = level.grid.shape;
        let voxel =
            |n: usize| DVec3::new((n % ni) as f64, (n / ni % nj) as f64, (n / (ni * nj)) as f64);
        let candidates: Vec<usize> =
            (0..ni * nj * nk).filter(|&n| near.has(level.grid.world_mm(voxel(n)))).collect();
        let count = candidates.len().min(most);
        let stride = candidates.len() as f64 / count.max(1) as f64;
        let last = DVec3::from_array(level.grid.shape.map(|n| n as f64 - 1.0));
        let (mut places, mut bins) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for n in 0..count {
            let pick = ((n as f64 + rng.random::<f64>()) * stride) as usize;
            let jitter = DVec3::new(rng.random(), rng.random(), rng.random()) - 0.5;
            let Some(&n) = candidates.get(pick) else { continue };
            let voxel = (voxel(n) + jitter).clamp(DVec3::ZERO, last);
            let value = linear(&level.voxels.view(), voxel, low);
            places.push((level.grid.world_mm(voxel) - centre).as_vec3().to_array());
            bins.push((((value - low) * per_unit) as usize).min(BINS - 1) as u16);
        }
        Self { places, bins }
    }

    /// The samples whose place is on one side of their own middle along an axis.
    pub fn half(&self, axis: usize, upper: bool) -> Self {
        let mut along: Vec<f32> = self.places.iter().map(|place| place[axis]).collect();
        let middle = along.len() / 2;
        if middle == 0 {
            return self.clone();
        }
        let (_, &mut middle, _) = along.select_nth_unstable_by(middle, f32::total_cmp);
        let (places, bins) = self
            .places
            .iter()
            .zip(&self.bins)
            .filter(|(place, _)| (place[axis] >= middle) == upper)
            .map(|(&place, &bin)| (place, bin))
            .unzip();
        Self { places, bins }
    }
}

/// The stream of draws for one purpose.
pub(super) fn stream(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}
