//! What is asked for: `synapse`, `synapse=v1.163.2`.

use std::str::FromStr;

use crate::{
    config::ImageChoice,
    effect::ImageSource,
    name::ImageRef,
    observed::{Observed, Seen},
    resource::{Site, decide_source, image_choice, read_lock},
    service::ServiceId,
    stack::{self, Data},
};

/// One service that is to be updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which.
    pub service: ServiceId,
    /// To which version; the newest when absent.
    pub version: Option<String>,
}

impl FromStr for Request {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let service = stack::called(name).ok_or_else(|| {
            let names: Vec<&str> = ServiceId::ALL.into_iter().map(ServiceId::name).collect();
            format!("there is no service {name:?}; there are {}", names.join(", "))
        })?;
        let well = |v: &str| {
            !v.is_empty() && v.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        match version {
            Some(version) if !well(version) => Err(format!("{version:?} is no version")),
            version => Ok(Self { service, version: version.map(str::to_owned) }),
        }
    }
}

/// Something that is to be updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A service.
    Service(Request),
    /// The Debian packages that containers run by.
    Debian,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "debian" => Ok(Target::Debian),
            text => text.parse().map(Target::Service).map_err(|e: String| {
                if e.starts_with("there is no service") { format!("{e}, and debian") } else { e }
            }),
        }
    }
}

/// From where the image of an update comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which service.
    pub service: ServiceId,
    /// Where its image is had.
    pub from: ImageSource,
    /// What the config asks for, in the words of the lock: afterwards the lock
    /// answers to that, so that `up` finds it settled.
    pub words: String,
    /// The major version of PostgreSQL that was asked for. Without one, what runs
    /// decides: to another, the data have to be moved, and that is never silent.
    pub major: Option<u32>,
}

impl Wanted {
    /// What `request` means on this site; why it cannot be had, and what to do.
    pub fn of(site: &Site, request: &Request, seen: &Observed) -> Seen<Result<Self, (String, String)>> {
        let service = request.service;
        let configured = decide_source(site, service, seen)?;
        let words = crate::resource::wanted(service, &configured);
        let choice = image_choice(site, service);
        let postgres = Data::Cluster.is_kept_by(service);
        let major = request.version.as_deref().filter(|_| postgres).and_then(leading_number);
        let runs = match postgres {
            true => read_lock(seen)?.and_then(|lock| lock.images.get(&service)?.major()),
            false => None,
        };
        let from = match (configured, &request.version) {
            (ImageSource::Registry(reference), None) => match runs {
                Some(runs) => with_major(reference, runs),
                None => Ok(ImageSource::Registry(reference)),
            },
            (ImageSource::Build { .. }, None) if runs.is_some() => {
                Ok(ImageSource::Build { version: runs.map(|runs| runs.to_string()) })
            }
            (configured, None) => Ok(configured),
            (ImageSource::Registry(reference), Some(version)) => match leading_number(version) {
                // A major version alone: the same kind of image, of that version.
                Some(major) if postgres && version.chars().all(|c| c.is_ascii_digit()) => {
                    with_major(reference, major)
                }
                _ => with_tag(&reference, version),
            },
            (ImageSource::Build { .. }, Some(version)) => built(service, choice, version),
            // What is in it shows when it is loaded.
            (archive @ ImageSource::Archive { .. }, Some(_)) if postgres => Ok(archive),
            (ImageSource::Archive { path, .. }, Some(_)) => Err((
                format!(
                    "{} comes from the archive {path}, which has the version that it has",
                    service.title()
                ),
                format!("put the archive of the other version there, then `matrix-podman update {service}`"),
            )),
        };
        Ok(from.map(|from| Wanted { service, from, words, major }))
    }
}

/// The newest major version of PostgreSQL that a stable Debian release has, whose security
/// team looks after it.
const STABLE_POSTGRES: u32 = 17;

impl Wanted {
    /// What somebody should know who chose this.
    pub fn caution(&self) -> Option<String> {
        let ImageSource::Build { version: Some(version) } = &self.from else { return None };
        let major = leading_number(version).filter(|_| Data::Cluster.is_kept_by(self.service))?;
        (major > STABLE_POSTGRES).then(|| {
            format!(
                "PostgreSQL {major} is built from packages of Debian testing, which has NO SECURITY SUPPORT: mends \
                 arrive late, and nobody promises them. {STABLE_POSTGRES} is Debian 13's own and has it; so has an \
                 image from a registry"
            )
        })
    }
}

