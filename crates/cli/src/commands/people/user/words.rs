//! What `user` says.

use anstyle::Style;
use matrix_podman_core::{
    missing::StillMissing,
    people::{Account, Device, Millis, State, UserId},
};
use serde::Serialize;

use crate::{
    commands::people::text::{ago, day, local, now, rfc3339},
    output::{BOLD, DIM, GREEN, Printable, Table, Wording, YELLOW, harmless, styled},
};

/// What became of an account, or that it was so already.
#[derive(Serialize)]
pub struct AccountTold<'a> {
    pub user_id: &'a UserId,
    pub changed: bool,
    #[serde(skip)]
    pub text: &'a str,
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

/// An account that is new.
#[derive(Serialize)]
pub struct AccountAdded {
    pub user_id: UserId,
    pub admin: bool,
    /// What keeps them out.
    #[serde(skip)]
    pub missing: Option<StillMissing>,
}

impl Printable for AccountAdded {
    fn words(&self) -> Wording {
        let role = if self.admin { "an administrator" } else { "a user" };
        let mut words = Wording::default();
        words.say(format!("{} {} is {role} now and can log in.", styled(GREEN, "✓"), self.user_id));
        if let Some(missing) = self.missing {
            words.say(missing.words());
            words.say(format!("next: {}", missing.command()));
        }
        words
    }
}

/// Accounts.
#[derive(Serialize)]
#[serde(transparent)]
pub struct ListedAccounts {
    pub listed: Vec<ShownAccount>,
    #[serde(skip)]
    pub accounts: Vec<Account>,
    /// Whether everybody was asked for, not only those of a name.
    #[serde(skip)]
    pub all: bool,
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
pub struct ShownAccount {
    pub user_id: UserId,
    pub display_name: Option<String>,
    pub admin: bool,
    pub service_account: bool,
    pub state: State,
    pub erased: bool,
    pub created: Option<String>,
    pub last_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<usize>,
}

impl ShownAccount {
    /// What is told of `account`.
    pub fn of(account: &Account) -> Self {
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

/// All that is known of one account.
#[derive(Serialize)]
#[serde(transparent)]
pub struct OneAccount<'a> {
    pub shown: ShownAccount,
    #[serde(skip)]
    pub account: &'a Account,
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

/// A device, as programs read it.
#[derive(Serialize)]
pub struct ShownDevice {
    pub device_id: String,
    pub name: Option<String>,
    pub last_seen: Option<String>,
    pub last_seen_address: Option<String>,
}

impl ShownDevice {
    /// What is told of `device`.
    pub fn of(device: &Device) -> Self {
        Self {
            device_id: device.id.clone(),
            name: device.name.clone(),
            last_seen: device.last_seen.and_then(rfc3339),
            last_seen_address: device.address.clone(),
        }
    }
}

/// Where somebody is logged in.
#[derive(Serialize)]
#[serde(transparent)]
pub struct ListedDevices {
    pub listed: Vec<ShownDevice>,
    #[serde(skip)]
    pub devices: Vec<Device>,
    #[serde(skip)]
    pub user: UserId,
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

/// Devices that an account was logged out of.
#[derive(Serialize)]
pub struct LoggedOut {
    pub user_id: UserId,
    pub logged_out: Vec<ShownDevice>,
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

/// Whether there was an account of the program's to end.
#[derive(Serialize)]
pub struct ServiceAccountEnded {
    pub changed: bool,
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
pub struct OurAccount {
    pub user_id: Option<UserId>,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn account(json: serde_json::Value) -> Account {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn programs_read_the_same_fields_of_every_account() {
        let anna = account(json!({
            "name": "@anna:a.example", "displayname": "Anna", "admin": true, "creation_ts": 1_800_000_000_000_u64, "last_seen_ts": null
        }));
        let shown = serde_json::to_string(&ShownAccount::of(&anna)).unwrap();
        assert_eq!(
            shown,
            r#"{"user_id":"@anna:a.example","display_name":"Anna","admin":true,"service_account":false,"#
                .to_owned()
                + r#""state":"active","erased":false,"created":"2027-01-15T08:00:00Z","last_seen":null}"#
        );
    }

    #[test]
    fn what_was_done_and_what_was_so_already_are_told_apart() {
        let user_id: UserId = serde_json::from_value(json!("@anna:a.example")).unwrap();
        let told = |changed| AccountTold { user_id: &user_id, changed, text: "is locked already" };
        assert_eq!(
            told(false).words(),
            Wording::saying("@anna:a.example is locked already; nothing was changed.")
        );
        assert_eq!(
            serde_json::to_value(told(true)).unwrap(),
            json!({"user_id": "@anna:a.example", "changed": true})
        );
        let nowhere = LoggedOut { user_id: user_id.clone(), logged_out: Vec::new() };
        assert_eq!(
            nowhere.words(),
            Wording::saying("@anna:a.example is not logged in anywhere; nothing was changed.")
        );
    }
}
