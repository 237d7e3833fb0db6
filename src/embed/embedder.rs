//! Encoders of files, ready to embed views.

use std::path::Path;

use onnx_grad::model;
use rayon::prelude::*;

use super::EmbedError;
use crate::{
    durable,
    encoder::{self, EncoderError, Own},
    runtime::{self, Runtime, Session},
    study::Modality,
    view,
};

/// Views that go through the encoder at once.
const BATCH: usize = 64;
/// Most voxels of boxes that do: a box is many times a plane, and so are an
/// encoder's activations. Planes keep to their number, which decides the last bits.
const BOX_VOXELS: usize = 1 << 22;

/// An encoder ready to embed views.
pub struct Embedder {
    /// By modality; one without a modality where it sees all.
    sessions: Vec<(Option<String>, Session)>,
    dim: usize,
    places: usize,
    digest: String,
    temperature: Option<f32>,
}

impl Embedder {
    /// The encoder of an ONNX file that was trained by the recipe given.
    ///
    /// # Errors
    /// [`EmbedError::Recipe`] where the recipe is another one; others where the
    /// file is no encoder of mivox.
    pub fn new(runtime: &Runtime, bytes: &[u8], recipe: &str) -> Result<Self, EmbedError> {
        let file = model::read(bytes)?;
        let missing = |key| EncoderError::Metadata { key };
        let trained = file.metadata(encoder::RECIPE).ok_or_else(|| missing(encoder::RECIPE))?;
        if trained != recipe {
            let (trained, asked) = (trained.to_owned(), recipe.to_owned());
            return Err(EmbedError::Recipe { trained, asked });
        }
        let dim = file.output_shape(encoder::EMBEDDING).and_then(|shape| *shape.last()?);
        Ok(Self {
            sessions: vec![(None, runtime.session(bytes)?)],
            dim: dim.ok_or_else(|| missing(encoder::EMBEDDING))?,
            places: file.metadata(encoder::PLACES).and_then(|text| text.parse().ok()).unwrap_or(1),
            digest: durable::sha256_hex(bytes),
            temperature: file.metadata(encoder::TEMPERATURE).and_then(|text| text.parse().ok()),
        })
    }

    /// The encoders of a results folder: `encoder.onnx`, or where each modality has one
    /// of its own, all `encoder-MODALITY.onnx`.
    ///
    /// # Errors
    /// As [`Embedder::new`], and [`EmbedError::Read`].
    pub fn of_results(
        runtime: &Runtime,
        folder: &Path,
        own: Own,
        recipe: &str,
    ) -> Result<Self, EmbedError> {
        if !own.any() {
            return Self::open(runtime, &folder.join(encoder::file_name(None)), recipe);
        }
        let mut all: Option<Self> = None;
        for modality in Modality::ALL.map(Modality::as_str) {
            let path = folder.join(encoder::file_name(Some(modality)));
            if path.exists() {
                let one = Self::open(runtime, &path, recipe)?;
                all = Some(one.after(all, Some(modality.to_owned())));
            }
        }
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        all.ok_or_else(|| EmbedError::Read(missing()))
    }

    /// This encoder for a modality, or for all, beside those before it.
    #[must_use]
    pub fn after(mut self, before: Option<Self>, modality: Option<String>) -> Self {
        self.sessions.iter_mut().for_each(|(of, _)| of.clone_from(&modality));
        let Some(mut all) = before else { return self };
        let both = format!("{}{}", all.digest, self.digest);
        all.digest = durable::sha256_hex(both.as_bytes());
        all.sessions.append(&mut self.sessions);
        all
    }

