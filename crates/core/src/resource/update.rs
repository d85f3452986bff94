//! An update that was cut off, which has to be settled before a service is
//! touched: the older Synapse may not be able to open what the newer one left.

use super::{Diff, Resource, ResourceId, Site, guest_ready};
use crate::{
    fact::Side,
    history::{History, file as history_file},
    ids,
    observed::{Gap, Observed, Seen},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Settled { trying: !site.trial.is_empty() })]
}

/// The id of this resource, which every unit stands behind.
pub(super) fn id() -> ResourceId {
    ids::UPDATE
}

struct Settled {
    /// Whether this is the run of an update itself.
    trying: bool,
}

impl Resource for Settled {
    fn id(&self) -> ResourceId {
        id()
    }

    fn needs(&self) -> Vec<ResourceId> {
        guest_ready()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        if self.trying {
            return Ok(Diff::settled("this is what tries the new images"));
        }
        let file = seen.file(Side::Guest, &history_file())?;
        let history = match file.and_then(|file| file.content.as_deref()) {
            Some(text) => History::parse(text)
                .map_err(|why| Gap::Unknown(format!("{} cannot be read: {why}", history_file())))?,
            None => History::default(),
        };
        Ok(match history.under_way() {
            None => Diff::settled("no update is under way"),
            Some(generation) => Diff::Blocked {
                why: format!(
                    "the update begun at {} was cut off, and is settled before anything else is done",
                    generation.at
                ),
                hint: "`matrix-podman up` puts back what ran before".to_owned(),
            },
        })
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

    fn diff(trying: bool, content: Option<&str>) -> Seen<Diff> {
        let mut seen = Observed::default();
        let file = content.map(|text| FileState {
            kind: FileKind::File,
            mode: Mode(0o644),
            owner: Owner::ROOT,
            content: Some(text.to_owned()),
            digest: None,
            target: None,
            age: 0,
        });
        seen.insert(Side::Guest, Fact::File(history_file()), Answer::Known(Value::File(file)));
        Settled { trying }.diff(&seen)
    }

    #[test]
    fn nothing_is_done_while_an_update_is_cut_off() {
        let cut_off = r#"{"format":1,"generations":[{"number":2,"at":"2026-01-01T00:00:00Z","by":"update",
            "images":{},"dump":null,"undo":"image","outcome":"under-way"}]}"#;
        assert!(matches!(diff(false, None), Ok(Diff::Settled { .. })));
        assert!(matches!(diff(false, Some(r#"{"format":1,"generations":[]}"#)), Ok(Diff::Settled { .. })));
        assert!(
            matches!(diff(false, Some(cut_off)), Ok(Diff::Blocked { why, .. }) if why.contains("2026-01-01"))
        );
        assert!(matches!(diff(true, Some(cut_off)), Ok(Diff::Settled { .. })));
        assert!(matches!(diff(false, Some("{")), Err(Gap::Unknown(_))));
    }
}
