//! Settings that the program has no key for.

use matrix_podman_e2e::{Lab, Scenario, http};

use super::{PASSWORD, changed_services, incarnations};

pub fn settings(s: &mut Scenario, lab: &Lab) {
    s.test("settings without a key are merged into the services' own files", || merged(lab));
    s.test("what the program decides itself is refused with the key that sets it", || {
        refused_beforehand(lab);
    });
    s.test("what Synapse or PostgreSQL itself refuses leaves the server as it is", || refused(lab));
}

fn merged(lab: &Lab) {
    let guest = lab.guest();
    let anna = lab.user("anna", PASSWORD);
    let before = incarnations(&guest);
    lab.set("[synapse.extra]", "enable_set_displayname", "false");
    lab.set("[web.extra]", "default_theme", "\"dark\"");
    lab.run(&["plan", "--exit-code", "--diff"])
        .exits(3)
        .says("+ enable_set_displayname: false")
        .says("+   \"default_theme\": \"dark\"");
    lab.up();
    assert_eq!(changed_services(&before, &incarnations(&guest)), ["synapse", "element-web"]);
    let capabilities = anna.request("GET", "/v3/capabilities", None).unwrap();
    assert_eq!(capabilities["capabilities"]["m.set_displayname"]["enabled"], false, "{capabilities}");
    let (_, config) = http("GET", &format!("{}/config.json", lab.url("client")), None, None).unwrap();
    assert_eq!(config["default_theme"], "dark", "{config}");

    lab.set("[postgres.extra]", "log_lock_waits", "true");
    lab.up();
    lab.healthy();
    lab.run(&["psql", "--", "--tuples-only", "--command", "SHOW log_lock_waits"]).ok().says("on");
    lab.settled();
}

fn refused_beforehand(lab: &Lab) {
    let config = lab.config();
    lab.set("[synapse.extra]", "max_upload_size", "\"1G\"");
    lab.run(&["up", "--yes"]).exits(2).says("synapse.max_upload_size");
    lab.write("matrix.toml", &config);
    lab.settled();
}

fn refused(lab: &Lab) {
    let guest = lab.guest();
    let config = lab.config();
    let before = incarnations(&guest);
    for (section, key, value, words) in [
        (
            "[synapse.extra]",
            "retention",
            "{ enabled = true, default_policy = { min_lifetime = \"soon\" } }",
            "soon",
        ),
        ("[postgres.extra]", "work_mem", "\"lots\"", "work_mem"),
        ("[postgres.extra]", "no_such_setting", "1", "no_such_setting"),
    ] {
        lab.set(section, key, value);
        let up = lab.run(&["up", "--yes"]).exits(1).says(words).says("next:");
        assert_eq!(incarnations(&guest), before, "nothing was restarted\n{}", up.evidence());
        lab.write("matrix.toml", &config);
    }
    lab.up();
    lab.settled();
}
