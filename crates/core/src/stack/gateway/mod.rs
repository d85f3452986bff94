//! The gateway (HAProxy): it stands before the services that are reached from outside, and holds requests while
//! they are away. It is off unless `gateway.enabled` is set.

mod causes;
mod conf;

use std::net::Ipv4Addr;

use super::{BuildRecipe, ContainerSpec, Facts, Front, Health, Mount, RoomNetwork, Service, ServiceImage};
use crate::{
    config::Config,
    desired::{DesiredFile, DesiredFolder},
    frame::RoomCause,
    layout,
    lock::LockedImage,
    name::{AbsPath, Cidr4, Owner},
    service::ServiceId,
    size::{Bytes, Seconds},
};

/// Its id.
pub const ID: ServiceId = ServiceId::known("gateway");

/// What it is to the services behind it. RFC 2544 keeps these networks for tests of networks, so that no home
/// has them.
static FRONT: Front = Front {
    network: RoomNetwork {
        name: "matrix-gateway",
        subnet: Cidr4::known(198, 18, 78, 0, 26),
        address: Ipv4Addr::new(198, 18, 78, 2),
        internal: true,
    },
    run: "/run/matrix-gateway",
};

/// Where the container finds its config.
const FOLDER: &str = "/usr/local/etc/haproxy";
/// How long one that is replaced waits for requests that it has begun: longer than clients wait for news.
const DRAIN: &str = "35s";
/// Where the container has its control socket.
const CONTROL: &str = "/run/gateway/control.sock";

fn folder() -> AbsPath {
    layout::in_root("gateway")
}

fn conf_file() -> AbsPath {
    folder().join("haproxy.cfg")
}

/// The config that HAProxy has not accepted yet, or did not accept.
fn candidate() -> AbsPath {
    folder().join(&format!("haproxy.cfg{}", layout::CANDIDATE))
}

/// The gateway.
#[derive(Debug)]
pub struct GatewayService;

impl Service for GatewayService {
    fn id(&self) -> ServiceId {
        ID
    }

    fn is_on(&self, config: &Config) -> bool {
        config.gateway.enabled
    }

    fn front(&self) -> Option<&'static Front> {
        Some(&FRONT)
    }

    fn network(&self) -> Option<&'static RoomNetwork> {
        Some(&FRONT.network)
    }

    fn container(
        &self,
        spec: &mut ContainerSpec,
        _: &Config,
        _: &LockedImage,
        _: &Facts,
    ) -> Result<(), String> {
        spec.entrypoint = Some("haproxy");
        spec.command = ["-db", "-f", &format!("{FOLDER}/haproxy.cfg")].map(str::to_owned).to_vec();
        let run = AbsPath::known(FRONT.run);
        let user = ID.owner();
        // Not on the disk: a socket there would outlive whoever listens on it.
        spec.before_start = ["install", "-d", "-m", "0700", "-o", &user.uid.to_string(), "-g"]
            .into_iter()
            .chain([user.gid.to_string().as_str(), run.as_str()])
            .map(str::to_owned)
            .collect();
        // The folder, so that a config which is new can be tried in it.
        spec.mounts.extend([Mount::read(folder(), FOLDER), Mount::write(run, "/run/gateway")]);
        spec.health = Health::of(
            ["wget", "-q", "-O", "/dev/null", &format!("http://{}/health", conf::HEALTH)]
                .map(str::to_owned)
                .to_vec(),
        );
        // It ends once those requests have that it has begun; systemd holds the ports meanwhile.
        spec.stop_signal = Some("SIGUSR1");
        spec.stop_timeout = Seconds(40);
        spec.limit(256, Bytes::mib(256));
        Ok(())
    }

    fn files(&self, _: &Config, _: &Facts) -> Vec<DesiredFile> {
        Vec::new()
    }

    fn tried_files(&self, config: &Config) -> Vec<DesiredFile> {
        let why = "What the gateway holds, hands on and refuses";
        vec![DesiredFile::read_by(ID.owner(), conf_file(), conf::text(config), why)]
    }

    fn trial(&self, _: &Config, _: &Facts) -> Option<Vec<String>> {
        let candidate = format!("{FOLDER}/haproxy.cfg{}", layout::CANDIDATE);
        let trial = format!("{}=1", conf::TRIAL);
        Some(["env", &trial, "haproxy", "-c", "-q", "-f", &candidate].map(str::to_owned).to_vec())
    }

    fn folders(&self) -> Vec<DesiredFolder> {
        vec![DesiredFolder::new(folder(), 0o755, Owner::ROOT)]
    }

    fn leftovers(&self) -> Vec<AbsPath> {
        vec![conf_file(), candidate(), layout::network_file(FRONT.network.name)]
    }

    fn image(&self) -> ServiceImage {
        ServiceImage { recipe: Some(BuildRecipe { name: "gateway", origins: "Debian" }), within_major: false }
    }

    fn also_called(&self) -> &'static [&'static str] {
        &["haproxy"]
    }

    fn family(&self) -> &'static str {
        "gateway/"
    }

    fn causes(&self) -> &'static [RoomCause] {
        causes::CAUSES
    }

    fn unit_is(&self) -> &'static str {
        "How systemd and Podman run the gateway"
    }
}
