//! What is decided about Nginx Proxy Manager, from what it answers.

use serde_json::{Value as Json, json};

use super::{super::*, found, site};
use crate::{
    edge::{Act, RefusalKind, Reply},
    effect::{Effect, Local},
    fact::{
        Certificate as Shown, Fact, FileKind, FileState, GuestState, HttpAnswer, HttpReply, Silence, Stage,
        Tls, Value,
    },
    name::{Mode, Owner},
    observed::Answer,
    plan,
    resource::{self, Step},
};

const CONFIG: &str = "domain = \"chat.home.arpa\"\n[edge.npm]\naddress = \"http://192.168.1.5:81\"\n\
                      identity = \"m@home.arpa\"\nforward_host = \"192.168.1.20\"";
const MATRIX: &str = "matrix.chat.home.arpa";
const CHAT: &str = "chat.chat.home.arpa";
const MARK: &str = "made by matrix-podman for chat.home.arpa";

/// An NPM as it answers.
#[derive(Clone)]
struct Npm {
    minor: u32,
    user: Json,
    hosts: Json,
    redirections: Json,
    dead: Json,
    streams: Json,
    certificates: Json,
    uses: Json,
    token: bool,
    silent: bool,
    outside: Option<HttpAnswer>,
    record: Option<Json>,
}

impl Default for Npm {
    fn default() -> Self {
        Self {
            minor: 15,
            user: json!({"id": 2, "roles": [], "permissions": {"visibility": "all", "proxy_hosts": "manage",
                "redirection_hosts": "view", "dead_hosts": "view", "streams": "view", "certificates": "manage"}}),
            hosts: json!([]),
            redirections: json!([]),
            dead: json!([]),
            streams: json!([]),
            certificates: json!([]),
            uses: json!([]),
            token: true,
            silent: false,
            outside: None,
            record: None,
        }
    }
}

fn certificate(id: u64, names: &[&str]) -> Json {
    json!({"id": id, "provider": "letsencrypt", "domain_names": names, "nice_name": names.join(", "),
        "created_on": "2026-01-01 00:00:00", "expires_on": "2026-09-01 00:00:00"})
}

impl Npm {
    fn reply(&self, question: &Question) -> Reply {
        let refused = || Reply::Refused(Refusal::credential("there is no token", "write one"));
        match question {
            Question::NpmStatus => found(
                json!({"status": "OK", "setup": true, "version": {"major": 2, "minor": self.minor, "revision": 0}}),
            ),
            Question::NpmUser => found(self.user.clone()),
            Question::NpmHosts => found(self.hosts.clone()),
            Question::NpmRedirections => found(self.redirections.clone()),
            Question::NpmDeadHosts => found(self.dead.clone()),
            Question::NpmStreams if self.streams.is_null() => Reply::Refused(Refusal {
                kind: RefusalKind::Permission,
                ..Refusal::credential("Not Found", "")
            }),
            Question::NpmStreams => found(self.streams.clone()),
            Question::NpmCertificates => found(self.certificates.clone()),
            Question::NpmCertificateUses => found(self.uses.clone()),
            Question::NpmDnsToken if self.token => found(json!(true)),
            Question::NpmDnsToken => refused(),
            other => panic!("{other:?} is none of NPM's"),
        }
    }

    fn answer(&self, fact: &Fact) -> Answer {
        Answer::Known(match fact {
            Fact::Edge(_) if self.silent => {
                return Answer::Unknown("192.168.1.5:81 does not answer".to_owned());
            }
            Fact::Edge(question) => Value::Edge(Box::new(self.reply(question))),
            Fact::LxcGuest(_) => Value::LxcGuest(GuestState::Absent),
            Fact::Http(_) => {
                Value::Http(Box::new(self.outside.clone().unwrap_or_else(|| shown(&[MATRIX, CHAT]))))
            }
            Fact::File(path) if path.as_str().ends_with("edge-npm.json") => {
                Value::File(self.record.as_ref().map(|record| FileState {
                    content: Some(record.to_string()),
                    kind: FileKind::File,
                    mode: Mode(0o600),
                    owner: Owner::ROOT,
                    digest: None,
                    target: None,
                    age: 0,
                }))
            }
            fact => fact.nowhere().unwrap_or(Value::Yes(false)),
        })
    }

    fn look<T>(&self, look: impl Fn(&Observed) -> T) -> T {
        let mut seen = Observed::default();
        for _ in 0..20 {
            let answer = look(&seen);
            let wanted = seen.take_wanted();
            if wanted.is_empty() {
                return answer;
            }
            for (side, fact) in wanted {
                let answer = self.answer(&fact);
                seen.insert(side, fact, answer);
            }
        }
        panic!("the questions do not end")
    }

