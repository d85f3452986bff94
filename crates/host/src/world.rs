//! The two sides of a site, as one thing to ask and to act on.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt as _,
    sync::{Arc, Mutex, RwLock},
};

use matrix_podman_core::{
    effect::{Effect, ImageSource},
    fact::{Fact, GuestState, Side, Value},
    layout::Secret,
    observed::{Answer, Observed},
    people,
    resource::{Backend, Site},
};

use crate::{
    apply::{self, Sink},
    edge::{AskPerson, Edge},
    failure::{Doing, Failure},
    guest::{
        Connection, Doorway,
        wire::{Request, Saying},
    },
    lanes::LoadLanes,
    probe,
    run::{self, LockHolder, RunLock},
    synapse,
};

/// How many rounds of questions a look may take; each answers all that were
/// open, so even a long chain of "if so, then" ends far below.
const ROUNDS: usize = 20;

/// A machine and the guest on it.
pub struct World {
    site: Site,
    guest: RwLock<Option<Arc<Connection>>>,
    holder: RwLock<Option<LockHolder>>,
    own_lock: Mutex<Option<RunLock>>,
    loads: LoadLanes,
    edge: Edge,
}

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
    rounds(seen, look, |wanted, seen| {
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

impl World {
    /// The world of `site`; nothing is opened yet.
    pub fn new(site: Site) -> Self {
        Self {
            edge: Edge::new(&site.config.edge),
            site,
            guest: RwLock::new(None),
            holder: RwLock::new(None),
            own_lock: Mutex::new(None),
            loads: LoadLanes::default(),
        }
    }

    /// From now on lets a person be asked for what only they know.
    pub fn ask_with(&mut self, ask: Box<AskPerson>) {
        self.edge.ask_with(ask);
    }

    /// The site.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The way into the guest, when there is a door between.
    pub fn doorway(&self) -> Option<Doorway> {
        match self.site.backend {
            Backend::ThisMachine => None,
            Backend::Lxc => Some(apply::lxc::doorway(self.site.config.guest.name.as_str())),
        }
    }

    /// The connection to the guest; `None` when machine and guest are one.
    pub fn guest(&self) -> Result<Option<Arc<Connection>>, Failure> {
        let Some(doorway) = self.doorway() else { return Ok(None) };
        if let Ok(open) = self.guest.read()
            && let Some(open) = open.as_ref()
        {
            return Ok(Some(Arc::clone(open)));
        }
        let mut slot = self.guest.write().map_err(|_| Failure::new("reach the guest", "a thread failed"))?;
        if slot.is_none() {
            let connection = Connection::open(&doorway).map_err(|failure| self.explained(failure))?;
            let holder = self.holder.read().map(|h| h.clone()).unwrap_or_default();
            if let Some(holder) = holder {
                connection.call(&Request::Lock(holder), &|_| {})?;
            }
            *slot = Some(Arc::new(connection));
        }
        Ok(slot.clone())
    }

    /// Why the guest cannot be spoken to, where its state says that already.
    fn explained(&self, failure: Failure) -> Failure {
        let name = &self.site.config.guest.name;
        match self.guest_state() {
            Ok(GuestState::Absent) => {
                Failure::new(failure.doing, "there is no such guest yet").hint("`matrix-podman up` makes it")
            }
            Ok(GuestState::Stopped { .. }) => Failure::new(failure.doing, format!("{name} does not run"))
                .hint("`matrix-podman up` starts it"),
            _ => failure,
        }
    }

    /// From now on holds the guest's own lock too, whenever there is a guest to
    /// speak to: a run typed inside it is then kept out.
    pub fn hold(&self, holder: &LockHolder, sink: &Sink) -> Result<(), Failure> {
        if self.site.backend == Backend::ThisMachine {
            let lock = RunLock::take(&run::lock_file_here("guest"), holder, sink)?;
            if let Ok(mut own) = self.own_lock.lock() {
                *own = Some(lock);
            }
            return Ok(());
        }
        if let Ok(mut slot) = self.holder.write() {
            *slot = Some(holder.clone());
        }
        // The connection that looked held no lock; the next one does.
        self.hang_up();
        if let (Some(doorway), Ok(GuestState::Running { .. })) = (self.doorway(), self.guest_state())
            // A guest that does not answer yet is locked once it does.
            && let Ok(connection) = Connection::open(&doorway)
        {
            connection.call(&Request::Lock(holder.clone()), sink)?;
            if let Ok(mut slot) = self.guest.write() {
                *slot = Some(Arc::new(connection));
            }
        }
        Ok(())
    }

    /// Runs a command in the guest and hands what it prints to `print`.
    pub fn follow(&self, argv: Vec<String>, print: &mut dyn FnMut(&[u8])) -> Result<Option<i32>, Failure> {
        match self.guest()? {
            Some(guest) => guest.follow(argv, print),
            None => {
                let mut words = argv.iter();
                let status = std::process::Command::new(words.next().map(String::as_str).unwrap_or_default())
                    .args(words)
                    .status()
                    .doing(|| format!("run {}", argv.join(" ")))?;
                Ok(status.code())
            }
        }
    }

    /// Asks Synapse something about people; only the program in the guest speaks
    /// with it.
    pub fn people(&self, call: &people::Call) -> Result<people::Answer, Failure> {
        match self.guest()? {
            Some(guest) => guest.people(call),
            None => synapse::answer(call),
        }
    }

    /// Runs a command in the guest with this process's own terminal, or what is
    /// there in its place; its exit code, 128 and the signal's number when a
    /// signal ended it.
    pub fn attach(&self, argv: &[String]) -> Result<u8, Failure> {
        let doing = || format!("run {} in the guest", argv.join(" "));
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let whole = match self.doorway() {
            None => argv.to_vec(),
            Some(doorway) => match self.guest_state() {
                Ok(GuestState::Running { .. }) => doorway.argv(&words),
                Ok(_) => {
                    return Err(
                        Failure::new(doing(), "the guest does not run").hint("`matrix-podman up` starts it")
                    );
                }
                Err(why) => return Err(Failure::new(doing(), why)),
            },
        };
        let mut words = whole.iter();
        let status = std::process::Command::new(words.next().map(String::as_str).unwrap_or_default())
            .args(words)
            .status()
            .doing(doing)?;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Ok(u8::try_from(code).unwrap_or(1))
    }

    /// Lets go of the connection, so that the next question opens a new one.
    pub fn hang_up(&self) {
        if let Ok(mut guest) = self.guest.write() {
            guest.take();
        }
    }

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
        let (own, machine): (Vec<_>, Vec<_>) =
            machine.into_iter().map(|(_, fact)| fact).partition(|fact| *fact == Fact::GuestProgram);
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
            seen.insert(Side::Machine, fact, self.guest_program());
        }
    }

    fn ask_guest(&self, facts: &[Fact]) -> Vec<Answer> {
        if facts.is_empty() {
            return Vec::new();
        }
        let all_unknown = |why: String| facts.iter().map(|_| Answer::Unknown(why.clone())).collect();
        if self.site.backend == Backend::ThisMachine {
            return probe::answer_all(facts);
        }
        match self.guest_state() {
            Ok(GuestState::Absent) => facts
                .iter()
                .map(|fact| match fact.nowhere() {
                    Some(value) => Answer::Known(value),
                    None => Answer::Unknown("there is no guest yet".to_owned()),
                })
                .collect(),
            Ok(GuestState::Stopped { .. }) => all_unknown("the guest does not run yet".to_owned()),
            Ok(GuestState::Running { .. }) => {
                match self.guest().and_then(|g| g.map(|g| g.observe(facts)).transpose()) {
                    Ok(Some(answers)) => answers,
                    Ok(None) => all_unknown("there is no guest".to_owned()),
                    Err(failure) => all_unknown(failure.to_string()),
                }
            }
            Err(why) => all_unknown(why),
        }
    }

    fn guest_state(&self) -> Result<GuestState, String> {
        match probe::answer(&Fact::LxcGuest(self.site.config.guest.name.to_string())) {
            Answer::Known(Value::LxcGuest(state)) => Ok(state),
            Answer::Known(_) => Err("its state could not be read".to_owned()),
            Answer::Unknown(why) => Err(why),
        }
    }

    fn guest_program(&self) -> Answer {
        let same = || -> Result<bool, Failure> {
            let own = run::own_digest()?;
            Ok(self.guest()?.is_some_and(|guest| guest.digest == own))
        };
        // A guest that does not answer has no program that could.
        Answer::Known(Value::Yes(same().unwrap_or(false)))
    }

    /// Does one act, on the side where it belongs.
    pub fn apply(&self, effect: &Effect, sink: &Sink) -> Result<(), Failure> {
        match effect {
            Effect::PushProgram { .. } => self.push_program(),
            Effect::StartGuest { .. } | Effect::StopGuest { .. } => {
                self.hang_up();
                apply::apply(effect, sink)
            }
            Effect::ObtainImage { service, from, tag } => self.obtain(*service, from, tag, effect, sink),
            Effect::TakeTurnSecret { from } => {
                let mut file = std::fs::File::open(from.as_str())
                    .doing(|| format!("read the TURN secret from {from}"))?;
                match self.guest()? {
                    Some(guest) => guest.send(&Request::PutSecret(Secret::Turn), &mut file, None, sink),
                    None => apply::secret::put(Secret::Turn, file),
                }
            }
            Effect::Edge(act) => self.edge.act(act, sink),
            effect if effect.side() == Side::Machine => apply::apply(effect, sink),
            effect => match self.guest()? {
                Some(guest) => guest.apply(effect, sink),
                None => apply::apply(effect, sink),
            },
        }
    }

    fn push_program(&self) -> Result<(), Failure> {
        let Some(doorway) = self.doorway() else { return Ok(()) };
        self.hang_up();
        apply::program::push(&doorway)?;
        self.guest().map(drop)
    }

    fn obtain(
        &self,
        service: matrix_podman_core::service::Service,
        from: &ImageSource,
        tag: &str,
        effect: &Effect,
        sink: &Sink,
    ) -> Result<(), Failure> {
        let archive = match from {
            ImageSource::Registry(_) => {
                return match self.guest()? {
                    Some(guest) => guest.apply(effect, sink),
                    None => apply::apply(effect, sink),
                };
            }
            ImageSource::Archive { path, .. } => path.as_str().into(),
            ImageSource::Build { version } => apply::build::image(service, version.as_deref(), sink)?,
        };
        // Here, not in the guest: who waits must not have sent anything yet,
        // since all that is sent takes turns on one connection.
        sink(Saying::WaitsFor("its turn to be loaded".to_owned()));
        let _lane = self.loads.take(service);
        let doing = || format!("read the image {}", archive.display());
        let mut file = std::fs::File::open(&archive).doing(doing)?;
        let total = file.metadata().doing(doing)?.len();
        match self.guest()? {
            Some(guest) => {
                guest.send(&Request::LoadImage { tag: tag.to_owned() }, &mut file, Some(total), sink)
            }
            None => apply::podman::load(tag, Box::new(file), sink),
        }
    }
}
