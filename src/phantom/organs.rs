//! Draws one subject's head.

use rand::{Rng, RngExt};

use super::{
    anatomy::{Anatomy, Cortex, Cranium, Lesion, Part},
    draw::{around_zero, between, small_turn, stream},
    shape::{Ellipsoid, Folds},
    tissue::Tissue,
};
use crate::geometry::{DMat3, DVec3};

/// Half axes in mm of the cranium that the tables of organs below are for.
const REFERENCE_MM: DVec3 = DVec3::new(65.0, 78.0, 62.0);

/// Name, tissue, centre and radii in mm; `Pair` is mirrored in x, the right side given.
enum Row {
    One(&'static str, Tissue, [f64; 3], [f64; 3]),
    Pair(&'static str, Tissue, [f64; 3], [f64; 3]),
}
use Row::{One, Pair};

/// Painted before the brain, one over the other.
const OUTER: [Row; 15] = [
    One("maxilla", Tissue::Bone, [0.0, 46.0, -66.0], [40.0, 34.0, 20.0]),
    Pair("cheekbone", Tissue::Bone, [46.0, 44.0, -54.0], [9.0, 22.0, 6.0]),
    Pair("orbit", Tissue::Fat, [31.0, 68.0, -33.0], [17.0, 21.0, 17.0]),
    Pair("eye", Tissue::Csf, [31.0, 75.0, -33.0], [11.5, 11.5, 11.5]),
    Pair("lens", Tissue::Muscle, [31.0, 83.0, -33.0], [4.5, 2.5, 4.5]),
    Pair("maxillary sinus", Tissue::Air, [25.0, 52.0, -64.0], [11.0, 15.0, 13.0]),
    One("nasal cavity", Tissue::Air, [0.0, 64.0, -58.0], [8.0, 24.0, 19.0]),
    One("nasal septum", Tissue::Bone, [0.0, 64.0, -58.0], [1.6, 24.0, 19.0]),
    One("sphenoid sinus", Tissue::Air, [0.0, 32.0, -46.0], [13.0, 11.0, 8.0]),
    Pair("mastoid", Tissue::Bone, [54.0, -22.0, -54.0], [13.0, 16.0, 18.0]),
    Pair("mastoid cells", Tissue::Air, [55.0, -22.0, -54.0], [5.0, 7.0, 9.0]),
    One("pharynx", Tissue::Air, [0.0, 14.0, -84.0], [12.0, 7.0, 24.0]),
    One("spine", Tissue::Bone, [0.0, -26.0, -98.0], [17.0, 24.0, 36.0]),
    One("spinal canal", Tissue::Csf, [0.0, -34.0, -98.0], [10.0, 9.0, 50.0]),
    One("spinal cord", Tissue::White, [0.0, -34.0, -98.0], [6.0, 5.0, 50.0]),
];

/// Painted over cortex and white matter, one over the other.
const INNER: [Row; 17] = [
    One("corpus callosum", Tissue::White, [0.0, -2.0, 25.0], [13.0, 34.0, 6.0]),
    Pair("ventricle body", Tissue::Csf, [10.0, -4.0, 15.0], [6.0, 26.0, 8.0]),
    Pair("frontal horn", Tissue::Csf, [9.0, 24.0, 9.0], [5.0, 13.0, 9.0]),
    Pair("occipital horn", Tissue::Csf, [22.0, -34.0, 4.0], [6.0, 20.0, 8.0]),
    Pair("temporal horn", Tissue::Csf, [31.0, -12.0, -18.0], [3.5, 18.0, 4.5]),
    Pair("caudate nucleus", Tissue::Gray, [17.0, 18.0, 10.0], [5.0, 14.0, 10.0]),
    Pair("putamen", Tissue::Gray, [28.0, 6.0, 0.0], [6.0, 18.0, 11.0]),
    Pair("pallidum", Tissue::White, [22.0, 3.0, -1.0], [3.5, 9.0, 7.0]),
    Pair("thalamus", Tissue::Gray, [11.0, -11.0, 2.0], [8.0, 14.0, 10.0]),
    One("third ventricle", Tissue::Csf, [0.0, -3.0, -4.0], [2.5, 14.0, 10.0]),
    One("cisterns", Tissue::Csf, [0.0, -4.0, -30.0], [18.0, 15.0, 10.0]),
    Pair("cerebellar fissure", Tissue::Csf, [21.0, -45.0, -40.0], [30.0, 28.0, 21.0]),
    Pair("cerebellum", Tissue::Gray, [21.0, -45.0, -40.0], [27.5, 25.5, 18.5]),
    One("vermis", Tissue::Gray, [0.0, -45.0, -36.0], [12.0, 22.0, 17.0]),
    Pair("cerebellar white matter", Tissue::White, [20.0, -41.0, -39.0], [16.0, 13.0, 9.0]),
    One("brainstem", Tissue::White, [0.0, -18.0, -50.0], [14.0, 13.0, 36.0]),
    One("fourth ventricle", Tissue::Csf, [0.0, -30.0, -42.0], [7.0, 5.0, 10.0]),
];

/// What inclusions are made of, drawn evenly: a tissue named twice is twice as common.
const INCLUSION_TISSUES: [Tissue; 16] = [
    Tissue::Csf,
    Tissue::Csf,
    Tissue::Csf,
    Tissue::Gray,
    Tissue::Gray,
    Tissue::White,
    Tissue::White,
    Tissue::Tumour,
    Tissue::Tumour,
    Tissue::Oedema,
    Tissue::Oedema,
    Tissue::Oedema,
    Tissue::Blood,
    Tissue::Blood,
    Tissue::Calcium,
    Tissue::Fat,
];

impl Anatomy {
    /// The head of a subject, the same for the same seed and subject label.
    pub fn of_subject(seed: u64, subject: &str) -> Self {
        let rng = &mut stream(seed, &[subject, "anatomy"]);
        let age_years = between(rng, 20.0, 85.0).round();
        let sex = if rng.random::<bool>() { 'F' } else { 'M' };
        let wear = (age_years - 20.0) / 65.0;
        let size = if sex == 'M' { 1.03 } else { 0.97 } * between(rng, 0.93, 1.06);
        let half_axes_mm =
            REFERENCE_MM * size * (DVec3::ONE + around_zero(rng, DVec3::new(0.07, 0.06, 0.07)));
        let stretch = half_axes_mm / REFERENCE_MM;
        let bumps = [0.04, 0.06, 0.05, 0.03, 0.04, 0.04].map(|most| between(rng, -most, most));
        let cranium = Cranium {
            half_axes_mm,
            bumps,
            skull_mm: between(rng, 5.0, 9.0),
            scalp_mm: between(rng, 4.0, 8.0),
        };
        let cortex = draw_cortex(rng, wear);
        // Fluid spaces widen with age; their tissue names them in the table.
        let widening = (0.65 + 0.75 * wear) * between(rng, 0.8, 1.25);
        let outer = draw_parts(rng, &OUTER, stretch, 1.0);
        let inner = draw_parts(rng, &INNER, stretch, widening);
        let face_radii = DVec3::new(50.0, 46.0, 56.0) + around_zero(rng, DVec3::splat(4.0));
        Self {
            age_years,
            sex,
            neck_radii_mm: [between(rng, 48.0, 60.0), between(rng, 52.0, 64.0)],
            neck_y_mm: between(rng, -18.0, -8.0),
            face: Ellipsoid::new(DVec3::new(0.0, 42.0, -58.0) * stretch, face_radii),
            outer,
            inner,
            inclusions: draw_inclusions(rng, half_axes_mm),
            lesion: draw_lesion(rng, half_axes_mm),
            cranium,
            cortex,
        }
    }
}

fn draw_cortex(rng: &mut impl Rng, wear: f64) -> Cortex {
    let turn =
        DMat3::from_rotation_z(between(rng, 0.0, std::f64::consts::TAU)) * small_turn(rng, 60.0);
    let mut period = || between(rng, 38.0, 58.0);
    let period_mm = DVec3::new(period(), period(), period());
    let phase = around_zero(rng, DVec3::splat(std::f64::consts::PI));
    Cortex {
        csf_mm: 2.0 + 2.5 * wear * between(rng, 0.6, 1.2),
        thickness_mm: between(rng, 3.6, 4.6),
        folds: Folds { turn, period_mm, phase },
        asymmetry: between(rng, -0.4, 0.4),
        sulcus_width_mm: 1.6 + 2.4 * wear * between(rng, 0.5, 1.2),
        sulcus_depth_mm: between(rng, 17.0, 25.0),
        fissure_width_mm: 2.0 + 2.0 * wear,
    }
}

fn draw_parts(rng: &mut impl Rng, rows: &[Row], stretch: DVec3, widening: f64) -> Vec<Part> {
    let mut parts = Vec::new();
    for row in rows {
        let (One(name, tissue, centre, radii) | Pair(name, tissue, centre, radii)) = row;
        let moved = around_zero(rng, DVec3::splat(2.0));
        let mut grown = DVec3::ONE + around_zero(rng, DVec3::splat(0.15));
        if *tissue == Tissue::Csf && *name != "eye" && *name != "cerebellar fissure" {
            grown *= DVec3::new(widening, 0.5 + 0.5 * widening, widening);
        }
        let turn = small_turn(rng, 8.0);
        let mut part = |name: String, side: f64| {
            // The two sides differ a little from each other.
            let own = moved * DVec3::new(side, 1.0, 1.0) + around_zero(rng, DVec3::splat(0.8));
            let centre_mm = DVec3::from_array(*centre) * DVec3::new(side, 1.0, 1.0) * stretch;
            let radii_mm = DVec3::from_array(*radii) * stretch * grown;
            // A mirror image turns the other way about y and z.
            let mirror = DMat3::from_diagonal(DVec3::new(side, 1.0, 1.0));
            let shape = Ellipsoid::new(centre_mm + own, radii_mm).turned(mirror * turn * mirror);
            parts.push(Part { name, tissue: *tissue, shape });
        };
        match row {
            One(..) => part((*name).to_owned(), 1.0),
            Pair(..) => {
                part(format!("right {name}"), 1.0);
                part(format!("left {name}"), -1.0);
            }
        }
    }
    parts
}

fn point_within(rng: &mut impl Rng, half_axes_mm: DVec3) -> DVec3 {
    loop {
        let unit = around_zero(rng, DVec3::ONE);
        if unit.length_squared() <= 1.0 {
            return unit * half_axes_mm;
        }
    }
}

fn draw_inclusions(rng: &mut impl Rng, half_axes_mm: DVec3) -> Vec<Part> {
    let count = rng.random_range(10..=20);
    let mut inclusions = Vec::with_capacity(count);
    for n in 1..=count {
        let tissue = INCLUSION_TISSUES[rng.random_range(0..INCLUSION_TISSUES.len())];
        let centre_mm = point_within(rng, half_axes_mm * 0.84);
        let radius_mm = 3.5 * (13.0_f64 / 3.5).powf(rng.random());
        let radii_mm = DVec3::splat(radius_mm) * (DVec3::ONE + around_zero(rng, DVec3::splat(0.4)));
        let shape = Ellipsoid::new(centre_mm, radii_mm).turned(small_turn(rng, 180.0));
        inclusions.push(Part { name: format!("inclusion {n:02}"), tissue, shape });
    }
    inclusions
}

fn draw_lesion(rng: &mut impl Rng, half_axes_mm: DVec3) -> Lesion {
    Lesion {
        centre_mm: point_within(rng, half_axes_mm * 0.6),
        first_radius_mm: between(rng, 4.5, 7.0),
        growth: between(rng, 1.2, 1.45),
    }
}
