//! What `verify` makes of a world: a healthy one first, then the same with one
//! thing wrong after the other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that stumbles fails, and should")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use matrix_podman_core::{
    check::{Check, Group, Scope, Verdict, verify},
    config::Config,
    edge::paths,
    fact::{
        Clock, ContainerState, Database, DatabaseState, Fact, FileKind, FileState, GuestState, Health,
        HttpAnswer, HttpBody, HttpReply, InsideSynapse, MachineInfo, NameAddresses, PublicKey, Side, Silence,
        Stage, Tls, Trial, Tried, UnitState, Value,
    },
    federation::Net,
    lock::{Lock, LockedImage},
    name::{Digest, Mode, Owner},
    observed::{Answer, Observed},
    resource::{BackendId, Site},
    service::ServiceId,
    size::Bytes,
};
use serde_json::json;

const NOW: u64 = 1_800_000_000_000;
const GUEST: &str = "10.86.0.10";
const OUTSIDE: [u8; 4] = [192, 0, 2, 7];

fn site(more: &str) -> Site {
    let text = format!("domain = \"chat.home.arpa\"\n{more}");
    let config = Config::parse(&text, "matrix.toml").unwrap();
    Site::new(config, BackendId::Lxc)
}

/// A change of the healthy world: `Some` replaces an answer.
type Change<'a> = &'a dyn Fn(Side, &Fact) -> Option<Value>;

fn look(site: &Site, scope: &Scope, change: Change<'_>) -> Vec<Check> {
    let mut seen = Observed::default();
    for _ in 0..20 {
        let groups = verify(site, scope, &seen);
        let wanted = seen.take_wanted();
        if wanted.is_empty() {
            return groups.into_iter().flat_map(|group| group.checks).collect();
        }
        for (side, fact) in wanted {
            let value = change(side, &fact).unwrap_or_else(|| healthy(site, side, &fact));
            seen.insert(side, fact, Answer::Known(value));
        }
    }
    panic!("the questions do not end");
}

fn scope(groups: &[Group]) -> Scope {
    Scope { groups: groups.to_vec(), slow: false, net: Net::default() }
}

fn digest(service: ServiceId) -> Digest {
    Digest::of_sha256(&[u8::try_from(service.name().len()).unwrap(); 32])
}

