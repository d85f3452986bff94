//! The way in: what stands between the internet and the guest, as questions
//! and acts.
//!
//! A [`Question`] is a GET and changes nothing; an [`Act`] names what is
//! written. Neither holds a credential: who speaks to an API reads it at that
//! moment from where the config says. What should be is computed here, without
//! asking: [`ingress`] for a tunnel's routes, [`npm`] for proxy hosts,
//! [`well_known`] for what clients are told, [`proxy`] for what a reverse proxy
//! does, [`paths`] for what it may hand on.

pub mod cloudflare;
pub mod guide;
pub mod ingress;
pub mod npm;
pub mod paths;
pub mod proxy;
mod question;
pub mod record;
mod refusal;
pub mod show;
pub mod well_known;

pub use question::{Act, Api, Host, Question, Record};
pub use refusal::{NPM_PERMISSIONS, Refusal, RefusalKind, refusal};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What an API said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// What was asked for.
    Found {
        /// The answer, without the envelope around it; all pages of a list.
        body: Json,
        /// When it was given: `2026-01-31 12:00:00`, in UTC.
        at: String,
    },
    /// It gave no answer, and why.
    Refused(Refusal),
}

/// The mark of what was made for `site`, for people to read at the place itself.
pub fn mark(site: &str) -> String {
    format!("made by matrix-podman for {site}")
}

/// The mark of what was there before and has been taken over.
pub fn adopted_mark(site: &str) -> String {
    format!("adopted by matrix-podman for {site}")
}
