//! What the proxies that we print and make hand on: a generated family of ways
//! to write paths, sent through the real proxies to a server that reads them as
//! Synapse does. No guest is needed, so all of it takes seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use matrix_podman_e2e::{
    Invocation, Lab, Scenario,
    standin::{Authority, CASE, Namespace, Npm, NpmOptions, Reads, Twisted, fetch, obliging, twisted},
    wait_until,
};
use serde_json::{Value, json};

/// Where NPM's nginx listens.
const NPM_ADDRESS: &str = "127.87.0.6";
/// How long a proxy may take to answer as its config says.
const ANSWERS: Duration = Duration::from_secs(30);
/// Ways to write a step upwards.
const DOTS: [&str; 12] = [
    "..",
    "%2e%2e",
    ".%2e",
    "%2E.",
    "%252e%252e",
    "%25252e.",
    "..;",
    "..;x=y",
    "%2e%2e%3b",
    "..%00",
    ".",
    "...",
];
/// Ways to write what stands between two parts.
const JOINTS: [&str; 10] = ["/", "//", "/./", "%2f", "%2F", "%252f", "%5c", "\\", "%255C", ";/"];

struct Site {
    lab: Lab,
    authority: Arc<Authority>,
    synapse: Twisted,
    network: Namespace,
    npm: Npm,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("proxies");
    let mut site = s.foundation("a site that leads to a server which reads as Synapse does", begin);
    s.test("the server reads paths as Synapse does", reads);
    s.test("a careless proxy is found out by the family of paths", || careless(&mut site));
    for proxy in ["nginx", "haproxy", "caddy"] {
        s.test(&format!("what edge show {proxy} prints hands on what is public and nothing else"), || {
            printed(&mut site, proxy);
        });
    }
    s.test("NPM's block hands on what is public and nothing else", || through_npm(&site));
    s.end()
}

fn begin() -> Site {
    let lab = Lab::with_config("proxies");
    let authority = Arc::new(Authority::new(&lab.path("authority")));
    let network = Namespace::beside("mppaths", &lab.gateway(), &address_of(&lab));
    let synapse = Twisted::start(&format!("{}:8008", lab.gateway()));
    let options = NpmOptions {
        version: (15, 1),
        code: None,
        dns_token: String::new(),
        address: NPM_ADDRESS.to_owned(),
    };
    let npm = Npm::start(
        &lab.path("npm"),
        Arc::clone(&authority),
        "a@home.arpa",
        "secret",
        options,
        &Arc::default(),
    );
    lab.set("[edge.npm]", "address", &format!("{:?}", npm.url()));
    lab.set("[edge.npm]", "identity", "\"a@home.arpa\"");
    lab.set("[edge.npm]", "forward_host", &format!("{:?}", lab.gateway()));
    authority.issue(
        &lab.path("proxies"),
        "matrix",
        &[&lab.server_name(), &format!("chat.{}", lab.domain)],
        30,
    );
    Site { lab, authority, synapse, network, npm }
}

fn address_of(lab: &Lab) -> String {
    format!("{}.250", lab.gateway().rsplit_once('.').unwrap().0)
}

/// The examples by which the reading is known to be right: the right side is
/// what a real Synapse was seen to do.
fn reads() {
    for (target, wanted) in [
        ("/_synapse/admin/v2/users/@a%2f%2e%2e%2f_matrix%2fx", Reads::Admin),
        ("/%5Fsynapse/%61dmin/v1/server_version", Reads::Admin),
        ("X_synapse/admin/v1/server_version", Reads::Admin),
        ("/_matrix/../_synapse/admin/v1/server_version", Reads::Matrix),
        ("/_synapse%2fadmin/v1", Reads::Nothing),
        ("//_synapse/admin/v1", Reads::Nothing),
        ("/_Synapse/admin/v1", Reads::Nothing),
        ("/_synapse/client/..%2fadmin?/_synapse/admin", Reads::Client),
        ("/_synapse/metrics", Reads::Other),
    ] {
        assert_eq!(twisted(target.as_bytes()), wanted, "{target}");
    }
    for target in ["/_matrix/x%252f..%5c..;a/_SYNAPSE//./admin/v1", "/_synapse/client/..%2fadmin/"] {
        assert_eq!(obliging(target.as_bytes()), Reads::Admin, "{target}");
    }
}

