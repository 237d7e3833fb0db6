//! A module uses only what stands above it in ARCHITECTURE.md.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

fn layers() -> Vec<String> {
    let map = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let section = map.split("## Layers").nth(1).unwrap().split("## ").next().unwrap();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect()
}

fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let relative = path.strip_prefix("src").unwrap();
            let first = relative.iter().next().unwrap().to_string_lossy();
            let module = first.trim_end_matches(".rs").to_owned();
            into.push((module, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The modules of this crate that a source names after `crate::`, in `use` lists too.
fn used(text: &str, layers: &[String]) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => {
                // The names at the first level of the list.
                let mut depth = 0;
                let mut name = String::new();
                let mut names = Vec::new();
                for letter in list.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => names.push(std::mem::take(&mut name)),
                        _ if depth == 0 => name.push(letter),
                        _ => {}
                    }
                }
                names.push(name);
                found.extend(names.iter().map(|n| n.trim().split("::").next().unwrap().to_owned()));
            }
            None => {
                let name: String =
                    after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.push(name);
            }
        }
    }
    found.retain(|name| layers.contains(name));
    found
}

#[test]
fn arrows_point_up() {
    let layers = layers();
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let at = |module: &str| layers.iter().position(|layer| layer == module);
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for (module, text) in &files {
        let Some(here) = at(module) else {
            assert!(["lib", "main"].contains(&module.as_str()), "{module} is not in the list");
            continue;
        };
        for name in used(text, &layers) {
            arrows += 1;
            if at(&name).unwrap() > here {
                wrong.push(format!("{module} uses {name}, which stands below it"));
            }
        }
    }
    assert!(arrows > 50, "the test reads no arrows: {arrows}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_order_of_lib_is_the_order_of_the_map() {
    let lib = fs::read_to_string("src/lib.rs").unwrap();
    let modules: Vec<String> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert_eq!(modules, layers());
}

#[test]
fn each_of_these_crates_has_one_user() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let owners = [
        ("polars", "table"),
        ("ort", "runtime"),
        ("dicom", "io"),
        ("dicom_ul", "pull"),
        ("ureq", "pull"),
    ];
    for (module, text) in &files {
        for (name, owner) in owners {
            let uses = [format!("use {name}::"), format!(" {name}::prelude"), "(ort::".to_owned()];
            let found = text.lines().any(|line| {
                !line.trim_start().starts_with("//")
                    && (line.trim_start().starts_with(&uses[0])
                        || (name == "polars" && line.contains(&uses[1]))
                        || (name == "ort" && line.contains(&uses[2])))
            });
            assert!(!found || module == owner, "{module} uses the crate {name}; only {owner} may");
        }
    }
}
