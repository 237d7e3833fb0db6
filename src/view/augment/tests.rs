use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::view::{Form, Plane, Slices};

const STRONG: Augment = Augment {
    shift_mm: 10.0,
    rotate_deg: 30.0,
    scale: 0.2,
    contrast: 0.5,
    brightness: 0.5,
    noise: 0.3,
    ..OFF
};

const OFF: Augment = Augment {
    shift_mm: 0.0,
    rotate_deg: 0.0,
    tilt_deg: 0.0,
    scale: 0.0,
    crop: 0.0,
    flip_left_right: 0.0,
    flip_anterior_posterior: 0.0,
    flip_superior_inferior: 0.0,
    elastic_mm: 0.0,
    elastic_spacing_mm: 40.0,
    thickness_mm: 0.0,
    blur_mm: 0.0,
    bias_field: 0.0,
    gamma: 0.0,
    contrast: 0.0,
    brightness: 0.0,
    noise: 0.0,
    rician: false,
    cut_out: 0.0,
};

const CENTRE: DVec3 = DVec3::new(5.0, -7.0, 30.0);
const PLANE: Settings = Settings { size: 9, pixel_mm: 2.0, plane: Plane::Axial, slices: None };
const BOX: Settings =
    Settings { slices: Some(Slices { depth: 6, slice_mm: 3.0, form: Form::Box }), ..PLANE };
const SLAB: Settings =
    Settings { slices: Some(Slices { depth: 6, slice_mm: 3.0, form: Form::Slab }), ..PLANE };

/// The view of 50 draws.
fn moved(augment: &Augment, view: &Settings) -> Vec<Grid> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let grid = view.grid(CENTRE);
    (0..50).map(|_| augment.draw(view, view.is_box(), &mut rng).apply_to_grid(&grid)).collect()
}

#[test]
fn the_plane_stays_axial_and_its_centre_moves_by_the_shift() {
    for moved in moved(&STRONG, &PLANE) {
        let centre = moved.centre_mm();
        assert!((centre.z - 30.0).abs() < 1e-9);
        assert!((centre.x - 5.0).abs() <= 10.0 && (centre.y + 7.0).abs() <= 10.0);
        let corner = moved.world_mm(DVec3::ZERO);
        let reach = corner.distance(centre) / (8.0 * 2.0_f64.sqrt());
        assert!((0.799..=1.201).contains(&reach), "{reach}");
        // Left and right are not exchanged.
        assert!(moved.ras_from_voxel.matrix3.determinant() > 0.0);
    }
}

#[test]
fn a_box_moves_rigidly_but_for_one_scale() {
    let mut heights = Vec::new();
    for moved in moved(&STRONG, &BOX) {
        assert_eq!(moved.shape, [9, 9, 6]);
        let shift = moved.centre_mm() - CENTRE;
        assert!(shift.abs().max_element() <= 10.0, "{shift}");
        heights.push(shift.z);
        let [x, y, z] = moved.spacing_mm();
        let scale = x / 2.0;
        assert!((0.799..=1.201).contains(&scale), "{scale}");
        assert!((y - 2.0 * scale).abs() < 1e-9 && (z - 3.0 * scale).abs() < 1e-9);
        // It turns about the axial axis only, and is never sheared or mirrored.
        let axes = moved.ras_from_voxel.matrix3;
        assert!(axes.z_axis.truncate().length() < 1e-9 && axes.z_axis.z > 0.0);
        assert!(axes.x_axis.z.abs() < 1e-9 && axes.x_axis.dot(axes.y_axis).abs() < 1e-9);
        assert!(axes.determinant() > 0.0);
    }
    assert!(heights.iter().any(|&z| z > 5.0) && heights.iter().any(|&z| z < -5.0));
    for moved in moved(&Augment { scale: 0.0, ..STRONG }, &BOX) {
        let [x, y, z] = moved.spacing_mm();
        assert!((x - 2.0).abs() < 1e-9 && (y - 2.0).abs() < 1e-9 && (z - 3.0).abs() < 1e-9);
    }
}

