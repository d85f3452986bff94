//! The release as people get it: checked before it is installed, on a machine
//! without any toolchain, upgraded and removed by apt beside a server that runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use matrix_podman_e2e::{
    Guest, Invocation, Lab, Matrix, Ran, Scenario, binary, make_archives, put, wait_until,
};

const PASSWORD: &str = "correct horse battery staple";
/// Where the release lies on the machine that it is installed on.
const DOWNLOADS: &str = "/root/downloads";
/// What apt is told of the repository.
const SOURCES: &str = "/etc/apt/sources.list.d/matrix-podman.sources";

/// What the server does by itself, whatever becomes of the program.
const TIMERS: [&str; 2] = ["matrix-update.timer", "matrix-watch.timer"];

/// A signed release, made from the program that is tested.
struct Release {
    folder: PathBuf,
    package: String,
    version: String,
    keys: Keys,
}

/// A gpg with a key of its own.
struct Keys {
    home: PathBuf,
    fingerprint: String,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("package");
    make_archives();
    let lab = Lab::new("package");
    let release = s.foundation("a release is made, and signed", || release(&lab));
    s.test("the scripts that it brings have no mistake that a linter knows", || {
        let root = workspace().join("packaging");
        for script in ["install.sh", "prerm"] {
            Invocation::new(["shellcheck", &root.join(script).display().to_string()]).run().ok();
        }
    });
    s.test("without a key nothing is made that could be published", || {
        xtask(&release.keys, &["dist"]).exits(1).says("a release is signed");
        let stranger = ["dist", "--key", "nobody@nowhere", "--program", "/bin/true"];
        xtask(&release.keys, &stranger).exits(1).says("nobody@nowhere");
    });
    let guest = s.foundation("there is a plain Debian 13 machine without a toolchain", || {
        lab.raise_network();
        let guest = lab.plain_machine();
        guest.exec(["sh", "-c", "! command -v cargo && ! command -v cc"]).ok();
        // A person's machine keeps manual pages; what guests are made of does not.
        guest.sh("rm --force /etc/dpkg/dpkg.cfg.d/99mmdebstrap").ok();
        download(&lab, &release);
        guest
    });
    s.test("what was tampered with is not installed", || refused(&lab, &guest, &release));
    let began = Instant::now();
    s.test("install.sh checks, and installs it with manual pages and completions", || {
        guest.exec(["sh", &format!("{DOWNLOADS}/install.sh")]).ok().says("Installed.");
        guest.exec(["matrix-podman", "--version"]).ok();
        for part in [
            "/usr/share/man/man1/matrix-podman.1.gz",
            "/usr/share/bash-completion/completions/matrix-podman",
            "/usr/share/doc/matrix-podman/copyright",
            "/usr/share/doc/matrix-podman/docs/guides/first-server.md",
        ] {
            guest.exec(["test", "-s", part]).ok();
        }
    });
    // One login: more of them would have to wait, as anybody's who tries passwords.
    let (anna, room) = s.foundation("one command makes a server", || {
        guest.write("/root/site/matrix.toml", lab.machine_toml());
        run(&guest, &["up", "--yes"]).ok().says("is up.");
        let add = ["matrix-podman", "user", "add", "anna", "--password-file", "-"];
        guest.command(add).input(PASSWORD).run().ok();
        let matrix = Matrix::new(&format!("http://{}:8008", lab.machine_address()), &lab.server_name());
        let anna = matrix.login("anna", PASSWORD);
        println!("  … from the package to somebody logged in: {:.0} s", began.elapsed().as_secs_f32());
        let room = anna.create_room("Here");
        (anna, room)
    });
    let healthy = || {
        wait_until("anna can write", Duration::from_secs(180), || {
            anna.send(&room, "still here").map(drop).map_err(|why| why.to_string())
        });
    };
    s.test("its units call a link to the packaged program", || {
        let link = guest.exec(["readlink", "/usr/local/bin/matrix-podman"]).ok();
        assert_eq!(link.text(), "/usr/bin/matrix-podman");
        run(&guest, &["plan", "--exit-code"]).ok().says("Nothing to do");
    });
    s.test("apt trusts the repository by its key, and nobody else's", || {
        repository(&lab, &guest, &release);
    });
    s.test("a package of another architecture is refused", || {
        let foreign = repack(&lab, &release, "9.9", "arm64");
        let refused = guest.exec(["apt-get", "install", "--yes", &foreign]);
        assert_ne!(refused.code, 0, "{}", refused.evidence());
        healthy();
    });
    s.test("an upgrade that loses power in dpkg is finished by dpkg, beside a server that runs", || {
        let timers = || TIMERS.map(|timer| guest.exec(["systemctl", "is-active", timer]).text().to_owned());
        assert_eq!(timers(), ["active"; 2]);
        let newer = repack(&lab, &release, "9.9", "");
        guest.exec(["dpkg", "--unpack", &newer]).ok();
        guest.cut_power();
        guest.start();
        guest.booted();
        // They go on in between, with the program that is there.
        assert_eq!(timers(), ["active"; 2]);
        guest.exec(["systemctl", "start", "matrix-watch.service"]);
        let watched =
            guest.exec(["systemctl", "show", "--property", "ExecMainStatus", "matrix-watch.service"]);
        assert!(!watched.ok().text().contains("203"), "the program that it names could not be started");
        guest.exec(["dpkg", "--configure", "--pending"]).ok();
        let version = ["dpkg-query", "--show", "--showformat", "${Version} ${Status}", "matrix-podman"];
        assert_eq!(guest.exec(version).ok().text(), "9.9 install ok installed");
        healthy();
        run(&guest, &["up", "--yes"]).ok();
        assert_eq!(timers(), ["active"; 2]);
    });
    s.test("apt goes back one version only when it is told to", || {
        let older = format!("{DOWNLOADS}/{}", release.package);
        guest.exec(["apt-get", "install", "--yes", &older]).exits(100).says("downgraded");
        guest.exec(["apt-get", "install", "--yes", "--allow-downgrades", &older]).ok();
        healthy();
    });
    s.test("a server outlives the package, and a reboot without it", || {
        guest.exec(["apt-get", "remove", "--yes", "matrix-podman"]).ok().says("stays");
        guest.exec(["test", "-e", "/usr/bin/matrix-podman"]).exits(1);
        guest.shut_down();
        guest.start();
        guest.booted();
        healthy();
        run(&guest, &["status"]).ok();
    });
    s.end()
}

