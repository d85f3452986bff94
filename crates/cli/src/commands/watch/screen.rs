//! Draws the model: everything on 80 columns and 24 lines, and whatever there
//! is room for on less.

use matrix_podman_core::{
    service::Service,
    status::{Piece, Row, Tone},
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::model::{Model, Page};
use crate::{
    commands::status::FullStatus,
    output::{ago, harmless},
};

/// Answers that are older than so many questions are not those of now.
const MISSED: u64 = 3;

const KEYS: [(&str, &str); 6] = [
    ("↑ ↓", "choose a service; in a log: go back and forth"),
    ("l", "what the chosen service says"),
    ("r", "ask now"),
    ("?", "this page"),
    ("q", "back; on the first page: leave"),
    ("Ctrl-C", "leave"),
];

pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    let paint = Paint { colours: model.colours };
    frame.render_widget(title(model, &paint, head.width), head);
    match &model.page {
        Page::Status => status(frame, model, &paint, body),
        Page::Log { service, lines, back } => {
            log(frame, *service, lines.as_deref(), *back, &paint, body);
        }
        Page::Help => {
            let lines = KEYS.map(|(key, what)| {
                Line::from(vec![Span::styled(format!("  {key:<8}"), paint.of(Tone::Strong)), Span::raw(what)])
            });
            let mut text = vec![Line::raw("")];
            text.extend(lines);
            text.extend([
                Line::raw(""),
                Line::raw(format!(
                    "  The server is asked every {} s. Nothing is changed from here.",
                    model.every
                )),
            ]);
            frame.render_widget(Paragraph::new(text), body);
        }
    }
    let keys = match model.page {
        Page::Status => " q leave  ↑↓ choose  l log  r ask now  ? help",
        Page::Log { .. } => " q back  ↑↓ PgUp PgDn scroll  r ask now  ? help",
        Page::Help => " q back",
    };
    frame.render_widget(Paragraph::new(Span::styled(keys, paint.of(Tone::Quiet))), foot);
}

/// What tones look like.
struct Paint {
    colours: bool,
}

impl Paint {
    fn of(&self, tone: Tone) -> Style {
        let colour = |colour: Color| if self.colours { Style::new().fg(colour) } else { Style::new() };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
            Tone::Quiet => Style::new().add_modifier(Modifier::DIM),
            Tone::Good => colour(Color::Green),
            Tone::Care => colour(Color::Yellow),
            Tone::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    fn span(&self, piece: &Piece) -> Span<'static> {
        Span::styled(harmless(&piece.text), self.of(piece.tone))
    }
}

/// The server's name, and how old what is shown is.
fn title(model: &Model, paint: &Paint, width: u16) -> Line<'static> {
    let (tone, age) = match &model.shown {
        None => (Tone::Quiet, "asking …".to_owned()),
        Some(shown) => {
            let age = model.now.saturating_sub(shown.status.at);
            let late = age > model.every.max(2) * MISSED;
            (if late { Tone::Care } else { Tone::Quiet }, if late { ago(age) } else { "now".to_owned() })
        }
    };
    let name = format!(" {}", model.name);
    let room = usize::from(width).saturating_sub(name.chars().count() + age.chars().count() + 1);
    Line::from(vec![
        Span::styled(name, paint.of(Tone::Strong)),
        Span::raw(" ".repeat(room)),
        Span::styled(age, paint.of(tone)),
    ])
}

