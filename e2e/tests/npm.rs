//! Nginx Proxy Manager as it really is: hosts that a request for a certificate
//! takes off HTTPS, users who do not see everything, an nginx that is broken
//! already, certificates that others use.
//!
//! NPM is a stand-in written from its own backend; the nginx that it drives and
//! the TLS in front are real.

use std::{process::ExitCode, sync::Arc, time::Duration};

use matrix_podman_e2e::{
    Invocation, Lab, Ran, Scenario,
    standin::{Authority, Gate, Kind, Npm, NpmOptions, NpmUser, Webhook, When, fetch},
    wait_until,
};
use serde_json::{Value, json};

const DNS_TOKEN: &str = "planted-dns-token-19ab4c";
const SECRET: &str = "planted-npm-password-55cd01";
/// Where NPM is administered, and where its nginx listens.
const ADDRESS: &str = "127.87.0.9";
const ADMIN: u64 = 1;
const OTHER: u64 = 2;

struct Site {
    lab: Lab,
    npm: Npm,
    gate: Arc<Gate>,
    authority: Arc<Authority>,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("npm");
    let site = s.foundation("a server is made, and somebody has an NPM", begin);
    permissions(&mut s, &site);
    requests(&mut s, &site);
    broken(&mut s, &site);
    adopted(&mut s, &site);
    taken_down(&mut s, &site);
    s.end()
}

fn begin() -> Site {
    let lab = Lab::with_config("npm");
    lab.up();
    let authority = Arc::new(Authority::new(&lab.path("authority")));
    let gate = Arc::new(Gate::default());
    let options = NpmOptions {
        version: (15, 1),
        code: None,
        dns_token: DNS_TOKEN.to_owned(),
        address: ADDRESS.to_owned(),
    };
    let who = ("admin@home.arpa", SECRET);
    let npm = Npm::start_at(ADDRESS, &lab.path("npm"), Arc::clone(&authority), who, options, &gate);
    secret_file(&lab, "npm-password", SECRET);
    secret_file(&lab, "dns-token", DNS_TOKEN);
    let path = |name: &str| format!("{:?}", lab.path(name).display().to_string());
    lab.set("[edge.npm]", "address", &format!("{:?}", npm.url()));
    lab.set("[edge.npm]", "identity", "\"admin@home.arpa\"");
    lab.set("[edge.npm]", "secret_file", &path("npm-password"));
    lab.set("[edge.npm]", "dns_token_file", &path("dns-token"));
    Site { lab, npm, gate, authority }
}

fn secret_file(lab: &Lab, name: &str, content: &str) {
    let path = lab.write(name, &format!("{content}\n"));
    Invocation::new(["chmod", "600", &path.display().to_string()]).quietly().run().ok();
}

impl Site {
    fn run(&self, arguments: &[&str]) -> Ran {
        self.lab.command(arguments).run()
    }

    fn up(&self) -> Ran {
        self.run(&["up", "--yes"])
    }

    fn matrix(&self) -> String {
        self.lab.server_name()
    }

    fn chat(&self) -> String {
        format!("chat.{}", self.lab.domain)
    }

    /// Nothing is to be done in NPM, whatever else there is on this machine.
    #[track_caller]
    fn settled(&self) {
        let plan = self.run(&["plan", "--diff"]).ok();
        assert!(!plan.stdout.contains("[edge/"), "{}", plan.evidence());
        assert!(plan.stdout.contains("edge/npm/client: NPM leads"), "{}", plan.evidence());
    }

    /// An NPM without anything in it, whatever a test left there.
    fn emptied(&self) {
        self.npm.state().empty();
        let record = self.lab.state_folder().join("edge-npm.json");
        if record.exists() {
            std::fs::remove_file(record).unwrap();
        }
    }

    /// What HTTPS says for a name: its status, 0 when it is refused.
    fn https(&self, host: &str) -> u16 {
        fetch(&self.authority, ADDRESS, &format!("https://{host}/_matrix/client/versions"), &[]).status
    }

