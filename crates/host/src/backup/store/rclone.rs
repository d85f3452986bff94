//! A remote of the operator's own rclone, which serves it to this program alone.

use std::{
    fmt,
    io::BufReader,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use matrix_podman_core::{
    backup::RclonePlace,
    name::{Mode, Owner},
};
use rustic_core::BytesList;
use serde::Deserialize;
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;

use super::{Item, LOCKS, Name, Store, StoreTraffic, http, s3::exactly};
use crate::{
    bounded,
    failure::{Doing, Failure},
    file,
};

/// How long rclone may take until it serves.
const STARTS: Duration = Duration::from_secs(60);
/// Stands before the address that it serves at.
const SERVES: &str = "Serving restic REST API on ";
/// Who comes to it.
const USER: &str = "matrix-podman";
/// Lists with sizes.
const WITH_SIZES: &str = "application/vnd.x.restic.rest.v2";

/// A remote that rclone serves.
pub(super) struct Rclone {
    process: Child,
    url: String,
    authorization: String,
    shown: String,
    client: http::Client,
    traffic: StoreTraffic,
    _folder: TempDir,
}

impl fmt::Debug for Rclone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Rclone {
    pub(super) fn new(place: &RclonePlace, traffic: &StoreTraffic) -> Result<Self, Failure> {
        let doing = || format!("have rclone serve {}", place.as_str());
        // Anybody on this machine can come to its port; only who has this password is let in.
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).doing(|| "get random bytes from the system")?;
        let password = STANDARD.encode(bytes);
        let folder = tempfile::Builder::new().prefix("mp-rclone-").tempdir().doing(doing)?;
        let people = folder.path().join("people");
        let line = format!("{USER}:{{SHA}}{}\n", STANDARD.encode(Sha1::digest(password.as_bytes())));
        file::write(&people, line.as_bytes(), Mode(0o400), Owner::ROOT)?;
        let mut process = start(place, &people)?;
        let url = address(&mut process, place).inspect_err(|_| {
            let _ = process.kill();
            let _ = process.wait();
        })?;
        Ok(Self {
            process,
            url,
            authorization: format!("Basic {}", STANDARD.encode(format!("{USER}:{password}"))),
            shown: place.as_str().to_owned(),
            client: http::Client::new(&traffic.limits),
            traffic: traffic.clone(),
            _folder: folder,
        })
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        more: &[(&str, String)],
        body: Option<&BytesList>,
        what: &str,
    ) -> Result<Option<http::Answer>, Failure> {
        let doing = || format!("{what} in {}, through rclone", self.shown);
        let url = format!("{}/{path}", self.url);
        let mut headers = vec![("authorization", self.authorization.clone())];
        headers.extend(more.iter().cloned());
        self.traffic.again(|| {
            let answer = http::send(&self.client, method, &url, &headers, body, &doing)?;
            match answer.status {
                200..=299 => Ok(Some(answer)),
                404 => Ok(None),
                status => {
                    let said = http::said(&answer);
                    Err(Failure::new(doing(), format!("rclone answers {status}{said}")).into())
                }
            }
        })
    }
}

fn start(place: &RclonePlace, people: &Path) -> Result<Child, Failure> {
    // rclone ends with this program, even when it is killed.
    Command::new("setpriv")
        .args(["--pdeathsig=TERM", "--", "rclone", "serve", "restic", "--addr", "127.0.0.1:0", "--htpasswd"])
        .arg(people)
        // A config with a password would be asked for on a terminal that may not be there.
        .args(["--ask-password=false", "--retries", "3", "--low-level-retries", "3", "--contimeout", "20s"])
        .args(["--", place.as_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| format!("have rclone serve {}", place.as_str()))
        .map_err(|failure| failure.hint(NO_RCLONE))
}

/// How many lines of what rclone says are kept at most.
const LINES: usize = 200;
const NO_RCLONE: &str = "apt-get install rclone, then `rclone config` makes a remote";

/// Where it serves, read from what it says.
fn address(process: &mut Child, place: &RclonePlace) -> Result<String, Failure> {
    let doing = || format!("have rclone serve {}", place.as_str());
    let Some(stderr) = process.stderr.take() else { return Err(Failure::new(doing(), "it has no output")) };
    let (to, lines) = mpsc::sync_channel(LINES);
    // It goes on reading: rclone must not wait for somebody who listens.
    thread::spawn(move || {
        for line in bounded::lines(BufReader::new(stderr), u64::MAX).map_while(Result::ok) {
            let _ = to.try_send(line);
        }
    });
    let (deadline, mut said) = (Instant::now() + STARTS, Vec::new());
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.split_once(SERVES) {
                Some((_, url)) => return Ok(url.trim().trim_end_matches('/').to_owned()),
                None => said.push(line),
            },
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::new(doing(), "it does not begin to serve").evidence(said));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let why = said.last().cloned().unwrap_or_else(|| "it ended".to_owned());
                let missing = why.contains("failed to execute");
                let hint =
                    if missing { NO_RCLONE } else { "`rclone lsd REMOTE:` shows whether rclone gets there" };
                return Err(Failure::new(doing(), why).hint(hint).evidence(said));
            }
        }
    }
}