/// The number that a version begins with.
fn leading_number(version: &str) -> Option<u32> {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The same kind of image of that major version: `17.6-alpine` of 18 is `18-alpine`.
fn with_major(reference: ImageRef, major: u32) -> Result<ImageSource, (String, String)> {
    match reference.tag().and_then(parts) {
        Some((prefix, numbers, suffix)) if numbers.first() != Some(&u64::from(major)) => {
            with_tag(&reference, &format!("{prefix}{major}{suffix}"))
        }
        _ => Ok(ImageSource::Registry(reference)),
    }
}

fn with_tag(reference: &ImageRef, version: &str) -> Result<ImageSource, (String, String)> {
    let name = format!("{}:{version}", reference.repository());
    ImageRef::parse(&name).map(ImageSource::Registry).map_err(|e| {
        (format!("{name} is no image: {e}"), "give a tag of the registry, such as v1.163.2".to_owned())
    })
}

fn built(service: ServiceId, choice: &ImageChoice, version: &str) -> Result<ImageSource, (String, String)> {
    let version = version.trim_start_matches('v').to_owned();
    stack::room(service).buildable(choice, &version)?;
    Ok(ImageSource::Build { version: Some(version) })
}

/// The newest of a registry's `tags` that is like `now`: a version of as many
/// numbers with the same words around it (`v1.157.1`, `8.0.2-alpine`), of the same major
/// version where `within_major`. `None` when there is none that is newer.
pub fn newest_tag<'a>(
    now: &str,
    tags: impl IntoIterator<Item = &'a str>,
    within_major: bool,
) -> Option<&'a str> {
    let (prefix, numbers, suffix) = parts(now)?;
    tags.into_iter()
        .filter_map(|tag| Some((parts(tag)?, tag)))
        .filter(|((p, n, s), _)| *p == prefix && *s == suffix && n.len() == numbers.len())
        .filter(|((_, n, _), _)| !within_major || n.first() == numbers.first())
        .max_by(|((_, a, _), _), ((_, b, _), _)| a.cmp(b))
        .filter(|((_, n, _), _)| *n > numbers)
        .map(|(_, tag)| tag)
}

/// `v1.157.1-alpine` → `v`, the numbers, `-alpine`.
fn parts(tag: &str) -> Option<(&str, Vec<u64>, &str)> {
    let start = tag.find(|c: char| c.is_ascii_digit())?;
    let (prefix, rest) = tag.split_at(start);
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (version, suffix) = rest.split_at(end);
    let numbers = version.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    Some((prefix, numbers, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_a_target() {
        assert_eq!("debian".parse(), Ok(Target::Debian));
        assert!(matches!("redis".parse(), Ok(Target::Service(_))));
        assert!("mysql".parse::<Target>().unwrap_err().ends_with("coturn, gateway, and debian"));
    }

    #[test]
    fn requests_are_read() {
        let read = |text: &str| text.parse::<Request>();
        assert_eq!(read("synapse").unwrap(), Request { service: stack::synapse::ID, version: None });
        assert_eq!(read("synapse=v1.163.2").unwrap().version.as_deref(), Some("v1.163.2"));
        assert_eq!(read("postgres=18.1-alpine").unwrap().service, stack::postgres::ID);
        for wrong in ["", "mysql", "synapse=", "synapse=1 2", "synapse=../x", "=1"] {
            read(wrong).unwrap_err();
        }
        assert!(read("mysql").unwrap_err().contains("element-web"));
    }

    #[test]
    fn what_has_no_security_support_is_said_where_it_is_chosen() {
        let of =
            |service, from| Wanted { service, from, words: String::new(), major: None }.caution().is_some();
        let build = |version: &str| ImageSource::Build { version: Some(version.to_owned()) };
        assert!(of(stack::postgres::ID, build("18")));
        assert!(!of(stack::postgres::ID, build("17")));
        assert!(!of(stack::postgres::ID, ImageSource::Build { version: None }));
        assert!(!of(stack::synapse::ID, build("18.1")));
        let registry =
            ImageSource::Registry(ImageRef::parse("docker.io/library/postgres:18-alpine").unwrap());
        assert!(!of(stack::postgres::ID, registry));
    }

    #[test]
    fn a_major_version_keeps_the_kind_of_image() {
        let of = |reference: &str, major| {
            let reference = ImageRef::parse(reference).unwrap();
            match with_major(reference, major) {
                Ok(ImageSource::Registry(reference)) => reference.to_string(),
                other => panic!("{other:?}"),
            }
        };
        for (reference, major, expected) in [
            ("docker.io/library/postgres:17-alpine", 18, "docker.io/library/postgres:18-alpine"),
            ("docker.io/library/postgres:17.6-alpine", 18, "docker.io/library/postgres:18-alpine"),
            ("docker.io/library/postgres:18.1-alpine", 18, "docker.io/library/postgres:18.1-alpine"),
            ("docker.io/library/postgres:latest", 18, "docker.io/library/postgres:latest"),
        ] {
            assert_eq!(of(reference, major), expected);
        }
        assert_eq!(leading_number("18.1-alpine"), Some(18));
        assert_eq!(leading_number("latest"), None);
    }

    #[test]
    fn the_newest_tag_is_one_of_the_same_kind() {
        let synapse =
            ["latest", "v1.157.1", "v1.163.2", "v1.164.0rc1", "v1.99.0", "v1.163", "1.170.0", "develop"];
        assert_eq!(newest_tag("v1.157.1", synapse, false), Some("v1.163.2"));
        assert_eq!(newest_tag("v1.163.2", synapse, false), None);
        let postgres = ["17.6-alpine", "18.1-alpine", "18.4-alpine", "18.5", "19.0-alpine"];
        assert_eq!(newest_tag("18.1-alpine", postgres, true), Some("18.4-alpine"));
        assert_eq!(newest_tag("18.1-alpine", postgres, false), Some("19.0-alpine"));
        assert_eq!(newest_tag("8-alpine", ["8-alpine", "9-alpine"], true), None);
        assert_eq!(newest_tag("latest", synapse, false), None);
    }
}
