//! Scans as pictures: three planes of each, laid out as a contact sheet by which a
//! person checks a folder.

mod canvas;
mod page;
pub mod pairs;
mod plane;
mod window;

use std::{io, path::Path};

use ndarray::{Array2, Array3};

use crate::{
    cohort::{LastImage, ReadError, Scan},
    durable::{self, DurableError},
    geometry::Grid,
    resample::ResampleError,
};

use plane::{Layout, View};
use window::Window;

/// Which way the planes are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// From the patient's feet and front: the patient's right is on the left.
    Radiological,
    /// From the patient's head and back: the patient's left is on the left.
    Neurological,
}

/// How sheets look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Which way the planes are seen.
    pub convention: Convention,
    /// Lowest and highest Hounsfield units of CT, as black and white.
    pub ct_window_hu: [f32; 2],
    /// Side in pixels of the square that a plane is fitted into.
    pub tile: usize,
    /// Volumes beside each other.
    pub columns: usize,
    /// Volumes above each other.
    pub rows: usize,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SheetError {
    /// The scan cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its planes cannot be computed.
    #[error(transparent)]
    Resample(#[from] ResampleError),
    /// A sheet did not reach the disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A sheet cannot be written.
    #[error("the sheet cannot be written as PNG")]
    Write(#[source] io::Error),
}

/// Three planes of a scan through the middle of what it shows.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Axial, coronal and sagittal.
    planes: [Plane; 3],
    /// Of all three planes.
    mm_per_pixel: f64,
}

/// One plane.
#[derive(Debug, Clone)]
struct Plane {
    /// Grey `[row, column]`.
    pixels: Array2<u8>,
    /// Patient directions at its left, right, top and bottom edge.
    letters: [char; 4],
}

/// One volume of a sheet.
pub struct Cell {
    /// Whose and which it is, under pseudonyms.
    pub title: String,
    /// Modality, shape, spacing.
    pub details: String,
    /// What is seen, or why it is not.
    pub picture: Result<Picture, SheetError>,
}

impl Cell {
    /// The cell of a scan, which is read. Where `calibrated` is not set, a CT's
    /// numbers are no Hounsfield units, and are shown by their percentiles.
    pub fn of(scan: &Scan, calibrated: bool, settings: &Settings) -> Self {
        let row = &scan.row;
        let [i, j, k] = row.shape.unwrap_or_default();
        let [x, y, z] = row.spacing_mm.unwrap_or_default();
        let picture = || {
            let grid = row.grid().ok_or(ReadError::Incomplete { missing: "geometry" })?;
            let window = |voxels: &Array3<f32>| match row.modality.as_str() {
                "CT" if calibrated => Window::new(settings.ct_window_hu, false),
                "PET" | "SPECT" => Window::of_percentiles(voxels, true),
                _ => Window::of_percentiles(voxels, false),
            };
            Picture::of(scan.read(&mut LastImage::default())?, &grid, window, settings)
        };
        Self {
            title: format!("{}  {}", row.subject, row.series),
            details: format!("{}  {i} × {j} × {k}  {x:.2} × {y:.2} × {z:.2} mm", row.modality),
            picture: picture(),
        }
    }
}

impl Picture {
    fn of(
        mut voxels: Array3<f32>,
        grid: &Grid,
        window: impl Fn(&Array3<f32>) -> Window,
        settings: &Settings,
    ) -> Result<Self, SheetError> {
        let window = window(&voxels);
        // A hole in the scan is seen as nothing, not as outside.
        voxels.iter_mut().filter(|value| !value.is_finite()).for_each(|v| *v = window.lowest());
        let layout = Layout::new(grid, settings);
        let plane = |view: &View| -> Result<Plane, ResampleError> {
            Ok(Plane { pixels: view.pixels(&voxels, grid, &window)?, letters: view.letters() })
        };
        let [axial, coronal, sagittal] = &layout.planes();
        Ok(Self {
            planes: [plane(axial)?, plane(coronal)?, plane(sagittal)?],
            mm_per_pixel: layout.mm_per_pixel,
        })
    }
}

impl Settings {
    /// Volumes on a page.
    pub fn page(&self) -> usize {
        self.columns * self.rows
    }
}

/// Writes the cells of one page as PNG; `number` is (this page, of how many), and
/// pages after the first have theirs behind the name. `note` stands at the foot.
///
/// # Errors
/// [`SheetError::Durable`] and [`SheetError::Write`].
pub fn write_page(
    path: &Path,
    cells: &[Cell],
    settings: &Settings,
    note: &str,
    number: (usize, usize),
) -> Result<(), SheetError> {
    let canvas = page::draw(cells, settings, note, number);
    let path = match number {
        (1, _) => path.to_owned(),
        (n, _) => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            path.with_file_name(format!("{stem}-{n}.png"))
        }
    };
    durable::write_atomically(&path, |out| canvas.write_png(out).map_err(SheetError::Write))
}

#[cfg(test)]
mod tests;