fn healthy(site: &Site, side: Side, fact: &Fact) -> Value {
    match fact {
        Fact::LxcGuest(_) => Value::LxcGuest(GuestState::Running {
            site: Some(site.config.site().to_owned()),
            address: Some(GUEST.parse().unwrap()),
        }),
        Fact::Units(names) => Value::Units(
            names
                .iter()
                .map(|name| {
                    let unit = UnitState {
                        load: "loaded".to_owned(),
                        active: "active".to_owned(),
                        sub: "running".to_owned(),
                        file: "enabled".to_owned(),
                        ..UnitState::default()
                    };
                    (name.clone(), unit)
                })
                .collect(),
        ),
        Fact::Containers => Value::Containers(
            ServiceId::ALL
                .into_iter()
                .map(|service| ContainerState {
                    name: service.name().to_owned(),
                    state: "running".to_owned(),
                    health: Health::Healthy,
                    image: String::new(),
                    image_id: Some(digest(service)),
                    labels: BTreeMap::new(),
                })
                .collect(),
        ),
        Fact::File(path) if path.as_str().ends_with("matrix.lock") => {
            let mut lock = Lock::new(site.config.server_name.clone());
            for service in ServiceId::ALL {
                lock.images.insert(
                    service,
                    LockedImage {
                        wanted: String::new(),
                        run: String::new(),
                        digest: digest(service),
                        id: digest(service),
                        version: "1.157.1".to_owned(),
                    },
                );
            }
            Value::File(Some(file(&lock.render().unwrap())))
        }
        Fact::File(_) | Fact::Meta(_) | Fact::Target(_) => Value::File(None),
        Fact::System => Value::System(Box::new(system())),
        Fact::Clock => Value::Clock(Clock { now: NOW, synchronized: Some(true) }),
        Fact::Database => Value::Database(Box::new(Database::Answers(database()))),
        Fact::InsideSynapse => Value::InsideSynapse(InsideSynapse {
            schema: Some(94),
            media_writable: true,
            peers: vec!["10.89.0.2:5432".parse().unwrap(), "10.89.0.3:6379".parse().unwrap()],
        }),
        Fact::SigningKey => {
            Value::SigningKey(Some(PublicKey { id: "ed25519:a_x".to_owned(), key: "AAAA".to_owned() }))
        }
        Fact::Addresses(_) => Value::Addresses(NameAddresses { addresses: vec![IpAddr::from(OUTSIDE)] }),
        Fact::Srv(_) => Value::Srv(Vec::new()),
        Fact::Trial(trial) => {
            let limit = site.config.synapse.max_upload_size.0;
            let (status, millis) = match trial {
                Trial::Upload(bytes) if *bytes > limit => (413, 5),
                Trial::LongPoll { seconds, .. } => (200, u64::from(*seconds) * 1000),
                _ => (200, 5),
            };
            Value::Tried(Tried { status: Some(status), errcode: None, millis, left_behind: None })
        }
        Fact::Http(question) => {
            assert_eq!(side, Side::Machine, "pages are asked for from outside the guest");
            let path = question.url.split_once("://").unwrap().1.split_once('/').map_or("", |(_, path)| path);
            let (status, body) = page(site, path, &question.url, &question.body);
            Value::Http(Box::new(HttpAnswer::Answered(Box::new(reply(
                status,
                &body,
                question.url.starts_with("https://"),
            )))))
        }
        other => panic!("{other:?} on {side:?}"),
    }
}

fn page(site: &Site, path: &str, url: &str, body: &HttpBody) -> (u16, String) {
    let config = &site.config;
    match path {
        "_matrix/client/versions" => (200, json!({"versions": ["v1.1", "v1.12"]}).to_string()),
        path if url.starts_with("http://") && path.contains("dmin/v") => (404, String::new()),
        // However it is spelt.
        admin if admin.contains("admin/v") && url.starts_with("https://") && !admin.ends_with("v2/users") => {
            (403, String::new())
        }
        "_matrix/federation/v1/version" => {
            (200, json!({"server": {"name": "Synapse", "version": "1.157.1"}}).to_string())
        }
        "_matrix/key/v2/server" => {
            (200, json!({"verify_keys": {"ed25519:a_x": {"key": "AAAA"}}}).to_string())
        }
        "_matrix/client/v3/login" => (200, json!({"flows": [{"type": "m.login.password"}]}).to_string()),
        "_matrix/client/v3/register" => {
            (401, json!({"flows": [{"stages": ["m.login.registration_token"]}]}).to_string())
        }
        "_matrix/client/v3/account/whoami" | "_matrix/client/v3/sync" => {
            (401, json!({"errcode": "M_MISSING_TOKEN"}).to_string())
        }
        "_matrix/media/v3/upload" => {
            (if matches!(body, HttpBody::Announced(_)) { 100 } else { 401 }, String::new())
        }
        ".well-known/matrix/client" => {
            (200, json!({"m.homeserver": {"base_url": format!("{}/", config.matrix_url)}}).to_string())
        }
        ".well-known/matrix/server" => (200, json!({"m.server": "matrix.chat.home.arpa:443"}).to_string()),
        "config.json" => {
            let server = json!({"base_url": config.matrix_url, "server_name": config.server_name});
            (200, json!({"default_server_config": {"m.homeserver": server}}).to_string())
        }
        "" => (200, "<!doctype html><html>".to_owned()),
        other => panic!("{other}"),
    }
}

