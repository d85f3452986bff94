//! The documents of an OCI image and the archive that holds them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, IoContext};

/// The moment that every file and document carries: Debian 13's release, 2025-08-09.
///
/// A fixed one makes the same packages give the same digest.
pub(crate) const EPOCH: u64 = 1_754_697_600;
const CREATED: &str = "2025-08-09T00:00:00Z";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Layers stay uncompressed: an archive is loaded once, on the machine that it was built on.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// How a container of the image starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

/// The value of a set in OCI's JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Empty {}

#[derive(Serialize)]
struct ImageConfig<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    config: &'a ContainerConfig,
    rootfs: RootFs<'a>,
    history: Vec<History<'a>>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    r#type: &'a str,
    diff_ids: Vec<String>,
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'a str,
    manifests: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
}

impl<'a> Descriptor<'a> {
    fn of(media_type: &'a str, blob: &[u8]) -> Self {
        Self { media_type, digest: digest(blob), size: blob.len() as u64, annotations: BTreeMap::new() }
    }
}

/// A layer: a tar on disk, its digest and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub file: PathBuf,
    pub digest: String,
    pub size: u64,
    /// What it is, for the image's history.
    pub title: &'static str,
}

/// An image before it is written.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    pub architecture: &'a str,
    pub config: ContainerConfig,
    pub layers: Vec<Layer>,
    /// The name that a load gives it.
    pub reference: &'a str,
}

/// The digests of a written image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digests {
    pub manifest: String,
    pub config: String,
}

impl Image<'_> {
    /// The config and the manifest, as they stand in the archive.
    fn documents(&self) -> serde_json::Result<(Vec<u8>, Vec<u8>)> {
        let config = serde_json::to_vec(&ImageConfig {
            created: CREATED,
            architecture: self.architecture,
            os: "linux",
            config: &self.config,
            rootfs: RootFs {
                r#type: "layers",
                diff_ids: self.layers.iter().map(|l| l.digest.clone()).collect(),
            },
            history: self.layers.iter().map(|l| History { created: CREATED, created_by: l.title }).collect(),
        })?;
        let layers = self.layers.iter().map(|layer| Descriptor {
            media_type: LAYER,
            digest: layer.digest.clone(),
            size: layer.size,
            annotations: BTreeMap::new(),
        });
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: Descriptor::of(CONFIG, &config),
            layers: layers.collect(),
        })?;
        Ok((config, manifest))
    }

    /// Writes the archive; it is whole or not there.
    pub(crate) fn write(&self, archive: &Path) -> Result<Digests, Error> {
        const DOING: &str = "write the image archive";
        let partial = archive.with_extension("partial");
        let file = File::create(&partial).during(DOING, &partial)?;
        let digests =
            self.write_to(BufWriter::with_capacity(1 << 20, file)).and_then(|(mut out, digests)| {
                out.flush()?;
                out.get_ref().sync_all()?;
                Ok(digests)
            });
        let digests = digests.during(DOING, &partial)?;
        fs::rename(&partial, archive).during(DOING, archive)?;
        if let Some(dir) = archive.parent() {
            File::open(dir).and_then(|dir| dir.sync_all()).during(DOING, dir)?;
        }
        Ok(digests)
    }

    fn write_to<W: Write>(&self, out: W) -> io::Result<(W, Digests)> {
        let (config, manifest) = self.documents()?;
        let digests = Digests { manifest: digest(&manifest), config: digest(&config) };
        let mut entry = Descriptor::of(MANIFEST, &manifest);
        entry.annotations.insert("org.opencontainers.image.ref.name", self.reference);
        let index =
            serde_json::to_vec(&Index { schema_version: 2, media_type: INDEX, manifests: vec![entry] })?;

        let mut tar = tar::Builder::new(out);
        add(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add(&mut tar, "index.json", &index)?;
        add(&mut tar, &blob_path(&digests.manifest), &manifest)?;
        add(&mut tar, &blob_path(&digests.config), &config)?;
        let mut written = Vec::new();
        for layer in &self.layers {
            if !written.contains(&&layer.digest) {
                add_reader(&mut tar, &blob_path(&layer.digest), layer.size, File::open(&layer.file)?)?;
                written.push(&layer.digest);
            }
        }
        Ok((tar.into_inner()?, digests))
    }
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn add<W: Write>(tar: &mut tar::Builder<W>, path: &str, content: &[u8]) -> io::Result<()> {
    add_reader(tar, path, content.len() as u64, content)
}

fn add_reader<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(EPOCH);
    header.set_size(size);
    tar.append_data(&mut header, path, content)
}

