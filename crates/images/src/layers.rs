//! Splits the tar of a root file system into the layers of an image.
//!
//! Three layers, from the one that changes least: Debian's essential packages (the same bytes in
//! all four images, so stored once), the other Debian packages, and what this crate adds. Left out
//! is what nobody misses in a container. The order, owners and modes are those of the tar; times
//! are fixed; so the same packages give the same bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use tar::{EntryType, Header};

use crate::error::{Error, IoContext};
use crate::glob;
use crate::oci::{EPOCH, Hashing, Layer};

/// What no image needs. `*` matches anything, `/` too.
const NEVER: &[&str] = &[
    "dev/*",
    "etc/apt/*",
    "etc/cron.*",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/*-",
    "etc/.pwd.lock",
    "etc/dpkg/dpkg.cfg.d/*",
    "etc/systemd/*",
    "usr/include/*",
    "usr/lib/*/gconv/*",
    "usr/lib/systemd/*",
    "usr/share/bash-completion/*",
    "usr/share/bug/*",
    "usr/share/gcc/*",
    "usr/share/info/*",
    "usr/share/lintian/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/*",
    "var/lib/apt/*",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/*",
    "var/lib/systemd/*",
    "var/log/*",
];

/// What one build wants done with its tar.
pub(crate) struct Split<'a> {
    /// Patterns of paths to leave out, besides what no image needs.
    pub prune: &'a [&'a str],
    /// Paths that belong to the uppermost layer, with all beneath them.
    pub own: &'a BTreeSet<String>,
}

/// The packages in a root file system: name to version.
pub(crate) type Packages = BTreeMap<String, String>;

/// Reads a root file system's tar and writes its layers into `dir`.
pub(crate) fn split(rootfs: &Path, dir: &Path, rules: &Split<'_>) -> Result<(Vec<Layer>, Packages), Error> {
    const DOING: &str = "read the packages' file system";
    let db = DpkgDb::read(rootfs).during(DOING, rootfs)?;
    let mut writers = Vec::new();
    for (name, title) in [
        ("essential", "Debian's essential packages"),
        ("packages", "Debian packages"),
        ("own", "files of matrix-podman"),
    ] {
        let file = dir.join(format!("{name}.tar"));
        let out = File::create(&file).during("write the layer", &file)?;
        writers.push((LayerWriter::new(out), file, title));
    }
    let essential = db.essential_files();
    distribute(rootfs, rules, &essential, &mut writers).during("split into layers", rootfs)?;
    let mut layers = Vec::new();
    for (writer, file, title) in writers {
        if let Some((digest, size)) = writer.finish().during("write the layer", &file)? {
            layers.push(Layer { file, digest, size, title });
        }
    }
    let packages = db.packages.into_iter().map(|(name, package)| (name, package.version)).collect();
    Ok((layers, packages))
}

fn distribute<T>(
    rootfs: &Path,
    rules: &Split<'_>,
    essential: &HashSet<String>,
    writers: &mut [(LayerWriter, T, &'static str)],
) -> io::Result<()> {
    let mut dirs: HashMap<String, Header> = HashMap::new();
    let mut layer_of: HashMap<String, usize> = HashMap::new();
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, File::open(rootfs)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = clean(&entry.path()?);
        // Essential files stay in every image, so that their layer is the same in all.
        let prune = if essential.contains(&path) { &[] } else { rules.prune };
        if path.is_empty() || dropped(&path, prune) {
            continue;
        }
        let link = entry.link_name()?.map(|link| link.to_string_lossy().into_owned());
        let header = clean_header(entry.header())?;
        let mut layer = if is_own(&path, rules.own) { 2 } else { usize::from(!essential.contains(&path)) };
        match entry.header().entry_type() {
            EntryType::Directory => {
                dirs.insert(path.clone(), header.clone());
                writers[layer].0.dir(&path, &dirs)?;
            }
            EntryType::Symlink => {
                let target = link.ok_or_else(|| invalid(&path, "is a symbolic link to nothing"))?;
                writers[layer].0.link(&path, header, &target, &dirs)?;
            }
            EntryType::Link => {
                let target =
                    clean(Path::new(&link.ok_or_else(|| invalid(&path, "is a hard link to nothing"))?));
                // A hard link lives where its first name lives.
                layer = *layer_of
                    .get(&target)
                    .ok_or_else(|| invalid(&path, "is a hard link to a file left out"))?;
                writers[layer].0.link(&path, header, &target, &dirs)?;
            }
            EntryType::Regular | EntryType::Continuous => {
                writers[layer].0.file(&path, header, &mut entry, &dirs)?;
            }
            // Devices, sockets and pipes: a container gets its own.
            _ => continue,
        }
        layer_of.insert(path, layer);
    }
    Ok(())
}

fn invalid(path: &str, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} {what}"))
}

/// `./usr/bin/` → `usr/bin`.
fn clean(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.strip_prefix("./").unwrap_or(&text).trim_matches('/');
    if text == "." { String::new() } else { text.to_owned() }
}

fn dropped(path: &str, prune: &[&str]) -> bool {
    let documentation = path.starts_with("usr/share/doc/") && !path.ends_with("/copyright");
    // Of the package database the status and the lists of files stay, for `dpkg -l` and scanners.
    let scripts = path.strip_prefix("var/lib/dpkg/info/").is_some_and(|name| !name.ends_with(".list"));
    (documentation && path.matches('/').count() > 3)
        || scripts
        || NEVER.iter().chain(prune).any(|pattern| glob::matches(pattern, path))
}

fn is_own(path: &str, own: &BTreeSet<String>) -> bool {
    let mut at = path;
    loop {
        if own.contains(at) {
            return true;
        }
        match at.rsplit_once('/') {
            Some((parent, _)) => at = parent,
            None => return false,
        }
    }
}

fn clean_header(from: &Header) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    header.set_entry_type(from.entry_type());
    header.set_mode(from.mode()? & 0o7777);
    header.set_uid(from.uid()?);
    header.set_gid(from.gid()?);
    header.set_mtime(EPOCH);
    header.set_size(if from.entry_type() == EntryType::Directory { 0 } else { from.size()? });
    Ok(header)
}

struct LayerWriter {
    tar: tar::Builder<Hashing<BufWriter<File>>>,
    dirs: HashSet<String>,
    entries: usize,
}

impl LayerWriter {
    fn new(out: File) -> Self {
        let mut tar = tar::Builder::new(Hashing::new(BufWriter::with_capacity(1 << 20, out)));
        tar.mode(tar::HeaderMode::Deterministic);
        Self { tar, dirs: HashSet::new(), entries: 0 }
    }

    /// Writes a directory and those above it: unpacking must not invent their owners and modes.
    fn dir(&mut self, path: &str, known: &HashMap<String, Header>) -> io::Result<()> {
        if self.dirs.contains(path) {
            return Ok(());
        }
        self.parents(path, known)?;
        if let Some(header) = known.get(path) {
            self.tar.append_data(&mut header.clone(), format!("{path}/"), io::empty())?;
            self.entries += 1;
        }
        self.dirs.insert(path.to_owned());
        Ok(())
    }

    fn parents(&mut self, path: &str, known: &HashMap<String, Header>) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.dir(parent, known),
            None => Ok(()),
        }
    }

    fn file(
        &mut self,
        path: &str,
        mut header: Header,
        content: impl Read,
        known: &HashMap<String, Header>,
    ) -> io::Result<()> {
        self.parents(path, known)?;
        self.entries += 1;
        self.tar.append_data(&mut header, path, content)
    }

    fn link(
        &mut self,
        path: &str,
        mut header: Header,
        target: &str,
        known: &HashMap<String, Header>,
    ) -> io::Result<()> {
        self.parents(path, known)?;
        self.entries += 1;
        header.set_size(0);
        self.tar.append_link(&mut header, path, target)
    }

    /// Digest and size, or nothing if nothing was written.
    fn finish(self) -> io::Result<Option<(String, u64)>> {
        let mut out = self.tar.into_inner()?;
        out.flush()?;
        let done = out.finish()?;
        Ok((self.entries > 0).then_some(done))
    }
}

/// What the package database of a root file system says.
#[derive(Default)]
struct DpkgDb {
    packages: BTreeMap<String, Package>,
    files: HashMap<String, String>,
}

#[derive(Default)]
struct Package {
    version: String,
    essential: bool,
    depends: Vec<String>,
}

impl DpkgDb {
    fn read(rootfs: &Path) -> io::Result<Self> {
        let mut db = Self::default();
        let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, File::open(rootfs)?));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = clean(&entry.path()?);
            let Some(name) = path.strip_prefix("var/lib/dpkg/") else {
                continue;
            };
            let list = name.strip_prefix("info/").and_then(|name| name.strip_suffix(".list"));
            if name != "status" && list.is_none() {
                continue;
            }
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            match list {
                // `libc6:amd64.list` is of the package libc6.
                Some(list) => {
                    let package = list.split(':').next().unwrap_or(list);
                    db.files.insert(package.to_owned(), text);
                }
                None => db.packages = parse_status(&text),
            }
        }
        if db.packages.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no package database"));
        }
        Ok(db)
    }

    /// The files of the essential packages and of all that these need.
    fn essential_files(&self) -> HashSet<String> {
        let mut wanted: Vec<&str> =
            self.packages.iter().filter(|(_, p)| p.essential).map(|(name, _)| name.as_str()).collect();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut files = HashSet::new();
        while let Some(name) = wanted.pop() {
            let Some(package) = self.packages.get(name) else {
                continue;
            };
            if !seen.insert(name) {
                continue;
            }
            wanted.extend(package.depends.iter().map(String::as_str));
            let lines = self.files.get(name).map(String::as_str).unwrap_or_default().lines();
            files.extend(lines.map(|line| clean(Path::new(line))));
            files.insert(format!("var/lib/dpkg/info/{name}.list"));
        }
        // Not the same in all images.
        files.remove("var/run");
        files
    }
}

fn parse_status(text: &str) -> BTreeMap<String, Package> {
    let mut packages = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let mut name = None;
        let mut package = Package::default();
        for line in paragraph.lines() {
            let Some((key, value)) = line.split_once(": ") else {
                continue;
            };
            match key {
                "Package" => name = Some(value.to_owned()),
                "Version" => value.clone_into(&mut package.version),
                "Essential" => package.essential = value == "yes",
                "Depends" | "Pre-Depends" => {
                    package.depends.extend(value.split(',').filter_map(|dependency| {
                        // The first alternative only: the same answer in every image.
                        let first = dependency.split('|').next()?.trim();
                        Some(first.split([' ', ':', '(']).next()?.to_owned())
                    }))
                }
                _ => {}
            }
        }
        if let Some(name) = name {
            packages.insert(name, package);
        }
    }
    packages
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
