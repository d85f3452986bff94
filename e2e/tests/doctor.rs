//! Every cause that `doctor` knows, provoked in one guest, named first, and put
//! back. Where it cannot be had for real, the test says what stands in for it.

use std::{fs, process::ExitCode, time::Duration};

use matrix_podman_e2e::{Lab, Ran, Scenario, wait_until};
use serde_json::Value;

const PASSWORD: &str = "correct horse battery staple";
/// How long a fault may take to show.
const SHOWS: Duration = Duration::from_secs(90);
/// How long a healthy server may take to be back.
const BACK: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut s = Scenario::begin("doctor");
    let lab = s.foundation("a healthy server, with a message on it", || {
        let lab = Lab::with_config("doctor");
        assert_eq!(first(&lab), "guest/absent");
        lab.up();
        let anna = lab.user("anna", PASSWORD);
        anna.create_room("kitchen");
        lab
    });
    let lab = &lab;
    s.test("a healthy server gives no findings", || well(lab));
    ground(&mut s, lab);
    services(&mut s, lab);
    database(&mut s, lab);
    synapse(&mut s, lab);
    web(&mut s, lab);
    mended(&mut s, lab);
    s.end()
}

fn ground(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("a full disk, and one that is nearly full", || {
        let store = "/opt/matrix/synapse/media_store";
        let fill = |mebibytes: u32| {
            guest.sh(&format!(
                "mount -t tmpfs -o size=64m,mode=700 tmpfs {store}; fallocate -l {mebibytes}M {store}/filler"
            ))
        };
        fill(60).ok();
        names(lab, "disk/full", "media_store");
        guest.exec(["umount", store]).ok();
        fill(54).ok();
        let found = diagnosis(lab);
        assert!(causes(&found).contains(&"disk/low".to_owned()), "{found}");
        guest.exec(["umount", store]).ok();
        well(lab);
    });
    s.test("a clock that is behind what was written", || {
        // The guest has the machine's clock, which a test may not set: a file
        // from the future is what a clock that was set back leaves behind.
        guest.sh("touch --date='+3 days' /opt/matrix/matrix.lock").ok();
        names(lab, "clock", "timedatectl");
        guest.sh("touch /opt/matrix/matrix.lock").ok();
    });
    s.test("a guest without an address", || {
        let before = lab.status()["guest"]["address"].as_str().unwrap().to_owned();
        guest.exec(["ip", "address", "flush", "dev", "eth0"]).ok();
        names(lab, "guest/address", "not connected");
        guest
            .sh(&format!(
                "ip address add {before}/24 dev eth0; ip route replace default via {}",
                lab.gateway()
            ))
            .ok();
        well(lab);
    });
    s.test("a name server that does not answer", || {
        guest.sh("cp -L /etc/resolv.conf /root/resolv; rm /etc/resolv.conf; echo nameserver 127.0.0.77 >/etc/resolv.conf").ok();
        names(lab, "guest/names", "127.0.0.77");
        guest.sh("rm /etc/resolv.conf; cp /root/resolv /etc/resolv.conf").ok();
        well(lab);
    });
    s.test("a container runtime that an upgrade broke", || {
        // Says what runc 1.3.3 said in nested guests (opencontainers/runc#4968).
        guest.sh("mv /usr/bin/crun /usr/bin/crun.good; printf '#!/bin/sh\\necho \"open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied\" >&2\\nexit 1\\n' >/usr/bin/crun; chmod +x /usr/bin/crun").ok();
        names(lab, "runtime/broken", "permission denied");
        guest.sh("mv /usr/bin/crun.good /usr/bin/crun").ok();
        well(lab);
    });
    s.test("containers that do not find each other by name", || {
        guest.sh("kill $(cat /run/containers/storage/networks/aardvark-dns/aardvark.pid)").ok();
        names(lab, "runtime/names", "does not find postgres_db");
        lab.run(&["doctor", "--fix", "--yes"]).ok().says("Nothing is wrong");
    });
}

