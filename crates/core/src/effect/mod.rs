//! Effects: the few primitive acts that steps are made of.
//!
//! The set is closed and can be written down, so that a dry run, progress and
//! the journal need to know nothing about resources. Every effect is
//! *idempotent and atomic*: done twice it is done once, and cut off anywhere it
//! leaves the state before or the state after, beside at most a partial file
//! that the next attempt removes. That is what lets a killed run be continued
//! by looking again.

mod local;
mod two_sided;
mod words;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use self::{local::Local, two_sided::TwoSided};

use crate::{
    config::RootPassword,
    edge::Act,
    fact::{Edition, Side},
    name::{AbsPath, ContainerId, ImageRef},
    size::Bytes,
};

/// One primitive act, by who can do it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The side where it belongs does it alone.
    Here(Local),
    /// It takes what both sides have.
    Both(TwoSided),
    /// Changes something at the edge. Holds no credential.
    Edge(Act),
}

impl Effect {
    /// Where it is done: where a full disk would stop it.
    pub fn side(&self) -> Side {
        match self {
            Effect::Here(act) => act.side(),
            Effect::Both(act) => act.side(),
            Effect::Edge(_) => Side::Edge,
        }
    }

    /// Whether Podman may have other images, or other names for them, after it.
    pub fn changes_images(&self) -> bool {
        matches!(
            self,
            Effect::Both(TwoSided::ObtainImage { .. })
                | Effect::Here(
                    Local::PullImage { .. }
                        | Local::RemoveImage { .. }
                        | Local::SettleStorage { check: true }
                )
        )
    }

    /// One line for journal and progress: what is done to what. Never holds content.
    pub fn describe(&self) -> String {
        match self {
            Effect::Here(act) => act.describe(),
            Effect::Both(act) => act.describe(),
            Effect::Edge(act) => act.describe(),
        }
    }
}

/// Where an image comes from, decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageSource {
    /// Pulled by the guest. A tag is resolved once; the lock holds the digest.
    Registry(ImageRef),
    /// An OCI archive on the machine.
    Archive {
        /// The archive.
        path: AbsPath,
        /// Which edition of it; unknown when it is not there.
        edition: Option<Edition>,
    },
    /// Built on the machine from packages.
    Build {
        /// Version of the packaged program; the newest when absent.
        version: Option<String>,
    },
}

/// A guest to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewGuest {
    /// Its name.
    pub name: String,
    /// The site that it belongs to.
    pub site: String,
    /// The archive of its root file system.
    pub archive: AbsPath,
    /// Its LXC config.
    pub config: String,
    /// Name servers in its /etc/resolv.conf; written by DHCP when empty.
    pub resolvers: Vec<Ipv4Addr>,
    /// Whether its interface is set by DHCP.
    pub dhcp: bool,
    /// The size of its disk; a folder of the machine's where there is none.
    #[serde(default)]
    pub disk: Option<Bytes>,
}

/// A Proxmox container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its number.
    pub id: ContainerId,
    /// The node that it is on.
    pub node: String,
}

/// A Proxmox container to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewContainer {
    /// Which it will be.
    pub container: Container,
    /// The site that it belongs to.
    pub site: String,
    /// The template's volume.
    pub template: String,
    /// Its settings.
    pub options: Vec<(String, String)>,
    /// Where root's password comes from.
    pub root_password: RootPassword,
}
