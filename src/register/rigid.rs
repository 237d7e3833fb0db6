//! A rigid map near another one, as six numbers in mm.

use glam::{DAffine3, DMat3, DQuat, DVec3};

/// A rigid map from fixed to moving RAS+ mm, taken apart about the middle of the
/// fixed foreground, so that turning and shifting hardly disturb each other:
/// x ↦ `rotation` (x − `centre`) + `centre` + `shift`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pose {
    pub rotation: DMat3,
    pub centre: DVec3,
    pub shift: DVec3,
}

impl Pose {
    pub fn identity(centre: DVec3) -> Self {
        Self { rotation: DMat3::IDENTITY, centre, shift: DVec3::ZERO }
    }

    /// RAS+ mm to RAS+ mm.
    pub fn affine(&self) -> DAffine3 {
        let shift = self.centre + self.shift - self.rotation * self.centre;
        DAffine3::from_mat3_translation(self.rotation, shift)
    }

    /// The pose after a step of three turns and three shifts in mm; a turn's mm
    /// are those of the arc at `radius_mm`.
    pub fn moved(&self, step: &[f64], radius_mm: f64) -> Self {
        let (turn, shift) = parts(step);
        let rotation = rotation_of(turn / radius_mm) * self.rotation;
        Self { rotation: orthogonal(rotation), shift: self.shift + shift, ..*self }
    }

    /// The gradient by the six numbers of a step, where `force` is the gradient
    /// by the shift and `torque` the sum of (turned place) × (gradient there).
    ///
    /// # Source
    /// The left Jacobian of rotations: Chirikjian 2012, *Stochastic models,
    /// information theory, and Lie groups* 2, eq. 10.86.
    pub fn gradient(step: &[f64], radius_mm: f64, force: DVec3, torque: DVec3) -> [f64; 6] {
        let (turn, _) = parts(step);
        let turn = left_jacobian(turn / radius_mm).transpose() * torque / radius_mm;
        [turn.x, turn.y, turn.z, force.x, force.y, force.z]
    }
}

fn parts(step: &[f64]) -> (DVec3, DVec3) {
    let at = |n: usize| step.get(n).copied().unwrap_or(0.0);
    (DVec3::new(at(0), at(1), at(2)), DVec3::new(at(3), at(4), at(5)))
}

/// The rotation about a vector by its length in radians.
pub(super) fn rotation_of(turn: DVec3) -> DMat3 {
    DMat3::from_quat(DQuat::from_scaled_axis(turn))
}

/// The nearest rotation, after rounding.
fn orthogonal(rotation: DMat3) -> DMat3 {
    DMat3::from_quat(DQuat::from_mat3(&rotation).normalize())
}

fn left_jacobian(turn: DVec3) -> DMat3 {
    let angle = turn.length();
    let cross = DMat3::from_cols(
        DVec3::new(0.0, turn.z, -turn.y),
        DVec3::new(-turn.z, 0.0, turn.x),
        DVec3::new(turn.y, -turn.x, 0.0),
    );
    // The series where the quotients lose their digits.
    let (first, second) = if angle < 1e-4 {
        (0.5, 1.0 / 6.0)
    } else {
        let square = angle * angle;
        ((1.0 - angle.cos()) / square, (angle - angle.sin()) / (square * angle))
    };
    DMat3::IDENTITY + cross * first + cross * cross * second
}

/// mm between where two maps take each of some places: root mean square, largest.
pub(super) fn distance_mm(a: &DAffine3, b: &DAffine3, places: &[DVec3]) -> (f64, f64) {
    let (mut sum, mut largest) = (0.0, 0.0_f64);
    for &place in places {
        let square = a.transform_point3(place).distance_squared(b.transform_point3(place));
        sum += square;
        largest = largest.max(square);
    }
    ((sum / places.len().max(1) as f64).sqrt(), largest.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_differences() {
        // The value is g · (place after the step), whose gradient is known by hand.
        let start = Pose {
            rotation: rotation_of(DVec3::new(0.2, -0.4, 0.3)),
            centre: DVec3::new(5.0, -3.0, 9.0),
            shift: DVec3::new(1.0, 2.0, -4.0),
        };
        let (place, g) = (DVec3::new(30.0, -50.0, 20.0), DVec3::new(0.3, -0.7, 0.5));
        for step in [[0.0; 6], [8.0, -5.0, 12.0, 1.0, -2.0, 0.5]] {
            let there = start.centre + place;
            let value =
                |step: &[f64]| g.dot(start.moved(step, 80.0).affine().transform_point3(there));
            let turned = start.moved(&step, 80.0).rotation * place;
            let gradient = Pose::gradient(&step, 80.0, g, turned.cross(g));
            for (n, analytic) in gradient.into_iter().enumerate() {
                let (mut more, mut less) = (step, step);
                more[n] += 1e-4;
                less[n] -= 1e-4;
                let difference = (value(&more) - value(&less)) / 2e-4;
                assert!((difference - analytic).abs() < 1e-6, "{n}: {difference} {analytic}");
            }
        }
    }

    #[test]
    fn pose_and_affine_agree() {
        let centre = DVec3::new(5.0, -3.0, 9.0);
        let pose = Pose::identity(centre).moved(&[10.0, 20.0, -5.0, 3.0, 4.0, 5.0], 60.0);
        let place = DVec3::new(-40.0, 33.0, 12.0);
        let by_affine = pose.affine().transform_point3(place);
        let by_parts = pose.rotation * (place - centre) + centre + pose.shift;
        assert!(by_affine.distance(by_parts) < 1e-9);
        assert!((pose.rotation.determinant() - 1.0).abs() < 1e-12);
    }
}
