//! How large the views of a pipeline are, and where they lie.

use std::{fmt, str::FromStr};

use glam::{DAffine3, DMat3, DVec3};
use serde::Serialize;

use crate::geometry::Grid;

/// Size of the views, as a pipeline sets it: planes, slabs or boxes of slices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    /// Pixels along each side of a slice.
    pub size: usize,
    /// mm between pixel centres.
    pub pixel_mm: f64,
    /// Which way the slices lie.
    // Left out where it is axial, so that results made before there were others still match.
    #[serde(skip_serializing_if = "Plane::is_axial")]
    pub plane: Plane,
    /// The slices of a slab or box; `None` for a plane.
    // Left out for a plane, so that results made before there were boxes still match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slices: Option<Slices>,
}

/// The slices of a slab or box.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slices {
    /// How many.
    pub depth: usize,
    /// mm between them.
    pub slice_mm: f64,
    /// What they are to the encoder.
    // Left out for a box, so that results made before there were slabs still match.
    #[serde(skip_serializing_if = "Form::is_box")]
    pub form: Form,
}

/// What several slices are to the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Form {
    /// An axis of its own: `[N, 1, D, H, W]`.
    #[default]
    Box,
    /// Channels of a plane (2.5D): `[N, D, H, W]`.
    Slab,
}

impl Form {
    fn is_box(&self) -> bool {
        *self == Self::Box
    }
}

impl FromStr for Form {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "box" => Ok(Self::Box),
            "slab" => Ok(Self::Slab),
            _ => Err("\"box\" or \"slab\""),
        }
    }
}

/// Which way the slices of a view lie in the patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Plane {
    /// Columns to the right, rows to anterior, slices to superior.
    #[default]
    Axial,
    /// Columns to the right, rows to superior, slices to posterior.
    Coronal,
    /// Columns to anterior, rows to superior, slices to the right.
    Sagittal,
}

impl Plane {
    /// The word used in pipelines and recipes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Axial => "axial",
            Self::Coronal => "coronal",
            Self::Sagittal => "sagittal",
        }
    }

    fn is_axial(&self) -> bool {
        *self == Self::Axial
    }

    /// Where columns, rows and slices run to in RAS, a right-handed frame, so that
    /// no view is a mirror image.
    pub fn axes(self) -> DMat3 {
        match self {
            Self::Axial => DMat3::IDENTITY,
            Self::Coronal => DMat3::from_cols(DVec3::X, DVec3::Z, DVec3::NEG_Y),
            Self::Sagittal => DMat3::from_cols(DVec3::Y, DVec3::Z, DVec3::X),
        }
    }

    /// The world axis that the slices follow, 0, 1 or 2 for x, y or z, and
    /// whether they run against it.
    pub fn normal(self) -> (usize, bool) {
        match self {
            Self::Axial => (2, false),
            Self::Coronal => (1, true),
            Self::Sagittal => (0, false),
        }
    }
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Plane {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Axial, Self::Coronal, Self::Sagittal]
            .into_iter()
            .find(|plane| plane.as_str() == text)
            .ok_or("\"axial\", \"coronal\" or \"sagittal\"")
    }
}

impl Settings {
    /// Shape of a batch of views, the encoder's input: `[N, 1, H, W]` of planes,
    /// `[N, D, H, W]` of slabs, `[N, 1, D, H, W]` of boxes.
    pub fn shape(&self, batch: usize) -> Vec<usize> {
        match self.slices {
            None => vec![batch, 1, self.size, self.size],
            Some(Slices { depth, form: Form::Slab, .. }) => {
                vec![batch, depth, self.size, self.size]
            }
            Some(Slices { depth, form: Form::Box, .. }) => {
                vec![batch, 1, depth, self.size, self.size]
            }
        }
    }

    /// Slices in a view, 1 for a plane.
    pub fn depth(&self) -> usize {
        self.slices.map_or(1, |slices| slices.depth)
    }

    /// Whether a view is a box: a piece of the volume, with no direction before the others.
    pub fn is_box(&self) -> bool {
        self.slices.is_some_and(|slices| slices.form == Form::Box)
    }

    /// Voxels in a view.
    pub fn voxels(&self) -> usize {
        self.shape(1).iter().product()
    }

    /// The views in one line, part of an encoder's recipe.
    pub fn recipe(&self) -> String {
        let Self { size, pixel_mm, plane, slices } = self;
        // The words for axial planes and boxes are in encoders that were trained.
        match slices {
            None => format!("view-1; {plane}; {size} x {size} pixels of {pixel_mm} mm"),
            Some(Slices { depth, slice_mm, form }) => {
                let form = match (form, plane) {
                    (Form::Box, Plane::Axial) => "box".to_owned(),
                    (Form::Box, plane) => format!("{plane} box"),
                    (Form::Slab, plane) => format!("{plane} slab"),
                };
                format!(
                    "view-1; {form}; {depth} x {size} x {size} voxels of {slice_mm} x {pixel_mm} x {pixel_mm} mm"
                )
            }
        }
    }

    /// mm between the columns, rows and slices of a view.
    pub fn step_mm(&self) -> DVec3 {
        // A plane has no step between slices, but its affine needs one.
        let slice_mm = self.slices.map_or(self.pixel_mm, |slices| slices.slice_mm);
        DVec3::new(self.pixel_mm, self.pixel_mm, slice_mm)
    }

    /// The view around a centre in RAS+ mm; its axes are those of [`Plane::axes`].
    pub fn grid(&self, centre_mm: DVec3) -> Grid {
        let (axes, step) = (self.plane.axes(), self.step_mm());
        let shape = [self.size, self.size, self.depth()];
        let half = (DVec3::from_array(shape.map(|n| n as f64)) - 1.0) / 2.0 * step;
        let matrix = axes * DMat3::from_diagonal(step);
        let ras_from_voxel = DAffine3::from_mat3_translation(matrix, centre_mm - axes * half);
        Grid { shape, ras_from_voxel }
    }

    /// Area in mm² of a slice of a view.
    pub fn area_mm2(&self) -> f64 {
        (self.size as f64 * self.pixel_mm).powi(2)
    }
}