    /// Waits until a name answers by HTTPS, whatever it says.
    #[track_caller]
    fn serves(&self, host: &str) {
        wait_until(&format!("https://{host} answers"), Duration::from_secs(10), || match self.https(host) {
            0 => Err("HTTPS is refused".to_owned()),
            _ => Ok(()),
        });
    }

    fn writes(&self) -> Vec<String> {
        self.npm.take_asked().iter().filter(|asked| asked.is_write()).map(|asked| asked.line()).collect()
    }

    /// Takes away everything in NPM and what is remembered of it.
    fn afresh(&self) {
        self.run(&["edge", "remove", "--yes"]).ok();
        let mut state = self.npm.state();
        state.certbot = Default::default();
        state.options.version = (15, 1);
    }

    /// A host made by hand by NPM's administrator, with a certificate of its own.
    fn by_hand(&self, name: &str, certificate: u64) -> u64 {
        let mut state = self.npm.state();
        state.add_certificate(certificate, &[name], "2099-01-01 00:00:00");
        state.add(
            Kind::Proxy,
            ADMIN,
            json!({"domain_names": [name], "forward_scheme": "http", "forward_host": "127.0.0.1", "forward_port": 9,
                "certificate_id": certificate, "ssl_forced": true}),
        )
    }

    fn forget(&self, kind: Kind, id: u64) {
        let mut state = self.npm.state();
        state.take_away(kind, id);
    }
}

fn permissions(s: &mut Scenario, site: &Site) {
    s.test("a user who sees only its own is stopped before a host of others loses HTTPS", || {
        let hosts = [site.by_hand(&site.matrix(), 41), site.by_hand(&site.chat(), 42)];
        site.serves(&site.matrix());
        site.npm.state().users.push(NpmUser::plain(OTHER, "matrix@home.arpa", SECRET));
        site.lab.set("[edge.npm]", "identity", "\"matrix@home.arpa\"");
        site.writes();
        site.up().exits(1).says("Item Visibility: All Items").says("off HTTPS");
        assert_eq!(site.writes(), [""; 0]);
        for host in [site.matrix(), site.chat()] {
            assert_ne!(site.https(&host), 0, "{host} has lost HTTPS");
        }
        for host in hosts {
            site.forget(Kind::Proxy, host);
        }
        site.npm.state().certificates.clear();
    });
    s.test("what else the user lacks is said at once, and nothing is tried", || {
        {
            let mut state = site.npm.state();
            let user = state.users.iter_mut().find(|user| user.id == OTHER).unwrap();
            user.permissions.insert("visibility", "all");
            user.permissions.insert("proxy_hosts", "view");
            user.permissions.insert("redirection_hosts", "hidden");
        }
        site.writes();
        site.up().exits(1).says("Proxy Hosts: Manage; Redirection Hosts: View Only");
        assert_eq!(site.writes(), [""; 0]);
        let mut state = site.npm.state();
        let user = state.users.iter_mut().find(|user| user.id == OTHER).unwrap();
        user.permissions.insert("proxy_hosts", "manage");
        user.permissions.insert("redirection_hosts", "view");
    });
    s.test("a user that sees all and manages hosts and certificates is enough", || {
        // And being logged out on the way is no trouble.
        site.npm.state().meanwhile = Some(|state| state.expire_tokens());
        site.up().ok();
        site.serves(&site.matrix());
        site.serves(&site.chat());
        site.settled();
        site.afresh();
        site.lab.set("[edge.npm]", "identity", "\"admin@home.arpa\"");
    });
    s.test("a code that NPM does not take is told, and asked for again a few times", || {
        site.npm.state().options.code = Some("246810".to_owned());
        let again = "NPM did not take that code. Code for admin@home.arpa";
        let typed = [("Code for admin@home.arpa", "111111"), (again, "246810")];
        site.lab.on_terminal(&["plan"], &typed).ok();
        let never = [("Code for admin@home.arpa", "1"), (again, "2"), (again, "3")];
        site.lab.on_terminal(&["plan"], &never).exits(1).says("took none of 3 codes");
        // Without a terminal nobody is asked, and nothing waits.
        site.run(&["plan"]).exits(1).says("there is no terminal to ask on");
        site.npm.state().options.code = None;
    });
    s.test("what is not NPM gets no password, and an NPM that is down is told with the next step", || {
        let other = Webhook::at("127.0.0.1");
        site.lab.set("[edge.npm]", "address", &format!("{:?}", other.url()));
        site.run(&["plan"]).exits(1).says("is not Nginx Proxy Manager");
        let told = other.told();
        assert!(!told.is_empty() && told.iter().all(Value::is_null), "it was told {told:?}");
        site.lab.set("[edge.npm]", "address", &format!("\"http://{ADDRESS}:9\""));
        site.run(&["plan", "--exit-code"]).exits(1).says("cannot be asked").says("curl http://");
        site.lab.set("[edge.npm]", "address", &format!("{:?}", site.npm.url()));
    });
}

