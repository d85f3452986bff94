//! The graph of resources: sound for every kind of site.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use matrix_podman_core::resource::{self, Resource, ResourceId};

use crate::memory::site;

/// One site for each way in which the set of resources can differ.
const SITES: [&str; 10] = [
    "domain = \"chat.home.arpa\"\n",
    "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"this-machine\"\n",
    "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"lxc\"\nextra_packages = [\"htop\"]\nstart_at_boot = false\n",
    "domain = \"chat.home.arpa\"\n[guest.network]\nbridge = \"br0\"\nexisting = true\n",
    "domain = \"chat.home.arpa\"\n[images]\nsource = \"build\"\n",
    "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"proxmox\"\n",
    "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"proxmox\"\n[proxmox]\nssh_keys = \"/root/k\"\n",
    "domain = \"chat.home.arpa\"\n[turn]\nserver = true\naddress = \"203.0.113.7\"\n",
    "domain = \"chat.home.arpa\"\n[backup]\nrepository = \"/mnt/backup\"\n[update]\nauto = false\n",
    "domain = \"chat.home.arpa\"\n[edge.npm]\naddress = \"http://192.168.1.5:81\"\nidentity = \"a@home.arpa\"\n\
     [edge.cloudflare]\ntunnel = \"home\"\nzone = \"home.arpa\"\n",
];

fn graphs() -> Vec<(&'static str, Vec<Box<dyn Resource>>)> {
    SITES.into_iter().map(|toml| (toml, resource::all(&site(toml)))).collect()
}

#[test]
fn ids_are_unique_and_well_formed() {
    for (toml, resources) in graphs() {
        let mut seen = BTreeSet::new();
        for resource in &resources {
            let id = resource.id();
            assert!(seen.insert(id.clone()), "{id} is there twice\n{toml}");
            let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_/.".contains(c);
            assert!(id.as_str().chars().all(fine), "{id}");
        }
    }
}

#[test]
fn whatever_is_needed_is_there() {
    for (toml, resources) in graphs() {
        let ids: BTreeSet<ResourceId> = resources.iter().map(|r| r.id()).collect();
        for resource in &resources {
            for need in resource.needs() {
                assert!(ids.contains(&need), "{} needs {need}, which is not there\n{toml}", resource.id());
            }
        }
    }
}

#[test]
fn nothing_needs_itself() {
    for (toml, resources) in graphs() {
        let mut open: BTreeMap<ResourceId, Vec<ResourceId>> =
            resources.iter().map(|r| (r.id(), r.needs())).collect();
        while !open.is_empty() {
            let free: Vec<ResourceId> = open
                .iter()
                .filter(|(_, needs)| needs.iter().all(|need| !open.contains_key(need)))
                .map(|(id, _)| id.clone())
                .collect();
            assert!(!free.is_empty(), "these need each other in a circle: {:?}\n{toml}", open.keys());
            free.iter().for_each(|id| drop(open.remove(id)));
        }
    }
}

/// Adding a resource is adding a file; one that nobody calls does nothing.
#[test]
#[expect(clippy::disallowed_methods, reason = "the sources are what is tested")]
fn every_file_of_resources_is_among_all() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/resource");
    let registry = fs::read_to_string(folder.join("mod.rs")).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "mod") else { continue };
        assert!(registry.contains(&format!("mod {module};")), "{name} is no module");
        assert!(registry.contains(&format!("{module}::all(site)")), "{name} is not among all()");
    }
}
