//! The program's own bridge: address, forwarding, NAT, dnsmasq.

use std::{fs, path::Path, time::Duration};

use matrix_podman_core::{
    effect::OwnNetwork,
    fact::nat_table,
    name::{Mode, Owner},
    resource::BRIDGE_PID_FILES,
};
use serde_json::json;

use super::{Sink, file};
use crate::{
    failure::{Doing, Failure},
    guest::wire::Saying,
    probe,
    process::{Input, Program},
};

const QUICK: Duration = Duration::from_secs(30);

/// Brings the network up; what is up already stays untouched.
pub(super) fn up(network: &OwnNetwork, sink: &Sink) -> Result<(), Failure> {
    let bridge = network.bridge.as_str();
    let doing = format!("bring up the bridge {bridge}");
    let ip = |words: &[&str]| Program::new(["ip"].iter().chain(words)).deadline(QUICK);
    if !Path::new("/sys/class/net").join(bridge).exists() {
        ip(&["link", "add", "name", bridge, "type", "bridge"]).run(&doing, &|_| {})?;
    }
    let address = network.address.to_string();
    // `replace` adds the address or leaves it as it is.
    ip(&["address", "replace", &address, "dev", bridge]).run(&doing, &|_| {})?;
    ip(&["link", "set", "dev", bridge, "up"]).run(&doing, &|_| {})?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1\n").doing(|| "let this machine forward packets")?;
    nat(network, sink)?;
    dnsmasq(network)
}

/// One table of our own, replaced in one transaction. A firewall of somebody
/// else's that drops what it forwards still has the last word, and is named.
fn nat(network: &OwnNetwork, sink: &Sink) -> Result<(), Failure> {
    let table = nat_table(&network.bridge);
    let chain = |name: &str, kind: &str, hook: &str, priority: i32| json!({"add": {"chain": {"family": "inet", "table": table, "name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}}});
    let masquerade = json!({"add": {"rule": {"family": "inet", "table": table, "chain": "out", "expr": [
        {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}},
            "right": {"prefix": {"addr": network.address.network().to_string(), "len": network.address.prefix()}}}},
        {"match": {"op": "!=", "left": {"meta": {"key": "oifname"}}, "right": network.bridge}},
        {"masquerade": null}
    ]}}});
    let rules = json!({"nftables": [
        {"add": {"table": {"family": "inet", "name": table}}},
        {"delete": {"table": {"family": "inet", "name": table}}},
        {"add": {"table": {"family": "inet", "name": table}}},
        chain("out", "nat", "postrouting", 100),
        masquerade,
    ]});
    let text = rules.to_string();
    Program::new(["nft", "--json", "--file", "-"])
        .input(Input::Bytes(text.as_bytes()))
        .deadline(QUICK)
        .run(&format!("translate addresses for {}", network.bridge), &|line| {
            sink(Saying::Line(line.to_owned()))
        })
        .map_err(|failure| {
            failure.hint("the kernel needs nftables with NAT (modules nf_tables and nft_chain_nat)")
        })
}

/// dnsmasq answers names and gives leases on the bridge, and nowhere else.
fn dnsmasq(network: &OwnNetwork) -> Result<(), Failure> {
    let bridge = network.bridge.as_str();
    let folder = Path::new(BRIDGE_PID_FILES).join(bridge);
    file::make_dir(&folder, Mode(0o755), Owner::ROOT)?;
    let pid_file = folder.join("dnsmasq.pid");
    if let Ok(text) = fs::read_to_string(&pid_file)
        && Path::new("/proc").join(text.trim()).exists()
        && !text.trim().is_empty()
    {
        return Ok(());
    }
    let program = probe::command("dnsmasq").ok_or_else(|| {
        Failure::new("start dnsmasq", "it is not installed").hint("install the package dnsmasq-base")
    })?;
    let first = u32::from(network.address.network());
    let (from, to) = (std::net::Ipv4Addr::from(first + 100), std::net::Ipv4Addr::from(first + 199));
    let argv = [
        program.display().to_string(),
        "--conf-file=/dev/null".to_owned(),
        "--no-hosts".to_owned(),
        format!("--interface={bridge}"),
        "--except-interface=lo".to_owned(),
        "--bind-dynamic".to_owned(),
        format!("--pid-file={}", pid_file.display()),
        format!("--dhcp-leasefile={}", folder.join("leases").display()),
        format!("--dhcp-range={from},{to},1h"),
        "--dhcp-authoritative".to_owned(),
        "--user=nobody".to_owned(),
    ];
    Program::new(argv).run_daemon(&format!("start dnsmasq for {bridge}"))
}
