//! Two servers that find each other: two sites in two guests, behind nginx with
//! certificates of a CA of their own, in a network with names of its own. One is
//! found by a well-known file, the other by an SRV record.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::Duration,
};

use matrix_podman_e2e::{
    Invocation, Lab, Matrix, PythonClient, Ran, Running, Scenario, at_this_pace, binary, tool, wait_until,
};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";

fn main() -> ExitCode {
    let mut s = Scenario::begin("federation");
    let world = s
        .foundation("two sites stand behind a proxy, in a network with names and a CA of its own", two_sites);
    let world = &world;
    verified(&mut s, world);
    found(&mut s, world);
    talked(&mut s, world);
    broken(&mut s, world);
    s.end()
}

/// What differs from a proxy as it should be.
#[derive(Default, Clone, Copy)]
struct Proxy {
    admin_open: bool,
    /// It chooses by the path that it made of what came.
    careless: bool,
    small_bodies: bool,
    hurried: bool,
    challenging: bool,
    certificate_of_the_other: bool,
    well_known_as_page: bool,
    no_client_file: bool,
    no_server_file: bool,
    looping: bool,
}

struct World {
    a: Lab,
    b: Lab,
    ca: PathBuf,
    nginx: Mutex<Option<Running>>,
}

fn two_sites() -> World {
    let (a, b) = (Lab::with_config("fed-a"), Lab::with_config("fed-b"));
    let host = |n: u8| format!("10.87.{}.{n}", a.number);
    let name = |lab: &Lab, label: &str| format!("{label}.{}", lab.domain);
    let address = |name: &str, n: u8| format!("--host-record={name},{}", host(n));
    a.raise_network_with(&[
        address(&name(&a, "matrix"), 101),
        address(&name(&a, "chat"), 101),
        address(&b.domain, 102),
        address(&name(&b, "matrix"), 102),
        address(&name(&b, "chat"), 102),
        format!("--srv-host=_matrix-fed._tcp.{},{},8448", b.domain, name(&b, "matrix")),
        // Nobody asks the internet for anything here.
        "--address=/matrix.org/".to_owned(),
    ]);
    for n in [101, 102] {
        let place = format!("{}/24", host(n));
        Invocation::new(["ip", "address", "add", &place, "dev", &a.bridge()]).quietly().run().ok();
    }
    let ca = authority(&a.folder);
    let certificates = fs::read_to_string(&ca).unwrap();
    for (lab, n) in [(&a, 11), (&b, 12)] {
        lab.unset("subnet");
        for (key, value) in [
            ("existing", "true".to_owned()),
            ("bridge", format!("{:?}", a.bridge())),
            ("address", format!("\"{}/24\"", host(n))),
            ("gateway", format!("{:?}", a.gateway())),
            ("dns", format!("[{:?}]", a.gateway())),
        ] {
            lab.set("[guest.network]", key, &value);
        }
        lab.set("[synapse]", "federation_ca", &format!("{certificates:?}"));
        lab.set("[synapse]", "private_networks", &format!("[\"10.87.{}.0/24\"]", a.number));
        lab.set("[synapse]", "max_upload_size", "\"20M\"");
    }
    b.set("", "server_name", &format!("{:?}", b.domain));
    certificate(&a.folder, "a", &[&name(&a, "matrix"), &name(&a, "chat")]);
    certificate(&a.folder, "b", &[&b.domain, &name(&b, "matrix"), &name(&b, "chat")]);
    a.up();
    b.up();
    let world = World { a, b, ca, nginx: Mutex::default() };
    world.proxy(Proxy::default());
    world
}

/// `openssl` without the defaults of the machine's own configuration.
#[track_caller]
fn openssl(folder: &Path, argv: &[&str]) {
    let config = folder.join("openssl.cnf");
    fs::write(&config, "[req]\ndistinguished_name = dn\n[dn]\n").unwrap();
    let config = config.display().to_string();
    let own =
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let own = own.into_iter().chain(["-config", config.as_str(), "-days", "90"]);
    Invocation::new(own.chain(argv.iter().copied())).folder(folder).quietly().run().ok();
}

