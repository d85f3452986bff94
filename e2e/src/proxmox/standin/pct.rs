//! `pct`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, stdin},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use super::{Arguments, Outcome, die, lxc, network, say, snapshot};
use crate::proxmox::state::{Folder, GuestState, How, State};

/// Settings that `create` and `set` know, beside numbered ones.
const SETTINGS: [&str; 18] = [
    "hostname",
    "cores",
    "cpulimit",
    "memory",
    "swap",
    "onboot",
    "startup",
    "tags",
    "description",
    "protection",
    "features",
    "nameserver",
    "searchdomain",
    "timezone",
    "net[n]",
    "mp[n]",
    "dev[n]",
    "rootfs",
];

/// Those that take hold only at a reboot.
const AT_REBOOT: [&str; 3] = ["features", "nameserver", "searchdomain"];

pub(super) fn run(folder: &Folder, words: &[String], fault: Option<How>) -> Outcome {
    let killed = fault == Some(How::Killed);
    let [verb, rest @ ..] = words else { return Err("ERROR: no command specified".to_owned()) };
    match verb.as_str() {
        "create" => create(folder, rest, fault),
        "set" => set(folder, rest),
        "resize" => resize(folder, rest),
        "start" | "shutdown" | "reboot" => power(folder, verb, rest, killed),
        "unlock" => {
            let id = Arguments::read(rest, &[])?.id()?;
            folder.state(|state| state.container(id).map(|guest| guest.config.remove("lock")))?;
            Ok(0)
        }
        "destroy" => destroy(folder, rest),
        "exec" => exec(folder, rest),
        "snapshot" => snapshot::make(folder, rest, killed),
        "rollback" => snapshot::roll_back(folder, rest, killed),
        "delsnapshot" => snapshot::remove(folder, rest),
        "listsnapshot" => snapshot::print(folder, rest),
        "push" => push(folder, rest, killed),
        other => Err(format!("ERROR: unknown command 'pct {other}'")),
    }
}

pub(super) fn unlocked(guest: &GuestState) -> Result<(), String> {
    match guest.config.get("lock") {
        Some(lock) => Err(format!("CT is locked ({lock})")),
        None => Ok(()),
    }
}

fn quorum(state: &State) -> Result<(), String> {
    if state.quorate == Some(false) { Err("cluster not ready - no quorum?".to_owned()) } else { Ok(()) }
}

