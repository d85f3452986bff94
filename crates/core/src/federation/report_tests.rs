use super::*;
use crate::{
    fact::Distrust,
    federation::testing::{Internet, reply, tls, with_header},
};

/// What a server called a.example answers, signed by another implementation.
const SIGNED: &str = include_str!("testdata/signed_by_signedjson.json");
const SYNAPSE: &str = r#"{"server": {"name": "Synapse", "version": "1.157.1"}}"#;

fn look(internet: &Internet, name: &str) -> Report {
    let named: Named = name.parse().unwrap();
    internet.look(|seen| report(&Net::default(), &named, seen))
}

fn good(addresses: &[&str]) -> Internet {
    addresses.iter().fold(Internet::default().name("a.example", addresses), |internet, address| {
        let place = SocketAddr::new(address.parse().unwrap(), 8448).to_string();
        internet.says(&place, KEYS, 200, SIGNED).says(&place, VERSION, 200, SYNAPSE)
    })
}

/// One address that answers to the question about keys like this.
fn with(change: impl FnOnce(HttpReply) -> HttpReply) -> Report {
    let internet =
        good(&["1.1.1.1"]).answers("1.1.1.1:8448", KEYS, change(reply("1.1.1.1:8448", 200, SIGNED)));
    look(&internet, "a.example")
}

fn only_problem(report: &Report) -> &str {
    assert!(!report.ok);
    let all: Vec<&str> = report
        .addresses
        .iter()
        .flat_map(|a| &a.problems)
        .chain(&report.problems)
        .map(|p| p.what.as_str())
        .collect();
    let [one] = all.as_slice() else { panic!("{all:?}") };
    one
}

#[test]
fn a_server_as_it_should_be() {
    let internet = good(&["1.1.1.1", "2001:db8::1"]);
    let report = look(&internet, "a.example");
    assert!(report.ok, "{report:?}");
    assert_eq!(report.addresses.len(), 2);
    for address in &report.addresses {
        assert!(address.keys.as_ref().unwrap().keys[0].signed);
        assert_eq!(address.version.as_ref().unwrap().name, "Synapse");
    }
    assert_eq!(internet.asked_as(KEYS), [("a.example".to_owned(), "a.example".to_owned())]);
}

#[test]
fn host_and_certificate_are_those_of_the_delegation() {
    let internet = Internet::default()
        .name("a.example", &["1.1.1.1"])
        .name("b.example", &["2.2.2.2"])
        .says("1.1.1.1:443", "/.well-known/matrix/server", 200, r#"{"m.server": "b.example:443"}"#)
        .says("2.2.2.2:443", KEYS, 200, SIGNED)
        .says("2.2.2.2:443", VERSION, 200, SYNAPSE);
    let report = look(&internet, "a.example");
    assert!(report.ok, "{report:?}");
    assert_eq!(internet.asked_as(KEYS), [("b.example:443".to_owned(), "b.example".to_owned())]);
}

#[test]
fn one_bad_address_is_enough() {
    let internet = good(&["1.1.1.1"]).name("a.example", &["1.1.1.1", "2001:db8::1"]);
    let report = look(&internet, "a.example");
    assert_eq!(only_problem(&report), "no connection: nothing listens there");
    assert!(report.addresses[0].ok);
    assert!(report.addresses[1].problems[0].hint.contains("AAAA"));
}

#[test]
fn flaws_of_an_address() {
    for (distrust, said) in [
        (Distrust::Expired, "valid until"),
        (Distrust::WrongName, "not for a.example"),
        (Distrust::UnknownIssuer, "does not trust"),
        (Distrust::Other("odd".to_owned()), "odd"),
    ] {
        let report = with(|mut reply| {
            reply.tls = Some(tls(Some(distrust)));
            reply
        });
        assert!(only_problem(&report).contains(said), "{report:?}");
        // The keys are judged all the same, as the public testers do.
        assert!(report.addresses[0].keys.as_ref().unwrap().problems.is_empty());
    }
    let report = with(|reply| with_header(HttpReply { status: 403, ..reply }, "cf-mitigated", "challenge"));
    assert!(only_problem(&report).contains("Cloudflare"));
    for (status, said) in [(404, "no Matrix server"), (502, "does not reach"), (500, "status 500")] {
        let report = with(|reply| HttpReply { status, ..reply });
        assert!(only_problem(&report).contains(said), "{report:?}");
    }
    let report = with(|reply| HttpReply { body: Some("<html>".to_owned()), ..reply });
    assert!(report.addresses[0].problems[0].what.contains("not JSON"));
}

#[test]
fn another_server_at_the_name() {
    let internet = Internet::default()
        .name("b.example", &["1.1.1.1"])
        .says("1.1.1.1:8448", KEYS, 200, SIGNED)
        .says("1.1.1.1:8448", VERSION, 200, SYNAPSE);
    let report = look(&internet, "b.example");
    assert!(report.addresses[0].problems[0].what.contains("it says that it is a.example"), "{report:?}");
}

#[test]
fn a_proxy_that_passes_only_a_part() {
    let internet = good(&["1.1.1.1"]).says("1.1.1.1:8448", VERSION, 404, "not found");
    assert!(only_problem(&look(&internet, "a.example")).contains("what it runs"));
}

#[test]
fn two_servers_behind_one_name() {
    let mut report = look(&good(&["1.1.1.1", "2.2.2.2"]), "a.example");
    assert_eq!(different_keys(&report.addresses), None);
    report.addresses[1].keys.as_mut().unwrap().keys[0].key = "other".to_owned();
    assert!(different_keys(&report.addresses).unwrap().what.contains("different keys"));
}

#[test]
fn a_name_that_is_not_there() {
    let report = look(&Internet::default(), "a.example");
    assert_eq!(only_problem(&report), "a.example has no address in the DNS");
}
