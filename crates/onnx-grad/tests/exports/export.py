"""Writes encoders as PyTorch exports them, and beside each what PyTorch makes of it.

    python export.py [FOLDER] [--small] [--only NAME ...]

Without --small: the named encoders, about 1.5 GB, into data/exports of the
repository, which git ignores. With --small: the same classes in miniature, into
the folder small beside this script, which git keeps.

NAME.onnx is what torch.onnx.export writes of a network in training mode, with
random weights. NAME.safetensors holds, under the names of the initializers:

    input               the batch; row n of its first half belongs to row n of the second
    loss                symmetric InfoNCE of the normalised features, in float64
    grad.PARAMETER      its gradient, computed in float64, kept in float32
    buffer.BUFFER       running averages after the forward pass
    population.BUFFER   the same with the variance over n, as ONNX has it, not n - 1, as PyTorch has it
    curve32, curve64    the loss before each of 20 steps of AdamW in either precision; in
                        float64 for the miniatures alone

and as metadata the settings, the parameters that weight decay concerns, and how
far PyTorch's own float32 gradients are from these.
"""

import argparse
import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import monai
import numpy
import onnx
import timm
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

HERE = Path(__file__).resolve().parent
BATCH = 8
TEMPERATURE = 0.1
STEPS = 20
WEIGHT_DECAY = 0.05
DYNAMIC = torch.export.Dim("batch")

# the loss, and by the names of the parameters its gradients
Gradients = tuple[float, dict[str, Tensor]]

# The exporters' settings. `plain` keeps BatchNorm, which `default` folds into
# convolutions although the network is training.
EXPORTERS: dict[str, dict] = {
    "default": {},
    "plain": {"optimize": False},
    "torchscript": {
        "dynamo": False,
        "training": torch.onnx.TrainingMode.TRAINING,
        "do_constant_folding": False,
    },
}


@dataclass
class Export:
    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    exporter: str
    opset: int | None = None
    dynamic: bool = False
    external: bool = False
    # so that the loss does not fall to where rounding alone decides it
    lr: float = 1e-4
    # how far from zero BatchNorm's biases are, and that of the last: where it is
    # far, all features point the same way, and their gradients cancel
    away: tuple[float, float] = (3.0, 3.0)
    options: dict = field(init=False)

    def __post_init__(self) -> None:
        self.options = dict(EXPORTERS[self.exporter], external_data=self.external)
        if self.opset is not None:
            self.options["opset_version"] = self.opset
        if self.dynamic and self.exporter == "torchscript":
            self.options["dynamic_axes"] = {"image": {0: "batch"}, "feature": {0: "batch"}}
        elif self.dynamic:
            self.options["dynamic_shapes"] = ({0: DYNAMIC},)


def headless(network: nn.Module, head: str) -> nn.Module:
    """The network up to what its classifier reads."""
    owner, _, name = head.rpartition(".")
    setattr(network.get_submodule(owner), name, nn.Identity())
    return network


def swin(**settings) -> nn.Module:
    return headless(models.SwinTransformer(stochastic_depth_prob=0.0, **settings), "head")


def convnext() -> nn.Module:
    stages = [models.convnext.CNBlockConfig(4, 6, 1), models.convnext.CNBlockConfig(6, None, 1)]
    return headless(models.ConvNeXt(stages, stochastic_depth_prob=0.0), "classifier.2")


def efficientnet() -> nn.Module:
    blocks = [(1, 3, 1, 6, 6, 1), (4, 5, 2, 6, 8, 1)]
    blocks = [models.efficientnet.MBConvConfig(e, k, s, i, o, n) for e, k, s, i, o, n in blocks]
    network = models.EfficientNet(blocks, 0.0, stochastic_depth_prob=0.0, last_channel=16)
    return headless(network, "classifier")


def resnet() -> nn.Module:
    """torchvision's ResNet cut to the stem and a block of either kind."""
    network = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1])
    network.conv1 = nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False)
    network.bn1, network.inplanes = nn.BatchNorm2d(4), 4
    network.layer1 = network._make_layer(models.resnet.BasicBlock, 4, 1)
    network.layer2 = network._make_layer(models.resnet.BasicBlock, 6, 1, stride=2)
    network.layer3, network.layer4 = nn.Identity(), nn.Identity()
    return headless(network, "fc")


def densenet_3d(**settings) -> nn.Module:
    network = monai.networks.nets.DenseNet(spatial_dims=3, in_channels=1, out_channels=2, **settings)
    return headless(network, "class_layers.out")