fn create(folder: &Folder, words: &[String], fault: Option<How>) -> Outcome {
    let more = ["unprivileged", "pool", "ssh-public-keys", "password", "storage", "start", "ostype", "force"];
    let allowed: Vec<&str> = SETTINGS.into_iter().chain(more).collect();
    let arguments = Arguments::read(words, &allowed)?;
    let id = arguments.id()?;
    let [_, template] = arguments.words.as_slice() else { return Err("400 not enough arguments".to_owned()) };
    let password = match arguments.get("password") {
        Some("") => Some(typed_password()?),
        Some(_) => return Err("a password on the command line can be read by everybody".to_owned()),
        None => None,
    };
    let keys = match arguments.get("ssh-public-keys") {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|e| format!("can't open '{file}' - {e}"))?;
            if !are_keys(&text) {
                return Err(
                    "400 Parameter verification failed.\nssh-public-keys: SSH public key validation error"
                        .to_owned(),
                );
            }
            Some(text)
        }
        None => None,
    };
    let (name, archive) = folder.state(|state| {
        quorum(state)?;
        if let Some(other) = state.guests.get(&id) {
            return Err(format!(
                "unable to create CT {id} - CT {id} already exists on node '{}'",
                other.node
            ));
        }
        if !state.templates.contains(template) {
            return Err(format!("volume '{template}' does not exist"));
        }
        if let Some(pool) = arguments.get("pool") {
            state.pools.get(pool).ok_or_else(|| format!("pool '{pool}' does not exist"))?;
        }
        for (key, value) in disks(&arguments) {
            let storage = value.split(':').next().unwrap_or_default();
            let found = state.storages.iter().find(|s| s.name == storage);
            let found = found.ok_or_else(|| format!("storage '{storage}' does not exist"))?;
            if !found.content.iter().any(|c| c == "rootdir") {
                return Err(format!("storage '{storage}' does not support container directories ({key})"));
            }
        }
        let config = BTreeMap::from([("lock".to_owned(), "create".to_owned())]);
        let node = state.node.clone();
        state.guests.insert(id, GuestState { kind: "lxc".to_owned(), node, config, ..GuestState::default() });
        state.tasks.push(("vzcreate".to_owned(), id, std::process::id()));
        Ok((state.lxc(id), state.archive.clone()))
    })?;
    let volumes: Vec<String> = disks(&arguments).map(|(key, value)| volume_of(id, key, value)).collect();
    // From here on its worker has made something. One that is ended by its output
    // removes the container, and what is mounted then it cannot remove.
    let broke = |folder: &Folder| {
        lxc::leave_mounted(id);
        folder.state(|state| {
            state.guests.remove(&id);
            state.tasks.retain(|(_, of, _)| *of != id);
            state.creations.insert(id, "broken pipe".to_owned());
        });
        let _ = lxc::remove(&name);
        die()
    };
    if say(&format!("Formatting '/dev/pve/vm-{id}-disk-0'")).is_err() {
        broke(folder);
    }
    folder.state(|state| state.volumes.extend(volumes.clone()));
    let made = lxc::remove(&name).and_then(|()| {
        if fault == Some(How::Killed) {
            lxc::leave_mounted(id);
            let _ = fs::create_dir_all(lxc::place(&name).join("rootfs"));
            died(folder, id);
        }
        if say(&format!("extracting archive '{archive}'")).is_err() {
            broke(folder);
        }
        lxc::unpack(&name, &archive)?;
        if say("Total bytes read: 551045120 (526MiB, 180MiB/s)").is_err() {
            broke(folder);
        }
        lxc::personalise(&name);
        Ok(())
    });
    if let Err(why) = made {
        return folder.state(|state| {
            state.tasks.retain(|(_, of, _)| *of != id);
            state.guests.remove(&id);
            state.volumes.retain(|volume| !volumes.contains(volume));
            state.creations.insert(id, why.clone());
            let _ = lxc::remove(&name);
            Err(format!("unable to create CT {id} - {why}"))
        });
    }
    // The whole config, without a lock; password, keys and pool come only then.
    folder.state(|state| {
        let guest = state.container(id)?;
        guest.config.remove("lock");
        let skip = ["pool", "ssh-public-keys", "password", "storage", "start", "force"];
        for (key, value) in arguments.options.iter().filter(|(key, _)| !skip.contains(&key.as_str())) {
            guest.config.insert(key.clone(), written(id, key, value));
        }
        guest.config.entry("unprivileged".to_owned()).or_insert_with(|| "1".to_owned());
        guest.config.insert("ostype".to_owned(), "debian".to_owned());
        guest.config.insert("arch".to_owned(), "amd64".to_owned());
        Ok::<_, String>(())
    })?;
    if fault == Some(How::KilledLate) {
        lxc::leave_mounted(id);
        died(folder, id);
    }
    if let Some(password) = &password {
        lxc::set_password(&name, password)?;
    }
    if let Some(keys) = &keys {
        let place = lxc::place(&name).join("rootfs/root/.ssh");
        fs::create_dir_all(&place)
            .and_then(|()| fs::write(place.join("authorized_keys"), keys))
            .map_err(|e| e.to_string())?;
    }
    let _ = say("Creating SSH host key 'ssh_host_ed25519_key' - this may take some time ...");
    folder.state(|state| {
        state.tasks.retain(|(_, of, _)| *of != id);
        if let Some(members) = arguments.get("pool").and_then(|pool| state.pools.get_mut(pool)) {
            members.push(id);
        }
        state.creations.insert(id, "OK".to_owned());
    });
    if !arguments.get("features").is_some_and(|f| f.contains("nesting=1")) {
        eprintln!("Task finished with 1 warning(s)!");
    }
    Ok(0)
}

/// A worker that is killed: its task is known to have ended, and not how.
fn died(folder: &Folder, id: u32) -> ! {
    folder.state(|state| state.creations.insert(id, "unexpected status".to_owned()));
    die()
}

