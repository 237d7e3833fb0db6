//! From prepared volumes to embeddings in a table.

use std::path::{Path, PathBuf};

use glam::DVec3;
use onnx_grad::model;
use rayon::prelude::*;

use crate::{
    durable::{self, DurableError},
    encoder::{self, EncoderError, Own},
    pairing::Split,
    progress::Progress,
    runtime::{self, Runtime, RuntimeError, Session},
    stop,
    study::Modality,
    table::{self, TableError, record},
    view::{self, Prepared},
};

/// Views that go through the encoder at once.
const BATCH: usize = 64;
/// Most voxels of boxes that do: a box is many times a plane, and so are an
/// encoder's activations. Planes keep to their number, which decides the last bits.
const BOX_VOXELS: usize = 1 << 22;
/// Volumes whose embeddings share one Parquet file.
const VOLUMES_PER_PART: usize = 64;

record! {
    /// A row of `embeddings/part-*.parquet`, beside its `embedding`.
    pub struct EmbeddingRow {
        /// `slice` or `volume`.
        pub level: String,
        /// The pipeline's name of the source.
        pub source: String,
        /// Pseudonym of the subject.
        pub subject: String,
        /// Pseudonym of the session.
        pub session: String,
        /// Pseudonym of the study.
        pub study: String,
        /// Pseudonym of the series.
        pub series: String,
        /// What was measured.
        pub modality: String,
        /// `train` or `held-out`: whether the encoder has seen the subject.
        pub split: String,
        /// Slice of the prepared volume along the normal of the view's plane, from 0:
        /// k where it is axial; empty for a whole volume.
        pub slice_index: Option<u32>,
        /// RAS+ mm of the view's centre, or of the body's middle for a volume.
        pub x_mm: f64,
        /// See `x_mm`.
        pub y_mm: f64,
        /// See `x_mm`.
        pub z_mm: f64,
        /// Share of the view that the body fills; the mean over the slices of a volume.
        pub foreground: f32,
    }
}

/// Why embeddings cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The encoder file cannot be read.
    #[error("the encoder cannot be read; train first")]
    Read(#[source] std::io::Error),
    /// A part of an earlier, larger cohort cannot be removed.
    #[error("an embeddings part of an earlier cohort cannot be removed")]
    Stale(#[source] std::io::Error),
    /// The encoder file is damaged.
    #[error("the encoder file is damaged")]
    Model(#[from] onnx_grad::Error),
    /// It was not written by mivox.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The encoder was trained on volumes or views made otherwise.
    #[error(
        "the encoder was trained by another recipe, so its embeddings would mean nothing.\n  encoder:  {trained}\n  pipeline: {asked}"
    )]
    Recipe {
        /// The encoder's recipe.
        trained: String,
        /// The pipeline's recipe.
        asked: String,
    },
    /// Each modality has an encoder of its own, and this one has none.
    #[error(
        "there is no encoder for {modality}: each modality has its own, and training pairs had \
         {known} alone. Raise the weight of pairs that have {modality}, such as pairs.augmented, \
         or set encoder.per and encoder.projector_per to \"all\""
    )]
    NoEncoder {
        /// The modality.
        modality: String,
        /// Those that have one.
        known: String,
    },
    /// ONNX Runtime refused.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A part did not reach the disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

/// An encoder ready to embed views.
pub struct Embedder {
    /// By modality; one without a modality where it sees all.
    sessions: Vec<(Option<String>, Session)>,
    dim: usize,
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

/// What is to be embedded, and where to.
pub struct Request<'a> {
    /// The volumes, in the order of their series.
    pub volumes: Vec<&'a Prepared>,
    /// Size of the views.
    pub view: &'a view::Settings,
    /// Least share of a view that the body fills in the slices of a volume's mean.
    pub min_body_share: f64,
    /// Who was trained on.
    pub split: &'a Split,
    /// The folder of the parts.
    pub folder: &'a Path,
    /// Key-value metadata of every part.
    pub metadata: Vec<(&'static str, String)>,
}

/// How embedding ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Volumes embedded, earlier runs included.
    pub volumes: usize,
    /// Parquet files.
    pub parts: usize,
    /// Whether all is done; `false` after a stop on request.
    pub complete: bool,
}

