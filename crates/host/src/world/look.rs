//! Looking at a site: questions are answered until nothing more is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    fact::{Fact, GuestProgram, GuestState, Side, Value},
    observed::{Answer, Gap, Observed, Seen},
    resource,
};

use super::World;
use crate::{
    failure::{Failure, Kind},
    own_program, probe,
};

/// How many rounds of questions a look may take; each answers all that were
/// open, so even a long chain of "if so, then" ends far below.
const ROUNDS: usize = 20;
/// From when on a look at somebody else's server asks nothing more.
const FROM_HERE: Duration = Duration::from_secs(60);

/// Asks `look` again and again, each time having `answer` answer what it noted
/// as unknown, until it wants to know nothing more.
fn rounds<T>(
    seen: &mut Observed,
    look: impl Fn(&Observed) -> T,
    answer: impl Fn(BTreeSet<(Side, Fact)>, &mut Observed),
) -> Result<T, Failure> {
    let mut result = look(seen);
    for _ in 0..ROUNDS {
        let wanted = seen.take_wanted();
        if wanted.is_empty() {
            return Ok(result);
        }
        answer(wanted, seen);
        result = look(seen);
    }
    Err(Failure::new("look at the world", "the questions do not end; this is a mistake in matrix-podman"))
}

/// Like [`World::look`], for questions to this machine alone, without a site.
pub fn look_from_here<T>(seen: &mut Observed, look: impl Fn(&Observed) -> T) -> Result<T, Failure> {
    let deadline = Instant::now() + FROM_HERE;
    rounds(seen, look, |wanted, seen| {
        if Instant::now() >= deadline {
            // Each question may take as long as any.
            let why = format!("all of it took longer than {} s", FROM_HERE.as_secs());
            for (side, fact) in wanted {
                seen.insert(side, fact, Answer::Unknown(why.clone()));
            }
            return;
        }
        let facts: Vec<Fact> = wanted.iter().map(|(_, fact)| fact.clone()).collect();
        for ((side, fact), answer) in wanted.into_iter().zip(probe::answer_all(&facts)) {
            let answer = match side {
                Side::Machine => answer,
                Side::Guest | Side::Edge => Answer::Unknown("no site is looked at".to_owned()),
            };
            seen.insert(side, fact, answer);
        }
    })
}

fn unknown(doing: &str, gap: Gap) -> Failure {
    match gap {
        Gap::NotAsked => Failure::new(doing, "it was not looked at; this is a mistake in matrix-podman"),
        Gap::Unknown(why) => Failure::new(doing, why),
    }
}

/// Looks, and makes a gap a failure.
pub(crate) fn see<T>(world: &World, doing: &str, look: impl Fn(&Observed) -> Seen<T>) -> Result<T, Failure> {
    world.look(&mut Observed::default(), look)?.map_err(|gap| unknown(doing, gap))
}

/// The same for all of them.
pub(super) fn unknown_all(facts: &[Fact], why: &str) -> Vec<Answer> {
    facts.iter().map(|_| Answer::Unknown(why.to_owned())).collect()
}

impl World {
    /// Asks `look` again and again, each time answering what it noted as
    /// unknown, until it wants to know nothing more.
    pub fn look<T>(&self, seen: &mut Observed, look: impl Fn(&Observed) -> T) -> Result<T, Failure> {
        rounds(seen, look, |wanted, seen| self.answer(wanted, seen))
    }

