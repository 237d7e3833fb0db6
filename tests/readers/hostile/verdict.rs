//! What becomes of files: a volume, or a reason why there is none, never both and
//! never neither.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use mivox::io::{
    dicom::{DecoderFault, DicomError, Instance, open_header},
    image::Image,
    series::{SeriesError, assemble, read_series},
    sniff,
};

use super::seeds::Seed;

/// What was made of a scan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Every voxel of a volume was read.
    Volume,
    /// It is refused, or is something else.
    None,
    /// Its decoder failed in another way than by refusing it.
    Fault(DecoderFault),
}

/// The files of a seed in a folder.
pub struct Place {
    folder: PathBuf,
    paths: Vec<PathBuf>,
}

impl Place {
    pub fn new(folder: &Path, seed: &Seed) -> Self {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
        let paths: Vec<_> = seed.files.iter().map(|(name, _)| folder.join(name)).collect();
        for (path, (_, bytes)) in paths.iter().zip(&seed.files) {
            fs::write(path, bytes).unwrap();
        }
        Self { folder: folder.to_owned(), paths }
    }

    /// Puts bytes in place of a file. One that is truncated and written again is
    /// flushed to the disk by ext4; a new one is not.
    pub fn put(&self, file: usize, bytes: &[u8]) {
        fs::remove_file(&self.paths[file]).unwrap();
        fs::write(&self.paths[file], bytes).unwrap();
    }

    /// Reads all that can be read.
    pub fn verdict(&self, seed: &Seed) -> Verdict {
        if seed.dicom { series(&self.paths) } else { image(&self.paths[0]) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn image(file: &Path) -> Verdict {
    let _ = sniff(file);
    let Ok(mut image) = Image::open(file) else { return Verdict::None };
    let frames = image.head().frames;
    for frame in [0, frames / 2, frames - 1] {
        let Ok(voxels) = image.volume(frame) else { return Verdict::None };
        assert_eq!(Some(voxels.len()), image.head().grid.voxel_count());
    }
    Verdict::Volume
}

fn series(files: &[PathBuf]) -> Verdict {
    let mut verdicts: HashMap<&Path, usize> = files.iter().map(|f| (f.as_path(), 0)).collect();
    let mut count = |file: &Path| *verdicts.get_mut(file).expect("a file of its own") += 1;
    let mut instances: Vec<Instance> = Vec::new();
    for file in files {
        let _ = sniff(file);
        match open_header(file) {
            Ok(mut header) => match header.complete(Some("nobody".to_owned())) {
                Ok(()) => instances.push(header),
                Err(_) => count(file),
            },
            Err(_) => count(file),
        }
    }
    let assembly = assemble(instances);
    let mut copies = false;
    let mut verdict = Verdict::None;
    for series in &assembly.series {
        copies |= series.remarks.iter().any(|remark| remark.contains("copies"));
        mivox::io::series::SliceSource::files(&series.slices).iter().for_each(|f| count(f));
        match read_series(&series.slices, &series.grid) {
            Ok(voxels) => {
                assert_eq!(Some(voxels.len()), series.grid.voxel_count());
                verdict = Verdict::Volume;
            }
            Err(SeriesError::Slice { source: DicomError::DecoderFault { fault, .. }, .. })
                if verdict == Verdict::None =>
            {
                verdict = Verdict::Fault(fault);
            }
            Err(_) => {}
        }
    }
    let refused = assembly.refused.iter().flat_map(|refused| &refused.files);
    let others = assembly.others.iter().flat_map(|other| &other.files);
    refused.chain(others).for_each(|file| count(file));
    // A multi-frame file may make several volumes, and lose frames to a refusal.
    let multi = files.len() == 1;
    for (_, verdicts) in verdicts {
        assert!(verdicts == 1 || copies && verdicts == 0 || multi && verdicts > 1, "{verdicts}");
    }
    verdict
}
