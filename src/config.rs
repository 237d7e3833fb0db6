//! The pipeline file: `RawConfig` as it was typed, [`Config`] as it is meant.

mod augment;
mod encoder;
mod monitor;
mod objective;
mod pairs;
mod prepare;
mod raw;
mod train;
mod view;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    cohort::{
        Source,
        naming::{Pattern, PatternError},
    },
    evaluate,
    objective::Objective,
    pairing,
    runtime::{Device, RuntimeError},
    study::UnknownModality,
};

/// A pipeline, checked: every number is in its range, every path is known.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where results go.
    pub out: PathBuf,
    /// The file with the pseudonyms' key; `None` for one inside the results.
    pub key_file: Option<PathBuf>,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads of ONNX Runtime; 0 for one a core.
    pub threads: usize,
    /// Where graphs run.
    pub device: Device,
    /// Whether steps of training are replayed as CUDA graphs.
    pub cuda_graphs: bool,
    /// The folders of scans.
    pub sources: Vec<Source>,
    /// How volumes are prepared.
    pub prepare: crate::prepare::Settings,
    /// Size of the views.
    pub view: crate::view::Settings,
    /// Whether the scans of a subject are aligned before.
    pub register: crate::register::Mode,
    /// Which pairs are made.
    pub pairs: pairing::Settings,
    /// Shape of the encoder.
    pub encoder: crate::encoder::Settings,
    /// How it is trained.
    pub train: crate::train::Settings,
    /// How training is watched.
    pub monitor: crate::train::monitor::Settings,
    /// How it is evaluated.
    pub evaluate: evaluate::Settings,
}

/// What the command line says instead of the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Folders of scans in place of the file's sources.
    pub input: Vec<PathBuf>,
    /// What NIfTI names in them mean.
    pub pattern: Option<String>,
    /// Where results go.
    pub out: Option<PathBuf>,
    /// Keys with other values, such as `train.steps` and `100`.
    pub set: Vec<(String, String)>,
}

/// Why a pipeline cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the pipeline {path} cannot be read", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML, or says what no pipeline says.
    #[error("the pipeline {path} cannot be understood", path = .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key that is to have another value has none.
    #[error("{key} cannot be set: it is not the name of a table and a key, such as train.steps")]
    Set {
        /// The key.
        key: String,
    },
    /// A number is out of its range.
    #[error("{key} = {value} in the pipeline must be {range}")]
    Range {
        /// The key, with its table.
        key: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        range: &'static str,
    },
    /// Neither the file nor the command line names a folder of scans.
    #[error("no folder of scans: add a [[source]] to the pipeline, or --input FOLDER")]
    NoSource,
    /// Neither the file nor the command line says where results go.
    #[error("no folder for results: set out in the pipeline, or --out FOLDER")]
    NoOut,
    /// Two sources share a name.
    #[error("two sources are called {name:?}")]
    SameName {
        /// The name.
        name: String,
    },
    /// A pattern cannot be used.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A source's modality is not known.
    #[error(transparent)]
    Modality(#[from] UnknownModality),
    /// The device is not known.
    #[error(transparent)]
    Device(#[from] RuntimeError),
}

impl Config {
    /// The pipeline of a file, with what the command line says instead. Paths in
    /// the file are relative to the file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn open(path: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let syntax =
            |source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) };
        let raw: raw::RawConfig = if overrides.set.is_empty() {
            toml::from_str(&text).map_err(syntax)?
        } else {
            let mut table = toml::from_str(&text).map_err(syntax)?;
            for (key, value) in &overrides.set {
                set(&mut table, key, value)?;
            }
            table.try_into().map_err(syntax)?
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::check(raw, folder, overrides)
    }

    fn check(
        raw: raw::RawConfig,
        folder: &Path,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let sources = sources(&raw, folder, overrides)?;
        let templates = templates(&raw, overrides)?;
        let out = overrides.out.clone().or(raw.out.map(|out| folder.join(out)));
        let register = word("pairs.register", &raw.pairs.register)?;
        let view = raw.view.check()?;
        let (pairs, draw) = raw.pairs.check(templates, &view)?;
        let augment = raw.augment.check()?;
        // before the objective, which divides by it
        within("train.batch", raw.train.batch as f64, 2.0, 8192.0, "2 to 8192")?;
        let objective = raw.objective.check(raw.train.batch)?;
        let expander = raw.objective.expander(objective.kind)?;
        if objective.kind == Objective::Cpc {
            let range = "above 0 for the objective \"cpc\", which predicts from contexts";
            require("pairs.context", &raw.pairs.context, raw.pairs.context > 0.0, range)?;
        }
        let train = raw.train.check(objective, pairs.weights, draw, augment.clone(), raw.seed)?;
        let encoder = raw.encoder.check(folder, expander)?;
        encoder::of_places(encoder.places(&view), objective.kind)?;
        let tolerance_mm =
            within("evaluate.tolerance_mm", raw.evaluate.tolerance_mm, 0.0, 1000.0, "0 to 1000")?;
        Ok(Self {
            out: out.ok_or(ConfigError::NoOut)?,
            key_file: raw.key_file.map(|path| folder.join(path)),
            seed: raw.seed,
            threads: raw.threads,
            device: raw.device.parse()?,
            cuda_graphs: raw.cuda_graphs,
            sources,
            prepare: raw.prepare.check()?,
            register,
            view,
            pairs,
            encoder,
            monitor: raw.monitor.check()?,
            evaluate: evaluate::Settings {
                tolerance_mm,
                batch: train.batch,
                temperature: objective.temperature.at(0, train.steps),
                augment,
                seed: raw.seed,
            },
            train,
        })
    }

    /// The same pipeline with another seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.train.seed = seed;
        self.evaluate.seed = seed;
        self
    }

    /// How an encoder's input is made, from scan to view; kept in its file.
    pub fn recipe(&self) -> String {
        format!("{}; {}", self.prepare.recipe(), self.view.recipe())
    }
}

