//! The two sides of a site, as one thing to ask and to act on.

mod act;
mod keeper;
mod look;
pub(crate) mod stream;

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt as _,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use matrix_podman_core::{
    fact::{Fact, GuestState, Suspension},
    observed::Answer,
    people,
    resource::Site,
};

use keeper::Keeper;
pub use keeper::Ownership;
pub use look::look_from_here;
pub(crate) use look::see;

use crate::{
    edge::{AskPerson, Edge},
    failure::{Doing, Failure},
    guest::{Connection, Doorway, wire::Request},
    lane::LoadLane,
    lock::LockHolder,
    progress::Sink,
    synapse,
};

/// How long a guest that could not be spoken to is not tried again, unless something
/// was done about it.
const UNHEARD: Duration = Duration::from_secs(30);

/// A machine and the guest on it.
pub struct World {
    site: Site,
    keeper: Box<dyn Keeper>,
    guest: RwLock<Option<Arc<Connection>>>,
    holder: RwLock<Option<LockHolder>>,
    loads: LoadLane,
    edge: Edge,
    /// What is known of the guest's images while nobody else can change them.
    images: Mutex<BTreeMap<Fact, Answer>>,
    /// Why the guest could not be spoken to, and when that was found out: to wait for
    /// it once is enough, however many questions there are.
    unheard: Mutex<Option<(Instant, Failure)>>,
}

impl World {
    /// The world of `site`; nothing is opened yet.
    pub fn new(site: Site) -> Self {
        Self {
            edge: Edge::new(&site.config.edge),
            keeper: keeper::of(site.backend.id()),
            site,
            guest: RwLock::new(None),
            holder: RwLock::new(None),
            loads: LoadLane::default(),
            images: Mutex::default(),
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
        self.keeper.doorway(self)
    }

    /// Root's password in a container that is to be made, which somebody typed.
    pub fn give_root_password(&self, password: String) {
        self.keeper.give_root_password(password);
    }

    /// Proxmox guests were changed in another way than by an effect.
    pub fn forget_guests(&self) {
        self.keeper.forget_guests();
    }

    /// Whether the guest is there, and whose it is.
    pub fn ownership(&self) -> Result<Ownership, Failure> {
        self.keeper.ownership(self)
    }

    /// What of the guest is lost with the site, in words.
    pub(crate) fn guest_losses(&self) -> String {
        self.keeper.losses(self)
    }

    /// Whether the guest shows that its removal was cut off.
    pub(crate) fn is_guest_half_removed(&self) -> bool {
        self.keeper.is_half_removed(&self.site.config)
    }

    /// Removes the guest, or the stack where there is none.
    pub(crate) fn remove_guest(&self, sink: &Sink) -> Result<(), Failure> {
        self.keeper.remove(self, sink)
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
        let fix = by.fix(&self.keeper.name_in_lxc(self));
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
        self.keeper.hold(self, holder, sink)
    }

    /// Which run every connection that is opened locks the guest for.
    fn note_holder(&self, holder: Option<&LockHolder>) {
        if let Ok(mut slot) = self.holder.write() {
            *slot = holder.cloned();
        }
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

    /// Whether this run holds the guest's lock.
    fn is_alone(&self) -> bool {
        self.holder.read().is_ok_and(|holder| holder.is_some())
    }

    fn forget_images(&self) {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn open_connection(&self) -> Option<Arc<Connection>> {
        self.guest.read().ok()?.clone()
    }
}