fn disks(arguments: &Arguments) -> impl Iterator<Item = (&String, &String)> {
    arguments.options.iter().filter(|(key, _)| *key == "rootfs" || key.starts_with("mp"))
}

/// The name of the volume that is made for a disk.
fn volume_of(id: u32, key: &str, value: &str) -> String {
    written(id, key, value).split(',').next().unwrap_or_default().to_owned()
}

/// Each line of keys has to be one; a comment is none.
fn are_keys(text: &str) -> bool {
    text.lines().filter(|line| !line.trim().is_empty()).all(|line| {
        ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| line.starts_with(kind))
            && line.split_whitespace().count() > 1
    })
}

/// Two lines, which have to be the same.
fn typed_password() -> Result<String, String> {
    let mut lines = stdin().lock().lines().map_while(Result::ok);
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if first != second {
        return Err("Passwords do not match.".to_owned());
    }
    if first.len() < 5 {
        return Err("400 Parameter verification failed.\npassword: value must be at least 5 characters long"
            .to_owned());
    }
    Ok(first)
}

/// A setting as Proxmox writes it.
fn written(id: u32, key: &str, value: &str) -> String {
    let disk = |number: &str| {
        let (storage, rest) = value.split_once(':').unwrap_or((value, "4"));
        let (size, more) = rest.split_once(',').map_or((rest, String::new()), |(s, m)| (s, format!(",{m}")));
        if size.parse::<f64>().is_ok() {
            format!("{storage}:vm-{id}-disk-{number}{more},size={size}G")
        } else {
            value.to_owned()
        }
    };
    match key {
        "rootfs" => disk("0"),
        "mp0" => disk("1"),
        "tags" => {
            let tags: BTreeSet<String> =
                value.split([';', ',', ' ']).filter(|t| !t.is_empty()).map(str::to_lowercase).collect();
            tags.into_iter().collect::<Vec<_>>().join(";")
        }
        "description" => format!("{}\n", value.trim_end_matches('\n')),
        "net0" => {
            let mut value = value.to_owned();
            if !value.contains("hwaddr=") {
                value.push_str(&format!(",hwaddr=BC:24:11:00:{:02X}:{:02X}", id / 256 % 256, id % 256));
            }
            if !value.contains("type=") {
                value.push_str(",type=veth");
            }
            value
        }
        _ => value.to_owned(),
    }
}

fn set(folder: &Folder, words: &[String]) -> Outcome {
    let allowed: Vec<&str> = SETTINGS.into_iter().chain(["delete", "revert", "digest"]).collect();
    let arguments = Arguments::read(words, &allowed)?;
    let id = arguments.id()?;
    if arguments.options.is_empty() {
        return Err("no options specified".to_owned());
    }
    let (name, running, before) = folder.state(|state| {
        quorum(state)?;
        let name = state.lxc(id);
        let running = lxc::uptime(&name).is_some();
        let guest = state.container(id)?;
        unlocked(guest)?;
        let before = guest.config.get("net0").cloned().unwrap_or_default();
        for (key, value) in &arguments.options {
            if key == "delete" {
                for key in value.split(',') {
                    if running && AT_REBOOT.contains(&key) {
                        guest.pending.insert(key.to_owned(), None);
                    } else {
                        guest.config.remove(key);
                    }
                }
            } else if running && AT_REBOOT.contains(&key.as_str()) {
                guest.pending.insert(key.clone(), Some(written(id, key, value)));
            } else {
                guest.config.insert(key.clone(), written(id, key, value));
            }
        }
        Ok::<_, String>((name, running, before))
    })?;
    if running && let Some(net) = arguments.get("net0") {
        network::replug(&name, &before, &written(id, "net0", net))?;
    }
    if running && let Some(hostname) = arguments.get("hostname") {
        // The name that the guest goes by is that of its next start.
        lxc::write(&name, "etc/hostname", &format!("{hostname}\n"))?;
    }
    Ok(0)
}

