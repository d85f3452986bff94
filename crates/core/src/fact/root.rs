//! What the root file system of a guest that does not run looks like from the machine.

use serde::{Deserialize, Serialize};

/// What a look at the programs and the data of a guest found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRoot {
    /// How many programs there are.
    pub programs: u32,
    /// How many of them hold nothing: no package brings such a file.
    pub empty: u32,
    /// Whether there are secrets or a database in it.
    pub data: bool,
}

impl GuestRoot {
    /// Whether it cannot boot: a power cut took what was in its files and left
    /// their names. A single empty file may be somebody's.
    pub fn is_damaged(&self) -> bool {
        self.programs == 0 || self.empty * 10 >= self.programs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_content_is_damaged_and_one_odd_file_is_not() {
        for (programs, empty, damaged) in [(600, 0, false), (600, 1, false), (600, 590, true), (0, 0, true)] {
            assert_eq!(
                GuestRoot { programs, empty, data: false }.is_damaged(),
                damaged,
                "{empty} of {programs}"
            );
        }
    }
}