    /// Whether there is an encoder for each of these modalities.
    ///
    /// # Errors
    /// [`EmbedError::NoEncoder`] with the first that has none.
    pub fn check<'m>(
        &self,
        mut modalities: impl Iterator<Item = &'m str>,
    ) -> Result<(), EmbedError> {
        modalities.try_for_each(|modality| self.number(modality).map(|_| ()))
    }

    fn number(&self, modality: &str) -> Result<usize, EmbedError> {
        let mut sessions = self.sessions.iter();
        let number = sessions.position(|(of, _)| of.as_deref().is_none_or(|of| of == modality));
        number.ok_or_else(|| {
            let known: Vec<&str> = self.sessions.iter().flat_map(|(of, _)| of.as_deref()).collect();
            EmbedError::NoEncoder { modality: modality.to_owned(), known: known.join(", ") }
        })
    }

    /// The encoder of a file; see [`Embedder::new`].
    ///
    /// # Errors
    /// As [`Embedder::new`], and [`EmbedError::Read`].
    pub fn open(runtime: &Runtime, path: &Path, recipe: &str) -> Result<Self, EmbedError> {
        Self::new(runtime, &std::fs::read(path).map_err(EmbedError::Read)?, recipe)
    }

    /// What scores of its projections were divided by at the end of its training, where
    /// its file says so.
    pub fn temperature(&self) -> Option<f32> {
        self.temperature
    }

    /// Width of the embeddings.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Places of a view that an embedding tells of one by one; 1 where it tells of the
    /// view as a whole.
    pub fn places(&self) -> usize {
        self.places
    }

    /// SHA-256 of the encoder file.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Embeddings `[N, dim]` and projections `[N, projection]`, row by row, of N
    /// views of one modality made by `fill`, which is given the number of the view and
    /// its voxels.
    ///
    /// # Errors
    /// [`EmbedError::Runtime`]; [`EmbedError::NoEncoder`].
    pub fn embed(
        &mut self,
        view: &view::Settings,
        modality: &str,
        count: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<(Vec<f32>, Vec<f32>), EmbedError> {
        let number = self.number(modality)?;
        let Some((_, session)) = self.sessions.get_mut(number) else {
            return Ok((Vec::new(), Vec::new()));
        };
        let voxels = view.voxels();
        let batch = match view.slices {
            None => BATCH,
            Some(_) => (BOX_VOXELS / voxels.max(1)).clamp(1, BATCH),
        };
        let (mut embeddings, mut projections) = (Vec::new(), Vec::new());
        for first in (0..count).step_by(batch) {
            let rows = batch.min(count - first);
            let mut views = vec![0.0; rows * voxels];
            views
                .par_chunks_exact_mut(voxels)
                .enumerate()
                .for_each(|(n, values)| fill(first + n, values));
            let shape = view.shape(rows);
            let input = (encoder::INPUT, shape.as_slice(), views.as_slice());
            let outputs = runtime::run(session, input, &[encoder::EMBEDDING, encoder::PROJECTION])?;
            if let [h, z] = outputs.as_slice() {
                embeddings.extend_from_slice(h);
                projections.extend_from_slice(z);
            }
        }
        Ok((embeddings, projections))
    }

    /// As [`Embedder::embed`], of views of the modalities given, each by its encoder.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn embed_each(
        &mut self,
        view: &view::Settings,
        modalities: &[&str],
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<(Vec<f32>, Vec<f32>), EmbedError> {
        let numbers: Vec<usize> =
            modalities.iter().map(|modality| self.number(modality)).collect::<Result<_, _>>()?;
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by_key(|&row| numbers[row]);
        let (mut embeddings, mut projections) = (Vec::new(), Vec::new());
        for group in order.chunk_by(|&a, &b| numbers[a] == numbers[b]) {
            let (modality, count) = (modalities[group[0]], group.len());
            let (h, z) = self.embed(view, modality, count, |n, values| fill(group[n], values))?;
            for (all, part) in [(&mut embeddings, h), (&mut projections, z)] {
                let width = part.len() / count;
                all.resize(width * numbers.len(), 0.0);
                for (values, &row) in part.chunks_exact(width.max(1)).zip(group) {
                    all[row * width..(row + 1) * width].copy_from_slice(values);
                }
            }
        }
        Ok((embeddings, projections))
    }
}
