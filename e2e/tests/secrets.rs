//! No secret leaves its file: not while a server is made, not afterwards; on a
//! guest that gets its address by DHCP.

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode, thread, time::Duration};

use matrix_podman_e2e::{Invocation, Lab, ProcessWatcher, Ran, Scenario};

/// Known beforehand, unlike those that are made in the guest.
const TURN: &str = "planted-turn-secret-6f1d0c";
const PASSWORD: &str = "planted-user-password-93ab";
/// Shows that the watcher would see a secret.
const CANARY: &str = "planted-canary-41c7";

struct Site {
    lab: Lab,
    said: Vec<Ran>,
    processes: Vec<String>,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("secrets");
    let site = s.foundation("a server is made while all processes are watched", watched);
    let (lab, guest) = (&site.lab, site.lab.guest());
    let secrets = s.foundation("the guest has secrets, one to a file", || secrets(lab));
    s.test("an address by DHCP works and stays", || {
        let status = lab.status();
        let address = status["guest"]["address"].as_str().unwrap().to_owned();
        let last: u8 = address.rsplit('.').next().unwrap().parse().unwrap();
        assert!((100..200).contains(&last), "a lease of the program's own DHCP server: {address}");
        lab.settled();
        guest.shut_down();
        guest.start();
        lab.becomes_healthy(Duration::from_secs(90));
        assert_eq!(lab.status()["guest"]["address"], address.as_str(), "the same after a restart");
        lab.settled();
    });
    s.test("the watcher sees the processes of guest and containers", || {
        let all = site.processes.join("\n");
        assert!(all.contains("synapse.app.homeserver"), "Synapse in its container was seen");
        assert!(all.contains(CANARY), "what stood in an environment for a moment was seen");
    });
    s.test("no secret was in an argument or an environment of any process", || {
        absent(&secrets, "processes", &site.processes);
    });
    s.test("no secret was said by any command", || {
        let said = site.said.iter().map(|ran| format!("{}{}", ran.stdout, ran.stderr));
        absent(&secrets, "output", &said.collect::<Vec<_>>());
    });
    s.test("no secret is in what the program keeps on the machine", || {
        let places = ["/var/lib/matrix-podman", "/var/log/lxc", "/var/cache/matrix-podman", "/usr/local/bin"];
        found_in_none(&secrets, &places, &["*.tar"]);
        let config = guest.folder().join("config");
        absent(&secrets, "the guest's config", &[fs::read_to_string(config).unwrap()]);
        let rendered = lab.run(&["render", "rendered"]).ok();
        found_in_none(
            &secrets,
            &[&lab.path("rendered").display().to_string(), &lab.path("matrix.toml").display().to_string()],
            &[],
        );
        absent(&secrets, "render", &[rendered.stdout]);
    });
    s.test("no secret is in another file of the guest, its logs and its containers included", || {
        let root = guest.folder().join("rootfs");
        let places: Vec<String> = ["opt/matrix", "etc", "root", "tmp", "var/tmp", "var/log", "var/lib/matrix-podman", "usr/local", "var/lib/containers/storage/overlay-containers"]
            .map(|place| root.join(place).display().to_string())
            .into_iter()
            .filter(|place| Path::new(place).exists())
            .collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        found_in_none(&secrets, &places, &[]);
        let journal = guest.exec(["journalctl", "--no-pager", "--output=export"]).ok().stdout;
        assert!(journal.contains("synapse"), "the journal holds the containers' logs");
        absent(&secrets, "the journal", &[journal]);
        let inspected = guest.sh("podman inspect $(podman ps --all --quiet); podman image inspect $(podman images --quiet); podman system info").ok();
        absent(&secrets, "podman inspect", &[inspected.stdout]);
        let units = guest.sh("systemctl show '*' --no-pager").ok();
        absent(&secrets, "systemctl show", &[units.stdout]);
    });
    s.test(
        "every secret's file is 0400 and belongs to the uid that reads it, in a folder for root alone",
        || {
            let uid = |service: &str| {
                guest.inspect(service)["Config"]["User"]
                    .as_str()
                    .unwrap()
                    .split(':')
                    .next()
                    .unwrap()
                    .to_owned()
            };
            let files = guest.sh("stat --format '%n %a %u' /opt/matrix/secrets/*").ok();
            assert!(files.stdout.lines().count() >= 8, "{}", files.stdout);
            for line in files.stdout.lines() {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let name = Path::new(fields[0]).file_name().unwrap().to_str().unwrap();
                if name == "admin-token" {
                    assert_eq!((fields[1], fields[2]), ("400", "0"), "{line}, read by no container");
                    continue;
                }
                let reader = match name {
                    "postgres" => "postgres_db",
                    "redis.acl" => "redis",
                    _ => "synapse",
                };
                assert_eq!((fields[1], fields[2]), ("400", uid(reader).as_str()), "{line}, read by {reader}");
            }
            let folder = guest.exec(["stat", "--format", "%a %u", "/opt/matrix/secrets"]).ok();
            assert!(["700 0", "711 0"].contains(&folder.text()), "{}", folder.text());
        },
    );
    s.test("the secret of the TURN server is used", || {
        lab.add_user("anna", PASSWORD);
        let answer =
            lab.matrix().login("anna", PASSWORD).request("GET", "/v3/voip/turnServer", None).unwrap();
        assert!(answer["password"].as_str().is_some_and(|p| !p.is_empty()), "{answer}");
        assert_eq!(answer["uris"][0], "turn:turn.home.arpa?transport=udp");
    });
    s.end()
}

