"""Decodes DICOM files by pydicom, for mivox to be compared with.

    .venv/bin/python tests/conformance/expect.py [--into data/conformance] [FOLDER ...]

The files are those that pydicom carries, those of pydicom-data where it is
installed, and those of the folders named. For each one that pydicom decodes,
`index.json` says where it lies and which arrays there are of it, and the arrays
lie beside it: of at most three frames (first, middle, last) the stored numbers
as coded, and of grey images the values after the Modality LUT, with NaN for
padding. What pydicom cannot decode is listed with its reason.
"""

import argparse
import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, pixel_array

ROOT = Path(__file__).resolve().parents[2]
LOSSY = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81, 91, 93, 112, 203)}
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def main():
    parser = argparse.ArgumentParser(description="Decodes DICOM files by pydicom.")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--into", type=Path, default=ROOT / "data/conformance")
    arguments = parser.parse_args()
    into = arguments.into
    into.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    rows = []
    for source, path in sorted(files(arguments.folders)):
        dataset = pydicom.dcmread(path, force=True)
        if not any(keyword in dataset for keyword in PIXELS):
            continue
        row = {"source": source, "name": path.name, "path": str(path)}
        try:
            row |= expect(dataset, into / f"{len(rows):03}")
        except Exception as error:  # whatever pydicom raises is its verdict
            row["pydicom"] = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        rows.append(row)
    (into / "index.json").write_text(json.dumps(rows, indent=1))
    decoded = sum("arrays" in row for row in rows)
    print(f"{len(rows)} files with pixels, {decoded} decoded by pydicom {pydicom.__version__}")


def files(folders):
    """Source and path of every file that may be DICOM."""
    roots = {"pydicom": Path(pydicom.__file__).parent / "data/test_files"}
    data = importlib.util.find_spec("data_store")
    if data:
        roots["pydicom-data"] = Path(data.origin).parent / "data"
    roots |= {folder.name: folder for folder in folders}
    for source, root in roots.items():
        for path in root.rglob("*"):
            if path.is_file() and path.suffix not in {".py", ".pyc", ".json", ".js", ".md"}:
                if is_dicom(path):
                    yield source, path


def is_dicom(path):
    try:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    except Exception:
        return False
    return len(dataset) > 0


def expect(dataset, stem):
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    count = int(dataset.get("NumberOfFrames") or 1)
    arrays = []
    for frame in sorted({0, count // 2, count - 1}):
        index = frame if count > 1 else None
        stored = pixel_array(dataset, index=index, raw=True)
        array = {"frame": frame, "shape": list(stored.shape)}
        array["stored"] = write(stored, stem, f"{frame}-stored")
        if stored.ndim == 2 and "SharedFunctionalGroupsSequence" not in dataset:
            values = apply_modality_lut(stored, dataset).astype(np.float32)
            values[is_padding(stored, dataset)] = np.nan
            array["values"] = write(values, stem, f"{frame}-values")
        arrays.append(array)
    return {"syntax": syntax, "lossy": syntax in LOSSY, "arrays": arrays}


def is_padding(stored, dataset):
    if "PixelPaddingValue" not in dataset:
        return np.zeros(stored.shape, bool)
    ends = [dataset.PixelPaddingValue, dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)]
    return (stored >= min(ends)) & (stored <= max(ends))


def write(array, stem, name):
    """Writes little-endian numbers and gives back the file's name and type."""
    file = stem.with_name(f"{stem.name}-{name}.bin")
    array = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    file.write_bytes(array.tobytes())
    return {"file": file.name, "dtype": array.dtype.str.lstrip("<|")}


if __name__ == "__main__":
    main()
