//! Gaussian blur of a view.

/// Widths of the kernel beyond which nothing is left.
const REACH: f64 = 3.0;

/// A blur below so many voxels changes nothing.
const LEAST: f64 = 0.1;

/// Blurs values `[slice, row, column]` along each axis by a Gaussian of so many
/// voxels' standard deviation along (column, row, slice), the edge values going on
/// outside.
pub(super) fn blur(values: &mut [f32], shape: [usize; 3], sigmas: [f64; 3]) {
    let mut stride = 1;
    for (count, sigma) in shape.into_iter().zip(sigmas) {
        if count > 1 && sigma >= LEAST {
            along(values, count, stride, &kernel(sigma));
        }
        stride *= count;
    }
}

/// One half of the kernel, its middle first; the whole sums to one.
fn kernel(sigma: f64) -> Vec<f32> {
    let reach = (REACH * sigma).ceil().max(1.0) as usize;
    let half: Vec<f64> = (0..=reach).map(|n| (-0.5 * (n as f64 / sigma).powi(2)).exp()).collect();
    let sum = 2.0 * half.iter().sum::<f64>() - 1.0;
    half.into_iter().map(|weight| (weight / sum) as f32).collect()
}

/// Blurs along the axis of so many values that lie `stride` apart: all lines of a
/// block at once, so that memory is read as it lies.
fn along(values: &mut [f32], count: usize, stride: usize, kernel: &[f32]) {
    let mut blurred = vec![0.0; count * stride];
    for block in values.chunks_exact_mut(count * stride) {
        for (n, into) in blurred.chunks_exact_mut(stride).enumerate() {
            into.fill(0.0);
            for (reach, weight) in kernel.iter().enumerate() {
                let sides = if reach == 0 { 1 } else { 2 };
                let near = [(n + reach).min(count - 1), n.saturating_sub(reach)];
                for at in &near[..sides] {
                    let from = &block[at * stride..(at + 1) * stride];
                    into.iter_mut().zip(from).for_each(|(sum, value)| *sum += weight * value);
                }
            }
        }
        block.copy_from_slice(&blurred);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The normal distribution's share below x, by summing its density.
    fn below(x: f64) -> f64 {
        let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
        (0..20_000).map(|n| -10.0 + (x + 10.0) * (f64::from(n) + 0.5) / 20_000.0).map(density).sum::<f64>()
            * (x + 10.0)
            / 20_000.0
    }

    #[test]
    fn a_step_edge_becomes_the_normal_distribution() {
        for (axis, sigma) in [(0, 1.5), (1, 2.5), (2, 4.0)] {
            let mut shape = [3, 3, 3];
            shape[axis] = 40;
            let stride: usize = shape[..axis].iter().product();
            let mut values: Vec<f32> =
                (0..shape.iter().product::<usize>())
                    .map(|n| if n / stride % 40 < 20 { 0.0 } else { 10.0 })
                    .collect();
            let mut sigmas = [0.0; 3];
            sigmas[axis] = sigma;
            blur(&mut values, shape, sigmas);
            for (n, value) in values.iter().enumerate() {
                // The edge lies half-way between 19 and 20.
                let expected = 10.0 * below(((n / stride % 40) as f64 - 19.5) / sigma);
                assert!((f64::from(*value) - expected).abs() < 0.06, "{axis} {n} {value} {expected}");
            }
        }
    }

    #[test]
    fn nothing_is_added_or_lost() {
        let mut values: Vec<f32> = (0..6 * 5 * 4).map(|n| (n % 7) as f32).collect();
        let level = vec![3.0_f32; 6 * 5 * 4];
        let mut same = level.clone();
        blur(&mut same, [6, 5, 4], [1.0, 2.0, 0.7]);
        assert!(same.iter().all(|value| (value - 3.0).abs() < 1e-5));
        let before = values.clone();
        blur(&mut values, [6, 5, 4], [0.0, 0.05, 0.0]);
        assert_eq!(values, before);
    }
}
