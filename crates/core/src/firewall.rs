//! Rules of nftables: who reaches the guest, and what the machine hands on.
//!
//! Format: libnftables-json(5), as `nft --json --file` reads it. Each table is
//! the program's own and is replaced in one transaction; tables of others keep
//! what they say, and a packet that one of them drops stays dropped.
//!
//! Every rule carries a comment. The one that closes a chain holds a digest over
//! the chain, so that the comments which are loaded tell whether the rules are
//! those that they should be.

use std::{fmt, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::name::{AbsPath, Cidr4, Digest, Invalid};

/// The table that keeps the machine from handing on what is not its guests'.
pub const FORWARDING_TABLE: &str = "matrix-podman-forwarding";
/// The guest's own table: who may speak to its ports.
pub const PORTS_TABLE: &str = "matrix-ports";
/// What Podman calls its bridges.
const PODMANS_BRIDGES: &str = "podman*";

/// The program's own network for guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnNetwork {
    /// Name of the bridge.
    pub bridge: String,
    /// The machine's address on it.
    pub address: Cidr4,
    /// Whether the guest is to have IPv6.
    pub ipv6: bool,
    /// Who reaches the guest that it is brought up for.
    pub guest: LetIn,
}

/// Who, besides the machine itself, reaches a guest on the program's own bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetIn {
    /// The guest's name.
    pub guest: String,
    /// Its address, where it is known before the guest is there.
    pub address: Option<Ipv4Addr>,
    /// The reverse proxies that the config names.
    pub proxies: Vec<Source>,
    /// The ports that they reach.
    pub ports: Vec<u16>,
    /// The ports of the machine that lead to the guest, whoever calls.
    #[serde(default)]
    pub open: Vec<OpenPorts>,
}

/// Ports that anybody may speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPorts {
    /// What is spoken there.
    pub protocol: Transport,
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// What carries a port's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Packets.
    Udp,
}

impl fmt::Display for OpenPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        match self.last == self.first {
            true => write!(f, "{}/{protocol}", self.first),
            false => write!(f, "{}-{}/{protocol}", self.first, self.last),
        }
    }
}

impl OpenPorts {
    /// What matches packets to them.
    fn json(self) -> Json {
        let protocol = match self.protocol {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        let ports = if self.first == self.last {
            json!(self.first)
        } else {
            json!({"range": [self.first, self.last]})
        };
        is(field(protocol, "dport"), ports)
    }
}

/// Where somebody speaks from: one address, or all of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    address: Ipv4Addr,
    prefix: u8,
}

impl Source {
    /// An address alone.
    pub const fn alone(address: Ipv4Addr) -> Self {
        Self { address, prefix: 32 }
    }

    /// Its first address.
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    fn json(self) -> Json {
        json!({"prefix": {"addr": self.address.to_string(), "len": self.prefix}})
    }
}

impl From<Cidr4> for Source {
    fn from(network: Cidr4) -> Self {
        Self { address: network.network(), prefix: network.prefix() }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            32 => write!(f, "{}", self.address),
            prefix => write!(f, "{}/{prefix}", self.address),
        }
    }
}

/// The nftables table for the network of `bridge`.
pub fn bridge_table_name(bridge: &str) -> String {
    format!("matrix-podman-{bridge}")
}

/// The comment of a rule that leads a port to a guest.
fn lead_comment(guest: &str, ports: OpenPorts) -> String {
    format!("{ports} leads to {guest}")
}

/// Whom the machine leads one of `ports` to already, where that is not `guest`; read from
/// the comments of the rules that are loaded.
pub fn led_elsewhere(loaded: &[String], guest: &str, ports: &[OpenPorts]) -> Option<(OpenPorts, String)> {
    ports.iter().find_map(|ports| {
        let to = format!("{ports} leads to ");
        let other =
            loaded.iter().find_map(|comment| comment.strip_prefix(&to).filter(|other| *other != guest));
        other.map(|other| (*ports, other.to_owned()))
    })
}

/// A table under construction.
struct Table {
    name: String,
    /// `add` commands of chains and rules, in order.
    parts: Vec<Json>,
}

