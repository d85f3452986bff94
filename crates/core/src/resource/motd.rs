//! What a person who enters the guest is told first.

use super::{Diff, Resource, ResourceId, Site, files::compare, guest_ready};
use crate::{
    desired::DesiredFile,
    ids, layout,
    name::{AbsPath, Mode, Owner},
    observed::{Observed, Seen},
};

pub(super) fn all(_: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Motd)]
}

struct Motd;

/// Shells that a person types into show it, and complete our commands; what takes
/// half a second is ended, since nobody should be kept from a machine that is in
/// trouble.
fn hook() -> DesiredFile {
    DesiredFile {
        path: AbsPath::known(layout::MOTD_HOOK),
        content: format!(
            "# Written by matrix-podman; changes here are overwritten.\n\
             case $- in\n\
             *i*)\n    timeout --foreground --kill-after=0.1 0.5 {0} motd 2>/dev/null\n    \
             [ -z \"${{BASH_VERSION-}}\" ] || eval \"$(timeout 0.5 {0} completions bash 2>/dev/null)\" ;;\n\
             esac\n\
             :\n",
            layout::BINARY
        ),
        mode: Mode(0o644),
        owner: Owner::ROOT,
        why: "Says whose guest this is, and how it is",
    }
}

impl Resource for Motd {
    fn id(&self) -> ResourceId {
        ids::GUEST_MOTD
    }

    fn needs(&self) -> Vec<ResourceId> {
        guest_ready()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let difference = compare(&[], &[hook()], seen)?;
        if difference.is_empty() {
            return Ok(Diff::settled("whoever enters is told how the server is"));
        }
        Ok(difference.step("the greeting", Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fact::{Fact, Side, Value},
        observed::Answer,
    };

    #[test]
    fn it_is_written_where_there_is_none() {
        let mut seen = Observed::default();
        let file = Fact::File(hook().path);
        // Nobody has asked yet: the question is noted.
        Motd.diff(&seen).unwrap_err();
        assert!(seen.take_wanted().contains(&(Side::Guest, file.clone())));
        seen.insert(Side::Guest, file, Answer::Known(Value::File(None)));
        let Diff::Change(step) = Motd.diff(&seen).unwrap() else { panic!() };
        assert_eq!(step.what, format!("Write {}", layout::MOTD_HOOK));
    }
}
