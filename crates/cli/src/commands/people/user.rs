//! `user`: people with an account.

use std::{
    fs,
    io::{BufRead as _, stdin},
    path::Path,
};

use anstyle::Style;
use matrix_podman_core::people::{
    Account, Answer, Call, Device, Millis, NewUser, Password, Person, State, UserId,
};
use matrix_podman_host::failure::Failure;
use serde_json::{Value as Json, json};

use super::{
    Desk,
    text::{ago, day, local, now, rfc3339},
    unexpected,
};
use crate::{
    args::{Named, User, UserAdd, UserDeactivate, UserList, UserLogout, UserServiceAccount, UserSetPassword},
    commands::{OK, up::ask},
    error::Error,
    output::{self, BOLD, DIM, GREEN, RED, Table, YELLOW, harmless, styled},
};

pub fn run(config: Option<&Path>, user: &User) -> Result<u8, Error> {
    let desk = Desk::open(config)?;
    match user {
        User::Add(args) => add(&desk, args),
        User::List(args) => list(&desk, args),
        User::Show(args) => show(&desk, args),
        User::SetPassword(args) => set_password(&desk, args),
        User::Promote(args) => {
            let call = |user| Call::SetAdmin { user, admin: true };
            change(&desk, args, call, "may administer the server now", "administers the server already")
        }
        User::Demote(args) => {
            let call = |user| Call::SetAdmin { user, admin: false };
            change(&desk, args, call, "no longer administers the server", "does not administer the server")
        }
        User::Lock(args) => {
            let call = |user| Call::SetLocked { user, locked: true };
            let done = "is kept out until `matrix-podman user unlock`; nothing of theirs is lost";
            change(&desk, args, call, done, "is locked already")
        }
        User::Unlock(args) => {
            let call = |user| Call::SetLocked { user, locked: false };
            change(&desk, args, call, "is let in again", "is not locked")
        }
        User::Deactivate(args) => deactivate(&desk, args),
        User::Devices(args) => devices(&desk, args),
        User::Logout(args) => logout(&desk, args),
        User::ServiceAccount(args) => service_account(&desk, args),
    }
}

/// The id of a person on this server.
fn id(desk: &Desk, person: &Person) -> Result<UserId, Error> {
    person
        .on(&desk.world.site().config.server_name)
        .map_err(|why| Error::usage(why.to_string(), "`matrix-podman user list` shows all accounts here"))
}

/// Says what became of an account, or that it was so already.
fn told(user: &UserId, as_json: bool, changed: bool, text: &str) -> Result<u8, Error> {
    if as_json {
        super::json(&json!({"user_id": user, "changed": changed}))?;
    } else if changed {
        output::say(&format!("{} {user} {text}.", styled(GREEN, "✓")));
    } else {
        output::say(&format!("{user} {text}; nothing was changed."));
    }
    OK
}

fn change(
    desk: &Desk,
    args: &Named,
    call: impl FnOnce(UserId) -> Call,
    done: &str,
    already: &str,
) -> Result<u8, Error> {
    let user = id(desk, &args.name)?;
    match desk.ask(&call(user.clone()))? {
        Answer::Done => told(&user, args.output.json, true, done),
        Answer::Already => told(&user, args.output.json, false, already),
        other => Err(unexpected(&other)),
    }
}

fn add(desk: &Desk, args: &UserAdd) -> Result<u8, Error> {
    let new = NewUser {
        localpart: args.name.clone(),
        password: password(desk, args.password_file.as_deref())?,
        admin: args.admin,
        display_name: args.display_name.clone(),
    };
    desk.ask(&Call::Add(new))?;
    let id = UserId::of(&args.name, &desk.world.site().config.server_name);
    if args.output.json {
        super::json(&json!({"user_id": id, "admin": args.admin}))?;
    } else {
        let role = if args.admin { "an administrator" } else { "a user" };
        output::say(&format!("{} {id} is {role} now and can log in.", styled(GREEN, "✓")));
    }
    OK
}

fn list(desk: &Desk, args: &UserList) -> Result<u8, Error> {
    let mut accounts = match desk.ask(&Call::List { part: args.part.clone(), deactivated: args.all })? {
        Answer::Accounts(accounts) => accounts,
        other => return Err(unexpected(&other)),
    };
    accounts.sort_by(|a, b| a.id.cmp(&b.id));
    if args.output.json {
        super::json(&accounts.iter().map(account_json).collect::<Vec<_>>())?;
        return OK;
    }
    let now = now();
    let mut table = Table::new(["id", "name", "role", "state", "made", "last seen"]);
    for account in &accounts {
        table.row(cells(account, now));
    }
    if accounts.is_empty() {
        output::say("there is nobody of that name");
    } else {
        table.print();
    }
    if accounts.iter().all(|a| !a.admin || a.is_service()) && args.part.is_none() {
        output::say("nobody administers this server: `matrix-podman user promote NAME`");
    }
    OK
}

