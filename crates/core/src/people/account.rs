//! Accounts, devices and tokens as Synapse tells of them, and what may be done
//! to them.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Millis, UserId, is_reserved};

/// One account (Synapse, `docs/admin_api/user_admin_api.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// `@anna:server`
    #[serde(rename = "name")]
    pub id: UserId,
    /// Name that others see.
    #[serde(rename = "displayname", default)]
    pub display_name: Option<String>,
    /// Whether it may administer the server.
    #[serde(default, deserialize_with = "yes")]
    pub admin: bool,
    /// Whether it was ended for good.
    #[serde(default, deserialize_with = "yes")]
    pub deactivated: bool,
    /// Whether it is kept out for now.
    #[serde(default, deserialize_with = "yes")]
    pub locked: bool,
    /// Whether its messages were hidden when it was ended.
    #[serde(default, deserialize_with = "yes")]
    pub erased: bool,
    /// `bot` for the program's own.
    #[serde(default)]
    pub user_type: Option<String>,
    /// When it was made.
    #[serde(rename = "creation_ts", default, deserialize_with = "moment")]
    pub created: Option<Millis>,
    /// When it was last seen, to within a few minutes.
    #[serde(rename = "last_seen_ts", default, deserialize_with = "moment")]
    pub last_seen: Option<Millis>,
    /// How many devices it is logged in on, where that was asked.
    #[serde(default)]
    pub devices: Option<usize>,
    /// How many rooms it is in, where that was asked.
    #[serde(default)]
    pub rooms: Option<usize>,
}

/// Synapse says yes as `true` in one place and as `1` in another.
fn yes<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Yes {
        Bool(bool),
        Number(i64),
        Nothing(()),
    }
    Ok(match Yes::deserialize(from)? {
        Yes::Bool(yes) => yes,
        Yes::Number(number) => number != 0,
        Yes::Nothing(()) => false,
    })
}

/// Before this many milliseconds there was no Matrix; it is a number of seconds.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// Synapse gives times in milliseconds in lists and in seconds for one user.
fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Millis>, D::Error> {
    Ok(match Option::<u64>::deserialize(from)? {
        None | Some(0) => None,
        Some(seconds) if seconds < SECONDS_BELOW => Some(Millis(seconds * 1000)),
        Some(millis) => Some(Millis(millis)),
    })
}

/// What can be said of an account in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It can be used.
    Active,
    /// It is kept out for now.
    Locked,
    /// It was ended for good.
    Deactivated,
}

impl Account {
    /// Whether this is the program's own account.
    pub fn is_service(&self) -> bool {
        is_reserved(self.id.localpart()) && self.user_type.as_deref() == Some("bot")
    }

    /// What can be said of it in one word.
    pub fn state(&self) -> State {
        match self {
            _ if self.deactivated => State::Deactivated,
            _ if self.locked => State::Locked,
            _ => State::Active,
        }
    }

    /// Whether it is a person who administers the server today.
    fn is_acting_admin(&self) -> bool {
        self.admin && self.state() == State::Active && !self.is_service()
    }
}

/// One device of an account: a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    #[serde(rename = "device_id")]
    pub id: String,
    /// What its owner or its program calls it.
    #[serde(rename = "display_name", default)]
    pub name: Option<String>,
    /// Where it was last seen from.
    #[serde(rename = "last_seen_ip", default)]
    pub address: Option<String>,
    /// When it was last seen.
    #[serde(rename = "last_seen_ts", default, deserialize_with = "moment")]
    pub last_seen: Option<Millis>,
}

/// Devices, as Synapse lists them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Devices {
    /// All of them.
    pub devices: Vec<Device>,
}

/// One invite token (Synapse, `docs/usage/administration/admin_api/
/// registration_tokens.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The token.
    pub token: String,
    /// How many accounts may be made with it; any number when absent.
    #[serde(default)]
    pub uses_allowed: Option<u64>,
    /// How many people are making one just now.
    #[serde(default)]
    pub pending: u64,
    /// How many were made.
    #[serde(default)]
    pub completed: u64,
    /// When it ends; never when absent.
    #[serde(rename = "expiry_time", default)]
    pub expires: Option<Millis>,
}

impl Invitation {
    /// What a person would call it at the moment `now`.
    pub fn state(&self, now: Millis) -> &'static str {
        match self {
            _ if self.expires.is_some_and(|end| end <= now) => "expired",
            _ if self.uses_allowed.is_some_and(|all| self.completed >= all) => "used up",
            _ if self.uses_allowed.is_some_and(|all| self.completed + self.pending >= all) => "in use",
            _ => "valid",
        }
    }
}

/// Why something is not done, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: String,
    /// What to type.
    pub hint: String,
}