/// A line of a list.
#[derive(Deserialize)]
struct Listed {
    name: String,
    size: u64,
}

impl Store for Rclone {
    fn prepare(&self) -> Result<(), Failure> {
        self.send("POST", "?create=true", &[], None, "make a repository").map(drop)
    }

    fn list(&self, folder: &'static str) -> Result<Vec<Item>, Failure> {
        let what = format!("list {folder}");
        let accept = [("accept", WITH_SIZES.to_owned())];
        // rclone lists nothing where there is no folder, and answers 404 when it could not look: taken for nothing,
        // that would make a repository seem empty.
        let answer = self.send("GET", &format!("{folder}/"), &accept, None, &what)?.ok_or_else(|| {
            Failure::new(format!("{what} in {}, through rclone", self.shown), "rclone could not look there")
                .hint(format!("does `rclone lsf {}` get there?", self.shown))
        })?;
        let listed: Vec<Listed> = serde_json::from_slice(&answer.body)
            .doing(|| format!("{what} in {}, through rclone", self.shown))?;
        let item = |Listed { name, size }| Item { name, size, written: None };
        let items: Vec<Item> = listed.into_iter().map(item).collect();
        if folder != LOCKS {
            return Ok(items);
        }
        // Of a lock it counts how old it is.
        items.into_iter().filter_map(|item| self.look(&Name::In(folder, item.name)).transpose()).collect()
    }

    fn look(&self, name: &Name) -> Result<Option<Item>, Failure> {
        let answer = self.send("HEAD", &name.flat(), &[], None, &format!("look for {}", name.flat()))?;
        Ok(answer.map(|answer| Item {
            name: name.path().rsplit('/').next().unwrap_or_default().to_owned(),
            size: answer.header("content-length").and_then(|size| size.parse().ok()).unwrap_or_default(),
            written: answer.header("last-modified").and_then(at),
        }))
    }

    fn read(&self, name: &Name, part: Option<(u32, u32)>) -> Result<Bytes, Failure> {
        let what = format!("read {}", name.path());
        let headers = match part {
            Some((offset, length)) => {
                vec![("range", format!("bytes={offset}-{}", u64::from(offset) + u64::from(length) - 1))]
            }
            None => Vec::new(),
        };
        let doing = || format!("{what} in {}, through rclone", self.shown);
        let answer = self
            .send("GET", &name.flat(), &headers, None, &what)?
            .ok_or_else(|| Failure::new(doing(), "it is not there"))?;
        exactly(answer, part)
            .ok_or_else(|| Failure::new(doing(), "rclone sent something else than was asked for"))
    }

    fn write(&self, name: &Name, content: &BytesList) -> Result<(), Failure> {
        let what = format!("write {}", name.path());
        match self.send("POST", &name.flat(), &[], Some(content), &what)? {
            Some(_) => Ok(()),
            None => {
                Err(Failure::new(format!("{what} in {}, through rclone", self.shown), "rclone answers 404"))
            }
        }
    }

    fn remove(&self, name: &Name) -> Result<(), Failure> {
        self.send("DELETE", &name.flat(), &[], None, &format!("remove {}", name.path())).map(drop)
    }
}

/// A time as HTTP writes it.
fn at(text: &str) -> Option<std::time::SystemTime> {
    let parsed = rustic_core::jiff::fmt::rfc2822::parse(text).ok()?;
    Some(parsed.timestamp().into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_of_http_are_read() {
        let at = super::at("Wed, 25 Nov 2026 13:30:00 GMT").unwrap();
        let since = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(since, 1_795_613_400);
    }
}
