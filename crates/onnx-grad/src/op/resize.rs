//! Images brought to other sizes.

use super::{Attribute, Float, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{ElementType, TensorType, count};

/// No matrix made here has more elements.
const MOST_ELEMENTS: usize = 1 << 24;

/// How [`Graph::resize`] finds an element between others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interpolation {
    /// What is made of the elements around.
    pub mode: InterpolationMode,
    /// Where the element lies among them.
    pub coordinates: Coordinates,
}

/// What is made of the elements around a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterpolationMode {
    /// The nearest is taken.
    Nearest(Rounding),
    /// Along each axis the two around are mixed by their distances.
    Linear,
}

/// Which of two elements is the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// The nearer one, in the middle the one before.
    PreferFloor,
    /// The nearer one, in the middle the one after.
    PreferCeil,
    /// The one before.
    Floor,
    /// The one after.
    Ceil,
}

/// Where an element of the result lies in the operand, along an axis. With `i`
/// its index and `scale` the ratio of the sizes:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coordinates {
    /// (i + ½) / scale − ½.
    HalfPixel,
    /// The same, and 0 where the result has one element.
    PytorchHalfPixel,
    /// i / scale.
    Asymmetric,
    /// i · (n − 1) / (m − 1), from m elements out of n: the ends meet.
    AlignCorners,
}

impl Interpolation {
    /// Which elements of `from` an element of the result is made of, and the
    /// share of each; in `f32`, as ONNX Runtime computes it.
    fn shares(self, index: usize, from: usize, to: usize, scale: f32) -> [(usize, f32); 2] {
        let i = index as f32;
        let x = match self.coordinates {
            Coordinates::PytorchHalfPixel if to == 1 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (i + 0.5) / scale - 0.5,
            Coordinates::Asymmetric => i / scale,
            Coordinates::AlignCorners if to == 1 => 0.0,
            Coordinates::AlignCorners => i * (from - 1) as f32 / (to - 1) as f32,
        };
        let last = from - 1;
        match self.mode {
            InterpolationMode::Nearest(rounding) => {
                let nearest = match rounding {
                    Rounding::PreferFloor if x.fract() == 0.5 => x.floor(),
                    Rounding::PreferFloor | Rounding::PreferCeil => x.round(),
                    Rounding::Floor => x.floor(),
                    Rounding::Ceil => x.ceil(),
                };
                // a cast of a negative number gives 0
                [((nearest as usize).min(last), 1.0), (0, 0.0)]
            }
            InterpolationMode::Linear => {
                let x = x.clamp(0.0, last as f32);
                let below = (x as usize).min(last);
                let part = x - below as f32;
                [(below, 1.0 - part), ((below + 1).min(last), part)]
            }
        }
    }

    /// The matrix `[to, from]` that resizes an axis.
    fn matrix(self, from: usize, to: usize, scale: f32) -> Vec<f32> {
        let mut matrix = vec![0.0; from * to];
        for index in 0..to {
            for (element, share) in self.shares(index, from, to, scale) {
                matrix[index * from + element] += share;
            }
        }
        matrix
    }
}

/// The new size of an axis, and the ratio of the sizes where it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stretch {
    axis: usize,
    size: usize,
    scale: Option<Float>,
}

impl Stretch {
    fn ratio(&self, from: usize) -> f32 {
        self.scale.map_or(self.size as f32 / from as f32, |scale| scale.0)
    }
}

/// The stretches of different spatial axes; other axes stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resize {
    stretches: Vec<Stretch>,
    interpolation: Interpolation,
}

