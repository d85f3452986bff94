//! Nginx Proxy Manager: its API with its closed schemas and odd status codes,
//! and a real nginx that serves the proxy hosts as NPM renders them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};

use super::{
    Authority,
    http::{Answer, Asked, Gate, Server, merge, none, only, parts},
};

/// How the stand-in is.
#[derive(Debug, Clone)]
pub struct NpmOptions {
    /// 2.`minor`.`revision`
    pub version: (u32, u32),
    /// A code that is wanted besides the password.
    pub code: Option<String>,
    /// The Cloudflare token with which names can be proved.
    pub dns_token: String,
    /// Address on this machine that its nginx listens on.
    pub address: String,
}

/// What NPM keeps.
pub struct State {
    /// How it is.
    pub options: NpmOptions,
    /// Who may log in.
    pub identity: String,
    /// The password.
    pub password: String,
    /// Proxy hosts.
    pub hosts: Vec<Value>,
    /// Redirection hosts.
    pub redirections: Vec<Value>,
    /// Certificates.
    pub certificates: Vec<Value>,
    /// nginx refuses the next host, with these words.
    pub refuse_next: Option<String>,
    /// Something that happens right behind the next write.
    pub meanwhile: Option<fn(&mut State)>,
    authority: Arc<Authority>,
    folder: PathBuf,
    tokens: u32,
    made: u64,
}

/// The stand-in.
pub struct Npm {
    state: Arc<Mutex<State>>,
    server: Server,
    nginx: Option<Child>,
}

