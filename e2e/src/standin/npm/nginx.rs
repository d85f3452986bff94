//! nginx' config as NPM writes it, in the order of NPM's templates.

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use serde_json::Value;

use super::{Kind, State, strings};

impl State {
    pub(super) fn host_file(&self, kind: Kind, host: &Value) -> PathBuf {
        self.folder.join(kind.folder()).join(format!("{}.conf", host["id"]))
    }

    /// Writes the host's file. `with_certificate` is false where NPM forgot to
    /// fetch it along with the row.
    pub(super) fn write_host_file(&self, kind: Kind, host: &Value, with_certificate: bool) {
        let file = self.host_file(kind, host);
        let id = host["certificate_id"].as_u64().filter(|_| with_certificate);
        // A row that has been removed is not fetched either.
        let certificate = id.filter(|id| self.certificates.iter().any(|c| c["id"] == *id));
        let text = match kind {
            Kind::Proxy => self.render(host, certificate),
            _ => self.render_simple(kind, host, certificate),
        };
        fs::write(&file, text).unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
    }

    /// Somebody else's file breaks nginx' config; what runs goes on.
    pub fn break_nginx(&mut self) {
        let file = self.folder.join("redirection_host/0.conf");
        fs::write(&file, "server { listen nonsense; }\n")
            .unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
    }

    /// It is mended again.
    pub fn mend_nginx(&mut self) {
        let _ = fs::remove_file(self.folder.join("redirection_host/0.conf"));
    }

    /// Whether nginx can load its config.
    pub fn nginx_is_well(&self) -> bool {
        self.test().is_ok()
    }

    /// `nginx -t`: two lines when it fails, and the second says nothing.
    pub(super) fn test(&self) -> Result<(), String> {
        let config = self.folder.join("nginx.conf").display().to_string();
        match Command::new("nginx").args(["-t", "-e", "stderr", "-c", &config]).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Not waited for: old workers answer for a moment still.
    pub(super) fn reload(&self) {
        if let Ok(pid) = fs::read_to_string(self.folder.join("nginx.pid")) {
            let _ = Command::new("kill").args(["-HUP", pid.trim()]).status();
        }
    }

    pub(super) fn write_main(&self) {
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
  set_real_ip_from 10.0.0.0/8;
  set_real_ip_from 172.16.0.0/12;
  set_real_ip_from 192.168.0.0/16;
  real_ip_header X-Real-IP;
  real_ip_recursive on;
  server {{
    listen {address}:80 default_server;
    server_name localhost-nginx-proxy-manager;
    return 200 "Congratulations!";
  }}
  server {{
    listen {address}:443 ssl default_server;
    server_name localhost;
    ssl_reject_handshake on;
    return 444;
  }}
  include {folder}/redirection_host/*.conf;
  include {folder}/proxy_host/*.conf;
  include {folder}/dead_host/*.conf;
  include {folder}/stream/*.conf;
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
    fn render(&self, host: &Value, certificate: Option<u64>) -> String {
        let folder = self.folder.display();
        let address = &self.options.address;
        let text = |key: &str| host[key].as_str().unwrap_or_default().to_owned();
        let yes = |key: &str| host[key] == true;
        let names = strings(&host["domain_names"]);
        let mut conf = String::new();
        if host["enabled"] == false {
            return conf;
        }
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
        if let Some(id) = certificate {
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

    /// A redirection, a 404 or a stream. The module for streams is not in
    /// Debian's nginx: what counts here is that its file names the certificate.
    fn render_simple(&self, kind: Kind, host: &Value, certificate: Option<u64>) -> String {
        let (folder, address) = (self.folder.display(), &self.options.address);
        let mut conf = "server {\n".to_owned();
        match kind {
            Kind::Stream => {
                let tls = if certificate.is_some() { " ssl" } else { "" };
                let _ = writeln!(conf, "  listen {address}:{}{tls};", host["incoming_port"]);
            }
            _ => {
                let _ = writeln!(conf, "  listen {address}:80;");
                if certificate.is_some() {
                    let _ = writeln!(conf, "  listen {address}:443 ssl;");
                }
                let _ = writeln!(conf, "  server_name {};", strings(&host["domain_names"]).join(" "));
            }
        }
        if let Some(id) = certificate {
            let _ = writeln!(
                conf,
                "  ssl_certificate {folder}/certs/npm-{id}.pem;\n  ssl_certificate_key {folder}/certs/npm-{id}.pem.key;"
            );
        }
        let answer = match kind {
            Kind::Redirection => {
                format!(
                    "301 https://{}$request_uri",
                    host["forward_domain_name"].as_str().unwrap_or_default()
                )
            }
            _ => "404".to_owned(),
        };
        let _ = writeln!(conf, "  return {answer};\n}}");
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
