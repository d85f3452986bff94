//! What a client finds that comes from outside, by the site's public names.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Asked, Check, Question};
use crate::{
    check::Verdict,
    edge::paths,
    fact::{HttpAnswer, HttpBody, HttpMethod, HttpQuestion, HttpReply, Side, Trial},
    federation::{DAY, Host, Named, certificate_hint, certificate_problem, date, fetch, host_of},
    observed::{Gap, Observed, Seen},
    size::Bytes,
    stack::web_config_flaw,
};

pub(super) const QUESTIONS: &[Question] = &[
    ("way-in/names", names),
    ("way-in/tls", tls),
    ("way-in/redirects", redirects),
    ("way-in/client-well-known", client_well_known),
    ("way-in/server-well-known", server_well_known),
    ("way-in/versions", versions),
    ("way-in/cors", cors),
    ("way-in/web", web),
    ("way-in/admin", admin),
    ("way-in/challenge", challenge),
    ("way-in/upload", upload),
    ("way-in/long-poll", long_poll),
];

/// Days before its end at which a certificate should have been renewed.
const RENEWED: i64 = 14;
/// How long a sync is asked to wait, in seconds.
const LONG: u16 = 60;
/// The largest body that Cloudflare passes on its free plan.
const CLOUDFLARE: Bytes = Bytes(100_000_000);

/// The three public places of a site, each as something harmless to ask for.
fn places(asked: &Asked<'_>) -> [(&'static str, String); 3] {
    let config = &asked.site.config;
    [
        ("matrix_url", format!("{}/_matrix/client/versions", config.matrix_url)),
        ("chat_url", format!("{}/config.json", config.chat_url)),
        ("server_name", well_known(asked, "client")),
    ]
}

fn well_known(asked: &Asked<'_>, which: &str) -> String {
    format!("https://{}/.well-known/matrix/{which}", asked.site.config.server_name.host())
}

/// A good answer, or the check of that name which cannot be made without: why
/// there is none is told by the checks of names and TLS.
fn outside<'a>(
    asked: &Asked<'_>,
    id: &'static str,
    question: &HttpQuestion,
    seen: &'a Observed,
) -> Seen<Result<&'a HttpReply, Check>> {
    Ok(fetch(&asked.scope.net, question, seen)?.map_err(|why| Check::gap(id, Gap::Unknown(why))))
}

fn get(url: impl Into<String>) -> HttpQuestion {
    HttpQuestion { origin: Some("https://verify.invalid".to_owned()), ..HttpQuestion::get(url) }
}

fn names(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/names";
    let found: Vec<_> = places(asked)
        .into_iter()
        .filter_map(|(key, url)| {
            let (host, port) = host_of(&url)?;
            Some((key, asked.scope.net.addresses(&host, port, seen), host))
        })
        .collect();
    let mut missing: Vec<String> = Vec::new();
    let mut there = Vec::new();
    for (key, addresses, host) in found {
        let addresses = addresses?;
        if addresses.is_empty() {
            missing.push(format!("{host} ({key})"));
        } else if !there.contains(&host.to_string()) {
            there.push(host.to_string());
        }
    }
    Ok(if missing.is_empty() {
        Check::pass(id, format!("{} are in the DNS", there.join(", ")))
    } else {
        Check::fail(
            id,
            format!("not in the DNS: {}", missing.join(", ")),
            "nothing leads to this server from outside yet: make these names where your domain is managed, pointing \
             at what stands in front (`--only guest,data,client` leaves the outside out)",
        )
    })
}

