"""Makes series of every geometry, and asks other readers where their voxels lie.

    python tests/conformance/geometry.py [--into data/conformance/geometry] [FOLDER ...]

Each series is a folder of DICOM files: classic ones written by pydicom, enhanced
ones by highdicom, and copies of real ones (pydicom-data, nibabel, and the folders
named). `index.json` says for each which volumes there must be, or with which
words it must be refused. A volume is an affine (RAS+ mm from voxel) and the
voxels `[k, j, i]` as little-endian f32, from each of: the numbers it was made of,
SimpleITK and dcm2niix.
"""

import argparse
import copy
import gzip
import json
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import data_store
import nibabel
import numpy as np
import pydicom
import SimpleITK
from highdicom.legacy import (
    LegacyConvertedEnhancedCTImage,
    LegacyConvertedEnhancedMRImage,
    LegacyConvertedEnhancedPETImage,
)
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    generate_uid,
)

ROOT = Path(__file__).resolve().parents[2]
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
COLUMNS, ROWS, SLICES = 12, 10, 7


def turn(axis, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array({
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }[axis], float)


def lps(row, column, step, origin=(-40.0, -35.5, 112.25), spacing=(0.8, 0.8), gap=2.5):
    """LPS mm from voxel (i, j, k): unit vectors along a row, a column, and to the next slice."""
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(row) * spacing[1]
    affine[:3, 1] = np.asarray(column) * spacing[0]
    affine[:3, 2] = np.asarray(step) * gap
    affine[:3, 3] = origin
    return affine


X, Y, Z = np.eye(3)
OBLIQUE = turn("x", 25) @ turn("y", -12) @ turn("z", 8)
TILT = np.array([0.0, np.sin(np.radians(18)), np.cos(np.radians(18))])
GRIDS = {
    "axial": lps(X, Y, Z),
    "axial-downwards": lps(X, Y, -Z),
    "feet-first": lps(-X, Y, -Z),
    "decubitus-right": lps(Y, -X, Z),
    "decubitus-left": lps(-Y, X, Z),
    "prone": lps(-X, -Y, Z),
    "sagittal": lps(Y, -Z, X),
    "sagittal-rightwards": lps(Y, -Z, -X),
    "coronal": lps(X, -Z, Y),
    "oblique": lps(OBLIQUE @ X, OBLIQUE @ Y, OBLIQUE @ Z),
    "double-oblique-backwards": lps(OBLIQUE @ Y, -OBLIQUE @ Z, -OBLIQUE @ X, gap=3.3),
    "tilt": lps(X, Y, TILT, gap=2.5),
    "not-square": lps(X, Y, Z, spacing=(0.5, 1.25)),
    "overlapping": lps(X, Y, Z, gap=1.0),
    "far": lps(X, Y, Z, origin=(-240.123, 1830.5, -980.75)),
}


def stored(seed=0, slices=SLICES):
    return np.random.default_rng(seed).integers(-900, 2000, (slices, ROWS, COLUMNS), np.int16)


def text(number):
    return f"{number:.10g}"[:16]


def classic(affine, voxels, storage=CTImageStorage, thickness=2.5, series=None, reference=None):
    """The data sets of a classic series, slice 0 first."""
    series, study = series or generate_uid(), generate_uid(entropy_srcs=["study"])
    reference = reference or generate_uid()
    for k, pixels in enumerate(voxels):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = storage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "phantom", "", "", ""
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20200101", "120000", "1", ""
        ds.ReferringPhysicianName, ds.Manufacturer, ds.SeriesNumber = "", "mivox", 1
        ds.ContentDate, ds.ContentTime = "20200101", "120000"
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = reference, ""
        ds.Modality = {CTImageStorage: "CT", MRImageStorage: "MR"}.get(storage, "PT")
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if ds.Modality == "CT" else "OTHER"]
        if ds.Modality == "MR":
            ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "SK", ""
            ds.MRAcquisitionType, ds.EchoTime, ds.RepetitionTime = "2D", "12", "500"
            ds.EchoTrainLength = 1
        elif ds.Modality == "CT":
            ds.KVP = "120"
        else:
            ds.Units, ds.SeriesType, ds.DecayCorrection = "BQML", ["STATIC", "IMAGE"], "NONE"
            ds.CorrectedImage, ds.CountsSource, ds.CollimatorType = ["ATTN"], "EMISSION", "NONE"
            ds.FrameReferenceTime, ds.ActualFrameDuration, ds.ImageIndex = "0", "1000", k + 1
            ds.RadiopharmaceuticalInformationSequence = []
        # Numbers that say nothing of the place.
        ds.InstanceNumber = (k * 5) % len(voxels) + 1
        ds.AcquisitionNumber = 1
        position = affine[:3] @ [0, 0, k, 1]
        spacing = np.linalg.norm(affine[:3, :2], axis=0)
        cosines = (affine[:3, :2] / spacing).T.ravel()
        ds.ImagePositionPatient = [text(n) for n in position]
        ds.ImageOrientationPatient = [text(n) for n in cosines]
        ds.PixelSpacing = [text(spacing[1]), text(spacing[0])]
        ds.SliceThickness = text(thickness)
        ds.Rows, ds.Columns, ds.SamplesPerPixel = *pixels.shape, 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = "1", "0"
        if ds.Modality == "CT":
            ds.RescaleType = "HU"
        ds.PixelData = pixels.astype("<i2").tobytes()
        yield ds