impl Operator for Resize {
    fn name(&self) -> &'static str {
        "Resize"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = inputs else {
            return Err(Error::shape("Resize", "one operand", inputs));
        };
        if x.element != ElementType::F32 {
            return Err(Error::element_type("Resize", "F32", inputs));
        }
        let mut result = (*x).clone();
        for stretch in &self.stretches {
            let Stretch { axis, size, scale } = *stretch;
            let from = x.shape.get(axis).copied().filter(|&n| n > 0 && size > 0);
            let fits = |from: usize| scale.is_none_or(|s| (from as f32 * s.0) as usize == size);
            if !(4..=5).contains(&x.shape.len()) || axis < 2 || !from.is_some_and(fits) {
                let required = format!("[n, c, ..] with a spatial axis that {stretch:?} fits");
                return Err(Error::shape("Resize", required, inputs));
            }
            result.shape[axis] = size;
        }
        Ok(vec![result])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let axes: Vec<usize> = self.stretches.iter().map(|stretch| stretch.axis).collect();
        let coordinates = match self.interpolation.coordinates {
            Coordinates::HalfPixel => "half_pixel",
            Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
            Coordinates::Asymmetric => "asymmetric",
            Coordinates::AlignCorners => "align_corners",
        };
        let mut attributes = vec![
            ("axes", Attribute::ints(&axes)),
            ("coordinate_transformation_mode", Attribute::Text(coordinates)),
        ];
        match self.interpolation.mode {
            InterpolationMode::Linear => attributes.push(("mode", Attribute::Text("linear"))),
            InterpolationMode::Nearest(rounding) => {
                let rounding = match rounding {
                    Rounding::PreferFloor => "round_prefer_floor",
                    Rounding::PreferCeil => "round_prefer_ceil",
                    Rounding::Floor => "floor",
                    Rounding::Ceil => "ceil",
                };
                attributes.push(("mode", Attribute::Text("nearest")));
                attributes.push(("nearest_mode", Attribute::Text(rounding)));
            }
        }
        attributes
    }

    /// No region of interest, then either scales or sizes.
    fn constants(&self) -> Vec<Tensor> {
        let none = Tensor::F32(vec![0], Vec::new());
        let scales: Option<Vec<f32>> =
            self.stretches.iter().map(|stretch| Some(stretch.scale?.0)).collect();
        match scales {
            Some(scales) => vec![none, Tensor::F32(vec![scales.len()], scales)],
            None => {
                let sizes: Vec<usize> = self.stretches.iter().map(|stretch| stretch.size).collect();
                vec![none.clone(), none, Tensor::integers(&sizes)]
            }
        }
    }

    /// The transpose, axis by axis: a product with the matrix that resizes it.
    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let image = g.shape(node.inputs[0]).to_vec();
        let mut dx = node.cotangent(g, 0)?;
        for stretch in &self.stretches {
            let (from, to) = (image[stretch.axis], stretch.size);
            if from.saturating_mul(to) > MOST_ELEMENTS {
                return Err(node.no_gradient(self.name(), " along an axis so long"));
            }
            let matrix = self.interpolation.matrix(from, to, stretch.ratio(from));
            let matrix = g.constant_f32(&[to, from], &matrix)?;
            let mut shape = g.shape(dx).to_vec();
            let (before, after) = (count(&shape[..stretch.axis]), &shape[stretch.axis + 1..]);
            let after = count(after);
            dx = if after == 1 {
                let rows = g.reshape(dx, &[before, to])?;
                g.matmul(rows, matrix)?
            } else {
                let columns = g.reshape(dx, &[before, to, after])?;
                let transposed = g.transpose(matrix, &[1, 0])?;
                g.matmul(transposed, columns)?
            };
            shape[stretch.axis] = from;
            dx = g.reshape(dx, &shape)?;
        }
        Ok(vec![Some(dx)])
    }
}

impl Graph {
    /// `x` `[n, c, ..]`, with one to three spatial axes, brought to these sizes.
    /// One size for every axis of `x`; the first two stay as they are.
    ///
    /// The scales, where given, take the place of the ratios of the sizes in the
    /// [`Coordinates`]; they must lead to these sizes, rounded down. There is no
    /// filter against aliasing.
    ///
    /// # Errors
    /// [`Error::Shape`] where the sizes and scales do not fit the shape of `x` or
    /// each other, [`Error::ElementType`] where `x` is not `f32`.
    ///
    /// # Source
    /// ONNX `Resize`.
    pub fn resize(
        &mut self,
        x: Value,
        sizes: &[usize],
        scales: Option<&[f32]>,
        interpolation: Interpolation,
    ) -> Result<Value, Error> {
        let shape = self.shape(x).to_vec();
        let lists = scales.is_none_or(|scales| scales.len() == shape.len());
        if !lists || sizes.len() != shape.len() || !(3..=5).contains(&shape.len()) {
            let required = format!("[n, c, ..] and a size for every axis, received {sizes:?}");
            return Err(Error::shape("Resize", required, &[self.ty(x)]));
        }
        // the kernels for linear interpolation want two axes or three
        if let [n, c, width] = shape[..] {
            let row = self.reshape(x, &[n, c, 1, width])?;
            let size = [sizes[0], sizes[1], 1, sizes[2]];
            let scale = scales.map(|s| [s[0], s[1], 1.0, s[2]]);
            let y = self.resize(row, &size, scale.as_ref().map(|s| &s[..]), interpolation)?;
            return self.squeeze(y, &[2]);
        }
        let stretch = |axis: usize| {
            let scale = scales.map(|scales| Float(scales[axis]));
            Stretch { axis, size: sizes[axis], scale }
        };
        let unchanged = |s: &Stretch| s.size == shape[s.axis] && s.scale.is_none_or(|r| r.0 == 1.0);
        let stretches: Vec<Stretch> =
            (0..shape.len()).map(stretch).filter(|s| !unchanged(s)).collect();
        if stretches.is_empty() {
            return Ok(x);
        }
        self.apply(Resize { stretches, interpolation }, &[x])
    }
}
