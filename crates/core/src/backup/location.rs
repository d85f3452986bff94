//! Where a repository is: a folder, or a place in the network.

use std::{fmt, net::IpAddr};

use crate::name::{AbsPath, Invalid, Port, SshHost};

/// Where a repository is, in the words that restic has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder on the machine: `/mnt/disk2/matrix-backup`.
    Folder(AbsPath),
    /// A folder on another machine: `sftp:backup@nas:/srv/matrix`.
    Sftp(SftpPlace),
    /// A part of a bucket: `s3:https://s3.example.com/bucket/matrix`.
    S3(S3Place),
    /// A remote of the operator's rclone: `rclone:drive:matrix`.
    Rclone(RclonePlace),
}

/// A folder on a machine that ssh reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpPlace {
    host: SshHost,
    path: String,
}

impl SftpPlace {
    /// The machine, as it is named to ssh.
    pub fn host(&self) -> &SshHost {
        &self.host
    }

    /// The folder; not absolute when it is below the home folder there.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// A part of a bucket of an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Place {
    secure: bool,
    host: String,
    port: Option<Port>,
    bucket: String,
    prefix: String,
}

impl S3Place {
    /// The address of the store: `https://s3.example.com`.
    pub fn endpoint(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let port = self.port.map(|port| format!(":{}", port.get())).unwrap_or_default();
        format!("{scheme}://{}{port}", self.host)
    }

