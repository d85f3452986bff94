//! How a server is, in one document: what `status --json` prints, and what the
//! lines of `status` and the screen of `watch` are made from.
//!
//! All of it is asked in one round, and nothing in it takes longer than a
//! question to Podman: what is counted is counted by the database, and what
//! takes longer to find out is what `doctor` and `verify` last found.

mod found;
mod row;

use serde::Serialize;

pub use found::{Found, Looked};
pub use row::{Piece, Row, Tone};

use crate::{
    config::BackendChoice,
    endpoint::Endpoint,
    fact::{ContainerState, Contents, GuestState, Room, Side, Timer},
    frame::HeldRequests,
    ids, layout,
    lock::Lock,
    name::{AbsPath, Digest, SnapshotName},
    observed::{Gap, Observed, Seen},
    render::{backups::Chore, timer},
    resource::{self, Site},
    service::ServiceId,
    stack, stopped,
    update::{self, History, Unattended},
};

/// How a server is.
#[derive(Debug, Serialize)]
pub struct Status {
    /// When this was looked at, in seconds since 1970.
    pub at: u64,
    /// The site's name.
    pub site: String,
    /// What user ids end with.
    pub server_name: String,
    /// What the stack lives in.
    pub guest: Guest,
    /// Why Synapse is held back on purpose, when it is.
    pub held: Option<Held>,
    /// The four services, in the order in which they start.
    pub services: Vec<ServiceStatus>,
    /// Where it is.
    #[serde(serialize_with = "urls_as_json")]
    pub urls: Vec<EndpointUrls>,
    /// What is on it; absent where the database does not say.
    pub contents: Option<Contents>,
    /// What came of updates.
    pub updates: Updates,
    /// What will happen automatically, the soonest first.
    pub timers: Vec<NextTimer>,
    /// What was last found wrong.
    pub found: LastFound,
    /// Why more is not known.
    pub problem: Option<String>,
}

/// What the stack lives in.
#[derive(Debug, Serialize)]
pub struct Guest {
    /// What it is made by.
    pub backend: &'static str,
    /// Its name, or its number on Proxmox.
    pub id: String,
    /// Its address, while it runs.
    pub address: Option<String>,
    /// `running`, `stopped`, `absent`, `frozen`, `stopped by a signal`, `unknown`
    pub state: String,
    /// Room where the server's data is.
    pub disk: Option<Room>,
    /// What its programs hold of memory.
    pub memory: Option<GuestMemory>,
    /// What Proxmox has it locked for.
    pub lock: Option<GuestLock>,
}

/// What Proxmox has a guest locked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuestLock {
    /// What the lock means.
    pub why: String,
    /// Whether what took it was cut off, so that it stays until somebody removes it.
    pub left: bool,
    /// What to do about it.
    pub way_out: String,
}

impl From<resource::Locked> for GuestLock {
    fn from(locked: resource::Locked) -> Self {
        Self { why: locked.reason(), left: locked.is_left(), way_out: locked.way_out() }
    }
}

/// What a guest's programs hold of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GuestMemory {
    /// So much they hold.
    pub used: u64,
    /// So much they may hold.
    pub total: u64,
}

/// Why Synapse is held back on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Because of what.
    pub why: HeldBy,
    /// What to type.
    #[serde(rename = "type")]
    pub then: &'static str,
}

/// What holds Synapse back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldBy {
    /// The data went back in time, and their one-time keys have to be forgotten first.
    WentBack,
    /// A restore was cut off, so the data is not complete.
    Restore,
}

impl Held {
    /// What the files say that a restore and whoever goes back to a snapshot leave.
    fn of(seen: &Observed) -> Seen<Option<Self>> {
        let [hold, switch, dump] = [layout::hold(), layout::switch(), layout::restore_dump()]
            .map(|path| seen.meta(Side::Guest, &path).map(|meta| meta.is_some()));
        let (hold, half) = (hold?, switch? || dump?);
        Ok(match (hold, half) {
            (_, true) => Some(Self { why: HeldBy::Restore, then: "matrix-podman backup restore" }),
            (true, false) => Some(Self { why: HeldBy::WentBack, then: "matrix-podman up" }),
            (false, false) => None,
        })
    }
}

