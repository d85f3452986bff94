//! The page that lists the calls of Proxmox's commands, held against calls
//! that were made.

use std::{fs, path::Path};

/// `docs/reference/proxmox-calls.md`.
pub struct CallsPage {
    rows: Vec<Row>,
}

struct Row {
    call: String,
    when: String,
    /// Options that may come besides, as the page says.
    besides: Vec<String>,
}

impl CallsPage {
    /// Reads it.
    #[track_caller]
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/proxmox-calls.md");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
        let rows: Vec<Row> = text.lines().filter_map(row).collect();
        assert!(rows.len() > 20, "{} lists {} calls", path.display(), rows.len());
        Self { rows }
    }

    /// The row that describes a call, and when it says that the call is made.
    #[track_caller]
    pub fn find(&self, call: &[String]) -> (&str, &str) {
        let row = self.rows.iter().find(|row| row.describes(call));
        let row = row.unwrap_or_else(|| panic!("the page does not list `{}`", call.join(" ")));
        (&row.call, &row.when)
    }

    /// The calls that are made when one of these holds.
    pub fn made_when<'a>(&'a self, reasons: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.rows
            .iter()
            .filter(|row| reasons.iter().any(|reason| row.when.starts_with(reason)))
            .map(|row| row.call.as_str())
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.call.as_str())
    }
}

fn row(line: &str) -> Option<Row> {
    let line = line.strip_prefix("| `")?.replace("\\|", "¦");
    let mut cells = line.split(" | ");
    let call = cells.next()?.trim_end_matches('`').replace('¦', "|");
    let when = cells.next()?.trim_end_matches('|').trim().to_owned();
    let besides = when.split('`').filter(|word| word.starts_with("--")).map(str::to_owned).collect();
    Some(Row { call, when, besides })
}

impl Row {
    fn describes(&self, call: &[String]) -> bool {
        let mut words = call.iter().map(String::as_str).peekable();
        let mut pattern = self.call.split(' ').peekable();
        loop {
            while let Some(option) = words.next_if(|word| self.besides.iter().any(|b| b == word)) {
                // Its password is not on the command line.
                if option != "--password" && words.next().is_none() {
                    return false;
                }
            }
            let Some(wanted) = pattern.next() else { break };
            match wanted {
                "COMMAND" => return words.next().is_some(),
                "--KEY" => {
                    pattern.next();
                    let mut pairs = 0;
                    while words.next_if(|word| word.starts_with("--")).is_some() {
                        pairs += usize::from(words.next().is_some());
                    }
                    if pairs == 0 {
                        return false;
                    }
                }
                _ if words.next().is_none_or(|word| !is_meant(wanted, word)) => return false,
                _ => {}
            }
        }
        words.next().is_none()
    }
}

/// Whether a word is what the page means: capitals stand for something.
fn is_meant(wanted: &str, word: &str) -> bool {
    let stands_for_any = |part: &str| {
        part.contains(|c: char| c.is_ascii_uppercase())
            && part.chars().all(|c| c.is_ascii_uppercase() || c == '-' || c == '_' || c.is_ascii_digit())
    };
    if stands_for_any(wanted) || wanted.split('|').any(|choice| choice == word) {
        return true;
    }
    let parts = |text: &str| text.split(['/', ':']).map(str::to_owned).collect::<Vec<_>>();
    let (wanted, word) = (parts(wanted), parts(word));
    wanted.len() == word.len()
        && wanted.iter().zip(&word).all(|(w, is)| w == is || stands_for_any(w) && !is.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_describes_its_calls_and_no_others() {
        let describes = |line: &str, call: &str| {
            let call: Vec<String> = call.split(' ').map(str::to_owned).collect();
            row(line).is_some_and(|row| row.describes(&call))
        };
        let create = "| `pct create ID STORAGE:vztmpl/FILE --cores CORES --rootfs ROOTFS` | once; `--mp0` when asked \
                      for; `--password` last | a mark |";
        assert!(describes(create, "pct create 100 local:vztmpl/x.tar --cores 4 --mp0 tank:6 --rootfs a:4"));
        assert!(describes(create, "pct create 100 local:vztmpl/x.tar --cores 4 --rootfs a:4 --password"));
        assert!(describes(
            create,
            "pct create 100 local:vztmpl/x.tar --cores 4 --rootfs a:4 --mp0 b:2 --password"
        ));
        assert!(!describes(create, "pct create 100 local:vztmpl/x.tar --cores 4 --rootfs a:4 --force"));
        assert!(!describes(create, "pct create 100 local:x.tar --cores 4 --rootfs a:4"));
        let set = "| `pct set ID --KEY VALUE` | settings that differ | the settings |";
        assert!(describes(set, "pct set 100 --cores 4 --tags a"));
        assert!(!describes(set, "pct set 100"));
        let resize = "| `pct resize ID rootfs\\|mp0 SIZE` | larger | the size |";
        assert!(describes(resize, "pct resize 100 mp0 8G"));
        assert!(!describes(resize, "pct resize 100 mp1 8G"));
        let exec = "| `pct exec ID --keep-env 0 -- env HOME=/root COMMAND` | once | said |";
        assert!(describes(exec, "pct exec 100 --keep-env 0 -- env HOME=/root a b"));
        assert!(!describes(exec, "pct exec 100 --keep-env 1 -- env HOME=/root a b"));
        assert!(!describes(exec, "pct exec 100 --keep-env 0 -- env HOME=/home a b"));
        let get = "| `pvesh get /nodes/NODE/lxc/ID/pending --output-format json` | always |";
        assert!(describes(get, "pvesh get /nodes/pve/lxc/100/pending --output-format json"));
        assert!(!describes(get, "pvesh get /nodes/pve/lxc/100/config --output-format json"));
    }
}
