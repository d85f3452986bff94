//! The life of one server: made from an empty folder with one command, used,
//! changed, rebooted, cut off, run from its compose file, and removed.

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

#[path = "server/extra.rs"]
mod extra;
#[path = "server/upgrade.rs"]
mod upgrade;

use matrix_podman_e2e::{
    Guest, Lab, MachineSnapshot, NodeClient, PythonClient, SERVICES, Scenario, Session, at_this_pace, http,
    wait_until,
};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";
/// How long a healthy server may take to be back after its guest was started.
const BACK: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let mut s = Scenario::begin("server");
    let lab = s.foundation("one command in an empty folder makes a healthy server", one_command);
    let lab = &lab;
    made(&mut s, lab);
    used(&mut s, lab);
    hardened(&mut s, lab);
    changed(&mut s, lab);
    extra::settings(&mut s, lab);
    refused(&mut s, lab);
    upgrade::taken_over(&mut s, lab);
    rebooted(&mut s, lab);
    exported(&mut s, lab);
    removed(&mut s, lab);
    s.end()
}

/// `up` with nothing but flags. The network is given by a config that holds
/// only what must be apart on a machine with several sites.
fn one_command() -> Lab {
    let lab = Lab::new("server");
    lab.write(
        "matrix.toml",
        &format!(
            "domain = \"{}\"\n\n[guest]\nname = \"{}\"\n\n[guest.network]\nbridge = \"{}\"\nsubnet = \"{}/24\"\n",
            lab.domain,
            lab.guest().name,
            lab.bridge(),
            lab.gateway(),
        ),
    );
    let up = lab.run(&["up", "--domain", &lab.domain, "--yes"]).ok();
    for word in ["is up.", "Web client", "Homeserver", "matrix-podman user add"] {
        assert!(up.stdout.contains(word), "the summary has {word:?}\n{}", up.evidence());
    }
    assert!(!up.stdout.contains('\u{1b}') && !up.stderr.contains('\u{1b}'), "no colour in a pipe");
    lab.healthy();
    lab
}

fn made(s: &mut Scenario, lab: &Lab) {
    s.test("a second up has nothing to do and says so at once", || {
        lab.settled();
        let up = lab.run(&["up", "--yes", "--json"]).ok();
        assert_eq!(up.json()["event"], "settled", "{}", up.evidence());
        // Not even a question is asked when there is nothing to do.
        lab.run(&["up"]).ok().says("Nothing to do");
    });
    s.test("status tells guest, services, images and addresses", || {
        let status = lab.status();
        assert_eq!(status["site"], lab.domain.as_str());
        assert_eq!(status["guest"]["backend"], "lxc");
        assert_eq!(status["guest"]["id"], lab.guest().name.as_str());
        assert_eq!(status["guest"]["state"], "running");
        let address = status["guest"]["address"].as_str().unwrap();
        assert!(address.starts_with(&lab.gateway()[..lab.gateway().len() - 1]), "{status}");
        for (service, name) in status["services"].as_array().unwrap().iter().zip(SERVICES) {
            assert_eq!(service["name"], name);
            assert_eq!((&service["state"], &service["health"]), (&json!("running"), &json!("healthy")));
            assert!(service["digest"].as_str().is_some_and(|d| d.starts_with("sha256:")), "{service}");
            assert!(service["version"].as_str().is_some_and(|v| v.contains('.')), "{service}");
            assert!(service["image"].as_str().is_some_and(|v| !v.is_empty()), "{service}");
        }
        assert_eq!(status["urls"]["synapse"], format!("http://{address}:8008"));
        assert_eq!(status["urls"]["client"], format!("http://{address}:8080"));
        lab.run(&["status"]).ok().says("synapse").says("healthy");
    });
    s.test(
        "the site is found from another folder of the machine by its config, and from inside the guest",
        || {
            let config = lab.path("matrix.toml").display().to_string();
            lab.command(&["status", "--config", &config]).folder("/").run().ok().says("element-web");
            let inside = lab.guest().exec(["matrix-podman", "status", "--json"]).ok().json();
            assert_eq!(inside["services"].as_array().map(Vec::len), Some(4));
            lab.guest().exec(["matrix-podman", "plan", "--exit-code"]).ok().says("Nothing to do");
        },
    );
    s.test("logs can be read, of one service and as JSON", || {
        lab.run(&["logs", "postgres_db"]).ok().says("database system is ready");
        let lines = lab.run(&["logs", "synapse", "--lines", "5", "--json"]).ok().json_lines();
        assert!((1..=5).contains(&lines.len()), "{lines:?}");
        lab.run(&["logs", "--since", "1h", "-n", "3"]).ok();
    });
    s.test("restart restarts what is named and nothing else", || {
        let before = incarnations(&lab.guest());
        lab.run(&["restart", "redis"]).ok();
        lab.becomes_healthy(Duration::from_secs(30));
        assert_eq!(changed_services(&before, &incarnations(&lab.guest())), ["redis"]);
        lab.settled();
    });
}

