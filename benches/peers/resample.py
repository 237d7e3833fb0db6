"""Times bringing a volume onto another grid beside SimpleITK, scipy and torch.

    .venv-torch/bin/python benches/peers/resample.py [--rounds N] [--threads N] [--only CASE ...]

Each peer is a process of its own that stays alive; they take turns, in another
order each round, and the first round warms up. Their results must be equal.
Prints medians over the rounds, and their ratios to mivox.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import peer as turns
from peer import Peer

FROM = (256, 256, 256)
SIGMA_OF_WIDTH = 1 / np.sqrt(8 * np.log(2))
# The shape of the result along (i, j, k), the size of the source's voxels in mm,
# and who takes part. torch's interpolation along the axes keeps the first and the
# last centre, so that there the last slice must fall on one.
CASES = {
    "linear": ((205, 205, 383), (0.8, 0.8, 382 / 255), 0, ["SimpleITK", "scipy", "torch"]),
    "smooth": ((205, 205, 383), (0.8, 0.8, 382 / 255), 0, ["scipy"]),
    "cubic": ((205, 205, 383), (0.8, 0.8, 382 / 255), 0, ["SimpleITK", "scipy"]),
    "oblique": ((205, 205, 383), (0.8, 0.8, 382 / 255), 20, ["SimpleITK", "scipy", "torch"]),
}


def from_onto(case):
    """The affine from voxels of the result, 1 mm apart, to those of the source."""
    onto, size, degrees, _ = CASES[case]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = np.diag(1 / np.array(size)) @ turn
    affine[:3, 3] = (np.array(FROM) - 1) / 2 - affine[:3, :3] @ ((np.array(onto) - 1) / 2)
    return affine


def simpleitk(voxels, case, threads):
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    image = sitk.GetImageFromArray(voxels)
    affine = from_onto(case)
    transform = sitk.AffineTransform(affine[:3, :3].ravel().tolist(), affine[:3, 3].tolist())
    how = sitk.sitkBSpline if case == "cubic" else sitk.sitkLinear
    identity = ((0.0,) * 3, (1.0,) * 3, np.eye(3).ravel().tolist(), 0.0)
    return lambda: sitk.Resample(image, CASES[case][0], transform, how, *identity)


def scipy(voxels, case, threads):
    from scipy import ndimage

    affine = from_onto(case)[:3]
    matrix, offset = affine[::-1, 2::-1], affine[::-1, 3]
    if case != "oblique":
        matrix = np.diag(matrix)
    order = 3 if case == "cubic" else 1
    # "mirror" is the cubic's boundary; inside the outermost centres linear has none
    mode = "constant" if case == "oblique" else "mirror"

    def resample():
        source = voxels
        if case == "smooth":
            for axis in range(3):
                factor = np.sum(affine[axis, :3] ** 2)
                if factor > 1:
                    sigma = SIGMA_OF_WIDTH * np.sqrt(factor - 1)
                    source = ndimage.gaussian_filter1d(source, sigma, axis=2 - axis, mode="nearest")
        return ndimage.affine_transform(
            source, matrix, offset, CASES[case][0][::-1], order=order, mode=mode
        )

    return resample


def torch(voxels, case, threads):
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    batch, shape = torch.from_numpy(voxels)[None, None], CASES[case][0]
    if case == "linear":
        return lambda: functional.interpolate(
            batch, size=shape[::-1], mode="trilinear", align_corners=True
        )[0, 0].numpy()
    # grid_sample counts from -1 at the first centre to 1 at the last
    theta = np.eye(4)
    theta[:3, :3] *= 2 / (np.array(FROM) - 1)
    theta[:3, 3] = -1
    affine = theta @ from_onto(case)
    index = np.eye(4)
    index[:3, :3] *= (np.array(shape) - 1) / 2
    index[:3, 3] = (np.array(shape) - 1) / 2
    theta = torch.from_numpy((affine @ index)[None, :3]).float()
    size = (1, 1, *shape[::-1])
    return lambda: functional.grid_sample(
        batch, functional.affine_grid(theta, size, align_corners=True), align_corners=True
    )[0, 0].numpy()


def serve(name, folder, case, threads):
    voxels = np.fromfile(folder / "voxels.f32", np.float32).reshape(FROM)
    resample = {"SimpleITK": simpleitk, "scipy": scipy, "torch": torch}[name](voxels, case, threads)
    result = turns.serve(resample)
    if name == "SimpleITK":
        import SimpleITK as sitk

        result = sitk.GetArrayFromImage(result)
    result.tofile(folder / f"{name}.f32")


def compare(case, folder, binary, arguments):
    (folder / "grid.json").write_text(json.dumps([CASES[case][0], from_onto(case).ravel().tolist()]))
    threads = arguments.threads
    peers = [Peer("mivox", [binary, folder, "linear" if case == "oblique" else case], threads)]
    for name in CASES[case][3]:
        command = [sys.executable, __file__, "--serve", name, folder, case, str(threads)]
        peers.append(Peer(name, command, threads))
    turns.take_turns(peers, arguments.rounds)
    ours = None
    print(
        f"\n{case}, {threads} threads, {arguments.rounds} rounds, load {os.getloadavg()[1]:.1f}\n\n"
        "| | wall, ms (least to most) | CPU, ms | peak, MiB | of mivox: wall, CPU | 98 % of voxels within |\n"
        "|---|---|---|---|---|---|"
    )
    for peer in peers:
        peer.process.communicate()
        result = np.fromfile(folder / f"{peer.name}.f32", np.float32).reshape(CASES[case][0][::-1])
        # at the outermost half voxel the peers follow different rules
        result = result[2:-2, 2:-2, 2:-2]
        if ours is None:
            ours, first = result, peer
        off = np.abs(result - ours)
        wrong = np.mean(off > 1) if case == "oblique" else np.mean(off > 0.05)
        if wrong > (0.02 if case == "oblique" else 0):
            sys.exit(f"{peer.name} differs by up to {off.max()} in {wrong:.2%} of the voxels")
        print(f"| {turns.row(peer, first)} | {np.quantile(off, 0.98):.1e} |", flush=True)


def main():
    if sys.argv[1:2] == ["--serve"]:
        name, folder, case, threads = sys.argv[2:]
        return serve(name, Path(folder), case, int(threads))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=CASES)
    arguments = parser.parse_args()
    binary = turns.mivox_binary("resampling")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        # smooth, as scans are: noise would make much of a shift of a thousandth voxel
        z, y, x = np.meshgrid(*(np.linspace(0, 1, n, dtype=np.float32) for n in FROM), indexing="ij")
        voxels = 500 * np.sin(9 * x + 7 * y * z) + 300 * np.cos(23 * y - 5 * x) * z
        voxels.astype(np.float32).tofile(folder / "voxels.f32")
        for case in arguments.only:
            compare(case, folder, binary, arguments)


main()
