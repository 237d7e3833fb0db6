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
        assert!(refused.contains("train.batch = 2") && refused.contains("4 or more"), "{refused}");
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
    let overrides =
        Overrides { input: vec!["scans".into()], out: Some("out".into()), ..Overrides::default() };
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
