//! People with an account and invitations to more, on one server: every command
//! of `user` and `token`, wrong input, and the account that the program uses.

use std::{process::ExitCode, time::Duration};

use matrix_podman_e2e::{Lab, Ran, Scenario, http, wait_until};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";
const OTHER: &str = "another staple altogether";
const TOKEN_FILE: &str = "/opt/matrix/secrets/admin-token";

fn main() -> ExitCode {
    let mut s = Scenario::begin("people");
    let lab = s.foundation("a server without people", || {
        let lab = Lab::with_config("people");
        lab.run(&["user", "list"]).exits(1).says("there is no such guest").says("matrix-podman up");
        lab.up();
        lab
    });
    let lab = &lab;
    users(&mut s, lab);
    endings(&mut s, lab);
    tokens(&mut s, lab);
    service_account(&mut s, lab);
    down(&mut s, lab);
    s.end()
}

fn users(s: &mut Scenario, lab: &Lab) {
    s.test("the first question makes the program's own account, which is listed as what it is", || {
        let empty = lab.run(&["user", "service-account", "--json"]).ok().json();
        assert_eq!(empty["user_id"], Value::Null);
        let list = lab.run(&["user", "list"]).ok().says("matrix-podman itself");
        assert!(list.stderr.contains("nobody administers"), "{}", list.evidence());
        let all = accounts(lab, &[]);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0]["service_account"], true);
        let own = lab.run(&["user", "service-account"]).ok();
        assert_eq!(own.text(), all[0]["user_id"]);
        let file = lab.guest().exec(["stat", "--format", "%a %u %g", TOKEN_FILE]).ok();
        assert_eq!(file.text(), "400 0 0");
        // Asking again makes no second one.
        assert_eq!(accounts(lab, &[]).len(), 1);
    });
    s.test("people are listed and shown, with when they were made and last seen", || {
        add(lab, &["anna", "--admin", "--display-name", "Anna \u{1b}[31mÄ 安"]).ok();
        add(lab, &["bela"]).ok();
        let list = lab.run(&["user", "list"]).ok();
        assert!(!list.stdout.contains('\u{1b}'), "a name cannot act on the terminal\n{}", list.evidence());
        list.says("Ä 安").says("@bela:").says("never");
        let bela = lab.matrix().login("bela", PASSWORD);
        bela.create_room("kitchen");
        wait_until("bela was seen", Duration::from_secs(60), || {
            let shown = show(lab, "bela");
            if shown["last_seen"].is_string() { Ok(()) } else { Err(shown.to_string()) }
        });
        let shown = show(lab, "bela");
        assert_eq!((&shown["devices"], &shown["rooms"]), (&json!(1), &json!(1)), "{shown}");
        assert_eq!((&shown["admin"], &shown["state"]), (&json!(false), &json!("active")), "{shown}");
        assert!(shown["created"].as_str().unwrap().starts_with("20"), "{shown}");
        // The list and the single answer give times in other units.
        let listed = accounts(lab, &["bela"]);
        assert_eq!(listed.len(), 1);
        assert_eq!(
            listed[0]["created"].as_str().unwrap()[..16],
            shown["created"].as_str().unwrap()[..16],
            "{listed:?} {shown}"
        );
        let id = lab.matrix().user_id("bela");
        lab.run(&["user", "show", &id]).ok().says("devices").says("1");
    });
    s.test("everything works when it is typed in the guest", || {
        let guest = lab.guest();
        guest.exec(["matrix-podman", "user", "list"]).ok().says("@anna:");
        let made = guest
            .command(["matrix-podman", "user", "add", "gina", "--password-file", "-"])
            .input(PASSWORD)
            .run();
        made.ok().says("can log in");
        guest
            .exec(["matrix-podman", "token", "new", "--token", "inside", "--qr"])
            .ok()
            .says("inside")
            .says("█");
        guest.exec(["matrix-podman", "token", "delete", "inside"]).ok();
        guest.exec(["matrix-podman", "user", "deactivate", "gina", "--yes"]).ok();
    });
    s.test("who administers the server can be changed, but somebody always does", || {
        refused(lab, &["user", "demote", "anna"], "last one").says("user promote NAME");
        refused(lab, &["user", "lock", "anna"], "last one");
        refused(lab, &["user", "deactivate", "anna", "--yes"], "last one");
        assert!(is_admin(lab, "anna"));
        lab.run(&["user", "promote", "bela"]).ok();
        lab.run(&["user", "promote", "bela"]).ok().says("already").says("nothing was changed");
        assert!(is_admin(lab, "bela"));
        lab.run(&["user", "demote", "anna"]).ok();
        assert!(!is_admin(lab, "anna"));
        refused(lab, &["user", "demote", "bela"], "last one");
        let again = lab.run(&["user", "demote", "anna", "--json"]).ok().json();
        assert_eq!(again, json!({"user_id": lab.matrix().user_id("anna"), "changed": false}));
        lab.run(&["user", "promote", "anna"]).ok();
    });
    s.test("a new password ends all logins, unless they are to stay", || {
        let matrix = lab.matrix();
        let old = matrix.login("bela", PASSWORD);
        set_password(lab, &["bela", "--keep-devices"], OTHER).ok();
        old.request("GET", "/v3/account/whoami", None).unwrap();
        set_password(lab, &["bela"], PASSWORD).ok().says("logged out everywhere");
        old.request("GET", "/v3/account/whoami", None).expect_err("the old login is gone");
        matrix.try_login("bela", OTHER).expect_err("the password before no longer works");
        matrix.login("bela", PASSWORD);
        set_password(lab, &["bela"], "short\n").exits(2).says("5 characters");
        lab.on_terminal(
            &["user", "set-password", "bela"],
            &[("Password (", PASSWORD), ("Once more: ", PASSWORD)],
        )
        .ok();
    });
    s.test("who is locked is kept out, and let in again without having lost anything", || {
        let bela = lab.matrix().login("bela", PASSWORD);
        lab.run(&["user", "lock", "bela"]).ok();
        bela.request("GET", "/v3/account/whoami", None).expect_err("locked out");
        assert_eq!(show(lab, "bela")["state"], "locked");
        assert!(accounts(lab, &[]).iter().any(|a| a["state"] == "locked"), "the list has locked ones too");
        // One who is locked out does not count as somebody who administers.
        refused(lab, &["user", "demote", "anna"], "last one");
        lab.run(&["user", "lock", "bela"]).ok().says("already");
        lab.run(&["user", "unlock", "bela"]).ok();
        lab.run(&["user", "unlock", "bela"]).ok().says("not locked");
        bela.request("GET", "/v3/account/whoami", None).unwrap();
    });
    s.test("devices are listed and logged out, one or all", || {
        let matrix = lab.matrix();
        add(lab, &["dora"]).ok();
        let (phone, laptop) = (matrix.login("dora", PASSWORD), matrix.login("dora", PASSWORD));
        let id = phone.request("GET", "/v3/account/whoami", None).unwrap()["device_id"].clone();
        let id = id.as_str().unwrap();
        lab.run(&["user", "devices", "dora"]).ok().says(id);
        let count = lab.run(&["user", "devices", "dora", "--json"]).ok().json().as_array().unwrap().len();
        assert_eq!(count, 2);
        refused(lab, &["user", "logout", "dora", "NOSUCH"], "there is no device NOSUCH");
        lab.run(&["user", "logout", "dora", id]).ok().says("1 device");
        phone.request("GET", "/v3/account/whoami", None).expect_err("logged out");
        laptop.request("GET", "/v3/account/whoami", None).unwrap();
        let gone = lab.run(&["user", "logout", "dora", "--json"]).ok().json();
        assert_eq!(gone["logged_out"].as_array().map(Vec::len), Some(count - 1), "{gone}");
        laptop.request("GET", "/v3/account/whoami", None).expect_err("logged out");
        lab.run(&["user", "logout", "dora"]).ok().says("not logged in anywhere");
    });
    s.test("wrong names are refused before or with a reason, and nothing is made by them", || {
        let before = accounts(lab, &["--all"]);
        for words in [
            &["user", "show", "nobody"][..],
            &["user", "lock", "nobody"],
            &["user", "promote", "nobody"],
            &["user", "devices", "nobody"],
            &["user", "logout", "nobody"],
            &["user", "deactivate", "nobody", "--yes"],
        ] {
            refused(lab, words, "there is no user @nobody:").says("user list");
        }
        set_password(lab, &["nobody"], PASSWORD).exits(1).says("there is no user");
        lab.run(&["user", "show", "@anna:else.home.arpa"]).exits(2).says("another server");
        lab.run(&["user", "show", "anna:matrix"]).exits(2).says("whole id");
        lab.run(&["user", "add", "Anna"]).exits(2).says("lower case");
        add(lab, &["anna"]).exits(1).says("there is a user of that name");
        add(lab, &["matrix-podman-2"]).exits(1).says("kept for matrix-podman");
        assert_eq!(accounts(lab, &["--all"]).len(), before.len());
    });
}

