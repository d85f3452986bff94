//! `[ports]`.

use std::net::Ipv4Addr;

use super::AnyKey;
use crate::{
    config::{read::Reader, types::Flaw},
    name::Port,
};

super::section! {
    /// Where Synapse and the web client listen in the guest.
    [ports] pub struct Ports {
        /// Address in the guest that the two ports listen on. 0.0.0.0 is every address of the guest.
        bind: Ipv4Addr {
            usual: Ipv4Addr::UNSPECIFIED,
            example: r#""127.0.0.1""#,
        }
        /// Port of Synapse, for clients and other servers. The reverse proxy sends matrix_url here.
        synapse: Port {
            usual: Port::known(8008),
            example: "8448",
            init: true,
        }
        /// Port of the web client. The reverse proxy sends chat_url here.
        web: Port {
            usual: Port::known(8080),
            example: "8081",
            init: true,
        }
    }
}

impl Ports {
    /// Reads them, and sees that they differ.
    pub(in crate::config) fn checked(r: &mut Reader<'_>) -> Self {
        let ports = Self::read(r);
        let (synapse, web) = (&KEYS.synapse, &KEYS.web);
        if r.sound(synapse) && r.sound(web) && ports.synapse == ports.web {
            let (guilty, other): (&dyn AnyKey, _) =
                if r.written(web) { (web, synapse.path) } else { (synapse, web.path) };
            r.complain(guilty, Flaw::new(format!("this is {other} too; two services cannot share a port")));
        }
        ports
    }
}