fn used(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("services are stopped and started, and up starts what was stopped", || {
        let states = || SERVICES.map(|s| guest.exec(["systemctl", "is-active", s]).text().to_owned());
        lab.run(&["stop", "synapse"]).ok();
        assert_eq!(states(), ["active", "active", "inactive", "active"]);
        lab.run(&["start", "synapse"]).ok();
        lab.healthy();
        lab.run(&["stop"]).ok();
        assert_eq!(states(), ["inactive"; 4]);
        lab.up();
        lab.healthy();
        lab.settled();
    });
    s.test("a command runs in a service's container, with its exit code, from outside and inside", || {
        let sql = ["psql", "--", "-At", "-c", "SHOW server_encoding"];
        assert_eq!(lab.run(&sql).ok().text(), "UTF8");
        let inside = ["matrix-podman"].into_iter().chain(sql);
        assert_eq!(guest.command(inside).run().ok().text(), "UTF8");
        lab.run(&["exec", "synapse", "--", "sh", "-c", "exit 7"]).exits(7);
        lab.command(&["exec", "synapse", "--", "cat"]).input("as it came").run().ok().says("as it came");
    });
    s.test("the addresses are told", || {
        lab.run(&["open"]).ok().says(&lab.url("client")).says(&format!("https://{}", lab.server_name()));
        assert_eq!(lab.run(&["open", "--json"]).json()["here"]["synapse"], lab.url("synapse"));
    });
    s.test("set writes one key into matrix.toml and shows what that would do", || {
        let before = lab.config();
        lab.run(&["set", "synapse.url_previews", "false"])
            .ok()
            .says("Check and change homeserver.yaml")
            .says("`matrix-podman up` does this");
        let after = lab.config();
        let added: Vec<&str> = after.lines().filter(|line| !before.lines().any(|l| l == *line)).collect();
        // The command line alone made this config, so it had no such table.
        assert_eq!(added, ["[synapse]", "url_previews = false"]);
        lab.run(&["set", "synapse.url_previev", "false"]).exits(2).says("synapse.url_previews");
        lab.run(&["set", "synapse.max_upload_size", "lots"]).exits(2).says("lots");
        assert_eq!(lab.config(), after, "a mistake changes nothing");
        lab.run(&["set", "synapse.url_previews", "--default"]).ok();
        lab.settled();
    });
    s.test("users are made with a password from standard input, a file or a terminal", || {
        lab.run(&["user", "add", "zoe", "--admin", PASSWORD]).exits(2);
        lab.add_user("anna", PASSWORD);
        let file = lab.write("password", &format!("{PASSWORD}\n")).display().to_string();
        let made =
            lab.run(&["user", "add", "bela", "--admin", "--json", "--password-file", &file]).ok().json();
        assert_eq!(made, json!({"user_id": lab.matrix().user_id("bela"), "admin": true}));
        let asked = lab
            .on_terminal(&["user", "add", "carla"], &[("Password (", PASSWORD), ("Once more: ", PASSWORD)])
            .ok();
        assert!(!asked.stdout.contains(PASSWORD), "a password is not shown\n{}", asked.evidence());
        lab.on_terminal(
            &["user", "add", "dora"],
            &[
                ("Password (", PASSWORD),
                ("Once more: ", "correct h0rse"),
                ("offers one", ""),
                ("Press Enter", ""),
            ],
        )
        .ok()
        .says("differ");
        for name in ["anna", "bela", "carla"] {
            let session = lab.matrix().login(name, PASSWORD);
            assert_eq!(session.user_id, format!("@{name}:{}", lab.server_name()));
        }
        lab.matrix().try_login("dora", PASSWORD).expect_err("dora took the password that was offered");
    });
    s.test("who administers the server is known to the server", || {
        lab.user("anna", PASSWORD);
        if lab.matrix().try_login("bela", PASSWORD).is_err() {
            lab.command(&["user", "add", "bela", "--admin", "--password-file", "-"])
                .input(PASSWORD)
                .run()
                .ok();
        }
        let is_admin = |name: &str| {
            let token = lab.matrix().login(name, PASSWORD).token;
            lab.admin("GET", "/_synapse/admin/v2/users?limit=1", &token, None).0 == 200
        };
        assert!(is_admin("bela") && !is_admin("anna"));
    });
    s.test("a name that is taken and a weak password are refused with a reason", || {
        lab.user("anna", PASSWORD);
        lab.command(&["user", "add", "anna", "--password-file", "-"])
            .input(PASSWORD)
            .run()
            .exits(1)
            .says("there is a user");
        lab.command(&["user", "add", "emma", "--password-file", "-"])
            .input("short\n")
            .run()
            .exits(2)
            .says("characters");
        lab.run(&["user", "add", "emma", "--password-file", "no-such-file"]).exits(2).says("no-such-file");
        lab.user("anna", PASSWORD);
    });
    s.test("two people talk through matrix-nio", || talk(lab, false));
    s.test("two people talk through matrix-nio in an encrypted room", || talk(lab, true));
    s.test("the web client in Chromium logs in and sends a message that the server then has", || {
        let walter = lab.user("walter", PASSWORD);
        let room = walter.create_room("From the browser");
        let password = lab.write("walter-password", PASSWORD).display().to_string();
        let screenshot = lab.path("walter.png").display().to_string();
        let (client, synapse, public) = (lab.url("client"), lab.url("synapse"), lab.url("public_synapse"));
        NodeClient::get()
            .run(
                "hydrogen.mjs",
                &[
                    "--url",
                    &client,
                    "--homeserver",
                    &synapse,
                    "--public",
                    &public,
                    "--user",
                    "walter",
                    "--password-file",
                    &password,
                    "--message",
                    "hello from the browser",
                    "--room",
                    "From the browser",
                    "--screenshot",
                    &screenshot,
                ],
            )
            .ok();
        let messages = walter.messages(&room);
        assert!(messages.contains(&"hello from the browser".to_owned()), "{messages:?}");
    });
    s.test("media are stored and given back", || {
        let anna = lab.user("anna", PASSWORD);
        let config = anna.request("GET", "/v1/media/config", None).unwrap();
        assert_eq!(config["m.upload.size"], 200 << 20, "the default limit");
    });
    s.test("registration without a token is refused", || {
        let url = format!("{}/_matrix/client/v3/register", lab.matrix().url);
        let (status, answer) =
            http("POST", &url, None, Some(&json!({"username": "x", "password": PASSWORD}))).unwrap();
        assert_eq!(status, 401, "{answer}");
        let stages = answer["flows"][0]["stages"].to_string();
        assert!(stages.contains("m.login.registration_token"), "{answer}");
    });
}

