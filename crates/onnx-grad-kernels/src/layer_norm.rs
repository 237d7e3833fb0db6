//! The gradient of LayerNormalization, in one pass over the rows.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, refuse};
use crate::math::sum;
use crate::pool::{Pool, part};
use crate::vectorised::vectorised;

/// The cotangents of x, scale and bias, from that of y, x, scale, and the mean
/// and the inverse deviation of each row.
///
/// # Source
/// Ba, Kiros and Hinton 2016, equation 4, differentiated: with x̂ = (x − μ)/σ and
/// h = scale·dy, dx = (h − mean h − x̂·mean(h·x̂))/σ.
pub struct LayerNormGrad;

impl Kernel for LayerNormGrad {
    const NAME: &'static str = "LayerNormalizationGrad";
    const INPUTS: usize = 5;
    const OUTPUTS: usize = 3;

    fn new(_: &KernelContext) -> ort::Result<Self> {
        Ok(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match inputs {
            [dy, x, scale, mean, inverse]
                if dy.shape == x.shape
                    && x.shape.ends_with(&scale.shape)
                    && mean.data.len() * scale.data.len() == x.data.len()
                    && inverse.data.len() == mean.data.len() =>
            {
                Ok(vec![x.shape.clone(), scale.shape.clone(), scale.shape.clone()])
            }
            _ => refuse::<Self, _>("dy and x, scale of their last axes, two moments a row", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let [dy, x, scale, mean, inverse] = inputs else { return Ok(()) };
        let [dx, dscale, dbias] = outputs else { return Ok(()) };
        let (rows, columns) = (mean.data.len(), scale.data.len());
        dscale.fill(0.0);
        dbias.fill(0.0);
        if rows * columns == 0 {
            return Ok(());
        }
        let size = part(rows, 16);
        let mut sums = vec![0.0; rows.div_ceil(size) * 2 * columns];
        let tasks = dx.chunks_mut(size * columns).zip(sums.chunks_mut(2 * columns));
        let tasks = tasks.enumerate().collect();
        pool.each(tasks, |(task, (dx, sums)): (usize, (&mut [f32], &mut [f32]))| {
            let rows = task * size..(task * size + dx.len() / columns);
            let cut = rows.start * columns..rows.end * columns;
            let moments = [&mean.data[rows.clone()], &inverse.data[rows]];
            pull_rows_back(&dy.data[cut.clone()], &x.data[cut], scale.data, moments, dx, sums);
        })?;
        for sums in sums.chunks_exact(2 * columns) {
            let (scale, bias) = sums.split_at(columns);
            for i in 0..columns {
                dscale[i] += scale[i];
                dbias[i] += bias[i];
            }
        }
        Ok(())
    }
}

vectorised! {
    /// `sums` takes the cotangents of scale and bias.
    fn pull_rows_back(
        dy: &'a [f32],
        x: &'a [f32],
        scale: &'a [f32],
        moments: [&'a [f32]; 2],
        dx: &'a mut [f32],
        sums: &'a mut [f32],
    ) {
        let columns = scale.len();
        let (dscale, dbias) = sums.split_at_mut(columns);
        let dbias = &mut dbias[..columns];
        let moments = moments[0].iter().zip(moments[1]);
        let rows = dy.chunks_exact(columns).zip(x.chunks_exact(columns));
        let rows = rows.zip(dx.chunks_exact_mut(columns)).zip(moments);
        for (((dy, x), dx), (&mean, &inverse)) in rows {
            let shift = sum([dy, scale], #[inline(always)] |[dy, scale]| dy * scale);
            let slope = sum([dy, scale, x], #[inline(always)] |[dy, scale, x]| {
                dy * scale * ((x - mean) * inverse)
            });
            let (shift, slope) = (shift / columns as f32, slope / columns as f32);
            for i in 0..columns {
                let along = (x[i] - mean) * inverse;
                dx[i] = (dy[i] * scale[i] - shift - along * slope) * inverse;
                dscale[i] += dy[i] * along;
                dbias[i] += dy[i];
            }
        }
    }
}