class Index:
    def __init__(self, into):
        self.into, self.rows, self.count = into, [], 0

    def folder(self, name):
        folder = self.into / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def save(self, name, datasets, truth=(), refused=None, **more):
        """Writes a series in an order that says nothing; the truth is (LPS affine, voxels).

        More that must hold: `kinds` of what is listed and no volume, `fill` where
        missing slices are to be filled, and what a PET is multiplied by for its `uptake`.
        """
        folder = self.folder(name)
        for n, ds in enumerate(datasets):
            ds.save_as(folder / f"{(n * 7 + 3) % 101:03}.dcm", enforce_file_format=True)
        self.add(name, folder, truth, refused, **more)

    def copy(self, name, files):
        folder = self.folder(name)
        for n, file in enumerate(files):
            data = gzip.open(file).read() if file.suffix == ".gz" else file.read_bytes()
            (folder / f"{n:04}.dcm").write_bytes(data)
        self.add(name, folder)

    def add(self, name, folder, truth=(), refused=None, **more):
        made = [self.volume(name, "made", RAS_FROM_LPS @ a, v) for a, v in truth]
        others = [] if refused or not truth and "kinds" in more else [*self.simpleitk(name, folder), *self.dcm2niix(name, folder)]
        row = {"name": name, "folder": str(folder), "refused": refused, **more}
        self.rows.append(row | {"volumes": [*made, *others]})

    def volume(self, name, tool, affine, voxels):
        self.count += 1
        file = self.into / f"{self.count:04}.bin"
        np.ascontiguousarray(voxels, "<f4").tofile(file)
        affine = np.asarray(affine, float).ravel().tolist()
        return {"tool": tool, "affine": affine, "shape": list(voxels.shape), "file": file.name}

    def simpleitk(self, name, folder):
        files = sorted(folder.iterdir())
        try:
            if len(files) == 1:
                image = SimpleITK.ReadImage(str(files[0]))
            else:
                reader = SimpleITK.ImageSeriesReader()
                reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
                image = reader.Execute()
        except RuntimeError as error:
            print(f"{name}: SimpleITK: {str(error).splitlines()[-1][:80]}")
            return
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        yield self.volume(name, "SimpleITK", RAS_FROM_LPS @ affine, SimpleITK.GetArrayFromImage(image))

    def dcm2niix(self, name, folder):
        if not shutil.which("dcm2niix"):
            return
        with tempfile.TemporaryDirectory() as out:
            command = ["dcm2niix", "-b", "n", "-z", "n", "-f", "%s_%j", "-o", out, str(folder)]
            subprocess.run(command, capture_output=True, check=False)
            for file in sorted(Path(out).glob("*.nii")):
                image = nibabel.load(file)
                data = np.asarray(image.dataobj)
                data = data[..., None] if data.ndim == 3 else data.reshape(*data.shape[:3], -1)
                for time in range(data.shape[3]):
                    yield self.volume(name, "dcm2niix", image.affine, data[..., time].T)


