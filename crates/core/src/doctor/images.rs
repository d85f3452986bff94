//! Images whose layers a power cut, or a bad disk, has emptied.

use super::{Case, Found, Mend};
use crate::{doctor::service::journal, frame::last_words, ids, stack};

/// What programs and Podman say, in small letters, when files of an image are not what they were.
const WORDS: [&str; 8] = [
    "exec format error",
    "error while loading shared libraries",
    "file too short",
    "layer not known",
    "image not known",
    "invalid elf header",
    "readlink /var/lib/containers/storage/overlay",
    "error relocating",
];

pub(super) fn damaged(case: &Case<'_>) -> Found {
    // The plan knows that images were being written when the power went.
    if case.drifts(&ids::GUEST_STORAGE) {
        let mut ill = Vec::new();
        for service in stack::services(&case.site.config) {
            if !case.is_well(service)? {
                ill.push(format!("{} is not well", service.title()));
            }
        }
        if !ill.is_empty() {
            let what = "Images may have lost their content in a power cut.";
            return Ok(Some((what.to_owned(), ill, Mend::Up)));
        }
    }
    // A runtime that starts nothing says much the same.
    if case.has("runtime/") {
        return Ok(None);
    }
    for service in stack::services(&case.site.config) {
        if case.is_well(service)? {
            continue;
        }
        let log = journal(case, service)?;
        let said = |line: &&String| {
            let line = line.to_lowercase();
            WORDS.iter().any(|word| line.contains(word))
        };
        if let Some(line) = log.iter().rev().find(said) {
            let repair = case.in_guest("podman system check --quick --repair --force");
            return Ok(Some((
                format!("The image of {} is damaged.", service.title()),
                last_words(std::slice::from_ref(line)),
                // It removes what cannot be read; `up` loads that again.
                Mend::Type(format!("{repair} && matrix-podman up")),
            )));
        }
    }
    Ok(None)
}
