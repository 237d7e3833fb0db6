//! Workers that fail in every way, by programs that really do.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use super::{Codec, DecoderFault, message, pool::Pool};
use crate::io::dicom::{DicomError, Photometric, PixelLayout, cells::Cells};

const LAYOUT: PixelLayout = PixelLayout {
    rows: 2,
    columns: 3,
    bits_allocated: 16,
    bits_stored: 16,
    high_bit: 15,
    signed: false,
    samples: 1,
    planar: false,
    photometric: Photometric::Grey,
};

/// What a worker that is this shell script makes of a frame; `$answer` is a file
/// with a right answer, `$here` the folder of the script.
fn decode(script: &str) -> Result<Cells, DicomError> {
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    let mut bytes = Vec::new();
    message::send_answer(&mut bytes, Ok(Cells::U16(vec![1, 2, 3, 4, 5, 60_000]))).unwrap();
    fs::write(&answer, bytes).unwrap();
    let program: PathBuf = folder.path().join("worker");
    let here = folder.path().display();
    fs::write(&program, format!("#!/bin/sh\nhere={here}\nanswer={here}/answer\n{script}\n"))
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    Pool::new(program, Duration::from_secs(2)).decode(Codec::Jpeg, vec![7; 1000], &LAYOUT)
}

#[test]
fn an_answer_is_taken() {
    let Ok(Cells::U16(cells)) = decode("cat $answer; exec sleep 60") else { panic!("no cells") };
    assert_eq!(cells, [1, 2, 3, 4, 5, 60_000]);
}

#[test]
fn one_that_dies_is_tried_once_more() {
    let fault = |script| match decode(script) {
        Err(DicomError::DecoderFault { codec: "JPEG", fault }) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault("kill -ABRT $$"), DecoderFault::Died);
    assert_eq!(fault("kill -SEGV $$"), DecoderFault::Died);
    assert_eq!(fault("exit 0"), DecoderFault::Died);
    assert_eq!(
        fault("echo 'memory allocation of 8 bytes failed' >&2; kill -ABRT $$"),
        DecoderFault::OutOfMemory
    );
    // Ended from outside, once: the frame is no worse for it.
    let once =
        "[ -e $here/mark ] || { touch $here/mark; kill -KILL $$; }; cat $answer; exec sleep 60";
    assert!(decode(once).is_ok());
}

#[test]
fn one_that_goes_on_is_killed() {
    let Err(DicomError::DecoderFault { fault, .. }) = decode("exec sleep 60") else {
        panic!("it was waited for")
    };
    assert_eq!(fault, DecoderFault::TooSlow { limit: Duration::from_secs(2) });
}

#[test]
fn what_it_says_is_not_believed() {
    let mut short = Vec::new();
    message::send_answer(&mut short, Ok(Cells::U8(vec![0; 5]))).unwrap();
    assert!(message::receive_answer(&mut &short[..], Codec::Jpeg, &LAYOUT).is_err());
    for rubbish in [
        "cat",
        "head -c 4096 /dev/zero",
        "printf '\\377\\377\\377\\377'; exec sleep 60",
        "head -c 9 $answer",
    ] {
        let decoded = decode(rubbish);
        let died = DecoderFault::Died;
        assert!(
            matches!(decoded, Err(DicomError::DecoderFault { fault, .. }) if fault == died),
            "{rubbish}: {decoded:?}"
        );
    }
}

#[test]
fn a_program_that_is_not_there_is_said() {
    let pool = Pool::new("/nowhere/mivox".into(), Duration::from_secs(2));
    let decoded = pool.decode(Codec::Jpeg, Vec::new(), &LAYOUT);
    assert!(matches!(decoded, Err(DicomError::NoDecoder(_))));
}

#[test]
fn errors_come_back_as_they_were() {
    for error in [
        DicomError::CodestreamSize { found: (1, 2), expected: (3, 4) },
        DicomError::Components { found: 3, expected: 1 },
        DicomError::PixelLength { promised: 6, found: 5 },
        Codec::Jpeg.fault(DecoderFault::Panicked),
        Codec::Jpeg.refused("its words"),
    ] {
        let before = format!("{error:?}");
        let mut bytes = Vec::new();
        message::send_answer(&mut bytes, Err(error)).unwrap();
        let after = message::receive_answer(&mut &bytes[..], Codec::Jpeg, &LAYOUT).unwrap();
        assert_eq!(format!("{:?}", after.unwrap_err()), before);
    }
}
