//! The encoder: from a view to its embedding h and its projection z.

mod projector;
mod vit;

use onnx_grad::{ElementType, Graph, Layout, Parameter, Value, model};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

use crate::view;

/// Shape of the encoder, as a pipeline sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Pixels along each side of a patch; divides the view's size.
    pub patch: usize,
    /// Width of the embedding.
    pub dim: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Attention heads; divides `dim`.
    pub heads: usize,
    /// Width of the projection.
    pub projection: usize,
}

/// Why there is no such encoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// A size does not divide another one, or is zero.
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
    /// An encoder file lacks what mivox keeps in it.
    #[error("the encoder file has no {key} in its metadata: it was not written by mivox")]
    Metadata {
        /// The missing key.
        key: &'static str,
    },
}

/// Largest width, depth and patch that a pipeline may ask for.
const LARGEST: usize = 4096;

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
/// Key in the metadata: the seed.
pub const SEED: &str = "mivox.seed";

/// An encoder of a stated shape: its parameters' layout and its graph.
#[derive(Debug, Clone)]
pub struct Encoder {
    settings: Settings,
    view: view::Settings,
    layout: Layout,
}

/// The weights of an encoder in a graph, by name.
struct Weights<'a> {
    layout: &'a Layout,
    values: &'a [Value],
}

impl Weights<'_> {
    fn get(&self, name: &str) -> Result<Value, EncoderError> {
        let value = self.layout.find(name).and_then(|at| self.values.get(at)).copied();
        value.ok_or_else(|| EncoderError::Shape {
            requirement: "a parameter for every name its graph uses",
            received: name.to_owned(),
        })
    }

    /// x W + b.
    fn linear(&self, g: &mut Graph, x: Value, name: &str) -> Result<Value, EncoderError> {
        let product = g.matmul(x, self.get(&format!("{name}.weight"))?)?;
        Ok(g.add(product, self.get(&format!("{name}.bias"))?)?)
    }

    fn layer_norm(&self, g: &mut Graph, x: Value, name: &str) -> Result<Value, EncoderError> {
        let scale = self.get(&format!("{name}.weight"))?;
        let bias = self.get(&format!("{name}.bias"))?;
        Ok(g.layer_norm(x, scale, bias, -1, 1e-6)?)
    }
}

/// Adds the parameters of a linear map to a layout.
fn push_linear(
    layout: &mut Layout,
    name: &str,
    inputs: usize,
    outputs: usize,
) -> Result<(), onnx_grad::Error> {
    layout.push(Parameter::new(format!("{name}.weight"), &[inputs, outputs], true))?;
    layout.push(Parameter::new(format!("{name}.bias"), &[outputs], false))?;
    Ok(())
}

/// Adds the parameters of a layer normalisation to a layout.
fn push_layer_norm(layout: &mut Layout, name: &str, dim: usize) -> Result<(), onnx_grad::Error> {
    layout.push(Parameter::new(format!("{name}.weight"), &[dim], false))?;
    layout.push(Parameter::new(format!("{name}.bias"), &[dim], false))?;
    Ok(())
}

impl Encoder {
    /// The encoder for the views of a pipeline, which must be planes.
    ///
    /// # Errors
    /// [`EncoderError::Shape`] where sizes do not divide or are out of bounds.
    pub fn new(settings: Settings, view: &view::Settings) -> Result<Self, EncoderError> {
        let Settings { patch, dim, depth, heads, projection } = settings;
        let refuse = |requirement, received| Err(EncoderError::Shape { requirement, received });
        for (value, name) in [
            (patch, "patch"),
            (dim, "dim"),
            (depth, "depth"),
            (heads, "heads"),
            (projection, "projection"),
        ] {
            if !(1..=LARGEST).contains(&value) {
                return refuse("sizes between 1 and 4096", format!("{name} = {value}"));
            }
        }
        if view.slices.is_some() {
            return refuse("view.depth = 1", format!("view.depth = {}", view.depth()));
        }
        let size = view.size;
        if size == 0 || !size.is_multiple_of(patch) {
            return refuse("a patch that divides the view's size", format!("{patch} and {size}"));
        }
        if !dim.is_multiple_of(heads) || !dim.is_multiple_of(4) {
            return refuse("a dim that heads and 4 divide", format!("dim {dim}, heads {heads}"));
        }
        let mut layout = Layout::new();
        vit::push_parameters(&mut layout, &settings)?;
        projector::push_parameters(&mut layout, &settings)?;
        Ok(Self { settings, view: *view, layout })
    }