/// `sha256:` and the hex digest of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Counts and hashes what is written through it.
pub(crate) struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// The digest and the size of all that was written.
    pub(crate) fn finish(mut self) -> io::Result<(String, u64)> {
        self.inner.flush()?;
        Ok((format!("sha256:{}", hex(&self.hash.finalize())), self.size))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hash.update(&buf[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(dir: &Path) -> Image<'static> {
        let file = dir.join("layer.tar");
        fs::write(&file, b"a layer").unwrap();
        Image {
            architecture: "amd64",
            config: ContainerConfig {
                user: "70:70".into(),
                env: vec!["PATH=/bin".into()],
                cmd: vec!["postgres".into()],
                exposed_ports: [("5432/tcp".to_owned(), Empty {})].into(),
                ..ContainerConfig::default()
            },
            layers: vec![Layer { file, digest: digest(b"a layer"), size: 7, title: "test" }],
            reference: "localhost/test:1",
        }
    }

    #[test]
    fn the_digest_is_that_of_the_standard() {
        for (bytes, want) in [
            (&b""[..], "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            assert_eq!(digest(bytes), want);
            let mut hashing = Hashing::new(Vec::new());
            hashing.write_all(bytes).unwrap();
            assert_eq!(hashing.finish().unwrap(), (want.to_owned(), bytes.len() as u64));
        }
    }

    #[test]
    fn the_documents_are_these() {
        let dir = tempfile::tempdir().unwrap();
        let (config, manifest) = image(dir.path()).documents().unwrap();
        let layer = digest(b"a layer");
        let want = format!(
            concat!(
                r#"{{"created":"2025-08-09T00:00:00Z","architecture":"amd64","os":"linux","config":"#,
                r#"{{"User":"70:70","ExposedPorts":{{"5432/tcp":{{}}}},"Env":["PATH=/bin"],"Cmd":["postgres"],"Labels":{{}}}},"#,
                r#""rootfs":{{"type":"layers","diff_ids":["{}"]}},"#,
                r#""history":[{{"created":"2025-08-09T00:00:00Z","created_by":"test"}}]}}"#
            ),
            layer
        );
        assert_eq!(String::from_utf8(config.clone()).unwrap(), want);
        let want = format!(
            concat!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"#,
                r#""layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":7}}]}}"#
            ),
            digest(&config),
            config.len(),
            layer
        );
        assert_eq!(String::from_utf8(manifest).unwrap(), want);
    }

    #[test]
    fn an_archive_holds_what_its_index_says_and_is_the_same_every_time() {
        let dir = tempfile::tempdir().unwrap();
        let image = image(dir.path());
        let (one, two) = (dir.path().join("one.tar"), dir.path().join("two.tar"));
        let digests = image.write(&one).unwrap();
        assert_eq!(image.write(&two).unwrap(), digests);
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
        assert!(!one.with_extension("partial").exists());

        let mut archive = tar::Archive::new(File::open(&one).unwrap());
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if name.starts_with("blobs/") {
                assert_eq!(name, blob_path(&digest(&content)));
            }
            if name == "index.json" {
                let index: serde_json::Value = serde_json::from_slice(&content).unwrap();
                assert_eq!(index["manifests"][0]["digest"], digests.manifest);
                let name = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
                assert_eq!(name, "localhost/test:1");
            }
            names.push(name);
        }
        assert_eq!(names.len(), 5);
        assert_eq!(names[..2], ["oci-layout", "index.json"]);
    }
}
