use super::*;
use crate::geometry::{Affine, affine_from_rows};

/// A volume whose brightest voxel lies in one corner of the patient: right,
/// anterior, superior; on a grid that runs to the left, back and down.
fn marked() -> (Array3<f32>, Grid) {
    let ras_from_voxel = affine_from_rows(&[
        [-2.0, 0.0, 0.0, 30.0],
        [0.0, -2.0, 0.0, 40.0],
        [0.0, 0.0, -4.0, 50.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let mut voxels = Array3::from_shape_fn((10, 20, 20), |(k, j, i)| {
        (20 - i) as f32 + 2.0 * (20 - j) as f32 + 8.0 * (10 - k) as f32
    });
    voxels[[0, 0, 0]] = f32::NAN;
    (voxels, Grid { shape: [20, 20, 10], ras_from_voxel })
}

fn settings(convention: Convention) -> Settings {
    Settings { convention, ct_window_hu: [0.0, 140.0], tile: 80, columns: 2, rows: 2 }
}

fn picture(convention: Convention) -> Picture {
    let (voxels, grid) = marked();
    let settings = settings(convention);
    Picture::of(voxels, &grid, |_| Window::new(settings.ct_window_hu, false), &settings).unwrap()
}

/// Whether a picture grows brighter from its left to its right, and from its top down.
fn grows(plane: &Plane) -> (bool, bool) {
    let (rows, columns) = plane.pixels.dim();
    let at = |y: usize, x: usize| plane.pixels[[y, x]];
    (at(rows / 2, columns - 2) > at(rows / 2, 1), at(rows - 2, columns / 2) > at(1, columns / 2))
}

#[test]
fn the_letters_are_where_the_patient_is() {
    // The volume is brighter to the right, front and top of the patient.
    let bright = ['R', 'A', 'S'];
    for convention in [Convention::Radiological, Convention::Neurological] {
        for plane in &picture(convention).planes {
            let [left, right, top, bottom] = plane.letters;
            let (to_right, to_bottom) = grows(plane);
            assert_eq!(to_right, bright.contains(&right), "{convention:?} {left}{right}");
            assert_eq!(to_bottom, bright.contains(&bottom), "{convention:?} {top}{bottom}");
        }
    }
    let [axial, coronal, sagittal] = picture(Convention::Radiological).planes;
    assert_eq!(axial.letters, ['R', 'L', 'A', 'P']);
    assert_eq!(coronal.letters, ['R', 'L', 'S', 'I']);
    assert_eq!(sagittal.letters, ['A', 'P', 'S', 'I']);
    let [axial, coronal, sagittal] = picture(Convention::Neurological).planes;
    assert_eq!(axial.letters, ['L', 'R', 'A', 'P']);
    assert_eq!(coronal.letters, ['L', 'R', 'S', 'I']);
    assert_eq!(sagittal.letters, ['A', 'P', 'S', 'I']);
}

#[test]
fn the_conventions_mirror_each_other_but_for_the_profile() {
    let radiological = picture(Convention::Radiological).planes;
    let neurological = picture(Convention::Neurological).planes;
    for (n, (one, other)) in radiological.iter().zip(&neurological).enumerate() {
        let other = match n {
            2 => other.pixels.view(),
            _ => other.pixels.slice(ndarray::s![.., ..;-1]),
        };
        assert!(one.pixels.iter().zip(other).all(|(a, b)| a.abs_diff(*b) <= 1), "plane {n}");
    }
}

#[test]
fn proportions_are_those_of_the_patient() {
    // 40 × 40 × 40 mm from 20 × 20 × 10 voxels.
    let picture = picture(Convention::Radiological);
    for plane in &picture.planes {
        assert_eq!(plane.pixels.dim(), (80, 80));
    }
    assert_eq!(picture.mm_per_pixel, 0.5);
}

#[test]
fn what_was_not_scanned_is_neither_black_nor_white() {
    let (voxels, mut grid) = marked();
    let middle = grid.centre_mm();
    let turn = Affine::from_rotation_z(0.5);
    grid.ras_from_voxel = Affine::from_translation(middle)
        * turn
        * Affine::from_translation(-middle)
        * grid.ras_from_voxel;
    let settings = settings(Convention::Radiological);
    let window = |_: &Array3<f32>| Window::new([0.0, 1.0], true);
    let [axial, ..] = Picture::of(voxels, &grid, window, &settings).unwrap().planes;
    assert_eq!(axial.pixels[[0, 0]], window::OUTSIDE);
    let (rows, columns) = axial.pixels.dim();
    assert_eq!(axial.pixels[[rows / 2, columns / 2]], 0, "inverted");
}

#[test]
fn a_window_has_black_white_and_what_is_between() {
    let ct = Window::new([-160.0, 240.0], false);
    assert_eq!([-1000.0, -160.0, 40.0, 240.0, 3000.0].map(|v| ct.grey(v)), [0, 0, 128, 255, 255]);
    let ramp = Array3::from_shape_fn((10, 10, 10), |(k, j, i)| (i + 10 * j + 100 * k) as f32);
    let pet = Window::of_percentiles(&ramp, true);
    assert_eq!([0.0, 999.0].map(|v| pet.grey(v)), [255, 0]);
    let mut mask = Array3::zeros((10, 10, 10));
    mask[[0, 0, 0]] = 1.0;
    assert_eq!(Window::of_percentiles(&mask, false).grey(1.0), 255);
    let blank = Window::of_percentiles(&Array3::from_elem((2, 2, 2), f32::NAN), false);
    assert_eq!(blank.grey(5.0), 0);
}

#[test]
fn pages_hold_all_cells_and_open_again() {
    let folder = tempfile::tempdir().unwrap();
    let cell = |n: usize| Cell {
        title: format!("sub-{n}"),
        details: "MR  20 × 20 × 10  2.00 × 2.00 × 4.00 mm".to_owned(),
        picture: match n {
            3 => Err(ReadError::Incomplete { missing: "file" }.into()),
            _ => Ok(picture(Convention::Radiological)),
        },
    };
    let cells: Vec<Cell> = (0..6).map(cell).collect();
    let path = folder.path().join("sheet.png");
    let settings = settings(Convention::Radiological);
    for (n, cells) in cells.chunks(settings.page()).enumerate() {
        write_page(&path, cells, &settings, "6 volumes", (n + 1, 2)).unwrap();
    }
    for name in ["sheet.png", "sheet-2.png"] {
        let file = std::fs::File::open(folder.path().join(name)).unwrap();
        let mut reader = png::Decoder::new(io::BufReader::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert!(pixels.contains(&255) && pixels.contains(&0), "{name}");
    }
}
