//! `user`: people with an account.

use std::{fs, path::Path};

use anstyle::Style;
use matrix_podman_core::people::{
    Account, Answer, Call, Device, Millis, NewUser, Password, Person, State, UserId,
};
use matrix_podman_host::failure::Failure;
use serde::Serialize;

use super::{
    AdminApi,
    text::{ago, day, local, now, rfc3339},
    unexpected,
};
use crate::{
    args::{Named, User, UserAdd, UserDeactivate, UserList, UserLogout, UserServiceAccount, UserSetPassword},
    commands::OK,
    error::Error,
    output::{
        BOLD, DIM, GREEN, NameToType, Otherwise, Printable, RED, Reporter, Table, Wording, YELLOW, harmless,
        piped_line, styled,
    },
};

pub fn run(config: Option<&Path>, user: &User, out: &Reporter) -> Result<u8, Error> {
    let admin = AdminApi::open(config, out)?;
    match user {
        User::Add(args) => add(&admin, args, out),
        User::List(args) => list(&admin, args, out),
        User::Show(args) => show(&admin, args, out),
        User::SetPassword(args) => set_password(&admin, args, out),
        User::Promote(args) => {
            let call = |user| Call::SetAdmin { user, admin: true };
            change(&admin, args, call, "may administer the server now", "administers the server already", out)
        }
        User::Demote(args) => {
            let call = |user| Call::SetAdmin { user, admin: false };
            change(
                &admin,
                args,
                call,
                "no longer administers the server",
                "does not administer the server",
                out,
            )
        }
        User::Lock(args) => {
            let call = |user| Call::SetLocked { user, locked: true };
            let done = "is kept out until `matrix-podman user unlock`; nothing of theirs is lost";
            change(&admin, args, call, done, "is locked already", out)
        }
        User::Unlock(args) => {
            let call = |user| Call::SetLocked { user, locked: false };
            change(&admin, args, call, "is let in again", "is not locked", out)
        }
        User::Deactivate(args) => deactivate(&admin, args, out),
        User::Devices(args) => devices(&admin, args, out),
        User::Logout(args) => logout(&admin, args, out),
        User::ServiceAccount(args) => service_account(&admin, args, out),
    }
}

/// The id of a person on this server.
fn id(admin: &AdminApi, person: &Person) -> Result<UserId, Error> {
    person
        .on(&admin.world.site().config.server_name)
        .map_err(|why| Error::usage(why.to_string(), "`matrix-podman user list` shows all accounts here"))
}

/// What became of an account, or that it was so already.
#[derive(Serialize)]
struct AccountTold<'a> {
    user_id: &'a UserId,
    changed: bool,
    #[serde(skip)]
    text: &'a str,
}

impl Printable for AccountTold<'_> {
    fn words(&self) -> Wording {
        let Self { user_id, changed, text } = self;
        Wording::saying(if *changed {
            format!("{} {user_id} {text}.", styled(GREEN, "✓"))
        } else {
            format!("{user_id} {text}; nothing was changed.")
        })
    }
}

fn told(user: &UserId, changed: bool, text: &str, out: &Reporter) -> Result<u8, Error> {
    out.report(&AccountTold { user_id: user, changed, text })?;
    OK
}

fn change(
    admin: &AdminApi,
    args: &Named,
    call: impl FnOnce(UserId) -> Call,
    done: &str,
    already: &str,
    out: &Reporter,
) -> Result<u8, Error> {
    let user = id(admin, &args.name)?;
    match admin.ask(&call(user.clone()))? {
        Answer::Done => told(&user, true, done, out),
        Answer::Already => told(&user, false, already, out),
        other => Err(unexpected(&other)),
    }
}

fn add(admin: &AdminApi, args: &UserAdd, out: &Reporter) -> Result<u8, Error> {
    let new = NewUser {
        localpart: args.name.clone(),
        password: password(admin, args.password_file.as_deref(), out)?,
        admin: args.admin,
        display_name: args.display_name.clone(),
    };
    admin.ask(&Call::Add(new))?;
    let id = UserId::of(&args.name, &admin.world.site().config.server_name);
    out.report(&AccountAdded { user_id: id, admin: args.admin })?;
    OK
}

fn list(admin: &AdminApi, args: &UserList, out: &Reporter) -> Result<u8, Error> {
    let mut accounts = match admin.ask(&Call::List { part: args.part.clone(), deactivated: args.all })? {
        Answer::Accounts(accounts) => accounts,
        other => return Err(unexpected(&other)),
    };
    accounts.sort_by(|a, b| a.id.cmp(&b.id));
    let listed = accounts.iter().map(ShownAccount::of).collect();
    out.report(&ListedAccounts { listed, accounts, all: args.part.is_none() })?;
    OK
}

/// An account that is new.
#[derive(Serialize)]
struct AccountAdded {
    user_id: UserId,
    admin: bool,
}

impl Printable for AccountAdded {
    fn words(&self) -> Wording {
        let role = if self.admin { "an administrator" } else { "a user" };
        Wording::saying(format!("{} {} is {role} now and can log in.", styled(GREEN, "✓"), self.user_id))
    }
}

