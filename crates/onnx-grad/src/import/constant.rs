//! Tensors whose elements are known: what folding works on.

use crate::Error;
use crate::graph::{Graph, Value};
use crate::model::TensorProto;
use crate::shape::{ElementType, count};

use super::half;

/// A tensor whose elements are known, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub shape: Vec<usize>,
    pub elements: Elements,
}

/// The elements: every float type as `f32`, every integer type as `i64`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    Float(Vec<f32>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

impl Elements {
    pub fn len(&self) -> usize {
        match self {
            Self::Float(data) => data.len(),
            Self::Int(data) => data.len(),
            Self::Bool(data) => data.len(),
        }
    }

    /// The elements at these places, which must be within.
    pub fn pick(&self, places: &[usize]) -> Option<Self> {
        fn at<T: Copy>(data: &[T], places: &[usize]) -> Option<Vec<T>> {
            places.iter().map(|&i| data.get(i).copied()).collect()
        }
        Some(match self {
            Self::Float(data) => Self::Float(at(data, places)?),
            Self::Int(data) => Self::Int(at(data, places)?),
            Self::Bool(data) => Self::Bool(at(data, places)?),
        })
    }

    /// Both one after the other, where they are of one kind.
    pub fn extend(&mut self, other: &Self) -> Option<()> {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.extend(b),
            (Self::Int(a), Self::Int(b)) => a.extend(b),
            (Self::Bool(a), Self::Bool(b)) => a.extend(b),
            _ => return None,
        }
        Some(())
    }
}

impl Constant {
    pub fn floats(shape: &[usize], data: Vec<f32>) -> Self {
        Self { shape: shape.to_vec(), elements: Elements::Float(data) }
    }

    /// A vector of integers.
    pub fn integers(data: Vec<i64>) -> Self {
        Self { shape: vec![data.len()], elements: Elements::Int(data) }
    }

    pub fn element(&self) -> ElementType {
        match self.elements {
            Elements::Float(_) => ElementType::F32,
            Elements::Int(_) => ElementType::I64,
            Elements::Bool(_) => ElementType::Bool,
        }
    }

    /// The tensor as a value of a graph.
    pub fn bind(&self, g: &mut Graph) -> Result<Value, Error> {
        match &self.elements {
            Elements::Float(data) => g.constant_f32(&self.shape, data),
            Elements::Int(data) => g.constant_i64(&self.shape, data),
            Elements::Bool(data) => {
                let data: Vec<i64> = data.iter().map(|&b| b.into()).collect();
                let numbers = g.constant_i64(&self.shape, &data)?;
                g.cast(numbers, ElementType::Bool)
            }
        }
    }

    /// The tensor of a message, whose elements are `external` where they stand
    /// in another file.
    ///
    /// # Source
    /// ONNX, `onnx.proto`, `TensorProto`: which field holds which type.
    pub fn read(proto: &TensorProto, external: Option<&[u8]>) -> Result<Self, Error> {
        let name = &proto.name;
        let malformed = |reason: String| Error::Malformed { reason };
        let sizes = proto.dims.iter().map(|&d| d.try_into().ok()).collect();
        let sizes: Option<Vec<usize>> = sizes;
        let shape = sizes
            .ok_or_else(|| malformed(format!("{name}: a negative size in {:?}", proto.dims)))?;
        let kind = Kind::of(proto.data_type).ok_or_else(|| Error::Unsupported {
            what: format!("{name}: element type {} of a tensor", proto.data_type),
        })?;
        let elements =
            match external.or(Some(&proto.raw_data).filter(|d| !d.is_empty()).map(|d| &d[..])) {
                Some(bytes) => {
                    if bytes.len() % kind.bytes() != 0 {
                        let reason = format!("{name}: {} bytes of data", bytes.len());
                        return Err(malformed(reason));
                    }
                    kind.elements(bytes)
                }
                None => kind.typed(proto),
            };
        if elements.len() != count(&shape) {
            return Err(malformed(format!(
                "{name}: shape {shape:?} requires {} elements, received {}",
                count(&shape),
                elements.len()
            )));
        }
        Ok(Self { shape, elements })
    }
}

/// The element types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    F16,
    Bf16,
    F64,
    Bool,
    Integer { bytes: usize, signed: bool },
}

impl Kind {
    /// The type with this number in `TensorProto.DataType`.
    pub fn of(code: i32) -> Option<Self> {
        let integer = |bytes, signed| Some(Self::Integer { bytes, signed });
        match code {
            1 => Some(Self::F32),
            2 => integer(1, false),
            3 => integer(1, true),
            4 => integer(2, false),
            5 => integer(2, true),
            6 => integer(4, true),
            7 => integer(8, true),
            9 => Some(Self::Bool),
            10 => Some(Self::F16),
            11 => Some(Self::F64),
            12 => integer(4, false),
            13 => integer(8, false),
            16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// The type that values of it have here.
    pub fn element(self) -> ElementType {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 | Self::F64 => ElementType::F32,
            Self::Bool => ElementType::Bool,
            Self::Integer { .. } => ElementType::I64,
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F64 => 8,
            Self::Bool => 1,
            Self::Integer { bytes, .. } => bytes,
        }
    }

    /// The elements from little-endian bytes.
    fn elements(self, bytes: &[u8]) -> Elements {
        let word = |chunk: &[u8]| chunk.iter().rev().fold(0u64, |w, &b| w << 8 | u64::from(b));
        let words = bytes.chunks_exact(self.bytes()).map(word);
        match self {
            Self::F32 => {
                let (chunks, _) = bytes.as_chunks();
                Elements::Float(chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect())
            }
            Self::F16 => Elements::Float(words.map(|w| half::f16(w as u16)).collect()),
            Self::Bf16 => Elements::Float(words.map(|w| half::bf16(w as u16)).collect()),
            Self::F64 => Elements::Float(words.map(|w| f64::from_bits(w) as f32).collect()),
            Self::Bool => Elements::Bool(words.map(|w| w != 0).collect()),
            Self::Integer { bytes, signed } => {
                // the sign bit moves to the top and back
                let shift = 64 - 8 * bytes as u32;
                let integer = |w: u64| match signed {
                    true => ((w << shift) as i64) >> shift,
                    false => w as i64,
                };
                Elements::Int(words.map(integer).collect())
            }
        }
    }

    /// The elements from the field that holds them one by one.
    fn typed(self, proto: &TensorProto) -> Elements {
        let narrow = proto.int32_data.iter();
        match self {
            Self::F32 => Elements::Float(proto.float_data.clone()),
            Self::F64 => Elements::Float(proto.double_data.iter().map(|&x| x as f32).collect()),
            Self::F16 => Elements::Float(narrow.map(|&w| half::f16(w as u16)).collect()),
            Self::Bf16 => Elements::Float(narrow.map(|&w| half::bf16(w as u16)).collect()),
            Self::Bool => Elements::Bool(narrow.map(|&w| w != 0).collect()),
            Self::Integer { bytes: 8, signed: true } => Elements::Int(proto.int64_data.clone()),
            Self::Integer { bytes: 4 | 8, signed: false } => {
                Elements::Int(proto.uint64_data.iter().map(|&w| w as i64).collect())
            }
            Self::Integer { .. } => Elements::Int(narrow.map(|&w| w.into()).collect()),
        }
    }
}