fn release(lab: &Lab) -> Release {
    let home = lab.path("keys");
    fs::create_dir_all(&home).unwrap();
    Invocation::new(["chmod", "0700", &home.display().to_string()]).run().ok();
    let mut keys = Keys { home, fingerprint: String::new() };
    keys.fingerprint = keys.generate("release");
    let folder = lab.path("release");
    let (out, program) = (folder.display().to_string(), binary().display().to_string());
    xtask(&keys, &["dist", "--key", &keys.fingerprint, "--out", &out, "--program", &program]).ok();
    let package = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .find(|name| name.ends_with(".deb"))
        .unwrap();
    let version = package.split('_').nth(1).unwrap().to_owned();
    Release { folder, package, version, keys }
}

impl Keys {
    /// Makes a key without a passphrase; its fingerprint.
    fn generate(&self, name: &str) -> String {
        self.gpg(&["--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "1d"]).ok();
        let listed = self.gpg(&["--with-colons", "--list-keys", name]).ok().stdout;
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn gpg(&self, words: &[&str]) -> Ran {
        let home = self.home.display().to_string();
        Invocation::new(["gpg", "--batch", "--yes", "--homedir", &home].iter().chain(words)).quietly().run()
    }
}

impl Drop for Keys {
    /// gpg leaves an agent behind that holds the key.
    fn drop(&mut self) {
        let home = self.home.display().to_string();
        let _ = Invocation::new(["gpgconf", "--homedir", &home, "--kill", "all"]).quietly().run();
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn xtask(keys: &Keys, words: &[&str]) -> Ran {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let own = [cargo.as_str(), "run", "--quiet", "--locked", "--package", "xtask", "--"];
    Invocation::new(own.iter().chain(words))
        .folder(workspace())
        .env("GNUPGHOME", &keys.home.display().to_string())
        .within(Duration::from_secs(900))
        .run()
}

/// Puts the release's files into the machine, as somebody who downloads them.
fn download(lab: &Lab, release: &Release) {
    let root = lab.guest().folder().join("rootfs");
    for entry in fs::read_dir(&release.folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap().to_str().unwrap();
            put(&path, &root.join(&DOWNLOADS[1..]).join(name));
        }
    }
    let tree = ["cp", "--recursive", "--no-preserve=ownership"].map(str::to_owned);
    let from = release.folder.join("apt").display().to_string();
    let to = root.join("srv/apt").display().to_string();
    Invocation::new(tree.iter().chain(&[from, to])).run().ok();
}

/// Everything that an attacker between the release and the machine could change.
fn refused(lab: &Lab, guest: &Guest, release: &Release) {
    let root = lab.guest().folder().join("rootfs").join(&DOWNLOADS[1..]);
    let install = || guest.exec(["sh", &format!("{DOWNLOADS}/install.sh")]);
    let with = |name: &str, content: Vec<u8>, says: &str| {
        let path = root.join(name);
        let before = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        install().exits(1).says(says);
        guest.exec(["test", "-e", "/usr/bin/matrix-podman"]).exits(1);
        fs::write(&path, before).unwrap();
    };
    let mut package = fs::read(root.join(&release.package)).unwrap();
    let middle = package.len() / 2;
    package[middle] ^= 1;
    with(&release.package, package.clone(), "is not what was signed");

    // Another package, with sums that fit it.
    let sums = fs::read_to_string(root.join("SHA256SUMS")).unwrap();
    let other: String = sums.lines().map(|line| format!("{}{}\n", "0".repeat(64), &line[64..])).collect();
    with("SHA256SUMS", other.clone().into_bytes(), "the signature of SHA256SUMS is not that of");

    // The same, signed with a key that comes along.
    let stranger = release.keys.generate("stranger");
    let forged = lab.path("forged");
    fs::write(&forged, &other).unwrap();
    let file = forged.display().to_string();
    release.keys.gpg(&["--armor", "--local-user", &stranger, "--detach-sign", &file]).ok();
    let (exported, ring) = (lab.path("stranger.pgp"), "matrix-podman-archive-keyring.pgp");
    let to = exported.display().to_string();
    release.keys.gpg(&["--output", &to, "--export", &stranger]).ok();
    let names = ["SHA256SUMS", "SHA256SUMS.asc"];
    let before: Vec<Vec<u8>> = names.iter().map(|name| fs::read(root.join(name)).unwrap()).collect();
    fs::write(root.join("SHA256SUMS"), &other).unwrap();
    fs::copy(lab.path("forged.asc"), root.join("SHA256SUMS.asc")).unwrap();
    with(ring, fs::read(&exported).unwrap(), "the signature of SHA256SUMS is not that of");
    for (name, content) in names.iter().zip(before) {
        fs::write(root.join(name), content).unwrap();
    }

    fs::rename(root.join("SHA256SUMS.asc"), root.join("aside")).unwrap();
    install().exits(1).says("SHA256SUMS.asc is missing");
    fs::rename(root.join("aside"), root.join("SHA256SUMS.asc")).unwrap();
}

fn repository(lab: &Lab, guest: &Guest, release: &Release) {
    let source = |key: &str| {
        format!(
            "Types: deb\nURIs: file:/srv/apt\nSuites: stable\nComponents: main\nSigned-By: {key}\n\
             Architectures: amd64 arm64\n"
        )
    };
    let update = |key: &str| {
        guest.write(SOURCES, source(key));
        let only = format!("Dir::Etc::sourcelist={SOURCES}");
        guest.exec(["apt-get", "update", "-o", &only, "-o", "Dir::Etc::sourceparts=-", "--error-on=any"])
    };
    let key = "/srv/apt/matrix-podman-archive-keyring.pgp";
    update(key).ok();
    let policy = guest.exec(["apt-cache", "policy", "matrix-podman"]).ok();
    assert!(policy.stdout.contains(&release.version), "{}", policy.evidence());
    let root = lab.guest().folder().join("rootfs/srv/apt/dists/stable/InRelease");
    let before = fs::read_to_string(&root).unwrap();
    fs::write(&root, before.replace("Suite: stable", "Suite: forged")).unwrap();
    let tampered = update(key);
    assert_ne!(tampered.code, 0, "{}", tampered.evidence());
    fs::write(&root, before).unwrap();
    let stranger = update("/usr/share/keyrings/debian-archive-keyring.gpg");
    assert_ne!(stranger.code, 0, "{}", stranger.evidence());
    update(key).ok();
}

/// The same package with another version and architecture, in the machine's downloads.
fn repack(lab: &Lab, release: &Release, version: &str, architecture: &str) -> String {
    let stage = lab.path("repack").display().to_string();
    let _ = fs::remove_dir_all(&stage);
    let package = release.folder.join(&release.package).display().to_string();
    Invocation::new(["dpkg-deb", "--raw-extract", &package, &stage]).run().ok();
    let control = Path::new(&stage).join("DEBIAN/control");
    let mut text = fs::read_to_string(&control)
        .unwrap()
        .replace(&format!("Version: {}", release.version), &format!("Version: {version}"));
    if !architecture.is_empty() {
        let line = text.lines().find(|line| line.starts_with("Architecture: ")).unwrap().to_owned();
        text = text.replace(&line, &format!("Architecture: {architecture}"));
    }
    fs::write(&control, text).unwrap();
    let name = format!("matrix-podman_{version}_{architecture}.deb");
    let made = lab.path(&name).display().to_string();
    Invocation::new(["dpkg-deb", "--root-owner-group", "-Znone", "--build", &stage, &made]).run().ok();
    put(Path::new(&made), &lab.guest().folder().join("rootfs").join(&DOWNLOADS[1..]).join(&name));
    format!("{DOWNLOADS}/{name}")
}

fn run(guest: &Guest, arguments: &[&str]) -> Ran {
    let words = ["sh", "-euc", "cd /root/site; exec matrix-podman \"$@\"", "sh"];
    guest.command(words.iter().chain(arguments)).within(Duration::from_secs(900)).run()
}
