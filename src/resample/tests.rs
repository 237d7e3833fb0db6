use glam::{DMat3, DQuat};

use super::*;

fn grid(shape: [usize; 3], spacing_mm: [f64; 3], origin_mm: f64) -> Grid {
    let matrix = DMat3::from_diagonal(DVec3::from_array(spacing_mm));
    let ras_from_voxel = DAffine3::from_mat3_translation(matrix, DVec3::splat(origin_mm));
    Grid { shape, ras_from_voxel }
}

fn ramp([ni, nj, nk]: [usize; 3]) -> Array3<f32> {
    Array3::from_shape_fn((nk, nj, ni), |(k, j, i)| (i + 10 * j + 100 * k) as f32)
}

/// Values without any pattern, the same ones every time.
fn noise([ni, nj, nk]: [usize; 3]) -> Array3<f32> {
    let mut state = 1u32;
    Array3::from_shape_simple_fn((nk, nj, ni), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 65_536.0 - 128.0
    })
}

const ALL: [Interpolation; 3] =
    [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic];

fn with(interpolation: Interpolation, outside: f32) -> Resampler {
    Resampler { interpolation, antialias: true, outside }
}

/// The matrix of each way to turn and flip the axes.
fn turns() -> Vec<DMat3> {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let axes = [DVec3::X, DVec3::Y, DVec3::Z];
    let sign = |flips: usize, n: usize| if flips >> n & 1 == 1 { -1.0 } else { 1.0 };
    (0..8)
        .flat_map(|flips| {
            orders.map(|order| {
                let column = |n: usize| axes[order[n]] * sign(flips, n);
                DMat3::from_cols(column(0), column(1), column(2))
            })
        })
        .collect()
}

#[test]
fn the_same_grid_gives_back_the_same_bits() {
    let g = grid([37, 5, 6], [0.7, 0.8, 3.1], -3.3);
    let voxels = noise(g.shape);
    for interpolation in ALL {
        assert_eq!(with(interpolation, -1.0).resample(voxels.view(), &g, &g), Ok(voxels.clone()));
    }
}

#[test]
fn a_turned_flipped_and_cropped_grid_gives_back_the_voxels_exactly() {
    let from = grid([33, 18, 17], [0.7, 0.8, 3.1], -3.3);
    let voxels = noise(from.shape);
    for turn in turns() {
        // Voxel (i, j, k) of the result is the source's `middle + turn × (i − 1, j − 2, k − 3)`.
        let middle = DVec3::new(15.0, 8.0, 9.0);
        let index =
            DAffine3::from_mat3_translation(turn, middle - turn * DVec3::new(1.0, 2.0, 3.0));
        let onto = Grid { shape: [3, 5, 7], ras_from_voxel: from.ras_from_voxel * index };
        for interpolation in ALL {
            let seen = with(interpolation, -1.0).resample(voxels.view(), &from, &onto).unwrap();
            for ((k, j, i), &value) in seen.indexed_iter() {
                let at = index.transform_point3(DVec3::new(i as f64, j as f64, k as f64));
                let [x, y, z] = at.round().to_array().map(|n| n as usize);
                assert_eq!(value, voxels[[z, y, x]], "{interpolation:?} {turn} {i} {j} {k}");
            }
        }
    }
}

#[test]
fn a_linear_field_stays_linear() {
    let from = grid([9, 9, 9], [2.0; 3], 0.0);
    let onto = grid([6, 6, 6], [1.5; 3], 1.25);
    let out = Resampler::linear(0.0).resample(ramp(from.shape).view(), &from, &onto).unwrap();
    for ((k, j, i), &value) in out.indexed_iter() {
        let index = |n: usize| (1.25 + 1.5 * n as f64) / 2.0;
        let expected = index(i) + 10.0 * index(j) + 100.0 * index(k);
        assert!((f64::from(value) - expected).abs() < 1e-3, "{value} {expected}");
    }
}