fn endings(s: &mut Scenario, lab: &Lab) {
    s.test("an account is ended for good only when that is confirmed", || {
        add(lab, &["emil"]).ok();
        lab.run(&["user", "deactivate", "emil"]).exits(2).says("--yes").says("user lock");
        let asked = "Type emil to end it: ";
        lab.on_terminal(&["user", "deactivate", "emil"], &[(asked, "emi")])
            .exits(1)
            .says("Nothing was changed");
        lab.matrix().login("emil", PASSWORD);
        lab.on_terminal(&["user", "deactivate", "emil"], &[(asked, "emil")]).ok().says("for good");
        lab.matrix().try_login("emil", PASSWORD).expect_err("ended");
        lab.run(&["user", "deactivate", "emil", "--yes"]).ok().says("already");
        lab.run(&["user", "deactivate", "emil", "--yes", "--erase", "--json"]).ok();
        assert_eq!(show(lab, "emil")["erased"], true);
        assert!(accounts(lab, &[]).iter().all(|a| a["state"] != "deactivated"));
        assert!(accounts(lab, &["--all"]).iter().any(|a| a["state"] == "deactivated"));
        refused(lab, &["user", "promote", "emil"], "for good");
        refused(lab, &["user", "unlock", "emil"], "for good");
        set_password(lab, &["emil"], PASSWORD).exits(1).says("for good");
        add(lab, &["emil"]).exits(1).says("there is a user of that name").says("--all");
    });
}

