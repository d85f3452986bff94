//! The declaration of a section: each key is written once.

/// Declares a section of the file: its struct, its keys, and how the one is read by the
/// other. The first comment says what the section is about, that of a key what the key
/// means, both in an operator's words; the first sentence stands alone.
///
/// The type of a key says which values are good, and is the type of its field. Where
/// nobody writes the key, it has its `usual` value; or it `follows` from what the words say,
/// and the field is an `Option`; or the field stays `empty`, which the words say of it.
/// `example` is another value than that, as TOML. With `init: true`, the file of `init`
/// mentions it.
///
/// `[section in found]` has values only where the function finds the section in a config.
/// What stands behind a colon is derived besides.
///
/// A field that is made of several keys `together` says how it is read. The `keys` of such
/// fields come before the others, each with its value `of` the section.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        [$section:ident $(in $within:path)? $(: $($derive:ident),+)?] pub struct $name:ident {
            $(together {
                $(
                    $(#[doc = $together_doc:literal])+
                    $together:ident: $together_type:ty = |$reader:ident| $read:expr;
                )+
            })?
            $(keys {
                $(
                    $(#[doc = $key_doc:literal])+
                    $key:ident: $key_written:ty {
                        of: $of:expr,
                        $key_kind:ident: $key_fallback:expr,
                        example: $key_example:expr
                        $(, init: $key_init:literal)? $(,)?
                    }
                )+
            })?
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty {
                    $kind:ident: $fallback:expr,
                    example: $example:expr
                    $(, init: $init:literal)? $(,)?
                }
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq $($(, $derive)+)?)]
        pub struct $name {
            $($(
                $(#[doc = $together_doc])+
                pub $together: $together_type,
            )+)?
            $(
                $(#[doc = $doc])+
                pub $field: $crate::config::keys::section!(@field $kind $type),
            )*
        }

        /// The keys of the section, by name.
        pub(in crate::config) struct Keys {
            $($(
                pub $key: $crate::config::keys::section!(@key $key_kind $key_written, $name),
            )+)?
            $(
                pub $field: $crate::config::keys::section!(@key $kind $type, $name),
            )*
        }

        /// The keys of the section.
        pub(in crate::config) static KEYS: Keys = Keys {
            $($(
                $key: $crate::config::keys::Key {
                    path: concat!(stringify!($section), ".", stringify!($key)),
                    fallback: $crate::config::keys::section!(@fallback $key_kind $key_fallback),
                    of: $of,
                    example: $key_example,
                    doc: concat!($($key_doc),+).trim_ascii_start(),
                    init: $crate::config::keys::section!(@init $($key_init)?),
                },
            )+)?
            $(
                $field: $crate::config::keys::Key {
                    path: concat!(stringify!($section), ".", stringify!($field)),
                    fallback: $crate::config::keys::section!(@fallback $kind $fallback),
                    of: |section| $crate::config::keys::section!(@of $kind section.$field),
                    example: $example,
                    doc: concat!($($doc),+).trim_ascii_start(),
                    init: $crate::config::keys::section!(@init $($init)?),
                },
            )*
        };

        /// The section, with its keys in the order of the file.
        pub(in crate::config) static SECTION: $crate::config::keys::Section = $crate::config::keys::Section {
            path: stringify!($section),
            doc: concat!($($about),+).trim_ascii_start(),
            keys: &[$($(&KEYS.$key,)+)? $(&KEYS.$field),*],
        };

        impl $crate::config::keys::Within for $name {
            fn within<'a>(config: &'a $crate::config::Config, _: &str) -> Option<&'a Self> {
                $crate::config::keys::section!(@within config, $section $(, $within)?)
            }
        }

        impl $name {
            /// Reads its keys.
            pub(in crate::config) fn read(reader: &mut $crate::config::read::Reader<'_>) -> Self {
                $(let $field = $crate::config::keys::section!(@read $kind reader, &KEYS.$field);)*
                $($(let $together = {
                    let $reader = &mut *reader;
                    $read
                };)+)?
                Self { $($($together,)+)? $($field),* }
            }
        }
    };

    (@field follows $type:ty) => { Option<$type> };
    (@field $other:ident $type:ty) => { $type };

    (@key usual $type:ty, $name:ty) => {
        $crate::config::keys::Key<$type, $crate::config::keys::Fixed<$type>, $name>
    };
    (@key $other:ident $type:ty, $name:ty) => {
        $crate::config::keys::Key<$type, $crate::config::keys::Follows, $name>
    };

    (@fallback usual $value:expr) => { $crate::config::keys::Fixed(|| $value) };
    (@fallback $other:ident $words:expr) => { $crate::config::keys::Follows($words) };

    (@of usual $field:expr) => { Some(Clone::clone(&$field)) };
    (@of follows $field:expr) => { Clone::clone(&$field) };
    (@of empty $field:expr) => { (!$field.is_empty()).then(|| Clone::clone(&$field)) };

    (@read usual $reader:ident, $key:expr) => { $reader.value($key).value };
    (@read follows $reader:ident, $key:expr) => { $reader.optional($key).value };
    (@read empty $reader:ident, $key:expr) => { $reader.optional($key).value.unwrap_or_default() };

    (@within $config:ident, $section:ident) => { Some(&$config.$section) };
    (@within $config:ident, $section:ident, $within:path) => { $within($config) };

    (@init) => { false };
    (@init $init:literal) => { $init };
}
pub(in crate::config) use section;