    /// Where each parameter lies in the flat buffer.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Width of the embedding.
    pub fn dim(&self) -> usize {
        self.settings.dim
    }

    /// Fresh parameters, flat: weights normal with standard deviation
    /// √(2 / (inputs + outputs)), scales one, biases zero.
    ///
    /// # Source
    /// Glorot and Bengio 2010, eq. 12, by its normal form.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut flat = vec![0.0; self.layout.len()];
        for (index, parameter) in self.layout.parameters().iter().enumerate() {
            let count: usize = parameter.shape.iter().product();
            let Some(start) = self.layout.offset(index) else { continue };
            let values = &mut flat[start..start + count];
            if let [inputs, outputs] = parameter.shape[..] {
                let deviation = (2.0 / (inputs + outputs) as f32).sqrt();
                if let Ok(normal) = Normal::new(0.0, deviation) {
                    values.fill_with(|| normal.sample(&mut rng));
                }
            } else if parameter.name.ends_with(".weight") {
                values.fill(1.0);
            }
        }
        flat
    }

    /// Adds the encoder to a graph: from views `[N, 1, H, W]` to the embedding
    /// h `[N, dim]` and the projection z `[N, projection]`. `values` are the
    /// parameters in the layout's order.
    ///
    /// # Errors
    /// [`EncoderError::Graph`].
    pub fn forward(
        &self,
        g: &mut Graph,
        values: &[Value],
        views: Value,
    ) -> Result<(Value, Value), EncoderError> {
        let weights = Weights { layout: &self.layout, values };
        let h = vit::forward(g, &weights, &self.settings, views)?;
        let z = projector::forward(g, &weights, h)?;
        Ok((h, z))
    }

    /// The encoder as an ONNX file for any batch size, with its parameters and
    /// metadata inside.
    ///
    /// # Errors
    /// [`EncoderError::Graph`].
    pub fn export(
        &self,
        parameters: &[f32],
        metadata: Vec<(String, String)>,
    ) -> Result<Vec<u8>, EncoderError> {
        let mut g = Graph::new();
        let views = g.input(INPUT, ElementType::F32, &self.view.shape(2));
        let values = self.layout.bind_initializers(&mut g, parameters)?;
        let (h, z) = self.forward(&mut g, &values, views)?;
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
mod tests {
    use super::*;

    const SMALL: Settings = Settings { patch: 4, dim: 16, depth: 2, heads: 2, projection: 8 };
    const VIEW: view::Settings = view::Settings { size: 16, pixel_mm: 2.5, slices: None };

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        assert!(Encoder::new(SMALL, &VIEW).is_ok());
        assert!(Encoder::new(SMALL, &view::Settings { size: 18, ..VIEW }).is_err());
        assert!(Encoder::new(Settings { heads: 3, ..SMALL }, &VIEW).is_err());
        assert!(Encoder::new(Settings { depth: 0, ..SMALL }, &VIEW).is_err());
        assert!(Encoder::new(Settings { dim: 1 << 40, ..SMALL }, &VIEW).is_err());
    }

    #[test]
    fn a_box_is_refused_by_the_name_of_its_key() {
        let slices = Some(view::Slices { depth: 32, slice_mm: 2.5 });
        let refused = Encoder::new(SMALL, &view::Settings { slices, ..VIEW }).unwrap_err();
        assert!(refused.to_string().contains("received view.depth = 32"), "{refused}");
    }

    #[test]
    fn the_seed_decides_the_parameters() {
        let encoder = Encoder::new(SMALL, &VIEW).unwrap();
        let first = encoder.initial_parameters(1);
        assert_eq!(first, encoder.initial_parameters(1));
        assert_ne!(first, encoder.initial_parameters(2));
        assert_eq!(first.len(), encoder.layout().len());
    }

    #[test]
    fn the_file_carries_its_metadata_and_any_batch() {
        let encoder = Encoder::new(SMALL, &VIEW).unwrap();
        let metadata = vec![(RECIPE.to_owned(), "as tested".to_owned())];
        let bytes = encoder.export(&encoder.initial_parameters(1), metadata).unwrap();
        let file = model::read(&bytes).unwrap();
        assert_eq!(file.metadata(RECIPE), Some("as tested"));
        assert_eq!(file.output_shape(EMBEDDING), Some(vec![None, Some(16)]));
        assert_eq!(file.output_shape(PROJECTION), Some(vec![None, Some(8)]));
    }
}
