//! An encoder for all modalities or one for each, and the same of the projector.

use onnx_grad::{Error, Graph, Layout, Parameter, Value};
use serde::Serialize;

use super::{Encoder, EncoderError, Mode, Output, Tensors, Weights};

/// What each modality has of its own.
///
/// # Source
/// Two encoders as in Radford et al. 2021 (CLIP); of one shape and with one objective as
/// in Pielawski et al. 2020 (CoMIR), § 2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Own {
    /// An encoder.
    pub encoder: bool,
    /// A projector.
    pub projector: bool,
}

impl Own {
    /// Whether there is anything: then batches are made of fixed modalities, and there is
    /// an encoder file for each.
    pub fn any(self) -> bool {
        self.encoder || self.projector
    }
}

/// The encoders of some modalities, of one shape, which share what is not their own.
///
/// A tensor of its own is called `MODALITY/name`; what is shared, and what is frozen,
/// keeps its name and is there once.
#[derive(Debug)]
pub struct Towers<'a> {
    encoder: &'a Encoder,
    own: Own,
    modalities: Vec<String>,
    trained: Layout,
    buffers: Layout,
    /// Of each modality, the encoder's layouts with the names that they have here.
    parts: Vec<[Layout; 2]>,
}

impl<'a> Towers<'a> {
    /// Towers for these modalities, in their order; where nothing is their own, one for all.
    ///
    /// # Errors
    /// [`EncoderError::Graph`] where two tensors come to the same name.
    pub fn new(encoder: &'a Encoder, modalities: &[String]) -> Result<Self, EncoderError> {
        let own = encoder.settings.own;
        let modalities = if own.any() { modalities.to_vec() } else { vec![String::new()] };
        let (mut trained, mut buffers) = (Layout::new(), Layout::new());
        let mut parts = Vec::new();
        for modality in &modalities {
            let part = [&encoder.trained, &encoder.buffers]
                .map(|layout| named(encoder, layout, own, modality));
            let [of_trained, of_buffers] = part;
            let part = [of_trained?, of_buffers?];
            for (whole, part) in [(&mut trained, &part[0]), (&mut buffers, &part[1])] {
                let new = |parameter: &&Parameter| whole.find(&parameter.name).is_none();
                let new: Vec<Parameter> = part.parameters().iter().filter(new).cloned().collect();
                for parameter in new {
                    whole.push(parameter)?;
                }
            }
            parts.push(part);
        }
        Ok(Self { encoder, own, modalities, trained, buffers, parts })
    }

    /// The encoder that each of them is.
    pub fn encoder(&self) -> &Encoder {
        self.encoder
    }

    /// Where each trained parameter lies in the flat buffer of all.
    pub fn layout(&self) -> &Layout {
        &self.trained
    }

    /// Where each running average lies in the flat buffer of all.
    pub fn buffers(&self) -> &Layout {
        &self.buffers
    }

    /// The number of the tower that sees a modality.
    pub fn number(&self, modality: &str) -> Option<usize> {
        match self.own.any() {
            true => self.modalities.iter().position(|known| known == modality),
            false => Some(0),
        }
    }

    /// The weights of all before training: every tower begins as the encoder does.
    ///
    /// # Errors
    /// [`EncoderError::Graph`].
    pub fn initial_weights(&self, seed: u64) -> Result<Weights, EncoderError> {
        let Weights { trained, frozen, buffers } = self.encoder.initial_weights(seed);
        let mut all = Weights {
            trained: vec![0.0; self.trained.len()],
            frozen,
            buffers: vec![0.0; self.buffers.len()],
        };
        for [of_trained, of_buffers] in &self.parts {
            self.trained.put(&mut all.trained, of_trained, &trained)?;
            self.buffers.put(&mut all.buffers, of_buffers, &buffers)?;
        }
        Ok(all)
    }

    /// Of every tower its modality, `None` for one that sees all, and its weights as its
    /// encoder has them.
    ///
    /// # Errors
    /// [`EncoderError::Graph`] where the weights are not those of these towers.
    pub fn weights(&self, all: &Weights) -> Result<Vec<(Option<String>, Weights)>, EncoderError> {
        let towers = self.modalities.iter().zip(&self.parts);
        towers
            .map(|(modality, [trained, buffers])| {
                let weights = Weights {
                    trained: self.trained.take(&all.trained, trained)?,
                    frozen: all.frozen.clone(),
                    buffers: self.buffers.take(&all.buffers, buffers)?,
                };
                Ok((self.own.any().then(|| modality.clone()), weights))
            })
            .collect()
    }

    /// Adds the towers to a graph: from views to projections `[N, projection]`, row n by
    /// the tower whose number `rows` says. `tensors` are those of all towers, and so are
    /// the buffers that come out.
    ///
    /// # Errors
    /// [`EncoderError::Graph`].
    pub fn forward(
        &self,
        g: &mut Graph,
        tensors: &Tensors,
        mode: Mode,
        views: Value,
        rows: &[usize],
    ) -> Result<Output, EncoderError> {
        let mut bound = Vec::new();
        for [of_trained, of_buffers] in &self.parts {
            let trained = of_trained.join(&[(&self.trained, tensors.trained)])?;
            let buffers = of_buffers.join(&[(&self.buffers, tensors.buffers)])?;
            bound.push((trained, buffers));
        }
        let of = |n: usize| Tensors {
            trained: &bound[n].0,
            frozen: tensors.frozen,
            buffers: &bound[n].1,
        };
        let (h, of_network) = route(g, views, rows, self.own.encoder, |g, n, x| {
            self.encoder.embed(g, &of(n), mode, x)
        })?;
        let (z, of_projector) = route(g, h, rows, self.own.projector, |g, n, x| {
            self.encoder.project(g, &of(n), mode, x)
        })?;
        let mut buffers = tensors.buffers.to_vec();
        let averages = self.encoder.of_network[1];
        for (start, after) in [(0, of_network), (averages, of_projector)] {
            for (tower, values) in after {
                let names = self.parts[tower][1].parameters()[start..].iter();
                for (parameter, value) in names.zip(values) {
                    if let Some(at) = self.buffers.find(&parameter.name) {
                        buffers[at] = value;
                    }
                }
            }
        }
        Ok(Output { value: z, buffers })
    }
}

