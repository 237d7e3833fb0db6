//! Parameters in one flat buffer.

use crate::Error;
use crate::graph::{Graph, Value, check_length};
use crate::shape::count;

mod block;
mod part;

pub use block::block_of;

/// One parameter of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, unique in the layout.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether weight decay pulls it towards zero: weights yes, norms and
    /// biases no.
    pub decay: bool,
}

impl Parameter {
    /// A parameter of this name, shape and decay.
    pub fn new(name: impl Into<String>, shape: &[usize], decay: bool) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), decay }
    }
}

/// The places of all parameters in one flat `f32` buffer.
///
/// Parameters with decay stand first, so that decay concerns one range. All
/// lists of values that go in or come out are in the order of [`Layout::push`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    parameters: Vec<Parameter>,
    /// The place of each parameter among those of its kind.
    places: Vec<usize>,
    decayed: usize,
    undecayed: usize,
}

impl Layout {
    /// A layout without parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// The index of the parameter just added, in the lists of this layout.
    ///
    /// # Errors
    /// [`Error::DuplicateName`] where the name is taken.
    pub fn push(&mut self, parameter: Parameter) -> Result<usize, Error> {
        if self.find(&parameter.name).is_some() {
            let name = parameter.name;
            return Err(Error::DuplicateName { name });
        }
        self.place(parameter);
        Ok(self.places.len() - 1)
    }

    /// Adds a parameter of a name that is not taken.
    fn place(&mut self, parameter: Parameter) {
        let used = if parameter.decay { &mut self.decayed } else { &mut self.undecayed };
        self.places.push(*used);
        *used = used.saturating_add(count(&parameter.shape));
        self.parameters.push(parameter);
    }

    /// The number of elements of the flat buffer.
    pub fn len(&self) -> usize {
        self.decayed.saturating_add(self.undecayed)
    }

    /// Whether the flat buffer has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length of the range that weight decay concerns, from 0 on.
    pub fn decayed(&self) -> usize {
        self.decayed
    }

    /// The parameters in the order in which they were added.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The index of the parameter of this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|p| p.name == name)
    }

    /// The first element of a parameter in the flat buffer, by its index.
    pub fn offset(&self, index: usize) -> Option<usize> {
        let (parameter, place) = (self.parameters.get(index)?, self.places.get(index)?);
        Some(place + if parameter.decay { 0 } else { self.decayed })
    }

    /// The parameters as values, cut out of a flat value of shape `[len]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the flat value has another shape.
    pub fn bind_flat(&self, g: &mut Graph, flat: Value) -> Result<Vec<Value>, Error> {
        let order = self.memory_order();
        if order.is_empty() {
            return Ok(Vec::new());
        }
        let sizes: Vec<usize> = order.iter().map(|&i| count(&self.parameters[i].shape)).collect();
        let parts = g.split(flat, 0, &sizes)?;
        let mut bound: Vec<(usize, Value)> = order.into_iter().zip(parts).collect();
        bound.sort_unstable();
        bound.into_iter().map(|(i, part)| g.reshape(part, &self.parameters[i].shape)).collect()
    }

    /// The parameters as named initializers, with their elements from a flat
    /// buffer.
    ///
    /// # Errors
    /// [`Error::Length`] where the buffer has another length.
    pub fn bind_initializers(&self, g: &mut Graph, flat: &[f32]) -> Result<Vec<Value>, Error> {
        self.check_flat(flat)?;
        self.parameters
            .iter()
            .enumerate()
            .map(|(i, parameter)| {
                let data = flat.iter().skip(self.offset(i).unwrap_or_default());
                let data = data.take(count(&parameter.shape)).copied().collect();
                g.initializer_f32(&parameter.name, &parameter.shape, data)
            })
            .collect()
    }

    /// One value of shape `[len]` from one value a parameter: the flat gradient
    /// from the gradients.
    ///
    /// # Errors
    /// [`Error::Shape`] where the values are not those of the parameters.
    pub fn flatten(&self, g: &mut Graph, values: &[Value]) -> Result<Value, Error> {
        let same = |(p, &v): (&Parameter, &Value)| p.shape == g.shape(v);
        if values.len() != self.parameters.len() || !self.parameters.iter().zip(values).all(same) {
            let shapes: Vec<_> = self.parameters.iter().map(|p| &p.shape).collect();
            let received: Vec<_> = values.iter().map(|&v| g.ty(v)).collect();
            let required = format!("one value a parameter, of shapes {shapes:?}");
            return Err(Error::shape("Concat", required, &received));
        }
        let flat = self
            .memory_order()
            .into_iter()
            .map(|i| g.reshape(values[i], &[count(&self.parameters[i].shape)]))
            .collect::<Result<Vec<_>, _>>()?;
        g.concat(&flat, 0)
    }

    /// The numbers of elements of the parameters with decay, in the order of the
    /// flat buffer.
    pub(crate) fn decayed_sizes(&self) -> Vec<usize> {
        let decayed = self.parameters.iter().filter(|parameter| parameter.decay);
        decayed.map(|parameter| count(&parameter.shape)).collect()
    }

    /// Whether a flat buffer has as many elements as the layout.
    fn check_flat(&self, flat: &[f32]) -> Result<(), Error> {
        check_length("flat parameters", &[self.len()], flat.len())
    }

    /// The indices of the parameters, in the order of the flat buffer.
    fn memory_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.parameters.len()).collect();
        order.sort_by_key(|&i| !self.parameters[i].decay);
        order
    }
}
