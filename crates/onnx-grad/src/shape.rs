//! Element types, broadcasting and axes.

use crate::Error;

/// The type of one element of a tensor.
///
/// # Source
/// ONNX IR, `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// 32-bit IEEE 754, what is differentiated.
    F32,
    /// 64-bit signed, what indices are.
    I64,
    /// 32-bit signed.
    I32,
    /// 16-bit signed.
    I16,
    /// 8-bit unsigned.
    U8,
    /// Truth values.
    Bool,
}

impl ElementType {
    /// The number of the type in `TensorProto.DataType`.
    pub fn code(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I16 => 5,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
        }
    }
}

/// The element type and the static shape of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TensorType {
    pub element: ElementType,
    pub shape: Vec<usize>,
}

impl TensorType {
    pub fn new(element: ElementType, shape: impl Into<Vec<usize>>) -> Self {
        Self { element, shape: shape.into() }
    }
}

/// The number of elements of a shape.
pub(crate) fn count(shape: &[usize]) -> usize {
    shape.iter().fold(1, |n, &d| n.saturating_mul(d))
}

/// The shape that both operands broadcast to, or `None`.
///
/// # Source
/// ONNX, "Broadcasting in ONNX", multidirectional broadcasting.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |k| s[k]);
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// The axes along which an operand of shape `from` was repeated to reach `to`,
/// split in those it lacked and those where its size was one.
pub(crate) fn broadcast_axes(from: &[usize], to: &[usize]) -> (usize, Vec<usize>) {
    let lacking = to.len().saturating_sub(from.len());
    let stretched = (lacking..to.len()).filter(|&i| from[i - lacking] == 1 && to[i] != 1).collect();
    (lacking, stretched)
}

/// An axis counted from the front, from one that may be negative.
pub(crate) fn axis(operator: &'static str, axis: i64, x: &TensorType) -> Result<usize, Error> {
    let rank = x.shape.len() as i64;
    if (-rank..rank).contains(&axis) {
        Ok(axis.rem_euclid(rank) as usize)
    } else {
        let required = format!("an axis within -{rank}..{rank} in place of {axis}");
        Err(Error::shape(operator, required, &[x]))
    }
}

/// Distinct axes counted from the front, in rising order.
pub(crate) fn axes(
    operator: &'static str,
    list: &[i64],
    x: &TensorType,
) -> Result<Vec<usize>, Error> {
    let mut found = list.iter().map(|&a| axis(operator, a, x)).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    if found.windows(2).any(|w| w[0] == w[1]) {
        let required = format!("distinct axes in place of {list:?}");
        return Err(Error::shape(operator, required, &[x]));
    }
    Ok(found)
}
