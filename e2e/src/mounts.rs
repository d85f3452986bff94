//! What mount namespaces of tests see of the machine's mounts.

use crate::Invocation;

/// What is unmounted on this machine is unmounted in the mount namespaces that are made from
/// here on, too, as where systemd has begun the machine: it makes all mounts shared. Without
/// it a namespace keeps a guest's disk in use for as long as it is there.
#[track_caller]
pub fn share_mounts() {
    Invocation::new(["mount", "--make-rshared", "/"]).quietly().run().ok();
}

/// The words that run a command in a mount namespace, whose own mounts nobody else sees.
pub const IN_NAMESPACE: [&str; 4] = ["unshare", "--mount", "--propagation", "slave"];
