"""Writes into a folder what nibabel reads of its own test data and of odd files.

    .venv/bin/python tests/readers/nibabel_reference.py FOLDER

`reference.jsonl` has a line a file: its path, its shape, nibabel's affine in mm
and the name of a file of its values, float32 in file order, all frames; or the
reason why there is nothing to compare. Complex values are given as magnitude,
colours as luma (BT.601): what a reader of intensities makes of them.

`nibabel.load` calls Analyze what has no NIfTI signature and reads it as SPM2.
"""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

OUT = Path(sys.argv[1])
DATA = Path(nib.__file__).parent / "tests/data"
UNIT_MM = {"meter": 1000.0, "micron": 0.001}
rng = np.random.default_rng(5)
lines = []


def values(image):
    data = np.asanyarray(image.dataobj)
    if data.dtype.names:
        r, g, b = (data[name].astype(np.float64) for name in "RGB")
        data = 0.299 * r + 0.587 * g + 0.114 * b
    if np.iscomplexobj(data):
        data = np.abs(data.astype(np.complex128))
    return data.astype(np.float32)


def reference(path):
    line = {"file": str(path)}
    try:
        image = nib.load(path)
        if isinstance(image, nib.Cifti2Image):
            line["unread"] = "CIFTI-2: a matrix and no volume"
            lines.append(line)
            return
        data = values(image)
    except Exception as error:
        line["unread"] = f"{type(error).__name__}: nibabel does not read it"
        lines.append(line)
        return
    affine = np.array(image.affine, np.float64)
    if hasattr(image.header, "get_xyzt_units"):
        affine[:3] *= UNIT_MM.get(image.header.get_xyzt_units()[0], 1.0)
    line["kind"] = f"{type(image).__name__} {image.get_data_dtype()}"
    line["shape"] = list(image.shape)
    line["affine"] = affine.ravel().tolist()
    line["values"] = f"{len(lines)}.f32"
    data.astype("<f4").ravel(order="F").tofile(OUT / line["values"])
    lines.append(line)


def oblique():
    a, b = 0.3, 1.1
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn * [-0.5, 0.75, 3.0]
    affine[:3, 3] = [-20.5, 30.25, 7.125]
    return affine


def made(dtype, shape):
    if dtype in (nib.nifti1.data_type_codes.dtype["RGB"], nib.nifti1.data_type_codes.dtype["RGBA"]):
        data = np.zeros(shape, dtype)
        for name in dtype.names:
            data[name] = rng.integers(0, 256, shape)
        return data
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    data = rng.normal(0, 1e3, shape)
    if dtype.kind == "c":
        data = data + 1j * rng.normal(0, 1e3, shape)
    return data.astype(dtype)


TYPES = [np.dtype(t) for t in "u1 i1 i2 u2 i4 u4 i8 u8 f4 f8 c8 c16".split()]
TYPES += [nib.nifti1.data_type_codes.dtype[name] for name in ("RGB", "RGBA")]
FORMS = [
    (nib.Nifti1Image, ".nii"),
    (nib.Nifti1Pair, ".hdr"),
    (nib.Nifti2Image, ".nii.gz"),
    (nib.Nifti2Pair, ".hdr"),
]


def odd_types():
    """Every type in every form and byte order."""
    for dtype in TYPES:
        for klass, ending in FORMS:
            for order in "<>":
                header = klass.header_class(endianness=order)
                header.set_data_dtype(dtype)
                data = made(dtype, (5, 4, 3))
                image = klass(data, oblique(), header)
                # Big integers do not survive nibabel's scaling to and fro.
                image.header.set_slope_inter(1, 0)
                name = f"type{len(lines)}{ending}"
                image.to_filename(OUT / name)
                reference(OUT / name)


def odd_headers():
    """Scales, frames, units, orientations."""

    def save(name, shape=(5, 4, 3), klass=nib.Nifti1Image, dtype="<i2", change=None, affine=None):
        data = made(np.dtype(dtype), shape)
        image = klass(data, oblique() if affine is None else affine)
        if change:
            change(image)
        image.to_filename(OUT / name)
        reference(OUT / name)

    for slope, inter in [(0.5, -3.0), (-2.25, 1e4), (1e-3, 0.0)]:
        def change(image):
            image.header.set_slope_inter(slope, inter)
        for dtype in ("<i2", "<u1", "<f4", "<c8"):
            save(f"scaled{slope}{dtype[1:]}.nii", dtype=dtype, change=change)
    save("frames.nii.gz", (5, 4, 3, 6))
    save("frames2.nii", (5, 4, 3, 2, 3), nib.Nifti2Image)
    save("trailing.nii", (5, 4, 3, 1, 1, 1, 1))
    save("plane.nii", (5, 4))
    save("line.nii", (5,))
    save("pair.hdr.gz", klass=nib.Nifti1Pair)
    for unit in ("meter", "micron", "unknown"):
        save(f"{unit}.nii", change=lambda image: image.header.set_xyzt_units(unit))

    def only(sform, qform):
        def change(image):
            affine = image.affine
            image.set_qform(affine, qform)
            image.header.set_sform(affine, sform)
            image.header["sform_code"] = sform
            image._affine = image.header.get_best_affine()
        return change

    save("qform.nii", change=only(0, 1))
    save("neither.nii", change=only(0, 0))
    for turn in ([1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1], [1, 1, -1]):
        affine = np.diag([*(np.array(turn) * [2.0, 3.0, 4.0]), 1.0])
        save(f"turn{turn}.nii", affine=affine, change=only(0, 2))
    for order in "<>":
        header = nib.Spm99AnalyzeHeader(endianness=order)
        header.set_data_dtype(np.int16)
        data = made(np.dtype("i2"), (5, 4, 3))
        for name, origin, slope in [("spm", (2, 3, 1), 0.25), ("plain", (0, 0, 0), 1.0)]:
            image = nib.Spm99AnalyzeImage(data, None, header)
            image.header.set_zooms((0.5, 0.75, 3.0))
            image.header["origin"][:3] = origin
            stem = OUT / f"{name}{'be' if order == '>' else 'le'}"
            raw = image.header.copy()
            raw.set_data_shape(data.shape)
            raw.set_slope_inter(slope)
            stem.with_suffix(".hdr").write_bytes(raw.binaryblock)
            data.astype(order + "i2").ravel(order="F").tofile(stem.with_suffix(".img"))
            reference(stem.with_suffix(".hdr"))


def nibabels_own():
    for path in sorted(DATA.iterdir()):
        if not path.name.endswith((".nii", ".nii.gz", ".hdr")):
            continue
        if path.suffix != ".hdr":
            reference(path)
            continue
        # Its headers of pairs come without their images: one is made.
        copy = OUT / path.name
        copy.write_bytes(path.read_bytes())
        image = nib.load(copy)
        with open(copy.with_suffix(".img"), "wb") as voxels:
            voxels.write(bytes(image.dataobj.offset))
            voxels.write(made(image.get_data_dtype(), image.shape).tobytes(order="F"))
        reference(copy)


nibabels_own()
odd_types()
odd_headers()
with open(OUT / "reference.jsonl", "w") as out:
    out.writelines(json.dumps(line) + "\n" for line in lines)
