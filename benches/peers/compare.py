"""Times a whole training step beside PyTorch's: forward, InfoNCE, backward, clipping, AdamW.

    .venv-torch/bin/python benches/peers/compare.py [--rounds N] [--threads N] [--only WORD ...]

Each peer is a process of its own that stays alive; they take turns, in another
order each round. They start from the same weights and images, and their losses
must agree. Prints medians over the rounds, and their ratios to PyTorch.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import torch
from torch import nn

from models import MODELS, build, info_nce

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "data/peers"
TICK = os.sysconf("SC_CLK_TCK")
STEP = ["cargo", "bench", "--quiet", "--locked", "-p", "onnx-grad-kernels", "--bench", "step"]
EAGER, CHANNELS_LAST = "PyTorch eager", "PyTorch channels-last"
# of the first loss, and of one after steps, which onnxruntime-training takes with
# its own rules of decay
TOLERANCES = 1e-3, 5e-3


@dataclass
class Peer:
    name: str
    command: list[str | Path]
    process: subprocess.Popen | None = None
    errors: IO[str] | None = None
    losses: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0
    failure: str = ""

    def start(self) -> None:
        self.errors = tempfile.TemporaryFile("w+")
        try:
            self.process = subprocess.Popen(
                self.command, cwd=HERE, text=True, stderr=self.errors,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        except OSError as error:
            self.failure = str(error)
            return
        # compiles, allocates, and warms up
        if self.steps(1) and self.steps(2):
            # the peak of steps alone, not that of compiling
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def steps(self, count: int) -> bool:
        """Whether the peer has taken these steps; keeps their last loss."""
        answer = ""
        try:
            print(count, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
            self.losses.append(float(answer))
        except (BrokenPipeError, ValueError):
            self.process.kill()
            self.errors.seek(0)
            said = [s.strip() for s in self.errors if s.strip() and not s.startswith("note:")]
            self.failure = answer.strip() or (said or [f"exit code {self.process.wait()}"])[-1]
        return not self.failure

    def cpu_time(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def round(self, count: int) -> None:
        cpu, wall = self.cpu_time(), time.perf_counter()
        if not self.steps(count):
            return
        self.wall.append((time.perf_counter() - wall) / count)
        self.cpu.append((self.cpu_time() - cpu) / count)
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def medians(self) -> tuple[float, float, float]:
        return statistics.median(self.wall), statistics.median(self.cpu), self.peak

    def stop(self) -> None:
        if self.process is not None:
            self.process.communicate()


class WithLoss(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return info_nce(self.network(x))


def export(name: str) -> Path:
    """A folder with the model as ONNX, the same with its loss, and the batch."""
    network, x = build(name)
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    # not optimized, which folds BatchNorm
    torch.onnx.export(
        network, (x,), folder / "model.onnx", input_names=["image"], output_names=["feature"],
        optimize=False, verbose=False, external_data=False,
    )
    # onnxruntime-training differentiates no LayerNormalization of opset 17
    torch.onnx.export(
        WithLoss(network), (x,), folder / "loss.onnx", input_names=["image"],
        output_names=["loss"], dynamo=False, opset_version=15, do_constant_folding=False,
        training=torch.onnx.TrainingMode.TRAINING,
    )
    x.numpy().tofile(folder / "image.f32")
    return folder


def bench_binary() -> Path:
    """The bench `step` as cargo built it."""
    built = subprocess.run(
        [*STEP, "--no-run", "--message-format=json"], cwd=ROOT, check=True, text=True,
        stdout=subprocess.PIPE,
    )
    artifacts = map(json.loads, filter(str.strip, built.stdout.splitlines()))
    found = [a["executable"] for a in artifacts if a.get("target", {}).get("name") == "step"]
    return Path(found[-1])


def peers(name: str, threads: str) -> list[Peer]:
    folder = export(name)
    batch = str(MODELS[name][1][0])
    python, old = sys.executable, ROOT / ".venv-training/bin/python"
    rust = [bench_binary(), folder / "model.onnx", "--threads", threads, "--batch", batch, "--serve"]
    return [
        *(Peer(f"PyTorch {mode}", [python, "torch_peer.py", name, threads, mode])
          for mode in ("eager", "channels-last", "compile")),
        Peer("onnxruntime-training 1.19.2", [old, "training_peer.py", folder, threads]),
        Peer("onnx-grad (standard operators)", [*rust, "--standard"]),
        Peer("onnx-grad (kernels)", rust),
    ]


def compare(name: str, arguments: argparse.Namespace) -> None:
    taking_part = peers(name, str(arguments.threads))
    if arguments.only:
        taking_part = [p for p in taking_part if any(word in p.name for word in arguments.only)]
    for peer in taking_part:
        begun = time.perf_counter()
        peer.start()
        print(f"{peer.name}: started in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    first = next((peer for peer in taking_part if not peer.failure), None)
    order = random.Random(0)
    for _ in range(arguments.rounds):
        running = [peer for peer in taking_part if not peer.failure]
        order.shuffle(running)
        for peer in running:
            peer.round(arguments.steps)
    for peer in taking_part:
        peer.stop()
        # the first loss, and one after optimizer steps
        pairs = zip(peer.losses, first.losses, TOLERANCES)
        if any(abs(a - b) > tolerance * abs(b) for a, b, tolerance in pairs):
            peer.failure = f"its losses are {peer.losses[:2]}, not {first.losses[:2]}"
    table(name, taking_part, arguments)


def table(name: str, taking_part: list[Peer], arguments: argparse.Namespace) -> None:
    shape = " × ".join(map(str, MODELS[name][1]))
    print(
        f"\n{name}, batch {shape}, {arguments.threads} threads, {arguments.rounds} rounds of "
        f"{arguments.steps} steps, load {os.getloadavg()[1]:.1f}\n\n"
        "| | wall, ms (least to most) | CPU, ms | peak, MiB | of eager: wall, CPU, peak "
        "| of channels-last: wall, CPU, peak | loss, after 3 steps |\n|---|---|---|---|---|---|---|"
    )
    bases = [next((p for p in taking_part if p.name == base), None) for base in (EAGER, CHANNELS_LAST)]
    for peer in taking_part:
        if peer.failure:
            print(f"| {peer.name} | failed: {peer.failure[:200].replace('|', ' ')} | | | | | |")
            continue
        wall, cpu, peak = peer.medians()
        ratios = [
            ", ".join(f"{a / b:.2f}" for a, b in zip(peer.medians(), base.medians()))
            if base is not None and not base.failure else ""
            for base in bases
        ]
        print(
            f"| {peer.name} | {1e3 * wall:.0f} ({1e3 * min(peer.wall):.0f} to "
            f"{1e3 * max(peer.wall):.0f}) | {1e3 * cpu:.0f} | {peak / 2**20:.0f} | {ratios[0]} "
            f"| {ratios[1]} | {peer.losses[0]:.4f}, {peer.losses[1]:.4f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="steps a peer takes in its turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--only", nargs="+", metavar="WORD", help="peers with a word in their name")
    arguments = parser.parse_args()
    for name in arguments.models:
        compare(name, arguments)


if __name__ == "__main__":
    main()
