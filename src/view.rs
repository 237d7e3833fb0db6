//! What the encoder sees: a sampling grid in world mm laid over a volume.

pub mod augment;
mod sample;
mod settings;
mod stack;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use glam::DVec3;

use crate::{
    geometry::{Grid, affine_from_flat},
    io::image::{ImageError, Mapped},
    prepare::VolumeRow,
    register::AlignmentRow,
};

pub use augment::{Augment, Augmentation, Augments};
pub use settings::{Form, Plane, Settings, Slices};
pub use stack::Stack;

/// How the world of a template begins, the only one that subjects share.
pub const TEMPLATE: &str = "template-";

/// Prepared volumes, mapped into memory.
pub struct Volumes {
    by_series: HashMap<String, Prepared>,
}

/// One prepared volume.
pub struct Prepared {
    /// Its row in `volumes.parquet`.
    pub row: VolumeRow,
    /// The coordinate system that its mm are in: the pseudonym of the frame of
    /// reference, of the session where none is stated, or the name of a template.
    /// Places can be compared only where subject and world are equal.
    pub world: String,
    /// From the row: the file's affine is rounded to f32.
    grid: Grid,
    mapped: Mapped,
}

/// Why prepared volumes cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// A prepared volume cannot be opened.
    #[error("the prepared volume {series} cannot be opened; prepare again")]
    Open {
        /// Pseudonym of the series.
        series: String,
        /// Why.
        source: ImageError,
    },
    /// A prepared volume has another size than its row says.
    #[error("the prepared volume {series} was changed; prepare again")]
    Changed {
        /// Pseudonym of the series.
        series: String,
    },
    /// A prepared volume, or its row, holds what is no number.
    #[error("the prepared volume {series} has a {what} that is not finite; prepare again")]
    NotFinite {
        /// Pseudonym of the series.
        series: String,
        /// Of what.
        what: &'static str,
    },
    /// Volumes were prepared after the alignment.
    #[error("{missing} prepared volumes have no alignment; run `mivox register` again")]
    Unaligned {
        /// Volumes without alignment.
        missing: usize,
    },
    /// A pair names a series that was not prepared.
    #[error("the series {series} was not prepared; make the pairs again")]
    Unknown {
        /// Pseudonym of the series.
        series: String,
    },
}

impl Volumes {
    /// The prepared volumes of a results folder, mapped; no voxel is read yet.
    ///
    /// # Errors
    /// [`ViewError::Open`] where a file is missing or not what `prepare` wrote.
    pub fn open(results: &Path, rows: Vec<VolumeRow>) -> Result<Self, ViewError> {
        let by_series = rows
            .into_iter()
            .map(|row| {
                let mapped = Mapped::open(&results.join(&row.file))
                    .map_err(|source| ViewError::Open { series: row.series.clone(), source })?;
                if mapped.grid().shape != row.grid().shape {
                    return Err(ViewError::Changed { series: row.series });
                }
                if let Some(what) = not_finite(&row, &mapped) {
                    return Err(ViewError::NotFinite { series: row.series, what });
                }
                let world = row.frame_of_reference.as_ref().unwrap_or(&row.session).clone();
                Ok((row.series.clone(), Prepared { grid: row.grid(), world, row, mapped }))
            })
            .collect::<Result<_, ViewError>>()?;
        Ok(Self { by_series })
    }

    /// The same volumes, where those of some sources lie in the template that
    /// stands beside the source's name, but for series that an alignment refused.
    #[must_use]
    pub fn in_templates(
        mut self,
        templates: &BTreeMap<String, String>,
        refused: &BTreeSet<String>,
    ) -> Self {
        let placed = |volume: &&mut Prepared| !refused.contains(&volume.row.series);
        for volume in self.by_series.values_mut().filter(placed) {
            if let Some(template) = templates.get(&volume.row.source) {
                volume.world = format!("{TEMPLATE}{template}");
            }
        }
        self
    }