/// Whether people may change this account at all: the program's own and one
/// that was ended cannot be.
pub fn may_change(account: &Account) -> Result<(), Refused> {
    if account.is_service() {
        return Err(Refused {
            why: format!("{} is the account that matrix-podman itself uses", account.id),
            hint: "`matrix-podman user service-account --remove` ends it; it is made again when it is needed"
                .to_owned(),
        });
    }
    if account.deactivated {
        return Err(Refused {
            why: format!("{} was deactivated, and that is for good", account.id),
            hint: "make an account of another name: `matrix-podman user add NAME`".to_owned(),
        });
    }
    Ok(())
}

/// Whether `account` may stop administering the server: somebody has to remain
/// who does. The program's own account does not count, nor who is locked out.
pub fn may_lose_admin(account: &Account, all: &[Account]) -> Result<(), Refused> {
    if !account.is_acting_admin() || all.iter().any(|other| other.is_acting_admin() && other.id != account.id)
    {
        return Ok(());
    }
    Err(Refused {
        why: format!("{} is the last one who may administer the server", account.id),
        hint: "first `matrix-podman user promote NAME`, or `user add NAME --admin`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> Account {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn accounts_are_read_as_the_list_and_as_the_single_answer_give_them() {
        // GET /_synapse/admin/v2/users
        let listed = account(
            r#"{"name":"@anna:a.de","user_type":null,"is_guest":false,"admin":true,"deactivated":false,"shadow_banned":false,"displayname":"Anna","avatar_url":null,"creation_ts":1700000000000,"approved":true,"erased":false,"last_seen_ts":1700000500000,"locked":false}"#,
        );
        // GET /_synapse/admin/v2/users/@anna:a.de
        let single = account(
            r#"{"name":"@anna:a.de","admin":1,"deactivated":0,"locked":false,"shadow_banned":0,"creation_ts":1700000000,"displayname":"Anna","threepids":[],"is_guest":0,"user_type":null,"last_seen_ts":1700000500000,"suspended":false}"#,
        );
        assert_eq!(listed, single);
        assert_eq!(listed.created, Some(Millis(1_700_000_000_000)));
        assert_eq!(account(r#"{"name":"@b:a.de","last_seen_ts":null,"admin":null}"#).last_seen, None);
    }

    fn named(name: &str, admin: bool) -> Account {
        account(&format!(r#"{{"name":"@{name}:a.de","admin":{admin}}}"#))
    }

    #[test]
    fn the_last_admin_stays() {
        let (anna, bela, carla) = (named("anna", true), named("bela", true), named("carla", false));
        let service = account(r#"{"name":"@matrix-podman:a.de","admin":true,"user_type":"bot"}"#);
        let locked = Account { locked: true, ..named("lena", true) };
        assert!(may_lose_admin(&anna, &[anna.clone(), bela.clone()]).is_ok());
        for alone in [vec![anna.clone()], vec![anna.clone(), service.clone(), locked.clone(), carla.clone()]]
        {
            let refused = may_lose_admin(&anna, &alone).unwrap_err();
            assert!(refused.why.contains("last one"), "{refused:?}");
        }
        // Who is no admin, or is locked out anyway, takes nothing away.
        assert!(may_lose_admin(&carla, std::slice::from_ref(&anna)).is_ok());
        assert!(may_lose_admin(&locked, std::slice::from_ref(&anna)).is_ok());
    }

    #[test]
    fn the_service_account_is_known_by_name_and_kind() {
        let service = account(r#"{"name":"@matrix-podman-k2:a.de","admin":true,"user_type":"bot"}"#);
        assert!(service.is_service() && may_change(&service).is_err());
        // A person who had the name before.
        assert!(!named("matrix-podman", true).is_service());
        let ended = Account { deactivated: true, ..named("old", false) };
        assert!(may_change(&ended).is_err());
    }

    #[test]
    fn tokens_have_a_state() {
        let token = |text: &str| serde_json::from_str::<Invitation>(text).unwrap();
        let now = Millis(1000);
        let free = r#"{"token":"t","uses_allowed":null,"pending":0,"completed":9,"expiry_time":null}"#;
        assert_eq!(token(free).state(now), "valid");
        let once = |pending, completed, expiry| {
            token(&format!(r#"{{"token":"t","uses_allowed":1,"pending":{pending},"completed":{completed},"expiry_time":{expiry}}}"#)).state(now)
        };
        assert_eq!(once(0, 0, "1001"), "valid");
        assert_eq!(once(1, 0, "null"), "in use");
        assert_eq!(once(0, 1, "null"), "used up");
        assert_eq!(once(0, 0, "1000"), "expired");
    }
}
