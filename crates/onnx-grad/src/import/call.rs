//! One step while it is applied: its operands and attributes, checked.

use std::sync::Arc;

use crate::Error;
use crate::graph::{Graph, Value};
use crate::model::AttributeProto;
use crate::shape::{self, ElementType, TensorType, count};

use super::Mode;
use super::constant::{Constant, Elements};
use super::fold;
use super::program::{Slot, Step};
use super::rule::Rule;

/// How many elements all folded tensors of one walk may have together.
const FOLDED: usize = 1 << 24;

/// An operand or a result.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// Its elements are known.
    Constant(Arc<Constant>),
    /// Its elements are known, and those of a smaller one repeated along the
    /// first axis, which may follow the batch.
    Repeated(Arc<Constant>, Vec<usize>),
    /// It is computed when the graph runs.
    Value(Value),
}

/// What an operator's rule returns.
pub(super) type Results = Result<Vec<Operand>, Error>;

impl Operand {
    pub fn shape<'a>(&'a self, g: &'a Graph) -> &'a [usize] {
        match self {
            Self::Constant(constant) => &constant.shape,
            Self::Repeated(_, shape) => shape,
            Self::Value(value) => g.shape(*value),
        }
    }

    pub fn element(&self, g: &Graph) -> ElementType {
        match self {
            Self::Constant(constant) | Self::Repeated(constant, _) => constant.element(),
            Self::Value(value) => g.element_type(*value),
        }
    }
}

impl From<Constant> for Operand {
    fn from(constant: Constant) -> Self {
        Self::Constant(Arc::new(constant))
    }
}

impl From<Value> for Operand {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

/// One result.
pub(super) fn one(result: impl Into<Operand>) -> Results {
    Ok(vec![result.into()])
}

/// What a walk over the steps carries along.
pub(super) struct Walk<'a> {
    pub mode: Mode,
    /// For each slot the one that it is a view of.
    pub origins: &'a [Slot],
    /// The elements that may still be folded.
    pub left: usize,
    /// For each buffer its slot and its newest value.
    pub buffers: Vec<(Slot, Value)>,
}

impl<'a> Walk<'a> {
    pub fn new(mode: Mode, origins: &'a [Slot]) -> Self {
        Self { mode, origins, left: FOLDED, buffers: Vec::new() }
    }
}

/// One step while it is applied.
pub(super) struct Call<'a, 'w> {
    pub g: &'a mut Graph,
    pub step: &'a Step,
    pub rule: &'static Rule,
    pub operands: Vec<Option<Operand>>,
    pub walk: &'a mut Walk<'w>,
    /// The step's number, which tells random draws apart.
    pub site: u64,
}

impl Call<'_, '_> {
    pub fn given(&self, i: usize) -> Option<&Operand> {
        self.operands.get(i)?.as_ref()
    }

    pub fn operand(&self, i: usize) -> Result<&Operand, Error> {
        self.given(i).ok_or_else(|| Error::Malformed { reason: format!("operand {i} is left out") })
    }

    /// An operand as a value of the graph.
    pub fn value(&mut self, i: usize) -> Result<Value, Error> {
        let operand = self.operand(i)?.clone();
        self.bind(&operand)
    }

    pub fn optional(&mut self, i: usize) -> Result<Option<Value>, Error> {
        let operand = self.given(i).cloned();
        operand.map(|operand| self.bind(&operand)).transpose()
    }

    /// All operands as values; none may be left out.
    pub fn values(&mut self) -> Result<Vec<Value>, Error> {
        (0..self.operands.len()).map(|i| self.value(i)).collect()
    }

    pub fn bind(&mut self, operand: &Operand) -> Result<Value, Error> {
        match operand {
            Operand::Value(value) => Ok(*value),
            Operand::Constant(constant) => constant.bind(self.g),
            Operand::Repeated(constant, shape) => {
                let value = constant.bind(self.g)?;
                self.g.expand(value, shape)
            }
        }
    }

    pub fn shape(&self, i: usize) -> Result<Vec<usize>, Error> {
        Ok(self.operand(i)?.shape(self.g).to_vec())
    }

    /// The shape and element type of an operand.
    pub fn ty(&self, i: usize) -> Result<TensorType, Error> {
        let operand = self.operand(i)?;
        Ok(TensorType::new(operand.element(self.g), operand.shape(self.g)))
    }

    /// An axis of an operand, counted from the front.
    pub fn axis(&self, i: usize, axis: i64) -> Result<usize, Error> {
        shape::axis(self.rule.operator, axis, &self.ty(i)?)
    }

    /// Whether the elements of all operands given are known.
    pub fn known(&self) -> bool {
        self.operands.iter().flatten().all(|o| matches!(o, Operand::Constant(_)))
    }

    /// An operand whose elements must be known, where it is given.
    pub fn constant(&self, i: usize) -> Result<Option<Arc<Constant>>, Error> {
        match self.given(i) {
            None => Ok(None),
            Some(Operand::Repeated(constant, shape)) => {
                limits_of_fold(count(shape))?;
                Ok(Some(Arc::new(fold::stretch(constant, shape)?)))
            }
            Some(Operand::Constant(constant)) => Ok(Some(constant.clone())),
            Some(Operand::Value(_)) => Err(Error::NotConstant { operand: i }),
        }
    }

