//! Answers to [`Call`]s: what is asked of Synapse for each, and its refusals in
//! words.

use std::{fs::File, path::Path};

use matrix_podman_core::people::{
    Account, Answer, Call, Devices, Expiry, Invitation, InviteToken, NewUser, Refused, UserId, Uses,
    is_reserved, may_change, may_lose_admin,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value as Json, json};

use super::{
    Api, Method, Response, ready,
    register::{NewAccount, register},
    room, segment,
    service::Admin,
};
use crate::{
    failure::{Doing, Failure},
    file::folder::Folder,
};

/// How many accounts are asked for at once.
const PAGE: usize = 500;
/// Held while something is looked at and then changed, so that two at work do
/// not each take away what the other one relies on.
const LOCK: &str = "/run/matrix-podman/people.lock";

/// Does what `call` asks, in the guest that this runs in.
pub fn answer(call: &Call) -> Result<Answer, Failure> {
    ready("ask Synapse")?;
    let _lock = lock()?;
    match call {
        Call::Add(new) => add(new),
        Call::List { part, deactivated } => {
            list(&mut Admin::open()?, part.as_deref(), *deactivated).map(Answer::Accounts)
        }
        Call::Show(user) => show(&mut Admin::open()?, user),
        Call::SetPassword { user, password, keep_devices } => {
            let mut admin = Admin::open()?;
            let doing = format!("set the password of {user}");
            changeable(&mut admin, user, &doing)?;
            let path = format!("/_synapse/admin/v1/reset_password/{}", segment(user.as_str()));
            let body = json!({"new_password": password.reveal(), "logout_devices": !keep_devices});
            done(admin.send(Method::Post, &path, Some(&body), &doing)?, &doing)
        }
        Call::SetAdmin { user, admin } => set_admin(&mut Admin::open()?, user, *admin),
        Call::SetLocked { user, locked } => set_locked(&mut Admin::open()?, user, *locked),
        Call::Deactivate { user, erase } => deactivate(&mut Admin::open()?, user, *erase),
        Call::Devices(user) => {
            let mut admin = Admin::open()?;
            let doing = format!("look at the devices of {user}");
            account(&mut admin, user, &doing)?;
            devices(&mut admin, user, &doing).map(|found| Answer::Devices(found.devices))
        }
        Call::LogOut { user, devices } => log_out(&mut Admin::open()?, user, devices),
        Call::Tokens => {
            #[derive(Deserialize)]
            struct Tokens {
                registration_tokens: Vec<Invitation>,
            }
            let doing = "list the invite tokens";
            let answer = Admin::open()?.send(Method::Get, TOKENS, None, doing)?;
            read::<Tokens>(answer, doing).map(|all| Answer::Invitations(all.registration_tokens))
        }
        Call::ShowToken(token) => {
            let doing = format!("look at the token {token}");
            let answer = Admin::open()?.send(Method::Get, &token_path(token), None, &doing)?;
            invitation(answer, token, &doing)
        }
        Call::NewToken { token, uses, expires } => new_token(token.as_ref(), *uses, *expires),
        Call::SetToken { token, uses, expires } => {
            let doing = format!("change the token {token}");
            let mut body = Map::new();
            if let Some(uses) = uses {
                body.insert("uses_allowed".to_owned(), json!(uses));
            }
            if let Some(expires) = expires {
                body.insert("expiry_time".to_owned(), json!(expires));
            }
            let body = Json::Object(body);
            let answer = Admin::open()?.send(Method::Put, &token_path(token), Some(&body), &doing)?;
            invitation(answer, token, &doing)
        }
        Call::DeleteToken(token) => {
            let doing = format!("delete the token {token}");
            let answer = Admin::open()?.send(Method::Delete, &token_path(token), None, &doing)?;
            if answer.status == 404 { Err(no_token(token, &doing)) } else { done(answer, &doing) }
        }
        Call::Say(message) => room::say(Admin::open()?, message).map(|()| Answer::Done),
        Call::ServiceAccount => match Admin::existing()? {
            None => Ok(Answer::Service(None)),
            Some(mut admin) => {
                let Some(own) = admin.own_account()? else { return Ok(Answer::Service(None)) };
                let all = list(&mut admin, None, false)?;
                Ok(Answer::Service(all.into_iter().map(|a| a.id).find(|id| id.as_str() == own)))
            }
        },
        Call::RemoveServiceAccount => match Admin::existing()? {
            None => Ok(Answer::Already),
            Some(admin) => admin.remove().map(|()| Answer::Done),
        },
    }
}