fn tls(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/tls";
    let net = &asked.scope.net;
    let mut asked_for = Vec::new();
    for (_, url) in places(asked) {
        let Some((host, port)) = host_of(&url) else { continue };
        let addresses = match net.addresses(&host, port, seen) {
            Ok(addresses) => addresses,
            Err(gap) => {
                asked_for.push((host, Err(gap)));
                continue;
            }
        };
        for address in addresses {
            let answer = seen.http(Side::Machine, &net.at(get(url.clone()), address));
            asked_for.push((host.clone(), answer.map(|answer| (address, answer))));
        }
    }
    let mut end: Option<(i64, Host)> = None;
    let mut now = 0;
    for (host, answer) in asked_for {
        let (address, answer) = answer?;
        match answer {
            HttpAnswer::Silent(silence) => {
                return Ok(Check::fail(
                    id,
                    format!("{host} at {address}: {}", silence.why),
                    format!("something that speaks TLS has to listen on port {} there", address.port()),
                ));
            }
            HttpAnswer::Answered(reply) => {
                now = i64::try_from(reply.at / 1000).unwrap_or(i64::MAX);
                let Some(tls) = &reply.tls else { continue };
                if let (Some(problem), Some(distrust)) = (certificate_problem(tls, &host), &tls.distrust) {
                    let what = format!("{host} at {address}: {problem}");
                    return Ok(Check::fail(id, what, certificate_hint(distrust)));
                }
                if let Some(certificate) = &tls.certificate
                    && end.as_ref().is_none_or(|(first, _)| certificate.not_after < *first)
                {
                    end = Some((certificate.not_after, host));
                }
            }
        }
    }
    Ok(match end {
        None => Check::gap(id, Gap::Unknown("no public name has an address".to_owned())),
        Some((end, host)) if (end - now) / DAY < RENEWED => Check::weaker(
            id,
            format!("the certificate of {host} ends on {}", date(end)),
            "it should have been renewed by now; from that day on nobody gets in",
        ),
        Some((end, _)) => {
            Check::pass(id, format!("trusted everywhere, until {} ({} days)", date(end), (end - now) / DAY))
        }
    })
}

/// Whether any public name is in the DNS: until one is, there is no way in.
pub(super) fn begun(asked: &Asked<'_>, seen: &Observed) -> Seen<bool> {
    let mut gap = None;
    for (host, port) in places(asked).iter().filter_map(|(_, url)| host_of(url)) {
        match asked.scope.net.addresses(&host, port, seen) {
            Ok(addresses) if addresses.is_empty() => {}
            Ok(_) => return Ok(true),
            Err(unknown) => gap = Some(unknown),
        }
    }
    gap.map_or(Ok(false), Err)
}

/// Whether somebody on the way sends people round in a circle.
fn redirects(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/redirects";
    let replies = places(asked).map(|(_, url)| (outside(asked, id, &get(&url), seen), url));
    let mut answered = false;
    for (reply, url) in replies {
        let Ok(reply) = reply? else { continue };
        answered = true;
        let target = match reply.status {
            301..=303 | 307 | 308 => reply.headers.get("location").map(String::as_str).unwrap_or_default(),
            _ => continue,
        };
        if target == url || target.strip_prefix("http:") == url.strip_prefix("https:") {
            return Ok(Check::fail(
                id,
                format!("{url} redirects to {target}, and so round in a circle"),
                "a proxy behind another one takes the request for plain HTTP: have it trust X-Forwarded-Proto \
                 (Nginx Proxy Manager: Trust Upstream Forwarded Proto Headers), or speak HTTPS to it (Cloudflare: \
                 SSL mode Full)",
            ));
        }
    }
    Ok(if answered {
        Check::pass(id, "nobody is sent round in a circle")
    } else {
        Check::gap(id, Gap::Unknown("nothing answers outside".to_owned()))
    })
}

