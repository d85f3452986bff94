//! Known holes in what we depend on, as RustSec's database has them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::{Package, packages, rules};

/// Where the database is kept by those who make it.
const DATABASE: &str = "https://github.com/rustsec/advisory-db";
/// Names a copy of it, for machines that cannot reach that.
const VARIABLE: &str = "ADVISORY_DB";
/// How long fetching it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The head of an advisory.
#[derive(Debug, Deserialize)]
struct Advisory {
    advisory: About,
    versions: Versions,
}

#[derive(Debug, Deserialize)]
struct About {
    id: String,
    package: String,
    withdrawn: Option<toml::Value>,
    /// What is no hole: that somebody stopped looking after it, for one.
    informational: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Versions {
    #[serde(default)]
    patched: Vec<String>,
    #[serde(default)]
    unaffected: Vec<String>,
}

/// Looks for known holes; says so where the database cannot be had, which is no failure:
/// what did not run has found nothing, and nobody may think that it did.
pub fn advisories() -> Result<(), String> {
    let kept = tempfile::tempdir().map_err(|e| format!("make a folder: {e}"))?;
    let folder = match database(kept.path()) {
        Ok(folder) => folder,
        Err(why) => {
            println!("NOT RUN: the database of known holes cannot be had ({why}).");
            println!("         {VARIABLE}=FOLDER names a copy of {DATABASE}.");
            return Ok(());
        }
    };
    let rules = rules()?;
    let packages = packages(&rules.graph.targets)?;
    let (mut holes, mut read) = (Vec::new(), 0);
    for file in files(&folder.join("crates")).map_err(|e| format!("{}: {e}", folder.display()))? {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let advisory = parse(&text).map_err(|why| format!("{}: {why}", file.display()))?;
        read += 1;
        holes.extend(concerns(&advisory, &packages, &rules.advisories.ignore)?);
    }
    if read == 0 {
        return Err(format!("there is no advisory in {}", folder.display()));
    }
    println!("{read} advisories, {} packages", packages.len());
    for hole in &holes {
        println!("{hole}");
    }
    match holes.len() {
        0 => Ok(()),
        count => Err(format!("{count} known holes")),
    }
}

/// The copy that is named, else a fresh one in `folder`.
fn database(folder: &Path) -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return Ok(PathBuf::from(named));
    }
    let mut child = Command::new("git")
        .args(["clone", "--quiet", "--depth=1", DATABASE])
        .arg(folder)
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("git: {e}"))?;
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(folder.to_owned()),
            Ok(Some(status)) => return Err(format!("git clone ended with {status}")),
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(100)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("git clone took longer than {} s", PATIENCE.as_secs()));
            }
        }
    }
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.extension().is_some_and(|end| end == "md") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// An advisory is Markdown with a block of TOML in front.
fn parse(text: &str) -> Result<Advisory, String> {
    let head = text.split_once("```toml").and_then(|(_, rest)| rest.split_once("```"));
    let (head, _) = head.ok_or("it has no head")?;
    toml::from_str(head).map_err(|e| e.to_string())
}

/// The packages of ours that an advisory is about, in sentences.
fn concerns(
    advisory: &Advisory,
    packages: &[Package],
    ignored: &BTreeSet<String>,
) -> Result<Vec<String>, String> {
    let About { id, package, withdrawn, informational } = &advisory.advisory;
    let no_hole = informational.as_ref().is_some_and(|kind| kind != "unsound");
    if withdrawn.is_some() || no_hole || ignored.contains(id) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for ours in packages.iter().filter(|ours| ours.name == *package && ours.source.is_some()) {
        let version = semver::Version::parse(&ours.version).map_err(|e| format!("{package}: {e}"))?;
        let mut safe = false;
        for range in advisory.versions.patched.iter().chain(&advisory.versions.unaffected) {
            let range = semver::VersionReq::parse(range).map_err(|e| format!("{id}: {range}: {e}"))?;
            safe |= range.matches(&version);
        }
        if !safe {
            found.push(format!("{package} {version}: {id}, see https://rustsec.org/advisories/{id}"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2026-0001\"\npackage = \"a\"\ndate = \"2026-01-02\"\n\n\
                        [versions]\npatched = [\">= 1.2.3\", \"^0.9.5\"]\nunaffected = [\"< 0.5\"]\n```\n\n# A hole\n";

    fn ours(version: &str) -> Package {
        Package {
            name: "a".to_owned(),
            version: version.to_owned(),
            license: None,
            source: Some("registry".to_owned()),
            id: String::new(),
        }
    }

    #[test]
    fn a_version_is_concerned_unless_it_is_patched_or_never_was() {
        let advisory = parse(TEXT).unwrap();
        let concerned =
            |version: &str| !concerns(&advisory, &[ours(version)], &BTreeSet::new()).unwrap().is_empty();
        for (version, wanted) in
            [("1.2.3", false), ("1.2.2", true), ("0.9.5", false), ("0.9.4", true), ("0.4.9", false)]
        {
            assert_eq!(concerned(version), wanted, "{version}");
        }
        let ignored = ["RUSTSEC-2026-0001".to_owned()].into();
        assert!(concerns(&advisory, &[ours("1.0.0")], &ignored).unwrap().is_empty());
        for (kind, is_hole) in [("unmaintained", false), ("unsound", true)] {
            let text = TEXT.replace("date =", &format!("informational = \"{kind}\"\ndate ="));
            let found = concerns(&parse(&text).unwrap(), &[ours("1.0.0")], &BTreeSet::new()).unwrap();
            assert_eq!(!found.is_empty(), is_hole, "{kind}");
        }
        assert!(parse("# nothing").is_err());
    }
}