impl Npm {
    /// An NPM without hosts and certificates, in a folder of its own; `gate`
    /// can hold clients.
    #[track_caller]
    pub fn start(
        folder: &Path,
        authority: Arc<Authority>,
        identity: &str,
        password: &str,
        options: NpmOptions,
        gate: &Arc<Gate>,
    ) -> Self {
        for below in ["proxy_host", "certs", "logs", "body"] {
            fs::create_dir_all(folder.join(below)).unwrap_or_else(|e| panic!("make {below}: {e}"));
        }
        authority.issue(&folder.join("certs"), "dummy", &["localhost.home.arpa"], 30);
        let state = State {
            options,
            identity: identity.to_owned(),
            password: password.to_owned(),
            hosts: Vec::new(),
            redirections: Vec::new(),
            certificates: Vec::new(),
            refuse_next: None,
            meanwhile: None,
            authority,
            folder: folder.to_owned(),
            tokens: 0,
            made: 0,
        };
        state.write_main();
        let config = folder.join("nginx.conf").display().to_string();
        let nginx = Command::new("nginx")
            .args(["-e", "stderr", "-c", &config, "-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("nginx.log")).unwrap_or_else(|e| panic!("nginx.log: {e}")))
            .spawn()
            .unwrap_or_else(|e| panic!("start nginx: {e}"));
        let state = Arc::new(Mutex::new(state));
        let inner = Arc::clone(&state);
        let server = Server::start(
            Arc::clone(gate),
            Arc::new(move |asked: &Asked| {
                let mut state = inner.lock().unwrap_or_else(|e| e.into_inner());
                let answer = state.answer(asked);
                if asked.is_write()
                    && let Some(meanwhile) = state.meanwhile.take()
                {
                    meanwhile(&mut state);
                }
                answer
            }),
        );
        Self { state, server, nginx: Some(nginx) }
    }

    /// Where it is administered.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What it keeps, to be looked at and clicked into.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What was asked since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.server.asked.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

impl Drop for Npm {
    fn drop(&mut self) {
        if let Some(mut nginx) = self.nginx.take() {
            // The master ends its workers when it is asked to.
            let _ = Command::new("kill").arg(nginx.id().to_string()).status();
            let _ = nginx.wait();
        }
    }
}

/// Whether a row has the id that stands in a path.
fn is_id(row: &Value, id: &str) -> bool {
    id.parse().is_ok_and(|id: u64| row["id"] == id)
}

fn refused(status: u16, message: &str) -> Answer {
    Answer::new(status, json!({"error": {"code": status, "message": message}}))
}

const FIELDS: [&str; 17] = [
    "domain_names",
    "forward_scheme",
    "forward_host",
    "forward_port",
    "certificate_id",
    "ssl_forced",
    "http2_support",
    "hsts_enabled",
    "hsts_subdomains",
    "block_exploits",
    "caching_enabled",
    "allow_websocket_upgrade",
    "enabled",
    "access_list_id",
    "advanced_config",
    "meta",
    "locations",
];

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let path = asked.path.strip_prefix("/api").unwrap_or("/nowhere");
        let (minor, revision) = self.options.version;
        if path == "/" {
            return Answer::new(
                200,
                json!({"status": "OK", "setup": true, "version": {"major": 2, "minor": minor, "revision": revision}}),
            );
        }
        if path == "/tokens" && asked.method == "POST" {
            return self.log_in(&asked.body);
        }
        if path == "/tokens/2fa" && asked.method == "POST" {
            let good = asked.body["challenge_token"] == "challenge"
                && asked.body["code"].as_str() == self.options.code.as_deref();
            return if good { self.token() } else { refused(400, "Invalid verification code") };
        }
        let known =
            (1..=self.tokens).any(|n| asked.authorization.as_deref() == Some(&format!("Bearer session-{n}")));
        if !known {
            // Who may not see it does not find it.
            return refused(404, &format!("Not Found - {path}"));
        }
        match (asked.method.as_str(), parts(path).as_slice()) {
            ("GET", ["nginx", "proxy-hosts"]) => Answer::new(200, json!(self.hosts)),
            ("GET", ["nginx", "redirection-hosts"]) => Answer::new(200, json!(self.redirections)),
            ("GET", ["nginx", "dead-hosts"]) => Answer::new(200, none()),
            ("GET", ["nginx", "certificates"]) => Answer::new(200, json!(self.certificates)),
            ("POST", ["nginx", "proxy-hosts"]) => self.create_host(&asked.body),
            ("PUT", ["nginx", "proxy-hosts", id]) => self.change_host(id, &asked.body),
            ("DELETE", ["nginx", "proxy-hosts", id]) => {
                let Some(at) = self.hosts.iter().position(|h| is_id(h, id)) else {
                    return refused(404, &format!("Not Found - {id}"));
                };
                let host = self.hosts.remove(at);
                let _ = fs::remove_file(self.host_file(&host));
                self.reload();
                Answer::new(200, json!(true))
            }
            ("POST", ["nginx", "certificates"]) => self.request_certificate(&asked.body),
            ("DELETE", ["nginx", "certificates", id]) => {
                let before = self.certificates.len();
                self.certificates.retain(|c| !is_id(c, id));
                if self.certificates.len() < before {
                    Answer::new(200, json!(true))
                } else {
                    refused(404, &format!("Not Found - {id}"))
                }
            }
            _ => refused(404, &format!("Not Found - {path}")),
        }
    }

    fn log_in(&mut self, body: &Value) -> Answer {
        if let Err(why) = only(body, &["identity", "secret", "scope"]) {
            return refused(400, &why);
        }
        if body["identity"] != self.identity.as_str() || body["secret"] != self.password.as_str() {
            return refused(400, "Invalid email or password");
        }
        if self.options.code.is_some() {
            return Answer::new(200, json!({"requires_2fa": true, "challenge_token": "challenge"}));
        }
        self.token()
    }

    fn token(&mut self) -> Answer {
        self.tokens += 1;
        Answer::new(
            200,
            json!({"token": format!("session-{}", self.tokens), "expires": "2099-01-01T00:00:00.000Z"}),
        )
    }

    fn check_fields(&self, body: &Value) -> Result<(), Answer> {
        let mut known = FIELDS.to_vec();
        if self.options.version.0 >= 14 {
            known.push("trust_forwarded_proto");
        }
        only(body, &known).map_err(|why| refused(400, &why))?;
        if body.as_object().is_some_and(serde_json::Map::is_empty) {
            return Err(refused(400, "data must NOT have fewer than 1 properties"));
        }
        for location in body["locations"].as_array().into_iter().flatten() {
            let known = [
                "path",
                "forward_scheme",
                "forward_host",
                "forward_port",
                "forward_path",
                "advanced_config",
                "id",
            ];
            only(location, &known).map_err(|why| refused(400, &why))?;
        }
        Ok(())
    }

    fn clash(&self, body: &Value, own: Option<&Value>) -> Option<Answer> {
        let names = |host: &Value| -> Vec<String> {
            host["domain_names"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|n| Some(n.as_str()?.to_lowercase()))
                .collect()
        };
        let wanted = names(body);
        let others = self.hosts.iter().filter(|h| Some(&h["id"]) != own).chain(&self.redirections);
        let taken = others.flat_map(names).find(|name| wanted.contains(name))?;
        Some(refused(400, &format!("{taken} is already in use")))
    }

    fn create_host(&mut self, body: &Value) -> Answer {
        if let Err(answer) = self.check_fields(body) {
            return answer;
        }
        if ["domain_names", "forward_scheme", "forward_host", "forward_port"]
            .iter()
            .any(|key| body[*key].is_null())
        {
            return refused(400, "data must have required property");
        }
        if let Some(answer) = self.clash(body, None) {
            return answer;
        }
        self.made += 1;
        let mut host = json!({"id": self.made, "created_on": "2026-01-01 00:00:00", "modified_on": "2026-01-01 00:00:00",
            "owner_user_id": 1, "access_list_id": 0, "certificate_id": 0, "ssl_forced": false, "caching_enabled": false,
            "block_exploits": false, "advanced_config": "", "meta": {}, "allow_websocket_upgrade": false,
            "http2_support": false, "hsts_enabled": false, "hsts_subdomains": false, "enabled": true, "locations": null});
        if self.options.version.0 >= 14 {
            host["trust_forwarded_proto"] = json!(false);
        }
        merge(&mut host, body);
        tidy(&mut host);
        let answer = host.clone();
        self.serve(&mut host);
        self.hosts.push(host);
        // The state of nginx is not in this answer, only in the next.
        Answer::new(201, answer)
    }

    fn change_host(&mut self, id: &str, body: &Value) -> Answer {
        if let Err(answer) = self.check_fields(body) {
            return answer;
        }
        let Some(at) = self.hosts.iter().position(|h| is_id(h, id)) else {
            return refused(404, &format!("Not Found - {id}"));
        };
        let own = self.hosts[at]["id"].clone();
        if !body["domain_names"].is_null()
            && let Some(answer) = self.clash(body, Some(&own))
        {
            return answer;
        }
        let mut host = self.hosts[at].clone();
        let mut meta = host["meta"].clone();
        merge(&mut meta, &body["meta"]);
        merge(&mut host, body);
        host["meta"] = meta;
        host["modified_on"] = json!("2026-01-02 00:00:00");
        tidy(&mut host);
        self.serve(&mut host);
        self.hosts[at] = host.clone();
        Answer::new(200, host)
    }

    fn request_certificate(&mut self, body: &Value) -> Answer {
        if let Err(why) = only(body, &["provider", "nice_name", "domain_names", "meta"]) {
            return refused(400, &why);
        }
        let (minor, revision) = self.options.version;
        let mut known = vec![
            "certificate",
            "certificate_key",
            "dns_challenge",
            "dns_provider",
            "dns_provider_credentials",
            "letsencrypt_certificate",
            "propagation_seconds",
        ];
        if (minor, revision) >= (13, 6) {
            known.push("key_type");
        }
        if minor < 13 {
            known.extend(["letsencrypt_agree", "letsencrypt_email"]);
        }
        if let Err(why) = only(&body["meta"], &known) {
            return refused(400, &why);
        }
        if body["meta"]["dns_provider"] != "cloudflare" {
            return refused(404, "Unknown DNS provider");
        }
        self.made += 1;
        let credentials = body["meta"]["dns_provider_credentials"].as_str().unwrap_or_default();
        if credentials != format!("dns_cloudflare_api_token={}", self.options.dns_token) {
            // The row goes again; certbot's own words come along, what it read included.
            let mut answer = refused(500, "Internal Error");
            answer.body["debug"] = json!({
                "stack": [format!("Saving debug log to /tmp/letsencrypt-log/letsencrypt.log\nError determining zone_id: 6003 Invalid request headers. ({credentials})\nAsk for help")],
                "previous": {"cmd": "certbot certonly --authenticator dns-cloudflare"},
            });
            return answer;
        }
        let names: Vec<&str> =
            body["domain_names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let id = self.made;
        self.authority.issue(&self.folder.join("certs"), &format!("npm-{id}"), &names, 80);
        self.add_certificate(id, &names, "2099-01-01 00:00:00");
        let mut made = self.certificates[self.certificates.len() - 1].clone();
        made["meta"]["letsencrypt_certificate"] = json!({"cn": names[0]});
        Answer::new(201, made)
    }

    /// A certificate with its row.
    pub fn add_certificate(&mut self, id: u64, names: &[&str], until: &str) {
        self.made = self.made.max(id);
        let file = format!("npm-{id}");
        if !self.folder.join("certs").join(format!("{file}.pem")).exists() {
            self.authority.issue(&self.folder.join("certs"), &file, names, 80);
        }
        self.certificates.push(json!({"id": id, "provider": "letsencrypt", "nice_name": names.join(", "),
            "domain_names": names, "expires_on": until, "meta": {"dns_challenge": true}}));
    }

    fn host_file(&self, host: &Value) -> PathBuf {
        self.folder.join("proxy_host").join(format!("{}.conf", host["id"]))
    }

    /// Writes the host's file and has nginx try it: a host that it does not
    /// take is served no more, and only its meta says so.
    fn serve(&mut self, host: &mut Value) {
        let file = self.host_file(host);
        fs::write(&file, self.render(host)).unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
        let config = self.folder.join("nginx.conf").display().to_string();
        let test = Command::new("nginx").args(["-t", "-q", "-e", "stderr", "-c", &config]).output();
        let error = match (self.refuse_next.take(), test) {
            (Some(words), _) => Some(words),
            (None, Ok(output)) if output.status.success() => None,
            (None, Ok(output)) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            (None, Err(e)) => Some(e.to_string()),
        };
        if error.is_some() {
            let _ = fs::remove_file(&file);
        }
        host["meta"]["nginx_online"] = json!(error.is_none());
        host["meta"]["nginx_err"] = json!(error);
        self.reload();
    }

    /// Not waited for: old workers answer for a moment still.
    fn reload(&self) {
        if let Ok(pid) = fs::read_to_string(self.folder.join("nginx.pid")) {
            let _ = Command::new("kill").args(["-HUP", pid.trim()]).status();
        }
    }

    fn write_main(&self) {
        let folder = self.folder.display();
        let address = &self.options.address;
        let text = format!(
            r#"user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/logs/error.log warn;
events {{ worker_connections 256; }}
http {{
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  server_tokens off;
  client_body_temp_path {folder}/body 1 2;
  proxy_temp_path {folder}/body/proxy;
  fastcgi_temp_path {folder}/body/fastcgi;
  uwsgi_temp_path {folder}/body/uwsgi;
  scgi_temp_path {folder}/body/scgi;
  keepalive_timeout 90s;
  proxy_connect_timeout 90s;
  proxy_send_timeout 90s;
  proxy_read_timeout 90s;
  gzip on;
  client_max_body_size 2000m;
  server_names_hash_bucket_size 1024;
  proxy_http_version 1.1;
  proxy_set_header X-Forwarded-Scheme $scheme;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header Accept-Encoding "";
  access_log off;
  map $host $forward_scheme {{ default http; }}
  map $http_x_forwarded_proto $x_forwarded_proto {{ "http" "http"; "https" "https"; default $scheme; }}
  map $http_x_forwarded_scheme $x_forwarded_scheme {{ "http" "http"; "https" "https"; default $scheme; }}
  map $scheme $hsts_header {{ https "max-age=63072000; preload"; }}
  set_real_ip_from 127.0.0.0/8;
  set_real_ip_from 10.0.0.0/8;
  set_real_ip_from 172.16.0.0/12;
  set_real_ip_from 192.168.0.0/16;
  real_ip_header X-Real-IP;
  real_ip_recursive on;
  server {{
    listen {address}:80 default_server;
    listen {address}:443 ssl default_server;
    server_name _;
    ssl_certificate {folder}/certs/dummy.pem;
    ssl_certificate_key {folder}/certs/dummy.pem.key;
    return 444;
  }}
  include {folder}/proxy_host/*.conf;
}}
"#
        );
        fs::write(self.folder.join("nginx.conf"), text).unwrap_or_else(|e| panic!("write nginx.conf: {e}"));
        let proxy = "add_header X-Served-By $host;\nproxy_set_header Host $host;\n\
                     proxy_set_header X-Forwarded-Scheme $x_forwarded_scheme;\n\
                     proxy_set_header X-Forwarded-Proto $x_forwarded_proto;\n\
                     proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
                     proxy_set_header X-Real-IP $remote_addr;\n\
                     proxy_pass $forward_scheme://$server:$port$request_uri;\n";
        fs::write(self.folder.join("proxy.conf"), proxy).unwrap_or_else(|e| panic!("write proxy.conf: {e}"));
    }

    /// The host as NPM's templates render it, in their order.
    fn render(&self, host: &Value) -> String {
        let folder = self.folder.display();
        let address = &self.options.address;
        let text = |key: &str| host[key].as_str().unwrap_or_default().to_owned();
        let yes = |key: &str| host[key] == true;
        let names: Vec<&str> =
            host["domain_names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut conf = String::new();
        if !yes("enabled") {
            return conf;
        }
        let certificate = self.certificates.iter().find(|c| c["id"] == host["certificate_id"]);
        let _ = writeln!(
            conf,
            "server {{\n  set $forward_scheme {};\n  set $server \"{}\";\n  set $port {};\n  listen {address}:80;",
            text("forward_scheme"),
            text("forward_host"),
            host["forward_port"]
        );
        if certificate.is_some() {
            let _ = writeln!(
                conf,
                "  listen {address}:443 ssl{};",
                if yes("http2_support") { " http2" } else { "" }
            );
        }
        let _ = writeln!(conf, "  server_name {};", names.join(" "));
        let _ = writeln!(
            conf,
            "  location ^~ /.well-known/acme-challenge/ {{ default_type text/plain; root {folder}/body; }}"
        );
        if let Some(certificate) = certificate {
            let id = &certificate["id"];
            let _ = writeln!(
                conf,
                "  ssl_certificate {folder}/certs/npm-{id}.pem;\n  ssl_certificate_key {folder}/certs/npm-{id}.pem.key;"
            );
        }
        if yes("caching_enabled") {
            conf.push_str("  location ~* \\.(png|jpg|css|js)$ { access_log off; include ");
            let _ = writeln!(conf, "{folder}/proxy.conf; }}");
        }
        if yes("block_exploits") {
            conf.push_str("  if ($query_string ~ \"[a-zA-Z0-9_]=http://\") { return 403; }\n");
        }
        if certificate.is_some() && yes("hsts_enabled") {
            conf.push_str("  add_header Strict-Transport-Security $hsts_header always;\n");
        }
        if certificate.is_some() && yes("ssl_forced") {
            let trust = if yes("trust_forwarded_proto") { "$x_forwarded_proto" } else { "$scheme" };
            let _ = writeln!(
                conf,
                "  set $plain {trust};\n  if ($plain = \"http\") {{ return 301 https://$host$request_uri; }}"
            );
        }
        if yes("allow_websocket_upgrade") {
            conf.push_str("  proxy_set_header Upgrade $http_upgrade;\n  proxy_set_header Connection $http_connection;\n  proxy_http_version 1.1;\n");
        }
        let advanced = text("advanced_config");
        let _ = writeln!(conf, "{advanced}");
        let locations = host["locations"].as_array().cloned().unwrap_or_default();
        for location in &locations {
            let _ = writeln!(
                conf,
                "  location {} {{ {} include {folder}/proxy.conf; }}",
                location["path"].as_str().unwrap_or_default(),
                location["advanced_config"].as_str().unwrap_or_default()
            );
        }
        if !own_default(&advanced) && !locations.iter().any(|l| l["path"] == "/") {
            conf.push_str("  location / {\n");
            if yes("allow_websocket_upgrade") {
                conf.push_str("    proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Connection $http_connection;\n");
            }
            let _ = writeln!(conf, "    include {folder}/proxy.conf;\n  }}");
        }
        conf.push_str("}\n");
        conf
    }
}

/// NPM's `/^(?:.*;)?\s*?location\s*?\/\s*?{/im`: whether the text brings its own `location /`.
fn own_default(advanced: &str) -> bool {
    advanced.lines().any(|line| {
        let tail = line.rsplit_once(';').map_or(line, |(_, tail)| tail);
        let candidates = [line, tail];
        candidates.iter().any(|part| {
            part.trim_start()
                .strip_prefix("location")
                .and_then(|rest| rest.trim_start().strip_prefix('/'))
                .is_some_and(|rest| rest.trim_start().starts_with('{'))
        })
    })
}

/// What NPM's model does on save: without a certificate nothing is forced.
fn tidy(host: &mut Value) {
    if let Some(names) = host["domain_names"].as_array_mut() {
        names.sort_by_key(Value::to_string);
    }
    if host["certificate_id"] == 0 {
        for key in ["ssl_forced", "http2_support"] {
            host[key] = json!(false);
        }
    }
    if host["ssl_forced"] == false {
        for key in ["hsts_enabled", "hsts_subdomains"] {
            host[key] = json!(false);
        }
    }
}

impl State {
    /// What is kept, as text that can be compared.
    pub fn shown(&self) -> String {
        let all: BTreeMap<&str, &Vec<Value>> = [
            ("hosts", &self.hosts),
            ("certificates", &self.certificates),
            ("redirections", &self.redirections),
        ]
        .into();
        serde_json::to_string_pretty(&all).unwrap_or_default()
    }
}
