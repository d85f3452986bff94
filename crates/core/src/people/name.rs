//! Names, passwords, tokens and times, as Synapse takes them.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};

use super::common::is_guessed_first;
use crate::{
    name::{Invalid, Localpart, ServerName},
    size::Seconds,
};

/// Name of the account that the program itself uses; a word is added to it when
/// the name is taken.
pub const SERVICE_ACCOUNT: &str = "matrix-podman";

/// Whether a local part is kept for the program's own account.
pub fn is_reserved(localpart: &str) -> bool {
    localpart.strip_prefix(SERVICE_ACCOUNT).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// A person on the command line: `anna`, or the whole id `@anna:server`, as
/// lists print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    localpart: String,
    server: Option<String>,
}

impl FromStr for Person {
    type Err = Invalid;

    /// Takes also what people can no longer register but may have, such as
    /// names in upper case.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (localpart, server) = match text.strip_prefix('@') {
            None if text.contains(':') => {
                return Err(Invalid::new("give the name alone, or the whole id with its @"));
            }
            None => (text, None),
            Some(id) => match id.split_once(':') {
                None => (id, None),
                Some((_, "")) => return Err(Invalid::new("behind the colon stands the server's name")),
                Some((localpart, server)) => (localpart, Some(server.to_owned())),
            },
        };
        if localpart.is_empty() {
            return Err(Invalid::new("a user name cannot be empty"));
        }
        if let Some(c) = localpart.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(Invalid::new(format!("{c:?} cannot stand in a user name")));
        }
        Ok(Self { localpart: localpart.to_owned(), server })
    }
}

impl Person {
    /// The id on `server`; an id of another server is refused.
    pub fn on(&self, server: &ServerName) -> Result<UserId, Invalid> {
        match &self.server {
            Some(other) if other != server.as_str() => Err(Invalid::new(format!(
                "@{}:{other} belongs to another server; accounts here end with :{server}",
                self.localpart
            ))),
            _ => Ok(UserId::new(&self.localpart, server)),
        }
    }
}

