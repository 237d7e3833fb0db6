//! The encoder: from a view to its embedding h and its projection z.

mod builder;
mod convnext;
mod imported;
mod local;
mod projector;
mod resnet;
mod settings;
mod towers;
mod vit;
mod weights;

use std::path::PathBuf;

use onnx_grad::{ElementType, Graph, Layout, Value, model};

use builder::{Bound, Builder, Declared, Init, Source};
use imported::Imported;

pub use builder::Mode;
pub use local::Local;
pub use projector::Projector;
pub use resnet::ResNet;
pub use settings::{Architecture, Settings};
pub use towers::{Own, Towers};
pub use vit::Vit;
pub use weights::Weights;

use crate::view;

/// Why there is no such encoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// A size does not divide another one, is zero, or does not fit the views.
    #[error("the encoder needs {requirement}; received {received}")]
    Shape {
        /// What is needed.
        requirement: &'static str,
        /// What was given.
        received: String,
    },
    /// The graph cannot be built or written.
    #[error("the encoder's graph cannot be built")]
    Graph(#[from] onnx_grad::Error),
    /// An ONNX file that the pipeline names cannot be used.
    #[error("the ONNX file {path} cannot be used", path = .path.display())]
    File {
        /// The file, as the pipeline names it.
        path: PathBuf,
        /// Why.
        source: onnx_grad::Error,
    },
    /// The weights of a file are not those of the encoder.
    #[error("the weights of {path} do not fit the encoder: {reason}", path = .path.display())]
    Weights {
        /// The file, as the pipeline names it.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// More blocks are to be trained than there are.
    #[error("train_last = {asked} asks for more blocks than the encoder's {blocks}")]
    Blocks {
        /// Blocks to be trained.
        asked: usize,
        /// Blocks there are.
        blocks: usize,
    },
    /// An encoder file lacks what mivox keeps in it.
    #[error("the encoder file has no {key} in its metadata: it was not written by mivox")]
    Metadata {
        /// The missing key.
        key: &'static str,
    },
}

/// The name of the file of an encoder that sees one modality, or all.
pub fn file_name(modality: Option<&str>) -> String {
    match modality {
        Some(modality) => format!("encoder-{modality}.onnx"),
        None => "encoder.onnx".to_owned(),
    }
}

/// Names of the tensors of `encoder.onnx`.
pub const INPUT: &str = "view";
/// The embedding h, `[N, dim]`.
pub const EMBEDDING: &str = "embedding";
/// The projection z, `[N, projection]`.
pub const PROJECTION: &str = "projection";

/// Key in the metadata of `encoder.onnx`: how volumes and views were made.
pub const RECIPE: &str = "mivox.recipe";
/// Key in the metadata: digest of the configuration it was trained with.
pub const CONFIGURATION: &str = "mivox.configuration";
/// Key in the metadata: version of mivox.
pub const VERSION: &str = "mivox.version";
/// Key in the metadata: what scores of projections were divided by at the end.
pub const TEMPERATURE: &str = "mivox.temperature";
/// Key in the metadata: places of a view that an embedding tells of one by one, L; 1
/// where there is no such key.
pub const PLACES: &str = "mivox.places";
/// Key in the metadata: the seed.
pub const SEED: &str = "mivox.seed";

/// Views in the graphs that are not for training, where any number will do.
const BATCH: usize = 2;

/// An encoder of a stated shape: its parameters' layout and its graph.
#[derive(Debug)]
pub struct Encoder {
    settings: Settings,
    /// The network of an ONNX file, where the architecture is one.
    imported: Option<Imported>,
    view: view::Settings,
    dim: usize,
    declared: Declared,
    /// How many of the parameters and of the buffers are the network's; the projector's
    /// follow.
    of_network: [usize; 2],
    /// All parameters, in the order in which the network asks for them.
    all: Layout,
    trained: Layout,
    frozen: Layout,
    buffers: Layout,
    remarks: Vec<String>,
}

/// An encoder's tensors as values of a graph, each list in the order of its layout.
#[derive(Debug, Clone, Copy)]
pub struct Tensors<'a> {
    /// What is trained.
    pub trained: &'a [Value],
    /// What keeps its values.
    pub frozen: &'a [Value],
    /// Running averages.
    pub buffers: &'a [Value],
}

