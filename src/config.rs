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
        let range = config(&format!("{LEAST}[objective]\ntemperature = 0.0\n")).unwrap_err();
        assert!(range.to_string().contains("objective.temperature"), "{range}");
        let range = config(&format!("{LEAST}[view]\npixel_mm = nan\n")).unwrap_err();
        assert!(range.to_string().contains("view.pixel_mm"), "{range}");
        let word = config(&format!("{LEAST}[index]\nmissing = 'guess'\n")).unwrap_err();
        assert!(word.to_string().contains("index.missing"), "{word}");
        let word = config(&format!("{LEAST}[monitor]\nsilence = ['noise']\n")).unwrap_err();
        assert!(word.to_string().contains("monitor.silence"), "{word}");
        let none = "augmented = 0.0\ncross_slice = 0.0\ncross_modality = 0.0";
        for (wrong, key) in [
            (none, "pairs weights"),
            ("context = 1.0", "pairs.context"),
            ("distance_law = 'normal'", "pairs.distance_law"),
            ("distance_law = 'exponential'\ndistance_scale_mm = 0.0", "pairs.distance_scale_mm"),
            ("multi_instance_level = 'same'", "pairs.multi_instance_level"),
            ("context_direction = 'up'", "pairs.context_direction"),
            ("max_subject_share = 0.0", "pairs.max_subject_share"),
            ("exclude_within_mm = -1.0", "pairs.exclude_within_mm"),
            ("max_pairs = 0", "pairs.max_pairs"),
        ] {
            let range = config(&format!("{LEAST}[pairs]\n{wrong}\n")).unwrap_err();
            assert!(range.to_string().contains(key), "{range}");
        }
        for (wrong, word) in [
            ("[augment]\nshift = 3.0", "shift"),
            ("[augment]\nnoise_law = 'poisson'", "augment.noise_law"),
            ("[augment.T9]\nnoise = 0.1", "augment.T9"),
            ("[augment.T1]\nnoize = 0.1", "noize"),
            ("[augment.T1]\ncrop = 0.95", "augment.crop"),
        ] {
            let error = config(&format!("{LEAST}{wrong}\n")).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let said = format!("{error} {}", cause.unwrap_or_default());
            assert!(said.contains(word), "{said}");
        }
        let template = config(&format!("{LEAST}template = '../mni'\n")).unwrap_err();
        assert!(template.to_string().contains("source.template"), "{template}");
        for wrong in ["depth = 0", "depth = 257", "slice_mm = 0.04", "slice_mm = 50.1"] {
            let range = config(&format!("{LEAST}[view]\n{wrong}\n")).unwrap_err();
            assert!(range.to_string().contains(&format!("view.{wrong}")), "{range}");
        }
    }

    #[test]
    fn places_are_told_apart_by_info_nce_alone() {
        let local = "[encoder]\narchitecture = 'conv-local'\n";
        let view = "[view]\nsize = 64\n";
        let opened = config(&format!("{LEAST}{view}{local}")).unwrap();
        assert_eq!(opened.encoder.places(&opened.view), 256);
        for (text, words) in [
            ("projection = 8\n", "encoder.projection = 8"),
            ("projector_per = 'modality'\n", "encoder.projector_per"),
            ("heads = 3\n", "encoder.heads = 3"),
            ("[objective]\nkind = 'nt-xent'\n", "objective.kind"),
            ("[objective]\nkind = 'vicreg'\n", "objective.kind"),
        ] {
            let refused = config(&format!("{LEAST}{view}{local}{text}")).unwrap_err().to_string();
            assert!(refused.contains(words), "{text}: {refused}");
        }
    }

    #[test]
    fn objectives_refuse_what_they_cannot_do() {
        for (text, words) in [
            ("kind = 'simsiam'", "objective.kind"),
            ("kind = 'nt-xent'\nsides = 'both'", "objective.sides"),
            ("sides = 'left'", "objective.sides"),
            ("temperature = 0.0", "objective.temperature = 0.0"),
            ("temperature = nan", "objective.temperature = NaN"),
            ("temperature = 0.005\ntemperature_rule = 'learned'", "0.01 to 100"),
            ("temperature_rule = 'cosine'", "objective.temperature_end"),
            ("temperature_end = 0.2", "objective.temperature_end"),
            ("temperature_rule = 'linear'\ntemperature_end = 0.0", "objective.temperature_end"),
            ("temperature_rule = 'falling'\ntemperature_end = 0.2", "objective.temperature_rule"),
            ("kind = 'moco'\nqueue_len = 100", "objective.queue_len = 100"),
            ("kind = 'moco'\nqueue_len = 24", "objective.queue_len = 24"),
            ("kind = 'moco'\nqueue_len = 0", "a multiple of train.batch"),
            ("kind = 'moco'\nmomentum = 1.0", "objective.momentum"),
            ("kind = 'vicreg'\nqueue_len = 64", "objective.queue_len"),
            ("kind = 'vicreg'\nexpander = 0", "objective.expander = 0"),
            ("kind = 'vicreg'\nvariance = -1.0", "objective.variance"),
            ("kind = 'vicreg'\ntemperature_rule = 'learned'", "objective.temperature_rule"),
            ("kind = 'barlow-twins'\nredundancy = nan", "objective.redundancy"),
        ] {
            let text = format!("{LEAST}[train]\nbatch = 32\n[objective]\n{text}\n");
            let refused = config(&text).unwrap_err().to_string();
            assert!(refused.contains(words), "{text}: {refused}");
        }
        for kind in ["vicreg", "barlow-twins"] {
            let text = format!("{LEAST}[train]\nbatch = 2\n[objective]\nkind = '{kind}'\n");
            let refused = config(&text).unwrap_err().to_string();
            assert!(
                refused.contains("train.batch = 2") && refused.contains("4 or more"),
                "{refused}"
            );
        }
        let refused = config(&format!("{LEAST}[encoder]\nprojection = 0\n")).unwrap_err();
        assert!(refused.to_string().contains("encoder.projection = 0"), "{refused}");
        let moco = format!("{LEAST}[objective]\nkind = 'moco'\nqueue_len = 256\n");
        assert_eq!(config(&moco).unwrap().train.objective.kind.queue_len(), 256);
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
        let slab = view("depth = 5\nslice_mm = 4.0\nas = 'slab'");
        assert_eq!(slab.shape(8), [8, 5, 96, 96]);
        let other = [
            slab,
            view("plane = 'coronal'"),
            view("plane = 'sagittal'"),
            view("depth = 5\nslice_mm = 4.0\nplane = 'coronal'"),
            view("depth = 5\nslice_mm = 4.0\nplane = 'coronal'\nas = 'slab'"),
        ];
        let mut recipes: Vec<String> = other.iter().map(|view| view.recipe()).collect();
        recipes.extend([plane, whole, thick].map(str::to_owned));
        recipes.sort();
        recipes.dedup();
        assert_eq!(recipes.len(), 8, "{recipes:?}");
        // A slab of one slice is a plane.
        assert_eq!(view("as = 'slab'").recipe(), plane);
    }

    #[test]
    fn a_modality_says_only_what_is_different() {
        let text = format!("{LEAST}[augment]\nnoise = 0.3\n[augment.PET]\ncontrast = 0.5\n");
        let augment = config(&text).unwrap().train.augment;
        let (all, pet) = (augment.of("T1"), augment.of("PET"));
        assert_eq!((all.noise, all.contrast), (0.3, 0.2));
        assert_eq!((pet.noise, pet.contrast), (0.3, 0.5));
    }

    #[test]
    fn a_plane_is_written_as_before_there_were_boxes() {
        let written = |text: &str| {
            let config = config(&format!("{LEAST}[view]\n{text}\n")).unwrap();
            serde_json::to_string(&config.view).unwrap()
        };
        assert_eq!(written(""), r#"{"size":96,"pixel_mm":2.5}"#);
        assert_ne!(written("depth = 2"), written("depth = 2\nslice_mm = 5.0"));
        let boxed = r#"{"size":96,"pixel_mm":2.5,"slices":{"depth":2,"slice_mm":2.5}}"#;
        assert_eq!(written("depth = 2"), boxed);
        assert_ne!(written("depth = 2\nas = 'slab'"), boxed);
        assert_ne!(written("depth = 2\nplane = 'sagittal'"), boxed);
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
        let overrides = Overrides {
            input: vec!["scans".into()],
            out: Some("out".into()),
            ..Overrides::default()
        };
        let open = |path: &Path| format!("{:?}", Config::open(path, &overrides).unwrap());
        assert_eq!(open(Path::new("pipelines/default.toml")), open(&empty));
    }

    #[test]
    fn the_command_line_sets_keys() {
        let open = |set: &[(&str, &str)]| {
            let set = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let overrides = Overrides { set, ..Overrides::default() };
            Config::open(Path::new("pipelines/demo.toml"), &overrides)
        };
        let config =
            open(&[("train.steps", "77"), ("train.optimizer", "lars"), ("seed", "3")]).unwrap();
        assert_eq!((config.train.steps, config.seed, config.train.seed), (77, 3, 3));
        assert_eq!(config.train.optimizer, crate::train::OptimizerKind::Lars);
        assert!(matches!(open(&[("train.step", "7")]), Err(ConfigError::Syntax { .. })));
        assert!(matches!(open(&[("seed.x", "7")]), Err(ConfigError::Set { .. })));
        assert!(matches!(open(&[("train.", "7")]), Err(ConfigError::Set { .. })));
    }

    #[test]
    fn the_demo_can_be_read() {
        let demo = Config::open(Path::new("pipelines/demo.toml"), &Overrides::default()).unwrap();
        assert_eq!(demo.sources.len(), 4);
    }
}
