//! Which program is in the guest.

use serde::{Deserialize, Serialize};

/// The program that answers in the guest, beside the one that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestProgram {
    /// The very same.
    Same,
    /// Another one, or none that answers: it can be replaced.
    Other,
    /// One of a newer protocol than this one knows, in words. What it left may be more than
    /// this one understands.
    Newer(String),
}
