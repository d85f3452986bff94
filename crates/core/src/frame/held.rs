//! What is told of requests that wait on purpose.

use serde::{Deserialize, Serialize};

use crate::service::ServiceId;

/// Requests to a service that are held on purpose, until it is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRequests {
    /// The service.
    pub service: ServiceId,
    /// For how long, in seconds.
    pub seconds: u64,
    /// How many wait.
    pub waiting: u32,
}