fn client_well_known(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/client-well-known";
    let url = well_known(asked, "client");
    let reply = match outside(asked, id, &get(&url), seen)? {
        Ok(reply) => reply,
        Err(check) => return Ok(check),
    };
    let wanted = &asked.site.config.matrix_url;
    let hint = format!(
        "let the proxy in front pass {url} to Synapse, or answer {{\"m.homeserver\":{{\"base_url\":\"{wanted}\"}}}} with \
         the header Access-Control-Allow-Origin: *"
    );
    let answer = reply.json();
    let said = answer.pointer("/m.homeserver/base_url").and_then(Value::as_str);
    Ok(match said {
        _ if reply.status != 200 => Check::fail(
            id,
            format!("{url} answers status {}, so apps do not find the server", reply.status),
            hint,
        ),
        None => Check::fail(id, format!("{url} {}", no_json(reply)), hint),
        Some(said) if said.trim_end_matches('/') != wanted => {
            Check::fail(id, format!("it leads to {said}, and matrix_url is {wanted}"), hint)
        }
        Some(_) if !any_origin(reply) => Check::fail(
            id,
            "it lacks the header Access-Control-Allow-Origin: *, so web clients may not read it",
            hint,
        ),
        Some(said) => Check::pass(id, format!("leads to {said}, for web clients too")),
    })
}

fn any_origin(reply: &HttpReply) -> bool {
    reply.headers.get("access-control-allow-origin").is_some_and(|value| value == "*")
}

fn no_json(reply: &HttpReply) -> String {
    let body = reply.body.as_deref().unwrap_or_default().trim();
    if body.starts_with('<') {
        "answers with a web page, not with the document".to_owned()
    } else {
        let begin: String = body.chars().take(40).collect();
        format!("answers something else: {begin:?}")
    }
}

fn server_well_known(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/server-well-known";
    let config = &asked.site.config;
    if config.synapse.federation_allow.as_ref().is_some_and(|servers| servers.is_empty()) {
        return Ok(Check::left_out(id, "synapse.federation_allow lets no other server in"));
    }
    if config.server_name.as_str() != config.server_name.host() {
        return Ok(Check::left_out(id, "server_name has a port, so nobody looks there"));
    }
    let url = well_known(asked, "server");
    let reply = match outside(asked, id, &get(&url), seen)? {
        Ok(reply) => reply,
        Err(check) => return Ok(check),
    };
    let (host, port) = match host_of(&config.matrix_url) {
        Some(place) => place,
        None => return Err(Gap::Unknown(format!("{} is no address on the web", config.matrix_url))),
    };
    let hint = format!(
        "let the proxy in front answer {url} with {{\"m.server\":\"{host}:{port}\"}}, or pass it to Synapse where \
         that is the same name"
    );
    if reply.status == 404 {
        return Ok(Check::weaker(
            id,
            format!("there is no {url}"),
            "other servers then need an SRV record or port 8448; the federation checks say whether they get in",
        ));
    }
    let answer = reply.json();
    let said = answer.get("m.server").and_then(Value::as_str);
    Ok(match said.map(|said| (said, said.parse::<Named>())) {
        _ if reply.status != 200 => Check::fail(id, format!("{url} answers status {}", reply.status), hint),
        None => Check::fail(id, format!("{url} {}", no_json(reply)), hint),
        Some((said, Err(why))) => Check::fail(id, format!("its m.server is {said:?}: {why}"), hint),
        Some((said, Ok(named))) if named.host == host => {
            Check::pass(id, format!("other servers are led to {said}"))
        }
        Some((said, Ok(_))) => Check::weaker(
            id,
            format!("other servers are led to {said}, not to {host}"),
            "that is right only if it leads to this server as well; the federation checks tell",
        ),
    })
}

fn versions(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/versions";
    let url = format!("{}/_matrix/client/versions", asked.site.config.matrix_url);
    let reply = match outside(asked, id, &get(&url), seen)? {
        Ok(reply) => reply,
        Err(check) => return Ok(check),
    };
    let hint = "the proxy in front has to pass /_matrix and /_synapse/client to the guest's Synapse, with the path \
                unchanged";
    Ok(if reply.json().get("versions").is_some_and(Value::is_array) {
        Check::pass(id, format!("Synapse answers at {} in {} ms", asked.site.config.matrix_url, reply.millis))
    } else if matches!(reply.status, 502..=504) {
        Check::fail(id, format!("the proxy in front does not reach Synapse (status {})", reply.status), hint)
    } else {
        Check::fail(id, format!("{url} is not answered by Synapse (status {})", reply.status), hint)
    })
}

