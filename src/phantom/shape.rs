//! Analytic shapes: signed distances in mm, negative inside.

use crate::geometry::{DMat3, DVec3};

/// Width in mm over which one tissue passes into the next, about a voxel.
pub(super) const EDGE_MM: f64 = 2.0;

/// How much of a voxel lies inside a surface at a signed distance, 0 to 1.
pub(super) fn inside(distance_mm: f64) -> f64 {
    let t = (0.5 - distance_mm / EDGE_MM).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The union of two signed distances, rounded where they meet within `round_mm`.
pub(super) fn smooth_union(a_mm: f64, b_mm: f64, round_mm: f64) -> f64 {
    let h = (round_mm - (a_mm - b_mm).abs()).max(0.0) / round_mm;
    a_mm.min(b_mm) - h * h * round_mm * 0.25
}

/// An ellipsoid, turned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ellipsoid {
    pub centre_mm: DVec3,
    pub radii_mm: DVec3,
    /// Columns are the ellipsoid's own axes.
    turn: DMat3,
}

impl Ellipsoid {
    pub fn new(centre_mm: DVec3, radii_mm: DVec3) -> Self {
        Self { centre_mm, radii_mm, turn: DMat3::IDENTITY }
    }

    pub fn turned(self, turn: DMat3) -> Self {
        Self { turn, ..self }
    }

    /// The signed distance, exact at the surface and for spheres, elsewhere to
    /// first order.
    pub fn distance_mm(&self, point_mm: DVec3) -> f64 {
        let own = self.turn.transpose() * (point_mm - self.centre_mm);
        ellipsoid_distance(own, self.radii_mm, 1.0)
    }

    /// How much of a voxel lies inside, 0 to 1.
    pub fn inside(&self, point_mm: DVec3) -> f64 {
        let reach = self.radii_mm.max_element() + EDGE_MM;
        if point_mm.distance_squared(self.centre_mm) > reach * reach {
            // Most ellipsoids are far from most points.
            return 0.0;
        }
        inside(self.distance_mm(point_mm))
    }
}

/// The signed distance to first order of an ellipsoid at the origin whose radius
/// is `swell` times its half axes in the direction of the point.
pub(super) fn ellipsoid_distance(point_mm: DVec3, radii_mm: DVec3, swell: f64) -> f64 {
    let scaled = point_mm / radii_mm;
    let k0 = scaled.length();
    let k1 = (scaled / radii_mm).length();
    if k1 < 1e-9 { -radii_mm.min_element() } else { (k0 - swell) * k0 / k1 }
}

/// Sheets that fold through space without end: the zero level of a gyroid, the
/// phantom's sulci.
///
/// # Source
/// A. H. Schoen, NASA TN D-5541 (1970): sin x cos y + sin y cos z + sin z cos x = 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Folds {
    /// Columns are the folds' own axes.
    pub turn: DMat3,
    /// Distance in mm after which the folds repeat, along each of their axes.
    pub period_mm: DVec3,
    /// Where along the period the origin lies, in radians.
    pub phase: DVec3,
}

impl Folds {
    /// Distance in mm to the nearest sheet, never negative, to first order.
    pub fn distance_mm(&self, point_mm: DVec3) -> f64 {
        let rate = DVec3::splat(std::f64::consts::TAU) / self.period_mm;
        let angle = (self.turn.transpose() * point_mm) * rate + self.phase;
        let ((sx, cx), (sy, cy), (sz, cz)) =
            (angle.x.sin_cos(), angle.y.sin_cos(), angle.z.sin_cos());
        let level = sx * cy + sy * cz + sz * cx;
        let slope = DVec3::new(cx * cy - sz * sx, cy * cz - sx * sy, cz * cx - sy * sz) * rate;
        level.abs() / slope.length().max(0.3 * rate.min_element())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_a_sphere() {
        let ball = Ellipsoid::new(DVec3::new(1.0, 2.0, 3.0), DVec3::splat(5.0));
        assert!((ball.distance_mm(DVec3::new(1.0, 2.0, 9.0)) - 1.0).abs() < 1e-12);
        assert_eq!(ball.distance_mm(ball.centre_mm), -5.0);
        assert_eq!(ball.inside(DVec3::splat(100.0)), 0.0);
        assert_eq!([inside(-1.0), inside(0.0), inside(1.0)], [1.0, 0.5, 0.0]);
    }

    #[test]
    fn folds_are_sheets_of_even_thickness() {
        let folds =
            Folds { turn: DMat3::IDENTITY, period_mm: DVec3::splat(40.0), phase: DVec3::ZERO };
        // The origin lies on a sheet whose normal is (1, 1, 1).
        let step = DVec3::ONE.normalize();
        assert_eq!(folds.distance_mm(DVec3::ZERO), 0.0);
        for mm in [-2.0, 0.5, 2.0_f64] {
            assert!((folds.distance_mm(step * mm) - mm.abs()).abs() < 0.1 * mm.abs());
        }
    }
}
