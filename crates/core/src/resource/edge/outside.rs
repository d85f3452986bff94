//! What NPM's nginx shows to people, whatever NPM's database says of it.

use std::net::{IpAddr, SocketAddr};

use crate::{
    edge::npm::Outside,
    fact::{HttpAnswer, HttpQuestion, Stage},
};

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// It serves the name.
    Serves,
    /// It is there and does not serve the name, and why.
    Refuses(String),
    /// It cannot be seen from here.
    Dark,
}

/// The question that shows whether `name` is served, to `address`.
pub fn outside_question(outside: &Outside, name: &str, address: IpAddr) -> HttpQuestion {
    let scheme = if outside.tls { "https" } else { "http" };
    HttpQuestion {
        at: Some(SocketAddr::new(address, outside.port)),
        ..HttpQuestion::get(format!("{scheme}://{name}/.well-known/matrix/server"))
    }
}

/// What the answer shows. `named` is whether the certificate has to name
/// the host; with one that a person chose, that is their business.
pub fn outside_view(answer: &HttpAnswer, name: &str, named: bool) -> View {
    match answer {
        HttpAnswer::Silent(silence) => match silence.stage {
            Stage::Tls | Stage::Cut => View::Refuses(silence.why.clone()),
            Stage::Name | Stage::Connect | Stage::Answer => View::Dark,
        },
        HttpAnswer::Answered(reply) => {
            let certificate = reply.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
            match certificate {
                Some(certificate) if named && !certificate.names.iter().any(|n| fits(n, name)) => {
                    View::Refuses(format!(
                        "it shows a certificate for {}",
                        match certificate.names.as_slice() {
                            [] => "nobody".to_owned(),
                            names => names.join(", "),
                        }
                    ))
                }
                _ => View::Serves,
            }
        }
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Certificate, HttpReply, Silence, Tls};

    #[test]
    fn a_refused_handshake_is_no_service_and_a_closed_door_says_nothing() {
        let silent = |stage| HttpAnswer::Silent(Silence { stage, why: "it refuses that name".to_owned() });
        let judge = |answer| outside_view(&answer, "matrix.a.de", true);
        assert!(matches!(judge(silent(Stage::Tls)), View::Refuses(_)));
        assert_eq!(judge(silent(Stage::Connect)), View::Dark);
        assert_eq!(judge(silent(Stage::Name)), View::Dark);
        let shown = |names: &[&str]| {
            HttpAnswer::Answered(Box::new(HttpReply {
                address: ([192, 168, 1, 5], 443).into(),
                tls: Some(Tls {
                    version: String::new(),
                    cipher: String::new(),
                    distrust: None,
                    certificate: Some(Certificate {
                        issuer: String::new(),
                        names: names.iter().map(|n| (*n).to_owned()).collect(),
                        not_before: 0,
                        not_after: 0,
                    }),
                }),
                status: 502,
                headers: Default::default(),
                body: None,
                at: 0,
                millis: 0,
            }))
        };
        assert_eq!(judge(shown(&["*.a.de"])), View::Serves, "whatever the guest says");
        assert!(matches!(judge(shown(&["localhost"])), View::Refuses(why) if why.contains("localhost")));
        assert_eq!(outside_view(&shown(&["localhost"]), "matrix.a.de", false), View::Serves);
    }
}
