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
    people::{Answer, Call, Expiry, Invitation, InviteToken, Millis},
    stack,
};
use matrix_podman_host::failure::Failure;
use serde::Serialize;

use super::{
    AdminApi,
    text::{local, now, rfc3339},
    unexpected,
};
use crate::{
    args::{Expires, Token, TokenDelete, TokenNew, TokenSet, TokenShow},
    commands::OK,
    error::Error,
    output::{BOLD, DIM, GREEN, Printable, Reporter, Table, Wording, qr_lines, styled},
};

pub fn run(config: Option<&Path>, token: &Token, out: &Reporter) -> Result<u8, Error> {
    let admin = AdminApi::open(config, out)?;
    match token {
        Token::New(args) => new(&admin, args, out),
        Token::List => list(&admin, out),
        Token::Show(args) => show(&admin, args, out),
        Token::Set(args) => set(&admin, args, out),
        Token::Delete(args) => delete(&admin, args, out),
    }
}

/// The moment that was meant, in the site's time zone.
fn expiry(admin: &AdminApi, expires: Expires) -> Result<Expiry, Error> {
    let now = now();
    let moment = match expires {
        Expires::Never => return Ok(Expiry(None)),
        Expires::After(span) => now.after(span),
        Expires::On(date) => {
            let zone = TimeZone::get(admin.world.site().config.timezone.as_str())
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

fn new(admin: &AdminApi, args: &TokenNew, out: &Reporter) -> Result<u8, Error> {
    let expires = expiry(admin, args.expires)?;
    let call = Call::NewToken { token: args.token.clone(), uses: args.uses, expires };
    let made = one(admin.ask(&call)?)?;
    tell(admin, &made, args.qr, Some("The token is made. To send:"), out)
}

fn one(answer: Answer) -> Result<Invitation, Error> {
    match answer {
        Answer::Invitation(invitation) => Ok(invitation),
        other => Err(unexpected(&other)),
    }
}

fn show(admin: &AdminApi, args: &TokenShow, out: &Reporter) -> Result<u8, Error> {
    let found = one(admin.ask(&Call::ShowToken(args.token.clone()))?)?;
    tell(admin, &found, args.qr, None, out)
}

fn set(admin: &AdminApi, args: &TokenSet, out: &Reporter) -> Result<u8, Error> {
    let expires = args.terms.expires.map(|expires| expiry(admin, expires)).transpose()?;
    let call = Call::SetToken { token: args.token.clone(), uses: args.terms.uses, expires };
    let changed = one(admin.ask(&call)?)?;
    out.report(&TokenChanged { to: ShownToken::of(admin, &changed), terms: terms(&changed) })?;
    OK
}

fn delete(admin: &AdminApi, args: &TokenDelete, out: &Reporter) -> Result<u8, Error> {
    admin.ask(&Call::DeleteToken(args.token.clone()))?;
    out.report(&TokenDeleted { token: &args.token, deleted: true })?;
    OK
}

fn list(admin: &AdminApi, out: &Reporter) -> Result<u8, Error> {
    let mut all = match admin.ask(&Call::Tokens)? {
        Answer::Invitations(all) => all,
        other => return Err(unexpected(&other)),
    };
    all.sort_by(|a, b| a.token.cmp(&b.token));
    let listed = all.iter().map(|one| ShownToken::of(admin, one)).collect();
    out.report(&TokenList { listed, all: &all })?;
    OK
}

/// Where people go with it: the web client, and the name to type into an app.
fn ways(admin: &AdminApi) -> (String, String) {
    let config = &admin.world.site().config;
    (config.chat_url.clone(), config.matrix_url.trim_start_matches("https://").to_owned())
}

/// A token, as programs read it.
#[derive(Serialize)]
struct ShownToken {
    token: String,
    state: &'static str,
    uses_allowed: Option<u64>,
    pending: u64,
    completed: u64,
    expires: Option<String>,
    web_client: String,
    server: String,
}

impl ShownToken {
    fn of(admin: &AdminApi, one: &Invitation) -> Self {
        let (web_client, server) = ways(admin);
        Self {
            token: one.token.clone(),
            state: one.state(now()),
            uses_allowed: one.uses_allowed,
            pending: one.pending,
            completed: one.completed,
            expires: one.expires.and_then(rfc3339),
            web_client,
            server,
        }
    }
}

/// All tokens.
#[derive(Serialize)]
#[serde(transparent)]
struct TokenList<'a> {
    listed: Vec<ShownToken>,
    #[serde(skip)]
    all: &'a [Invitation],
}

impl Printable for TokenList<'_> {
    fn words(&self) -> Wording {
        if self.all.is_empty() {
            return Wording::saying("there are no tokens: `matrix-podman token new` makes one");
        }
        let mut table = Table::new(["token", "state", "used", "ends"]);
        for (one, ShownToken { state, .. }) in self.all.iter().zip(&self.listed) {
            let style = if *state == "valid" { Style::new() } else { DIM };
            let used = match one.uses_allowed {
                Some(allowed) => format!("{} of {allowed}", one.completed),
                None => format!("{}, any number", one.completed),
            };
            let ends = one.expires.map_or("never".to_owned(), local);
            table.row([one.token.clone(), (*state).to_owned(), used, ends].map(|cell| (cell, style)));
        }
        let mut words = Wording::default();
        words.table(&table);
        words
    }
}

/// A token that is another now.
#[derive(Serialize)]
struct TokenChanged {
    #[serde(flatten)]
    to: ShownToken,
    #[serde(skip)]
    terms: String,
}

impl Printable for TokenChanged {
    fn words(&self) -> Wording {
        Wording::saying(format!("{} {} {}.", styled(GREEN, "✓"), self.to.token, self.terms))
    }
}

/// A token that is gone.
#[derive(Serialize)]
struct TokenDeleted<'a> {
    token: &'a InviteToken,
    deleted: bool,
}