fn services(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("a port that is taken", || {
        guest.exec(["systemctl", "stop", "element-web"]).ok();
        guest
            .sh("systemd-run --quiet --unit=e2e-taker systemd-socket-activate --listen=8080 /bin/cat; systemctl start --no-block element-web")
            .ok();
        shows(lab, "ports/taken", "8080");
        guest.exec(["systemctl", "stop", "e2e-taker"]).ok();
        healthy(lab);
    });
    s.test("a service that does not stay up, with the line of its log that says why", || {
        guest.sh("cp -p /opt/matrix/redis/redis.conf /root/; echo nonsense yes >>/opt/matrix/redis/redis.conf; systemctl restart --no-block redis").ok();
        shows(lab, "redis/stopped", "nonsense");
        guest.sh("cp -p /root/redis.conf /opt/matrix/redis/; systemctl restart redis").ok();
        healthy(lab);
    });
    s.test("Redis that refuses Synapse's password", || {
        let acl = "/opt/matrix/secrets/redis.acl";
        guest.sh(&format!("cp -p {acl} /root/acl; sed -i 's/#[0-9a-f]\\{{8\\}}/#00000000/' {acl}; systemctl restart redis")).ok();
        shows(lab, "redis/refuses", "WRONGPASS");
        guest.sh(&format!("cat /root/acl >{acl}; systemctl restart redis")).ok();
        healthy(lab);
    });
}

fn database(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("PostgreSQL that refuses its folder", || {
        guest
            .sh("chmod 0755 /opt/matrix/postgresdata/*/docker; systemctl restart --no-block postgres_db")
            .ok();
        shows(lab, "database/broken", "permissions");
        guest.sh("chmod 0700 /opt/matrix/postgresdata/*/docker; systemctl restart postgres_db").ok();
        healthy(lab);
    });
    s.test("data of another PostgreSQL", || {
        // What a guest looks like whose image was changed to another major
        // version: the folder's name is the version that its data are of.
        guest
            .sh("systemctl stop synapse postgres_db; cd /opt/matrix/postgresdata; ls | grep -x '[0-9]*' >/root/major; mv $(cat /root/major) 14")
            .ok();
        names(lab, "database/version", "PostgreSQL 14");
        guest.sh("cd /opt/matrix/postgresdata; mv 14 $(cat /root/major)").ok();
        lab.up();
        healthy(lab);
    });
    s.test("a database that does not run", || {
        guest.sh("systemctl mask --runtime postgres_db; systemctl stop postgres_db").ok();
        shows(lab, "database/stopped", "PostgreSQL does not run");
        guest.sh("systemctl unmask --runtime postgres_db; systemctl start postgres_db").ok();
        lab.up();
        healthy(lab);
    });
    let psql = "podman exec postgres_db psql --username=synapse --quiet --no-align --tuples-only --dbname";
    let owner =
        "podman exec postgres_db psql --username=postgres --quiet --no-align --tuples-only --dbname=postgres";
    // The container sees the file that was there when it started: it is written over, not replaced.
    let rules = "/opt/matrix/postgres/pg_hba.conf";
    let edit = |from: &str, to: &str| {
        format!(
            "sed 's/^{from}/{to}/' {rules} >/root/rules; cat /root/rules >{rules}; {owner} --command='SELECT pg_reload_conf()'"
        )
    };
    for (sentence, cause, evidence, break_it, mend_it) in [
        (
            "a database that refuses Synapse's password",
            "synapse/database-password",
            "password authentication failed",
            "cp -p /opt/matrix/secrets/pgpass /root/pgpass; sed -i 's/[0-9a-f]*$/wrong/' /opt/matrix/secrets/pgpass".to_owned(),
            "cat /root/pgpass >/opt/matrix/secrets/pgpass".to_owned(),
        ),
        (
            "a database that lets nobody in over the network",
            "synapse/database-away",
            "no pg_hba.conf entry",
            edit("host", "#host"),
            edit("#host", "host"),
        ),
        (
            "a database with the wrong locale",
            "synapse/database-locale",
            "collation",
            format!("{owner} --command='ALTER DATABASE synapse RENAME TO kept' --command=\"CREATE DATABASE synapse OWNER synapse TEMPLATE template0 LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'\""),
            format!("{owner} --command='DROP DATABASE synapse' --command='ALTER DATABASE kept RENAME TO synapse'"),
        ),
        (
            "a database that a newer Synapse has changed",
            "synapse/database-too-new",
            "too new",
            format!("{psql}=synapse --command='SELECT compat_version FROM schema_compat_version' >/root/compat; {psql}=synapse --command='UPDATE schema_compat_version SET compat_version = 9999'"),
            format!("{psql}=synapse --command=\"UPDATE schema_compat_version SET compat_version = $(cat /root/compat)\""),
        ),
        (
            // The number alone is set back, so Synapse finds work to do that
            // was done already, and fails at it as at any schema that it
            // cannot change.
            "a database too old for Synapse to change",
            "synapse/database-too-old",
            "older Synapse",
            format!("{psql}=synapse --command='SELECT version FROM schema_version' >/root/schema; {psql}=synapse --command='UPDATE schema_version SET version = 30'"),
            format!("{psql}=synapse --command=\"UPDATE schema_version SET version = $(cat /root/schema)\""),
        ),
    ] {
        s.test(sentence, || broken_synapse(lab, &break_it, cause, evidence, &mend_it));
    }
}

