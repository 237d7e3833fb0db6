//! What a model takes and returns, with the sizes settled.

use crate::Error;
use crate::model::{ValueInfoProto, dimension_proto};
use crate::shape::{ElementType, count};

use super::ImportOptions;
use super::constant::Kind;

/// The greatest number of axes of a value.
pub(super) const RANK: usize = 16;
/// The greatest number of elements of a value.
pub(super) const ELEMENTS: usize = 1 << 36;

/// A named input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: String,
    /// Its element type: `f32` for every float type of the file, and `i64` for
    /// every integer type of an output.
    pub element: ElementType,
    /// Its shape, `None` where a size is that of the batch or follows it.
    pub shape: Vec<Option<usize>>,
}

impl Signature {
    /// The shape with a batch in place of the open sizes.
    pub(super) fn at(&self, batch: usize) -> Vec<usize> {
        self.shape.iter().map(|n| n.unwrap_or(batch)).collect()
    }

    /// The input that a message describes, its sizes settled by the options.
    pub(super) fn of(info: &ValueInfoProto, options: &ImportOptions) -> Result<Self, Error> {
        let name = info.name.clone();
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let tensor = tensor.ok_or_else(|| Error::Unsupported {
            what: format!("input {name:?}, which is not a tensor,"),
        })?;
        let element = match Kind::of(tensor.elem_type) {
            Some(Kind::Integer { bytes: 1, signed: false }) => ElementType::U8,
            Some(Kind::Integer { bytes: 2, signed: true }) => ElementType::I16,
            Some(Kind::Integer { bytes: 4, signed: true }) => ElementType::I32,
            Some(Kind::Integer { bytes: 8, signed: true }) => ElementType::I64,
            Some(kind @ (Kind::F32 | Kind::F16 | Kind::Bf16 | Kind::F64 | Kind::Bool)) => {
                kind.element()
            }
            _ => {
                let what = format!("input {name:?} of element type {}", tensor.elem_type);
                return Err(Error::Unsupported { what });
            }
        };
        let dims = tensor.shape.as_ref().map(|shape| &shape.dim[..]);
        if let Some((_, shape)) = options.shapes.iter().find(|(input, _)| *input == name) {
            if dims.is_some_and(|dims| dims.len() != shape.len()) {
                let required = format!("{} axes for input {name:?}", dims.map_or(0, <[_]>::len));
                let received = vec![shape.clone()];
                return Err(Error::Shape { operator: "ImportOptions", required, received });
            }
            return Self { name, element, shape: shape.iter().map(|&n| Some(n)).collect() }
                .checked();
        }
        let open = |axis, symbol: &str| Error::OpenSize {
            input: name.clone(),
            axis,
            symbol: symbol.to_owned(),
        };
        let mut shape = Vec::new();
        for (axis, dim) in dims.ok_or_else(|| open(0, ""))?.iter().enumerate() {
            let symbol = match &dim.value {
                Some(dimension_proto::Value::DimValue(n)) => {
                    let size = usize::try_from(*n).ok().filter(|&n| n > 0);
                    let reason = || format!("input {name:?}: a size of {n}");
                    shape.push(Some(size.ok_or_else(|| Error::Malformed { reason: reason() })?));
                    continue;
                }
                Some(dimension_proto::Value::DimParam(symbol)) => symbol.as_str(),
                None => "",
            };
            let settled = options.symbols.iter().find(|(s, _)| s == symbol && !s.is_empty());
            shape.push(match settled {
                Some(&(_, n)) => Some(n),
                None if axis == 0 => options.batch,
                None => return Err(open(axis, symbol)),
            });
        }
        Self { name, element, shape }.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        if self.shape.contains(&Some(0)) {
            let reason = format!("input {:?}: a size of 0", self.name);
            return Err(Error::Malformed { reason });
        }
        limits(&self.at(1))?;
        Ok(self)
    }
}

/// Whether a shape is one that may be computed with.
pub(super) fn limits(shape: &[usize]) -> Result<(), Error> {
    let elements = count(shape);
    let (what, received, limit) = match shape.len() > RANK {
        true => ("axes of a value", shape.len(), RANK),
        false => ("elements of a value", elements, ELEMENTS),
    };
    let largest = shape.iter().copied().max().unwrap_or(0);
    if received > limit || largest > ELEMENTS {
        let received = received.max(if limit == RANK { 0 } else { largest });
        return Err(Error::Limit { what: what.to_owned(), received, limit });
    }
    Ok(())
}
