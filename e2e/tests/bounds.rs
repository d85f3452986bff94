//! What Synapse may do to the rest of the server, and take from it: its role in PostgreSQL owns
//! its database and nothing else, on servers that older versions made too, and what is on its way
//! to it waits in room that is bounded and cleared.

use std::{process::ExitCode, thread, time::Duration};

use matrix_podman_e2e::{Invocation, Lab, Scenario, wait_until};

const PASSWORD: &str = "correct horse battery staple";
/// The largest upload of the site, in MiB.
const LARGEST: usize = 64;
const UPLOADS: &str = "/opt/matrix/synapse/uploads";
const PSQL: &str =
    "podman exec -i postgres_db psql --no-psqlrc --quiet --tuples-only --no-align -v ON_ERROR_STOP=1";

fn main() -> ExitCode {
    let mut s = Scenario::begin("bounds");
    let lab = s.foundation("a server with a message on it", || {
        let lab = Lab::with_config("bounds");
        lab.set("[synapse]", "max_upload_size", &format!("\"{LARGEST}M\""));
        lab.up();
        lab.healthy();
        lab
    });
    let lab = &lab;
    let anna = lab.user("anna", PASSWORD);
    let room = anna.create_room("kitchen");
    anna.send(&room, "before").unwrap();
    s.test("Synapse's role owns its database and can do nothing else", || confined(lab));
    s.test("nobody but PostgreSQL's own user comes in by the socket, and no role but two", || {
        let guest = lab.guest();
        for role in ["synapse", "postgres"] {
            let refused = guest.sh(&format!(
                "podman exec --user=0:0 postgres_db psql --username={role} --dbname=synapse --command='SELECT 1'"
            ));
            assert!(refused.stderr.contains("Peer authentication failed"), "{role}: {}", refused.evidence());
        }
    });
    s.test("verify --slow holds on a healthy server, three times", || {
        for _ in 0..3 {
            let verified =
                lab.run(&["verify", "--slow", "--only", "client", "--only", "guest", "--only", "data"]);
            assert!(!verified.stdout.contains('✗'), "{}", verified.evidence());
        }
    });
    uploads(&mut s, lab);
    s.test("a server of an older version is taken over by up, with all that is on it", || {
        become_old(lab);
        let plan = lab.run(&["plan"]);
        plan.says("Make Synapse's database role a plain one").says("superuser");
        lab.up();
        lab.settled();
        confined(lab);
        let owners = format!(
            "{PSQL} --username=postgres --dbname=synapse_of_generation_1 --command=\"SELECT tableowner FROM pg_tables \
             WHERE schemaname = 'public' UNION ALL SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()\""
        );
        assert_eq!(lab.guest().sh(&owners).ok().text(), "synapse\nsynapse", "a database that was kept, too");
        let said = anna.messages(&room);
        assert!(said.contains(&"before".to_owned()), "{said:?}");
        anna.send(&room, "after").unwrap();
        lab.run(&["verify", "--only", "data"]).ok();
        lab.run(&["psql", "--", "-qAtc", "SELECT count(*) > 0 FROM events"]).ok().says("t");
    });
    s.test("taken over or not, it is dumped, restored and counted as before", || {
        lab.run(&["status"]).ok().says("1 user");
        let dump = "podman exec postgres_db pg_dump --username=synapse --format=custom synapse | wc --bytes";
        assert!(lab.guest().sh(dump).ok().text().parse::<u64>().unwrap() > 100_000);
    });
    s.test("a take-over that is killed is gone on with", || {
        become_old(lab);
        let mut up = lab.command(&["up", "--yes"]).start();
        wait_until("the role is being made a plain one", Duration::from_secs(240), || {
            let said = up.said();
            if said.contains("begin  Make Synapse's database role") { Ok(()) } else { Err(said) }
        });
        up.kill();
        lab.up();
        lab.settled();
        confined(lab);
        // The role's connections were ended; a client repeats what met one of them.
        wait_until("a message goes through", Duration::from_secs(60), || {
            anna.send(&room, "after that").map(drop).map_err(|why| why.to_string())
        });
    });
    s.test(
        "what the machine's timer runs updates a server of built images, and says what came of it",
        || {
            wait_until("Synapse's background updates are over", Duration::from_secs(420), || {
                let count = lab.guest().sh(&format!(
                    "{PSQL} --username=synapse --command='SELECT count(*) FROM background_updates'"
                ));
                if count.text() == "0" { Ok(()) } else { Err(count.text().to_owned()) }
            });
            let plan = lab.run(&["plan", "--diff"]).ok();
            assert!(plan.stdout.contains("machine/updates"), "{}", plan.evidence());
            // The same config as the timer's, wherever that is on this machine.
            let config =
                lab.write("applied.toml", &lab.guest().read("/opt/matrix/matrix.toml")).display().to_string();
            let ran = lab.run(&["--config", &config, "update", "--unattended"]).ok();
            let last = lab.status()["updates"]["last"].clone();
            assert!(
                ["settled", "updated"].contains(&last["outcome"].as_str().unwrap()),
                "{last} {}",
                ran.evidence()
            );
            lab.run(&["status"]).ok().says("automatic, on the 1st and the 15th");
            lab.healthy();
        },
    );
    s.end()
}

