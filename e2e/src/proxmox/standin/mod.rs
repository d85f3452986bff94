//! The commands of Proxmox VE, stood in for.

mod lxc;
mod network;
mod pct;
mod pveam;
mod pvesh;
mod pvesm;
mod snapshot;

pub(crate) use lxc::unmount_left;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use super::state::{Call, Folder, How};

/// What a command does when nothing goes wrong; an error is what it dies with.
type Outcome = Result<u8, String>;

/// Runs as the command that the program's file is called.
pub fn main() -> ExitCode {
    let own = std::env::current_exe().unwrap_or_else(|e| panic!("find out who I am: {e}"));
    let name = own.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
    // The commands are in the folder `bin` of the node's.
    let folder = Folder(own.parent().and_then(|bin| bin.parent()).map(PathBuf::from).unwrap_or_default());
    let words: Vec<String> = std::env::args().skip(1).collect();
    let argv: Vec<String> = [name.clone()].into_iter().chain(words.iter().cloned()).collect();
    if words.first().is_some_and(|word| word == "--ha-request") {
        return later(&folder, &words[1..]);
    }
    folder.note(&Call { argv: argv.clone() });
    std::thread::sleep(Duration::from_millis(folder.state(|state| state.slowness)));
    let fault = due(&folder, &argv.join(" "));
    if let Some(code) = fault.and_then(|how| before(how, &words)) {
        return code;
    }
    let outcome = match name.as_str() {
        "pct" => pct::run(&folder, &words, fault),
        "pvesm" => pvesm::run(&folder, &words),
        "pveam" => pveam::run(&folder, &words),
        "pvesh" => pvesh::run(&folder, &words),
        "pveversion" => {
            folder.state(|state| state.versions.iter().for_each(|(p, v)| println!("{p}: {v}")));
            Ok(0)
        }
        other => Err(format!("there is no stand-in for {other}")),
    };
    let _ = std::io::stdout().flush();
    match outcome {
        Ok(_) if fault == Some(How::DiesAfterwards) => {
            eprintln!("command 'something' failed: got signal 15");
            ExitCode::from(255)
        }
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(code_of(&why))
        }
    }
}

/// What Perl ends with: the number of the last error of the system, or 255.
fn code_of(why: &str) -> u8 {
    if why.contains("got timeout") {
        4
    } else if why.contains("does not exist") {
        2
    } else if why.contains("Inappropriate ioctl") {
        25
    } else {
        255
    }
}

/// Prints a line of a worker's. When nobody reads it any more, the worker is ended by
/// that, wherever it is.
fn say(line: &str) -> Result<(), Broken> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|_| Broken)
}

/// The output broke.
#[derive(Debug)]
struct Broken;

/// The fault that is due for a call, if one is.
fn due(folder: &Folder, call: &str) -> Option<How> {
    folder.faults(|faults| {
        let at = faults.iter().position(|fault| call.starts_with(&fault.call))?;
        if faults[at].after > 0 {
            faults[at].after -= 1;
            return None;
        }
        Some(faults.remove(at).how)
    })
}

/// What goes wrong before anything is done.
fn before(how: How, words: &[String]) -> Option<ExitCode> {
    let id = words.get(1).map(String::as_str).unwrap_or("100");
    match how {
        How::Dies => {
            eprintln!("unable to do it: Input/output error");
            Some(ExitCode::from(25))
        }
        How::DoesNothing => {
            eprintln!("the worker failed: Bad Gateway");
            Some(ExitCode::SUCCESS)
        }
        How::Locked => {
            eprintln!("CT is locked (backup)");
            Some(ExitCode::from(255))
        }
        How::TimesOut => {
            eprintln!("can't lock file '/run/lock/lxc/pve-config-{id}.lock' - got timeout");
            Some(ExitCode::from(4))
        }
        How::Babbles => {
            println!(
                "Use of uninitialized value in concatenation (.) or string at /usr/share/perl5/PVE/X.pm line 7."
            );
            Some(ExitCode::SUCCESS)
        }
        How::DiesAfterwards | How::Killed | How::KilledLate => None,
    }
}

/// What HA was asked for, which it does some seconds later.
fn later(folder: &Folder, words: &[String]) -> ExitCode {
    std::thread::sleep(Duration::from_secs(3));
    match pct::run(folder, &[words, &["--skip-ha".to_owned()]].concat(), None) {
        Ok(code) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Ends this process as SIGKILL does.
fn die() -> ! {
    let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
    std::process::abort()
}

/// Options and what stands alone: `--k v`, `--k=v` and `-k v` are the same.
#[derive(Debug, Default)]
struct Arguments {
    options: BTreeMap<String, String>,
    words: Vec<String>,
}

impl Arguments {
    /// Reads them; options that are not `allowed` are refused as the real
    /// commands refuse them.
    fn read(words: &[String], allowed: &[&str]) -> Result<Self, String> {
        let mut arguments = Arguments::default();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                arguments.words.push(word.clone());
                continue;
            };
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (option.to_owned(), None),
            };
            let known = allowed.contains(&key.as_str())
                || ["net", "mp", "dev"].iter().any(|kind| {
                    let number = key.strip_prefix(kind).unwrap_or("x");
                    allowed.contains(&format!("{kind}[n]").as_str()) && number.parse::<u8>().is_ok()
                });
            if !known {
                return Err(format!("Unknown option: {key}\n400 unable to parse option"));
            }
            let value = match value {
                Some(value) => value,
                None if words.peek().is_some_and(|next| !next.starts_with("--")) => {
                    words.next().cloned().unwrap_or_default()
                }
                // A flag alone is a yes; a password alone is read from standard input.
                None if key == "password" => String::new(),
                None => "1".to_owned(),
            };
            if arguments.options.insert(key.clone(), value).is_some() {
                return Err(format!("400 Parameter verification failed.\n{key}: given twice"));
            }
        }
        Ok(arguments)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }

    fn id(&self) -> Result<u32, String> {
        let id = self.words.first().and_then(|word| word.parse().ok()).filter(|id| *id >= 100);
        id.ok_or_else(|| "400 not enough arguments".to_owned())
    }
}