/// What clients and servers really ask for.
fn wanted() -> Vec<String> {
    [
        "/_matrix/client/versions",
        "/_matrix/client/v3/sync?filter=%7B%22room%22%3A%7B%7D%7D&since=s1_..%2f..%2f&timeout=30000",
        "/_matrix/client/v3/rooms/!abc%3Ahome.arpa/state/m.room.name/",
        "/_matrix/client/v3/rooms/!abc:home.arpa/send/m.room.message/m1700000000.1",
        "/_matrix/client/v3/directory/room/%23a%2Fb%3Ahome.arpa",
        "/_matrix/client/v3/rooms/!a%3Ab/event/$aB3-_%2F%2B",
        "/_matrix/client/v3/profile/%40anna%3Ahome.arpa/displayname",
        "/_matrix/client/v3/pushrules/global/override/.m.rule.master",
        "/_matrix/media/v3/download/[2001:db8::1]:8448/abc/a...b.tar.gz",
        "/_matrix/media/v3/download/home.arpa/abc/%C3%BC%20x%5Cy.png",
        "/_matrix/client/v1/media/download/home.arpa/abc/100%25.png",
        "/_matrix/federation/v1/send/1700000000",
        "/_matrix/federation/v1/state/!a:b?event_id=$x%2F..%2Fy",
        "/_matrix/key/v2/query/home.arpa/ed25519:a_b",
        "/_synapse/client/pick_idp?redirectUrl=https%3A%2F%2Fa%2F..%2Fb",
        "/_synapse/client/oidc/callback?code=%2e%2e&state=/../",
        "/_synapse/client/rendezvous/01HX",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Every way to the admin API that we can think of, and many that lead nowhere.
fn family(host: &str) -> Vec<String> {
    let admin = "/_synapse/admin/v1/server_version";
    let mut all = BTreeSet::new();
    // Each letter of the prefix encoded, once and twice, alone and all of them.
    let prefix = "/_synapse/admin";
    for (at, letter) in prefix.char_indices() {
        let code = u32::from(letter);
        for coded in [
            format!("%{code:02x}"),
            format!("%{code:02X}"),
            format!("%25{code:02x}"),
            format!("%u00{code:02x}"),
            letter.to_ascii_uppercase().to_string(),
            format!("\\{letter}"),
            format!("{letter};"),
            format!("{letter}%00"),
            format!("%0a{letter}"),
        ] {
            all.insert(format!("{}{coded}{}/v1/server_version", &prefix[..at], &prefix[at + 1..]));
        }
    }
    for every in [1, 2, 3] {
        let coded: String = (prefix.chars().enumerate())
            .map(
                |(at, c)| {
                    if at > 0 && at % every == 0 { format!("%{:02x}", u32::from(c)) } else { c.to_string() }
                },
            )
            .collect();
        all.insert(format!("{coded}/v1/server_version"));
    }
    // Out of the admin API upwards and into what is public, and the other way round.
    for joint in JOINTS {
        for dots in DOTS {
            for steps in [1, 2, 3, 5, 6] {
                let up = format!("{joint}{dots}").repeat(steps);
                for (from, to) in [
                    ("/_synapse/admin/v2/users/@a", "_matrix/x"),
                    ("/_synapse/admin/v2/users/@a", "_synapse/client/x"),
                    ("/_matrix/x", "_synapse/admin/v1/server_version"),
                    ("/_synapse/client/x", "admin/v1/server_version"),
                    ("/_synapse/client", "_synapse/admin/v1/server_version"),
                    ("", "_synapse/admin/v1/server_version"),
                ] {
                    all.insert(format!("{from}{up}{joint}{}", to.replace('/', joint)));
                    all.insert(format!("{from}{up}/{to}"));
                }
            }
        }
    }
    // What stands before, between and behind.
    for joint in JOINTS {
        all.insert(format!("{joint}_synapse/admin/v1/server_version"));
        all.insert(format!("/_synapse{joint}admin/v1/server_version"));
        all.insert(format!("/_synapse/admin{joint}v1/server_version"));
        all.insert(format!("/_synapse/client{joint}admin{joint}v1"));
    }
    for odd in [
        "/_synapse/admin",
        "/_synapse/admin/",
        "/_synapse/metrics",
        "/_synapse/mas/x",
        "/health",
        "/_synapse",
        "X_synapse/admin/v1/server_version",
        "_synapse/admin/v1/server_version",
        "*",
        "/",
        "/_synapse/admin?/../../_matrix/x",
        "/_synapse/admin/v1/server_version?x=/_matrix/",
        "/_synapse/admin%3f/../../_matrix/x",
        "/_synapse/admin/v1/server_version%3f/%2e%2e/%2e%2e/%2e%2e/_matrix/x",
        "/_synapse/admin/v1/x#/../../../../_matrix/x",
        "/_matrix/#/../_synapse/admin/v1/server_version",
        "/_matrix/?/../_synapse/admin/v1/server_version",
        "/_synapse/admin/v1%23/../../../_matrix/x",
        "/_synapse%c0%afadmin/v1",
        "/_synapse/admin/%c0%ae%c0%ae/_matrix/x",
        "/_synapse%ef%bc%8fadmin/v1",
        "/_synapse/admin/v1/x /_matrix/x",
        "/_matrix/x /_synapse/admin/v1",
        "/_matrix/%",
        "/_matrix/%0",
        "/_matrix/%zz/x",
        "/_synapse/clientadmin",
        "/_synapse/client",
        "/_matrix",
        "/_matrixx/y",
        "/_synapse/administrator",
    ] {
        all.insert(odd.to_owned());
    }
    // The whole address in the request line.
    for base in [
        format!("https://{host}"),
        format!("http://{host}"),
        format!("https://{host}:443"),
        host.to_owned(),
        "https://other.home.arpa".to_owned(),
        format!("//{host}"),
        format!("https://x@{host}"),
        "file://".to_owned(),
    ] {
        all.insert(format!("{base}{admin}"));
        all.insert(format!("{base}/_matrix/..{admin}"));
        all.insert(format!(
            "{base}/_synapse/admin/v2/users/@a%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f_matrix%2fx"
        ));
    }
    all.into_iter().collect()
}

/// Sends each target in one go, as it is; the status of each.
#[track_caller]
fn send(site: &Site, address: &str, targets: &[String], version: &str) -> BTreeMap<String, u16> {
    let host = site.lab.server_name();
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut config = String::new();
    for (number, target) in targets.iter().enumerate() {
        if number > 0 {
            config.push_str("next\n");
        }
        let _ = write!(
            config,
            "url = \"https://{host}/\"\nrequest-target = {}\nheader = \"{CASE}: {number}\"\n{version}\n\
             resolve = \"{host}:443:{address}\"\ncacert = {}\nmax-time = 20\noutput = \"/dev/null\"\n\
             write-out = \"{number} %{{http_code}}\\n\"\n",
            quoted(target),
            quoted(&site.authority.certificate()),
        );
    }
    let file = site.lab.write("curl.conf", &config).display().to_string();
    let ran = Invocation::new(["curl", "--silent", "--config", &file])
        .within(Duration::from_secs(300))
        .quietly()
        .run();
    let statuses: BTreeMap<String, u16> = (ran.stdout.lines())
        .filter_map(|line| line.split_once(' '))
        .map(|(number, status)| (number.to_owned(), status.trim().parse().unwrap_or(0)))
        .collect();
    assert_eq!(statuses.len(), targets.len(), "each was sent: {}", ran.stderr);
    statuses
}

/// What of a family was handed on though it may not be.
#[track_caller]
fn let_through(site: &Site, address: &str, version: &str) -> Vec<String> {
    let targets = family(&site.lab.server_name());
    site.synapse.take();
    let statuses = send(site, address, &targets, version);
    let handed = site.synapse.take();
    let mut bad = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let number = number.to_string();
        let Some(got) = handed.get(&number) else { continue };
        let public = |reads| matches!(reads, Reads::Matrix | Reads::Client);
        if !public(twisted(got)) || !public(obliging(got)) || got != target.as_bytes() {
            let got = String::from_utf8_lossy(got);
            bad.push(format!("{target} was handed on as {got} (status {})", statuses[&number]));
        }
    }
    println!("  ({version}: {} paths, {} handed on, {} wrongly)", targets.len(), handed.len(), bad.len());
    bad
}

/// The whole of it against a proxy that listens at `address`.
#[track_caller]
fn holds(site: &Site, address: &str) {
    for version in ["http1.1", "http2"] {
        let good = wanted();
        // Right after a reload a worker of before may still take a connection, and end it.
        wait_until(&format!("{version}: what is public is handed on as it came"), ANSWERS, || {
            site.synapse.take();
            let statuses = send(site, address, &good, version);
            let handed = site.synapse.take();
            let as_it_came = |(number, target): (usize, &String)| {
                let number = number.to_string();
                let got = handed.get(&number).map(|got| String::from_utf8_lossy(got).into_owned());
                let as_it_came = got.as_deref() == Some(target.as_str()) && statuses[&number] == 200;
                (!as_it_came).then(|| format!("{target}: {got:?}, status {}", statuses[&number]))
            };
            let wrong: Vec<String> = good.iter().enumerate().filter_map(as_it_came).collect();
            if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
        });
        let bad = let_through(site, address, version);
        assert!(bad.is_empty(), "{version}: {} were let through:\n{}", bad.len(), bad.join("\n"));
        let plain = ["/_synapse/admin/v1/server_version", "/_synapse/admin/v2/users/@a%2f%2e%2e%2fx"];
        let statuses = send(site, address, &plain.map(str::to_owned), version);
        assert!(statuses.values().all(|status| *status == 403), "{version}: {statuses:?}");
    }
}

#[track_caller]
fn wait_for(site: &Site, address: &str, log: &str) {
    wait_until("the proxy answers", ANSWERS, || {
        let url = format!("https://{}/_matrix/client/versions", site.lab.server_name());
        match fetch(&site.authority, address, &url, &[]) {
            answer if answer.status == 200 => Ok(()),
            answer => Err(format!("{answer:?}\n{}", std::fs::read_to_string(log).unwrap_or_default())),
        }
    });
}

/// Runs nginx with servers from a file.
#[track_caller]
fn run_nginx(site: &mut Site, servers: &str, log: &std::path::Path) {
    let folder = site.lab.path("proxies");
    let pid = folder.join("nginx.pid").display().to_string();
    let main = format!("events {{}} pid {pid}; http {{ access_log off; include {servers}; }}");
    let main = site.lab.write("proxies/main.conf", &main).display().to_string();
    site.network.run(&["nginx", "-e", "stderr", "-c", &main, "-g", "daemon off; user root;"], &folder, log);
}

/// Without this the tests below could pass because nothing is tried: the same
/// locations without a look at the request as it came.
fn careless(site: &mut Site) {
    let folder = site.lab.path("proxies");
    let file = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "server {{ listen 443 ssl http2; server_name {}; ssl_certificate {}; ssl_certificate_key {};\n\
         location ^~ /_synapse/admin {{ return 403; }}\n\
         location /_matrix/ {{ proxy_pass http://{gateway}:8008; }}\n\
         location /_synapse/client/ {{ proxy_pass http://{gateway}:8008; }}\n location / {{ return 404; }} }}\n",
        site.lab.server_name(),
        file("matrix.pem"),
        file("matrix.pem.key"),
        gateway = site.lab.gateway(),
    );
    let servers = site.lab.write("proxies/careless.conf", &text).display().to_string();
    let log = folder.join("careless.log");
    run_nginx(site, &servers, &log);
    let address = site.network.address.clone();
    wait_for(site, &address, &log.display().to_string());
    for version in ["http1.1", "http2"] {
        let bad = let_through(site, &address, version);
        let known = "/_synapse/admin/v2/users/@a%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f_matrix";
        assert!(bad.iter().any(|line| line.starts_with(known)), "{version}: {}", bad.join("\n"));
    }
}