fn synapse(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    let yaml = "/opt/matrix/synapse/homeserver.yaml";
    let key = "/opt/matrix/secrets/signing.key";
    s.test("a key of homeserver.yaml that Synapse refuses, with its line", || {
        let break_it =
            format!("cp -p {yaml} /root/yaml; sed -i 's/^max_upload_size:.*/max_upload_size: lots/' {yaml}");
        broken_synapse(
            lab,
            &break_it,
            "synapse/config",
            "max_upload_size in line",
            &format!("cat /root/yaml >{yaml}"),
        );
    });
    s.test("a homeserver.yaml that is no YAML, with the line", || {
        let break_it = format!("cp -p {yaml} /root/yaml; sed -i '5i\\  : [broken' {yaml}");
        broken_synapse(lab, &break_it, "synapse/config", "line 5", &format!("cat /root/yaml >{yaml}"));
    });
    s.test("a setting that Synapse does not start with", || {
        let break_it = format!("cp -p {yaml} /root/yaml; sed -i '/^registration_requires_token/d' {yaml}");
        broken_synapse(
            lab,
            &break_it,
            "synapse/config",
            "open registration",
            &format!("cat /root/yaml >{yaml}"),
        );
    });
    s.test("a signing key that is gone, broken or another one", || {
        guest.sh(&format!("cp -p {key} /root/key; rm {key}")).ok();
        names(lab, "synapse/key-missing", "backup");
        guest.sh(&format!("cp -p /root/key {key}")).ok();
        broken_synapse(
            lab,
            &format!("echo garbage >{key}"),
            "synapse/key-broken",
            "cannot be read",
            &format!("cat /root/key >{key}"),
        );
        // As if it was made anew: another name, another seed.
        let other = "ed25519 a_other MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
        guest.sh(&format!("echo {other} >{key}")).ok();
        names(lab, "synapse/key-changed", "ed25519:a_other");
        guest.sh(&format!("cat /root/key >{key}")).ok();
        well(lab);
    });
}

