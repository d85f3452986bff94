//! The way in: Cloudflare and Nginx Proxy Manager, asked, compared, changed and
//! taken down again; and the configs for other proxies, in real ones.
//!
//! Cloudflare and NPM are stand-ins; the nginx that NPM drives, the TLS in
//! front of it and the Synapse behind it are real.

use std::{process::ExitCode, sync::Arc, time::Duration};

use matrix_podman_e2e::{
    DOMAIN, Invocation, Lab, Ran, Scenario, binary,
    standin::{Authority, Cloudflare, Fetched, Gate, Namespace, Npm, NpmOptions, When, ZONE, fetch},
    wait_until,
};
use serde_json::{Value, json};

/// Planted credentials, which may be nowhere but in their files and requests.
const TOKEN: &str = "planted-cloudflare-token-5d21aa";
const DNS_TOKEN: &str = "planted-dns-token-77ce01";
const SECRET: &str = "planted-npm-password-e093bc";
const PASSWORD: &str = "correct horse battery staple";
/// Where NPM's nginx listens.
const NPM_ADDRESS: &str = "127.87.0.5";

struct Site {
    lab: Lab,
    cloudflare: Cloudflare,
    npm: Npm,
    gate: Arc<Gate>,
    authority: Arc<Authority>,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("edge");
    let site =
        s.foundation("a server is made, and somebody has a zone and an NPM with things of their own", begin);
    made(&mut s, &site);
    used(&mut s, &site);
    drifted(&mut s, &site);
    refused(&mut s, &site);
    shown(&mut s, &site);
    cut_off(&mut s, &site);
    removed(&mut s, &site);
    whole_domain(&mut s, &site);
    s.end()
}

fn begin() -> Site {
    let lab = Lab::with_config("edge");
    lab.up();
    let authority = Arc::new(Authority::new(&lab.path("authority")));
    let gate = Arc::new(Gate::default());
    let cloudflare = Cloudflare::start(DOMAIN, TOKEN, &gate);
    let options = NpmOptions {
        version: (15, 1),
        code: None,
        dns_token: DNS_TOKEN.to_owned(),
        address: NPM_ADDRESS.to_owned(),
    };
    let npm = Npm::start(&lab.path("npm"), Arc::clone(&authority), "admin@home.arpa", SECRET, options, &gate);
    {
        let mut account = cloudflare.account();
        account.add_tunnel("office", "cloudflare", json!({"ingress": [{"service": "http_status:404"}]}));
        account.add_tunnel("home", "cloudflare", foreign_config());
        // More than fit on a page, among them some with the same beginning.
        for number in 0..120 {
            account.add_record("A", &format!("h{number}.{DOMAIN}"), "192.0.2.1");
        }
        account.add_record("TXT", &format!("matrix.{}", lab.domain), "v=spf1 -all");
        account.cache = Some(
            json!({"id": "11111111111111111111111111111111", "kind": "zone", "phase": "http_request_cache_settings",
            "rules": [{"id": "r1", "ref": "theirs", "expression": "true", "action": "set_cache_settings",
                "action_parameters": {"cache": true, "edge_ttl": {"mode": "respect_origin"}}, "enabled": true}]}),
        );
    }
    {
        let mut state = npm.state();
        state.add_certificate(1, &["cloud.home.arpa"], "2099-01-01 00:00:00");
        state.hosts.push(json!({"id": 500, "domain_names": ["cloud.home.arpa"], "forward_scheme": "http",
            "forward_host": "192.0.2.9", "forward_port": 80, "certificate_id": 1, "meta": {"nginx_online": true, "nginx_err": null},
            "enabled": true, "locations": null, "advanced_config": "", "access_list_id": 0}));
    }
    for (name, content) in [("cf-token", TOKEN), ("npm-password", SECRET), ("dns-token", DNS_TOKEN)] {
        secret_file(&lab, name, content);
    }
    let path = |name: &str| format!("{:?}", lab.path(name).display().to_string());
    lab.set("[edge.cloudflare]", "tunnel", "\"home\"");
    lab.set("[edge.cloudflare]", "zone", &format!("{DOMAIN:?}"));
    lab.set("[edge.cloudflare]", "token_file", &path("cf-token"));
    lab.set("[edge.cloudflare]", "service", &format!("\"https://{NPM_ADDRESS}\""));
    lab.set("[edge.cloudflare]", "zone_settings", "[\"always_use_https\", \"min_tls_version\"]");
    lab.set("[edge.npm]", "address", &format!("{:?}", npm.url()));
    lab.set("[edge.npm]", "identity", "\"admin@home.arpa\"");
    lab.set("[edge.npm]", "secret_file", &path("npm-password"));
    lab.set("[edge.npm]", "dns_token_file", &path("dns-token"));
    Site { lab, cloudflare, npm, gate, authority }
}

fn foreign_config() -> Value {
    json!({
        "warp-routing": {"enabled": true},
        "originRequest": {"connectTimeout": 10},
        "ingress": [
            {"hostname": "cloud.home.arpa", "service": "http://192.0.2.9:80", "originRequest": {"noHappyEyeballs": true}, "id": "x"},
            {"hostname": format!("*.{DOMAIN}"), "service": "http://192.0.2.10"},
            {"service": "http_status:503"},
        ],
    })
}

fn secret_file(lab: &Lab, name: &str, content: &str) {
    let path = lab.write(name, &format!("{content}\n"));
    Invocation::new(["chmod", "600", &path.display().to_string()]).quietly().run().ok();
}

impl Site {
    fn run(&self, arguments: &[&str]) -> Ran {
        self.lab.command(arguments).env("MATRIX_PODMAN_CLOUDFLARE_API", &self.cloudflare.url()).run()
    }

    fn up(&self) -> Ran {
        self.run(&["up", "--yes"])
    }

