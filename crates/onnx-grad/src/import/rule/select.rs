//! Operators that choose elements.

use super::Role::{Data, Fixed};
use super::arrange::reshaped;
use super::{Rule, size};
use crate::Error;
use crate::shape::{broadcast, count};

use super::super::Mode;
use super::super::call::{Call, Operand, Results, one, unsupported};
use super::super::constant::{Constant, Elements};
use super::super::fold;

pub(super) const RULES: &[Rule] = &[
    Rule { operator: "Dropout", roles: &[Data, Fixed], apply: dropout },
    Rule { operator: "Gather", roles: &[Data, Fixed], apply: gather },
    Rule { operator: "GatherND", roles: &[Data, Fixed], apply: gather_nd },
    Rule { operator: "ScatterND", roles: &[Fixed], apply: scatter_nd },
    Rule { operator: "Trilu", roles: &[Data, Fixed], apply: trilu },
    Rule { operator: "Where", roles: &[Fixed, Data], apply: where_ },
];

fn where_(c: &mut Call) -> Results {
    if c.known() {
        let (condition, a, b) = (c.required(0)?, c.required(1)?, c.required(2)?);
        let shape = broadcast(&a.shape, &b.shape)
            .and_then(|shape| broadcast(&condition.shape, &shape))
            .ok_or_else(|| Error::Malformed {
                reason: "shapes that do not broadcast".to_owned(),
            })?;
        c.fold(&shape)?;
        return one(fold::choose(&condition, &a, &b, &shape)?);
    }
    let (condition, a, b) = (c.value(0)?, c.value(1)?, c.value(2)?);
    one(c.g.where_(condition, a, b)?)
}

fn gather(c: &mut Call) -> Results {
    if !matches!((c.given(0), c.given(1)), (Some(Operand::Value(_)), Some(Operand::Repeated(..)))) {
        c.settle()?;
    }
    let ty = c.ty(0)?;
    let axis = c.axis(0, c.int("axis", 0)?)?;
    let depth = size(&ty, axis);
    let Operand::Constant(indices) = c.operand(1)?.clone() else {
        let (x, indices) = (c.value(0)?, c.value(1)?);
        return one(c.g.gather(x, indices, axis as i64)?);
    };
    let places = places(&indices, &[depth])?;
    chosen(c, axis, &indices.shape, places)
}

/// The blocks that rows of constant indices point at, as a Gather of the blocks
/// in one row.
fn gather_nd(c: &mut Call) -> Results {
    if c.int("batch_dims", 0)? != 0 {
        return Err(unsupported("a GatherND with batch_dims"));
    }
    let (shape, indices) = (c.shape(0)?, c.required(1)?);
    let split = indices.shape.split_last().filter(|(depth, _)| **depth > 0);
    let split = split.and_then(|(&depth, rows)| Some((rows, shape.split_at_checked(depth)?)));
    let Some((rows, (front, rest))) = split else {
        let reason = format!("indices of shape {:?} into {shape:?}", indices.shape);
        return Err(Error::Malformed { reason });
    };
    let places = places(&indices, front)?;
    let blocks = reshaped(c, &[&[count(front)], rest].concat())?;
    c.operands = blocks.into_iter().map(Some).collect();
    chosen(c, 0, rows, places)
}

/// For every row of indices its place among `sizes`, row-major; negative ones
/// count from the back.
fn places(indices: &Constant, sizes: &[usize]) -> Result<Vec<usize>, Error> {
    let Elements::Int(list) = &indices.elements else {
        return Err(unsupported("indices that are not integers"));
    };
    let place = |row: &[i64]| {
        row.iter().zip(sizes).try_fold(0usize, |place, (&i, &size)| {
            let i = if i < 0 { i.checked_add(size as i64)? } else { i };
            let i = usize::try_from(i).ok().filter(|&i| i < size)?;
            place.checked_mul(size)?.checked_add(i)
        })
    };
    let places = list.chunks_exact(sizes.len().max(1)).map(place).collect::<Option<_>>();
    places.ok_or_else(|| Error::Malformed { reason: format!("an index outside axes of {sizes:?}") })
}

