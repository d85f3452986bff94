//! Stand-ins for what cannot be had in a test: Cloudflare's API and Nginx
//! Proxy Manager. They live with the tests, enforce what the real ones do, with
//! their traps, and record every request.

mod cloudflare;
mod http;
mod namespace;
mod npm;
mod tls;
mod twisted;
mod webhook;

pub use cloudflare::{ACCOUNT, Cloudflare, ZONE};
pub use http::{Asked, Gate, When};
pub use namespace::Namespace;
pub use npm::{Certbot, Kind, Npm, NpmOptions, NpmUser};
pub use tls::{Authority, Fetched, fetch};
pub use twisted::{CASE, Reads, Twisted, obliging, twisted};
pub use webhook::Webhook;