/// A shift across the axes far below any scanner's, but enough to be no rounding:
/// the table and the voxel-by-voxel way must meet there.
#[test]
fn both_ways_give_the_same_numbers() {
    let from = grid([21, 18, 15], [0.9, 1.1, 2.5], 4.0);
    let voxels = noise(from.shape);
    for turn in turns() {
        let scale = DVec3::new(1.3, 0.8, 2.1);
        let matrix = turn * DMat3::from_diagonal(scale);
        let centre = from.centre_mm();
        let shape = [17, 22, 11];
        let half = DVec3::new(8.0, 10.5, 5.0);
        let aligned = DAffine3::from_mat3_translation(matrix, centre - matrix * half);
        let mut leaning = aligned;
        leaning.matrix3.x_axis += turn.y_axis * 4e-4;
        for interpolation in [Interpolation::Linear, Interpolation::Cubic] {
            let seen = |ras_from_voxel| {
                let onto = Grid { shape, ras_from_voxel };
                with(interpolation, -500.0).resample(voxels.view(), &from, &onto).unwrap()
            };
            let off = (seen(aligned) - seen(leaning)).mapv(f32::abs);
            // Of the range of 256, 0.0036 voxels away at most; the edge may fall either way.
            let far = off.iter().filter(|&&v| v > 3.0).count();
            assert!(far * 500 < off.len(), "{interpolation:?} {far}");
        }
    }
}

#[test]
fn coarsening_averages_and_nearest_does_not() {
    let from = grid([24, 24, 24], [1.0; 3], 0.0);
    let checkers = Array3::from_shape_fn((24, 24, 24), |(k, j, i)| ((i + j + k) % 2) as f32);
    let onto = grid([4, 4, 4], [4.0; 3], 6.0);
    for interpolation in [Interpolation::Linear, Interpolation::Cubic] {
        let out = with(interpolation, 0.0).resample(checkers.view(), &from, &onto).unwrap();
        assert!(out.iter().all(|v| (v - 0.5).abs() < 1e-3), "{out}");
        let aliased = Resampler { antialias: false, ..with(interpolation, 0.0) };
        let out = aliased.resample(checkers.view(), &from, &onto).unwrap();
        assert!(out.iter().all(|&v| v == 0.0), "{out}");
    }
    let out = Resampler::nearest(0.0).resample(checkers.view(), &from, &onto).unwrap();
    assert!(out.iter().all(|&v| v == 0.0), "{out}");
}

#[test]
fn beyond_half_a_voxel_is_outside() {
    let from = grid([4, 4, 4], [2.0; 3], 0.0);
    let voxels = Array3::from_elem((4, 4, 4), 5.0);
    let turned = DMat3::from_quat(DQuat::from_rotation_z(0.3));
    for matrix in [DMat3::IDENTITY, turned] {
        let centre = from.centre_mm();
        let onto = Grid {
            shape: [41, 41, 41],
            ras_from_voxel: DAffine3::from_mat3_translation(
                matrix * 0.4,
                centre - matrix * DVec3::splat(8.0),
            ),
        };
        for interpolation in ALL {
            let out = with(interpolation, -7.0).resample(voxels.view(), &from, &onto).unwrap();
            for ((k, j, i), &value) in out.indexed_iter() {
                let at = onto.world_mm(DVec3::new(i as f64, j as f64, k as f64)) / 2.0;
                let beyond = (at - 1.5).abs().max_element() - 2.0;
                if beyond.abs() > 1e-5 {
                    let expected = if beyond > 0.0 { -7.0 } else { 5.0 };
                    assert!((value - expected).abs() < 1e-4, "{interpolation:?} {at} {value}");
                }
            }
        }
    }
    let far = grid([2, 2, 2], [1.0; 3], 100.0);
    let out = Resampler::linear(-7.0).resample(voxels.view(), &from, &far).unwrap();
    assert!(out.iter().all(|&v| v == -7.0));
}

