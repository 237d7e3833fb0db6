"""Compares what was pulled with what was sent: compare.py CONTENT PULLED bytes|data

`bytes` wants the very same files; `data` the same data sets, pixels and transfer
syntaxes, as a file meta information of one's own is written for C-STORE.
"""

import json
import sys
from pathlib import Path

import pydicom

content, pulled, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
sent = {entry["uid"]: content / entry["file"] for entry in json.load(open(content / "manifest.json"))["files"]}
found = {}
for path in pulled.rglob("*.dcm"):
    data = pydicom.dcmread(path)
    assert data.SOPInstanceUID == data.file_meta.MediaStorageSOPInstanceUID
    assert data.SOPClassUID == data.file_meta.MediaStorageSOPClassUID
    assert data.SOPInstanceUID not in found, "an instance came twice"
    found[data.SOPInstanceUID] = path
    original = pydicom.dcmread(sent[data.SOPInstanceUID])
    if how == "bytes":
        assert path.read_bytes() == sent[data.SOPInstanceUID].read_bytes()
        continue
    assert data.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert data.get("PixelData") == original.get("PixelData"), "other pixels"
    for side in (data, original):
        # Senders drop trailing padding and group lengths, and set right the value
        # representation of compressed pixels, which is not the pixels'.
        for tag in [tag for tag in side.keys() if tag.element == 0 or tag.group == 0xFFFC]:
            del side[tag]
        side.pop("PixelData", None)
    assert data == original, "another header"
print(len(found))