#[test]
fn every_plane_is_left_along_its_normal_by_boxes_alone() {
    let all = Augment { tilt_deg: 20.0, crop: 0.4, ..STRONG };
    for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
        let (axis, _) = plane.normal();
        for view in [PLANE, SLAB].map(|view| Settings { plane, ..view }) {
            let still = view.grid(CENTRE).ras_from_voxel.matrix3.z_axis;
            for moved in moved(&all, &view) {
                assert!((moved.centre_mm()[axis] - CENTRE[axis]).abs() < 1e-9, "{plane}");
                let normal = moved.ras_from_voxel.matrix3.z_axis;
                assert!((normal - still).length() < 1e-9, "{plane} {normal}");
            }
        }
        let view = Settings { plane, ..BOX };
        let tilted = moved(&all, &view).into_iter().filter(|moved| {
            let normal = moved.ras_from_voxel.matrix3.z_axis.normalize();
            normal[axis].abs() < 20.0_f64.to_radians().cos() + 0.05
        });
        assert!(tilted.count() > 5, "{plane}");
    }
}

#[test]
fn a_crop_lies_within_the_view_and_all_over_it() {
    let view = Settings { size: 101, ..PLANE };
    let whole = view.grid(CENTRE);
    // From edge to edge of the pixels.
    let ends = |grid: &Grid| {
        let edge = DVec3::new(0.5, 0.5, 0.0);
        [grid.world_mm(-edge), grid.world_mm(DVec3::new(100.0, 100.0, 0.0) + edge)]
    };
    let [low, high] = ends(&whole);
    let (mut least, mut corners) = (1.0_f64, [0; 4]);
    for moved in moved(&Augment { crop: 0.5, ..OFF }, &view) {
        let [from, to] = ends(&moved);
        assert!(from.cmpge(low - 1e-9).all() && to.cmple(high + 1e-9).all());
        let kept = (to - from) / (high - low);
        assert!((kept.x - kept.y).abs() < 1e-9 && kept.x >= 0.5 - 1e-9);
        least = least.min(kept.x);
        let shift = moved.centre_mm() - CENTRE;
        corners[usize::from(shift.x > 0.0) + 2 * usize::from(shift.y > 0.0)] += 1;
    }
    assert!(least < 0.55 && corners.iter().all(|&count| count > 4), "{least} {corners:?}");
}

