//! The program's own bridge: address, who may pass it, forwarding, NAT.
//!
//! What is remembered of it stands below `/run`, where rules and interfaces
//! last as long: one folder a bridge, with a file for each guest that it was
//! brought up for, and the interfaces that the program has forward packets.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use matrix_podman_core::{
    fact::{Fact, Value},
    firewall::{self, LetIn, OwnNetwork},
    name::{AbsPath, Mode, Owner},
    observed::Answer,
    resource::BRIDGE_PID_FILES,
};
use serde_json::Value as Json;

use super::names;
use crate::{
    failure::{Doing, Failure},
    file, probe,
    process::{Input, Program},
    progress::{Saying, Sink},
};

const QUICK: Duration = Duration::from_secs(30);
/// Folder of the interfaces that forward because the program had them; no
/// bridge has a name that begins with a dot.
const FORWARDING: &str = ".forwarding";
/// Of two runs, one after the other changes the rules.
const LOCK: &str = ".lock";

/// Brings the network up; what is up already stays untouched.
pub(super) fn up(network: &OwnNetwork, sink: &Sink) -> Result<(), Failure> {
    let bridge = network.bridge.as_str();
    let doing = format!("bring up the bridge {bridge}");
    let ip = |words: &[&str]| Program::new(["ip"].iter().chain(words)).deadline(QUICK);
    let _one = alone(&doing)?;
    if !Path::new("/sys/class/net").join(bridge).exists() {
        ip(&["link", "add", "name", bridge, "type", "bridge"]).run(&doing, &|_| {})?;
    }
    // Before anybody can say anything on it.
    harden(bridge, network.ipv6)?;
    for port in ports_of(bridge) {
        harden(&port, false)?;
        hand_back(bridge, &port)?;
    }
    remember(network)?;
    load(&firewall::bridge_table(network, &guests(bridge)?), &format!("say who may pass {bridge}"), sink)?;
    let address = network.address.to_string();
    // `replace` adds the address or leaves it as it is.
    ip(&["address", "replace", &address, "dev", bridge]).run(&doing, &|_| {})?;
    ip(&["link", "set", "dev", bridge, "up"]).run(&doing, &|_| {})?;
    forward(network, sink)?;
    names::serve(bridge, network.address)
}

/// Keeps guests at the other end of the interfaces on the program's own bridges
/// from telling the machine anything about routes.
pub(super) fn harden_ports() -> Result<(), Failure> {
    for bridge in bridges() {
        for port in ports_of(&bridge) {
            harden(&port, false)?;
            hand_back(&bridge, &port)?;
        }
    }
    Ok(())
}

/// Takes the bridge down when no guest is on it any more, and forgets `guest`.
pub fn leave(bridge: &str, guest: &str, used: bool) -> Result<(), Failure> {
    let doing = format!("take down the bridge {bridge}");
    let _one = alone(&doing)?;
    let folder = folder(bridge);
    file::remove(&folder.join("guests").join(guest))?;
    let link = Path::new("/sys/class/net").join(bridge);
    if used || !ports_of(bridge).is_empty() {
        return Ok(());
    }
    names::end(bridge);
    file::remove_partial(&folder)?;
    load(&firewall::remove_table(&firewall::bridge_table_name(bridge)), &doing, &|_| {})?;
    if link.exists() {
        Program::new(["ip", "link", "delete", "dev", bridge]).deadline(QUICK).run(&doing, &|_| {})?;
    }
    stop_forwarding(&doing)
}

/// Removes a table of the program's own, whether or not it is there.
pub fn forget(table: &str, doing: &str) -> Result<(), Failure> {
    load(&firewall::remove_table(table), doing, &|_| {})
}

/// Lets one run at a time change rules and what is remembered.
fn alone(doing: &str) -> Result<File, Failure> {
    let folder = Path::new(BRIDGE_PID_FILES);
    file::make_dir(folder, Mode(0o755), Owner::ROOT)?;
    let lock = File::create(folder.join(LOCK)).doing(|| doing)?;
    lock.lock().doing(|| doing)?;
    Ok(lock)
}

fn folder(bridge: &str) -> PathBuf {
    Path::new(BRIDGE_PID_FILES).join(bridge)
}

/// The interfaces on a bridge.
fn ports_of(bridge: &str) -> Vec<String> {
    names_in(&Path::new("/sys/class/net").join(bridge).join("brif"))
}

/// The names in a folder; none where there is no such. Those that begin with a
/// dot are files that are being written, and no interface's.
fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

/// Has the bridge hand a packet back to the guest that it came from: where the machine leads
/// its ports to that guest, this is how the guest finds them itself. Kernels need it that have
/// bridged packets pass the machine's rules (`br_netfilter`), as Docker wants it.
fn hand_back(bridge: &str, port: &str) -> Result<(), Failure> {
    let path = Path::new("/sys/class/net").join(bridge).join("brif").join(port).join("hairpin_mode");
    match fs::write(&path, "1") {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e).doing(|| format!("write {}", path.display())),
        _ => Ok(()),
    }
}

