"""Times reading scans beside pydicom, dicom-rs, GDCM, SimpleITK, nibabel and MONAI.

    .venv-torch/bin/python benches/peers/load.py [--rounds N] [--only CASE ...]

Each peer is a process of its own that stays alive; they take turns, in another
order each round, and the first round warms up. What they read must be equal.
Prints medians over the rounds, and their ratios to mivox.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import peer as turns
from peer import Peer

# 511 of these gaps are a whole number of mm, so that all round the grid alike.
SERIES, SLICES, SPACING = 6, 60, (0.714286, 0.714286, 2.0)
ELEMENTS = 116
CODECS = {
    "raw": "1.2.840.10008.1.2.1",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}
# What a case reads, the unit of its times, threads, times a turn, and who takes part.
CASES = {
    "header": ("header", "raw.dcm", "µs", 1, 2000, ["bytes alone", "pydicom", "dicom-rs", "GDCM", "SimpleITK"]),
    **{
        name: ("slice", f"{name}.dcm", "ms", 1, 60, ["pydicom", "dicom-rs", "SimpleITK"])
        for name in CODECS
    },
    ".nii": ("volume", "volume.nii", "ms", 1, 3, ["nibabel", "SimpleITK", "MONAI"]),
    ".nii.gz": ("volume", "volume.nii.gz", "ms", 1, 1, ["nibabel", "SimpleITK", "MONAI"]),
    "series": ("series", "series", "s", 2, 1, ["SimpleITK", "MONAI"]),
}


# ------------------------------------------------------------------ what is read


def body(random, rows, columns):
    """A slice of a body in Hounsfield units, with a scanner's noise."""
    y, x = np.mgrid[-1:1 : rows * 1j, -1:1 : columns * 1j]
    hu = np.where(x**2 / 0.7 + y**2 / 0.4 < 1, 40.0, -1000.0)
    hu[(np.abs(x) - 0.35) ** 2 / 0.06 + y**2 / 0.12 < 1] = -850
    hu[x**2 + (y - 0.45) ** 2 < 0.008] = 700
    return (hu + random.normal(0, 12, hu.shape) + 1024).clip(0, 4095).astype(np.int16)


