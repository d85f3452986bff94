//! The program's own account, with which it speaks to the admin API.
//!
//! It is made when it is first needed, with a random password that nobody
//! keeps; its access token stands in one file that root in the guest can read.
//! A token that no longer works is replaced by making a new account and ending
//! the old one: nobody has the old one's password.

use std::{fs, path::Path};

use matrix_podman_core::{
    layout,
    name::{Digest, Mode, Owner},
    people::{Account, SERVICE_ACCOUNT},
};
use serde_json::{Value as Json, json};

use super::{
    Api, Method, Response, people,
    register::{NewAccount, register},
    segment,
};
use crate::{
    failure::{Doing, Failure},
    file,
};

/// How often another name is tried when one is taken.
const NAMES: usize = 5;
/// What its only login is called.
const DEVICE: &str = "matrix-podman";

/// The admin API, with the right to use it.
pub(super) struct Admin {
    pub api: Api,
    token: String,
}

impl Admin {
    /// Uses the account that is there, else makes one.
    pub fn open() -> Result<Self, Failure> {
        let api = Api::here();
        match stored()? {
            Some(token) => Ok(Self { api, token }),
            None => Self::make(api),
        }
    }

    /// Uses the account that is there.
    pub fn existing() -> Result<Option<Self>, Failure> {
        Ok(stored()?.map(|token| Self { api: Api::here(), token }))
    }

    /// A request with the account's token; an account that does not work (any
    /// more) is replaced.
    pub fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        doing: &str,
    ) -> Result<Response, Failure> {
        let response = self.try_send(method, path, body, doing)?;
        // 401: the token is unknown, or the account locked or ended;
        // M_FORBIDDEN: somebody took its rights away.
        if response.status != 401 && response.code() != "M_FORBIDDEN" {
            return Ok(response);
        }
        *self = Self::make(Api::here())?;
        self.try_send(method, path, body, doing)
    }

    /// A request with the account's token, whatever the answer.
    pub fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        doing: &str,
    ) -> Result<Response, Failure> {
        self.api.send(method, path, Some(&self.token), body, doing)
    }

    /// The same right, with a token that is known to work.
    pub fn renewed(self) -> Result<Self, Failure> {
        if self.own_account()?.is_some() { Ok(self) } else { Self::make(self.api) }
    }

    /// Makes an account, keeps its token, and ends those that it replaces.
    fn make(api: Api) -> Result<Self, Failure> {
        let doing = "make the account with which matrix-podman speaks to Synapse";
        let mut name = SERVICE_ACCOUNT.to_owned();
        for _ in 0..NAMES {
            let password = random()?;
            let new = NewAccount {
                localpart: &name,
                password: &password,
                admin: true,
                display_name: Some("matrix-podman (the server's own)"),
                user_type: Some("bot"),
                log_in: Some(DEVICE),
            };
            let answer = register(&api, &new, doing)?;
            if answer.code() == "M_USER_IN_USE" {
                name = format!("{SERVICE_ACCOUNT}-{}", &random()?[..8]);
                continue;
            }
            let token = answer.body.get("access_token").and_then(Json::as_str);
            let (true, Some(token)) = (answer.ok(), token) else { return Err(answer.failure(doing)) };
            let path = layout::admin_token();
            file::write(Path::new(path.as_str()), token.as_bytes(), Mode(0o400), Owner::ROOT)?;
            let mut admin = Self { api, token: token.to_owned() };
            admin.end_others(&name)?;
            return Ok(admin);
        }
        Err(Failure::new(doing, format!("all names like {name} are taken")))
    }

    /// Ends accounts of ours but the one called `own`: those whose token was
    /// lost, also by being cut off between making one and keeping its token.
    fn end_others(&mut self, own: &str) -> Result<(), Failure> {
        let all = people::list(self, Some(SERVICE_ACCOUNT), false)?;
        for account in all.iter().filter(|a| a.is_service() && a.id.localpart() != own) {
            self.end(account)?;
        }
        Ok(())
    }

    fn end(&mut self, account: &Account) -> Result<(), Failure> {
        let doing = format!("end the account {}", account.id);
        let path = format!("/_synapse/admin/v1/deactivate/{}", segment(account.id.as_str()));
        let answer = self.try_send(Method::Post, &path, Some(&json!({"erase": true})), &doing)?;
        if answer.ok() { Ok(()) } else { Err(answer.failure(&doing)) }
    }

    /// The token, once it is known to work.
    pub fn into_token(self) -> Result<String, Failure> {
        Ok(self.renewed()?.token)
    }

    /// Whose token this is; `None` when it does not work.
    pub fn own_account(&self) -> Result<Option<String>, Failure> {
        let doing = "ask whose token matrix-podman has";
        let answer = self.try_send(Method::Get, "/_matrix/client/v3/account/whoami", None, doing)?;
        match answer.status {
            200 => Ok(answer.body.get("user_id").and_then(Json::as_str).map(str::to_owned)),
            401 | 403 => Ok(None),
            _ => Err(answer.failure(doing)),
        }
    }

    /// Ends the program's own account and forgets its token.
    pub fn remove(mut self) -> Result<(), Failure> {
        if let Some(own) = self.own_account()? {
            let all = people::list(&mut self, Some(SERVICE_ACCOUNT), false)?;
            // Itself last: it cannot end anything afterwards.
            let (own, others): (Vec<_>, Vec<_>) =
                all.iter().filter(|a| a.is_service()).partition(|a| a.id.as_str() == own);
            for account in others.into_iter().chain(own) {
                self.end(account)?;
            }
        }
        file::remove(Path::new(layout::admin_token().as_str()))
    }
}

/// The token that is kept.
fn stored() -> Result<Option<String>, Failure> {
    let path = layout::admin_token();
    match fs::read_to_string(path.as_str()) {
        // An empty file is what a full disk leaves.
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing(|| format!("read {path}")),
    }
}

/// 256 random bits in hexadecimal digits.
pub(super) fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).doing(|| "get random bytes from the system")?;
    Ok(Digest::of_sha256(&bytes).hex().to_owned())
}