    /// Whether the store is Amazon's, where a bucket has a name of its own.
    pub fn is_amazons(&self) -> bool {
        self.host.ends_with(".amazonaws.com")
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What all names in it begin with, without a slash at either end; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// A place in one of rclone's remotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RclonePlace(String);

impl RclonePlace {
    /// As rclone wants it: `drive:matrix`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What can be written in front.
const KINDS: &str = "a repository is a folder (/mnt/disk2/matrix-backup), sftp:HOST:/FOLDER, \
                     s3:https://HOST/BUCKET/FOLDER or rclone:REMOTE:FOLDER";

impl Location {
    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.starts_with('/') {
            return AbsPath::parse(text).map(Self::Folder);
        }
        match text.split_once(':') {
            Some(("sftp", rest)) => sftp(rest).map(Self::Sftp),
            Some(("s3", rest)) => s3(rest).map(Self::S3),
            Some(("rclone", rest)) => rclone(rest).map(Self::Rclone),
            Some((kind @ ("rest" | "b2" | "azure" | "gs" | "swift"), _)) => Err(Invalid::new(format!(
                "repositories of the kind {kind}: are reached through rclone: write rclone:REMOTE:FOLDER, with a \
                 remote that `rclone config` made"
            ))),
            _ => Err(Invalid::new(KINDS)),
        }
    }

    /// The folder, when it is one of this machine.
    pub fn folder(&self) -> Option<&AbsPath> {
        match self {
            Self::Folder(path) => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.fmt(f),
            Self::Sftp(SftpPlace { host, path }) => {
                let user = host.user().map(|user| format!("{user}@")).unwrap_or_default();
                match host.port() {
                    // In this form a path below the home folder has one slash in front, an absolute one two.
                    Some(port) => write!(f, "sftp://{user}{}:{port}/{path}", host.host()),
                    None => write!(f, "sftp:{user}{}:{path}", host.host()),
                }
            }
            Self::S3(place) => {
                write!(f, "s3:{}/{}", place.endpoint(), place.bucket)?;
                if place.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", place.prefix) }
            }
            Self::Rclone(place) => write!(f, "rclone:{}", place.0),
        }
    }
}

/// A path on another machine, made of plain names.
fn remote_path(path: &str) -> Result<String, Invalid> {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return Err(Invalid::new("a folder has to be named behind the machine"));
    }
    if trimmed.chars().any(char::is_control) || trimmed.split('/').any(|part| part == "..") {
        return Err(Invalid::new(format!("{path:?} is not the path of a folder")));
    }
    Ok(trimmed.to_owned())
}

fn sftp(rest: &str) -> Result<SftpPlace, Invalid> {
    let (host, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/'),
        None => rest.split_once(':'),
    }
    .ok_or_else(|| Invalid::new("it looks like sftp:HOST:/FOLDER, or sftp://HOST:PORT//FOLDER"))?;
    Ok(SftpPlace { host: SshHost::parse(&format!("ssh://{host}"))?, path: remote_path(path)? })
}

fn s3(rest: &str) -> Result<S3Place, Invalid> {
    let (secure, rest) = match rest.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        Some((scheme, _)) => {
            return Err(Invalid::new(format!("{scheme}:// is neither https:// nor http://")));
        }
        None => (true, rest),
    };
    let form = || Invalid::new("it looks like s3:https://HOST/BUCKET/FOLDER");
    let (host, path) = rest.split_once('/').ok_or_else(form)?;
    if host.contains('@') {
        return Err(Invalid::new("keys have no place here: they stand in a file, see backup.s3_credentials"));
    }
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(self::port(port)?)),
        None => (host, None),
    };
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if host.is_empty() || !host.chars().all(name) || host.starts_with(['-', '.']) {
        return Err(Invalid::new(format!("{host:?} is not the name of a machine")));
    }
    if !secure && !is_near(host) {
        return Err(Invalid::new("over http:// others on the way could act in the store: write https://"));
    }
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(name) {
        return Err(Invalid::new(format!(
            "{bucket:?} is not the name of a bucket: 3 to 63 small letters, digits, dots and dashes"
        )));
    }
    let prefix = prefix.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !prefix.is_empty()
        && prefix.split('/').any(|part| part.is_empty() || part == ".." || !part.chars().all(plain))
    {
        return Err(Invalid::new(format!(
            "{prefix:?} is not a folder: letters, digits, dots, dashes and underscores, with / between"
        )));
    }
    Ok(S3Place { secure, host: host.to_owned(), port, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

fn port(text: &str) -> Result<Port, Invalid> {
    Port::new(text.parse().unwrap_or_default())
}

/// Whether a machine is in the operator's own network.
fn is_near(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback(),
        Err(_) => {
            !host.contains('.')
                || [".lan", ".local", ".internal", ".home.arpa"].iter().any(|end| host.ends_with(end))
        }
    }
}

fn rclone(rest: &str) -> Result<RclonePlace, Invalid> {
    let (remote, path) =
        rest.split_once(':').ok_or_else(|| Invalid::new("it looks like rclone:REMOTE:FOLDER"))?;
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ' | '+' | '@');
    if remote.is_empty() || !remote.chars().all(name) || remote.starts_with(['-', ' ']) {
        return Err(Invalid::new(format!(
            "{remote:?} is not the name of a remote: `rclone listremotes` shows those that there are"
        )));
    }
    Ok(RclonePlace(format!("{remote}:{}", remote_path(path)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_as_they_are_written() {
        for text in [
            "/mnt/disk2/matrix-backup",
            "sftp:nas:backups/matrix",
            "sftp:backup@nas.lan:/srv/matrix",
            "sftp://backup@nas.lan:2222//srv/matrix",
            "sftp://nas:2222/backups",
            "s3:https://s3.example.com/bucket",
            "s3:https://s3.example.com:9000/bucket/a/b",
            "s3:http://10.0.0.5:9000/bucket/matrix",
            "rclone:drive:matrix",
            "rclone:my drive:a/b",
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
        let same = |text: &str| Location::parse(text).unwrap().to_string();
        assert_eq!(same("s3:s3.amazonaws.com/bucket/"), "s3:https://s3.amazonaws.com/bucket");
        assert_eq!(same("sftp://nas//srv/matrix/"), "sftp:nas:/srv/matrix");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("backups", "a repository is a folder"),
            ("", "a repository is a folder"),
            ("rest:http://x/", "through rclone"),
            ("sftp:nas", "sftp:HOST:/FOLDER"),
            ("sftp:nas:", "a folder has to be named"),
            ("sftp:nas:/a/../b", "not the path"),
            ("sftp:-oProxyCommand=x:/srv", "not the name of a machine"),
            ("sftp://a:secret@nas/srv", "password has no place"),
            ("s3:ftp://x/bucket", "neither https"),
            ("s3:https://key:secret@x.org/bucket", "keys have no place"),
            ("s3:http://s3.example.com/bucket", "write https"),
            ("s3:https://x.org", "s3:https://HOST"),
            ("s3:https://x.org/B", "not the name of a bucket"),
            ("s3:https://x.org/bucket/a b", "not a folder"),
            ("s3:https://x.org:0/bucket", "port"),
            ("rclone:drive", "rclone:REMOTE:FOLDER"),
            ("rclone::local", "not the name of a remote"),
            ("rclone:-x:y", "not the name of a remote"),
        ] {
            let said = Location::parse(text).unwrap_err().to_string();
            assert!(said.contains(word), "{text}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
