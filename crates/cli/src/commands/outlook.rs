//! What `update --check` says besides the images: what is notable, how long it
//! takes, Debian's packages, the program itself.

use matrix_podman_core::{
    fact::{Database, Fact, GuestProgram, Side},
    observed::{Observed, Seen},
    resource::updates_by,
    service::Service,
    size::Bytes,
    stack::{self, Note},
    update::{NewerPackage, Takes, Work},
};
use matrix_podman_host::{failure::Failure, journal, work::update::Proposal, world::World};
use serde::Serialize;

use crate::{
    output::{BOLD, DIM, Printable, Wording, YELLOW, styled},
    site,
};

/// What can be said before an update.
#[derive(Debug, Serialize)]
pub struct Outlook {
    event: &'static str,
    /// What is notable about the newer Synapse.
    notable: Vec<Note>,
    /// Where to read about releases that this program knows nothing of.
    read: Option<&'static str>,
    /// How long it takes; absent when nothing changes.
    takes: Option<Takes>,
    /// Debian packages of which the guest knows a newer version.
    debian: Vec<NewerPackage>,
    /// What stays as it is.
    held: Vec<Service>,
    /// What holds of an update by the timer in the guest instead.
    timer: Option<&'static str>,
    program: Program,
}

/// What is known of the program itself.
#[derive(Debug, Serialize)]
struct Program {
    version: &'static str,
    /// Whether the guest has the same; absent where the two are one.
    guest_has_it: Option<bool>,
}

impl Outlook {
    /// Looks; what cannot be found out is left out.
    pub fn of(world: &World, proposal: Option<&Proposal>, held: Vec<Service>) -> Result<Self, Failure> {
        let changes = proposal.iter().flat_map(|proposal| &proposal.changes);
        let (notable, read) = changes
            .map(|c| stack::room(c.service).notable(&c.from.version, &c.to.version))
            .find(|(notes, read)| !notes.is_empty() || read.is_some())
            .unwrap_or_default();
        let here = world.site().backend.is_this_machine();
        let look = |seen: &Observed| -> (Seen<Vec<NewerPackage>>, Seen<Bytes>, Seen<bool>) {
            let debian = seen
                .lines(Fact::NewerPackages)
                .map(|lines| lines.iter().filter_map(|line| NewerPackage::parse(line)).collect());
            let size = database_size(seen);
            let same = if here {
                Ok(true)
            } else {
                seen.guest_program().map(|program| *program == GuestProgram::Same)
            };
            (debian, size, same)
        };
        let by = world.look(&mut Observed::default(), |seen| updates_by(world.site(), seen))?;
        let (debian, size, same) = world.look(&mut Observed::default(), look)?;
        let takes = proposal.map(|proposal| estimate(world, proposal, size.unwrap_or(Bytes(0))));
        Ok(Self {
            event: "outlook",
            notable,
            read,
            takes,
            debian: debian.unwrap_or_default(),
            held,
            timer: proposal.and_then(|p| {
                // The machine's own timer makes a snapshot as this here does.
                let in_guest = matches!(by, Ok(Side::Guest));
                p.precaution.what_the_timer_lacks(world.site().config.update.auto && in_guest)
            }),
            program: Program {
                version: env!("CARGO_PKG_VERSION"),
                guest_has_it: (!here).then(|| same.unwrap_or(false)),
            },
        })
    }
}

impl Printable for Outlook {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        for note in &self.notable {
            words.say(format!("  Synapse {}: {}", styled(BOLD, &note.version), note.what));
        }
        if let Some(read) = self.read {
            words.say(styled(DIM, &format!("  What else is new, its makers say: {read}")));
        }
        if let Some(takes) = &self.takes {
            words.say(takes.words());
        }
        if !self.held.is_empty() {
            words.say(held_words(&self.held));
        }
        if let Some(timer) = self.timer {
            words.say(timer);
        }
        let (runtime, others): (Vec<_>, Vec<_>) = self.debian.iter().partition(|p| p.is_runtime());
        if !others.is_empty() {
            words.say(format!(
                "Debian: {} newer, which the guest installs automatically: {}",
                count(others.len()),
                names(&others)
            ));
        }
        if !runtime.is_empty() {
            words.say(format!(
                "Debian: {} newer that containers run by, which the guest does not install automatically: {}",
                count(runtime.len()),
                names(&runtime)
            ));
        }
        if self.debian.is_empty() {
            words.say("Debian: no package in the guest is known to have a newer version.");
        }
        let version = self.program.version;
        words.say(match self.program.guest_has_it {
            Some(false) => styled(
                YELLOW,
                &format!(
                    "matrix-podman: the guest has another copy than this one ({version}): `matrix-podman up` brings it"
                ),
            ),
            _ => {
                format!("matrix-podman: {version}; whether a newer one was published is not asked anywhere.")
            }
        });
        words
    }
}

/// How long `proposal` takes, and who is away meanwhile.
pub fn takes(world: &World, proposal: &Proposal) -> Result<String, Failure> {
    let size = world.look(&mut Observed::default(), database_size)?;
    Ok(estimate(world, proposal, size.unwrap_or(Bytes(0))).words())
}

fn estimate(world: &World, proposal: &Proposal, size: Bytes) -> Takes {
    let journal = site::state_folder(world.site()).join("journal.jsonl");
    let took = |words: &str| journal::last_took(&journal, "update", words);
    Takes::estimate(&work(proposal, &took), took("dump the database"), size)
}

fn database_size(seen: &Observed) -> Seen<Bytes> {
    seen.database().map(|database| match database {
        Database::Answers(state) => Bytes(state.size),
        Database::Refuses(_) => Bytes(0),
    })
}

/// What stays as it is, and how it is updated all the same.
pub fn held_words(held: &[Service]) -> String {
    let names: Vec<&str> = held.iter().map(|service| service.name()).collect();
    let last = names.last().copied().unwrap_or_default();
    format!(
        "Held back, and not looked at: {} (`matrix-podman update {last}` updates it all the same).",
        names.join(", ")
    )
}

/// What a proposal has done, with what it took the last time.
fn work(proposal: &Proposal, took: &dyn Fn(&str) -> Option<u64>) -> Work {
    match proposal.majors() {
        Some((from, to)) if to > from => Work::Move { last: took("move the data") },
        Some(_) => Work::Return,
        None => {
            let services: Vec<Service> = proposal.changes.iter().map(|change| change.service).collect();
            let each = services.iter().map(|service| took(&format!("restart {service}")));
            // One after the other.
            Work::Replace { last: each.sum(), services }
        }
    }
}

fn count(packages: usize) -> String {
    if packages == 1 { "one package is".to_owned() } else { format!("{packages} packages are") }
}

fn names(packages: &[&NewerPackage]) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<String> =
        packages.iter().take(SHOWN).map(|p| format!("{} {}", p.name, p.to)).collect();
    if packages.len() > SHOWN {
        names.push("…".to_owned());
    }
    names.join(", ")
}
