//! `cargo xtask dist`: what people install. From a commit, never from the work
//! tree: a static program for each architecture, a Debian package of it, an apt
//! repository, checksums, a list of what is in it, release notes; all signed.

mod architecture;
mod licences;
mod notes;
mod package;
mod program;
mod repository;
pub mod reproduce;
mod sbom;
mod sign;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

use architecture::Architecture;
use program::Day;
use sign::Signer;
use source::Source;

use crate::phase::workspace;

/// How to call it.
pub const USAGE: &str = "\
cargo xtask dist [--out FOLDER] [--key FINGERPRINT | --unsigned] [--program FILE]

--out FOLDER        where the release goes; target/dist/release unless it is given
--key FINGERPRINT   the OpenPGP key of your gpg that signs
--unsigned          for trying it out: nothing of this may be published
--program FILE      package this program instead of building one; for tests of the package
";

/// What is to be made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    out: Option<PathBuf>,
    key: Option<String>,
    unsigned: bool,
    program: Option<PathBuf>,
}

impl Options {
    /// Reads the words behind `dist`.
    ///
    /// # Errors
    ///
    /// A word that is unknown or lacks its value, and a signature that is both wanted and not.
    pub fn read(words: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} lacks its value\n\n{USAGE}"));
            match *word {
                "--out" => options.out = Some(PathBuf::from(value()?)),
                "--key" => options.key = Some((*value()?).to_owned()),
                "--program" => options.program = Some(PathBuf::from(value()?)),
                "--unsigned" => options.unsigned = true,
                other => return Err(format!("unknown: {other}\n\n{USAGE}")),
            }
        }
        match (&options.key, options.unsigned) {
            (Some(_), true) => Err(format!("--key and --unsigned exclude each other\n\n{USAGE}")),
            (None, false) => {
                Err(format!("a release is signed: name your key, or say --unsigned to try it out\n\n{USAGE}"))
            }
            _ => Ok(options),
        }
    }
}

/// Makes a release.
///
/// # Errors
///
/// Whatever part of it fails, in words; nothing of it lies in the release's folder then.
pub fn run(options: &Options) -> Result<(), String> {
    let work = workspace().join("target/dist");
    let out = options.out.clone().unwrap_or_else(|| work.join("release"));
    let signer = options.key.as_deref().map(Signer::new).transpose()?;
    let source = Source::export(&work.join("source"), options.program.is_none())?;
    println!("matrix-podman {} from {}", source.version, source.commit);

    // Beside its place, so that a release that was cut off is not taken for one.
    let partial = out.with_extension("partial");
    clear(&partial)?;
    fs::create_dir_all(&partial).map_err(|e| format!("make {}: {e}", partial.display()))?;
    let mut packages = Vec::new();
    let mut here: Option<PathBuf> = None;
    for architecture in Architecture::ALL {
        let program = match &options.program {
            Some(given) if architecture == Architecture::HERE => given.clone(),
            Some(_) => continue,
            None => match architecture.missing()? {
                Some(why) if architecture == Architecture::HERE => return Err(format!("build here: {why}")),
                Some(why) => {
                    println!("not built for {}: {why}", architecture.debian());
                    continue;
                }
                None => program::build(&source, architecture, &work.join("build"), Day::Today)?,
            },
        };
        let name = format!("matrix-podman_{}_{}", source.version, architecture.debian());
        copy(&program, &partial.join(&name))?;
        let package = partial.join(format!("{name}.deb"));
        let here = here.get_or_insert_with(|| program.clone());
        package::make(&source, architecture, &program, here, &work.join("stage"), &package)?;
        packages.push(package);
    }
    if options.program.is_none() {
        sbom::write(&source, &partial.join(format!("matrix-podman_{}.cdx.json", source.version)))?;
    }
    write(&partial.join("RELEASE-NOTES.md"), &notes::of(&source)?)?;
    repository::make(&source, &packages, &partial.join("apt"), signer.as_ref())?;
    if let Some(signer) = &signer {
        signer.export_key(&partial.join(sign::KEYRING))?;
        write(&partial.join("install.sh"), &installer(&source, signer)?)?;
    }
    let sums = sums(&partial)?;
    write(&partial.join("SHA256SUMS"), &sums)?;
    if let Some(signer) = &signer {
        signer.detached(&partial.join("SHA256SUMS"))?;
    }
    clear(&out)?;
    fs::rename(&partial, &out).map_err(|e| format!("put the release at {}: {e}", out.display()))?;
    println!("\nthe release is in {}", out.display());
    if signer.is_none() {
        println!("it is not signed: do not publish it");
    }
    Ok(())
}

/// The installer with what only this release knows.
fn installer(source: &Source, signer: &Signer) -> Result<String, String> {
    let template = source.read("packaging/install.sh")?;
    Ok(template.replace("@VERSION@", &source.version).replace("@FINGERPRINT@", signer.fingerprint()))
}

/// The digests of all files directly in a folder, as `sha256sum --check` reads them.
fn sums(folder: &Path) -> Result<String, String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .map_err(|e| format!("list {}: {e}", folder.display()))?
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let mut command = std::process::Command::new("sha256sum");
    crate::phase::output(command.current_dir(folder).arg("--").args(names))
}

fn clear(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("remove {}: {e}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|e| format!("copy {} to {}: {e}", from.display(), to.display()))
}

/// Writes a file and the folders above it.
fn write(path: &Path, content: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, content)).map_err(|e| format!("write {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_signed_or_says_that_it_is_not() {
        assert!(Options::read(&[]).unwrap_err().starts_with("a release is signed"));
        assert!(Options::read(&["--key", "F", "--unsigned"]).is_err());
        assert!(Options::read(&["--key"]).unwrap_err().contains("lacks its value"));
        let read = Options::read(&["--unsigned", "--out", "x"]).unwrap();
        assert_eq!(read, Options { out: Some("x".into()), unsigned: true, ..Options::default() });
    }
}