fn printed(site: &mut Site, proxy: &str) {
    let folder = site.lab.path("proxies");
    let file = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (file("matrix.pem"), file("matrix.pem.key"));
    let text =
        site.lab.run(&["edge", "show", proxy, "--certificate", &certificate, "--key", &key]).ok().stdout;
    let config = site.lab.write(&format!("proxies/{proxy}.conf"), &text).display().to_string();
    let log = folder.join(format!("{proxy}.log"));
    match proxy {
        "nginx" => run_nginx(site, &config, &log),
        "haproxy" => site.network.run(&["haproxy", "-db", "-f", &config], &folder, &log),
        _ => {
            site.network.run(&["caddy", "run", "--adapter", "caddyfile", "--config", &config], &folder, &log)
        }
    }
    let address = site.network.address.clone();
    wait_for(site, &address, &log.display().to_string());
    holds(site, &address);
}

fn through_npm(site: &Site) {
    let host = site.lab.server_name();
    let guide = site.lab.run(&["edge", "guide", "--json"]).ok().json();
    let parts = guide["steps"].as_array().unwrap().iter().flat_map(|step| step["parts"].as_array().unwrap());
    let block =
        parts.filter(|part| part["block"][0] == "nginx").find_map(|part| part["block"][1].as_str()).unwrap();
    site.npm.state().add_certificate(77, &[&host], "2099-01-01 00:00:00");
    let post = |path: &str, token: Option<&str>, body: &Value| {
        matrix_podman_e2e::http("POST", &format!("{}/api{path}", site.npm.url()), token, Some(body))
            .unwrap()
            .1
    };
    let login = post("/tokens", None, &json!({"identity": "a@home.arpa", "secret": "secret"}));
    let fields = json!({"domain_names": [host], "forward_scheme": "http", "forward_host": site.lab.gateway(),
        "forward_port": 8008, "certificate_id": 77, "ssl_forced": true, "http2_support": true,
        "allow_websocket_upgrade": true, "advanced_config": block});
    post("/nginx/proxy-hosts", login["token"].as_str(), &fields);
    wait_for(site, NPM_ADDRESS, &site.lab.path("npm/nginx.log").display().to_string());
    holds(site, NPM_ADDRESS);
}