fn lock() -> Result<File, Failure> {
    let doing = || format!("lock {LOCK}");
    Folder::make(Path::new("/run/matrix-podman")).doing(doing)?;
    let file = File::options().create(true).write(true).truncate(false).open(LOCK).doing(doing)?;
    file.lock().doing(doing)?;
    Ok(file)
}

fn add(new: &NewUser) -> Result<Answer, Failure> {
    let doing = format!("make the user {}", new.localpart);
    if is_reserved(new.localpart.as_str()) {
        return Err(Failure::new(doing, "that name is kept for matrix-podman's own account")
            .hint("choose another name"));
    }
    let account = NewAccount {
        localpart: new.localpart.as_str(),
        password: new.password.reveal(),
        admin: new.admin,
        display_name: new.display_name.as_deref(),
        user_type: None,
        log_in: None,
    };
    let answer = register(&Api::here(), &account, &doing)?;
    match answer.code() {
        "M_USER_IN_USE" => Err(Failure::new(doing, "there is a user of that name").hint(
            "choose another name; `matrix-podman user list --all` shows all, the names of ended accounts too",
        )),
        _ => done(answer, &doing),
    }
}

/// All accounts, page after page.
pub(super) fn list(
    admin: &mut Admin,
    part: Option<&str>,
    deactivated: bool,
) -> Result<Vec<Account>, Failure> {
    #[derive(Deserialize)]
    struct Page {
        users: Vec<Account>,
        next_token: Option<String>,
    }
    let doing = "list the users";
    let mut all = Vec::new();
    let mut from = "0".to_owned();
    loop {
        // Synapse leaves locked accounts out unless they are asked for.
        let mut path = format!(
            "/_synapse/admin/v2/users?from={}&limit={PAGE}&guests=false&locked=true&deactivated={deactivated}",
            segment(&from)
        );
        if let Some(part) = part {
            path.push_str(&format!("&name={}", segment(part)));
        }
        let page: Page = read(admin.send(Method::Get, &path, None, doing)?, doing)?;
        let empty = page.users.is_empty();
        all.extend(page.users);
        match page.next_token {
            Some(next) if !empty && next != from => from = next,
            _ => return Ok(all),
        }
    }
}

fn user_path(user: &UserId) -> String {
    format!("/_synapse/admin/v2/users/{}", segment(user.as_str()))
}

/// One account that is there.
fn account(admin: &mut Admin, user: &UserId, doing: &str) -> Result<Account, Failure> {
    let answer = admin.send(Method::Get, &user_path(user), None, doing)?;
    if answer.status == 404 {
        return Err(Failure::new(doing, format!("there is no user {user} on this server"))
            .hint("`matrix-podman user list` shows all"));
    }
    read(answer, doing)
}

/// One account that may be changed.
fn changeable(admin: &mut Admin, user: &UserId, doing: &str) -> Result<Account, Failure> {
    let account = account(admin, user, doing)?;
    may_change(&account).map_err(|refused| because(refused, doing))?;
    Ok(account)
}

/// Fails when nobody else could administer the server.
fn not_the_last(admin: &mut Admin, account: &Account, doing: &str) -> Result<(), Failure> {
    if !account.admin {
        return Ok(());
    }
    let all = list(admin, None, false)?;
    may_lose_admin(account, &all).map_err(|refused| because(refused, doing))
}

fn show(admin: &mut Admin, user: &UserId) -> Result<Answer, Failure> {
    let doing = format!("look at {user}");
    let mut account = account(admin, user, &doing)?;
    let devices = devices(admin, user, &doing)?.devices;
    account.last_seen = account.last_seen.max(devices.iter().filter_map(|d| d.last_seen).max());
    account.devices = Some(devices.len());
    #[derive(Deserialize)]
    struct Rooms {
        total: usize,
    }
    let path = format!("/_synapse/admin/v1/users/{}/joined_rooms", segment(user.as_str()));
    account.rooms = Some(read::<Rooms>(admin.send(Method::Get, &path, None, &doing)?, &doing)?.total);
    Ok(Answer::Account(Box::new(account)))
}

fn set_admin(admin: &mut Admin, user: &UserId, wanted: bool) -> Result<Answer, Failure> {
    let doing = if wanted {
        format!("let {user} administer the server")
    } else {
        format!("take the right to administer the server from {user}")
    };
    let account = changeable(admin, user, &doing)?;
    if account.admin == wanted {
        return Ok(Answer::Already);
    }
    if !wanted {
        not_the_last(admin, &account, &doing)?;
    }
    let path = format!("/_synapse/admin/v1/users/{}/admin", segment(user.as_str()));
    done(admin.send(Method::Put, &path, Some(&json!({"admin": wanted})), &doing)?, &doing)
}

