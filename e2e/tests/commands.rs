//! The command line without a server: what it prints, refuses and leaves alone.
//! None of these needs a guest, and none may change anything on the machine.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use matrix_podman_e2e::{Invocation, Lab, MachineSnapshot, binary, tool};

const COMMANDS: [&str; 12] = [
    "init",
    "schema",
    "plan",
    "up",
    "status",
    "logs",
    "restart",
    "render",
    "destroy",
    "user",
    "completions",
    "man",
];

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let lab = Lab::new("help");
    let help = lab.run(&["--help"]).ok();
    for command in COMMANDS {
        assert!(help.stdout.contains(&format!("\n  {command}")), "{command} in\n{}", help.stdout);
        lab.run(&[command, "--help"]).ok().says("Usage:");
    }
    help.says("0 done, 1 failed, 2 wrong use or wrong config").says("3 changes pending");
    lab.run(&["--version"]).ok().says("matrix-podman ");
}

#[test]
fn wrong_use_exits_with_2() {
    let lab = Lab::new("wrong-use");
    for arguments in [
        &["no-such-command"][..],
        &["up", "--no-such-flag"],
        &["user", "add"],
        &["user", "add", "Not A Name"],
        &["restart", "no-such-service"],
        &["completions", "no-such-shell"],
        &["up", "--config", "no-such-file.toml", "--yes"],
        &["init", "--yes"],
        &["up", "--domain", "example.com", "--yes"],
        &["up", "--domain", "not a domain", "--yes"],
    ] {
        let ran = lab.run(arguments).exits(2);
        assert!(!ran.stderr.trim().is_empty(), "it says why\n{}", ran.evidence());
    }
    assert_eq!(files(&lab.folder), Vec::<String>::new(), "nothing was written");
}

#[test]
fn a_domain_that_is_not_there_is_asked_for_by_name() {
    let lab = Lab::new("no-domain");
    lab.run(&["init", "--yes"]).exits(2).says("--domain");
}

#[test]
fn init_writes_a_config_that_the_program_takes_and_shows_user_ids() {
    let lab = Lab::new("init");
    lab.run(&["init", "--domain", &lab.domain, "--yes"]).ok().says(&format!("@anna:matrix.{}", lab.domain));
    assert_eq!(files(&lab.folder), ["matrix.toml"]);
    let config = lab.config();
    assert!(config.contains(&format!("domain = \"{}\"", lab.domain)), "{config}");
    // Never over what is there, unless told to.
    lab.write("matrix.toml", &format!("{config}# mine\n"));
    lab.run(&["init", "--domain", &lab.domain, "--yes"]).exits(2).says("--force");
    assert!(lab.config().ends_with("# mine\n"));
    lab.run(&["init", "--domain", &lab.domain, "--yes", "--force"]).ok();
    assert_eq!(lab.config(), config);
    lab.run(&["render", "rendered"]).ok();
}

#[test]
fn init_on_a_terminal_is_a_conversation_that_ends_with_the_plan() {
    let lab = Lab::new("init-terminal");
    let ran = lab
        .on_terminal(
            &["init", "--guest-name", &lab.guest().name],
            &[
                ("Your domain", "example.com"),
                ("Your domain", &lab.domain),
                ("Choose [1]", "2"),
                ("Public access [1]", "2"),
                ("Its address", "10.9.8.7/32"),
                ("A folder on another disk", ""),
            ],
        )
        .ok();
    assert!(ran.stdout.contains(&format!("@anna:{}", lab.domain)), "{}", ran.evidence());
    // It ends with the plan, and nothing of it is done.
    assert!(
        ran.stdout.contains("The plan:") && ran.stdout.contains("Create the guest"),
        "{}",
        ran.evidence()
    );
    assert!(!lab.guest().exists());
    let config = lab.config();
    assert!(config.contains(&format!("server_name = \"{}\"", lab.domain)), "{config}");
    assert!(config.contains("proxies = [\"10.9.8.7/32\"]"), "{config}");
}

