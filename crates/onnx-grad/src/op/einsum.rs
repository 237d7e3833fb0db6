//! Einstein summation, written with products, sums and transpositions.

use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, count};

/// The name of an axis; those of an ellipsis are counted from its right end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// An operand with the names of its axes.
#[derive(Clone, Debug)]
struct Term {
    value: Value,
    labels: Vec<Label>,
}

impl Term {
    fn has(&self, label: &Label) -> bool {
        self.labels.contains(label)
    }

    fn place(&self, label: &Label) -> Option<usize> {
        self.labels.iter().position(|own| own == label)
    }

    fn size(&self, g: &Graph, label: &Label) -> usize {
        self.place(label).map_or(1, |axis| g.shape(self.value)[axis])
    }

    fn sizes(&self, g: &Graph, labels: &[Label]) -> Vec<usize> {
        labels.iter().map(|label| self.size(g, label)).collect()
    }

    /// The value with its axes in another order.
    fn arranged(&self, g: &mut Graph, order: &[Label]) -> Result<Value, Error> {
        if self.labels == order {
            return Ok(self.value);
        }
        let perm: Vec<usize> = order.iter().filter_map(|label| self.place(label)).collect();
        g.transpose(self.value, &perm)
    }

    /// Drops axes of one where the other operand's are longer: they broadcast.
    fn drop_ones(&mut self, g: &mut Graph, other: &Self) -> Result<(), Error> {
        let one = |label: &Label| self.size(g, label) == 1 && other.size(g, label) != 1;
        let labels: Vec<Label> = self.labels.iter().filter(|l| !one(l)).copied().collect();
        let sizes = self.sizes(g, &labels);
        self.value = g.reshape(self.value, &sizes)?;
        self.labels = labels;
        Ok(())
    }

    /// Sums over the axes that `kept` refuses.
    fn retain(&mut self, g: &mut Graph, kept: impl Fn(&Label) -> bool) -> Result<(), Error> {
        let places = (0..self.labels.len()).filter(|&i| !kept(&self.labels[i]));
        let axes: Vec<i64> = places.map(|axis| axis as i64).collect();
        self.value = g.reduce_sum(self.value, &axes, false)?;
        self.labels.retain(kept);
        Ok(())
    }
}

/// The names of the operands' axes and of the result's.
fn parse(equation: &str, ranks: &[usize]) -> Option<(Vec<Vec<Label>>, Vec<Label>)> {
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let texts: Vec<&str> = left.split(',').collect();
    if texts.len() != ranks.len() {
        return None;
    }
    let mut widest = 0;
    let mut terms = Vec::new();
    for (text, &rank) in texts.iter().zip(ranks) {
        let letters = text.chars().filter(|&c| c != '.').count();
        let rest = rank.checked_sub(letters)?;
        let labels = labels(text, rest)?;
        if labels.len() != rank {
            return None;
        }
        widest = widest.max(rest);
        terms.push(labels);
    }
    let result = match right {
        Some(text) => labels(text, widest)?,
        None => {
            // the ellipsis, then what stands in the operands once, by the alphabet
            let mut letters: Vec<Label> = terms.concat();
            letters.retain(|label| matches!(label, Label::Letter(_)));
            letters.sort_unstable();
            let once = letters.chunk_by(|a, b| a == b).filter(|run| run.len() == 1);
            (0..widest).rev().map(Label::Ellipsis).chain(once.map(|run| run[0])).collect()
        }
    };
    let known = |label: &Label| terms.iter().any(|labels| labels.contains(label));
    let distinct = terms.iter().chain([&result]).all(|labels| {
        let mut sorted = labels.clone();
        sorted.sort_unstable();
        sorted.windows(2).all(|pair| pair[0] != pair[1])
    });
    (distinct && result.iter().all(known)).then_some((terms, result))
}

/// The names of a term's axes, with an ellipsis of so many axes.
fn labels(text: &str, ellipsis: usize) -> Option<Vec<Label>> {
    let letters = |text: &str| {
        text.chars().map(|c| c.is_ascii_alphabetic().then_some(Label::Letter(c))).collect()
    };
    match text.split_once("...") {
        Some((before, after)) => {
            let mut labels: Vec<Label> = letters(before)?;
            let after: Vec<Label> = letters(after)?;
            labels.extend((0..ellipsis).rev().map(Label::Ellipsis));
            labels.extend(after);
            Some(labels)
        }
        None => letters(text),
    }
}

