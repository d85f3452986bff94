//! Which site a command is about, on a machine with several, with none that has a
//! guest, and with a guest that is somebody else's. None of these makes a guest.

use std::{fs, time::Duration};

use matrix_podman_e2e::Lab;

/// Commands that need to know the site, and most of them its guest.
const COMMANDS: [&[&str]; 7] = [
    &["verify", "--slow"],
    &["status"],
    &["doctor"],
    &["logs"],
    &["user", "list"],
    &["exec", "synapse", "--", "true"],
    &["backup", "now"],
];

/// A site that this machine remembers, as after an `up`.
fn remembered(name: &str) -> Lab {
    let lab = Lab::with_config(name);
    let state = lab.state_folder();
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("config-path"), format!("{}\n", lab.path("matrix.toml").display())).unwrap();
    lab
}

#[test]
fn a_new_site_is_made_beside_others_and_mistakes_are_told_as_such() {
    let sites = ["sites-a", "sites-b", "sites-c"].map(remembered);
    // One of them is on a machine that nobody reaches.
    sites[0].set("", "host", "\"ssh://root@192.0.2.1\"");
    let empty = Lab::new("sites-new");
    for command in COMMANDS {
        let ran = empty.run(command).exits(2).says("there are several sites on this machine");
        assert!(
            ran.stderr.contains(&sites[1].path("matrix.toml").display().to_string()),
            "{}",
            ran.evidence()
        );
    }
    let patience = Duration::from_secs(120);
    let guest = empty.guest().name;
    let new = ["plan", "--domain", &empty.domain, "--guest-name", &guest];
    let ran = empty.command(&new).within(patience).run();
    ran.ok().says("Create the guest").never_says("several sites").never_says("192.0.2.1");
    empty
        .run(&["up", "--domain", "example.com", "--yes"])
        .exits(2)
        .says("placeholder")
        .never_says("several sites");
    empty.run(&["up", "--domain", "not a domain", "--yes"]).exits(2).never_says("several sites");
    empty.run(&["plan", "--domain", &sites[1].domain]).ok().says(&sites[1].guest().name);
}

#[test]
fn what_needs_a_guest_says_that_there_is_none() {
    let lab = Lab::with_config("sites-none");
    for command in COMMANDS {
        let ran = lab.command(command).within(Duration::from_secs(180)).run();
        assert_ne!(ran.code, 0, "{}", ran.evidence());
        ran.never_says("several sites").never_says("mistake in matrix-podman");
    }
    lab.run(&["verify", "--slow"]).exits(1).says("there is no guest");
}

#[test]
fn a_guest_of_somebody_elses_is_named_and_left_alone() {
    let lab = Lab::with_config("sites-theirs");
    let folder = lab.guest().folder();
    fs::create_dir_all(&folder).unwrap();
    let config = folder.join("config");
    fs::write(&config, "# matrix-podman site: other.home.arpa\nlxc.uts.name = other\n").unwrap();
    let before = fs::read_to_string(&config).unwrap();
    for command in COMMANDS {
        let ran = lab.command(command).within(Duration::from_secs(180)).run();
        assert_ne!(ran.code, 0, "{}", ran.evidence());
    }
    lab.run(&["verify", "--slow"]).exits(1).says("is the guest of another site, other.home.arpa");
    lab.run(&["logs"]).exits(1).says("is the guest of another site, other.home.arpa");
    lab.run(&["up", "--yes"]).exits(1).says("of the site other.home.arpa");
    assert_eq!(fs::read_to_string(&config).unwrap(), before, "it is as it was");
    fs::remove_dir_all(&folder).unwrap();
}