def write_slice(path, pixels, series, k, syntax=CODECS["raw"]):
    import pydicom
    from pydicom.data import get_testdata_file

    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data.Rows, data.Columns = pixels.shape
    data.PixelData, data.PixelSpacing = pixels.tobytes(), list(SPACING[:2])
    data.ImagePositionPatient = [-182.5, -182.5, k * SPACING[2]]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.StudyInstanceUID = data.FrameOfReferenceUID = f"1.2.3.{series}"
    data.SeriesInstanceUID, data.SOPInstanceUID = f"1.2.3.{series}.1", f"1.2.3.{series}.1.{k}"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.InstanceNumber, data.RescaleIntercept, data.RescaleSlope = k + 1, -1024, 1
    for tag in [t for t in data.keys() if data[t].keyword.startswith(("SmallestI", "LargestI"))]:
        del data[tag]
    # as many as a CT has without the private values of one scanner
    for element in reversed([element for element in data if element.tag.is_private]):
        if len(list(data.iterall())) > ELEMENTS:
            del data[element.tag]
    if data.get("PixelPaddingValue") is not None:
        del data.PixelPaddingValue
    data.save_as(path, enforce_file_format=True)
    if syntax == CODECS["raw"]:
        return len(list(data.iterall()))
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    kind = {"RLE": gdcm.TransferSyntax.RLELossless, "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
            "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
            "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless}
    name = next(name for name, uid in CODECS.items() if uid == syntax)
    change.SetTransferSyntax(gdcm.TransferSyntax(kind[name]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return None


def write_inputs(folder, cases):
    random = np.random.default_rng(0)
    pixels = body(random, 512, 512)
    for name, syntax in CODECS.items():
        if name in cases or name == "raw":
            elements = write_slice(folder / f"{name}.dcm", pixels, 0, 0, syntax)
            if elements:
                print(f"A CT file of {elements} elements and 512 x 512 pixels.")
    if any(name.startswith(".nii") for name in cases):
        import nibabel

        volume = np.stack([body(random, 256, 256).T for _ in range(256)], -1) - np.int16(1024)
        image = nibabel.Nifti1Image(volume, np.diag([-1, -1, 1, 1]))
        image.header.set_data_dtype(np.int16)
        for name in ["volume.nii", "volume.nii.gz"]:
            nibabel.save(image, folder / name)
    for series in range(SERIES if "series" in cases else 0):
        place = folder / "series" / f"{series}"
        place.mkdir(parents=True)
        for k in range(SLICES):
            # a name that says nothing of the place
            write_slice(place / f"{k * 37 % 101:03}", body(random, 512, 512), series + 1, k)


# ------------------------------------------------------------------ who reads it


def pydicom(case, path):
    from pydicom import dcmread
    from pydicom.pixels import apply_modality_lut

    def read():
        data = dcmread(path)
        return apply_modality_lut(data.pixel_array, data).astype(np.float32)

    return (lambda: dcmread(path, stop_before_pixels=True)) if case == "header" else read


def gdcm(case, path):
    import gdcm

    pixels = gdcm.Tag(0x7FE0, 0x0010)

    def read():
        reader = gdcm.Reader()
        reader.SetFileName(str(path))
        assert reader.ReadUpToTag(pixels)

    return read


def simpleitk(case, path):
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

    def header():
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()

    if case == "header":
        return header
    kept = {}

    def read():
        # the array is a view of the image
        kept["image"] = sitk.ReadImage(str(path), sitk.sitkFloat32)
        return sitk.GetArrayViewFromImage(kept["image"])

    return read


def nibabel(case, path):
    import nibabel

    return lambda: nibabel.load(path).get_fdata(dtype=np.float32, caching="unchanged").T


def monai(case, path):
    import torch
    from monai.transforms import LoadImage

    torch.set_num_threads(1)
    load = LoadImage(image_only=True, dtype=np.float32)
    return lambda: load(path).numpy().T


def covering(shape, affine):
    """The grid of 1 mm along the patient's axes that covers an aligned one."""
    corners = np.array([affine @ [*(np.array(shape) - 1) * corner, 1] for corner in
                        np.ndindex(2, 2, 2)])[:, :3]
    low, high = corners.min(0), corners.max(0)
    onto = np.eye(4)
    onto[:3, 3] = low
    return np.floor(high - low + 1e-3).astype(int) + 1, onto


def level(values):
    return float(np.ravel(values)[::101].mean(dtype=np.float64))


def series_by_simpleitk(folder):
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    image = sitk.Cast(reader.Execute(), sitk.sitkFloat32)
    ras_from_lps = np.diag([-1, -1, 1, 1])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    shape, onto = covering(image.GetSize(), ras_from_lps @ affine)
    lps = ras_from_lps @ onto
    image = sitk.Resample(
        image, shape.tolist(), sitk.Transform(), sitk.sitkLinear, lps[:3, 3].tolist(),
        (1.0, 1.0, 1.0), lps[:3, :3].ravel().tolist(), -1000.0,
    )
    image = sitk.Clamp(sitk.ShiftScale(image, 0, 1 / 1000), sitk.sitkFloat32, -1, 1)
    values = sitk.GetArrayViewFromImage(image)
    return image.GetSize(), onto.ravel().tolist(), level(values)


def series_by_monai(folder):
    import torch
    from monai.transforms import (
        Compose, EnsureChannelFirst, LoadImage, Orientation, ScaleIntensityRange, Spacing,
    )

    torch.set_num_threads(1)
    prepare = Compose([
        LoadImage(reader="PydicomReader", image_only=True, dtype=np.float32),
        EnsureChannelFirst(),
        Orientation(axcodes="RAS", labels=None),
        Spacing(pixdim=(1, 1, 1), mode="bilinear"),
        ScaleIntensityRange(-1000, 1000, -1, 1, clip=True),
    ])
    image = prepare(folder)
    affine = image.affine.numpy().ravel().tolist()
    return list(image.shape[1:]), affine, level(image.numpy()[0].T)


def series(one, folder):
    folders = sorted(str(entry) for entry in folder.iterdir())
    pool = multiprocessing.get_context("spawn").Pool(2)
    return lambda: pool.map(one, folders, chunksize=1)


PEERS = {
    "pydicom": pydicom, "GDCM": gdcm, "SimpleITK": simpleitk, "nibabel": nibabel, "MONAI": monai,
}
SERIES_PEERS = {"SimpleITK": series_by_simpleitk, "MONAI": series_by_monai}


def serve(name, case, path, out):
    kind = CASES[case][0]
    work = series(SERIES_PEERS[name], path) if kind == "series" else PEERS[name](kind, path)
    result = turns.serve(work)
    if kind == "series":
        (out / f"{name}.json").write_text(json.dumps(result))
    elif kind != "header":
        np.save(out / f"{name}.npy", result)


# ------------------------------------------------------------------ side by side


def check(case, names, folder):
    """What the peers read is equal; what mivox reads is compared by its own tests."""
    if case == "series":
        results = {name: json.loads((folder / f"{name}.json").read_text()) for name in names}
        ours = sorted(results["mivox"], key=lambda one: one[2])
        for name, theirs in results.items():
            for (shape, affine, mean), (other, there, level) in zip(
                ours, sorted(theirs, key=lambda one: one[2]), strict=True
            ):
                if list(shape) != list(other) or np.abs(np.subtract(affine, there)).max() > 1e-3:
                    sys.exit(f"{name} has another grid: {other}, {there}; mivox: {shape}, {affine}")
                if abs(mean - level) > 2e-3:
                    sys.exit(f"{name} has another mean: {level}; mivox: {mean}")
    elif case != "header":
        if "dicom-rs" in names:
            np.save(folder / "dicom-rs.npy", np.fromfile(folder / "dicom-rs.f32", "<f4").reshape(512, 512))
        first, *others = (np.load(folder / f"{name}.npy").squeeze() for name in names[1:])
        for other in others:
            if np.abs(first - other).max() > 1e-3:
                sys.exit(f"{names[1:]} differ in {case}")


def dicom_rs():
    """dicom-rs, which is Rust too."""
    manifest = str(Path(__file__).parent / "dicom-rs" / "Cargo.toml")
    return turns.built("dicom-rs-peer", "build", "--release", "--manifest-path", manifest)


def compare(case, folder, binary, dicom_rs, rounds):
    kind, path, unit, threads, count, names = CASES[case]
    extra = [str(folder)] if kind == "series" else []
    peers = [Peer("mivox", [binary, kind, str(folder / path), *extra], threads)]
    for name in names:
        command = [sys.executable, __file__, "--serve", name, case, folder / path, folder]
        if name == "bytes alone":
            command = [binary, "bytes", str(folder / path)]
        if name == "dicom-rs":
            command = [dicom_rs, kind, folder / path, folder]
        peers.append(Peer(name, command, threads))
    turns.take_turns(peers, rounds, {peer.name: count for peer in peers})
    for peer in peers:
        peer.process.communicate()
    check(case, [peer.name for peer in peers], folder)
    print(
        f"\n{case}, {threads} threads, {rounds} rounds of {count}, load {os.getloadavg()[1]:.1f}\n\n"
        f"| | wall, {unit} (least to most) | CPU, {unit} | peak, MiB | of mivox: wall, CPU |\n"
        "|---|---|---|---|---|"
    )
    for peer in peers:
        print(f"| {turns.row(peer, peers[0], unit)} |", flush=True)
    if kind == "series":
        median = sorted(peers[0].wall)[len(peers[0].wall) // 2]
        print(f"\nmivox: {SERIES / median:.1f} volumes of 512 x 512 x {SLICES} a second")


def main():
    if sys.argv[1:2] == ["--serve"]:
        name, case, path, out = sys.argv[2:]
        return serve(name, case, Path(path), Path(out))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=CASES)
    arguments = parser.parse_args()
    binary, peer = turns.mivox_binary("loading"), dicom_rs()
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), arguments.only)
        for case in arguments.only:
            compare(case, Path(folder), binary, peer, arguments.rounds)


if __name__ == "__main__":
    main()