fn watched() -> Site {
    let lab = Lab::with_config("secrets");
    lab.set("[guest.network]", "address", "\"dhcp\"");
    let turn = lab.write("turn-secret", &format!("{TURN}\n"));
    std::fs::set_permissions(&turn, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let turn = turn.display().to_string();
    lab.set("[turn]", "secret_file", &format!("{turn:?}"));
    lab.set("[turn]", "uris", "[\"turn:turn.home.arpa?transport=udp\"]");
    let watcher = ProcessWatcher::start();
    let mut said = vec![lab.run(&["plan"]).ok(), lab.up()];
    lab.guest().command(["env", &format!("X={CANARY}"), "sleep", "1"]).run().ok();
    said.push(lab.command(&["user", "add", "planted", "--password-file", "-"]).input(PASSWORD).run().ok());
    lab.set("[synapse]", "max_upload_size", "\"64M\"");
    said.extend([
        lab.run(&["plan", "--json"]).ok(),
        lab.run(&["up", "--yes", "--json"]).ok(),
        lab.run(&["status", "--json"]).ok(),
        lab.run(&["logs", "-n", "5000"]).ok(),
        // Makes the token of the program's own account, and uses it.
        lab.run(&["user", "list", "--json"]).ok(),
        lab.command(&["user", "set-password", "planted", "--password-file", "-"]).input(PASSWORD).run().ok(),
        lab.command(&["user", "add", "planted", "--password-file", "-"]).input(PASSWORD).run().exits(1),
    ]);
    // A last look at what is still there.
    thread::sleep(Duration::from_millis(500));
    let processes = watcher.stop().into_iter().collect();
    lab.healthy();
    Site { lab, said, processes }
}

/// Every secret that must be nowhere else, by its name.
fn secrets(lab: &Lab) -> BTreeMap<String, String> {
    let guest = lab.guest();
    let names = guest.exec(["ls", "/opt/matrix/secrets"]).ok();
    let mut secrets: BTreeMap<String, String> = [
        ("planted TURN secret".to_owned(), TURN.to_owned()),
        ("planted password".to_owned(), PASSWORD.to_owned()),
    ]
    .into();
    for name in names.stdout.split_whitespace() {
        let content = guest.read(&format!("/opt/matrix/secrets/{name}"));
        let secret = match name {
            // Only a digest of the password, which is among the others.
            "redis.acl" => continue,
            // host:port:database:user:password
            "pgpass" => content.trim().rsplit(':').next().unwrap_or_default().to_owned(),
            // algorithm, name, key
            "signing.key" => content.split_whitespace().next_back().unwrap_or_default().to_owned(),
            _ => content.trim().to_owned(),
        };
        assert!(secret.len() >= 20, "{name} holds {} characters", secret.len());
        secrets.insert(name.to_owned(), secret);
    }
    for name in [
        "postgres",
        "pgpass",
        "redis",
        "macaroon",
        "form",
        "registration",
        "signing.key",
        "turn",
        "admin-token",
    ] {
        assert!(secrets.contains_key(name), "{name} in {:?}", secrets.keys());
    }
    secrets
}

/// Fails when a text holds a secret. The secret itself is not repeated.
#[track_caller]
fn absent(secrets: &BTreeMap<String, String>, place: &str, texts: &[String]) {
    for text in texts {
        for (name, secret) in secrets {
            if let Some(at) = text.find(secret.as_str()) {
                let before: String =
                    text[..at].chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
                panic!("the secret {name} is in {place}, behind: …{before}");
            }
        }
    }
}

/// Fails when a file below one of `places` holds a secret.
#[track_caller]
fn found_in_none(secrets: &BTreeMap<String, String>, places: &[&str], except: &[&str]) {
    for (name, secret) in secrets {
        let mut argv = vec![
            "grep",
            "--recursive",
            "--files-with-matches",
            "--text",
            "--fixed-strings",
            "--file=-",
            "--exclude-dir=secrets",
        ];
        let mut excludes: Vec<String> = except.iter().map(|pattern| format!("--exclude={pattern}")).collect();
        if name == "admin-token" {
            // Synapse itself keeps everybody's access tokens there.
            excludes.push("--exclude-dir=postgresdata".to_owned());
        }
        argv.extend(excludes.iter().map(String::as_str));
        argv.extend(places);
        let found = Invocation::new(argv).input(secret).quietly().run();
        assert!(found.code != 0, "the secret {name} is in:\n{}", found.stdout);
        // 1: nothing found; 2: a file went away while it was read.
        assert!(found.stderr.lines().all(|l| l.contains("No such file")), "{}", found.stderr);
    }
}
