//! Where things are: the paths of DESIGN.md's contract, in one place.

use crate::{
    name::{AbsPath, RepositoryName},
    service::ServiceId,
};

/// Folder of everything that belongs to the stack, in the guest.
pub const ROOT: &str = "/opt/matrix";
/// Folder of the secrets, in the guest: root may list it, nobody else.
pub const SECRETS: &str = "/opt/matrix/secrets";
/// Folder of dumps of the database that the program took before it changed
/// something, in the guest.
pub const DUMPS: &str = "/opt/matrix/dumps";
/// Folder of the Quadlet units, in the guest.
pub const QUADLET: &str = "/etc/containers/systemd";
/// The unit that starts and stops the whole stack.
pub const STACK_UNIT: &str = "matrix-stack.service";
/// The unit that updates the server, and its timer.
pub const UPDATE_UNIT: &str = "matrix-update.service";
/// When the server updates itself.
pub const UPDATE_TIMER: &str = "matrix-update.timer";
/// The unit that notices runs that ended without a word, and what is overdue.
pub const WATCH_UNIT: &str = "matrix-watch.service";
/// The unit that says when that is done.
pub const WATCH_TIMER: &str = "matrix-watch.timer";
/// The program, in the guest.
pub const BINARY: &str = "/usr/local/bin/matrix-podman";
/// The program where the Debian package puts it.
pub const PACKAGED: &str = "/usr/bin/matrix-podman";
/// Shows people who enter the guest how it is.
pub const MOTD_HOOK: &str = "/etc/profile.d/zz-matrix-podman.sh";
/// Network of database, cache and Synapse; no way out, none in.
pub const DB_NETWORK: &str = "matrix-db";
/// Network of Synapse and the web client.
pub const EDGE_NETWORK: &str = "matrix-edge";
/// The same with IPv6. Podman never changes a network that is there, so the one
/// with other settings has another name.
pub const EDGE_NETWORK_IPV6: &str = "matrix-edge-ipv6";

/// The network of what is reached from outside.
pub const fn edge_network(ipv6: bool) -> &'static str {
    if ipv6 { EDGE_NETWORK_IPV6 } else { EDGE_NETWORK }
}
/// Label of a container with the digest of everything that its service reads.
pub const CONFIG_LABEL: &str = "matrix-podman.config";

/// Folder of what the program remembers, on each side.
pub const STATE: &str = "/var/lib/matrix-podman";

/// The key that this machine signs what it proved with: 0400, root's.
pub const PROOF_KEY: &str = "/var/lib/matrix-podman/proof.key";

/// Folder of what a machine remembers of a site.
pub fn machine_state(site: &str) -> AbsPath {
    AbsPath::known(format!("{STATE}/sites/{site}"))
}

/// The config of a site as this machine applied it last.
pub fn machine_applied(site: &str) -> AbsPath {
    machine_state(site).join("applied.toml")
}

/// Says which container of Proxmox's is being made for a site; gone as soon as
/// there are data in it.
pub fn container_claim(site: &str) -> AbsPath {
    machine_state(site).join("container-claim.json")
}

/// Is there while a Proxmox container has to be restarted for settings that it
/// got to take hold.
pub fn container_restart(site: &str) -> AbsPath {
    machine_state(site).join("container-restart")
}

/// The ssh keys that a Proxmox container is made with, while it is made.
pub fn container_keys(site: &str) -> AbsPath {
    machine_state(site).join("container-keys.pub")
}

/// The folder of the guest's dumps.
pub fn dumps() -> AbsPath {
    AbsPath::known(DUMPS)
}

/// Where a restore puts files before they take the place of what is in [`ROOT`].
/// It is in there because that may be a disk of its own, which has the room.
pub const RESTORING: &str = "/opt/matrix/.matrix-podman-restoring";
/// Where a drill has what otherwise is in [`ROOT`].
pub const DRILL: &str = "/opt/matrix/.matrix-podman-drill";
/// Where data are kept that a restore found there, each under its date.
pub const SET_ASIDE: &str = "/opt/matrix/set-aside";
/// Says how far the switch to other data is; gone as soon as it is done.
pub const SWITCH: &str = "/opt/matrix/.matrix-podman-switch";
/// As long as it is there, Synapse does not start: the data were other ones, or
/// older ones, a moment ago, and one-time keys in them may have been given out.
pub const HOLD: &str = "/opt/matrix/.matrix-podman-hold";

/// [`SWITCH`] as a path.
pub fn switch() -> AbsPath {
    AbsPath::known(SWITCH)
}

/// [`HOLD`] as a path.
pub fn hold() -> AbsPath {
    AbsPath::known(HOLD)
}
/// Where a rehearsal has what otherwise is in [`ROOT`].
pub const REHEARSAL: &str = "/opt/matrix/.matrix-podman-rehearsal";

/// The dump of the database that is being restored, in the guest. As long as it
/// is there, the restore is not done.
pub fn restore_dump() -> AbsPath {
    AbsPath::known(format!("{DUMPS}/restore.dump"))
}

/// The id of the snapshot that is being restored, on the machine. As long as it
/// is there, nothing but a restore goes on with the guest.
pub fn restore_begun(site: &str) -> AbsPath {
    machine_state(site).join("restore-begun")
}

/// Folder of what a machine remembers of a repository of a site. That of
/// `backup.repository` has none of its own: it was the only one once.
fn repository_state(site: &str, name: &RepositoryName) -> AbsPath {
    if name.is_main() {
        machine_state(site)
    } else {
        machine_state(site).join("repositories").join(name.as_str())
    }
}