/// How a service is.
#[derive(Debug, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: &'static str,
    /// In Podman's words.
    pub state: String,
    /// What its health check says.
    pub health: &'static str,
    /// How long ago the operator stopped it, in seconds, if that is why it is away.
    pub stopped: Option<u64>,
    /// How often systemd restarted it since it was last started.
    pub restarts: Option<u32>,
    /// What it holds of memory, in bytes.
    pub memory: Option<u64>,
    /// Requests to it that wait on purpose until it is back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldRequests>,
    /// What its image was asked for as.
    pub image: Option<String>,
    /// Digest of the image's manifest.
    pub digest: Option<Digest>,
    /// Version of the program.
    pub version: Option<String>,
}

impl ServiceStatus {
    /// Whether it runs and answers.
    pub fn is_well(&self) -> bool {
        self.state == "running" && self.health == "healthy"
    }
}

/// Where an endpoint of the server is.
#[derive(Debug)]
pub struct EndpointUrls {
    /// What people call it.
    pub label: &'static str,
    /// What JSON calls it.
    pub word: &'static str,
    /// In the guest.
    pub here: Option<String>,
    /// For the world.
    pub public: String,
}

/// One object: first where all are in the guest, then where they are for the world.
fn urls_as_json<S: serde::Serializer>(urls: &[EndpointUrls], serializer: S) -> Result<S::Ok, S::Error> {
    let here = urls.iter().map(|at| (at.word.to_owned(), at.here.as_deref()));
    let public = urls.iter().map(|at| (format!("public_{}", at.word), Some(at.public.as_str())));
    serializer.collect_map(here.chain(public))
}

/// What came of updates.
#[derive(Debug, Serialize)]
pub struct Updates {
    /// Whether the server updates itself.
    pub auto: bool,
    /// What is held back.
    pub hold: Vec<ServiceId>,
    /// What came of the last time that it did.
    pub last: Option<Unattended>,
    /// The last generation that was begun, whoever began it.
    pub generation: Option<LastGeneration>,
}

/// The generation at the end of the history.
#[derive(Debug, Serialize)]
pub struct LastGeneration {
    /// Its number.
    pub number: u32,
    /// When it was begun (RFC 3339).
    pub at: String,
    /// Who or what began it.
    pub by: String,
    /// What came of it.
    pub outcome: &'static str,
    /// The snapshot of the guest that was made before it.
    pub snapshot: Option<SnapshotName>,
}

/// A timer that will start something.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct NextTimer {
    /// The timer's unit.
    pub unit: String,
    /// Where it is.
    pub side: Side,
    /// When it starts it next, in seconds since 1970.
    pub next: u64,
    /// When it last did.
    pub last: Option<u64>,
}

/// What was last found wrong, from the side that is asked.
#[derive(Debug, Default, Serialize)]
pub struct LastFound {
    /// By `doctor`.
    pub doctor: Option<Found>,
    /// By `verify`.
    pub verify: Option<Found>,
}

impl LastFound {
    /// Marks what was wrong before the server was changed at that time.
    pub fn overtaken_by(&mut self, change: u64) {
        for found in [&mut self.doctor, &mut self.verify].into_iter().flatten() {
            found.overtaken = !found.wrong.is_empty() && found.at < change;
        }
    }
}

