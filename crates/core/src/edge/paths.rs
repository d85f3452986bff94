//! Which requests a reverse proxy hands on to Synapse: the one place where
//! paths are read, and where the patterns come from that every proxy is given.
//!
//! What decides is the request line as it came. Proxies choose by a path that
//! they have decoded and whose dots they have resolved, and hand on the one that
//! came; Synapse decodes each part of that once and resolves nothing. Where the
//! two read differently, `/_synapse/admin/…%2f%2e%2e%2f…/_matrix/x` is a client's
//! path to the proxy and the admin API to Synapse. So a path is handed on only if
//! it begins, letter by letter, with what is public, and if nobody could take
//! any part of it for a step upwards, however often they decode it.

/// Where the client and federation APIs are.
pub const MATRIX: &str = "/_matrix/";
/// Where Synapse's own pages for people are.
pub const CLIENT: &str = "/_synapse/client/";
/// Whatever begins so and is no page for people never answers through the edge.
pub const ADMIN: &str = "/_synapse/admin";
/// Everything of Synapse's own.
pub const SYNAPSE: &str = "/_synapse";
/// The paths that people and servers need of Synapse. Nothing else is handed on.
pub const PUBLIC: [&str; 2] = [MATRIX, CLIENT];

/// The pattern of what is handed on, for paths with or without their query. It
/// is written in what PCRE, RE2 and Rust's expressions have in common, without
/// braces, which some config files read themselves.
///
/// Below `/_matrix/` stand the letters that RFC 3986 lets stand in a path, and
/// brackets, as old clients leave those of an IPv6 address alone. Below
/// `/_synapse/client/` nothing has to be encoded, so nothing may be; no part of
/// it is empty or begins with a dot.
pub const ALLOWED: &str = concat!(
    r"^(?:/_matrix/(?:[!$&-;=@-Z\[\]_a-z~]|%0[1-9A-Fa-f]|%[1-9A-Fa-f][0-9A-Fa-f])*",
    r"|/_synapse/client(?:/[0-9A-Za-z_~:@!$,=+-][0-9A-Za-z_~:@!$,=+.-]*)+/?",
    r")(?:\?|$)"
);

/// The pattern of a path with a part that is one dot or two: plain, encoded, or
/// encoded several times over; between slashes, backslashes, or with `;` behind.
/// What stands in the query does not count.
pub const CROOKED: &str = concat!(
    r"^[^?]*(?:[/\\]|%(?:25)*(?:2[Ff]|5[Cc]))",
    r"(?:\.|%(?:25)*2[Ee])(?:\.|%(?:25)*2[Ee])?",
    r"(?:[/\\;?]|%(?:25)*(?:2[Ff]|5[Cc]|3[Bb])|$)"
);

/// Requests that have to be refused outside, for a look from there without a
/// token: whoever hands one of them on is told so by Synapse, with 401.
pub fn probes(server_name: &str) -> Vec<String> {
    let server = server_name.replace(':', "%3a");
    let version = "v1/server_version";
    let mut all = vec![
        format!("{ADMIN}/{version}"),
        format!("/%5Fsynapse/admin/{version}"),
        format!("/_matrix/..{ADMIN}/{version}"),
        format!("/_matrix/%2e%2e{ADMIN}/{version}"),
        format!("{CLIENT}..%2fadmin/{version}"),
    ];
    // Four parts lead out of the admin API again, for whoever resolves dots.
    let up = ["%2f%2e%2e", "%2F..", "%5c%2e%2e", "/%2e%2e", "/.."].map(|step| step.repeat(5));
    all.extend(up.iter().map(|up| format!("{ADMIN}/v2/users/@a{up}%2f_matrix%2fx%3a{server}")));
    all.push(format!("{ADMIN}/v2/users/@a{}%2f_synapse%2fclient%2fx%3a{server}", up[0]));
    all
}

#[cfg(test)]
mod tests {
    use regex_lite::Regex;

    use super::*;

    fn handed_on(target: &str) -> bool {
        Regex::new(ALLOWED).unwrap().is_match(target) && !Regex::new(CROOKED).unwrap().is_match(target)
    }