fn role(account: &Account) -> &'static str {
    match account {
        _ if account.is_service() => "matrix-podman itself",
        _ if account.admin => "admin",
        _ => "user",
    }
}

fn state(account: &Account) -> (&'static str, Style) {
    match account.state() {
        State::Active => ("active", Style::new()),
        State::Locked => ("locked", YELLOW),
        State::Deactivated => ("deactivated", DIM),
    }
}

fn cells(account: &Account, now: Millis) -> [(String, Style); 6] {
    let (word, style) = state(account);
    let quiet = if style == DIM || account.is_service() { DIM } else { Style::new() };
    [
        (account.id.to_string(), quiet),
        (account.display_name.clone().unwrap_or_default(), quiet),
        (role(account).to_owned(), if role(account) == "admin" { BOLD } else { quiet }),
        (word.to_owned(), style),
        (day(account.created), quiet),
        (ago(now, account.last_seen), quiet),
    ]
}

fn account_json(account: &Account) -> Json {
    let mut json = json!({
        "user_id": account.id,
        "display_name": account.display_name,
        "admin": account.admin,
        "service_account": account.is_service(),
        "state": account.state(),
        "erased": account.erased,
        "created": account.created.and_then(rfc3339),
        "last_seen": account.last_seen.and_then(rfc3339),
    });
    if let Some(fields) = json.as_object_mut() {
        fields.extend(account.devices.map(|count| ("devices".to_owned(), json!(count))));
        fields.extend(account.rooms.map(|count| ("rooms".to_owned(), json!(count))));
    }
    json
}

fn show(desk: &Desk, args: &Named) -> Result<u8, Error> {
    let account = match desk.ask(&Call::Show(id(desk, &args.name)?))? {
        Answer::Account(account) => account,
        other => return Err(unexpected(&other)),
    };
    if args.output.json {
        super::json(&account_json(&account))?;
        return OK;
    }
    let (state, style) = state(&account);
    let erased = if account.erased { ", its messages hidden" } else { "" };
    let seen = account
        .last_seen
        .map_or("never".to_owned(), |at| format!("{} ({})", ago(now(), Some(at)), local(at)));
    output::data(&styled(BOLD, account.id.as_str()));
    for (name, value) in [
        ("name", harmless(account.display_name.as_deref().unwrap_or("-"))),
        ("role", role(&account).to_owned()),
        ("state", format!("{}{erased}", styled(style, state))),
        ("made", account.created.map_or("-".to_owned(), local)),
        ("last seen", seen),
        ("devices", account.devices.unwrap_or_default().to_string()),
        ("rooms", account.rooms.unwrap_or_default().to_string()),
    ] {
        output::data(&format!("  {name:<10} {value}"));
    }
    OK
}

fn set_password(desk: &Desk, args: &UserSetPassword) -> Result<u8, Error> {
    let user = id(desk, &args.name)?;
    let password = password(desk, args.password_file.as_deref())?;
    desk.ask(&Call::SetPassword { user: user.clone(), password, keep_devices: args.keep_devices })?;
    let text = if args.keep_devices {
        "has the new password; their devices stay logged in"
    } else {
        "has the new password and was logged out everywhere"
    };
    told(&user, args.output.json, true, text)
}

fn deactivate(desk: &Desk, args: &UserDeactivate) -> Result<u8, Error> {
    let user = id(desk, &args.name)?;
    if !args.yes {
        if !output::can_ask() {
            return Err(Error::usage(
                format!("nobody can be asked whether to end {user} for good"),
                "add --yes; `matrix-podman user lock` keeps somebody out without ending the account",
            ));
        }
        output::say(&styled(RED, &format!("This ends the account {user} for good:")));
        output::say("  - it is logged out, leaves all rooms, and its name can never be used again");
        output::say(if args.erase {
            "  - its messages are hidden from everybody who joins a room from now on"
        } else {
            "  - its messages stay (--erase hides them from whoever joins later)"
        });
        let name = user.localpart();
        let answer = ask(&format!("Type {name} to end it: "))?;
        if answer.as_deref().map(str::trim) != Some(name) {
            return Err(Error::Told {
                summary: "nothing was changed".to_owned(),
                hint: "type the name exactly, or add --yes; `user lock` keeps somebody out for a while"
                    .to_owned(),
            });
        }
    }
    match desk.ask(&Call::Deactivate { user: user.clone(), erase: args.erase })? {
        Answer::Done => told(&user, args.output.json, true, "is deactivated for good"),
        Answer::Already => told(&user, args.output.json, false, "is deactivated already"),
        other => Err(unexpected(&other)),
    }
}

