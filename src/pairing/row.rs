//! A positive pair as a row of the manifest, and how its two sides are seen.

use std::fmt;

use glam::DVec3;
use rand_chacha::ChaCha8Rng;

use super::{Direction, context};
use crate::{
    table::record,
    view::{self, Augmentation, Augments, Prepared, ViewError, Volumes},
};

/// Why two places are a positive pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One place, seen twice through different augmentations (SimCLR).
    Augmented,
    /// Neighbouring slices of one series.
    CrossSlice,
    /// The same place in world mm in another modality.
    CrossModality,
    /// The same place in world mm in another session.
    Longitudinal,
    /// Two series of one study; nothing is said about the places.
    MultiInstance,
    /// A slice, and the slab around it without it.
    Context,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Augmented,
        Self::CrossSlice,
        Self::CrossModality,
        Self::Longitudinal,
        Self::MultiInstance,
        Self::Context,
    ];

    /// The word used in tables and pipelines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Augmented => "augmented",
            Self::CrossSlice => "cross-slice",
            Self::CrossModality => "cross-modality",
            Self::Longitudinal => "longitudinal",
            Self::MultiInstance => "multi-instance",
            Self::Context => "context",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

record! {
    /// A row of `pairs.parquet`: two places that are to look alike to the encoder.
    pub struct PairRow {
        /// A word of [`Kind`].
        pub kind: String,
        /// `train` or `held-out`, the same for all pairs of a subject.
        pub split: String,
        /// The pipeline's name of the source.
        pub source: String,
        /// Pseudonym of the subject both places belong to.
        pub subject: String,
        /// The coordinate system of the anchor's mm, see [`Prepared::world`].
        pub world: String,
        /// Pseudonym of the anchor's series.
        pub anchor_series: String,
        /// Pseudonym of the anchor's session.
        pub anchor_session: String,
        /// Modality of the anchor.
        pub anchor_modality: String,
        /// RAS+ mm of the centre of the anchor's view.
        pub anchor_mm: [f64; 3],
        /// Pseudonym of the positive's series.
        pub positive_series: String,
        /// Pseudonym of the positive's session.
        pub positive_session: String,
        /// Modality of the positive.
        pub positive_modality: String,
        /// The coordinate system of the positive's mm; another one than the
        /// anchor's in multi-instance pairs alone.
        pub positive_world: String,
        /// RAS+ mm of the centre of the positive's view.
        pub positive_mm: [f64; 3],
        /// mm between the two centres; empty where they are in different worlds.
        pub distance_mm: Option<f64>,
        /// A word of [`Direction`], of context pairs: what the anchor sees of the slab.
        pub context: Option<String>,
        /// Why the two are a positive pair.
        pub reason: String,
    }
}

/// One of the two views of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Anchor,
    /// The other one.
    Positive,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Anchor, Self::Positive];
}

/// How the two sides of a pair are changed, by draws.
pub struct Changes<'a> {
    /// How strongly.
    pub augments: &'a Augments,
    /// What is of one side alone.
    pub rng: &'a mut ChaCha8Rng,
    /// What all views of a batch share: at the same point for each.
    pub shared: ChaCha8Rng,
}

impl PairRow {
    /// Series, modality and centre in RAS+ mm of a side.
    pub fn side(&self, side: Side) -> (&str, &str, DVec3) {
        match side {
            Side::Anchor => {
                (&self.anchor_series, &self.anchor_modality, DVec3::from_array(self.anchor_mm))
            }
            Side::Positive => (
                &self.positive_series,
                &self.positive_modality,
                DVec3::from_array(self.positive_mm),
            ),
        }
    }

    /// Whether it is of a kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind.as_str()
    }

    /// Fills `values` with a side's view as the encoder sees it: changed by
    /// draws, or as it is without `changes`; of a context pair the
    /// slices that this side must not see are background.
    ///
    /// # Errors
    /// [`ViewError::Unknown`] where the series was not prepared.
    pub fn see(
        &self,
        side: Side,
        volumes: &Volumes,
        view: &view::Settings,
        changes: Option<Changes>,
        values: &mut [f32],
    ) -> Result<(), ViewError> {
        let (series, modality, centre) = self.side(side);
        let volume = volumes.get(series)?;
        match changes {
            None => volume.sample(&view.grid(centre), values),
            Some(Changes { augments, rng, mut shared }) => {
                // What is masked out of a slab must not come back from its neighbours.
                let within = |change: Augmentation| match self.context {
                    Some(_) => change.in_plane(),
                    None => change,
                };
                let mut change = within(augments.of(modality).draw(view, view.is_box(), rng));
                if let Some(batch) = &augments.batch {
                    change = change.on(within(batch.draw(view, view.is_box(), &mut shared)));
                }
                change.see(volume, view, centre, rng, values);
            }
        }
        self.hide(side, volume, view, values);
        Ok(())
    }

    fn hide(&self, side: Side, volume: &Prepared, view: &view::Settings, values: &mut [f32]) {
        let direction = self.context.as_deref().and_then(|word| word.parse::<Direction>().ok());
        if let Some(direction) = direction {
            let sees = |slice| context::sees(direction, side, view.depth(), slice);
            let slices = values.chunks_exact_mut(view.size * view.size).enumerate();
            for (_, slice) in slices.filter(|(n, _)| !sees(*n)) {
                slice.fill(volume.row.background);
            }
        }
    }
}
