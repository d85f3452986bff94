//! What takes both sides: a file of the machine's and the guest's Podman, Proxmox and what the guest
//! says of itself.

use super::{Container, ImageSource, NewContainer};
use crate::{fact::Side, layout::Secret, name::AbsPath, service::ServiceId, size::Bytes};

/// An act that takes both sides. The host's `World`, which reaches both, does it.
#[derive(Debug, Clone, PartialEq)]
pub enum TwoSided {
    /// Takes a secret that the operator gives from a file on the machine into the guest.
    TakeSecret {
        /// Which.
        secret: Secret,
        /// The file on the machine.
        from: AbsPath,
    },
    /// Puts this program into the guest and speaks with it from then on.
    PushProgram {
        /// The guest's name.
        name: String,
    },
    /// Makes a Proxmox container, after writing down which one it will be.
    CreateContainer(NewContainer),
    /// Makes a disk of a container larger, and the file system on it; done to a disk
    /// that is large enough, the file system alone.
    GrowDisk {
        /// Which container.
        container: Container,
        /// `rootfs` or `mp0`.
        volume: String,
        /// The size that it is to have.
        size: Bytes,
    },
    /// Makes sure that the guest's Podman has an image, under the name `tag`.
    ObtainImage {
        /// For which service.
        service: ServiceId,
        /// From where.
        from: ImageSource,
        /// The local name that it gets.
        tag: String,
    },
}

impl TwoSided {
    /// The side that is changed.
    pub fn side(&self) -> Side {
        match self {
            TwoSided::TakeSecret { .. } | TwoSided::ObtainImage { .. } => Side::Guest,
            TwoSided::PushProgram { .. } | TwoSided::CreateContainer(_) | TwoSided::GrowDisk { .. } => {
                Side::Machine
            }
        }
    }

    /// See [`super::Effect::describe`].
    pub fn describe(&self) -> String {
        match self {
            TwoSided::TakeSecret { secret, from } => format!("take {} from {from}", secret.title()),
            TwoSided::PushProgram { name } => format!("put matrix-podman into the guest {name}"),
            TwoSided::CreateContainer(new) => format!("create the container {}", new.container.id),
            TwoSided::GrowDisk { container, volume, size } => {
                format!("make {volume} of the container {} {size} large", container.id)
            }
            TwoSided::ObtainImage { service, from, .. } => match from {
                ImageSource::Registry(reference) => format!("pull {reference}"),
                ImageSource::Archive { path, .. } => format!("load {service} from {path}"),
                ImageSource::Build { .. } => format!("build {service} from packages"),
            },
        }
    }
}