/// Sets what an interface that leads to a guest must not be without. What the
/// kernel does not have, such as IPv6, is nothing to protect from.
fn harden(interface: &str, ipv6: bool) -> Result<(), Failure> {
    firewall::interface_settings(interface, ipv6).iter().try_for_each(|(name, value)| set(name, value))
}

fn set(name: &str, value: &str) -> Result<(), Failure> {
    let path = firewall::setting_file(name);
    match fs::write(path.as_str(), format!("{value}\n")) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e).doing(|| format!("set {path} to {value}")),
        _ => Ok(()),
    }
}

fn is_on(name: &str) -> bool {
    fs::read_to_string(firewall::setting_file(name).as_str()).is_ok_and(|value| value.trim() == "1")
}

/// Writes down who reaches the guest that the bridge is brought up for: the
/// next run for another guest on it needs to know.
fn remember(network: &OwnNetwork) -> Result<(), Failure> {
    let folder = folder(&network.bridge).join("guests");
    file::make_dir(&folder, Mode(0o755), Owner::ROOT)?;
    let text = serde_json::to_string(&network.guest).doing(|| "write down who reaches the guest")?;
    file::write(&folder.join(&network.guest.guest), text.as_bytes(), Mode(0o644), Owner::ROOT)
}

/// All guests that the bridge was brought up for.
fn guests(bridge: &str) -> Result<Vec<LetIn>, Failure> {
    let folder = folder(bridge).join("guests");
    let read = |name: &String| {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).doing(|| format!("read {}", path.display()))
    };
    names_in(&folder).iter().map(read).collect()
}

/// Loads rules in one transaction. A firewall of somebody else's that drops what
/// it forwards still has the last word, and is named.
fn load(rules: &Json, doing: &str, sink: &Sink) -> Result<(), Failure> {
    let text = rules.to_string();
    Program::new(["nft", "--json", "--file", "-"])
        .input(Input::Bytes(text.as_bytes()))
        .deadline(QUICK)
        .run(doing, &|line| sink(Saying::Line(line.to_owned())))
        .map_err(|failure| {
            failure.hint("the kernel needs nftables with NAT (modules nf_tables and nft_chain_nat)")
        })
}

/// Has the bridge, and the interfaces by which its packets leave, forward.
///
/// Where everything forwards already, somebody else wants it so, and it stays.
/// Elsewhere the rule comes first that keeps the machine from becoming a router.
fn forward(network: &OwnNetwork, sink: &Sink) -> Result<(), Failure> {
    let doing = format!("let packets of {} pass", network.bridge);
    if is_on(firewall::FORWARDING_EVERYWHERE) {
        return load(&firewall::remove_table(firewall::FORWARDING_TABLE), &doing, sink);
    }
    let folder = folder(FORWARDING);
    file::make_dir(&folder, Mode(0o755), Owner::ROOT)?;
    let proxies = network.guest.proxies.iter().map(|proxy| proxy.address()).collect();
    let ways = match probe::answer(&Fact::Ways(proxies)) {
        Answer::Known(Value::Lines(ways)) => ways,
        Answer::Known(_) => Vec::new(),
        Answer::Unknown(why) => return Err(Failure::new(doing, why)),
    };
    let bridges = bridges();
    for way in ways.iter().filter(|way| !bridges.contains(way)) {
        if !is_on(&firewall::forwarding(way)) {
            file::write(&folder.join(way), b"", Mode(0o644), Owner::ROOT)?;
        }
    }
    let ours = names_in(&folder);
    if !ours.is_empty() {
        load(&firewall::forwarding_table(&ours, &bridges), &doing, sink)?;
    }
    ours.iter().chain([&network.bridge]).try_for_each(|name| set(&firewall::forwarding(name), "1"))
}

/// The program's own bridges.
fn bridges() -> Vec<String> {
    names_in(Path::new(BRIDGE_PID_FILES))
}

/// After a bridge is gone: with the last one, what forwards for guests alone
/// forwards no more.
fn stop_forwarding(doing: &str) -> Result<(), Failure> {
    let folder = folder(FORWARDING);
    let (ours, bridges) = (names_in(&folder), bridges());
    if ours.is_empty() {
        return Ok(());
    }
    // Somebody else has had everything forward since: that is theirs to keep, and to filter.
    let everywhere = is_on(firewall::FORWARDING_EVERYWHERE);
    if !bridges.is_empty() && !everywhere {
        return load(&firewall::forwarding_table(&ours, &bridges), doing, &|_| {});
    }
    if !everywhere {
        ours.iter().try_for_each(|name| set(&firewall::forwarding(name), "0"))?;
    }
    load(&firewall::remove_table(firewall::FORWARDING_TABLE), doing, &|_| {})?;
    file::remove_partial(&folder)
}

/// The file in which what serves names on `bridge` writes its process id.
pub(super) fn pid_file(bridge: &str) -> AbsPath {
    matrix_podman_core::resource::dnsmasq_pid_file(bridge)
}