    fn answer(&self, wanted: BTreeSet<(Side, Fact)>, seen: &mut Observed) {
        let (edge, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(side, _)| *side == Side::Edge);
        for (side, fact) in edge {
            let answer = match &fact {
                Fact::Edge(question) => self.edge.answer(question),
                _ => Answer::Unknown("this is no question to the edge".to_owned()),
            };
            seen.insert(side, fact, answer);
        }
        let (machine, guest): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(side, _)| *side == Side::Machine);
        let guest: Vec<Fact> = guest.into_iter().map(|(_, fact)| fact).collect();
        let (own, machine): (Vec<_>, Vec<_>) = machine
            .into_iter()
            .map(|(_, fact)| fact)
            .partition(|fact| matches!(fact, Fact::GuestProgram | Fact::Proxmox(_)));
        // Both sides work at the same time.
        let (here, there) = std::thread::scope(|scope| {
            let here = scope.spawn(|| probe::answer_all(&machine));
            let there = self.ask_guest(&guest);
            (here.join().unwrap_or_default(), there)
        });
        for (fact, answer) in guest.into_iter().zip(there) {
            seen.insert(Side::Guest, fact, answer);
        }
        for (fact, answer) in machine.into_iter().zip(here) {
            seen.insert(Side::Machine, fact, answer);
        }
        for fact in own {
            let answer = match &fact {
                Fact::Proxmox(_) => self.keeper.ask_proxmox(&fact),
                _ => self.guest_program(),
            };
            seen.insert(Side::Machine, fact, answer);
        }
    }

    /// Asks the guest, except for what is known of its images and still holds:
    /// Podman takes its time, and every resource of the stack wants to know them.
    fn ask_guest(&self, facts: &[Fact]) -> Vec<Answer> {
        let about_images = |fact: &&Fact| matches!(fact, Fact::Images(_));
        if !self.is_alone() || !facts.iter().any(|fact| about_images(&fact)) {
            return self.ask_guest_anew(facts);
        }
        // Held while it is asked: whoever wants to know the same waits for it, and
        // so does who wants it forgotten.
        let mut known = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<Fact> = facts.iter().filter(|fact| !known.contains_key(fact)).cloned().collect();
        let answers: BTreeMap<Fact, Answer> = if open.iter().any(|fact| about_images(&fact)) {
            let answers: BTreeMap<_, _> = open.iter().cloned().zip(self.ask_guest_anew(&open)).collect();
            known.extend(
                answers
                    .iter()
                    .filter(|(fact, answer)| about_images(fact) && matches!(answer, Answer::Known(_)))
                    .map(|(fact, answer)| (fact.clone(), answer.clone())),
            );
            let mut all = known.clone();
            all.extend(answers);
            all
        } else {
            let mut all = known.clone();
            drop(known);
            all.extend(open.iter().cloned().zip(self.ask_guest_anew(&open)));
            all
        };
        let not_put = || Answer::Unknown("the question was not put".to_owned());
        facts.iter().map(|fact| answers.get(fact).cloned().unwrap_or_else(not_put)).collect()
    }

    fn ask_guest_anew(&self, facts: &[Fact]) -> Vec<Answer> {
        if facts.is_empty() { Vec::new() } else { self.keeper.observe(self, facts) }
    }

    /// What the guest answers, whose state says whether it can.
    pub(super) fn observe_guest(&self, facts: &[Fact]) -> Vec<Answer> {
        let all_unknown = |why: String| unknown_all(facts, &why);
        match self.guest_state() {
            Ok(GuestState::Absent) => facts
                .iter()
                .map(|fact| match fact.nowhere() {
                    Some(value) => Answer::Known(value),
                    None => Answer::Unknown("there is no guest yet".to_owned()),
                })
                .collect(),
            Ok(GuestState::Stopped { .. }) => all_unknown("the guest does not run yet".to_owned()),
            Ok(GuestState::Suspended { by, .. }) => all_unknown(self.held("speak with the guest", by).why),
            Ok(GuestState::Running { .. }) => {
                match self.guest().and_then(|g| g.map(|g| g.observe(facts)).transpose()) {
                    Ok(Some(answers)) => answers,
                    Ok(None) => all_unknown("there is no guest".to_owned()),
                    Err(failure) => {
                        self.hang_up_if_lost(&failure);
                        all_unknown(failure.to_string())
                    }
                }
            }
            Err(why) => all_unknown(why),
        }
    }

    pub(super) fn guest_state(&self) -> Result<GuestState, String> {
        match self.look(&mut Observed::default(), |seen| resource::guest_state(&self.site, seen)) {
            // Nobody looks into a guest of somebody else's, or does anything there.
            Ok(Ok(state)) => match resource::foreign(&self.site, &state) {
                Some(why) => Err(why),
                None => Ok(state),
            },
            Ok(Err(Gap::Unknown(why))) => Err(why),
            Ok(Err(Gap::NotAsked)) => Err("its state could not be read".to_owned()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    fn guest_program(&self) -> Answer {
        let found = || -> Result<GuestProgram, Failure> {
            if self.keeper.is_unreachable() {
                return Ok(GuestProgram::Other);
            }
            let own = own_program::digest()?;
            let same = self.guest()?.is_some_and(|guest| guest.digest == own);
            Ok(if same { GuestProgram::Same } else { GuestProgram::Other })
        };
        // A guest that does not answer has no program that could.
        let program = found().unwrap_or_else(|failure| match failure.kind {
            Kind::NewerProgram if !failure.of_guest => GuestProgram::Newer(failure.why),
            _ => GuestProgram::Other,
        });
        Answer::Known(Value::GuestProgram(program))
    }
}
