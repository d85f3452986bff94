use super::*;
use crate::{
    fact::Distrust,
    federation::testing::{Internet, reply, tls, with_header},
};

const WELL_KNOWN: &str = "/.well-known/matrix/server";

fn found(internet: &Internet, name: &str) -> Discovery {
    let named: Named = name.parse().unwrap();
    internet.look(|seen| discover(&Net::default(), &named, seen))
}

/// `address as host-header for certificate`
fn places(discovery: &Discovery) -> Vec<String> {
    discovery
        .places
        .iter()
        .map(|p| format!("{} as {} for {}", p.address, p.host_header, p.certificate_for))
        .collect()
}

/// `a.example` with a well-known file that says this.
fn delegating(to: &str) -> Internet {
    Internet::default().name("a.example", &["1.1.1.1"]).says(
        "1.1.1.1:443",
        WELL_KNOWN,
        200,
        &format!("{{\"m.server\": {to:?}}}"),
    )
}

#[test]
fn step_1_an_address_is_asked_as_it_is() {
    let nobody = Internet::default();
    assert_eq!(places(&found(&nobody, "1.2.3.4")), ["1.2.3.4:8448 as 1.2.3.4 for 1.2.3.4"]);
    assert_eq!(places(&found(&nobody, "1.2.3.4:99")), ["1.2.3.4:99 as 1.2.3.4:99 for 1.2.3.4"]);
    assert_eq!(places(&found(&nobody, "[::1]")), ["[::1]:8448 as [::1] for [::1]"]);
    assert_eq!(places(&found(&nobody, "[::1]:5")), ["[::1]:5 as [::1]:5 for [::1]"]);
}

#[test]
fn step_2_a_port_rules_out_delegation() {
    let internet = delegating("b.example:1")
        .service("_matrix-fed._tcp.a.example", &["1 1 2 c.example"])
        .name("a.example", &["1.1.1.1", "2001:db8::1"]);
    assert_eq!(
        places(&found(&internet, "a.example:4443")),
        [
            "1.1.1.1:4443 as a.example:4443 for a.example",
            "[2001:db8::1]:4443 as a.example:4443 for a.example"
        ]
    );
    assert_eq!(internet.asked_as(WELL_KNOWN), [], "nobody looks for a well-known file");
}

#[test]
fn step_3_1_delegated_to_an_address() {
    assert_eq!(places(&found(&delegating("2.2.2.2"), "a.example")), ["2.2.2.2:8448 as 2.2.2.2 for 2.2.2.2"]);
    assert_eq!(places(&found(&delegating("[::2]:7"), "a.example")), ["[::2]:7 as [::2]:7 for [::2]"]);
}

#[test]
fn step_3_2_delegated_to_a_host_with_a_port() {
    let internet = delegating("b.example:443")
        .name("b.example", &["2.2.2.2"])
        .service("_matrix-fed._tcp.b.example", &["1 1 9 c.example"]);
    let discovery = found(&internet, "a.example");
    assert_eq!(places(&discovery), ["2.2.2.2:443 as b.example:443 for b.example"]);
    assert_eq!(discovery.delegated_to.as_deref(), Some("b.example:443"));
}

#[test]
fn step_3_3_and_3_4_delegated_to_a_host_with_records() {
    for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
        let internet = delegating("b.example")
            .name("c.example", &["3.3.3.3"])
            .service(&format!("{service}.b.example"), &["1 1 4443 c.example"]);
        // Neither Host nor certificate is ever the record's target.
        assert_eq!(places(&found(&internet, "a.example")), ["3.3.3.3:4443 as b.example for b.example"]);
    }
}

#[test]
fn step_3_5_delegated_to_a_host_alone() {
    let internet = delegating("b.example").name("b.example", &["2.2.2.2"]);
    let discovery = found(&internet, "a.example");
    assert_eq!(places(&discovery), ["2.2.2.2:8448 as b.example for b.example"]);
    assert!(discovery.fell_back);
}