/// The first operand at these places of an axis, which take a shape in its stead.
fn chosen(c: &mut Call, axis: usize, taken: &[usize], places: Vec<usize>) -> Results {
    let mut shape = c.shape(0)?;
    shape.splice(axis..=axis, taken.iter().copied());
    match c.operand(0)?.clone() {
        Operand::Constant(x) => {
            if c.fold(&shape)? == 0 {
                return one(fold::pick(&x, &shape, &[])?);
            }
            let strides = fold::row_major(&x.shape);
            let before = fold::places(&x.shape[..axis], &strides[..axis], 0);
            let after = fold::places(&x.shape[axis + 1..], &strides[axis + 1..], 0);
            let mut all = Vec::new();
            for base in before {
                for &place in &places {
                    all.extend(after.iter().map(|rest| base + place * strides[axis] + rest));
                }
            }
            one(fold::pick(&x, &shape, &all)?)
        }
        _ => match places.first() {
            None => Err(unsupported("a choice of nothing")),
            // neighbours are cut out, which costs no product on the way back
            Some(&first) if places.iter().enumerate().all(|(i, &p)| p == first + i) => {
                let x = c.value(0)?;
                let part = c.g.slice(x, axis as i64, first..first + places.len())?;
                one(c.g.reshape(part, &shape)?)
            }
            Some(_) => {
                let x = c.value(0)?;
                let places = places.iter().map(|&p| p as i64).collect();
                let places = Constant { shape: taken.to_vec(), elements: Elements::Int(places) };
                let places = places.bind(c.g)?;
                one(c.g.gather(x, places, axis as i64)?)
            }
        },
    }
}

/// The greatest axis over which random numbers are drawn.
const DRAWN: usize = 1 << 24;

fn dropout(c: &mut Call) -> Results {
    let ratio = c.number(1)?.unwrap_or(0.5);
    let Mode::Train { seed: Some(seed) } = c.walk.mode else {
        if c.wants(1) {
            let n = c.fold(&c.shape(0)?)?;
            let kept = Constant { shape: c.shape(0)?, elements: Elements::Bool(vec![true; n]) };
            return Ok(vec![c.operand(0)?.clone(), kept.into()]);
        }
        return one(c.operand(0)?.clone());
    };
    let x = c.value(0)?;
    limit("an axis of a Dropout", c.g.shape(x).iter().copied().max().unwrap_or(0), DRAWN)?;
    one(c.g.dropout(x, ratio, seed, c.site)?)
}

/// The upper or lower triangle.
fn trilu(c: &mut Call) -> Results {
    let k = c.integers(1)?.and_then(|k| k.first().copied()).unwrap_or(0);
    let upper = c.flag("upper", true)?;
    let x = c.value(0)?;
    one(c.g.trilu(x, upper, k)?)
}

fn limit(what: &str, received: usize, limit: usize) -> Result<(), Error> {
    match received <= limit {
        true => Ok(()),
        false => Err(Error::Limit { what: what.to_owned(), received, limit }),
    }
}

/// A constant with some of its parts replaced, as masks are built.
fn scatter_nd(c: &mut Call) -> Results {
    if c.text("reduction", "none")? != "none" {
        return Err(unsupported("a ScatterND with a reduction"));
    }
    let (x, indices, updates) = (c.required(0)?, c.required(1)?, c.required(2)?);
    let wrong = || Error::Malformed { reason: "indices or updates that do not fit".to_owned() };
    let &depth = indices.shape.last().ok_or_else(wrong)?;
    let (front, rest) = x.shape.split_at_checked(depth).ok_or_else(wrong)?;
    let block = count(rest);
    // for every element of the result its place in the operand and the updates
    let whole = c.fold(&x.shape)?;
    let mut from: Vec<usize> = (0..whole).collect();
    for (n, place) in places(&indices, front)?.into_iter().enumerate() {
        let target = from.get_mut(place * block..(place + 1) * block).ok_or_else(wrong)?;
        for (i, to) in target.iter_mut().enumerate() {
            *to = whole + n * block + i;
        }
    }
    let mut both = x.elements.clone();
    both.extend(&updates.elements).ok_or_else(wrong)?;
    let elements = both.pick(&from).ok_or_else(wrong)?;
    one(Constant { shape: x.shape.clone(), elements })
}
