//! Sums, means and norms over axes, and Softmax.

use super::Role::{Data, Fixed};
use super::Rule;
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{self, ElementType};

use super::super::call::{Call, Operand, Results, one};
use super::super::constant::Constant;
use super::super::fold;

type Method = fn(&mut Graph, Value, &[i64], bool) -> Result<Value, Error>;

macro_rules! rules {
    ($($operator:literal => $apply:expr;)+) => {
        pub(super) const RULES: &[Rule] =
            &[$(Rule { operator: $operator, roles: &[Data, Fixed], apply: $apply }),+];
    };
}

rules! {
    "LogSoftmax" => |c| softmax(c, Graph::log_softmax);
    "ReduceL1" => |c| reduce(c, Graph::reduce_l1, None);
    "ReduceL2" => |c| reduce(c, Graph::reduce_l2, None);
    "ReduceMax" => |c| reduce(c, Graph::reduce_max, Some(|a, b| Some(a.max(b))));
    "ReduceMean" => |c| reduce(c, Graph::reduce_mean, None);
    "ReduceMin" => |c| reduce(c, Graph::reduce_min, Some(|a, b| Some(a.min(b))));
    "ReduceProd" => reduce_prod;
    "ReduceSum" => |c| reduce(c, Graph::reduce_sum, Some(i64::checked_add));
    "ReduceSumSquare" => |c| reduce(c, Graph::reduce_sum_square, None);
    "Softmax" => |c| softmax(c, Graph::softmax);
}

fn softmax(c: &mut Call, method: fn(&mut Graph, Value, i64) -> Result<Value, Error>) -> Results {
    let x = c.value(0)?;
    let axis = c.int("axis", -1)?;
    one(method(c.g, x, axis)?)
}

fn reduce(c: &mut Call, method: Method, integers: Option<fn(i64, i64) -> Option<i64>>) -> Results {
    let ty = c.ty(0)?;
    let given = c.ints_or_operand("axes", 1)?.unwrap_or_default();
    let axes = shape::axes(c.rule.operator, &given, &ty)?;
    let axes = match axes.is_empty() {
        true if c.flag("noop_with_empty_axes", false)? => axes,
        true => (0..ty.shape.len()).collect(),
        false => axes,
    };
    let keep = c.flag("keepdims", true)?;
    if let (Operand::Constant(x), Some(f)) = (c.operand(0)?.clone(), integers)
        && ty.element != ElementType::F32
    {
        c.fold(&ty.shape)?;
        let mut kept = ty.shape.clone();
        axes.iter().for_each(|&axis| kept[axis] = 1);
        c.fold(&kept)?;
        let folded = fold::reduce(&x, &kept, f)?;
        let kept = folded.shape.iter().enumerate().filter(|(a, _)| keep || !axes.contains(a));
        let shape = kept.map(|(_, &n)| n).collect();
        return one(Constant { shape, elements: folded.elements });
    }
    let x = c.value(0)?;
    let axes: Vec<i64> = axes.into_iter().map(|a| a as i64).collect();
    one(method(c.g, x, &axes, keep)?)
}

/// A product, of sizes alone.
fn reduce_prod(c: &mut Call) -> Results {
    fn none(_: &mut Graph, _: Value, _: &[i64], _: bool) -> Result<Value, Error> {
        Err(Error::Unsupported { what: "a product of floats over axes".to_owned() })
    }
    reduce(c, none, Some(i64::checked_mul))
}
