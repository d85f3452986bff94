//! What the screen knows and shows: changed by news and keys, drawn as it is.

use matrix_podman_core::service::Service;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::worker::{News, Question};
use crate::commands::status::FullStatus;

/// What the screen shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// How the server is.
    Status,
    /// What a service said.
    Log {
        /// Which.
        service: Service,
        /// Its last lines; none as long as they are not there yet.
        lines: Option<Vec<String>>,
        /// How many lines below the window are.
        back: usize,
    },
    /// The keys.
    Help,
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing beyond what the model did.
    Nothing,
    /// Ask this.
    Ask(Question),
    /// Leave.
    Leave,
}

/// Everything that is drawn.
pub struct Model {
    /// The server's name, which is known before anything else.
    pub name: String,
    /// How often it is asked, in seconds.
    pub every: u64,
    /// Whether there are colours.
    pub colours: bool,
    /// How the server is.
    pub shown: Option<FullStatus>,
    /// Why the last question had no answer.
    pub trouble: Option<String>,
    /// Which service is chosen.
    pub chosen: usize,
    /// What is shown.
    pub page: Page,
    /// The time, in seconds since 1970.
    pub now: u64,
}

impl Model {
    /// A screen that knows nothing yet.
    pub fn new(name: String, every: u64, colours: bool) -> Self {
        Self { name, every, colours, shown: None, trouble: None, chosen: 0, page: Page::Status, now: 0 }
    }

    /// The services that one can choose: those that are shown, once some are.
    fn services(&self) -> Vec<Service> {
        let Some(shown) = &self.shown else { return Service::ALL.to_vec() };
        shown.status.services.iter().filter_map(|service| Service::by_name(service.name)).collect()
    }

    /// Time passes; whether that shows.
    pub fn passes(&mut self, now: u64) -> bool {
        std::mem::replace(&mut self.now, now) != now
    }

    /// Something was found out.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Status(shown) => {
                self.trouble = None;
                self.shown = Some(*shown);
            }
            News::Log(of, new) => {
                if let Page::Log { service, lines, .. } = &mut self.page
                    && *service == of
                {
                    *lines = Some(new);
                }
            }
            News::Failed(why) => self.trouble = Some(why),
        }
    }

    /// A key was pressed.
    pub fn press(&mut self, key: KeyEvent) -> Act {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Act::Leave } else { Act::Nothing };
        }
        match (key.code, &mut self.page) {
            (KeyCode::Char('r'), _) => Act::Ask(Question::Status),
            (KeyCode::Char('q') | KeyCode::Esc, Page::Status) => Act::Leave,
            (KeyCode::Char('q') | KeyCode::Esc | KeyCode::Left, _) => {
                self.page = Page::Status;
                Act::Ask(Question::Log(None))
            }
            (KeyCode::Char('?' | 'h'), _) => {
                self.page = Page::Help;
                Act::Ask(Question::Log(None))
            }
            (KeyCode::Up | KeyCode::Char('k'), Page::Log { back, .. }) => {
                *back += 1;
                Act::Nothing
            }
            (KeyCode::Down | KeyCode::Char('j'), Page::Log { back, .. }) => {
                *back = back.saturating_sub(1);
                Act::Nothing
            }
            (KeyCode::PageUp, Page::Log { back, .. }) => {
                *back += 10;
                Act::Nothing
            }
            (KeyCode::PageDown, Page::Log { back, .. }) => {
                *back = back.saturating_sub(10);
                Act::Nothing
            }
            (KeyCode::Up | KeyCode::Char('k'), Page::Status) => {
                self.chosen = self.chosen.checked_sub(1).unwrap_or(self.services().len().saturating_sub(1));
                Act::Nothing
            }
            (KeyCode::Down | KeyCode::Char('j'), Page::Status) => {
                self.chosen = (self.chosen + 1) % self.services().len().max(1);
                Act::Nothing
            }
            (KeyCode::Char('l') | KeyCode::Enter | KeyCode::Right, Page::Status) => {
                let Some(service) = self.services().get(self.chosen).copied() else { return Act::Nothing };
                self.page = Page::Log { service, lines: None, back: 0 };
                Act::Ask(Question::Log(Some(service)))
            }
            _ => Act::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::stack;

    use super::*;

    fn press(model: &mut Model, code: KeyCode) -> Act {
        model.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn arrows_choose_a_service_and_go_round() {
        let mut model = Model::new("a.b".to_owned(), 2, false);
        let last = Service::ALL.len() - 1;
        for (code, chosen) in
            [(KeyCode::Up, last), (KeyCode::Down, 0), (KeyCode::Down, 1), (KeyCode::Char('k'), 0)]
        {
            assert_eq!(press(&mut model, code), Act::Nothing);
            assert_eq!(model.chosen, chosen);
        }
    }

    #[test]
    fn a_log_is_asked_for_shown_and_left() {
        let mut model = Model::new("a.b".to_owned(), 2, false);
        press(&mut model, KeyCode::Down);
        let asked = press(&mut model, KeyCode::Char('l'));
        assert_eq!(asked, Act::Ask(Question::Log(Some(stack::redis::ID))));
        // An answer that comes late is another service's.
        model.hear(News::Log(stack::synapse::ID, vec!["late".to_owned()]));
        assert_eq!(model.page, Page::Log { service: stack::redis::ID, lines: None, back: 0 });
        model.hear(News::Log(stack::redis::ID, vec!["said".to_owned()]));
        press(&mut model, KeyCode::Up);
        let lines = Some(vec!["said".to_owned()]);
        assert_eq!(model.page, Page::Log { service: stack::redis::ID, lines, back: 1 });
        assert_eq!(press(&mut model, KeyCode::Char('q')), Act::Ask(Question::Log(None)));
        assert_eq!(model.page, Page::Status);
        assert_eq!(press(&mut model, KeyCode::Char('q')), Act::Leave);
    }

    #[test]
    fn control_c_leaves_from_everywhere() {
        let mut model = Model::new("a.b".to_owned(), 2, false);
        press(&mut model, KeyCode::Char('?'));
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(model.press(key), Act::Leave);
    }

    #[test]
    fn trouble_is_over_when_there_is_an_answer() {
        let mut model = Model::new("a.b".to_owned(), 2, false);
        model.hear(News::Failed("the guest does not answer".to_owned()));
        assert_eq!(model.trouble.as_deref(), Some("the guest does not answer"));
        assert!(model.passes(1) && !model.passes(1));
    }
}