/// The product of two terms, summed over what is in both and not in the result.
fn product(g: &mut Graph, a: &Term, b: &Term, result: &[Label]) -> Result<Term, Error> {
    let inner: Vec<Label> =
        a.labels.iter().filter(|l| b.has(l) && !result.contains(l)).copied().collect();
    if inner.is_empty() {
        // element by element, in the order of the result
        let aligned = [a, b].map(|term| {
            let own: Vec<Label> = result.iter().filter(|l| term.has(l)).copied().collect();
            let shape = term.sizes(g, result);
            let value = term.arranged(g, &own)?;
            g.reshape(value, &shape)
        });
        let [a, b] = aligned;
        return Ok(Term { value: g.mul(a?, b?)?, labels: result.to_vec() });
    }
    let of = |first: bool, second: bool| -> Vec<Label> {
        result.iter().filter(|l| a.has(l) == first && b.has(l) == second).copied().collect()
    };
    let (batch, rows, columns) = (of(true, true), of(true, false), of(false, true));
    let left = a.arranged(g, &[&batch[..], &rows, &inner].concat())?;
    let right = b.arranged(g, &[&batch[..], &inner, &columns].concat())?;
    let (batch_sizes, row_sizes) = (a.sizes(g, &batch), a.sizes(g, &rows));
    let (inner_sizes, column_sizes) = (a.sizes(g, &inner), b.sizes(g, &columns));
    // rows stay axes where the product allows it: a batch among them stays one
    let row_axes = match batch.is_empty() && !rows.is_empty() {
        true => row_sizes.clone(),
        false => vec![count(&row_sizes)],
    };
    let depth = count(&inner_sizes);
    let left = g.reshape(left, &[&batch_sizes[..], &row_axes, &[depth]].concat())?;
    let right = g.reshape(right, &[&batch_sizes[..], &[depth, count(&column_sizes)]].concat())?;
    let value = g.matmul(left, right)?;
    let value = g.reshape(value, &[batch_sizes, row_sizes, column_sizes].concat())?;
    Ok(Term { value, labels: [batch, rows, columns].concat() })
}

impl Graph {
    /// The sum of products of one or two `f32` operands that the equation says.
    ///
    /// Letters name axes, `...` stands for any number of leading ones, which
    /// broadcast; an axis of size one broadcasts under a letter, too. Without
    /// `->` the result has the ellipsis and the letters that occur once.
    ///
    /// # Errors
    /// [`Error::Attribute`] where the equation does not fit the operands, has
    /// another number of them, or names an axis twice in one (a diagonal);
    /// [`Error::Shape`] where axes of one name differ in size;
    /// [`Error::ElementType`] where an operand is not `f32`.
    ///
    /// # Source
    /// ONNX `Einsum`; written with `Transpose`, `Reshape`, `ReduceSum` and
    /// `MatMul` or `Mul`, which carry the gradient.
    ///
    /// # Examples
    /// ```
    /// # use onnx_grad::{ElementType, Graph};
    /// let mut g = Graph::new();
    /// let q = g.input("q", ElementType::F32, &[2, 3, 5, 4]);
    /// let k = g.input("k", ElementType::F32, &[2, 3, 6, 4]);
    /// let scores = g.einsum("bhqd,bhkd->bhqk", &[q, k])?;
    /// assert_eq!(g.shape(scores), [2, 3, 5, 6]);
    /// # Ok::<(), onnx_grad::Error>(())
    /// ```
    pub fn einsum(&mut self, equation: &str, operands: &[Value]) -> Result<Value, Error> {
        let ranks: Vec<usize> = operands.iter().map(|&x| self.shape(x).len()).collect();
        let wrong = || {
            let required = format!(
                "an equation for one or two operands of ranks {ranks:?}, no axis twice in one"
            );
            Error::attribute("Einsum", required, equation)
        };
        let (names, result) = parse(equation, &ranks).ok_or_else(wrong)?;
        let types: Vec<_> = operands.iter().map(|&x| self.ty(x)).collect();
        if types.iter().any(|ty| ty.element != ElementType::F32) {
            return Err(Error::element_type("Einsum", "F32", &types));
        }
        let mut named = operands.iter().zip(names).map(|(&value, labels)| Term { value, labels });
        let term = match (named.next(), named.next(), named.next()) {
            (Some(mut a), None, None) => {
                a.retain(self, |label| result.contains(label))?;
                a
            }
            (Some(mut a), Some(mut b), None) => {
                let clash = a.labels.iter().any(|label| {
                    let sizes = (a.size(self, label), b.size(self, label));
                    b.has(label) && sizes.0 != sizes.1 && sizes.0 != 1 && sizes.1 != 1
                });
                if clash {
                    let required = format!("sizes that agree for {equation:?}");
                    return Err(Error::shape("Einsum", required, &types));
                }
                a.drop_ones(self, &b)?;
                b.drop_ones(self, &a)?;
                // what only one operand has is summed before the product
                a.retain(self, |label| b.has(label) || result.contains(label))?;
                b.retain(self, |label| a.has(label) || result.contains(label))?;
                product(self, &a, &b, &result)?
            }
            _ => return Err(wrong()),
        };
        term.arranged(self, &result)
    }
}