fn resize(folder: &Folder, words: &[String]) -> Outcome {
    let arguments = Arguments::read(words, &[])?;
    let id = arguments.id()?;
    let [_, volume, size] = arguments.words.as_slice() else {
        return Err("400 not enough arguments".to_owned());
    };
    let gib = |text: &str| text.trim_end_matches('G').parse::<u64>().ok();
    let new = folder.state(|state| {
        let guest = state.container(id)?;
        unlocked(guest)?;
        let value = guest.config.get(volume).cloned().ok_or_else(|| format!("no such volume '{volume}'"))?;
        let (front, now) = value.rsplit_once("size=").unwrap_or((&value, "0G"));
        let now = gib(now).unwrap_or_default();
        let new = match size.strip_prefix('+') {
            Some(more) => now + gib(more).unwrap_or_default(),
            None => gib(size).ok_or("400 Parameter verification failed.")?,
        };
        if new < now {
            return Err("unable to shrink disk size".to_owned());
        }
        if new == now {
            return Err("disk is already at specified size".to_owned());
        }
        guest.config.insert(volume.clone(), format!("{front}size={new}G"));
        Ok(new)
    })?;
    let _ = say(&format!("  Size of logical volume pve/vm-{id}-disk-0 changed to {new}.00 GiB."));
    Ok(0)
}

fn power(folder: &Folder, verb: &str, words: &[String], killed: bool) -> Outcome {
    let arguments = Arguments::read(words, &["timeout", "forceStop", "debug", "skip-ha"])?;
    let id = arguments.id()?;
    let (name, made, running) = folder.state(|state| {
        quorum(state)?;
        let name = state.lxc(id);
        let running = lxc::uptime(&name).is_some();
        let guest = state.container(id)?;
        unlocked(guest)?;
        if guest.ha && verb != "reboot" && arguments.get("skip-ha").is_none() {
            return Ok((name, None, running));
        }
        if verb != "shutdown" {
            for (key, value) in std::mem::take(&mut guest.pending) {
                match value {
                    Some(value) => guest.config.insert(key, value),
                    None => guest.config.remove(&key),
                };
            }
        }
        let slow = if guest.unclean && verb != "shutdown" && !running { ext4_volumes(guest) } else { 0 };
        let config = guest.config.clone();
        Ok::<_, String>((name, Some((config, slow * state.unclean_start)), running))
    })?;
    let Some((config, slow)) = made else {
        // HA does it when it comes round.
        println!("Requesting HA {verb} for CT {id}");
        ask_ha(verb, words)?;
        return Ok(0);
    };
    match (verb, running) {
        ("start", true) => return Err(format!("CT {id} already running")),
        ("shutdown" | "reboot", false) => return Err(format!("CT {id} not running")),
        _ => {}
    }
    if verb != "start" {
        let force = arguments.get("forceStop").is_some_and(|force| force != "0");
        lxc::stop(&name, arguments.get("timeout").unwrap_or("60"), force)?;
        folder.state(|state| state.container(id).map(|guest| guest.unclean = false))?;
    }
    if killed {
        die();
    }
    if verb != "shutdown" {
        // ext4 waits whether another node has what was not unmounted in order.
        std::thread::sleep(Duration::from_secs(slow));
        boot(&name, &config)?;
        folder.state(|state| state.container(id).map(|guest| guest.unclean = true))?;
    }
    Ok(0)
}

fn ext4_volumes(guest: &GuestState) -> u64 {
    let disks = guest.config.keys().filter(|key| *key == "rootfs" || key.starts_with("mp"));
    u64::try_from(disks.count()).unwrap_or_default()
}

/// Has HA do it when it comes round.
pub(super) fn ask_ha(verb: &str, words: &[String]) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    Command::new(own)
        .args(["--ha-request", verb])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
        .map_err(|e| e.to_string())
}

