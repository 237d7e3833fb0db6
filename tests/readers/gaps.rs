//! Stacks that lack slices or have uneven gaps, filled where that is wanted.

use std::path::PathBuf;

use mivox::{
    geometry::{Affine, DVec3, affine_from_rows},
    io::series::{Assembly, Missing, Series, SeriesError, assemble_with, read_series},
};
use ndarray::{Array3, Axis, s};

use super::{
    files::headers,
    made::{Change, Made, axial, reason},
};

fn filled(files: &[PathBuf]) -> Assembly {
    assemble_with(headers(files), Missing::Fill)
}

fn volume(files: &[PathBuf]) -> Series {
    let mut assembly = filled(files);
    assert!(assembly.refused.is_empty(), "{}", assembly.refused[0].reason);
    assert_eq!(assembly.series.len(), 1);
    assembly.series.remove(0)
}

fn without(made: &Made, gone: &[usize]) -> Vec<PathBuf> {
    let files = made.write_all();
    (0..files.len()).filter(|k| !gone.contains(k)).map(|k| files[k].clone()).collect()
}

/// Values that no line goes through, so that what is between two slices is known
/// from nothing but these two.
fn rough(affine: Affine, slices: usize) -> Made {
    let mut made = Made::new(affine, slices);
    made.stored.indexed_iter_mut().for_each(|((k, j, i), value)| {
        *value = ((k * k * 13 + j * 5 + i * 3) % 97) as i16 * 4;
    });
    made
}

#[test]
fn slices_that_are_there_stay_and_those_between_are_on_the_line() {
    let tilted = [[-1.0, 0.0, 0.0, 80.0], [0.0, -1.0, 1.1, 90.0], [0.0, 0.0, 3.0, 0.0], [0.0; 4]];
    for affine in [axial(), affine_from_rows(&tilted)] {
        let made = rough(affine, 16);
        let series = volume(&without(&made, &[3, 9, 10]));
        assert_eq!((series.grid.shape[2], series.missing_slices), (16, 3));
        let told = "3 of 16 slices are missing and were interpolated";
        assert!(series.remarks.iter().any(|remark| remark == told), "{:?}", series.remarks);
        let affine = series.grid.ras_from_voxel;
        assert!((affine.translation - made.grid.ras_from_voxel.translation).length() < 1e-6);
        assert!(affine.matrix3.abs_diff_eq(made.grid.ras_from_voxel.matrix3, 1e-6));
        let mut expected: Array3<f32> = made.stored.mapv(f32::from);
        let plane = |k: usize| made.stored.index_axis(Axis(0), k).mapv(f32::from);
        expected.slice_mut(s![3, .., ..]).assign(&((plane(2) + plane(4)) / 2.0));
        expected.slice_mut(s![9, .., ..]).assign(&((plane(8) * 2.0 + plane(11)) / 3.0));
        expected.slice_mut(s![10, .., ..]).assign(&((plane(8) + plane(11) * 2.0) / 3.0));
        let voxels = read_series(&series.slices, &series.grid).unwrap();
        for ((k, j, i), &value) in voxels.indexed_iter() {
            let off = (value - expected[[k, j, i]]).abs();
            let most = if [9, 10].contains(&k) { 1e-4 } else { 0.0 };
            assert!(off <= most, "{off} at slice {k}");
        }
    }
}

#[test]
fn what_was_not_measured_beside_a_gap_is_not_measured_in_it() {
    let mut made = rough(axial(), 8);
    made.stored[[2, 1, 1]] = -2000;
    made.padding = Some(-2000);
    let series = volume(&without(&made, &[3]));
    let voxels = read_series(&series.slices, &series.grid).unwrap();
    assert_eq!(voxels.iter().filter(|value| value.is_nan()).count(), 2);
    assert!(voxels[[2, 1, 1]].is_nan() && voxels[[3, 1, 1]].is_nan());
}

#[test]
fn too_much_is_not_filled_and_nothing_is_unasked() {
    let made = rough(axial(), 20);
    let refused = |gone: &[usize]| {
        let assembly = filled(&without(&made, gone));
        let SeriesError::TooManyMissing { missing, in_a_row, slices } = *reason(&assembly) else {
            panic!("{}", reason(&assembly))
        };
        (missing, in_a_row, slices)
    };
    assert_eq!(refused(&[5, 6, 7, 8]), (4, 4, 20));
    assert_eq!(refused(&[2, 5, 8, 11, 14, 17]), (6, 1, 20));
    assert_eq!(volume(&without(&made, &[5, 6, 7])).missing_slices, 3);
    assert_eq!(volume(&without(&made, &[2, 5, 8, 11, 14])).missing_slices, 5);
    let alone = assemble_with(headers(&without(&made, &[5])), Missing::Refuse);
    assert!(matches!(reason(&alone), SeriesError::Missing { after: 4, .. }));
    assert!(volume(&made.write_all()).remarks.is_empty());
}

/// Slices where their positions say, at a value that is a line along z: whatever
/// the gaps are, the grid must have that line.
#[test]
fn uneven_gaps_are_resampled_from_the_true_positions() {
    let tenths: [i16; 14] = [0, 28, 61, 90, 124, 145, 180, 220, 239, 270, 301, 345, 360, 391];
    let mut made = Made::new(axial(), tenths.len());
    let at = |k: usize| f64::from(tenths[k]) / 10.0;
    made.stored.indexed_iter_mut().for_each(|((k, j, i), value)| {
        *value = tenths[k] * 4 + (j * 9 + i * 2) as i16;
    });
    let (grid, files): (_, Vec<_>) = (made.grid, {
        let write = |k: usize| {
            let mut grid = made.grid;
            let regular = grid.ras_from_voxel.matrix3.z_axis.z * k as f64;
            grid.ras_from_voxel.translation += DVec3::new(0.0, 0.0, at(k) - regular);
            made.write(k, Change::grid(grid))
        };
        (0..tenths.len()).map(write).collect()
    });
    assert!(matches!(
        reason(&assemble_with(headers(&files), Missing::Refuse)),
        SeriesError::Irregular { .. }
    ));
    let series = volume(&files);
    assert!(series.remarks[0].starts_with("gaps of 1.500 to 4.400 mm were resampled to"));
    assert_eq!((series.missing_slices, series.grid.shape[2]), (0, 14));
    let bottom = grid.ras_from_voxel.translation.z;
    let voxels = read_series(&series.slices, &series.grid).unwrap();
    let mut most = 0.0f64;
    for ((k, j, i), &value) in voxels.indexed_iter() {
        let world = series.grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
        let expected = (world.z - bottom) * 40.0 + (j * 9 + i * 2) as f64;
        assert!((f64::from(value) - expected).abs() < 1e-3, "{value} {expected}");
        most = most.max(world.z - bottom);
    }
    assert!((most - 39.1).abs() < 1e-6, "the last slice stays");
}

#[test]
fn a_list_of_slices_that_lost_one_does_not_cover_the_grid() {
    let made = rough(axial(), 8);
    let series = volume(&without(&made, &[3]));
    for lost in [&series.slices[1..], &series.slices[..6]] {
        assert!(matches!(
            read_series(lost, &series.grid),
            Err(SeriesError::FileCount { files: 6, slices: 8 })
        ));
    }
    let mut twice = series.slices.clone();
    twice[2].k = twice[1].k;
    assert!(matches!(read_series(&twice, &series.grid), Err(SeriesError::FileCount { .. })));
    let mut moved = series.slices;
    moved[2].k = 2.5;
    assert!(matches!(read_series(&moved, &series.grid), Err(SeriesError::Moved { slice: 2, .. })));
}
