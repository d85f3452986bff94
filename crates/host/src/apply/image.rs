//! Podman's images: loaded, pulled, named, removed.

use std::{
    fs,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use matrix_podman_core::{
    layout,
    name::{Digest, ImageRef, Mode, Owner},
    render::signatures,
};
use serde::Deserialize;

use super::storage::Writing;
use crate::{
    failure::{Doing, Failure},
    file,
    process::{Input, Program},
    progress::{Saying, Sink},
};

/// How long a pull may take.
const PULL: Duration = Duration::from_secs(3600);
/// How long Podman may take to name or remove an image.
const NAMING: Duration = Duration::from_secs(600);
/// What a tar writes in front of each file (tar(5)).
const HEADER: usize = 512;
const ENDS_EARLY: &str = "the archive ends too early or is no OCI archive: make or fetch it again";
const DISK_FULL: &str = "the disk of the guest is full: make room there, then run the same again";

/// Loads an OCI archive and names it.
pub fn load(tag: &str, mut archive: Box<dyn Read + Send>, sink: &Sink) -> Result<(), Failure> {
    let doing = format!("load the image {tag}");
    let mut head = Vec::with_capacity(HEADER);
    archive.by_ref().take(HEADER as u64).read_to_end(&mut head).doing(|| doing.clone())?;
    let begins_a_layout = head.starts_with(b"oci-layout\0");
    let whole = Cursor::new(head).chain(archive);
    let mut writing = Writing::begin(sink)?;
    let (image, names) = if begins_a_layout {
        load_layout(doing, tag, whole, sink)?
    } else {
        (load_any(doing, Box::new(whole), sink)?, vec![tag.to_owned()])
    };
    // What has a name is taken for whole, also after a power cut.
    writing.flush()?;
    name(&image, &names)
}

/// Loads whatever Podman knows, which it copies twice before it looks at it; its name
/// in the archive.
fn load_any(doing: String, archive: Box<dyn Read + Send>, sink: &Sink) -> Result<String, Failure> {
    let said = Program::new(["podman", "load", "--quiet"])
        .input(Input::Stream(archive))
        .deadline(PULL)
        .run_keeping(&doing, &|line| sink(Saying::Line(line.to_owned())))
        .map_err(|failure| {
            let said = |what: &str| failure.evidence.iter().any(|line| line.contains(what));
            let hint = if failure.is_full_disk() {
                DISK_FULL
            } else if said("unexpected EOF") {
                ENDS_EARLY
            } else {
                "`podman load` in the guest shows more; run the same again once its cause is mended"
            };
            failure.hint(hint)
        })?;
    // `Loaded image: name` for each; an archive without a name gives an id.
    let loaded = said.lines().rev().find_map(|line| line.strip_prefix("Loaded image: ")).map(str::trim);
    match loaded {
        Some(loaded) => Ok(loaded.to_owned()),
        None => Err(Failure::new(doing, "Podman did not say what it loaded").evidence(vec![said])),
    }
}

/// Loads an archive that says of itself at once that it is an OCI layout, as
/// built images do. Podman takes the layers from where they are unpacked to,
/// while they arrive. Its id, and the names that it is to have.
fn load_layout(
    doing: String,
    tag: &str,
    archive: impl Read,
    sink: &Sink,
) -> Result<(String, Vec<String>), Failure> {
    let layout = Unpacked::of(tag)?;
    layout.fill(archive).map_err(|e| {
        let why = cause(&e);
        let failure = Err::<(), _>(e).doing(|| doing.clone()).err();
        let kind = failure.map(|failure| failure.kind).unwrap_or_default();
        let failure = Failure { kind, ..Failure::new(doing.clone(), why) };
        let hint = if failure.is_full_disk() { DISK_FULL } else { ENDS_EARLY };
        failure.hint(hint)
    })?;
    let own_name = layout.image_name().map_err(|why| {
        Failure::new(doing.clone(), why).hint("give an OCI archive of one image, or fetch this one again")
    })?;
    let from = format!("oci:{}", layout.folder.display());
    let said = Program::new(["podman", "pull", "--quiet", "--", &from])
        .deadline(PULL)
        .run_keeping(&doing, &|line| sink(Saying::Line(line.to_owned())))
        .map_err(|failure| {
            let said = |what: &str| failure.evidence.iter().any(|line| line.contains(what));
            let hint = if failure.is_full_disk() {
                DISK_FULL
            } else if said("no such file") || said("did not match") {
                "the archive is damaged: make or fetch it again"
            } else {
                "what Podman says stands above; run the same again once its cause is mended"
            };
            failure.hint(hint)
        })?;
    let Some(id) = said.lines().last().map(str::trim).filter(|id| !id.is_empty()) else {
        return Err(Failure::new(doing, "Podman did not say what it loaded"));
    };
    let own = own_name.map(|name| name.as_str().to_owned());
    Ok((id.to_owned(), [tag.to_owned()].into_iter().chain(own).collect()))
}

/// What went wrong, from behind what the unpacking says of where it was.
fn cause(error: &io::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(behind) = cause.source() {
        cause = behind;
    }
    cause.to_string()
}

/// Unpacks an OCI layout into a folder that is gone afterwards; the name of its image.
pub(crate) fn unpack_into(
    archive: impl Read,
    folder: PathBuf,
) -> io::Result<Result<Option<ImageRef>, String>> {
    std::fs::create_dir(&folder)?;
    let unpacked = Unpacked { folder };
    unpacked.fill(archive)?;
    Ok(unpacked.image_name())
}

/// A folder for an OCI layout that is there as long as this is.
struct Unpacked {
    folder: PathBuf,
}

impl Unpacked {
    /// An empty one for the image that is to have this name; what a load that was
    /// cut off has left of it is removed.
    fn of(tag: &str) -> Result<Self, Failure> {
        let image = tag.rsplit('/').next().and_then(|last| last.split(':').next()).unwrap_or_default();
        let folder = Path::new(layout::STATE).join("load").join(image);
        file::remove_partial(&folder)?;
        file::make_dir(&folder, Mode(0o700), Owner::ROOT)?;
        Ok(Self { folder })
    }

    fn fill(&self, archive: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(archive);
        archive.set_preserve_mtime(false);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let kind = entry.header().entry_type();
            // Nothing else is in a layout (OCI image layout specification).
            if !(kind.is_file() || kind.is_dir()) || !entry.unpack_in(&self.folder)? {
                let path = entry.path()?.display().to_string();
                return Err(io::Error::other(format!("{path} has no place in an OCI layout")));
            }
        }
        Ok(())
    }

    /// The name that the layout gives its image (`org.opencontainers.image.ref.name`,
    /// OCI image specification, annotations).
    fn image_name(&self) -> Result<Option<ImageRef>, String> {
        let path = self.folder.join("index.json");
        let text = fs::read(&path).map_err(|e| format!("its index.json: {e}"))?;
        let index: Index = serde_json::from_slice(&text).map_err(|e| format!("its index.json: {e}"))?;
        match index.manifests.as_slice() {
            [one] => Ok(one.annotations.name.as_deref().and_then(|name| ImageRef::parse(name).ok())),
            other => Err(format!("it holds {} images, and one is wanted", other.len())),
        }
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // What is left is removed by the next load of the same image.
        let _ = file::remove_partial(&self.folder);
    }
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Manifest>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    name: Option<String>,
}

