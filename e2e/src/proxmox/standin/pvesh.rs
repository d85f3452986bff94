//! `pvesh get`.

use serde_json::{Value, json};

use super::{Arguments, Outcome, lxc, snapshot};
use crate::proxmox::state::{Folder, State};

pub(super) fn run(folder: &Folder, words: &[String]) -> Outcome {
    let [verb, path, rest @ ..] = words else { return Err("ERROR: no command specified".to_owned()) };
    if verb != "get" {
        return Err(format!("no '{verb}' handler defined for '{path}'"));
    }
    let arguments = Arguments::read(
        rest,
        &["type", "source", "vmid", "feature", "typefilter", "limit", "output-format"],
    )?;
    if arguments.get("output-format") != Some("json") {
        return Err("the stand-in prints JSON only".to_owned());
    }
    let answer = folder.state(|state| answer(state, path, &arguments))?;
    println!("{answer}");
    Ok(0)
}

fn answer(state: &mut State, path: &str, arguments: &Arguments) -> Result<Value, String> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let missing =
        |id: &str, node: &str| format!("Configuration file 'nodes/{node}/lxc/{id}.conf' does not exist");
    Ok(match parts.as_slice() {
        ["cluster", "resources"] => resources(state),
        ["cluster", "status"] => {
            let mut rows = vec![json!({"type": "node", "local": 1, "name": state.node, "online": 1})];
            if let Some(quorate) = state.quorate {
                rows.push(
                    json!({"type": "cluster", "name": "home", "nodes": 2, "quorate": u8::from(quorate)}),
                );
            }
            rows.into()
        }
        ["cluster", "nextid"] => {
            let free = (100..).find(|id| !state.guests.contains_key(id)).unwrap_or_default();
            // Quoted in some versions.
            free.to_string().into()
        }
        ["nodes", node, rest @ ..] => {
            let known = *node == state.node || state.guests.values().any(|guest| guest.node == *node);
            if !known {
                return Err(format!("proxy handler failed: no such node '{node}'"));
            }
            match rest {
                ["storage"] => storages(state),
                ["network"] => {
                    state.bridges.iter().map(|b| json!({"iface": b, "type": "bridge", "active": 1})).collect()
                }
                ["storage", storage, "content"] => {
                    let id: u32 = arguments.get("vmid").and_then(|id| id.parse().ok()).unwrap_or_default();
                    let of = |volume: &&String| {
                        volume.starts_with(&format!("{storage}:")) && lxc::id_of(volume) == Some(id)
                    };
                    let rows = state.volumes.iter().filter(of);
                    rows.map(
                        |volume| json!({"volid": volume, "vmid": id, "content": "rootdir", "format": "raw"}),
                    )
                    .collect()
                }
                ["tasks"] if arguments.get("typefilter") == Some("vzcreate") => {
                    let id: u32 = arguments.get("vmid").and_then(|id| id.parse().ok()).unwrap_or_default();
                    let ended = state.creations.get(&id).into_iter();
                    ended
                        .map(|how| json!({"type": "vzcreate", "id": id.to_string(), "status": how}))
                        .collect()
                }
                ["tasks"] => {
                    let id: u32 = arguments.get("vmid").and_then(|id| id.parse().ok()).unwrap_or_default();
                    let alive = |pid: u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
                    let tasks = state.tasks.iter().filter(|(_, of, _)| *of == id);
                    let listed = tasks
                        .map(|(kind, id, pid)| json!({"type": kind, "id": id.to_string(), "pid": pid}))
                        .collect();
                    // One that was killed is on the list until somebody comes round.
                    state.tasks.retain(|(_, _, pid)| alive(*pid));
                    listed
                }
                ["lxc", id, what @ ..] => {
                    let number: u32 =
                        id.parse().map_err(|_| "400 Parameter verification failed.".to_owned())?;
                    let name = state.lxc(number);
                    let guest = state.guests.get(&number).filter(|g| g.kind == "lxc" && g.node == *node);
                    let guest = guest.ok_or_else(|| missing(id, node))?;
                    match what {
                        ["pending"] => pending(guest),
                        ["snapshot"] => snapshot::list(guest, lxc::uptime(&name).is_some()),
                        ["feature"] if arguments.get("feature") == Some("snapshot") => {
                            json!({"hasFeature": u8::from(snapshot::available(state, guest))})
                        }
                        ["status", "current"] => {
                            let uptime = lxc::uptime(&name);
                            json!({
                                "vmid": number,
                                "name": guest.config.get("hostname"),
                                "status": if uptime.is_some() { "running" } else { "stopped" },
                                "uptime": uptime.unwrap_or_default(),
                                "ha": {"managed": u8::from(guest.ha)},
                                "type": "lxc",
                            })
                        }
                        _ => return Err(format!("No '{path}' handler defined")),
                    }
                }
                _ => return Err(format!("No '{path}' handler defined")),
            }
        }
        _ => return Err(format!("No '{path}' handler defined")),
    })
}

/// The list of the cluster. What it knows of names and states it heard some
/// time ago, so a young guest has none; tags are current.
fn resources(state: &State) -> Value {
    let rows = state.guests.iter().map(|(id, guest)| {
        let mut row = json!({
            "id": format!("{}/{id}", guest.kind),
            "vmid": id,
            "type": guest.kind,
            "node": guest.node,
            "status": "unknown",
            "template": 0,
        });
        if guest.config.contains_key("rootfs") || guest.kind == "qemu" {
            row["name"] = guest.config.get("hostname").or(guest.config.get("name")).cloned().into();
        }
        if let Some((pool, _)) = state.pools.iter().find(|(_, members)| members.contains(id)) {
            row["pool"] = pool.clone().into();
        }
        if let Some(tags) = guest.config.get("tags") {
            row["tags"] = tags.clone().into();
        }
        row
    });
    rows.collect()
}

fn storages(state: &State) -> Value {
    let rows = state.storages.iter().map(|storage| {
        let gib: u64 = 1 << 30;
        json!({
            "storage": storage.name,
            "type": storage.kind,
            "content": storage.content.join(","),
            "active": u8::from(storage.active),
            "enabled": 1,
            "shared": 0,
            "avail": storage.free * gib,
            "used": gib,
            "total": (storage.free + 1) * gib,
        })
    });
    rows.collect()
}

fn pending(guest: &crate::proxmox::state::GuestState) -> Value {
    let mut rows: Vec<Value> = guest
        .config
        .iter()
        .map(|(key, value)| {
            // Perl prints what looks like a number as one.
            let value = value.parse::<u64>().map_or_else(|_| Value::from(value.clone()), Value::from);
            let mut row = json!({"key": key, "value": value});
            match guest.pending.get(key) {
                Some(Some(new)) => row["pending"] = new.clone().into(),
                Some(None) => row["delete"] = 1.into(),
                None => {}
            }
            row
        })
        .collect();
    for (key, value) in guest.pending.iter().filter(|(key, _)| !guest.config.contains_key(*key)) {
        if let Some(value) = value {
            rows.push(json!({"key": key, "pending": value}));
        }
    }
    rows.push(json!({"key": "digest", "value": "0123456789abcdef0123456789abcdef01234567"}));
    rows.into()
}
