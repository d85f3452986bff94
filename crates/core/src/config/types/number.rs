//! Whole numbers, ports, factors, and true or false.

use serde_json::{Value as Json, json};
use toml::{Spanned, de::DeValue};

use super::{Flaw, Form, TomlType, wrong_type};
use crate::name::Port;

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int<const MIN: u32, const MAX: u32>(pub(in crate::config) u32);

/// The number, when it is whole and small enough for any key here.
fn whole(value: &DeValue<'_>) -> Option<Result<u32, ()>> {
    let int = value.as_integer()?;
    Some(u32::from_str_radix(int.as_str(), int.radix()).map_err(drop))
}

impl<const MIN: u32, const MAX: u32> Int<MIN, MAX> {
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> TomlType for Int<MIN, MAX> {
    const FORM: Form = Form::Bare;

    fn wanted() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Flaw>> {
        match whole(value.get_ref()) {
            None => Err(vec![wrong_type::<Self>(value.get_ref())]),
            Some(Ok(n)) if (MIN..=MAX).contains(&n) => Ok(Self(n)),
            Some(_) => Err(vec![Flaw::new(format!("must be {}", Self::wanted()))]),
        }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Integer(self.0.into())
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

impl TomlType for Port {
    const FORM: Form = Form::Bare;

    fn wanted() -> String {
        "a port, from 1 to 65535".to_owned()
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Flaw>> {
        let flaw = || Flaw::new(format!("must be {}", Self::wanted()));
        match whole(value.get_ref()) {
            None => Err(vec![wrong_type::<Self>(value.get_ref())]),
            Some(n) => {
                let n = n.ok().and_then(|n| u16::try_from(n).ok()).ok_or_else(|| vec![flaw()])?;
                Port::new(n).map_err(|_| vec![flaw()])
            }
        }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Integer(self.get().into())
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": 65535 })
    }
}

/// How large a cache is compared with what its makers chose: 0.1 to 10.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factor(pub(in crate::config) f64);

impl Factor {
    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TomlType for Factor {
    const FORM: Form = Form::Bare;

    fn wanted() -> String {
        "a number from 0.1 to 10".to_owned()
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Flaw>> {
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse().unwrap_or(f64::NAN),
            DeValue::Integer(_) => match whole(value.get_ref()) {
                Some(Ok(n)) => f64::from(n),
                _ => f64::NAN,
            },
            other => return Err(vec![wrong_type::<Self>(other)]),
        };
        if (0.1..=10.0).contains(&number) {
            Ok(Self(number))
        } else {
            Err(vec![Flaw::new(format!("must be {}", Self::wanted()))])
        }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Float(self.0)
    }

    fn schema() -> Json {
        json!({ "type": "number", "minimum": 0.1, "maximum": 10 })
    }
}

impl TomlType for bool {
    const FORM: Form = Form::Bare;

    fn wanted() -> String {
        "true or false".to_owned()
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Flaw>> {
        value.get_ref().as_bool().ok_or_else(|| vec![wrong_type::<Self>(value.get_ref())])
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Boolean(*self)
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}
