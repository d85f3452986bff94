//! A node of Proxmox VE, as far as the program can tell: its commands are
//! stood in for, and act on real LXC guests.
//!
//! [`Node`] is what a test holds. [`standin`] is what runs under the names of
//! the commands; what it accepts, prints and exits with follows what is known
//! of the real ones, their traps included.

mod node;
mod page;
pub mod standin;
mod state;

pub use node::Node;
pub(crate) use node::remove_guests;
pub use page::CallsPage;
pub use state::{How, SnapshotState, State, Storage};
