//! The stack's own TURN server: switched on by two lines, reached from the world through a
//! machine that is no router, used by a real client, and switched off again without a trace.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use matrix_podman_e2e::{Invocation, Lab, Ran, Routed, Scenario, wait_until};

const PASSWORD: &str = "correct horse battery staple";

/// What Synapse tells a person of the TURN server.
struct Access {
    uris: Vec<String>,
    user: String,
    password: String,
}

/// The machine, and where the world finds it.
struct Place<'a> {
    on: Routed<'a>,
    address: String,
}

impl Place<'_> {
    /// Where Synapse is, from the machine.
    fn synapse(&self) -> String {
        let status = self.on.run(&["status", "--json"]).ok().json();
        format!("http://{}:8008", status["guest"]["address"].as_str().unwrap())
    }

    fn access(&self) -> Access {
        let synapse = self.synapse();
        let body = serde_json::json!({"type": "m.login.password", "password": PASSWORD,
            "identifier": {"type": "m.id.user", "user": "anna"}});
        let login = format!("{synapse}/_matrix/client/v3/login");
        let login = self.on.command(["curl", "-sS", "--data", &body.to_string(), &login]).quietly().run();
        let token = login.ok().json()["access_token"].as_str().unwrap().to_owned();
        let header = format!("Authorization: Bearer {token}");
        let asked = format!("{synapse}/_matrix/client/v3/voip/turnServer");
        let said = self.on.command(["curl", "-sS", "-H", &header, &asked]).quietly().run().ok().json();
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        Access {
            uris: said["uris"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|uri| uri.as_str().unwrap().to_owned())
                .collect(),
            user: text("username"),
            password: text("password"),
        }
    }

    /// Two people who call each other from the world, each by an address at the server.
    fn call(&self, user: &str, password: &str, more: &[&str]) -> Ran {
        let call = ["turnutils_uclient", "-u", user, "-w", password, "-n", "10", "-c"];
        let argv = call.into_iter().chain(more.iter().copied()).chain([self.address.as_str()]);
        Invocation::new(argv).within(Duration::from_secs(60)).run()
    }

    fn container(&self, name: &str) -> String {
        self.on
            .guest(&format!("podman container inspect --format '{{{{.Id}}}}' {name}"))
            .stdout
            .trim()
            .to_owned()
    }
}

