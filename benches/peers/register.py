"""Times rigid alignment beside SimpleITK's, with the error against the publishers' transforms.

    .venv-torch/bin/python benches/peers/register.py [--rounds N] [--threads N] [--only PAIR ...]

Needs ../shared/scans/ms/longitudinal. Each peer is a process of its own that holds
the two scans in memory; the peers take turns, in another order each round, and the
first turn warms up. Both smooth, shrink and align by Mattes mutual information, and
mivox says its quality too. Prints medians over the rounds, their ratios to mivox, and
target registration errors over a ball of 80 mm.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

import peer as turns
from peer import ROOT, Peer

SCANS = ROOT.parent / "shared/scans/ms/longitudinal"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Share of the voxels of a level that SimpleITK's metric looks at. One hundredth is
# what its notebooks take, and about as many places as mivox's.
SIMPLEITK = {"SimpleITK, 1 %": 0.01, "SimpleITK, 5 %": 0.05}


def transform(path):
    """The map of an ITK text file, 4 x 4, LPS: moving from fixed."""
    lines = dict(line.split(": ") for line in path.read_text().splitlines() if ": " in line)
    numbers = np.array(lines["Parameters"].split(), float)
    centre = np.array(lines["FixedParameters"].split(), float)
    affine = np.eye(4)
    affine[:3, :3] = numbers[:9].reshape(3, 3)
    affine[:3, 3] = numbers[9:] + centre - affine[:3, :3] @ centre
    return affine


def pairs():
    """Name, fixed and moving scan, and the publishers' map; only of scans that are there."""
    for patient in sorted(SCANS.glob("patient*")):
        for study in (1, 2):
            for word in ("T1W", "T2W"):
                path = patient / f"study{study}_{word}_intrastudy_to_FLAIR.txt"
                yield (
                    f"{patient.name} study{study} {word}",
                    patient / f"study{study}_FLAIR.nii.gz",
                    patient / f"study{study}_{word}.nii.gz",
                    transform(path),
                )
        one, two = (transform(patient / f"study{n}_FLAIR_to_common_space.txt") for n in (1, 2))
        yield (
            f"{patient.name} study2 FLAIR",
            patient / "study1_FLAIR.nii.gz",
            patient / "study2_FLAIR.nii.gz",
            two @ np.linalg.inv(one),
        )


def simpleitk(fixed, moving, share, threads):
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    fixed, moving = (sitk.ReadImage(str(path), sitk.sitkFloat32) for path in (fixed, moving))

    def align():
        start = sitk.CenteredTransformInitializer(
            fixed, moving, sitk.Euler3DTransform(),
            sitk.CenteredTransformInitializerFilter.GEOMETRY,
        )
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(50)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(share, 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 200)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([4, 2, 0])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.SetInitialTransform(start, inPlace=False)
        return method.Execute(fixed, moving)

    return align


def serve(name, fixed, moving, result, threads):
    found = turns.serve(simpleitk(fixed, moving, SIMPLEITK[name], threads))
    places = np.vstack([np.zeros(3), np.eye(3)])
    moved = np.array([found.TransformPoint(place) for place in places.tolist()])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (moved[1:] - moved[0]).T, moved[0]
    Path(result).write_text(json.dumps((LPS @ affine @ LPS).ravel().tolist()))


def error(found, true, centre):
    """Median and largest distance in mm over a ball around the middle of the fixed scan."""
    rng = np.random.default_rng(0)
    way = rng.normal(size=(1000, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    inside = np.where(np.arange(1000) % 2, rng.random(1000) ** (1 / 3), 1)[:, None]
    places = np.c_[centre + 80 * inside * way, np.ones(1000)]
    apart = np.linalg.norm(places @ (found - true).T, axis=1)
    return np.median(apart), apart.max()


def middle(path):
    import nibabel

    image = nibabel.load(path)
    return image.affine[:3] @ [*((np.array(image.shape[:3]) - 1) / 2), 1]


def main():
    if sys.argv[1:2] == ["--serve"]:
        name, fixed, moving, result, threads = sys.argv[2:]
        return serve(name, fixed, moving, result, int(threads))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[""], help="words that a pair's name contains")
    arguments = parser.parse_args()
    if not SCANS.is_dir():
        sys.exit("../shared/scans/ms/longitudinal is absent")
    binary = turns.mivox_binary("registration")
    threads, ratios = arguments.threads, {name: [] for name in SIMPLEITK}
    print(
        f"{threads} threads, {arguments.rounds} rounds, load {os.getloadavg()[1]:.1f}\n\n"
        "| pair | | wall, s (least to most) | CPU, s | peak, MiB | of mivox: wall, CPU | error: median, largest, mm |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, fixed, moving, true in pairs():
        present = fixed.exists() and moving.exists()
        if not present or not any(word in name for word in arguments.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            result = lambda number: f"{folder}/{number}.json"
            peers = [Peer("mivox", [binary, fixed, moving, result(0)], threads)]
            for number, other in enumerate(SIMPLEITK, 1):
                serve_it = [sys.executable, __file__, "--serve", other, fixed, moving, result(number)]
                peers.append(Peer(other, [*serve_it, str(threads)], threads))
            turns.take_turns(peers, arguments.rounds)
            for number, peer in enumerate(peers):
                peer.process.communicate()
                found = np.array(json.loads(Path(result(number)).read_text())).reshape(4, 4)
                median, largest = error(found, LPS @ true @ LPS, middle(fixed))
                print(f"| {name} | {turns.row(peer, peers[0], 's')} | {median:.2f}, {largest:.2f} |", flush=True)
                if number:
                    ratios[peer.name].append(statistics.median(peer.cpu) / statistics.median(peers[0].cpu))
    for name, found in ratios.items():
        if found:
            print(
                f"\n{name}: CPU time {statistics.median(found):.1f} times mivox's, median of "
                f"{len(found)} pairs ({min(found):.1f} to {max(found):.1f})"
            )


main()
