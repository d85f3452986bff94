//! The config of a restore: the one that is here, else what may be taken over of the
//! snapshot's. It becomes a file only when the operator has seen it and agreed.

use std::path::{Path, PathBuf};

use matrix_podman_core::config::{
    Config,
    restored::{Origin, Restored, Setting},
};
use matrix_podman_host::{backup::Opened, failure::Failure};

use crate::{
    args,
    error::Error,
    output::{BOLD, Reporter, styled},
    site,
};

/// Which config a restore goes by.
pub(super) enum Choice {
    /// The operator's, which is here.
    Here(PathBuf),
    /// What comes of the snapshot's.
    Proposed(Box<Proposal>),
}

/// A config that comes of a snapshot's, not written yet.
pub(super) struct Proposal {
    file: PathBuf,
    origin: Origin,
    restored: Restored,
    text: String,
}

/// The config that is given or is here, else one out of the snapshot.
pub(super) fn choose(config: Option<&Path>, args: &args::Restore, opened: &Opened) -> Result<Choice, Error> {
    if let Some(file) = config {
        if file.exists() {
            return Ok(Choice::Here(file.to_owned()));
        }
        return Err(Error::usage(
            format!("there is no {}", file.display()),
            "name another file with --config",
        ));
    }
    let file = PathBuf::from(site::FILE);
    if file.exists() {
        site::trust(&file)?;
        return Ok(Choice::Here(file));
    }
    let found = opened.config()?;
    let from = super::place(&args.from)?.location.to_string();
    let restored = Config::restored(&found.text, found.origin, &from, &site::defaults()?)?;
    let text = format!(
        "# Restored from {from}. This is the site's config from now on.\n\
         # What stood under [edge] is not in a backup.\n{}",
        restored.text
    );
    Ok(Choice::Proposed(Box::new(Proposal { file, origin: found.origin, restored, text })))
}

impl Proposal {
    /// Where it is going to be.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// What is going to stand there.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Shows what it says, before anybody agrees to it.
    pub(super) fn show(&self, out: &Reporter) {
        let whose = match self.origin {
            Origin::Machine => "as the machine applied it",
            Origin::Guest => "as the guest says",
        };
        let file = self.file.display();
        out.narrate(&format!("{file} {} written from the snapshot, {whose}:", styled(BOLD, "will be")));
        for setting in &self.restored.differs {
            let Setting { key, value, note } = setting;
            out.narrate(&format!("  {key} = {value}   (default: {note})"));
        }
        if self.restored.differs.is_empty() {
            out.narrate("  every default");
        }
        if self.origin == Origin::Guest {
            out.narrate(
                "  The machine that made this backup did not sign its config: anybody who was in the guest can have \
                 written this. What concerns this machine is left out.",
            );
        }
        if !self.restored.left_out.is_empty() {
            out.narrate("  Not taken over; write what is right for this machine into the file afterwards:");
        }
        for Setting { key, value, note } in &self.restored.left_out {
            out.narrate(&format!("  {key} = {value}   ({note})"));
        }
    }

    /// Writes it, for its owner alone, and not over another one.
    pub(super) fn write(&self, out: &Reporter) -> Result<(), Failure> {
        site::create(&self.file, &self.text, site::SECRET)?;
        out.narrate(&format!("wrote {}", self.file.display()));
        Ok(())
    }
}
