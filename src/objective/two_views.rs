//! NT-Xent and its supervised kin: 2 K views, each against all others.

use onnx_grad::{Error, Graph, Value};

use super::{
    Inputs, Loss,
    cross_entropy::{cross_entropy, shares},
    normalised, scores,
};

/// The loss of 2 K views in nats: every view picks its pair's other view among
/// the 2 K − 1 views that are not itself. Views of its own side that show its
/// positives' anatomy are left out.
///
/// # Source
/// Chen et al. 2020 (SimCLR), eq. 1.
pub(super) fn nt_xent(g: &mut Graph, inputs: &Inputs) -> Result<Loss, Error> {
    let targets = inputs.targets;
    let backward = g.transpose(targets, &[1, 0])?;
    let zero = g.scalar(0.0);
    let (a, b) = (g.less(zero, targets)?, g.less(zero, backward)?);
    let same = g.or(a, b)?;
    let mut allowed = Vec::new();
    for of_side in [inputs.allowed, g.transpose(inputs.allowed, &[1, 0])?] {
        allowed.push([g.where_(same, zero, of_side)?, of_side]);
    }
    let none = g.mul(targets, zero)?;
    let targets = quarters(g, [[none, targets], [backward, none]])?;
    let allowed = quarters(g, [[allowed[0][0], allowed[0][1]], [allowed[1][1], allowed[1][0]]])?;
    all_views(g, inputs, targets, allowed)
}

/// The loss of 2 K views in nats, each against all others, where all views with a
/// share of a row of `targets`, and those of its own side, are its positives.
///
/// # Source
/// Khosla et al. 2020, *Supervised contrastive learning*, eq. 2 (L_out), with
/// shares in place of 1/|P| where targets are uneven.
pub(super) fn sup_con(g: &mut Graph, inputs: &Inputs) -> Result<Loss, Error> {
    let others = others(g, g.shape(inputs.targets)[0])?;
    let mut sides = Vec::new();
    for whole in [inputs.targets, inputs.allowed] {
        let backward = g.transpose(whole, &[1, 0])?;
        let own = [g.mul(whole, others)?, g.mul(backward, others)?];
        sides.push(quarters(g, [[own[0], whole], [backward, own[1]]])?);
    }
    all_views(g, inputs, sides[0], sides[1])
}

/// The cross entropy of 2 K views by targets and a mask `[2 K, 2 K]`.
fn all_views(
    g: &mut Graph,
    inputs: &Inputs,
    targets: Value,
    allowed: Value,
) -> Result<Loss, Error> {
    let views = g.concat(&[inputs.anchors, inputs.positives], 0)?;
    let views = normalised(g, views)?;
    let scores = scores(g, views, views, inputs.temperature)?;
    let others = others(g, g.shape(views)[0])?;
    let allowed = g.mul(allowed, others)?;
    let targets = shares(g, targets)?;
    cross_entropy(g, scores, targets, allowed)
}

/// `[2 K, 2 K]` of four `[K, K]`, row by row.
fn quarters(g: &mut Graph, rows: [[Value; 2]; 2]) -> Result<Value, Error> {
    let [upper, lower] = rows;
    let (upper, lower) = (g.concat(&upper, 1)?, g.concat(&lower, 1)?);
    g.concat(&[upper, lower], 0)
}

/// 1 everywhere but on the diagonal.
fn others(g: &mut Graph, count: usize) -> Result<Value, Error> {
    let mut others = vec![1.0; count * count];
    others.iter_mut().step_by(count + 1).for_each(|v| *v = 0.0);
    g.constant_f32(&[count, count], &others)
}
