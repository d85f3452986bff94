//! Values as lines of JSON, to be read one at a time.

use std::io::{self, Write};

/// Writes a line.
pub(crate) fn write<T: serde::Serialize>(to: &mut dyn Write, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)
}
