//! The pipeline file: `RawConfig` as it was typed, [`Config`] as it is meant.

mod augment;
mod encoder;
mod pairs;
mod prepare;
mod raw;
mod train;
mod view;

use std::{
    io,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    cohort::{
        Source,
        naming::{Pattern, PatternError},
    },
    evaluate, pairing,
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
        let raw: raw::RawConfig = toml::from_str(&text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::check(raw, folder, overrides)
    }

    fn check(
        raw: raw::RawConfig,
        folder: &Path,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let sources = sources(&raw, folder, overrides)?;
        let out = overrides.out.clone().or(raw.out.map(|out| folder.join(out)));
        let register = word("pairs.register", &raw.pairs.register)?;
        let pairs = raw.pairs.check()?;
        let augment = raw.augment.check()?;
        let train = raw.train.check(pairs.weights, augment, raw.seed)?;
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
            view: raw.view.check()?,
            register,
            pairs,
            encoder: raw.encoder.check(folder)?,
            evaluate: evaluate::Settings {
                tolerance_mm,
                batch: train.batch,
                temperature: train.temperature,
                augment,
                seed: raw.seed,
            },
            train,
        })
    }

    /// How an encoder's input is made, from scan to view; kept in its file.
    pub fn recipe(&self) -> String {
        format!("{}; {}", self.prepare.recipe(), self.view.recipe())
    }
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
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.toml");
        std::fs::write(&path, text).unwrap();
        Config::open(&path, &Overrides::default())
    }

    const LEAST: &str = "out = 'results'\n[[source]]\nname = 'a'\npath = 'scans'\n";

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = config(LEAST).unwrap();
        assert!(config.out.is_absolute() && config.out.ends_with("results"));
        assert!(config.sources[0].path.ends_with("scans"));
    }

    #[test]
    fn a_typo_and_a_number_out_of_range_are_named() {
        let typo = config(&format!("{LEAST}[train]\nstep = 3\n")).unwrap_err();
        assert!(std::error::Error::source(&typo).unwrap().to_string().contains("step"));
        let range = config(&format!("{LEAST}[train]\ntemperature = 0.0\n")).unwrap_err();
        assert!(range.to_string().contains("train.temperature"), "{range}");
        let range = config(&format!("{LEAST}[view]\npixel_mm = nan\n")).unwrap_err();
        assert!(range.to_string().contains("view.pixel_mm"), "{range}");
        let word = config(&format!("{LEAST}[index]\nmissing = 'guess'\n")).unwrap_err();
        assert!(word.to_string().contains("index.missing"), "{word}");
        for wrong in ["depth = 0", "depth = 257", "slice_mm = 0.04", "slice_mm = 50.1"] {
            let range = config(&format!("{LEAST}[view]\n{wrong}\n")).unwrap_err();
            assert!(range.to_string().contains(&format!("view.{wrong}")), "{range}");
        }
    }

    #[test]
    fn a_view_is_a_plane_or_a_box_and_its_recipe_says_which() {
        let view = |text: &str| config(&format!("{LEAST}[view]\n{text}\n")).unwrap().view;
        // The words are in the encoders that were trained: they must not change.
        let plane = "view-1; axial; 96 x 96 pixels of 2.5 mm";
        assert_eq!(view("").recipe(), plane);
        assert_eq!(view("depth = 1\nslice_mm = 4.0").recipe(), plane);
        assert_eq!(view("").shape(8), [8, 1, 96, 96]);
        let whole = "view-1; box; 32 x 96 x 96 voxels of 2.5 x 2.5 x 2.5 mm";
        assert_eq!(view("depth = 32").recipe(), whole);
        assert_eq!(view("depth = 32").shape(8), [8, 1, 32, 96, 96]);
        let thick = "view-1; box; 5 x 96 x 96 voxels of 4 x 2.5 x 2.5 mm";
        assert_eq!(view("depth = 5\nslice_mm = 4.0").recipe(), thick);
    }

    #[test]
    fn a_plane_is_written_as_before_there_were_boxes() {
        let written = |text: &str| {
            let config = config(&format!("{LEAST}[view]\n{text}\n")).unwrap();
            serde_json::to_string(&config.view).unwrap()
        };
        assert_eq!(written(""), r#"{"size":96,"pixel_mm":2.5}"#);
        assert_ne!(written("depth = 2"), written("depth = 2\nslice_mm = 5.0"));
    }

    #[test]
    fn nothing_to_read_and_nowhere_to_write_are_refused() {
        assert!(matches!(config("out = 'x'"), Err(ConfigError::NoSource)));
        let nowhere = "[[source]]\nname = 'a'\npath = 'scans'\n";
        assert!(matches!(config(nowhere), Err(ConfigError::NoOut)));
        let twice = format!("{LEAST}[[source]]\nname = 'a'\npath = 'more'\n");
        assert!(matches!(config(&twice), Err(ConfigError::SameName { .. })));
    }

    #[test]
    fn the_default_pipeline_shows_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.toml");
        std::fs::write(&empty, "").unwrap();
        let overrides =
            Overrides { input: vec!["scans".into()], pattern: None, out: Some("out".into()) };
        let open = |path: &Path| format!("{:?}", Config::open(path, &overrides).unwrap());
        assert_eq!(open(Path::new("pipelines/default.toml")), open(&empty));
    }

    #[test]
    fn the_demo_can_be_read() {
        let demo = Config::open(Path::new("pipelines/demo.toml"), &Overrides::default()).unwrap();
        assert_eq!(demo.sources.len(), 4);
    }
}