def main():
    parser = argparse.ArgumentParser(description="Makes series of every geometry.")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--into", type=Path, default=ROOT / "data/conformance/geometry")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(True)
    shutil.rmtree(arguments.into, ignore_errors=True)
    index = Index(arguments.into)
    for name, affine in GRIDS.items():
        index.save(name, classic(affine, stored()), [(affine, stored())])
    odd(index)
    uneven(index)
    nuclear(index)
    enhanced(index)
    uptake(index)
    real(index, arguments.folders)
    (arguments.into / "index.json").write_text(json.dumps(index.rows, indent=1))
    print(f"{len(index.rows)} series, {sum(len(row['volumes']) for row in index.rows)} volumes")


def odd(index):
    """Series that are no volume, or two."""
    axial = GRIDS["axial"]
    whole = list(classic(axial, stored()))
    index.save("missing", whole[:3] + whole[4:], refused="slices are missing")
    again = list(classic(axial, stored()))[2]
    again.SeriesInstanceUID, again.StudyInstanceUID = whole[0].SeriesInstanceUID, whole[0].StudyInstanceUID
    again.FrameOfReferenceUID = whole[0].FrameOfReferenceUID
    index.save("duplicate", [*whole, again], refused="more than once")
    negative = list(classic(axial, stored(), MRImageStorage))
    for ds in negative:
        # An attribute that some writers make negative, and none needs.
        ds.SpacingBetweenSlices = "-4"
    index.save("negative-spacing", negative, [(axial, stored())])
    planes = ["axial", "sagittal", "coronal"]
    whole, truth = one_series([(GRIDS[name], stored(n, 20)) for n, name in enumerate(planes[:2])])
    index.save("two-orientations", whole, truth, kinds=[])
    for slices in (1, 5):
        whole, _ = one_series([(GRIDS[name], stored(n, slices)) for n, name in enumerate(planes)])
        index.save(f"localizer-{slices}", whole, kinds=["localizer"])
    whole, truth = one_series([(axial, stored(0, 20)), (GRIDS["sagittal"], stored(1, 1))])
    index.save("scout-in-series", whole, truth[:1], kinds=["localizer"])
    series = generate_uid()
    other = lps(X, Y, Z, origin=(-40.0, -35.5, 300.0))
    two = [*classic(axial, stored(), series=series), *classic(other, stored(1), series=series)]
    index.save("two-frames-of-reference", two, [(axial, stored()), (other, stored(1))])


def one_series(stacks):
    """The data sets of several stacks under one series, and their truth."""
    series, reference = generate_uid(), generate_uid()
    both = [classic(*stack, series=series, reference=reference) for stack in stacks]
    return [ds for stack in both for ds in stack], stacks


def uneven(index):
    """Series that lack slices or have uneven gaps, to be filled."""
    for name in ["axial", "tilt"]:
        affine, voxels = GRIDS[name], stored(0, 20)
        whole, filled = list(classic(affine, voxels)), voxels.astype(float)
        for gone, below, above in [(4, 3, 5), (11, 10, 13), (12, 10, 13)]:
            filled[gone] = np.interp(gone, [below, above], [0, 1]) * (filled[above] - filled[below]) + filled[below]
        there = [ds for k, ds in enumerate(whole) if k not in (4, 11, 12)]
        index.save(f"filled-{name}", there, [(affine, filled)], fill=True)
    affine, voxels = GRIDS["axial"], stored(0, 12)
    at = np.cumsum([0, 1, 0.8, 1.3, 1, 1, 0.6, 1, 1.6, 1, 1, 0.9])
    whole = list(classic(affine, voxels))
    for ds, k in zip(whole, at):
        ds.ImagePositionPatient = [text(n) for n in affine[:3] @ [0, 0, k, 1]]
    steps = round(at[-1])
    grid = affine.copy()
    grid[:3, 2] *= at[-1] / steps
    places = np.arange(steps + 1) * at[-1] / steps
    lines = voxels.reshape(12, -1).T.astype(float)
    filled = np.array([np.interp(places, at, line) for line in lines]).T
    index.save("filled-uneven", whole, [(grid, filled.reshape(-1, ROWS, COLUMNS))], fill=True)