/// Accounts.
#[derive(Serialize)]
#[serde(transparent)]
struct ListedAccounts {
    listed: Vec<ShownAccount>,
    #[serde(skip)]
    accounts: Vec<Account>,
    /// Whether everybody was asked for, not only those of a name.
    #[serde(skip)]
    all: bool,
}

impl Printable for ListedAccounts {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        if self.accounts.is_empty() {
            words.say("there is nobody of that name");
        } else {
            let now = now();
            let mut table = Table::new(["id", "name", "role", "state", "made", "last seen"]);
            for account in &self.accounts {
                table.row(cells(account, now));
            }
            words.table(&table);
        }
        if self.all && self.accounts.iter().all(|a| !a.admin || a.is_service()) {
            words.say("nobody administers this server: `matrix-podman user promote NAME`");
        }
        words
    }
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

/// An account, as programs read it.
#[derive(Serialize)]
struct ShownAccount {
    user_id: UserId,
    display_name: Option<String>,
    admin: bool,
    service_account: bool,
    state: State,
    erased: bool,
    created: Option<String>,
    last_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<usize>,
}

impl ShownAccount {
    fn of(account: &Account) -> Self {
        Self {
            user_id: account.id.clone(),
            display_name: account.display_name.clone(),
            admin: account.admin,
            service_account: account.is_service(),
            state: account.state(),
            erased: account.erased,
            created: account.created.and_then(rfc3339),
            last_seen: account.last_seen.and_then(rfc3339),
            devices: account.devices,
            rooms: account.rooms,
        }
    }
}

fn show(admin: &AdminApi, args: &Named, out: &Reporter) -> Result<u8, Error> {
    let account = match admin.ask(&Call::Show(id(admin, &args.name)?))? {
        Answer::Account(account) => account,
        other => return Err(unexpected(&other)),
    };
    out.report(&OneAccount { shown: ShownAccount::of(&account), account: &account })?;
    OK
}

/// All that is known of one account.
#[derive(Serialize)]
#[serde(transparent)]
struct OneAccount<'a> {
    shown: ShownAccount,
    #[serde(skip)]
    account: &'a Account,
}

impl Printable for OneAccount<'_> {
    fn words(&self) -> Wording {
        let Self { account, .. } = self;
        let (state, style) = state(account);
        let erased = if account.erased { ", its messages hidden" } else { "" };
        let seen = account
            .last_seen
            .map_or("never".to_owned(), |at| format!("{} ({})", ago(now(), Some(at)), local(at)));
        let mut words = Wording::of(styled(BOLD, account.id.as_str()));
        for (name, value) in [
            ("name", harmless(account.display_name.as_deref().unwrap_or("-"))),
            ("role", role(account).to_owned()),
            ("state", format!("{}{erased}", styled(style, state))),
            ("made", account.created.map_or("-".to_owned(), local)),
            ("last seen", seen),
            ("devices", account.devices.unwrap_or_default().to_string()),
            ("rooms", account.rooms.unwrap_or_default().to_string()),
        ] {
            words.data(format!("  {name:<10} {value}"));
        }
        words
    }
}

fn set_password(admin: &AdminApi, args: &UserSetPassword, out: &Reporter) -> Result<u8, Error> {
    let user = id(admin, &args.name)?;
    let password = password(admin, args.password_file.as_deref(), out)?;
    admin.ask(&Call::SetPassword { user: user.clone(), password, keep_devices: args.keep_devices })?;
    let text = if args.keep_devices {
        "has the new password; their devices stay logged in"
    } else {
        "has the new password and was logged out everywhere"
    };
    told(&user, true, text, out)
}

fn deactivate(admin: &AdminApi, args: &UserDeactivate, out: &Reporter) -> Result<u8, Error> {
    let user = id(admin, &args.name)?;
    if !args.yes {
        out.narrate(&styled(RED, &format!("This ends the account {user} for good:")));
        out.narrate("  - it is logged out, leaves all rooms, and its name can never be used again");
        out.narrate(if args.erase {
            "  - its messages are hidden from everybody who joins a room from now on"
        } else {
            "  - its messages stay (--erase hides them from whoever joins later)"
        });
    }
    out.confirm_name(&NameToType {
        name: user.localpart(),
        purpose: "end it",
        yes: args.yes,
        otherwise: Otherwise {
            unasked: "add --yes; `matrix-podman user lock` keeps somebody out without ending the account",
            ..Otherwise::unchanged(
                "type the name exactly, or add --yes; `user lock` keeps somebody out for a while",
            )
        },
    })?;
    match admin.ask(&Call::Deactivate { user: user.clone(), erase: args.erase })? {
        Answer::Done => told(&user, true, "is deactivated for good", out),
        Answer::Already => told(&user, false, "is deactivated already", out),
        other => Err(unexpected(&other)),
    }
}

/// A device, as programs read it.
#[derive(Serialize)]
struct ShownDevice {
    device_id: String,
    name: Option<String>,
    last_seen: Option<String>,
    last_seen_address: Option<String>,
}