fn talk(lab: &Lab, encrypted: bool) {
    let (alice, bob) = if encrypted { ("alice-e", "bob-e") } else { ("alice", "bob") };
    lab.user(alice, PASSWORD);
    lab.user(bob, PASSWORD);
    let task = json!({
        "homeserver": lab.url("synapse"),
        "alice": {"user": alice, "password": PASSWORD},
        "bob": {"user": bob, "password": PASSWORD},
        "message": "the kettle is on",
        "encrypted": encrypted,
    });
    let said = PythonClient::get().run("nio_client.py", &["talk"], &task.to_string()).ok().json();
    assert_eq!(
        (&said["read"], &said["decrypted"]),
        (&json!("the kettle is on"), &json!(encrypted)),
        "{said}"
    );
    // What the server has of it is readable only where it should be.
    let session = lab.matrix().login(bob, PASSWORD);
    let seen = session.messages(said["room"].as_str().unwrap()).contains(&"the kettle is on".to_owned());
    assert_eq!(seen, !encrypted, "the server reads messages of unencrypted rooms only");
}

fn hardened(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("nothing but the two published ports can be reached", || {
        let listening = guest.sh("ss --listening --tcp --udp --numeric --no-header").ok().stdout;
        let open: Vec<&str> = listening
            .lines()
            .filter_map(|line| line.split_whitespace().nth(4))
            .filter(|local| !local.starts_with("127.") && !local.starts_with("[::1]"))
            // Podman's name server, on the inner networks' own addresses.
            .filter(|local| !local.ends_with(":53"))
            .collect();
        assert!(
            open.iter().all(|local| local.ends_with(":8008") || local.ends_with(":8080")),
            "open: {open:?}\n{listening}"
        );
        let address = lab.status()["guest"]["address"].as_str().unwrap().to_owned();
        for (port, open) in
            [(8008, true), (8080, true), (5432, false), (6379, false), (22, false), (53, false)]
        {
            let target = format!("{address}:{port}").parse().unwrap();
            let connected =
                std::net::TcpStream::connect_timeout(&target, at_this_pace(Duration::from_secs(3))).is_ok();
            assert_eq!(connected, open, "port {port}");
        }
    });
    s.test("the database and the cache have no way out", || {
        let network = guest.exec(["podman", "network", "inspect", "matrix-db"]).ok().json();
        assert_eq!(network[0]["internal"], true, "{network}");
        for name in ["postgres_db", "redis"] {
            let networks = guest.inspect(name)["NetworkSettings"]["Networks"].clone();
            let names: Vec<&String> = networks.as_object().unwrap().keys().collect();
            assert_eq!(names, ["matrix-db"], "{name}");
            // No route but that of the network itself.
            let pid = guest.inspect(name)["State"]["Pid"].to_string();
            let routes = guest.exec(["nsenter", "--target", &pid, "--net", "ip", "route"]).ok().stdout;
            assert!(!routes.contains("default"), "{name} has a default route: {routes}");
            let outside = lab.gateway();
            guest
                .exec([
                    "nsenter",
                    "--target",
                    &pid,
                    "--net",
                    "bash",
                    "-c",
                    &format!("echo > /dev/tcp/{outside}/53"),
                ])
                .exits(1);
        }
    });
    s.test(
        "containers are read-only, without capabilities and new privileges, each with its own uid",
        || {
            for name in SERVICES {
                let container = guest.inspect(name);
                assert_eq!(container["HostConfig"]["ReadonlyRootfs"], true, "{name}");
                assert_eq!(container["HostConfig"]["Privileged"], false, "{name}");
                let caps = &container["EffectiveCaps"];
                assert!(caps.is_null() || caps.as_array().is_some_and(Vec::is_empty), "{name} has {caps}");
                let options = container["HostConfig"]["SecurityOpt"].to_string();
                assert!(options.contains("no-new-privileges"), "{name}: {options}");
                // Not as it was asked for but as it is.
                let pid = container["State"]["Pid"].to_string();
                let status = guest.read(&format!("/proc/{pid}/status"));
                let field = |key: &str| {
                    status
                        .lines()
                        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))
                        .unwrap()
                        .trim()
                        .to_owned()
                };
                assert_eq!(field("CapEff"), "0000000000000000", "{name}");
                assert_eq!(field("CapBnd"), "0000000000000000", "{name}");
                assert_eq!(field("NoNewPrivs"), "1", "{name}");
                assert!(
                    !field("Uid").split_whitespace().any(|uid| uid == "0"),
                    "{name} runs as {}",
                    field("Uid")
                );
                let written = guest.exec(["nsenter", "--target", &pid, "--mount", "touch", "/etc/x"]);
                assert_ne!(written.code, 0, "{name} can write to its root");
            }
        },
    );
    s.test("the guest is unprivileged", || {
        let config = std::fs::read_to_string(guest.folder().join("config")).unwrap();
        assert!(config.contains("lxc.idmap = u 0 "), "{config}");
        let outside = guest.sh("awk '{print $2}' /proc/self/uid_map").ok();
        assert_ne!(outside.text(), "0", "root in the guest is nobody outside");
    });
    s.test("security updates come by themselves, the container runtime's excepted", || {
        let config = guest.exec(["apt-config", "dump"]).ok();
        for line in [
            "APT::Periodic::Unattended-Upgrade \"1\";",
            "APT::Periodic::Update-Package-Lists \"1\";",
            "Unattended-Upgrade::Package-Blacklist:: \"^podman$\";",
            "Unattended-Upgrade::Package-Blacklist:: \"^crun$\";",
            "Unattended-Upgrade::Automatic-Reboot \"false\";",
        ] {
            assert!(config.stdout.contains(line), "{line}\n{}", config.stdout);
        }
        let dry = guest.exec(["unattended-upgrade", "--dry-run", "--debug"]).ok();
        let said = format!("{}{}", dry.stdout, dry.stderr);
        assert!(said.contains("-security"), "it knows of the security updates\n{said}");
        guest.sh("systemctl is-enabled apt-daily-upgrade.timer").ok();
        for package in ["openssh-server", "exim4-base", "postfix"] {
            guest.exec(["dpkg", "--status", package]).exits(1);
        }
    });
    s.test("kernel settings are in force, and IPv6 is off", || {
        for (name, value) in [
            ("net/ipv4/conf/all/accept_redirects", "0"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/accept_source_route", "0"),
            ("net/ipv4/conf/all/rp_filter", "1"),
            ("net/ipv4/tcp_syncookies", "1"),
            ("net/ipv6/conf/all/disable_ipv6", "1"),
        ] {
            assert_eq!(guest.read(&format!("/proc/sys/{name}")).trim(), value, "{name}");
        }
    });
    s.test("time zone, language and limits of the journal are set", || {
        assert_eq!(guest.exec(["date", "+%Z"]).text(), "UTC");
        assert!(guest.exec(["readlink", "/etc/localtime"]).text().ends_with("/Etc/UTC"));
        assert!(guest.read("/etc/locale.conf").contains("C.UTF-8"));
        let journald = guest.exec(["systemd-analyze", "cat-config", "systemd/journald.conf"]).ok();
        assert!(journald.stdout.contains("SystemMaxUse=500M"), "{}", journald.stdout);
    });
    s.test("no unit of the guest has failed", || {
        let failed = guest.exec(["systemctl", "--failed", "--no-legend", "--plain"]).ok();
        assert_eq!(failed.text(), "", "failed units");
    });
}

