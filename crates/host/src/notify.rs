//! Sending notices. Whatever becomes of them, what they tell of is done: a
//! notice that could not be sent is written down, and fails nothing.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use matrix_podman_core::{
    layout::{self, Secret},
    name::{AbsPath, Mode, Owner},
    notify::{Notice, Subject, webhook_host},
    people::{Call, Message},
};
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Doing, Failure},
    file, proxy, trust,
    world::World,
};

/// How long a webhook may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// A longer address is none.
const LONGEST: u64 = 4096;

/// What became of a notice on one way.
#[derive(Debug)]
pub struct Sent {
    /// Where it went, for people: never the secret part of an address.
    pub to: String,
    /// Whether it arrived.
    pub result: Result<(), Failure>,
}

/// The last notice that was sent from here, and what of it did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When (RFC 3339).
    pub at: String,
    /// What could not be sent, and why.
    pub unsent: Vec<String>,
}

impl Record {
    /// Reads the text of the file.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Of the last notice of a site that was sent from here.
    pub fn last(site: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(layout::notice_record(site).as_str()).ok()?)
    }

    fn keep(&self, site: &str) -> Result<(), Failure> {
        let path = layout::notice_record(site);
        let text = serde_json::to_string(self).map_err(|e| Failure::new(format!("write {path}"), e))?;
        file::make_dir(Path::new(layout::machine_state(site).as_str()), Mode(0o700), Owner::ROOT)?;
        file::write(Path::new(path.as_str()), text.as_bytes(), Mode(0o600), Owner::ROOT)
    }
}

/// Tells those whom the config names what came of something, if they want to
/// know; what became of it on each way. Nothing is sent where nobody is named.
pub fn tell(world: &World, subject: Subject, well: bool, what: &str) -> Vec<Sent> {
    let config = &world.site().config;
    let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let notice =
        Notice { server: config.server_name.clone(), subject, well, what: what.to_owned(), at: at.clone() };
    if config.notify.is_nobody() || !notice.is_wanted(&config.notify) {
        return Vec::new();
    }
    // Side by side: a webhook that hangs keeps nobody else waiting.
    let notice = &notice;
    let mut sent: Vec<Sent> = std::thread::scope(|scope| {
        let room = config.notify.room.as_deref().map(|room| {
            scope.spawn(move || Sent { to: format!("the room {room}"), result: say(world, room, notice) })
        });
        let webhook = config
            .notify
            .webhook_file
            .as_ref()
            .map(|path| scope.spawn(move || post(&address(world, path), notice)));
        let file = config.notify.file.as_ref().map(|path| Sent {
            to: format!("the file {path}"),
            result: append(Path::new(path.as_str()), &notice.line()),
        });
        let threads = [room, webhook].into_iter().flatten();
        threads.filter_map(|thread| thread.join().ok()).chain(file).collect()
    });
    let unsent = sent.iter().filter_map(|sent| sent.result.as_ref().err().map(ToString::to_string)).collect();
    if let Err(failure) = (Record { at, unsent }).keep(config.site()) {
        sent.push(Sent { to: "the record of notices".to_owned(), result: Err(failure) });
    }
    sent
}

fn say(world: &World, room: &str, notice: &Notice) -> Result<(), Failure> {
    let message = Message { room: room.to_owned(), text: notice.text(), loud: notice.is_loud() };
    world.people(&Call::Say(message)).map(drop)
}

/// The file with the webhook's address, on the side that this is.
fn address(world: &World, path: &AbsPath) -> AbsPath {
    if world.site().backend.is_this_machine() { layout::secret(Secret::WEBHOOK) } else { path.clone() }
}

/// Sends to the webhook whose address stands in the file `path`.
fn post(path: &AbsPath, notice: &Notice) -> Sent {
    let doing = || "send to the webhook".to_owned();
    let address = match read(path) {
        Ok(address) => address,
        Err(failure) => return Sent { to: "the webhook".to_owned(), result: Err(failure) },
    };
    let Some(host) = webhook_host(&address) else {
        let why = format!("{path} does not hold an address that begins with https:// or http://");
        return Sent {
            to: "the webhook".to_owned(),
            result: Err(Failure::new(doing(), why).hint("put the address there, on one line and alone")),
        };
    };
    let to = format!("the webhook at {host}");
    let doing = || format!("send to {to}");
    let result = notice.json().map_err(|e| Failure::new(doing(), e)).and_then(|json| {
        match request(&address, json) {
            Ok(200..=299) => Ok(()),
            // What comes with a redirect may be meant for others.
            Ok(status @ 300..=399) => Err(Failure::new(
                doing(),
                format!("it answered {status}: what is sent is not sent on elsewhere"),
            )
            .hint(format!("put the address that it leads to into {path}"))),
            Ok(status) => Err(Failure::new(doing(), format!("it answered {status}"))),
            Err(why) => Err(Failure::new(doing(), why)),
        }
    });
    Sent { to, result }
}

