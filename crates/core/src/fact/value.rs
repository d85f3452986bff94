//! Answers: one variant for each type that answers a question.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde::{Deserialize, Serialize};

use super::*;

/// A type that answers questions. The variant of [`Value`] that holds it follows from it.
pub trait ValueKind: Sized {
    /// It, where that is what `value` holds.
    fn of(value: &Value) -> Option<&Self>;
}

/// Declares the variants, and each of their types as a kind of answer.
macro_rules! values {
    ($($(#[$doc:meta])* $variant:ident($kind:ty),)*) => {
        /// The answer to a [`Fact`]; the variant follows from the fact.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Value {
            $($(#[$doc])* $variant($kind),)*
        }

        $(impl ValueKind for $kind {
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$variant(found) = value { Some(found) } else { None }
            }
        })*
    };
}

values! {
    /// To [`Fact::File`] and [`Fact::Meta`]: `None` when nothing is there.
    File(Option<FileState>),
    /// To [`Fact::Edition`]: `None` when nothing is there.
    Edition(Option<Edition>),
    /// To [`Fact::Packages`] and [`Fact::Commands`]: what is there, with its
    /// version or path.
    Found(BTreeMap<String, String>),
    /// To [`Fact::Units`].
    Units(BTreeMap<String, UnitState>),
    /// To [`Fact::Containers`].
    Containers(Vec<ContainerState>),
    /// To [`Fact::Images`], by the name asked for.
    Images(BTreeMap<String, ImageState>),
    /// To [`Fact::System`].
    System(Box<MachineInfo>),
    /// To [`Fact::LxcGuest`].
    LxcGuest(GuestState),
    /// To [`Fact::GuestRoot`].
    GuestRoot(GuestRoot),
    /// To [`Fact::GuestDisk`]: `None` for one that is a folder.
    GuestDisk(Option<GuestDisk>),
    /// To [`Fact::LxcNeighbours`].
    Neighbours(Vec<Neighbour>),
    /// To [`Fact::Interface`].
    Address(Option<Ipv4Addr>),
    /// To [`Fact::Link`].
    Link(Option<Link>),
    /// To [`Fact::GuestProgram`].
    GuestProgram(GuestProgram),
    /// To questions that are answered yes or no.
    Yes(bool),
    /// To [`Fact::TakenPorts`].
    Ports(BTreeSet<u16>),
    /// To [`Fact::Edge`].
    Edge(Box<Reply>),
    /// To [`Fact::Rules`], [`Fact::Ways`], [`Fact::Journal`], [`Fact::SigningKeysInUse`], [`Fact::Clusters`],
    /// [`Fact::RegistryTags`] and [`Fact::NewerPackages`].
    Lines(Vec<String>),
    /// To [`Fact::Room`]: `None` when there is no such path.
    Room(Option<Room>),
    /// To [`Fact::Newest`].
    Newest(Newest),
    /// To [`Fact::OomKills`]: `None` where the kernel does not count them.
    Count(Option<u64>),
    /// To [`Fact::Canary`] and [`Fact::Lookup`].
    Ran(Ran),
    /// To [`Fact::Mounts`].
    Mounts(Option<Mounts>),
    /// To [`Fact::Listeners`].
    Listeners(BTreeMap<u16, String>),
    /// To [`Fact::RedisPing`] and [`Fact::SigningKeyOnDisk`].
    Text(String),
    /// To [`Fact::Http`].
    Http(Box<HttpAnswer>),
    /// To [`Fact::Addresses`].
    Addresses(NameAddresses),
    /// To [`Fact::Srv`].
    Srv(Vec<SrvRecord>),
    /// To [`Fact::Database`].
    Database(Box<Database>),
    /// To [`Fact::Roles`]: why it is not known, where PostgreSQL refuses the question.
    Roles(Result<Roles, String>),
    /// To [`Fact::InsideSynapse`].
    InsideSynapse(InsideSynapse),
    /// To [`Fact::ImageSchema`]: `None` when the program does not say it.
    ImageSchema(Option<Schema>),
    /// To [`Fact::Clock`].
    Clock(Clock),
    /// To [`Fact::SigningKey`]: `None` when there is none.
    SigningKey(Option<PublicKey>),
    /// To [`Fact::Relay`].
    Relay(RelayTried),
    /// To [`Fact::Trial`].
    Tried(Tried),
    /// To [`Fact::Proxmox`].
    Proxmox(Box<proxmox::Answer>),
    /// To [`Fact::Contents`].
    Contents(Contents),
    /// To [`Fact::Memory`].
    Memory(Memory),
    /// To [`Fact::Timers`], by the name of the timer.
    Timers(BTreeMap<String, Timer>),
    /// To [`Fact::StoredImages`].
    StoredImages(Vec<StoredImage>),
    /// To [`Fact::Files`] and [`Fact::FolderSizes`], in the order of their names.
    Files(Vec<(String, u64)>),
    /// To [`Fact::Spare`].
    Spare(Spare),
    /// To [`Fact::HeldRequests`].
    HeldRequests(Vec<HeldRequests>),
}
