//! Where a service is reached from outside the guest: the words that the rooms say it in, below everything that
//! prints them.

use crate::{name::Port, service::ServiceId};

/// Where a service is reached from outside the guest, and what of the world's requests is for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which service.
    pub service: ServiceId,
    /// What people call it: "homeserver".
    pub label: &'static str,
    /// What JSON calls its address.
    pub word: &'static str,
    /// The key in `[ports]` that chooses the port.
    pub key: &'static str,
    /// The port in the guest.
    pub port: Port,
    /// A path there that answers when the service does.
    pub ask: &'static str,
    /// Who may speak to the port.
    pub reach: Reach,
    /// Its address for the world.
    pub url: String,
    /// The host of that address, by which a reverse proxy knows it.
    pub host: String,
    /// What of that host is for it.
    pub paths: Paths,
}

/// Who may speak to a port of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The machine, and the reverse proxies that the config names; people come through them.
    Proxies,
    /// Anybody on the internet.
    Anybody,
}

/// Which requests to a host are for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// All: the host is its own.
    All,
    /// Those below some prefixes, on a host that answers more than this. Where prefixes of two
    /// endpoints overlap, the one that is listed first is meant.
    Below {
        /// The prefixes.
        prefixes: &'static [&'static str],
        /// The pattern that a path has to fit as it came, to be handed on at all.
        allowed: &'static str,
    },
}