    fn diff(&self, toml: &str, id: &str) -> Diff {
        let site = site(toml);
        let all = resource::all(&site);
        let resource = all.iter().find(|r| r.id().as_str() == id).unwrap_or_else(|| panic!("no {id}"));
        self.look(|seen| plan::diff(resource.as_ref(), seen))
    }

    #[track_caller]
    fn blocked(&self, toml: &str, id: &str) -> String {
        match self.diff(toml, id) {
            Diff::Blocked { why, hint } => format!("{why} | {hint}"),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn change(&self, id: &str) -> Step {
        match self.diff(CONFIG, id) {
            Diff::Change(step) => step,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn takedown(&self) -> Takedown {
        self.look(|seen| edge_takedown(&site(CONFIG), seen)).unwrap().unwrap()
    }

    /// Both hosts as they are to be.
    fn made(mut self) -> Self {
        self.certificates = json!([certificate(7, &[MATRIX, CHAT])]);
        for (number, (id, name)) in
            [("edge/npm/matrix", MATRIX), ("edge/npm/client", CHAT)].into_iter().enumerate()
        {
            let step = self.change(id);
            let Some(Effect::Edge(Act::WriteHost(host))) = step.effects.last() else { panic!("{step:?}") };
            assert_eq!(host.name, name);
            let mut row = host.fields.clone();
            row["id"] = json!(10 + number);
            row["meta"]["nginx_online"] = json!(true);
            self.hosts.as_array_mut().unwrap().push(row);
        }
        self
    }
}

fn shown(names: &[&str]) -> HttpAnswer {
    HttpAnswer::Answered(Box::new(HttpReply {
        address: ([192, 168, 1, 5], 443).into(),
        tls: Some(Tls {
            version: String::new(),
            cipher: String::new(),
            distrust: None,
            certificate: Some(Shown {
                issuer: String::new(),
                names: names.iter().map(|n| (*n).to_owned()).collect(),
                not_before: 0,
                not_after: 0,
            }),
        }),
        status: 200,
        headers: Default::default(),
        body: None,
        at: 0,
        millis: 0,
    }))
}

#[test]
fn who_does_not_see_everything_is_stopped_before_anything() {
    let mut npm = Npm::default();
    npm.user["permissions"]["visibility"] = json!("user");
    let why = npm.blocked(CONFIG, "edge/npm/access");
    assert!(why.contains("Item Visibility: All Items") && why.contains("off HTTPS"), "{why}");
    npm.user["roles"] = json!(["admin"]);
    assert!(npm.blocked(CONFIG, "edge/npm/access").contains("All Items"), "an administrator, too");
}

#[test]
fn what_the_user_lacks_is_said_as_a_whole() {
    let mut npm = Npm::default();
    npm.user["permissions"]["proxy_hosts"] = json!("view");
    npm.user["permissions"]["dead_hosts"] = json!("hidden");
    let why = npm.blocked(CONFIG, "edge/npm/access");
    assert!(why.contains("Proxy Hosts: Manage; 404 Hosts: View Only"), "{why}");
}

#[test]
fn an_npm_that_is_down_is_told_with_the_next_step() {
    let why = Npm { silent: true, ..Npm::default() }.blocked(CONFIG, "edge/npm/access");
    assert!(why.contains("does not answer") && why.contains("curl http://192.168.1.5:81/api/"), "{why}");
}

#[test]
fn a_token_that_is_missing_is_found_first_and_only_where_it_is_wanted() {
    let npm = Npm { token: false, ..Npm::default() };
    assert!(npm.blocked(CONFIG, "edge/npm/access").contains("there is no token"));
    let npm = Npm { certificates: json!([certificate(7, &[MATRIX, CHAT])]), ..npm };
    assert!(matches!(npm.diff(CONFIG, "edge/npm/access"), Diff::Settled { .. }));
}

#[test]
fn only_bare_names_are_asked_for_and_the_absence_is_said() {
    let npm = Npm {
        certificates: json!([certificate(7, &[MATRIX])]),
        hosts: json!([
            {"id": 1, "domain_names": [MATRIX], "certificate_id": 7, "meta": {"nginx_online": true}},
            {"id": 2, "domain_names": [CHAT], "certificate_id": 0, "meta": {"nginx_online": true}},
        ]),
        ..Npm::default()
    };
    let step = npm.change("edge/npm/certificate");
    let [Effect::Edge(Act::RequestCertificate { names, .. })] = step.effects.as_slice() else {
        panic!("{step:?}")
    };
    assert_eq!(names, &[CHAT], "the other is left where it is");
    assert!(step.why.contains("half a minute") && step.risk == resource::Risk::Interrupts, "{step:?}");
    let step = Npm::default().change("edge/npm/certificate");
    assert!(!step.why.contains("half a minute") && step.risk == resource::Risk::None, "nobody is there yet");
}

#[test]
fn a_certificate_of_which_npm_knows_no_names_is_kept_and_can_be_named() {
    let uploaded = json!([{"id": 9, "provider": "other", "nice_name": "Origin", "domain_names": ["CloudFlare Origin"],
        "expires_on": "2030-01-01 00:00:00"}]);
    let host = |id: u64, name: &str| json!({"id": id, "domain_names": [name], "certificate_id": 9, "meta": {"nginx_online": true}});
    let npm = Npm {
        certificates: uploaded.clone(),
        hosts: json!([host(1, MATRIX), host(2, CHAT)]),
        ..Npm::default()
    };
    assert!(matches!(npm.diff(CONFIG, "edge/npm/certificate"), Diff::Settled { .. }));
    let Some(Effect::Edge(Act::WriteHost(write))) = npm.change("edge/npm/matrix").effects.pop() else {
        panic!()
    };
    assert_eq!((&write.fields["certificate_id"], write.named), (&json!(9), false));
    // Without a host that has it, it is asked for, unless somebody names it.
    let npm = Npm { certificates: uploaded, ..Npm::default() };
    npm.change("edge/npm/certificate");
    let named = format!("{CONFIG}\ncertificate_name = \"origin\"");
    assert!(matches!(npm.diff(&named, "edge/npm/certificate"), Diff::Settled { .. }));
    let wrong = format!("{CONFIG}\ncertificate_name = \"nothing\"");
    assert!(npm.blocked(&wrong, "edge/npm/certificate").contains("no certificate \"nothing\""));
}

#[test]
fn a_name_of_another_kind_of_host_stops_before_a_request_touches_it() {
    let row = json!([{"id": 1, "domain_names": ["Matrix.chat.home.arpa"]}]);
    let redirected = Npm { redirections: row.clone(), ..Npm::default() };
    assert!(redirected.blocked(CONFIG, "edge/npm/access").contains("is a redirection host"));
    let dead = Npm { dead: row, ..Npm::default() };
    assert!(dead.blocked(CONFIG, "edge/npm/access").contains("is a 404 host"));
}

#[test]
fn well_is_online_and_nothing_else() {
    let npm = Npm::default().made();
    assert!(
        matches!(npm.diff(CONFIG, "edge/npm/matrix"), Diff::Settled { .. }),
        "{:?}",
        npm.diff(CONFIG, "edge/npm/matrix")
    );
    for (state, words) in [
        (json!({"matrix_podman": MARK}), "its nginx never got it"),
        (
            json!({"matrix_podman": MARK, "nginx_online": false, "nginx_err": "nginx: [emerg] bad thing\nnginx: test failed"}),
            "[emerg] bad thing",
        ),
    ] {
        let mut npm = npm.clone();
        npm.hosts[0]["meta"] = state;
        let step = npm.change("edge/npm/matrix");
        assert!(step.why.contains(words), "{step:?}");
    }
}

#[test]
fn what_is_not_served_is_written_again_whatever_npm_says() {
    let mut npm = Npm::default().made();
    npm.outside =
        Some(HttpAnswer::Silent(Silence { stage: Stage::Tls, why: "it refuses that name".to_owned() }));
    let step = npm.change("edge/npm/matrix");
    assert!(step.why.contains("it does not: at 192.168.1.5:443, it refuses that name"), "{step:?}");
    npm.outside = Some(shown(&["localhost"]));
    npm.change("edge/npm/matrix");
    // Where nothing can be seen from here, NPM is believed.
    npm.outside = Some(HttpAnswer::Silent(Silence { stage: Stage::Connect, why: "refused".to_owned() }));
    assert!(matches!(npm.diff(CONFIG, "edge/npm/matrix"), Diff::Settled { .. }));
}

#[test]
fn what_was_taken_over_is_written_down_before_and_given_back() {
    let mut npm = Npm::default().made();
    npm.hosts[0]["meta"] = json!({"nginx_online": true, "own": 1, "dns_provider_credentials": "secret"});
    npm.hosts[0]["forward_port"] = json!(9999);
    let step = npm.change("edge/npm/matrix");
    let [Effect::Here(Local::WriteFile { content, .. }), Effect::Edge(Act::WriteHost(_))] =
        step.effects.as_slice()
    else {
        panic!("{step:?}")
    };
    let record: Json = serde_json::from_str(content).unwrap();
    assert_eq!(record["adopted"][0]["was"]["forward_port"], 9999);
    assert!(!format!("{step:?}").contains("secret"), "a credential in it goes nowhere");
    npm.record = Some(record);
    npm.hosts[0]["meta"] =
        json!({"nginx_online": true, "matrix_podman": "adopted by matrix-podman for chat.home.arpa"});
    let down = npm.takedown();
    let given = down.acts.iter().find_map(|(_, effect)| match effect {
        Effect::Edge(Act::RestoreHost { id: 10, fields, .. }) => Some(fields.clone()),
        _ => None,
    });
    assert_eq!(given.unwrap()["forward_port"], 9999);
}

#[test]
fn a_host_with_a_name_of_somebody_elses_keeps_it() {
    let mut npm = Npm::default().made();
    npm.hosts[0]["domain_names"] = json!(["cloud.home.arpa", MATRIX]);
    let down = npm.takedown();
    assert!(
        down.acts.iter().any(|(_, effect)| matches!(effect,
            Effect::Edge(Act::RestoreHost { id: 10, fields, .. }) if fields["domain_names"] == json!(["cloud.home.arpa"]))),
        "{down:?}"
    );
    assert!(
        !down.acts.iter().any(|(_, effect)| matches!(effect, Effect::Edge(Act::RemoveHost { id: 10, .. })))
    );
}

/// The certificates that go.
fn removed(npm: &Npm) -> Vec<u64> {
    let down = npm.takedown();
    let ids = down.acts.iter().filter_map(|(_, effect)| match effect {
        Effect::Edge(Act::RemoveCertificate { id, .. }) => Some(*id),
        _ => None,
    });
    ids.collect()
}

#[test]
fn a_certificate_goes_only_when_it_is_ours_and_nobody_uses_it() {
    let mut npm = Npm { record: Some(json!({"certificate_ids": [7]})), ..Npm::default().made() };
    npm.uses = json!([{"id": 7, "proxy_hosts": npm.hosts, "redirection_hosts": [], "dead_hosts": []}]);
    assert_eq!(removed(&npm), [7]);
    // Names alone do not make it ours: a person may have made one for the same.
    let by_name = Npm { record: Some(json!({"certificates": [[CHAT, MATRIX]]})), ..npm.clone() };
    assert_eq!(removed(&by_name), [0; 0]);
    assert!(by_name.takedown().stays.iter().any(|line| line.contains("not known whether")));
    let with = |change: &dyn Fn(&mut Npm)| {
        let mut npm = npm.clone();
        change(&mut npm);
        removed(&npm)
    };
    let user = json!([{"id": 90, "domain_names": ["x.home.arpa"], "certificate_id": 7}]);
    assert_eq!(with(&|npm| npm.redirections = user.clone()), [0; 0], "a redirection host");
    assert_eq!(with(&|npm| npm.dead = user.clone()), [0; 0], "a 404 host");
    assert_eq!(with(&|npm| npm.streams = user.clone()), [0; 0], "a stream");
    assert_eq!(with(&|npm| npm.streams = Json::Null), [0; 0], "streams that cannot be seen");
    // A proxy host of another user's is only in the certificate's own answer.
    let unseen = |npm: &mut Npm| {
        npm.user["permissions"]["visibility"] = json!("user");
        npm.uses[0]["proxy_hosts"].as_array_mut().unwrap().push(user[0].clone());
    };
    assert_eq!(with(&unseen), [0; 0], "of another user");
    // Before 2.13 there is no such answer.
    assert_eq!(with(&|npm| npm.minor = 12), [7], "who sees everything");
    let blind = |npm: &mut Npm| {
        npm.minor = 12;
        npm.user["permissions"]["visibility"] = json!("user");
    };
    assert_eq!(with(&blind), [0; 0], "who does not");
}

#[test]
fn a_tunnel_over_http_makes_no_circle() {
    let by_hand = |service: &str| {
        format!(
            "domain = \"chat.home.arpa\"\n[edge.cloudflare]\nconnectors = [\"192.168.1.7/32\", \"fd00::7/128\"]\n{service}\n{}",
            CONFIG.split_once('\n').unwrap().1
        )
    };
    let npm = |minor| Npm { minor, certificates: json!([certificate(7, &[MATRIX, CHAT])]), ..Npm::default() };
    assert!(npm(12).blocked(&by_hand(""), "edge/npm/access").contains("edge.cloudflare.service"));
    let http = by_hand("service = \"http://192.168.1.5\"");
    assert!(npm(13).blocked(&http, "edge/npm/access").contains("round in circles"));
    let https = by_hand("service = \"https://192.168.1.5\"");
    for (minor, config) in [(12, &https), (14, &http), (14, &by_hand(""))] {
        assert!(
            matches!(npm(minor).diff(config, "edge/npm/access"), Diff::Settled { .. }),
            "{minor} {config}"
        );
    }
}
