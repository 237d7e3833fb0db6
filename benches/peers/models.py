"""The encoders and the step that the peers share, in PyTorch."""

import math

import torch
from torch import Tensor, nn
from torchvision import models

TEMPERATURE = 0.1
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.05
MAX_NORM = 1.0


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.attention = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.attention(mixed.transpose(1, 2).reshape(n, tokens, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """mivox's own, src/encoder/vit.rs."""

    def __init__(self, side: int = 96, patch: int = 8, width: int = 192, depth: int = 6) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(patch * patch, width)
        self.blocks = nn.Sequential(*(Block(width, 6) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        place = torch.arange(side // patch, dtype=torch.float32)
        quarter = width // 4
        angle = place[:, None] * torch.exp(torch.arange(quarter) * (-math.log(1e4) / quarter))
        waves = torch.cat([angle.sin(), angle.cos()], 1)
        rows = waves[:, None].expand(-1, len(place), -1)
        columns = waves[None].expand(len(place), -1, -1)
        self.register_buffer("positions", torch.cat([rows, columns], 2).reshape(-1, width))

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        p = self.patch
        x = x.reshape(n, height // p, p, width // p, p).transpose(2, 3).reshape(n, -1, p * p)
        return self.norm(self.blocks(self.embed(x) + self.positions)).mean(1)


def resnet18() -> nn.Module:
    network = models.resnet18()
    network.fc = nn.Identity()
    return network


# the network, and the shape of its batch
MODELS = {"vit": (ViT, (64, 1, 96, 96)), "resnet18": (resnet18, (32, 3, 96, 96))}


def build(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    make, shape = MODELS[name]
    return make().train(), torch.randn(shape)


def info_nce(features: Tensor) -> Tensor:
    """Symmetric InfoNCE of the two halves of the batch."""
    features = features / (features.square().sum(1, keepdim=True) + 1e-12).sqrt()
    anchors, positives = features.chunk(2)
    logits = anchors @ positives.T / TEMPERATURE
    rows, columns = logits.log_softmax(1), logits.log_softmax(0)
    return -(rows + columns).diagonal().mean() / 2


def decayed(network: nn.Module) -> list[nn.Parameter]:
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    return [m.weight for m in network.modules() if isinstance(m, kinds)]
