//! Exactly what was made at the edge, to be taken down again.

mod cloudflare;

use super::takedown_npm;
use crate::{
    edge::{Question, Refusal, RefusalKind, record},
    effect::{Effect, Local},
    fact::Side,
    observed::{Gap, Observed, Seen},
    resource::Site,
};

/// Acts in order, each with what a person reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Takedown {
    /// What goes.
    pub acts: Vec<(String, Effect)>,
    /// What stays though it was set from here, and why.
    pub stays: Vec<String>,
}

/// What of this site's is at the edge; a refusal when it cannot be seen.
pub fn edge_takedown(site: &Site, seen: &Observed) -> Seen<Result<Takedown, Refusal>> {
    let mut takedown = Takedown::default();
    if site.config.edge.cloudflare.is_some() {
        match cloudflare::routes_and_names(site, seen, &mut takedown) {
            Ok(()) => {}
            Err(Stop::Gap(gap)) => return Err(gap),
            Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
        }
    }
    if site.config.edge.npm.is_some() {
        match takedown_npm::npm(site, seen, &mut takedown) {
            Ok(()) => {}
            Err(Stop::Gap(gap)) => return Err(gap),
            Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
        }
    }
    // A tunnel that is in use may refuse to go: everything else is gone by then.
    if site.config.edge.cloudflare.is_some() {
        match cloudflare::tunnel(site, seen, &mut takedown) {
            Ok(()) => {}
            Err(Stop::Gap(gap)) => return Err(gap),
            Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(takedown))
}

pub(super) enum Stop {
    Gap(Gap),
    Refused(Refusal),
}

impl From<Gap> for Stop {
    fn from(gap: Gap) -> Self {
        Stop::Gap(gap)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

/// The answer; nothing where there is nothing.
pub(super) fn there<T: serde::de::DeserializeOwned>(
    seen: &Observed,
    question: Question,
) -> Result<Option<T>, Stop> {
    match seen.edge(question)? {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.kind == RefusalKind::NotFound => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

pub(super) fn remembered<T: Default + for<'a> serde::Deserialize<'a>>(
    site: &Site,
    seen: &Observed,
    part: &str,
) -> Result<T, Stop> {
    let file = seen.file(Side::Machine, &record::path(site.config.site(), part))?;
    let text = file.and_then(|file| file.content.as_deref());
    record::parse(text).map_err(|why| Stop::Gap(Gap::Unknown(format!("what was made is not known: {why}"))))
}

/// Last of all, the record of what was made goes too.
pub(super) fn forget(site: &Site, seen: &Observed, part: &str, takedown: &mut Takedown) -> Result<(), Stop> {
    let path = record::path(site.config.site(), part);
    if seen.file(Side::Machine, &path)?.is_some() {
        takedown.acts.push((String::new(), Effect::Here(Local::RemoveFile { side: Side::Machine, path })));
    }
    Ok(())
}
