//! `user`: people with an account.

mod words;

use std::path::Path;

use matrix_podman_core::{
    name::Localpart,
    people::{Answer, Call, NewUser, Person, UserId},
};

use matrix_podman_host::failure::Failure;

use self::words::{
    AccountAdded, AccountTold, ListedAccounts, ListedDevices, LoggedOut, OneAccount, OurAccount,
    ServiceAccountEnded, ShownAccount, ShownDevice,
};
use super::{AdminApi, password, unexpected};
use crate::{
    args::{Named, User, UserAdd, UserDeactivate, UserList, UserLogout, UserServiceAccount, UserSetPassword},
    commands::{OK, runs},
    error::Error,
    output::{NameToType, Otherwise, RED, Reporter, styled},
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
    let id = id(admin, &args.name)?;
    let localpart = Localpart::parse(id.localpart())
        .map_err(|why| Error::usage(why.to_string(), "nothing was changed; choose another name"))?;
    // What cannot be is said before somebody thinks of a password. A script has one already.
    if args.password_file.is_none() && is_taken(admin, &id)? {
        return Err(Failure::new(
            format!("make the user {}", id.localpart()),
            "there is a user of that name",
        )
        .hint("choose another name; `matrix-podman user list --all` shows every name that was ever used")
        .into());
    }
    let new = NewUser {
        localpart,
        password: password::choose(least(admin), &id, args.password_file.as_deref(), out)?,
        admin: args.admin,
        display_name: args.display_name.clone(),
    };
    admin.ask(&Call::Add(new))?;
    out.report(&AccountAdded {
        user_id: id,
        admin: args.admin,
        missing: runs::missing_access(&admin.world),
    })?;
    OK
}

fn is_taken(admin: &AdminApi, id: &UserId) -> Result<bool, Error> {
    match admin.ask(&Call::List { part: Some(id.localpart().to_owned()), deactivated: true })? {
        Answer::Accounts(accounts) => Ok(accounts.iter().any(|account| account.id == *id)),
        other => Err(unexpected(&other)),
    }
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

fn show(admin: &AdminApi, args: &Named, out: &Reporter) -> Result<u8, Error> {
    let account = match admin.ask(&Call::Show(id(admin, &args.name)?))? {
        Answer::Account(account) => account,
        other => return Err(unexpected(&other)),
    };
    out.report(&OneAccount { shown: ShownAccount::of(&account), account: &account })?;
    OK
}

fn set_password(admin: &AdminApi, args: &UserSetPassword, out: &Reporter) -> Result<u8, Error> {
    let user = id(admin, &args.name)?;
    let password = password::choose(least(admin), &user, args.password_file.as_deref(), out)?;
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

fn devices(admin: &AdminApi, args: &Named, out: &Reporter) -> Result<u8, Error> {
    let user = id(admin, &args.name)?;
    let devices = match admin.ask(&Call::Devices(user.clone()))? {
        Answer::Devices(devices) => devices,
        other => return Err(unexpected(&other)),
    };
    out.report(&ListedDevices { listed: devices.iter().map(ShownDevice::of).collect(), devices, user })?;
    OK
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

/// What Synapse asks of those who choose a password themselves.
fn least(admin: &AdminApi) -> usize {
    usize::try_from(admin.world.site().config.synapse.password_min_length.get()).unwrap_or(usize::MAX)
}
