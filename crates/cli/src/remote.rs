//! Commands for a machine that is somewhere else: the config's `host`.

use std::{
    fs,
    io::{IsTerminal as _, stderr, stdin, stdout},
    path::Path,
};

use matrix_podman_core::{
    config::{Config, Defaults, RootPassword, Turn, names_host},
    layout,
    name::{Domain, Mode, Owner},
};
use matrix_podman_host::{
    failure::Failure,
    file,
    remote::{Handed, Remote},
};

use crate::{
    args::{Args, Command, Verify, VerifyWhat},
    error::Error,
    handed,
    output::{Reporter, piped_text},
    site,
};

/// Runs the command on the machine that the config names, if it names one;
/// mistakes in the config are told here.
pub fn relay(args: &Args, typed: &[String], out: &Reporter) -> Result<Option<u8>, Error> {
    if !concerns_a_site(&args.command) {
        return Ok(None);
    }
    // A restore in an empty folder is about no site that is here already.
    if matches!(args.command, Command::Restore(_)) && args.config.is_none() && !Path::new(site::FILE).exists()
    {
        return Ok(None);
    }
    // Which site it is, is said by the domain too. What is wrong with that is told by
    // the command itself.
    let Some(file) = site::locate(args.config.as_deref(), args.domain())? else { return Ok(None) };
    if handed::is_handed(&file) || file == Path::new(layout::applied_config().as_str()) {
        return Ok(None);
    }
    // What cannot be read is told about by the command itself.
    let Ok(text) = fs::read_to_string(&file) else { return Ok(None) };
    if !names_host(&text) {
        return Ok(None);
    }
    let config = parse(&text, &file)?;
    let Some(host) = config.host.clone() else { return Ok(None) };
    if let Command::Render(_) = args.command {
        return Err(Error::usage(
            format!("render writes files where it is typed, and this site is on {host}"),
            "log in there and run it, or look with `matrix-podman plan`",
        ));
    }
    let remote = Remote::open(&host, &|text| out.say(&text))?;
    let handed = Handed { site: config.site().to_owned(), config: text, files: files(&config)? };
    remote.hand(&handed)?;
    let (mut words, input) = rewritten(typed)?;
    words.splice(0..0, ["--config".to_owned(), handed::config(config.site()).display().to_string()]);
    // Over a terminal of the other machine, both its streams are one.
    let terminal = input.is_none()
        && out.is_for_person()
        && stdin().is_terminal()
        && stdout().is_terminal()
        && stderr().is_terminal();
    Ok(Some(remote.run(&words, terminal, input.as_deref())?))
}

/// Whether a command is about a site, and not about the program or a file here.
fn concerns_a_site(command: &Command) -> bool {
    !matches!(
        command,
        Command::Init(_)
            | Command::Schema
            | Command::Completions { .. }
            | Command::Man { .. }
            | Command::Agent { .. }
            | Command::Motd
            | Command::Receive
            | Command::MachineStart
            | Command::MachineNames { .. }
            | Command::Verify(Verify { what: Some(VerifyWhat::Federation { server: Some(_), .. }), .. })
    )
}

/// The config, as a machine of either kind would read it: what the other
/// machine is, is not known here.
fn parse(text: &str, file: &Path) -> Result<Config, Error> {
    let shown = file.display().to_string();
    let read = |proxmox| Config::parse_with(text, &shown, &[], &Defaults::default().on_proxmox(proxmox));
    Ok(read(true).or_else(|_| read(false))?)
}

/// The files that the config names and that are here. Archives of images stay
/// where they are: they are large, and their paths are the machine's.
fn files(config: &Config) -> Result<Vec<(String, String)>, Error> {
    let password = match &config.proxmox.root_password {
        RootPassword::File(path) => Some(path),
        RootPassword::Locked | RootPassword::Ask => None,
    };
    let turn = config.turn.iter().flat_map(Turn::files);
    let named = [password, config.proxmox.ssh_keys.as_ref(), config.notify.webhook_file.as_deref()];
    let mut files = Vec::new();
    for path in named.into_iter().flatten().chain(turn) {
        match fs::read_to_string(path.as_str()) {
            Ok(text) => files.push((path.to_string(), text)),
            // It may be on the other machine.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Failure::new(format!("read {path}"), e).into()),
        }
    }
    Ok(files)
}

/// What was typed, for the other machine: its config is another file, and a
/// file with a password is read here.
fn rewritten(typed: &[String]) -> Result<(Vec<String>, Option<Vec<u8>>), Error> {
    let mut words = Vec::new();
    let mut input = None;
    let mut rest = typed.iter();
    while let Some(word) = rest.next() {
        if word == "--config" || word == "-c" {
            rest.next();
        } else if word.starts_with("--config=") || (word.starts_with("-c") && !word.starts_with("--")) {
            // Its value stands in the same word.
        } else if word == "--password-file" || word.starts_with("--password-file=") {
            let value = word.split_once('=').map(|(_, value)| value.to_owned());
            let path = value.or_else(|| rest.next().cloned()).unwrap_or_default();
            if path != "-" {
                let bytes = fs::read(&path)
                    .map_err(|e| Error::usage(format!("cannot read {path}: {e}"), "name another file"))?;
                input = Some(bytes);
            }
            words.extend(["--password-file".to_owned(), "-".to_owned()]);
        } else {
            words.push(word.clone());
        }
    }
    Ok((words, input))
}

/// `receive`: takes config and files from standard input into a place that only
/// root can read.
pub fn receive() -> Result<u8, Error> {
    let doing = "take over the config";
    let text = piped_text().map_err(|e| Failure::new(doing, e))?;
    let handed: Handed = serde_json::from_str(&text).map_err(|e| Failure::new(doing, e))?;
    let site = Domain::parse(&handed.site).map_err(|e| Failure::new(doing, e))?;
    let folder = handed::folder(site.as_str());
    file::make_dir(&folder, Mode(0o700), Owner::ROOT)?;
    for (path, content) in &handed.files {
        file::write(&handed::file(site.as_str(), path), content.as_bytes(), Mode(0o600), Owner::ROOT)?;
    }
    file::write(&handed::config(site.as_str()), handed.config.as_bytes(), Mode(0o600), Owner::ROOT)?;
    Ok(crate::error::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_of_the_other_machine_is_another_file() {
        let typed = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for line in ["-c x up --yes", "up --config x --yes", "--config=x up --yes", "up -cx --yes"] {
            assert_eq!(rewritten(&typed(line)).unwrap().0, ["up", "--yes"], "{line}");
        }
        let (words, input) = rewritten(&typed("user add anna --password-file -")).unwrap();
        assert_eq!((words.len(), input), (5, None));
    }
}
