//! NPM's certificates: which one a host gets, how one is asked for, and what
//! certbot says against it.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Version;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Certificate {
    /// Its id.
    pub id: u64,
    /// What people call it.
    #[serde(default)]
    pub nice_name: String,
    /// The names that NPM knows it to be for. Of one that was uploaded NPM reads
    /// the common name alone.
    #[serde(default)]
    pub domain_names: Vec<String>,
    /// When its row was made.
    #[serde(default)]
    pub created_on: String,
    /// Until when: it begins with the day.
    #[serde(default)]
    pub expires_on: String,
    /// `letsencrypt` or `other`.
    #[serde(default)]
    pub provider: String,
}

impl Certificate {
    /// Whether it has not ended on the day of `now`.
    pub fn is_valid(&self, now: &str) -> bool {
        let day = |text: &str| text.get(..10).unwrap_or_default().to_owned();
        day(&self.expires_on) > day(now)
    }

    /// Whether NPM knows it to be for `host`.
    pub fn names(&self, host: &str) -> bool {
        self.domain_names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(host),
        })
    }

    /// Whether browsers take it for `host` on the day of `now`.
    pub fn covers(&self, host: &str, now: &str) -> bool {
        self.is_valid(now) && self.names(host)
    }

    /// Whether it is for exactly these names.
    pub fn is_for(&self, names: &[String]) -> bool {
        let sorted = |names: &[String]| {
            let mut names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
            names.sort();
            names
        };
        sorted(&self.domain_names) == sorted(names)
    }

    /// Whether certbot may still be at it: NPM makes the row first, with the
    /// same moment for its beginning and its end.
    pub fn is_unfinished(&self) -> bool {
        self.provider == "letsencrypt" && !self.created_on.is_empty() && self.created_on == self.expires_on
    }
}

/// The certificate for `host` that is valid longest.
pub fn certificate_for<'a>(all: &'a [Certificate], host: &str, now: &str) -> Option<&'a Certificate> {
    all.iter().filter(|c| c.covers(host, now)).max_by(|a, b| a.expires_on.cmp(&b.expires_on))
}

/// Which certificate a host gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice<'a> {
    /// This one.
    Use(&'a Certificate),
    /// There is none.
    None,
    /// The one that the config names cannot be had, and why.
    Missing(String),
}

/// The certificate of `host`: the one that the config names, else the one that
/// the host has where it is good, else the one that lasts longest.
pub fn choose<'a>(
    all: &'a [Certificate],
    named: Option<&str>,
    host: &str,
    used: Option<u64>,
    now: &str,
) -> Choice<'a> {
    if let Some(named) = named {
        let number = named.trim_start_matches('#').parse().ok();
        let found: Vec<&Certificate> =
            all.iter().filter(|c| Some(c.id) == number || c.nice_name.eq_ignore_ascii_case(named)).collect();
        return match found.as_slice() {
            [one] if one.is_valid(now) => Choice::Use(one),
            [one] => Choice::Missing(format!(
                "the certificate {named:?} in NPM ended on {}",
                one.expires_on.get(..10).unwrap_or(&one.expires_on)
            )),
            [] => Choice::Missing(format!("NPM has no certificate {named:?}")),
            several => Choice::Missing(format!(
                "NPM has several certificates {named:?}, with the numbers {}",
                several.iter().map(|c| c.id.to_string()).collect::<Vec<_>>().join(" and ")
            )),
        };
    }
    // One that works is not changed for one that lasts longer. Of one that was
    // uploaded NPM does not know all names: whoever gave it to the host does.
    let good = |c: &&Certificate| c.covers(host, now) || c.provider != "letsencrypt" && c.is_valid(now);
    if let Some(used) = all.iter().find(|c| Some(c.id) == used).filter(good) {
        return Choice::Use(used);
    }
    certificate_for(all, host, now).map_or(Choice::None, Choice::Use)
}

/// What is beside the credential in a request for a certificate.
pub fn certificate_meta(version: Version, identity: &str) -> Json {
    let mut meta = json!({"dns_challenge": true, "dns_provider": "cloudflare", "propagation_seconds": 30});
    if version.at_least(13, 6) {
        meta["key_type"] = json!("ecdsa");
    }
    if !version.at_least(13, 0) {
        // Later ones refuse both: they take the user's own address.
        meta["letsencrypt_agree"] = json!(true);
        meta["letsencrypt_email"] = json!(identity);
    }
    meta
}