/// Says that a site is being removed, on the machine. As long as it is there, the
/// removal is not done, whatever is left of the site.
pub fn destroy_begun(site: &str) -> AbsPath {
    machine_state(site).join("destroy-begun")
}

/// Which notices of a site could not be sent the last time, on either side.
pub fn notice_record(site: &str) -> AbsPath {
    machine_state(site).join("notice-last.json")
}

/// How the last backup of a site into a repository went, on the machine.
pub fn backup_record(site: &str, name: &RepositoryName) -> AbsPath {
    repository_state(site, name).join("backup-last.json")
}

/// What the last drill with a repository of a site proved, on the machine.
pub fn backup_drill(site: &str, name: &RepositoryName) -> AbsPath {
    repository_state(site, name).join("backup-drill.json")
}

/// The password of a repository of a site, on the machine: 0400, root's.
pub fn backup_password(site: &str, name: &RepositoryName) -> AbsPath {
    repository_state(site, name).join("backup-password")
}

/// What the password of a repository unlocked.
pub fn backup_key(site: &str, name: &RepositoryName) -> AbsPath {
    repository_state(site, name).join("backup-key")
}

/// The folder of the media, below [`ROOT`].
pub const MEDIA: &str = "synapse/media_store";

/// A path below [`ROOT`].
pub fn in_root(name: &str) -> AbsPath {
    AbsPath::known(format!("{ROOT}/{name}"))
}

/// The lock: which images run.
pub fn lock_file() -> AbsPath {
    in_root("matrix.lock")
}

/// The config as applied.
pub fn applied_config() -> AbsPath {
    in_root("matrix.toml")
}

/// The file of `secret`.
pub fn secret(secret: Secret) -> AbsPath {
    AbsPath::known(format!("{SECRETS}/{}", secret.file_name()))
}

/// Where the access token of the program's own account on the server stands
/// (see [`crate::people`]). Only root in the guest reads it, no service does; a
/// token that is lost or no longer works is replaced, so no copy is needed.
pub fn admin_token() -> AbsPath {
    AbsPath::known(format!("{SECRETS}/admin-token"))
}

/// The Quadlet file of `service`.
pub fn container_file(service: ServiceId) -> AbsPath {
    AbsPath::known(format!("{QUADLET}/{service}.container"))
}

/// The file of labels that the container of `service` gets when it starts.
/// Quadlet leaves names with this ending alone.
pub fn labels_file(service: ServiceId) -> AbsPath {
    AbsPath::known(format!("{QUADLET}/{service}.labels"))
}

/// The unit that holds the ports which `service` gets handed.
pub fn socket_unit(service: ServiceId) -> String {
    format!("{service}.socket")
}

/// The file of that unit.
pub fn socket_file(service: ServiceId) -> AbsPath {
    AbsPath::known(format!("/etc/systemd/system/{service}.socket"))
}

/// What the name of a config file ends with until the service that reads it has accepted it.
pub const CANDIDATE: &str = ".new";

/// The Quadlet file of the network called `name`.
pub fn network_file(name: &str) -> AbsPath {
    AbsPath::known(format!("{QUADLET}/{name}.network"))
}

/// A secret of the site: its name, which effects and files say. Each has one file, 0400,
/// owned by whoever reads it; the rooms in [`crate::stack`] say who that is. One that only its
/// room names is a constant there, the others are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret {
    file_name: &'static str,
    title: &'static str,
    public: bool,
}

impl Secret {
    /// Password of PostgreSQL's role `synapse`, as PostgreSQL reads it.
    pub const POSTGRES: Self = Self::of("postgres", "the database's password");
    /// The same password as a libpq password file, as Synapse reads it.
    pub const PGPASS: Self = Self::of("pgpass", "the database's password");
    /// Password of Redis, as Synapse reads it.
    pub const REDIS: Self = Self::of("redis", "the cache's password");
    /// The same, as Redis reads it: an ACL file with the password's SHA-256.
    pub const REDIS_ACL: Self = Self::of("redis.acl", "the cache's password");
    /// `macaroon_secret_key`: signs access to things without a session.
    pub const MACAROON: Self = Self::of("macaroon", "the key for access without a session");
    /// `form_secret`: signs Synapse's web forms.
    pub const FORM: Self = Self::of("form", "the key for web forms");
    /// `registration_shared_secret`: whoever has it can make users.
    pub const REGISTRATION: Self = Self::of("registration", "the secret for making users");
    /// The server's signing key: its identity towards all other servers.
    pub const SIGNING_KEY: Self = Self::of("signing.key", "the signing key");
    /// Secret shared with the TURN server, as Synapse reads it; comes from the operator
    /// where somebody else runs that server.
    pub const TURN: Self = Self::of("turn", "the TURN secret");
    /// Address that notices are sent to: whoever has it can send some too. It
    /// comes from the operator, and the program alone reads it.
    pub const WEBHOOK: Self = Self::of("webhook", "the webhook's address");

    /// One with that name, for a constant.
    pub(crate) const fn of(file_name: &'static str, title: &'static str) -> Self {
        Self { file_name, title, public: false }
    }

    /// One that is kept like a secret and that anybody may know: a certificate.
    pub(crate) const fn public(file_name: &'static str, title: &'static str) -> Self {
        Self { file_name, title, public: true }
    }

    /// Whether anybody may know it, so that the operator's file need not be closed.
    pub const fn is_public(self) -> bool {
        self.public
    }

    /// Name of its file below [`SECRETS`].
    pub const fn file_name(self) -> &'static str {
        self.file_name
    }

    /// What it is, for people.
    pub const fn title(self) -> &'static str {
        self.title
    }

    /// Where the reading container finds it.
    pub fn in_container(self) -> String {
        format!("/run/secrets/{}", self.file_name())
    }
}