impl ShownDevice {
    fn of(device: &Device) -> Self {
        Self {
            device_id: device.id.clone(),
            name: device.name.clone(),
            last_seen: device.last_seen.and_then(rfc3339),
            last_seen_address: device.address.clone(),
        }
    }
}

fn devices(admin: &AdminApi, args: &Named, out: &Reporter) -> Result<u8, Error> {
    let user = id(admin, &args.name)?;
    let devices = match admin.ask(&Call::Devices(user.clone()))? {
        Answer::Devices(devices) => devices,
        other => return Err(unexpected(&other)),
    };
    out.report(&ListedDevices { listed: devices.iter().map(ShownDevice::of).collect(), devices, user })?;
    OK
}

/// Where somebody is logged in.
#[derive(Serialize)]
#[serde(transparent)]
struct ListedDevices {
    listed: Vec<ShownDevice>,
    #[serde(skip)]
    devices: Vec<Device>,
    #[serde(skip)]
    user: UserId,
}

impl Printable for ListedDevices {
    fn words(&self) -> Wording {
        if self.devices.is_empty() {
            return Wording::saying(format!("{} is not logged in anywhere", self.user));
        }
        let now = now();
        let mut table = Table::new(["device", "name", "last seen", "from"]);
        for device in &self.devices {
            let cells = [
                device.id.clone(),
                device.name.clone().unwrap_or_default(),
                ago(now, device.last_seen),
                device.address.clone().unwrap_or_default(),
            ];
            table.row(cells.map(|cell| (cell, Style::new())));
        }
        let mut words = Wording::default();
        words.table(&table);
        words
    }
}

fn logout(admin: &AdminApi, args: &UserLogout, out: &Reporter) -> Result<u8, Error> {
    let user = id(admin, &args.name)?;
    let gone = match admin.ask(&Call::LogOut { user: user.clone(), devices: args.devices.clone() })? {
        Answer::Devices(gone) => gone,
        other => return Err(unexpected(&other)),
    };
    out.report(&LoggedOut { logged_out: gone.iter().map(ShownDevice::of).collect(), user_id: user })?;
    OK
}

/// Devices that an account was logged out of.
#[derive(Serialize)]
struct LoggedOut {
    user_id: UserId,
    logged_out: Vec<ShownDevice>,
}

impl Printable for LoggedOut {
    fn words(&self) -> Wording {
        let count = match self.logged_out.len() {
            0 => "is not logged in anywhere".to_owned(),
            1 => "was logged out of 1 device".to_owned(),
            more => format!("was logged out of {more} devices"),
        };
        AccountTold { user_id: &self.user_id, changed: !self.logged_out.is_empty(), text: &count }.words()
    }
}

fn service_account(admin: &AdminApi, args: &UserServiceAccount, out: &Reporter) -> Result<u8, Error> {
    if args.remove {
        let changed = matches!(admin.ask(&Call::RemoveServiceAccount)?, Answer::Done);
        out.report(&ServiceAccountEnded { changed })?;
        return OK;
    }
    let account = match admin.ask(&Call::ServiceAccount)? {
        Answer::Service(account) => account,
        other => return Err(unexpected(&other)),
    };
    out.report(&OurAccount { user_id: account })?;
    OK
}

#[derive(Serialize)]
struct ServiceAccountEnded {
    changed: bool,
}

impl Printable for ServiceAccountEnded {
    fn words(&self) -> Wording {
        if !self.changed {
            return Wording::saying("There is no such account; nothing was changed.");
        }
        let mut words =
            Wording::saying("The account that matrix-podman used is ended and its token is gone.");
        words.say("Another one is made when a command needs it.");
        words
    }
}

/// The account that the program itself uses.
#[derive(Serialize)]
struct OurAccount {
    user_id: Option<UserId>,
}

impl Printable for OurAccount {
    fn words(&self) -> Wording {
        let Some(id) = &self.user_id else {
            return Wording::saying("There is none; it is made when a command needs it.");
        };
        let mut words = Wording::of(id.as_str());
        words.say(
            "matrix-podman speaks to Synapse with it. Nobody has its password; its token is in the guest.",
        );
        words
    }
}

/// The password: from a file, from standard input, or asked twice.
fn password(admin: &AdminApi, file: Option<&Path>, out: &Reporter) -> Result<Password, Error> {
    let text = match file {
        Some(file) if file != Path::new("-") => {
            let text = fs::read_to_string(file).map_err(|e| {
                Error::usage(format!("cannot read {}: {e}", file.display()), "name another file")
            })?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        None if out.can_ask() => {
            let first = out.ask_secret("Password: ")?;
            if first != out.ask_secret("Once more: ")? {
                return Err(Error::usage("the two passwords differ", "try again; nothing was changed"));
            }
            first
        }
        _ => piped_line().map_err(|e| Failure::new("read the password", e))?,
    };
    // The same that Synapse asks of those who choose one themselves.
    let least = usize::try_from(admin.world.site().config.synapse.password_min_length).unwrap_or(usize::MAX);
    Password::with_at_least(least, &text)
        .map_err(|why| Error::usage(why.to_string(), "nothing was changed; try another"))
}