fn requests(s: &mut Scenario, site: &Site) {
    s.test("a missing token is found before anything is written", || {
        std::fs::remove_file(site.lab.path("dns-token")).unwrap();
        site.writes();
        site.up().exits(1).says("dns-token");
        assert_eq!(site.writes(), [""; 0]);
        secret_file(&site.lab, "dns-token", DNS_TOKEN);
    });
    s.test("only the bare name is asked for, and the other never leaves HTTPS", || {
        let matrix = site.matrix();
        let host = site.by_hand(&matrix, 51);
        site.npm.state().certbot.takes = Duration::from_secs(3);
        site.writes();
        // An nginx that was told of a change still answers with old processes for a moment.
        wait_until("all of nginx serves the host", Duration::from_secs(20), || {
            match (0..20).all(|_| site.https(&matrix) != 0) {
                true => Ok(()),
                false => Err("one of its processes does not".to_owned()),
            }
        });
        let mut up = site.lab.command(&["up", "--yes"]).quietly().start();
        while up.is_running() {
            assert_ne!(site.https(&matrix), 0, "HTTPS was refused while a certificate was asked for");
            std::thread::sleep(Duration::from_millis(100));
        }
        up.wait().ok();
        let names: Vec<Value> =
            site.npm.state().certificates.iter().map(|c| c["domain_names"].clone()).collect();
        assert!(names.contains(&json!([site.chat()])), "{names:?}");
        site.serves(&site.chat());
        site.settled();
        site.afresh();
        site.forget(Kind::Proxy, host);
        site.npm.state().certificates.clear();
    });
    s.test("hosts whose certificate has ended are on HTTPS again behind a request, won or lost", || {
        site.up().ok();
        for certificate in &mut site.npm.state().certificates {
            certificate["expires_on"] = json!("2026-01-01 00:00:00");
        }
        site.run(&["plan"]).ok().says("half a minute");
        site.npm.state().certbot.refuses =
            Some("Error creating new order :: too many certificates already issued for this exact set of identifiers");
        let lost = site.up().exits(1);
        assert!(lost.stderr.contains("too many certificates") && lost.stderr.contains("asks everybody to wait"), "{}", lost.evidence());
        assert!(!lost.stderr.contains("utils.js") && !lost.stderr.contains("- - -"), "{}", lost.evidence());
        site.serves(&site.matrix());
        site.serves(&site.chat());
        site.npm.state().certbot.refuses = None;
        site.up().ok();
        site.serves(&site.matrix());
        site.settled();
        site.afresh();
    });
    s.test("a host that NPM says is online and that is not is written again", || {
        site.up().ok();
        // A person asks for a certificate of these names in NPM.
        let names = vec![site.matrix()];
        site.npm.state().as_after_a_request(&names);
        wait_until("HTTPS is refused", Duration::from_secs(10), || match site.https(&site.matrix()) {
            0 => Ok(()),
            status => Err(format!("it answers {status}")),
        });
        let plan = site.run(&["plan", "--exit-code"]).exits(3);
        assert!(
            plan.stdout.contains("says that its nginx serves the host, and it does not"),
            "{}",
            plan.evidence()
        );
        site.up().ok();
        site.serves(&site.matrix());
        site.settled();
        site.afresh();
    });
    s.test("another certbot is waited for, and so is a request that was cut off", || {
        site.npm.state().certbot.busy = 1;
        site.up().ok();
        site.settled();
        site.afresh();
        site.npm.state().certbot.takes = Duration::from_secs(6);
        let held = site.gate.stop_at(0, When::After);
        let up = site.lab.command(&["up", "--yes"]).quietly().start();
        wait_until("NPM is at it", Duration::from_secs(60), || {
            match site.npm.state().certificates.iter().any(|c| c["created_on"] == c["expires_on"]) {
                true => Ok(()),
                false => Err("no row yet".to_owned()),
            }
        });
        up.kill();
        drop(held);
        site.gate.open();
        site.up().ok();
        let count = site.npm.state().certificates.len();
        assert_eq!(count, 1, "nothing is asked for twice");
        site.serves(&site.matrix());
        site.settled();
        // Nobody wrote down its id, so it is left where it is.
        site.afresh();
        assert_eq!(site.npm.state().certificates.len(), 1);
        site.npm.state().certificates.clear();
    });
}