/// Embeds every slice whose view shows any body, and every volume as the mean of its slices
/// that show enough of it, into `folder/part-*.parquet`. A part that is already
/// there, from the same encoder and volumes, is left as it is.
///
/// # Errors
/// [`EmbedError`].
pub fn embed_all(
    embedder: &mut Embedder,
    request: &Request,
    progress: &Progress,
) -> Result<Embedded, EmbedError> {
    embedder.check(request.volumes.iter().map(|volume| volume.row.modality.as_str()))?;
    durable::create_folder(request.folder)?;
    let part = |n: usize| request.folder.join(format!("part-{n:05}.parquet"));
    let mut done = Embedded { complete: true, ..Embedded::default() };
    for (n, volumes) in request.volumes.chunks(VOLUMES_PER_PART).enumerate() {
        if stop::requested() {
            done.complete = false;
            return Ok(done);
        }
        let made_from = request.made_from(embedder, volumes);
        let path = part(n);
        let before = table::metadata(&path, "mivox.part").ok().flatten();
        if before.as_deref() != Some(&made_from) {
            let mut metadata = request.metadata.clone();
            metadata.push(("mivox.encoder", embedder.digest.clone()));
            metadata.push(("mivox.part", made_from));
            let (rows, values) = embed_part(embedder, volumes, request)?;
            let vectors = ("embedding", values, embedder.dim);
            table::write_with_vectors(&path, rows, vectors, &metadata)?;
        }
        done.volumes += volumes.len();
        done.parts += 1;
        progress.advance(volumes.len());
    }
    // Parts of a larger cohort that was here before.
    let stale: Vec<PathBuf> = (done.parts..).map(part).take_while(|path| path.exists()).collect();
    for path in stale {
        std::fs::remove_file(path).map_err(EmbedError::Stale)?;
    }
    Ok(done)
}

impl Request<'_> {
    /// The digest of all that a part depends on.
    fn made_from(&self, embedder: &Embedder, volumes: &[&Prepared]) -> String {
        let rows: Vec<String> = volumes.iter().map(|v| format!("{:?}", v.row)).collect();
        let text = format!(
            "{} {:?} {} {:?} {}",
            embedder.digest,
            self.split,
            self.min_body_share,
            self.metadata,
            rows.join("\n")
        );
        durable::sha256_hex(text.as_bytes())
    }
}

fn embed_part(
    embedder: &mut Embedder,
    volumes: &[&Prepared],
    request: &Request,
) -> Result<(Vec<EmbeddingRow>, Vec<f32>), EmbedError> {
    let &Request { view, min_body_share, split, .. } = request;
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for volume in volumes {
        let (stack, shares) = (volume.stack(view.plane), volume.body_shares(view));
        let slices: Vec<usize> = (0..shares.len()).filter(|&k| shares[k] > 0.0).collect();
        let (embeddings, _) =
            embedder.embed(view, &volume.row.modality, slices.len(), |n, values| {
                volume.sample(&view.grid(stack.centre_mm(slices[n])), values);
            })?;
        let enough: Vec<bool> = slices.iter().map(|&k| shares[k] >= min_body_share).collect();
        // A scan of a small part shows little everywhere: then all its slices count.
        let counted: Vec<bool> =
            if enough.contains(&true) { enough } else { vec![true; slices.len()] };
        let count = counted.iter().filter(|&&counts| counts).count().max(1) as f32;
        let mut mean = vec![0.0; embedder.dim];
        let mut foreground = 0.0;
        for ((embedding, &k), _) in
            embeddings.chunks_exact(embedder.dim).zip(&slices).zip(&counted).filter(|(_, c)| **c)
        {
            mean.iter_mut().zip(embedding).for_each(|(sum, v)| *sum += v / count);
            foreground += shares[k] as f32 / count;
        }
        let centre = DVec3::from_array(volume.row.centre_mm);
        rows.push(row(volume, split, "volume", None, centre, foreground));
        values.extend(mean);
        for &k in &slices {
            let centre = stack.centre_mm(k);
            rows.push(row(volume, split, "slice", Some(k as u32), centre, shares[k] as f32));
        }
        values.extend(embeddings);
    }
    Ok((rows, values))
}

fn row(
    volume: &Prepared,
    split: &Split,
    level: &str,
    slice_index: Option<u32>,
    centre_mm: DVec3,
    foreground: f32,
) -> EmbeddingRow {
    let row = &volume.row;
    EmbeddingRow {
        level: level.to_owned(),
        source: row.source.clone(),
        subject: row.subject.clone(),
        session: row.session.clone(),
        study: row.study.clone(),
        series: row.series.clone(),
        modality: row.modality.clone(),
        split: split.of(&row.subject).to_owned(),
        slice_index,
        x_mm: centre_mm.x,
        y_mm: centre_mm.y,
        z_mm: centre_mm.z,
        foreground,
    }
}