/// Makes the cluster what older versions made: its superuser is called synapse and owns everything, also in a
/// database that an update kept, and its own file says who may come in.
fn become_old(lab: &Lab) {
    let guest = lab.guest();
    guest.exec(["systemctl", "stop", "synapse"]).ok();
    let owner = format!("{PSQL} --username=postgres");
    guest.sh(&format!("{owner} --dbname=postgres --command='DROP DATABASE IF EXISTS synapse_of_generation_1' --command='CREATE DATABASE synapse_of_generation_1'")).ok();
    guest
        .sh(&format!("{owner} --dbname=synapse_of_generation_1 --command='CREATE TABLE kept (id bigserial)'"))
        .ok();
    let statements = "BEGIN;\n\
        ALTER ROLE synapse RENAME TO plain;\n\
        REASSIGN OWNED BY plain TO postgres;\n\
        DROP ROLE plain;\n\
        CREATE ROLE moving SUPERUSER;\n\
        SET LOCAL SESSION AUTHORIZATION moving;\n\
        ALTER ROLE postgres RENAME TO synapse;\n\
        DO $do$ BEGIN EXECUTE format('ALTER ROLE synapse PASSWORD %L', btrim(pg_read_file('/run/secrets/postgres'))); END $do$;\n\
        RESET SESSION AUTHORIZATION;\n\
        DROP ROLE moving;\n\
        COMMIT;\n";
    guest.write("/root/old.sql", statements);
    guest.sh(&format!("{owner} --dbname=synapse </root/old.sql")).ok();
    // Its unit is that of an older version, too.
    guest
        .sh("cd /opt/matrix/postgresdata/*/docker && printf 'local all all trust\\nhost all all all scram-sha-256\\n' >pg_hba.conf \
             && sed -i -E 's# -c [a-z]+_file=[^ ]*##g; /usr.local.etc.postgresql/d' /etc/containers/systemd/postgres_db.container \
             && echo matrix-podman.config=older >/etc/containers/systemd/postgres_db.labels \
             && systemctl daemon-reload && systemctl restart postgres_db && systemctl start synapse")
        .ok();
    let superuser = format!(
        "{PSQL} --username=synapse --dbname=postgres --command='SELECT rolsuper FROM pg_roles WHERE rolname = current_user'"
    );
    assert_eq!(guest.sh(&superuser).ok().text(), "t", "it is what older versions made");
    lab.becomes_healthy(Duration::from_secs(120));
}