    /// [`Volumes::open`], each volume where it was aligned to: its grid and the middle of
    /// its body moved into the world of its subject's reference. A refused one stays
    /// where it is, in a world of its own.
    ///
    /// # Errors
    /// As [`Volumes::open`]; [`ViewError::Unaligned`] for a volume without alignment.
    pub fn open_aligned(
        results: &Path,
        rows: Vec<VolumeRow>,
        alignments: &[AlignmentRow],
    ) -> Result<Self, ViewError> {
        let mut volumes = Self::open(results, rows)?;
        let mut found = 0;
        for alignment in alignments {
            let Some(volume) = volumes.by_series.get_mut(&alignment.series) else { continue };
            found += 1;
            volume.world.clone_from(&alignment.world);
            let affine = affine_from_flat(&alignment.affine);
            volume.grid.ras_from_voxel = affine * volume.grid.ras_from_voxel;
            let centre = DVec3::from_array(volume.row.centre_mm);
            volume.row.centre_mm = affine.transform_point3(centre).to_array();
        }
        match volumes.by_series.len() - found {
            0 => Ok(volumes),
            missing => Err(ViewError::Unaligned { missing }),
        }
    }

    /// The prepared volume of a series.
    ///
    /// # Errors
    /// [`ViewError::Unknown`].
    pub fn get(&self, series: &str) -> Result<&Prepared, ViewError> {
        self.by_series.get(series).ok_or_else(|| ViewError::Unknown { series: series.to_owned() })
    }

    /// Every prepared volume, in the order of their series.
    pub fn all(&self) -> Vec<&Prepared> {
        let mut all: Vec<_> = self.by_series.values().collect();
        all.sort_by(|a, b| a.row.series.cmp(&b.row.series));
        all
    }
}

/// What of a prepared volume is no number. Its voxels are integers, and become
/// numbers by these.
fn not_finite(row: &VolumeRow, mapped: &Mapped) -> Option<&'static str> {
    let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
    let slope = f64::from(mapped.slope());
    if !finite(&[slope]) || slope == 0.0 {
        return Some("scale of its voxels");
    }
    if !finite(&row.affine) || !finite(&row.centre_mm) {
        return Some("place");
    }
    let levels = [row.background, row.foreground_above].map(f64::from);
    (!finite(&levels)).then_some("background or foreground level")
}

impl Prepared {
    /// Fills `values`, `[slice, row, column]` in C order, with the normalised
    /// intensities on a view's grid; outside the volume they are background.
    pub fn sample(&self, view: &Grid, values: &mut [f32]) {
        self.sampler().sample(view, values);
    }

    fn sampler(&self) -> sample::Sampler<'_> {
        let slope = self.mapped.slope();
        sample::Sampler {
            voxels: self.mapped.voxels(),
            voxel_from_ras: self.grid.ras_from_voxel.inverse(),
            slope,
            outside: self.row.background / slope,
        }
    }

    /// Where the voxels lie.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The places of its views, along the normal of a plane.
    pub fn stack(&self, plane: Plane) -> Stack {
        Stack::new(&self.grid, DVec3::from_array(self.row.centre_mm), plane)
    }

    /// Of the view of every slice of the [`Stack`], the share that the body fills;
    /// a slab or box counts each of its slices as the nearest one of the volume.
    pub fn body_shares(&self, settings: &Settings) -> Vec<f64> {
        let stack = self.stack(settings.plane);
        let threshold = (self.row.foreground_above / self.mapped.slope()).round() as i16;
        let [ni, nj, _] = self.grid.shape;
        let line = |k: usize, j: usize| {
            let slice = self.mapped.slice(k).unwrap_or_default();
            slice.get(j * ni..(j + 1) * ni).unwrap_or_default()
        };
        debug_assert_eq!(self.mapped.slice(0).map_or(0, <[i16]>::len), ni * nj);
        let of_plane: Vec<f64> = stack
            .counts(line, |value| value > threshold)
            .into_iter()
            .map(|body| (stack.area_mm2(body) / settings.area_mm2()).min(1.0))
            .collect();
        if settings.slices.is_none() {
            return of_plane;
        }
        (0..stack.len())
            .map(|n| {
                let view = settings.grid(stack.centre_mm(n));
                let sum: f64 = (0..settings.depth())
                    .map(|slice| view.world_mm(DVec3::new(0.0, 0.0, slice as f64)))
                    .filter_map(|place| of_plane.get(stack.at(place)?))
                    .sum();
                sum / settings.depth() as f64
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