impl Table {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), parts: Vec::new() }
    }

    /// A chain that the kernel sends packets through; what no rule decides passes.
    fn chain(&mut self, name: &str, kind: &str, hook: &str, priority: i32) {
        self.parts.push(json!({"add": {"chain": {
            "family": "inet", "table": self.name, "name": name,
            "type": kind, "hook": hook, "prio": priority, "policy": "accept",
        }}}));
    }

    fn rule(&mut self, chain: &str, comment: &str, expr: impl IntoIterator<Item = Json>) {
        let expr: Vec<Json> = expr.into_iter().collect();
        self.parts.push(json!({"add": {"rule": {
            "family": "inet", "table": self.name, "chain": chain, "comment": comment, "expr": expr,
        }}}));
    }

    /// Leads the machine's open ports to a guest: for packets from anywhere, the guest's
    /// own among them, and for those of the machine itself.
    fn lead(&mut self, guest: &LetIn, inside: &Json) {
        let Some(address) = guest.address.filter(|_| !guest.open.is_empty()) else { return };
        let local = || is(json!({"fib": {"result": "type", "flags": ["daddr"]}}), "local");
        // What the machine sends to itself by name stays with it.
        let no_loopback = || is_not(field("ip", "daddr"), json!({"prefix": {"addr": "127.0.0.0", "len": 8}}));
        for (chain, hook) in [("open", "prerouting"), ("open-here", "output")] {
            self.chain(chain, "nat", hook, -100);
            for ports in &guest.open {
                let lead = json!({"dnat": {"family": "ip", "addr": address.to_string()}});
                let comment = lead_comment(&guest.guest, *ports);
                self.rule(
                    chain,
                    &comment,
                    [is(meta("nfproto"), "ipv4"), local(), no_loopback(), ports.json(), lead],
                );
            }
        }
        // A guest that calls itself by the machine's address gets an answer.
        self.rule(
            "out",
            &format!("{} calls itself", guest.guest),
            [
                is(field("ip", "saddr"), inside.clone()),
                is(field("ip", "daddr"), address.to_string()),
                sent_here(),
                json!({"masquerade": null}),
            ],
        );
    }

    /// The first digits of a digest over all that stands in it so far.
    fn digest(&self) -> String {
        let text = Json::from(self.parts.clone()).to_string();
        Digest::of_sha256(&Sha256::digest(text.as_bytes())).hex().chars().take(12).collect()
    }

    /// Replaces the table of that name, or makes it.
    fn replace(self) -> Json {
        let table = json!({"table": {"family": "inet", "name": self.name}});
        let mut all = vec![json!({"add": table}), json!({"delete": table}), json!({"add": table})];
        all.extend(self.parts);
        json!({ "nftables": all })
    }
}

/// Removes a table, whether or not it is there.
pub fn remove_table(name: &str) -> Json {
    let table = json!({"table": {"family": "inet", "name": name}});
    json!({"nftables": [{"add": table}, {"delete": table}]})
}

fn compare(op: &str, left: Json, right: impl Into<Json>) -> Json {
    json!({"match": {"op": op, "left": left, "right": right.into()}})
}

fn is(left: Json, right: impl Into<Json>) -> Json {
    compare("==", left, right)
}

fn is_not(left: Json, right: impl Into<Json>) -> Json {
    compare("!=", left, right)
}

fn meta(key: &str) -> Json {
    json!({"meta": {"key": key}})
}

fn field(protocol: &str, field: &str) -> Json {
    json!({"payload": {"protocol": protocol, "field": field}})
}

fn conntrack(key: &str) -> Json {
    json!({"ct": {"key": key}})
}

/// One value, or any of several.
fn any_of(values: impl IntoIterator<Item = Json>) -> Json {
    let mut values: Vec<Json> = values.into_iter().collect();
    if values.len() == 1 { values.remove(0) } else { json!({ "set": values }) }
}

fn ports(of: &[u16]) -> Json {
    any_of(of.iter().map(|port| json!(port)))
}

fn accept() -> Json {
    json!({"accept": null})
}

fn drop_it() -> Json {
    json!({"drop": null})
}

/// What belongs to a connection that was let through.
fn known() -> Json {
    compare("in", conntrack("state"), json!(["established", "related"]))
}

/// What a rule of the machine's own sent here: a port that somebody with the
/// right to do so published.
fn sent_here() -> Json {
    compare("in", conntrack("status"), "dnat")
}