fn web(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    let restart = "systemctl restart --no-block element-web";
    s.test("a web client that cannot read its config", || {
        let config = "/opt/matrix/element-config.json";
        guest.sh(&format!("stat --format %a {config} >/root/mode; chmod 0600 {config}; chown root:root {config}; {restart}")).ok();
        shows(lab, "web/config", "cannot read");
        guest.exec(["systemctl", "stop", "element-web"]).ok();
        lab.up();
        healthy(lab);
    });
    s.test("a web client that does not listen on its port", || {
        guest
            .sh(&format!("sed -i 's/listen 8080/listen 8081/' /opt/matrix/element-nginx.conf; {restart}"))
            .ok();
        shows(lab, "web/port", "8081");
        guest.exec(["systemctl", "stop", "element-web"]).ok();
        lab.up();
        healthy(lab);
    });
    s.test("a web client whose settings are not mounted", || {
        guest
            .sh(&format!("sed -i '/default.conf/d' /etc/containers/systemd/element-web.container; systemctl daemon-reload; {restart}"))
            .ok();
        shows(lab, "web/mounts", "not mounted");
        guest.exec(["systemctl", "stop", "element-web"]).ok();
        lab.up();
        healthy(lab);
    });
}

fn mended(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("what differs from the config is told, and mended when that is wanted", || {
        guest.sh("echo '# by hand' >>/opt/matrix/redis/redis.conf").ok();
        let told = names(lab, "site/drift", "redis.conf");
        assert_eq!(told["findings"].as_array().map(Vec::len), Some(1), "{told}");
        lab.run(&["doctor"]).exits(1).says("fix: matrix-podman up").says("doctor --fix");
        lab.run(&["doctor", "--fix"]).exits(2).says("--yes");
        lab.run(&["doctor", "--fix", "--yes"]).ok().says("Nothing is wrong");
    });
    s.test("a service that somebody stopped", || {
        guest.exec(["systemctl", "stop", "element-web"]).ok();
        names(lab, "service/fails", "does not run");
        lab.run(&["doctor", "--fix", "--yes"]).ok().says("Nothing is wrong");
    });
    s.test("a container of that name that belongs to another site is left alone", || {
        let config = guest.folder().join("config");
        let ours = fs::read_to_string(&config).unwrap();
        fs::write(&config, ours.replace(&format!("site: {}", lab.domain), "site: other.home.arpa")).unwrap();
        let told = names(lab, "guest/foreign", "other.home.arpa");
        assert_eq!(told["findings"].as_array().map(Vec::len), Some(1), "{told}");
        lab.run(&["doctor", "--fix", "--yes"]).exits(1).says("guest.name");
        fs::write(&config, ours).unwrap();
        well(lab);
    });
    s.test("a guest without the program in it", || {
        guest.exec(["mv", "/usr/local/bin/matrix-podman", "/root/"]).ok();
        names(lab, "guest/program", "does not answer");
        lab.run(&["doctor", "--fix", "--yes"]).ok();
        healthy(lab);
    });
    s.test("it is the same when it is asked in the guest", || {
        let inside = guest.exec(["matrix-podman", "doctor", "--json"]).ok().json();
        assert_eq!(inside["findings"], serde_json::json!([]), "{inside}");
    });
    s.test("a guest that no longer leads its ports to containers that are well", || {
        // As after a Podman that was killed while it set up or took down a network.
        guest.exec(["nft", "delete", "table", "inet", "netavark"]).ok();
        let told = names(lab, "guest/ports", "8008");
        let mend = told["findings"][0]["command"].as_str().unwrap();
        assert!(mend.starts_with(&format!("lxc-stop --name {} && matrix-podman up", guest.name)), "{mend}");
        guest.shut_down();
        lab.up();
        healthy(lab);
    });
    s.test("memory that ran out", || {
        let control = control_group(&guest.name);
        let limit = fs::read_to_string(&control.0).unwrap();
        let used: u64 = fs::read_to_string(&control.1).unwrap().trim().parse().unwrap();
        fs::write(&control.0, (used + (96 << 20)).to_string()).unwrap();
        // More than what is used, so that no cache that is given up makes room.
        let wanted = used + (512 << 20);
        // What is allocated here is also what is to be ended.
        guest.sh(&format!(
            "echo 1000 >/proc/self/oom_score_adj; perl -e '$x = \"a\" x $ARGV[0]' {wanted} || true"
        ));
        fs::write(&control.0, limit.trim()).unwrap();
        names(lab, "memory/kills", "guest.memory");
    });
    s.test("a guest that was stopped, mended by hand of the doctor", || {
        guest.shut_down();
        names(lab, "guest/stopped", "does not run");
        lab.run(&["doctor", "--fix", "--yes"]).ok();
        healthy(lab);
    });
}

