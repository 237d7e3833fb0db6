"""What mivox writes is what other tools read: tables, volumes and the encoder.

    MIVOX_OUT=data/demo python -m unittest tests/python/test_tables.py
"""

import hashlib
import os
import re
import unittest
from pathlib import Path

import duckdb
import nibabel as nib
import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


def setUpModule():
    if "MIVOX_OUT" not in os.environ:
        raise RuntimeError("set MIVOX_OUT to a results folder, such as data/demo")
    global OUT, PARTS
    OUT = Path(os.environ["MIVOX_OUT"])
    PARTS = sorted((OUT / "embeddings").glob("part-*.parquet"))
    if not PARTS:
        raise RuntimeError(f"{OUT} has no embeddings/part-*.parquet")


class Embeddings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rows = pl.read_parquet(PARTS)

    def assert_same(self, columns):
        """`columns` gives the values of a column, in order, as another reader sees them."""
        for name, kind in self.rows.schema.items():
            expected, actual = self.rows[name], columns(name)
            self.assertEqual(len(actual), len(expected), name)
            if name == "embedding":
                np.testing.assert_array_equal(np.stack(actual), expected.to_numpy())
            elif kind.is_numeric():
                actual = np.asarray([np.nan if pd.isna(v) else v for v in actual], float)
                np.testing.assert_array_equal(actual, expected.cast(float).to_numpy(), name)
            else:
                self.assertEqual(list(actual), expected.to_list(), name)

    def test_pandas_reads_the_same(self):
        frame = pd.concat([pd.read_parquet(part) for part in PARTS])
        self.assertEqual(list(frame.columns), self.rows.columns)
        self.assert_same(lambda name: frame[name].to_list())

    def test_pyarrow_reads_the_same(self):
        table = pq.read_table(PARTS)
        self.assertEqual(table.column_names, self.rows.columns)
        self.assert_same(lambda name: table[name].to_pylist())

    def test_duckdb_reads_the_same(self):
        query = duckdb.read_parquet([str(part) for part in PARTS])
        self.assertEqual(query.columns, self.rows.columns)
        names = dict(zip(query.columns, zip(*query.fetchall())))
        self.assert_same(names.__getitem__)

    def test_the_embedding_is_a_list_of_one_fixed_size(self):
        kind = self.rows.schema["embedding"]
        self.assertEqual(kind, pl.Array(pl.Float32, kind.size))
        for part in PARTS:
            arrow = pq.read_schema(part).field("embedding").type
            self.assertTrue(pa.types.is_fixed_size_list(arrow), arrow)
            self.assertEqual((arrow.value_type, arrow.list_size), (pa.float32(), kind.size))

    def test_every_part_says_what_made_it(self):
        digest = hashlib.sha256((OUT / "encoder.onnx").read_bytes()).hexdigest()
        for part in PARTS:
            stated = pq.read_metadata(part).metadata
            for key in (b"mivox.version", b"mivox.configuration", b"mivox.seed"):
                self.assertTrue(stated.get(key), key)
            self.assertEqual(stated[b"mivox.encoder"].decode(), digest)

    def test_the_rows_make_sense(self):
        slices = self.rows.filter(pl.col("level") == "slice")
        volumes = self.rows.filter(pl.col("level") == "volume")
        self.assertEqual(len(slices) + len(volumes), len(self.rows))
        self.assertEqual(slices["slice_index"].null_count(), 0)
        self.assertEqual(volumes["slice_index"].null_count(), len(volumes))
        self.assertEqual(set(slices["series"]), set(volumes["series"]))
        self.assertFalse(slices.select("series", "slice_index").is_duplicated().any())
        self.assertTrue(self.rows["foreground"].is_between(0, 1 + 1e-6).all())
        self.assertTrue(np.isfinite(self.rows["embedding"].to_numpy()).all())

    def test_no_subject_is_on_both_sides_of_the_split(self):
        self.assertLessEqual(set(self.rows["split"]), {"train", "held-out"})
        sides = self.rows.group_by("subject").agg(pl.col("split").n_unique())
        self.assertEqual(sides["split"].max(), 1)