    /// An operand whose elements must be known.
    pub fn required(&self, i: usize) -> Result<Arc<Constant>, Error> {
        self.operand(i)?;
        let constant = self.constant(i)?;
        constant.ok_or(Error::NotConstant { operand: i })
    }

    /// The integers of an operand that is a vector or a number.
    pub fn integers(&self, i: usize) -> Result<Option<Vec<i64>>, Error> {
        let Some(constant) = self.constant(i)? else { return Ok(None) };
        match &constant.elements {
            Elements::Int(data) if constant.shape.len() < 2 => Ok(Some(data.clone())),
            _ => Err(self.wrong_type("a vector of integers", i)),
        }
    }

    /// The one number of an operand.
    pub fn number(&self, i: usize) -> Result<Option<f32>, Error> {
        let Some(constant) = self.constant(i)? else { return Ok(None) };
        match &constant.elements {
            Elements::Float(data) if data.len() == 1 => Ok(data.first().copied()),
            _ => Err(self.wrong_type("one float", i)),
        }
    }

    fn wrong_type(&self, required: &'static str, i: usize) -> Error {
        let received = self.operand(i).map(|o| vec![o.element(self.g)]).unwrap_or_default();
        Error::ElementType { operator: self.rule.operator, required, received }
    }

    /// Repeats what mostly stands for places, integers and truth values, and
    /// everything where no operand follows what is fed.
    pub fn settle(&mut self) -> Result<(), Error> {
        let fed = self.operands.iter().flatten().any(|o| matches!(o, Operand::Value(_)));
        for i in 0..self.operands.len() {
            if let Some(Operand::Repeated(constant, shape)) =
                self.operands.get(i).cloned().flatten()
                && (!fed || constant.element() != ElementType::F32)
            {
                self.fold(&shape)?;
                let repeated = fold::stretch(&constant, &shape)?;
                if let Some(operand) = self.operands.get_mut(i) {
                    *operand = Some(repeated.into());
                }
            }
        }
        Ok(())
    }

    /// Takes leave to fold a tensor of this shape.
    pub fn fold(&mut self, shape: &[usize]) -> Result<usize, Error> {
        let received = count(shape);
        let left = self.walk.left.checked_sub(received);
        let limit = self.walk.left;
        let what = || "elements of folded constants".to_owned();
        self.walk.left = left.ok_or_else(|| Error::Limit { what: what(), received, limit })?;
        Ok(received)
    }

    fn attribute(&self, name: &str, kind: i32) -> Result<Option<&AttributeProto>, Error> {
        match self.step.attributes.iter().find(|a| a.name == name) {
            Some(a) if a.r#type != kind => {
                let reason = format!("attribute {name} is of type {} in place of {kind}", a.r#type);
                Err(Error::Malformed { reason })
            }
            found => Ok(found),
        }
    }

    pub fn float(&self, name: &str, default: f32) -> Result<f32, Error> {
        Ok(self.attribute(name, 1)?.map_or(default, |a| a.f))
    }

    pub fn int(&self, name: &str, default: i64) -> Result<i64, Error> {
        Ok(self.attribute(name, 2)?.map_or(default, |a| a.i))
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        Ok(self.int(name, default.into())? != 0)
    }

    pub fn text(&self, name: &str, default: &str) -> Result<String, Error> {
        let text = |a: &AttributeProto| String::from_utf8_lossy(&a.s).into_owned();
        Ok(self.attribute(name, 3)?.map_or(default.to_owned(), text))
    }

    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Error> {
        Ok(self.attribute(name, 7)?.map(|a| a.ints.clone()))
    }

    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, Error> {
        Ok(self.attribute(name, 6)?.map(|a| a.floats.clone()))
    }

    /// Integers that older opsets have as an attribute, newer ones as an operand.
    pub fn ints_or_operand(&self, name: &str, i: usize) -> Result<Option<Vec<i64>>, Error> {
        match self.ints(name)? {
            Some(list) => Ok(Some(list)),
            None => self.integers(i),
        }
    }

    pub fn tensor(&self, name: &str) -> Result<Option<Constant>, Error> {
        let tensor = self.attribute(name, 4)?.and_then(|a| a.t.as_ref());
        let read = |tensor| {
            let known = Constant::read(tensor, None)?;
            Ok(known)
        };
        tensor.map(read).transpose()
    }

    /// The place of the buffer that an operand is, or is a view of.
    pub fn buffer(&self, i: usize) -> Option<usize> {
        let &origin = self.walk.origins.get((*self.step.inputs.get(i)?)?)?;
        self.walk.buffers.iter().position(|&(slot, _)| slot == origin)
    }

    /// Whether a result is asked for.
    pub fn wants(&self, output: usize) -> bool {
        self.step.outputs.get(output).is_some_and(Option::is_some)
    }
}

fn limits_of_fold(received: usize) -> Result<(), Error> {
    match received <= FOLDED {
        true => Ok(()),
        false => {
            let what = "elements of a folded constant".to_owned();
            Err(Error::Limit { what, received, limit: FOLDED })
        }
    }
}

pub(super) fn unsupported(what: impl Into<String>) -> Error {
    Error::Unsupported { what: what.into() }
}
