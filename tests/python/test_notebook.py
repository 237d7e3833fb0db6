"""The notebooks run on a results folder and show pictures.

    MIVOX_OUT=data/demo python -m unittest tests/python/test_notebook.py
"""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import nbclient
import nbformat
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
import fake_results  # noqa: E402

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
EMBEDDINGS = NOTEBOOKS / "explore_embeddings.ipynb"
TRAINING = NOTEBOOKS / "explore_training.ipynb"


def run(path, results):
    """Runs a notebook on a results folder and returns how many pictures it shows."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = nbclient.NotebookClient(notebook, timeout=600, resources=resources)
    with mock.patch.dict(os.environ, MIVOX_OUT=str(Path(results).resolve())):
        client.execute()  # raises where a cell does
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


class Notebook(unittest.TestCase):
    def test_it_shows_the_results(self):
        if "MIVOX_OUT" not in os.environ:
            self.fail("set MIVOX_OUT to a results folder, such as data/demo")
        self.assertGreaterEqual(run(EMBEDDINGS, os.environ["MIVOX_OUT"]), 5)
        self.assertEqual(run(TRAINING, os.environ["MIVOX_OUT"]), 3)

    def test_the_least_cohort_will_do(self):
        with tempfile.TemporaryDirectory() as folder:
            fake_results.write(folder, modalities=["CT"], subjects=1)
            for table in ("metrics", "evaluation"):
                (Path(folder) / f"{table}.parquet").unlink()
            self.assertEqual(run(EMBEDDINGS, folder), 3)

    def test_training_without_looks_or_a_bound_will_do(self):
        with tempfile.TemporaryDirectory() as folder:
            fake_results.write(folder, modalities=["CT"], subjects=1)
            path = Path(folder) / "metrics.parquet"
            metrics = pl.read_parquet(path)
            looked_at = metrics.columns[metrics.columns.index("look_ceiling_nats") :]
            empty = ["bound_nats", "ceiling_nats", "temperature", "negatives", *looked_at]
            kinds = metrics.schema
            nulls = [pl.lit(None, kinds[name]).alias(name) for name in empty]
            metrics.with_columns(nulls).write_parquet(path)
            self.assertEqual(run(TRAINING, folder), 3)

    def test_they_are_kept_without_outputs(self):
        for path in (EMBEDDINGS, TRAINING):
            for cell in nbformat.read(path, as_version=4).cells:
                self.assertFalse(cell.get("outputs") or cell.get("execution_count"), cell["source"])


if __name__ == "__main__":
    unittest.main()
