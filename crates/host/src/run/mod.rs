//! Carrying out a plan, side by side.

mod act;
mod executor;

pub use act::act;
pub use executor::{Ended, run};
