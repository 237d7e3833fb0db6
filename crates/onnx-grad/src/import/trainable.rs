//! Which initializers are trained, which are running averages, and which are
//! merely constants.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ImportOptions;
use super::constant::{Constant, Elements};
use super::program::{Program, Slot, Step};
use super::remark::Remark;
use super::rule::Role;
use crate::Error;

/// Operators whose result is their first operand seen otherwise.
const VIEWS: [&str; 7] =
    ["Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// A named tensor and the slot that it stands in.
pub(super) struct Initializer {
    pub name: String,
    pub slot: Slot,
    pub constant: Arc<Constant>,
    /// Whether it was of another float type than `f32`.
    pub converted: bool,
}

/// Gives every user of an initializer its own, where all elements are equal.
///
/// Exporters merge initializers that are equal bit by bit: in a model that was
/// not trained yet all biases of one length are one. An Identity that hands
/// one on bears the name that the parameter had.
pub(super) fn part(
    program: &mut Program,
    initializers: Vec<Initializer>,
    options: &ImportOptions,
    remarks: &mut Vec<Remark>,
) -> Result<Vec<Initializer>, Error> {
    let mut users: HashMap<Slot, Vec<(usize, usize, Role)>> = HashMap::new();
    for (s, step) in program.steps.iter().enumerate() {
        let rule = step.rule()?;
        for (i, &slot) in step.inputs.iter().enumerate() {
            let role = rule.role(i);
            if let Some(slot) = slot.filter(|_| role != Role::Fixed) {
                users.entry(slot).or_default().push((s, i, role));
            }
        }
    }
    let mut names: HashSet<String> = initializers.iter().map(|i| i.name.clone()).collect();
    let mut all = Vec::new();
    for initializer in initializers {
        let users = users.remove(&initializer.slot).unwrap_or_default();
        let merged = match &initializer.constant.elements {
            Elements::Float(data) => data.windows(2).all(|pair| pair.first() == pair.last()),
            _ => false,
        };
        // a single number that no operator owns is one of arithmetic
        let owned = |&(_, _, role): &(usize, usize, Role)| role != Role::Data;
        let trained = initializer.constant.elements.len() > 1 || users.iter().any(owned);
        // a pattern means the name that the file has
        let mut named = options.tied.iter().chain(&options.constants);
        let apart = !named.any(|pattern| fits(pattern, &initializer.name));
        if merged && trained && apart && users.len() > 1 {
            for &(s, i, _) in users.get(1..).unwrap_or_default() {
                let Some(step) = program.steps.get_mut(s) else { continue };
                let Some(operand) = step.inputs.get_mut(i) else { continue };
                *operand = Some(program.slots);
                let mut name = match step.operator.as_str() {
                    "Identity" if !step.result.is_empty() => step.result.clone(),
                    _ => format!("{}@{}.{i}", initializer.name, step.name),
                };
                while !names.insert(name.clone()) {
                    name = format!("{name}'{}", program.slots);
                }
                let (slot, constant) = (program.slots, initializer.constant.clone());
                all.push(Initializer { name, slot, constant, converted: initializer.converted });
                program.slots += 1;
            }
            remarks.push(Remark::Parted { tensor: initializer.name.clone(), users: users.len() });
        }
        all.push(initializer);
    }
    Ok(all)
}

/// How the nodes use an initializer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uses {
    /// As an operand that a cotangent passes.
    pub data: bool,
    /// As an operator's own weight, scale or bias.
    pub own: bool,
    /// As a weight that decays.
    pub weight: bool,
    /// As a running average.
    pub statistic: bool,
}

/// What becomes of an initializer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Trained { decay: bool },
    Average,
    Constant,
}

impl Uses {
    pub fn fate(self, constant: &Constant, kept: bool) -> Fate {
        let Elements::Float(data) = &constant.elements else {
            return Fate::Constant;
        };
        if self.statistic {
            return Fate::Average;
        }
        let trained = match self.own || self.weight {
            true => !data.is_empty(),
            false => self.data && data.len() > 1 && !masks(data),
        };
        match trained && !kept {
            true => Fate::Trained { decay: self.weight && constant.shape.len() >= 2 },
            false => Fate::Constant,
        }
    }
}

/// Whether a tensor is an attention mask: nothing is added to some scores, and
/// others are put out of reach.
fn masks(data: &[f32]) -> bool {
    let mut hidden = data.iter().filter(|x| **x != 0.0).peekable();
    hidden.peek().is_some() && hidden.all(|x| *x <= -10.0 || !x.is_finite())
}

/// For each slot the one that it is a view of.
pub(super) fn origins(program: &Program) -> Vec<Slot> {
    let mut origin: Vec<Slot> = (0..program.slots).collect();
    for step in &program.steps {
        if let (true, Some(&Some(to)), Some(&Some(from))) =
            (views(step), step.outputs.first(), step.inputs.first())
        {
            origin[to] = origin[from];
        }
    }
    origin
}

/// How each slot with an initializer is used on the way to the outputs.
pub(super) fn uses(program: &Program, origin: &[Slot]) -> Result<HashMap<Slot, Uses>, Error> {
    let mut reached = vec![false; program.slots];
    for &(_, slot) in &program.outputs {
        reached[slot] = true;
    }
    let mut uses: HashMap<Slot, Uses> = HashMap::new();
    for step in program.steps.iter().rev() {
        let rule = step.rule()?;
        let passes = step.outputs.iter().flatten().any(|&slot| reached[slot]);
        for (i, &slot) in step.inputs.iter().enumerate() {
            let Some(slot) = slot else { continue };
            let role = rule.role(i);
            let uses = uses.entry(origin[slot]).or_default();
            match role {
                Role::Statistic => uses.statistic = true,
                Role::Fixed => {}
                _ if !passes => {}
                Role::Weight => (uses.weight, uses.data) = (true, true),
                Role::Own => (uses.own, uses.data) = (true, true),
                Role::Data if views(step) => {}
                Role::Data => uses.data = true,
            }
            if passes && matches!(role, Role::Data | Role::Weight | Role::Own) {
                reached[slot] = true;
            }
        }
    }
    // what is returned as it is, is used too
    for &(_, slot) in &program.outputs {
        uses.entry(origin[slot]).or_default().data = true;
    }
    Ok(uses)
}

fn views(step: &Step) -> bool {
    step.domain.is_empty() && VIEWS.contains(&step.operator.as_str())
}

/// The outputs that depend on an input through operands that a cotangent passes.
pub(super) fn depends(program: &Program) -> Result<Vec<bool>, Error> {
    let mut fed = vec![false; program.slots];
    for &(_, slot) in &program.inputs {
        fed[slot] = true;
    }
    for step in &program.steps {
        let rule = step.rule()?;
        let passes = step.inputs.iter().enumerate().any(|(i, slot)| {
            // indices are fed too, where tokens are looked up
            let looked_up = i == 1 && step.operator == "Gather";
            slot.is_some_and(|s| fed[s]) && (rule.role(i) != Role::Fixed || looked_up)
        });
        for &slot in step.outputs.iter().flatten() {
            fed[slot] |= passes;
        }
    }
    Ok(program.outputs.iter().map(|&(_, slot)| fed[slot]).collect())
}

/// Whether a name fits a pattern, where `*` stands for anything.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}