#[test]
fn all_mistakes_of_a_config_are_told_at_once_with_line_value_and_hint() {
    let lab = Lab::new("mistakes");
    lab.write(
        "matrix.toml",
        "domain = \"example.com\"\ntimezone = \"Berlin\"\n\n[guest]\nmemroy = \"4G\"\ncores = 0\n\n[ports]\nsynapse = 70000\nweb = 8080\n\n[synapse]\nmax_upload_size = \"huge\"\nregistration = 3\n\n[images.redis]\nreference = \"UPPER CASE\"\n",
    );
    for command in [&["up", "--yes"][..], &["plan"], &["status"], &["render", "out"]] {
        let ran = lab.run(command).exits(2);
        for (line, words) in [
            (1, "placeholder"),
            (2, "Europe/Berlin"),
            (5, "guest.memory"),
            (6, "guest.cores"),
            (9, "70000"),
            (13, "huge"),
            (14, "synapse.registration"),
            (17, "UPPER CASE"),
        ] {
            let mark = format!("matrix.toml:{line}:");
            assert!(
                ran.stderr.contains(&mark) && ran.stderr.contains(words),
                "{mark} {words}\n{}",
                ran.evidence()
            );
        }
        assert!(ran.stderr.matches("hint:").count() >= 6, "{}", ran.evidence());
        assert_eq!(ran.stdout, "", "only standard error: {}", ran.evidence());
    }
    assert_eq!(files(&lab.folder), ["matrix.toml"], "nothing was touched");
}

#[test]
fn mistakes_come_as_json_where_json_was_asked_for() {
    let lab = Lab::new("mistakes-json");
    lab.write("matrix.toml", "domain = \"home.arpa.example\"\nfoo = 1\n");
    let event = lab.run(&["plan", "--json"]).exits(2).json();
    assert_eq!(event["event"], "error", "{event}");
    assert!(event["mistakes"].as_array().is_some_and(|m| !m.is_empty()), "{event}");
}

#[test]
fn what_is_not_toml_is_shown_with_its_line() {
    let lab = Lab::new("not-toml");
    lab.write("matrix.toml", "domain = \"a.home.arpa\"\n[guest\ncores = 2\n");
    lab.run(&["plan"]).exits(2).says("matrix.toml:2");
}

#[test]
fn a_folder_without_a_config_says_what_to_type() {
    let lab = Lab::new("empty");
    // Another site on this machine would be taken as the one that is meant.
    let ran = lab.run(&["up", "--yes", "--config", "matrix.toml"]).exits(2);
    assert!(ran.stderr.contains("matrix.toml"), "{}", ran.evidence());
    assert_eq!(files(&lab.folder), Vec::<String>::new());
}

#[test]
fn the_schema_is_json_schema_and_describes_every_section() {
    let lab = Lab::new("schema");
    let schema = lab.run(&["schema"]).ok().json();
    assert!(schema["$schema"].as_str().is_some_and(|s| s.contains("json-schema.org")), "{schema}");
    assert_eq!(schema["required"], serde_json::json!(["domain"]));
    for section in ["ports", "guest", "images", "synapse", "postgres", "turn", "web"] {
        assert!(schema["properties"][section].is_object(), "{section} in {schema}");
    }
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
}

#[test]
fn completions_are_scripts_that_their_shells_can_read() {
    let lab = Lab::new("completions");
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "#compdef matrix-podman"), ("fish", "complete -c matrix-podman")]
    {
        let ran = lab.run(&["completions", shell]).ok().says(word);
        let file = lab.write(&format!("completion.{shell}"), &ran.stdout);
        if tool(shell).is_some() {
            Invocation::new([shell, "-n", &file.display().to_string()]).run().ok();
        }
    }
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let lab = Lab::new("man");
    lab.run(&["man", "pages"]).ok();
    let pages = files(&lab.path("pages"));
    assert!(pages.contains(&"matrix-podman.1".to_owned()), "{pages:?}");
    for command in COMMANDS {
        assert!(pages.contains(&format!("matrix-podman-{command}.1")), "{command} in {pages:?}");
    }
    assert!(!pages.iter().any(|p| p.contains("agent")), "hidden commands have no page: {pages:?}");
    let page = fs::read_to_string(lab.path("pages/matrix-podman.1")).unwrap();
    assert!(page.contains(".TH matrix-podman 1"), "{page}");
}

