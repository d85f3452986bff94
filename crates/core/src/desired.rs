//! Files and folders as they should be.

use crate::name::{AbsPath, Mode, Owner};

/// A file as it should be, in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredFile {
    /// Where it is.
    pub path: AbsPath,
    /// All of its text.
    pub content: String,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
    /// One sentence for the plan: what it is for.
    pub why: &'static str,
}

impl DesiredFile {
    /// A file of root's that everybody may read.
    pub(crate) fn public(path: AbsPath, content: String, why: &'static str) -> Self {
        Self { path, content, mode: Mode(0o644), owner: Owner::ROOT, why }
    }

    /// A file of root's that besides root only the group of `reader` may read.
    pub(crate) fn read_by(reader: Owner, path: AbsPath, content: String, why: &'static str) -> Self {
        let owner = Owner { uid: 0, gid: reader.gid };
        Self { path, content, mode: Mode(0o440), owner, why }
    }
}

/// A folder as it should be, in the guest; what is in it is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredFolder {
    /// Where it is.
    pub path: AbsPath,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
}

impl DesiredFolder {
    /// A folder.
    pub(crate) const fn new(path: AbsPath, mode: u32, owner: Owner) -> Self {
        Self { path, mode: Mode(mode), owner }
    }
}
