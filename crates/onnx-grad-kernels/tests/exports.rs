//! Encoders as PyTorch exports them, trained with the kernels, against PyTorch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../onnx-grad/tests/support/golden.rs"]
mod golden;
#[path = "../../onnx-grad/tests/support/info_nce.rs"]
mod info_nce;
#[path = "../../onnx-grad/tests/support/reference.rs"]
mod reference;
#[path = "../../onnx-grad/tests/support/runtime.rs"]
mod runtime;

use golden::Runner;
use onnx_grad::{Graph, model};

const KERNELS: Runner = Runner {
    graph: || Graph::new().with_kernels(onnx_grad::Kernels::Cpu),
    session: |bytes| {
        let nodes = model::read(bytes).unwrap().graph.unwrap().node;
        assert!(nodes.iter().any(|node| node.domain == "onnx_grad"));
        let builder = runtime::builder(1);
        let domain = onnx_grad_kernels::domain().unwrap();
        builder.with_operators(domain).unwrap().commit_from_memory(bytes).unwrap()
    },
};

#[test]
fn kernels_train_exports_as_pytorch_does() {
    let folder = golden::folder("exports/small");
    let models = ["resnet", "densenet", "efficientnet", "convnext", "vit", "swin", "resnet_3d"];
    for name in models {
        KERNELS.check(&folder, name);
    }
    KERNELS.check_folded(&folder, "resnet_folded");
}

/// The named encoders, whose convolutions are those that the kernels are for.
#[test]
fn kernels_train_named_encoders_as_pytorch_does() {
    let folder = golden::folder("../../../data/exports");
    for name in [
        "resnet18",
        "resnet50",
        "densenet121",
        "efficientnet_b0",
        "convnext_tiny",
        "vit_small",
        "swin_tiny",
        "resnet18_3d",
        "densenet121_3d",
    ] {
        if folder.join(format!("{name}.onnx")).exists() {
            KERNELS.check(&folder, name);
        } else {
            eprintln!("skipped {name}: run `make exports` for it");
        }
    }
}