#[test]
fn render_writes_every_file_of_the_guest_and_touches_nothing_else() {
    let lab = Lab::with_config("render");
    let before = MachineSnapshot::take(&["e2e-", "mpe2e"]);
    let listed = lab.run(&["render", "out"]).ok();
    for file in [
        "opt/matrix/docker-compose.yml",
        "opt/matrix/.env",
        "opt/matrix/synapse/homeserver.yaml",
        "opt/matrix/element-config.json",
        "opt/matrix/element-nginx.conf",
        "etc/containers/systemd/synapse.container",
        "etc/containers/systemd/postgres_db.container",
        "etc/containers/systemd/redis.container",
        "etc/containers/systemd/element-web.container",
        "etc/systemd/system/matrix-stack.service",
        "etc/sysctl.d/99-hardening.conf",
    ] {
        let path = lab.path("out").join(file);
        assert!(path.is_file(), "{file} is there\n{}", listed.evidence());
        assert!(listed.stdout.contains(file), "{file} is named\n{}", listed.evidence());
    }
    let homeserver = fs::read_to_string(lab.path("out/opt/matrix/synapse/homeserver.yaml")).unwrap();
    assert!(homeserver.contains(&format!("server_name: {}", lab.server_name())), "{homeserver}");
    assert!(!lab.guest().exists());
    before.same_as(&MachineSnapshot::take(&["e2e-", "mpe2e"]));
    // The same config gives the same files.
    let first = fs::read_to_string(lab.path("out/opt/matrix/docker-compose.yml")).unwrap();
    lab.run(&["render", "again"]).ok();
    assert_eq!(first, fs::read_to_string(lab.path("again/opt/matrix/docker-compose.yml")).unwrap());
}

#[test]
fn a_plan_for_a_new_server_explains_its_steps_and_touches_nothing() {
    let lab = Lab::with_config("plan");
    let before = MachineSnapshot::take(&["e2e-", "mpe2e"]);
    let plan = lab.run(&["plan"]).ok();
    assert!(plan.stdout.contains("because"), "{}", plan.evidence());
    assert!(
        plan.stdout.contains(&lab.guest().name) && plan.stdout.contains(&lab.bridge()),
        "{}",
        plan.evidence()
    );
    lab.run(&["plan", "--exit-code"]).exits(3);
    let json = lab.run(&["plan", "--json"]).ok().json();
    assert_eq!(json["site"], lab.domain.as_str());
    assert!(json["plan"]["entries"].as_array().is_some_and(|e| e.len() > 20), "{json}");
    assert!(json["checks"].as_array().is_some_and(|c| c.len() > 5), "{json}");
    assert_eq!(files(&lab.folder), ["matrix.toml"]);
    assert!(!lab.guest().exists() && !lab.state_folder().exists());
    before.same_as(&MachineSnapshot::take(&["e2e-", "mpe2e"]));
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let lab = Lab::with_config("no-terminal");
    lab.run(&["up"]).exits(2).says("--yes");
    assert!(!lab.guest().exists());
}

#[test]
fn a_person_who_says_no_is_left_in_peace() {
    let lab = Lab::with_config("says-no");
    lab.on_terminal(&["up"], &[("[Y/n]", "n")]).exits(1).says("Nothing was changed");
    assert!(!lab.guest().exists());
}

#[test]
fn status_of_a_server_that_is_not_there_says_so() {
    let lab = Lab::with_config("absent");
    lab.run(&["status"]).exits(1).says("absent").says("matrix-podman up");
    let status = lab.run(&["status", "--json"]).exits(1).json();
    assert_eq!(status["guest"]["state"], "absent");
    assert_eq!(status["services"].as_array().map(Vec::len), Some(4));
    lab.run(&["destroy", "--yes"]).ok().says("there is no guest");
    lab.command(&["user", "add", "anna", "--password-file", "-"]).input("correct horse\n").run().exits(1);
}

