//! The client-server API, as far as the tests need it.

use std::time::Duration;

use serde_json::{Value, json};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request: status and body, whatever they are; an error when there was no
/// answer at all.
pub fn http(
    method: &str,
    url: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<(u16, Value), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .into();
    let bearer = token.map(|token| format!("Bearer {token}"));
    let answer = match method {
        "GET" => {
            let mut request = agent.get(url);
            if let Some(bearer) = &bearer {
                request = request.header("authorization", bearer);
            }
            request.call()
        }
        "POST" | "PUT" => {
            let mut request = if method == "PUT" { agent.put(url) } else { agent.post(url) };
            if let Some(bearer) = &bearer {
                request = request.header("authorization", bearer);
            }
            request.send_json(body.unwrap_or(&json!({})))
        }
        other => panic!("{other} is not in use here"),
    };
    let mut answer = answer.map_err(|e| format!("{method} {url}: {e}"))?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().map_err(|e| format!("{method} {url}: {e}"))?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// Waits as long as the server asks a client to wait that comes too often.
fn patiently(mut request: impl FnMut() -> Result<(u16, Value), String>) -> Result<(u16, Value), String> {
    for _ in 0..10 {
        let answer = request()?;
        match (answer.0, answer.1["retry_after_ms"].as_u64()) {
            (429, Some(millis)) => std::thread::sleep(Duration::from_millis(millis + 50)),
            _ => return Ok(answer),
        }
    }
    request()
}

/// A Matrix server.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Where it is.
    pub url: String,
    /// What user ids end with.
    pub server_name: String,
}

/// A user who is logged in.
#[derive(Debug, Clone)]
pub struct Session {
    matrix: Matrix,
    /// The access token.
    pub token: String,
    /// The user.
    pub user_id: String,
}

impl Matrix {
    /// The server at `url`.
    pub fn new(url: &str, server_name: &str) -> Self {
        Self { url: url.to_owned(), server_name: server_name.to_owned() }
    }

    /// The id of a user.
    pub fn user_id(&self, name: &str) -> String {
        format!("@{name}:{}", self.server_name)
    }

    /// Tries to log in.
    pub fn try_login(&self, name: &str, password: &str) -> Result<Session, String> {
        let body = json!({
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": password,
        });
        let url = format!("{}/_matrix/client/v3/login", self.url);
        let (status, answer) = patiently(|| http("POST", &url, None, Some(&body)))?;
        match (status, answer["access_token"].as_str(), answer["user_id"].as_str()) {
            (200, Some(token), Some(user_id)) => {
                Ok(Session { matrix: self.clone(), token: token.to_owned(), user_id: user_id.to_owned() })
            }
            _ => Err(format!("login of {name}: {status} {answer}")),
        }
    }

    /// Logs in.
    #[track_caller]
    pub fn login(&self, name: &str, password: &str) -> Session {
        self.try_login(name, password).unwrap_or_else(|e| panic!("{e}"))
    }
}

impl Session {
    /// A request of this user below `/_matrix/client`.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let url = format!("{}/_matrix/client{path}", self.matrix.url);
        match patiently(|| http(method, &url, Some(&self.token), body))? {
            (200, answer) => Ok(answer),
            (status, answer) => Err(format!("{method} {path}: {status} {answer}")),
        }
    }

    /// Makes a room that others may join; its id.
    #[track_caller]
    pub fn create_room(&self, name: &str) -> String {
        let body = json!({"name": name, "preset": "public_chat"});
        let answer = self.request("POST", "/v3/createRoom", Some(&body)).unwrap_or_else(|e| panic!("{e}"));
        answer["room_id"].as_str().unwrap_or_else(|| panic!("no room_id in {answer}")).to_owned()
    }

    /// Joins a room.
    #[track_caller]
    pub fn join(&self, room: &str) {
        self.request("POST", &format!("/v3/join/{}", escape(room)), None).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Sends a message; the event's id once the server has acknowledged it.
    pub fn send(&self, room: &str, text: &str) -> Result<String, String> {
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = format!("/v3/rooms/{}/send/m.room.message/e2e-{number}-{}", escape(room), escape(text));
        let answer = self.request("PUT", &path, Some(&json!({"msgtype": "m.text", "body": text})))?;
        answer["event_id"].as_str().map(str::to_owned).ok_or_else(|| format!("no event_id in {answer}"))
    }

    /// Uploads something; its address.
    #[track_caller]
    pub fn upload(&self, name: &str, bytes: &[u8]) -> String {
        let url = format!("{}/_matrix/media/v3/upload?filename={}", self.matrix.url, escape(name));
        let request = ureq::post(url).header("authorization", format!("Bearer {}", self.token));
        let mut answer = request.send(bytes).unwrap_or_else(|e| panic!("upload {name}: {e}"));
        let text = answer.body_mut().read_to_string().unwrap_or_else(|e| panic!("upload {name}: {e}"));
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        answer["content_uri"].as_str().unwrap_or_else(|| panic!("no content_uri in {answer}")).to_owned()
    }

    /// What is at an address that [`Session::upload`] gave.
    #[track_caller]
    pub fn download(&self, address: &str) -> Vec<u8> {
        let media = address.trim_start_matches("mxc://");
        let url = format!("{}/_matrix/client/v1/media/download/{media}", self.matrix.url);
        let request = ureq::get(url).header("authorization", format!("Bearer {}", self.token));
        let mut answer = request.call().unwrap_or_else(|e| panic!("download {media}: {e}"));
        answer.body_mut().read_to_vec().unwrap_or_else(|e| panic!("download {media}: {e}"))
    }

    /// The texts of the last thousand messages of a room, newest first.
    #[track_caller]
    pub fn messages(&self, room: &str) -> Vec<String> {
        let mut texts = Vec::new();
        let mut from = String::new();
        for _ in 0..20 {
            let path = format!("/v3/rooms/{}/messages?dir=b&limit=100{from}", escape(room));
            let answer = self.request("GET", &path, None).unwrap_or_else(|e| panic!("{e}"));
            let chunk = answer["chunk"].as_array().cloned().unwrap_or_default();
            texts.extend(chunk.iter().filter_map(|e| Some(e["content"]["body"].as_str()?.to_owned())));
            match answer["end"].as_str() {
                Some(end) if !chunk.is_empty() => from = format!("&from={}", escape(end)),
                _ => break,
            }
        }
        texts
    }
}

static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Text as one segment of a path.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
