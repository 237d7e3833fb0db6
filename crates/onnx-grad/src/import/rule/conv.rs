//! Convolutions.

use super::Role::{Data, Own, Weight};
use super::Rule;
use super::window::{sizes, sliding};
use crate::Error;
use crate::graph::Value;
use crate::op::Sliding;

use super::super::call::{Call, Operand, Results, one, unsupported};
use super::super::constant::{Constant, Elements};

pub(super) const RULES: &[Rule] = &[
    Rule { operator: "Conv", roles: &[Data, Weight, Own], apply: conv },
    Rule { operator: "ConvTranspose", roles: &[Data, Weight, Own], apply: conv_transpose },
];

/// The spatial sizes of the kernel, which an attribute may repeat.
fn kernel(c: &Call) -> Result<Vec<usize>, Error> {
    let kernel = c.shape(1)?.get(2..).unwrap_or_default().to_vec();
    if c.ints("kernel_shape")?.is_some() && sizes(c, "kernel_shape", kernel.len())? != kernel {
        let reason = format!("kernel_shape is not that of the kernel, {kernel:?}");
        return Err(Error::Malformed { reason });
    }
    Ok(kernel)
}

fn groups(c: &Call) -> Result<usize, Error> {
    let groups = c.int("group", 1)?;
    let natural = usize::try_from(groups).ok().filter(|&n| n > 0);
    natural.ok_or_else(|| Error::Malformed { reason: format!("{groups} groups") })
}

/// The bias, but for zeros that are no parameter: PyTorch writes them where a
/// layer has none, of shape [o, kernel size] where it decomposes the layer.
fn bias(c: &mut Call) -> Result<Option<Value>, Error> {
    let zeros =
        |x: &Constant| matches!(&x.elements, Elements::Float(d) if d.iter().all(|&x| x == 0.0));
    match c.given(2) {
        Some(Operand::Constant(x) | Operand::Repeated(x, _)) if zeros(x) => Ok(None),
        _ => c.optional(2),
    }
}

fn conv(c: &mut Call) -> Results {
    let sliding = sliding(c, &c.shape(0)?, &kernel(c)?)?;
    let groups = groups(c)?;
    let (x, kernel, bias) = (c.value(0)?, c.value(1)?, bias(c)?);
    one(c.g.conv(x, kernel, bias, groups, &sliding)?)
}

fn conv_transpose(c: &mut Call) -> Results {
    let shape = c.shape(0)?;
    let kernel = kernel(c)?;
    let axes = kernel.len();
    let mut added = match c.ints("output_padding")? {
        Some(list) => {
            let natural = list.iter().map(|&n| n.try_into().ok()).collect::<Option<Vec<usize>>>();
            natural
                .filter(|list| list.len() == axes)
                .ok_or_else(|| Error::Malformed { reason: format!("output_padding {list:?}") })?
        }
        None => vec![0; axes],
    };
    let automatic = c.text("auto_pad", "NOTSET")?;
    let image = shape.get(2..).unwrap_or_default();
    let target: Option<Vec<usize>> = match c.ints("output_shape")? {
        Some(_) => Some(sizes(c, "output_shape", axes)?),
        None if automatic.starts_with("SAME") => {
            let strides = sizes(c, "strides", axes)?;
            Some(image.iter().zip(strides).map(|(n, s)| n.saturating_mul(s)).collect())
        }
        None => None,
    };
    let sliding = match target {
        Some(target) => fitted(c, image, &kernel, &target, &mut added, &automatic)?,
        None => sliding(c, &shape, &kernel)?,
    };
    let groups = groups(c)?;
    let (x, kernel, bias) = (c.value(0)?, c.value(1)?, bias(c)?);
    one(c.g.conv_transpose(x, kernel, bias, groups, &added, &sliding)?)
}

/// The padding that brings a transposed convolution to these sizes.
///
/// # Source
/// ONNX `ConvTranspose`: `output_shape`.
fn fitted(
    c: &Call,
    image: &[usize],
    kernel: &[usize],
    target: &[usize],
    added: &mut [usize],
    automatic: &str,
) -> Result<Sliding, Error> {
    let axes = kernel.len();
    let mut sliding = Sliding::unit(axes);
    sliding.strides = sizes(c, "strides", axes)?;
    sliding.dilations = sizes(c, "dilations", axes)?;
    if image.len() != axes || target.len() != axes {
        return Err(unsupported("an output_shape with other axes than the spatial ones"));
    }
    for axis in 0..axes {
        let steps = sliding.strides[axis].saturating_mul(image[axis].saturating_sub(1));
        let reach = kernel[axis].saturating_sub(1).saturating_mul(sliding.dilations[axis]);
        let whole = steps.saturating_add(reach).saturating_add(1).saturating_add(added[axis]);
        let total = whole.saturating_sub(target[axis]);
        // what the strides do not reach is added at the end
        added[axis] = added[axis].saturating_add(target[axis].saturating_sub(whole));
        let (less, more) = (total / 2, total - total / 2);
        let upper = automatic == "SAME_UPPER";
        sliding.pads_before[axis] = if upper { less } else { more };
        sliding.pads_after[axis] = if upper { more } else { less };
    }
    Ok(sliding)
}