/// A certificate for `name`, and links to it and its key, as certbot keeps them: the chain for
/// everybody, the key for root.
fn certificate(folder: &Path, name: &str, address: &str) {
    fs::create_dir_all(folder).unwrap();
    let (chain, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    let make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj"];
    let make = make.into_iter().map(str::to_owned).chain([format!("/CN={name}")]);
    let make = make.chain(["-addext".to_owned(), format!("subjectAltName=IP:{address}"), "-out".to_owned()]);
    let make = make.chain([chain.display().to_string(), "-keyout".to_owned(), key.display().to_string()]);
    Invocation::new(make).quietly().run().ok();
    fs::set_permissions(&chain, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for (link, to) in [("fullchain.pem", &chain), ("privkey.pem", &key)] {
        let _ = fs::remove_file(folder.join(link));
        symlink(to, folder.join(link)).unwrap();
    }
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("turn");
    let lab = Lab::with_config("turn");
    lab.use_archives();
    let place = s.foundation("a machine that is no router has a server, without TURN", || {
        let on = Routed::new(&lab);
        on.run(&["up", "--yes"]).ok().says("is up.");
        on.program(&["user", "add", "anna", "--password-file", "-"]).input(PASSWORD).run().ok();
        let address = format!("10.88.{}.2", lab.number);
        Place { on, address }
    });
    let place = &place;
    let on = &place.on;
    s.test("without it nobody is told of one", || {
        assert_eq!(place.access().uris, [] as [String; 0]);
        on.run(&["verify", "--only", "client", "--json"]).ok().never_says("client/calls");
    });
    let (synapse, postgres) = (place.container("synapse"), place.container("postgres_db"));
    s.test("wrong lines are refused, with what to write", || {
        lab.set("[turn]", "server", "true");
        on.run(&["plan"]).exits(2).says("devices cannot find a TURN server without its address");
        lab.set("[turn]", "address", &format!("{:?}", place.address));
        lab.set("[turn]", "ports", "\"49252-49152\"");
        on.run(&["plan"]).exits(2).says("write 49152-49252");
        lab.set("[turn]", "ports", "\"49152-49170\"");
        lab.set("[turn]", "secret_file", "\"/root/turn\"");
        on.run(&["plan"]).exits(2).says("its secret is made in the guest");
        lab.unset("secret_file");
    });
    s.test("two lines bring it, and restart Synapse alone", || {
        let plan = on.run(&["plan", "--diff"]).ok();
        plan.says("Start the TURN server").says("49152-49170/udp").never_says("Restart PostgreSQL");
        on.run(&["up", "--yes"]).ok().says("is up.");
        on.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
        assert_ne!(place.container("synapse"), synapse, "it reads its secrets when it starts");
        assert_eq!(place.container("postgres_db"), postgres);
        on.run(&["status"]).ok().says("coturn");
        // It says of an option that it does not know no more than this.
        on.guest("journalctl --unit=coturn.service --no-pager")
            .ok()
            .says("Listener address")
            .never_says("Bad configuration");
        let uris = place.access().uris;
        assert_eq!(uris[0], format!("turn:{}:3478?transport=udp", place.address));
        assert_eq!(uris.len(), 2, "{uris:?}");
    });
    s.test("verify relays a packet, and doctor finds nothing", || {
        on.run(&["verify", "--only", "client"]).ok().says("relays calls");
        on.run(&["doctor"]).ok();
    });
    let access = place.access();
    s.test("a call from the world is relayed, with packets and with connections", || {
        for more in [&["-y"][..], &["-y", "-t"]] {
            let call = place.call(&access.user, &access.password, more);
            call.ok().says("Total lost packets 0 (0.000000%)");
        }
    });
    s.test("who has no credentials gets nothing", || {
        let call = place.call(&access.user, "wrong", &["-y"]);
        assert_ne!(call.code, 0, "{}", call.evidence());
        call.never_says("Total lost packets 0");
    });
    s.test("nobody comes through it into the guest or the home behind it", || {
        let guest =
            on.run(&["status", "--json"]).ok().json()["guest"]["address"].as_str().unwrap().to_owned();
        for peer in [guest.as_str(), "127.0.0.1", "192.168.1.1", "169.254.169.254"] {
            let call = place.call(&access.user, &access.password, &["-e", peer, "-r", "8008", "-X"]);
            assert!(
                call.stderr.contains("403") || call.stdout.contains("403"),
                "{peer}: {}",
                call.evidence()
            );
        }
    });
    s.test("its config holds the secret for it alone", || {
        let file = "/opt/matrix/coturn/turnserver.conf";
        on.guest(&format!("stat --format '%a %u' {file}")).ok().says("400 3478");
        let secret = on.guest("cat /opt/matrix/secrets/turn").ok().stdout;
        assert!(on.guest(&format!("cat {file}")).ok().stdout.contains(secret.trim()));
        let inspected = on.guest("podman inspect coturn; cat /etc/containers/systemd/coturn.container").ok();
        assert!(!inspected.stdout.contains(secret.trim()));
        assert!(!on.run(&["plan", "--json"]).ok().stdout.contains(secret.trim()));
    });
    s.test("another setting of it restarts it alone", || {
        let (synapse, coturn) = (place.container("synapse"), place.container("coturn"));
        lab.set("[turn]", "ports", "\"49152-49180\"");
        on.run(&["up", "--yes"]).ok();
        assert_eq!(place.container("synapse"), synapse);
        assert_ne!(place.container("coturn"), coturn);
        place.call(&access.user, &access.password, &["-y"]).ok().says("Total lost packets 0 (0.000000%)");
    });
    s.test(
        "with a certificate it speaks TLS, and takes over a renewed one from where it is linked to",
        || {
            let (before, folder) = (lab.config(), lab.path("live"));
            certificate(&folder, "first", &place.address);
            lab.set("[turn]", "name", &format!("{:?}", format!("turn.{}", lab.server_name())));
            lab.set("[turn]", "certificate_file", &format!("{:?}", folder.join("fullchain.pem")));
            on.run(&["plan"]).exits(2).says("a certificate is of use together with its key");
            lab.set("[turn]", "key_file", &format!("{:?}", folder.join("privkey.pem")));
            on.run(&["up", "--yes"]).ok();
            on.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
            let uris = place.access().uris;
            assert_eq!(uris[2], format!("turns:turn.{}:5349?transport=tcp", lab.server_name()));
            // coturn's own client loses packets over TLS on a busy machine, whatever the server does.
            let shows = |name: &str| {
                let at = format!("{}:5349", place.address);
                let ask = ["timeout", "10", "openssl", "s_client", "-connect", &at, "-showcerts"];
                wait_until(&format!("it shows the certificate {name}"), Duration::from_secs(30), || {
                    let ran = Invocation::new(ask).input("").quietly().run();
                    match ran.stdout.contains(&format!("CN = {name}")) {
                        true => Ok(()),
                        false => Err(ran.evidence()),
                    }
                });
            };
            shows("first");
            certificate(&folder, "renewed", &place.address);
            on.run(&["plan", "--diff"]).ok().says("turn.crt, turn.key");
            on.run(&["up", "--yes"]).ok();
            on.run(&["plan", "--exit-code"]).ok();
            shows("renewed");
            certificate(&folder, "third", &place.address);
            fs::set_permissions(folder.join("third.key"), fs::Permissions::from_mode(0o644)).unwrap();
            on.run(&["up", "--yes"]).exits(1).says("others than its owner can read it").says("chmod 600");
            lab.write("matrix.toml", &before);
            on.run(&["up", "--yes"]).ok();
        },
    );
    s.test("a config that somebody changed is written again", || {
        on.guest("echo no-auth >>/opt/matrix/coturn/turnserver.conf").ok();
        on.run(&["plan", "--diff"]).ok().says("/opt/matrix/coturn/turnserver.conf");
        on.run(&["up", "--yes"]).ok();
        on.run(&["plan", "--exit-code"]).ok();
        on.guest("grep -c no-auth /opt/matrix/coturn/turnserver.conf").exits(1);
    });
    s.test("an address that is not the machine's is found out", || {
        lab.set("[turn]", "address", "\"203.0.113.7\"");
        on.run(&["up", "--yes"]).ok();
        on.run(&["verify", "--only", "client"]).says("203.0.113.7");
        on.run(&["doctor"]).says("Nobody answers at turn:203.0.113.7:3478");
        lab.set("[turn]", "address", &format!("{:?}", place.address));
        on.run(&["up", "--yes"]).ok();
    });
    s.test("it comes back with the guest", || {
        on.guest("systemctl kill --signal=KILL coturn.service").ok();
        wait_until("coturn is back", Duration::from_secs(60), || {
            let healthy = on.guest("podman healthcheck run coturn");
            if healthy.code == 0 { Ok(()) } else { Err(healthy.evidence()) }
        });
        place.call(&access.user, &access.password, &["-y"]).ok().says("Total lost packets 0 (0.000000%)");
    });
    s.test("switched off, its container, config, ports and rules are gone", || {
        for key in ["server", "address", "ports"] {
            lab.unset(key);
        }
        let plan = on.run(&["plan", "--diff"]).ok();
        plan.says("Switch off the TURN server");
        on.run(&["up", "--yes"]).ok();
        on.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
        assert_eq!(place.access().uris, [] as [String; 0]);
        on.guest("systemctl cat coturn.service").exits(1);
        on.guest("test -e /opt/matrix/coturn/turnserver.conf").exits(1);
        let rules = on.sh("nft list ruleset").ok();
        assert!(!rules.stdout.contains("3478"), "{}", rules.stdout);
        let call = place.call(&access.user, &access.password, &["-y"]);
        assert_ne!(call.code, 0, "{}", call.evidence());
    });
    s.end()
}