def nuclear(index):
    """Reconstructed SPECT, whose frames have no place of their own, and projections."""
    affine = GRIDS["oblique"]
    for name, gap in [("spect", 2.5), ("spect-in-front", -2.5)]:
        grid = affine.copy()
        grid[:3, 2] *= np.sign(gap)
        index.save(name, [spect(affine, [stored()], gap)], [(grid, stored())])
    slots = [stored(slot) for slot in range(3)]
    index.save("spect-gated", [spect(affine, slots, 2.5)], [(affine, voxels) for voxels in slots])
    projections = spect(affine, [stored()], 2.5)
    projections.ImageType[2] = "TOMO"
    index.save("spect-projections", [projections], kinds=["SPECT projections"])


def spect(affine, slots, gap):
    ds = next(classic(affine, slots[0]))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "KVP", "RescaleSlope",
                    "RescaleIntercept", "RescaleType"):
        place = ds.pop(keyword)
        if keyword.startswith("Image"):
            detector = ds.setdefault("DetectorInformationSequence", [Dataset()]).value[0]
            setattr(detector, keyword, place.value)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = NuclearMedicineImageStorage
    tomo = "RECON GATED TOMO" if len(slots) > 1 else "RECON TOMO"
    ds.Modality, ds.ImageType = "NM", ["ORIGINAL", "PRIMARY", tomo, "EMISSION"]
    ds.SpacingBetweenSlices, ds.NumberOfSlices = text(gap), SLICES
    ds.SliceVector = list(range(1, SLICES + 1)) * len(slots)
    ds.FrameIncrementPointer = [0x00540080]
    if len(slots) > 1:
        ds.FrameIncrementPointer = [0x00540070, 0x00540080]
        ds.TimeSlotVector = [slot + 1 for slot in range(len(slots)) for _ in range(SLICES)]
        ds.NumberOfTimeSlots = len(slots)
    ds.NumberOfFrames = SLICES * len(slots)
    ds.PixelData = np.stack(slots).astype("<i2").tobytes()
    return ds


def uptake(index):
    """Multi-frame PET whose header says what makes it standardised uptake."""
    affine, half_life = GRIDS["oblique"], 6586.2
    # 70 kg, 350 MBq an hour before.
    factor = 70e3 / (350e6 * 2 ** (-3600 / half_life))
    isotope = Dataset()
    isotope.RadionuclideHalfLife, isotope.RadionuclideTotalDose = text(half_life), "350000000"
    isotope.RadiopharmaceuticalStartTime = "120000"
    datasets = list(classic(affine, stored(), PositronEmissionTomographyImageStorage))
    for ds in datasets:
        ds.PatientWeight, ds.CorrectedImage, ds.DecayCorrection = "70", ["ATTN", "DECY"], "START"
        ds.SeriesDate = ds.AcquisitionDate = "20200101"
        ds.SeriesTime = ds.AcquisitionTime = "130000"
        ds.RadiopharmaceuticalInformationSequence = [isotope]
        ds.RescaleSlope = "3"
    truth = [(affine, stored() * 3.0)]
    index.save("classic-pet-uptake", datasets, truth, uptake=factor)
    whole = LegacyConvertedEnhancedPETImage(datasets, generate_uid(), 2, generate_uid(), 1)
    index.save("legacy-pet-uptake", [whole], truth, uptake=factor)
    ds = multiframe(affine, [stored()])
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedPETImageStorage
    ds.Modality, ds.PatientWeight, ds.DecayCorrectionDateTime = "PT", "70", "20200101130000"
    ds.DecayCorrected = ds.AttenuationCorrected = "YES"
    isotope = copy.deepcopy(isotope)
    # An enhanced PET has its dose in MBq.
    isotope.RadionuclideTotalDose = "350"
    del isotope.RadiopharmaceuticalStartTime
    isotope.RadiopharmaceuticalStartDateTime = "20200101120000"
    ds.RadiopharmaceuticalInformationSequence = [isotope]
    mapping, unit = Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "Bq/ml", "UCUM", "Bq/ml"
    mapping.MeasurementUnitsCodeSequence, mapping.LUTLabel = [unit], "BQML"
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = -2000, 3000
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 3.0, 0.0
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.RealWorldValueMappingSequence = [mapping]
    index.save("enhanced-pet-uptake", [ds], truth, uptake=factor)


