//! Asks in a thread of its own, so that the screen never waits.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    time::Duration,
};

use matrix_podman_core::{
    observed::{Gap, Observed},
    service::Service,
};
use matrix_podman_host::world::World;

use crate::commands::status::{self, FullStatus};

/// What the screen wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// How the server is.
    Status,
    /// What a service said, beside that.
    Log(Option<Service>),
}

/// What was found out.
pub enum News {
    /// How the server is.
    Status(Box<FullStatus>),
    /// The last lines of a service's log.
    Log(Service, Vec<String>),
    /// Nothing could be found out.
    Failed(String),
}

/// The thread that asks.
pub struct Worker {
    questions: Sender<Question>,
    news: Receiver<News>,
}

impl Worker {
    /// Asks at once and then `every` so often. The thread ends with the process:
    /// whoever leaves does not wait for an answer that is still out.
    pub fn start(world: World, every: Duration) -> Self {
        let (questions, asked) = channel();
        let (tell, news) = channel();
        std::thread::spawn(move || work(&world, every, &asked, &tell));
        Self { questions, news }
    }

    /// What was found out since, if anything. It fails when nobody asks any more:
    /// a screen that no longer changes would be taken for the truth.
    pub fn news(&self) -> std::io::Result<Option<News>> {
        match self.news.try_recv() {
            Ok(news) => Ok(Some(news)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                Err(std::io::Error::other("what asks has ended; this is a mistake in matrix-podman"))
            }
        }
    }

    /// Has something asked now.
    pub fn ask(&self, question: Question) {
        // A worker that is gone shows in the news.
        let _ = self.questions.send(question);
    }
}

fn work(world: &World, every: Duration, asked: &Receiver<Question>, tell: &Sender<News>) {
    let mut log = None;
    loop {
        if tell.send(ask_status(world)).is_err() {
            return;
        }
        if let Some(service) = log
            && tell.send(ask_log(world, service)).is_err()
        {
            return;
        }
        match asked.recv_timeout(every) {
            Ok(Question::Status) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Question::Log(service)) => log = service,
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn ask_status(world: &World) -> News {
    let news = match status::look(world) {
        Ok(shown) => News::Status(Box::new(shown)),
        Err(failure) => News::Failed(failure.to_string()),
    };
    // A guest that went away is met on a new connection when it comes back.
    let away = match &news {
        News::Status(shown) => shown.status.guest.state != "running" || shown.status.problem.is_some(),
        _ => true,
    };
    if away {
        world.hang_up();
        world.forget_guests();
    }
    news
}

fn ask_log(world: &World, service: Service) -> News {
    let unit = service.unit();
    match world.look(&mut Observed::default(), |seen| seen.journal(&unit).map(<[String]>::to_vec)) {
        Ok(Ok(lines)) => News::Log(service, lines),
        Ok(Err(Gap::Unknown(why))) => News::Failed(why),
        Ok(Err(Gap::NotAsked)) => News::Failed("the log was not asked for".to_owned()),
        Err(failure) => News::Failed(failure.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_gone_is_no_worker_without_news() {
        let ((questions, _asked), (tell, news)) = (channel(), channel());
        let worker = Worker { questions, news };
        assert!(matches!(worker.news(), Ok(None)));
        tell.send(News::Failed("no guest".to_owned())).unwrap();
        drop(tell);
        assert!(matches!(worker.news(), Ok(Some(News::Failed(_)))));
        assert!(worker.news().is_err());
        worker.ask(Question::Status);
    }
}