fn broken(s: &mut Scenario, site: &Site) {
    s.test("a host that a broken nginx never got does not count as settled", || {
        site.emptied();
        site.up().ok();
        site.lab.set("[synapse]", "max_upload_size", "\"95M\"");
        site.npm.state().break_nginx();
        site.up().exits(1).says("nginx -t");
        site.npm.state().mend_nginx();
        let plan = site.run(&["plan", "--exit-code"]).exits(3);
        assert!(plan.stdout.contains("its nginx never got it"), "{}", plan.evidence());
        site.up().ok();
        site.settled();
    });
    s.test("a write whose answer is lost is done when nginx has it, and not before", || {
        site.up().ok();
        site.lab.set("[synapse]", "max_upload_size", "\"94M\"");
        {
            let mut state = site.npm.state();
            state.slow = Some(Duration::from_secs(4));
            state.gives_up = true;
        }
        site.up().ok();
        site.settled();
        // And when nginx does not take it in the end, that is told.
        site.lab.set("[synapse]", "max_upload_size", "\"93M\"");
        {
            let mut state = site.npm.state();
            state.slow = Some(Duration::from_secs(4));
            state.gives_up = true;
            state.refuse_next = Some(
                "nginx: [emerg] unknown directive \"nonsense\" in /data/x.conf:3\nnginx: configuration file /etc/nginx/nginx.conf test failed\n"
                    .to_owned(),
            );
        }
        site.up().exits(1).says("unknown directive \"nonsense\"").says("put back");
        site.serves(&site.matrix());
        site.up().ok();
        site.settled();
        site.afresh();
    });
}

fn adopted(s: &mut Scenario, site: &Site) {
    s.test("a host that is taken over keeps what others wrote in it, and is given back", || {
        site.emptied();
        let host = site.by_hand(&site.matrix(), 61);
        let row = |site: &Site| site.npm.state().hosts.iter().find(|h| h["id"] == host).unwrap().clone();
        {
            let mut state = site.npm.state();
            state.hosts.iter_mut().find(|h| h["id"] == host).unwrap()["meta"]["theirs"] = json!("kept");
        }
        let before = row(site);
        site.up().ok();
        site.settled();
        let after = row(site);
        assert_eq!(after["meta"]["theirs"], "kept", "{after}");
        assert_eq!(after["certificate_id"], 61, "the certificate that it has is good");
        assert_ne!(after["forward_port"], before["forward_port"]);
        site.afresh();
        let given = row(site);
        for key in [
            "forward_host",
            "forward_port",
            "advanced_config",
            "certificate_id",
            "ssl_forced",
            "domain_names",
            "meta",
        ] {
            assert_eq!(given[key], before[key], "{key}");
        }
        site.forget(Kind::Proxy, host);
        site.npm.state().certificates.clear();
    });
    s.test("a certificate whose names NPM does not know is kept, and can be named", || {
        site.emptied();
        site.npm.state().add_uploaded(
            71,
            "Cloudflare Origin",
            "CloudFlare Origin Certificate",
            &[&site.matrix(), &site.chat()],
            "2099-01-01 00:00:00",
        );
        site.lab.set("[edge.npm]", "certificate_name", "\"Cloudflare Origin\"");
        site.writes();
        site.up().ok();
        assert!(!site.writes().iter().any(|line| line.contains("certificates")), "none is asked for");
        site.serves(&site.matrix());
        site.lab.unset("certificate_name");
        site.settled();
        site.afresh();
        assert_eq!(site.npm.state().certificates.len(), 1, "it is not ours to remove");
        site.npm.state().certificates.clear();
    });
}