impl Printable for TokenDeleted<'_> {
    fn words(&self) -> Wording {
        Wording::saying(format!(
            "{} {} can no longer be used; accounts made with it stay.",
            styled(GREEN, "✓"),
            self.token
        ))
    }
}

/// What to send to the person who is invited.
#[derive(Serialize)]
struct ToSend {
    #[serde(flatten)]
    shown: ShownToken,
    #[serde(skip)]
    head: Option<&'static str>,
    #[serde(skip)]
    terms: String,
    #[serde(skip)]
    picture: Vec<String>,
    #[serde(skip)]
    notes: Vec<&'static str>,
}

impl Printable for ToSend {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        if let Some(head) = self.head {
            words.say(format!("{} {head}", styled(GREEN, "✓")));
        }
        words.data(format!("  Token        {}", styled(BOLD, &self.shown.token)));
        words.data(format!("  Web client   {}", self.shown.web_client));
        words.data(format!("  Server       {}", self.shown.server));
        words.data(format!("  It {}.", self.terms));
        for line in &self.picture {
            words.data(line);
        }
        for note in &self.notes {
            words.say(format!("note: {note}"));
        }
        words
    }
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

fn tell(
    admin: &AdminApi,
    one: &Invitation,
    qr: bool,
    head: Option<&'static str>,
    out: &Reporter,
) -> Result<u8, Error> {
    let shown = ShownToken::of(admin, one);
    let picture = if qr {
        let text = format!("{}\nServer: {}\nToken: {}", shown.web_client, shown.server, one.token);
        qr_lines(&text).map_err(|e| Failure::new("draw the QR code", e))?
    } else {
        Vec::new()
    };
    // A program is told the state, and need not wait for what the guest's lock says.
    let notes = if out.is_for_person() { notes(admin) } else { Vec::new() };
    out.report(&ToSend { shown, head, terms: terms(one), picture, notes })?;
    OK
}

/// What keeps people from using a token here.
fn notes(admin: &AdminApi) -> Vec<&'static str> {
    let mut notes = Vec::new();
    match admin.world.site().config.synapse.registration {
        Registration::Token => {}
        Registration::Closed => notes.push(
            "matrix.toml keeps registration closed, so no token can be used: synapse.registration = \"token\"",
        ),
        Registration::Open { .. } => {
            notes.push("matrix.toml lets anybody make an account, so nobody is asked for a token");
        }
    }
    if client_cannot_register(admin) {
        notes.push(
            "the web client here is Hydrogen, which cannot make accounts: people make theirs in Element (web or admintop) with this server's name",
        );
    }
    notes
}

/// Whether the web client has no page for making an account.
fn client_cannot_register(admin: &AdminApi) -> bool {
    let mut seen = Observed::default();
    let lock = admin.world.look(&mut seen, |seen| {
        let file = seen.file(Side::Guest, &layout::lock_file()).ok().flatten()?;
        Lock::parse(file.content.as_deref().unwrap_or_default()).ok()
    });
    lock.ok().flatten().is_some_and(|lock| {
        lock.images.iter().any(|(service, image)| stack::room(*service).cannot_register(image))
    })
}
