//! A small internet in memory, for tests.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crate::{
    fact::{
        Certificate, Distrust, Fact, HttpAnswer, HttpQuestion, HttpReply, NameAddresses, Side, Silence,
        SrvRecord, Stage, Tls, Value,
    },
    observed::{Answer, Gap, Observed, Seen},
};

/// The time in these tests: 2027-01-15, in milliseconds.
pub(crate) const NOW: u64 = 1_800_000_000_000;

/// Who answers what.
#[derive(Default)]
pub(crate) struct Internet {
    names: BTreeMap<String, Vec<IpAddr>>,
    services: BTreeMap<String, Vec<SrvRecord>>,
    broken: Vec<String>,
    answers: BTreeMap<(SocketAddr, String), HttpAnswer>,
    asked: RefCell<Vec<HttpQuestion>>,
}

impl Internet {
    pub(crate) fn name(mut self, name: &str, addresses: &[&str]) -> Self {
        self.names.insert(name.to_owned(), addresses.iter().map(|a| a.parse().unwrap()).collect());
        self
    }

    /// `priority weight port target`
    pub(crate) fn service(mut self, name: &str, records: &[&str]) -> Self {
        let record = |text: &&str| {
            let mut words = text.split(' ');
            let mut number = || words.next().unwrap().parse().unwrap();
            let (priority, weight, port) = (number(), number(), number());
            let target = words.next().unwrap().trim_end_matches('.').to_owned();
            SrvRecord { priority, weight, port, target, alias: words.next() == Some("alias") }
        };
        self.services.insert(name.to_owned(), records.iter().map(record).collect());
        self
    }

    /// A name that the name servers give no answer about.
    pub(crate) fn broken(mut self, name: &str) -> Self {
        self.broken.push(name.to_owned());
        self
    }

    /// An answer over good TLS at `address` to what ends with `path`.
    pub(crate) fn says(self, address: &str, path: &str, status: u16, body: &str) -> Self {
        self.answers(address, path, reply(address, status, body))
    }

    pub(crate) fn answers(mut self, address: &str, path: &str, reply: HttpReply) -> Self {
        self.answers
            .insert((address.parse().unwrap(), path.to_owned()), HttpAnswer::Answered(Box::new(reply)));
        self
    }

    /// Looks until nothing more is wanted.
    pub(crate) fn look<T>(&self, look: impl Fn(&Observed) -> Seen<T>) -> T {
        let mut seen = Observed::default();
        for _ in 0..30 {
            let found = look(&seen);
            let wanted = seen.take_wanted();
            if wanted.is_empty() {
                return match found {
                    Ok(found) => found,
                    Err(Gap::NotAsked) => panic!("nothing is wanted, and something is missing"),
                    Err(Gap::Unknown(why)) => panic!("unknown: {why}"),
                };
            }
            for (side, fact) in wanted {
                assert_eq!(side, Side::Machine);
                let answer = self.answer(&fact);
                seen.insert(side, fact, answer);
            }
        }
        panic!("the questions do not end");
    }

    fn answer(&self, fact: &Fact) -> Answer {
        let broken = |name: &String| self.broken.contains(name);
        match fact {
            Fact::Addresses(name) | Fact::Srv(name) if broken(name) => {
                Answer::Unknown("the name servers gave no answer".to_owned())
            }
            Fact::Addresses(name) => Answer::Known(Value::Addresses(NameAddresses {
                addresses: self.names.get(name).cloned().unwrap_or_default(),
            })),
            Fact::Srv(name) => {
                Answer::Known(Value::Srv(self.services.get(name).cloned().unwrap_or_default()))
            }
            Fact::Http(question) => {
                self.asked.borrow_mut().push((**question).clone());
                let path = question.url.split_once("://").unwrap().1;
                let path = path.split_once('/').map_or("/".to_owned(), |(_, path)| format!("/{path}"));
                let silent =
                    Silence { stage: Stage::Connect, why: "no connection: nothing listens there".to_owned() };
                let key = (question.at.expect("every request names its address"), path);
                let answer = self.answers.get(&key).cloned().unwrap_or(HttpAnswer::Silent(silent));
                Answer::Known(Value::Http(Box::new(answer)))
            }
            other => panic!("{other:?} is nothing that is asked of the network"),
        }
    }

    /// The requests that were made to `path`: their `Host` and what the
    /// certificate had to be for.
    pub(crate) fn asked_as(&self, path: &str) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = self
            .asked
            .borrow()
            .iter()
            .filter(|question| question.url.ends_with(path))
            .map(|question| {
                let (host, _) = super::host_of(&question.url).unwrap();
                (question.host.clone().unwrap_or_default(), host.to_string())
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

/// An answer over good TLS.
pub(crate) fn reply(address: &str, status: u16, body: &str) -> HttpReply {
    HttpReply {
        address: address.parse().unwrap(),
        tls: Some(tls(None)),
        status,
        headers: BTreeMap::new(),
        body: Some(body.to_owned()),
        at: NOW,
        millis: 12,
    }
}

/// The same with a header.
pub(crate) fn with_header(mut reply: HttpReply, name: &str, value: &str) -> HttpReply {
    reply.headers.insert(name.to_owned(), value.to_owned());
    reply
}

pub(crate) fn tls(distrust: Option<Distrust>) -> Tls {
    Tls {
        version: "TLS 1.3".to_owned(),
        cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
        distrust,
        certificate: Some(Certificate {
            issuer: "Test CA".to_owned(),
            names: vec!["a.example".to_owned()],
            not_before: 1_790_000_000,
            not_after: 1_807_000_000,
        }),
    }
}
