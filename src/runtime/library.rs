//! Where ONNX Runtime's shared library may be.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// A place that was looked at.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The place in words.
    pub place: String,
    /// The library there, if any.
    pub found: Option<PathBuf>,
}

/// Every place where the library is looked for, in order; the first found wins.
///
/// `MIVOX_ORT_LIB`, then `ORT_DYLIB_PATH`, each a file; beside the executable;
/// the wheel `onnxruntime-gpu` or `onnxruntime` of the active Python environment
/// (`VIRTUAL_ENV`, `CONDA_PREFIX`); a `.venv` in the working folder or one above
/// the executable.
pub fn candidates() -> Vec<Candidate> {
    let mut all = Vec::new();
    for variable in ["MIVOX_ORT_LIB", "ORT_DYLIB_PATH"] {
        let found = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file());
        all.push(Candidate { place: format!("the file named by {variable}"), found });
    }
    let executable = env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent);
    all.push(Candidate {
        place: "beside the executable".to_owned(),
        found: beside.and_then(library_in),
    });
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        let found = env::var_os(variable).and_then(|prefix| wheel_in(Path::new(&prefix)));
        all.push(Candidate { place: format!("the Python environment {variable}"), found });
    }
    all.push(Candidate {
        place: ".venv in the working folder".to_owned(),
        found: wheel_in(Path::new(".venv")),
    });
    all.push(Candidate {
        place: ".venv in a folder above the executable".to_owned(),
        found: beside
            .and_then(|folder| folder.ancestors().find_map(|above| wheel_in(&above.join(".venv")))),
    });
    all
}

/// The library inside a Python environment, the GPU wheel and the CPU wheel
/// sharing one folder.
fn wheel_in(prefix: &Path) -> Option<PathBuf> {
    let mut site_packages = vec![prefix.join("Lib/site-packages")];
    if let Ok(versions) = fs::read_dir(prefix.join("lib")) {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
        versions.sort();
        site_packages.extend(versions.into_iter().map(|version| version.join("site-packages")));
    }
    site_packages.iter().find_map(|folder| library_in(&folder.join("onnxruntime/capi")))
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libonnxruntime.so")
                || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
                || name == "onnxruntime.dll"
        })
        .collect();
    names.sort();
    let path = names.into_iter().next()?;
    Some(path.canonicalize().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_wheel_and_not_its_providers() {
        let prefix = tempfile::tempdir().unwrap();
        let capi = prefix.path().join("lib/python3.12/site-packages/onnxruntime/capi");
        fs::create_dir_all(&capi).unwrap();
        assert_eq!(wheel_in(prefix.path()), None);
        fs::write(capi.join("libonnxruntime_providers_shared.so"), "").unwrap();
        assert_eq!(wheel_in(prefix.path()), None);
        fs::write(capi.join("libonnxruntime.so.1.31.1"), "").unwrap();
        let found = wheel_in(prefix.path()).unwrap();
        assert!(found.ends_with("libonnxruntime.so.1.31.1"));
    }
}
