use super::*;

const STATUS: &str = "Package: base\nEssential: yes\nVersion: 1.2-3\nPre-Depends: lib (>= 1), a | b\n\n\
Package: lib\nVersion: 2:4.5\nDescription: x\n more: text\n\nPackage: app\nVersion: 9\n";

fn rootfs(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("rootfs.tar");
    let mut tar = tar::Builder::new(File::create(&path).unwrap());
    let mut put = |path: &str, kind: EntryType, content: &str, mtime: u64| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(70);
        header.set_gid(0);
        header.set_mtime(mtime);
        match kind {
            EntryType::Symlink | EntryType::Link => {
                header.set_size(0);
                tar.append_link(&mut header, path, content).unwrap();
            }
            _ => {
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
        }
    };
    let long = format!("./usr/share/{}/file", "long".repeat(30));
    let now = 1_800_000_000;
    put("./", EntryType::Directory, "", now);
    put("./bin", EntryType::Symlink, "usr/bin", now);
    put("./dev/", EntryType::Directory, "", now);
    put("./dev/null", EntryType::Char, "", now);
    put("./etc/", EntryType::Directory, "", now);
    put("./etc/resolv.conf", EntryType::Regular, "of the machine", now);
    put("./start.py", EntryType::Regular, "ours", now);
    put("./usr/", EntryType::Directory, "", now);
    put("./usr/bin/", EntryType::Directory, "", now);
    put("./usr/bin/app", EntryType::Regular, "app", now);
    put("./usr/bin/sh", EntryType::Regular, "shell", 1);
    put("./usr/bin/zsh", EntryType::Link, "./usr/bin/sh", now);
    put(&long, EntryType::Regular, "long", now);
    put("./usr/share/doc/app/README", EntryType::Regular, "dropped", now);
    put("./usr/share/doc/app/copyright", EntryType::Regular, "kept", now);
    put("./var/lib/dpkg/status", EntryType::Regular, STATUS, now);
    put("./var/lib/dpkg/info/base.list", EntryType::Regular, "/.\n/bin\n/usr\n/usr/bin\n", now);
    put("./var/lib/dpkg/info/lib:amd64.list", EntryType::Regular, "/usr/bin/sh\n", now);
    put("./var/lib/dpkg/info/base.postinst", EntryType::Regular, "dropped", now);
    tar.finish().unwrap();
    path
}

fn names(layer: &Layer) -> Vec<String> {
    let mut archive = tar::Archive::new(File::open(&layer.file).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), EPOCH);
        assert_eq!(entry.header().uid().unwrap(), 70);
        entry.path().unwrap().to_string_lossy().into_owned()
    });
    entries.collect()
}

#[test]
fn every_file_lands_in_its_layer_once() {
    let dir = tempfile::tempdir().unwrap();
    let rootfs = rootfs(dir.path());
    let own = BTreeSet::from(["start.py".to_owned()]);
    let rules = Split { prune: &[], own: &own };
    let (layers, packages) = split(&rootfs, dir.path(), &rules).unwrap();
    assert_eq!(packages["base"], "1.2-3");
    assert_eq!(packages["lib"], "2:4.5");
    assert_eq!(
        names(&layers[0]),
        ["bin", "usr/", "usr/bin/", "usr/bin/sh", "usr/bin/zsh", "var/lib/dpkg/info/base.list"]
    );
    let second = names(&layers[1]);
    for want in ["dev/", "etc/", "usr/bin/app", "usr/share/doc/app/copyright", "var/lib/dpkg/status"] {
        assert!(second.iter().any(|name| name == want), "{want} in {second:?}");
    }
    for bad in ["dev/null", "resolv.conf", "README", "postinst", "bin/sh"] {
        assert!(!second.iter().any(|name| name.ends_with(bad)), "{bad} in {second:?}");
    }
    assert!(second.iter().any(|name| name.len() > 120), "{second:?}");
    assert_eq!(names(&layers[2]), ["start.py"]);
}

#[test]
fn the_same_tar_gives_the_same_layers() {
    let dir = tempfile::tempdir().unwrap();
    let rootfs = rootfs(dir.path());
    let own = BTreeSet::new();
    let rules = Split { prune: &["usr/share/doc/*"], own: &own };
    let digests = |layers: Vec<Layer>| layers.into_iter().map(|layer| layer.digest).collect::<Vec<_>>();
    let one = digests(split(&rootfs, dir.path(), &rules).unwrap().0);
    let two = digests(split(&rootfs, dir.path(), &rules).unwrap().0);
    assert_eq!(one, two);
    assert_eq!(one.len(), 2, "the third layer would be empty");
}

#[test]
fn a_tar_without_packages_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("empty.tar");
    tar::Builder::new(File::create(&path).unwrap()).finish().unwrap();
    let own = BTreeSet::new();
    let err = split(&path, dir.path(), &Split { prune: &[], own: &own }).unwrap_err();
    assert!(err.to_string().contains("no package database"), "{err}");
}
