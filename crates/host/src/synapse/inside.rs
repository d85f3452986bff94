//! The network that a container sees, entered for a moment.
//!
//! Synapse's admin API listens on its container's own loopback alone. Nobody in
//! the guest but root can enter the network name space that this is in, and no
//! packet from anywhere can.

use std::{fs::File, io};

use matrix_podman_core::service::Service;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd as _;

use crate::process::Program;

/// The network of a container that runs; an error where it does not.
pub(super) struct Inside(io::Result<File>);

impl Inside {
    /// That of the container of `service`.
    pub fn of(service: Service) -> Self {
        let said =
            Program::new(["podman", "container", "inspect", "--format={{.State.Pid}}", service.name()])
                .output();
        let pid = String::from_utf8_lossy(&said.stdout).trim().parse::<u32>().ok().filter(|pid| *pid != 0);
        Self(match pid {
            Some(pid) => File::open(format!("/proc/{pid}/ns/net")),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "its container does not run")),
        })
    }

    /// Runs `act` in it, in a thread that ends with that: the others stay where
    /// they are.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> io::Result<T> {
        let network = self.0.as_ref().map_err(|e| io::Error::new(e.kind(), e.to_string()))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(act())
            });
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the request could not be made")))
        })
    }
}
