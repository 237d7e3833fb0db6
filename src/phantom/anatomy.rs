//! A head as nested analytic shapes in its own frame.

use super::{
    shape::{Ellipsoid, Folds, ellipsoid_distance, inside, smooth_union},
    tissue::{Mixture, Tissue},
};
use crate::geometry::DVec3;

/// One subject's head, in mm of its own frame: origin at the middle of the
/// brain, axes as in RAS+. A rigid pose takes it to the patient's world.
#[derive(Debug, Clone, PartialEq)]
pub struct Anatomy {
    /// Age drawn for the subject; the ventricles and sulci widen with it.
    pub age_years: f64,
    /// `F` or `M`; heads of `M` are larger on average.
    pub sex: char,
    pub(super) cranium: Cranium,
    pub(super) cortex: Cortex,
    /// Half axes of the neck's cross section, and its y.
    pub(super) neck_radii_mm: [f64; 2],
    pub(super) neck_y_mm: f64,
    pub(super) face: Ellipsoid,
    /// Orbits, sinuses, jaw, spine: painted before what the cranium holds.
    pub(super) outer: Vec<Part>,
    /// Ventricles, nuclei, cerebellum, brainstem, in the order of painting.
    pub(super) inner: Vec<Part>,
    /// What makes the subject unlike any other.
    pub(super) inclusions: Vec<Part>,
    pub(super) lesion: Lesion,
}

/// A named ellipsoid of one tissue.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub name: String,
    pub tissue: Tissue,
    pub shape: Ellipsoid,
}

/// The inner surface of the skull, and how thick skull and scalp are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cranium {
    pub half_axes_mm: DVec3,
    /// Amounts of six low-order bumps, as fractions of the radius.
    pub bumps: [f64; 6],
    pub skull_mm: f64,
    pub scalp_mm: f64,
}

/// How cortex lies under the skull.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cortex {
    pub csf_mm: f64,
    pub thickness_mm: f64,
    pub folds: Folds,
    /// Phase in radians by which the folds of the sides differ from the mean, either way.
    pub asymmetry: f64,
    pub sulcus_width_mm: f64,
    pub sulcus_depth_mm: f64,
    pub fissure_width_mm: f64,
}

/// A tumour in a ring of oedema that grows from session to session.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lesion {
    pub centre_mm: DVec3,
    pub first_radius_mm: f64,
    pub growth: f64,
}

impl Lesion {
    /// Largest radius in mm that growth may reach.
    const LARGEST_MM: f64 = 22.0;

    /// The radius in a session, counted from 0.
    pub fn radius_mm(&self, session: usize) -> f64 {
        let grown = self.first_radius_mm * self.growth.powi(session.min(1000) as i32);
        grown.min(Self::LARGEST_MM)
    }
}

impl Cranium {
    /// The signed distance to the inner surface, and the direction from the centre.
    fn distance_mm(&self, point_mm: DVec3) -> (f64, DVec3) {
        let n = (point_mm / self.half_axes_mm).normalize_or(DVec3::Z);
        let b = &self.bumps;
        let swell = 1.0
            + b[0] * n.x * n.y
            + b[1] * (n.z * n.z - 1.0 / 3.0)
            + b[2] * n.y * n.y * n.y
            + b[3] * n.x * n.z
            + b[4] * n.y * n.z
            + b[5] * (n.x * n.x - n.y * n.y) * n.z;
        (ellipsoid_distance(point_mm, self.half_axes_mm, swell), n)
    }
}

fn paint(mixture: &mut Mixture, tissue: Tissue, share: f64) {
    if share > 0.0 {
        for fraction in mixture.iter_mut() {
            *fraction *= 1.0 - share as f32;
        }
        mixture[tissue as usize] += share as f32;
    }
}

/// Puts a share of one mixture in place of as much of another.
fn blend(mixture: &mut Mixture, over: &Mixture, share: f64) {
    for (fraction, other) in mixture.iter_mut().zip(over) {
        *fraction += (other - *fraction) * share as f32;
    }
}

fn paint_parts(mixture: &mut Mixture, parts: &[Part], point_mm: DVec3) {
    for part in parts {
        paint(mixture, part.tissue, part.shape.inside(point_mm));
    }
}