/// The template that the scans of each source lie in, where one is stated.
fn templates(
    raw: &raw::RawConfig,
    overrides: &Overrides,
) -> Result<BTreeMap<String, String>, ConfigError> {
    if !overrides.input.is_empty() {
        return Ok(BTreeMap::new());
    }
    let stated = raw.source.iter().filter_map(|source| {
        let template = source.template.clone()?;
        Some((source.name.clone(), template))
    });
    stated
        .map(|(source, template)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let holds = !template.is_empty() && template.len() <= 64 && template.chars().all(plain);
            require("source.template", &template, holds, "1 to 64 letters, digits, - or _")?;
            Ok((source, template))
        })
        .collect()
}

/// Gives a key another value: one of TOML, or else the text itself.
fn set(table: &mut toml::Table, key: &str, value: &str) -> Result<(), ConfigError> {
    let none = || ConfigError::Set { key: key.to_owned() };
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or_else(none)?;
    let mut table = table;
    for part in parts {
        let inner = table.entry(part).or_insert_with(|| toml::Table::new().into());
        table = inner.as_table_mut().ok_or_else(none)?;
    }
    let typed = toml::from_str::<toml::Table>(&format!("value = {value}"));
    let typed = typed.ok().and_then(|mut table| table.remove("value"));
    table.insert(last.to_owned(), typed.unwrap_or_else(|| value.into()));
    Ok(())
}

fn sources(
    raw: &raw::RawConfig,
    folder: &Path,
    overrides: &Overrides,
) -> Result<Vec<Source>, ConfigError> {
    let mut sources = Vec::new();
    let missing = word("index.missing", &raw.index.missing)?;
    if overrides.input.is_empty() {
        for source in &raw.source {
            sources.push(Source {
                name: source.name.clone(),
                path: folder.join(&source.path),
                pattern: source.pattern.as_deref().map(Pattern::new).transpose()?,
                modality: source.modality.as_deref().map(str::parse).transpose()?,
                unnamed: false,
                missing,
            });
        }
    }
    for (n, path) in overrides.input.iter().enumerate() {
        // Not the folder's name: exports are often named after patients.
        let name = if n == 0 { "input".to_owned() } else { format!("input{}", n + 1) };
        let pattern = overrides.pattern.as_deref().map(Pattern::new).transpose()?;
        let (path, modality, unnamed) = (path.clone(), None, false);
        sources.push(Source { name, path, pattern, modality, unnamed, missing });
    }
    if sources.is_empty() {
        return Err(ConfigError::NoSource);
    }
    for (n, source) in sources.iter().enumerate() {
        if sources[..n].iter().any(|other| other.name == source.name) {
            return Err(ConfigError::SameName { name: source.name.clone() });
        }
    }
    Ok(sources)
}

/// The value, where it lies between the two ends.
fn within(
    key: &'static str,
    value: f64,
    least: f64,
    most: f64,
    range: &'static str,
) -> Result<f64, ConfigError> {
    require(key, &value, (least..=most).contains(&value), range)?;
    Ok(value)
}

/// What a word stands for, where it is one of the known ones.
fn word<T: FromStr<Err = &'static str>>(key: &'static str, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|range| ConfigError::Range { key, value: format!("{text:?}"), range })
}

fn require(
    key: &'static str,
    value: &impl std::fmt::Debug,
    holds: bool,
    range: &'static str,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Range { key, value: format!("{value:?}"), range }) }
}

#[cfg(test)]
mod tests;