/// What a part of an encoder gives in a graph.
#[derive(Debug, Clone)]
pub struct Output {
    /// The embedding or the projection.
    pub value: Value,
    /// The part's buffers after the step, in their order; none where the graph is not
    /// for training.
    pub buffers: Vec<Value>,
}

impl Encoder {
    /// The encoder for the views of a pipeline; reads the ONNX files that the
    /// settings name.
    ///
    /// # Errors
    /// [`EncoderError`] where sizes do not fit, or a file cannot be used.
    pub fn open(settings: &Settings, view: &view::Settings) -> Result<Self, EncoderError> {
        settings.check(view)?;
        let imported = match &settings.architecture {
            Architecture::Imported { path, output } => {
                Some(Imported::open(path, output.as_deref(), view)?)
            }
            _ => None,
        };
        let mut encoder = Self {
            settings: settings.clone(),
            remarks: imported.iter().flat_map(Imported::remarks).collect(),
            imported,
            view: *view,
            dim: 0,
            declared: Declared::default(),
            of_network: [0; 2],
            all: Layout::new(),
            trained: Layout::new(),
            frozen: Layout::new(),
            buffers: Layout::new(),
        };
        encoder.declare()?;
        if let Some(path) = &settings.weights {
            weights::take_from_file(&mut encoder, path)?;
        }
        encoder.lay_out()?;
        Ok(encoder)
    }

    /// Lays the network out once to learn what it has.
    fn declare(&mut self) -> Result<(), EncoderError> {
        let mut g = Graph::new();
        let views = g.input(INPUT, ElementType::F32, &self.view.shape(self.batch()));
        let mut declared = Declared::default();
        let mut builder = Builder::new(&mut g, Source::Declare(&mut declared), Mode::Infer);
        let h = self.network(&mut builder, views)?;
        self.dim = g.shape(h)[1];
        self.of_network = [declared.parameters.len(), declared.buffers.len()];
        let mut builder = Builder::new(&mut g, Source::Declare(&mut declared), Mode::Infer);
        projector::forward(&mut builder, h, &self.settings)?;
        self.declared = declared;
        Ok(())
    }

    /// Decides which parameters are trained and where each lies.
    fn lay_out(&mut self) -> Result<(), EncoderError> {
        let mut all = Layout::new();
        for (parameter, _) in &self.declared.parameters {
            all.push(parameter.clone())?;
        }
        let first = match self.settings.train_last {
            None => 0,
            Some(0) => self.of_network[0],
            Some(asked) => {
                let blocks = all.blocks();
                let nth = blocks.iter().nth_back(asked - 1).map(|(_, index)| *index);
                nth.ok_or(EncoderError::Blocks { asked, blocks: blocks.len() })?
            }
        };
        (self.trained, self.frozen) = all.split(|index, _| index >= first);
        self.all = all;
        for (buffer, _) in &self.declared.buffers {
            self.buffers.push(buffer.clone())?;
        }
        Ok(())
    }

    /// The batch of graphs that are not for training.
    fn batch(&self) -> usize {
        self.imported.as_ref().and_then(|imported| imported.batch).unwrap_or(BATCH)
    }

    fn network(&self, b: &mut Builder, views: Value) -> Result<Value, EncoderError> {
        match (&self.imported, &self.settings.architecture) {
            (Some(imported), _) => imported.forward(b, views),
            (None, Architecture::Vit(vit)) => vit.forward(b, views),
            (None, Architecture::ResNet(resnet)) => resnet.forward(b, views),
            (None, Architecture::Local(local)) => local.forward(b, views),
            (None, _) => convnext::forward(b, views),
        }
    }

    /// Where each trained parameter lies in the flat buffer.
    pub fn layout(&self) -> &Layout {
        &self.trained
    }

