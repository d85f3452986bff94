//! A network interface, as the kernel has it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Output, last_line};
use crate::name::Invalid;

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its largest packet.
    pub mtu: u32,
    /// Its addresses that can be reached from elsewhere, with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Link {
    /// Its addresses of one kind, for people.
    pub fn shown(&self, ipv6: bool) -> String {
        let own: Vec<String> = self
            .addresses
            .iter()
            .filter(|(address, _)| address.is_ipv6() == ipv6)
            .map(|(address, prefix)| format!("{address}/{prefix}"))
            .collect();
        if own.is_empty() { "none".to_owned() } else { own.join(", ") }
    }
}

pub(super) fn ask(name: &str) -> Vec<String> {
    ["ip", "-json", "address", "show", "dev", name].map(str::to_owned).to_vec()
}

/// Reads `ip -json address show dev NAME`; `None` when there is no such interface.
pub(super) fn parse(output: &Output) -> Result<Option<Link>, Invalid> {
    #[derive(Deserialize)]
    struct Row {
        mtu: u32,
        #[serde(default)]
        addr_info: Vec<Address>,
    }
    #[derive(Deserialize)]
    struct Address {
        local: Option<IpAddr>,
        #[serde(default)]
        prefixlen: u8,
        #[serde(default)]
        scope: String,
    }
    if output.status != Some(0) {
        let said = last_line(&output.stderr);
        return if said.contains("does not exist") { Ok(None) } else { Err(Invalid::new(said)) };
    }
    let rows: Vec<Row> =
        serde_json::from_slice(&output.stdout).map_err(|e| Invalid::new(format!("ip address: {e}")))?;
    Ok(rows.into_iter().next().map(|row| Link {
        mtu: row.mtu,
        addresses: row
            .addr_info
            .into_iter()
            .filter(|address| address.scope == "global")
            .filter_map(|address| Some((address.local?, address.prefixlen)))
            .collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ip_printed() {
        let printed =
            br#"[{"ifindex":2,"link_index":61,"ifname":"eth0","flags":["BROADCAST","UP"],"mtu":1400,
            "address":"bc:24:11:87:00:30","addr_info":[
            {"family":"inet","local":"10.87.3.30","prefixlen":24,"scope":"global","label":"eth0"},
            {"family":"inet6","local":"fd87:4::30","prefixlen":64,"scope":"global","dynamic":true},
            {"family":"inet6","local":"fe80::be24:11ff:fe87:30","prefixlen":64,"scope":"link"}]}]"#;
        let output = Output { status: Some(0), stdout: printed.to_vec(), stderr: Vec::new() };
        let link = parse(&output).unwrap().unwrap();
        assert_eq!((link.mtu, link.addresses.len()), (1400, 2));
        assert_eq!(
            (link.shown(false), link.shown(true)),
            ("10.87.3.30/24".to_owned(), "fd87:4::30/64".to_owned())
        );
        let gone = Output {
            status: Some(1),
            stdout: Vec::new(),
            stderr: b"Device \"eth0\" does not exist.\n".to_vec(),
        };
        assert_eq!(parse(&gone).unwrap(), None);
        let odd = Output { status: Some(0), stdout: b"x".to_vec(), stderr: Vec::new() };
        parse(&odd).unwrap_err();
    }
}