fn cors(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/cors";
    let url = format!("{}/_matrix/client/v3/login", asked.site.config.matrix_url);
    let question = HttpQuestion { method: HttpMethod::Options, ..get(url) };
    let reply = match outside(asked, id, &question, seen)? {
        Ok(reply) => reply,
        Err(check) => return Ok(check),
    };
    let allows = reply
        .headers
        .get("access-control-allow-headers")
        .is_some_and(|value| value.to_ascii_lowercase().contains("authorization"));
    Ok(if matches!(reply.status, 200 | 204) && any_origin(reply) && allows {
        Check::pass(id, "web clients may ask from any page")
    } else {
        Check::fail(
            id,
            format!(
                "an OPTIONS request is answered with status {} without leave for web clients",
                reply.status
            ),
            "the proxy in front has to pass OPTIONS to Synapse and leave its Access-Control headers as they are",
        )
    })
}

fn web(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/web";
    let url = format!("{}/config.json", asked.site.config.chat_url);
    let reply = match outside(asked, id, &get(url), seen)? {
        Ok(reply) => reply,
        Err(check) => return Ok(check),
    };
    Ok(match web_config_flaw(&asked.site.config, reply.status, &reply.json()) {
        None => Check::pass(id, format!("the web client is at {}", asked.site.config.chat_url)),
        Some(flaw) => Check::fail(
            id,
            format!("{}: {flaw}", asked.site.config.chat_url),
            "the proxy in front has to pass this name to the guest's web client and not keep copies of config.json",
        ),
    })
}

fn admin(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/admin";
    let base = &asked.site.config.matrix_url;
    let probes = paths::probes(asked.site.config.server_name.as_str());
    let replies: Vec<_> =
        probes.iter().map(|path| outside(asked, id, &get(format!("{base}{path}")), seen)).collect();
    let mut statuses = BTreeSet::new();
    for (path, reply) in probes.iter().zip(replies) {
        match reply? {
            Err(check) => return Ok(check),
            // Synapse asks for a token before it says anything else.
            Ok(reply) if reply.status == 401 || reply.json().get("server_version").is_some() => {
                return Ok(Check::fail(
                    id,
                    format!("the admin API is reached at {base}{path} (status {})", reply.status),
                    "whoever gets hold of an administrator's token can use it from anywhere: have the proxy in front \
                     hand on only what begins with /_matrix or /_synapse/client in the request as it came, and nothing \
                     with encoded dots or slashes below /_synapse; `matrix-podman edge show` and `edge guide` print such \
                     configs, and `up` writes one to NPM",
                ));
            }
            Ok(reply) => {
                statuses.insert(reply.status.to_string());
            }
        }
    }
    let statuses: Vec<String> = statuses.into_iter().collect();
    Ok(Check::pass(
        id,
        format!(
            "the admin API is not reached outside, in {} spellings (status {})",
            probes.len(),
            statuses.join(", ")
        ),
    ))
}

fn challenge(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/challenge";
    let config = &asked.site.config;
    let urls = [
        format!("{}/_matrix/client/versions", config.matrix_url),
        format!("{}/_matrix/key/v2/server", config.matrix_url),
        well_known(asked, "client"),
        well_known(asked, "server"),
        format!("{}/config.json", config.chat_url),
    ];
    let replies = urls.map(|url| (outside(asked, id, &get(&url), seen), url));
    let mut answered = false;
    for (reply, url) in replies {
        let Ok(reply) = reply? else { continue };
        answered = true;
        if let Some(how) = reply.headers.get("cf-mitigated") {
            return Ok(Check::fail(
                id,
                format!("Cloudflare answers {url} with a {how} page, which no app and no server can pass"),
                "turn Bot Fight Mode and Under Attack off for the zone: no rule can except Matrix from them",
            ));
        }
    }
    Ok(if answered {
        Check::pass(id, "no challenge page stands in the way of apps and servers")
    } else {
        Check::gap(id, Gap::Unknown("nothing answers outside".to_owned()))
    })
}

