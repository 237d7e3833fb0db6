//! How far an alignment can be believed, and when it cannot.

use std::fmt;

use glam::{DAffine3, DVec3};
use rand::RngExt;

use super::{
    image::Level,
    rigid::{Pose, rotation_of},
    sample::stream,
    search::{Found, Search},
};

/// What speaks for an alignment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Share of the fixed image's entropy that the moving image tells: mutual
    /// information over the entropy of the fixed intensities, 0 to 1.
    pub explained: f64,
    /// How many times the mutual information is that of misalignments drawn at
    /// random, their median.
    pub gain: f64,
    /// Share of the smaller body that lies in the other scan.
    pub overlap: f64,
    /// Root mean square distance in mm, over the fixed body, between alignments by
    /// one half of it and by the other; the median of three ways to halve it.
    pub halves_mm: f64,
}

/// Why an alignment is not believed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Doubt {
    /// Too little of the body is in both scans.
    Overlap(f64),
    /// Other poses are nearly as good.
    Gain(f64),
    /// Halves of the body disagree.
    Halves(f64),
}

/// Least overlap of an alignment that is believed.
pub const LEAST_OVERLAP: f64 = 0.5;
/// Least gain.
pub const LEAST_GAIN: f64 = 2.0;
/// Largest disagreement of halves, mm.
pub const MOST_HALVES_MM: f64 = 4.0;

/// Misalignments that are drawn.
const DRAWN: usize = 40;

impl Quality {
    /// Why the alignment is not to be used, `None` where it may be.
    pub fn doubt(&self) -> Option<Doubt> {
        // What is not a number satisfies no limit, and so is doubted.
        let overlaps = self.overlap >= LEAST_OVERLAP;
        let gains = self.gain >= LEAST_GAIN;
        let agrees = self.halves_mm <= MOST_HALVES_MM;
        match (overlaps, gains, agrees) {
            (false, ..) => Some(Doubt::Overlap(self.overlap)),
            (true, false, _) => Some(Doubt::Gain(self.gain)),
            (true, true, false) => Some(Doubt::Halves(self.halves_mm)),
            (true, true, true) => None,
        }
    }

    pub(super) fn of(search: &Search, found: &Found) -> Option<Self> {
        let explained = found.value.information / found.value.fixed_entropy.max(f64::MIN_POSITIVE);
        Some(Self {
            explained,
            gain: gain(search, found)?,
            overlap: overlap(search, &found.pose)?,
            halves_mm: halves_mm(search, found)?,
        })
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap(share) => write!(
                f,
                "the scans share {:.0} % of the smaller body, not at least {:.0} %",
                100.0 * share,
                100.0 * LEAST_OVERLAP
            ),
            Self::Gain(gain) => write!(
                f,
                "mutual information is {gain:.2} times that of misalignments, not at least {LEAST_GAIN} times"
            ),
            Self::Halves(mm) => write!(
                f,
                "alignments by halves of the body lie {mm:.1} mm apart, not at most {MOST_HALVES_MM} mm"
            ),
        }
    }
}

/// The level at which quality is measured: half as fine as the finest.
const LEVEL: usize = 1;

/// How far the halves begin from the pose, along and about each axis, mm.
const AWAY_MM: f64 = 3.0;

fn gain(search: &Search, found: &Found) -> Option<f64> {
    let samples = search.samples.get(LEVEL)?;
    let metric = search.metric(LEVEL, samples)?;
    let here = metric.at(&found.pose).information;
    let mut rng = stream(search.settings.seed, 100);
    let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
    let mut others: Vec<f64> = (0..DRAWN)
        .map(|_| {
            let mut direction = || {
                DVec3::new(between(-1.0, 1.0), between(-1.0, 1.0), between(-1.0, 1.0))
                    .normalize_or(DVec3::Z)
            };
            let (axis, way) = (direction(), direction());
            let turn = rotation_of(axis * between(0.2, 0.5));
            let shift = way * between(0.2, 0.5) * search.radius_mm;
            let pose = found.pose;
            metric
                .at(&Pose { rotation: turn * pose.rotation, shift: pose.shift + shift, ..pose })
                .information
        })
        .filter(|&information| information > 0.0)
        .collect();
    others.sort_by(f64::total_cmp);
    // Where no misalignment overlaps enough, this one hardly does, and nothing can be
    // said for it.
    Some(others.get(others.len() / 2).map_or(0.0, |median| here / median))
}

fn overlap(search: &Search, pose: &Pose) -> Option<f64> {
    let (fixed, moving) = (search.fixed.levels.last()?, search.moving.levels.last()?);
    let there = within(fixed, search.fixed.foreground_above, moving, &pose.affine());
    let back = within(moving, search.moving.foreground_above, fixed, &pose.affine().inverse());
    let (inside, body) = if there.1 <= back.1 { there } else { back };
    Some(inside / body.max(f64::MIN_POSITIVE))
}

/// How much of the body in one scan lies in another, and all of it, mm³.
fn within(one: &Level, above: f32, other: &Level, other_from_one: &DAffine3) -> (f64, f64) {
    let (mut inside, mut body) = (0.0, 0.0);
    let affine: DAffine3 = other.voxel_from_ras * *other_from_one * one.grid.ras_from_voxel;
    let last = DVec3::from_array(other.grid.shape.map(|n| n as f64 - 1.0));
    for ((k, j, i), &value) in one.voxels.indexed_iter() {
        if value > above {
            body += 1.0;
            let at = affine.transform_point3(DVec3::new(i as f64, j as f64, k as f64));
            if at.cmpge(DVec3::splat(-0.5)).all() && at.cmple(last + 0.5).all() {
                inside += 1.0;
            }
        }
    }
    let voxel = one.grid.ras_from_voxel.matrix3.determinant().abs();
    (inside * voxel, body * voxel)
}

/// Where two halves see the same anatomy they are aligned by the same map; what
/// merely fits as well as it can fits each half in its own way. The halves begin on
/// opposite sides of the pose, so that neither stays where it is for want of a slope.
fn halves_mm(search: &Search, found: &Found) -> Option<f64> {
    let mut apart: Vec<f64> = (0..3)
        .map(|axis| {
            let half = |upper: bool| {
                let away = if upper { AWAY_MM } else { -AWAY_MM };
                let mut pose = found.pose.moved(&[away; 6], search.radius_mm);
                for level in [LEVEL + 1, LEVEL] {
                    let samples = search.samples.get(level)?.half(axis, upper);
                    pose = search.climb(level, &samples, pose)?.pose;
                }
                Some(pose.affine())
            };
            Some(search.apart_mm(&half(false)?, &half(true)?))
        })
        .collect::<Option<_>>()?;
    apart.sort_by(f64::total_cmp);
    apart.get(1).copied()
}
