//! From two images to the pose that aligns them: starts, and a climb a level.

use std::sync::Arc;

use glam::{DAffine3, DVec3};

use super::{
    Settings,
    climb::climb,
    image::{Image, Level},
    metric::{Metric, Value},
    rigid::{Pose, distance_mm, rotation_of},
    sample::{Neighbourhood, Samples, stream},
};

/// Least share of the samples that a pose must keep inside the moving image.
const LEAST_INSIDE: f64 = 0.25;

/// Starts that climb at the coarsest level, and those of them that go on.
const CLIMBING: usize = 6;
const GOING_ON: usize = 2;

/// Two images, and what is known of them before they are aligned.
pub(super) struct Search<'a> {
    pub fixed: &'a Image,
    pub moving: &'a Image,
    pub settings: &'a Settings,
    /// Middle of the fixed foreground, RAS+ mm.
    pub centre: DVec3,
    /// Root mean square distance of the fixed samples from it.
    pub radius_mm: f64,
    /// Samples of each level, finest first.
    pub samples: Vec<Samples>,
}

/// The pose found, and the metric there at the finest level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub pose: Pose,
    pub value: Value,
}

impl<'a> Search<'a> {
    /// `None` for an image without levels or foreground.
    pub fn new(fixed: &'a Image, moving: &'a Image, settings: &'a Settings) -> Option<Self> {
        let near = Neighbourhood::of(fixed)?;
        let (centre, _) = fixed.levels.last()?.foreground(fixed.foreground_above);
        let draw = |(level, purpose): (&Arc<Level>, u64)| {
            let mut rng = stream(settings.seed, purpose);
            Samples::draw(level, &near, centre, settings.samples, &mut rng)
        };
        let samples: Vec<Samples> = fixed.levels.iter().zip(0..).map(draw).collect();
        let places = &samples.last()?.places;
        let square = |p: &[f32; 3]| p.iter().map(|x| f64::from(x * x)).sum::<f64>();
        let radius_mm = (places.iter().map(square).sum::<f64>() / places.len() as f64).sqrt();
        let known = radius_mm.is_finite() && radius_mm > 0.0;
        known.then_some(Self { fixed, moving, settings, centre, radius_mm, samples })
    }

    /// The metric on a level with some of its samples.
    pub fn metric<'b>(&'b self, level: usize, samples: &'b Samples) -> Option<Metric<'b>> {
        Some(Metric::new(samples, self.moving.levels.get(level)?, LEAST_INSIDE))
    }

    /// A climb on one level with all of its samples.
    pub fn climb(&self, level: usize, samples: &Samples, start: Pose) -> Option<Found> {
        let metric = self.metric(level, samples)?;
        let first_mm = self.moving.levels.get(level)?.spacing_mm / 2.0;
        let (pose, value) = climb(&metric, start, self.radius_mm, first_mm);
        Some(Found { pose, value })
    }

    /// The best of all starts, climbed from the coarsest level to the finest.
    pub fn run(&self) -> Option<Found> {
        let coarsest = self.samples.len().checked_sub(1)?;
        let samples = self.samples.get(coarsest)?;
        let metric = self.metric(coarsest, samples)?;
        let mut starts: Vec<(f64, Pose)> =
            self.starts().into_iter().map(|pose| (metric.at(&pose).information, pose)).collect();
        starts.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut found: Vec<Found> = starts
            .into_iter()
            .take(CLIMBING)
            .filter_map(|(_, pose)| self.climb(coarsest, samples, pose))
            .collect();
        // Where a scanner left the two aligned, that is not lost among starts that
        // only look better from afar.
        let mut as_scanned = self.climb(coarsest, samples, Pose::identity(self.centre));
        for level in (0..coarsest).rev() {
            let samples = self.samples.get(level)?;
            let climb = |found: Found| self.climb(level, samples, found.pose);
            found = self.best(found, GOING_ON);
            as_scanned = as_scanned.filter(|one| !self.is_among(one, &found)).and_then(climb);
            found = found.into_iter().filter_map(climb).collect();
            if level == 1 {
                found.extend(as_scanned.take());
                found = self.best(found, 1);
            }
        }
        found.extend(as_scanned);
        self.best(found, 1).pop()
    }

    /// The best few that are not the same place found twice.
    fn best(&self, mut found: Vec<Found>, most: usize) -> Vec<Found> {
        found.sort_by(|a, b| b.value.information.total_cmp(&a.value.information));
        let mut kept: Vec<Found> = Vec::new();
        for one in found {
            if kept.len() < most && !self.is_among(&one, &kept) {
                kept.push(one);
            }
        }
        kept
    }

    fn is_among(&self, one: &Found, others: &[Found]) -> bool {
        let near = |other: &Found| {
            self.apart_mm(&one.pose.affine(), &other.pose.affine()) < 2.0 * self.settings.finest_mm
        };
        others.iter().any(near)
    }

    /// Root mean square distance in mm between where two maps take the fixed body.
    pub fn apart_mm(&self, a: &DAffine3, b: &DAffine3) -> f64 {
        distance_mm(a, b, &self.places()).0
    }

    /// Some places of the fixed body, RAS+ mm.
    pub fn places(&self) -> Vec<DVec3> {
        let coarsest = self.samples.last().map_or(&[][..], |samples| &samples.places);
        let step = coarsest.len().div_ceil(500).max(1);
        let place = |&[x, y, z]: &[f32; 3]| {
            self.centre + DVec3::new(f64::from(x), f64::from(y), f64::from(z))
        };
        coarsest.iter().step_by(step).map(place).collect()
    }

    /// As scanned; the middles of mass one on the other; those of the grids; and
    /// each of these turned and shifted along the axes.
    fn starts(&self) -> Vec<Pose> {
        const TURN: f64 = 0.35;
        const SHIFT_MM: f64 = 30.0;
        let as_scanned = Pose::identity(self.centre);
        let mut anchors = vec![as_scanned];
        if let (Some(fixed), Some(moving)) = (self.fixed.levels.last(), self.moving.levels.last()) {
            let mass = moving.foreground(self.moving.foreground_above).0 - self.centre;
            let grids = moving.grid.centre_mm() - fixed.grid.centre_mm();
            anchors.extend([mass, grids].map(|shift| Pose { shift, ..as_scanned }));
        }
        let mut starts = anchors.clone();
        for anchor in anchors {
            for axis in DVec3::AXES {
                for sign in [-1.0, 1.0] {
                    let turn = rotation_of(axis * sign * TURN);
                    starts.push(Pose { rotation: turn, ..anchor });
                    let shift = anchor.shift + axis * sign * SHIFT_MM;
                    starts.push(Pose { shift, ..anchor });
                }
            }
        }
        starts
    }
}
