//! The gateway: switched on by one line, it stands on the ports of those behind it, holds requests while Synapse
//! is replaced or was killed, is replaced itself, lets nobody pretend to be somebody else, and goes without a trace.

use std::{
    io::Write as _,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use matrix_podman_e2e::{Invocation, Lab, Ran, Scenario, clients_folder, wait_until};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";
/// As `edge.proxies` does not name it, nobody has this address.
const MADE_UP: &str = "203.0.113.99";

/// One request as it is written, and what came back: the status, and the body.
fn ask(url: &str, more: &[&str]) -> (u16, String) {
    let argv = ["curl", "-sS", "--path-as-is", "--max-time", "90", "-w", "\n%{http_code}"];
    let ran = Invocation::new(argv.into_iter().chain(more.iter().copied()).chain([url])).quietly().run();
    let (body, status) = ran.stdout.rsplit_once('\n').unwrap_or(("", &ran.stdout));
    (status.trim().parse().unwrap_or(0), body.to_owned())
}

/// What clients do all day, beside what the test does.
struct Load {
    child: Child,
    began: Instant,
}

impl Load {
    fn begin(lab: &Lab, token: &str, room: &str, name: &str) -> Self {
        Self::with_patience(lab, token, room, name, 100)
    }

    fn with_patience(lab: &Lab, token: &str, room: &str, name: &str, patience: u64) -> Self {
        let url = lab.url("synapse");
        let (host, port) = url.trim_start_matches("http://").split_once(':').expect("a port");
        let port: u16 = port.parse().expect("a number");
        let task = json!({"host": host, "port": port, "token": token, "room": room, "name": name,
            "patience": patience});
        let mut child = Command::new("python3")
            .arg(clients_folder().join("load.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        writeln!(child.stdin.as_mut().expect("its input"), "{task}").expect("it reads");
        // So that there is something under way when the first act begins.
        thread::sleep(Duration::from_secs(3));
        Self { child, began: Instant::now() }
    }

    /// Ends it.
    #[track_caller]
    fn report(mut self, what: &str) -> Value {
        drop(self.child.stdin.take());
        let out = self.child.wait_with_output().expect("it ends");
        let report: Value = serde_json::from_slice(&out.stdout).expect("a report");
        println!("  {what}, {} s: {report}", self.began.elapsed().as_secs());
        report
    }

    /// Ends it, and fails unless no request failed, nothing is there twice and nothing is missing.
    #[track_caller]
    fn lost_nothing(self, what: &str) {
        let report = self.report(what);
        for kind in ["failed", "twice", "missing"] {
            assert_eq!(report[kind], json!([]), "{kind}: {report}");
        }
        for kind in ["news", "message", "receipt", "upload"] {
            assert!(report["requests"][kind].as_u64().unwrap_or(0) > 3, "too few of {kind}: {report}");
        }
    }
}

/// The addresses that Synapse wrote down for `user`.
fn addresses_of(lab: &Lab, user: &str) -> String {
    let ask = format!("SELECT string_agg(ip, ' ') FROM user_ips WHERE user_id = '{user}'");
    let psql = ["podman", "exec", "postgres_db", "psql", "--username=postgres", "--tuples-only", "--command"];
    lab.guest().exec(psql.into_iter().chain([ask.as_str(), "synapse"])).ok().stdout
}

/// Logs in while it says that it is somebody else, in two ways.
fn log_in_from(lab: &Lab, header: &str) -> String {
    let body = json!({"type": "m.login.password", "password": PASSWORD,
        "identifier": {"type": "m.id.user", "user": "anna"}});
    let url = format!("{}/_matrix/client/v3/login", lab.url("synapse"));
    let forged = format!("X-Forwarded-For: {header}");
    let (status, said) =
        ask(&url, &["-H", &forged, "-H", "X-Real-IP: 203.0.113.98", "--data", &body.to_string()]);
    assert_eq!(status, 200, "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let token = said["access_token"].as_str().expect("a token").to_owned();
    let auth = format!("Authorization: Bearer {token}");
    let whoami = format!("{}/_matrix/client/v3/account/whoami", lab.url("synapse"));
    assert_eq!(ask(&whoami, &["-H", &auth, "-H", &forged]).0, 200);
    token
}

fn gateway_answers(lab: &Lab) {
    wait_until("the gateway is back", Duration::from_secs(60), || {
        let healthy = lab.guest().exec(["podman", "healthcheck", "run", "gateway"]);
        if healthy.code == 0 { Ok(()) } else { Err(healthy.evidence()) }
    });
}

/// What HAProxy says of the server of the backend `synapse`.
fn held(lab: &Lab) -> Option<Value> {
    let status = lab.status();
    let services = status["services"].as_array()?;
    let synapse = services.iter().find(|service| service["name"] == "synapse")?;
    Some(synapse["held"].clone()).filter(|held| !held.is_null())
}

fn restart(lab: &Lab, service: &str) -> Ran {
    lab.run(&["restart", service]).ok()
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("gateway");
    let lab = Lab::with_config("gateway");
    lab.use_archives();
    let guest = lab.guest();
    s.foundation("a server without a gateway", || {
        // The machine is let in all the same, and nobody believes it.
        lab.set("[edge]", "proxies", "[\"192.0.2.1/32\"]");
        lab.up().says("is up.");
        lab.add_user("anna", PASSWORD).ok();
        guest.sh("podman ps --format '{{.Names}} {{.Ports}}' | grep synapse").ok().says("8008");
    });
    let bert = lab.user("bert", PASSWORD);
    let room = bert.create_room("load");
    let token = bert.token.clone();
    s.test("without one, a restart of Synapse fails requests", || {
        let load = Load::with_patience(&lab, &token, &room, "without", 15);
        restart(&lab, "synapse");
        let report = load.report("one restart without a gateway");
        assert_ne!(report["failed"], json!([]), "{report}");
    });
    let (synapse, postgres) = (guest.incarnation("synapse"), guest.incarnation("postgres_db"));
    s.foundation("one line brings it, and leaves the database alone", || {
        lab.set("[gateway]", "enabled", "true");
        lab.run(&["plan"])
            .ok()
            .says("Start the gateway")
            .says("Restart Synapse")
            .never_says("Restart PostgreSQL");
        lab.up().says("is up.");
        lab.settled();
        assert_ne!(guest.incarnation("synapse"), synapse, "it gave its port up");
        assert_eq!(guest.incarnation("postgres_db"), postgres);
        let status = lab.status();
        let services = status["services"].as_array().expect("services");
        let gateway = services.iter().find(|service| service["name"] == "gateway").expect("the gateway");
        println!("  the gateway holds {} bytes of memory", gateway["memory"]);
    });
    let url = lab.url("synapse");
    s.test("systemd holds the ports, and nobody publishes them", || {
        let listeners = guest.sh("ss -ltnpH '( sport = :8008 or sport = :8080 )'").ok();
        listeners.says("systemd").says("haproxy");
        for service in ["synapse", "element-web"] {
            let unit = guest.read(&format!("/etc/containers/systemd/{service}.container"));
            assert!(!unit.contains("PublishPort"), "{unit}");
        }
        let inspected = guest.inspect("gateway");
        assert_eq!(inspected["HostConfig"]["ReadonlyRootfs"], true, "{inspected}");
        assert_eq!(inspected["EffectiveCaps"].as_array().map_or(0, Vec::len), 0, "{inspected}");
        let conf = "/usr/local/etc/haproxy/haproxy.cfg";
        let check = ["podman", "exec", "gateway", "env", "GATEWAY_TRIAL=1", "haproxy", "-c", "-f", conf];
        guest.exec(check).ok().never_says("WARNING").never_says("ALERT");
        guest.sh("stat --format '%a' /run/matrix-gateway/control.sock").ok().says("600");
        guest.sh("stat --format '%a' /run/matrix-gateway").ok().says("700");
    });
    s.test("both are where they were, and the first port has both by name", || {
        assert_eq!(ask(&format!("{url}/_matrix/client/versions"), &[]).0, 200);
        assert_eq!(ask(&format!("{url}/health"), &[]).0, 200);
        assert_eq!(ask(&format!("{}/config.json", lab.url("client")), &[]).0, 200);
        let status = lab.status();
        let chat = status["urls"]["public_client"].as_str().expect("an address").to_owned();
        let host = format!("Host: {}", chat.trim_start_matches("https://"));
        let (status, said) = ask(&format!("{url}/config.json"), &["-H", &host]);
        assert!(status == 200 && said.contains("default_server_config"), "{status} {said}");
        lab.run(&["doctor"]).ok();
    });
    s.test("HTTP/2 and large files come through", || {
        let versions = format!("{url}/_matrix/client/versions");
        assert_eq!(ask(&versions, &["--http2-prior-knowledge"]).0, 200);
        let file: Vec<u8> = (0..48u32 << 20).map(|at| (at % 251) as u8).collect();
        let address = bert.upload("large.bin", &file);
        let media = address.trim_start_matches("mxc://");
        let (auth, copy) = (format!("Authorization: Bearer {token}"), lab.path("large.bin"));
        let from = format!("{url}/_matrix/client/v1/media/download/{media}");
        let curl =
            ["curl", "-sSf", "--max-time", "90", "-H", &auth, "-o", &copy.display().to_string(), &from];
        Invocation::new(curl).quietly().run().ok();
        assert!(std::fs::read(copy).expect("a file") == file, "it came back changed");
    });
    s.test("an address that somebody makes up does not reach Synapse", || {
        let user = format!("@anna:{}", lab.server_name());
        log_in_from(&lab, &format!("{MADE_UP}, 203.0.113.97"));
        wait_until("Synapse has written down who came", Duration::from_secs(60), || {
            let known = addresses_of(&lab, &user);
            if known.contains(&lab.gateway()) { Ok(()) } else { Err(known) }
        });
        let known = addresses_of(&lab, &user);
        assert!(!known.contains("203.0.113."), "{known}");
    });
    s.test("what a proxy says that the config names is believed: its last word", || {
        let user = format!("@anna:{}", lab.server_name());
        lab.set("[edge]", "proxies", &format!("[\"{}/32\"]", lab.gateway()));
        let synapse = guest.incarnation("synapse");
        lab.up();
        assert_eq!(guest.incarnation("synapse"), synapse, "it concerns the gateway alone");
        log_in_from(&lab, &format!("203.0.113.96, {MADE_UP}"));
        wait_until("Synapse has written down who came", Duration::from_secs(60), || {
            let known = addresses_of(&lab, &user);
            if known.contains(MADE_UP) { Ok(()) } else { Err(known) }
        });
        let known = addresses_of(&lab, &user);
        assert!(!known.contains("203.0.113.96") && !known.contains("203.0.113.98"), "{known}");
    });
    s.test("the admin API is refused, however it is spelt", || {
        let version = "v1/server_version";
        for path in [
            format!("/_synapse/admin/{version}"),
            format!("/%5Fsynapse/admin/{version}"),
            format!("/%5fsynapse/%61dmin/{version}"),
            format!("//_synapse/admin/{version}"),
            format!("/_matrix/..%2f_synapse/admin/{version}"),
            format!("/_matrix/../_synapse/admin/{version}"),
            format!("/_matrix/%2e%2e/_synapse/admin/{version}"),
            format!("/_synapse/client/..%2fadmin/{version}"),
            format!("/_synapse/admin/{version}/%2e%2e/%2e%2e/_matrix/x"),
            "/_synapse/admin".to_owned(),
            "/_synapse/metrics".to_owned(),
            "/_matrix/client/x%00".to_owned(),
            "/_matrix%2fclient/versions".to_owned(),
        ] {
            let (status, said) = ask(&format!("{url}{path}"), &[]);
            assert!(matches!(status, 400 | 403 | 404), "{path}: {status} {said}");
            assert!(!said.contains("server_version") && !said.contains("M_MISSING_TOKEN"), "{path}: {said}");
        }
    });
    s.test("three restarts of Synapse lose no request", || {
        let load = Load::begin(&lab, &token, &room, "restarts");
        for _ in 0..3 {
            restart(&lab, "synapse");
            thread::sleep(Duration::from_secs(2));
        }
        load.lost_nothing("three restarts");
    });
    s.test("a changed setting loses no request", || {
        let load = Load::begin(&lab, &token, &room, "setting");
        lab.set("[synapse]", "presence", "false");
        lab.up();
        load.lost_nothing("a changed setting");
    });
    s.test("the gateway itself is replaced without a failed request", || {
        let load = Load::begin(&lab, &token, &room, "gateway");
        let before = guest.incarnation("gateway");
        restart(&lab, "gateway");
        thread::sleep(Duration::from_secs(2));
        assert_ne!(guest.incarnation("gateway"), before);
        load.lost_nothing("the gateway replaced");
    });
    s.test("a gateway that is killed comes back", || {
        guest.exec(["podman", "kill", "--signal=KILL", "gateway"]).ok();
        // The port was never closed: who comes meanwhile waits.
        assert_eq!(ask(&format!("{url}/_matrix/client/versions"), &[]).0, 200);
        gateway_answers(&lab);
    });
    s.test("requests wait for a Synapse that was killed", || {
        guest.exec(["podman", "kill", "--signal=KILL", "synapse"]).ok();
        let began = Instant::now();
        let (status, said) = ask(&format!("{url}/_matrix/client/versions"), &[]);
        assert_eq!(status, 200, "{said}");
        println!("  answered after {:.1} s", began.elapsed().as_secs_f32());
        lab.becomes_healthy(Duration::from_secs(120));
    });
    s.test("a Synapse that stays away is told of after a minute, with when to come again", || {
        lab.run(&["stop", "synapse"]).ok();
        let began = Instant::now();
        let (status, said) = ask(&format!("{url}/_matrix/client/versions"), &["-i"]);
        let took = began.elapsed().as_secs();
        assert_eq!(status, 503, "{said}");
        assert!(said.to_lowercase().contains("retry-after: 10"), "{said}");
        assert!((50..75).contains(&took), "{took} s");
        println!("  refused after {took} s");
        lab.run(&["start", "synapse"]).ok();
    });
    s.test("a hold is told of, and ends with whoever ordered it", || {
        let mut restart = Command::new(matrix_podman_e2e::binary())
            .args(["restart", "synapse"])
            .current_dir(lab.path("."))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        wait_until("requests are held", Duration::from_secs(60), || {
            held(&lab).map(drop).ok_or_else(|| "they are not".to_owned())
        });
        guest.sh("pkill -KILL -x -f '[^ ]*matrix-podman agent'").ok();
        wait_until("they are let through", Duration::from_secs(30), || match held(&lab) {
            None => Ok(()),
            Some(held) => Err(held.to_string()),
        });
        assert!(!restart.wait().expect("it ends").success(), "its agent was killed");
        guest.sh("test ! -e /run/matrix-gateway/held-synapse").ok();
        lab.becomes_healthy(Duration::from_secs(120));
        assert_eq!(ask(&format!("{url}/_matrix/client/versions"), &[]).0, 200);
    });
    s.test("other ports are those of the gateway", || {
        lab.set("[ports]", "web", "8081");
        lab.up();
        assert_eq!(ask(&format!("{}/config.json", lab.url("client")), &[]).0, 200);
        lab.unset("web");
        lab.up();
    });
    s.test("a config that HAProxy refuses changes nothing, and doctor names it", || {
        // One that refuses whatever it is to try.
        let fake = "#!/bin/sh\n[ -z \"$GATEWAY_TRIAL\" ] || { echo 'no such config' >&2; exit 1; }\n\
                    exec /usr/sbin/haproxy \"$@\"\n";
        let drop_in = "/etc/containers/systemd/gateway.container.d/fake.conf";
        guest.write("/root/haproxy", fake);
        guest.sh("chmod 755 /root/haproxy; mkdir -p /etc/containers/systemd/gateway.container.d").ok();
        guest.write(drop_in, "[Container]\nVolume=/root/haproxy:/usr/local/sbin/haproxy:ro\n");
        guest.sh("systemctl daemon-reload").ok();
        restart(&lab, "gateway");
        let (running, conf) = (guest.incarnation("gateway"), guest.read("/opt/matrix/gateway/haproxy.cfg"));
        lab.set("[edge]", "proxies", "[\"192.0.2.7/32\"]");
        lab.run(&["up", "--yes"]).exits(1).says("no such config");
        assert_eq!(guest.incarnation("gateway"), running);
        assert_eq!(guest.read("/opt/matrix/gateway/haproxy.cfg"), conf);
        assert_eq!(ask(&format!("{url}/_matrix/client/versions"), &[]).0, 200);
        lab.run(&["doctor"]).says("The gateway refused its new config");
        guest.sh(&format!("rm {drop_in}; systemctl daemon-reload")).ok();
        restart(&lab, "gateway");
        lab.up();
        assert!(guest.read("/opt/matrix/gateway/haproxy.cfg").contains("192.0.2.7"));
        lab.run(&["doctor"]).ok();
    });
    s.test("it comes back with the guest", || {
        guest.shut_down();
        guest.start();
        guest.booted();
        lab.becomes_healthy(Duration::from_secs(180));
        assert_eq!(ask(&format!("{url}/_matrix/client/versions"), &[]).0, 200);
    });
    s.test("switched off, nothing of it is left, and Synapse has its port again", || {
        lab.unset("enabled");
        lab.run(&["plan"]).ok().says("Switch off the gateway");
        lab.up();
        lab.settled();
        guest.sh("systemctl cat gateway.socket").exits(1);
        guest.sh("systemctl cat gateway.service").exits(1);
        for left in ["/opt/matrix/gateway/haproxy.cfg", "/etc/containers/systemd/matrix-gateway.network"] {
            guest.sh(&format!("test ! -e {left}")).ok();
        }
        guest.sh("podman ps --all --format '{{.Names}}'").ok().never_says("gateway");
        guest.sh("podman ps --format '{{.Names}} {{.Ports}}' | grep synapse").ok().says("8008");
        assert_eq!(ask(&format!("{url}/_matrix/client/versions"), &[]).0, 200);
    });
    s.end()
}
