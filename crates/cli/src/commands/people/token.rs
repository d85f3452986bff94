//! `token`: invitations to make an account.

use std::path::Path;

use anstyle::Style;
use jiff::tz::TimeZone;
use matrix_podman_core::{
    config::Registration,
    fact::Side,
    layout,
    lock::Lock,
    observed::Observed,
    people::{Answer, Call, Expiry, Invitation, Millis},
    service::Service,
};
use matrix_podman_host::failure::Failure;
use serde_json::{Value as Json, json};

use super::{
    Desk,
    text::{local, now, rfc3339},
    unexpected,
};
use crate::{
    args::{Expires, Token, TokenDelete, TokenNew, TokenSet, TokenShow},
    commands::OK,
    error::Error,
    output::{self, BOLD, DIM, GREEN, Table, qr_lines, styled},
};

pub fn run(config: Option<&Path>, token: &Token) -> Result<u8, Error> {
    let desk = Desk::open(config)?;
    match token {
        Token::New(args) => new(&desk, args),
        Token::List(args) => list(&desk, args.json),
        Token::Show(args) => show(&desk, args),
        Token::Set(args) => set(&desk, args),
        Token::Delete(args) => delete(&desk, args),
    }
}

/// The moment that was meant, in the site's time zone.
fn expiry(desk: &Desk, expires: Expires) -> Result<Expiry, Error> {
    let now = now();
    let moment = match expires {
        Expires::Never => return Ok(Expiry(None)),
        Expires::After(span) => now.after(span),
        Expires::On(date) => {
            let zone = TimeZone::get(desk.world.site().config.timezone.as_str())
                .unwrap_or_else(|_| TimeZone::system());
            let end = date
                .tomorrow()
                .and_then(|next| next.to_zoned(zone))
                .map_err(|e| Error::usage(format!("{date} cannot be the last day: {e}"), "choose another"))?;
            Millis(u64::try_from(end.timestamp().as_millisecond()).unwrap_or_default()).in_the_future(now)
        }
    };
    moment.map(|at| Expiry(Some(at))).map_err(|why| {
        Error::usage(
            format!("--expires: {why}"),
            "write a span such as 7d, a date to come, or never; nothing was changed",
        )
    })
}

fn new(desk: &Desk, args: &TokenNew) -> Result<u8, Error> {
    let expires = expiry(desk, args.expires)?;
    let call = Call::NewToken { token: args.token.clone(), uses: args.uses, expires };
    let made = one(desk.ask(&call)?)?;
    print(desk, &made, args.output.json, args.qr, Some("The token is made. To send:"))
}

fn one(answer: Answer) -> Result<Invitation, Error> {
    match answer {
        Answer::Invitation(invitation) => Ok(invitation),
        other => Err(unexpected(&other)),
    }
}

fn show(desk: &Desk, args: &TokenShow) -> Result<u8, Error> {
    let found = one(desk.ask(&Call::ShowToken(args.token.clone()))?)?;
    print(desk, &found, args.output.json, args.qr, None)
}

fn set(desk: &Desk, args: &TokenSet) -> Result<u8, Error> {
    let expires = args.expires.map(|expires| expiry(desk, expires)).transpose()?;
    let call = Call::SetToken { token: args.token.clone(), uses: args.uses, expires };
    let changed = one(desk.ask(&call)?)?;
    if args.output.json {
        super::json(&invitation_json(desk, &changed))?;
    } else {
        output::say(&format!("{} {} {}.", styled(GREEN, "✓"), changed.token, terms(&changed)));
    }
    OK
}

fn delete(desk: &Desk, args: &TokenDelete) -> Result<u8, Error> {
    desk.ask(&Call::DeleteToken(args.token.clone()))?;
    if args.output.json {
        super::json(&json!({"token": args.token, "deleted": true}))?;
    } else {
        output::say(&format!(
            "{} {} can no longer be used; accounts made with it stay.",
            styled(GREEN, "✓"),
            args.token
        ));
    }
    OK
}