fn taken_down(s: &mut Scenario, site: &Site) {
    for version in [(12, 0), (15, 1)] {
        s.test(&format!("on 2.{}, a certificate that others use stays, and NPM's nginx goes on", version.0), || {
            site.emptied();
            site.npm.state().options.version = version;
            for (kind, row) in [
                (Kind::Redirection, json!({"domain_names": ["old.home.arpa"], "forward_domain_name": "new.home.arpa"})),
                (Kind::Dead, json!({"domain_names": ["gone.home.arpa"]})),
                (Kind::Stream, json!({"incoming_port": 4567})),
                (Kind::Proxy, json!({"domain_names": ["cloud.home.arpa"], "forward_scheme": "http", "forward_host": "127.0.0.1", "forward_port": 9})),
            ] {
                site.up().ok();
                let certificate = site.npm.state().certificates[0]["id"].clone();
                let mut row = row;
                row["certificate_id"] = certificate;
                let id = site.npm.state().add(kind, ADMIN, row);
                let down = site.run(&["edge", "remove", "--yes"]).ok();
                assert!(down.stderr.contains("use"), "{}", down.evidence());
                assert_eq!(site.npm.state().certificates.len(), 1, "{kind:?}");
                assert!(site.npm.state().nginx_is_well(), "NPM's nginx cannot be loaded any more: {kind:?}");
                site.forget(kind, id);
                site.npm.state().certificates.clear();
            }
            site.npm.state().options.version = (15, 1);
        });
    }
    s.test("a certificate that a person made after a failed request of ours is theirs", || {
        site.emptied();
        site.npm.state().certbot.refuses = Some("Some challenges have failed.");
        site.up().exits(1);
        site.npm.state().certbot.refuses = None;
        let mut names = [site.matrix(), site.chat()];
        names.sort();
        let [first, second] = &names;
        site.npm.state().add_certificate(81, &[first, second], "2099-01-01 00:00:00");
        site.up().ok();
        site.afresh();
        assert_eq!(site.npm.state().certificates.len(), 1, "it was revoked");
        site.npm.state().certificates.clear();
    });
    s.test("a host to which somebody added a name stays theirs", || {
        site.emptied();
        site.up().ok();
        let id = {
            let mut state = site.npm.state();
            let matrix = site.matrix();
            let host = state.hosts.iter_mut().find(|h| h["domain_names"][0] == matrix.as_str()).unwrap();
            host["domain_names"].as_array_mut().unwrap().push(json!("cloud.home.arpa"));
            host["id"].as_u64().unwrap()
        };
        site.run(&["edge", "remove", "--yes"]).ok();
        let state = site.npm.state();
        let host = state.hosts.iter().find(|h| h["id"] == id).unwrap();
        assert_eq!(host["domain_names"], json!(["cloud.home.arpa"]));
        assert_eq!(host["meta"]["matrix_podman"], Value::Null);
        assert_eq!(state.hosts.len(), 1);
        assert_eq!(state.certificates.len(), 1, "it uses the certificate");
    });
}
