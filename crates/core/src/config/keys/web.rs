//! `[web]`.

use super::extra::WebFile;
use crate::config::types::{Country, ExtraSettings, Words};

super::section! {
    /// The web client.
    [web] pub struct Web {
        /// The name that the web client shows, in the browser's tab too.
        brand: Words {
            usual: Words("Element".to_owned()),
            example: r#""Family chat""#,
            init: true,
        }
        /// Country whose code telephone numbers begin with, in two letters.
        default_country: Country {
            follows: "none",
            example: r#""DE""#,
        }
        /// Whether people may log in to other Matrix servers with this web client.
        custom_servers: bool {
            usual: false,
            example: "true",
        }
        /// Settings of Element Web that have no key here, merged into its config.json.
        extra: ExtraSettings<WebFile> {
            empty: "none",
            example: r#"{ default_theme = "dark" }"#,
        }
    }
}