fn reply(status: u16, body: &str, encrypted: bool) -> HttpReply {
    let tls = Tls {
        version: "TLS 1.3".to_owned(),
        cipher: String::new(),
        distrust: None,
        certificate: Some(matrix_podman_core::fact::Certificate {
            issuer: "A CA".to_owned(),
            names: vec!["*".to_owned()],
            not_before: 0,
            not_after: 1_806_000_000,
        }),
    };
    let headers = [("access-control-allow-origin", "*"), ("access-control-allow-headers", "Authorization")];
    HttpReply {
        address: SocketAddr::from((Ipv4Addr::from(OUTSIDE), 443)),
        tls: encrypted.then_some(tls),
        status,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        body: Some(body.to_owned()),
        at: NOW,
        millis: 3,
    }
}

fn file(content: &str) -> FileState {
    FileState {
        kind: FileKind::File,
        mode: Mode(0o644),
        owner: Owner::ROOT,
        content: Some(content.to_owned()),
        digest: None,
        target: None,
        age: 0,
    }
}

fn database() -> DatabaseState {
    DatabaseState {
        server_version: "18.1".to_owned(),
        encoding: "UTF8".to_owned(),
        collate: "C".to_owned(),
        ctype: "C".to_owned(),
        schema: Some(94),
        compat: Some(84),
        background: Vec::new(),
        size: 12 << 20,
    }
}

fn system() -> MachineInfo {
    MachineInfo {
        os: "debian".to_owned(),
        release: "13".to_owned(),
        kernel: "6.12".to_owned(),
        arch: "x86_64".to_owned(),
        hostname: "matrix".to_owned(),
        root: true,
        systemd: true,
        cgroup2: None,
        cgroup1: Vec::new(),
        swap_limits: true,
        apparmor: true,
        user_namespaces: true,
        overlay: true,
        memory: Bytes::gib(4),
        memory_free: Bytes::gib(2),
        disk_free: Bytes::gib(20),
        cores: 2,
        address: None,
        resolvers: Vec::new(),
        proxmox: false,
        container: true,
        timezone: None,
        binary_is_static: true,
    }
}

/// The checks that did not hold or are weaker, with what they say.
fn noticed(checks: &[Check]) -> Vec<(&'static str, String)> {
    checks
        .iter()
        .filter_map(|check| {
            let text = match &check.verdict {
                Verdict::Pass { .. } | Verdict::LeftOut { .. } => return None,
                Verdict::Weaker { missing, .. } => format!("weaker: {missing}"),
                Verdict::Fail { why, hint } => {
                    assert!(!hint.is_empty(), "{} says what to do", check.id);
                    format!("fail: {why}")
                }
                Verdict::Unknown { why } => format!("unknown: {why}"),
            };
            Some((check.id, text))
        })
        .collect()
}

/// Looks at a world in which one thing is otherwise, and wants exactly one
/// check to say so.
#[track_caller]
fn one(change: Change<'_>, id: &str, said: &str) {
    let groups = [Group::Guest, Group::Data, Group::Client, Group::WayIn];
    let found = noticed(&look(&site(""), &scope(&groups), change));
    let [(only, text)] = found.as_slice() else { panic!("{id}: {found:?}") };
    assert_eq!(*only, id);
    assert!(text.contains(said), "{said:?} in {text:?}");
}

/// An answer over HTTP to what ends with `path`, changed.
fn http<'a>(
    scheme: &'a str,
    path: &'a str,
    change: impl Fn(HttpReply) -> HttpReply + 'a,
) -> impl Fn(Side, &Fact) -> Option<Value> + 'a {
    move |side, fact| match fact {
        Fact::Http(question) if question.url.ends_with(path) && question.url.starts_with(scheme) => {
            let Value::Http(answer) = healthy(&site(""), side, fact) else { panic!() };
            let HttpAnswer::Answered(reply) = *answer else { panic!() };
            Some(Value::Http(Box::new(HttpAnswer::Answered(Box::new(change(*reply))))))
        }
        _ => None,
    }
}

