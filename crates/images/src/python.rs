//! Synapse and what it needs, from PyPI, for the Python inside the image.
//!
//! pip runs on the machine, which has the network and its certificates, and is told which Python to
//! work for. Only wheels: nothing is compiled.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::assets;
use crate::error::{Error, IoContext, unexpected};
use crate::tools::{command, run};

/// Synapse's optional parts that the image has. Left out are those that PyPI has no wheels for
/// (`opentracing`) and `saml2`, whose helper program would make the image half as big again;
/// `postgres` is Debian's package.
pub(crate) const EXTRAS: &str = "cache-memory,jwt,matrix-synapse-ldap3,oidc,redis,sentry,url-preview";
const SYNAPSE: &str = "matrix-synapse";
const ADVICE: &str = "Check that this machine reaches PyPI (`python3 -m pip download matrix-synapse --no-deps`), \
    and that the wanted version exists, then try again.";
/// The newest glibc whose wheels Debian 13 runs.
const GLIBC_MINOR: u32 = 41;

/// Large parts of packages that Synapse never loads: it parses phone numbers, and asks no more.
const UNUSED: [&str; 3] = ["phonenumbers/carrierdata", "phonenumbers/geodata", "phonenumbers/tzdata"];
/// How long an answer about all packages holds. Whether Synapse is new is asked every time, which
/// costs little; its dependencies, once a day.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// One package of a resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub version: String,
    sha256: Option<String>,
}

/// Packages by name.
pub(crate) type Pins = BTreeMap<String, Pin>;

#[derive(Deserialize)]
struct Report {
    install: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    #[serde(default)]
    download_info: DownloadInfo,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

#[derive(Deserialize, Default)]
struct DownloadInfo {
    #[serde(default)]
    archive_info: ArchiveInfo,
}

#[derive(Deserialize, Default)]
struct ArchiveInfo {
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    hash: Option<String>,
}

/// Which packages an installation of Synapse would install today, the newest or a given version.
pub(crate) fn resolve(python: &str, synapse: Option<&str>, dir: &Path, work: &Path) -> Result<Pins, Error> {
    let version = match synapse {
        Some(version) => version.to_owned(),
        None => {
            let doing = "find out the newest version of Synapse";
            synapse_version(&ask(python, &["--no-deps", SYNAPSE], doing, work)?)?.to_owned()
        }
    };
    let mut wanted = vec![format!("{SYNAPSE}[{EXTRAS}]=={version}")];
    wanted.extend(bounds(&version).map(str::to_owned));
    // One file for each version: going to and fro between two asks once for each.
    let remembered = dir.join(format!("synapse-packages-{version}.json"));
    if let Some(pins) = recall(&remembered, python, &wanted) {
        return Ok(pins);
    }
    let requirements: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let pins = ask(python, &requirements, "find out which Python packages Synapse needs", work)
        .map_err(|error| unknown_version(&version, error))?;
    let answer = Answer { python: python.to_owned(), wanted, pins };
    let partial = remembered.with_extension("json.partial");
    fs::write(&partial, serde_json::to_vec(&answer).unwrap_or_default()).during("write", &partial)?;
    fs::rename(&partial, &remembered).during("write", &remembered)?;
    Ok(answer.pins)
}

/// What pip says of a version that there is not, in a line: the newest, and a few near ones.
fn unknown_version(version: &str, error: Error) -> Error {
    let there = match &error {
        Error::Command { output, .. } => published(output),
        _ => Vec::new(),
    };
    let Some(newest) = there.last() else { return error };
    if there.contains(&version) {
        return error;
    }
    let place = there.partition_point(|known| numbers(known) < numbers(version));
    let near = &there[place.saturating_sub(2)..(place + 2).min(there.len())];
    unexpected(
        "find Synapse",
        format!("there is no version {version}; the newest is {newest}, and near it are {}", near.join(", ")),
        "name one that exists",
    )
}

/// The versions of Synapse that pip lists where it finds none that fits, the oldest first.
fn published(output: &str) -> Vec<&str> {
    let about = output.lines().find(|line| line.contains(SYNAPSE) && line.contains("(from versions: "));
    let list = about.and_then(|line| line.split_once("(from versions: ")).map(|(_, list)| list);
    let names = list.unwrap_or_default().split(')').next().unwrap_or_default().split(", ");
    names.filter(|name| !name.is_empty() && *name != "none").collect()
}

fn numbers(version: &str) -> Vec<u64> {
    let plain = version.trim_start_matches('v');
    plain.split('.').map_while(|part| part.parse().ok()).collect()
}

/// What a release of Synapse says nothing of and does not run without: packages
/// that came after it and that it cannot work with.
fn bounds(synapse: &str) -> impl Iterator<Item = &'static str> {
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).unwrap_or(u32::MAX);
    let mut parts = synapse.split('.');
    let release = (number(parts.next()), number(parts.next()));
    BOUNDS.into_iter().filter(move |(before, _)| release < *before).map(|(_, bound)| bound)
}

/// From which release on Synapse looks after a bound by itself, and the bound.
const BOUNDS: [((u32, u32), &str); 1] = [((1, 163), "txredisapi<1.6")];

