//! What the values of keys hold, for those who read a config. Only here are such values made,
//! so each is one that the file may say.

use std::ops::{Deref, DerefMut};

use super::{
    Certificates, Country, ExtraSettings, KeptFor, List, PrivateNetwork, Room, SecretPath, Size, Words,
};
use crate::{
    config::Extra,
    name::{AbsPath, Cidr4},
    size::{Bytes, Seconds},
};

macro_rules! held {
    ($($(@[$($param:tt)*])? $type:ty => $target:ty;)*) => {
        $(impl$(<$($param)*>)? Deref for $type {
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
    KeptFor => Option<Seconds>;
    @[T] List<T> => [T];
    PrivateNetwork => Cidr4;
    Room => str;
    SecretPath => AbsPath;
    @[const MIN: u64, const MAX: u64] Size<MIN, MAX> => Bytes;
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