#[test]
fn step_4_and_5_records_of_the_name_itself() {
    let both = Internet::default()
        .name("c.example", &["3.3.3.3"])
        .name("d.example", &["4.4.4.4", "::4"])
        .service("_matrix-fed._tcp.a.example", &["20 0 1 c.example", "10 0 2 d.example"])
        .service("_matrix._tcp.a.example", &["0 0 9 e.example"]);
    // The lowest priority comes first; the old kind of record is not looked at.
    assert_eq!(
        places(&found(&both, "a.example")),
        [
            "4.4.4.4:2 as a.example for a.example",
            "[::4]:2 as a.example for a.example",
            "3.3.3.3:1 as a.example for a.example"
        ]
    );
    let old = Internet::default()
        .name("e.example", &["5.5.5.5"])
        .service("_matrix._tcp.a.example", &["0 0 9 e.example"]);
    assert_eq!(places(&found(&old, "a.example")), ["5.5.5.5:9 as a.example for a.example"]);
}

#[test]
fn step_6_the_name_itself() {
    let internet = Internet::default().name("a.example", &["1.1.1.1"]);
    let discovery = found(&internet, "a.example");
    assert_eq!(places(&discovery), ["1.1.1.1:8448 as a.example for a.example"]);
    assert!(discovery.fell_back && discovery.problems.is_empty());
}

#[test]
fn a_well_known_file_that_does_not_count() {
    let long = format!("{{\"m.server\": \"b.example:1\", \"x\": \"{}\"}}", "x".repeat(WELL_KNOWN_LIMIT));
    for (status, body, why) in [
        (404, "{\"m.server\": \"b.example:1\"}", "status 404"),
        (500, "", "status 500"),
        (200, "<!doctype html>", "not JSON"),
        (200, "", "not JSON"),
        (200, "{}", "no m.server"),
        (200, "{\"m.server\": 5}", "no m.server"),
        (200, "{\"m.server\": \"\"}", "its m.server is"),
        (200, "{\"m.server\": \"https://b.example\"}", "its m.server is"),
        (200, "{\"m.server\": \"b.example:99999\"}", "its m.server is"),
        (200, long.as_str(), "longer than 50 KiB"),
    ] {
        let internet =
            Internet::default().name("a.example", &["1.1.1.1"]).says("1.1.1.1:443", WELL_KNOWN, status, body);
        let discovery = found(&internet, "a.example");
        assert_eq!(places(&discovery), ["1.1.1.1:8448 as a.example for a.example"], "{why}");
        assert!(discovery.steps[0].contains(why), "{why:?} in {:?}", discovery.steps);
    }
}

#[test]
fn a_well_known_file_behind_a_certificate_that_does_not_hold() {
    for (distrust, why) in [
        (Distrust::Expired, "was valid until"),
        (Distrust::WrongName, "not for a.example"),
        (Distrust::UnknownIssuer, "does not trust"),
    ] {
        let mut reply = reply("1.1.1.1:443", 200, "{\"m.server\": \"b.example:1\"}");
        reply.tls = Some(tls(Some(distrust)));
        let internet =
            Internet::default().name("a.example", &["1.1.1.1"]).answers("1.1.1.1:443", WELL_KNOWN, reply);
        let discovery = found(&internet, "a.example");
        assert!(discovery.delegated_to.is_none());
        assert!(discovery.steps[0].contains(why), "{why:?} in {:?}", discovery.steps);
    }
}

#[test]
fn the_second_address_may_have_the_well_known_file() {
    let internet =
        delegating("b.example:1").name("a.example", &["::1", "1.1.1.1"]).name("b.example", &["2.2.2.2"]);
    assert_eq!(places(&found(&internet, "a.example")), ["2.2.2.2:1 as b.example:1 for b.example"]);
}

#[test]
fn redirections_are_followed() {
    let redirect = |to: &str| with_header(reply("1.1.1.1:443", 302, ""), "location", to);
    for to in ["https://www.a.example/x", "//www.a.example/x"] {
        let internet = Internet::default()
            .name("a.example", &["1.1.1.1"])
            .name("www.a.example", &["9.9.9.9"])
            .answers("1.1.1.1:443", WELL_KNOWN, redirect(to))
            .says("9.9.9.9:443", "/x", 200, "{\"m.server\": \"1.2.3.4\"}");
        assert_eq!(places(&found(&internet, "a.example")), ["1.2.3.4:8448 as 1.2.3.4 for 1.2.3.4"], "{to}");
    }
    for (to, path) in [("/other", "/other"), ("other", "/.well-known/matrix/other")] {
        let internet = Internet::default()
            .name("a.example", &["1.1.1.1"])
            .answers("1.1.1.1:443", WELL_KNOWN, redirect(to))
            .says("1.1.1.1:443", path, 200, "{\"m.server\": \"1.2.3.4\"}");
        assert_eq!(places(&found(&internet, "a.example")).len(), 1, "{to}");
        assert_eq!(found(&internet, "a.example").delegated_to.as_deref(), Some("1.2.3.4"), "{to}");
    }
}