fn tokens(s: &mut Scenario, lab: &Lab) {
    s.test("a token lets as many people in as it says", || {
        lab.run(&["token", "list"]).ok().says("there are no tokens");
        let made = lab.run(&["token", "new", "--uses", "1", "--json"]).ok().json();
        let token = made["token"].as_str().unwrap();
        assert_eq!(made["web_client"], lab.status()["urls"]["public_client"]);
        assert_eq!(made["server"], lab.server_name().as_str());
        register(lab, "fritz", token).unwrap();
        lab.matrix().login("fritz", PASSWORD);
        register(lab, "gustav", token).expect_err("it is used up");
        let shown = lab.run(&["token", "show", token, "--json"]).ok().json();
        assert_eq!((&shown["state"], &shown["completed"]), (&json!("used up"), &json!(1)), "{shown}");
        lab.run(&["token", "set", token, "--uses", "2"]).ok().says("one account");
        register(lab, "gustav", token).unwrap();
        lab.run(&["token", "list"]).ok().says(token).says("2 of 2").says("used up");
    });
    s.test("a token has the word, the uses and the end that were wanted", || {
        let new = lab
            .run(&[
                "token",
                "new",
                "--token",
                "Come_in.2~-",
                "--uses",
                "unlimited",
                "--expires",
                "never",
                "--qr",
            ])
            .ok();
        let lines = new.stdout.lines().filter(|l| l.contains('█')).count();
        assert!((15..40).contains(&lines), "a QR code\n{}", new.evidence());
        new.says("Come_in.2~-").says("any number").says("https://chat.").says("never ends");
        let date = lab.run(&["token", "set", "Come_in.2~-", "--expires", "2031-12-31", "--json"]).ok().json();
        // The end of that day in the site's time zone.
        assert!(
            ["2031-12-31T", "2032-01-01T"].iter().any(|d| date["expires"].as_str().unwrap().starts_with(d)),
            "{date}"
        );
        assert_eq!(date["uses_allowed"], Value::Null, "what is not named stays");
        lab.run(&["token", "delete", "Come_in.2~-"]).ok().says("stay");
        register(lab, "hugo", "Come_in.2~-").expect_err("it is gone");
    });
    s.test("wrong tokens are refused with a reason", || {
        let long = "x".repeat(65);
        for (words, reason) in [
            (&["token", "new", "--token", "two words"][..], "cannot stand in a token"),
            (&["token", "new", "--token", &long], "at most 64"),
            (&["token", "new", "--uses", "0"], "from 1 on"),
            (&["token", "new", "--expires", "2020-01-01"], "in the past"),
            (&["token", "new", "--expires", "soon"], "7d"),
            (&["token", "new", "--expires", "0d"], "at once"),
            (&["token", "new", "--expires", "99999999999d"], "too far away"),
            (&["token", "set", "word"], "--uses"),
        ] {
            lab.run(words).exits(2).says(reason);
        }
        lab.run(&["token", "new", "--token", "twice"]).ok();
        refused(lab, &["token", "new", "--token", "twice"], "already").says("token set twice");
        for words in [
            &["token", "show", "none"][..],
            &["token", "delete", "none"],
            &["token", "set", "none", "--uses", "3"],
        ] {
            refused(lab, words, "there is no token none").says("token list");
        }
        let error = lab.run(&["token", "show", "none", "--json"]).exits(1).json();
        assert_eq!(error["event"], "error", "{error}");
    });
}

