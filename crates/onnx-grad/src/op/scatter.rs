//! Elements of a vector by their places, and back to their places.

use super::{Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType};

/// The elements of a vector at places of which none is named twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GatherElements;

impl Operator for GatherElements {
    fn name(&self) -> &'static str {
        "GatherElements"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x, places] if places.element == ElementType::I64 && x.shape.len() == 1 => {
                Ok(vec![TensorType::new(x.element, &places.shape[..])])
            }
            _ => Err(Error::shape(self.name(), "a vector, and places in it", inputs)),
        }
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let shape = g.shape(node.inputs[0]).to_vec();
        let zeros = g.zeros(&shape)?;
        Ok(vec![Some(g.scatter_elements(zeros, node.inputs[1], dy)?), None])
    }
}

/// A vector with other elements at places of which none is named twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ScatterElements;

impl Operator for ScatterElements {
    fn name(&self) -> &'static str {
        "ScatterElements"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x, places, part]
                if places.element == ElementType::I64
                    && x.shape.len() == 1
                    && part.shape == places.shape =>
            {
                Ok(vec![(*x).clone()])
            }
            _ => {
                let required = "a vector, places in it and as many elements";
                Err(Error::shape(self.name(), required, inputs))
            }
        }
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let places = node.inputs[1];
        let shape = g.shape(places).to_vec();
        let zeros = g.zeros(&shape)?;
        let dx = g.scatter_elements(dy, places, zeros)?;
        Ok(vec![Some(dx), None, Some(g.gather_elements(dy, places)?)])
    }
}

impl Graph {
    /// The elements of a vector at places of which none is named twice.
    pub(super) fn gather_elements(&mut self, x: Value, places: Value) -> Result<Value, Error> {
        self.apply(GatherElements, &[x, places])
    }

    /// A vector with other elements at places of which none is named twice.
    pub(super) fn scatter_elements(
        &mut self,
        x: Value,
        places: Value,
        part: Value,
    ) -> Result<Value, Error> {
        self.apply(ScatterElements, &[x, places, part])
    }
}
