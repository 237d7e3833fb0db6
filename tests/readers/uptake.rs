//! Standardised uptake of multi-frame PET, whose header says it in other words.

use std::path::PathBuf;

use mivox::io::series::{Series, read_series};

use super::{
    enhanced::{Ends, group, sequence},
    files::assemble_files,
    raw::{Coding, Raw},
};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const ENHANCED: &str = "1.2.840.10008.5.1.4.1.1.130";
const LEGACY: &str = "1.2.840.10008.5.1.4.1.1.128.1";

/// Half-life of fluorine-18 in s.
const HALF_LIFE_S: f64 = 6586.2;

fn item(fill: impl FnOnce(&mut Raw)) -> Vec<u8> {
    let mut raw = Raw::bare(Coding::Explicit);
    fill(&mut raw);
    raw.bytes
}

/// A multi-frame PET of 3 frames of 3 by 4 pixels, numbered through; `head` adds
/// what stands before the functional groups, `shared` to the shared ones.
fn pet(class: &str, head: impl Fn(&mut Raw), shared: impl Fn(&mut Raw)) -> Raw {
    let mut raw = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("", 16, 3);
    let replace = |raw: &mut Raw, from: &[u8], to: &[u8]| {
        let at = raw.bytes.windows(from.len()).position(|window| window == from).unwrap();
        raw.bytes.splice(at..at + from.len(), to.iter().copied());
    };
    // Class and modality of the CT, with their lengths.
    let mut found = Raw::bare(Coding::Explicit);
    found.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.2");
    let mut wanted = Raw::bare(Coding::Explicit);
    wanted.text(0x0008, 0x0016, b"UI", class);
    replace(&mut raw, &found.bytes, &wanted.bytes);
    replace(&mut raw, b"CS\x02\x00CT", b"CS\x02\x00PT");
    raw.text(0x0010, 0x1030, b"DS", "80");
    head(&mut raw);
    let groups = item(|raw| {
        group(raw, Ends::Lengths, (0x0020, 0x9116), &[(0x0020, 0x0037, "1\\0\\0\\0\\1\\0")]);
        group(raw, Ends::Lengths, (0x0028, 0x9110), &[(0x0028, 0x0030, "4\\4")]);
        shared(raw);
    });
    sequence(&mut raw, (0x5200, 0x9229), Ends::Lengths, &[groups]);
    let frames: Vec<Vec<u8>> = ["0\\0\\0", "0\\0\\3", "0\\0\\6"]
        .iter()
        .map(|at| {
            let position = [(0x0020, 0x0032, *at)];
            item(|raw| group(raw, Ends::Lengths, (0x0020, 0x9113), &position))
        })
        .collect();
    sequence(&mut raw, (0x5200, 0x9230), Ends::Lengths, &frames);
    raw.head(0x7FE0, 0x0010, b"OW", 72);
    raw.bytes.extend((0..36u16).flat_map(|n| n.to_le_bytes()));
    raw
}

/// A line with its unit, as one real world value mapping.
fn real_world(raw: &mut Raw, unit: &str, slope: f64, intercept: f64) {
    let mapping = item(|raw| {
        group(raw, Ends::Lengths, (0x0040, 0x08EA), &[(0x0008, 0x0100, unit)]);
        for (element, number) in [(0x9224, intercept), (0x9225, slope)] {
            raw.head(0x0040, element, b"FD", 8);
            raw.bytes.extend(number.to_le_bytes());
        }
    });
    sequence(raw, (0x0040, 0x9096), Ends::Lengths, &[mapping]);
}

fn enhanced_head(raw: &mut Raw, dose: &str, decay: &str) {
    isotope(raw, dose, decay, ["6586.2", "20200101120000.00", "20200101130000"]);
}

/// Half-life, injection, and the time that the decay is corrected to.
fn isotope(raw: &mut Raw, dose: &str, decay: &str, [half_life, start, scan]: [&str; 3]) {
    let isotope = [(0x0018, 0x1074, dose), (0x0018, 0x1075, half_life), (0x0018, 0x1078, start)];
    raw.text(0x0018, 0x9701, b"DT", scan);
    raw.text(0x0018, 0x9758, b"CS", decay);
    raw.text(0x0018, 0x9759, b"CS", "YES");
    group(raw, Ends::Lengths, (0x0054, 0x0016), &isotope);
}

fn read(raw: &Raw) -> (Series, Vec<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = raw.save(&folder, "pet.dcm");
    let mut assembly = assemble_files(&[file]);
    assert!(assembly.refused.is_empty(), "{}", assembly.refused[0].reason);
    let series = assembly.series.remove(0);
    let voxels = read_series(&series.slices, &series.grid).unwrap();
    (series, voxels.into_raw_vec_and_offset().0)
}

fn near(found: &[f32], expected: impl Fn(f64) -> f64) {
    for (n, &value) in found.iter().enumerate() {
        let expected = expected(n as f64);
        assert!((f64::from(value) - expected).abs() <= 1e-6 * expected.abs(), "{value} {expected}");
    }
}

/// 80 kg, 300 MBq an hour before the time to which the decay is corrected.
fn uptake_of_activity() -> f64 {
    80_000.0 / (300e6 * 0.5f64.powf(3600.0 / HALF_LIFE_S))
}