#[test]
fn there_is_no_colour_in_a_pipe_nor_with_no_color() {
    let lab = Lab::with_config("colour");
    for arguments in [&["status"][..], &["plan"], &["--help"], &["up"], &["frobnicate"]] {
        lab.run(arguments).never_says("\u{1b}");
    }
    let program = binary().display().to_string();
    let on_terminal = |no_color: bool| {
        let line = format!("{program} status");
        let script = Invocation::new(["script", "--quiet", "--return", "--command", &line, "/dev/null"])
            .folder(&lab.folder)
            .env("TERM", "xterm-256color");
        if no_color { script.env("NO_COLOR", "1") } else { script.without_env("NO_COLOR") }.run().stdout
    };
    assert!(
        on_terminal(false).contains("\u{1b}["),
        "on a terminal there is colour: {:?}",
        on_terminal(false)
    );
    assert!(!on_terminal(true).contains("\u{1b}["), "with NO_COLOR there is none: {:?}", on_terminal(true));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let lab = Lab::new("pipe");
    let line = format!("{} schema | head -n 1", binary().display());
    Invocation::new(["bash", "-c", &line]).folder(&lab.folder).run().ok().never_says("panicked");
    let line = format!("{} completions bash | head -n 1", binary().display());
    Invocation::new(["bash", "-c", &line]).folder(&lab.folder).run().ok().never_says("panicked");
}

#[test]
fn who_is_not_root_is_told_so_and_nothing_is_changed() {
    let lab = Lab::with_config("not-root");
    fs::set_permissions(&lab.folder, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = lab.path("matrix-podman");
    fs::copy(binary(), &copy).unwrap();
    let program = copy.display().to_string();
    let as_nobody = |arguments: &[&str]| {
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &program];
        Invocation::new(nobody.iter().chain(arguments)).folder(&lab.folder).run()
    };
    // Each would say that there is no guest, which nobody but root can see.
    for command in [
        &["up", "--yes"][..],
        &["status"],
        &["plan"],
        &["doctor"],
        &["verify"],
        &["destroy"],
        &["destroy", "--yes"],
        &["user", "list"],
        &["backup", "list"],
        &["open"],
        &["set", "web.brand", "It's ours"],
    ] {
        as_nobody(command).exits(2).says("this needs root").says("sudo matrix-podman ");
    }
    as_nobody(&["set", "web.brand", "It's ours"]).says(r"sudo matrix-podman set web.brand 'It'\''s ours'");
    as_nobody(&["render", "--help"]).ok();
    as_nobody(&["schema"]).ok();
    assert!(!lab.guest().exists());
}

#[test]
fn the_program_is_static_and_below_25_megabytes() {
    let size = fs::metadata(binary()).unwrap().len();
    assert!(size < 25_000_000, "{size} bytes");
    let ldd = Invocation::new(["ldd", &binary().display().to_string()]).run();
    assert!(
        ldd.stdout.contains("statically linked") || ldd.stderr.contains("not a dynamic executable"),
        "{}",
        ldd.evidence()
    );
}

#[test]
fn a_config_that_somebody_else_wrote_or_can_write_is_not_acted_on() {
    let lab = Lab::new("stranger");
    lab.run(&["init", "--domain", &lab.domain, "--yes"]).ok();
    let file = lab.path("matrix.toml");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let refused = |why: &str| {
        for command in [&["plan"][..], &["up", "--yes"], &["status"], &["set", "guest.cores", "2"]] {
            lab.run(command).exits(2).says("is not acted on").says(why).says("--config matrix.toml");
        }
    };
    mode(&file, 0o666);
    refused("everybody can write to it");
    mode(&file, 0o644);
    mode(&lab.folder, 0o777);
    refused("everybody can write to its folder");
    mode(&lab.folder, 0o755);
    std::os::unix::fs::chown(&file, Some(1234), Some(1234)).unwrap();
    refused("it belongs to somebody else (user id 1234)");
    // Whoever names it has looked at it; and who calls sudo in their own folder wrote it.
    lab.run(&["render", "named", "--config", "matrix.toml"]).ok();
    lab.command(&["render", "called"]).env("SUDO_UID", "1234").run().ok();
    lab.command(&["render", "called"]).env("SUDO_UID", "1235").run().exits(2).says("is not acted on");
}

#[test]
fn what_is_made_does_not_depend_on_the_umask() {
    let lab = Lab::new("umask");
    for (umask, name) in [("000", "open"), ("077", "closed")] {
        let file = format!("{name}.toml");
        let script = format!(
            "umask {umask} && {0} init --config {file} --domain {1} --yes && {0} --config {file} render {name}",
            binary().display(),
            lab.domain
        );
        Invocation::new(["sh", "-c", &script]).folder(&lab.folder).run().ok();
        let mode = |path: &str| fs::metadata(lab.path(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&file), mode(name)), (0o644, 0o755), "{umask}");
    }
}