/// A resolution, kept for a while.
#[derive(Serialize, Deserialize)]
struct Answer {
    python: String,
    wanted: Vec<String>,
    pins: Pins,
}

fn recall(path: &Path, python: &str, wanted: &[String]) -> Option<Pins> {
    let age = fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()?;
    let answer: Answer = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    // An index may have learnt hashes that it did not give.
    let whole = answer.pins.values().all(|pin| pin.sha256.is_some());
    (age < FRESH && whole && answer.python == python && answer.wanted == wanted).then_some(answer.pins)
}

/// Has pip find out what it would install.
fn ask(python: &str, requirements: &[&str], doing: &str, work: &Path) -> Result<Pins, Error> {
    let report = work.join("report.json");
    let target = work.join("resolve-only");
    let mut pip = pip(python, work)?;
    pip.args(["--dry-run", "--ignore-installed", "--report"]).arg(&report).arg("--target").arg(&target);
    pip.args(requirements);
    run(pip, doing, ADVICE)?;
    let text = fs::read(&report).during("read", &report)?;
    parse_report(&text).map_err(|why| unexpected("read pip's report", why.to_string(), ADVICE))
}

fn parse_report(text: &[u8]) -> serde_json::Result<Pins> {
    let report: Report = serde_json::from_slice(text)?;
    let pins = report.install.into_iter().map(|item| {
        let ArchiveInfo { mut hashes, hash } = item.download_info.archive_info;
        let old_style = || hash.as_deref()?.strip_prefix("sha256=").map(str::to_owned);
        let sha256 = hashes.remove("sha256").or_else(old_style);
        (item.metadata.name.to_lowercase(), Pin { version: item.metadata.version, sha256 })
    });
    Ok(pins.collect())
}

/// The version of Synapse in a resolution.
pub(crate) fn synapse_version(pins: &Pins) -> Result<&str, Error> {
    let pin = pins.get(SYNAPSE);
    pin.map(|pin| pin.version.as_str())
        .ok_or_else(|| unexpected("find Synapse's version", "pip did not name it", ADVICE))
}

/// Installs exactly these packages below `stage`, where the image's Python looks for them.
pub(crate) fn install(python: &str, pins: &Pins, stage: &Path, work: &Path) -> Result<(), Error> {
    let requirements = work.join("requirements.txt");
    fs::write(&requirements, requirement_lines(pins)?).during("write", &requirements)?;
    let target = stage.join(format!("usr/local/lib/python{python}/dist-packages"));
    let mut pip = pip(python, work)?;
    pip.args(["--require-hashes", "--no-deps", "--no-compile", "--target"])
        .arg(&target)
        .arg("--requirement")
        .arg(&requirements);
    run(pip, "fetch Synapse and its Python packages", ADVICE)?;
    // pip's scripts call the machine's Python; the image gets its own, see `scripts`.
    remove_dir(&target.join("bin"))?;
    remove_tests(&target)?;
    for unused in UNUSED {
        remove_dir(&target.join(unused))?;
    }
    scripts(&target, pins, &stage.join("usr/local/bin"))
}

/// What pip is told to install, each with the hash of its file. One without a hash is not installed,
/// nor is anything beside it: what is fetched is what was resolved, or nothing is.
fn requirement_lines(pins: &Pins) -> Result<String, Error> {
    let mut lines = String::new();
    let mut unknown = Vec::new();
    for (name, pin) in pins {
        match &pin.sha256 {
            Some(sha256) => lines.push_str(&format!("{name}=={} --hash=sha256:{sha256}\n", pin.version)),
            None => unknown.push(format!("{name} {}", pin.version)),
        }
    }
    if unknown.is_empty() {
        return Ok(lines);
    }
    Err(unexpected(
        "fetch Synapse and its Python packages",
        format!("the package index gives no SHA-256 hash of {}", unknown.join(", ")),
        "use a package index that gives hashes of all files (`pip config list` shows which one this machine uses), \
         then try again; nothing was installed",
    ))
}

/// A `pip install` for the image's Python instead of the machine's.
fn pip(python: &str, work: &Path) -> Result<Command, Error> {
    let machine = std::env::consts::ARCH;
    let driver = assets::place(&assets::PIP_FOR, work)?;
    let mut pip = command("python3");
    pip.arg(driver).args([
        python,
        machine,
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]);
    pip.args(["--root-user-action=ignore", "--only-binary=:all:", "--implementation=cp"]);
    pip.args(["--python-version", python]);
    for abi in [format!("cp{}", python.replace('.', "")), "abi3".into(), "none".into()] {
        pip.args(["--abi", &abi]);
    }
    for minor in (17..=GLIBC_MINOR).rev() {
        pip.arg("--platform").arg(format!("manylinux_2_{minor}_{machine}"));
    }
    pip.args(["--platform", &format!("manylinux2014_{machine}")]);
    pip.env_remove("PYTHONPATH").env_remove("PIP_REQUIRE_VIRTUALENV");
    Ok(pip)
}