fn authority(folder: &Path) -> PathBuf {
    openssl(
        folder,
        &[
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=CA of the tests",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        ],
    );
    folder.join("ca.pem")
}

fn certificate(folder: &Path, file: &str, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
    let names = format!("subjectAltName={}", names.join(","));
    let (key, pem) = (format!("{file}.key"), format!("{file}.pem"));
    openssl(
        folder,
        &[
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-keyout",
            &key,
            "-out",
            &pem,
            "-subj",
            "/CN=site",
            "-addext",
            &names,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ],
    );
}

impl World {
    fn host(&self, n: u8) -> String {
        format!("10.87.{}.{n}", self.a.number)
    }

    /// Runs nginx as it should be, but for what is asked; A is what differs.
    #[track_caller]
    fn proxy(&self, how: Proxy) {
        let mut slot = self.nginx.lock().unwrap();
        if let Some(old) = slot.take() {
            old.kill();
        }
        let (a, b) = (&self.a, &self.b);
        let a_well_known = if how.well_known_as_page {
            "location /.well-known/matrix { default_type text/html; return 200 '<html>welcome</html>'; }"
                .to_owned()
        } else {
            pass("/.well-known/matrix", &self.host(11), 8008)
        };
        let a_more = [
            // Synapse itself refuses what such a proxy leads to it, so this one answers.
            if how.admin_open {
                "location /_synapse/admin { default_type application/json; return 200 \
                 '{\"server_version\":\"1\"}'; }"
                    .to_owned()
            } else {
                String::new()
            },
            if how.challenging {
                "add_header cf-mitigated challenge always;".to_owned()
            } else {
                String::new()
            },
            if how.no_client_file { gone("client") } else { String::new() },
            if how.no_server_file { gone("server") } else { String::new() },
            // As a proxy does that takes what comes over TLS for plain HTTP.
            if how.looping { "return 301 https://$host$request_uri;".to_owned() } else { String::new() },
            a_well_known,
        ]
        .join("\n");
        let b_client = format!(
            "location = /.well-known/matrix/client {{ default_type application/json; \
             add_header Access-Control-Allow-Origin * always; \
             return 200 '{{\"m.homeserver\":{{\"base_url\":\"https://matrix.{}\"}}}}'; }}",
            b.domain
        );
        let plain =
            |n: u8| ["/_matrix", "/_synapse/client"].map(|path| pass(path, &self.host(n), 8008)).join("\n");
        // Synapse has no admin API there: the proxy says what an older one would.
        let careless = |n: u8| {
            plain(n).replace("{ proxy_pass", "{ if ($request_uri ~* admin) { return 401; } proxy_pass")
        };
        // What came decides, not what nginx makes of it.
        let guard = "{ if ($request_uri !~ ^/(_matrix|_synapse/client)/) { return 403; } proxy_pass";
        let synapse = |n: u8| plain(n).replace("{ proxy_pass", guard);
        let a_certificate = if how.certificate_of_the_other { "b" } else { "a" };
        let server = |n: u8, port: u16, name: &str, certificate: &str, inside: &str| {
            format!(
                "server {{\nlisten {}:{port} ssl;\nserver_name {name};\nssl_certificate {certificate}.pem;\n\
                 ssl_certificate_key {certificate}.key;\n{inside}\n}}\n",
                self.host(n)
            )
        };
        let servers = [
            server(
                101,
                443,
                &format!("matrix.{}", a.domain),
                a_certificate,
                &format!("{}\n{a_more}", if how.careless { careless(11) } else { synapse(11) }),
            ),
            server(101, 443, &format!("chat.{}", a.domain), "a", &pass("/", &self.host(11), 8080)),
            server(102, 443, &format!("matrix.{}", b.domain), "b", &synapse(12)),
            server(102, 443, &format!("chat.{}", b.domain), "b", &pass("/", &self.host(12), 8080)),
            server(102, 443, &b.domain, "b", &b_client),
            // SRV records lead here, with the name of the server itself.
            server(102, 8448, &b.domain, "b", &synapse(12)),
        ]
        .join("\n");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path nginx-{kind};"))
            .join("\n");
        let config = format!(
            "daemon off;\nmaster_process off;\nuser root;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\n\
             client_max_body_size {};\nproxy_read_timeout {};\nproxy_request_buffering off;\n{servers}}}\n",
            if how.small_bodies { "1m" } else { "50m" },
            if how.hurried { "5s" } else { "90s" },
        );
        let file = a.write("nginx.conf", &config).display().to_string();
        let program = tool("nginx").expect("Debian's nginx").display().to_string();
        let folder = a.folder.display().to_string();
        let mut nginx = Invocation::new([
            "setpriv",
            "--pdeathsig=KILL",
            "--",
            program.as_str(),
            "-p",
            &folder,
            "-c",
            &file,
            "-e",
            "stderr",
        ])
        .within(Duration::from_secs(3600))
        .start();
        let place = format!("{}:8448", self.host(102));
        wait_until("nginx listens", Duration::from_secs(20), || {
            assert!(nginx.is_running(), "nginx has ended: {}", nginx.said());
            std::net::TcpStream::connect(&place).map(drop).map_err(|e| e.to_string())
        });
        *slot = Some(nginx);
    }

    /// The program in a lab's folder, on a machine whose name server is the
    /// network's own.
    fn with_names(&self, lab: &Lab, arguments: &[&str]) -> Ran {
        let resolv = self.a.write("resolv.conf", &format!("nameserver {}\n", self.a.gateway()));
        let (resolv, program) = (resolv.display().to_string(), binary().display().to_string());
        let script = "mount --bind \"$0\" /etc/resolv.conf; exec \"$@\"";
        let argv = ["unshare", "--mount", "sh", "-euc", script, &resolv, &program];
        Invocation::new(argv.into_iter().chain(arguments.iter().copied())).folder(&lab.folder).run()
    }

    /// `verify` with the network's names and CA.
    fn verify(&self, lab: &Lab, more: &[&str]) -> Ran {
        let ca = self.ca.display().to_string();
        let arguments: Vec<&str> =
            ["verify", "--json", "--ca-file", &ca].into_iter().chain(more.iter().copied()).collect();
        self.with_names(lab, &arguments)
    }

    /// What `doctor` names first for A, if anything.
    #[track_caller]
    fn first_cause(&self) -> Option<String> {
        let ca = self.ca.display().to_string();
        let found = self.with_names(&self.a, &["doctor", "--json", "--ca-file", &ca]).json();
        assert_eq!(found["unseen"], json!([]), "{found:#}");
        let first = found["findings"].get(0)?;
        assert!(first["command"].as_str().is_some_and(|mend| !mend.is_empty()), "{first}");
        Some(first["cause"].as_str().unwrap().to_owned())
    }

    fn federation(&self, name: &str, more: &[&str]) -> Ran {
        let ca = self.ca.display().to_string();
        let arguments: Vec<&str> = ["verify", "federation", name, "--json", "--ca-file", &ca]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        self.with_names(&self.a, &arguments)
    }
}

fn gone(file: &str) -> String {
    format!("location = /.well-known/matrix/{file} {{ return 404; }}")
}

fn pass(path: &str, host: &str, port: u16) -> String {
    format!(
        "location {path} {{ proxy_pass http://{host}:{port}; proxy_set_header Host $host; \
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https; }}"
    )
}

/// The checks of a run, by name.
#[track_caller]
fn checks(ran: &Ran) -> Vec<(String, Value)> {
    let groups = ran.json()["groups"].as_array().cloned().unwrap_or_default();
    groups
        .iter()
        .flat_map(|group| group["checks"].as_array().cloned().unwrap_or_default())
        .map(|check| (check["id"].as_str().unwrap().to_owned(), check))
        .collect()
}

/// The names of the checks that did not hold.
#[track_caller]
fn bad(ran: &Ran) -> Vec<String> {
    let bad = checks(ran).into_iter().filter(|(_, c)| c["verdict"] == "fail" || c["verdict"] == "unknown");
    bad.map(|(id, _)| id).collect()
}

/// Fails unless exactly these checks failed; what the first says comes back.
#[track_caller]
fn only(ran: Ran, wanted: &[&str]) -> String {
    assert_eq!(bad(&ran), wanted, "{}", ran.evidence());
    let ran = ran.exits(1);
    let first = checks(&ran).into_iter().find(|(id, _)| id == wanted[0]).unwrap().1;
    assert!(first["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{first}");
    first["why"].as_str().unwrap().to_owned()
}

fn verified(s: &mut Scenario, world: &World) {
    s.test("verify finds everything well, from inside and outside, in less than five seconds", || {
        for lab in [&world.a, &world.b] {
            let ran = world.verify(lab, &[]);
            assert_eq!(bad(&ran), Vec::<String>::new(), "{}", ran.evidence());
            let ran = ran.ok();
            assert!(ran.took < at_this_pace(Duration::from_secs(5)), "{:?}\n{}", ran.took, ran.evidence());
            let all = checks(&ran);
            for (group, least) in
                [("guest", 9), ("data", 7), ("client", 8), ("way-in", 12), ("federation", 4)]
            {
                let count = all.iter().filter(|(id, _)| id.starts_with(&format!("{group}/"))).count();
                assert!(count >= least, "{group} has {count} checks");
            }
            let left_out: Vec<&str> =
                all.iter().filter(|(_, c)| c["verdict"] == "left-out").map(|(id, _)| id.as_str()).collect();
            assert_eq!(left_out, ["way-in/long-poll"], "{}", ran.evidence());
        }
    });
    s.test("what takes long is well too: a sync waits for a minute, the largest file comes through", || {
        let ran = world.verify(&world.a, &["--slow", "--only", "client,way-in"]);
        assert_eq!(bad(&ran), Vec::<String>::new(), "{}", ran.evidence());
        assert!(ran.took > Duration::from_secs(58), "{}", ran.evidence());
        ran.ok().says("came all the way").says("may wait for 60 s");
    });
    s.test("verify leaves nothing behind", || {
        let media = "find /opt/matrix/synapse/media_store -type f";
        let left = world.a.guest().exec(["sh", "-c", media]).ok();
        assert_eq!(left.text(), "", "{}", left.evidence());
        world.a.settled();
    });
    s.test("the same is asked inside the guest", || {
        world.a.guest().exec(["matrix-podman", "verify", "--only", "guest,data,client"]).ok();
    });
    s.test("without the CA nobody outside is trusted, and that is said", || {
        let ran = world.with_names(&world.a, &["verify", "--json", "--only", "way-in"]).exits(1);
        assert!(bad(&ran).contains(&"way-in/tls".to_owned()), "{}", ran.evidence());
        ran.says("CA of the tests, whom this machine does not trust");
        world.with_names(&world.a, &["verify", "--ca-file", "matrix.toml"]).exits(2).says("PEM");
    });
    s.test("without names in the DNS, the inside is well and the outside says what is missing", || {
        let ran = world.a.run(&["verify"]).exits(1);
        ran.says("not in the DNS").says("0").says("--only guest,data,client");
        world.a.run(&["verify", "--only", "guest,data,client"]).ok();
    });
}

fn found(s: &mut Scenario, world: &World) {
    let (a, b) = (world.a.server_name(), world.b.domain.clone());
    s.test("a server is found by its well-known file", || {
        let report = world.federation(&a, &[]).ok().json();
        assert_eq!(report["discovery"]["delegated_to"], format!("{a}:443"), "{report}");
        let [place] = report["addresses"].as_array().unwrap().as_slice() else { panic!("{report}") };
        assert_eq!(place["address"], format!("{}:443", world.host(101)), "{report}");
        assert_eq!(place["keys"]["keys"][0]["signed"], true, "{report}");
        assert_eq!(place["version"]["name"], "Synapse", "{report}");
    });
    s.test("a server is found by its SRV record", || {
        let report = world.federation(&b, &[]).ok().json();
        assert!(report["discovery"]["steps"].to_string().contains("SRV _matrix-fed._tcp"), "{report}");
        let [place] = report["addresses"].as_array().unwrap().as_slice() else { panic!("{report}") };
        assert_eq!(place["address"], format!("{}:8448", world.host(102)), "{report}");
        // Host and certificate are the server's, not those of the record's target.
        assert_eq!((&place["host_header"], &place["certificate_for"]), (&json!(b), &json!(b)), "{report}");
    });
    s.test("names can be given by hand", || {
        let ca = world.ca.display().to_string();
        let resolve = format!("{a}:443:{}", world.host(101));
        world
            .a
            .run(&["verify", "federation", &a, "--ca-file", &ca, "--resolve", &resolve])
            .ok()
            .says("other servers reach");
    });
    s.test("servers are found from inside a guest, and from a folder without a site", || {
        let ca = fs::read_to_string(&world.ca).unwrap();
        let guest = world.a.guest();
        guest.write("/root/ca.pem", ca);
        guest.exec(["matrix-podman", "verify", "federation", &b, "--ca-file", "/root/ca.pem"]).ok();
        let resolve = format!("{a}:443:{}", world.host(101));
        let argv = [binary().display().to_string()];
        let rest =
            ["verify", "federation", &a, "--ca-file", &world.ca.display().to_string(), "--resolve", &resolve]
                .map(str::to_owned);
        Invocation::new(argv.into_iter().chain(rest)).folder("/").run().ok();
    });
    s.test("a name that is not there, and words that are no name", || {
        world.federation("nobody.e2e.home.arpa", &[]).exits(1).says("has no address in the DNS");
        world.federation("https://matrix.org", &[]).exits(2).says("try matrix.org");
    });
}

fn talked(s: &mut Scenario, world: &World) {
    let (a, b) = (&world.a, &world.b);
    let servers = [
        (Matrix::new(&a.url("synapse"), &a.server_name()), "anna"),
        (Matrix::new(&b.url("synapse"), &b.domain), "bela"),
    ];
    s.test("people of both servers talk in one room, both ways", || {
        a.add_user("anna", PASSWORD);
        b.add_user("bela", PASSWORD);
        let [(here, anna), (there, bela)] = &servers;
        let (anna, bela) = (here.login(anna, PASSWORD), there.login(bela, PASSWORD));
        let room = anna.create_room("Both of us");
        let alias = json!({"user_id": bela.user_id});
        anna.request("POST", &format!("/v3/rooms/{room}/invite"), Some(&alias)).unwrap();
        wait_until("the other server has the invitation", Duration::from_secs(60), || {
            bela.request("POST", &format!("/v3/join/{room}"), None).map(drop)
        });
        anna.send(&room, "hello over there").unwrap();
        bela.send(&room, "hello back").unwrap();
        for (session, text) in [(&bela, "hello over there"), (&anna, "hello back")] {
            wait_until(&format!("{text:?} arrives"), Duration::from_secs(60), || {
                let read = session.messages(&room);
                if read.iter().any(|message| message == text) { Ok(()) } else { Err(format!("{read:?}")) }
            });
        }
    });
    s.test("they talk encrypted through another client, matrix-nio", || {
        let person = |(server, name): &(Matrix, &str)| {
            json!({"homeserver": server.url, "user": server.user_id(name), "password": PASSWORD})
        };
        let task = json!({
            "alice": person(&servers[1]), "bob": person(&servers[0]), "message": "secret over there", "encrypted": true,
        });
        let said = PythonClient::get().run("nio_client.py", &["talk"], &task.to_string()).ok().json();
        assert_eq!((&said["read"], &said["decrypted"]), (&json!("secret over there"), &json!(true)), "{said}");
    });
}

fn broken(s: &mut Scenario, world: &World) {
    let outside = ["--only", "way-in"];
    let with = |how: Proxy| {
        world.proxy(how);
        world.verify(&world.a, &outside)
    };
    let doctor = |cause: &str| assert_eq!(world.first_cause().as_deref(), Some(cause));
    s.test("the doctor finds nothing outside either while all is well", || {
        assert_eq!(world.first_cause(), None);
    });
    s.test("an admin API that answers outside is noticed", || {
        let why = only(with(Proxy { admin_open: true, ..Proxy::default() }), &["way-in/admin"]);
        assert!(why.contains("/_synapse/admin"), "{why}");
        doctor("way-in/admin");
    });
    s.test("a proxy that lets the admin API through in another spelling is noticed, without a token", || {
        let why = only(with(Proxy { careless: true, ..Proxy::default() }), &["way-in/admin"]);
        assert!(why.contains("%2e%2e") && why.contains("status 401"), "{why}");
        doctor("way-in/admin");
    });
    s.test("a proxy that refuses large files is noticed without sending one", || {
        only(with(Proxy { small_bodies: true, ..Proxy::default() }), &["way-in/upload"]);
        doctor("way-in/upload");
    });
    s.test("a proxy that sends people round in a circle is noticed", || {
        let ran = with(Proxy { looping: true, ..Proxy::default() });
        assert!(bad(&ran).contains(&"way-in/redirects".to_owned()), "{}", ran.evidence());
        doctor("way-in/redirects");
    });
    s.test("a well-known file that is not there is noticed: apps, and other servers, need it", || {
        only(with(Proxy { no_client_file: true, ..Proxy::default() }), &["way-in/client-well-known"]);
        doctor("way-in/client-well-known");
        world.proxy(Proxy { no_server_file: true, ..Proxy::default() });
        let ran = world.verify(&world.a, &["--only", "federation"]);
        let why = only(ran, &["federation/fallback", "federation/certificate", "federation/addresses"]);
        assert!(why.contains("port 8448"), "{why}");
        doctor("federation/fallback");
    });
    s.test("a page that asks for proof of being human is noticed", || {
        let ran = with(Proxy { challenging: true, ..Proxy::default() });
        // nginx adds headers only where the location has none of its own.
        assert!(bad(&ran).contains(&"way-in/challenge".to_owned()), "{}", ran.evidence());
        doctor("way-in/challenge");
    });
    s.test("well-known files served as a web page are noticed", || {
        let ran = with(Proxy { well_known_as_page: true, ..Proxy::default() });
        let why = only(ran, &["way-in/client-well-known", "way-in/server-well-known"]);
        assert!(why.contains("a web page"), "{why}");
        doctor("way-in/client-well-known");
    });
    s.test("a certificate for other names is noticed, and told in a sentence", || {
        let ran = with(Proxy { certificate_of_the_other: true, ..Proxy::default() });
        assert!(bad(&ran).contains(&"way-in/tls".to_owned()), "{}", ran.evidence());
        ran.says(&format!("not for {}", world.a.server_name()));
        doctor("way-in/tls");
        world.federation(&world.a.server_name(), &[]).exits(1).says("does not count");
    });
    s.test("a proxy that does not let a sync wait is noticed", || {
        world.proxy(Proxy { hurried: true, ..Proxy::default() });
        let why = only(world.verify(&world.a, &["--slow", "--only", "way-in"]), &["way-in/long-poll"]);
        assert!(why.contains("504"), "{why}");
        world.proxy(Proxy::default());
    });
    s.test("a service that is down is noticed by all that depends on it", || {
        let guest = world.a.guest();
        guest.exec(["systemctl", "stop", "redis.service"]).ok();
        let ran = world.verify(&world.a, &["--only", "guest,data"]).exits(1);
        let bad = bad(&ran);
        for id in ["guest/units", "guest/containers", "data/connections"] {
            assert!(bad.contains(&id.to_owned()), "{id} in {bad:?}\n{}", ran.evidence());
        }
        guest.shut_down();
        let ran = world.verify(&world.a, &["--only", "guest,data,client"]).exits(1);
        assert!(ran.stdout.contains("does not run"), "{}", ran.evidence());
        assert!(!ran.stdout.contains("\"verdict\":\"pass\",\"evidence\":\"all run"), "{}", ran.evidence());
    });
    if let Some(nginx) = world.nginx.lock().unwrap().take() {
        nginx.kill();
    }
}
