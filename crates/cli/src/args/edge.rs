//! `edge`.

use clap::{Subcommand, ValueEnum};

/// `edge`
#[derive(Debug, Subcommand)]
pub enum Edge {
    /// Print the whole way in as numbered steps for a person
    Guide(EdgeGuide),
    /// Print a working config for another reverse proxy
    Show(EdgeShow),
    /// Take down what was made at Cloudflare and Nginx Proxy Manager; leave the server
    Remove(EdgeRemove),
}

/// How a guide is printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum GuideFormat {
    /// For a terminal
    Terminal,
    /// Markdown
    Markdown,
    /// A page that needs nothing besides itself
    Html,
}

/// `edge guide`
#[derive(Debug, clap::Args)]
pub struct EdgeGuide {
    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "terminal")]
    pub format: GuideFormat,
    /// Machine that Nginx Proxy Manager runs on [default: the one of edge.npm.address]
    #[arg(long, value_name = "ADDRESS")]
    pub npm: Option<String>,
}

/// What a config is printed for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ProxyName {
    /// nginx
    Nginx,
    /// Caddy
    Caddy,
    /// Traefik, for its file provider
    Traefik,
    /// HAProxy
    Haproxy,
    /// Only what stands at /.well-known/matrix/, for any web server
    WellKnown,
}

/// `edge show`
#[derive(Debug, clap::Args)]
pub struct EdgeShow {
    /// Which
    pub proxy: ProxyName,
    /// File of the certificate, where the proxy finds it
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<String>,
    /// File of its key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<String>,
}

/// `edge remove`
#[derive(Debug, clap::Args)]
pub struct EdgeRemove {
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}
