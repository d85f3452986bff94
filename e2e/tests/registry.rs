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
    Guest, Invocation, Lab, Running, SERVICES, Scenario, Session, archive, clients_folder, http,
    make_archives, standin::Webhook, wait_until,
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
    let mut webhook = Some(Webhook::at(&lab.gateway()));
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
        let webhook = webhook.as_ref().unwrap();
        be_told(lab, webhook, &room);
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
    s.test("with update.auto systemd updates by its timer, and what fails is rolled back", || {
        lab.rewriting_is_over();
        let timer = guest.exec(["systemctl", "show", "matrix-update.timer"]).ok();
        timer.says("ActiveState=active").says("UnitFileState=enabled").says("Persistent=yes");
        // What the registry now has by that name is no Redis.
        let before = guest.inspect("redis")["Image"].clone();
        let last = fire(lab);
        assert_eq!(last["outcome"], "undone", "{last}");
        assert_eq!(guest.inspect("redis")["Image"], before);
        lab.healthy();
        lab.run(&["status"]).ok().says("failed, and was rolled back");
        guest.exec(["/usr/local/bin/matrix-podman", "motd"]).ok().says("failed, and was rolled back");
    });
    s.test("that it was rolled back is told on every way, and the webhook's secret stands nowhere", || {
        tells(lab, &anna, &room, webhook.as_ref().unwrap());
    });
    s.test("what is held back stays until it is named or released, and a newer tag is found", || {
        lab.set("[update]", "hold", "[\"redis\"]");
        lab.up();
        let newer = variant(lab, "element-web");
        push_archive(lab, &newer, "vectorim/element-web:v2");
        let (redis, web) =
            (guest.inspect("redis")["Image"].clone(), guest.inspect("element-web")["Image"].clone());
        let check = lab.run(&["update", "--check"]).exits(3);
        for words in ["Held back, and not looked at: redis", "element-web", "without the web client"] {
            assert!(check.stderr.contains(words), "{words}: {}", check.evidence());
        }
        assert!(!check.stderr.contains("Get the image of Redis"), "{}", check.evidence());
        let last = fire(lab);
        assert_eq!(last["outcome"], "updated", "{last}");
        assert_ne!(guest.inspect("element-web")["Image"], web);
        assert_eq!(guest.inspect("redis")["Image"], redis, "it was held back");
        lab.run(&["status"]).ok().says("held back").says("redis (update.hold)");
        guest.exec(["matrix-podman", "status"]).ok().says("redis (update.hold)");
        assert_eq!(lab.status()["updates"]["hold"], serde_json::json!(["redis"]));
        lab.run(&["update", "redis", "--check"]).exits(3);
        lab.unset("hold");
        lab.up();
        lab.run(&["status"]).ok().never_says("held back");
        lab.settled();
    });
    s.test("a newer image is taken, and nothing else is restarted", || {
        push_archive(lab, &variant(lab, "redis"), IMAGES[1].2);
        // Whom a notice does not reach, changes nothing about the update.
        webhook.take();
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
    s.test("a notice that does not arrive is said in status, and the others do", || {
        lab.run(&["status"]).ok().says("could not send to the webhook");
        assert!(anna.messages(&room)[0].contains("✓ Update"), "{:?}", anna.messages(&room));
    });
    runtimes(&mut s, lab);
    s.test("without update.auto there is no timer", || {
        lab.set("[update]", "auto", "false");
        lab.up();
        let timer = guest.exec(["systemctl", "show", "matrix-update.timer"]).ok();
        timer.says("ActiveState=inactive").says("LoadState=not-found");
        lab.settled();
    });
    signatures(&mut s, lab);
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

/// What containers run by: tried before it is let in, and put back where it does not
/// do all the same.
fn runtimes(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    let version = || guest.exec(["dpkg-query", "--show", "--showformat=${Version}", "crun"]).ok();
    let nothing_is_left = || guest.exec(["test", "-e", "/var/lib/matrix-podman/runtime-trial"]).exits(1);
    // Tried, it is in another place.
    let fails_once_installed = "printf '#!/bin/sh\ncase $0 in /usr/bin/*) echo this crun fails here >&2; exit 1;; \
                                esac\nexec /srv/own/real \"$@\"\n'";
    s.test("a runtime of containers that no container runs with is not let in", || {
        lab.rewriting_is_over();
        newer_crun(&guest, "99.1", "printf '#!/bin/sh\necho this crun is broken >&2\nexit 1\n'");
        let check = lab.run(&["update", "--check"]);
        assert!(check.stderr.contains("crun 99.1"), "{}", check.evidence());
        let refused = lab.run(&["update", "debian"]).exits(1);
        assert!(refused.stderr.contains("run a container with crun 99.1"), "{}", refused.evidence());
        assert!(refused.stderr.contains("this crun is broken"), "{}", refused.evidence());
        assert!(refused.stderr.contains("nothing was changed"), "{}", refused.evidence());
        nothing_is_left();
        version().never_says("99.1");
    });
    s.test("one that fails only once it is installed is put back", || {
        let before = version().text().to_owned();
        newer_crun(&guest, "99.2", fails_once_installed);
        let failed = lab.run(&["update", "debian"]).exits(1);
        assert!(
            failed.stderr.contains("run a container with crun 99.2, once installed"),
            "{}",
            failed.evidence()
        );
        assert!(failed.stderr.contains(&format!("crun={before} put back")), "{}", failed.evidence());
        assert_eq!(version().text(), before);
        guest.exec(["/usr/bin/crun", "--version"]).ok();
        nothing_is_left();
        lab.becomes_healthy(Duration::from_secs(90));
    });
    s.test("a trial that is killed leaves no process, and the next run lets a newer one in", || {
        let before = SERVICES.map(|service| guest.incarnation(service));
        killed_in_the_trial(lab);
        newer_crun(&guest, "99.4", "cat real");
        lab.run(&["update", "debian"]).ok().says("crun 99.4");
        version().says("99.4");
        assert_eq!(SERVICES.map(|service| guest.incarnation(service)), before, "nothing was restarted");
        lab.healthy();
        lab.run(&["restart", "element-web"]).ok();
        lab.becomes_healthy(Duration::from_secs(90));
        let again = lab.run(&["update", "debian"]).ok();
        assert!(again.stderr.contains("Nothing that containers run by"), "{}", again.evidence());
        nothing_is_left();
        lab.settled();
    });
    s.test("the timer lets it in too", || {
        newer_crun(&guest, "99.5", "cat real");
        let last = fire(lab);
        assert_eq!(last["outcome"], "updated", "{last}");
        assert!(last["what"].as_str().unwrap().contains("crun 99.5 installed"), "{last}");
        version().says("99.5");
        lab.healthy();
    });
    s.test("where no source has what was before, what to type is said, and a newer one mends it", || {
        newer_crun(&guest, "99.6", fails_once_installed);
        let failed = lab.run(&["update", "debian"]).exits(1);
        assert!(failed.stderr.contains("could not be put back"), "{}", failed.evidence());
        assert!(failed.stderr.contains("--allow-downgrades crun=99.5"), "{}", failed.evidence());
        version().says("99.6");
        // What runs goes on.
        let url = format!("{}/_matrix/client/versions", lab.url("synapse"));
        assert_eq!(http("GET", &url, None, None).unwrap().0, 200);
        newer_crun(&guest, "99.7", "cat real");
        lab.run(&["update", "debian"]).ok().says("crun 99.7");
        lab.becomes_healthy(Duration::from_secs(90));
        lab.settled();
    });
}

/// Images that have to be signed: with the right key they come, without and with another they do not.
fn signatures(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    let name = format!("{}/{}", place(lab), IMAGES[1].2);
    let image = || guest.inspect("redis")["Image"].clone();
    let demand = |key: &str| {
        lab.set("[images.redis]", "signature_key", &format!("{:?}", guest.read(&format!("/root/{key}.pub"))));
        lab.up();
        lab.settled();
    };
    let refused = || {
        let before = image();
        let refused = lab.run(&["update", "redis", "--yes"]).exits(1);
        assert!(refused.stderr.contains("not signed with the key"), "{}", refused.evidence());
        assert_eq!(image(), before, "what runs goes on running");
        lab.healthy();
    };
    s.test("an image that is not signed is refused where a key is named, and what runs goes on", || {
        guest.sh("apt-get --quiet=2 --yes install skopeo >&2").ok();
        guest
            .sh("cd /root && echo words >words && for key in ours theirs; do \
                 skopeo generate-sigstore-key --output-prefix $key --passphrase-file words; done")
            .ok();
        demand("ours");
        // The variant that runs is there already; the one that was before it is newer again.
        push(lab, "redis", IMAGES[1].2);
        refused();
    });
    s.test("signed with that key, it is taken", || {
        sign(lab, &name, "ours");
        let before = image();
        lab.run(&["update", "redis", "--yes"]).ok();
        assert_ne!(image(), before);
        lab.settled();
    });
    s.test("signed with another key, it is refused", || {
        demand("theirs");
        push_archive(lab, &variant(lab, "redis"), IMAGES[1].2);
        sign(lab, &name, "ours");
        refused();
    });
    s.test("without a key in the config nothing is asked for any more", || {
        lab.unset("signature_key");
        lab.up();
        for file in ["matrix-podman-policy.json", "registries.d/matrix-podman.yaml"] {
            guest.exec(["test", "-e", &format!("/etc/containers/{file}")]).exits(1);
        }
        lab.run(&["update", "redis", "--yes"]).ok();
        lab.settled();
    });
}

/// Signs an image in the registry, as whoever publishes it does.
#[track_caller]
fn sign(lab: &Lab, name: &str, key: &str) {
    lab.guest()
        .sh(&format!(
            "cd /root && skopeo copy --quiet --src-tls-verify=false --dest-tls-verify=false --sign-passphrase-file words \
             --sign-by-sigstore-private-key {key}.private docker://{name} docker://{name}"
        ))
        .ok();
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

/// That an update failed was told on every way, and the secret part of the
/// webhook's address stands nowhere.
#[track_caller]
fn tells(lab: &Lab, anna: &Session, room: &str, webhook: &Webhook) {
    let guest = lab.guest();
    let told = webhook.told().pop().unwrap();
    assert_eq!((&told["subject"], &told["well"]), (&"update".into(), &false.into()), "{told}");
    assert!(told["text"].as_str().unwrap().contains("was rolled back"), "{told}");
    let said = anna.messages(room);
    assert!(said[0].contains("✗ Update of") && said[0].contains("was rolled back"), "{said:?}");
    let line = guest.read(&lab.path("notices").display().to_string());
    assert!(line.lines().last().unwrap().contains("update failed: redis"), "{line}");
    let journal = guest.exec(["journalctl", "--quiet", "--unit=matrix-update", "--output=cat"]).ok();
    assert!(
        journal.stdout.contains("was rolled back") || journal.stdout.contains("Rolled back"),
        "{}",
        journal.evidence()
    );
    let copy = "/opt/matrix/secrets/webhook";
    assert_eq!(guest.exec(["stat", "--format=%a %u", copy]).ok().text(), "400 0");
    let secret = webhook.secret();
    let search = format!(
        "grep --recursive --files-with-matches {secret} /opt/matrix /etc /var/lib/matrix-podman /var/log || true"
    );
    assert_eq!(guest.sh(&search).ok().text(), copy);
    journal.never_says(secret);
    for (path, text) in lab.machine_records() {
        assert!(path.ends_with("webhook") || !text.contains(secret), "{} has the secret", path.display());
    }
}

/// Kills the trial of a crun that takes its time, on both sides, as a power cut
/// would; the version that is there stays.
#[track_caller]
fn killed_in_the_trial(lab: &Lab) {
    let guest = lab.guest();
    newer_crun(
        &guest,
        "99.3",
        "printf '#!/bin/sh\ncase $0 in /usr/bin/*) ;; *) sleep 20;; esac\nexec /srv/own/real \"$@\"\n'",
    );
    let update = lab.command(&["update", "debian"]).start();
    wait_until("a container is being run with the newer crun", Duration::from_secs(120), || {
        let tried = guest.exec(["pgrep", "--full", "runtime-trial/root/usr/bin/crun"]);
        if tried.code == 0 { Ok(()) } else { Err(tried.stderr) }
    });
    guest.sh("kill -KILL $(pidof matrix-podman)").ok();
    update.kill();
    wait_until("nothing of it goes on", Duration::from_secs(10), || {
        let left = guest.exec(["pgrep", "--full", "--list-full", "runtime-trial"]);
        if left.code == 1 { Ok(()) } else { Err(left.stdout) }
    });
    let version = guest.exec(["dpkg-query", "--show", "--showformat=${Version}", "crun"]).ok();
    version.never_says("99.3");
    lab.healthy();
}

/// An archive of the image of that recipe that is another one, and starts in the
/// same way.
#[track_caller]
fn variant(lab: &Lab, recipe: &str) -> PathBuf {
    let to = lab.path(&format!("{recipe}.tar"));
    let script = clients_folder().join("variant.py").display().to_string();
    let (from, place) = (archive(recipe).display().to_string(), to.display().to_string());
    Invocation::new(["python3", &script, &from, &place, "null"]).run().ok();
    to
}

/// Gives the guest a source of packages with a crun of that version, whose program
/// is what `program` prints.
#[track_caller]
fn newer_crun(guest: &Guest, version: &str, program: &str) {
    let package = format!("crun_{version}_amd64.deb");
    guest
        .sh(&format!(
            "mkdir --parents /srv/own; cd /srv/own; \
             if [ ! -e real ]; then apt-get update -qq; apt-get download -qq crun; \
                 dpkg-deb --raw-extract crun_*.deb tree; cp tree/usr/bin/crun real; fi; \
             rm -f crun_*.deb; {program} >tree/usr/bin/crun; \
             sed -i 's/^Version: .*/Version: {version}/' tree/DEBIAN/control; \
             dpkg-deb --build tree {package} >/dev/null; \
             {{ dpkg-deb --field {package}; echo 'Filename: ./{package}'; \
                echo \"Size: $(stat --format=%s {package})\"; \
                echo \"SHA256: $(sha256sum {package} | cut -d' ' -f1)\"; echo; }} >Packages; \
             echo 'deb [trusted=yes] copy:/srv/own ./' >/etc/apt/sources.list.d/own.list; apt-get update -qq"
        ))
        .ok();
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
    wait_until("the timer has fired, and its update has ended", Duration::from_secs(600), || {
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
