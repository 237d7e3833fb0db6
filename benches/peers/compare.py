"""Times a whole training step beside PyTorch's: forward, InfoNCE, backward, clipping, AdamW.

    .venv-torch/bin/python benches/peers/compare.py [--rounds N] [--threads N] [--only PEER ...]

Each peer is a process of its own that stays alive; they take turns, in another
order each round. Wall time is until the peer's answer; CPU time and peak memory
are the system's account of the process. Prints medians over the rounds, as
ratios to PyTorch eager.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from models import MODELS, build, info_nce

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "data/peers"
TICK = os.sysconf("SC_CLK_TCK")
STEP = ["cargo", "bench", "--quiet", "--locked", "-p", "onnx-grad", "--bench", "step"]


@dataclass
class Peer:
    name: str
    command: list[str | Path]
    process: subprocess.Popen | None = None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0
    failure: str = ""

    def start(self) -> None:
        log = FOLDER / "failure.txt"
        with open(log, "w") as errors:
            self.process = subprocess.Popen(
                self.command, cwd=HERE, text=True, stderr=errors,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        # compiles, allocates, and warms up
        if self.steps(3) is None:
            lines = [line for line in log.read_text().splitlines() if line.strip()]
            self.failure = lines[-1] if lines else f"exit code {self.process.wait()}"
            print(f"{self.name} failed: {self.failure}", flush=True)

    def steps(self, count: int) -> float | None:
        """The loss after these steps, none where the peer has ended."""
        try:
            print(count, file=self.process.stdin, flush=True)
            return float(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):
            return None

    def cpu_time(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def round(self, count: int) -> None:
        cpu, wall = self.cpu_time(), time.perf_counter()
        if self.steps(count) is None:
            self.failure = "ended in a round"
            return
        self.wall.append((time.perf_counter() - wall) / count)
        self.cpu.append((self.cpu_time() - cpu) / count)
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class WithLoss(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return info_nce(self.network(x))


def export(name: str) -> Path:
    """The model as an ONNX file that keeps BatchNorm, its training graph, and the batch."""
    network, x = build(name)
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    torch.onnx.export(
        network, (x,), path, input_names=["image"], output_names=["feature"], optimize=False,
        verbose=False, external_data=False,
    )
    # onnxruntime-training differentiates no LayerNormalization of opset 17
    torch.onnx.export(
        WithLoss(network), (x,), folder / "loss.onnx", input_names=["image"],
        output_names=["loss"], dynamo=False, opset_version=15, do_constant_folding=False,
        training=torch.onnx.TrainingMode.TRAINING,
    )
    x.numpy().tofile(folder / "image.f32")
    subprocess.run(
        [*STEP, "--", path, "--batch", str(len(x)), "--write", folder], cwd=ROOT, check=True
    )
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
    served = [bench_binary(), "--threads", threads, "--batch", batch, "--serve"]
    found = [
        *(Peer(f"PyTorch {mode}", [python, "torch_peer.py", name, threads, mode])
          for mode in ("eager", "channels-last", "compile")),
        Peer("onnxruntime-training 1.19.2", [old, "training_peer.py", folder, threads]),
        Peer("onnx-grad, from the export, Python", [python, "ort_peer.py", folder, threads]),
        Peer("onnx-grad, from the export, Rust", [*served, folder / "model.onnx"]),
    ]
    if name == "vit":
        found.append(Peer("onnx-grad, mivox's own graph, Rust", served))
    return found


def compare(name: str, arguments: argparse.Namespace) -> None:
    taking_part = peers(name, str(arguments.threads))
    if arguments.only:
        taking_part = [p for p in taking_part if any(word in p.name for word in arguments.only)]
    for peer in taking_part:
        peer.start()
    running = [peer for peer in taking_part if not peer.failure]
    order = random.Random(0)
    for _ in range(arguments.rounds):
        order.shuffle(running)
        for peer in running:
            peer.round(arguments.steps)
    for peer in taking_part:
        peer.stop()
    table(name, taking_part, arguments)


def table(name: str, taking_part: list[Peer], arguments: argparse.Namespace) -> None:
    shape = " x ".join(map(str, MODELS[name][1]))
    print(
        f"\n{name}, batch {shape}, {arguments.threads} threads, "
        f"{arguments.rounds} rounds of {arguments.steps} steps\n"
    )
    print("| | wall, ms a step | (least - most) | wall | CPU | peak memory, MiB | memory |")
    print("|---|---|---|---|---|---|---|")
    base = next((p for p in taking_part if p.name == "PyTorch eager" and p.wall), None)
    for peer in taking_part:
        if peer.failure or not peer.wall:
            print(f"| {peer.name} | did not run: {peer.failure[:160]} | | | | | |")
            continue
        wall, cpu = statistics.median(peer.wall), statistics.median(peer.cpu)
        ratios = ["", "", ""]
        if base is not None:
            bases = statistics.median(base.wall), statistics.median(base.cpu), base.peak
            ratios = [f"{a / b:.2f}" for a, b in zip((wall, cpu, peer.peak), bases)]
        print(
            f"| {peer.name} | {1e3 * wall:.0f} | {1e3 * min(peer.wall):.0f} - "
            f"{1e3 * max(peer.wall):.0f} | {ratios[0]} | {ratios[1]} | {peer.peak >> 20} | {ratios[2]} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=4, help="steps a peer takes in its turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--only", nargs="+", metavar="WORD", help="peers with a word in their name")
    arguments = parser.parse_args()
    for name in arguments.models:
        compare(name, arguments)


if __name__ == "__main__":
    main()
