//! A webhook that takes everything and remembers it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::http::{Answer, Gate, Server};

/// The part of its address that only those know who send there.
const SECRET: &str = "T0B0hookS3cret";

/// The webhook. It is gone when it is dropped.
pub struct Webhook {
    server: Server,
}

impl Webhook {
    /// At an address of this machine's.
    pub fn at(address: &str) -> Self {
        let handler = |_: &_| Answer::new(200, json!({"ok": true}));
        Self { server: Server::start_at(address, Arc::new(Gate::default()), Arc::new(handler)) }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}/services/{SECRET}", self.server.address)
    }

    /// The part of its address that is a secret.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// What it was told, the oldest first.
    pub fn told(&self) -> Vec<Value> {
        self.server.asked.lock().unwrap().iter().map(|asked| asked.body.clone()).collect()
    }
}