#[test]
fn what_was_not_measured_counts_as_outside() {
    let from = grid([9, 9, 9], [1.0; 3], 0.0);
    let mut voxels = Array3::from_elem((9, 9, 9), 4.0);
    voxels[[4, 4, 4]] = f32::NAN;
    voxels[[4, 4, 5]] = f32::INFINITY;
    let half = grid([8, 8, 8], [1.0; 3], 0.5);
    let out = Resampler::linear(-4.0).resample(voxels.view(), &from, &half).unwrap();
    assert_eq!(out[[4, 4, 4]], 4.0 - 8.0 * 2.0 / 8.0);
    assert_eq!(out[[4, 4, 3]], 4.0 - 8.0 / 8.0);
    assert_eq!(out[[1, 1, 1]], 4.0);
    let turned = DAffine3::from_rotation_z(0.2);
    let oblique = Grid { shape: [9, 9, 9], ras_from_voxel: turned };
    for onto in [from, half, oblique] {
        for interpolation in ALL {
            let out = with(interpolation, -4.0).resample(voxels.view(), &from, &onto).unwrap();
            assert!(out.iter().all(|value| value.is_finite()), "{interpolation:?}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let from = grid([40, 30, 20], [0.8, 0.8, 2.0], 0.0);
    let voxels = noise(from.shape);
    let turned = DAffine3::from_rotation_x(0.1);
    let onto =
        [grid([32, 24, 38], [1.0; 3], 0.0), Grid { shape: [30, 30, 30], ras_from_voxel: turned }];
    for onto in onto {
        for interpolation in ALL {
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let how = with(interpolation, -1.0);
                pool.install(|| how.resample(voxels.view(), &from, &onto)).unwrap()
            };
            assert_eq!(on(1), on(3));
        }
    }
}

#[test]
fn a_single_slice_has_a_thickness_of_one_voxel() {
    let from = grid([4, 4, 1], [1.0, 1.0, 5.0], 0.0);
    let voxels = Array3::from_elem((1, 4, 4), 3.0);
    let onto = grid([4, 4, 7], [1.0; 3], 0.0);
    for interpolation in ALL {
        let out = with(interpolation, -1.0).resample(voxels.view(), &from, &onto).unwrap();
        let column: Vec<f32> = out.slice(ndarray::s![.., 1, 1]).to_vec();
        assert_eq!(column, [3.0, 3.0, 3.0, -1.0, -1.0, -1.0, -1.0], "{interpolation:?}");
    }
}

#[test]
fn what_is_no_grid_is_refused() {
    let good = grid([4, 4, 4], [1.0; 3], 0.0);
    let voxels = ramp(good.shape);
    let flat = grid([4, 4, 4], [1.0, 0.0, 1.0], 0.0);
    let resample =
        |from: &Grid, onto: &Grid| Resampler::linear(0.0).resample(voxels.view(), from, onto);
    assert!(matches!(resample(&flat, &good), Err(ResampleError::Affine { which: "source", .. })));
    assert!(matches!(resample(&good, &flat), Err(ResampleError::Affine { which: "result", .. })));
    let longer = grid([5, 4, 4], [1.0; 3], 0.0);
    assert!(matches!(resample(&longer, &good), Err(ResampleError::Shape { .. })));
    let huge = grid([1 << 20, 1 << 20, 1 << 20], [1.0; 3], 0.0);
    assert!(matches!(resample(&good, &huge), Err(ResampleError::Room { .. })));
}

#[test]
fn voxels_too_thin_for_the_result_take_no_memory() {
    let from = grid([8, 8, 8], [1.0, 1.0, 1e-11], 0.0);
    let onto = grid([8, 8, 1], [1.0; 3], 0.0);
    let oblique = Grid {
        ras_from_voxel: DAffine3::from_quat(DQuat::from_rotation_x(0.3)) * onto.ras_from_voxel,
        ..onto
    };
    let long = grid([1, 1, 1 << 20], [1.0, 1.0, 1e-2], 0.0);
    let turned = Grid { ras_from_voxel: oblique.ras_from_voxel, shape: [1, 1, 10_000] };
    for interpolation in [Interpolation::Linear, Interpolation::Cubic] {
        for (from, onto) in [(&from, &onto), (&from, &oblique), (&long, &turned)] {
            let voxels = Array3::zeros((from.shape[2], from.shape[1], from.shape[0]));
            let resampled = with(interpolation, 0.0).resample(voxels.view(), from, onto);
            assert!(matches!(resampled, Err(ResampleError::Coarse { .. })), "{interpolation:?}");
        }
    }
    let thin = grid([8, 8, 800], [1.0, 1.0, 1e-2], 0.0);
    let voxels = Array3::from_elem((800, 8, 8), 3.0);
    let resampled = Resampler::linear(0.0).resample(voxels.view(), &thin, &onto).unwrap();
    assert!(resampled.iter().all(|value| (value - 3.0).abs() < 1e-5));
}
