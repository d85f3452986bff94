//! `user` and `token`.

use std::{path::PathBuf, str::FromStr};

use clap::Subcommand;
use jiff::civil::Date;
use matrix_podman_core::{
    people::{InviteToken, Person, Uses},
    size::Seconds,
};

/// `user`
#[derive(Debug, Subcommand)]
pub enum User {
    /// Make an account
    #[command(aliases = ["create", "new"])]
    Add(UserAdd),
    /// List accounts
    #[command(alias = "ls")]
    List(UserList),
    /// Show one account
    Show(Named),
    /// Give an account another password; logs it out everywhere
    SetPassword(UserSetPassword),
    /// Let somebody administer the server
    Promote(Named),
    /// Take the right to administer the server away
    Demote(Named),
    /// Keep somebody out until `unlock`; nothing is lost
    Lock(Named),
    /// Let somebody in again
    Unlock(Named),
    /// End an account for good; its name can never be used again
    #[command(aliases = ["remove", "delete"])]
    Deactivate(UserDeactivate),
    /// List the devices that an account is logged in on
    Devices(Named),
    /// Log an account out, everywhere or on some devices
    Logout(UserLogout),
    /// Show, or remove, the account that matrix-podman itself uses
    ServiceAccount(UserServiceAccount),
}

/// A command about one account.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Name, or whole id with @ and server
    pub name: Person,
}

/// `user add`
#[derive(Debug, clap::Args)]
pub struct UserAdd {
    /// Name, or whole id with @ and server
    pub name: Person,
    /// May administer the server
    #[arg(long)]
    pub admin: bool,
    /// Name that others see
    #[arg(long, value_name = "NAME")]
    pub display_name: Option<String>,
    /// Read the password from the first line of a file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `user list`
#[derive(Debug, clap::Args)]
pub struct UserList {
    /// Only accounts with this in their name
    pub part: Option<String>,
    /// Those that were deactivated too
    #[arg(long)]
    pub all: bool,
}

/// `user set-password`
#[derive(Debug, clap::Args)]
pub struct UserSetPassword {
    /// Name, or whole id with @ and server
    pub name: Person,
    /// Read the password from the first line of a file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Leave devices logged in
    #[arg(long)]
    pub keep_devices: bool,
}

/// `user deactivate`
#[derive(Debug, clap::Args)]
pub struct UserDeactivate {
    /// Name, or whole id with @ and server
    pub name: Person,
    /// Hide their messages from people who join a room later
    #[arg(long)]
    pub erase: bool,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}

/// `user logout`
#[derive(Debug, clap::Args)]
pub struct UserLogout {
    /// Name, or whole id with @ and server
    pub name: Person,
    /// Ids of the devices [default: all]
    #[arg(value_name = "DEVICE")]
    pub devices: Vec<String>,
}

/// `user service-account`
#[derive(Debug, clap::Args)]
pub struct UserServiceAccount {
    /// End it; it is made again when it is needed
    #[arg(long)]
    pub remove: bool,
}

/// `token`
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token, and print what to send to the person invited
    #[command(aliases = ["add", "create"])]
    New(TokenNew),
    /// List tokens
    #[command(alias = "ls")]
    List,
    /// Show one token, and what to send with it
    Show(TokenShow),
    /// Change how often or how long a token can be used
    Set(TokenSet),
    /// Take a token back; accounts made with it stay
    #[command(alias = "remove")]
    Delete(TokenDelete),
}

/// `token new`
#[derive(Debug, clap::Args)]
pub struct TokenNew {
    /// How many accounts can be made with it: a number, or `unlimited`
    #[arg(long, value_name = "N", default_value = "1")]
    pub uses: Uses,
    /// When it ends: a span (12h, 7d), a date (2026-12-31, its last day), or `never`
    #[arg(long, value_name = "WHEN", default_value = "7d")]
    pub expires: Expires,
    /// The word itself [default: a random one]
    #[arg(long, value_name = "WORD")]
    pub token: Option<InviteToken>,
    /// Show it as a QR code too
    #[arg(long, conflicts_with = "json")]
    pub qr: bool,
}

/// `token show`
#[derive(Debug, clap::Args)]
pub struct TokenShow {
    /// The token
    pub token: InviteToken,
    /// Show it as a QR code too
    #[arg(long, conflicts_with = "json")]
    pub qr: bool,
}

/// `token set`
#[derive(Debug, clap::Args)]
pub struct TokenSet {
    /// The token
    pub token: InviteToken,
    #[command(flatten)]
    pub terms: NewTerms,
}

/// What of a token is changed: one of these at least.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct NewTerms {
    /// How many accounts can be made with it in all: a number, or `unlimited`
    #[arg(long, value_name = "N")]
    pub uses: Option<Uses>,
    /// When it ends: a span from now, a date, or `never`
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<Expires>,
}

/// `token delete`
#[derive(Debug, clap::Args)]
pub struct TokenDelete {
    /// The token
    pub token: InviteToken,
}

/// When something ends, as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// Not at all.
    Never,
    /// So long from now.
    After(Seconds),
    /// At the end of that day.
    On(Date),
}

impl FromStr for Expires {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Expires::Never);
        }
        if let Ok(date) = text.parse::<Date>()
            && text.len() == "2026-12-31".len()
        {
            return Ok(Expires::On(date));
        }
        match Seconds::parse(text) {
            Ok(Seconds(0)) => Err("that is at once; `token delete` takes a token back".to_owned()),
            Ok(span) => Ok(Expires::After(span)),
            Err(_) => Err("write a span such as 12h or 7d, a date such as 2026-12-31, or never".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_spans_dates_or_never() {
        assert_eq!("never".parse(), Ok(Expires::Never));
        assert_eq!("7d".parse(), Ok(Expires::After(Seconds::days(7))));
        assert_eq!("2026-12-31".parse(), Ok(Expires::On(Date::constant(2026, 12, 31))));
        for bad in ["", "7", "0d", "-1d", "tomorrow", "2026-13-01", "2026-12-31T10:00", "20261231"] {
            assert!(bad.parse::<Expires>().is_err(), "{bad:?} was accepted");
        }
    }
}