/// The table of the program's own bridge: what its guests send out gets the
/// machine's address; in comes what answers that, and what a guest's proxies
/// send to its ports. Nothing else passes, in either direction.
pub fn bridge_table(of: &OwnNetwork, guests: &[LetIn]) -> Json {
    bridge_rules(of, guests).replace()
}

fn bridge_rules(of: &OwnNetwork, guests: &[LetIn]) -> Table {
    let bridge = of.bridge.as_str();
    let inside = Source::from(of.address).json();
    let (to_guests, from_guests) = (is(meta("oifname"), bridge), is(meta("iifname"), bridge));
    let (to_others, from_others) = (is_not(meta("oifname"), bridge), is_not(meta("iifname"), bridge));
    let mut table = Table::new(bridge_table_name(bridge));
    table.chain("out", "nat", "postrouting", 100);
    table.rule(
        "out",
        "guests go out with the machine's address",
        [is(field("ip", "saddr"), inside.clone()), to_others.clone(), json!({"masquerade": null})],
    );
    table.chain("forward", "filter", "forward", 0);
    table.rule("forward", "answers to guests", [to_guests.clone(), known(), accept()]);
    table.rule(
        "forward",
        "ports that the machine's own rules publish",
        [to_guests.clone(), sent_here(), accept()],
    );
    let base = table.digest();
    for guest in guests {
        let mut own = Table::new(table.name.clone());
        for proxy in &guest.proxies {
            let to = guest.address.map(|address| is(field("ip", "daddr"), address.to_string()));
            let from = is(field("ip", "saddr"), proxy.json());
            let ports = is(field("tcp", "dport"), ports(&guest.ports));
            let expr = [to_guests.clone()].into_iter().chain(to).chain([from, ports, accept()]);
            own.rule("forward", &format!("a proxy of {}", guest.guest), expr);
        }
        own.lead(guest, &inside);
        // Decides nothing: it says which rules of the guest's stand before it.
        let mark = format!("proxies of {} [{}]", guest.guest, own.digest());
        own.rule("forward", &mark, [to_guests.clone(), from_others.clone(), json!({"counter": null})]);
        table.parts.extend(own.parts);
    }
    table.rule("forward", &format!("nothing else to guests [{base}]"), [to_guests, from_others, drop_it()]);
    table.rule(
        "forward",
        "guests use their own addresses",
        [
            from_guests.clone(),
            to_others.clone(),
            is(meta("nfproto"), "ipv4"),
            is_not(field("ip", "saddr"), inside),
            drop_it(),
        ],
    );
    table.rule(
        "forward",
        "guests have no IPv6 through here",
        [from_guests, to_others, is(meta("nfproto"), "ipv6"), drop_it()],
    );
    table
}

/// The comments that must be in the bridge's table where its rules, and those of
/// the guest in `of`, are as they should be.
pub fn bridge_comments(of: &OwnNetwork) -> Vec<String> {
    comments_of(&bridge_rules(of, std::slice::from_ref(&of.guest)).parts)
}

/// Where the program had interfaces forward packets, and nobody else did: the
/// machine hands on what concerns its guests (whose own tables decide) and does
/// not become a router between its other interfaces.
pub fn forwarding_table(interfaces: &[String], bridges: &[String]) -> Json {
    let named = |names: &[String]| any_of(names.iter().map(|name| json!(name)));
    let mut table = Table::new(FORWARDING_TABLE);
    table.chain("forward", "filter", "forward", 0);
    table.rule("forward", "answers", [known(), accept()]);
    table.rule("forward", "ports that the machine's own rules publish", [sent_here(), accept()]);
    table.rule(
        "forward",
        "this machine is no router: it forwards for its guests only",
        [
            is(meta("nfproto"), "ipv4"),
            is(meta("iifname"), named(interfaces)),
            is_not(meta("oifname"), named(bridges)),
            drop_it(),
        ],
    );
    table.replace()
}