#[test]
fn redirections_that_lead_nowhere() {
    for (to, why) in [
        ("http://a.example/x", "not https"),
        (WELL_KNOWN, "more than 10 times"),
        ("", "to nowhere"),
        ("ftp://a.example/x", "not https"),
    ] {
        let internet = Internet::default().name("a.example", &["1.1.1.1"]).answers(
            "1.1.1.1:443",
            WELL_KNOWN,
            with_header(reply("1.1.1.1:443", 301, ""), "location", to),
        );
        let discovery = found(&internet, "a.example");
        assert!(discovery.fell_back);
        assert!(discovery.steps.iter().any(|step| step.contains(why)), "{why:?} in {:?}", discovery.steps);
    }
}

#[test]
fn records_that_forbid_or_mislead_are_told() {
    let none = Internet::default().service("_matrix-fed._tcp.a.example", &["0 0 0 ."]);
    let discovery = found(&none, "a.example");
    assert!(discovery.places.is_empty() && discovery.problems[0].contains("no such service"));
    let alias = Internet::default()
        .name("c.example", &["3.3.3.3"])
        .service("_matrix-fed._tcp.a.example", &["0 0 1 c.example alias"]);
    let discovery = found(&alias, "a.example");
    assert_eq!(discovery.places.len(), 1);
    assert!(discovery.problems[0].contains("CNAME"), "{:?}", discovery.problems);
    let nowhere = Internet::default().service("_matrix-fed._tcp.a.example", &["0 0 1 gone.example"]);
    assert!(found(&nowhere, "a.example").problems[0].contains("gone.example has no address"));
}

#[test]
fn name_servers_that_give_no_answer_are_told() {
    let internet = Internet::default()
        .name("a.example", &["1.1.1.1"])
        .broken("_matrix-fed._tcp.a.example")
        .service("_matrix._tcp.a.example", &[]);
    let discovery = found(&internet, "a.example");
    assert_eq!(discovery.places.len(), 1);
    assert!(discovery.problems[0].contains("could not be asked"), "{:?}", discovery.problems);
    let discovery = found(&Internet::default().broken("a.example"), "a.example");
    assert!(discovery.problems[0].contains("could not be looked up"), "{:?}", discovery.problems);
}

#[test]
fn places_given_by_hand_come_before_the_dns() {
    let internet = delegating("b.example:443").name("b.example", &["2.2.2.2"]);
    let net = Net { resolve: vec!["b.example:443:7.7.7.7".parse().unwrap()], ca: None };
    let named: Named = "a.example".parse().unwrap();
    let discovery = internet.look(|seen| discover(&net, &named, seen));
    assert_eq!(places(&discovery), ["7.7.7.7:443 as b.example:443 for b.example"]);
}

#[test]
fn the_same_place_is_asked_once() {
    let internet = Internet::default()
        .name("c.example", &["3.3.3.3"])
        .service("_matrix-fed._tcp.a.example", &["0 0 1 c.example", "1 0 1 c.example"]);
    assert_eq!(found(&internet, "a.example").places.len(), 1);
}

#[test]
fn whoever_names_thousands_of_servers_gets_a_few_questions() {
    let targets: Vec<String> = (0..3000).map(|n| format!("{n} 1 8448 t{n}.example")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let many: Vec<String> = (0..250).map(|n| format!("10.0.0.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut internet = Internet::default().service("_matrix-fed._tcp.a.example", &targets);
    for n in 0..3000 {
        internet = internet.name(&format!("t{n}.example"), if n == 1 { &many } else { &["10.1.1.1"] });
    }
    let discovery = found(&internet, "a.example");
    assert!(discovery.places.len() <= MOST_PLACES, "{}", discovery.places.len());
    assert!(discovery.problems.iter().any(|p| p.contains("names 3000 servers; only the first 8")));
    assert!(discovery.problems.iter().any(|p| p.contains("has 250 addresses; only the first 8")));
}