def small_swin() -> nn.Module:
    """Both blocks of the first stage, and the merging of patches after it."""
    network = swin(
        patch_size=[2, 2], embed_dim=6, depths=[2, 1], num_heads=[2, 1], window_size=[3, 3],
        mlp_ratio=2.0,
    )
    network.features[3] = nn.Identity()
    return network


def small_resnet_3d() -> nn.Module:
    network = monai.networks.nets.ResNet(
        "basic", [1, 1, 1, 1], [3, 4, 5, 6],
        spatial_dims=3, n_input_channels=1, feed_forward=False, conv1_t_size=3,
    )
    network.layer3, network.layer4 = nn.Identity(), nn.Identity()
    return network


NAMED = {
    "resnet18": Export(
        lambda: headless(models.resnet18(), "fc"), (3, 64, 64), "plain", external=True
    ),
    "resnet50": Export(
        lambda: headless(models.resnet50(), "fc"), (3, 64, 64), "torchscript", opset=13, dynamic=True
    ),
    "densenet121": Export(
        lambda: headless(models.densenet121(), "classifier"),
        (3, 64, 64), "plain", dynamic=True, external=True,
    ),
    "efficientnet_b0": Export(
        lambda: headless(
            models.efficientnet_b0(stochastic_depth_prob=0.0, dropout=0.0), "classifier"
        ),
        (3, 64, 64), "torchscript", opset=17, dynamic=True,
    ),
    "convnext_tiny": Export(
        lambda: timm.create_model("convnext_tiny", num_classes=0),
        (3, 64, 64), "default", dynamic=True, external=True, lr=1e-5,
    ),
    "vit_small": Export(
        lambda: timm.create_model("vit_small_patch16_224", num_classes=0, img_size=64),
        (3, 64, 64), "default", dynamic=True, external=True, lr=2e-6,
    ),
    "swin_tiny": Export(
        lambda: swin(
            patch_size=[4, 4], embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24],
            window_size=[7, 7],
        ),
        (3, 64, 64), "plain", external=True, lr=1e-5,
    ),
    "resnet18_3d": Export(
        lambda: monai.networks.nets.resnet18(
            spatial_dims=3, n_input_channels=1, feed_forward=False
        ),
        (1, 20, 20, 20), "plain", lr=1e-5, away=(2.0, 0.2),
    ),
    "densenet121_3d": Export(
        lambda: densenet_3d(init_features=64, growth_rate=32, block_config=(6, 12, 24, 16)),
        (1, 64, 32, 32), "torchscript", opset=15, dynamic=True, lr=3e-6,
        away=(2.0, 0.2),
    ),
    # the exporter's default, which folds BatchNorm away
    "resnet18_folded": Export(
        lambda: headless(models.resnet18(), "fc"), (3, 64, 64), "default", external=True
    ),
}

SMALL = {
    "resnet": Export(resnet, (3, 11, 11), "plain"),
    "resnet_folded": Export(resnet, (3, 11, 11), "default", external=True),
    "densenet": Export(
        lambda: headless(
            models.DenseNet(
                growth_rate=4, block_config=(2, 1), num_init_features=6, bn_size=2
            ),
            "classifier",
        ),
        (3, 11, 11), "torchscript", opset=13, dynamic=True,
    ),
    "efficientnet": Export(efficientnet, (3, 8, 8), "torchscript", opset=17, dynamic=True),
    "convnext": Export(convnext, (3, 8, 8), "default", dynamic=True),
    "vit": Export(
        lambda: timm.models.VisionTransformer(
            img_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=2, mlp_ratio=2,
            num_classes=0,
        ),
        (3, 8, 8), "default", dynamic=True,
    ),
    "vit_torchscript": Export(
        lambda: timm.models.VisionTransformer(
            img_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=2, mlp_ratio=2,
            num_classes=0,
        ),
        (3, 8, 8), "torchscript", opset=16, dynamic=True,
    ),
    "swin": Export(small_swin, (3, 10, 10), "plain"),
    "resnet_3d": Export(small_resnet_3d, (1, 7, 7, 7), "plain"),
}


def randomise(
    network: nn.Module, generator: torch.Generator, away: tuple[float, float]
) -> None:
    """Moves what a fresh network has as zeros, ones and 1e-6, which would hide mistakes.

    BatchNorm's biases keep most values away from zero, where rounding alone
    decides whether a rectifier lets a gradient pass.
    """

    def normal(x: Tensor, mean: float | Tensor, deviation: float) -> None:
        x.copy_(mean + deviation * torch.randn(x.shape, generator=generator))

    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("gamma", "layer_scale", "_token", "pos_embed", "_table")):
                normal(parameter, 0.5, 0.5)
            elif parameter.ndim == 1:
                normal(parameter, 0.0 if name.endswith("bias") else 1.0, 0.1)
        for module in network.modules():
            if isinstance(module, nn.Linear):
                normal(module.weight, 0.0, module.in_features**-0.5)
        norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            off = away[norm is norms[-1]]
            on = torch.rand(norm.bias.shape, generator=generator) < 0.7
            normal(norm.bias, torch.where(on, off, -off), 0.1)
            normal(norm.running_mean, 0.0, 0.1)
            norm.running_var.copy_(0.5 + torch.rand(norm.bias.shape, generator=generator))


