"""Times an index over many small DICOM files beside pydicom and GDCM.

    .venv-torch/bin/python benches/peers/index.py [--files N] [--beside N] [--rounds N]

Generates the files (about 3.5 KB each, 100 a series), indexes some of them with each
peer, all in turns, then all of them with mivox: anew, unchanged, and with one in a
thousand changed. Times and peak memory are those of the whole process.
"""

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peer import ROOT

SLICES = 100
TAGS = {
    "PatientID": (0x10, 0x20), "StudyInstanceUID": (0x20, 0xD), "SeriesInstanceUID": (0x20, 0xE),
    "SOPInstanceUID": (0x8, 0x18), "Modality": (0x8, 0x60), "InstanceNumber": (0x20, 0x13),
    "ImagePositionPatient": (0x20, 0x32), "ImageOrientationPatient": (0x20, 0x37),
    "PixelSpacing": (0x28, 0x30), "Rows": (0x28, 0x10), "Columns": (0x28, 0x11),
    "FrameOfReferenceUID": (0x20, 0x52), "ImageType": (0x8, 0x8), "SOPClassUID": (0x8, 0x16),
}


def template():
    """A CT file of 8 x 8 pixels, and marks of the same length for what changes."""
    import io

    import pydicom
    from pydicom.data import get_testdata_file

    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    # the private values of one scanner tell nothing of others
    data.remove_private_tags()
    data.Rows = data.Columns = 8
    data.PixelData = bytes(128)
    data.PatientID = "P" * 8
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.1" + "1" * 9, "1.2.2" + "2" * 9
    data.FrameOfReferenceUID = data.StudyInstanceUID
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3" + "3" * 13
    data.ImagePositionPatient, data.InstanceNumber = ["-10", "-10", "4444"], "5555"
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue(), len(list(data.iterall()))


def write(folder, count):
    whole, elements = template()
    for number in range(0, count, SLICES):
        series = number // SLICES
        place = folder / f"{series // 1000:03}" / f"{series:06}"
        place.mkdir(parents=True)
        one = whole.replace(b"P" * 8, b"P%07d" % (series // 4))
        one = one.replace(b"1.2.1" + b"1" * 9, b"1.2.1.%08d" % (series + 10_000_000))
        one = one.replace(b"1.2.2" + b"2" * 9, b"1.2.2.%08d" % (series + 10_000_000))
        for k in range(min(SLICES, count - number)):
            slice_ = one.replace(b"1.2.3" + b"3" * 13, b"1.2.3.%08d.%03d" % (series + 10_000_000, k + 100))
            slice_ = slice_.replace(b"-10\\4444", b"-10\\%4d" % (2 * k))
            slice_ = slice_.replace(b"IS\4\0" b"5555", b"IS\4\0%4d" % k)
            (place / f"{k * 37 % 101:04}").write_bytes(slice_)
    return len(whole), elements


def by_pydicom(folder):
    from pydicom import dcmread

    series = {}
    for root, _, names in os.walk(folder):
        for name in names:
            data = dcmread(f"{root}/{name}", stop_before_pixels=True, specific_tags=list(TAGS))
            values = [data.get(word) for word in TAGS]
            series.setdefault(data.SeriesInstanceUID, []).append(values)
    return len(series)


def by_gdcm(folder):
    import gdcm

    directory, scanner = gdcm.Directory(), gdcm.Scanner()
    directory.Load(str(folder), True)
    tags = [gdcm.Tag(*tag) for tag in TAGS.values()]
    for tag in tags:
        scanner.AddTag(tag)
    assert scanner.Scan(directory.GetFilenames())
    series = {}
    for name in directory.GetFilenames():
        values = [scanner.GetValue(name, tag) for tag in tags]
        series.setdefault(values[2], []).append(values)
    return len(series)


PEERS = {"pydicom": by_pydicom, "GDCM": by_gdcm}


def timed(command):
    """Wall time, CPU time in seconds and peak memory in MiB of a process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, wrong = (pipe.read().decode() for pipe in (process.stdout, process.stderr))
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{command[:2]} failed: {said}{wrong}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said


def mivox(folder, out):
    binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "mivox"
    return [str(binary), "index", "pipelines/default.toml", "--input", str(folder), "--out", str(out)]


def main():
    if sys.argv[1:2] == ["--serve"]:
        return print(PEERS[sys.argv[2]](Path(sys.argv[3])))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--beside", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    subprocess.run(["cargo", "build", "--quiet", "--release", "--locked"], cwd=ROOT, check=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        length, elements = write(work / "some", arguments.beside)
        print(f"Files of {length} bytes and {elements} elements, {SLICES} a series.")
        commands = {"mivox": mivox(work / "some", work / "out")}
        for name in PEERS:
            commands[name] = [sys.executable, __file__, "--serve", name, str(work / "some")]
        times = {name: [] for name in commands}
        order = random.Random(0)
        for number in range(arguments.rounds + 1):
            for name in order.sample(list(commands), len(commands)):
                shutil.rmtree(work / "out", ignore_errors=True)
                wall, cpu, peak, _ = timed(commands[name])
                # the first round warms up
                if number > 0:
                    times[name].append((wall, cpu, peak))
        print(
            f"\n{arguments.beside} files, {arguments.rounds} rounds, mivox with "
            f"{len(os.sched_getaffinity(0))} threads, load {os.getloadavg()[1]:.1f}\n\n"
            "| | wall, s (least to most) | CPU, µs a file | peak, MiB | of mivox: wall, CPU |\n"
            "|---|---|---|---|---|"
        )
        first = [statistics.median(column) for column in zip(*times["mivox"], strict=True)]
        for name, rows in times.items():
            wall, cpu, peak = (statistics.median(column) for column in zip(*rows, strict=True))
            walls = [row[0] for row in rows]
            print(
                f"| {name} | {wall:.2f} ({min(walls):.2f} to {max(walls):.2f}) | "
                f"{1e6 * cpu / arguments.beside:.0f} | {peak:.0f} | "
                f"{wall / first[0]:.1f}, {cpu / first[1]:.1f} |", flush=True,
            )
        shutil.rmtree(work / "some")
        write(work / "all", arguments.files)
        print(
            f"\nmivox, {arguments.files} files, one run each, load {os.getloadavg()[1]:.1f}\n\n"
            "| | wall, s | CPU, s | peak, MiB | it says |\n|---|---|---|---|---|"
        )
        changed = sorted((work / "all").glob("*/*/0000"))[::10]
        for case in ["new", "unchanged", "one in a thousand changed"]:
            if case.startswith("one"):
                for file in changed:
                    os.utime(file)
            wall, cpu, peak, said = timed(mivox(work / "all", work / "out"))
            said = said.splitlines()[0].removeprefix("index").strip()
            print(f"| {case} | {wall:.1f} | {cpu:.1f} | {peak:.0f} | {said} |", flush=True)


if __name__ == "__main__":
    main()