/// What certbot, or nginx before it, said in NPM's answer: lines that say
/// something, without the frames and boxes around them.
pub fn certbot_words(answer: &Json) -> Vec<String> {
    let stack = &answer["debug"]["stack"];
    let parts: Vec<&str> = match stack {
        Json::Array(lines) => lines.iter().filter_map(Json::as_str).collect(),
        Json::String(text) => vec![text],
        _ => Vec::new(),
    };
    let lines = parts.iter().flat_map(|part| part.lines()).map(|line| {
        let line = line.trim().trim_matches('|').trim();
        let line =
            line.split_once("Error: ").filter(|(kind, _)| !kind.contains(' ')).map_or(line, |(_, rest)| rest);
        line.to_owned()
    });
    lines.filter(|line| says_something(line)).collect()
}

fn says_something(line: &str) -> bool {
    let frame = line.starts_with("at ") && (line.contains(':') || line.ends_with(')'));
    let header = line.ends_with("Error:") && !line.contains(' ');
    let ritual =
        line.starts_with("Saving debug log to ") || line.starts_with("Ask for help or search for solutions");
    let box_of = line.chars().all(|c| matches!(c, '-' | ' ' | '=' | '*' | '_' | '+' | '|' | '─'));
    !(line.is_empty() || line == "Error" || frame || header || ritual || box_of)
}

/// Whether another certbot was at work, so that the same can be tried again.
pub fn certbot_is_busy(words: &[String]) -> bool {
    words.iter().any(|line| line.contains("Another instance of Certbot is already running"))
}

