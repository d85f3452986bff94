//! What other servers answer.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use matrix_podman_core::{
    fact::{Fact, HttpAnswer, HttpReply, NameAddresses, Silence, SrvRecord, Stage, Value},
    federation::{Named, Net, canonical, discover, judge, report},
    observed::{Answer, Observed},
};

/// Between the parts of an input.
const CUT: &str = "\n---\n";
/// As often as the program itself asks at most.
const ROUNDS: usize = 20;
/// The time: 2027-01-15, in milliseconds.
const NOW: u64 = 1_800_000_000_000;

/// A whole internet: the first line is the name that is asked about, and each part one
/// answer, the next one to whatever is asked next. A part's first line is a status, a
/// `Location` and an SRV record's target.
pub fn federation(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (name, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(named) = name.parse::<Named>() else { return };
    let parts: Vec<&str> = rest.split(CUT).collect();
    let mut seen = Observed::default();
    let mut next = 0;
    for _ in 0..ROUNDS {
        let found = report(&Net::default(), &named, &seen);
        let wanted = seen.take_wanted();
        if let Ok(report) = &found {
            let _ = serde_json::to_string(report);
        }
        if wanted.is_empty() {
            break;
        }
        for (side, fact) in wanted {
            let answer = answer(&fact, parts[next % parts.len()]);
            next += 1;
            seen.insert(side, fact, answer);
        }
    }
}

/// What a server says of itself below `/.well-known`.
pub fn well_known(bytes: &[u8]) {
    let Ok(named) = "chat.home.arpa".parse::<Named>() else { return };
    let text = String::from_utf8_lossy(bytes);
    let part = format!("200 - -\n{text}");
    let mut seen = Observed::default();
    for _ in 0..ROUNDS {
        let _ = discover(&Net::default(), &named, &seen);
        let wanted = seen.take_wanted();
        if wanted.is_empty() {
            break;
        }
        for (side, fact) in wanted {
            let answer = answer(&fact, &part);
            seen.insert(side, fact, answer);
        }
    }
}

/// The keys of a server, with their signatures.
pub fn server_keys(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = judge(&text, "chat.home.arpa", NOW);
}

/// Canonical JSON: the canonical form of what is canonical is the same.
pub fn canonical_json(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let Ok(once) = canonical(&value) else { return };
    match serde_json::from_str(&once).map(|again: serde_json::Value| canonical(&again)) {
        Ok(Ok(twice)) => assert_eq!(once, twice, "it is not stable"),
        Ok(Err(why)) => panic!("what was canonical is not any more: {why}"),
        Err(why) => panic!("it is not JSON: {why}"),
    }
}

fn answer(fact: &Fact, part: &str) -> Answer {
    let (head, body) = part.split_once('\n').unwrap_or((part, ""));
    let mut words = head.split(' ');
    let status = words.next().and_then(|word| word.parse().ok());
    let (location, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    match fact {
        Fact::Addresses(_) => Answer::Known(Value::Addresses(NameAddresses { addresses: vec![address] })),
        Fact::Srv(_) => {
            let record = |number: u16| SrvRecord {
                priority: number,
                weight: 0,
                port: number,
                target: target.to_owned(),
                alias: number == 2,
            };
            let count = if target.is_empty() || target == "-" { 0 } else { 3 };
            Answer::Known(Value::Srv((0..count).map(record).collect()))
        }
        Fact::Http(_) => Answer::Known(Value::Http(Box::new(match status {
            Some(status) => {
                let mut headers = BTreeMap::new();
                if location != "-" {
                    headers.insert("location".to_owned(), location.to_owned());
                }
                HttpAnswer::Answered(Box::new(HttpReply {
                    address: SocketAddr::new(address, 443),
                    tls: None,
                    status,
                    headers,
                    body: Some(body.to_owned()),
                    at: NOW,
                    millis: 1,
                }))
            }
            None => HttpAnswer::Silent(Silence { stage: Stage::Connect, why: head.to_owned() }),
        }))),
        _ => Answer::Unknown(head.to_owned()),
    }
}
