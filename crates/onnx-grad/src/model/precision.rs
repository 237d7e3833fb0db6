//! Products and convolutions in a narrower type, all else in `f32`.

use std::collections::HashSet;
use std::str::FromStr;

use super::encode::attribute_proto;
use super::proto::NodeProto;
use crate::op::Attribute;

/// What matrix products and convolutions compute in.
///
/// Values, parameters, norms, losses and updates are `f32` in every case: a
/// product's operands are cast before it, and its result after it, forward and
/// backward alike.
///
/// # Source
/// Micikevicius et al. 2018, *Mixed precision training*, sections 3.1 and 3.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// IEEE single precision; TF32 where the device is set so.
    #[default]
    F32,
    /// Eight bits of mantissa, the range of `f32`.
    Bf16,
    /// Eleven bits of mantissa; gradients below 6e-8 vanish, so the loss is to
    /// be scaled up ([`LossScale`](crate::LossScale)).
    F16,
}

impl FromStr for Precision {
    type Err = &'static str;

    /// From its name; the error says which there are.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            _ => Err("\"f32\", \"bf16\" or \"f16\""),
        }
    }
}

impl Precision {
    /// The type's number in `TensorProto.DataType`, and the operators that the
    /// CUDA provider has for it; nothing for `f32`.
    fn narrow(self) -> Option<(i64, &'static [&'static str])> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some((16, &["Conv", "Gemm", "MatMul"])),
            Self::F16 => Some((10, &["Conv", "ConvTranspose", "Gemm", "MatMul"])),
        }
    }

    /// The nodes with casts around those that compute in this precision.
    pub(super) fn lower(self, nodes: Vec<NodeProto>) -> Vec<NodeProto> {
        let Some((narrow, operators)) = self.narrow() else { return nodes };
        let mut lowered = Vec::with_capacity(nodes.len());
        let mut known = HashSet::new();
        for mut node in nodes {
            if !node.domain.is_empty() || !operators.contains(&node.op_type.as_str()) {
                lowered.push(node);
                continue;
            }
            for input in node.input.iter_mut().filter(|name| !name.is_empty()) {
                let cast = format!("{input}.narrow");
                if known.insert(cast.clone()) {
                    lowered.push(cast_node(input.clone(), cast.clone(), narrow));
                }
                *input = cast;
            }
            let outputs = node.output.clone();
            for output in &mut node.output {
                output.push_str(".product");
            }
            let wide = node.output.clone().into_iter().zip(outputs);
            lowered.push(node);
            lowered.extend(wide.map(|(from, to)| cast_node(from, to, 1)));
        }
        lowered
    }
}

fn cast_node(from: String, to: String, element: i64) -> NodeProto {
    NodeProto {
        name: format!("{to}.cast"),
        input: vec![from],
        output: vec![to],
        op_type: "Cast".to_owned(),
        attribute: vec![attribute_proto("to", Attribute::Int(element))],
        ..NodeProto::default()
    }
}