fn device_json(device: &Device) -> Json {
    json!({
        "device_id": device.id,
        "name": device.name,
        "last_seen": device.last_seen.and_then(rfc3339),
        "last_seen_address": device.address,
    })
}

fn devices(desk: &Desk, args: &Named) -> Result<u8, Error> {
    let user = id(desk, &args.name)?;
    let devices = match desk.ask(&Call::Devices(user.clone()))? {
        Answer::Devices(devices) => devices,
        other => return Err(unexpected(&other)),
    };
    if args.output.json {
        super::json(&devices.iter().map(device_json).collect::<Vec<_>>())?;
    } else if devices.is_empty() {
        output::say(&format!("{user} is not logged in anywhere"));
    } else {
        let now = now();
        let mut table = Table::new(["device", "name", "last seen", "from"]);
        for device in devices {
            let seen = ago(now, device.last_seen);
            let cells =
                [device.id, device.name.unwrap_or_default(), seen, device.address.unwrap_or_default()];
            table.row(cells.map(|cell| (cell, Style::new())));
        }
        table.print();
    }
    OK
}

fn logout(desk: &Desk, args: &UserLogout) -> Result<u8, Error> {
    let user = id(desk, &args.name)?;
    let gone = match desk.ask(&Call::LogOut { user: user.clone(), devices: args.devices.clone() })? {
        Answer::Devices(gone) => gone,
        other => return Err(unexpected(&other)),
    };
    if args.output.json {
        super::json(&json!({
            "user_id": user,
            "logged_out": gone.iter().map(device_json).collect::<Vec<_>>(),
        }))?;
        return OK;
    }
    let count = match gone.len() {
        0 => return told(&user, false, false, "is not logged in anywhere"),
        1 => "1 device".to_owned(),
        more => format!("{more} devices"),
    };
    told(&user, false, true, &format!("was logged out of {count}"))
}

fn service_account(desk: &Desk, args: &UserServiceAccount) -> Result<u8, Error> {
    if args.remove {
        let changed = matches!(desk.ask(&Call::RemoveServiceAccount)?, Answer::Done);
        if args.output.json {
            super::json(&json!({"changed": changed}))?;
        } else if changed {
            output::say("The account that matrix-podman used is ended and its token is gone.");
            output::say("Another one is made when a command needs it.");
        } else {
            output::say("There is no such account; nothing was changed.");
        }
        return OK;
    }
    let account = match desk.ask(&Call::ServiceAccount)? {
        Answer::Service(account) => account,
        other => return Err(unexpected(&other)),
    };
    if args.output.json {
        super::json(&json!({"user_id": account}))?;
        return OK;
    }
    match account {
        Some(id) => {
            output::data(id.as_str());
            output::say(
                "matrix-podman speaks to Synapse with it. Nobody has its password; its token is in the guest.",
            );
        }
        None => output::say("There is none; it is made when a command needs it."),
    }
    OK
}

/// The password: from a file, from standard input, or asked twice.
fn password(desk: &Desk, file: Option<&Path>) -> Result<Password, Error> {
    let text = match file {
        Some(file) if file != Path::new("-") => {
            let text = fs::read_to_string(file).map_err(|e| {
                Error::usage(format!("cannot read {}: {e}", file.display()), "name another file")
            })?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        None if output::can_ask() => {
            let failed = |e: std::io::Error| Failure::new("read the password", e);
            let first = rpassword::prompt_password("Password: ").map_err(failed)?;
            let second = rpassword::prompt_password("Once more: ").map_err(failed)?;
            if first != second {
                return Err(Error::usage("the two passwords differ", "try again; nothing was changed"));
            }
            first
        }
        _ => {
            let mut line = String::new();
            stdin().lock().read_line(&mut line).map_err(|e| Failure::new("read the password", e))?;
            line.trim_end_matches(['\n', '\r']).to_owned()
        }
    };
    // The same that Synapse asks of those who choose one themselves.
    let least = usize::try_from(desk.world.site().config.synapse.password_min_length).unwrap_or(usize::MAX);
    Password::with_at_least(least, &text)
        .map_err(|why| Error::usage(why.to_string(), "nothing was changed; try another"))
}