#[test]
fn a_healthy_site() {
    let checks =
        look(&site(""), &scope(&[Group::Guest, Group::Data, Group::Client, Group::WayIn]), &|_, _| None);
    assert_eq!(noticed(&checks), []);
    assert!(checks.iter().all(Check::holds));
    let left_out: Vec<_> =
        checks.iter().filter(|c| matches!(c.verdict, Verdict::LeftOut { .. })).map(|c| c.id).collect();
    assert_eq!(left_out, ["way-in/long-poll"]);
    let mut ids: Vec<_> = checks.iter().map(|c| c.id).collect();
    assert!(ids.len() > 30, "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), checks.len(), "every check has a name of its own");
}

#[test]
fn all_questions_are_put_in_a_few_rounds() {
    let (site, scope) = (site(""), scope(&Group::ALL));
    let rounds = Cell::new(0);
    let mut seen = Observed::default();
    loop {
        let _ = verify(&site, &scope, &seen);
        let wanted = seen.take_wanted();
        if wanted.is_empty() {
            break;
        }
        rounds.set(rounds.get() + 1);
        for (side, fact) in wanted {
            let value = healthy(&site, side, &fact);
            seen.insert(side, fact, Answer::Known(value));
        }
    }
    assert!(rounds.get() <= 6, "{} rounds", rounds.get());
}

#[test]
fn slow_checks_are_made_when_asked_for() {
    let scope = Scope { slow: true, ..scope(&[Group::WayIn]) };
    let checks = look(&site(""), &scope, &|_, _| None);
    assert_eq!(noticed(&checks), []);
    assert!(checks.iter().all(|c| matches!(c.verdict, Verdict::Pass { .. })), "{checks:?}");
    let cut = look(&site(""), &scope, &|_, fact| {
        matches!(fact, Fact::Trial(Trial::LongPoll { .. })).then(|| {
            Value::Tried(Tried { status: Some(504), errcode: None, millis: 30_000, left_behind: None })
        })
    });
    assert!(noticed(&cut)[0].1.contains("cut off after 30 s with status 504"), "{cut:?}");
}

#[test]
fn large_uploads_wait_to_be_asked_for() {
    let site = site("[synapse]\nmax_upload_size = \"1G\"\n");
    let checks = look(&site, &scope(&[Group::Client]), &|_, fact| {
        assert!(!matches!(fact, Fact::Trial(Trial::Upload(_))), "nothing is sent");
        None
    });
    assert_eq!(checks.iter().filter(|c| matches!(c.verdict, Verdict::LeftOut { .. })).count(), 2);
}

#[test]
fn what_is_wrong_in_the_guest() {
    let unit = |change: fn(&mut UnitState)| {
        move |side: Side, fact: &Fact| match fact {
            Fact::Units(_) => {
                let Value::Units(mut units) = healthy(&site(""), side, fact) else { panic!() };
                change(units.get_mut("synapse.service").unwrap());
                Some(Value::Units(units))
            }
            _ => None,
        }
    };
    one(&unit(|u| u.active = "failed".to_owned()), "guest/units", "synapse.service is failed");
    one(&unit(|u| u.load = "not-found".to_owned()), "guest/units", "not-found");
    one(&unit(|u| u.restarts = 3), "guest/restarts", "synapse 3 times");
    let container = |change: fn(&mut ContainerState)| {
        move |side: Side, fact: &Fact| match fact {
            Fact::Containers => {
                let Value::Containers(mut all) = healthy(&site(""), side, fact) else { panic!() };
                change(all.iter_mut().find(|c| c.name == "redis").unwrap());
                Some(Value::Containers(all))
            }
            _ => None,
        }
    };
    one(&container(|c| c.health = Health::Unhealthy), "guest/containers", "redis is unhealthy");
    one(&container(|c| c.image_id = None), "guest/versions", "redis runs another image");
    let system = |change: fn(&mut MachineInfo)| {
        move |side: Side, fact: &Fact| match fact {
            Fact::System if side == Side::Guest => {
                let mut info = system();
                change(&mut info);
                Some(Value::System(Box::new(info)))
            }
            _ => None,
        }
    };
    one(&system(|m| m.disk_free = Bytes::mib(500)), "guest/disk", "fail: only 500 MiB");
    one(&system(|m| m.disk_free = Bytes::gib(2)), "guest/disk", "weaker: only 2.0 GiB");
    one(&system(|m| m.memory_free = Bytes::mib(100)), "guest/memory", "of memory are free");
    one(
        &|_, fact| match fact {
            Fact::File(path) if path.as_str().ends_with("memory.events") => {
                Some(Value::File(Some(file("low 0\noom 2\noom_kill 2\n"))))
            }
            _ => None,
        },
        "guest/memory",
        "ended 2 processes",
    );
    one(
        &|side, fact| match fact {
            Fact::Clock if side == Side::Guest => {
                Some(Value::Clock(Clock { now: NOW + 120_000, synchronized: Some(true) }))
            }
            _ => None,
        },
        "guest/clock",
        "do not agree",
    );
    one(
        &|side, fact| match fact {
            Fact::Meta(path) if side == Side::Machine && path.as_str().ends_with("reboot-required") => {
                Some(Value::File(Some(file(""))))
            }
            _ => None,
        },
        "guest/reboot",
        "a reboot of the machine",
    );
}

#[test]
fn a_guest_that_does_not_run_passes_nothing() {
    let site = site("");
    let scope = scope(&[Group::Guest, Group::Data, Group::Client]);
    let mut seen = Observed::default();
    for _ in 0..20 {
        let _ = verify(&site, &scope, &seen);
        for (side, fact) in seen.take_wanted() {
            let answer = match (&fact, side) {
                (Fact::LxcGuest(_), _) => Answer::Known(Value::LxcGuest(GuestState::Stopped { site: None })),
                (Fact::LxcNeighbours, _) => Answer::Known(Value::Neighbours(Vec::new())),
                (Fact::Http(_), _) => Answer::Known(Value::Http(Box::new(HttpAnswer::Silent(Silence {
                    stage: Stage::Connect,
                    why: "no connection".to_owned(),
                })))),
                (_, Side::Guest) => Answer::Unknown("the guest does not run yet".to_owned()),
                (fact, _) => Answer::Known(healthy(&site, side, fact)),
            };
            seen.insert(side, fact, answer);
        }
    }
    let checks: Vec<Check> = verify(&site, &scope, &seen).into_iter().flat_map(|g| g.checks).collect();
    assert!(matches!(checks[0].verdict, Verdict::Fail { .. }), "{checks:?}");
    assert!(checks.iter().all(|check| !check.holds()), "{checks:?}");
}

#[test]
fn what_is_wrong_with_the_data() {
    let state = |change: fn(&mut DatabaseState)| {
        move |_: Side, fact: &Fact| match fact {
            Fact::Database => {
                let mut state = database();
                change(&mut state);
                Some(Value::Database(Box::new(Database::Answers(state))))
            }
            _ => None,
        }
    };
    one(&state(|d| d.collate = "en_US.UTF-8".to_owned()), "data/locale", "en_US.UTF-8");
    one(&state(|d| d.encoding = "LATIN1".to_owned()), "data/locale", "LATIN1");
    one(&state(|d| d.schema = Some(93)), "data/schema", "have version 93, and this Synapse writes 94");
    one(&state(|d| d.schema = None), "data/schema", "not made its tables");
    one(&state(|d| d.background = vec!["x".to_owned()]), "data/background", "weaker: ");
    let inside = |change: fn(&mut InsideSynapse)| {
        move |side: Side, fact: &Fact| match fact {
            Fact::InsideSynapse => {
                let Value::InsideSynapse(mut inside) = healthy(&site(""), side, fact) else { panic!() };
                change(&mut inside);
                Some(Value::InsideSynapse(inside))
            }
            _ => None,
        }
    };
    one(&inside(|i| i.media_writable = false), "data/media", "may not write");
    one(
        &inside(|i| {
            i.peers.pop();
        }),
        "data/connections",
        "no connection to Redis",
    );
    one(
        &inside(|i| {
            i.peers.remove(0);
        }),
        "data/connections",
        "no connection to PostgreSQL",
    );
    let refused = look(&site(""), &scope(&[Group::Data]), &|_, fact| {
        matches!(fact, Fact::Database).then(|| {
            Value::Database(Box::new(Database::Refuses("the database system is starting up".to_owned())))
        })
    });
    assert!(noticed(&refused)[0].1.contains("starting up"), "{refused:?}");
    one(
        &|_, fact| matches!(fact, Fact::SigningKey).then_some(Value::SigningKey(None)),
        "data/signing-key",
        "no signing key",
    );
    one(
        &http("http://", "/_matrix/key/v2/server", |r| HttpReply { body: Some("{}".to_owned()), ..r }),
        "data/signing-key",
        "does not use ed25519:a_x",
    );
}

#[test]
fn what_is_wrong_for_clients() {
    let inside = |path, change: fn(HttpReply) -> HttpReply| http("http://", path, change);
    one(
        &inside("/_matrix/client/v3/login", |r| HttpReply { body: Some("{}".to_owned()), ..r }),
        "client/login",
        "nothing",
    );
    one(
        &inside("/v3/register", |r| HttpReply { status: 403, ..r }),
        "client/registration",
        "nobody can make an account, and the config says: only",
    );
    one(
        &inside("/v3/register", |r| HttpReply {
            body: Some(json!({"flows": [{"stages": ["m.login.dummy"]}]}).to_string()),
            ..r
        }),
        "client/registration",
        "anybody can make an account",
    );
    one(&inside("/v3/register", |r| HttpReply { status: 429, ..r }), "client/registration", "unknown: ");
    // Reached: with a nonce, or for want of a token.
    for path in ["/_synapse//admin/v1/register", "/%5Fsynapse/admin/v1/register"] {
        one(&inside(path, |r| HttpReply { status: 200, ..r }), "guest/admin", "with status 200");
    }
    one(
        &inside("/_synapse/admin/v2/users", |r| HttpReply { status: 401, ..r }),
        "guest/admin",
        "with status 401",
    );
    one(
        &inside("/v3/sync", |r| HttpReply { status: 200, ..r }),
        "client/token",
        "/v3/sync answers status 200",
    );
    one(
        &inside("/config.json", |r| HttpReply { body: Some("{}".to_owned()), ..r }),
        "client/web",
        "names no server",
    );
    one(&inside(":8080/", |r| HttpReply { status: 502, ..r }), "client/web", "status 502");
    let tried = |wanted: Trial, status: u16, left: Option<&'static str>| {
        move |_: Side, fact: &Fact| match fact {
            Fact::Trial(trial) if *trial == wanted => Some(Value::Tried(Tried {
                status: Some(status),
                errcode: None,
                millis: 1,
                left_behind: left.map(str::to_owned),
            })),
            _ => None,
        }
    };
    let limit = site("").config.synapse.max_upload_size.0;
    one(&tried(Trial::SlidingSync, 404, None), "client/sliding-sync", "404");
    one(&tried(Trial::Upload(limit), 413, None), "client/upload", "refused as too large");
    one(&tried(Trial::Upload(limit), 200, Some("why")), "client/upload", "weaker: ");
    one(&tried(Trial::Upload(limit + 1), 200, None), "client/upload-limit", "accepted too");
    let hangs_up = look(&site(""), &scope(&[Group::Client]), &|_, fact| {
        matches!(fact, Fact::Trial(Trial::Upload(bytes)) if *bytes > limit)
            .then(|| Value::Tried(Tried { status: None, errcode: None, millis: 1, left_behind: None }))
    });
    assert_eq!(noticed(&hangs_up), [], "hanging up is how Synapse refuses");
}