/// Id and start of every service's container.
fn incarnations(guest: &Guest) -> Vec<(String, String)> {
    SERVICES.iter().map(|name| guest.incarnation(name)).collect()
}

fn changed_services(before: &[(String, String)], after: &[(String, String)]) -> Vec<&'static str> {
    SERVICES.into_iter().zip(before.iter().zip(after)).filter(|(_, (b, a))| b != a).map(|(n, _)| n).collect()
}

fn upload_limit(session: &Session) -> Value {
    session.request("GET", "/v1/media/config", None).unwrap()["m.upload.size"].clone()
}

fn changed(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("a change of Synapse's settings is shown, and restarts only Synapse", || {
        let anna = lab.user("anna", PASSWORD);
        let before = incarnations(&guest);
        lab.set("[synapse]", "max_upload_size", "\"64M\"");
        lab.run(&["plan", "--exit-code", "--diff"])
            .exits(3)
            .says("- max_upload_size: 200M")
            .says("+ max_upload_size: 64M");
        assert_eq!(incarnations(&guest), before, "a plan touches nothing");
        lab.up();
        assert_eq!(changed_services(&before, &incarnations(&guest)), ["synapse"]);
        assert_eq!(upload_limit(&anna), 64 << 20);
        lab.settled();
    });
    s.test("a change of the web client's settings restarts only the web client", || {
        let before = incarnations(&guest);
        lab.set("[web]", "brand", "\"Family chat\"");
        lab.up();
        assert_eq!(changed_services(&before, &incarnations(&guest)), ["element-web"]);
        let (_, config) = http("GET", &format!("{}/config.json", lab.url("client")), None, None).unwrap();
        assert_eq!(config["brand"], "Family chat", "{config}");
        lab.settled();
    });
    s.test(
        "IPv6 that is turned on later reaches the containers that speak to the world, and them alone",
        || {
            let address = |service: &str| {
                let networks = guest.inspect(service)["NetworkSettings"]["Networks"].clone();
                let networks = networks.as_object().cloned().unwrap_or_default();
                networks.values().any(|n| n["GlobalIPv6Address"].as_str().is_some_and(|a| !a.is_empty()))
            };
            lab.set("[guest]", "ipv6", "true");
            lab.up();
            lab.healthy();
            assert_eq!(SERVICES.map(address), [false, false, true, true], "of {SERVICES:?}");
            lab.settled();
            lab.unset("ipv6");
            lab.up();
            lab.healthy();
            assert_eq!(SERVICES.map(address), [false; 4], "of {SERVICES:?}");
            lab.settled();
        },
    );
    s.test("what was changed by hand in the guest is put right", || {
        let before = incarnations(&guest);
        guest.sh("echo '# mine' >> /etc/sysctl.d/99-hardening.conf; systemctl stop redis.service").ok();
        lab.run(&["plan", "--exit-code", "--diff"]).exits(3).says("99-hardening.conf").says("- # mine");
        lab.up();
        lab.healthy();
        assert_eq!(changed_services(&before, &incarnations(&guest)), ["redis"]);
        lab.settled();
    });
    s.test("a config that Synapse's own parser refuses keeps the old server running", || {
        let anna = lab.user("anna", PASSWORD);
        let before = incarnations(&guest);
        // The parser reads the signing key too: with one that is no key it refuses any config.
        let key = "/opt/matrix/secrets/signing.key";
        guest.sh(&format!("cp --archive {key} /root/key; echo nonsense > {key}")).ok();
        lab.set("[synapse]", "max_upload_size", "\"32M\"");
        let up = lab.run(&["up", "--yes"]).exits(1);
        let restore = guest.sh(&format!("cp --archive /root/key {key}; rm /root/key"));
        assert!(up.stderr.contains("homeserver.yaml"), "{}", up.evidence());
        assert!(up.stderr.contains("next:"), "{}", up.evidence());
        assert_eq!(incarnations(&guest), before, "nothing was restarted\n{}", up.evidence());
        assert_eq!(upload_limit(&anna), 64 << 20, "the old server runs on");
        restore.ok();
        lab.up();
        assert_eq!(upload_limit(&anna), 32 << 20);
        lab.settled();
    });
}

