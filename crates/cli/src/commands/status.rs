//! `status`: how the server is.

use std::path::Path;

use matrix_podman_core::{
    fact::{ContainerState, GuestState, Side},
    layout,
    lock::Lock,
    name::Digest,
    observed::{Gap, Observed, Seen},
    resource::{self, Backend, Place, Site},
    service::Service,
    update::{self, Unattended},
};
use matrix_podman_host::notify::Record;
use serde::Serialize;

use super::backup_status::Backups;
use crate::{
    args,
    error::{DONE, Error, FAILED},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, styled},
};

/// What `status --json` prints.
#[derive(Debug, Serialize)]
struct Status {
    site: String,
    server_name: String,
    guest: Guest,
    services: Vec<ServiceStatus>,
    urls: Urls,
    /// How the backups are; absent where there are none, and in the guest.
    backups: Option<Backups>,
    updates: Updates,
    notices: Notices,
    /// Why more is not known.
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Guest {
    backend: &'static str,
    id: String,
    address: Option<String>,
    state: String,
}

#[derive(Debug, Serialize)]
struct ServiceStatus {
    name: &'static str,
    state: String,
    health: &'static str,
    image: Option<String>,
    digest: Option<Digest>,
    version: Option<String>,
}

#[derive(Debug, Serialize)]
struct Updates {
    /// Whether the server updates itself.
    auto: bool,
    /// What came of the last time that it did.
    last: Option<Unattended>,
}

#[derive(Debug, Serialize)]
struct Notices {
    /// What came of the last ones, where the command is typed and in the guest.
    last: Vec<Record>,
}

#[derive(Debug, Serialize)]
struct Urls {
    synapse: Option<String>,
    client: Option<String>,
    public_synapse: String,
    public_client: String,
}

pub fn run(config: Option<&Path>, args: &args::Json) -> Result<u8, Error> {
    let (world, _) = super::world(config)?;
    let mut seen = Observed::default();
    let status = world.look(&mut seen, |seen| status(world.site(), seen))?;
    if args.json {
        let text = serde_json::to_string(&status)
            .map_err(|e| matrix_podman_host::failure::Failure::new("print the status", e))?;
        output::data(&text);
    } else {
        print(&status);
    }
    let well = status.services.iter().all(|s| s.state == "running" && s.health == "healthy");
    Ok(if well { DONE } else { FAILED })
}

fn status(site: &Site, seen: &Observed) -> Status {
    let found = resource::guest_state(site, seen);
    let guest_state = match &found {
        Ok(GuestState::Absent) => "absent".to_owned(),
        Ok(GuestState::Stopped { .. }) => "stopped".to_owned(),
        Ok(GuestState::Running { .. }) => "running".to_owned(),
        Err(_) => "unknown".to_owned(),
    };
    let address = resource::guest_address(site, seen).ok().flatten().filter(|_| guest_state == "running");
    let (lock, last, told) = (lock(seen), last_update(seen), last_notice(site, seen));
    let (lock, last) = (lock.unwrap_or_default(), last.unwrap_or_default());
    let own = Record::last(site.config.site()).filter(|_| site.backend != Backend::ThisMachine);
    let notices = own.into_iter().chain(told.unwrap_or_default()).collect();
    let services = Service::ALL
        .into_iter()
        .map(|service| {
            let locked = lock.as_ref().and_then(|l| l.images.get(&service));
            let container = seen.container(service.name());
            let (state, health) = match &container {
                Ok(Some(ContainerState { state, health, .. })) => (state.clone(), health.as_str()),
                Ok(None) => ("absent".to_owned(), "none"),
                Err(_) => ("unknown".to_owned(), "none"),
            };
            ServiceStatus {
                name: service.name(),
                state,
                health,
                image: locked.map(|l| l.wanted.clone()),
                digest: locked.map(|l| l.digest.clone()),
                version: locked.map(|l| l.version.clone()),
            }
        })
        .collect();
    let problem = match (found, seen.container(Service::Synapse.name())) {
        (Err(Gap::Unknown(why)), _) | (_, Err(Gap::Unknown(why))) => Some(why),
        _ => None,
    };
    let port = |port: u16| address.map(|address| format!("http://{address}:{port}"));
    Status {
        site: site.config.site().to_owned(),
        server_name: site.config.server_name.to_string(),
        guest: Guest {
            backend: site.backend.as_str(),
            id: guest_id(site, seen),
            address: address.map(|a| a.to_string()),
            state: guest_state,
        },
        services,
        urls: Urls {
            synapse: port(site.config.ports.synapse.get()),
            client: port(site.config.ports.web.get()),
            public_synapse: site.config.matrix_url.clone(),
            public_client: site.config.chat_url.clone(),
        },
        backups: Backups::of(&site.config),
        notices: Notices { last: notices },
        updates: Updates { auto: site.config.update.auto, last },
        problem,
    }
}

/// What the guest is called where it is: its number on Proxmox, else its name.
fn guest_id(site: &Site, seen: &Observed) -> String {
    let name = site.config.guest.name.to_string();
    if site.backend != Backend::Proxmox {
        return name;
    }
    match resource::find_container(site, seen) {
        Ok(Place::Here { container, .. }) => container.id.to_string(),
        _ => name,
    }
}

fn lock(seen: &Observed) -> Seen<Option<Lock>> {
    let file = seen.file(Side::Guest, &layout::lock_file())?;
    Ok(file.and_then(|f| Lock::parse(f.content.as_deref().unwrap_or_default()).ok()))
}

fn last_update(seen: &Observed) -> Seen<Option<Unattended>> {
    let file = seen.file(Side::Guest, &update::unattended_file())?;
    Ok(file.and_then(|f| Unattended::parse(f.content.as_deref().unwrap_or_default())))
}

/// The last one that was sent from the guest.
fn last_notice(site: &Site, seen: &Observed) -> Seen<Option<Record>> {
    let file = seen.file(Side::Guest, &layout::notice_record(site.config.site()))?;
    Ok(file.and_then(|f| Record::parse(f.content.as_deref().unwrap_or_default())))
}

fn print(status: &Status) {
    output::data(&styled(BOLD, &status.server_name));
    let guest = &status.guest;
    let address = guest.address.as_deref().unwrap_or("no address");
    output::data(&format!("  guest {} ({}) {}, {address}", guest.id, guest.backend, guest.state));
    for service in &status.services {
        let style = match (service.state.as_str(), service.health) {
            ("running", "healthy") => GREEN,
            ("running", "starting") => YELLOW,
            _ => RED,
        };
        let health = if service.health == "none" { "" } else { service.health };
        output::data(&format!(
            "  {:<12} {:<22} {}",
            service.name,
            styled(style, &format!("{:<8} {health:<9}", service.state)),
            styled(DIM, service.version.as_deref().unwrap_or("")),
        ));
    }
    if let (Some(synapse), Some(client)) = (&status.urls.synapse, &status.urls.client) {
        output::data(&format!("  homeserver   {synapse}   (to be {})", status.urls.public_synapse));
        output::data(&format!("  web client   {client}   (to be {})", status.urls.public_client));
    }
    if let Some(backups) = &status.backups {
        backups.print();
    }
    if let Some(last) = &status.updates.last {
        let style = if last.outcome.is_well() { DIM } else { YELLOW };
        output::data(&format!("  last update  {}", styled(style, &last.line())));
    }
    for notice in &status.notices.last {
        for why in &notice.unsent {
            let why = output::harmless(why);
            output::data(&format!("  notices      {}", styled(YELLOW, &format!("{}: {why}", notice.at))));
        }
    }
    if let Some(problem) = &status.problem {
        output::say(&format!("note: {problem}"));
    }
    match guest.state.as_str() {
        "absent" => output::say("next: `matrix-podman up` makes it"),
        "stopped" => output::say("next: `matrix-podman up` starts it"),
        _ => {
            if let Some(bad) = status.services.iter().find(|s| s.state != "running" || s.health != "healthy")
            {
                output::say(&format!(
                    "next: `matrix-podman logs {}` says why, `matrix-podman up` mends what it can",
                    bad.name
                ));
            }
        }
    }
}
