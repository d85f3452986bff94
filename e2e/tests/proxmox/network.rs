//! The container's interface changes, and the guest is at its place in the network
//! afterwards: looked at from inside.

use std::time::Duration;

use matrix_podman_e2e::{How, Invocation, Scenario, wait_until};

use crate::{Site, pct};

impl Site {
    /// Changes what is asked for, and hands back whether the guest was restarted for it.
    #[track_caller]
    fn is_restarted(&self) -> bool {
        let plan = self.run(&["plan"]).ok();
        self.node.calls();
        let up = self.run(&["up", "--yes"]).ok();
        let restarted = pct(&self.node.calls()).iter().any(|call| call.starts_with("pct reboot"));
        assert_eq!(
            plan.stdout.contains("and restart it"),
            restarted,
            "it is said before\n{}{}",
            plan.evidence(),
            up.evidence()
        );
        self.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
        restarted
    }

    #[track_caller]
    fn addresses(&self) -> String {
        self.guest().exec(["ip", "address", "show", "dev", "eth0", "scope", "global"]).ok().stdout
    }
}

pub(crate) fn changed(s: &mut Scenario, site: &Site) {
    let number = site.lab.number;
    let network = |key: &str, value: &str| site.lab.set("[guest.network]", key, value);
    s.test("only from one fixed address to another, an interface changes without a restart", || {
        network("address", &format!("\"10.87.{number}.40/24\""));
        network("gateway", &format!("\"10.87.{number}.1\""));
        network("dns", &format!("[\"10.87.{number}.1\"]"));
        assert!(site.is_restarted(), "from DHCP to a fixed address");
        assert!(site.addresses().contains(&format!("10.87.{number}.40/24")), "{}", site.addresses());
        assert!(site.node.setting(100, "nameserver").is_some());
        network("address", &format!("\"10.87.{number}.41/24\""));
        assert!(!site.is_restarted(), "from a fixed address to another");
        let now = site.addresses();
        assert!(now.contains(&format!("10.87.{number}.41/24")) && !now.contains(".40/24"), "{now}");
    });
    s.test("a guest that lost its address to a change gets one, by the next up too", || {
        ["address", "gateway", "dns"].iter().for_each(|key| site.lab.unset(key));
        site.node.breaks("pct reboot", How::Dies);
        site.run(&["up", "--yes"]).exits(1);
        assert!(site.node.broke());
        let now = site.addresses();
        assert!(!now.contains("inet "), "Proxmox starts no DHCP client in it: {now}");
        site.run(&["plan"]).ok().says("Restart the container 100");
        site.run(&["up", "--yes"]).ok();
        let now = site.addresses();
        assert!(now.contains(&format!("inet 10.87.{number}.")), "{now}");
        assert_eq!(site.node.setting(100, "nameserver"), None);
        site.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
        for service in crate::status(site)["services"].as_array().unwrap() {
            assert_eq!(service["health"], "healthy", "{service}");
        }
    });
    s.test("an IPv6 address comes from the router, at the guest's start too, which does not hang", || {
        site.lab.set("[guest]", "ipv6", "true");
        site.lab.set("[proxmox]", "address6", "\"auto\"");
        let prefix = format!("fd87:{}", 200 + u16::from(number));
        let router = Router::advertise(site, &prefix);
        site.run(&["up", "--yes"]).ok();
        assert!(!site.setting("net0").contains("ip6"), "{}", site.setting("net0"));
        let comes = |when: &str| {
            wait_until(when, Duration::from_secs(60), || {
                let now = site.addresses();
                if now.contains(&format!("inet6 {prefix}:")) { Ok(()) } else { Err(now) }
            });
        };
        comes("the kernel takes an address");
        site.guest().shut_down();
        site.run(&["up", "--yes"]).ok();
        comes("and so it does after a start");
        let networking = site.guest().exec(["systemctl", "is-active", "networking.service"]);
        assert_eq!(networking.text(), "active", "{}", networking.evidence());
        site.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
        drop(router);
        site.lab.unset("address6");
        site.lab.unset("ipv6");
        site.run(&["up", "--yes"]).ok();
    });
}

/// A router on the lab's bridge that advertises a prefix.
struct Router {
    pid: String,
    address: String,
    bridge: String,
}

impl Router {
    #[track_caller]
    fn advertise(site: &Site, prefix: &str) -> Self {
        let (bridge, address) = (site.lab.bridge(), format!("{prefix}::1/64"));
        Invocation::new(["ip", "address", "add", &address, "dev", &bridge, "nodad"]).quietly().run().ok();
        let pid = site.lab.path("router.pid").display().to_string();
        Invocation::new([
            "dnsmasq",
            "--conf-file=/dev/null",
            "--port=0",
            "--bind-interfaces",
            "--enable-ra",
            "--ra-param=*,10,1800",
            &format!("--interface={bridge}"),
            "--except-interface=lo",
            &format!("--dhcp-range={prefix}::,ra-only,64"),
            &format!("--pid-file={pid}"),
        ])
        .quietly()
        .run()
        .ok();
        let pid = std::fs::read_to_string(pid).unwrap().trim().to_owned();
        Self { pid, address, bridge }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        Invocation::new(["kill", &self.pid]).quietly().run();
        Invocation::new(["ip", "address", "delete", &self.address, "dev", &self.bridge]).quietly().run();
    }
}
