"""What `mivox convert` writes is what nibabel reads.

    MIVOX_OUT=converted python -m unittest tests/python/test_converted.py
"""

import json
import os
import unittest
from pathlib import Path

import nibabel as nib
import numpy as np
import polars as pl


def setUpModule():
    if "MIVOX_OUT" not in os.environ:
        raise RuntimeError("set MIVOX_OUT to a folder that mivox convert wrote")
    global OUT, VOLUMES, COHORT, FILES
    OUT = Path(os.environ["MIVOX_OUT"])
    VOLUMES = {}
    for sidecar in OUT.rglob("*.json"):
        told = json.loads(sidecar.read_text())
        if "Mivox" in told:
            image, = [p for p in sidecar.parent.glob(f"{sidecar.stem}.nii*")]
            VOLUMES[told["Mivox"]["series"]] = told["Mivox"], nib.load(image)
    if not VOLUMES:
        raise RuntimeError(f"{OUT} has no volumes")
    COHORT = {row["series"]: row for row in pl.read_parquet(OUT / "cohort.parquet").iter_rows(named=True)}
    links = pl.read_parquet(OUT / "linkage.parquet").filter(pl.col("kind") == "file")
    FILES = {}
    for row in links.sort("position").iter_rows(named=True):
        FILES.setdefault(row["series"], []).append(Path(row["real"]))


class Converted(unittest.TestCase):
    def test_the_affine_is_that_of_the_cohort(self):
        for series, (told, image) in VOLUMES.items():
            expected = np.reshape(COHORT[series]["affine"], (4, 4))
            corner = np.array([*image.shape, 1.0])
            off_mm = np.abs((image.affine - expected) @ corner).max()
            self.assertLess(off_mm, 1e-3, series)
            self.assertEqual(list(image.shape), list(COHORT[series]["shape"]))

    def test_the_forms_agree_and_a_shear_is_in_the_sform_alone(self):
        for series, (told, image) in VOLUMES.items():
            self.assertEqual(int(image.header["sform_code"]), 1)
            self.assertEqual(int(image.header["qform_code"]), told["qform_code"])
            steps = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
            sheared = np.abs(np.triu(steps.T @ steps, 1)).max() > 1e-5
            self.assertEqual(sheared, told["sheared"], series)
            if not sheared:
                np.testing.assert_allclose(image.get_qform(), image.affine, atol=1e-3)

    def test_what_was_nifti_has_the_same_values_and_place(self):
        compared = 0
        for series, (told, image) in VOLUMES.items():
            if told["source_format"] == "nifti":
                source = nib.load(FILES[series][0])
                np.testing.assert_array_equal(
                    image.get_fdata().astype(np.float32), source.get_fdata().astype(np.float32)
                )
                np.testing.assert_allclose(image.affine, source.affine, atol=1e-4)
                compared += 1
        wanted = sum(told["source_format"] == "nifti" for told, _ in VOLUMES.values())
        self.assertEqual(compared, wanted)

    def test_a_file_says_how_it_is_stored(self):
        for series, (told, image) in VOLUMES.items():
            self.assertEqual(image.get_data_dtype(), np.dtype(told["stored_as"]))
            values = np.asarray(image.dataobj)
            self.assertEqual(np.isnan(values).any(), told["stored_as"] == "float32"
                             and told["unmeasured_voxels"] > 0)

    def test_dicom_has_the_values_and_the_place_of_its_twin(self):
        """Beside `FOLDER/image/*.dcm` lies `FOLDER/nifti/image.nii.gz`, by another tool."""
        if "MIVOX_TWINS" not in os.environ:
            self.skipTest("MIVOX_TWINS names no folder")
        for series, (told, image) in VOLUMES.items():
            twin = nib.load(FILES[series][0].parents[1] / "nifti/image.nii.gz")
            index = np.indices(image.shape).reshape(3, -1)
            place = image.affine[:3, :3] @ index + image.affine[:3, 3:]
            inverse = np.linalg.inv(twin.affine)
            near = np.rint(inverse[:3, :3] @ place + inverse[:3, 3:]).astype(int)
            off_mm = np.abs(twin.affine[:3, :3] @ near + twin.affine[:3, 3:] - place).max()
            self.assertLess(off_mm, 0.01, told["modality"])
            values, expected = image.get_fdata().ravel(), twin.get_fdata()[tuple(near)]
            np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
