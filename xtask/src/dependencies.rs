//! What we depend on: under which licences, from where, in how many versions, and with
//! which known holes. The rules stand in `deny.toml`, which cargo-deny reads, too.

mod advisories;
mod licence;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

pub use self::advisories::advisories;
use crate::phase::{cargo, output, workspace};

/// `deny.toml`, as far as it is looked at here.
#[derive(Debug, Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licences,
    bans: Bans,
    advisories: Ignored,
}

#[derive(Debug, Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    skip: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Ignored {
    ignore: BTreeSet<String>,
}

/// A package, as `cargo metadata` tells of it.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    id: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

fn rules() -> Result<Rules, String> {
    let file = workspace().join("deny.toml");
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
}

/// Every package that is built for one of the targets.
fn packages(targets: &[String]) -> Result<Vec<Package>, String> {
    let mut all = BTreeSet::new();
    for target in targets {
        let text = output(cargo().args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
            target,
        ]))?;
        let metadata: Metadata =
            serde_json::from_str(&text).map_err(|e| format!("what cargo metadata printed: {e}"))?;
        let used: BTreeSet<String> = metadata.resolve.nodes.into_iter().map(|node| node.id).collect();
        all.extend(metadata.packages.into_iter().filter(|package| used.contains(&package.id)));
    }
    Ok(all.into_iter().collect())
}

/// Refuses licences, sources and duplicates that `deny.toml` does not name.
pub fn check() -> Result<(), String> {
    let rules = rules()?;
    let packages = packages(&rules.graph.targets)?;
    let wrong = wrong(&packages, &rules);
    for line in &wrong {
        println!("{line}");
    }
    println!("{} packages", packages.len());
    match wrong.len() {
        0 => Ok(()),
        count => Err(format!("{count} things are not as deny.toml says")),
    }
}

fn wrong(packages: &[Package], rules: &Rules) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<(semver::Version, &str)>> = BTreeMap::new();
    for package in packages {
        let Package { name, version, .. } = package;
        match &package.license {
            None => wrong.push(format!("{name} {version} names no licence")),
            Some(licence) => match licence::holds(licence, &rules.licenses.allow) {
                Ok(true) => {}
                Ok(false) => {
                    wrong.push(format!("{name} {version} has the licence {licence}, which is not allowed"));
                }
                Err(why) => wrong.push(format!("{name} {version} has the licence {licence:?}: {why}")),
            },
        }
        // Ours has none; the others come from the one registry that cargo knows by itself.
        if let Some(source) = &package.source
            && !(source.starts_with("registry+") && source.ends_with("/crates.io-index"))
        {
            wrong.push(format!("{name} {version} comes from {source}"));
        }
        match semver::Version::parse(version) {
            Ok(parsed) => {
                versions.entry(name).or_default().insert((parsed, version));
            }
            Err(why) => wrong.push(format!("{name} has the version {version}: {why}")),
        }
    }
    let mut needed = BTreeSet::new();
    for (name, versions) in versions {
        // The newest one is what all should come to.
        for (_, version) in versions.iter().rev().skip(1) {
            let known = format!("{name}@{version}");
            if !rules.bans.skip.contains(&known) {
                wrong.push(format!(
                    "{name} is there in {version}, too: `cargo tree --invert {known}` says why"
                ));
            }
            needed.insert(known);
        }
    }
    for skipped in rules.bans.skip.difference(&needed) {
        wrong.push(format!("{skipped} is not needed twice any more: take it out of bans.skip"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, licence: Option<&str>, source: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: licence.map(str::to_owned),
            source: source.map(str::to_owned),
            id: format!("{name}@{version}"),
        }
    }

    fn rules(skip: &[&str]) -> Rules {
        Rules {
            graph: Graph { targets: Vec::new() },
            licenses: Licences { allow: ["MIT".to_owned()].into() },
            bans: Bans { skip: skip.iter().map(|s| (*s).to_owned()).collect() },
            advisories: Ignored { ignore: BTreeSet::new() },
        }
    }

    #[test]
    fn what_the_rules_do_not_name_is_found() {
        let registry = Some("registry+https://example.com/crates.io-index");
        let good = package("a", "1.0.0", Some("MIT"), registry);
        assert_eq!(wrong(&[good.clone(), package("ours", "0.1.0", Some("MIT"), None)], &rules(&[])), [""; 0]);
        for (other, skip, word) in [
            (package("b", "1.0.0", Some("GPL-3.0-only"), registry), &[][..], "not allowed"),
            (package("b", "1.0.0", None, registry), &[], "no licence"),
            (package("b", "1.0.0", Some("MIT"), Some("git+https://example.com/b")), &[], "comes from git"),
            (
                package("b", "1.0.0", Some("MIT"), Some("registry+https://example.com/other")),
                &[],
                "comes from",
            ),
            (package("a", "0.9.0", Some("MIT"), registry), &[], "a is there in 0.9.0"),
            (package("b", "1.0.0", Some("MIT"), registry), &["a@0.9.0"], "take it out"),
        ] {
            let said = wrong(&[good.clone(), other.clone()], &rules(skip));
            assert!(said.len() == 1 && said[0].contains(word), "{other:?}: {said:?}");
        }
        let twice = [good, package("a", "0.9.0", Some("MIT"), registry)];
        assert_eq!(wrong(&twice, &rules(&["a@0.9.0"])), [""; 0]);
    }

    #[test]
    fn the_rules_can_be_read() {
        let rules = super::rules().unwrap();
        assert!(rules.licenses.allow.contains("MIT") && !rules.graph.targets.is_empty());
    }
}