def phases(affine, count, change):
    """A classic MR series with several volumes at the same places, mixed."""
    series, reference = generate_uid(), generate_uid()
    datasets = []
    for phase in range(count):
        voxels = stored(phase)
        for k, ds in enumerate(classic(affine, voxels, MRImageStorage, series=series, reference=reference)):
            change(ds, phase, k)
            datasets.append(ds)
    return datasets[::2] + datasets[1::2], [(affine, stored(phase)) for phase in range(count)]


def enhanced(index):
    def time(ds, phase, k):
        ds.TemporalPositionIdentifier = phase + 1
        ds.InstanceNumber = phase * SLICES + k + 1

    def numbered(ds, phase, k):
        ds.InstanceNumber = k * 3 + phase + 1

    def trigger(ds, phase, k):
        ds.InstanceNumber = phase * SLICES + k + 1
        ds.TriggerTime = text(40.0 * phase)

    def b_value(ds, phase, k):
        ds.InstanceNumber = phase * SLICES + k + 1
        ds.add_new((0x0018, 0x9087), "FD", [0.0, 500.0, 1000.0][phase])

    def echo(ds, phase, k):
        ds.EchoTime, ds.EchoNumbers = text(10.0 + 20 * phase), phase + 1

    for name, change in [
        ("time", time), ("instance-number", numbered), ("cardiac", trigger),
        ("diffusion", b_value), ("echoes", echo),
    ]:
        datasets, truth = phases(GRIDS["oblique"], 3, change)
        index.save(name, datasets, truth)
    affine = GRIDS["double-oblique-backwards"]
    k = np.arange(SLICES)[:, None, None]
    for name, storage, convert in [
        ("ct", CTImageStorage, LegacyConvertedEnhancedCTImage),
        ("mr", MRImageStorage, LegacyConvertedEnhancedMRImage),
        ("pet", PositronEmissionTomographyImageStorage, LegacyConvertedEnhancedPETImage),
    ]:
        uids = lambda: (generate_uid(), 2, generate_uid(), 1)
        datasets = list(classic(affine, stored(), storage))
        order = (3, 0, 6, 2, 5, 1, 4)
        whole = convert([datasets[k] for k in order], *uids())
        index.save(f"legacy-{name}", [whole], [(affine, stored())])
        for slice, ds in enumerate(datasets):
            # Each frame its own rescale.
            ds.RescaleSlope, ds.RescaleIntercept = text(1 + slice), text(-10 * slice)
        rescaled = convert([datasets[k] for k in order], *uids())
        index.save(f"legacy-{name}-rescaled", [rescaled], [(affine, stored() * (1.0 + k) - 10 * k)])
        packed = convert(
            datasets, *uids(), transfer_syntax_uid=RLELossless, use_extended_offset_table=True
        )
        truth = [(affine, stored() * (1.0 + k) - 10 * k)]
        index.save(f"legacy-{name}-rle-extended-offsets", [packed], truth)
    affine = GRIDS["oblique"]
    voxels = [stored(phase) for phase in range(3)]
    truth = [(affine, volume) for volume in voxels]
    index.save("enhanced-mr", [multiframe(affine, voxels[:1])], truth[:1])
    index.save("enhanced-mr-time", [multiframe(affine, voxels)], truth)
    first, second = concatenated(multiframe(affine, voxels[:1]))
    index.save("concatenation", [second, first], truth[:1])
    index.save("concatenation-cut", [first], refused="a concatenation of 2 instances of which 1")
    own = [stored()]
    index.save("enhanced-mr-rescaled", [multiframe(affine, own, own=True)], [(affine, own[0])])