    fn settled(&self) {
        self.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
    }

    fn matrix(&self) -> String {
        self.lab.server_name()
    }

    fn chat(&self) -> String {
        format!("chat.{}", self.lab.domain)
    }

    /// Every write since the last time, as lines.
    fn writes(&self) -> Vec<String> {
        let all = [self.cloudflare.take_asked(), self.npm.take_asked()].concat();
        all.iter().filter(|asked| asked.is_write()).map(|asked| asked.line()).collect()
    }

    /// What a person on the internet gets, who comes from `client`: the first
    /// route that fits, then what cloudflared does.
    fn visit(&self, host: &str, path: &str, client: &str, more: &[&str]) -> Fetched {
        let account = self.cloudflare.account();
        let led = account.records.iter().find(|r| r["name"] == host && r["type"] == "CNAME");
        let target =
            led.unwrap_or_else(|| panic!("{host} is in no DNS"))["content"].as_str().unwrap().to_owned();
        let id = target.strip_suffix(".cfargotunnel.com").unwrap_or_else(|| panic!("{target}"));
        let rules = account.configs[id]["config"]["ingress"].as_array().unwrap().clone();
        drop(account);
        let fits = |rule: &&Value| {
            let name = rule["hostname"].as_str().unwrap_or("*");
            let host_fits =
                name == "*" || name == host || name.strip_prefix('*').is_some_and(|end| host.ends_with(end));
            let path_fits =
                rule["path"].as_str().is_none_or(|p| path.starts_with(&p.replace(['^', '\\'], "")));
            host_fits && path_fits
        };
        let rule = rules.iter().find(fits).unwrap().clone();
        let service = rule["service"].as_str().unwrap();
        let origin = &rule["originRequest"];
        let (scheme, address) = service.split_once("://").unwrap_or(("", service));
        let name = origin["originServerName"].as_str().unwrap_or(host);
        let header = |name: &str, value: &str| ["--header".to_owned(), format!("{name}: {value}")];
        let mut words: Vec<String> = Vec::new();
        words.extend(header("Host", origin["httpHostHeader"].as_str().unwrap_or(host)));
        words.extend(header("CF-Connecting-IP", client));
        words.extend(header("X-Forwarded-Proto", "https"));
        words.extend(more.iter().map(|word| (*word).to_owned()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        fetch(&self.authority, address, &format!("{scheme}://{name}{path}"), &words)
    }

    /// Waits until a person on the internet gets a page. NPM's API answers
    /// before its nginx serves what was changed.
    #[track_caller]
    fn answers(&self, host: &str, path: &str) {
        wait_until(&format!("https://{host}{path} answers"), Duration::from_secs(10), || {
            match self.visit(host, path, "203.0.113.1", &[]) {
                page if page.status == 200 => Ok(()),
                page => Err(format!("{page:?}")),
            }
        });
    }
}

/// Everything that is not ours, as text.
fn foreign(site: &Site) -> String {
    let account = site.cloudflare.account();
    let ours = [site.matrix(), site.chat(), site.lab.domain.clone()];
    let mine = |value: &Value| ours.iter().any(|name| value == name.as_str());
    let records: Vec<&Value> =
        account.records.iter().filter(|r| r["type"] == "TXT" || !mine(&r["name"])).collect();
    let mut configs: Vec<Value> = Vec::new();
    for config in account.configs.values() {
        let mut config = config["config"].clone();
        if let Some(rules) = config["ingress"].as_array_mut() {
            rules.retain(|rule| !mine(&rule["hostname"]));
        }
        configs.push(config);
    }
    let rules: Vec<&Value> = account
        .cache
        .iter()
        .flat_map(|set| set["rules"].as_array().unwrap())
        .filter(|rule| rule["ref"] == "theirs")
        .collect();
    let state = site.npm.state();
    let hosts: Vec<&Value> =
        state.hosts.iter().filter(|h| h["domain_names"][0] == "cloud.home.arpa").collect();
    serde_json::to_string_pretty(&json!([records, configs, rules, account.tunnels, account.bots, hosts]))
        .unwrap()
}

fn made(s: &mut Scenario, site: &Site) {
    let (lab, before) = (&site.lab, foreign(site));
    s.test("one plan shows what is to be done at the edge, and asking changes nothing", || {
        site.writes();
        let plan = site.run(&["plan", "--diff"]).ok();
        for words in [
            "Request a certificate for",
            "Have NPM lead",
            "through the tunnel",
            "to the tunnel  [edge/cloudflare/dns/",
            "Set min_tls_version of the zone",
            "Bot Fight Mode is on",
            "stops at 100 MB",
            "SSL mode is flexible",
        ] {
            assert!(plan.stdout.contains(words), "the plan has {words:?}\n{}", plan.evidence());
        }
        let status = site.run(&["plan", "--exit-code", "--json"]).exits(3).json();
        assert!(
            status["plan"]["entries"].as_array().unwrap().iter().any(|e| e["id"] == "edge/npm/matrix"),
            "{status}"
        );
        assert_eq!(site.writes(), [""; 0]);
    });
    s.test("up opens the door: DNS, tunnel, certificate, proxy hosts", || {
        site.up().ok().says("Request a certificate");
        site.answers(&site.chat(), "/config.json");
        site.settled();
    });
    s.test("a second up writes nothing", || {
        site.writes();
        site.up().ok().says("Nothing to do");
        assert_eq!(site.writes(), [""; 0]);
    });
    s.test("everything that belongs to others is what it was, byte for byte", || {
        assert_eq!(foreign(site), before);
        let account = site.cloudflare.account();
        assert_eq!(account.settings["ssl"]["value"], "flexible", "nobody allowed that to be changed");
        assert_eq!(account.settings["min_tls_version"]["value"], "1.2");
        let rules = account.cache.as_ref().unwrap()["rules"].as_array().unwrap();
        assert_eq!(
            rules[1]["expression"],
            format!("(http.host eq \"{}\")", site.matrix()),
            "behind the others"
        );
    });
    s.test("no credential is said, kept or journalled, and none is in the guest", || {
        let guest = lab.guest();
        let inside = guest.read("/opt/matrix/matrix.toml");
        assert!(!inside.contains("[edge.") && inside.contains("[well_known]"), "{inside}");
        let mut texts: Vec<String> = lab
            .machine_records()
            .into_iter()
            .filter(|(path, _)| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                !["cf-token", "npm-password", "dns-token"].contains(&name.as_str())
            })
            .map(|(_, text)| text)
            .collect();
        texts.push(site.run(&["plan", "--json"]).ok().stdout);
        let root = guest.folder().join("rootfs");
        for secret in [TOKEN, DNS_TOKEN, SECRET] {
            assert!(texts.iter().all(|text| !text.contains(secret)), "a planted credential was kept or said");
            let places = ["opt/matrix", "etc", "root", "var/lib/matrix-podman", "var/log"]
                .map(|p| root.join(p).display().to_string());
            let argv =
                ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "--file=-"];
            let found = Invocation::new(argv.iter().map(|w| (*w).to_owned()).chain(places))
                .input(secret)
                .quietly()
                .run();
            assert!(found.stdout.is_empty(), "a planted credential is in the guest: {}", found.stdout);
        }
    });
}

