//! Gaussian blur of a volume, one axis after the other.

use ndarray::{Array3, Axis, Zip};

/// Blurs a volume `[k, j, i]` by a Gaussian of the given full width at half
/// maximum; `spacing_mm` is along (i, j, k). Edges repeat their last voxel.
pub(super) fn blur(voxels: &mut Array3<f32>, spacing_mm: [f64; 3], fwhm_mm: f64) {
    let sigma_mm = fwhm_mm / (8.0 * std::f64::consts::LN_2).sqrt();
    for (axis, spacing) in spacing_mm.into_iter().rev().enumerate() {
        let kernel = gaussian(sigma_mm / spacing);
        let reach = kernel.len() / 2;
        let mut padded = Vec::new();
        Zip::from(voxels.lanes_mut(Axis(axis))).for_each(|mut lane| {
            let last = lane.len() - 1;
            padded.clear();
            padded.extend(
                (0..lane.len() + 2 * reach).map(|n| lane[n.saturating_sub(reach).min(last)]),
            );
            for (value, window) in lane.iter_mut().zip(padded.windows(kernel.len())) {
                *value = window.iter().zip(&kernel).map(|(v, w)| v * w).sum();
            }
        });
    }
}

/// Weights of a Gaussian out to three standard deviations, summing to one.
fn gaussian(sigma: f64) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as i64;
    let weight = |n: i64| (-0.5 * (n as f64 / sigma).powi(2)).exp();
    let sum: f64 = (-reach..=reach).map(weight).sum();
    (-reach..=reach).map(|n| (weight(n) / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_keeps_its_sum_and_gets_the_width_along_each_axis() {
        let mut voxels = Array3::<f32>::zeros((15, 25, 25));
        voxels[[7, 12, 12]] = 1.0;
        blur(&mut voxels, [1.0, 1.0, 3.0], 6.0);
        assert!((voxels.sum() - 1.0).abs() < 1e-4);
        // Half the height at half the width: 3 mm are 3 columns or one slice.
        let peak = voxels[[7, 12, 12]];
        for half in [voxels[[7, 12, 15]], voxels[[7, 15, 12]], voxels[[8, 12, 12]]] {
            assert!((half / peak - 0.5).abs() < 0.01);
        }
    }
}
