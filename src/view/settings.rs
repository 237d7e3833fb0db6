//! How large the views of a pipeline are, and where they lie.

use glam::{DAffine3, DVec3};
use serde::Serialize;

use crate::geometry::Grid;

/// Size of the views, as a pipeline sets it: axial planes, or boxes of slices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    /// Pixels along each side of a slice.
    pub size: usize,
    /// mm between pixel centres.
    pub pixel_mm: f64,
    /// The slices of a box; `None` for a plane.
    // Left out for a plane, so that results made before there were boxes still match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slices: Option<Slices>,
}

/// The slices of a box.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slices {
    /// How many.
    pub depth: usize,
    /// mm between them.
    pub slice_mm: f64,
}

impl Settings {
    /// Shape of a batch of views, the encoder's input: `[N, 1, H, W]` of planes,
    /// `[N, 1, D, H, W]` of boxes.
    pub fn shape(&self, batch: usize) -> Vec<usize> {
        match self.slices {
            None => vec![batch, 1, self.size, self.size],
            Some(Slices { depth, .. }) => vec![batch, 1, depth, self.size, self.size],
        }
    }

    /// Slices in a view, 1 for a plane.
    pub fn depth(&self) -> usize {
        self.slices.map_or(1, |slices| slices.depth)
    }

    /// Voxels in a view.
    pub fn voxels(&self) -> usize {
        self.shape(1).iter().product()
    }

    /// The views in one line, part of an encoder's recipe.
    pub fn recipe(&self) -> String {
        let Self { size, pixel_mm, slices } = self;
        match slices {
            None => format!("view-1; axial; {size} x {size} pixels of {pixel_mm} mm"),
            Some(Slices { depth, slice_mm }) => format!(
                "view-1; box; {depth} x {size} x {size} voxels of {slice_mm} x {pixel_mm} x {pixel_mm} mm"
            ),
        }
    }

    /// The view around a centre in RAS+ mm: columns towards the patient's right,
    /// rows towards anterior, slices towards superior.
    pub fn grid(&self, centre_mm: DVec3) -> Grid {
        // A plane has no step between slices, but its affine needs one.
        let slice_mm = self.slices.map_or(self.pixel_mm, |slices| slices.slice_mm);
        let step = DVec3::new(self.pixel_mm, self.pixel_mm, slice_mm);
        let shape = [self.size, self.size, self.depth()];
        let half = (DVec3::from_array(shape.map(|n| n as f64)) - 1.0) / 2.0 * step;
        let corner = DAffine3::from_translation(centre_mm - half);
        Grid { shape, ras_from_voxel: corner * DAffine3::from_scale(step) }
    }

    /// Area in mm² of a slice of a view.
    pub fn area_mm2(&self) -> f64 {
        (self.size as f64 * self.pixel_mm).powi(2)
    }
}