/// A layout of the encoder with the names that a modality's tensors have.
fn named(
    encoder: &Encoder,
    layout: &Layout,
    own: Own,
    modality: &str,
) -> Result<Layout, EncoderError> {
    let declared = [&encoder.declared.parameters, &encoder.declared.buffers];
    let of_network = |name: &str| {
        declared
            .iter()
            .zip(encoder.of_network)
            .any(|(list, count)| list[..count].iter().any(|(parameter, _)| parameter.name == name))
    };
    let mut renamed = Layout::new();
    for parameter in layout.parameters() {
        let its_own = if of_network(&parameter.name) { own.encoder } else { own.projector };
        let name = match its_own {
            true => format!("{modality}/{}", parameter.name),
            false => parameter.name.clone(),
        };
        renamed.push(Parameter { name, ..parameter.clone() })?;
    }
    Ok(renamed)
}

/// Of the towers that saw rows, the number and the running averages after the step.
type After = Vec<(usize, Vec<Value>)>;

/// Every row of x through its own tower, or all through the first.
fn route(
    g: &mut Graph,
    x: Value,
    rows: &[usize],
    own: bool,
    mut through: impl FnMut(&mut Graph, usize, Value) -> Result<Output, EncoderError>,
) -> Result<(Value, After), EncoderError> {
    if !own {
        let output = through(g, 0, x)?;
        return Ok((output.value, vec![(0, output.buffers)]));
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| rows[row]);
    let (mut outputs, mut after) = (Vec::new(), Vec::new());
    for group in order.chunk_by(|&a, &b| rows[a] == rows[b]) {
        let tower = rows[group[0]];
        let picked = gather(g, x, group)?;
        let output = through(g, tower, picked)?;
        outputs.push(output.value);
        after.push((tower, output.buffers));
    }
    let sorted = g.concat(&outputs, 0)?;
    let mut back = vec![0; rows.len()];
    order.iter().enumerate().for_each(|(place, &row)| back[row] = place);
    Ok((gather(g, sorted, &back)?, after))
}

fn gather(g: &mut Graph, x: Value, rows: &[usize]) -> Result<Value, Error> {
    let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let indices = g.constant_i64(&[rows.len()], &rows)?;
    g.gather(x, indices, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        encoder::{Architecture, Projector, Settings, Vit},
        view,
    };

    fn encoder(own: Own, projector: Projector) -> Encoder {
        let view =
            view::Settings { size: 8, pixel_mm: 2.5, plane: view::Plane::Axial, slices: None };
        let vit = Vit { patch: 4, dim: 8, depth: 1, heads: 2 };
        let settings = Settings {
            architecture: Architecture::Vit(vit),
            projection: 4,
            projector,
            own,
            weights: None,
            train_last: None,
        };
        Encoder::open(&settings, &view).unwrap()
    }

    #[test]
    fn what_is_their_own_is_there_for_each_and_the_rest_once() {
        let modalities = ["CT", "T1"].map(str::to_owned);
        let count = |encoder: &Encoder, part: &str| -> usize {
            let parameters = encoder.layout().parameters().iter();
            let of_part = parameters.filter(|p| p.name.starts_with("projector") == (part == "z"));
            of_part.map(|p| p.shape.iter().product::<usize>()).sum()
        };
        for (own, of_h, of_z) in [
            (Own { encoder: true, projector: true }, 2, 2),
            (Own { encoder: true, projector: false }, 2, 1),
            (Own { encoder: false, projector: true }, 1, 2),
            (Own::default(), 1, 1),
        ] {
            let encoder = encoder(own, Projector::Expander);
            let towers = Towers::new(&encoder, &modalities).unwrap();
            let wanted = of_h * count(&encoder, "h") + of_z * count(&encoder, "z");
            assert_eq!(towers.layout().len(), wanted, "{own:?}");
            assert_eq!(towers.buffers().len(), of_z * encoder.buffers().len(), "{own:?}");
            let mut weights = towers.initial_weights(3).unwrap();
            let alone = encoder.initial_weights(3);
            let each = towers.weights(&weights).unwrap();
            assert_eq!(each.len(), if own.any() { 2 } else { 1 });
            assert!(each.iter().all(|(_, weights)| *weights == alone));
            // a number of one is not the other's
            if own.encoder {
                let at = towers.layout().find("T1/patch.weight").unwrap();
                weights.trained[towers.layout().offset(at).unwrap()] += 1.0;
                let each = towers.weights(&weights).unwrap();
                assert!(each[0].1 == alone && each[1].1 != alone);
                assert_eq!(each[1].0.as_deref(), Some("T1"));
            }
            assert_eq!(towers.number("T1"), Some(usize::from(own.any())));
            assert_eq!(towers.number("PET").is_none(), own.any());
        }
    }
}
