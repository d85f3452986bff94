//! The licences of all that is linked into the program, in the form of Debian's
//! copyright files: a paragraph for each crate, with its licence's own texts.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{architecture::Architecture, source::Source};
use crate::phase;

/// How the files begin that say under which terms a crate may be used.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "UNLICENSE"];

/// A crate that is linked in.
struct Linked {
    title: String,
    licence: String,
    texts: Vec<String>,
}

/// `/usr/share/doc/matrix-podman/copyright`.
///
/// # Errors
///
/// cargo does not say what is linked, or a crate names no licence.
pub fn copyright(source: &Source, architecture: Architecture) -> Result<String, String> {
    let mut text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
                    Upstream-Name: matrix-podman\n\n\
                    Files: *\nCopyright: the matrix-podman developers\nLicense: MIT or Apache-2.0\n"
        .to_owned();
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        indented(&mut text, &source.read(name)?);
    }
    // Many crates come with the same texts; each text stands once.
    let mut texts: BTreeMap<String, usize> = BTreeMap::new();
    for linked in linked(source, architecture)? {
        let _ = write!(text, "\nComment: {}\nLicense: {}\n", linked.title, linked.licence);
        for licence in linked.texts {
            let next = texts.len() + 1;
            let number = *texts.entry(licence).or_insert(next);
            let _ = writeln!(text, " Its terms are text {number} below.");
        }
    }
    let mut numbered: Vec<(usize, String)> = texts.into_iter().map(|(text, number)| (number, text)).collect();
    numbered.sort();
    for (number, licence) in numbered {
        let _ = write!(text, "\nComment: text {number}\n");
        indented(&mut text, &licence);
    }
    Ok(text)
}

/// A field's further lines begin with a space, its empty ones are a dot.
fn indented(text: &mut String, body: &str) {
    for line in body.trim_end().lines() {
        let _ = if line.trim().is_empty() {
            writeln!(text, " .")
        } else {
            writeln!(text, " {}", line.trim_end())
        };
    }
}

fn linked(source: &Source, architecture: Architecture) -> Result<Vec<Linked>, String> {
    let mut command = phase::cargo();
    command.current_dir(&source.folder);
    command.args(["tree", "--locked", "--package", "matrix-podman", "--edges", "normal", "--prefix", "none"]);
    command.args(["--no-dedupe", "--format", "{p}", "--target", architecture.target()]);
    let tree = phase::output(&mut command)?;
    let names: std::collections::BTreeSet<(String, String)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
        })
        .collect();
    let mut command = phase::cargo();
    command.current_dir(&source.folder).args(["metadata", "--locked", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&phase::output(&mut command)?)
        .map_err(|e| format!("read what cargo says of the packages: {e}"))?;
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let field = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
        let (name, version) = (field("name"), field("version"));
        // Without a source it is one of ours.
        if package["source"].is_null() || !names.contains(&(name.clone(), version.clone())) {
            continue;
        }
        let title = format!("{name} {version}");
        let licence = field("license");
        let manifest = PathBuf::from(field("manifest_path"));
        let texts = texts(manifest.parent().unwrap_or(Path::new("/")))?;
        if licence.is_empty() && texts.is_empty() {
            return Err(format!("{title} says nowhere under which terms it may be used"));
        }
        found.push(Linked { title, licence, texts });
    }
    if found.is_empty() {
        return Err("cargo names no crate that is linked in".to_owned());
    }
    found.sort_by(|one, other| one.title.cmp(&other.title));
    Ok(found)
}

fn texts(folder: &Path) -> Result<Vec<String>, String> {
    let doing = |e: std::io::Error| format!("look for licences in {}: {e}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(doing)? {
        let path = entry.map_err(doing)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| Ok(String::from_utf8_lossy(&fs::read(path).map_err(doing)?).into_owned()))
        .collect()
}
