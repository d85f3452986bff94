//! Speaking with the edge: Cloudflare and Nginx Proxy Manager.
//!
//! Credentials are read when they are needed, from where the config says, and
//! live here only: they stand in headers and in the one body that asks NPM for
//! a certificate, never in an address, a message, a plan or a journal.

mod cloudflare;
mod credential;
mod http;
mod npm;

use matrix_podman_core::{
    config,
    edge::{Act, Api, Question, Refusal, Reply},
    fact::Value,
    observed::Answer,
};

use self::{cloudflare::Cloudflare, npm::Npm};
use crate::{failure::Failure, progress::Sink};

/// Asks a person for something that only they know, such as a code; `None`
/// when nobody can be asked.
pub type AskPerson = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The edge of one site.
pub struct Edge {
    cloudflare: Option<Cloudflare>,
    npm: Option<Npm>,
}

/// Why there is no answer.
#[derive(Debug)]
enum Trouble {
    /// The API said no.
    Refused(Refusal),
    /// The API could not be spoken to.
    Silent(String),
}

impl Trouble {
    fn failure(self, doing: impl Into<String>) -> Failure {
        match self {
            Trouble::Refused(refusal) => Failure::new(doing, refusal.why).hint(refusal.hint),
            Trouble::Silent(why) => Failure::new(doing, why)
                .hint("look whether this machine reaches it, then run the same again: it goes on from what is there"),
        }
    }
}

impl Edge {
    /// The edge that the config names; nothing is opened yet.
    pub fn new(config: &config::Edge) -> Self {
        Self {
            cloudflare: config.cloudflare.clone().map(Cloudflare::new),
            npm: config.npm.clone().map(Npm::new),
        }
    }

    /// From now on lets a person be asked.
    pub fn ask_with(&mut self, ask: Box<AskPerson>) {
        if let Some(npm) = &mut self.npm {
            npm.ask_with(ask);
        }
    }

    /// Answers a question; changes nothing.
    pub fn answer(&self, question: &Question) -> Answer {
        let answer = match (question.api(), &self.cloudflare, &self.npm) {
            (Api::Cloudflare, Some(cloudflare), _) => cloudflare.ask(question),
            (Api::Npm, _, Some(npm)) => npm.ask(question),
            _ => return Answer::Unknown("the config names no such part of the edge".to_owned()),
        };
        match answer {
            Ok(body) => {
                let at = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
                Answer::Known(Value::Edge(Box::new(Reply::Found { body, at })))
            }
            Err(Trouble::Refused(refusal)) => Answer::Known(Value::Edge(Box::new(Reply::Refused(refusal)))),
            Err(Trouble::Silent(why)) => Answer::Unknown(why),
        }
    }

    /// Changes something. Looks before and after.
    pub fn act(&self, act: &Act, sink: &Sink) -> Result<(), Failure> {
        match (act.api(), &self.cloudflare, &self.npm) {
            (Api::Cloudflare, Some(cloudflare), _) => cloudflare.act(act),
            (Api::Npm, _, Some(npm)) => npm.act(act, sink),
            _ => Err(Failure::new(act.describe(), "the config names no such part of the edge")),
        }
    }
}
