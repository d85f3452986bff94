//! A run as JSON, one event a line.

use matrix_podman_host::progress::{Event, Listener};

use super::Reporter;

/// Prints every event.
pub struct JsonLines(pub Reporter);

impl Listener for JsonLines {
    fn on(&self, event: &Event<'_>) {
        if let Ok(line) = serde_json::to_string(event) {
            self.0.document(&line);
        }
    }
}
