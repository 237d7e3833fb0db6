//! The maximum of a sliding window.

use super::pool::Pool;
use super::{Attribute, KERNELS, Operator, Pullback, Sliding};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType, count};

/// Above so many classes of windows the graph of the gradient would not be one.
const MOST_CLASSES: usize = 4096;

/// Outputs the maxima, and the row-major place of each in the whole operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MaxPool {
    pool: Pool,
}

impl Operator for MaxPool {
    fn name(&self) -> &'static str {
        "MaxPool"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let shape = self.pool.infer(self.name(), inputs)?;
        Ok([ElementType::F32, ElementType::I64].map(|ty| TensorType::new(ty, &shape[..])).into())
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        self.pool.attributes()
    }

    /// Without the places ONNX Runtime takes a much faster kernel.
    fn optional_outputs(&self) -> bool {
        true
    }

    /// Every cotangent is put where its maximum stood.
    ///
    /// Windows that overlap may share a maximum, and a scatter is deterministic
    /// only where no place is named twice. So the windows are dealt out into
    /// classes of such as do not overlap, every so many along each axis, and a
    /// class at a time is added to what the classes before it gave.
    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let (x, places) = (node.inputs[0], node.outputs[1]);
        let dy = node.cotangent(g, 0)?;
        if g.kernels() {
            let op = MaxPoolGrad { pool: self.pool.clone() };
            return Ok(vec![Some(g.apply(op, &[dy, x, node.outputs[0]])?)]);
        }
        let shape = g.shape(dy).to_vec();
        let spatial = 0..self.pool.kernel.len();
        let mut apart = vec![1; shape.len()];
        for axis in spatial {
            let windows = self.pool.reach(axis).div_ceil(self.pool.sliding.strides[axis]);
            apart[axis + 2] = windows.min(shape[axis + 2]);
        }
        let classes = count(&apart);
        if classes > MOST_CLASSES {
            return Err(node.no_gradient(self.name(), " with so many windows that overlap"));
        }
        let steps: Vec<i64> = apart.iter().map(|&n| n as i64).collect();
        let image = g.shape(x).to_vec();
        let mut dx = g.zeros(&[count(&image)])?;
        for class in 0..classes {
            let (mut starts, mut sizes, mut rest) = (vec![0; shape.len()], shape.clone(), class);
            for axis in 2..shape.len() {
                (starts[axis], rest) = (rest % apart[axis], rest / apart[axis]);
                sizes[axis] = (shape[axis] - starts[axis]).div_ceil(apart[axis]);
            }
            let flat = [count(&sizes)];
            let at = g.strided_slice(places, &starts, &sizes, &steps)?;
            let at = g.reshape(at, &flat)?;
            let part = g.strided_slice(dy, &starts, &sizes, &steps)?;
            let mut part = g.reshape(part, &flat)?;
            if class > 0 {
                let before = g.take_elements(dx, at)?;
                part = g.add(before, part)?;
            }
            dx = g.scatter_elements(dx, at, part)?;
        }
        Ok(vec![Some(g.reshape(dx, &image)?)])
    }
}

/// The cotangent of x, from that of y, x and y.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MaxPoolGrad {
    pool: Pool,
}

impl Operator for MaxPoolGrad {
    fn name(&self) -> &'static str {
        "MaxPoolGrad"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(inputs.get(1).map(|&x| x.clone()).into_iter().collect())
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        self.pool.attributes()
    }
}

impl Graph {
    /// The maximum of every window of `x` `[n, c, ..]`, `kernel` elements along
    /// each of one to three spatial axes. The padding never is the maximum, and
    /// at a tie the cotangent goes to the first element in row-major order.
    ///
    /// Where `ceil`, elements left over behind the last window get one more,
    /// unless it would begin in the padding after them.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lists and the axes do not fit, a window does,
    /// or could, lie in the padding alone; [`Error::ElementType`] where `x` is
    /// not `f32`.
    ///
    /// # Source
    /// ONNX `MaxPool`.
    pub fn max_pool(
        &mut self,
        x: Value,
        kernel: &[usize],
        sliding: &Sliding,
        ceil: bool,
    ) -> Result<Value, Error> {
        let pool = Pool { kernel: kernel.to_vec(), sliding: sliding.clone(), ceil };
        self.apply(MaxPool { pool }, &[x])
    }
}
