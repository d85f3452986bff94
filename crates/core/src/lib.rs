//! The pure core of `matrix-podman`: config, desired state, facts' parsers,
//! resources, planning and the logic of checks.
//!
//! Nothing here touches files, processes, the network, the clock, the
//! environment or randomness; `clippy.toml` beside this crate and its
//! dependency list defend that. Data flows one way:
//! config → desired → (observed) → plan → effects → checks.

pub mod aside;
pub mod backup;
pub mod check;
pub mod cluster;
pub mod config;
pub mod desired;
pub mod disk;
pub mod doctor;
pub mod document;
pub mod edge;
pub mod effect;
pub mod endpoint;
pub mod fact;
pub mod federation;
pub mod firewall;
pub mod format;
pub mod frame;
pub mod history;
pub mod ids;
pub mod layout;
pub mod lock;
pub mod missing;
pub mod name;
pub mod notify;
pub mod observed;
pub mod output;
pub mod people;
pub mod plan;
pub mod proxmox;
pub mod prune;
pub mod render;
pub mod resource;
pub mod schema;
pub mod service;
pub mod size;
pub mod stack;
pub mod state;
pub mod status;
pub mod stopped;
pub mod storage;
#[cfg(test)]
mod testing;
pub mod update;
