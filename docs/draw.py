"""Draws the README's picture: the notebook's map of slices, for a results folder.

    make demo && .venv/bin/python docs/draw.py
"""

import base64
from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "explore_embeddings.ipynb"
HEADING = "## The map of slices"


def main():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    at = next(n for n, c in enumerate(notebook.cells) if c["source"].startswith(HEADING))
    outputs = notebook.cells[at + 1]["outputs"]
    picture = next(o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {}))
    path = ROOT / "docs" / "embeddings.png"
    path.write_bytes(base64.b64decode(picture))
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
