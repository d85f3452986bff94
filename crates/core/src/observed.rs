//! All answers of a run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    edge::{Question, Refusal, RefusalKind, Reply},
    fact::{
        Clock, ContainerState, Contents, Database, Edition, Fact, FileState, GuestDisk, GuestProgram,
        GuestRoot, GuestState, HttpAnswer, HttpQuestion, ImageState, InsideSynapse, Link, MachineInfo,
        Memory, Mounts, NameAddresses, Neighbour, Newest, PublicKey, Ran, RelayTried, Roles, Room, Side,
        Spare, SrvRecord, StoredImage, Timer, Trial, Tried, UnitState, Value,
    },
    frame::HeldRequests,
    name::AbsPath,
    proxmox,
    schema::Schema,
};

pub use crate::frame::{Gap, Seen};

/// An answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// What was found.
    Known(Value),
    /// Why nothing could be found out; reads after "… is not known: ".
    Unknown(String),
}

/// What is known of the world. Asking it for what nobody has asked yet is how
/// a resource says what it wants to know (see [`crate::resource::Resource`]).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    answers: BTreeMap<(Side, Fact), Answer>,
    wanted: std::cell::RefCell<BTreeSet<(Side, Fact)>>,
}

impl Observed {
    /// Adds an answer.
    pub fn insert(&mut self, side: Side, fact: Fact, answer: Answer) {
        self.answers.insert((side, fact), answer);
    }

    /// The questions that were put to this and that it could not answer.
    pub fn take_wanted(&self) -> BTreeSet<(Side, Fact)> {
        std::mem::take(&mut *self.wanted.borrow_mut())
    }

    fn get(&self, side: Side, fact: Fact) -> Seen<&Value> {
        let key = (side, fact);
        match self.answers.get(&key) {
            Some(Answer::Known(value)) => Ok(value),
            Some(Answer::Unknown(why)) => Err(Gap::Unknown(why.clone())),
            None => {
                self.wanted.borrow_mut().insert(key);
                Err(Gap::NotAsked)
            }
        }
    }

    /// What is at `path`, with the content.
    pub fn file(&self, side: Side, path: &AbsPath) -> Seen<Option<&FileState>> {
        match self.get(side, Fact::File(path.clone()))? {
            Value::File(state) => Ok(state.as_ref()),
            other => Err(mismatch(other)),
        }
    }

    /// What is at `path`, never its content.
    pub fn meta(&self, side: Side, path: &AbsPath) -> Seen<Option<&FileState>> {
        match self.get(side, Fact::Meta(path.clone()))? {
            Value::File(state) => Ok(state.as_ref()),
            other => Err(mismatch(other)),
        }
    }

    /// What a path leads to in the end, links followed.
    pub fn target(&self, side: Side, path: &AbsPath) -> Seen<Option<&FileState>> {
        match self.get(side, Fact::Target(path.clone()))? {
            Value::File(state) => Ok(state.as_ref()),
            other => Err(mismatch(other)),
        }
    }

    /// Which edition of the file at `path` is there.
    pub fn edition(&self, side: Side, path: &AbsPath) -> Seen<Option<Edition>> {
        match self.get(side, Fact::Edition(path.clone()))? {
            Value::Edition(edition) => Ok(*edition),
            other => Err(mismatch(other)),
        }
    }

    /// Those of `names` that are installed.
    pub fn packages<'a>(
        &self,
        side: Side,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Seen<&BTreeMap<String, String>> {
        self.found(side, Fact::Packages(names.into_iter().map(str::to_owned).collect()))
    }

    /// Those of `names` that are commands in `PATH`.
    pub fn commands<'a>(
        &self,
        side: Side,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Seen<&BTreeMap<String, String>> {
        self.found(side, Fact::Commands(names.into_iter().map(str::to_owned).collect()))
    }

    fn found(&self, side: Side, fact: Fact) -> Seen<&BTreeMap<String, String>> {
        match self.get(side, fact)? {
            Value::Found(found) => Ok(found),
            other => Err(mismatch(other)),
        }
    }

