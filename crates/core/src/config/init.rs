//! The file that `matrix-podman init` writes, and what it shows beforehand.

use std::fmt::Write as _;

use super::{
    Config, Defaults,
    keys::{self, AnyKey, first_sentence},
};
use crate::name::{Domain, ServerName};

/// What `init` knows when it writes the file.
#[derive(Debug, Clone, PartialEq)]
pub struct InitAnswers {
    /// What was chosen, checked.
    pub config: Config,
    /// Keys that were asked for or given, which stand in the file even where
    /// they equal the default.
    pub chosen: Vec<String>,
}

/// Keys that always stand in the file: a default that changed one day, or on
/// another machine, must not change the server.
const ALWAYS: [&str; 3] = ["domain", "server_name", "timezone"];

/// Room for the text of a comment beside its marker.
const WIDTH: usize = 98;

/// The commented `matrix.toml`. What was chosen is active; the rest of what
/// most people care for is there as `#key = value`, with its default.
pub fn render_init(answers: &InitAnswers) -> String {
    let config = &answers.config;
    let usual = Config::from_domain(config.domain.as_str(), &Defaults::default()).ok();
    let active = |key: &dyn AnyKey| {
        let value = key.value_in(config)?;
        let differs = usual.as_ref().and_then(|usual| key.value_in(usual)).as_ref() != Some(&value);
        let chosen = answers.chosen.iter().any(|path| path == key.path());
        (differs || chosen || ALWAYS.contains(&key.path())).then_some(value)
    };
    let mut text = String::from(
        "# The config of this Matrix server. Lines that begin with #key show defaults: remove the #\n\
         # to change one. All keys: docs/reference/config.md. After a change: matrix-podman up\n",
    );
    for section in keys::sections() {
        let shown: Vec<_> = keys::in_section(section.path)
            .map(|key| (key, active(key)))
            .filter(|(key, active)| key.in_init() || active.is_some())
            .collect();
        if shown.is_empty() {
            continue;
        }
        if !section.path.is_empty() {
            let _ = write!(text, "\n# {}\n[{}]\n", first_sentence(section.doc), section.path);
        }
        for (n, (key, active)) in shown.into_iter().enumerate() {
            if n > 0 || section.path.is_empty() {
                text.push('\n');
            }
            comment(
                &mut text,
                if matches!(key.path(), "domain" | "server_name") {
                    key.doc()
                } else {
                    first_sentence(key.doc())
                },
            );
            let _ = match active {
                Some(value) => writeln!(text, "{} = {value}", key.name()),
                None => writeln!(text, "#{} = {}", key.name(), shown_value(key, usual.as_ref())),
            };
        }
    }
    text
}

/// What stands in a commented-out line: the default, else the example.
pub(super) fn shown_value(key: &dyn AnyKey, usual: Option<&Config>) -> String {
    usual
        .and_then(|usual| key.value_in(usual))
        .or_else(|| key.default_value())
        .map_or_else(|| key.example().to_owned(), |value| value.to_string())
}

/// Writes `words` as a comment, wrapped.
fn comment(text: &mut String, words: &str) {
    let mut line = String::new();
    for word in words.split(' ') {
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "# {line}");
}

/// One choice of server name, as it is shown before anything is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIdChoice {
    /// The value for `server_name`.
    pub server_name: ServerName,
    /// What people's ids look like with it, forever.
    pub user_id: String,
    /// What it costs.
    pub needs: String,
}

/// The two server names that most people choose from, the default first.
pub fn user_id_preview(domain: &Domain) -> [UserIdChoice; 2] {
    let choice = |server_name: ServerName, needs: String| UserIdChoice {
        user_id: format!("@anna:{server_name}"),
        server_name,
        needs,
    };
    let matrix = domain.child("matrix");
    [
        choice(matrix.clone().into(), format!("works automatically: {matrix} is this server")),
        choice(
            domain.clone().into(),
            format!("shorter; https://{domain}/.well-known/matrix/ has to lead to this server, always"),
        ),
    ]
}
