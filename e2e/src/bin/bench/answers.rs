//! How fast a server answers while something else is done.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use matrix_podman_e2e::Lab;

use crate::measure::Figure;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(50);

/// How long each of many answers took, sorted.
pub struct Answers(Vec<Duration>);

impl Answers {
    /// Those of a lab's Synapse, each of which wants something of the database, while
    /// `act` is done. One that fails ends the bench.
    pub fn during<R>(lab: &Lab, act: impl FnOnce() -> R) -> (R, Self) {
        let over = AtomicBool::new(false);
        let room = format!("%23nobody:{}", lab.server_name());
        let url = format!("{}/_matrix/client/v3/directory/room/{room}", lab.url("synapse"));
        thread::scope(|scope| {
            let asks = scope.spawn(|| {
                let agent: ureq::Agent = ureq::Agent::config_builder()
                    .timeout_global(Some(Duration::from_secs(10)))
                    .http_status_as_error(false)
                    .build()
                    .into();
                let mut took = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let answer = agent.get(&url).call();
                    let found = answer.map(|answer| answer.status().as_u16());
                    assert!(
                        matches!(found, Ok(404)),
                        "Synapse does not say that there is no such room: {found:?}"
                    );
                    took.push(started.elapsed());
                    thread::sleep(PAUSE);
                }
                took
            });
            let result = act();
            over.store(true, Ordering::Relaxed);
            let mut took = asks.join().unwrap_or_else(|_| panic!("a request failed meanwhile"));
            took.sort();
            (result, Self(took))
        })
    }

    /// Those of five seconds in which nothing else is done.
    pub fn in_peace(lab: &Lab) -> Self {
        Self::during(lab, || thread::sleep(Duration::from_secs(5))).1
    }

    /// So many of a hundred were faster.
    fn at(&self, percent: usize) -> Duration {
        self.0.get(self.0.len() * percent / 100).or(self.0.last()).copied().unwrap_or_default()
    }

    /// Beside those `before`.
    pub fn figure(&self, before: &Self) -> Figure {
        let (now, then) = (self.at(50), before.at(50));
        Figure {
            what: "an answer of Synapse's during the second backup, beside one before it",
            measured: self.to_string(),
            floor: before.to_string(),
            ratio: format!("{:.1}", now.as_secs_f64() / then.as_secs_f64()),
            wanted: "half within 3 times and 50 ms",
            met: now < then * 3 + Duration::from_millis(50),
        }
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1?}, p95 {:.1?}", self.at(50), self.at(95))
    }
}
