use ndarray::Array3;

use super::*;
use crate::{
    geometry::{Affine, Grid, affine_to_flat},
    io::nifti,
    pairing::PairRow,
    prepare::VolumeRow,
    view::{Augment, Augments, Form, Plane, Slices},
};

const SLICES: usize = 24;

/// A volume whose voxel `[k, j, i]` is this.
fn volumes(folder: &std::path::Path, voxel: impl Fn((usize, usize, usize)) -> i16) -> Volumes {
    let grid = Grid { shape: [32, 32, SLICES], ras_from_voxel: Affine::IDENTITY };
    let voxels = Array3::from_shape_fn((SLICES, 32, 32), voxel);
    let mut out = std::fs::File::create(folder.join("alike.nii")).unwrap();
    nifti::write_i16(&mut out, voxels.view(), &grid, 1.0, 0.0, "test").unwrap();
    let word = |text: &str| text.to_owned();
    let row = VolumeRow {
        source: word("test"),
        subject: word("sub"),
        session: word("ses"),
        study: word("std"),
        series: word("ser"),
        modality: word("T1"),
        frame_of_reference: None,
        file: word("alike.nii"),
        shape: [32, 32, SLICES as u32],
        spacing_mm: [1.0; 3],
        affine: affine_to_flat(&grid.ras_from_voxel),
        centre_mm: [16.0; 3],
        foreground_above: 0.0,
        background: -1.0,
        intensity_centre: 0.0,
        intensity_scale: 1.0,
    };
    Volumes::open(folder, vec![row]).unwrap()
}

fn pairs() -> Vec<PairRow> {
    let word = |text: &str| text.to_owned();
    let pair = |n: usize| PairRow {
        kind: word("augmented"),
        split: word("train"),
        source: word("test"),
        subject: word("sub"),
        world: word("w"),
        anchor_series: word("ser"),
        anchor_session: word("ses"),
        anchor_modality: word("T1"),
        anchor_mm: [16.0, 16.0, n as f64],
        positive_series: word("ser"),
        positive_session: word("ses"),
        positive_modality: word("T1"),
        positive_world: word("w"),
        positive_mm: [16.0, 16.0, n as f64],
        distance_mm: Some(0.0),
        context: None,
        reason: String::new(),
    };
    (0..SLICES).map(pair).collect()
}

/// Views of two batches, changed in this way.
fn views(augment: Augments) -> [Vec<Vec<f32>>; 2] {
    let folder = tempfile::tempdir().unwrap();
    // All slices are alike, so that views differ by how they are moved.
    let volumes = volumes(folder.path(), |(_, j, i)| (100 * j + i * i) as i16);
    let pairs = pairs();
    let settings = Settings { augment, ..crate::train::tests::settings() };
    let view = view::Settings { size: 8, pixel_mm: 1.5, plane: Plane::Axial, slices: None };
    let sampler = Sampler::new(&pairs, &settings).unwrap();
    [0, 1].map(|number| {
        let batch = sample(&sampler, &volumes, &view, &settings, number).unwrap();
        batch.views.chunks(view.voxels()).map(<[f32]>::to_vec).collect()
    })
}

#[test]
fn what_is_of_a_batch_moves_all_its_views_alike_and_the_next_otherwise() {
    let moves = Augment {
        shift_mm: 4.0,
        rotate_deg: 90.0,
        scale: 0.3,
        elastic_mm: 1.0,
        elastic_spacing_mm: 10.0,
        ..Augment::default()
    };
    let [first, next] = views(Augments { batch: Some(moves), ..Augments::default() });
    assert_eq!(first.len(), 16);
    assert!(first.iter().all(|view| *view == first[0]));
    assert!(next.iter().all(|view| *view == next[0]));
    assert_ne!(first[0], next[0]);
    let [each, _] = views(Augments { all: moves, ..Augments::default() });
    assert!(each[1..].iter().all(|view| *view != each[0]));
}

#[test]
fn nothing_of_what_is_masked_out_of_a_slab_is_seen_around_it() {
    let folder = tempfile::tempdir().unwrap();
    const MIDDLE: usize = 12;
    let volumes = volumes(folder.path(), |(k, _, _)| if k == MIDDLE { 1000 } else { 0 });
    let changes = Augment {
        shift_mm: 3.0,
        tilt_deg: 20.0,
        scale: 0.3,
        flip_superior_inferior: 0.5,
        elastic_mm: 2.0,
        elastic_spacing_mm: 10.0,
        blur_mm: 4.0,
        thickness_mm: 8.0,
        ..Augment::default()
    };
    let augment = Augments { all: changes, batch: Some(changes), ..Augments::default() };
    let settings = Settings { batch: 2, augment, ..crate::train::tests::settings() };
    for form in [Form::Box, Form::Slab] {
        let slices = Some(Slices { depth: 5, slice_mm: 1.0, form });
        let view = view::Settings { size: 8, pixel_mm: 1.5, plane: Plane::Axial, slices };
        let pair = pairs().swap_remove(MIDDLE);
        let pair = PairRow { context: Some("both".to_owned()), ..pair };
        for number in 0..20 {
            let mut sides = Side::BOTH.map(|side| {
                let mut values = vec![0.0; view.voxels()];
                let changes = Changes {
                    augments: &settings.augment,
                    rng: &mut step_rng(1, number, 0),
                    shared: step_rng(1, number, 1),
                };
                pair.see(side, &volumes, &view, Some(changes), &mut values).unwrap();
                values
            });
            let bright = |values: &[f32]| values.iter().any(|&value| value > 0.5);
            assert!(!bright(&sides[0]), "{form:?}: the context shows what is masked out");
            assert!(bright(&sides[1]));
            // nor does what was masked out show anything of the context
            sides[1].retain(|&value| value > -0.5);
            let inside = sides[1].iter().filter(|&&value| (value - 1000.0).abs() < 0.01).count();
            assert_eq!(inside, sides[1].len(), "{form:?}: {:?}", sides[1]);
        }
    }
}
