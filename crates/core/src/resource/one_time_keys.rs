//! One-time keys after the data went back in time: a restore, data that were set
//! aside, a snapshot of the guest.

use super::{Diff, Resource, ResourceId, Site, service};
use crate::{
    effect::{Effect, Local},
    fact::Side,
    ids, layout,
    observed::{Observed, Seen},
    stack,
};

pub(super) fn all(_: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(OneTimeKeys)]
}

struct OneTimeKeys;

impl Resource for OneTimeKeys {
    fn id(&self) -> ResourceId {
        ids::DATABASE_ONE_TIME_KEYS
    }

    fn needs(&self) -> Vec<ResourceId> {
        let waiting = stack::wait_for(&ids::DATABASE_ONE_TIME_KEYS).into_iter();
        waiting.flat_map(|room| stack::room(room).needs()).map(|need| service::id(*need)).collect()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        if seen.meta(Side::Guest, &layout::hold())?.is_none() {
            return Ok(Diff::settled("the data did not go back in time"));
        }
        Ok(Diff::quiet(
            "Have Synapse forget the one-time keys",
            "the data went back in time: a key that is given out a second time breaks the encryption between two \
             devices; clients upload new ones",
            vec![
                Effect::Here(Local::ForgetOneTimeKeys),
                Effect::Here(Local::RemoveFile { side: Side::Guest, path: layout::hold() }),
            ],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fact::{Fact, FileKind, FileState, Value},
        name::{Mode, Owner},
        observed::Answer,
    };

    #[test]
    fn they_are_forgotten_before_synapse_may_start() {
        let mut seen = Observed::default();
        OneTimeKeys.diff(&seen).unwrap_err();
        let (_, fact) = seen.take_wanted().into_iter().next().unwrap();
        let state = |there: bool| {
            Answer::Known(Value::File(there.then_some(FileState {
                kind: FileKind::File,
                mode: Mode(0o600),
                owner: Owner::ROOT,
                content: None,
                digest: None,
                target: None,
                age: 0,
            })))
        };
        assert_eq!(fact, Fact::Meta(layout::hold()));
        seen.insert(Side::Guest, fact.clone(), state(false));
        assert!(matches!(OneTimeKeys.diff(&seen).unwrap(), Diff::Settled { .. }));
        seen.insert(Side::Guest, fact, state(true));
        let Diff::Change(step) = OneTimeKeys.diff(&seen).unwrap() else { panic!() };
        assert_eq!(step.effects.first(), Some(&Effect::Here(Local::ForgetOneTimeKeys)));
    }
}
