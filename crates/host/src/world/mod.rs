//! The two sides of a site, as one thing to ask and to act on.

pub(crate) mod stream;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt as _,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use matrix_podman_core::{
    config::RootPassword,
    disk,
    effect::{Container, Effect, ImageSource, NewContainer},
    fact::{Fact, GuestProgram, GuestState, Side, Suspension, Value},
    layout,
    observed::{Answer, Gap, Observed, Seen},
    people,
    proxmox::Question,
    resource::{self, Backend, Place, Site},
    size::Bytes,
};

use crate::{
    apply,
    edge::{AskPerson, Edge},
    failure::{Doing, Failure, Kind},
    file,
    guest::{Connection, Doorway, wire::Request},
    lane::LoadLane,
    lock::{self, LockHolder, RunLock},
    own_program, probe,
    progress::{Saying, Sink},
    secret, synapse,
};

/// How many rounds of questions a look may take; each answers all that were
/// open, so even a long chain of "if so, then" ends far below.
const ROUNDS: usize = 20;
/// How long a guest that could not be spoken to is not tried again, unless something
/// was done about it.
const UNHEARD: Duration = Duration::from_secs(30);
/// From when on a look at somebody else's server asks nothing more.
const FROM_HERE: Duration = Duration::from_secs(60);

/// A machine and the guest on it.
pub struct World {
    site: Site,
    guest: RwLock<Option<Arc<Connection>>>,
    holder: RwLock<Option<LockHolder>>,
    own_lock: Mutex<Option<RunLock>>,
    loads: LoadLane,
    edge: Edge,
    /// What Proxmox answered since something was last changed there: each of
    /// its answers costs the start of a large program.
    proxmox: Mutex<BTreeMap<Question, Answer>>,
    /// What is known of the guest's images while nobody else can change them.
    images: Mutex<BTreeMap<Fact, Answer>>,
    root_password: Mutex<Option<String>>,
    /// Whether the container was seen to have no program that can be spoken to.
    mute: AtomicBool,
    /// Why the guest could not be spoken to, and when that was found out: to wait for
    /// it once is enough, however many questions there are.
    unheard: Mutex<Option<(Instant, Failure)>>,
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
    let deadline = Instant::now() + FROM_HERE;
    rounds(seen, look, |wanted, seen| {
        if Instant::now() >= deadline {
            // Whoever is asked may answer each question as slowly as it may be.
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

impl World {
    /// The world of `site`; nothing is opened yet.
    pub fn new(site: Site) -> Self {
        Self {
            edge: Edge::new(&site.config.edge),
            site,
            guest: RwLock::new(None),
            holder: RwLock::new(None),
            own_lock: Mutex::new(None),
            loads: LoadLane::default(),
            proxmox: Mutex::default(),
            images: Mutex::default(),
            root_password: Mutex::default(),
            mute: AtomicBool::new(false),
            unheard: Mutex::default(),
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
    fn doorway(&self) -> Result<Option<Doorway>, Failure> {
        Ok(match self.site.backend {
            Backend::ThisMachine => None,
            Backend::Lxc => Some(apply::lxc::doorway(self.site.config.guest.name.as_str())),
            Backend::Proxmox => Some(apply::proxmox::doorway(self.container()?.id)),
        })
    }

    /// The site's container of Proxmox's.
    pub fn container(&self) -> Result<Container, Failure> {
        let doing = "find this site's container";
        let (refused, hint) = match self.look(&mut Observed::default(), |seen| {
            resource::find_container(&self.site, seen).map(|place| match place {
                Place::Here { container, .. } => Ok(container),
                Place::Refused { why, hint } => Err((why, hint)),
                Place::Absent => Err(("there is none".to_owned(), "`matrix-podman up` makes it".to_owned())),
                Place::Unfinished { container } => Err((
                    format!("the creation of the container {} was cut off", container.id),
                    "`matrix-podman up` says what can be done".to_owned(),
                )),
            })
        })? {
            Ok(Ok(container)) => return Ok(container),
            Ok(Err(told)) => told,
            Err(Gap::Unknown(why)) => return Err(Failure::new(doing, why)),
            Err(Gap::NotAsked) => return Err(Failure::new(doing, "it was not looked for")),
        };
        Err(Failure::new(doing, refused).hint(hint))
    }

    /// Root's password in a container that is to be made, which somebody typed.
    pub fn give_root_password(&self, password: String) {
        if let Ok(mut slot) = self.root_password.lock() {
            *slot = Some(password);
        }
    }

    /// Guests of Proxmox's were changed in another way than by an effect.
    pub fn forget_guests(&self) {
        self.forget_proxmox(Question::is_about_guests);
    }

    /// What was heard of Proxmox and `stale` may no longer hold.
    fn forget_proxmox(&self, stale: impl Fn(&Question) -> bool) {
        let mut known = self.proxmox.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|question, _| !stale(question));
    }

    /// Asks Proxmox, unless the answer is known and still holds.
    fn ask_proxmox(&self, question: &Question) -> Answer {
        // Held while it is asked: whoever wants to know the same waits for it.
        let mut known = self.proxmox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(question) {
            return answer.clone();
        }
        let answer = probe::answer(&Fact::Proxmox(question.clone()));
        if matches!(answer, Answer::Known(_)) {
            known.insert(question.clone(), answer.clone());
        }
        answer
    }

    /// The connection to the guest; `None` when machine and guest are one.
    pub fn guest(&self) -> Result<Option<Arc<Connection>>, Failure> {
        if let Ok(open) = self.guest.read()
            && let Some(open) = open.as_ref()
        {
            return Ok(Some(Arc::clone(open)));
        }
        let Some(doorway) = self.doorway()? else { return Ok(None) };
        let mut slot = self.guest.write().map_err(|_| Failure::new("reach the guest", "a thread failed"))?;
        if slot.is_none() {
            self.goes_on("speak with the guest")?;
            if let Some(failure) = self.was_unheard() {
                return Err(failure);
            }
            let connection = Connection::open(&doorway).map_err(|failure| {
                let failure = self.explained(failure);
                self.note_unheard(&failure);
                failure
            })?;
            let holder = self.holder.read().map(|h| h.clone()).unwrap_or_default();
            if let Some(holder) = holder {
                connection.call(&Request::Lock(holder), &|_| {})?;
            }
            *slot = Some(Arc::new(connection));
        }
        Ok(slot.clone())
    }

    /// Why it could not be spoken to a moment ago.
    fn was_unheard(&self) -> Option<Failure> {
        let unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        unheard.as_ref().filter(|(when, _)| when.elapsed() < UNHEARD).map(|(_, failure)| failure.clone())
    }

    fn note_unheard(&self, failure: &Failure) {
        let mut unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        *unheard = Some((Instant::now(), failure.clone()));
    }

    /// Fails where the guest runs and something holds it: nothing in it would ever
    /// answer.
    fn goes_on(&self, doing: &str) -> Result<(), Failure> {
        match self.guest_state() {
            Ok(GuestState::Suspended { by, .. }) => Err(self.held(doing, by)),
            Ok(_) => Ok(()),
            Err(why) => Err(Failure::new(doing, why)),
        }
    }

    fn held(&self, doing: &str, by: Suspension) -> Failure {
        let name = self.site.config.guest.name.as_str();
        let lxc = match self.site.backend {
            Backend::Proxmox => self.container().map(|container| container.id.to_string()).ok(),
            Backend::Lxc | Backend::ThisMachine => None,
        };
        let fix = by.fix(lxc.as_deref().unwrap_or(name));
        Failure::new(doing, by.why(name)).hint(format!("`{fix}` lets it go on"))
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
            if let Ok(mut own) = self.own_lock.lock() {
                // One that an earlier piece of work of this run took is no other run's.
                own.take();
                self.forget_images();
                *own = Some(RunLock::take(&lock::file_here("guest"), holder, sink)?);
            }
            return Ok(());
        }
        if let Ok(mut slot) = self.holder.write() {
            *slot = Some(holder.clone());
        }
        if self.site.backend == Backend::Proxmox {
            // Somebody may have thought for a while before agreeing.
            self.forget_proxmox(Question::is_about_guests);
            self.forget_images();
            // One connection is a program of Perl's: the one that looked will do.
            if let Ok(open) = self.guest.read()
                && let Some(open) = open.as_ref()
            {
                return open.call(&Request::Lock(holder.clone()), sink);
            }
            return Ok(());
        }
        // Somebody else may have changed them until now.
        self.forget_images();
        if let Some(open) = self.open_connection() {
            let locked = open.call(&Request::Lock(holder.clone()), sink);
            // One that broke while somebody thought about the plan says nothing
            // about the guest as it is now.
            if locked.is_ok() || !open.is_cut() {
                return locked;
            }
        }
        self.hang_up();
        if let (Ok(Some(doorway)), Ok(GuestState::Running { .. })) = (self.doorway(), self.guest_state())
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
                // What says nothing would go on when this process is ended.
                let status = std::process::Command::new("setpriv")
                    .args(["--pdeathsig=TERM", "--"])
                    .args(&argv)
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
        let whole = match self.doorway()? {
            None => argv.to_vec(),
            Some(doorway) => match self.guest_state() {
                Ok(GuestState::Running { .. }) => doorway.argv(&words),
                Ok(GuestState::Suspended { by, .. }) => return Err(self.held(&doing(), by)),
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
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Ok(mut guest) = self.guest.write() {
            guest.take();
        }
    }

    /// The same, unless it is still of use; why it is not, is remembered for a moment.
    fn hang_up_if_lost(&self, failure: &Failure) {
        let Some(open) = self.open_connection().filter(|open| open.is_cut()) else { return };
        self.hang_up();
        // One that was cut may be had again at once; one that is silent not.
        if open.is_silent() {
            self.note_unheard(failure);
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
                Fact::Proxmox(question) => self.ask_proxmox(question),
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

    /// Whether this run holds the guest's lock.
    fn is_alone(&self) -> bool {
        self.holder.read().is_ok_and(|holder| holder.is_some())
            || self.own_lock.lock().is_ok_and(|lock| lock.is_some())
    }

    fn forget_images(&self) {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn ask_guest_anew(&self, facts: &[Fact]) -> Vec<Answer> {
        if facts.is_empty() {
            return Vec::new();
        }
        let all_unknown = |why: String| facts.iter().map(|_| Answer::Unknown(why.clone())).collect();
        if self.site.backend == Backend::ThisMachine {
            return probe::answer_all(facts);
        }
        // Whether a container of Proxmox's runs is dear to ask; one that is
        // spoken with does.
        if self.site.backend == Backend::Proxmox
            && let Some(open) = self.open_connection()
        {
            return open.observe(facts).unwrap_or_else(|failure| {
                self.hang_up();
                self.forget_proxmox(Question::is_about_guests);
                all_unknown(failure.to_string())
            });
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

    fn open_connection(&self) -> Option<Arc<Connection>> {
        self.guest.read().ok()?.clone()
    }

    fn guest_state(&self) -> Result<GuestState, String> {
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
            if self.mute.load(Ordering::SeqCst) {
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

    /// Does one act, on the side where it belongs.
    pub fn apply(&self, effect: &Effect, sink: &Sink) -> Result<(), Failure> {
        let done = self.carry_out(effect, sink);
        // Even what failed may have changed something.
        if effect.changes_images() {
            self.forget_images();
        }
        done
    }

    fn carry_out(&self, effect: &Effect, sink: &Sink) -> Result<(), Failure> {
        match effect {
            Effect::PushProgram { .. } => self.push_program(sink),
            Effect::CreateContainer(new) => self.create_container(new, sink),
            Effect::FetchTemplate { .. } => {
                let done = apply::apply(effect, sink);
                self.forget_proxmox(Question::is_about_templates);
                done
            }
            Effect::GrowDisk { container, volume, size } => {
                let inside = || self.file_system(volume);
                let done = apply::proxmox::grow(container, volume, *size, &inside, sink);
                self.forget_proxmox(Question::is_about_guests);
                done
            }
            Effect::SetContainer { .. }
            | Effect::SnapshotContainer { .. }
            | Effect::RemoveSnapshot { .. } => {
                let done = apply::apply(effect, sink);
                self.forget_proxmox(Question::is_about_guests);
                done
            }
            Effect::RollBackContainer { .. } => {
                self.hang_up();
                let done = apply::apply(effect, sink);
                self.forget_proxmox(Question::is_about_guests);
                done
            }
            Effect::StartContainer { .. } | Effect::RebootContainer { .. } => {
                self.hang_up();
                let done = apply::apply(effect, sink);
                self.forget_proxmox(Question::is_about_one_guest);
                done?;
                self.await_boot(sink)
            }
            Effect::InitDatabase { .. } | Effect::StartService { .. }
                if self.site.backend == Backend::Proxmox =>
            {
                // From here on it may hold data, and nothing removes it but `destroy`.
                let claim = layout::container_claim(self.site.config.site());
                file::remove(claim.as_str().as_ref())?;
                self.in_guest(effect, sink)
            }
            Effect::StartGuest { .. } | Effect::StopGuest { .. } => {
                self.hang_up();
                apply::apply(effect, sink)
            }
            Effect::ObtainImage { service, from, tag } => self.obtain(*service, from, tag, effect, sink),
            Effect::TakeSecret { secret, from } => {
                let mut file = secret::given(from.as_str().as_ref(), secret.title())?;
                match self.guest()? {
                    Some(guest) => guest.send(&Request::PutSecret(*secret), &mut file, None, sink),
                    None => secret::put(*secret, file),
                }
            }
            Effect::Edge(act) => self.edge.act(act, sink),
            effect if effect.side() == Side::Machine => apply::apply(effect, sink),
            effect => self.in_guest(effect, sink),
        }
    }

    /// A failure of something that was done on one side, with what a full disk has to
    /// do with it: as the system or a program said, or as is measured now.
    pub fn about_room(&self, failure: Failure, side: Side) -> Failure {
        let (whose, places) = match side {
            Side::Machine => ("this machine's", disk::places_on_machine()),
            Side::Guest => ("the guest's", disk::places_in_guest()),
            Side::Edge => return failure,
        };
        if failure.is_full_disk() {
            return failure.about_full_disk(whose);
        }
        let tight = self.look(&mut Observed::default(), |seen| {
            let rooms: Vec<_> = places.iter().map(|path| (path, seen.room(side, path))).collect();
            rooms
                .into_iter()
                .find_map(|(path, room)| Some((path.clone(), room.ok()??)).filter(|(_, r)| disk::is_full(*r)))
        });
        let Ok(Some((path, room))) = tight else { return failure };
        let room = format!("{whose} disk has hardly any room in {path} ({}): make room", disk::left(room));
        match failure.hint.clone() {
            Some(hint) => failure.hint(format!("{room}; {hint}")),
            None => failure.hint(room),
        }
    }

    /// Has the disks of both sides hold all that was done: only then is it done.
    pub fn flush(&self) -> Result<(), Failure> {
        apply::apply(&Effect::Flush { side: Side::Machine }, &|_| {})?;
        // Other guests' disks are this machine's. A program of another version, as after
        // a rollback, may not know how.
        match (self.site.backend, self.open_connection()) {
            (Backend::Proxmox, Some(guest)) if guest.digest == own_program::digest()? => {
                guest.apply(&Effect::Flush { side: Side::Guest }, &|_| {})
            }
            _ => Ok(()),
        }
    }

    /// The size of the file system on a disk of a container of Proxmox's, as the guest
    /// sees it: when the guest can be asked, and it is one that fills a disk of its own.
    fn file_system(&self, volume: &str) -> Option<Bytes> {
        let seen = self.look(&mut Observed::default(), |seen| resource::file_system_size(seen, volume));
        seen.ok()?.ok()?
    }

    fn in_guest(&self, effect: &Effect, sink: &Sink) -> Result<(), Failure> {
        match self.guest()? {
            Some(guest) => guest.apply(effect, sink),
            None => apply::apply(effect, sink),
        }
    }

    fn push_program(&self, sink: &Sink) -> Result<(), Failure> {
        self.hang_up();
        if self.site.backend == Backend::Proxmox {
            apply::proxmox::push(self.container()?.id, sink)?;
            self.mute.store(false, Ordering::SeqCst);
            self.guest()?;
            return self.await_boot(sink);
        }
        let Some(doorway) = self.doorway()? else { return Ok(()) };
        apply::program::push(&doorway)?;
        self.guest().map(drop)
    }

    fn create_container(&self, new: &NewContainer, sink: &Sink) -> Result<(), Failure> {
        let password = match &new.root_password {
            RootPassword::Locked => None,
            RootPassword::File(path) => Some(apply::proxmox::password_from(path.as_str())?),
            RootPassword::Ask => match self.root_password.lock().map(|slot| slot.clone()) {
                Ok(Some(password)) => Some(password),
                _ => {
                    return Err(Failure::new("create the container", "root's password was not asked for")
                        .hint(
                            "run `matrix-podman up` on a terminal, or name a file with proxmox.root_password",
                        ));
                }
            },
        };
        let done = apply::proxmox::create(new, password.as_deref(), sink);
        self.forget_proxmox(Question::is_about_guests);
        done
    }

    /// Waits until the guest has booted, if the program in it can be spoken to;
    /// where it cannot yet, that comes when it is put there.
    fn await_boot(&self, sink: &Sink) -> Result<(), Failure> {
        match self.guest() {
            Ok(Some(guest)) if guest.digest == own_program::digest()? => {
                guest.apply(&Effect::AwaitBoot, sink)
            }
            Ok(_) => Ok(()),
            Err(_) => {
                // Asking once more would be a program of Perl's more.
                self.mute.store(true, Ordering::SeqCst);
                Ok(())
            }
        }
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
            None => apply::image::load(tag, Box::new(file), sink),
        }
    }
}