/// Tries what somebody would who got a statement into Synapse's connection, or its password.
fn confined(lab: &Lab) {
    let tries = [
        ("synapse", "synapse", "COPY (SELECT 1) TO PROGRAM 'id'", "permission denied"),
        ("synapse", "synapse", "CREATE TEMP TABLE t (x text); COPY t FROM PROGRAM 'id'", "permission denied"),
        (
            "synapse",
            "synapse",
            "CREATE TEMP TABLE t (x text); COPY t FROM '/etc/passwd'",
            "permission denied",
        ),
        ("synapse", "synapse", "SELECT pg_read_file('/run/secrets/postgres')", "permission denied"),
        ("synapse", "synapse", "SELECT pg_ls_dir('/')", "permission denied"),
        ("synapse", "synapse", "SELECT lo_import('/etc/passwd')", "permission denied"),
        ("synapse", "synapse", "SELECT rolpassword FROM pg_authid", "permission denied"),
        ("synapse", "synapse", "CREATE ROLE other SUPERUSER", "permission denied"),
        ("synapse", "synapse", "CREATE DATABASE other", "permission denied"),
        ("synapse", "synapse", "ALTER ROLE synapse SUPERUSER", "permission denied"),
        ("synapse", "synapse", "ALTER SYSTEM SET log_statement = 'all'", "permission denied"),
        ("synapse", "synapse", "SET SESSION AUTHORIZATION postgres", "permission denied"),
        ("synapse", "synapse", "SET ROLE postgres", "permission denied"),
        ("synapse", "postgres", "SELECT 1", "no pg_hba.conf entry"),
        ("synapse", "template1", "SELECT 1", "no pg_hba.conf entry"),
        ("postgres", "synapse", "SELECT 1", "no pg_hba.conf entry"),
        ("synapse", "synapse", "SELECT 1 FROM users", "it went well"),
        (
            "synapse",
            "synapse",
            "CREATE TABLE made (x int); ALTER TABLE made ADD y int; DROP TABLE made",
            "it went well",
        ),
        ("synapse", "synapse", "ALTER TABLE users ADD made int; ALTER TABLE users DROP made", "it went well"),
    ];
    for (role, database, statement, said) in tries {
        // The same way that Synapse itself comes in.
        let script = format!(
            "import psycopg2\n\
             try:\n\
             \x20   db = psycopg2.connect(host='postgres_db', user='{role}', dbname='{database}', \
             password=open('/run/secrets/pgpass').read().strip().split(':')[4])\n\
             \x20   db.autocommit = True\n\
             \x20   db.cursor().execute(\"\"\"{statement}\"\"\")\n\
             \x20   print('it went well')\n\
             except psycopg2.Error as error:\n\
             \x20   print(error)\n"
        );
        let ran =
            lab.guest().command(["podman", "exec", "-i", "synapse", "python3", "-"]).input(script).run().ok();
        assert!(ran.stdout.contains(said), "{role}@{database}: {statement}\n{}", ran.evidence());
    }
}

/// Sends files of the largest size at once; how many arrived.
fn send_at_once(lab: &Lab, count: usize) -> usize {
    let token = lab.user("anna", PASSWORD).token;
    let url = format!("{}/_matrix/media/v3/upload?filename=large", lab.url("synapse"));
    let file = lab.path("large");
    if !file.exists() {
        let made = std::process::Command::new("head")
            .args(["--bytes", &format!("{LARGEST}M"), "/dev/urandom"])
            .stdout(std::fs::File::create(&file).unwrap())
            .status();
        assert!(made.unwrap().success());
    }
    let config = lab.write("curl", &format!("header = \"Authorization: Bearer {token}\"\n"));
    let send = || {
        let (config, file) = (config.display().to_string(), file.display().to_string());
        let argv = [
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            "300",
            "--config",
            &config,
            "--header",
            "Content-Type: application/octet-stream",
            "--request",
            "POST",
            "--upload-file",
            &file,
            "--write-out",
            "\\n%{http_code}",
            &url,
        ];
        Invocation::new(argv).run().stdout.ends_with("200")
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|t| usize::from(t.join().unwrap())).sum()
    })
}

fn uploads(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    let is_empty = || assert_eq!(guest.exec(["ls", "-A", UPLOADS]).ok().text(), "", "nothing stays there");
    s.test("files of the largest size that come at once all arrive, and nothing of them stays", || {
        assert_eq!(send_at_once(lab, 6), 6);
        is_empty();
        let memory = guest.exec(["podman", "exec", "synapse", "df", "--output=target", "/tmp"]).ok();
        memory.says("/tmp");
        let size = guest.sh("podman exec synapse df --block-size=M --output=size /tmp | tail -n 1").ok();
        assert_eq!(size.text().trim(), "64M", "it costs no memory");
    });
    s.test("more than there is room for is refused, and nobody else notices", || {
        let arrived = send_at_once(lab, 16);
        assert!((1..=16).contains(&arrived), "{arrived}");
        is_empty();
        lab.healthy();
        assert_eq!(send_at_once(lab, 2), 2, "the room is there again");
        println!("  {arrived} of 16 arrived");
    });
    s.test("what a dead Synapse left is cleared when it starts", || {
        guest.sh(&format!("head --bytes=1M /dev/zero >{UPLOADS}/left; chown 991:991 {UPLOADS}/left; ln -s /etc {UPLOADS}/link; mkdir {UPLOADS}/folder; touch {UPLOADS}/folder/file")).ok();
        guest.exec(["systemctl", "kill", "--signal=KILL", "synapse"]).ok();
        lab.becomes_healthy(Duration::from_secs(120));
        is_empty();
        assert!(guest.exec(["test", "-f", "/etc/passwd"]).ok().stderr.is_empty());
    });
}