impl Status {
    /// How the server is, as far as it is known; `at` is the time.
    pub fn of(site: &Site, seen: &Observed, at: u64) -> Self {
        // All questions before the first answer is looked at: they are one round.
        let found = resource::guest_state(site, seen);
        let address = resource::guest_address(site, seen);
        let (lock, last, history) = (lock(seen), last_update(seen), history(seen));
        // Those that are held back while the data may have gone back in time.
        let holdable = stack::wait_for(&ids::DATABASE_ONE_TIME_KEYS);
        let containers = holdable.iter().try_for_each(|service| seen.container(service.name()).map(drop));
        let on = stack::services(&site.config);
        let units = || on.iter().copied().map(ServiceId::unit).collect::<Vec<_>>();
        let stopped = |service| stopped::since(service, seen).ok().flatten();
        let stopped: Vec<Option<u64>> = on.iter().map(|service| stopped(*service)).collect();
        let restarts = seen.units(Side::Guest, units().iter().map(String::as_str));
        let (memory, contents) = (seen.memory(units()), seen.contents());
        let disk = seen.room(Side::Guest, &data_folder());
        let held_requests = stack::front(&site.config).map(|_| seen.held_requests());
        let held_requests = held_requests.and_then(Seen::ok).unwrap_or_default();
        let held = Held::of(seen);
        let guest_lock = site.backend.guest_lock(site, seen);
        let timers = timers(site, seen);
        let last_found = LastFound {
            doctor: Found::last(site, Looked::Doctor, seen).unwrap_or_default(),
            verify: Found::last(site, Looked::Verify, seen).unwrap_or_default(),
        };
        let state = match &found {
            Ok(GuestState::Absent) => "absent",
            Ok(GuestState::Stopped { .. }) => "stopped",
            Ok(GuestState::Running { .. }) => "running",
            Ok(GuestState::Suspended { by, .. }) => by.word(),
            Err(_) => "unknown",
        };
        let address = address.ok().flatten().filter(|_| state == "running");
        let lock = lock.unwrap_or_default();
        let services: Vec<ServiceStatus> = on
            .iter()
            .zip(stopped)
            .map(|(&service, stopped)| {
                let locked = lock.as_ref().and_then(|l| l.images.get(&service));
                let (state, health) = match seen.container(service.name()) {
                    Ok(Some(ContainerState { state, health, .. })) => (state.clone(), health.as_str()),
                    Ok(None) => ("absent".to_owned(), "none"),
                    Err(_) => ("unknown".to_owned(), "none"),
                };
                let unit = service.unit();
                ServiceStatus {
                    name: service.name(),
                    stopped: stopped.filter(|_| state != "running" && state != "unknown"),
                    state,
                    health,
                    restarts: restarts.as_ref().ok().and_then(|u| u.get(&unit)).map(|u| u.restarts),
                    memory: memory.as_ref().ok().and_then(|m| m.units.get(&unit)).copied(),
                    held: held_requests.iter().find(|held| held.service == service).copied(),
                    image: locked.map(|l| l.wanted.clone()),
                    digest: locked.map(|l| l.digest.clone()),
                    version: locked.map(|l| l.version.clone()),
                }
            })
            .collect();
        let is_holdable = |name| holdable.iter().any(|service| service.name() == name);
        let runs = services.iter().any(|s| is_holdable(s.name) && s.is_well());
        let why = |gap: &Gap| match gap {
            Gap::Unknown(why) => Some(why.clone()),
            Gap::NotAsked => None,
        };
        // A guest that is not there has no container either: said once.
        let problem = found.as_ref().err().and_then(why).or_else(|| containers.as_ref().err().and_then(why));
        let problem = problem.or_else(|| {
            let why = contents.as_ref().err().and_then(why).filter(|_| state == "running")?;
            Some(format!("what is on the server is not known: {why}"))
        });
        let urls = |at: Endpoint| EndpointUrls {
            label: at.label,
            word: at.word,
            here: address.map(|address| format!("http://{address}:{}", at.port)),
            public: at.url,
        };
        Status {
            at,
            site: site.config.site().to_owned(),
            server_name: site.config.server_name.to_string(),
            guest: Guest {
                backend: site.backend.id().as_str(),
                id: guest_id(site, seen),
                address: address.map(|a| a.to_string()),
                state: state.to_owned(),
                disk: disk.ok().flatten(),
                memory: memory.ok().map(|m| GuestMemory { used: m.used, total: may_hold(site, m.total) }),
                lock: guest_lock.ok().flatten().map(GuestLock::from),
            },
            // For the moment of a snapshot it is held back from a next start only.
            held: held.ok().flatten().filter(|_| !runs),
            services,
            urls: stack::endpoints(&site.config).into_iter().map(urls).collect(),
            contents: contents.ok(),
            updates: Updates {
                auto: site.config.update.auto,
                hold: site.config.update.hold.to_vec(),
                last: last.unwrap_or_default(),
                generation: history.unwrap_or_default(),
            },
            timers,
            found: last_found,
            problem,
        }
    }

    /// Whether everything runs and answers.
    pub fn is_well(&self) -> bool {
        self.services.iter().all(ServiceStatus::is_well)
    }
}

fn data_folder() -> AbsPath {
    AbsPath::known(layout::ROOT)
}