fn list(desk: &Desk, as_json: bool) -> Result<u8, Error> {
    let mut all = match desk.ask(&Call::Tokens)? {
        Answer::Invitations(all) => all,
        other => return Err(unexpected(&other)),
    };
    all.sort_by(|a, b| a.token.cmp(&b.token));
    if as_json {
        super::json(&all.iter().map(|one| invitation_json(desk, one)).collect::<Vec<_>>())?;
        return OK;
    }
    if all.is_empty() {
        output::say("there are no tokens: `matrix-podman token new` makes one");
        return OK;
    }
    let now = now();
    let mut table = Table::new(["token", "state", "used", "ends"]);
    for one in &all {
        let state = one.state(now);
        let style = if state == "valid" { Style::new() } else { DIM };
        let used = match one.uses_allowed {
            Some(allowed) => format!("{} of {allowed}", one.completed),
            None => format!("{}, any number", one.completed),
        };
        let ends = one.expires.map_or("never".to_owned(), local);
        table.row([one.token.clone(), state.to_owned(), used, ends].map(|cell| (cell, style)));
    }
    table.print();
    OK
}

/// Where people go with it: the web client, and the name to type into an app.
fn ways(desk: &Desk) -> (String, String) {
    let config = &desk.world.site().config;
    (config.chat_url.clone(), config.matrix_url.trim_start_matches("https://").to_owned())
}

fn invitation_json(desk: &Desk, one: &Invitation) -> Json {
    let (web, server) = ways(desk);
    json!({
        "token": one.token,
        "state": one.state(now()),
        "uses_allowed": one.uses_allowed,
        "pending": one.pending,
        "completed": one.completed,
        "expires": one.expires.and_then(rfc3339),
        "web_client": web,
        "server": server,
    })
}

/// `makes 3 accounts, until …`
fn terms(one: &Invitation) -> String {
    let left = match one.uses_allowed {
        None => "makes any number of accounts".to_owned(),
        Some(allowed) => match allowed.saturating_sub(one.completed) {
            0 => "is used up".to_owned(),
            1 => "makes one account".to_owned(),
            more => format!("makes {more} accounts"),
        },
    };
    match one.expires {
        None => format!("{left} and never ends"),
        Some(end) if end <= now() => format!("ended at {}", local(end)),
        Some(end) => format!("{left}, until {}", local(end)),
    }
}

fn print(desk: &Desk, one: &Invitation, as_json: bool, qr: bool, head: Option<&str>) -> Result<u8, Error> {
    if as_json {
        super::json(&invitation_json(desk, one))?;
        return OK;
    }
    if let Some(head) = head {
        output::say(&format!("{} {head}", styled(GREEN, "✓")));
    }
    let (web, server) = ways(desk);
    output::data(&format!("  Token        {}", styled(BOLD, &one.token)));
    output::data(&format!("  Web client   {web}"));
    output::data(&format!("  Server       {server}"));
    output::data(&format!("  It {}.", terms(one)));
    if qr {
        let text = format!("{web}\nServer: {server}\nToken: {}", one.token);
        for line in qr_lines(&text).map_err(|e| Failure::new("draw the QR code", e))? {
            output::data(&line);
        }
    }
    for note in notes(desk) {
        output::say(&format!("note: {note}"));
    }
    OK
}

/// What keeps people from using a token here.
fn notes(desk: &Desk) -> Vec<&'static str> {
    let mut notes = Vec::new();
    match desk.world.site().config.synapse.registration {
        Registration::Token => {}
        Registration::Closed => notes.push(
            "matrix.toml keeps registration closed, so no token can be used: synapse.registration = \"token\"",
        ),
        Registration::Open { .. } => {
            notes.push("matrix.toml lets anybody make an account, so nobody is asked for a token");
        }
    }
    if client_cannot_register(desk) {
        notes.push(
            "the web client here is Hydrogen, which cannot make accounts: people make theirs in Element (web or desktop) with this server's name",
        );
    }
    notes
}

/// Hydrogen, which is built where no registry can be reached, has no page for
/// making an account.
fn client_cannot_register(desk: &Desk) -> bool {
    let mut seen = Observed::default();
    let lock = desk.world.look(&mut seen, |seen| {
        let file = seen.file(Side::Guest, &layout::lock_file()).ok().flatten()?;
        Lock::parse(file.content.as_deref().unwrap_or_default()).ok()
    });
    lock.ok()
        .flatten()
        .and_then(|lock| lock.images.get(&Service::Web).map(|image| image.wanted.starts_with("build ")))
        .unwrap_or(false)
}
