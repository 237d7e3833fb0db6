"""Compares what `mivox convert` makes of DICOM folders with dcm2niix and SimpleITK.

    python -m venv venv
    venv/bin/pip install SimpleITK==2.5.7 nibabel==5.4.2 polars==2.1.0
    venv/bin/python tests/peers/convert.py target/release/mivox FOLDER ...

Of every series that mivox takes for a volume, each voxel of the peer's volume is
looked up in mivox's: how far, in mm, is the nearest centre, and how much does its
value differ? Needs dcm2niix (Debian: apt install dcm2niix). Exits with 1 where a
voxel is more than 0.01 mm away.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import polars as pl
import SimpleITK as sitk

LIMIT_MM = 0.01


def mivox(binary, folder, out):
    """Volumes by real series UID."""
    run = subprocess.run(
        [binary, "convert", folder, out, "--uncompressed"], capture_output=True, text=True
    )
    if run.returncode not in (0, 2):
        sys.exit(run.stderr)
    links = pl.read_parquet(out / "linkage.parquet")
    real = dict(links.filter(pl.col("kind") == "series").select("pseudonym", "real").iter_rows())
    volumes = {}
    for path in sorted((out / "nifti").glob("*.nii")):
        told = json.loads(path.with_suffix(".json").read_text())["Mivox"]
        if told["source_format"] == "dicom":
            volumes[real[told["series"]]] = (path, told)
    return volumes


def dcm2niix(folder, out):
    out.mkdir()
    subprocess.run(
        ["dcm2niix", "-z", "n", "-b", "n", "-f", "%j", "-o", out, folder],
        capture_output=True, check=False,
    )
    return {path.stem: path for path in out.glob("*.nii")}


def simpleitk(folder, uid):
    """The volume in RAS: voxels [i, j, k] and the affine."""
    for path in [folder, *sorted(p for p in folder.rglob("*") if p.is_dir())]:
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), uid)
        if len(names) > 1:
            image = sitk.ReadImage(names)
            affine = np.eye(4)
            direction = np.reshape(image.GetDirection(), (3, 3))
            affine[:3, :3] = direction * image.GetSpacing()
            affine[:3, 3] = image.GetOrigin()
            return sitk.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine
    return None


def compare(ours, theirs):
    """Largest distance in mm to the nearest of our centres, largest difference there, highest value."""
    (our_voxels, our_affine), (voxels, affine) = ours, theirs
    if sorted(voxels.shape) != sorted(our_voxels.shape):
        return None
    index = np.indices(voxels.shape).reshape(3, -1)
    place = affine[:3, :3] @ index + affine[:3, 3:]
    inverse = np.linalg.inv(our_affine)
    near = np.rint(inverse[:3, :3] @ place + inverse[:3, 3:])
    off_mm = np.linalg.norm(our_affine[:3, :3] @ near + our_affine[:3, 3:] - place, axis=0).max()
    inside = np.clip(near, 0, np.array(our_voxels.shape)[:, None] - 1).astype(int)
    if not np.array_equal(inside, near):
        return np.inf, np.nan, np.nan
    values = our_voxels[tuple(inside)]
    known = ~np.isnan(values)
    return off_mm, np.abs(values - voxels.ravel())[known].max(), np.abs(values[known]).max()


def main():
    binary, *folders = sys.argv[1:]
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    worst = 0.0
    print(f"{'series':8} {'':4} {'shape':>15} {'tilt':>5}  {'peer':9} {'off, mm':>8} {'of values':>9}")
    for number, folder in enumerate(map(Path, folders)):
        with tempfile.TemporaryDirectory() as out:
            out = Path(out)
            volumes = mivox(binary, folder, out / "mivox")
            peers = dcm2niix(folder, out / "dcm2niix")
            for n, (uid, (path, told)) in enumerate(sorted(volumes.items(), key=lambda v: v[1][0])):
                image = nib.load(path)
                ours = image.get_fdata(dtype=np.float64), image.affine
                label = f"{number + 1}.{n + 1:<6} {told['modality']:4} {str(image.shape):>15} {told['tilt_degrees']:5.1f}"
                found = {"dcm2niix": peers.get(uid), "SimpleITK": simpleitk(folder, uid)}
                for name, theirs in found.items():
                    if isinstance(theirs, Path):
                        theirs = nib.load(theirs)
                        theirs = theirs.get_fdata(dtype=np.float64), theirs.affine
                    result = theirs and compare(ours, theirs)
                    if not result:
                        print(f"{label}  {name:9} makes no such volume")
                        continue
                    off_mm, off, highest = result
                    worst = max(worst, off_mm)
                    print(f"{label}  {name:9} {off_mm:8.5f} {off / highest:9.1e}")
    sys.exit(int(worst > LIMIT_MM))


main()