/// The mapping is what the values mean; the rescale of an enhanced PET has no unit.
#[test]
fn activity_of_an_enhanced_pet_becomes_uptake() {
    let rescale = [(0x0028, 0x1052, "0"), (0x0028, 0x1053, "1"), (0x0028, 0x1054, "US")];
    for dose in ["300", "300000000"] {
        let raw = pet(
            ENHANCED,
            |raw| enhanced_head(raw, dose, "YES"),
            |raw| {
                group(raw, Ends::Lengths, (0x0028, 0x9145), &rescale);
                real_world(raw, "Bq/ml", 25.0, 100.0);
            },
        );
        let (series, voxels) = read(&raw);
        assert_eq!((series.unit, &*series.remarks[0]), (Some("GML"), "made SUV by body weight"));
        near(&voxels, |n| (n * 25.0 + 100.0) * uptake_of_activity());
    }
}

/// Zirconium-89 is looked at days after it was given. Of a date that cannot be, the time
/// of day says nothing where days matter, and all where they do not.
#[test]
fn an_injection_may_lie_days_before_the_scan() {
    let of = |times: [&str; 3]| {
        let head = |raw: &mut Raw| isotope(raw, "300", "YES", times);
        read(&pet(ENHANCED, head, |raw| real_world(raw, "Bq/ml", 1.0, 0.0)))
    };
    let (zirconium, scan) = ("282240", "20200104130000");
    let (series, voxels) = of([zirconium, "20200101120000", scan]);
    assert_eq!(&*series.remarks[0], "made SUV by body weight");
    let wait_s = 73.0 * 3600.0;
    near(&voxels, |n| n * 80_000.0 / (300e6 * 0.5f64.powf(wait_s / 282_240.0)));
    for start in ["20190101120000", "20200104140000"] {
        let (series, voxels) = of([zirconium, start, scan]);
        let why = "not in SUV: no day of the injection that its half-life allows";
        assert_eq!((series.unit, &*series.remarks[0]), (Some("BQML"), why));
        near(&voxels, |n| n);
    }
    for start in ["20190101120000", "20200101120000"] {
        let (_, voxels) = of(["6586.2", start, scan]);
        near(&voxels, |n| n * uptake_of_activity());
    }
}

/// Two mappings of one frame mean two things: neither is taken.
#[test]
fn of_two_real_world_mappings_none_is_taken() {
    let head = |raw: &mut Raw| enhanced_head(raw, "300", "YES");
    let mappings = |raw: &mut Raw| {
        let one = |unit: &str, slope: f64| {
            let bytes = item(|raw| real_world(raw, unit, slope, 0.0));
            // Without the head of the sequence, and of its item.
            bytes[20..].to_vec()
        };
        let both = [one("Bq/ml", 2.0), one("{SUVbw}g/ml", 0.5)];
        sequence(raw, (0x0040, 0x9096), Ends::Lengths, &both);
    };
    let (series, voxels) = read(&pet(ENHANCED, head, mappings));
    assert_eq!((series.unit, &*series.remarks[0]), (None, "not in SUV: its unit is not Bq/ml"));
    near(&voxels, |n| n);
}

#[test]
fn what_is_uptake_stays_and_what_cannot_be_is_told() {
    let with = |unit: &str, decay: &str| {
        let head = |raw: &mut Raw| enhanced_head(raw, "300", decay);
        read(&pet(ENHANCED, head, |raw| real_world(raw, unit, 0.5, 0.0)))
    };
    let (series, voxels) = with("{SUVbw}g/ml", "YES");
    assert_eq!((series.unit, series.remarks.len()), (Some("GML"), 0));
    near(&voxels, |n| n * 0.5);
    for (unit, decay, stays, why) in [
        ("{SUVlbm}g/ml", "YES", Some("GML"), "its SUV is not by body weight"),
        ("Bq/ml", "NO", Some("BQML"), "it is not corrected for attenuation and decay"),
        ("{counts}/s", "YES", Some("CPS"), "its unit is not Bq/ml"),
        ("umol/min/ml", "YES", None, "its unit is not Bq/ml"),
    ] {
        let (series, voxels) = with(unit, decay);
        assert_eq!((series.unit, &*series.remarks[0]), (stays, &*format!("not in SUV: {why}")));
        near(&voxels, |n| n * 0.5);
    }
}

/// What a conversion could not assign to any functional group holds the words of the
/// classic images.
#[test]
fn a_legacy_converted_pet_is_read_as_its_slices_were() {
    let head = |raw: &mut Raw| {
        raw.text(0x0008, 0x0021, b"DA", "20200101");
        raw.text(0x0008, 0x0031, b"TM", "130000");
        raw.text(0x0008, 0x002A, b"DT", "20200101130000");
    };
    let raw = pet(LEGACY, head, |raw| {
        let rescale = [(0x0028, 0x1052, "0"), (0x0028, 0x1053, "2")];
        group(raw, Ends::Lengths, (0x0028, 0x9145), &rescale);
        let unassigned = item(|raw| {
            raw.text(0x0028, 0x0051, b"CS", "ATTN\\DECY");
            let isotope = [
                (0x0018, 0x1072, "120000"),
                (0x0018, 0x1074, "300000000"),
                (0x0018, 0x1075, "6586.2"),
            ];
            group(raw, Ends::Lengths, (0x0054, 0x0016), &isotope);
            raw.text(0x0054, 0x1001, b"CS", "BQML");
            raw.text(0x0054, 0x1102, b"CS", "START");
        });
        sequence(raw, (0x0020, 0x9170), Ends::Lengths, &[unassigned]);
    });
    let (series, voxels) = read(&raw);
    assert_eq!((series.unit, &*series.remarks[0]), (Some("GML"), "made SUV by body weight"));
    near(&voxels, |n| n * 2.0 * uptake_of_activity());
}
