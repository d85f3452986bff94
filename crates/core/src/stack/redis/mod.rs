//! Redis: `redis.conf` and its ACL file.
//!
//! Format: Redis' documented configuration (`redis.conf` of its source): one
//! directive a line, arguments split at spaces, double quotes around others.

mod causes;

use sha2::{Digest as _, Sha256};

use super::{
    BuildRecipe, ContainerSpec, Data, Facts, Health, Mount, RoomSecret, Service, ServiceImage, Tmpfs,
};
use crate::{
    config::Config,
    desired::{DesiredFile, DesiredFolder},
    frame::RoomCause,
    layout::{self, Secret},
    lock::LockedImage,
    name::{Digest, Owner},
    service::ServiceId,
    size::Bytes,
};

/// Port that Redis listens on in its container.
pub const PORT: u16 = 6379;
/// Where the container finds `redis.conf`.
pub const CONF: &str = "/usr/local/etc/redis/redis.conf";
/// The user that may only say PING: health checks need no secret.
pub const HEALTH_USER: &str = "health";

/// One directive and its arguments.
type Directive = (&'static str, Vec<String>);

fn directives() -> Vec<Directive> {
    let one = |key, value: &str| (key, vec![value.to_owned()]);
    vec![
        // Only containers on the internal network reach it.
        one("bind", "0.0.0.0"),
        one("port", &PORT.to_string()),
        one("protected-mode", "no"),
        one("aclfile", &Secret::REDIS_ACL.in_container()),
        // Nothing in it is worth keeping over a restart.
        one("save", ""),
        one("appendonly", "no"),
        one("dir", "/data"),
        one("databases", "1"),
        one("maxmemory", "40mb"),
        one("maxmemory-policy", "allkeys-lru"),
        ("client-output-buffer-limit", ["pubsub", "32mb", "8mb", "60"].map(str::to_owned).to_vec()),
        one("tcp-keepalive", "60"),
        one("daemonize", "no"),
        one("logfile", ""),
        one("loglevel", "notice"),
        one("always-show-logo", "no"),
    ]
}

/// `sdssplitargs` of Redis: a word with anything unusual goes in double quotes,
/// with `\` before quotes and backslashes and `\xHH` for control characters.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '#');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// `redis.conf`, readable by Redis' user.
pub fn files() -> Vec<DesiredFile> {
    let mut content = String::from("# Written by matrix-podman; changes here are overwritten.\n");
    for (key, arguments) in directives() {
        content.push_str(key);
        for argument in &arguments {
            content.push(' ');
            content.push_str(&word(argument));
        }
        content.push('\n');
    }
    vec![DesiredFile::read_by(
        ID.owner(),
        layout::in_root("redis/redis.conf"),
        content,
        "Redis' configuration: a cache that keeps nothing",
    )]
}

/// The ACL file for that password.
fn acl_of(password: &str) -> String {
    acl(Digest::of_sha256(&Sha256::digest(password.as_bytes())).hex())
}

/// The ACL file for the password whose SHA-256 is given in
/// lower-case hexadecimal: Synapse's user may do all but administer the server.
fn acl(password_sha256: &str) -> String {
    format!(
        "user default on #{password_sha256} ~* &* +@all -@admin\nuser {HEALTH_USER} on nopass -@all +ping\n"
    )
}

/// The health check: exits with 0 only if Redis answers PONG. `-e` makes an
/// error reply a failure; the password is ignored for a user without one.
pub fn health_command() -> Vec<String> {
    ["redis-cli", "-e", "--user", HEALTH_USER, "--pass", "none", "--no-auth-warning", "ping"]
        .map(str::to_owned)
        .to_vec()
}

/// Its id.
pub const ID: ServiceId = ServiceId::known("redis");

const SECRETS: &[RoomSecret] = &[RoomSecret::derived(Secret::REDIS_ACL, Secret::REDIS, acl_of)];

/// Redis: caches and messages between Synapse's parts; nothing to keep.
#[derive(Debug)]
pub struct RedisService;

impl Service for RedisService {
    fn id(&self) -> ServiceId {
        ID
    }

    fn container(
        &self,
        spec: &mut ContainerSpec,
        _: &Config,
        _: &LockedImage,
        _: &Facts,
    ) -> Result<(), String> {
        // The image's entry point would load every module that it ships.
        spec.entrypoint = Some("redis-server");
        spec.command = vec![CONF.to_owned()];
        spec.mounts.push(Mount::read(layout::in_root("redis/redis.conf"), CONF));
        spec.tmpfs.push(Tmpfs { target: "/data", size: Bytes::mib(1) });
        spec.networks = vec![layout::DB_NETWORK];
        spec.health = Health::of(health_command());
        Ok(())
    }

    fn files(&self, _: &Config, _: &Facts) -> Vec<DesiredFile> {
        files()
    }

    fn folders(&self) -> Vec<DesiredFolder> {
        vec![DesiredFolder::new(layout::in_root("redis"), 0o755, Owner::ROOT)]
    }

    fn unsaved(&self) -> &'static [&'static str] {
        &["redis"]
    }

    fn secrets(&self) -> &'static [RoomSecret] {
        SECRETS
    }

    fn image(&self) -> ServiceImage {
        ServiceImage { recipe: Some(BuildRecipe { name: "redis", origins: "Debian" }), within_major: true }
    }

    fn data(&self) -> Data {
        Data::Copies
    }

    fn family(&self) -> &'static str {
        "redis/"
    }

    fn causes(&self) -> &'static [RoomCause] {
        causes::CAUSES
    }

    fn unit_is(&self) -> &'static str {
        "How systemd and Podman run Redis"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::show;

    #[test]
    fn conf() {
        insta::assert_snapshot!(show(&files()));
    }

    #[test]
    fn acl_file() {
        insta::assert_snapshot!(acl(&"ab".repeat(32)));
    }

    #[test]
    fn words() {
        for (text, written) in [("a", "a"), ("", "\"\""), ("a b", "\"a b\""), ("\"\\\n", "\"\\\"\\\\\\x0a\"")]
        {
            assert_eq!(word(text), written);
        }
    }
}