/// Takes an image's names from it, the last of which takes it with it. One that
/// a container uses is left, which is a failure; one that is not there is not.
pub(super) fn remove_image(id: &Digest, names: &[String]) -> Result<(), Failure> {
    let mut argv = vec!["podman", "image", "rm", "--ignore", "--"];
    match names {
        [] => argv.push(id.hex()),
        some => argv.extend(some.iter().map(String::as_str)),
    }
    Program::new(argv).deadline(NAMING).run(&format!("remove the image {}", id.hex()), &|_| {})
}

/// Pulls an image and names it.
pub(super) fn pull(reference: &ImageRef, tag: &str, sink: &Sink) -> Result<(), Failure> {
    hold(reference)?;
    // The policy is there only where an image has to be signed; it says which.
    let policy =
        Path::new(signatures::POLICY).exists().then(|| format!("--signature-policy={}", signatures::POLICY));
    let mut argv = vec!["podman", "pull", "--retry=3", "--retry-delay=2s"];
    argv.extend(policy.as_deref());
    argv.extend(["--", reference.as_str()]);
    let mut writing = Writing::begin(sink)?;
    Program::new(argv)
        .deadline(PULL)
        .run(&format!("pull {reference}"), &|line| sink(Saying::Line(line.to_owned())))
        .map_err(|failure| {
            let said = |what: &str| failure.evidence.iter().any(|line| line.contains(what));
            let hint = if said("manifest unknown") || said("not found") {
                "the registry has no such image: look at its name and tag in [images]"
            } else if said("Source image rejected") || said("signature was required") {
                "the image is not signed with the key that [images] names for it (signature_key): nothing of it is \
                 used. Ask its publisher, or name the key that it is signed with"
            } else if said("unauthorized") || said("denied") {
                "the registry wants a login or the image is not public"
            } else if failure.is_full_disk() {
                DISK_FULL
            } else {
                "the registry could not be reached or broke off: run the same again; what was fetched is kept"
            };
            failure.hint(hint)
        })?;
    // What has a name of ours is taken for whole, also after a power cut.
    writing.flush()?;
    hold(reference)?;
    name(reference.as_str(), &[tag.to_owned()])
}

