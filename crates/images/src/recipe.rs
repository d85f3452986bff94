//! The images: what they are made of and how their containers start.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, unexpected};
use crate::layers::Packages;
use crate::oci::{ContainerConfig, Empty};

/// An image that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The database.
    Postgres,
    /// The cache between Synapse's processes.
    Redis,
    /// The homeserver.
    Synapse,
    /// The web client: Hydrogen, served as Element Web is.
    #[serde(rename = "element-web")]
    WebClient,
    /// The TURN server.
    Coturn,
    /// HAProxy, before the other services.
    Gateway,
}

impl Recipe {
    /// Every recipe.
    pub const ALL: [Self; 6] =
        [Self::Postgres, Self::Redis, Self::Synapse, Self::WebClient, Self::Coturn, Self::Gateway];

    /// The name, as in a file name or an image reference.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Synapse => "synapse",
            Self::WebClient => "element-web",
            Self::Coturn => "coturn",
            Self::Gateway => "gateway",
        }
    }

    /// The recipe called `name`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|recipe| recipe.name() == name)
    }

    /// The Debian packages that are asked for, besides the essential ones.
    pub(crate) fn packages(self) -> &'static [&'static str] {
        match self {
            // `postgresql` depends on the release's own major version.
            Self::Postgres => &["postgresql", "tzdata", "xz-utils", "zstd"],
            Self::Redis => &["redis-server", "redis-tools", "tzdata"],
            // psycopg2 is Debian's, because PyPI has it as source only.
            Self::Synapse => &[
                "python3",
                "python3-psycopg2",
                "libjemalloc2",
                "ca-certificates",
                "curl",
                "openssl",
                "tzdata",
            ],
            // busybox brings a small wget for the health check.
            Self::WebClient => &["nginx", "busybox", "gettext-base", "tzdata"],
            Self::Coturn => &["coturn", "tzdata"],
            // busybox brings a small wget for the health check.
            Self::Gateway => &["haproxy", "busybox", "tzdata"],
        }
    }

    /// Paths that the image can do without.
    pub(crate) fn prune(self) -> &'static [&'static str] {
        match self {
            // The just-in-time compiler (PostgreSQL does without it when its module is missing),
            // Debian's wrappers for several clusters, and the Perl that only these need.
            Self::Postgres => &[
                "usr/lib/*/libLLVM*",
                "usr/lib/*/libz3.so*",
                "usr/lib/llvm-*",
                "usr/lib/postgresql/*/lib/bitcode*",
                "usr/lib/postgresql/*/lib/llvmjit*",
                "usr/lib/postgresql/*/lib/pgxs*",
                "usr/share/postgresql/*/man*",
                "usr/share/postgresql-common*",
                "usr/share/perl*",
                "usr/lib/*/perl/*",
                "usr/lib/*/perl5*",
                "usr/lib/*/libperl.so*",
                "usr/share/i18n*",
                "etc/postgresql*",
                "etc/ssl/*/ssl-cert-snakeoil*",
            ],
            Self::Redis => &["etc/redis*", "etc/logrotate.d*"],
            Self::Synapse => &[
                "usr/bin/*-linux-gnu-*",
                "usr/lib/python3*/test*",
                "usr/lib/python3*/idlelib*",
                "usr/lib/python3*/pydoc_data*",
                "usr/lib/python3*/ensurepip*",
                "usr/share/python3/*",
            ],
            Self::WebClient => &[
                "etc/nginx/sites-*",
                "etc/nginx/modules-*",
                "etc/nginx/snippets*",
                "etc/logrotate.d*",
                "etc/ufw*",
                "usr/share/nginx/html/*",
                "var/www*",
            ],
            // Examples, and settings of a server that is not this one.
            Self::Coturn => {
                &["etc/turnserver.conf", "etc/default/coturn*", "usr/share/coturn*", "var/lib/turn*"]
            }
            // A config that is not this one, and what only the package's own scripts need.
            Self::Gateway => {
                &["etc/haproxy*", "etc/default/haproxy*", "etc/logrotate.d*", "var/lib/haproxy*"]
            }
        }
    }

    /// The user that the container's process runs as: name, uid, gid, home.
    pub(crate) fn user(self) -> (&'static str, u32, u32, &'static str) {
        match self {
            Self::Postgres => ("postgres", 70, 70, "/var/lib/postgresql"),
            Self::Redis => ("redis", 999, 1000, "/data"),
            Self::Synapse => ("synapse", 991, 991, "/data"),
            Self::WebClient => ("nginx", 101, 101, "/nonexistent"),
            // Not the name that the package gives its own user, whose number is left to chance.
            Self::Coturn => ("turn", 3478, 3478, "/nonexistent"),
            // Not the package's own user, for the same reason.
            Self::Gateway => ("gateway", 99, 99, "/nonexistent"),
        }
    }

    /// How containers start. The same as the official images, so that the same units run both.
    pub(crate) fn config(self, version: &str, packages: &Packages) -> Result<ContainerConfig, Error> {
        let env =
            |values: &[(&str, &str)]| values.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        let ports = |list: &[&str]| list.iter().map(|port| (format!("{port}/tcp"), Empty {})).collect();
        let strings = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
        let mut config = ContainerConfig { labels: self.labels(version), ..ContainerConfig::default() };
        let locale = ("LANG", "C.UTF-8");
        match self {
            Self::Postgres => {
                let major = postgres_major(packages)?;
                let path = format!("{PATH}:/usr/lib/postgresql/{major}/bin");
                let data = format!("/var/lib/postgresql/{major}/docker");
                config.env = env(&[
                    ("PATH", &path),
                    locale,
                    ("PG_MAJOR", &major),
                    ("PG_VERSION", version),
                    ("PGDATA", &data),
                ]);
                config.exposed_ports = ports(&["5432"]);
                config.volumes = BTreeMap::from([("/var/lib/postgresql".to_owned(), Empty {})]);
                config.entrypoint = strings(&["docker-entrypoint.sh"]);
                config.cmd = strings(&["postgres"]);
                config.stop_signal = "SIGINT".into();
            }
            Self::Redis => {
                config.env = env(&[("PATH", PATH), locale, ("REDIS_VERSION", version)]);
                config.exposed_ports = ports(&["6379"]);
                config.working_dir = "/data".into();
                config.entrypoint = strings(&["docker-entrypoint.sh"]);
                config.cmd = strings(&["redis-server"]);
            }
            Self::Synapse => {
                // Bytecode stands in the image; writing more of it to a read-only root would fail.
                config.env = env(&[("PATH", PATH), locale, ("PYTHONDONTWRITEBYTECODE", "1")]);
                config.exposed_ports = ports(&["8008", "8448", "9090", "19090"]);
                config.entrypoint = strings(&["/start.py"]);
            }
            Self::WebClient => {
                let nginx = packages.get("nginx").map(|v| upstream(v)).unwrap_or_default();
                config.env =
                    env(&[("PATH", PATH), locale, ("NGINX_VERSION", nginx), ("ELEMENT_WEB_PORT", "80")]);
                config.user = "nginx".into();
                config.exposed_ports = ports(&["8080"]);
                config.entrypoint = strings(&["/docker-entrypoint.sh"]);
                config.cmd = strings(&["nginx", "-g", "daemon off;"]);
                config.stop_signal = "SIGQUIT".into();
            }
            Self::Coturn => {
                config.env = env(&[("PATH", PATH), locale]);
                config.user = "turn".into();
                config.exposed_ports = ports(&["3478", "5349"]);
                config.entrypoint = strings(&["turnserver"]);
            }
            Self::Gateway => {
                config.env = env(&[("PATH", PATH), locale, ("HAPROXY_VERSION", version)]);
                config.user = "gateway".into();
                config.entrypoint = strings(&["haproxy"]);
                config.cmd = strings(&["-f", "/usr/local/etc/haproxy/haproxy.cfg"]);
                config.stop_signal = "SIGUSR1".into();
            }
        }
        Ok(config)
    }

    fn labels(self, version: &str) -> BTreeMap<String, String> {
        let (title, licenses) = match self {
            Self::Postgres => ("PostgreSQL", "PostgreSQL"),
            Self::Redis => ("Redis", "AGPL-3.0-only"),
            Self::Synapse => ("Synapse", "AGPL-3.0-or-later"),
            Self::WebClient => ("Hydrogen", "Apache-2.0"),
            Self::Coturn => ("coturn", "BSD-3-Clause"),
            Self::Gateway => ("HAProxy", "GPL-2.0-or-later"),
        };
        [("title", title), ("version", version), ("licenses", licenses)]
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
            .into()
    }

    /// The version of what the image is for, if a Debian package says so.
    pub(crate) fn debian_version(self, packages: &Packages) -> Result<Option<String>, Error> {
        let package = match self {
            Self::Postgres => format!("postgresql-{}", postgres_major(packages)?),
            Self::Redis => "redis-server".to_owned(),
            Self::Coturn => "coturn".to_owned(),
            Self::Gateway => "haproxy".to_owned(),
            Self::Synapse | Self::WebClient => return Ok(None),
        };
        let version = packages.get(&package).ok_or_else(|| no_package(&package))?;
        Ok(Some(upstream(version).to_owned()))
    }
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `postgresql-17` → `17`.
fn postgres_major(packages: &Packages) -> Result<String, Error> {
    let majors = packages.keys().filter_map(|name| name.strip_prefix("postgresql-"));
    majors
        .filter(|major| major.bytes().all(|b| b.is_ascii_digit()))
        .max_by_key(|major| major.len())
        .map(str::to_owned)
        .ok_or_else(|| no_package("postgresql-<version>"))
}

