//! Images from a registry: Debian's own, run on the lab's bridge and filled
//! from the archives of built images.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use matrix_podman_e2e::{
    Invocation, Lab, Running, SERVICES, Scenario, archive, clients_folder, http, make_archives,
    standin::Webhook, wait_until,
};
use serde_json::Value;

const PASSWORD: &str = "correct horse battery staple";
const IMAGES: [(&str, &str, &str); 4] = [
    ("postgres", "postgres", "library/postgres:17"),
    ("redis", "redis", "library/redis:8"),
    ("synapse", "synapse", "element-hq/synapse:v1"),
    ("web", "element-web", "vectorim/element-web:v1"),
];

fn main() -> ExitCode {
    let mut s = Scenario::begin("registry");
    let (lab, registry) = s.foundation("there is a registry with the four images", registry);
    let (lab, mut registry) = (&lab, Some(registry));
    let guest = lab.guest();
    s.test("a pull that fails leaves what is there, and says why and what to type", || {
        // Podman in the new guest does not trust a registry without TLS.
        let up = lab.run(&["up", "--yes"]).exits(1);
        assert!(up.stderr.contains(&place(lab)), "it names the image\n{}", up.evidence());
        assert!(
            up.stderr.contains("HTTP response to HTTPS client"),
            "it shows Podman's reason\n{}",
            up.evidence()
        );
        assert!(up.stderr.contains("next:"), "{}", up.evidence());
        assert!(guest.runs(), "the guest is left as it is");
    });
    let anna = s.foundation("the next up goes on, pulls and brings the server up", || {
        let conf = format!("[[registry]]\nlocation = {:?}\ninsecure = true\n", place(lab));
        guest.write("/etc/containers/registries.conf.d/50-own.conf", conf);
        lab.up();
        lab.healthy();
        lab.add_user("anna", PASSWORD);
        lab.matrix().login("anna", PASSWORD)
    });
    let webhook = Webhook::at(&lab.gateway());
    let room = anna.create_room("what the server says");
    s.test("the lock has digests, and containers run by them", || {
        let lock = guest.read("/opt/matrix/matrix.lock");
        let status = lab.status();
        for (service, name) in status["services"].as_array().unwrap().iter().zip(SERVICES) {
            let digest = service["digest"].as_str().unwrap();
            assert!(lock.contains(digest), "{name}: {digest} in\n{lock}");
            assert!(
                service["image"].as_str().unwrap().starts_with(&format!("registry {}", place(lab))),
                "{service}"
            );
            let image = guest.inspect(name)["ImageName"].as_str().unwrap().to_owned();
            assert!(image.contains(&format!("@{digest}")), "{name} runs {image}");
            let unit = guest.read(&format!("/etc/containers/systemd/{name}.container"));
            assert!(unit.contains(&format!("@{digest}")), "{unit}");
        }
    });
    s.test("a tag that moved in the registry changes nothing until it is asked for", || {
        let [_, (_, _, redis), _, (_, another, _)] = IMAGES;
        push(lab, another, redis);
        lab.settled();
    });
    s.test("whom the config names is told, from the machine and from the guest", || {
        be_told(lab, &webhook, &room);
        lab.set("[update]", "auto", "true");
        lab.up();
        lab.settled();
        let file = lab.path("notices");
        guest.exec(["mkdir", "--parents", &lab.folder.display().to_string()]).ok();
        let test = lab.run(&["notify", "test"]).ok();
        for way in ["the machine", "the guest"] {
            test.stdout
                .lines()
                .filter(|line| line.contains(&format!("from {way} to")))
                .nth(2)
                .unwrap_or_else(|| panic!("three ways from {way}\n{}", test.evidence()));
        }
        let subjects: Vec<Value> = webhook.told().iter().map(|told| told["subject"].clone()).collect();
        assert_eq!(subjects, ["test", "test"]);
        let here = fs::read_to_string(&file).unwrap();
        let there = guest.read(&file.display().to_string());
        assert_eq!((here.lines().count(), there.lines().count()), (1, 1), "{here}{there}");
        let said = anna.messages(&room);
        assert_eq!(said.iter().filter(|text| text.contains("notices arrive")).count(), 2, "{said:?}");
    });
    s.test("with update.auto systemd updates by its timer, and what does not do is taken back", || {
        rewriting_is_over(lab);
        let timer = guest.exec(["systemctl", "show", "matrix-update.timer"]).ok();
        timer.says("ActiveState=active").says("UnitFileState=enabled").says("Persistent=yes");
        // What the registry now has by that name is no Redis.
        let before = guest.inspect("redis")["Image"].clone();
        let last = fire(lab);
        assert_eq!(last["outcome"], "undone", "{last}");
        assert_eq!(guest.inspect("redis")["Image"], before);
        lab.healthy();
        lab.run(&["status"]).ok().says("did not do, and was taken back");
        guest.exec(["/usr/local/bin/matrix-podman", "motd"]).ok().says("did not do, and was taken back");
    });
    s.test("a newer image is taken, and nothing else is restarted", || {
        let newer = lab.path("redis.tar");
        let script = clients_folder().join("variant.py").display().to_string();
        let (from, to) = (archive("redis").display().to_string(), newer.display().to_string());
        Invocation::new(["python3", &script, &from, &to, "null"]).run().ok();
        push_archive(lab, &newer, IMAGES[1].2);
        let (synapse, redis) = (guest.incarnation("synapse"), guest.inspect("redis")["Image"].clone());
        let last = fire(lab);
        assert_eq!(last["outcome"], "updated", "{last}");
        assert_ne!(guest.inspect("redis")["Image"], redis);
        assert_eq!(guest.incarnation("synapse"), synapse, "Synapse was restarted");
        let history = lab.run(&["history"]).ok();
        history.says("timer on");
        lab.healthy();
        lab.settled();
    });
    s.test("without update.auto there is no timer", || {
        lab.set("[update]", "auto", "false");
        lab.up();
        let timer = guest.exec(["systemctl", "show", "matrix-update.timer"]).ok();
        timer.says("ActiveState=inactive").says("LoadState=not-found");
        lab.settled();
    });
    s.test("with the registry away the server runs, restarts and has nothing to do", || {
        registry.take().unwrap().kill();
        let url = format!("http://{}/v2/", place(lab));
        http("GET", &url, None, None).expect_err("the registry must be away");
        lab.settled();
        guest.shut_down();
        guest.start();
        lab.becomes_healthy(Duration::from_secs(90));
        lab.settled();
    });
    s.end()
}

