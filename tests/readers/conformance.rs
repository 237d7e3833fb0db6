//! Every file that pydicom carries and decodes: the same numbers.
//!
//! `tests/conformance/expect.py` wrote what pydicom made of them; `make
//! conformance` runs it over everything, `make test` over what pydicom carries.

use std::{collections::BTreeMap, fs, path::Path};

use mivox::io::dicom::FrameReader;
use serde::Deserialize;

/// Largest difference of a lossy JPEG, in stored numbers: decoders round otherwise.
const LOSSY: f64 = 3.0;

#[derive(Deserialize)]
struct Row {
    source: String,
    name: String,
    path: String,
    syntax: Option<String>,
    lossy: Option<bool>,
    arrays: Option<Vec<Arrays>>,
}

#[derive(Deserialize)]
struct Arrays {
    frame: u32,
    shape: Vec<usize>,
    stored: Numbers,
    values: Option<Numbers>,
}

#[derive(Deserialize)]
struct Numbers {
    file: String,
    dtype: String,
}

impl Numbers {
    fn read(&self, folder: &Path) -> Vec<f64> {
        let bytes = fs::read(folder.join(&self.file)).unwrap();
        fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes.as_chunks::<N>().0.iter().map(|&chunk| number(chunk)).collect()
        }
        match self.dtype.as_str() {
            "u1" => each(&bytes, |b| f64::from(u8::from_le_bytes(b))),
            "i1" => each(&bytes, |b| f64::from(i8::from_le_bytes(b))),
            "u2" => each(&bytes, |b| f64::from(u16::from_le_bytes(b))),
            "i2" => each(&bytes, |b| f64::from(i16::from_le_bytes(b))),
            "u4" => each(&bytes, |b| f64::from(u32::from_le_bytes(b))),
            "i4" => each(&bytes, |b| f64::from(i32::from_le_bytes(b))),
            "f4" => each(&bytes, |b| f64::from(f32::from_le_bytes(b))),
            "f8" => each(&bytes, f64::from_le_bytes),
            other => panic!("dtype {other}"),
        }
    }
}

/// The largest difference between what mivox and pydicom make of a file.
fn difference(row: &Row, folder: &Path) -> Result<f64, String> {
    let reader = FrameReader::open(Path::new(&row.path)).map_err(|error| error.to_string())?;
    let mut worst = 0.0f64;
    for array in row.arrays.iter().flatten() {
        let stored = reader.stored(array.frame).map_err(|error| error.to_string())?;
        let shape = if array.shape.len() == 2 { &stored.shape()[..2] } else { stored.shape() };
        if shape != array.shape {
            return Err(format!("shape {shape:?}, pydicom {:?}", array.shape));
        }
        let expected = array.stored.read(folder);
        worst = stored.iter().zip(&expected).fold(worst, |top, (a, b)| top.max((a - b).abs()));
        let Some(values) = &array.values else { continue };
        let mut found = vec![0.0; expected.len()];
        reader.read(array.frame, &mut found).map_err(|error| error.to_string())?;
        let slope =
            values.read(folder).iter().zip(&found).try_fold(0.0f64, |top, (a, &b)| {
                match (a.is_nan(), b.is_nan()) {
                    (true, true) => Some(top),
                    (false, false) => Some(top.max((a - f64::from(b)).abs() / a.abs().max(1.0))),
                    _ => None,
                }
            });
        match slope {
            None => return Err("padding is another".to_owned()),
            Some(off) if off > 1e-6 && row.lossy != Some(true) => {
                return Err(format!("values differ by {off:e} of their size"));
            }
            Some(_) => {}
        }
    }
    Ok(worst)
}

#[test]
fn stored_numbers_and_values_are_those_of_pydicom() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/conformance");
    let Ok(index) = fs::read_to_string(folder.join("index.json")) else {
        eprintln!("skipped: data/conformance is absent; make conformance");
        return;
    };
    let rows: Vec<Row> = serde_json::from_str(&index).unwrap();
    let (mut table, mut failures) = (BTreeMap::<_, [usize; 3]>::new(), Vec::new());
    for row in &rows {
        let [files, equal, near] =
            table.entry((&row.source, row.syntax.as_deref().unwrap_or("-"))).or_default();
        if row.arrays.is_none() {
            continue;
        }
        *files += 1;
        match difference(row, &folder) {
            Ok(0.0) => *equal += 1,
            Ok(off) if row.lossy == Some(true) && off <= LOSSY => *near += 1,
            Ok(off) => failures.push(format!("{} {}: off by {off}", row.source, row.name)),
            Err(error) => failures.push(format!("{} {}: {error}", row.source, row.name)),
        }
    }
    println!("source, transfer syntax: files that pydicom decodes, equal, within 3");
    for ((source, syntax), [files, equal, near]) in table {
        println!("{source:<26} {syntax:<26} {files:>4} {equal:>4} {near:>4}");
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}
