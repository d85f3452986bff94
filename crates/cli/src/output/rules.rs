//! What holds for all of this crate's source: one place prints, one place asks.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Wording that belong into this folder and nowhere else, with the one exception each.
const HERE_ALONE: [(&str, &[&str]); 11] = [
    ("println!", &[]),
    ("print!(", &[]),
    ("dbg!(", &[]),
    ("anstream::", &[]),
    ("rpassword::", &[]),
    (".read_line(", &[]),
    (".read_to_string(", &[]),
    ("stdout().lock()", &[]),
    // One side of a connection, not a terminal.
    ("io::stdout()", &["commands/agent.rs"]),
    ("[y/N]", &[]),
    ("[Y/n]", &[]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All files with their text, by their path below `src`.
fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn one_place_prints_and_one_asks() {
    let all = all();
    assert!(all.len() > 50);
    for (word, excepted) in HERE_ALONE {
        let others: Vec<&str> = all
            .iter()
            .filter(|(path, text)| {
                text.contains(word) && !path.starts_with("output/") && !excepted.contains(&path.as_str())
            })
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(others, [""; 0], "{word} belongs into output/");
    }
}

#[test]
fn no_command_knows_how_it_prints() {
    let flag = ["json: ", "bool"].concat();
    for (path, text) in all() {
        assert!(!text.contains(&flag), "{path} has a flag of its own for JSON");
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let by_hand = !path.starts_with("output/") && product.contains("json!(");
        assert!(!by_hand, "{path} writes JSON by hand; a Printable is printed either way");
    }
}

#[test]
fn what_only_a_person_needs_is_decided_in_few_places() {
    let asks = |text: &str| text.matches(".is_for_person()").count();
    let count: usize =
        all().iter().filter(|(path, _)| !path.starts_with("output/")).map(|(_, text)| asks(text)).sum();
    assert!((1..=8).contains(&count), "{count} places look whether a person reads it; `narrate` does that");
}