def info_nce(features: Tensor) -> Tensor:
    """Symmetric InfoNCE of the two halves of the batch, as src/objective/info_nce.rs has it."""
    features = features / (features.square().sum(1, keepdim=True) + 1e-12).sqrt()
    anchors, positives = features.chunk(2)
    logits = anchors @ positives.T / TEMPERATURE
    labels = torch.arange(len(logits))
    cross_entropy = nn.functional.cross_entropy
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def gradients(network: nn.Module, x: Tensor) -> Gradients:
    network = copy.deepcopy(network).to(x.dtype)
    loss = info_nce(network(x))
    loss.backward()
    grads = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return loss.item(), grads


def averages(network: nn.Module, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Buffers after the pass, and the running variances among them, had PyTorch divided by n."""
    network = copy.deepcopy(network).to(x.dtype)
    variances = {}

    def record(name: str, norm: nn.Module, old: Tensor) -> Callable:
        def hook(_module, inputs) -> None:
            axes = [0, *range(2, inputs[0].ndim)]
            batch = inputs[0].detach().var(axes, correction=0)
            variances[name] = (1 - norm.momentum) * old + norm.momentum * batch

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            old = module.running_var.clone()
            module.register_forward_pre_hook(record(f"{name}.running_var", module, old))
    with torch.no_grad():
        network(x)
    return dict(network.named_buffers()), variances


def decayed(network: nn.Module) -> set[str]:
    """The weights of convolutions and linear layers, the only ones that decay."""
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    modules = network.named_modules()
    return {f"{name}.weight".removeprefix(".") for name, m in modules if isinstance(m, kinds)}


def curve(network: nn.Module, x: Tensor, lr: float) -> Tensor:
    """The loss before each step of AdamW."""
    network = copy.deepcopy(network).to(x.dtype)
    pulled = decayed(network)
    groups = [
        {"params": [p for n, p in network.named_parameters() if (n in pulled) == pull],
         "weight_decay": WEIGHT_DECAY if pull else 0.0}
        for pull in (True, False)
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8)
    losses = []
    for _ in range(STEPS):
        loss = info_nce(network(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


def relative_error(
    received: dict[str, Tensor], expected: dict[str, Tensor], zero: float = 1e-9
) -> float:
    """The greatest over the parameters, measured as tests/exports.rs measures it."""

    def size(x: Tensor) -> float:
        return x.double().square().mean().sqrt().item()

    scale = max(size(g) for g in expected.values())
    errors = []
    for name, g in expected.items():
        floor = 1e-3 if size(g) > zero * scale else 1e-2
        errors.append(size(received[name] - g) / max(size(g), floor * scale))
    return max(errors)


def jittered(network: nn.Module, x: Tensor, seed: int) -> tuple[nn.Module, Tensor]:
    """Network and input off by a few roundings of float32."""
    generator = torch.Generator().manual_seed(seed)
    network = copy.deepcopy(network)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1 + 3e-7 * torch.randn(p.shape, generator=generator))
        return network, x * (1 + 3e-7 * torch.randn(x.shape, generator=generator))


def well_conditioned(spec: Export) -> tuple[nn.Module, Tensor, Gradients]:
    """The first network and input whose gradients roundings do not change, and those in float64.

    A rectifier near zero or a maximum of two near equals can be decided either
    way in float32, and then no two runtimes agree.
    """
    for seed in range(50):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        network = spec.network().train()
        randomise(network, generator, spec.away)
        x = torch.randn(BATCH, *spec.shape, generator=generator)
        half = BATCH // 2
        x[half:] = 0.7 * x[:half] + 0.7 * x[half:]
        rounded = [gradients(*jittered(network, x, i))[1] for i in range(2)]
        # first without float64, which takes long in three dimensions
        if relative_error(*rounded, zero=1e-5) > 2e-4:
            continue
        exact = gradients(network, x.double())
        if all(relative_error(grads, exact[1]) < 5e-5 for grads in rounded):
            return network, x, exact
    raise SystemExit("no seed gives gradients that float32 can hold")


@dataclass
class Place:
    """Where a tensor of the network went in the file."""

    name: str
    shape: list[int]
    transposed: bool

    def lay(self, x: Tensor) -> Tensor:
        return (x.T if self.transposed else x).reshape(self.shape).float().contiguous()


def places(path: Path, tensors: dict[str, Tensor]) -> dict[str, Place]:
    """For each tensor, the initializer with its elements, be it renamed, transposed or reshaped."""
    found = {}
    by_value = {}
    for name, x in tensors.items():
        x = x.detach().float()
        by_value[x.numpy().tobytes()] = (name, False)
        if x.ndim == 2 and 1 not in x.shape:
            by_value[x.T.contiguous().numpy().tobytes()] = (name, True)
    for initializer in onnx.load(path).graph.initializer:
        value = numpy_helper.to_array(initializer)
        if value.dtype == numpy.float32 and value.tobytes() in by_value:
            name, transposed = by_value[value.tobytes()]
            # a square matrix that equals its transpose keeps its shape
            assert name not in found, f"{path}: {name} is there twice"
            found[name] = Place(initializer.name, list(value.shape), transposed)
    return found


def strip(path: Path) -> None:
    """Takes the paths and sources of the machine out of a file that git keeps."""
    model = onnx.load(path, load_external_data=False)
    model.graph.ClearField("value_info")
    for node in model.graph.node:
        kept = [p for p in node.metadata_props if p.key == "pkg.onnxscript.rewriter.rule_name"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


def export(name: str, spec: Export, folder: Path, small: bool) -> None:
    network, x, (loss, grads) = well_conditioned(spec)
    path = folder / f"{name}.onnx"
    for stale in (path, path.with_name(path.name + ".data")):
        stale.unlink(missing_ok=True)
    torch.onnx.export(
        copy.deepcopy(network), (x,), path,
        input_names=["image"], output_names=["feature"], verbose=False, **spec.options,
    )
    if small:
        strip(path)
    with torch.no_grad():
        # the older exporter traces in training mode, which moves the running averages
        for initializer in onnx.load(path).graph.initializer:
            if initializer.name in dict(network.named_buffers()):
                stored = torch.tensor(numpy_helper.to_array(initializer))
                network.get_buffer(initializer.name).copy_(stored)

    golden = {"input": x}
    metadata = {
        "torch": torch.__version__, "temperature": TEMPERATURE, "lr": spec.lr,
        "weight_decay": WEIGHT_DECAY, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
    }
    if name.endswith("folded"):
        # another function than the network: BatchNorm with fixed statistics, its
        # parameters gone; only the features of the network at rest are the same
        with torch.no_grad():
            golden["feature"] = copy.deepcopy(network).eval().double()(x.double()).float()
    else:
        buffers, population = averages(network, x.double())
        parameters = dict(network.named_parameters())
        place = places(path, {k: parameters[k] for k in grads})
        missing = sorted(set(grads) - set(place))
        assert not missing, f"{name}: the file has no {missing}"
        golden["loss"] = torch.tensor(loss, dtype=torch.float64)
        golden |= {f"grad.{place[k].name}": place[k].lay(g) for k, g in grads.items()}
        for k, value in buffers.items():
            if k.endswith(("running_mean", "running_var")):
                golden[f"buffer.{k}"] = value.float()
                if k in population:
                    golden[f"population.{k}"] = population[k].float()
        golden["curve32"] = curve(network, x, spec.lr)
        if small:
            # hours for the others, and the same to 1e-6
            golden["curve64"] = curve(network, x.double(), spec.lr)
        pulled = decayed(network)
        metadata["decayed"] = sorted(place[k].name for k in grads if k in pulled)
        metadata["float32_error"] = relative_error(gradients(network, x)[1], grads)
        losses = golden["curve32"]
        print(
            f"{name}: {sum(g.numel() for g in grads.values())} parameters, "
            f"loss {losses[0]:.4f} to {losses[-1]:.4f}; float32 is off by "
            f"{metadata['float32_error']:.1e} in a gradient",
            flush=True,
        )
    # one entry of JSON, since the format's own metadata has no numbers
    save_file(
        {k: v.clone().contiguous() for k, v in golden.items()},
        path.with_suffix(".safetensors"), {"golden": json.dumps(metadata)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--small", action="store_true", help="the miniatures that git keeps")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone")
    arguments = parser.parse_args()
    default = HERE / "small" if arguments.small else HERE.parents[3] / "data/exports"
    folder = arguments.folder or default
    folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    chosen = SMALL if arguments.small else NAMED
    for name in arguments.only or chosen:
        export(name, chosen[name], folder, arguments.small)


if __name__ == "__main__":
    main()
