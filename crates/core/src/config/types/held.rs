//! What the values of keys hold, for those who read a config. Only here are such values made,
//! so each is one that the file may say.

use std::ops::{Deref, DerefMut};

use super::{
    Certificates, Country, Email, ExtraSettings, KeptFor, List, PrivateNetwork, PublicUrl, Room, SecretPath,
    ServiceUrl, Size, UserId, Words,
};
use crate::{
    config::Extra,
    name::{AbsPath, Cidr4},
    size::{Bytes, Seconds},
};

macro_rules! held {
    ($($(@[$($param:tt)*])? $type:ty => $target:ty;)*) => {
        $(#[automatically_derived]
        impl$(<$($param)*>)? Deref for $type {
            type Target = $target;

            fn deref(&self) -> &$target {
                &self.0
            }
        })*
    };
}

held! {
    Certificates => str;
    Country => str;
    Email => str;
    KeptFor => Option<Seconds>;
    @[T] List<T> => [T];
    PrivateNetwork => Cidr4;
    PublicUrl => str;
    Room => str;
    SecretPath => AbsPath;
    ServiceUrl => str;
    @[const MIN: u64, const MAX: u64] Size<MIN, MAX> => Bytes;
    UserId => str;
    Words => str;
}

/// Any path is one.
impl DerefMut for SecretPath {
    fn deref_mut(&mut self) -> &mut AbsPath {
        &mut self.0
    }
}

impl<D> Deref for ExtraSettings<D> {
    type Target = Extra;

    fn deref(&self) -> &Extra {
        &self.extra
    }
}
