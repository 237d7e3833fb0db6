//! Encoders as PyTorch exports them, against PyTorch: loss, gradients, running
//! averages and twenty steps of AdamW.
//!
//! `exports/export.py` makes the files and says what they hold. Miniatures
//! stand in `exports/small`, the named encoders in `data/exports` once
//! `make exports` has made them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/golden.rs"]
mod golden;
#[path = "support/info_nce.rs"]
mod info_nce;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use std::path::PathBuf;

use golden::Runner;
use onnx_grad::Graph;

const STANDARD: Runner = Runner { graph: Graph::new, session: |bytes| runtime::session(bytes, 1) };

fn small() -> PathBuf {
    golden::folder("exports/small")
}

/// The folder of the named encoders, where the model is in it.
fn named(name: &str) -> Option<PathBuf> {
    let folder = golden::folder("../../../data/exports");
    let there = folder.join(format!("{name}.safetensors")).exists();
    if !there {
        eprintln!("skipped {name}: run `make exports` for it");
    }
    there.then_some(folder)
}

macro_rules! tests {
    ($($test:ident: $check:ident($name:literal);)*) => {
        $(
            #[test]
            fn $test() {
                STANDARD.$check(&small(), $name);
            }
        )*
    };
    (named $($test:ident: $check:ident($name:literal);)*) => {
        $(
            #[test]
            fn $test() {
                if let Some(folder) = named($name) {
                    STANDARD.$check(&folder, $name);
                }
            }
        )*
    };
}

tests! {
    small_resnet: check("resnet");
    small_densenet: check("densenet");
    small_efficientnet: check("efficientnet");
    small_convnext: check("convnext");
    small_vit: check("vit");
    small_vit_from_torchscript: check("vit_torchscript");
    small_swin: check("swin");
    small_resnet_3d: check("resnet_3d");
    small_folded_resnet: check_folded("resnet_folded");
}

tests! {
    named
    resnet18: check("resnet18");
    resnet50: check("resnet50");
    densenet121: check("densenet121");
    efficientnet_b0: check("efficientnet_b0");
    convnext_tiny: check("convnext_tiny");
    vit_small: check("vit_small");
    swin_tiny: check("swin_tiny");
    resnet18_3d: check("resnet18_3d");
    densenet121_3d: check("densenet121_3d");
    folded_resnet18: check_folded("resnet18_folded");
}
