//! What people see of the container in Proxmox's web pages.

use super::place::{Place, find_container, guest_address};
use crate::{
    effect::{Effect, Local},
    ids,
    observed::{Observed, Seen},
    proxmox::{description, site_in},
    resource::{Diff, Resource, ResourceId, Site},
    stack,
};

/// What people see of the container in Proxmox's web pages.
pub(super) struct Description {
    pub(super) site: Site,
}

impl Resource for Description {
    fn id(&self) -> ResourceId {
        ids::GUEST_DESCRIPTION
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::SERVER_NAME]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        const WHAT: &str = "Write addresses into the container's description";
        let Place::Here { container, settings } = find_container(&self.site, seen)? else {
            return Ok(Diff::later(WHAT, "it is not there yet"));
        };
        let wanted = description(
            &self.site.config,
            &stack::endpoints(&self.site.config),
            guest_address(&self.site, seen)?,
        );
        let now = settings.get("description").unwrap_or_default();
        let next = with_notes(now, &wanted);
        if now.trim() == next.trim() {
            return Ok(Diff::settled("it names the server and its addresses"));
        }
        Ok(Diff::quiet(
            WHAT,
            "so that whoever sees it in Proxmox knows what it is",
            vec![Effect::Here(Local::SetContainer {
                container,
                options: vec![("description".to_owned(), next)],
                delete: Vec::new(),
            })],
        ))
    }
}

/// The description with what the operator wrote before and after our part of
/// it, which begins at its title and ends with the mark.
fn with_notes(now: &str, own: &str) -> String {
    let lines: Vec<&str> = now.lines().collect();
    let end = lines.iter().rposition(|line| site_in(line).is_some());
    let start = end
        .map(|end| lines[..end].iter().rposition(|line| line.starts_with("# Matrix server ")).unwrap_or(end));
    let (Some(start), Some(end)) = (start, end) else { return own.to_owned() };
    let notes = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    format!("{}{own}{}", notes(&lines[..start]), notes(&lines[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_the_operator_stay_in_a_description() {
        let own = "# Matrix server a\n\nmatrix-podman site: a\n";
        assert_eq!(with_notes("", own), own);
        assert_eq!(with_notes("something else", own), own);
        let kept =
            with_notes("Bought in May\n# Matrix server old\n\nx\nmatrix-podman site: a\nCall Bob\n", own);
        assert_eq!(kept, format!("Bought in May\n{own}Call Bob\n"));
        assert_eq!(with_notes(&kept, own), kept);
    }
}