fn status(frame: &mut Frame<'_>, model: &Model, paint: &Paint, area: Rect) {
    let Some(shown) = &model.shown else {
        let text = model.trouble.as_deref().map_or_else(String::new, |why| format!(" {}", harmless(why)));
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }), area);
        return;
    };
    let mut lines = vec![Line::raw(format!(" {}", harmless(&shown.status.guest_line()))), Line::raw("")];
    lines.extend(shown.first_rows().iter().map(|row| row_line(row, paint, area.width)));
    for (index, service) in shown.status.services.iter().enumerate() {
        let chosen = index == model.chosen;
        let mut line = vec![
            Span::raw(if chosen { " › " } else { "   " }),
            Span::styled(
                format!("{:<12} ", service.name),
                paint.of(if chosen { Tone::Strong } else { Tone::Plain }),
            ),
            paint.span(&service.state_piece()),
            Span::styled(
                format!(" {:<10} ", service.version.as_deref().unwrap_or("")),
                paint.of(Tone::Quiet),
            ),
        ];
        line.extend(service.more().iter().map(|piece| paint.span(piece)));
        lines.push(Line::from(line));
    }
    lines.push(Line::raw(""));
    lines.extend(shown.rows().iter().map(|row| row_line(row, paint, area.width)));
    for (label, text) in notes(model, shown) {
        let row = Row::new(label, Tone::Care, text);
        lines.push(row_line(&row, paint, area.width));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// What stands below everything else.
fn notes(model: &Model, shown: &FullStatus) -> Vec<(&'static str, String)> {
    let problem = model.trouble.clone().or_else(|| shown.status.problem.clone());
    let mut notes: Vec<_> = problem.map(|problem| ("note", problem)).into_iter().collect();
    notes.extend(shown.next().map(|next| ("to do", next)));
    notes
}

/// A line that ends with a sign where it does not fit.
fn row_line(row: &Row, paint: &Paint, width: u16) -> Line<'static> {
    let mut room = usize::from(width).saturating_sub(16);
    let mut spans = vec![Span::styled(format!("   {:<12} ", row.label), paint.of(Tone::Quiet))];
    for piece in &row.pieces {
        let text = harmless(&piece.text);
        let count = text.chars().count();
        if count > room {
            let cut: String = text.chars().take(room.saturating_sub(1)).collect();
            spans.push(Span::styled(format!("{cut}…"), paint.of(piece.tone)));
            break;
        }
        room -= count;
        spans.push(Span::styled(text, paint.of(piece.tone)));
    }
    Line::from(spans)
}

