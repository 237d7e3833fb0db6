"""The notebook runs on a results folder and shows pictures.

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

sys.path.insert(0, str(Path(__file__).parent))
import fake_results  # noqa: E402

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "explore_embeddings.ipynb"


def run(results):
    """Runs the notebook on a results folder and returns how many pictures it shows."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client = nbclient.NotebookClient(notebook, timeout=600, resources=resources)
    with mock.patch.dict(os.environ, MIVOX_OUT=str(Path(results).resolve())):
        client.execute()  # raises where a cell does
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


class Notebook(unittest.TestCase):
    def test_it_shows_the_results(self):
        if "MIVOX_OUT" not in os.environ:
            self.fail("set MIVOX_OUT to a results folder, such as data/demo")
        self.assertGreaterEqual(run(os.environ["MIVOX_OUT"]), 5)

    def test_the_least_cohort_will_do(self):
        with tempfile.TemporaryDirectory() as folder:
            fake_results.write(folder, modalities=["CT"], subjects=1)
            for table in ("metrics", "evaluation"):
                (Path(folder) / f"{table}.parquet").unlink()
            self.assertEqual(run(folder), 3)

    def test_it_is_kept_without_outputs(self):
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
            self.assertFalse(cell.get("outputs") or cell.get("execution_count"), cell["source"])


if __name__ == "__main__":
    unittest.main()
