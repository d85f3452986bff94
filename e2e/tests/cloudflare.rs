//! Taking down at Cloudflare what was made there, against an API that behaves as
//! the real one. No guest is needed, so all of it takes seconds.

use std::{process::ExitCode, sync::Arc};

use matrix_podman_e2e::{
    Lab, Ran, Scenario,
    standin::{ACCOUNT, Cloudflare, ZONE},
};
use serde_json::{Value, json};

const TOKEN: &str = "planted-cloudflare-token-81c0de";

struct Site {
    lab: Lab,
    cloudflare: Cloudflare,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("cloudflare");
    let site = s.foundation("a site with a zone whose name is beyond ASCII", begin);
    s.test("a tunnel that is in use is disconnected and removed, known by its id", || in_use(&site));
    s.test("one whose cloudflared runs is told of when all the rest is gone", || running(&site));
    s.test("what was cut off before its first route is taken down without a write to the routes", || {
        cut_off(&site);
    });
    s.test("a tunnel of somebody else that has the name now stays", || somebody_elses(&site));
    s.test("a long wait is told and not sat out", || told_to_wait(&site));
    s.test("every request is one that Cloudflare describes", || {
        let odd = std::mem::take(&mut site.cloudflare.account().odd);
        assert!(odd.is_empty(), "{odd:#?}");
    });
    s.end()
}

fn begin() -> Site {
    let lab = Lab::with_config("cloudflare");
    let cloudflare = Cloudflare::start("bücher.home.arpa", TOKEN, &Arc::default());
    let token = lab.write("cf-token", &format!("{TOKEN}\n"));
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    lab.set("[edge.cloudflare]", "tunnel", "\"made\"");
    lab.set("[edge.cloudflare]", "create_tunnel", "true");
    lab.set("[edge.cloudflare]", "zone", "\"bücher.home.arpa\"");
    lab.set("[edge.cloudflare]", "token_file", &format!("{:?}", token.display().to_string()));
    lab.set("[edge.cloudflare]", "service", "\"https://192.0.2.5\"");
    Site { lab, cloudflare }
}

impl Site {
    fn hosts(&self) -> [String; 2] {
        [self.lab.server_name(), format!("chat.{}", self.lab.domain)]
    }

    /// What `up` leaves: a tunnel with routes, records with our mark, and the
    /// record of it all. The tunnel's id.
    fn made(&self, config: Value) -> String {
        let mut account = self.cloudflare.account();
        let id = account.add_tunnel("made", "cloudflare", config);
        for host in self.hosts() {
            account.add_record("CNAME", &host, &format!("{id}.cfargotunnel.com"));
            account.records.last_mut().unwrap()["comment"] =
                json!(format!("made by matrix-podman for {}", self.lab.domain));
        }
        drop(account);
        self.remember(&id);
        id
    }

    fn remember(&self, id: &str) {
        let folder = self.lab.state_folder();
        std::fs::create_dir_all(&folder).unwrap();
        let routes: Vec<Value> = self.hosts().iter().map(|host| json!({"hostname": host})).collect();
        let record = json!({"tunnel": "made", "tunnel_id": id, "routes": routes}).to_string();
        std::fs::write(folder.join("edge-cloudflare.json"), record).unwrap();
    }

    /// The routes as `up` writes them, alone in their tunnel, as they are then.
    fn routes(&self) -> Value {
        let mut rules: Vec<Value> = self
            .hosts()
            .iter()
            .map(|host| {
                json!({"hostname": host, "service": "https://192.0.2.5", "id": "1",
                    "originRequest": {"originServerName": host}})
            })
            .collect();
        rules.push(json!({"service": "http_status:404"}));
        json!({"ingress": rules, "warp-routing": {"enabled": false}})
    }

    fn remove(&self) -> Ran {
        self.lab
            .command(&["edge", "remove", "--yes"])
            .env("MATRIX_PODMAN_CLOUDFLARE_API", &self.cloudflare.url())
            .run()
    }

    fn writes(&self) -> Vec<String> {
        let base = format!("/client/v4/accounts/{ACCOUNT}/cfd_tunnel/");
        let all = self.cloudflare.take_asked();
        all.iter()
            .filter(|asked| asked.is_write())
            .map(|asked| asked.line().replace(&base, "").replace(&format!("/client/v4/zones/{ZONE}/"), ""))
            .collect()
    }
}

fn in_use(site: &Site) {
    let id = site.made(site.routes());
    site.cloudflare.account().connected.insert(id.clone());
    // Somebody clicked another name for it.
    site.cloudflare.account().tunnels.get_mut(&id).unwrap()["name"] = json!("renamed");
    site.writes();
    site.remove().ok().says("the tunnel renamed at Cloudflare");
    let writes = site.writes();
    let last: Vec<&str> = writes.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(last, [format!("DELETE {id}"), format!("DELETE {id}/connections")], "{writes:#?}");
    assert!(writes.contains(&format!("PUT {id}/configurations")), "{writes:#?}");
    let account = site.cloudflare.account();
    assert!(account.tunnels.is_empty() && account.records.is_empty());
    assert!(!site.lab.state_folder().join("edge-cloudflare.json").exists());
}

fn running(site: &Site) {
    let id = site.made(site.routes());
    {
        let mut account = site.cloudflare.account();
        account.connected.insert(id.clone());
        account.reconnects = true;
    }
    let told = site.remove().exits(1);
    for words in ["a cloudflared is connected to the tunnel made", "systemctl stop cloudflared"] {
        assert!(told.stderr.contains(words), "it says {words:?}\n{}", told.evidence());
    }
    assert!(site.cloudflare.account().records.is_empty(), "all the rest is gone");
    assert!(site.cloudflare.account().tunnels.contains_key(&id));
    site.cloudflare.account().reconnects = false;
    site.remove().ok();
    assert!(site.cloudflare.account().tunnels.is_empty());
}

fn cut_off(site: &Site) {
    let id = site.made(Value::Null);
    site.writes();
    site.remove().ok();
    let writes = site.writes();
    assert!(!writes.iter().any(|line| line.contains("configurations")), "{writes:#?}");
    assert!(writes.contains(&format!("DELETE {id}")), "{writes:#?}");
}

fn somebody_elses(site: &Site) {
    let theirs = site.cloudflare.account().add_tunnel(
        "made",
        "unsaid",
        json!({"ingress": [{"service": "http_status:503"}]}),
    );
    site.remember("01234567-89ab-cdef-0123-456789abcdef");
    site.writes();
    site.remove().ok();
    assert_eq!(site.writes(), [""; 0], "nothing of it is touched");
    assert!(site.cloudflare.account().tunnels.contains_key(&theirs));
}

fn told_to_wait(site: &Site) {
    site.remember("01234567-89ab-cdef-0123-456789abcdef");
    {
        let mut account = site.cloudflare.account();
        (account.turn_away, account.retry_after) = (1000, 300);
    }
    let told = site.remove().exits(1);
    assert!(told.stderr.contains("answers again in 5 min"), "{}", told.evidence());
    let mut account = site.cloudflare.account();
    assert!(account.turn_away > 990, "it was not asked again and again");
    (account.turn_away, account.retry_after) = (0, 1);
}
