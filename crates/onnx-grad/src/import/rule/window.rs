//! Pools, and how windows slide over the spatial axes.

use super::Role::Data;
use super::Rule;
use crate::Error;
use crate::graph::Graph;
use crate::op::Sliding;
use crate::shape::count;

use super::super::call::{Call, Results, one, unsupported};

pub(super) const RULES: &[Rule] = &[
    Rule { operator: "AveragePool", roles: &[Data], apply: average_pool },
    Rule { operator: "GlobalAveragePool", roles: &[Data], apply: global_average_pool },
    Rule { operator: "GlobalMaxPool", roles: &[Data], apply: global_max_pool },
    Rule { operator: "MaxPool", roles: &[Data], apply: max_pool },
];

/// The greatest window of a pool: the way back has nodes for its elements.
const WINDOW: usize = 1 << 13;

/// Sizes from an attribute, one a spatial axis, of one where there is none.
pub(super) fn sizes(c: &Call, name: &str, axes: usize) -> Result<Vec<usize>, Error> {
    let Some(list) = c.ints(name)? else { return Ok(vec![1; axes]) };
    let sizes = list.iter().map(|&n| n.try_into().ok()).collect::<Option<Vec<usize>>>();
    match sizes {
        Some(sizes) if sizes.len() == axes && !sizes.contains(&0) => Ok(sizes),
        _ => {
            let reason = format!("{name} {list:?} over {axes} spatial axes");
            Err(Error::Malformed { reason })
        }
    }
}

/// How a window of this kernel slides over an operand of this shape.
///
/// # Source
/// ONNX `Conv`: `auto_pad`, `pads`, `strides` and `dilations`.
pub(super) fn sliding(c: &Call, shape: &[usize], kernel: &[usize]) -> Result<Sliding, Error> {
    let axes = kernel.len();
    let image = shape.get(2..).filter(|image| image.len() == axes).unwrap_or_default();
    let mut sliding = Sliding::unit(axes);
    sliding.strides = sizes(c, "strides", axes)?;
    sliding.dilations = sizes(c, "dilations", axes)?;
    let automatic = c.text("auto_pad", "NOTSET")?;
    match automatic.as_str() {
        "NOTSET" => {
            let Some(pads) = c.ints("pads")? else { return Ok(sliding) };
            let natural = pads.iter().map(|&n| n.try_into().ok()).collect::<Option<Vec<usize>>>();
            let natural = natural.filter(|pads| pads.len() == 2 * axes).ok_or_else(|| {
                let reason = format!("pads {pads:?} over {axes} spatial axes");
                Error::Malformed { reason }
            })?;
            let (before, after) = natural.split_at(axes);
            (sliding.pads_before, sliding.pads_after) = (before.to_vec(), after.to_vec());
        }
        "SAME_UPPER" | "SAME_LOWER" => {
            for (axis, &size) in image.iter().enumerate() {
                let (stride, dilation) = (sliding.strides[axis], sliding.dilations[axis]);
                let reach = kernel[axis].saturating_sub(1).saturating_mul(dilation);
                let last = size.div_ceil(stride).saturating_sub(1).saturating_mul(stride);
                let total = last.saturating_add(reach).saturating_add(1).saturating_sub(size);
                let (less, more) = (total / 2, total - total / 2);
                let upper = automatic == "SAME_UPPER";
                sliding.pads_before[axis] = if upper { less } else { more };
                sliding.pads_after[axis] = if upper { more } else { less };
            }
        }
        "VALID" => {}
        other => return Err(unsupported(format!("auto_pad {other:?}"))),
    }
    Ok(sliding)
}

/// The kernel and the sliding of a pool.
fn pool(c: &Call) -> Result<(Vec<usize>, Sliding), Error> {
    let shape = c.shape(0)?;
    let axes = shape.len().saturating_sub(2);
    if c.ints("kernel_shape")?.is_none() {
        return Err(Error::Malformed { reason: "no kernel_shape".to_owned() });
    }
    let kernel = sizes(c, "kernel_shape", axes)?;
    window(&kernel)?;
    let sliding = sliding(c, &shape, &kernel)?;
    Ok((kernel, sliding))
}

fn window(kernel: &[usize]) -> Result<(), Error> {
    match count(kernel) <= WINDOW {
        true => Ok(()),
        false => {
            let what = "elements of a pool's window".to_owned();
            Err(Error::Limit { what, received: count(kernel), limit: WINDOW })
        }
    }
}

fn max_pool(c: &mut Call) -> Results {
    let (kernel, sliding) = pool(c)?;
    let ceil = c.flag("ceil_mode", false)?;
    let x = c.value(0)?;
    one(c.g.max_pool(x, &kernel, &sliding, ceil)?)
}

fn average_pool(c: &mut Call) -> Results {
    let (kernel, sliding) = pool(c)?;
    let ceil = c.flag("ceil_mode", false)?;
    let include = c.flag("count_include_pad", false)?;
    let x = c.value(0)?;
    one(c.g.average_pool(x, &kernel, &sliding, ceil, include)?)
}

fn global_average_pool(c: &mut Call) -> Results {
    let x = c.value(0)?;
    one(Graph::global_average_pool(c.g, x)?)
}

fn global_max_pool(c: &mut Call) -> Results {
    let x = c.value(0)?;
    window(c.g.shape(x).get(2..).unwrap_or_default())?;
    one(c.g.global_max_pool(x)?)
}