/// The end of a log, or so many lines further up.
fn log(
    frame: &mut Frame<'_>,
    service: Service,
    lines: Option<&[String]>,
    back: usize,
    paint: &Paint,
    area: Rect,
) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let title = format!(" What {} said since the guest was started", service.title());
    frame.render_widget(Paragraph::new(Span::styled(title, paint.of(Tone::Quiet))), head);
    let text: Vec<Line<'static>> = match lines {
        None => vec![Line::raw(" asking …")],
        Some([]) => vec![Line::raw(" nothing")],
        Some(lines) => {
            let height = usize::from(body.height);
            let end = lines.len().saturating_sub(back).max(height.min(lines.len()));
            let from = end.saturating_sub(height);
            lines.iter().take(end).skip(from).map(|line| Line::raw(format!(" {}", harmless(line)))).collect()
        }
    };
    frame.render_widget(Paragraph::new(text), body);
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::{
        fact::{Amount, Contents, Room, Side},
        stack,
        status::{
            EndpointUrls, Found, Guest, GuestMemory, LastFound, LastGeneration, NextTimer, ServiceStatus,
            Status, Updates,
        },
    };
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;

    /// A server that mostly is well, at a fixed moment.
    fn status() -> Status {
        let service = |name, health, restarts, memory| ServiceStatus {
            name,
            state: "running".to_owned(),
            health,
            stopped: None,
            restarts: Some(restarts),
            memory: Some(memory),
            held: None,
            image: None,
            digest: None,
            version: Some("1.163.2".to_owned()),
        };
        let url = |label, word, here: &str, public: &str| EndpointUrls {
            label,
            word,
            here: Some(here.to_owned()),
            public: public.to_owned(),
        };
        Status {
            held: None,
            at: 10_000,
            site: "family.home.arpa".to_owned(),
            server_name: "matrix.family.home.arpa".to_owned(),
            guest: Guest {
                backend: "lxc",
                id: "matrix".to_owned(),
                address: Some("10.86.42.10".to_owned()),
                state: "running".to_owned(),
                disk: Some(Room { free: 2 << 30, total: 20 << 30, files_free: None }),
                memory: Some(GuestMemory { used: 700 << 20, total: 2 << 30 }),
                lock: None,
            },
            services: vec![
                service("postgres_db", "healthy", 0, 120 << 20),
                service("redis", "healthy", 0, 8 << 20),
                service("synapse", "unhealthy", 2, 300 << 20),
                service("element-web", "starting", 0, 9 << 20),
            ],
            urls: vec![
                url("homeserver", "synapse", "http://10.86.42.10:8008", "https://matrix.family.home.arpa"),
                url("web client", "client", "http://10.86.42.10:8080", "https://chat.family.home.arpa"),
            ],
            contents: Some(Contents {
                users: 12,
                rooms: 1,
                local_media: Amount { files: 4, bytes: 5 << 20 },
                remote_media: Amount { files: 400, bytes: 1 << 30 },
                thumbnails: Amount::default(),
                database: 90 << 20,
            }),
            updates: Updates {
                hold: Vec::new(),
                auto: true,
                last: None,
                generation: Some(LastGeneration {
                    number: 3,
                    at: "2026-11-15T05:41:07Z".to_owned(),
                    by: "update".to_owned(),
                    outcome: "kept",
                    snapshot: None,
                }),
            },
            timers: vec![NextTimer {
                unit: "matrix-update.timer".to_owned(),
                side: Side::Guest,
                next: 10_000 + 3 * 86_400,
                last: None,
            }],
            found: LastFound {
                doctor: Some(Found { at: 10_000 - 7200, wrong: Vec::new(), unknown: 0, overtaken: false }),
                verify: None,
            },
            problem: None,
        }
    }

    fn model() -> Model {
        let mut model = Model::new("matrix.family.home.arpa".to_owned(), 2, true);
        model.shown = Some(FullStatus::alone(status()));
        model.now = 10_001;
        model
    }

    fn screen(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_fits_on_eighty_by_twenty_four() {
        insta::assert_snapshot!(screen(&model(), 80, 24));
    }

    #[test]
    fn what_there_is_room_for_is_drawn_on_less() {
        insta::assert_snapshot!(screen(&model(), 40, 8));
        for (width, height) in [(1, 1), (3, 2), (10, 3), (300, 100)] {
            screen(&model(), width, height);
        }
    }

    #[test]
    fn a_log_shows_its_end_and_goes_back() {
        let mut model = model();
        let lines: Vec<String> = (1..=30).map(|n| format!("line {n}")).collect();
        model.page = Page::Log { service: stack::synapse::ID, lines: Some(lines.clone()), back: 0 };
        let end = screen(&model, 40, 10);
        assert!(end.contains("line 30") && !end.contains("line 22"), "{end}");
        model.page = Page::Log { service: stack::synapse::ID, lines: Some(lines.clone()), back: 5 };
        let back = screen(&model, 40, 10);
        assert!(back.contains("line 25") && !back.contains("line 26"), "{back}");
        model.page = Page::Log { service: stack::synapse::ID, lines: Some(lines), back: 500 };
        assert!(screen(&model, 40, 10).contains("line 1 "), "not beyond the beginning");
    }

    #[test]
    fn the_keys_are_told() {
        let mut model = model();
        model.page = Page::Help;
        insta::assert_snapshot!(screen(&model, 80, 14));
    }

    #[test]
    fn before_the_first_answer_and_after_the_last_one() {
        let mut model = model();
        model.now = 10_100;
        assert!(screen(&model, 80, 24).contains("1 min ago"), "an old answer says that it is old");
        model.shown = None;
        assert!(screen(&model, 80, 24).contains("asking"));
        model.trouble = Some("could not reach the guest".to_owned());
        assert!(screen(&model, 80, 24).contains("could not reach the guest"));
    }

    #[test]
    fn without_colours_there_are_none() {
        let drawn = |colours| {
            let mut model = model();
            model.colours = colours;
            let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
            terminal.draw(|frame| draw(frame, &model)).unwrap();
            terminal.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset)
        };
        assert!(drawn(true) && !drawn(false));
    }
}