fn refused(s: &mut Scenario, lab: &Lab) {
    s.test("another server_name is refused, because user ids are forever", || {
        let config = lab.config();
        lab.set("", "server_name", &format!("\"{}\"", lab.domain));
        let up = lab.run(&["up", "--yes"]).exits(2);
        assert!(up.stderr.contains(&lab.server_name()), "{}", up.evidence());
        lab.write("matrix.toml", &config);
        lab.settled();
    });
    s.test("a wrong config is refused while the server runs on", || {
        let config = lab.config();
        lab.set("[synapse]", "max_upload_size", "\"lots\"");
        lab.set("[guest]", "colour", "\"red\"");
        lab.run(&["up", "--yes"]).exits(2).says("lots").says("guest.colour").says("unknown key");
        lab.write("matrix.toml", &config);
        lab.healthy();
    });
    s.test("a guest of that name that is somebody else's is refused", || {
        let other = Lab::new("other");
        other.write(
            "matrix.toml",
            &format!("domain = \"{}\"\n\n[guest]\nname = \"{}\"\n", other.domain, lab.guest().name),
        );
        other.run(&["up", "--yes"]).exits(1).says(&lab.guest().name);
        other.run(&["destroy", "--yes"]).exits(2).says("left alone");
        lab.healthy();
    });
    s.test("a server's name is not guessed: destroy wants it typed", || {
        lab.run(&["destroy"]).exits(2).says("--yes");
        lab.on_terminal(&["destroy"], &[("Type", "yes")]).exits(1).says("Nothing was removed");
        lab.healthy();
    });
}