class Volumes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rows = pl.read_parquet(OUT / "volumes.parquet")

    def test_nibabel_opens_each_where_the_table_says(self):
        self.assertEqual(self.rows.schema["affine"], pl.Array(pl.Float64, 16))
        for row in self.rows.iter_rows(named=True):
            with self.subTest(series=row["series"]):
                image = nib.load(OUT / row["file"])
                self.assertEqual(image.get_data_dtype(), np.int16)
                self.assertGreater(image.dataobj.slope, 0)
                self.assertTrue(np.isfinite(image.dataobj.inter))
                self.assertEqual(nib.aff2axcodes(image.affine), ("R", "A", "S"))
                self.assertEqual(image.shape, tuple(row["shape"]))
                stated = np.reshape(row["affine"], (4, 4))  # NIfTI stores 32-bit floats
                np.testing.assert_allclose(image.affine, stated, rtol=1e-6, atol=1e-4)
                self.assertGreater(np.ptp(image.get_fdata()), 0)

    def test_slices_lie_where_the_embeddings_say(self):
        slices = pl.read_parquet(PARTS).filter(pl.col("level") == "slice")
        slices = slices.join(self.rows.select("series", "affine"), on="series")
        affine = slices["affine"].to_numpy().reshape(-1, 4, 4)
        z_mm = affine[:, 2, 3] + affine[:, 2, 2] * slices["slice_index"].to_numpy()
        np.testing.assert_allclose(slices["z_mm"], z_mm, atol=1e-6)


class Encoder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.session = onnxruntime.InferenceSession(
            OUT / "encoder.onnx", providers=["CPUExecutionProvider"]
        )
        cls.stated = cls.session.get_modelmeta().custom_metadata_map

    def test_it_embeds_slices_as_in_the_table(self):
        """From the prepared volume and the recipe in the file alone."""
        slices = pl.read_parquet(PARTS).filter(pl.col("level") == "slice")
        slices = slices.sample(min(5, len(slices)), seed=1)
        volumes = pl.read_parquet(OUT / "volumes.parquet").rows_by_key("series", named=True)
        recipe = self.stated["mivox.recipe"]
        size, pixel_mm = re.search(r"axial; (\d+) x \1 pixels of ([\d.]+) mm", recipe).groups()
        views = [
            view(row, volumes[row["series"]][0], int(size), float(pixel_mm))
            for row in slices.iter_rows(named=True)
        ]
        views = np.stack(views)[:, None]
        expected = slices["embedding"].to_numpy()
        tolerance = 1e-3 * np.abs(expected).max()
        (together,) = self.session.run(["embedding"], {"view": views})
        np.testing.assert_allclose(together, expected, rtol=0, atol=tolerance)
        (alone,) = self.session.run(["embedding"], {"view": views[:1]})
        np.testing.assert_allclose(alone, expected[:1], rtol=0, atol=tolerance)

    def test_it_says_what_it_is(self):
        for key in ("mivox.version", "mivox.configuration", "mivox.recipe", "mivox.seed"):
            self.assertTrue(self.stated.get(key), key)


def view(row, volume, size, pixel_mm):
    """The square of pixels around a slice's place, `[row, column]`, that the encoder sees."""
    image = nib.load(OUT / volume["file"])
    plane = np.asarray(image.dataobj[:, :, row["slice_index"]], np.float64)
    affine = np.reshape(volume["affine"], (4, 4))
    steps_mm = (np.arange(size) - (size - 1) / 2) * pixel_mm
    i = (row["x_mm"] + steps_mm - affine[0, 3]) / affine[0, 0]
    j = (row["y_mm"] + steps_mm - affine[1, 3]) / affine[1, 1]
    pixels = along(along(plane, i).T, j)
    last_i, last_j = np.array(plane.shape) - 0.5
    outside = ((j < -0.5) | (j > last_j))[:, None] | ((i < -0.5) | (i > last_i))
    pixels[outside] = volume["background"]
    return pixels.astype(np.float32)


def along(values, at):
    """Linear interpolation of the rows of an array at fractional indices."""
    at = np.clip(at, 0, len(values) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    share = (at - low)[:, None]
    return values[low] * (1 - share) + values[high] * share


if __name__ == "__main__":
    unittest.main()