/// Removes the packages' own tests.
fn remove_tests(dir: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(dir).during("read", dir)? {
        let entry = entry.during("read", dir)?;
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        match entry.file_name().to_str() {
            Some("test" | "tests" | "__pycache__") => remove_dir(&entry.path())?,
            _ => remove_tests(&entry.path())?,
        }
    }
    Ok(())
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(err).during("remove", dir),
        _ => Ok(()),
    }
}

/// Writes Synapse's own commands, such as `register_new_matrix_user`.
fn scripts(target: &Path, pins: &Pins, bin: &Path) -> Result<(), Error> {
    let version = synapse_version(pins)?;
    let path = target.join(format!("matrix_synapse-{version}.dist-info/entry_points.txt"));
    let entry_points = fs::read_to_string(&path).during("read", &path)?;
    for (name, module, function) in console_scripts(&entry_points) {
        let script = format!(
            "#!/usr/local/bin/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        );
        assets::write(&bin.join(name), script.as_bytes(), 0o755)?;
    }
    Ok(())
}

fn console_scripts(entry_points: &str) -> Vec<(&str, &str, &str)> {
    let section = entry_points.lines().skip_while(|line| line.trim() != "[console_scripts]").skip(1);
    section
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| {
            let (name, target) = line.split_once('=')?;
            let (module, function) = target.split_once(':')?;
            Some((name.trim(), module.trim(), function.trim()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_version_names_the_newest_and_near_ones() {
        let said = "ERROR: Could not find a version that satisfies the requirement matrix-synapse[redis]==1.162.9 \
                    (from versions: 1.160.0, 1.161.0, 1.162.0, 1.163.0, 1.163.2)\n\
                    ERROR: No matching distribution found for matrix-synapse==1.162.9";
        let failed = |output: &str| Error::Command {
            doing: "find out".to_owned(),
            command: "python3".to_owned(),
            status: "exit status: 1".to_owned(),
            output: output.to_owned(),
            advice: ADVICE.to_owned(),
        };
        let told = unknown_version("1.162.9", failed(said)).to_string();
        let words = "there is no version 1.162.9; the newest is 1.163.2, and near it are 1.161.0, 1.162.0, 1.163.0, 1.163.2";
        assert!(told.contains(words) && !told.contains("1.160.0"), "{told}");
        for other in ["no network", "(from versions: none)"] {
            assert!(unknown_version("1.2", failed(other)).to_string().contains("exit status"));
        }
    }

    #[test]
    fn a_report_becomes_pins_with_hashes() {
        let report = br#"{"install":[
            {"metadata":{"name":"matrix-synapse","version":"1.163.2"},"download_info":{"archive_info":{"hashes":{"sha256":"aa"}}}},
            {"metadata":{"name":"PyYAML","version":"6.0"},"download_info":{"archive_info":{"hash":"sha256=bb"}}}]}"#;
        let mut pins = parse_report(report).unwrap();
        assert_eq!(synapse_version(&pins).unwrap(), "1.163.2");
        assert_eq!(
            requirement_lines(&pins).unwrap(),
            "matrix-synapse==1.163.2 --hash=sha256:aa\npyyaml==6.0 --hash=sha256:bb\n"
        );
        // One that is missing does not loosen the others.
        pins.insert("six".into(), Pin { version: "1".into(), sha256: None });
        let why = requirement_lines(&pins).unwrap_err().to_string();
        assert!(why.contains("no SHA-256 hash of six 1"), "{why}");
    }

    #[test]
    fn an_answer_is_remembered_for_what_it_was_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answer.json");
        assert!(recall(&path, "3.13", &["a==1".to_owned()]).is_none());
        let pins = Pins::from([("a".to_owned(), Pin { version: "1".into(), sha256: Some("aa".into()) })]);
        let (a1, a2) = (["a==1".to_owned()], ["a==2".to_owned()]);
        let answer = Answer { python: "3.13".into(), wanted: a1.to_vec(), pins: pins.clone() };
        fs::write(&path, serde_json::to_vec(&answer).unwrap()).unwrap();
        assert_eq!(recall(&path, "3.13", &a1), Some(pins));
        assert!(recall(&path, "3.14", &a1).is_none());
        assert!(recall(&path, "3.13", &a2).is_none());
        let old = std::time::SystemTime::now() - 2 * FRESH;
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(recall(&path, "3.13", &a1).is_none());
    }

    #[test]
    fn older_releases_get_packages_that_they_run_with() {
        assert_eq!(bounds("1.162.0").collect::<Vec<_>>(), ["txredisapi<1.6"]);
        for later in ["1.163.0", "1.163.2", "2.0.0", "1.163.0rc1", "unreadable"] {
            assert_eq!(bounds(later).count(), 0, "{later}");
        }
    }

    #[test]
    fn scripts_are_read_from_the_entry_points() {
        let text = "[gui]\nx=y:z\n[console_scripts]\nhash_password = synapse._scripts.hash_password:main\n\n[other]\na=b:c\n";
        assert_eq!(console_scripts(text), [("hash_password", "synapse._scripts.hash_password", "main")]);
    }
}
