//! Which program worked on a site last, and in which format it left what it keeps there.
//!
//! One number stands for the whole folder of a site's state: records of backups, of public
//! access, of notices, of what is being made. Most of them have no number of their own.

use serde::{Deserialize, Serialize};

use crate::{
    format::{self, Unread},
    layout,
    name::AbsPath,
};

/// The format that this program writes. A change that an older program would misread, or lose
/// when it writes the file again, raises it.
pub const FORMAT: u32 = 1;

/// Where it is said, on the side that the program runs on.
pub fn file(site: &str) -> AbsPath {
    layout::machine_state(site).join("written-by.json")
}

/// Who wrote a site's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenBy {
    /// The format of all of it.
    #[serde(default = "format::first")]
    pub format: u32,
    /// The version of matrix-podman.
    pub program: String,
}

impl WrittenBy {
    /// This program, which calls itself `program`.
    pub fn this(program: &str) -> Self {
        Self { format: FORMAT, program: program.to_owned() }
    }

    /// Reads the text of the file.
    pub fn parse(text: &str) -> Result<Self, Unread> {
        format::json(text, FORMAT)?;
        serde_json::from_str(text).map_err(|e| Unread::Otherwise(e.to_string()))
    }

    /// The text of the file.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|text| text + "\n")
    }

    /// What to tell whoever works on with `program` now; nothing when that is the same.
    pub fn handover(&self, program: &str) -> Option<String> {
        (self.program != program).then(|| {
            format!(
                "matrix-podman {} worked on this server last; {program} takes over what it left, as it is",
                self.program
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_version_is_told_of_once() {
        let before = WrittenBy::parse(&WrittenBy::this("0.1.0").render().unwrap()).unwrap();
        assert_eq!(before.handover("0.1.0"), None);
        let told = before.handover("0.2.0").unwrap();
        assert!(told.contains("0.1.0 worked on this server last; 0.2.0 takes over"), "{told}");
    }

    #[test]
    fn the_state_of_a_newer_program_is_left_alone() {
        let newer = format!(r#"{{"format": {}, "program": ["in another form"]}}"#, FORMAT + 1);
        assert_eq!(WrittenBy::parse(&newer), Err(Unread::Newer { found: FORMAT + 1, known: FORMAT }));
        assert_eq!(WrittenBy::parse(r#"{"program": "0.1.0"}"#).unwrap().format, 1);
        assert!(WrittenBy::parse("").is_err());
    }
}
