//! Lists without repeats.

use serde_json::{Value as Json, json};
use toml::{Spanned, de::DeValue};

use super::{Flaw, Form, TomlType, wrong_type};

/// A list in which nothing stands twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(pub(in crate::config) Vec<T>);

impl<T: TomlType + PartialEq> TomlType for List<T> {
    const FORM: Form = Form::List;
    const LOCAL: bool = T::LOCAL;

    fn wanted() -> String {
        let item = T::wanted();
        let item = item.strip_prefix("an ").or(item.strip_prefix("a ")).unwrap_or(&item);
        format!(
            "a list, each item {} {item}",
            if item.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
        )
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Flaw>> {
        let DeValue::Array(items) = value.get_ref() else {
            let flaw = wrong_type::<Self>(value.get_ref());
            return Err(vec![match T::from_toml(value) {
                Ok(item) => flaw.hint(format!("put it in brackets: [{}]", item.to_toml())),
                Err(_) => flaw,
            }]);
        };
        let mut good: Vec<T> = Vec::new();
        let mut flaws = Vec::new();
        for item in items.iter() {
            let at = |flaw: Flaw| Flaw { span: Some(flaw.span.unwrap_or(item.span())), ..flaw };
            match T::from_toml(item) {
                Ok(item) if good.contains(&item) => {
                    flaws.push(at(Flaw::new(format!("{} is in the list twice", item.to_toml()))));
                }
                Ok(item) => good.push(item),
                Err(wrong) => flaws.extend(wrong.into_iter().map(at)),
            }
        }
        if flaws.is_empty() { Ok(Self(good)) } else { Err(flaws) }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Array(self.0.iter().map(TomlType::to_toml).collect())
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema(), "uniqueItems": true })
    }
}