fn boot(name: &str, config: &BTreeMap<String, String>) -> Result<(), String> {
    let net = network::parse(config.get("net0").map(String::as_str).unwrap_or_default());
    let bridge = net.get("bridge").copied().unwrap_or_default();
    if !fs::exists(format!("/sys/class/net/{bridge}")).unwrap_or_default() {
        return Err(format!("bridge '{bridge}' does not exist\nstartup for container failed"));
    }
    let bridge_mtu = fs::read_to_string(format!("/sys/class/net/{bridge}/mtu")).unwrap_or_default();
    let number = |text: &str| text.trim().parse::<u32>().unwrap_or_default();
    if net.get("mtu").is_some_and(|mtu| number(mtu) > number(&bridge_mtu)) {
        return Err("MTU size is bigger than bridge MTU".to_owned());
    }
    let volume = config.get("mp0").and_then(|mp| mp.split(',').find_map(|part| part.strip_prefix("mp=")));
    lxc::configure(&lxc::Made {
        name,
        hostname: config.get("hostname").map(String::as_str).unwrap_or(name),
        bridge,
        interfaces: network::interfaces(&net),
        hwaddr: net.get("hwaddr").copied(),
        mtu: net.get("mtu").copied(),
        nameserver: config.get("nameserver").map(String::as_str),
        volume,
    })?;
    lxc::start(name)
}

fn destroy(folder: &Folder, words: &[String]) -> Outcome {
    let arguments = Arguments::read(words, &["force", "purge", "destroy-unreferenced-disks"])?;
    let id = arguments.id()?;
    folder.state(|state| {
        quorum(state)?;
        let name = state.lxc(id);
        let guest = state.container(id)?;
        if guest.config.get("protection").is_some_and(|on| on == "1") {
            return Err(format!("can't remove CT {id} - protection mode enabled"));
        }
        unlocked(guest)?;
        if guest.ha && arguments.get("purge").is_none() {
            return Err(format!(
                "unable to remove CT {id} - used in HA resources and purge parameter not set."
            ));
        }
        if lxc::uptime(&name).is_some() {
            return Err(format!("CT {id} is running - destroy failed!"));
        }
        let known: Vec<String> = state.guests[&id]
            .config
            .values()
            .map(|v| v.split(',').next().unwrap_or_default().to_owned())
            .collect();
        // Only volumes that its config knows are its own.
        state.volumes.retain(|volume| !known.contains(volume));
        lxc::remove(&name)?;
        println!("purging CT {id} from related configurations..");
        state.guests.remove(&id);
        state.pools.values_mut().for_each(|members| members.retain(|member| *member != id));
        Ok(0)
    })
}

fn running(folder: &Folder, id: u32) -> Result<String, String> {
    let name = folder.state(|state| state.container(id).map(drop).map(|()| state.lxc(id)))?;
    match lxc::uptime(&name) {
        Some(_) => Ok(name),
        None => Err(format!("container '{id}' not running!")),
    }
}

fn exec(folder: &Folder, words: &[String]) -> Outcome {
    let end = words.iter().position(|word| word == "--").ok_or("400 not enough arguments")?;
    let arguments = Arguments::read(&words[..end], &["keep-env"])?;
    let name = running(folder, arguments.id()?)?;
    // Its default is to keep the environment of whoever calls.
    let environment = if arguments.get("keep-env") == Some("0") { "--clear-env" } else { "--keep-env" };
    let error =
        Command::new("lxc-attach").args(["-n", &name, environment, "--"]).args(&words[end + 1..]).exec();
    Err(format!("exec failed: {error}"))
}

/// Copies a file into a container. What goes wrong in its worker is said, and
/// the exit code is 0 all the same.
fn push(folder: &Folder, words: &[String], killed: bool) -> Outcome {
    let arguments = Arguments::read(words, &["perms", "user", "group"])?;
    let id = arguments.id()?;
    let [_, from, to] = arguments.words.as_slice() else { return Err("400 not enough arguments".to_owned()) };
    let name = running(folder, id)?;
    let file = fs::File::open(from).map_err(|e| format!("failed to open {from} for reading: {e}"))?;
    let attach = |argv: &[&str], input: Stdio| {
        let mut command = Command::new("lxc-attach");
        command.args(["-n", &name, "--clear-env", "--"]).args(argv).stdin(input).stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if killed {
        attach(&["dd", "status=none", "bs=64k", "count=4", &format!("of={to}")], file.into());
        die();
    }
    let copied = attach(&["dd", "status=none", "bs=1M", &format!("of={to}")], file.into());
    let perms = arguments.get("perms").unwrap_or("0644");
    if !copied || !attach(&["chmod", perms, "--", to], Stdio::null()) {
        eprintln!("failed to create file: {to}: No such file or directory");
    }
    Ok(0)
}
