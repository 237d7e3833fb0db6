"""Peers that take turns: each a process of its own that stays alive."""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")


class Peer:
    """For each line with a count it does its work that often and answers `done`.

    The first turn warms up. Peak memory counts from its end, libraries included;
    time and memory of its child processes count too.
    """

    def __init__(self, name, command, threads):
        self.name, self.wall, self.cpu, self.peak = name, [], [], 0
        self.process = subprocess.Popen(
            command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={
                **os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads),
                "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads),
            },
        )
        self.run(1)
        for process in self.processes():
            Path(f"/proc/{process}/clear_refs").write_text("5")

    def processes(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def run(self, count):
        print(count, file=self.process.stdin, flush=True)
        if self.process.stdout.readline() != "done\n":
            sys.exit(f"{self.name} failed with exit code {self.process.wait()}")

    def cpu_time(self):
        ticks = 0
        for process in self.processes():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def turn(self, count=1):
        """Does its work some times, and notes what one time took."""
        cpu, wall = self.cpu_time(), time.perf_counter()
        self.run(count)
        self.wall.append((time.perf_counter() - wall) / count)
        self.cpu.append((self.cpu_time() - cpu) / count)
        peak = 0
        for process in self.processes():
            status = Path(f"/proc/{process}/status").read_text()
            peak += int(status.partition("VmHWM:")[2].split()[0])
        self.peak = peak / 1024


def serve(work):
    """Answers a peer's turns with some work; gives the last result."""
    result = None
    for line in sys.stdin:
        for _ in range(int(line)):
            result = work()
        print("done", flush=True)
    return result


def take_turns(peers, rounds, counts=None):
    """`counts`: how often each does its work a turn, so that it can be timed."""
    order = random.Random(0)
    for _ in range(rounds):
        for peer in order.sample(peers, len(peers)):
            peer.turn((counts or {}).get(peer.name, 1))


def row(peer, first, unit="ms"):
    """The cells of a table: times, peak, and ratios to the first peer."""
    scale = {"ms": 1e3, "µs": 1e6, "s": 1}[unit]
    wall, cpu = statistics.median(peer.wall), statistics.median(peer.cpu)
    ratios = wall / statistics.median(first.wall), cpu / max(statistics.median(first.cpu), 1e-9)
    least, most = scale * min(peer.wall), scale * max(peer.wall)
    return (
        f"{peer.name} | {scale * wall:.3g} ({least:.3g} to {most:.3g}) | {scale * cpu:.3g} | "
        f"{peer.peak:.0f} | {ratios[0]:.1f}, {ratios[1]:.1f}"
    )


def mivox_binary(bench):
    """A bench as cargo built it."""
    return built(bench, "bench", "--bench", bench, "--no-run")


def built(name, *command):
    """The program of that name, by a command of cargo."""
    done = subprocess.run(
        ["cargo", *command, "--quiet", "--locked", "--message-format=json"],
        cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE,
    )
    artifacts = map(json.loads, filter(str.strip, done.stdout.splitlines()))
    found = [a["executable"] for a in artifacts if a.get("target", {}).get("name") == name]
    return found[-1]