/// The webhook's address, from a file that nobody else may read.
fn read(path: &AbsPath) -> Result<String, Failure> {
    let doing = || format!("read the webhook's address from {path}");
    let file = File::open(path.as_str()).doing(doing)?;
    let meta = file.metadata().doing(doing)?;
    if meta.mode() & 0o077 != 0 {
        let why = format!("others can read it (mode {:o})", meta.mode() & 0o777);
        return Err(Failure::new(doing(), why).hint(format!("chmod 600 {path}")));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).doing(doing)?;
    Ok(text.trim().to_owned())
}

/// The status that the webhook answers with, or why it does not; its address
/// does not stand in that.
fn request(address: &str, json: String) -> Result<u16, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .tls_config(trust::system())
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy::for_url(address)?)
        .user_agent(concat!("matrix-podman/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let answer = agent.post(address).header("content-type", "application/json").send(json);
    answer.map(|answer| answer.status().as_u16()).map_err(|error| match error {
        // These two say the address again.
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "its address cannot be used".to_owned(),
        error => error.to_string().replace(address, "…"),
    })
}

/// Appends a line; whoever may read logs may read it.
fn append(path: &Path, line: &str) -> Result<(), Failure> {
    let doing = || format!("write to {}", path.display());
    let mut file = File::options()
        .create(true)
        .append(true)
        .mode(0o640)
        // Nobody leads the line elsewhere by a link.
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .doing(doing)?;
    // In one piece, so that two at once do not mix.
    file.write_all(line.as_bytes()).doing(doing)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        net::TcpListener,
        os::unix::fs::PermissionsExt as _,
    };

    use matrix_podman_core::name::ServerName;

    use super::*;

    fn notice() -> Notice {
        Notice {
            server: ServerName::parse("matrix.home.arpa").unwrap(),
            subject: Subject::Backup,
            well: false,
            what: "the disk is full".to_owned(),
            at: "2026-11-15T05:41:07Z".to_owned(),
        }
    }

    /// A webhook that gives one answer; what it was sent.
    fn webhook(answer: &'static str) -> (u16, std::thread::JoinHandle<(String, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let mut reader = BufReader::new(listener.accept().unwrap().0);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            (head, String::from_utf8(body).unwrap())
        });
        (port, thread)
    }

    fn send(address: &str) -> Sent {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhook");
        fs::write(&path, format!("{address}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        post(&AbsPath::parse(path.to_str().unwrap()).unwrap(), &notice())
    }

    #[test]
    fn a_webhook_gets_json() {
        let (port, thread) = webhook("HTTP/1.1 204 No Content\r\n\r\n");
        let sent = send(&format!("http://127.0.0.1:{port}/hook/s3cret"));
        sent.result.unwrap();
        assert_eq!(sent.to, format!("the webhook at 127.0.0.1:{port}"));
        let (head, body) = thread.join().unwrap();
        assert!(head.starts_with("POST /hook/s3cret "), "{head}");
        assert_eq!(body, notice().json().unwrap());
    }

    #[test]
    fn what_fails_says_why_and_not_where_exactly() {
        let (port, thread) =
            webhook("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/else\r\ncontent-length: 0\r\n\r\n");
        let redirected = send(&format!("http://127.0.0.1:{port}/s3cret")).result.unwrap_err();
        assert!(redirected.to_string().contains("302"), "{redirected}");
        thread.join().unwrap();
        let (port, thread) = webhook("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        let refused = send(&format!("http://127.0.0.1:{port}/s3cret")).result.unwrap_err();
        assert!(refused.to_string().contains("403"), "{refused}");
        thread.join().unwrap();
        let silent = send("http://127.0.0.1:1/s3cret").result.unwrap_err();
        let wrong = send("http://127.0.0.1:1/s3cret{").result.unwrap_err();
        let none = send("s3cret").result.unwrap_err();
        for failure in [redirected, refused, silent, wrong, none] {
            assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
        }
    }

    #[test]
    fn an_address_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhook");
        fs::write(&path, "http://127.0.0.1:1/s3cret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let sent = post(&AbsPath::parse(path.to_str().unwrap()).unwrap(), &notice());
        assert!(sent.result.unwrap_err().to_string().contains("mode 644"));
    }

    #[test]
    fn a_file_gets_line_after_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notices");
        append(&path, &notice().line()).unwrap();
        append(&path, &notice().line()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        append(&link, "x\n").unwrap_err();
    }
}