/// `python3.13-minimal` → `3.13`.
pub(crate) fn python_version(packages: &Packages) -> Result<String, Error> {
    let versions = packages.keys().filter_map(|name| name.strip_prefix("python3.")?.strip_suffix("-minimal"));
    versions
        .max_by_key(|minor| minor.parse::<u32>().unwrap_or(0))
        .map(|minor| format!("3.{minor}"))
        .ok_or_else(|| no_package("python3.<version>-minimal"))
}

fn no_package(name: &str) -> Error {
    unexpected(
        "find the version of what was packed",
        format!("the package {name} is not among those installed"),
        "check that the Debian suite has it",
    )
}

/// The version without Debian's epoch and revision: `5:8.0.2-3+deb13u1` → `8.0.2`.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.rsplit_once('-').map_or(version, |(version, _)| version)
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|r| r.name() == name).ok_or_else(|| Error::UnknownRecipe(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages() -> Packages {
        [
            ("postgresql", "17+278"),
            ("postgresql-17", "17.12-0+deb13u1"),
            ("postgresql-common", "278"),
            ("redis-server", "5:8.0.2-3+deb13u1"),
            ("python3.13-minimal", "3.13.5-2"),
            ("nginx", "1.26.3-3"),
        ]
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .into()
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for recipe in Recipe::ALL {
            assert_eq!(recipe.to_string().parse::<Recipe>().unwrap(), recipe);
            assert_eq!(serde_json::to_value(recipe).unwrap(), recipe.name());
        }
        assert!("mysql".parse::<Recipe>().unwrap_err().to_string().contains("element-web"));
    }

    #[test]
    fn versions_come_from_the_packages() {
        let packages = packages();
        assert_eq!(Recipe::Postgres.debian_version(&packages).unwrap().as_deref(), Some("17.12"));
        assert_eq!(Recipe::Redis.debian_version(&packages).unwrap().as_deref(), Some("8.0.2"));
        assert_eq!(Recipe::Synapse.debian_version(&packages).unwrap(), None);
        assert_eq!(python_version(&packages).unwrap(), "3.13");
        assert!(Recipe::Redis.debian_version(&Packages::new()).is_err());
    }

    #[test]
    fn containers_start_as_those_of_the_official_images() {
        let packages = packages();
        let config = Recipe::Postgres.config("17.12", &packages).unwrap();
        assert!(config.env.contains(&"PGDATA=/var/lib/postgresql/17/docker".to_owned()));
        assert!(config.env.contains(&"PG_MAJOR=17".to_owned()));
        assert_eq!((config.stop_signal.as_str(), config.cmd), ("SIGINT", vec!["postgres".to_owned()]));
        let config = Recipe::WebClient.config("0.3.1", &packages).unwrap();
        assert_eq!((config.user.as_str(), config.stop_signal.as_str()), ("nginx", "SIGQUIT"));
        assert!(config.env.contains(&"NGINX_VERSION=1.26.3".to_owned()));
        let config = Recipe::Synapse.config("1.163.2", &packages).unwrap();
        assert_eq!(config.entrypoint, ["/start.py"]);
        assert_eq!(config.labels["org.opencontainers.image.version"], "1.163.2");
    }
}
