"""Writes 300 instances of three invented patients: content.py FOLDER

MR, CT and PET series of small slices with a sound geometry, and copies of pydicom's
test files in a dozen transfer syntaxes under UIDs of their own. `manifest.json` says
what was written and which words must stay secret.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PATIENTS = {
    "GEHEIM^ANNA": "PID-GEHEIM-1",
    "HEIMLICH^BODO": "PID-HEIMLICH-2",
    "VERBORGEN^CLARA": "PID-VERBORGEN-3",
}
COPIES = [
    "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_implicit.dcm", "JPGExtended.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm",
    "examples_overlay.dcm", "reportsi.dcm", "rtplan.dcm",
]
CLASSES = {"MR": "4", "CT": "2", "PT": "128"}

folder = Path(sys.argv[1])
folder.mkdir(parents=True)
draw = np.random.default_rng(7)
files, secrets = [], set()


def uid(*words):
    made = generate_uid(prefix="1.2.826.0.1.3680043.10.9999.", entropy_srcs=[str(w) for w in words])
    secrets.add(str(made))
    return made


def save(data):
    path = folder / f"{len(files):03}.dcm"
    data.save_as(path, enforce_file_format=True)
    files.append({"file": path.name, "uid": str(data.SOPInstanceUID), "modality": data.Modality})


def identify(data, patient, study, series, number):
    data.PatientName, data.PatientID = patient, PATIENTS[patient]
    data.StudyInstanceUID, data.SeriesInstanceUID = uid(study), uid(study, series)
    data.SOPInstanceUID = uid(study, series, number)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    secrets.update([patient, patient.split("^")[0], PATIENTS[patient]])


def series(patient, study, date, modality, name, count):
    for k in range(count):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{CLASSES[modality]}"
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.StudyDate, data.StudyTime, data.Modality = date, "120000", modality
        identify(data, patient, study, name, k)
        data.FrameOfReferenceUID = uid(study, "frame")
        data.InstanceNumber, data.SeriesNumber = k + 1, 1
        data.SeriesDescription = "T1" if modality == "MR" else modality
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [-30, -30, 2.5 * k]
        data.PixelSpacing, data.SliceThickness = [1.25, 1.25], 2.5
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.Rows = data.Columns = 96
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelData = draw.integers(-500, 1500, (96, 96), dtype="<i2").tobytes()
        if modality == "PT":
            data.Units = "BQML"
        save(data)


anna, bodo, clara = PATIENTS
series(anna, "A", "20240115", "MR", "first", 110)
series(anna, "A", "20240115", "MR", "second", 60)
series(bodo, "B", "20240310", "CT", "third", 80)
series(bodo, "B", "20240310", "PT", "fourth", 40)
for n, name in enumerate(COPIES):
    data = pydicom.dcmread(get_testdata_file(name))
    identify(data, clara, "C", name, n)
    data.StudyDate = "20230505"
    data.Modality = data.get("Modality") or "OT"
    save(data)

manifest = {"files": files, "secrets": sorted(secrets)}
(folder / "manifest.json").write_text(json.dumps(manifest))
assert len(files) == 300, len(files)