fn service_account(s: &mut Scenario, lab: &Lab) {
    s.test("the program's own account is left alone by what changes people", || {
        for words in [
            &["user", "demote", "matrix-podman"][..],
            &["user", "lock", "matrix-podman"],
            &["user", "logout", "matrix-podman"],
            &["user", "deactivate", "matrix-podman", "--yes"],
        ] {
            refused(lab, words, "matrix-podman itself uses").says("service-account --remove");
        }
    });
    s.test("an account whose token no longer works is replaced, and ended", || {
        for spoil in
            [format!("rm {TOKEN_FILE}"), format!("echo syt_wrong >{TOKEN_FILE}"), format!(": >{TOKEN_FILE}")]
        {
            let before = service_accounts(lab);
            lab.guest().sh(&spoil).ok();
            lab.run(&["user", "show", "anna"]).ok();
            let after = service_accounts(lab);
            assert_eq!(after.len(), 1, "one account, not two: {after:?}");
            assert_ne!(before, after, "after {spoil}");
        }
        // Somebody who administers the server has taken its rights away.
        let own = service_accounts(lab)[0].clone();
        let anna = lab.matrix().login("anna", PASSWORD);
        let path = format!("/_synapse/admin/v1/users/{own}/admin");
        assert_eq!(lab.admin("PUT", &path, &anna.token, Some(&json!({"admin": false}))).0, 200);
        lab.run(&["user", "show", "anna"]).ok();
        assert_eq!(service_accounts(lab).len(), 1);
        assert_ne!(service_accounts(lab)[0], own);
        let shown = lab.guest().exec(["stat", "--format", "%a %u %g", TOKEN_FILE]).ok();
        assert_eq!(shown.text(), "400 0 0");
    });
    s.test("it can be removed", || {
        let anna = lab.matrix().login("anna", PASSWORD);
        lab.run(&["user", "service-account", "--remove"]).ok().says("ended");
        lab.guest().exec(["test", "-e", TOKEN_FILE]).exits(1);
        lab.run(&["user", "service-account", "--remove"]).ok().says("nothing was changed");
        let path = "/_synapse/admin/v2/users?deactivated=false&name=matrix-podman";
        let left = lab.admin("GET", path, &anna.token, None).1;
        assert_eq!(left["users"].as_array().map(Vec::len), Some(0), "{left}");
        lab.settled();
    });
}

