//! Which encoder a pipeline asks for.

use std::path::PathBuf;

use serde::Serialize;

use super::{EncoderError, Local, Own, Projector, ResNet, Vit};
use crate::view;

/// Largest width, depth and patch that a pipeline may ask for.
const LARGEST: usize = 4096;

/// The encoder as a pipeline sets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// The network.
    pub architecture: Architecture,
    /// Width of the projection.
    pub projection: usize,
    /// What makes it.
    pub projector: Projector,
    /// What each modality has of its own.
    pub own: Own,
    /// An ONNX file whose weights it begins with, found by their names.
    pub weights: Option<PathBuf>,
    /// How many of its last blocks are trained, with all that follows them;
    /// `None` for all.
    pub train_last: Option<usize>,
}

/// A network from views to embeddings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Architecture {
    /// A vision transformer over slices or slabs.
    Vit(Vit),
    /// A residual network over slices, slabs or boxes.
    ResNet(ResNet),
    /// ConvNeXt-T over slices or slabs.
    ConvNextTiny,
    /// A convolutional network over slices or slabs that keeps places apart.
    Local(Local),
    /// The network of an ONNX file.
    Imported {
        /// The file.
        path: PathBuf,
        /// The output that is the embedding; the first where it is not named.
        output: Option<String>,
    },
}

impl Settings {
    /// Places of a view that the encoder tells of one by one, L; 1 where it tells of the
    /// view as a whole.
    pub fn places(&self, view: &view::Settings) -> usize {
        match &self.architecture {
            Architecture::Local(local) => local.places(view.size),
            _ => 1,
        }
    }

    /// Whether the encoder fits views of this shape.
    ///
    /// # Errors
    /// [`EncoderError::Shape`].
    pub(super) fn check(&self, view: &view::Settings) -> Result<(), EncoderError> {
        size("projection", self.projection)?;
        match &self.architecture {
            Architecture::Vit(vit) => {
                slices(view)?;
                vit.check(view.size)
            }
            Architecture::Local(local) => {
                slices(view)?;
                local.check(view.size)
            }
            Architecture::ResNet(resnet) if resnet.axes == 3 => boxes(view),
            Architecture::ResNet(_) | Architecture::ConvNextTiny => slices(view),
            // the file says what it takes
            Architecture::Imported { .. } => Ok(()),
        }
    }
}

impl Vit {
    fn check(&self, side: usize) -> Result<(), EncoderError> {
        let Self { patch, dim, depth, heads } = *self;
        for (name, value) in [("patch", patch), ("dim", dim), ("depth", depth), ("heads", heads)] {
            size(name, value)?;
        }
        if side == 0 || !side.is_multiple_of(patch) {
            return refuse("a patch that divides the view's size", format!("{patch} and {side}"));
        }
        if !dim.is_multiple_of(heads) || !dim.is_multiple_of(4) {
            return refuse("a dim that heads and 4 divide", format!("dim {dim}, heads {heads}"));
        }
        Ok(())
    }
}

impl Local {
    fn check(&self, side: usize) -> Result<(), EncoderError> {
        let Self { patch, dim } = *self;
        size("dim", dim)?;
        if !patch.is_power_of_two() || patch > 16 || side == 0 || !side.is_multiple_of(patch) {
            let requirement = "a patch of 1, 2, 4, 8 or 16 that divides the view's size";
            return refuse(requirement, format!("{patch} and {side}"));
        }
        size("dim times places", dim.saturating_mul(self.places(side)))
    }
}

/// Slices, one or several as channels.
fn slices(view: &view::Settings) -> Result<(), EncoderError> {
    match view.shape(1)[..] {
        [_, _, _, _] => Ok(()),
        _ => refuse(
            "view.depth = 1, or view.as = \"slab\"",
            format!("view.depth = {} as boxes", view.depth()),
        ),
    }
}

fn boxes(view: &view::Settings) -> Result<(), EncoderError> {
    match view.shape(1)[..] {
        [_, _, _, _, _] => Ok(()),
        [_, 1, _, _] => refuse("view.depth above 1", "view.depth = 1".to_owned()),
        _ => refuse("view.as = \"box\"", "view.as = \"slab\"".to_owned()),
    }
}

fn size(name: &str, value: usize) -> Result<(), EncoderError> {
    if (1..=LARGEST).contains(&value) {
        return Ok(());
    }
    refuse("sizes between 1 and 4096", format!("{name} = {value}"))
}

fn refuse<T>(requirement: &'static str, received: String) -> Result<T, EncoderError> {
    Err(EncoderError::Shape { requirement, received })
}