/// What to do about what certbot said.
pub fn certbot_hint(words: &[String]) -> &'static str {
    let says =
        |parts: &[&str]| words.iter().any(|line| parts.iter().any(|part| line.to_lowercase().contains(part)));
    if certbot_is_busy(words) {
        "NPM asks for one certificate at a time: wait some minutes, then run the same again. If it stays so, restart NPM's container"
    } else if says(&["[emerg]", "nginx: configuration file"]) {
        "NPM's nginx cannot load its own config: `nginx -t` in NPM's container says where, and nothing can be written until that is mended"
    } else if says(&["too many ", "ratelimited", "rate limit"]) {
        "Let's Encrypt asks everybody to wait: the line above says until when"
    } else if says(&[
        "zone_id",
        "invalid request headers",
        "authentication error",
        "access token",
        "9109",
        "6003",
        "6111",
    ]) {
        "the token in edge.npm.dns_token has to be one of Cloudflare's with \"Zone / DNS: Edit\" for the zone of these names: make one at https://dash.cloudflare.com/profile/api-tokens"
    } else if says(&[
        "no matching distribution",
        "could not find a version",
        "name resolution",
        "newconnectionerror",
        "connection refused",
        "network is unreachable",
    ]) {
        "NPM's container does not reach the internet, which it needs to install certbot's plugin and to ask Let's Encrypt"
    } else if says(&["incorrect txt record", "no txt record", "nxdomain", "dns problem"]) {
        "Let's Encrypt did not see the DNS record in time: look whether the zone's name servers are Cloudflare's, then run the same again"
    } else {
        "the lines above are certbot's own words; NPM's container has the rest in /tmp/letsencrypt-log/letsencrypt.log"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-05-01 10:00:00";

    fn certificate(names: &[&str], until: &str) -> Certificate {
        Certificate {
            id: 1,
            nice_name: names.join(", "),
            domain_names: names.iter().map(|n| (*n).to_owned()).collect(),
            created_on: "2026-01-01 00:00:00".to_owned(),
            expires_on: until.to_owned(),
            provider: "letsencrypt".to_owned(),
        }
    }

    #[test]
    fn a_certificate_covers_its_names_until_it_ends() {
        assert!(certificate(&["*.a.de"], "2026-05-02 00:00:00").covers("matrix.a.de", NOW));
        assert!(!certificate(&["*.a.de"], "2026-05-01 23:00:00").covers("matrix.a.de", NOW));
        assert!(!certificate(&["*.a.de"], "2027-01-01").covers("x.matrix.a.de", NOW));
        assert!(!certificate(&["*.a.de"], "2027-01-01").covers("a.de", NOW));
        assert!(certificate(&["b.de", "A.de"], "2027-01-01T00:00:00.000Z").covers("a.de", NOW));
    }

    #[test]
    fn what_the_host_has_stays_while_it_is_good() {
        let later = Certificate { id: 2, ..certificate(&["m.a.de"], "2028-01-01") };
        let uploaded = Certificate {
            id: 3,
            provider: "other".to_owned(),
            nice_name: "Origin".to_owned(),
            ..certificate(&["CloudFlare Origin Certificate"], "2030-01-01")
        };
        let all = [certificate(&["m.a.de"], "2027-01-01"), later, uploaded];
        let id = |choice| match choice {
            Choice::Use(c) => c.id,
            other => panic!("{other:?}"),
        };
        assert_eq!(id(choose(&all, None, "m.a.de", None, NOW)), 2, "the longest");
        assert_eq!(id(choose(&all, None, "m.a.de", Some(1), NOW)), 1, "the one that it has");
        // Its names stand in the SAN, which NPM does not read.
        assert_eq!(id(choose(&all, None, "m.a.de", Some(3), NOW)), 3);
        assert_eq!(choose(&all, None, "x.b.de", None, NOW), Choice::None, "nobody gives it to a new host");
        assert_eq!(id(choose(&all, Some("origin"), "x.b.de", None, NOW)), 3, "unless it is named");
        assert_eq!(id(choose(&all, Some("#3"), "x.b.de", Some(1), NOW)), 3);
        // Of Let's Encrypt's, NPM knows every name.
        assert_eq!(choose(&all, None, "x.b.de", Some(1), NOW), Choice::None);
        assert!(matches!(choose(&all, Some("nothing"), "m.a.de", Some(1), NOW), Choice::Missing(_)));
        let ended = [certificate(&["m.a.de"], "2026-01-01")];
        assert!(
            matches!(choose(&ended, Some("1"), "m.a.de", Some(1), NOW), Choice::Missing(why) if why.contains("2026-01-01"))
        );
    }

    #[test]
    fn an_unfinished_row_is_known_by_its_dates() {
        let mut row = certificate(&["a.de"], NOW);
        assert!(!row.is_unfinished());
        row.created_on = NOW.to_owned();
        assert!(row.is_unfinished() && !row.covers("a.de", NOW));
        assert!(row.is_for(&["A.de".to_owned()]) && !row.is_for(&[]));
    }

    #[test]
    fn certbots_words_are_found_between_frames_and_boxes() {
        let answer = json!({"error": {"code": 500, "message": "Internal Error"}, "debug": {"stack": [
            "CommandError: Saving debug log to /tmp/letsencrypt-log/letsencrypt.log",
            "- - - - - - - - - - - -",
            "Error determining zone_id: 6003 Invalid request headers.",
            "",
            "Ask for help or search for solutions at https://community.letsencrypt.org.",
            "    at /app/lib/utils.js:16:13",
            "    at ChildProcess.exithandler (node:child_process:430:5)",
        ]}});
        let words = certbot_words(&answer);
        assert_eq!(words, ["Error determining zone_id: 6003 Invalid request headers."]);
        assert!(certbot_hint(&words).contains("dns_token"));
        assert_eq!(certbot_words(&json!({"debug": {"stack": null}})), [""; 0]);
    }

    #[test]
    fn the_hint_follows_what_is_said() {
        let hint = |line: &str| certbot_hint(&[line.to_owned()]);
        assert!(
            hint("Another instance of Certbot is already running.").contains("one certificate at a time")
        );
        assert!(hint("nginx: [emerg] cannot load certificate \"/etc/x\"").contains("nginx -t"));
        assert!(hint("too many certificates already issued for this exact set").contains("wait"));
        assert!(
            hint("ERROR: No matching distribution found for certbot-dns-cloudflare").contains("internet")
        );
        assert!(hint("Some challenges have failed.").contains("certbot's own words"));
    }

    #[test]
    fn the_request_has_what_the_version_takes() {
        let version = |minor, revision| Version { major: 2, minor, revision };
        assert_eq!(certificate_meta(version(12, 6), "a@b")["letsencrypt_agree"], true);
        assert_eq!(certificate_meta(version(13, 0), "a@b").get("letsencrypt_agree"), None);
        assert_eq!(certificate_meta(version(13, 5), "a@b").get("key_type"), None);
    }
}
