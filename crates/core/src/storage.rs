//! What is known of Podman's storage on the disk.
//!
//! Podman flushes its lists, and not what is in its layers: after a power cut an
//! image can be there by name with empty files in it, and one that is loaded
//! again takes the layers that are there. So what writes to the storage notes
//! it first, and takes the note back when everything was flushed. What stands
//! there after a boot says whether the storage can be relied on.

use crate::{layout, name::AbsPath};

/// Where the kernel says which boot this is. A guest sees its machine's: it is
/// that one's memory which a power cut empties.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const FLUSHED: &str = "flushed";
const WRITTEN: &str = "written to since boot ";

/// The note, in the guest.
pub fn file() -> AbsPath {
    AbsPath::known(format!("{}/podman-storage", layout::STATE))
}

/// What the note says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// All that Podman keeps is on the disk.
    Flushed,
    /// Something was being written, and may not be on the disk.
    Written {
        /// The boot in which that was.
        boot: String,
    },
}

impl Storage {
    /// What is being written in the boot of this id.
    pub fn written(boot: &str) -> Self {
        Storage::Written { boot: boot.trim().to_owned() }
    }

    /// Reads the note; `None` when it is none, as after a power cut while it was
    /// written by hand.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            FLUSHED => Some(Storage::Flushed),
            other => other.strip_prefix(WRITTEN).filter(|boot| !boot.is_empty()).map(Self::written),
        }
    }

    /// The note's text.
    pub fn render(&self) -> String {
        match self {
            Storage::Flushed => format!("{FLUSHED}\n"),
            Storage::Written { boot } => format!("{WRITTEN}{boot}\n"),
        }
    }

    /// Whether what was written may have been lost: not as long as the boot lasts
    /// in which it was.
    pub fn is_doubtful(&self, boot: &str) -> bool {
        match self {
            Storage::Flushed => false,
            Storage::Written { boot: then } => then != boot.trim(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_and_anything_else_is_none() {
        for note in [Storage::Flushed, Storage::written("b8a0-1\n")] {
            assert_eq!(Storage::parse(&note.render()), Some(note));
        }
        for text in ["", "written to since boot ", "flush", "\0\0\0"] {
            assert_eq!(Storage::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_was_written_is_doubtful_only_after_another_boot() {
        assert!(!Storage::Flushed.is_doubtful("2"));
        assert!(!Storage::written("1").is_doubtful("1\n"));
        assert!(Storage::written("1").is_doubtful("2"));
    }
}
