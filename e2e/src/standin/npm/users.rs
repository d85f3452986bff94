//! Users of NPM, what they may do and see, and how they log in.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{State, refused};
use crate::standin::http::{Answer, only};

/// A user of NPM.
#[derive(Debug, Clone)]
pub struct NpmUser {
    /// Its id.
    pub id: u64,
    /// Its e-mail address.
    pub identity: String,
    /// Its password.
    pub password: String,
    /// Whether it is an administrator, who may do everything but sees only
    /// what its visibility says.
    pub administrator: bool,
    /// `visibility` (`all` or `user`), and for each kind `manage`, `view` or `hidden`.
    pub permissions: BTreeMap<&'static str, &'static str>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    View,
    Manage,
}

impl May {
    pub(super) fn of(method: &str) -> Self {
        if method == "GET" { May::View } else { May::Manage }
    }
}

impl NpmUser {
    /// The first user of an NPM.
    pub fn administrator(id: u64, identity: &str, password: &str) -> Self {
        let mut user = Self::plain(id, identity, password);
        user.administrator = true;
        user.permissions.insert("visibility", "all");
        user
    }

    /// A user as NPM makes one unless somebody changes it: it manages every
    /// kind, and sees only what it created itself.
    pub fn plain(id: u64, identity: &str, password: &str) -> Self {
        let kinds =
            ["proxy_hosts", "redirection_hosts", "dead_hosts", "streams", "access_lists", "certificates"];
        let permissions =
            kinds.into_iter().map(|kind| (kind, "manage")).chain([("visibility", "user")]).collect();
        Self {
            id,
            identity: identity.to_owned(),
            password: password.to_owned(),
            administrator: false,
            permissions,
        }
    }

    /// Whether it sees a row.
    pub(super) fn sees(&self, row: &Value) -> bool {
        self.permissions.get("visibility") == Some(&"all") || row["owner_user_id"] == self.id
    }

    /// The answer to what it may not do: what is hidden is not found; a write
    /// to what it may only view is an error inside of NPM.
    pub(super) fn refused(&self, kind: &str, may: May, path: &str) -> Option<Answer> {
        if self.administrator {
            return None;
        }
        match (self.permissions.get(kind).copied(), may) {
            (Some("manage"), _) | (Some("view"), May::View) => None,
            (Some("view"), May::Manage) => Some(super::internal()),
            _ => Some(refused(404, &format!("Not Found - {path}"))),
        }
    }

    pub(super) fn shown(&self, expand: Option<&str>) -> Answer {
        let mut shown = json!({"id": self.id, "email": self.identity, "name": "somebody", "nickname": "",
            "is_disabled": false, "roles": if self.administrator { json!(["admin"]) } else { json!([]) }});
        if expand == Some("permissions") {
            shown["permissions"] = json!(self.permissions);
        }
        Answer::new(200, shown)
    }
}

impl State {
    /// The tokens that there are have expired.
    pub fn expire_tokens(&mut self) {
        for user in self.sessions.values_mut() {
            *user = None;
        }
    }

    /// Who asks. Without a token nothing is found, and a token that is none is
    /// an error inside of NPM.
    pub(super) fn who(&self, authorization: Option<&str>, path: &str) -> Result<NpmUser, Answer> {
        let Some(token) = authorization.and_then(|words| words.strip_prefix("Bearer ")) else {
            return Err(refused(404, &format!("Not Found - {path}")));
        };
        match self.sessions.get(token) {
            Some(Some(id)) => {
                self.users.iter().find(|user| user.id == *id).cloned().ok_or_else(super::internal)
            }
            Some(None) => Err(refused(400, "Token has expired")),
            None => Err(super::internal()),
        }
    }

    pub(super) fn log_in(&mut self, body: &Value) -> Answer {
        if let Err(why) = only(body, &["identity", "secret", "scope"]) {
            return refused(400, &why);
        }
        let user = self.users.iter().find(|user| {
            body["identity"] == user.identity.as_str() && body["secret"] == user.password.as_str()
        });
        let Some(id) = user.map(|user| user.id) else {
            return refused(400, "Invalid email or password");
        };
        if self.options.code.is_some() {
            return Answer::new(
                200,
                json!({"requires_2fa": true, "challenge_token": format!("challenge-{id}")}),
            );
        }
        self.token(id)
    }

    pub(super) fn second_factor(&mut self, body: &Value) -> Answer {
        let id =
            body["challenge_token"].as_str().and_then(|token| token.strip_prefix("challenge-")?.parse().ok());
        match id {
            Some(id) if body["code"].as_str() == self.options.code.as_deref() => self.token(id),
            _ => refused(400, "Invalid verification code"),
        }
    }

    fn token(&mut self, id: u64) -> Answer {
        let token = format!("session-{}", self.sessions.len() + 1);
        self.sessions.insert(token.clone(), Some(id));
        Answer::new(200, json!({"token": token, "expires": "2099-01-01T00:00:00.000Z"}))
    }
}
