//! What was made at the edge and carries no mark there, remembered on the
//! machine so that it can be taken down again.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::name::AbsPath;

/// What was made at Cloudflare and has no room for a mark.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CloudflareRecord {
    /// The name of a tunnel that was made.
    #[serde(default)]
    pub tunnel: Option<String>,
    /// Its id, once it is known: another may have its name some day.
    #[serde(default)]
    pub tunnel_id: Option<String>,
    /// Routes that were made or changed.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// A route that was made or changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Its host.
    pub hostname: String,
    /// Its path, where it has one.
    #[serde(default)]
    pub path: Option<String>,
    /// The route that was there before, which `destroy` puts back.
    #[serde(default)]
    pub was: Option<Json>,
}

/// What was made at NPM and has no room for a mark.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NpmRecord {
    /// The names of certificates that were requested while nobody wrote down
    /// their ids. Somebody else may have made one for the same names, so these
    /// are not removed.
    #[serde(default)]
    pub certificates: Vec<Vec<String>>,
    /// The ids of certificates that were requested, as NPM gave them.
    #[serde(default)]
    pub certificate_ids: Vec<u64>,
    /// Hosts that were there before and were taken over.
    #[serde(default)]
    pub adopted: Vec<Adopted>,
}

/// A proxy host that was taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adopted {
    /// Its id.
    pub id: u64,
    /// What it said before, which is put back; its names and `meta` are not
    /// among it.
    pub was: Json,
}

/// Where the record of `part` is for `site`.
pub fn path(site: &str, part: &str) -> AbsPath {
    AbsPath::known(format!("{}/sites/{site}/edge-{part}.json", crate::layout::STATE))
}

/// Where the token for the cloudflared of a tunnel is written that was made.
pub fn token_file(site: &str) -> AbsPath {
    AbsPath::known(format!("{}/sites/{site}/cloudflared-token", crate::layout::STATE))
}

/// A record as the text of its file.
pub fn render<T: Serialize>(record: &T) -> String {
    // Strings and lists of strings: JSON can say them all.
    let mut text = serde_json::to_string_pretty(record).unwrap_or_default();
    text.push('\n');
    text
}

/// Reads a record; one that is not there is empty.
pub fn parse<T: Default + for<'a> Deserialize<'a>>(text: Option<&str>) -> Result<T, String> {
    text.map_or_else(|| Ok(T::default()), |text| serde_json::from_str(text).map_err(|e| e.to_string()))
}
