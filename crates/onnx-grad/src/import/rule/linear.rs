//! Matrix products.

use super::Role::{Own, Weight};
use super::Rule;
use crate::Error;

use super::super::call::{Call, Results, one};

pub(super) const RULES: &[Rule] = &[
    Rule { operator: "Einsum", roles: &[Weight], apply: einsum },
    Rule { operator: "Gemm", roles: &[Weight, Weight, Own], apply: gemm },
    Rule { operator: "MatMul", roles: &[Weight], apply: matmul },
];

/// A vector is a row on the left and a column on the right, as in NumPy.
fn matmul(c: &mut Call) -> Results {
    let (a, b) = (c.value(0)?, c.value(1)?);
    let (left, right) = (c.g.shape(a).len() == 1, c.g.shape(b).len() == 1);
    let a = if left { c.g.unsqueeze(a, &[0])? } else { a };
    let b = if right { c.g.unsqueeze(b, &[1])? } else { b };
    let product = c.g.matmul(a, b)?;
    let axes: &[i64] = match (left, right) {
        (true, true) => &[-2, -1],
        (true, false) => &[-2],
        (false, true) => &[-1],
        (false, false) => return one(product),
    };
    one(c.g.squeeze(product, axes)?)
}

fn einsum(c: &mut Call) -> Results {
    let (equation, values) = (c.text("equation", "")?, c.values()?);
    one(c.g.einsum(&equation, &values)?)
}

/// alpha · A·B + beta · C.
fn gemm(c: &mut Call) -> Results {
    let (a, b) = (c.value(0)?, c.value(1)?);
    let (alpha, beta) = (c.float("alpha", 1.0)?, c.float("beta", 1.0)?);
    let (ta, tb) = (c.flag("transA", false)?, c.flag("transB", false)?);
    let mut y = match ta || tb {
        true => c.g.gemm(a, ta, b, tb)?,
        false => c.g.matmul(a, b)?,
    };
    if alpha != 1.0 {
        let alpha = c.g.scalar(alpha);
        y = c.g.mul(y, alpha)?;
    }
    if let Some(mut bias) = c.optional(2)? {
        if beta != 1.0 {
            let beta = c.g.scalar(beta);
            bias = c.g.mul(bias, beta)?;
        }
        let shape = c.g.shape(y).to_vec();
        y = c.g.add(y, bias)?;
        if c.g.shape(y) != shape {
            let required = format!("a third operand that broadcasts to {shape:?}");
            let received = vec![c.shape(2)?];
            return Err(Error::Shape { operator: "Gemm", required, received });
        }
    }
    one(y)
}
