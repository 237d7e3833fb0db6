"""Steps in PyTorch: python torch_peer.py MODEL THREADS eager|channels-last|compile.

A number of steps is read from each line; the loss answers once they are done.
"""

import sys

import torch

from models import LEARNING_RATE, MAX_NORM, WEIGHT_DECAY, build, decayed, info_nce

name, threads, mode = sys.argv[1:]
torch.set_num_threads(int(threads))
network, x = build(name)
if mode == "channels-last":
    network = network.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
pulled = {id(p) for p in decayed(network)}
groups = [
    {"params": [p for p in network.parameters() if id(p) in pulled], "weight_decay": WEIGHT_DECAY},
    {"params": [p for p in network.parameters() if id(p) not in pulled], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)


def loss_of(x: torch.Tensor) -> torch.Tensor:
    return info_nce(network(x))


forward = torch.compile(loss_of) if mode == "compile" else loss_of
for line in sys.stdin:
    for _ in range(int(line)):
        loss = forward(x)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
        optimizer.step()
    print(loss.item(), flush=True)
