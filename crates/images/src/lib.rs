//! Builds the four container images of a Matrix server from Debian, PyPI and npm packages.
//!
//! For machines that reach no container registry. Each image keeps the contract of the official
//! one (user, paths, ports, environment, how it starts), so that the same units run both, and is
//! written as an OCI archive for `podman load`. The same packages give the same digest.
//!
//! ```no_run
//! use matrix_podman_images::{BuildOptions, Recipe, build};
//!
//! let options = BuildOptions::new("/var/cache/matrix-podman/images");
//! let image = build(Recipe::Redis, &options, &|note| eprintln!("{note}"))?;
//! println!("podman load --input {}", image.archive.display());
//! # Ok::<(), matrix_podman_images::Error>(())
//! ```

mod assets;
mod cache;
mod debian;
mod error;
mod glob;
mod layers;
mod oci;
mod python;
mod recipe;
mod tools;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::Error;
pub use recipe::Recipe;
pub use tools::missing_tools;

use cache::{Cache, Inputs, Record};
use debian::Apt;
use error::IoContext;
use python::Pins;

/// As long as Debian's own daily timers leave between two looks.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// How to build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The directory that archives, packages and work in progress live in.
    pub cache: PathBuf,
    /// The version of Synapse; the newest on PyPI if absent.
    pub synapse_version: Option<String>,
    /// The Debian release.
    pub suite: String,
    /// Whether package lists are taken that are past their date, as those of a
    /// mirror that is no longer brought up to date.
    pub accept_expired: bool,
    /// How long an answer to "which packages are current?" holds before it is asked again.
    pub current_for: Duration,
}

impl BuildOptions {
    /// The newest Synapse on Debian 13, with this cache.
    #[must_use]
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            synapse_version: None,
            suite: "trixie".into(),
            accept_expired: false,
            current_for: A_DAY,
        }
    }

    /// The same with a PostgreSQL of another major version: that of the Debian
    /// release that has it. `None` when none has.
    #[must_use]
    pub fn with_postgres(self, major: u32) -> Option<Self> {
        let suite = match major {
            15 => "bookworm",
            17 => "trixie",
            18 => "forky",
            _ => return None,
        };
        Some(Self { suite: suite.into(), ..self })
    }
}

/// An image on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// The OCI archive, for `podman load --input`. Kept until two newer ones of its recipe exist.
    pub archive: PathBuf,
    /// The name and tag that a load gives the image.
    pub reference: String,
    /// `sha256:…` of the manifest, the digest that a lock records.
    pub manifest_digest: String,
    /// `sha256:…` of the config, which Podman calls the image's id.
    pub image_id: String,
    /// The version of what is in it, such as 17.6 or 1.163.2.
    pub version: String,
    /// Whether it was there already.
    pub from_cache: bool,
}

/// Builds an image, or finds the one that a build would make again.
///
/// Builds of one recipe wait for one another; those of different recipes run side by side. When
/// what is new cannot be found out, an image from the cache is as good as it gets and is given,
/// with a note to `progress`.
///
/// # Errors
///
/// If a tool is missing (see [`missing_tools`]), a package cannot be had and the cache has no
/// image, or a file cannot be written.
pub fn build(
    recipe: Recipe,
    options: &BuildOptions,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<BuiltImage, Error> {
    tools::require(recipe)?;
    fs::create_dir_all(&options.cache).during("create", &options.cache)?;
    let dir = options.cache.canonicalize().during("find", &options.cache)?;
    let cache = Cache::open(&dir, recipe, &options.suite, progress)?;
    let question = format!("{} {:?}", options.suite, options.synapse_version);
    if let Some(record) = cache.asked_lately(&question, options.current_for) {
        return Ok(built(&cache, record, true));
    }
    let work = cache.work()?;
    progress(&format!("{recipe}: asking which packages are current"));
    let plan = match Plan::make(recipe, options, &dir, work.path()) {
        Ok(plan) => plan,
        Err(err) => {
            let wanted = (recipe == Recipe::Synapse).then_some(options.synapse_version.as_deref()).flatten();
            let Some(record) = cache.newest(&options.suite, wanted)? else {
                return Err(err);
            };
            progress(&format!("{recipe}: using version {} from the cache, because: {err}", record.version));
            return Ok(built(&cache, record, true));
        }
    };
    let (record, from_cache) = match cache.find(&plan.key) {
        Some(record) => (record, true),
        None => (plan.build(&cache, work.path(), progress)?, false),
    };
    cache.note_asked(&question, &record.key)?;
    Ok(built(&cache, record, from_cache))
}

fn built(cache: &Cache, record: Record, from_cache: bool) -> BuiltImage {
    BuiltImage {
        archive: cache.archive(&record.key),
        reference: record.reference,
        manifest_digest: record.manifest_digest,
        image_id: record.image_id,
        version: record.version,
        from_cache,
    }
}

/// What a build will install.
struct Plan<'a> {
    recipe: Recipe,
    options: &'a BuildOptions,
    dir: &'a Path,
    architecture: &'static str,
    debian: layers::Packages,
    python: Pins,
    key: String,
}