/// The id of an account of this server: `@anna:server`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    fn new(localpart: &str, server: &ServerName) -> Self {
        Self(format!("@{localpart}:{server}"))
    }

    /// The id of a new account.
    pub fn of(localpart: &Localpart, server: &ServerName) -> Self {
        Self::new(localpart.as_str(), server)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the colon, without @.
    pub fn localpart(&self) -> &str {
        self.0.trim_start_matches('@').split(':').next().unwrap_or_default()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shorter passwords are refused here; Synapse would take any.
const MIN_PASSWORD: usize = 8;
/// Synapse's own limit, in bytes.
const MAX_PASSWORD: usize = 512;

/// A password. It is not shown, not even for debugging.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Checks `text`; the error says what is wrong with it and never repeats it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::with_at_least(MIN_PASSWORD, text)
    }

    /// The same for a server on which passwords have at least `least` characters.
    pub fn with_at_least(least: usize, text: &str) -> Result<Self, Invalid> {
        let (length, least) = (text.chars().count(), least.max(MIN_PASSWORD));
        if length < least {
            return Err(Invalid::new(format!(
                "the password has {length} characters; choose one with at least {least}"
            )));
        }
        if text.len() > MAX_PASSWORD || text.contains('\0') {
            return Err(Invalid::new(format!(
                "Synapse takes passwords of at most {MAX_PASSWORD} bytes, without zero bytes"
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// One that somebody chose for the user called `localpart`: not among the first that are
    /// guessed, either.
    pub fn chosen(least: usize, localpart: &str, text: &str) -> Result<Self, Invalid> {
        let password = Self::with_at_least(least, text)?;
        if is_guessed_first(text, localpart) {
            return Err(Invalid::new("it is among the first that are guessed; choose another one"));
        }
        Ok(password)
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// An invite token: whoever has it may make an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InviteToken(String);

/// Synapse's own limit.
const MAX_TOKEN: usize = 64;

impl FromStr for InviteToken {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("a token cannot be empty"));
        }
        if let Some(c) =
            text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '~' | '-'))
        {
            return Err(Invalid::new(format!("{c:?} cannot stand in a token (A-Z a-z 0-9 . _ ~ - can)")));
        }
        if text.len() > MAX_TOKEN {
            return Err(Invalid::new(format!("a token has at most {MAX_TOKEN} characters")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for InviteToken {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<InviteToken> for String {
    fn from(token: InviteToken) -> String {
        token.0
    }
}

impl InviteToken {
    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InviteToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many accounts may be made with a token; `None` is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses(pub Option<NonZeroU32>);

impl FromStr for Uses {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        // Synapse counts in a signed 64-bit number and takes more than this.
        match text.parse::<NonZeroU32>() {
            Ok(number) if !text.starts_with('+') => Ok(Self(Some(number))),
            _ => Err(Invalid::new("give a number from 1 on, or `unlimited`")),
        }
    }
}

/// Milliseconds since 1970, as Synapse counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// The last moment that Synapse's column can hold as a date that other programs
/// can still print: the end of the year 9999.
const LATEST: u64 = 253_402_300_799_999;

impl Millis {
    /// The moment `span` after this one.
    pub fn after(self, span: Seconds) -> Result<Millis, Invalid> {
        span.0
            .checked_mul(1000)
            .and_then(|span| self.0.checked_add(span))
            .filter(|sum| *sum <= LATEST)
            .map(Millis)
            .ok_or_else(|| Invalid::new("that is too far away; `never` is possible too"))
    }

    /// This moment, if it lies after `now`.
    pub fn in_the_future(self, now: Millis) -> Result<Millis, Invalid> {
        if self > now { Ok(self) } else { Err(Invalid::new("that is in the past")) }
    }
}

/// When a token ends; `None` is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry(pub Option<Millis>);

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerName {
        ServerName::parse("chat.home.arpa").unwrap()
    }

    #[test]
    fn people_are_named_or_given_by_their_id() {
        for text in ["anna", "@anna", "@anna:chat.home.arpa"] {
            let person: Person = text.parse().unwrap();
            assert_eq!(person.on(&server()).unwrap().as_str(), "@anna:chat.home.arpa");
        }
        // What bridges and old servers made.
        for text in ["_telegram_12", "@Old.Name:chat.home.arpa"] {
            text.parse::<Person>().unwrap().on(&server()).unwrap();
        }
        for bad in ["", "@", "@:chat.home.arpa", "anna:chat.home.arpa", "@anna:", "an na", "änna", "a\u{1b}"]
        {
            assert!(bad.parse::<Person>().is_err(), "{bad:?} was accepted");
        }
        let other = "@anna:else.home.arpa".parse::<Person>().unwrap().on(&server()).unwrap_err();
        assert!(other.0.contains("another server"), "{other}");
    }

    #[test]
    fn tokens() {
        for good in ["a", "Xy.9_~-", &"t".repeat(64)] {
            assert_eq!(good.parse::<InviteToken>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "ä", "a\n", &"t".repeat(65)] {
            assert!(bad.parse::<InviteToken>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn uses() {
        assert_eq!("3".parse::<Uses>().unwrap().0.map(NonZeroU32::get), Some(3));
        assert_eq!("unlimited".parse::<Uses>().unwrap().0, None);
        for bad in ["0", "-1", "+1", "1.5", "", "many", "99999999999"] {
            assert!(bad.parse::<Uses>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn expiry_lies_in_the_future_and_can_be_printed() {
        let now = Millis(1_700_000_000_000);
        assert_eq!(now.after(Seconds::days(7)).unwrap().0, 1_700_604_800_000);
        assert!(now.after(Seconds(u64::MAX)).is_err());
        assert!(now.after(Seconds::days(4_000_000)).is_err());
        assert!(now.in_the_future(now).is_err());
        assert!(Millis(now.0 + 1).in_the_future(now).is_ok());
    }

    #[test]
    fn passwords_are_checked_and_never_shown() {
        let password = Password::parse("correct horse").unwrap();
        assert!(!format!("{password:?}").contains("horse"));
        for bad in ["", "sevench", "with a \0 byte", &"x".repeat(513)] {
            let why = Password::parse(bad).unwrap_err().0;
            assert!(bad.is_empty() || !why.contains(bad), "{why}");
        }
        assert!(Password::with_at_least(14, "correct horse").is_err());
        assert!(Password::with_at_least(13, "correct horse").is_ok());
        // Eight characters, however many bytes.
        assert!(Password::parse("äöüßäöüß").is_ok());
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        for bad in ["password", "Passwort2026!", "12345678", "aaaaaaaa", "caroline1"] {
            let refused = Password::chosen(8, "caroline", bad);
            assert!(refused.is_err(), "{bad}");
            let why = refused.err().map(|why| why.0).unwrap_or_default();
            assert!(!why.contains(bad), "{why}");
        }
        assert!(Password::chosen(8, "anna", "correct horse battery staple").is_ok());
        assert!(Password::chosen(20, "anna", "correct horse").unwrap_err().0.contains("at least 20"));
    }

    #[test]
    fn the_programs_own_names_are_reserved() {
        assert!(is_reserved("matrix-podman") && is_reserved("matrix-podman-x7"));
        assert!(!is_reserved("matrix-podmania") && !is_reserved("matrix"));
    }
}
