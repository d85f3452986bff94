//! All answers of a run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    edge::{Question, Refusal, RefusalKind, Reply},
    fact::{
        Clock, ContainerState, Contents, Database, Edition, Fact, FileState, GuestDisk, GuestProgram,
        GuestRoot, GuestState, HttpAnswer, HttpQuestion, ImageState, InsideSynapse, Link, MachineInfo,
        Memory, Mounts, NameAddresses, Neighbour, Newest, PublicKey, Ran, RelayTried, Roles, Room, Side,
        Spare, SrvRecord, StoredImage, Timer, Trial, Tried, UnitState, Value, ValueKind,
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

    /// The answer to a question, of the type that is wanted. One of another type came from another
    /// version's probe.
    fn get<T: ValueKind>(&self, side: Side, fact: Fact) -> Seen<&T> {
        let key = (side, fact);
        match self.answers.get(&key) {
            Some(Answer::Known(value)) => T::of(value)
                .ok_or_else(|| Gap::Unknown(format!("the answer has an unexpected form: {value:?}"))),
            Some(Answer::Unknown(why)) => Err(Gap::Unknown(why.clone())),
            None => {
                self.wanted.borrow_mut().insert(key);
                Err(Gap::NotAsked)
            }
        }
    }

    /// What is at `path`, with the content.
    pub fn file(&self, side: Side, path: &AbsPath) -> Seen<Option<&FileState>> {
        self.get(side, Fact::File(path.clone())).map(Option::as_ref)
    }

    /// What is at `path`, never its content.
    pub fn meta(&self, side: Side, path: &AbsPath) -> Seen<Option<&FileState>> {
        self.get(side, Fact::Meta(path.clone())).map(Option::as_ref)
    }

    /// What a path leads to in the end, links followed.
    pub fn target(&self, side: Side, path: &AbsPath) -> Seen<Option<&FileState>> {
        self.get(side, Fact::Target(path.clone())).map(Option::as_ref)
    }

    /// Which edition of the file at `path` is there.
    pub fn edition(&self, side: Side, path: &AbsPath) -> Seen<Option<Edition>> {
        self.get(side, Fact::Edition(path.clone())).copied()
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
        self.get(side, fact)
    }

    /// The state of `units`.
    pub fn units<'a>(
        &self,
        side: Side,
        units: impl IntoIterator<Item = &'a str>,
    ) -> Seen<&BTreeMap<String, UnitState>> {
        self.get(side, Fact::Units(units.into_iter().map(str::to_owned).collect()))
    }

    /// The container called `name` in the guest.
    pub fn container(&self, name: &str) -> Seen<Option<&ContainerState>> {
        let all: &Vec<ContainerState> = self.get(Side::Guest, Fact::Containers)?;
        Ok(all.iter().find(|c| c.name == name))
    }

    /// The image called `name` in the guest; `among` are all that are asked
    /// for together.
    pub fn image<'a>(
        &self,
        name: &str,
        among: impl IntoIterator<Item = &'a str>,
    ) -> Seen<Option<&ImageState>> {
        let all: &BTreeMap<String, ImageState> =
            self.get(Side::Guest, Fact::Images(among.into_iter().map(str::to_owned).collect()))?;
        Ok(all.get(name))
    }

    /// What the machine or the guest is.
    pub fn system(&self, side: Side) -> Seen<&MachineInfo> {
        self.get(side, Fact::System).map(Box::as_ref)
    }

    /// The LXC container called `name`.
    pub fn lxc(&self, name: &str) -> Seen<&GuestState> {
        self.get(Side::Machine, Fact::LxcGuest(name.to_owned()))
    }

    /// What the root file system of the LXC container `name` looks like, which does
    /// not run.
    pub fn guest_root(&self, name: &str) -> Seen<GuestRoot> {
        self.get(Side::Machine, Fact::GuestRoot(name.to_owned())).copied()
    }

    /// The disk of the LXC container `name`, where it has one of its own.
    pub fn guest_disk(&self, name: &str) -> Seen<Option<GuestDisk>> {
        self.get(Side::Machine, Fact::GuestDisk(name.to_owned())).copied()
    }

    /// All LXC containers on the machine.
    pub fn neighbours(&self) -> Seen<&[Neighbour]> {
        self.get(Side::Machine, Fact::LxcNeighbours).map(Vec::as_slice)
    }

    /// The machine's own address on an interface.
    pub fn interface(&self, name: &str) -> Seen<Option<std::net::Ipv4Addr>> {
        self.get(Side::Machine, Fact::Interface(name.to_owned())).copied()
    }

    /// An interface of the guest with all its addresses.
    pub fn link(&self, name: &str) -> Seen<Option<&Link>> {
        self.get(Side::Guest, Fact::Link(name.to_owned())).map(Option::as_ref)
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
        self.get(side, Fact::TakenPorts(ports.into_iter().collect()))
    }

    /// Those of the UDP `ports` that somebody waits for packets at.
    pub fn taken_udp_ports(&self, side: Side, ports: impl IntoIterator<Item = u16>) -> Seen<&BTreeSet<u16>> {
        self.get(side, Fact::TakenUdpPorts(ports.into_iter().collect()))
    }

    /// What an API of the edge answers, or why it refuses. An API in trouble
    /// has not answered.
    pub fn edge<T: serde::de::DeserializeOwned>(&self, question: Question) -> Seen<Result<T, Refusal>> {
        let subject = question.subject();
        match self.get(Side::Edge, Fact::Edge(question)).map(Box::as_ref)? {
            Reply::Found { body, .. } => T::deserialize(body)
                .map(Ok)
                .map_err(|e| Gap::Unknown(format!("{subject}: the answer has an unexpected form: {e}"))),
            Reply::Refused(refusal) if refusal.kind == RefusalKind::Trouble => {
                Err(Gap::Unknown(refusal.why.clone()))
            }
            Reply::Refused(refusal) => Ok(Err(refusal.clone())),
        }
    }

    /// What Proxmox answers.
    pub fn proxmox(&self, question: proxmox::Question) -> Seen<&proxmox::Answer> {
        self.get(Side::Machine, Fact::Proxmox(question)).map(Box::as_ref)
    }

    /// What answers a request.
    pub fn http(&self, side: Side, question: &HttpQuestion) -> Seen<&HttpAnswer> {
        self.get(side, Fact::Http(Box::new(question.clone()))).map(Box::as_ref)
    }

    /// When `question` was answered, in UTC; empty when it was refused.
    pub fn edge_answered_at(&self, question: Question) -> Seen<String> {
        Ok(match self.get(Side::Edge, Fact::Edge(question)).map(Box::as_ref)? {
            Reply::Found { at, .. } => at.clone(),
            Reply::Refused(_) => String::new(),
        })
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
        self.get(side, fact).map(Vec::as_slice)
    }

    /// The addresses of a name.
    pub fn addresses(&self, side: Side, name: &str) -> Seen<&NameAddresses> {
        self.get(side, Fact::Addresses(name.to_owned()))
    }

    /// The answer of one text to a question about the guest.
    pub fn text(&self, fact: Fact) -> Seen<&str> {
        self.get(Side::Guest, fact).map(String::as_str)
    }

    /// The SRV records of a name.
    pub fn srv(&self, side: Side, name: &str) -> Seen<&[SrvRecord]> {
        self.get(side, Fact::Srv(name.to_owned())).map(Vec::as_slice)
    }

    /// Room on the file system of `path`, where there is such a path.
    pub fn room(&self, side: Side, path: &AbsPath) -> Seen<Option<Room>> {
        self.get(side, Fact::Room(path.clone())).copied()
    }

    /// The names of the folders where PostgreSQL's clusters are, in the guest.
    pub fn clusters(&self) -> Seen<&[String]> {
        self.lines(Fact::Clusters)
    }

    /// What PostgreSQL says of Synapse's database.
    pub fn database(&self) -> Seen<&Database> {
        self.get(Side::Guest, Fact::Database).map(Box::as_ref)
    }

    /// What Synapse's role in PostgreSQL is and has, or why PostgreSQL does not say it.
    pub fn roles(&self) -> Seen<Result<&Roles, &str>> {
        let roles: &Result<Roles, String> = self.get(Side::Guest, Fact::Roles)?;
        Ok(roles.as_ref().map_err(String::as_str))
    }

    /// The guest's clock beside the newest of `files` there.
    pub fn newest(&self, files: impl IntoIterator<Item = AbsPath>) -> Seen<&Newest> {
        self.get(Side::Guest, Fact::Newest(files.into_iter().collect()))
    }

    /// What is seen from inside Synapse's container.
    pub fn inside_synapse(&self) -> Seen<&InsideSynapse> {
        self.get(Side::Guest, Fact::InsideSynapse)
    }

    /// The schema of the Synapse in an image, where it says it.
    pub fn image_schema(&self, image: &str) -> Seen<Option<Schema>> {
        self.get(Side::Guest, Fact::ImageSchema(image.to_owned())).copied()
    }

    /// How many processes of the LXC container `name` were killed for lack of
    /// memory, where that is counted.
    pub fn oom_kills(&self, name: &str) -> Seen<Option<u64>> {
        self.get(Side::Machine, Fact::OomKills(name.to_owned())).copied()
    }

    /// Which requests are held on purpose.
    pub fn held_requests(&self) -> Seen<&[HeldRequests]> {
        self.get(Side::Guest, Fact::HeldRequests).map(Vec::as_slice)
    }

    /// The time on one side.
    pub fn clock(&self, side: Side) -> Seen<&Clock> {
        self.get(side, Fact::Clock)
    }

    /// How a trial container fared.
    pub fn canary(&self, image: &str, networks: &[&str], name: &str) -> Seen<&Ran> {
        let networks = networks.iter().map(|n| (*n).to_owned()).collect();
        let fact = Fact::Canary { image: image.to_owned(), networks, name: name.to_owned() };
        self.get(Side::Guest, fact)
    }

    /// The public half of the signing key in the guest.
    pub fn signing_key(&self) -> Seen<Option<&PublicKey>> {
        self.get(Side::Guest, Fact::SigningKey).map(Option::as_ref)
    }

    /// Whether a container that runs finds `name`.
    pub fn lookup(&self, container: &str, name: &str) -> Seen<&Ran> {
        self.get(Side::Guest, Fact::Lookup { container: container.to_owned(), name: name.to_owned() })
    }

    /// What came of relaying a packet through the TURN server.
    pub fn relayed(&self) -> Seen<&RelayTried> {
        self.get(Side::Guest, Fact::Relay)
    }

    /// What a logged-in user finds.
    pub fn tried(&self, trial: &Trial) -> Seen<&Tried> {
        self.get(Side::Guest, Fact::Trial(trial.clone()))
    }

    /// What is inside the container `name`, if it is there.
    pub fn mounts(&self, name: &str) -> Seen<Option<&Mounts>> {
        self.get(Side::Guest, Fact::Mounts(name.to_owned())).map(Option::as_ref)
    }

    /// Which programs in the guest listen on which ports.
    pub fn listeners(&self) -> Seen<&BTreeMap<u16, String>> {
        self.get(Side::Guest, Fact::Listeners)
    }

    /// What is on the server.
    pub fn contents(&self) -> Seen<Contents> {
        self.get(Side::Guest, Fact::Contents).copied()
    }

    /// What programs in the guest hold of memory, `units` by themselves too.
    pub fn memory(&self, units: impl IntoIterator<Item = String>) -> Seen<&Memory> {
        self.get(Side::Guest, Fact::Memory(units.into_iter().collect()))
    }

    /// The images that Podman has.
    pub fn stored_images(&self) -> Seen<&[StoredImage]> {
        self.get(Side::Guest, Fact::StoredImages).map(Vec::as_slice)
    }

    /// The files in a folder of the guest, with their sizes.
    pub fn files(&self, folder: &AbsPath) -> Seen<&[(String, u64)]> {
        self.get(Side::Guest, Fact::Files(folder.clone())).map(Vec::as_slice)
    }

    /// What folders take on the disk, in bytes, by their paths.
    pub fn folder_sizes(&self, folders: impl IntoIterator<Item = AbsPath>) -> Seen<&[(String, u64)]> {
        self.get(Side::Guest, Fact::FolderSizes(folders.into_iter().collect())).map(Vec::as_slice)
    }

    /// What database and media store keep beside what serves.
    pub fn spare(&self, media_before: Option<u64>) -> Seen<&Spare> {
        self.get(Side::Guest, Fact::Spare { media_before })
    }

    /// What systemd's timers on one side start next.
    pub fn timers(&self, side: Side) -> Seen<&BTreeMap<String, Timer>> {
        self.get(side, Fact::Timers)
    }

    /// Whether a name server answers the guest anything.
    pub fn name_server(&self, address: std::net::Ipv4Addr) -> Seen<bool> {
        self.yes(Side::Guest, Fact::NameServer(address))
    }

    /// Which program is in the guest.
    pub fn guest_program(&self) -> Seen<&GuestProgram> {
        self.get(Side::Machine, Fact::GuestProgram)
    }

    /// The answer to a question of yes or no.
    pub fn yes(&self, side: Side, fact: Fact) -> Seen<bool> {
        self.get(side, fact).copied()
    }
}