def multiframe(affine, volumes, own=False):
    """An enhanced MR image: frames shuffled; places and times by frame, orientation,
    spacing and rescale shared, but for one slice with a rescale of its own."""
    ds = next(classic(affine, volumes[0], MRImageStorage))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
                    "SliceThickness", "RescaleSlope", "RescaleIntercept", "EchoTime",
                    "RepetitionTime", "ScanningSequence", "SequenceVariant", "ScanOptions"):
        delattr(ds, keyword)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    ds.InstanceNumber, ds.AcquisitionContrast = 1, "T1"
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    shared = Dataset()
    shared.PlaneOrientationSequence = [Dataset()]
    cosines = (affine[:3, :2] / spacing).T.ravel()
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [text(n) for n in cosines]
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = [text(spacing[1]), text(spacing[0])]
    shared.PixelMeasuresSequence[0].SliceThickness = "9"
    # What most frames do not say themselves.
    shared.PixelValueTransformationSequence = [rescale(1, 0)]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.DimensionIndexSequence = []
    for pointer, group in [(0x00209056, 0x00209111), (0x00209128, 0x00209111), (0x00209057, 0x00209111)]:
        item = Dataset()
        item.DimensionIndexPointer, item.FunctionalGroupPointer = pointer, group
        ds.DimensionIndexSequence.append(item)
    order = [(time, k) for time in range(len(volumes)) for k in range(SLICES)]
    np.random.default_rng(3).shuffle(order)
    frames, pixels = [], []
    for time, k in order:
        frame = Dataset()
        frame.FrameContentSequence = [Dataset()]
        content = frame.FrameContentSequence[0]
        content.StackID, content.InStackPositionNumber = "1", int(k) + 1
        content.TemporalPositionIndex = int(time) + 1
        content.DimensionIndexValues = [1, int(time) + 1, int(k) + 1]
        frame.PlanePositionSequence = [Dataset()]
        position = affine[:3] @ [0, 0, k, 1]
        frame.PlanePositionSequence[0].ImagePositionPatient = [text(n) for n in position]
        if own and k == 2:
            frame.PixelValueTransformationSequence = [rescale(2, -6)]
        stored = volumes[time][k]
        if own and k == 2:
            pixels.append(stored // 2)
            volumes[time][k] = stored // 2 * 2 - 6
        else:
            pixels.append(stored.astype("<i2"))
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.NumberOfFrames = len(frames)
    ds.PixelData = np.stack(pixels).tobytes()
    return ds


def rescale(slope, intercept):
    item = Dataset()
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = text(slope), text(intercept), "US"
    return item


def concatenated(whole):
    """An enhanced image in two instances."""
    cut, frame = 3, whole.Rows * whole.Columns * 2
    uid, parts = generate_uid(), []
    for number, frames in [(1, slice(None, cut)), (2, slice(cut, None))]:
        part = copy.deepcopy(whole)
        part.PerFrameFunctionalGroupsSequence = whole.PerFrameFunctionalGroupsSequence[frames]
        part.NumberOfFrames = len(part.PerFrameFunctionalGroupsSequence)
        start, stop, _ = frames.indices(int(whole.NumberOfFrames))
        part.PixelData = whole.PixelData[start * frame:stop * frame]
        part.ConcatenationUID, part.InConcatenationNumber = uid, number
        part.InConcatenationTotalNumber, part.ConcatenationFrameOffsetNumber = 2, start
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        parts.append(part)
    return parts


def real(index, folders):
    data = Path(data_store.__file__).parent / "data"
    # Its functional groups were taken out.
    emri = [pydicom.dcmread(data / "emri_small.dcm")]
    index.save("pydicom-emri", emri, refused="do not say where they lie")
    index.copy("pydicom-ect", [data / "eCT_Supplemental.dcm"])
    tests = Path(nibabel.__file__).parent / "nicom/tests/data"
    index.copy("nibabel-mosaic-b1000", [tests / "siemens_dwi_1000.dcm.gz"])
    index.copy("nibabel-mosaics", [tests / "siemens_dwi_0.dcm.gz", tests / "siemens_dwi_1000.dcm.gz"])
    index.copy("nibabel-mprage", [tests / "philips_mprage.dcm.gz"])
    for folder in folders:
        files = sorted(file for file in folder.iterdir() if file.is_file())
        index.copy("-".join(folder.parts[-5:]), files)


if __name__ == "__main__":
    main()
