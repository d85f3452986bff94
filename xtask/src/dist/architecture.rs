//! The kinds of processor that a release is built for.

use std::{path::Path, process::Command};

use crate::phase;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86_64.
    Amd64,
    /// aarch64.
    Arm64,
}

impl Architecture {
    /// That of this machine.
    pub const HERE: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// All of them, this machine's first: its program describes the others'.
    pub const ALL: [Self; 2] = match Self::HERE {
        Self::Amd64 => [Self::Amd64, Self::Arm64],
        Self::Arm64 => [Self::Arm64, Self::Amd64],
    };

    /// Debian's name for it.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Rust's name for it.
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// What links for it.
    pub fn linker(self) -> &'static str {
        match (self, Self::HERE) {
            (Self::Amd64, Self::Amd64) | (Self::Arm64, Self::Arm64) => "cc",
            (Self::Amd64, _) => "x86_64-linux-gnu-gcc",
            (Self::Arm64, _) => "aarch64-linux-gnu-gcc",
        }
    }

    /// What this machine lacks to build for it.
    ///
    /// # Errors
    ///
    /// rustc cannot be asked.
    pub fn missing(self) -> Result<Option<String>, String> {
        let sysroot = phase::output(Command::new("rustc").args(["--print", "sysroot"]))?;
        let library = Path::new(sysroot.trim()).join("lib/rustlib").join(self.target()).join("lib");
        if !library.is_dir() {
            return Ok(Some(format!("Rust's library for {} is not installed", self.target())));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let linker = std::env::split_paths(&path).any(|folder| folder.join(self.linker()).exists());
        Ok((!linker).then(|| format!("{} is not installed", self.linker())))
    }
}