/// What a guest may hold. On plain LXC the kernel tells it of the machine's
/// memory; what limits it stands in the config.
fn may_hold(site: &Site, total: u64) -> u64 {
    match site.config.guest.backend {
        BackendChoice::ThisMachine => total,
        _ => total.min(site.config.guest.memory.0),
    }
}

/// What the guest is called where it is: its number on Proxmox, else its name.
fn guest_id(site: &Site, seen: &Observed) -> String {
    site.backend.name_in_lxc(site, seen).unwrap_or_else(|_| site.config.guest.name.to_string())
}

fn lock(seen: &Observed) -> Seen<Option<Lock>> {
    let file = seen.file(Side::Guest, &layout::lock_file())?;
    Ok(file.and_then(|f| Lock::parse(f.content.as_deref().unwrap_or_default()).ok()))
}

fn last_update(seen: &Observed) -> Seen<Option<Unattended>> {
    let file = seen.file(Side::Guest, &update::unattended_file())?;
    Ok(file.and_then(|f| Unattended::parse(f.content.as_deref().unwrap_or_default())))
}

fn history(seen: &Observed) -> Seen<Option<LastGeneration>> {
    let file = seen.file(Side::Guest, &update::history_file())?;
    let history = file.and_then(|f| History::parse(f.content.as_deref().unwrap_or_default()).ok());
    Ok(history.and_then(|h| h.generations.into_iter().next_back()).map(|last| LastGeneration {
        number: last.number,
        at: last.at,
        by: last.by,
        outcome: last.outcome.name(),
        snapshot: last.snapshot,
    }))
}

/// The timers that concern the server: those of this program on both sides, and
/// Debian's own for security updates in the guest.
fn timers(site: &Site, seen: &Observed) -> Vec<NextTimer> {
    let sides: &[Side] =
        if site.backend.is_this_machine() { &[Side::Guest] } else { &[Side::Guest, Side::Machine] };
    let concerns = |side: Side, unit: &str| match side {
        Side::Guest if unit == layout::WATCH_TIMER => false,
        Side::Guest => unit.starts_with("matrix-") || unit == "apt-daily-upgrade.timer",
        // Another site may have its own there.
        _ => {
            unit == timer::machine_timer(&site.config)
                || Chore::WORK.iter().any(|chore| chore.timer(&site.config) == unit)
        }
    };
    let mut timers = Vec::new();
    for side in sides {
        let Ok(all) = seen.timers(*side) else { continue };
        timers.extend(all.iter().filter(|(unit, _)| concerns(*side, unit)).filter_map(
            |(unit, Timer { next, last })| {
                Some(NextTimer { unit: unit.clone(), side: *side, next: (*next)?, last: *last })
            },
        ));
    }
    timers.sort_by(|one, other| (one.next, &one.unit).cmp(&(other.next, &other.unit)));
    timers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        config::Config,
        fact::{Fact, Value},
        observed::Answer,
    };

    #[test]
    fn timers_of_the_machine_are_those_of_this_site() {
        let site = Site::new(
            Config::parse("domain = \"chat.home.arpa\"", "matrix.toml").unwrap(),
            resource::BackendId::Lxc,
        );
        let mut seen = Observed::default();
        let known = |names: &[&str]| {
            let timer = Timer { next: Some(7200), last: None };
            let timers: BTreeMap<_, _> = names.iter().map(|name| ((*name).to_owned(), timer)).collect();
            Answer::Known(Value::Timers(timers))
        };
        seen.insert(Side::Guest, Fact::Timers, known(&["matrix-update.timer", "fstrim.timer"]));
        let machine = [
            "matrix-backup-chat.home.arpa.timer",
            "matrix-backup-other.home.arpa.timer",
            "matrix-drill-chat.home.arpa.timer",
            "matrix-update-chat.home.arpa.timer",
            "matrix-update-other.home.arpa.timer",
            "matrix-podman-other.timer",
        ];
        seen.insert(Side::Machine, Fact::Timers, known(&machine));
        let status = timers(&site, &seen);
        let shown: Vec<String> = status.iter().map(|timer| timer.words(0)).collect();
        assert_eq!(
            shown,
            [
                "backup on the machine in 2 hours",
                "drill on the machine in 2 hours",
                "update on the machine in 2 hours",
                "update in 2 hours"
            ]
        );
    }
}
