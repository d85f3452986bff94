//! What reaches the guest, what the guest can do to its machine's network, and
//! what the machine forwards: with a hostile guest, and hosts in two networks at
//! home that know a way to the guests.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use matrix_podman_e2e::{Home, Lab, Routed, Scenario};

const PASSWORD: &str = "correct horse battery staple";

/// Sends a router advertisement from every interface but the loopback: "I am the
/// way to the world, and this is your network".
const ADVERTISE: &str = r#"
import socket, struct
names = [n for _, n in socket.if_nameindex() if n == "eth0"]
assert names, socket.if_nameindex()
for name in names:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
    s.bind((name, 0))
    mac = s.getsockname()[4][:6]
    source = bytes([0xfe, 0x80] + [0] * 6 + [mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]])
    target = bytes([0xff, 2] + [0] * 13 + [1])
    prefix = bytes([3, 4, 64, 0xc0]) + struct.pack("!III", 86400, 86400, 0) + bytes([0xfd, 0x66] + [0] * 14)
    body = bytes([134, 0, 0, 0, 64, 0x08]) + struct.pack("!HII", 9000, 0, 0) + bytes([1, 1]) + mac + prefix
    pseudo = source + target + struct.pack("!I", len(body)) + bytes([0, 0, 0, 58]) + body
    total = sum(struct.unpack("!%dH" % (len(pseudo) // 2), pseudo))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xffff) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + target + body
    frame = bytes([0x33, 0x33, 0, 0, 0, 1]) + mac + bytes([0x86, 0xdd]) + packet
    for _ in range(3):
        s.send(frame)
"#;

/// Spellings of the admin API that a proxy and Synapse could read differently.
fn spellings() -> Vec<String> {
    let mut all = Vec::new();
    for root in ["_synapse", "%5fsynapse", "%5Fsynapse", "_s%79napse", "_synapse%00", "_synapse;x"] {
        for joint in ["/", "//", "/./", "/x/../", "/%2e/", "/x/%2e%2e/", "%2f", "%2F", "/x%2f..%2f"] {
            for admin in ["admin", "%61dmin", "adm%69n"] {
                for rest in ["v1/register", "v2/users", "v1/server_version"] {
                    all.push(format!("/{root}{joint}{admin}/{rest}"));
                }
            }
        }
    }
    for before in ["/_matrix/..", "/_matrix/client/../..", "/_matrix/%2e%2e", "/health/..", "//", "/."] {
        all.push(format!("{before}/_synapse/admin/v1/register"));
    }
    all.push("/_synapse/admin/v2/users/@a%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f_matrix%2fx%3aexample.org".to_owned());
    all.push("/_synapse/admin".to_owned());
    all
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("network");
    let lab = Lab::with_config("network");
    lab.set("[edge]", "proxies", "[]");
    lab.use_archives();
    let on = s.foundation("a machine that is no router has a server", || {
        let on = Routed::new(&lab);
        let plan = on.run(&["plan", "--diff"]).ok();
        plan.says("only this machine reaches the guest").says("speak to the ports 8008 and 8080");
        on.run(&["up", "--yes"]).ok().says("is up.");
        on
    });
    let (on, bridge) = (&on, lab.bridge());
    let address = guest_address(on);
    let (synapse, web) = (format!("http://{address}:8008"), format!("http://{address}:8080"));
    s.test("a second up has nothing to do", || {
        on.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
    });
    s.test("the machine reaches its guest, and no host does that knows a way", || {
        assert_eq!(on.machine_asks(&format!("{synapse}/_matrix/client/versions")), 200);
        assert_eq!(on.machine_asks(&format!("{web}/config.json")), 200);
        for home in [Home::First, Home::Second] {
            for url in ["/_matrix/client/versions", "/_synapse/admin/v1/register", "/health"] {
                assert_eq!(on.asks(home, &format!("{synapse}{url}")), 0, "{home:?} {url}");
            }
            assert_eq!(on.asks(home, &format!("{web}/config.json")), 0, "{home:?}");
            on.at(home, &["ping", "-c1", "-W2", &address]).exits(1);
            // They do reach the machine: the way is there.
            on.at(home, &["ping", "-c1", "-W2", &lab.gateway()]).ok();
        }
    });
    s.test("the machine does not become a router", || {
        assert_eq!(on.setting("ipv4/ip_forward"), "0");
        assert_eq!(on.setting(&format!("ipv4/conf/{bridge}/forwarding")), "1");
        assert_eq!(on.setting("ipv4/conf/up0/forwarding"), "1");
        assert_eq!(on.setting("ipv4/conf/lan0/forwarding"), "0");
        on.at(Home::First, &["ping", "-c1", "-W2", &on.address(Home::Second)]).exits(1);
        on.at(Home::Second, &["ping", "-c1", "-W2", &on.address(Home::First)]).exits(1);
        // Not to the side of the world, whose interface has to forward answers, nor
        // from there; that side knows the way.
        let world = format!("10.88.{}.1", lab.number);
        let (way, via) = (format!("{}/32", on.address(Home::First)), format!("10.88.{}.2", lab.number));
        let here = |words: &[&str]| matrix_podman_e2e::Invocation::new(words).quietly().run();
        here(&["ip", "route", "replace", &way, "via", &via]).ok();
        let (out, back) = (
            on.at(Home::First, &["ping", "-c1", "-W2", &world]),
            here(&["ping", "-c1", "-W2", &on.address(Home::First)]),
        );
        here(&["ip", "route", "del", &way]).ok();
        out.exits(1);
        back.exits(1);
        // What the guest asks is answered.
        on.guest(&format!("getent hosts {world} >/dev/null || true; timeout 5 bash -c '</dev/tcp/{world}/1' 2>&1 | grep -q refused"))
            .ok();
    });
    s.test("no way around the ports leads to a container", || {
        let networks = on.guest(
            "podman inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' synapse",
        );
        for inside in networks.ok().stdout.split_whitespace() {
            let url = format!("http://{inside}:8008/health");
            on.sh(&format!("ip route replace {inside}/32 via {address}")).ok();
            assert_eq!(
                on.command(["curl", "-s", "-m", "3", "-o", "/dev/null", &url]).run().code,
                28,
                "{url}"
            );
            on.sh(&format!("ip route del {inside}/32")).ok();
        }
    });
    s.test("the admin API answers nobody but the guest itself, in no spelling", || {
        on.program(&["user", "add", "anna", "--admin", "--password-file", "-"]).input(PASSWORD).run().ok();
        let body = serde_json::json!({"type": "m.login.password", "password": PASSWORD,
            "identifier": {"type": "m.id.user", "user": "anna"}});
        let login = on.command([
            "curl",
            "-sS",
            "--data",
            &body.to_string(),
            &format!("{synapse}/_matrix/client/v3/login"),
        ]);
        let token = login.quietly().run().ok().json()["access_token"].as_str().unwrap().to_owned();
        // One curl for all of them: what is asked and with which token is in its config.
        let mut config = format!("header = \"Authorization: Bearer {token}\"\npath-as-is\nsilent\n");
        let all = spellings();
        for path in &all {
            config.push_str(&format!(
                "url = \"{synapse}{path}\"\noutput = \"/dev/null\"\nwrite-out = \"%{{http_code}}\\n\"\n"
            ));
        }
        let said = on.command(["curl", "--globoff", "--config", "-"]).input(config).quietly().run();
        let statuses: Vec<&str> = said.stdout.lines().collect();
        assert_eq!(statuses.len(), all.len(), "{}", said.evidence());
        for (path, status) in all.iter().zip(statuses) {
            assert!(matches!(status, "400" | "403" | "404" | "405"), "{path}: {status}");
        }
        let put = format!("{synapse}/_synapse/admin/v2/users/@evil:{}", lab.server_name());
        let put = on.command([
            "curl",
            "-sS",
            "-X",
            "PUT",
            "-H",
            &format!("Authorization: Bearer {token}"),
            "--data",
            "{\"password\":\"x\",\"admin\":true}",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &put,
        ]);
        assert_eq!(put.quietly().run().ok().stdout.trim(), "404");
        let users = on.run(&["user", "list", "--json"]).ok();
        assert!(users.stdout.contains("@anna:") && !users.stdout.contains("@evil:"), "{}", users.evidence());
        // The network of the containers is no way either.
        on.guest("podman exec element-web wget -q -T 5 -O - http://synapse:8009/_synapse/admin/v1/register")
            .exits(1);
        on.guest("podman exec element-web wget -q -T 5 -O /dev/null http://synapse:8008/health").ok();
        on.guest("podman exec element-web wget -q -T 5 -O - http://synapse:8008/_synapse/admin/v1/register")
            .exits(1);
        on.run(&["verify"]).says("nobody but the guest itself");
    });
    s.test("a proxy that the config names is let in, alone, and to the ports alone", || {
        lab.set("[edge]", "proxies", &format!("[\"{}/32\"]", on.address(Home::First)));
        on.run(&["plan", "--diff"]).ok().says(&on.address(Home::First));
        on.run(&["up", "--yes"]).ok();
        on.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
        assert_eq!(on.asks(Home::First, &format!("{synapse}/_matrix/client/versions")), 200);
        assert_eq!(on.asks(Home::First, &format!("{web}/config.json")), 200);
        assert_eq!(on.asks(Home::First, &format!("{synapse}/_synapse/admin/v1/register")), 404);
        assert_eq!(on.asks(Home::Second, &format!("{synapse}/_matrix/client/versions")), 0);
        on.at(Home::First, &["ping", "-c1", "-W2", &address]).exits(1);
        on.at(Home::Second, &["ping", "-c1", "-W2", &on.address(Home::First)]).exits(1);
        lab.set("[edge]", "proxies", "[]");
        on.run(&["up", "--yes"]).ok();
        assert_eq!(on.asks(Home::First, &format!("{synapse}/_matrix/client/versions")), 0);
    });
    s.test("a hostile guest does not become the machine's router", || {
        // That such an advertisement works is seen where nobody is in its way.
        on.sh("ip link add ctl0 type bridge; ip link set ctl0 up; ip link add ctl1 type veth peer name eth0; ip link set ctl1 master ctl0 up\n\
             echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip link set eth0 up").ok();
        on.comes_to("the bridge has an address", Duration::from_secs(20), "ip -6 addr show dev ctl0 scope link -tentative | grep -q inet6");
        on.command(["/usr/bin/python3", "-c", ADVERTISE]).quietly().run().ok();
        on.comes_to("it is believed", Duration::from_secs(20), "ip -6 route show default | grep -q ctl0");
        on.sh("ip link del ctl0; ip link del ctl1").ok();
        for _ in 0..3 {
            on.hostile_guest(ADVERTISE);
        }
        std::thread::sleep(Duration::from_secs(3));
        let routes = on.sh("ip -6 route show; ip -6 addr show").ok();
        assert!(!routes.stdout.contains(&bridge) && !routes.stdout.contains("fd66:"), "{}", routes.evidence());
        for (name, value) in [("accept_ra", "0"), ("accept_redirects", "0"), ("disable_ipv6", "1")] {
            assert_eq!(on.setting(&format!("ipv6/conf/{bridge}/{name}")), value, "{name}");
        }
        let ports = on.sh(&format!("ls /sys/class/net/{bridge}/brif")).ok().stdout;
        for port in ports.split_whitespace() {
            assert_eq!(on.setting(&format!("ipv6/conf/{port}/disable_ipv6")), "1", "{port}");
        }
        for (name, value) in [("accept_redirects", "0"), ("rp_filter", "1"), ("arp_ignore", "1")] {
            assert_eq!(on.setting(&format!("ipv4/conf/{bridge}/{name}")), value, "{name}");
        }
    });
    s.test("what an earlier version brought up is mended", || {
        let table = format!("matrix-podman-{bridge}");
        on.sh(&format!(
            "nft delete table inet {table}; nft delete table inet matrix-podman-forwarding\n\
             nft add table inet {table}\n\
             nft \"add chain inet {table} out {{ type nat hook postrouting priority 100 ; }}\"\n\
             echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/{bridge}/accept_ra\n\
             echo 0 >/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6"
        ))
        .ok();
        on.guest("nft delete table inet matrix-ports; systemctl disable --now matrix-ports.service; rm -rf /etc/matrix-podman").ok();
        assert_eq!(on.asks(Home::First, &format!("{synapse}/_matrix/client/versions")), 200);
        let plan = on.run(&["plan", "--diff"]).ok();
        plan.says("what keeps a guest from rerouting the machine, who may pass it").says("ip_forward stays on");
        on.run(&["up", "--yes"]).ok();
        assert_eq!(on.asks(Home::First, &format!("{synapse}/_matrix/client/versions")), 0);
        assert_eq!(on.setting(&format!("ipv6/conf/{bridge}/accept_ra")), "0");
        assert_eq!(on.setting("ipv4/ip_forward"), "1");
        on.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
        on.sh("echo 0 >/proc/sys/net/ipv4/ip_forward").ok();
        on.run(&["up", "--yes"]).ok();
        on.at(Home::First, &["ping", "-c1", "-W2", &on.address(Home::Second)]).exits(1);
    });
    s.test("the guest closes its ports itself, also after its restart", || {
        on.command(["lxc-stop", "--name", &lab.guest().name]).quietly().run().ok();
        on.command(["lxc-start", "--name", &lab.guest().name, "--daemon"]).quietly().run().ok();
        on.comes_to(
            "the rules are loaded",
            Duration::from_secs(60),
            &format!("lxc-attach --name {} -- nft list table inet matrix-ports", lab.guest().name),
        );
        on.comes_to(
            "Synapse answers",
            Duration::from_secs(180),
            &format!("curl -s -m 3 -o /dev/null {synapse}/health"),
        );
        // A neighbour on the same bridge is a stranger, too.
        let neighbour = format!("10.87.{}.77", lab.number);
        let space = format!("mp{}n", lab.number);
        // From here: what is mounted in the machine's own view would be gone with the command.
        matrix_podman_e2e::Invocation::new(["ip", "netns", "add", &space]).quietly().run().ok();
        on.sh(&format!(
            "ip link add nb0 type veth peer name nb1; ip link set nb0 master {bridge} up\n\
             ip link set nb1 netns {space}; ip -n {space} addr add {neighbour}/24 dev nb1\n\
             ip -n {space} link set nb1 up"
        ))
        .ok();
        let asks =
            on.sh(&format!("ip netns exec mp{}n curl -s -m 3 -o /dev/null {synapse}/health", lab.number));
        matrix_podman_e2e::Invocation::new(["ip", "netns", "delete", &format!("mp{}n", lab.number)])
            .quietly()
            .run();
        asks.exits(28);
        on.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
    });
    s.test("dnsmasq comes back, and a number alone is not taken for it", || {
        let file = format!("/run/matrix-podman/{bridge}/dnsmasq.pid");
        on.sh(&format!("old=$(cat {file}); kill -9 $old")).ok();
        on.comes_to("it is back", Duration::from_secs(20), &format!("grep -q dnsmasq /proc/$(cat {file})/cmdline"));
        on.guest("timeout 10 getent ahosts deb.debian.org >/dev/null || timeout 10 getent hosts localhost").ok();
        // The number is another process's: nobody serves names, and nothing is killed.
        on.sh(&format!("kill $(cat /run/matrix-podman/{bridge}/keeper.pid); kill $(cat {file}); sleep 600 & echo $! >{file}; echo $! >/run/matrix-podman/{bridge}/sleeper")).ok();
        on.run(&["plan", "--diff"]).ok().says("dnsmasq is missing");
        on.run(&["up", "--yes"]).ok();
        on.sh(&format!("kill $(cat /run/matrix-podman/{bridge}/sleeper)")).ok();
        on.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
    });
    s.test("no request to the guest goes through the environment's proxy", || {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let port = recorder(Arc::clone(&seen));
        let proxy = format!("http://10.88.{}.1:{port}", lab.number);
        lab.set("[web]", "brand", "\"Behind a proxy\"");
        let mut up = on.program(&["up", "--yes"]);
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            up = up.env(name, &proxy);
        }
        up.run().ok().says("is up.");
        let seen = seen.lock().unwrap();
        assert!(!seen.iter().any(|line: &String| line.contains("10.87.")), "{seen:?}");
    });
    s.test("the guest has a limit of processes, memory and swap", || {
        let config = fs::read_to_string(lab.guest().folder().join("config")).unwrap();
        let name = lab.guest().name;
        for key in ["pids.max", "memory.memsw.limit_in_bytes", "memory.swap.max"] {
            let Some(line) = config.lines().find(|l| l.starts_with("lxc.cgroup") && l.contains(key)) else {
                continue;
            };
            let wanted = line.split('=').nth(1).unwrap().trim();
            let has = on.command(["lxc-cgroup", "--name", &name, key]).quietly().run().ok().stdout;
            assert_eq!(has.trim(), wanted, "{key}");
        }
        assert!(config.contains("pids.max = 8192"), "{config}");
        assert!(config.contains("memsw.limit_in_bytes") || config.contains("swap.max"), "{config}");
        let mounts = on.guest("podman exec synapse cat /proc/mounts").ok().stdout;
        let tmp = mounts.lines().find(|l| l.contains(" /tmp ")).unwrap().to_owned();
        assert!(tmp.contains("noexec"), "{tmp}");
    });
    s.long("what somebody else has forwarded stays theirs when one of several servers goes", || {
        // Another site's bridge is there, and somebody has had everything forwarded since.
        on.sh("mkdir /run/matrix-podman/mpother && echo 1 >/proc/sys/net/ipv4/ip_forward").ok();
        on.run(&["destroy", "--yes"]).ok();
        let tables = on.sh("nft list tables").ok().stdout;
        assert!(!tables.contains("matrix-podman-forwarding"), "{tables}");
        for name in ["up0", "lan0"] {
            assert_eq!(on.setting(&format!("ipv4/conf/{name}/forwarding")), "1");
        }
        on.sh("rmdir /run/matrix-podman/mpother && echo 0 >/proc/sys/net/ipv4/ip_forward").ok();
        on.run(&["up", "--yes"]).ok().says("is up.");
        assert_eq!(on.setting("ipv4/conf/lan0/forwarding"), "0");
    });
    s.test("destroy leaves the machine as it was", || {
        on.run(&["destroy", "--yes"]).ok();
        on.sh(&format!("ip link show {bridge}")).exits(1);
        let tables = on.sh("nft list tables").ok().stdout;
        assert!(!tables.contains("matrix-podman"), "{tables}");
        assert_eq!(on.setting("ipv4/conf/up0/forwarding"), "0");
        // In brackets, so that the shell that looks does not find itself.
        on.sh(&format!("pgrep -f 'machine-name[s] {bridge}'")).exits(1);
    });
    s.end()
}

fn guest_address(on: &Routed<'_>) -> String {
    let status = on.program(&["status", "--json"]).quietly().run().json();
    status["guest"]["address"].as_str().unwrap_or_else(|| panic!("{status}")).to_owned()
}

/// A proxy that writes down what it is asked for and refuses it.
fn recorder(seen: Arc<Mutex<Vec<String>>>) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { continue };
            let mut first = [0; 2048];
            let length = connection.read(&mut first).unwrap_or(0);
            let line =
                String::from_utf8_lossy(&first[..length]).lines().next().unwrap_or_default().to_owned();
            seen.lock().unwrap().push(line);
            let _ = connection.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
        }
    });
    port
}
