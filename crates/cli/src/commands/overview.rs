//! No command at all: what this is, what is on this machine, what to type next.

use std::path::Path;

use crate::{
    error::Error,
    output::Reporter,
    site::{self, Remembered},
};

/// What is there to be told of.
struct Here {
    root: bool,
    guest: bool,
    config: bool,
    servers: Vec<Remembered>,
}

/// Says it.
pub fn run(out: &Reporter) -> Result<u8, Error> {
    let here = Here {
        root: rustix::process::geteuid().is_root(),
        guest: site::is_guest(),
        config: Path::new(site::FILE).exists(),
        servers: site::remembered()?,
    };
    out.document(&text(&here));
    super::OK
}

fn text(here: &Here) -> String {
    let mut lines = vec![
        format!("matrix-podman {} creates and keeps a self-hosted Matrix server.", env!("CARGO_PKG_VERSION")),
        String::new(),
    ];
    let sudo = if here.root { "" } else { "sudo " };
    let next = if here.guest {
        lines.push("This is the guest of a server.".to_owned());
        "status"
    } else if !here.servers.is_empty() {
        lines.push("Servers on this machine:".to_owned());
        lines.extend(here.servers.iter().map(|one| format!("  {}   {}", one.name, one.config.display())));
        if here.servers.len() == 1 || here.config { "status" } else { "status --config FILE" }
    } else if here.config {
        lines.push("There is a matrix.toml in this folder, and no server made from it yet.".to_owned());
        "plan"
    } else {
        lines.push("There is no server on this machine yet.".to_owned());
        "init"
    };
    lines.push(String::new());
    lines.push(format!("next: {sudo}matrix-podman {next}"));
    lines.push("      matrix-podman --help lists everything else".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Here {
        Here { root: true, guest: false, config: false, servers: Vec::new() }
    }

    fn server(name: &str) -> Remembered {
        Remembered { name: name.to_owned(), config: format!("/root/{name}/matrix.toml").into() }
    }

    #[test]
    fn each_machine_gets_the_command_that_goes_on_from_there() {
        let two = vec![server("a.example"), server("b.example")];
        let cases = [
            (here(), "no server on this machine yet", "next: matrix-podman init"),
            (Here { root: false, ..here() }, "no server", "next: sudo matrix-podman init"),
            (Here { config: true, ..here() }, "matrix.toml in this folder", "next: matrix-podman plan"),
            (Here { guest: true, ..here() }, "the guest of a server", "next: matrix-podman status"),
            (
                Here { servers: vec![server("a.example")], ..here() },
                "  a.example   /root/",
                "matrix-podman status\n",
            ),
            (Here { servers: two, ..here() }, "  b.example", "next: matrix-podman status --config FILE"),
        ];
        for (here, says, next) in cases {
            let text = text(&here);
            assert!(text.contains(says) && text.contains(next), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        }
    }
}