    /// The state of `units`.
    pub fn units<'a>(
        &self,
        side: Side,
        units: impl IntoIterator<Item = &'a str>,
    ) -> Seen<&BTreeMap<String, UnitState>> {
        match self.get(side, Fact::Units(units.into_iter().map(str::to_owned).collect()))? {
            Value::Units(units) => Ok(units),
            other => Err(mismatch(other)),
        }
    }

    /// The container called `name` in the guest.
    pub fn container(&self, name: &str) -> Seen<Option<&ContainerState>> {
        match self.get(Side::Guest, Fact::Containers)? {
            Value::Containers(all) => Ok(all.iter().find(|c| c.name == name)),
            other => Err(mismatch(other)),
        }
    }

    /// The image called `name` in the guest; `among` are all that are asked
    /// for together.
    pub fn image<'a>(
        &self,
        name: &str,
        among: impl IntoIterator<Item = &'a str>,
    ) -> Seen<Option<&ImageState>> {
        match self.get(Side::Guest, Fact::Images(among.into_iter().map(str::to_owned).collect()))? {
            Value::Images(images) => Ok(images.get(name)),
            other => Err(mismatch(other)),
        }
    }

    /// What the machine or the guest is.
    pub fn system(&self, side: Side) -> Seen<&MachineInfo> {
        match self.get(side, Fact::System)? {
            Value::System(info) => Ok(info),
            other => Err(mismatch(other)),
        }
    }

    /// The LXC container called `name`.
    pub fn lxc(&self, name: &str) -> Seen<&GuestState> {
        match self.get(Side::Machine, Fact::LxcGuest(name.to_owned()))? {
            Value::LxcGuest(state) => Ok(state),
            other => Err(mismatch(other)),
        }
    }

    /// What the root file system of the LXC container `name` looks like, which does
    /// not run.
    pub fn guest_root(&self, name: &str) -> Seen<GuestRoot> {
        match self.get(Side::Machine, Fact::GuestRoot(name.to_owned()))? {
            Value::GuestRoot(root) => Ok(*root),
            other => Err(mismatch(other)),
        }
    }

    /// The disk of the LXC container `name`, where it has one of its own.
    pub fn guest_disk(&self, name: &str) -> Seen<Option<GuestDisk>> {
        match self.get(Side::Machine, Fact::GuestDisk(name.to_owned()))? {
            Value::GuestDisk(disk) => Ok(*disk),
            other => Err(mismatch(other)),
        }
    }

    /// All LXC containers on the machine.
    pub fn neighbours(&self) -> Seen<&[Neighbour]> {
        match self.get(Side::Machine, Fact::LxcNeighbours)? {
            Value::Neighbours(all) => Ok(all),
            other => Err(mismatch(other)),
        }
    }

    /// The machine's own address on an interface.
    pub fn interface(&self, name: &str) -> Seen<Option<std::net::Ipv4Addr>> {
        match self.get(Side::Machine, Fact::Interface(name.to_owned()))? {
            Value::Address(address) => Ok(*address),
            other => Err(mismatch(other)),
        }
    }

    /// An interface of the guest with all its addresses.
    pub fn link(&self, name: &str) -> Seen<Option<&Link>> {
        match self.get(Side::Guest, Fact::Link(name.to_owned()))? {
            Value::Link(link) => Ok(link.as_ref()),
            other => Err(mismatch(other)),
        }
    }

    /// The comments of the rules in a table of nftables.
    pub fn rules(&self, side: Side, table: &str) -> Seen<&[String]> {
        self.lines_of(side, Fact::Rules(table.to_owned()))
    }

    /// The interfaces that packets leave the machine by: to the world, and to
    /// `addresses`.
    pub fn ways(&self, addresses: impl IntoIterator<Item = std::net::Ipv4Addr>) -> Seen<&[String]> {
        self.lines_of(Side::Machine, Fact::Ways(addresses.into_iter().collect()))
    }

    /// Those of `ports` that somebody listens on.
    pub fn taken_ports(&self, side: Side, ports: impl IntoIterator<Item = u16>) -> Seen<&BTreeSet<u16>> {
        match self.get(side, Fact::TakenPorts(ports.into_iter().collect()))? {
            Value::Ports(ports) => Ok(ports),
            other => Err(mismatch(other)),
        }
    }

    /// Those of the UDP `ports` that somebody waits for packets at.
    pub fn taken_udp_ports(&self, side: Side, ports: impl IntoIterator<Item = u16>) -> Seen<&BTreeSet<u16>> {
        match self.get(side, Fact::TakenUdpPorts(ports.into_iter().collect()))? {
            Value::Ports(ports) => Ok(ports),
            other => Err(mismatch(other)),
        }
    }

    /// What an API of the edge answers, or why it refuses. An API in trouble
    /// has not answered.
    pub fn edge<T: serde::de::DeserializeOwned>(&self, question: Question) -> Seen<Result<T, Refusal>> {
        let subject = question.subject();
        match self.get(Side::Edge, Fact::Edge(question))? {
            Value::Edge(reply) => match reply.as_ref() {
                Reply::Found { body, .. } => T::deserialize(body)
                    .map(Ok)
                    .map_err(|e| Gap::Unknown(format!("{subject}: the answer has an unexpected form: {e}"))),
                Reply::Refused(refusal) if refusal.kind == RefusalKind::Trouble => {
                    Err(Gap::Unknown(refusal.why.clone()))
                }
                Reply::Refused(refusal) => Ok(Err(refusal.clone())),
            },
            other => Err(mismatch(other)),
        }
    }

    /// What Proxmox answers.
    pub fn proxmox(&self, question: proxmox::Question) -> Seen<&proxmox::Answer> {
        match self.get(Side::Machine, Fact::Proxmox(question))? {
            Value::Proxmox(answer) => Ok(answer),
            other => Err(mismatch(other)),
        }
    }

    /// What answers a request.
    pub fn http(&self, side: Side, question: &HttpQuestion) -> Seen<&HttpAnswer> {
        match self.get(side, Fact::Http(Box::new(question.clone())))? {
            Value::Http(answer) => Ok(answer),
            other => Err(mismatch(other)),
        }
    }

    /// When `question` was answered, in UTC; empty when it was refused.
    pub fn edge_answered_at(&self, question: Question) -> Seen<String> {
        match self.get(Side::Edge, Fact::Edge(question))? {
            Value::Edge(reply) => Ok(match reply.as_ref() {
                Reply::Found { at, .. } => at.clone(),
                Reply::Refused(_) => String::new(),
            }),
            other => Err(mismatch(other)),
        }
    }

    /// The last lines of a unit's log in the guest.
    pub fn journal(&self, unit: &str) -> Seen<&[String]> {
        self.lines(Fact::Journal(unit.to_owned()))
    }

    /// The answer of lines to a question about the guest.
    pub fn lines(&self, fact: Fact) -> Seen<&[String]> {
        self.lines_of(Side::Guest, fact)
    }

    fn lines_of(&self, side: Side, fact: Fact) -> Seen<&[String]> {
        match self.get(side, fact)? {
            Value::Lines(lines) => Ok(lines),
            other => Err(mismatch(other)),
        }
    }

    /// The addresses of a name.
    pub fn addresses(&self, side: Side, name: &str) -> Seen<&NameAddresses> {
        match self.get(side, Fact::Addresses(name.to_owned()))? {
            Value::Addresses(found) => Ok(found),
            other => Err(mismatch(other)),
        }
    }

    /// The answer of one text to a question about the guest.
    pub fn text(&self, fact: Fact) -> Seen<&str> {
        match self.get(Side::Guest, fact)? {
            Value::Text(text) => Ok(text),
            other => Err(mismatch(other)),
        }
    }

    /// The SRV records of a name.
    pub fn srv(&self, side: Side, name: &str) -> Seen<&[SrvRecord]> {
        match self.get(side, Fact::Srv(name.to_owned()))? {
            Value::Srv(found) => Ok(found),
            other => Err(mismatch(other)),
        }
    }

    /// Room on the file system of `path`, where there is such a path.
    pub fn room(&self, side: Side, path: &AbsPath) -> Seen<Option<Room>> {
        match self.get(side, Fact::Room(path.clone()))? {
            Value::Room(room) => Ok(*room),
            other => Err(mismatch(other)),
        }
    }

    /// The names of the folders where PostgreSQL's clusters are, in the guest.
    pub fn clusters(&self) -> Seen<&[String]> {
        self.lines(Fact::Clusters)
    }

    /// What PostgreSQL says of Synapse's database.
    pub fn database(&self) -> Seen<&Database> {
        match self.get(Side::Guest, Fact::Database)? {
            Value::Database(database) => Ok(database),
            other => Err(mismatch(other)),
        }
    }

    /// What Synapse's role in PostgreSQL is and has, or why PostgreSQL does not say it.
    pub fn roles(&self) -> Seen<Result<&Roles, &str>> {
        match self.get(Side::Guest, Fact::Roles)? {
            Value::Roles(roles) => Ok(roles.as_ref().map_err(String::as_str)),
            other => Err(mismatch(other)),
        }
    }

    /// The guest's clock beside the newest of `files` there.
    pub fn newest(&self, files: impl IntoIterator<Item = AbsPath>) -> Seen<&Newest> {
        match self.get(Side::Guest, Fact::Newest(files.into_iter().collect()))? {
            Value::Newest(clock) => Ok(clock),
            other => Err(mismatch(other)),
        }
    }

    /// What is seen from inside Synapse's container.
    pub fn inside_synapse(&self) -> Seen<&InsideSynapse> {
        match self.get(Side::Guest, Fact::InsideSynapse)? {
            Value::InsideSynapse(inside) => Ok(inside),
            other => Err(mismatch(other)),
        }
    }

    /// The schema of the Synapse in an image, where it says it.
    pub fn image_schema(&self, image: &str) -> Seen<Option<Schema>> {
        match self.get(Side::Guest, Fact::ImageSchema(image.to_owned()))? {
            Value::ImageSchema(schema) => Ok(*schema),
            other => Err(mismatch(other)),
        }
    }

    /// How many processes of the LXC container `name` were killed for lack of
    /// memory, where that is counted.
    pub fn oom_kills(&self, name: &str) -> Seen<Option<u64>> {
        match self.get(Side::Machine, Fact::OomKills(name.to_owned()))? {
            Value::Count(count) => Ok(*count),
            other => Err(mismatch(other)),
        }
    }

    /// Which requests are held on purpose.
    pub fn held_requests(&self) -> Seen<&[HeldRequests]> {
        match self.get(Side::Guest, Fact::HeldRequests)? {
            Value::HeldRequests(held) => Ok(held),
            other => Err(mismatch(other)),
        }
    }

    /// The time on one side.
    pub fn clock(&self, side: Side) -> Seen<&Clock> {
        match self.get(side, Fact::Clock)? {
            Value::Clock(clock) => Ok(clock),
            other => Err(mismatch(other)),
        }
    }

    /// How a trial container fared.
    pub fn canary(&self, image: &str, networks: &[&str], name: &str) -> Seen<&Ran> {
        let networks = networks.iter().map(|n| (*n).to_owned()).collect();
        let fact = Fact::Canary { image: image.to_owned(), networks, name: name.to_owned() };
        match self.get(Side::Guest, fact)? {
            Value::Ran(trial) => Ok(trial),
            other => Err(mismatch(other)),
        }
    }

    /// The public half of the signing key in the guest.
    pub fn signing_key(&self) -> Seen<Option<&PublicKey>> {
        match self.get(Side::Guest, Fact::SigningKey)? {
            Value::SigningKey(key) => Ok(key.as_ref()),
            other => Err(mismatch(other)),
        }
    }

    /// Whether a container that runs finds `name`.
    pub fn lookup(&self, container: &str, name: &str) -> Seen<&Ran> {
        match self
            .get(Side::Guest, Fact::Lookup { container: container.to_owned(), name: name.to_owned() })?
        {
            Value::Ran(trial) => Ok(trial),
            other => Err(mismatch(other)),
        }
    }

    /// What came of relaying a packet through the TURN server.
    pub fn relayed(&self) -> Seen<&RelayTried> {
        match self.get(Side::Guest, Fact::Relay)? {
            Value::Relay(tried) => Ok(tried),
            other => Err(mismatch(other)),
        }
    }

    /// What a logged-in user finds.
    pub fn tried(&self, trial: &Trial) -> Seen<&Tried> {
        match self.get(Side::Guest, Fact::Trial(trial.clone()))? {
            Value::Tried(tried) => Ok(tried),
            other => Err(mismatch(other)),
        }
    }

    /// What is inside the container `name`, if it is there.
    pub fn mounts(&self, name: &str) -> Seen<Option<&Mounts>> {
        match self.get(Side::Guest, Fact::Mounts(name.to_owned()))? {
            Value::Mounts(inside) => Ok(inside.as_ref()),
            other => Err(mismatch(other)),
        }
    }

    /// Which programs in the guest listen on which ports.
    pub fn listeners(&self) -> Seen<&BTreeMap<u16, String>> {
        match self.get(Side::Guest, Fact::Listeners)? {
            Value::Listeners(all) => Ok(all),
            other => Err(mismatch(other)),
        }
    }

    /// What is on the server.
    pub fn contents(&self) -> Seen<Contents> {
        match self.get(Side::Guest, Fact::Contents)? {
            Value::Contents(contents) => Ok(*contents),
            other => Err(mismatch(other)),
        }
    }

    /// What programs in the guest hold of memory, `units` by themselves too.
    pub fn memory(&self, units: impl IntoIterator<Item = String>) -> Seen<&Memory> {
        match self.get(Side::Guest, Fact::Memory(units.into_iter().collect()))? {
            Value::Memory(memory) => Ok(memory),
            other => Err(mismatch(other)),
        }
    }

    /// The images that Podman has.
    pub fn stored_images(&self) -> Seen<&[StoredImage]> {
        match self.get(Side::Guest, Fact::StoredImages)? {
            Value::StoredImages(images) => Ok(images),
            other => Err(mismatch(other)),
        }
    }

    /// The files in a folder of the guest, with their sizes.
    pub fn files(&self, folder: &AbsPath) -> Seen<&[(String, u64)]> {
        match self.get(Side::Guest, Fact::Files(folder.clone()))? {
            Value::Files(files) => Ok(files),
            other => Err(mismatch(other)),
        }
    }

    /// What folders take on the disk, in bytes, by their paths.
    pub fn folder_sizes(&self, folders: impl IntoIterator<Item = AbsPath>) -> Seen<&[(String, u64)]> {
        match self.get(Side::Guest, Fact::FolderSizes(folders.into_iter().collect()))? {
            Value::Files(sizes) => Ok(sizes),
            other => Err(mismatch(other)),
        }
    }

    /// What database and media store keep beside what serves.
    pub fn spare(&self, media_before: Option<u64>) -> Seen<&Spare> {
        match self.get(Side::Guest, Fact::Spare { media_before })? {
            Value::Spare(spare) => Ok(spare),
            other => Err(mismatch(other)),
        }
    }

    /// What systemd's timers on one side start next.
    pub fn timers(&self, side: Side) -> Seen<&BTreeMap<String, Timer>> {
        match self.get(side, Fact::Timers)? {
            Value::Timers(timers) => Ok(timers),
            other => Err(mismatch(other)),
        }
    }

    /// Whether a name server answers the guest anything.
    pub fn name_server(&self, address: std::net::Ipv4Addr) -> Seen<bool> {
        self.yes(Side::Guest, Fact::NameServer(address))
    }

    /// Which program is in the guest.
    pub fn guest_program(&self) -> Seen<&GuestProgram> {
        match self.get(Side::Machine, Fact::GuestProgram)? {
            Value::GuestProgram(program) => Ok(program),
            other => Err(mismatch(other)),
        }
    }

    /// The answer to a question of yes or no.
    pub fn yes(&self, side: Side, fact: Fact) -> Seen<bool> {
        match self.get(side, fact)? {
            Value::Yes(yes) => Ok(*yes),
            other => Err(mismatch(other)),
        }
    }
}

/// An answer of the wrong kind: a probe of another version gave it.
fn mismatch(value: &Value) -> Gap {
    Gap::Unknown(format!("the answer has an unexpected form: {value:?}"))
}