fn set_locked(admin: &mut Admin, user: &UserId, wanted: bool) -> Result<Answer, Failure> {
    let doing = format!("{} {user}", if wanted { "lock" } else { "unlock" });
    let account = changeable(admin, user, &doing)?;
    if account.locked == wanted {
        return Ok(Answer::Already);
    }
    if wanted {
        not_the_last(admin, &account, &doing)?;
    }
    done(admin.send(Method::Put, &user_path(user), Some(&json!({"locked": wanted})), &doing)?, &doing)
}

fn deactivate(admin: &mut Admin, user: &UserId, erase: bool) -> Result<Answer, Failure> {
    let doing = format!("end the account {user}");
    let account = account(admin, user, &doing)?;
    if account.deactivated && (account.erased || !erase) {
        return Ok(Answer::Already);
    }
    // One that was ended may still be erased.
    if !account.deactivated {
        may_change(&account).map_err(|refused| because(refused, &doing))?;
        not_the_last(admin, &account, &doing)?;
    }
    let path = format!("/_synapse/admin/v1/deactivate/{}", segment(user.as_str()));
    done(admin.send(Method::Post, &path, Some(&json!({"erase": erase})), &doing)?, &doing)
}

fn devices(admin: &mut Admin, user: &UserId, doing: &str) -> Result<Devices, Failure> {
    let path = format!("{}/devices", user_path(user));
    read(admin.send(Method::Get, &path, None, doing)?, doing)
}

fn log_out(admin: &mut Admin, user: &UserId, named: &[String]) -> Result<Answer, Failure> {
    let doing = format!("log {user} out");
    changeable(admin, user, &doing)?;
    let all = devices(admin, user, &doing)?.devices;
    if let Some(unknown) = named.iter().find(|id| all.iter().all(|device| device.id != **id)) {
        return Err(Failure::new(doing, format!("there is no device {unknown}"))
            .hint(format!("`matrix-podman user devices {}` shows all", user.localpart())));
    }
    let going: Vec<_> =
        all.into_iter().filter(|device| named.is_empty() || named.contains(&device.id)).collect();
    if !going.is_empty() {
        let ids: Vec<&str> = going.iter().map(|device| device.id.as_str()).collect();
        let path = format!("{}/delete_devices", user_path(user));
        done(admin.send(Method::Post, &path, Some(&json!({"devices": ids})), &doing)?, &doing)?;
    }
    Ok(Answer::Devices(going))
}

const TOKENS: &str = "/_synapse/admin/v1/registration_tokens";

fn token_path(token: &InviteToken) -> String {
    format!("{TOKENS}/{}", segment(token.as_str()))
}

fn no_token(token: &InviteToken, doing: &str) -> Failure {
    Failure::new(doing, format!("there is no token {token}")).hint("`matrix-podman token list` shows all")
}

fn invitation(answer: Response, token: &InviteToken, doing: &str) -> Result<Answer, Failure> {
    if answer.status == 404 {
        return Err(no_token(token, doing));
    }
    read(answer, doing).map(Answer::Invitation)
}

fn new_token(token: Option<&InviteToken>, uses: Uses, expires: Expiry) -> Result<Answer, Failure> {
    let doing = match token {
        Some(token) => format!("make the token {token}"),
        None => "make a token".to_owned(),
    };
    let mut admin = Admin::open()?;
    let mut body = json!({"uses_allowed": uses, "expiry_time": expires});
    if let (Some(token), Some(body)) = (token, body.as_object_mut()) {
        body.insert("token".to_owned(), json!(token));
        let there = admin.send(Method::Get, &token_path(token), None, &doing)?;
        if there.ok() {
            return Err(Failure::new(doing, "there is such a token already").hint(format!(
                "`matrix-podman token set {token}` changes it; or choose another word, or none"
            )));
        }
    }
    read(admin.send(Method::Post, &format!("{TOKENS}/new"), Some(&body), &doing)?, &doing)
        .map(Answer::Invitation)
}

fn done(answer: Response, doing: &str) -> Result<Answer, Failure> {
    if answer.ok() { Ok(Answer::Done) } else { Err(answer.failure(doing)) }
}

/// A good answer's content.
fn read<T: DeserializeOwned>(answer: Response, doing: &str) -> Result<T, Failure> {
    if !answer.ok() {
        return Err(answer.failure(doing));
    }
    serde_json::from_value(answer.body).map_err(|error| {
        Failure::new(doing, format!("Synapse's answer has an unexpected form: {error}"))
            .hint("this Synapse may be newer than this matrix-podman knows")
    })
}

fn because(refused: Refused, doing: &str) -> Failure {
    Failure::new(doing, refused.why).hint(refused.hint)
}
