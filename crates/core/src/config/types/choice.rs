//! Values that are one of a few words.

use serde_json::Value as Json;

use super::{Flaw, TextType, enum_schema, nearest};
use crate::{
    config::{ApexChoice, BackendChoice, CertificateChoice, LogLevel, NotifyOn, SourceChoice, ZoneSetting},
    service::ServiceId,
};

/// `synapse.registration`; `open` needs a reason beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum RegistrationChoice {
    Closed,
    Token,
    Open,
}

/// Implements [`TextType`] for an enum that is written as one of a few words.
macro_rules! choice {
    ($($type:ident { $($word:literal = $variant:ident),* })*) => {
        $(
            impl $type {
                /// The words that the config takes for it.
                pub const WORDS: &[&str] = &[$($word),*];

                /// The word that stands for it in the config.
                pub const fn as_str(self) -> &'static str {
                    match self {
                        $(Self::$variant => $word),*
                    }
                }
            }

            impl TextType for $type {
                fn wanted() -> String {
                    one_of(Self::WORDS)
                }
                fn from_text(text: &str) -> Result<Self, Flaw> {
                    match text {
                        $($word => Ok(Self::$variant),)*
                        other => {
                            let flaw = Flaw::new(format!("must be {}", Self::wanted()));
                            Err(match nearest(other, Self::WORDS.iter().copied()) {
                                Some(near) => flaw.hint(format!("did you mean {near:?}?")),
                                None => flaw,
                            })
                        }
                    }
                }
                fn to_text(&self) -> String {
                    self.as_str().to_owned()
                }
                fn text_schema() -> Json {
                    enum_schema(Self::WORDS)
                }
            }
        )*
    };
}

choice! {
    BackendChoice { "auto" = Auto, "proxmox" = Proxmox, "lxc" = Lxc, "this-machine" = ThisMachine }
    SourceChoice { "auto" = Auto, "registry" = Registry, "build" = Build }
    LogLevel { "debug" = Debug, "info" = Info, "warning" = Warning, "error" = Error }
    ApexChoice { "here" = Here, "elsewhere" = Elsewhere }
    CertificateChoice { "request" = Request, "existing" = Existing, "none" = None }
    ZoneSetting { "ssl" = Ssl, "always_use_https" = AlwaysUseHttps, "min_tls_version" = MinTlsVersion }
    NotifyOn { "failure" = Failure, "always" = Always }
    RegistrationChoice { "closed" = Closed, "token" = Token, "open" = Open }
}

impl TextType for ServiceId {
    fn wanted() -> String {
        one_of(&ServiceId::ALL.map(ServiceId::name))
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let names = ServiceId::ALL.map(ServiceId::name);
        ServiceId::by_name(text).ok_or_else(|| {
            let flaw = Flaw::new(format!("must be {}", Self::wanted()));
            match nearest(text, names) {
                Some(near) => flaw.hint(format!("did you mean {near:?}?")),
                None => flaw,
            }
        })
    }
    fn to_text(&self) -> String {
        self.name().to_owned()
    }
    fn text_schema() -> Json {
        enum_schema(&ServiceId::ALL.map(ServiceId::name))
    }
}

/// `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