#[test]
fn only_what_is_allowed_is_flipped() {
    let strong = Augment {
        tilt_deg: 20.0,
        crop: 0.5,
        elastic_mm: 5.0,
        thickness_mm: 5.0,
        blur_mm: 3.0,
        bias_field: 0.5,
        gamma: 0.5,
        rician: true,
        cut_out: 0.5,
        ..STRONG
    };
    let mirrored = |augment: &Augment, view: &Settings| {
        let all = moved(augment, view).into_iter();
        all.filter(|moved| moved.ras_from_voxel.matrix3.determinant() < 0.0).count()
    };
    for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
        for view in [PLANE, SLAB, BOX].map(|view| Settings { plane, ..view }) {
            assert_eq!(mirrored(&strong, &view), 0, "{plane}");
            // Which of the three a plane shows, and so can exchange.
            let flips = [
                Augment { flip_left_right: 0.5, ..OFF },
                Augment { flip_anterior_posterior: 0.5, ..OFF },
                Augment { flip_superior_inferior: 0.5, ..OFF },
            ];
            for (axis, flip) in flips.iter().enumerate() {
                let count = mirrored(flip, &view);
                let seen = view.is_box() || plane.normal().0 != axis;
                assert!(
                    if seen { (12..=38).contains(&count) } else { count == 0 },
                    "{plane} {axis}"
                );
                for moved in moved(flip, &view) {
                    let before = view.grid(CENTRE).ras_from_voxel.matrix3;
                    let change = moved.ras_from_voxel.matrix3 * before.inverse();
                    for other in 0..3 {
                        let same = (change.col(other)[other] - 1.0).abs() < 1e-9;
                        assert!(same || other == axis, "{plane} {axis}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_elastic_change_folds_nothing() {
    let view = Settings { size: 48, ..PLANE };
    let augment = Augment { elastic_mm: 40.0, elastic_spacing_mm: 16.0, ..OFF };
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut most = 0.0_f64;
    for _ in 0..20 {
        let drawn = augment.draw(&view, false, &mut rng);
        let [x, y] = [0, 1].map(|axis| {
            let mut field = vec![0.0; 48 * 48];
            let lines = field.chunks_exact_mut(48).enumerate();
            lines.for_each(|(row, line)| drawn.elastic[axis].line(row, 0, line));
            field
        });
        most = x.iter().fold(most, |most, &mm| most.max(f64::from(mm.abs())));
        for at in (0..47 * 48).filter(|at| at % 48 < 47) {
            // Displacement per mm along columns and rows.
            let slope = |field: &[f32], next: usize| f64::from(field[next] - field[at]) / 2.0;
            let across = (1.0 + slope(&x, at + 1), slope(&y, at + 1));
            let down = (slope(&x, at + 48), 1.0 + slope(&y, at + 48));
            assert!(across.0 * down.1 - across.1 * down.0 > 0.0, "{at}");
        }
    }
    assert!(most > 2.0 && most <= UNFOLDED * 16.0, "{most}");
}

#[test]
fn the_cut_out_has_its_share() {
    for view in [Settings { size: 64, ..PLANE }, Settings { size: 64, ..SLAB }] {
        let augment = Augment { cut_out: 0.4, ..OFF };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let voxels = view.voxels();
        let shares: Vec<f64> = (0..200)
            .map(|_| {
                let mut values = vec![1.0; voxels];
                let drawn = augment.draw(&view, false, &mut rng);
                drawn.apply_to_values(&view, -3.0, &mut values, &mut rng);
                let cut = values.iter().filter(|&&value| value == -3.0).count();
                assert_eq!(cut + values.iter().filter(|&&value| value == 1.0).count(), voxels);
                cut as f64 / voxels as f64
            })
            .collect();
        // Uniform up to the largest share.
        let mean = shares.iter().sum::<f64>() / 200.0;
        assert!((mean - 0.2).abs() < 0.03, "{mean}");
        assert!(shares.iter().all(|&share| share < 0.42));
        assert!(shares.iter().any(|&share| share > 0.35));
    }
}

#[test]
fn the_same_seed_gives_the_same_view() {
    let all = Augment { elastic_mm: 3.0, blur_mm: 2.0, bias_field: 0.3, cut_out: 0.3, ..STRONG };
    let draw = || {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let drawn = all.draw(&BOX, true, &mut rng);
        let mut values = vec![0.5; BOX.voxels()];
        drawn.apply_to_values(&BOX, 0.0, &mut values, &mut rng);
        (drawn, values)
    };
    assert_eq!(draw(), draw());
}

#[test]
fn a_modality_has_its_own_and_only_mr_has_coils() {
    let mr = Augment { bias_field: 0.5, rician: true, noise: 0.2, ..OFF };
    let t2 = Augment { noise: 0.4, ..mr };
    let augments = Augments { all: mr, of: [("T2".parse().unwrap(), t2)].into(), batch: None };
    assert_eq!(augments.of("T1"), mr);
    assert_eq!(augments.of("T2"), t2);
    assert_eq!(augments.of("CT"), Augment { noise: 0.2, ..OFF });
}

#[test]
fn what_a_pair_shares_moves_both_of_its_views_alike() {
    let shared = Augment { scale: 0.3, elastic_mm: 4.0, elastic_spacing_mm: 30.0, ..OFF };
    let still = OFF;
    let draw = |own: &Augment, seed: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut pair = ChaCha8Rng::seed_from_u64(77);
        own.draw(&PLANE, false, &mut rng).on(shared.draw(&PLANE, false, &mut pair))
    };
    let grid = PLANE.grid(CENTRE);
    let (one, other) = (draw(&still, 1), draw(&still, 2));
    assert_eq!(one.apply_to_grid(&grid), other.apply_to_grid(&grid));
    assert_ne!(one.apply_to_grid(&grid), grid);
    assert_eq!(one.elastic().count(), 2);
    // Each has its own on top.
    let moved = Augment { shift_mm: 3.0, ..still };
    let (one, other) = (draw(&moved, 1).apply_to_grid(&grid), draw(&moved, 2).apply_to_grid(&grid));
    assert_eq!(one.ras_from_voxel.matrix3, other.ras_from_voxel.matrix3);
    assert_ne!(one.centre_mm(), other.centre_mm());
}