impl Anatomy {
    /// Volume fractions of the tissues at a point of the head's own frame, in
    /// mm, in a session counted from 0. Fractions change smoothly over about
    /// 2 mm where tissues meet, and sum to one.
    pub fn mixture_at(&self, point_mm: DVec3, session: usize) -> Mixture {
        let mut mixture = [0.0; Tissue::COUNT];
        mixture[Tissue::Air as usize] = 1.0;
        let (cranium_mm, direction) = self.cranium.distance_mm(point_mm);
        let skull_mm =
            self.cranium.skull_mm * (1.0 - 0.25 * direction.y + 0.15 * direction.z.abs());
        // Deep inside, all that is painted below is covered again.
        if cranium_mm > -4.0 {
            let head_mm = cranium_mm - skull_mm - self.cranium.scalp_mm;
            let body_mm = self.body_mm(point_mm, head_mm);
            let share = inside(body_mm);
            if share == 0.0 {
                return mixture;
            }
            let mut body = [0.0; Tissue::COUNT];
            body[Tissue::Fat as usize] = 1.0;
            paint(&mut body, Tissue::Muscle, inside(body_mm + self.cranium.scalp_mm));
            paint(&mut body, Tissue::Bone, inside(cranium_mm - skull_mm));
            let marrow_mm = (cranium_mm - 0.5 * skull_mm).abs() - 0.2 * skull_mm;
            paint(&mut body, Tissue::Fat, 0.6 * inside(marrow_mm));
            paint_parts(&mut body, &self.outer, point_mm);
            blend(&mut mixture, &body, share);
        }
        if inside(cranium_mm) > 0.0 {
            self.paint_brain(&mut mixture, point_mm, cranium_mm, session);
        }
        mixture
    }

    /// The signed distance to the skin: the head, the face and the neck as one.
    fn body_mm(&self, p: DVec3, head_mm: f64) -> f64 {
        let mut body_mm = head_mm;
        // Neck and face end well below.
        if p.z < 30.0 {
            let [x, y] = self.neck_radii_mm;
            let level = DVec3::new(p.x, p.y - self.neck_y_mm, 0.0);
            let neck_mm = ellipsoid_distance(level, DVec3::new(x, y, 1e3), 1.0);
            let below_mm = p.z + 0.55 * self.cranium.half_axes_mm.z;
            body_mm = smooth_union(body_mm, neck_mm.max(below_mm), 16.0);
            body_mm = smooth_union(body_mm, self.face.distance_mm(p), 10.0);
        }
        body_mm
    }

    fn paint_brain(&self, mixture: &mut Mixture, point_mm: DVec3, cranium_mm: f64, session: usize) {
        let brain_mm = self.cortex.brain_mm(point_mm, cranium_mm, self.cranium.half_axes_mm.z);
        let mut brain = [0.0; Tissue::COUNT];
        brain[Tissue::Csf as usize] = 1.0;
        paint(&mut brain, Tissue::Gray, inside(brain_mm));
        paint(&mut brain, Tissue::White, inside(brain_mm + self.cortex.thickness_mm));
        paint_parts(&mut brain, &self.inner, point_mm);
        paint_parts(&mut brain, &self.inclusions, point_mm);
        let radius_mm = self.lesion.radius_mm(session);
        let lesion_mm = point_mm.distance(self.lesion.centre_mm) - radius_mm;
        paint(&mut brain, Tissue::Oedema, inside(lesion_mm - 0.6 * radius_mm));
        paint(&mut brain, Tissue::Tumour, inside(lesion_mm));
        blend(mixture, &brain, inside(cranium_mm));
    }
}

impl Cortex {
    /// The signed distance to the pial surface: the cranium, less a film of
    /// fluid, cut by the sulci and by the fissure between the hemispheres.
    fn brain_mm(&self, p: DVec3, cranium_mm: f64, height_mm: f64) -> f64 {
        let hull_mm = cranium_mm + self.csf_mm;
        // Outside, and below any sulcus and ribbon, folds change nothing.
        if hull_mm > 4.0 {
            return hull_mm;
        }
        let mut folds = self.folds;
        folds.phase.x += self.asymmetry * (p.x / 8.0).clamp(-1.0, 1.0);
        let mirrored = DVec3::new(p.x.abs(), p.y, p.z);
        let sulcus_mm = (folds.distance_mm(mirrored) - 0.5 * self.sulcus_width_mm)
            .max(-cranium_mm - self.sulcus_depth_mm);
        let above_mm = 0.28 * height_mm - p.z;
        let fissure_mm = (p.x.abs() - 0.5 * self.fissure_width_mm).max(above_mm);
        hull_mm.max(-sulcus_mm).max(-fissure_mm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tissues_fill_space_and_pass_smoothly_into_each_other() {
        let anatomy = Anatomy::of_subject(0, "07");
        for line in 0..60 {
            let (column, row) = (f64::from(line % 10), f64::from(line / 10));
            let from = DVec3::new(column * 14.0 - 83.0, -110.0, row * 24.0 - 80.0);
            let mut last = anatomy.mixture_at(from, 0);
            for step in 1..1100 {
                let along = DVec3::new(0.06, 0.2, 0.03) * f64::from(step);
                let mixture = anatomy.mixture_at(from + along, 0);
                assert!((mixture.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                let change: f32 = mixture.iter().zip(&last).map(|(a, b)| (a - b).abs()).sum();
                assert!(change < 0.8, "{change} within 0.21 mm at line {line}, step {step}");
                last = mixture;
            }
        }
    }
}