fn down(s: &mut Scenario, lab: &Lab) {
    s.test("a server that does not run says so, and what to type", || {
        lab.guest().exec(["systemctl", "stop", "synapse"]).ok();
        refused(lab, &["user", "list"], "Synapse does not run").says("matrix-podman status");
        add(lab, &["otto"]).exits(1).says("Synapse does not run");
        // Its port takes connections long before it answers.
        lab.guest().exec(["systemctl", "start", "--no-block", "synapse"]).ok();
        wait_until("Synapse is starting", Duration::from_secs(10), || {
            match lab.guest().exec(["systemctl", "is-active", "synapse"]).text() {
                "activating" => Ok(()),
                other => Err(other.to_owned()),
            }
        });
        refused(lab, &["token", "list"], "still starting").says("try again");
        lab.becomes_healthy(Duration::from_secs(90));
        lab.run(&["token", "list"]).ok();
        lab.guest().shut_down();
        lab.run(&["user", "list"]).exits(1).says("does not run").says("matrix-podman up");
    });
}

/// `user add` with [`PASSWORD`].
fn add(lab: &Lab, words: &[&str]) -> Ran {
    let words = [&["user", "add", "--password-file", "-"], words].concat();
    lab.command(&words).input(format!("{PASSWORD}\n")).run()
}

fn set_password(lab: &Lab, words: &[&str], password: &str) -> Ran {
    let words = [&["user", "set-password", "--password-file", "-"], words].concat();
    lab.command(&words).input(password).run()
}

/// What fails with a reason.
#[track_caller]
fn refused(lab: &Lab, words: &[&str], reason: &str) -> Ran {
    lab.run(words).exits(1).says(reason)
}

#[track_caller]
fn accounts(lab: &Lab, words: &[&str]) -> Vec<Value> {
    let words = [&["user", "list", "--json"], words].concat();
    lab.run(&words).ok().json().as_array().cloned().unwrap()
}

#[track_caller]
fn show(lab: &Lab, name: &str) -> Value {
    lab.run(&["user", "show", name, "--json"]).ok().json()
}

fn service_accounts(lab: &Lab) -> Vec<String> {
    let of_ours = accounts(lab, &[]).into_iter().filter(|a| a["service_account"] == true);
    of_ours.map(|a| a["user_id"].as_str().unwrap().to_owned()).collect()
}

fn is_admin(lab: &Lab, name: &str) -> bool {
    let token = lab.matrix().login(name, PASSWORD).token;
    lab.admin("GET", "/_synapse/admin/v2/users?limit=1", &token, None).0 == 200
}

/// Makes an account as a client does for a person with an invite token.
fn register(lab: &Lab, name: &str, token: &str) -> Result<(), String> {
    let url = format!("{}/_matrix/client/v3/register", lab.matrix().url);
    let mut body = json!({"username": name, "password": PASSWORD});
    for stage in ["m.login.registration_token", "m.login.dummy"] {
        let (status, answer) = http("POST", &url, None, Some(&body))?;
        if status == 200 {
            return Ok(());
        }
        let session = answer["session"].clone();
        body["auth"] = json!({"type": stage, "token": token, "session": session});
        let (status, answer) = http("POST", &url, None, Some(&body))?;
        if status == 200 {
            return Ok(());
        }
        if answer["errcode"].is_string() {
            return Err(format!("{status} {answer}"));
        }
    }
    Err(format!("{name} could not register"))
}