fn used(s: &mut Scenario, site: &Site) {
    s.test("people reach Synapse and the web client through TLS", || {
        let versions = site.visit(&site.matrix(), "/_matrix/client/versions", "203.0.113.1", &[]);
        assert_eq!(versions.status, 200, "{versions:?}");
        assert!(versions.json()["versions"].is_array());
        let keys = site.visit(&site.matrix(), "/_matrix/key/v2/server", "203.0.113.1", &[]);
        assert_eq!(keys.json()["server_name"], site.matrix());
        let home = site.visit(&site.matrix(), "/", "203.0.113.1", &[]);
        assert_eq!(
            (home.status, home.header("location")),
            (302, Some(format!("https://{}/", site.chat()).as_str()))
        );
        // Without TLS everybody is sent on, once.
        let plain = fetch(
            &site.authority,
            NPM_ADDRESS,
            &format!("http://{}/_matrix/client/versions", site.matrix()),
            &[],
        );
        assert_eq!(plain.status, 301, "{plain:?}");
    });
    s.test("verify finds everything well, from inside and through TLS", || {
        // No name server is asked, as there is none.
        let resolv = site.lab.write("resolv.conf", "nameserver 127.0.0.77\n").display().to_string();
        let program = binary().display().to_string();
        let script = "mount --bind \"$0\" /etc/resolv.conf; exec \"$@\"";
        let [matrix, chat] = [site.matrix(), site.chat()].map(|name| format!("{name}:443:{NPM_ADDRESS}"));
        let ca = site.authority.certificate();
        let argv =
            ["unshare", "--mount", "sh", "-euc", script, &resolv, &program, "verify", "--ca-file", &ca];
        let ran = Invocation::new(argv.iter().chain(&["--resolve", &matrix, "--resolve", &chat]))
            .folder(&site.lab.folder)
            .run()
            .ok();
        for group in ["way-in", "federation"] {
            assert!(ran.stdout.contains(group), "{}", ran.evidence());
        }
    });
    s.test("well-known says where the server is, to every web client", || {
        for method in ["GET", "OPTIONS"] {
            let server = site.visit(
                &site.matrix(),
                "/.well-known/matrix/server",
                "203.0.113.1",
                &["--request", method],
            );
            assert_eq!(server.json(), json!({"m.server": format!("{}:443", site.matrix())}));
            assert_eq!(server.header("access-control-allow-origin"), Some("*"), "{server:?}");
            assert_eq!(server.header("content-type"), Some("application/json"), "{server:?}");
        }
        let client = site.visit(&site.matrix(), "/.well-known/matrix/client", "203.0.113.1", &[]);
        assert_eq!(
            client.json(),
            json!({"m.homeserver": {"base_url": format!("https://{}", site.matrix())}})
        );
    });
    s.test("the admin interface never answers, however its path is written", || {
        for path in ADMIN_PATHS {
            let answer = site.visit(&site.matrix(), path, "203.0.113.1", &[]);
            assert!(matches!(answer.status, 403 | 404), "{path}: {answer:?}");
            assert!(!answer.body.contains("server_version"), "{path}: {answer:?}");
        }
    });
    s.test("Synapse sees people's own addresses, whatever they claim", || {
        site.lab.add_user("anna", PASSWORD);
        site.lab.run(&["user", "add", "admin", "--admin", "--password-file", &site.lab.write("admin-password", PASSWORD).display().to_string()]).ok();
        let login = json!({"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "anna"}, "password": PASSWORD}).to_string();
        let answer = site.visit(&site.matrix(), "/_matrix/client/v3/login", "203.0.113.77", &[
            "--header", "X-Forwarded-For: 198.51.100.1, 198.51.100.2", "--header", "X-Real-IP: 198.51.100.3",
            "--header", "content-type: application/json", "--data", &login,
        ]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        site.visit(&site.matrix(), "/_matrix/client/v3/account/whoami", "203.0.113.77", &[
            "--header", "X-Forwarded-For: 198.51.100.1", "--header", &format!("Authorization: Bearer {token}"),
        ]);
        let admin = site.lab.matrix().login("admin", PASSWORD);
        sees(site, &admin.token, "203.0.113.77");
    });
    s.test(
        "an administrator's token makes no administrator from outside, however the path is written",
        || {
            makes_no_admin(site, &|path, more| site.visit(&site.matrix(), path, "203.0.113.1", more));
        },
    );
}

fn drifted(s: &mut Scenario, site: &Site) {
    s.test("what somebody clicked in a console shows in the next plan, and up sets it right", || {
        site.writes();
        {
            let mut state = site.npm.state();
            let host =
                state.hosts.iter_mut().find(|h| h["domain_names"][0] == site.matrix().as_str()).unwrap();
            host["block_exploits"] = json!(true);
            host["advanced_config"] = json!("# mine");
        }
        {
            let mut account = site.cloudflare.account();
            let chat = site.chat();
            account.records.iter_mut().find(|r| r["name"] == chat.as_str()).unwrap()["proxied"] =
                json!(false);
            account.settings.get_mut("always_use_https").unwrap()["value"] = json!("off");
        }
        let plan = site.run(&["plan", "--exit-code", "--diff"]).exits(3);
        for words in [
            "- block_exploits: true",
            "+ block_exploits: false",
            "goes past Cloudflare",
            "Set always_use_https",
        ] {
            assert!(plan.stdout.contains(words), "the plan has {words:?}\n{}", plan.evidence());
        }
        site.up().ok();
        assert_eq!(site.writes().len(), 3, "one write for each");
        site.settled();
    });
    s.test("a host of the same name is taken over after its difference was shown", || {
        {
            let mut state = site.npm.state();
            let host = state.hosts.iter_mut().find(|h| h["domain_names"][0] == site.chat().as_str()).unwrap();
            host["meta"] = json!({"nginx_online": true, "nginx_err": null});
            host["forward_port"] = json!(9999);
        }
        site.run(&["plan", "--diff"])
            .ok()
            .says("is taken over")
            .says("- forward_port: 9999")
            .says("+ forward_port: 8080");
        site.up().ok();
        site.settled();
        let mut state = site.npm.state();
        let host = state.hosts.iter_mut().find(|h| h["domain_names"][0] == site.chat().as_str()).unwrap();
        assert!(host["meta"]["matrix_podman"].as_str().unwrap().starts_with("adopted"), "{host}");
        host["meta"]["matrix_podman"] = json!(format!("made by matrix-podman for {}", site.lab.domain));
    });
    s.test("a host that nginx does not take is put back, with nginx' own words", || {
        site.lab.set("[synapse]", "max_upload_size", "\"95M\"");
        let before = site.npm.state().hosts.clone();
        site.npm.state().refuse_next =
            Some("nginx: [emerg] unknown directive \"nonsense\" in /data/x.conf:3".to_owned());
        let up = site.up().exits(1);
        assert!(
            up.stderr.contains("unknown directive \"nonsense\"") && up.stderr.contains("put back"),
            "{}",
            up.evidence()
        );
        let after = site.npm.state().hosts.clone();
        for (a, b) in before.iter().zip(&after) {
            assert_eq!(
                (&a["advanced_config"], &b["meta"]["nginx_online"]),
                (&b["advanced_config"], &json!(true))
            );
        }
        site.answers(&site.matrix(), "/_matrix/client/versions");
        site.up().ok();
        site.settled();
    });
    s.test("a console that is edited at the same moment is noticed, and nothing of it is lost", || {
        {
            let mut account = site.cloudflare.account();
            let id = account.tunnels.values().find(|t| t["name"] == "home").unwrap()["id"]
                .as_str()
                .unwrap()
                .to_owned();
            let rules = account.configs.get_mut(&id).unwrap()["config"]["ingress"].as_array_mut().unwrap();
            rules.retain(|rule| rule["hostname"] != format!("chat.edge.{DOMAIN}").as_str());
            account.meanwhile = Some(|account| {
                for config in account.configs.values_mut() {
                    if let Some(rules) = config["config"]["ingress"].as_array_mut() {
                        rules.insert(0, json!({"hostname": "new.home.arpa", "service": "http://192.0.2.50"}));
                    }
                }
            });
        }
        site.up().exits(1).says("somebody else is editing");
        site.up().ok();
        let mut account = site.cloudflare.account();
        let held = account.configs.values().filter(|c| c.to_string().contains("new.home.arpa")).count();
        assert_eq!(held, 2, "what somebody added meanwhile is there still");
        for config in account.configs.values_mut() {
            config["config"]["ingress"]
                .as_array_mut()
                .unwrap()
                .retain(|rule| rule["hostname"] != "new.home.arpa");
        }
    });
    s.test("a console that is edited between our look and our write is noticed, too", || {
        {
            let mut account = site.cloudflare.account();
            let chat = site.chat();
            for config in account.configs.values_mut() {
                if let Some(rules) = config["config"]["ingress"].as_array_mut() {
                    rules.retain(|rule| rule["hostname"] != chat.as_str());
                }
            }
            account.just_before = Some(|account| {
                for config in account.configs.values_mut() {
                    config["version"] = json!(config["version"].as_u64().unwrap_or(0) + 1);
                    if let Some(rules) = config["config"]["ingress"].as_array_mut() {
                        rules
                            .insert(0, json!({"hostname": "lost.home.arpa", "service": "http://192.0.2.51"}));
                    }
                }
            });
        }
        let up = site.up().exits(1);
        assert!(up.stderr.contains("were written 2 times while this wrote them once"), "{}", up.evidence());
        site.up().ok();
        site.settled();
        let mut account = site.cloudflare.account();
        for config in account.configs.values_mut() {
            if let Some(rules) = config["config"]["ingress"].as_array_mut() {
                rules.retain(|rule| rule["hostname"] != "lost.home.arpa");
            }
        }
    });
    s.test("being turned away for asking too often is waited for", || {
        site.cloudflare.account().turn_away = 2;
        site.settled();
        assert_eq!(site.cloudflare.account().turn_away, 0);
    });
}

/// Each of these is a sentence with the way out, and nothing is written.
fn refused(s: &mut Scenario, site: &Site) {
    let says = |words: &[&str]| {
        site.writes();
        let up = site.up();
        assert!(matches!(up.code, 1 | 2), "{}", up.evidence());
        for word in words {
            assert!(up.stderr.contains(word), "it says {word:?}\n{}", up.evidence());
        }
        assert_eq!(site.writes(), [""; 0], "nothing was changed");
    };
    s.test("a wrong, an expired and a readable token are told", || {
        secret_file(&site.lab, "cf-token", "something-else");
        says(&["Invalid API Token", "https://dash.cloudflare.com/profile/api-tokens"]);
        secret_file(&site.lab, "cf-token", TOKEN);
        site.cloudflare.account().token_status = "expired".to_owned();
        says(&["the token for Cloudflare is expired"]);
        site.cloudflare.account().token_status = "active".to_owned();
        Invocation::new(["chmod", "644", &site.lab.path("cf-token").display().to_string()])
            .quietly()
            .run()
            .ok();
        says(&["can be read by others", "chmod 600"]);
        secret_file(&site.lab, "cf-token", TOKEN);
        let elsewhere = site
            .lab
            .command(&["up", "--yes"])
            .env("MATRIX_PODMAN_CLOUDFLARE_API", "http://192.0.2.1:80")
            .run();
        elsewhere.exits(1).says("not on this machine");
    });
    s.test("the missing permission is named", || {
        for (part, words) in [
            ("zone", "Zone / Zone: Read"),
            ("tunnel", "Account / Cloudflare Tunnel: Edit"),
            ("dns", "Zone / DNS: Edit"),
            ("settings", "Zone / Zone Settings: Edit"),
            ("cache", "Zone / Cache Rules: Edit"),
        ] {
            site.cloudflare.account().may.remove(part);
            says(&[words]);
            site.cloudflare.account().may.insert(part);
        }
        // It is told in three ways.
        for forbids in [(401, Some(10000)), (403, None)] {
            site.cloudflare.account().forbids = forbids;
            site.cloudflare.account().may.remove("cache");
            says(&["may not touch the zone's cache rules", "Zone / Cache Rules: Edit"]);
            site.cloudflare.account().may.insert("cache");
        }
        site.cloudflare.account().forbids = (403, Some(10000));
        // That it may only read is found out when something is written.
        {
            let mut account = site.cloudflare.account();
            account.only_read.insert("settings");
            account.settings.get_mut("min_tls_version").unwrap()["value"] = json!("1.0");
        }
        site.up().exits(1).says("Zone / Zone Settings: Edit");
        site.cloudflare.account().only_read.clear();
        site.up().ok();
    });
    s.test("a token of an account is taken, one for another address and a long wait are told", || {
        site.cloudflare.account().account_owned = true;
        site.settled();
        site.cloudflare.account().account_owned = false;
        site.cloudflare.account().elsewhere = true;
        says(&["may not be used from this machine's address", "Client IP Address Filtering"]);
        site.cloudflare.account().elsewhere = false;
        {
            let mut account = site.cloudflare.account();
            (account.turn_away, account.retry_after) = (1000, 300);
        }
        says(&["answers again in 5 min"]);
        let mut account = site.cloudflare.account();
        (account.turn_away, account.retry_after) = (0, 1);
    });
    s.test("of several zones of one name the active one is taken, and one that is paused is told", || {
        {
            let mut account = site.cloudflare.account();
            let mut other = account.zone.clone();
            other["id"] = json!("00000000000000000000000000000002");
            other["status"] = json!("pending");
            other["account"] = json!({"id": "00000000000000000000000000000003", "name": "elsewhere"});
            account.more_zones.push(other);
        }
        site.settled();
        site.cloudflare.account().more_zones[0]["status"] = json!("active");
        says(&["2 accounts have a zone", "in the account elsewhere", "edge.cloudflare.zone"]);
        site.lab.set("[edge.cloudflare]", "zone", &format!("{ZONE:?}"));
        site.settled();
        site.lab.set("[edge.cloudflare]", "zone", &format!("{DOMAIN:?}"));
        site.cloudflare.account().more_zones.clear();
        site.cloudflare.account().zone["paused"] = json!(true);
        says(&["is paused at Cloudflare", "Enable Cloudflare on Site"]);
        site.cloudflare.account().zone["paused"] = json!(false);
    });
    s.test("a zone that is not active, a tunnel that a file leads, and a name in use are told", || {
        site.cloudflare.account().zone["status"] = json!("pending");
        says(&["not active at Cloudflare but pending", "name servers"]);
        site.cloudflare.account().zone["status"] = json!("active");
        let source = |source: &str| {
            for tunnel in site.cloudflare.account().tunnels.values_mut() {
                tunnel["config_src"] = json!(source);
            }
        };
        source("local");
        says(&["stand in a file beside its cloudflared", "edge guide"]);
        for tunnel in site.cloudflare.account().tunnels.values_mut() {
            // Who does not say where its routes are is asked for them.
            tunnel.as_object_mut().unwrap().remove("config_src");
        }
        site.settled();
        source("cloudflare");
        let id = site.cloudflare.account().add_record("A", &site.chat(), "192.0.2.33");
        says(&["is in use already: it is a A that leads to 192.0.2.33"]);
        site.cloudflare.account().records.retain(|r| r["id"] != id.as_str());
        site.npm.state().redirections.push(json!({"id": 1, "domain_names": [site.matrix()]}));
        says(&["is a redirection host in NPM"]);
        site.npm.state().redirections.clear();
        site.settled();
    });
    s.test("a wrong password at NPM, and a code that nobody can be asked for, are told", || {
        secret_file(&site.lab, "npm-password", "wrong");
        says(&["NPM does not let admin@home.arpa in"]);
        secret_file(&site.lab, "npm-password", SECRET);
        site.npm.state().options.code = Some("123456".to_owned());
        says(&["NPM wants a code"]);
        // On a terminal it is asked for.
        let config = site.lab.config();
        let (before, rest) = config.split_once("[edge.cloudflare]").unwrap();
        let npm = rest.split_once("[edge.npm]").unwrap().1;
        site.lab.write("npm-only.toml", &format!("{before}\n[edge.npm]{npm}"));
        let asked = site.lab.on_terminal(
            &["plan", "--diff", "--config", "npm-only.toml"],
            &[("Code for admin@home.arpa", "123456")],
        );
        assert!(asked.ok().stdout.contains("edge/npm/access: NPM 2.15.1"));
        site.npm.state().options.code = None;
        site.settled();
    });
    s.test("a certificate that cannot be had is told in certbot's own words, without the token", || {
        let kept = std::mem::take(&mut site.npm.state().certificates);
        secret_file(&site.lab, "dns-token", "planted-wrong-dns-token");
        let up = site.up().exits(1);
        assert!(
            up.stderr.contains("Error determining zone_id") && !up.stderr.contains("planted-wrong"),
            "{}",
            up.evidence()
        );
        secret_file(&site.lab, "dns-token", DNS_TOKEN);
        site.npm.state().certificates = kept;
        // The hosts were written without it meanwhile, which shows from outside.
        site.up().ok();
        site.settled();
    });
    s.test("a tunnel that Cloudflare does not know is made only when that is asked for", || {
        site.lab.set("[edge.cloudflare]", "tunnel", "\"fresh\"");
        says(&["there is no tunnel fresh", "create_tunnel = true"]);
        site.lab.set("[edge.cloudflare]", "tunnel", "\"home\"");
        site.settled();
    });
}

/// What is printed for other proxies works in the real ones, as it is.
fn shown(s: &mut Scenario, site: &Site) {
    let lab = &site.lab;
    let folder = lab.path("proxies");
    site.authority.issue(&folder, "matrix", &[&site.matrix(), &site.chat()], 30);
    let file = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (file("matrix.pem"), file("matrix.pem.key"));
    let address = format!("{}.250", lab.gateway().rsplit_once('.').unwrap().0);
    let mut network = Namespace::new("mpedge", &lab.bridge(), &address);
    let anna = lab.matrix().login("anna", PASSWORD);
    let admin = lab.matrix().login("admin", PASSWORD);
    for (number, proxy) in ["nginx", "haproxy", "caddy"].into_iter().enumerate() {
        s.test(&format!("what edge show {proxy} prints works in the real one"), || {
            let text =
                site.run(&["edge", "show", proxy, "--certificate", &certificate, "--key", &key]).ok().stdout;
            let config = lab.write(&format!("proxies/{proxy}.conf"), &text).display().to_string();
            let log = folder.join(format!("{proxy}.log"));
            match proxy {
                "nginx" => {
                    let main = format!(
                        "events {{}} pid {}; http {{ access_log off; include {config}; }}",
                        file("nginx.pid")
                    );
                    let main = lab.write("proxies/main.conf", &main).display().to_string();
                    network.run(
                        &["nginx", "-e", "stderr", "-c", &main, "-g", "daemon off; user root;"],
                        &folder,
                        &log,
                    );
                }
                "haproxy" => network.run(&["haproxy", "-db", "-f", &config], &folder, &log),
                _ => network.run(
                    &["caddy", "run", "--adapter", "caddyfile", "--config", &config],
                    &folder,
                    &log,
                ),
            }
            let visit = |host: &str, path: &str, more: &[&str]| {
                fetch(&site.authority, &address, &format!("https://{host}{path}"), more)
            };
            wait_until("the proxy answers", Duration::from_secs(30), || {
                match visit(&site.matrix(), "/_matrix/client/versions", &[]) {
                    answer if answer.status == 200 => Ok(()),
                    answer => {
                        Err(format!("{answer:?}\n{}", std::fs::read_to_string(&log).unwrap_or_default()))
                    }
                }
            });
            let well_known = visit(&site.matrix(), "/.well-known/matrix/server", &[]);
            assert_eq!(well_known.json(), json!({"m.server": format!("{}:443", site.matrix())}));
            assert_eq!(well_known.header("access-control-allow-origin"), Some("*"), "{well_known:?}");
            assert_eq!(well_known.header("content-type"), Some("application/json"), "{well_known:?}");
            let client = visit(&site.matrix(), "/.well-known/matrix/client", &["--request", "OPTIONS"]);
            assert_eq!(client.json()["m.homeserver"]["base_url"], format!("https://{}", site.matrix()));
            for path in ADMIN_PATHS {
                let answer = visit(&site.matrix(), path, &[]);
                assert!(
                    answer.status != 200 && !answer.body.contains("server_version"),
                    "{path}: {answer:?}"
                );
            }
            assert_eq!(visit(&site.matrix(), "/_synapse/admin/v1/server_version", &[]).status, 403);
            makes_no_admin(site, &|path, more| visit(&site.matrix(), path, more));
            assert!(visit(&site.chat(), "/config.json", &[]).json()["default_server_config"].is_object());
            let home = visit(&site.matrix(), "/", &[]);
            assert_eq!(
                (home.status, home.header("location")),
                (302, Some(format!("https://{}/", site.chat()).as_str()))
            );
            if proxy != "caddy" {
                // Caddy counts while it reads, the others look at what is announced.
                let large = visit(
                    &site.matrix(),
                    "/_matrix/media/v3/upload",
                    &["--request", "POST", "--header", "Content-Length: 999999999"],
                );
                assert_eq!(large.status, 413, "{large:?}");
            }
            let mine = format!("203.0.113.{}", 100 + number);
            visit(
                &site.matrix(),
                "/_matrix/client/v3/account/whoami",
                &[
                    "--header",
                    &format!("CF-Connecting-IP: {mine}"),
                    "--header",
                    "X-Forwarded-For: 198.51.100.9",
                    "--header",
                    &format!("Authorization: Bearer {}", anna.token),
                ],
            );
            sees(site, &admin.token, &mine);
        });
    }
    s.test("the guide has every name, address and block, and nothing to replace", || {
        let guide = site.run(&["edge", "guide"]).ok().stdout;
        let synapse = lab.url("synapse");
        let guest = synapse.trim_start_matches("http://").split(':').next().unwrap().to_owned();
        for words in [
            site.matrix(),
            site.chat(),
            guest,
            NPM_ADDRESS.to_owned(),
            "location ^~ /_synapse/admin {".to_owned(),
        ] {
            assert!(guide.contains(&words), "{words} in {guide}");
        }
        // The block to paste is the one that is written to NPM.
        let state = site.npm.state();
        let host = state.hosts.iter().find(|h| h["domain_names"][0] == site.matrix().as_str()).unwrap();
        assert!(guide.contains(host["advanced_config"].as_str().unwrap().trim_end()), "{guide}");
        drop(state);
        site.run(&["edge", "guide", "--format", "html"]).ok().says("</html>");
        site.run(&["edge", "guide", "--format", "markdown", "--npm", "192.168.1.5"]).ok().says("```nginx");
        assert!(site.run(&["edge", "guide", "--json"]).ok().json()["steps"].as_array().unwrap().len() > 4);
        site.run(&["edge", "show", "well-known"]).ok().says("m.homeserver");
        site.run(&["edge", "show", "traefik"]).ok().says("websecure");
        site.run(&["edge", "show", "apache"]).exits(2);
    });
}

/// Waits until Synapse has written down that anna came from `address`.
fn sees(site: &Site, token: &str, address: &str) {
    let path = format!("/_synapse/admin/v1/whois/@anna:{}", site.matrix());
    wait_until("Synapse has written down the address", Duration::from_secs(20), || {
        let (_, whois) = site.lab.admin("GET", &path, token, None);
        let text = whois.to_string();
        assert!(!text.contains("198.51.100"), "a claimed address was believed: {text}");
        if text.contains(address) { Ok(()) } else { Err(text) }
    });
}

/// Tries to make an administrator from outside, with an administrator's token, in
/// ways that were once let through; `visit` asks from there.
#[track_caller]
fn makes_no_admin(site: &Site, visit: &dyn Fn(&str, &[&str]) -> Fetched) {
    let admin = site.lab.matrix().login("admin", PASSWORD);
    let bearer = format!("Authorization: Bearer {}", admin.token);
    let body = json!({"password": "correct horse battery", "admin": true}).to_string();
    let server = site.matrix().replace(':', "%3a");
    for step in ["%2f%2e%2e", "%2F..", "%5c%2e%2e", "%252f%252e%252e"] {
        for to in ["_matrix%2fx", "_synapse%2fclient%2fx"] {
            let path = format!("/_synapse/admin/v2/users/@a{}%2f{to}%3a{server}", step.repeat(5));
            let with = [
                "--request",
                "PUT",
                "--header",
                &bearer,
                "--header",
                "content-type: application/json",
                "--data",
                &body,
            ];
            let answer = visit(&path, &with);
            assert!(matches!(answer.status, 403 | 404), "{path}: {answer:?}");
        }
    }
}

/// Ways to write the path of the admin interface.
const ADMIN_PATHS: [&str; 10] = [
    "/_synapse/admin/v2/users/@a%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f_matrix%2fx",
    "/_matrix/%2e%2e/_synapse/admin/v1/server_version",
    "/_synapse/admin/v1/server_version",
    "//_synapse//admin/v1/server_version",
    "/%5Fsynapse/admin/v1/server_version",
    "/_matrix/../_synapse/admin/v1/server_version",
    "/_synapse/client/..%2fadmin/v1/server_version",
    "/_Synapse/admin/v1/server_version",
    "/_synapse/mas/x",
    "/health",
];

/// From nothing to an open door, cut off at every write and continued.
fn cut_off(s: &mut Scenario, site: &Site) {
    s.test("taken down, everything that was made is gone and nothing else", || {
        let before = foreign(site);
        let down = edge_down(site);
        assert!(
            down.stderr.contains("the proxy host") && down.stderr.contains("the certificate of"),
            "{}",
            down.evidence()
        );
        assert_eq!(foreign(site), before);
        let account = site.cloudflare.account();
        assert!(
            !format!("{:?} {:?} {:?}", account.records, account.configs, account.cache)
                .contains("matrix-podman"),
            "no mark is left"
        );
        assert_eq!(site.npm.state().hosts.len(), 1);
        assert_eq!(account.cache.as_ref().unwrap()["rules"].as_array().unwrap().len(), 1);
        let tunnel = account.tunnels.values().find(|t| t["name"] == "home").unwrap();
        assert_eq!(account.configs[tunnel["id"].as_str().unwrap()]["config"], foreign_config());
    });
    s.test("NPM from 2.12 on is spoken to as it wants, and a tunnel over plain HTTP makes no circle", || {
        let service = |scheme: &str| {
            site.lab.set("[edge.cloudflare]", "service", &format!("\"{scheme}://{NPM_ADDRESS}\""))
        };
        for version in [(12, 0), (13, 5), (14, 0)] {
            site.npm.state().options.version = version;
            service("https");
            site.up().ok();
            site.settled();
            site.answers(&site.matrix(), "/_matrix/client/versions");
            service("http");
            if version.0 < 14 {
                site.up().exits(1).says("round in circles");
            } else {
                site.up().ok();
                // Plain HTTP from the tunnel is believed to be HTTPS.
                site.answers(&site.matrix(), "/_matrix/client/versions");
            }
            service("https");
            edge_down(site);
        }
        site.npm.state().options.version = (15, 1);
    });
    s.test("cut off at any write, done or not, the next up goes on from there", || {
        site.lab.set("[edge.cloudflare]", "tunnel", "\"made\"");
        site.lab.set("[edge.cloudflare]", "create_tunnel", "true");
        site.writes();
        let walked = (0..).take_while(|number| {
            // Neither of the two states that a lost answer may leave is left out.
            [When::Before, When::After].into_iter().all(|when| cut_off_at(site, *number, when))
        });
        assert!(walked.count() >= 10, "up writes more than that");
        let written = site.writes();
        for kind in [
            "/cfd_tunnel",
            "configurations",
            "dns_records",
            "rulesets",
            "settings",
            "certificates",
            "proxy-hosts",
        ] {
            assert!(written.iter().any(|line| line.contains(kind)), "{kind} in {written:#?}");
        }
    });
}

/// Kills an `up` from nothing at its write `number`, continues, and takes all of
/// it down; false when there are not so many.
#[track_caller]
fn cut_off_at(site: &Site, number: usize, when: When) -> bool {
    {
        let mut account = site.cloudflare.account();
        for (setting, value) in [("always_use_https", "off"), ("min_tls_version", "1.0")] {
            account.settings.get_mut(setting).unwrap()["value"] = json!(value);
        }
    }
    let held = site.gate.stop_at(number, when);
    let up = site.lab.command(&["up", "--yes"]).env("MATRIX_PODMAN_CLOUDFLARE_API", &site.cloudflare.url());
    let mut run = up.quietly().start();
    let mut reached = false;
    while !reached && run.is_running() {
        reached = held.recv_timeout(Duration::from_millis(20)).is_ok();
    }
    run.kill();
    site.gate.open();
    if reached {
        site.up().ok();
    }
    println!("  (cut off {when:?} write {number})");
    site.answers(&site.matrix(), "/_matrix/client/versions");
    site.settled();
    edge_down(site);
    // One that was asked for by a run that was cut off is nobody's.
    site.npm.state().certificates.retain(|certificate| certificate["id"] == 1);
    reached
}

/// Takes the edge down and leaves the guest.
fn edge_down(site: &Site) -> Ran {
    site.run(&["edge", "remove", "--yes"]).ok()
}

fn removed(s: &mut Scenario, site: &Site) {
    s.test("destroy takes the edge down with the rest, and can leave it", || {
        site.up().ok();
        let token = site.lab.state_folder().join("cloudflared-token");
        assert_eq!(std::fs::read_to_string(&token).unwrap().trim().split('-').next(), Some("tunnel"));
        let mode =
            Invocation::new(["stat", "--format", "%a", &token.display().to_string()]).quietly().run().ok();
        assert_eq!(mode.text(), "600");
        site.cloudflare.account().token_status = "expired".to_owned();
        site.run(&["destroy", "--yes"]).exits(1).says("--keep-edge");
        assert!(site.lab.guest().exists());
        site.cloudflare.account().token_status = "active".to_owned();
        // A tunnel is not removed while a cloudflared runs; all the rest is gone by then.
        {
            let mut account = site.cloudflare.account();
            let id = account.tunnels.values().find(|t| t["name"] == "made").unwrap()["id"]
                .as_str()
                .unwrap()
                .to_owned();
            account.connected.insert(id);
            account.reconnects = true;
        }
        site.run(&["edge", "remove", "--yes"])
            .exits(1)
            .says("a cloudflared is connected to the tunnel made")
            .says("stop that cloudflared");
        {
            let mut account = site.cloudflare.account();
            assert!(
                !account
                    .records
                    .iter()
                    .any(|r| r["comment"].as_str().is_some_and(|c| c.contains("matrix-podman")))
            );
            assert_eq!(site.npm.state().hosts.len(), 1);
            account.reconnects = false;
        }
        let down = site.run(&["destroy", "--yes"]).ok();
        assert!(down.stderr.contains("the tunnel made"), "{}", down.evidence());
        assert!(!site.lab.guest().exists());
        let account = site.cloudflare.account();
        assert!(account.tunnels.values().all(|t| t["name"] != "made"));
        assert!(!token.exists());
        assert_eq!(account.zone["id"], ZONE);
    });
}

/// The same again for user ids that end with the domain itself.
fn whole_domain(s: &mut Scenario, site: &Site) {
    let apex = &site.lab.domain;
    s.test("user ids that end with the domain itself: its own name says where the server is", || {
        site.lab.set("[edge.cloudflare]", "tunnel", "\"home\"");
        site.lab.unset("create_tunnel");
        site.lab.set("", "server_name", &format!("{apex:?}"));
        let before = foreign(site);
        site.up().ok();
        site.answers(apex, "/.well-known/matrix/server");
        let visit = |path: &str| site.visit(apex, path, "203.0.113.1", &[]);
        assert_eq!(
            visit("/.well-known/matrix/server").json(),
            json!({"m.server": format!("matrix.{apex}:443")})
        );
        let client = visit("/.well-known/matrix/client");
        assert_eq!(client.json(), json!({"m.homeserver": {"base_url": format!("https://matrix.{apex}")}}));
        assert_eq!(client.header("access-control-allow-origin"), Some("*"), "{client:?}");
        assert_eq!(foreign(site), before, "nothing of others was touched");
        site.settled();
    });
    s.test("that goes as it came, too", || {
        let before = foreign(site);
        site.run(&["destroy", "--yes"]).ok();
        assert_eq!(foreign(site), before, "nothing of others was touched");
        assert!(site.cloudflare.account().records.iter().all(|r| r["name"] != apex.as_str()));
        let odd = std::mem::take(&mut site.cloudflare.account().odd);
        assert!(odd.is_empty(), "requests that Cloudflare does not describe: {odd:#?}");
    });
}