/// The guest's own table: only `callers` reach `ports`, and nobody reaches a
/// container around its published port.
fn ports_rules(of: &[u16], callers: &[Source]) -> Table {
    let mut table = Table::new(PORTS_TABLE);
    // Before Podman's rules send a published port to its container.
    table.chain("ports", "filter", "prerouting", -150);
    let here = || {
        [
            is(field("tcp", "dport"), ports(of)),
            is(json!({"fib": {"result": "type", "flags": ["daddr"]}}), "local"),
        ]
    };
    table.rule("ports", "the guest itself", [is(meta("iifname"), "lo"), accept()]);
    for caller in callers {
        let from = is(field("ip", "saddr"), caller.json());
        table.rule("ports", "a proxy", here().into_iter().chain([from, accept()]));
    }
    let mark = format!("nobody else [{}]", table.digest());
    table.rule("ports", &mark, here().into_iter().chain([is(conntrack("direction"), "original"), drop_it()]));
    table.chain("containers", "filter", "forward", -1);
    table.rule("containers", "answers", [known(), accept()]);
    table.rule("containers", "published ports", [sent_here(), accept()]);
    table.rule(
        "containers",
        "nobody reaches a container around its published port",
        [is(meta("oifname"), PODMANS_BRIDGES), is_not(meta("iifname"), PODMANS_BRIDGES), drop_it()],
    );
    table
}

/// The guest's own table, for [`PORTS_TABLE`].
pub fn ports_table(of: &[u16], callers: &[Source]) -> Json {
    ports_rules(of, callers).replace()
}

/// The comments that must be in the guest's table.
pub fn ports_comments(of: &[u16], callers: &[Source]) -> Vec<String> {
    comments_of(&ports_rules(of, callers).parts)
}

fn comments_of(parts: &[Json]) -> Vec<String> {
    parts
        .iter()
        .filter_map(|part| part.pointer("/add/rule/comment").or_else(|| part.pointer("/rule/comment")))
        .filter_map(|comment| comment.as_str().map(str::to_owned))
        .collect()
}

/// The comments of the rules that are loaded, from `nft --json list table`; none
/// where there is no such table.
pub fn parse_comments(status: Option<i32>, listed: &[u8]) -> Result<Vec<String>, Invalid> {
    if status != Some(0) {
        return Ok(Vec::new());
    }
    let said: Json = serde_json::from_slice(listed)
        .map_err(|e| Invalid::new(format!("nft's list cannot be read: {e}")))?;
    let parts = said.get("nftables").and_then(Json::as_array).cloned().unwrap_or_default();
    Ok(comments_of(&parts))
}

/// Whether all rules that should be loaded are, as far as their comments tell.
pub fn are_loaded(wanted: &[String], loaded: &[String]) -> bool {
    wanted.iter().all(|comment| loaded.contains(comment))
}

/// The kernel's settings of an interface that leads to guests, as names below
/// `net.` and what they should be. They are set before it is up: a guest is
/// nobody's router and tells the machine nothing about its network.
pub fn interface_settings(interface: &str, ipv6: bool) -> Vec<(String, &'static str)> {
    let v4 = [
        ("accept_redirects", "0"),
        ("secure_redirects", "0"),
        ("send_redirects", "0"),
        ("accept_source_route", "0"),
        // An address that is not on the bridge is not a guest's.
        ("rp_filter", "1"),
        // The machine answers for its address on this network, and no other.
        ("arp_ignore", "1"),
        ("arp_announce", "2"),
        ("proxy_arp", "0"),
    ];
    let v6 = [
        ("accept_ra", "0"),
        ("accept_redirects", "0"),
        ("accept_source_route", "0"),
        ("autoconf", "0"),
        ("disable_ipv6", if ipv6 { "0" } else { "1" }),
    ];
    let named = |family: &str, name: &str| format!("{family}/conf/{interface}/{name}");
    v4.map(|(name, value)| (named("ipv4", name), value))
        .into_iter()
        .chain(v6.map(|(name, value)| (named("ipv6", name), value)))
        .collect()
}

/// The file of a kernel setting below `net.`.
pub fn setting_file(name: &str) -> AbsPath {
    AbsPath::known(format!("/proc/sys/net/{name}"))
}

/// The setting that has an interface forward packets.
pub fn forwarding(interface: &str) -> String {
    format!("ipv4/conf/{interface}/forwarding")
}

/// The setting that has every interface forward packets.
pub const FORWARDING_EVERYWHERE: &str = "ipv4/ip_forward";

#[cfg(test)]
#[path = "firewall_tests.rs"]
mod tests;
