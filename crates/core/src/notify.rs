//! Notices: what the operator is told of things that nobody watched.

use serde::Serialize;

use crate::{
    config::{Notify, NotifyOn},
    name::ServerName,
};

/// How much of what is said is passed on: rooms and webhooks are no place for
/// logs.
const LONGEST: usize = 1000;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// An update.
    Update,
    /// A backup.
    Backup,
    /// A drill: whether a backup comes back.
    Drill,
    /// Room on the guest's disk.
    Room,
    /// Nothing: it only shows that notices arrive.
    Test,
}

impl Subject {
    /// For people, at the beginning of a line.
    pub const fn title(self) -> &'static str {
        match self {
            Subject::Update => "Update",
            Subject::Backup => "Backup",
            Subject::Drill => "Drill",
            Subject::Room => "Room",
            Subject::Test => "Test",
        }
    }
}

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whose server.
    pub server: ServerName,
    /// What it is about.
    pub subject: Subject,
    /// Whether all is well: nobody has to do anything.
    pub well: bool,
    /// What came of it, in words; no secret ever.
    pub what: String,
    /// When (RFC 3339).
    pub at: String,
}

/// What a webhook gets.
#[derive(Debug, Serialize)]
struct Payload<'a> {
    server: &'a str,
    subject: Subject,
    well: bool,
    what: String,
    at: &'a str,
    /// What Slack, Mattermost and Rocket.Chat show.
    text: String,
    /// What Discord shows.
    content: String,
}

impl Notice {
    /// Whether `config` wants this to be told. A test always is.
    pub fn is_wanted(&self, config: &Notify) -> bool {
        !self.well || config.on == NotifyOn::Always || self.subject == Subject::Test
    }

    /// Whether a person has to do something.
    pub fn is_loud(&self) -> bool {
        !self.well
    }

    /// For people, as a room shows it.
    pub fn text(&self) -> String {
        let sign = if self.well { "✓" } else { "✗" };
        format!("{sign} {} of {}: {}", self.subject.title(), self.server, self.short())
    }

    /// A line of a file.
    pub fn line(&self) -> String {
        let word = if self.well { "well" } else { "failed" };
        format!("{} {} {word}: {}\n", self.at, self.subject.title().to_lowercase(), self.short())
    }

    /// JSON for a webhook.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Payload {
            server: self.server.as_str(),
            subject: self.subject,
            well: self.well,
            what: self.short(),
            at: &self.at,
            text: self.text(),
            content: self.text(),
        })
    }

    /// What came of it in one line, and not longer than anybody reads.
    fn short(&self) -> String {
        let line = self.what.split_whitespace().collect::<Vec<_>>().join(" ");
        let clean = line.chars().filter(|c| !c.is_control());
        let mut short: String = clean.clone().take(LONGEST).collect();
        if clean.count() > LONGEST {
            short.push('…');
        }
        short
    }
}

/// The host of a webhook's address, which may be shown; the rest may be a
/// secret. `None` when it is no address that something can be sent to.
pub fn webhook_host(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    // Somebody's name and password may stand in front.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let sound = !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'));
    let whole = address.chars().all(|c| c.is_ascii_graphic());
    (sound && whole).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(well: bool, what: &str) -> Notice {
        Notice {
            server: ServerName::parse("matrix.home.arpa").unwrap(),
            subject: Subject::Update,
            well,
            what: what.to_owned(),
            at: "2026-11-15T05:41:07Z".to_owned(),
        }
    }

    #[test]
    fn only_what_is_wanted_is_told() {
        let config = |on| Notify { on, ..Notify::default() };
        for (well, on, wanted) in [
            (false, NotifyOn::Failure, true),
            (true, NotifyOn::Failure, false),
            (false, NotifyOn::Always, true),
            (true, NotifyOn::Always, true),
        ] {
            assert_eq!(notice(well, "x").is_wanted(&config(on)), wanted, "{well} {on:?}");
        }
        let test = Notice { subject: Subject::Test, ..notice(true, "x") };
        assert!(test.is_wanted(&config(NotifyOn::Failure)));
    }

    #[test]
    fn each_way_has_its_form() {
        let notice = notice(false, "synapse 1.164.0 failed:\n it was not\u{1b}[31m ready");
        assert_eq!(
            notice.line(),
            "2026-11-15T05:41:07Z update failed: synapse 1.164.0 failed: it was not[31m ready\n"
        );
        insta::assert_snapshot!(notice.json().unwrap(), @r#"{"server":"matrix.home.arpa","subject":"update","well":false,"what":"synapse 1.164.0 failed: it was not[31m ready","at":"2026-11-15T05:41:07Z","text":"✗ Update of matrix.home.arpa: synapse 1.164.0 failed: it was not[31m ready","content":"✗ Update of matrix.home.arpa: synapse 1.164.0 failed: it was not[31m ready"}"#);
    }

    #[test]
    fn nobody_gets_a_book() {
        assert_eq!(notice(true, &"ä".repeat(5000)).short().chars().count(), LONGEST + 1);
    }

    #[test]
    fn of_an_address_only_the_host_is_shown() {
        for (address, host) in [
            ("https://hooks.example.org/services/T0/B0/secret", Some("hooks.example.org")),
            ("http://192.0.2.7:8080/topic?auth=x", Some("192.0.2.7:8080")),
            ("https://anna:secret@ntfy.home.arpa", Some("ntfy.home.arpa")),
            ("https://[2001:db8::1]:8443/x", Some("[2001:db8::1]:8443")),
            ("ftp://x/y", None),
            ("https:///y", None),
            ("secret", None),
            ("https://a b/", None),
            ("https://a/b c", None),
        ] {
            assert_eq!(webhook_host(address), host, "{address}");
        }
    }
}
