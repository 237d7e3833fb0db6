//! Nuclear medicine: reconstructed SPECT is a volume, other images have a kind.

use mivox::{
    geometry::DVec3,
    io::{
        dicom::{Kind, open_header},
        series::{SeriesError, read_series},
    },
    study::Modality,
};

use super::{
    files::assemble_files,
    raw::{Coding, Raw},
};

/// What the header of an image says.
struct Spect<'a> {
    image_type: &'a str,
    /// *Spacing Between Slices*, none where it is absent.
    gap: Option<&'a str>,
    /// Whether the detector says where the first slice lies.
    place: bool,
    slices: &'a [u16],
    slots: &'a [u16],
}

const TOMO: &str = "ORIGINAL\\PRIMARY\\RECON TOMO\\EMISSION";
const GATED: &str = "ORIGINAL\\PRIMARY\\RECON GATED TOMO\\EMISSION";

impl Spect<'_> {
    /// Frames of 3 rows and 4 columns; pixel n of the file has the number n.
    fn raw(&self) -> Raw {
        let frames = self.slices.len();
        let mut raw = Raw::with_meta(Coding::Explicit, "1.2.840.10008.1.2.1");
        raw.text(0x0008, 0x0008, b"CS", self.image_type);
        raw.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.20");
        raw.text(0x0008, 0x0018, b"UI", "1.2.9");
        raw.text(0x0008, 0x0060, b"CS", "NM");
        raw.text(0x0010, 0x0020, b"LO", "phantom");
        if let Some(gap) = self.gap {
            raw.text(0x0018, 0x0088, b"DS", gap);
        }
        raw.text(0x0020, 0x000D, b"UI", "1.2.3");
        raw.text(0x0020, 0x000E, b"UI", "1.2.3.4");
        raw.number(0x0028, 0x0002, 1);
        raw.text(0x0028, 0x0004, b"CS", "MONOCHROME2");
        raw.text(0x0028, 0x0008, b"IS", &frames.to_string());
        raw.number(0x0028, 0x0010, 3);
        raw.number(0x0028, 0x0011, 4);
        raw.text(0x0028, 0x0030, b"DS", "4.5\\4");
        for (element, value) in [(0x0100, 16), (0x0101, 16), (0x0102, 15), (0x0103, 0)] {
            raw.number(0x0028, element, value);
        }
        raw.head(0x0054, 0x0022, b"SQ", u32::MAX);
        raw.head(0xFFFE, 0xE000, b"", u32::MAX);
        if self.place {
            raw.text(0x0020, 0x0032, b"DS", "-10\\-20\\30");
        }
        raw.text(0x0020, 0x0037, b"DS", "1\\0\\0\\0\\1\\0");
        raw.head(0xFFFE, 0xE00D, b"", 0);
        raw.head(0xFFFE, 0xE0DD, b"", 0);
        for (element, numbers) in [(0x0070, self.slots), (0x0080, self.slices)] {
            if !numbers.is_empty() {
                raw.head(0x0054, element, b"US", 2 * numbers.len() as u32);
                raw.bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
            }
        }
        raw.head(0x7FE0, 0x0010, b"OW", 24 * frames as u32);
        raw.bytes.extend((0..12 * frames as u16).flat_map(|n| n.to_le_bytes()));
        raw
    }
}

/// The first slice lies where the detector says, the next ones behind it, or in
/// front of it where the spacing is negative, whatever the order of the frames.
#[test]
fn slices_lie_behind_the_first_or_in_front_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (gap, step_mm) in [("5", 5.0), ("-5", -5.0)] {
        let slices = [3, 1, 4, 2];
        let (gap, slots) = (Some(gap), &[][..]);
        let spect = Spect { image_type: TOMO, gap, place: true, slices: &slices, slots };
        let assembly = assemble_files(&[spect.raw().save(&folder, "spect.dcm")]);
        assert!(assembly.refused.is_empty() && assembly.others.is_empty());
        let series = &assembly.series[0];
        assert_eq!((series.modality, series.grid.shape), (Modality::Spect, [4, 3, 4]));
        let voxels = read_series(&series.slices, &series.grid).unwrap();
        let voxel_from_ras = series.grid.ras_from_voxel.inverse();
        for (frame, slice) in slices.iter().enumerate() {
            for (row, column) in [(0, 0), (2, 3)] {
                let lps = DVec3::new(
                    -10.0 + 4.0 * column as f64,
                    -20.0 + 4.5 * row as f64,
                    30.0 + step_mm * f64::from(slice - 1),
                );
                let at = voxel_from_ras.transform_point3(DVec3::new(-lps.x, -lps.y, lps.z));
                assert!((at - at.round()).abs().max_element() < 1e-9, "{at}");
                let [i, j, k] = at.round().to_array().map(|n| n as usize);
                assert_eq!(voxels[[k, j, i]], (frame * 12 + row * 4 + column) as f32);
            }
        }
    }
}

#[test]
fn each_time_slot_of_a_gated_spect_is_a_volume() {
    let folder = tempfile::tempdir().unwrap();
    let (slots, slices) = ([1, 1, 1, 2, 2, 2], [1, 2, 3, 1, 2, 3]);
    let gap = Some("4.5");
    let spect = Spect { image_type: GATED, gap, place: true, slices: &slices, slots: &slots };
    let assembly = assemble_files(&[spect.raw().save(&folder, "gated.dcm")]);
    assert_eq!(assembly.series.len(), 2);
    for (slot, series) in assembly.series.iter().enumerate() {
        assert_eq!(series.grid.shape, [4, 3, 3]);
        let frames: Vec<usize> = series.slices.iter().map(|slice| slice.frame as usize).collect();
        assert_eq!(frames, [3 * slot, 3 * slot + 1, 3 * slot + 2]);
        assert!(series.remarks.iter().any(|remark| remark.contains("temporal position")));
    }
}

#[test]
fn a_reconstruction_without_place_or_spacing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (gap, place) in [(None, true), (Some("4.5"), false), (Some("0"), true)] {
        let spect = Spect { image_type: TOMO, gap, place, slices: &[1, 2, 3], slots: &[] };
        let assembly = assemble_files(&[spect.raw().save(&folder, "bare.dcm")]);
        assert!(assembly.series.is_empty());
        assert!(matches!(assembly.refused[0].reason, SeriesError::MultiFrame { frames: 3 }));
    }
}

#[test]
fn projections_and_planar_images_are_listed_by_their_kind() {
    let folder = tempfile::tempdir().unwrap();
    for (word, kind) in [
        ("STATIC", "planar scintigram"),
        ("DYNAMIC", "dynamic scintigram"),
        ("GATED", "gated scintigram"),
        ("WHOLE BODY", "whole-body scintigram"),
        ("TOMO", "SPECT projections"),
        ("GATED TOMO", "SPECT projections"),
    ] {
        let image_type = format!("ORIGINAL\\PRIMARY\\{word}\\EMISSION");
        let (gap, slices) = (Some("4.5"), &[1, 2, 3]);
        let spect = Spect { image_type: &image_type, gap, place: true, slices, slots: &[] };
        let file = spect.raw().save(&folder, "other.dcm");
        assert_eq!(open_header(&file).unwrap().kind, Kind::NotAVolume(kind));
        assert_eq!(assemble_files(&[file]).others[0].kind, kind);
    }
}