/// The files with limit and use of a guest's memory, in either version of
/// control groups.
fn control_group(guest: &str) -> (String, String) {
    let v1 = format!("/sys/fs/cgroup/memory/lxc.payload.{guest}");
    let v2 = format!("/sys/fs/cgroup/lxc.payload.{guest}");
    if fs::exists(format!("{v1}/memory.limit_in_bytes")).unwrap() {
        (format!("{v1}/memory.limit_in_bytes"), format!("{v1}/memory.usage_in_bytes"))
    } else {
        (format!("{v2}/memory.max"), format!("{v2}/memory.current"))
    }
}

fn ask(lab: &Lab) -> Ran {
    lab.command(&["doctor", "--json"]).quietly().run()
}

fn diagnosis(lab: &Lab) -> Value {
    ask(lab).json()
}

fn causes(diagnosis: &Value) -> Vec<String> {
    let findings = diagnosis["findings"].as_array().cloned().unwrap_or_default();
    findings.iter().map(|f| f["cause"].as_str().unwrap().to_owned()).collect()
}

fn first(lab: &Lab) -> String {
    causes(&diagnosis(lab)).first().cloned().unwrap_or_default()
}

/// The first cause is this one, and what is told of it has these words.
#[track_caller]
fn names(lab: &Lab, cause: &str, words: &str) -> Value {
    let ran = ask(lab).exits(1);
    let found = ran.json();
    assert_eq!(causes(&found).first().map(String::as_str), Some(cause), "{found:#}");
    let told = found["findings"][0].to_string();
    assert!(told.contains(words), "{words:?} in {told}");
    assert!(!found["findings"][0]["command"].as_str().unwrap().is_empty());
    found
}

/// The same, once it shows.
#[track_caller]
fn shows(lab: &Lab, cause: &str, words: &str) {
    wait_until(&format!("{cause} shows"), SHOWS, || {
        let found = diagnosis(lab);
        match causes(&found).first() {
            Some(first) if first == cause => Ok(()),
            _ => Err(format!("{found:#}")),
        }
    });
    names(lab, cause, words);
}

#[track_caller]
fn well(lab: &Lab) {
    let ran = ask(lab).ok();
    let found = ran.json();
    assert_eq!((causes(&found).len(), &found["unseen"]), (0, &serde_json::json!([])), "{found:#}");
}

#[track_caller]
fn healthy(lab: &Lab) {
    lab.becomes_healthy(BACK);
    well(lab);
}

/// Synapse does not start for a reason, and does when that is gone.
#[track_caller]
fn broken_synapse(lab: &Lab, break_it: &str, cause: &str, words: &str, mend_it: &str) {
    let guest = lab.guest();
    guest.exec(["systemctl", "stop", "synapse"]).ok();
    guest.sh(break_it).ok();
    guest.exec(["systemctl", "start", "--no-block", "synapse"]).ok();
    shows(lab, cause, words);
    // Podman itself is left to end: killed in the middle of setting up a network,
    // it leaves rules behind that lead to a container that is gone.
    guest.exec(["systemctl", "stop", "synapse"]).ok();
    guest.sh(mend_it).ok();
    guest.exec(["systemctl", "start", "--no-block", "synapse"]).ok();
    healthy(lab);
}
