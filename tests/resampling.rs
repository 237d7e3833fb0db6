//! Volumes on other grids: voxel by voxel what SimpleITK and scipy make of them.

#![allow(clippy::unwrap_used, clippy::panic)]

use mivox::{
    geometry::{Grid, affine_from_flat},
    resample::{Interpolation, Resampler},
};
use ndarray::Array3;
use safetensors::{SafeTensors, tensor::TensorView};

fn voxels(view: &TensorView) -> Array3<f32> {
    let (values, _) = view.data().as_chunks::<4>();
    let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let &[nk, nj, ni] = view.shape() else { panic!("{:?}", view.shape()) };
    Array3::from_shape_vec((nk, nj, ni), values).unwrap()
}

fn grid(voxels: &Array3<f32>, ras_from_voxel: [f64; 16]) -> Grid {
    let (nk, nj, ni) = voxels.dim();
    Grid { shape: [ni, nj, nk], ras_from_voxel: affine_from_flat(&ras_from_voxel) }
}

/// Largest difference from a peer, of intensities of −1000 to 1000: what the
/// single precision of voxels and of spline coefficients leaves.
const LINEAR: f32 = 5e-4;
const CUBIC: f32 = 3e-3;

#[test]
fn every_voxel_is_that_of_simpleitk_and_scipy() {
    let bytes = std::fs::read("tests/fixtures/resample/peers.safetensors").unwrap();
    let peers = SafeTensors::deserialize(&bytes).unwrap();
    let source = voxels(&peers.tensor("source").unwrap());
    let mut unit = [0.0; 16];
    (0..4).for_each(|n| unit[5 * n] = 1.0);
    let from = grid(&source, unit);
    let mut compared = std::collections::BTreeMap::new();
    for name in peers.names() {
        let [case, word, peer] = name.split('.').collect::<Vec<_>>()[..] else { continue };
        let (interpolation, tolerance) = match word {
            "nearest" => (Interpolation::Nearest, 0.0),
            "linear" => (Interpolation::Linear, LINEAR),
            "cubic" => (Interpolation::Cubic, CUBIC),
            _ => panic!("{word}"),
        };
        let affine = peers.tensor(&format!("{case}.from_onto")).unwrap();
        let (numbers, _) = affine.data().as_chunks::<8>();
        let numbers: Vec<f64> = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let expected = voxels(&peers.tensor(name).unwrap());
        let onto = grid(&expected, numbers.try_into().unwrap());
        let antialias = case.ends_with("smooth");
        let resampler = Resampler { interpolation, antialias, outside: -2000.0 };
        let seen = resampler.resample(source.view(), &from, &onto).unwrap();
        let off = seen.iter().zip(&expected).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
        assert!(off <= tolerance, "{name}: {off} off");
        let count = expected.iter().filter(|&&value| value != -2000.0).count();
        assert!(count > 100, "{name}: {count} voxels inside");
        let worst: &mut (usize, f32) = compared.entry((word, peer)).or_default();
        *worst = (worst.0 + count, worst.1.max(off));
    }
    for ((word, peer), (count, off)) in &compared {
        println!("{word:8} {peer:10} {count} voxels, at most {off:.1e} off");
    }
    assert_eq!(compared.len(), 6);
}