/// Gives the image that has this name one more of the same repository. Units
/// name images as `repository@digest`, which Podman no longer finds once a tag
/// has moved to another image and nothing else of the repository names the old.
fn hold(reference: &ImageRef) -> Result<(), Failure> {
    let found = Program::new(["podman", "image", "inspect", "--format={{.Id}}", "--", reference.as_str()])
        .deadline(NAMING)
        .output();
    let id = String::from_utf8_lossy(&found.stdout);
    match id.trim().get(..12) {
        Some(id) => name(reference.as_str(), &[format!("{}:matrix-podman-{id}", reference.repository())]),
        None => Ok(()),
    }
}

fn name(image: &str, names: &[String]) -> Result<(), Failure> {
    let argv = ["podman", "tag", image].into_iter().chain(names.iter().map(String::as_str));
    Program::new(argv).deadline(NAMING).run(&format!("name the image {}", names.join(" and ")), &|_| {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Result<Option<ImageRef>, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("index.json"), text).unwrap();
        let unpacked = Unpacked { folder: folder.keep() };
        unpacked.image_name()
    }

    #[test]
    fn a_layout_names_its_image_or_not() {
        let named =
            r#"{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"localhost/a/b:1"}}]}"#;
        assert_eq!(index(named).unwrap().unwrap().as_str(), "localhost/a/b:1");
        assert_eq!(index(r#"{"manifests":[{}]}"#), Ok(None));
        assert_eq!(index(r#"{"manifests":[{},{}]}"#), Err("it holds 2 images, and one is wanted".to_owned()));
        assert!(index("{").unwrap_err().starts_with("its index.json: "));
    }
    #[test]
    fn an_archive_is_unpacked_whole_or_refused() {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in [("oci-layout", &b"{}"[..]), ("blobs/sha256/aa", &[7; 3000][..])] {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content).unwrap();
        }
        let whole = tar.into_inner().unwrap();
        let fill = |bytes: &[u8]| {
            let unpacked = Unpacked { folder: tempfile::tempdir().unwrap().keep() };
            unpacked
                .fill(bytes)
                .map(|()| fs::metadata(unpacked.folder.join("blobs/sha256/aa")).unwrap().len())
        };
        assert_eq!(fill(&whole).unwrap(), 3000);
        for end in [600, 1100, 2000, 4000] {
            assert!(fill(&whole[..end]).is_err(), "cut after {end} bytes");
        }
    }
}
