//! Constants with their elements.

use crate::Error;
use crate::shape::{ElementType, count};

/// The elements of a constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tensor {
    F32(Vec<usize>, Vec<f32>),
    I64(Vec<usize>, Vec<i64>),
}

impl Tensor {
    /// A vector of integers, as operators take shapes and axes.
    pub fn integers<T: Copy + TryInto<i64>>(list: &[T]) -> Self {
        // a size beyond i64 cannot come from a shape that fits in memory
        let list: Vec<i64> = list.iter().map(|&n| n.try_into().unwrap_or(i64::MAX)).collect();
        Self::I64(vec![list.len()], list)
    }

    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(shape, _) | Self::I64(shape, _) => shape,
        }
    }

    pub fn element(&self) -> ElementType {
        match self {
            Self::F32(..) => ElementType::F32,
            Self::I64(..) => ElementType::I64,
        }
    }

    /// The elements as ONNX `raw_data`: little-endian, row-major.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(_, data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I64(_, data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

/// Whether as many elements were received as the shape has.
pub(crate) fn check_length(name: &str, shape: &[usize], received: usize) -> Result<(), Error> {
    let required = count(shape);
    if required == received {
        return Ok(());
    }
    Err(Error::Length { name: name.to_owned(), shape: shape.to_vec(), required, received })
}
