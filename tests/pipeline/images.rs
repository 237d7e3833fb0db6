//! Image files of every format through index and prepare.

use std::{collections::BTreeMap, fs};

use mivox::{
    cohort::{CohortRow, Link, Quarantined},
    geometry::{DVec3, affine_from_flat, ras_from_lps},
    io::image::open_volume,
    prepare::VolumeRow,
    table,
};

use crate::workplace::{Pipeline, SMALL, Workplace, checked, python};

/// Writes the same 24 × 20 × 10 head, some of it in two frames, in each format.
const MAKE: &str = r#"
import gzip, json, sys
from pathlib import Path
import nibabel as nib, numpy as np
out = Path(sys.argv[1]); out.mkdir()
i, j, k = np.mgrid[:24, :20, :10]
body = ((i - 11) / 9) ** 2 + ((j - 9) / 8) ** 2 + ((k - 5) / 4) ** 2 < 1
head = (body * (200 + 20 * i + 7 * j + 3 * k)).astype(np.int16)
affine = np.diag([-4.0, 4.0, 6.0, 1.0]); affine[:3, 3] = 50, -40, -30
def save(name, data, klass=nib.Nifti1Image):
    klass(data, affine).to_filename(out / name)
save("sub-1_T1w.nii.gz", head)
save("sub-2_T1w.hdr", head, nib.Nifti1Pair)
save("sub-3_bold.nii.gz", np.stack([head, head + body], -1).astype(np.int16), nib.Nifti2Image)
save("sub-3_part-phase_bold.nii.gz", head)
save("sub-3_task-x_unknown.nii.gz", head)
(out / "sub-3_task-x_unknown.json").write_text(json.dumps({"Modality": "MR"}))
colour = np.zeros(head.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")]); colour["R"] = body * 200
save("sub-3_T2w.nii", colour)
raw = head.tobytes(order="F")
lps = np.diag([-1, -1, 1, 1.0]) @ affine
steps = " ".join("(%g,%g,%g)" % tuple(lps[:3, n]) for n in range(3))
nrrd = ("NRRD0004\ntype: short\ndimension: 3\nsizes: 24 20 10\nendian: little\nencoding: raw\n"
        "space: LPS\nspace directions: %s\nspace origin: (%g,%g,%g)\n" % (steps, *lps[:3, 3]))
(out / "sub-4_T1w.nrrd").write_bytes(nrrd.encode() + b"\n" + raw)
(out / "sub-5_T1w.nhdr").write_text(nrrd.replace("raw", "gzip") + "data file: five.raw.gz\n")
(out / "five.raw.gz").write_bytes(gzip.compress(raw))
matrix = " ".join("%g" % x for x in (lps[:3, :3] / [4, 4, 6]).T.ravel())
meta = ("ObjectType = Image\nNDims = 3\nDimSize = 24 20 10\nElementSpacing = 4 4 6\n"
        "TransformMatrix = %s\nOffset = %g %g %g\nElementType = MET_SHORT\nElementDataFile = "
        % (matrix, *lps[:3, 3]))
(out / "sub-6_T1w.mha").write_bytes(meta.encode() + b"LOCAL\n" + raw)
(out / "sub-7_T1w.mhd").write_text(meta + "seven.raw\n"); (out / "seven.raw").write_bytes(raw)
# Refused for its length, and its voxels are no alien file for that.
(out / "sub-8_T1w.mhd").write_text(meta + "eight.raw\n"); (out / "eight.raw").write_bytes(raw[:99])
(out / "sub-9_T1w.mhd").write_text(meta + "../results/x\n")
"#;

#[test]
fn every_format_and_every_frame_becomes_the_same_volume() {
    let sources = "[[source]]\nname = 'images'\npath = 'images'\n";
    let place = Workplace::new(&Pipeline { sources, rest: SMALL });
    let mut make = python();
    make.arg("-c").arg(MAKE).arg(place.path("images"));
    checked(make, 0);
    place.run(&["index"], 2);
    place.run(&["prepare"], 2);

    let results = place.results();
    let links: Vec<Link> = table::read(&results.join("linkage.parquet")).unwrap();
    let names: BTreeMap<&str, String> = links
        .iter()
        .map(|l| (l.pseudonym.as_str(), l.real.rsplit('/').next().unwrap().to_owned()))
        .collect();
    let quarantined: Vec<Quarantined> = table::read(&results.join("quarantine.parquet")).unwrap();
    let mut refused: Vec<(&str, &str)> = quarantined
        .iter()
        .map(|row| (names[row.file.as_str()].as_str(), row.reason.as_str()))
        .collect();
    refused.sort_unstable();
    let [(eight, short), (nine, outside)] = refused[..] else { panic!("{refused:?}") };
    assert!(eight == "sub-8_T1w.mhd" && short.contains("promises 9600 bytes"), "{short}");
    assert!(nine == "sub-9_T1w.mhd" && outside.contains("not in the header's folder"), "{outside}");

    let cohort: Vec<CohortRow> = table::read(&results.join("cohort.parquet")).unwrap();
    let count = |format: &str, status: &str| {
        cohort.iter().filter(|row| row.format == format && row.status == status).count()
    };
    // Three 3-D files and the two frames of the 4-D one.
    assert_eq!(count("nifti", "volume"), 5);
    assert_eq!(count("nrrd", "volume"), 2);
    assert_eq!(count("metaimage", "volume"), 2);
    let others: Vec<&str> =
        cohort.iter().filter(|r| r.status == "other").map(|r| r.modality.as_str()).collect();
    assert_eq!(others.len(), 2);
    assert!(others.contains(&"phase image") && others.contains(&"colour image"), "{others:?}");
    let frames: Vec<u32> =
        cohort.iter().filter(|row| row.modality == "EPI").map(|row| row.frame).collect();
    assert!(frames == [0, 1] || frames == [1, 0], "{frames:?}");
    assert!(cohort.iter().any(|row| row.modality == "MR"), "the sidecar says the modality");
    let affines: Vec<[f64; 16]> = cohort.iter().filter_map(|row| row.affine).collect();
    for affine in &affines {
        let first = affine_from_flat(affine).transform_point3(DVec3::ZERO);
        assert!(first.distance(DVec3::new(50.0, -40.0, -30.0)) < 1e-3, "{first}");
        let lps = ras_from_lps() * affine_from_flat(affine);
        assert!((lps.matrix3.x_axis - DVec3::new(4.0, 0.0, 0.0)).length() < 1e-6);
    }

    // The same numbers, so the same prepared volume; the second frame is another.
    let volumes: Vec<VolumeRow> = table::read(&results.join("volumes.parquet")).unwrap();
    assert_eq!(volumes.len(), 9);
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for volume in &volumes {
        let file = results.join(&volume.file);
        assert_eq!(open_volume(&file, 0).unwrap().1.frames, 1);
        let bytes = fs::read(file).unwrap();
        if !seen.contains(&bytes) {
            seen.push(bytes);
        }
    }
    assert_eq!(seen.len(), 2, "one volume of all formats, and the second frame");
}
