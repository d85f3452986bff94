//! A user of NPM: what it sees, and what it may do.

use serde::Deserialize;

use super::Version;

/// Who is logged in.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct User {
    /// Its id, which stands as owner at what it makes.
    #[serde(default)]
    pub id: u64,
    /// `admin` is among them where it is an administrator.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What it may do.
    #[serde(default)]
    pub permissions: Permissions,
}

/// Permissions, as NPM says them: `manage`, `view` or `hidden`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// `all`, or `user`: only what it created itself.
    pub visibility: String,
    /// For proxy hosts.
    pub proxy_hosts: String,
    /// For redirection hosts.
    pub redirection_hosts: String,
    /// For 404 hosts.
    pub dead_hosts: String,
    /// For certificates.
    pub certificates: String,
}

impl User {
    /// Whether it sees what others own. An administrator may do everything, but
    /// sees no more than its visibility says.
    pub fn sees_all(&self) -> bool {
        self.permissions.visibility == "all"
    }

    /// What it lacks, in the words of NPM's own page; `certificates` is what it
    /// has to be able to do with them.
    pub fn lacks(&self, version: Version, certificates: Need) -> Vec<String> {
        let mut lacks = Vec::new();
        if !self.sees_all() {
            lacks.push("Item Visibility: All Items".to_owned());
        }
        if self.roles.iter().any(|role| role == "admin") {
            return lacks;
        }
        let all = if version.at_least(13, 0) { "Certificates" } else { "SSL Certificates" };
        let has = &self.permissions;
        for (title, has, need) in [
            ("Proxy Hosts", &has.proxy_hosts, Need::Manage),
            ("Redirection Hosts", &has.redirection_hosts, Need::View),
            ("404 Hosts", &has.dead_hosts, Need::View),
            (all, &has.certificates, certificates),
        ] {
            let (enough, words) = match need {
                Need::Nothing => (true, ""),
                Need::View => (matches!(has.as_str(), "view" | "manage"), "View Only"),
                Need::Manage => (has == "manage", "Manage"),
            };
            if !enough {
                lacks.push(format!("{title}: {words}"));
            }
        }
        lacks
    }
}

/// What somebody has to be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// Look.
    View,
    /// Change.
    Manage,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NEW: Version = Version { major: 2, minor: 15, revision: 1 };

    fn user(roles: &[&str], permissions: serde_json::Value) -> User {
        serde_json::from_value(json!({"id": 2, "roles": roles, "permissions": permissions})).unwrap()
    }

    #[test]
    fn what_is_lacking_is_named_as_npm_names_it() {
        let all = json!({"visibility": "all", "proxy_hosts": "manage", "redirection_hosts": "view",
            "dead_hosts": "view", "certificates": "manage"});
        assert_eq!(user(&[], all).lacks(NEW, Need::Manage), [""; 0]);
        let usual = json!({"visibility": "user", "proxy_hosts": "manage", "redirection_hosts": "manage",
            "dead_hosts": "manage", "certificates": "manage"});
        assert_eq!(user(&[], usual).lacks(NEW, Need::Manage), ["Item Visibility: All Items"]);
        let little = json!({"visibility": "all", "proxy_hosts": "view", "redirection_hosts": "hidden",
            "dead_hosts": "view", "certificates": "view"});
        assert_eq!(
            user(&[], little.clone()).lacks(NEW, Need::Manage),
            ["Proxy Hosts: Manage", "Redirection Hosts: View Only", "Certificates: Manage"]
        );
        let old = Version { minor: 12, ..NEW };
        assert_eq!(user(&[], little.clone()).lacks(old, Need::Manage)[2], "SSL Certificates: Manage");
        assert_eq!(user(&[], little.clone()).lacks(NEW, Need::View).len(), 2);
        assert_eq!(user(&["admin"], little).lacks(NEW, Need::Manage), [""; 0]);
    }

    #[test]
    fn an_administrator_sees_no_more_than_its_visibility() {
        assert_eq!(
            user(&["admin"], json!({"visibility": "user"})).lacks(NEW, Need::Manage),
            ["Item Visibility: All Items"]
        );
    }
}