fn rebooted(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("after a restart of the guest the server comes back by itself", || {
        guest.shut_down();
        lab.run(&["status"]).exits(1).says("stopped");
        guest.start();
        lab.becomes_healthy(BACK);
        lab.settled();
    });
    s.test("up starts a guest that is stopped", || {
        guest.shut_down();
        lab.up();
        lab.healthy();
        lab.settled();
    });
    s.test("a power cut loses no message that the server acknowledged", || {
        let anna = lab.user("anna", PASSWORD);
        let room = anna.create_room("Before the power cut");
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let sender = {
            let (anna, room) = (anna.clone(), room.clone());
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            thread::spawn(move || {
                for number in 0.. {
                    let text = format!("message {number}");
                    match anna.send(&room, &text) {
                        Ok(_) => acknowledged.lock().unwrap().push(text),
                        Err(_) if stop.load(Ordering::Relaxed) => return,
                        // Synapse slows down whoever sends too fast.
                        Err(_) => thread::sleep(Duration::from_millis(300)),
                    }
                }
            })
        };
        wait_until("messages were sent", Duration::from_secs(60), || {
            match acknowledged.lock().unwrap().len() {
                count if count >= 8 => Ok(()),
                count => Err(format!("{count} so far")),
            }
        });
        stop.store(true, Ordering::Relaxed);
        guest.cut_power();
        sender.join().unwrap();
        guest.start();
        lab.becomes_healthy(BACK);
        let there = anna.messages(&room);
        let acknowledged = acknowledged.lock().unwrap().clone();
        let lost: Vec<_> = acknowledged.iter().filter(|text| !there.contains(text)).collect();
        assert!(lost.is_empty(), "lost of {}: {lost:?}", acknowledged.len());
        println!("  all {} acknowledged messages are there", acknowledged.len());
        lab.settled();
    });
}

