//! Documents of ours that come back from a guest or a backup.

use matrix_podman_core::{
    backup::{Manifest, MediaList},
    config::{Config, Defaults, restored::Origin},
    lock::Lock,
    service::ServiceId,
    stack,
};

/// `matrix.lock`.
pub fn lock(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(lock) = Lock::parse(&text)
        && let Ok(text) = lock.render()
    {
        assert_eq!(Lock::parse(&text), Ok(lock), "it does not read what it writes");
    }
}

/// What a snapshot says of itself.
pub fn manifest(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(manifest) = Manifest::parse(&text) {
        for called in manifest.saved() {
            let _ = manifest.differences(called, &manifest.content.tables);
        }
        if let Ok(text) = manifest.render() {
            assert_eq!(Manifest::parse(&text), Ok(manifest), "it does not read what it writes");
        }
    }
}

/// What HAProxy says of the servers behind it: holding is undone by letting go, whatever it says.
pub fn gateway(bytes: &[u8]) {
    for behind in stack::parse_stat(&String::from_utf8_lossy(bytes)).unwrap_or_default() {
        let (held, free) = (behind.hold(true), behind.hold(false));
        assert_ne!(held, free);
        assert!([held, free].iter().all(|line| line.ends_with('\n') && line.lines().count() == 1));
    }
}

/// The digests of a snapshot's media.
pub fn media_list(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(list) = MediaList::parse(&text) {
        assert_eq!(MediaList::parse(&list.render()), Some(list), "it does not read what it writes");
    }
}

/// A snapshot's config: whatever it says, nothing of this machine comes of it.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for origin in [Origin::Guest, Origin::Machine] {
        let Ok(restored) = Config::restored(&text, origin, "/mnt/backup", &Defaults::default()) else {
            continue;
        };
        let config = &restored.config;
        assert!(config.host.is_none() && config.turn.is_none(), "{text:?}");
        assert!(config.notify.webhook_file.is_none() && config.notify.file.is_none(), "{text:?}");
        assert!(ServiceId::ALL.iter().all(|service| config.images[*service].archive.is_none()), "{text:?}");
        assert!(config.edge.npm.is_none(), "{text:?}");
        let again = Config::parse(&restored.text, "matrix.toml");
        assert_eq!(again.as_ref(), Ok(config), "what is written means something else: {}", restored.text);
    }
}