impl<'a> Plan<'a> {
    fn make(recipe: Recipe, options: &'a BuildOptions, dir: &'a Path, work: &Path) -> Result<Self, Error> {
        let architecture = debian::architecture()?;
        let debian = Apt::open(dir, options)?.plan(recipe)?;
        let python = match recipe {
            Recipe::Synapse => python::resolve(
                &recipe::python_version(&debian)?,
                options.synapse_version.as_deref(),
                dir,
                work,
            )?,
            _ => Pins::new(),
        };
        let inputs = Inputs {
            recipe,
            suite: &options.suite,
            architecture,
            debian: &debian,
            python: python.iter().map(|(name, pin)| (name.as_str(), pin.version.as_str())).collect(),
        };
        let key = inputs.key();
        Ok(Self { recipe, options, dir, architecture, debian, python, key })
    }

    fn build(&self, cache: &Cache, work: &Path, progress: &dyn Fn(&str)) -> Result<Record, Error> {
        let recipe = self.recipe;
        let stage = work.join("stage");
        fs::create_dir_all(&stage).during("create", &stage)?;
        for asset in assets::of(recipe) {
            assets::place(asset, &stage)?;
        }
        let mut version = None;
        match recipe {
            Recipe::Synapse => {
                progress(&format!("{recipe}: fetching {} Python packages", self.python.len()));
                let python = recipe::python_version(&self.debian)?;
                python::install(&python, &self.python, &stage, work)?;
                assets::place(&assets::CHECK_PYTHON, work)?;
                version = Some(python::synapse_version(&self.python)?.to_owned());
            }
            Recipe::WebClient => {
                progress(&format!("{recipe}: fetching the client's packages"));
                web::install(&stage, work)?;
                version = Some(web::version()?);
            }
            Recipe::Postgres | Recipe::Redis | Recipe::Coturn | Recipe::Gateway => {}
        }
        progress(&format!("{recipe}: installing {} Debian packages", self.debian.len()));
        let apt = Apt::open(self.dir, self.options)?;
        apt.download(recipe)?;
        let rootfs = apt.rootfs(recipe, work, &stage)?;

        progress(&format!("{recipe}: writing the image"));
        let mut own = BTreeSet::from(["usr/local".to_owned()]);
        own.extend(assets::of(recipe).iter().map(|asset| asset.path.to_owned()));
        own.insert("app".to_owned());
        let rules = layers::Split { prune: recipe.prune(), own: &own };
        let (layers, installed) = layers::split(&rootfs, work, &rules)?;
        fs::remove_file(&rootfs).during("remove", &rootfs)?;
        let version = match (version, recipe.debian_version(&installed)?) {
            (Some(version), _) | (None, Some(version)) => version,
            (None, None) => String::new(),
        };
        let reference = format!("localhost/matrix-podman/{recipe}:{version}");
        let image = oci::Image {
            architecture: self.architecture,
            config: recipe.config(&version, &installed)?,
            layers,
            reference: &reference,
        };
        let archive = cache.archive(&self.key);
        let digests = image.write(&archive)?;
        let python: BTreeMap<_, _> =
            self.python.iter().map(|(name, pin)| (name.clone(), pin.version.clone())).collect();
        cache.add(Record {
            recipe,
            suite: self.options.suite.clone(),
            key: self.key.clone(),
            version,
            reference,
            manifest_digest: digests.manifest,
            image_id: digests.config,
            archive_size: fs::metadata(&archive).during("read", &archive)?.len(),
            number: 0,
            debian: installed,
            python,
        })
    }
}