fn exported(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("the compose file brings up the same server on the same data, and back", || {
        guest.exec(["apt-get", "update", "--quiet=2"]).ok();
        guest
            .exec(["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", "podman-compose"])
            .ok();
        let anna = lab.user("anna", PASSWORD);
        let room = anna.create_room("Before compose");
        anna.send(&room, "written before").unwrap();
        guest.exec(["systemctl", "stop", "matrix-stack.service"]).ok();
        let left = guest.exec(["podman", "ps", "--all", "--quiet"]).ok();
        assert_eq!(left.text(), "", "the unit stops all containers");
        let up = guest.sh("cd /opt/matrix && podman-compose up -d");
        let session =
            wait_until("anna logs in to the server of the compose file", Duration::from_secs(180), || {
                lab_login_at(lab, "anna").map_err(|why| format!("{why}\n{}", up.evidence()))
            });
        assert!(session.messages(&room).contains(&"written before".to_owned()), "the same data");
        let (status, _) =
            http("GET", &format!("http://{}:8080/config.json", address(lab)), None, None).unwrap();
        assert_eq!(status, 200, "the web client");
        guest.sh("cd /opt/matrix && podman-compose down").ok();
        guest.exec(["systemctl", "start", "matrix-stack.service"]).ok();
        lab.becomes_healthy(BACK);
        lab.user("anna", PASSWORD);
        lab.settled();
    });
}

fn address(lab: &Lab) -> String {
    format!("{}10", lab.gateway().trim_end_matches(|c: char| c.is_ascii_digit()))
}

fn lab_login_at(lab: &Lab, name: &str) -> Result<Session, String> {
    matrix_podman_e2e::Matrix::new(&format!("http://{}:8008", address(lab)), &lab.server_name())
        .try_login(name, PASSWORD)
}

fn removed(s: &mut Scenario, lab: &Lab) {
    s.test("destroy removes guest and network and nothing else", || {
        let guest = lab.guest().name;
        let bridge = lab.bridge();
        // Guests and networks of other tests come and go meanwhile.
        let tests = ["e2e-", "mpe2e"];
        let before = MachineSnapshot::take(&tests);
        lab.on_terminal(&["destroy"], &[("Type", &lab.domain)]).ok().says("is removed");
        before.same_as(&MachineSnapshot::take(&tests));
        let after = MachineSnapshot::take(&[]);
        for name in [&guest, &bridge] {
            assert!(after.about(name).is_empty(), "{:#?}", after.about(name));
        }
        assert!(!lab.guest().folder().exists());
        assert!(lab.path("matrix.toml").exists(), "the config stays");
        lab.run(&["status"]).exits(1).says("absent");
        lab.run(&["destroy", "--yes"]).ok().says("nothing was changed");
    });
}
