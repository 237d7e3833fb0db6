//! From prepared volumes to embeddings in a table.

mod embedder;

use std::path::{Path, PathBuf};

use glam::DVec3;

use crate::{
    durable::{self, DurableError},
    encoder::EncoderError,
    pairing::Split,
    progress::Progress,
    runtime::RuntimeError,
    stop,
    table::{self, TableError, record},
    view::{self, Prepared},
};

pub use embedder::Embedder;

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
            metadata.push(("mivox.encoder", embedder.digest().to_owned()));
            metadata.push(("mivox.part", made_from));
            let (rows, values) = embed_part(embedder, volumes, request)?;
            let vectors = ("embedding", values, embedder.dim());
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
            embedder.digest(),
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
        let mut mean = vec![0.0; embedder.dim()];
        let mut foreground = 0.0;
        for ((embedding, &k), _) in
            embeddings.chunks_exact(embedder.dim()).zip(&slices).zip(&counted).filter(|(_, c)| **c)
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
