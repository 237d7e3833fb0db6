//! Headers that say arbitrary things of their place, as a series: no more planes come
//! out than go in, and the geometry of a volume is finite.
//!
//!     make fuzz

#![no_main]

use std::{path::PathBuf, sync::LazyLock};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mivox_fuzz::io::{
    dicom::{Instance, open_header},
    series::assemble,
};

/// What one image says, each number from a few so that some agree.
#[derive(Arbitrary, Debug)]
struct Said {
    series: bool,
    copies: Option<u8>,
    number: Option<i8>,
    place: Place,
    turn: u8,
    spacing: u8,
    echo_ms: Option<u8>,
    trigger_ms: Option<i16>,
    b_value: Option<u8>,
    time: Option<u8>,
    acquisition: Option<u8>,
    dimensions: Vec<u8>,
    stack: Option<bool>,
    image_type: u8,
    rows: u8,
}

#[derive(Arbitrary, Debug)]
enum Place {
    None,
    Regular(i8),
    Near(i8, i16),
    Any([f64; 3]),
}

static PLAIN: LazyLock<Instance> = LazyLock::new(|| {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    open_header(&root.join("../tests/readers/fixtures/jpeg_lossless_0.dcm")).unwrap()
});

fn instance((index, said): (usize, &Said)) -> Instance {
    let mut instance = PLAIN.clone();
    instance.series_uid = format!("1.2.{}", u8::from(said.series));
    // Copies are compared as files: seldom, as that is slow.
    let copies = said.copies.filter(|n| *n > 250).map(usize::from);
    instance.sop_uid = format!("1.2.3.{}", copies.unwrap_or(index));
    instance.instance_number = said.number.map(i64::from);
    instance.acquisition_time = said.acquisition.map(|n| format!("1200{n:02}"));
    let Some(frame) = instance.frames.first_mut() else { return instance };
    frame.timing.echo_ms = said.echo_ms.map(f64::from);
    frame.timing.trigger_ms = said.trigger_ms.map(f64::from);
    frame.timing.b_value = said.b_value.map(f64::from);
    frame.temporal_position = said.time.map(i64::from);
    frame.dimensions = said.dimensions.iter().take(4).map(|&n| u32::from(n)).collect();
    frame.stack = said.stack.map(|n| n.to_string());
    let kind = [format!("KIND{}", said.image_type % 3)];
    frame.image_type = frame.image_type.iter().chain(&kind).cloned().collect();
    let Some(plane) = &mut frame.plane else { return instance };
    plane.rows += usize::from(said.rows % 8 == 7);
    plane.spacing_mm[0] += f64::from(said.spacing % 16) * 1e-5;
    let turn = f64::from(said.turn % 16) * 1e-4;
    plane.along_row = (plane.along_row + plane.along_column * turn).normalize();
    let across = plane.along_row.cross(plane.along_column);
    match said.place {
        Place::None => frame.plane = None,
        Place::Regular(n) => plane.position_mm += across * f64::from(n) * 2.5,
        Place::Near(n, off) => {
            plane.position_mm += across * (f64::from(n) * 2.5 + f64::from(off) * 1e-5);
        }
        // The header reader lets finite numbers through.
        Place::Any(at) if at.iter().all(|mm| mm.is_finite()) => {
            plane.position_mm = at.into();
        }
        Place::Any(_) => frame.plane = None,
    }
    instance
}

fuzz_target!(|said: Vec<Said>| {
    let instances: Vec<Instance> = said.iter().take(24).enumerate().map(instance).collect();
    let given = instances.len();
    let assembly = assemble(instances);
    let placed: usize = assembly.series.iter().map(|series| series.slices.len()).sum();
    assert!(placed <= given, "{placed} slices of {given}");
    for series in &assembly.series {
        assert!(series.grid.ras_from_voxel.is_finite());
        assert_eq!(series.grid.shape[2], series.slices.len());
    }
});
