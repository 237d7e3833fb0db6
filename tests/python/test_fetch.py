"""The sample scans: stored whole, under our own names, only where missing.

    python -m unittest tests/python/test_fetch.py

Nothing here needs the network; one test asks an index that does not answer.
"""

import contextlib
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

SCRIPT = Path(__file__).resolve().parents[2] / "data" / "fetch.py"
_spec = importlib.util.spec_from_file_location("fetch", SCRIPT)
fetch = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fetch)

CONTENT = b"a scan"
NAME = "templates/mni/T1.nii"


class Fetch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.into = Path(folder.name)
        self.downloads = 0

    def fetch_one(self, content=CONTENT):
        """Fetches one file, whose archive holds `content` in place of `CONTENT`."""

        def download(package, folder):
            self.downloads += 1
            return folder / f"{package}.whl"

        with (
            mock.patch.object(fetch, "download", download),
            mock.patch.object(fetch, "open_wheel", lambda archive: {"member": content}.get),
            mock.patch.object(
                fetch, "read_digests", lambda: {NAME: hashlib.sha256(CONTENT).hexdigest()}
            ),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            fetch.fetch("package", {NAME: "member"}, self.into)

    def test_a_second_run_downloads_nothing(self):
        self.fetch_one()
        self.fetch_one()
        self.assertEqual((self.into / NAME).read_bytes(), CONTENT)
        self.assertEqual(self.downloads, 1)

    def test_a_damaged_file_is_fetched_again(self):
        self.fetch_one()
        (self.into / NAME).write_bytes(CONTENT[:-1])
        self.fetch_one()
        self.assertEqual((self.into / NAME).read_bytes(), CONTENT)

    def test_other_content_is_refused_and_leaves_nothing(self):
        with self.assertRaisesRegex(ValueError, "samples.sha256"):
            self.fetch_one(b"another scan")
        self.assertEqual([p for p in self.into.rglob("*") if p.is_file()], [])

    def test_a_failed_write_leaves_nothing(self):
        with mock.patch.object(fetch.os, "replace", side_effect=OSError("disk full")):
            with self.assertRaises(OSError):
                self.fetch_one()
        self.assertEqual([p for p in self.into.rglob("*") if p.is_file()], [])

    def test_every_sample_has_a_digest_and_stays_in_its_folder(self):
        names = [name for _, members in fetch.PACKAGES for name in members]
        self.assertEqual(sorted(names), sorted(fetch.read_digests()))
        for name in names:
            self.assertNotIn("..", Path(name).parts)
            self.assertFalse(Path(name).is_absolute())

    def test_no_index_says_which_package_and_how_to_go_on(self):
        nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
        run = subprocess.run(
            [sys.executable, SCRIPT, "--into", self.into],
            env={**os.environ, **nowhere, "PIP_NO_CACHE_DIR": "1"},
            capture_output=True,
            text=True,
        )
        self.assertEqual(run.returncode, 1)
        self.assertIn("could not download spm-runtime and totalsegmentator", run.stderr)
        self.assertIn("--input YOUR_FOLDER", run.stderr)


if __name__ == "__main__":
    unittest.main()
