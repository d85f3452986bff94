//! Printers of documents: values in, text out. They know nothing of servers.

pub mod haproxy;
pub mod nginx;
pub mod unit;
pub mod yaml;