    /// The path as the most obliging of readers takes it: decoded until nothing
    /// changes, backslashes as slashes, parameters dropped, dots resolved.
    fn obliging(target: &str) -> String {
        let mut path = target.split('?').next().unwrap_or_default().to_owned();
        loop {
            let decoded = decode(&path);
            if decoded == path {
                break;
            }
            path = decoded;
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split(['/', '\\']) {
            match part.split(';').next().unwrap_or_default() {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/")).to_ascii_lowercase()
    }

    fn decode(text: &str) -> String {
        let bytes = text.as_bytes();
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some(byte) = bytes.get(at) {
            let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            match code.filter(|_| *byte == b'%') {
                Some(code) => {
                    out.push(code);
                    at += 3;
                }
                None => {
                    out.push(*byte);
                    at += 1;
                }
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn what_clients_and_servers_ask_for_is_handed_on() {
        for target in [
            "/_matrix/client/versions",
            "/_matrix/client/v3/sync?filter=%7B%22room%22%3A%7B%7D%7D&since=s1_..%2f..&timeout=30000",
            "/_matrix/client/v3/rooms/!abc%3Ahome.arpa/state/m.room.name/",
            "/_matrix/client/v3/rooms/!abc:home.arpa/send/m.room.message/m1700000000.1",
            "/_matrix/client/v3/directory/room/%23a%2Fb%3Ahome.arpa",
            "/_matrix/client/v3/rooms/!a%3Ab/event/$aB3-_%2F%2B",
            "/_matrix/client/v3/profile/%40anna%3Ahome.arpa/displayname",
            "/_matrix/client/v3/pushrules/global/override/.m.rule.master",
            "/_matrix/client/v3/user/@a:b/account_data/m.widgets",
            "/_matrix/media/v3/download/[2001:db8::1]:8448/abc/a...b.tar.gz",
            "/_matrix/media/v3/download/home.arpa/abc/%C3%BC%20x%5Cy.png",
            "/_matrix/federation/v1/send/1700000000",
            "/_matrix/federation/v1/state/!a:b?event_id=$x%2F..%2Fy",
            "/_matrix/key/v2/server",
            "/_matrix/key/v2/query/home.arpa/ed25519:a_b",
            "/_matrix/client/v3/rooms//messages",
            "/_matrix/",
            "/_synapse/client/pick_idp?redirectUrl=https%3A%2F%2Fa%2F..%2Fb",
            "/_synapse/client/oidc/callback?code=%2e%2e&state=/../",
            "/_synapse/client/password_reset/email/submit_token?token=x",
            "/_synapse/client/rendezvous/01HX",
            "/_synapse/client/new_user_consent/",
        ] {
            assert!(handed_on(target), "{target}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not() {
        for target in [
            "/_matrix",
            "/_Matrix/x",
            "//_matrix/x",
            "/_matrix%2fx",
            "/%5fmatrix/x",
            "http://a/_matrix/x",
            "_matrix/x",
            "/_matrix/..",
            "/_matrix/x/.",
            "/_matrix/x/%2e?x",
            "/_matrix/x/..;/y",
            "/_matrix/x/..%3by",
            "/_matrix/x%2f..%2fy",
            "/_matrix/x%252f%252e.%25252fy",
            "/_matrix/x%5c..%5cy",
            "/_matrix/x\\y",
            "/_matrix/x#y",
            "/_matrix/x%",
            "/_matrix/x%0",
            "/_matrix/x%zz",
            "/_matrix/x%00",
            "/_matrix/x y",
            "/_matrix/ü",
            "/_synapse/client",
            "/_synapse/client/",
            "/_synapse/client//x",
            "/_synapse/client/x//",
            "/_synapse/client/.x",
            "/_synapse/client/%70ick_idp",
            "/_synapse/client/..%2fadmin",
            "/_synapse/client/x%2f..%2f..%2fadmin",
            "/_synapse/client/x;/../admin",
            "/_synapse/client/x\\..\\..\\admin",
            "/_synapse/clientx/y",
            "/_synapse/mas/x",
            "/health",
        ] {
            assert!(!handed_on(target), "{target}");
        }
        for target in probes("home.arpa:8448") {
            assert!(!handed_on(&target), "{target}");
            assert!(!target.contains(' ') && target.starts_with('/'), "{target}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_handed_on_is_public_to_the_most_obliging_reader(
            target in "(/_matrix|/_synapse/client|/_synapse/admin|/)([/\\\\.;?#a%]|%2e|%2f|%5c|%25|%3b|%2E|%2F|25|2e|2f|_matrix|admin){0,12}"
        ) {
            let read = obliging(&target);
            let public = ["/_matrix", "/_synapse/client"].iter().any(|p| read.starts_with(p));
            proptest::prop_assert!(!handed_on(&target) || public, "{} is read as {}", target, read);
        }
    }
}