/// Has the config name a webhook, a room and a file.
#[track_caller]
fn be_told(lab: &Lab, webhook: &Webhook, room: &str) {
    let secret = lab.write("webhook", &webhook.url());
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    lab.set("[notify]", "on", "\"always\"");
    lab.set("[notify]", "room", &format!("{room:?}"));
    lab.set("[notify]", "webhook_file", &format!("{:?}", secret.display().to_string()));
    lab.set("[notify]", "file", &format!("{:?}", lab.path("notices").display().to_string()));
}

/// Address of the registry.
fn place(lab: &Lab) -> String {
    format!("{}:5000", lab.gateway())
}

fn registry() -> (Lab, Running) {
    make_archives();
    let lab = Lab::with_config("registry");
    lab.raise_network();
    let program = program(&lab);
    let config = lab.write(
        "registry.yml",
        &format!(
            "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {}\n",
            lab.path("registry").display(),
            place(&lab)
        ),
    );
    // It does not outlive the test, however that ends.
    let mut registry = Invocation::new([
        "setpriv",
        "--pdeathsig=KILL",
        "--",
        &program,
        "serve",
        &config.display().to_string(),
    ])
    .within(Duration::from_secs(3600))
    .start();
    let url = format!("http://{}/v2/", place(&lab));
    wait_until("the registry answers", Duration::from_secs(20), || match http("GET", &url, None, None)? {
        _ if !registry.is_running() => panic!("the registry has ended: {}", registry.said()),
        (200, _) => Ok(()),
        (status, answer) => Err(format!("{status} {answer}")),
    });
    lab.set("[images]", "source", "\"registry\"");
    for (key, recipe, name) in IMAGES {
        push(&lab, recipe, name);
        lab.set(&format!("[images.{key}]"), "reference", &format!("\"{}/{name}\"", place(&lab)));
    }
    (lab, registry)
}

/// Has the timer fire now, and waits for what comes of it.
#[track_caller]
fn fire(lab: &Lab) -> Value {
    let guest = lab.guest();
    let before = lab.status()["updates"]["last"]["at"].clone();
    let folder = "/run/systemd/system/matrix-update.timer.d";
    guest.exec(["mkdir", "--parents", folder]).ok();
    guest.write(&format!("{folder}/now.conf"), "[Timer]\nOnActiveSec=1s\nRandomizedDelaySec=0\n");
    guest.sh("systemctl daemon-reload && systemctl restart matrix-update.timer").ok();
    wait_until("the timer has fired, and its update has ended", Duration::from_secs(300), || {
        let status = lab.status();
        let state = guest.exec(["systemctl", "is-active", "matrix-update.service"]).text().to_owned();
        let last = &status["updates"]["last"];
        let ended = last["at"].is_string() && last["at"] != before && state != "activating";
        if ended { Ok(()) } else { Err(format!("{state}, {last}")) }
    });
    guest.exec(["rm", "--recursive", folder]).ok();
    guest.sh("systemctl daemon-reload && systemctl restart matrix-update.timer").ok();
    lab.status()["updates"]["last"].clone()
}

/// Waits until Synapse has nothing left to rewrite in the background, as a new
/// server has: until then nothing is updated.
#[track_caller]
fn rewriting_is_over(lab: &Lab) {
    let query = "psql -U synapse -tAc 'SELECT count(*) FROM background_updates'";
    wait_until("Synapse's background updates are over", Duration::from_secs(420), || {
        match lab.guest().sh(&format!("podman exec postgres_db {query}")).text() {
            "0" => Ok(()),
            other => Err(format!("{other} to go")),
        }
    });
}

#[track_caller]
fn push(lab: &Lab, recipe: &str, name: &str) {
    push_archive(lab, &archive(recipe), name);
}

#[track_caller]
fn push_archive(lab: &Lab, archive: &Path, name: &str) {
    let from = format!("oci-archive:{}", archive.display());
    let to = format!("docker://{}/{name}", place(lab));
    Invocation::new([
        "skopeo",
        "--insecure-policy",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        &from,
        &to,
    ])
    .run()
    .ok();
}

/// Debian's registry, unpacked: installed, it would start by itself.
#[track_caller]
fn program(lab: &Lab) -> String {
    let folder: PathBuf = lab.path("debian");
    fs::create_dir_all(&folder).unwrap();
    Invocation::new(["apt-get", "--quiet=2", "download", "docker-registry"]).folder(&folder).run().ok();
    Invocation::new(["sh", "-euc", "dpkg-deb --extract docker-registry_*.deb ."]).folder(&folder).run().ok();
    folder.join("usr/bin/docker-registry").display().to_string()
}
