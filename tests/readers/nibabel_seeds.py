"""Writes into a folder the files that the tests damage: python nibabel_seeds.py FOLDER"""

import gzip
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

OUT = Path(sys.argv[1])
AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])
rng = np.random.default_rng(1)
one = rng.integers(-900, 900, (7, 6, 5), np.int16)
several = rng.integers(-900, 900, (7, 6, 5, 4), np.int16)

for name, klass, data in [
    ("one.nii", nib.Nifti1Image, one),
    ("one.nii.gz", nib.Nifti1Image, one),
    ("frames.nii", nib.Nifti1Image, several),
    ("frames.nii.gz", nib.Nifti1Image, several),
    ("second.nii", nib.Nifti2Image, one),
    ("second.nii.gz", nib.Nifti2Image, several),
    ("pair.hdr", nib.Nifti1Pair, several),
    ("packed.hdr.gz", nib.Nifti1Pair, several),
    ("analyze.hdr", nib.AnalyzeImage, one),
]:
    klass(data, AFFINE).to_filename(OUT / name)
whole = (OUT / "frames.nii").read_bytes()
members = [gzip.compress(whole[at : at + 500], mtime=0) for at in range(0, len(whole), 500)]
(OUT / "members.nii.gz").write_bytes(b"".join(members))