#[test]
fn what_is_wrong_on_the_way_in() {
    let outside = |path, change: fn(HttpReply) -> HttpReply| http("https://", path, change);
    let html = |r: HttpReply| HttpReply { body: Some("<html>".to_owned()), ..r };
    one(&outside("/matrix/client", html), "way-in/client-well-known", "a web page");
    one(&outside("/matrix/client", |r| HttpReply { status: 404, ..r }), "way-in/client-well-known", "404");
    one(
        &outside("/matrix/client", |mut r| {
            r.headers.remove("access-control-allow-origin");
            r
        }),
        "way-in/client-well-known",
        "Access-Control-Allow-Origin",
    );
    one(
        &outside("/matrix/client", |r| HttpReply {
            body: Some(json!({"m.homeserver": {"base_url": "https://other.example"}}).to_string()),
            ..r
        }),
        "way-in/client-well-known",
        "leads to https://other.example",
    );
    one(&outside("/matrix/server", html), "way-in/server-well-known", "a web page");
    one(
        &outside("/matrix/server", |r| HttpReply { status: 404, ..r }),
        "way-in/server-well-known",
        "weaker: ",
    );
    one(
        &outside("/matrix/server", |r| HttpReply { body: Some(json!({"m.server": "a b"}).to_string()), ..r }),
        "way-in/server-well-known",
        "its m.server",
    );
    one(
        &outside("/client/versions", |r| HttpReply { status: 502, body: None, ..r }),
        "way-in/versions",
        "does not reach Synapse",
    );
    one(&outside("/v3/login", |r| HttpReply { status: 405, ..r }), "way-in/cors", "405");
    one(&outside("/config.json", html), "way-in/web", "names no server");
    let probes = paths::probes(site("").config.server_name.as_str());
    for path in &probes {
        let open = |r| HttpReply { status: 200, body: Some(json!({"server_version": "1"}).to_string()), ..r };
        let reached =
            |r| HttpReply { status: 401, body: Some(json!({"errcode": "M_MISSING_TOKEN"}).to_string()), ..r };
        // Only that spelling is let through.
        one(&http("https://", path, open), "way-in/admin", "the admin API is reached");
        one(&http("https://", path, reached), "way-in/admin", "(status 401)");
    }
    one(&outside("/upload", |r| HttpReply { status: 413, ..r }), "way-in/upload", "refused on the way");
    one(
        &outside("/key/v2/server", |mut r| {
            r.headers.insert("cf-mitigated".to_owned(), "challenge".to_owned());
            r
        }),
        "way-in/challenge",
        "Cloudflare answers",
    );
    one(
        &outside("/client/versions", |mut r| {
            if let Some(certificate) = r.tls.as_mut().and_then(|tls| tls.certificate.as_mut()) {
                certificate.not_after = 1_800_500_000;
            }
            r
        }),
        "way-in/tls",
        "weaker: the certificate of matrix.chat.home.arpa ends on 2027-01-21",
    );
}

#[test]
fn a_site_that_nothing_leads_to_says_so_once() {
    let checks = look(&site(""), &scope(&[Group::WayIn]), &|_, fact| match fact {
        Fact::Addresses(_) => Some(Value::Addresses(NameAddresses { addresses: Vec::new() })),
        _ => None,
    });
    let failed: Vec<_> =
        checks.iter().filter(|c| matches!(c.verdict, Verdict::Fail { .. })).map(|c| c.id).collect();
    assert_eq!(failed, ["way-in/names"], "{checks:?}");
    assert!(!checks.iter().any(|c| matches!(c.verdict, Verdict::Pass { .. })), "{checks:?}");
}

#[test]
fn without_federation_nobody_looks_for_it() {
    let site = site("[synapse]\nfederation_allow = []\n");
    let checks = look(&site, &scope(&[Group::WayIn, Group::Federation]), &|_, _| None);
    assert_eq!(noticed(&checks), []);
    for id in ["way-in/server-well-known", "federation/discovery"] {
        let check = checks.iter().find(|c| c.id == id).unwrap();
        assert!(matches!(check.verdict, Verdict::LeftOut { .. }), "{check:?}");
    }
}