    /// Where each buffer (running average) lies in their flat buffer.
    pub fn buffers(&self) -> &Layout {
        &self.buffers
    }

    /// The parameters that keep their values.
    pub fn frozen(&self) -> &Layout {
        &self.frozen
    }

    /// Width of the embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// What whoever trains it should know of the file it came from.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// What each modality has of its own.
    pub fn own(&self) -> Own {
        self.settings.own
    }

    /// Width of the projection.
    pub fn projection(&self) -> usize {
        match self.settings.projector {
            Projector::None => self.dim,
            _ => self.settings.projection,
        }
    }

    /// Places of a view that the embedding and the projection tell of one by one, L.
    pub fn places(&self) -> usize {
        self.settings.places(&self.view)
    }

    /// Adds the network to a graph: from views `[N, C, H, W]` or `[N, 1, D, H, W]` to the
    /// embedding h `[N, dim]`.
    ///
    /// # Errors
    /// [`EncoderError::Graph`].
    pub fn embed(
        &self,
        g: &mut Graph,
        tensors: &Tensors,
        mode: Mode,
        views: Value,
    ) -> Result<Output, EncoderError> {
        let parameters = self.joined(tensors)?;
        let [own, averages] = self.of_network;
        let bound = Bound {
            parameters: parameters[..own].iter(),
            buffers: tensors.buffers[..averages].iter(),
        };
        let mut builder = Builder::new(g, Source::Bind(bound), mode);
        let value = self.network(&mut builder, views)?;
        Ok(Output { value, buffers: builder.next_buffers })
    }

    /// Adds the projector to a graph: from embeddings `[N, dim]` to the projection z
    /// `[N, projection]`.
    ///
    /// # Errors
    /// [`EncoderError::Graph`].
    pub fn project(
        &self,
        g: &mut Graph,
        tensors: &Tensors,
        mode: Mode,
        h: Value,
    ) -> Result<Output, EncoderError> {
        let parameters = self.joined(tensors)?;
        let [own, averages] = self.of_network;
        let bound = Bound {
            parameters: parameters[own..].iter(),
            buffers: tensors.buffers[averages..].iter(),
        };
        let mut builder = Builder::new(g, Source::Bind(bound), mode);
        let value = projector::forward(&mut builder, h, &self.settings)?;
        Ok(Output { value, buffers: builder.next_buffers })
    }

    /// All parameters in the order in which the network asks for them.
    fn joined(&self, tensors: &Tensors) -> Result<Vec<Value>, EncoderError> {
        let parts = [(&self.trained, tensors.trained), (&self.frozen, tensors.frozen)];
        Ok(self.all.join(&parts)?)
    }

    /// The encoder as an ONNX file for any batch size, with its parameters and
    /// metadata inside.
    ///
    /// # Errors
    /// [`EncoderError::Graph`].
    pub fn export(
        &self,
        weights: &Weights,
        mut metadata: Vec<(String, String)>,
    ) -> Result<Vec<u8>, EncoderError> {
        if self.places() > 1 {
            metadata.push((PLACES.to_owned(), self.places().to_string()));
        }
        let mut g = Graph::new();
        let views = g.input(INPUT, ElementType::F32, &self.view.shape(self.batch()));
        let trained = self.trained.bind_initializers(&mut g, &weights.trained)?;
        let frozen = self.frozen.bind_initializers(&mut g, &weights.frozen)?;
        let buffers = self.buffers.bind_initializers(&mut g, &weights.buffers)?;
        let tensors = Tensors { trained: &trained, frozen: &frozen, buffers: &buffers };
        let h = self.embed(&mut g, &tensors, Mode::Infer, views)?.value;
        let z = self.project(&mut g, &tensors, Mode::Infer, h)?.value;
        g.output(EMBEDDING, h);
        g.output(PROJECTION, z);
        let options = model::WriteOptions {
            producer: "mivox".to_owned(),
            metadata,
            dynamic_batch: Some("N".to_owned()),
            ..model::WriteOptions::default()
        };
        Ok(model::write(&g, &options)?)
    }
}

#[cfg(test)]
mod tests;