/// Whether a body of the largest size gets through. No token is sent: Synapse
/// then refuses it, after the whole way.
fn upload(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/upload";
    let config = &asked.site.config;
    let limit = *config.synapse.max_upload_size;
    let question = HttpQuestion {
        method: HttpMethod::Post,
        body: if asked.scope.slow { HttpBody::Zeros(limit.0) } else { HttpBody::Announced(limit.0) },
        patience: if asked.scope.slow { 600 } else { crate::fact::PATIENCE },
        ..HttpQuestion::get(format!("{}/_matrix/media/v3/upload", config.matrix_url))
    };
    let first = format!("{}/_matrix/client/versions", config.matrix_url);
    let (reply, plain) = (outside(asked, id, &question, seen), outside(asked, id, &get(first), seen));
    let plain = plain?;
    let answers = plain.is_ok();
    let cloudflare =
        plain.is_ok_and(|reply| reply.headers.get("server").is_some_and(|server| server == "cloudflare"));
    let hint = if cloudflare {
        "Cloudflare's free plan passes 100M: lower synapse.max_upload_size to \"95M\", or use a name that Cloudflare \
         does not proxy"
    } else {
        "raise the limit of the proxy in front (nginx: client_max_body_size), or lower synapse.max_upload_size"
    };
    let reply = match reply? {
        Ok(reply) => reply,
        // Whoever answers everything else and hangs up here refuses it as well.
        Err(Check { verdict: Verdict::Unknown { why }, .. }) if answers => {
            return Ok(Check::fail(id, format!("a file of {limit} is refused on the way: {why}"), hint));
        }
        Err(check) => return Ok(check),
    };
    Ok(match reply.status {
        413 => Check::fail(
            id,
            format!("a file of {limit} is refused on the way, before it reaches Synapse"),
            hint,
        ),
        401 if asked.scope.slow => Check::pass(id, format!("{limit} came all the way to Synapse")),
        100 | 401 if cloudflare && limit > CLOUDFLARE => Check::weaker(
            id,
            format!("{limit} are announced without refusal, and Cloudflare's free plan stops at 100M"),
            "larger files fail; --slow sends one to see, synapse.max_upload_size = \"95M\" makes it plain",
        ),
        100 | 401 => {
            Check::pass(id, format!("nobody on the way refuses {limit} (announced; --slow sends them)"))
        }
        status => Check::fail(
            id,
            format!("a file of {limit} ends with status {status} on the way"),
            "see the log of the proxy in front",
        ),
    })
}

fn long_poll(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "way-in/long-poll";
    if !asked.scope.slow {
        return Ok(Check::left_out(id, "it takes a minute; --slow tries it"));
    }
    let url = asked.site.config.matrix_url.clone();
    let first = outside(asked, id, &get(format!("{url}/_matrix/client/versions")), seen)?;
    let at = match first {
        Ok(reply) => reply.address,
        Err(check) => return Ok(check),
    };
    let question = Box::new(asked.scope.net.at(HttpQuestion::get(url), at));
    let tried = seen.tried(&Trial::LongPoll { question, seconds: LONG })?;
    let took = tried.millis / 1000;
    Ok(match tried.status {
        Some(200) if took + 2 >= u64::from(LONG) => {
            Check::pass(id, format!("a sync may wait for {took} s; messages arrive at once"))
        }
        Some(200) => {
            let why = format!("there was something to tell after {took} s, so nothing is known; try again");
            return Err(Gap::Unknown(why));
        }
        _ => Check::fail(
            id,
            format!("a sync that waits is cut off after {took} s with {}", tried.outcome()),
            "raise the time that the proxy in front waits for an answer (nginx: proxy_read_timeout) to 90 s or more",
        ),
    })
}
