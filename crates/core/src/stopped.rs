//! Services that the operator stopped: an empty file for each in the guest, as old as that is.
//! Whatever starts the service removes it, and so does the guest's next boot.

use crate::{
    fact::Side,
    layout,
    name::AbsPath,
    observed::{Observed, Seen},
    service::ServiceId,
};

/// The file that says so.
pub fn file(service: ServiceId) -> AbsPath {
    AbsPath::known(format!("/run/matrix-stopped-{service}"))
}

/// How long ago the operator stopped a service that does not run, in seconds. A service
/// that systemd starts or restarts, or that failed at it, is away for another reason.
pub fn since(service: ServiceId, seen: &Observed) -> Seen<Option<u64>> {
    let unit = service.unit();
    let Some(file) = seen.file(Side::Guest, &file(service))? else { return Ok(None) };
    let (held, units) = (seen.meta(Side::Guest, &layout::hold()), seen.units(Side::Guest, [unit.as_str()]));
    if held?.is_some() {
        // What was cut off keeps services from starting, whoever stopped them before.
        return Ok(None);
    }
    let is_away = units?
        .get(&unit)
        .is_some_and(|unit| unit.restarts == 0 && ["inactive", "failed"].contains(&unit.active.as_str()));
    Ok(is_away.then_some(file.age))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        fact::{Fact, FileKind, FileState, UnitState, Value},
        name::{Mode, Owner},
        observed::Answer,
        stack,
    };

    fn found(noted: bool, active: &str, restarts: u32) -> Option<u64> {
        let service = stack::redis::ID;
        let file = noted.then(|| FileState {
            kind: FileKind::File,
            mode: Mode(0o600),
            owner: Owner::ROOT,
            content: Some(String::new()),
            digest: None,
            target: None,
            age: 120,
        });
        let unit = UnitState { active: active.to_owned(), restarts, ..UnitState::default() };
        let mut seen = Observed::default();
        seen.insert(Side::Guest, Fact::File(super::file(service)), Answer::Known(Value::File(file)));
        seen.insert(Side::Guest, Fact::Meta(layout::hold()), Answer::Known(Value::File(None)));
        let units = BTreeMap::from([(service.unit(), unit)]);
        let asked = Fact::Units([service.unit()].into());
        seen.insert(Side::Guest, asked, Answer::Known(Value::Units(units)));
        since(service, &seen).unwrap()
    }

    #[test]
    fn only_what_stays_away_was_stopped_by_the_operator() {
        assert_eq!(found(true, "inactive", 0), Some(120));
        assert_eq!(found(false, "inactive", 0), None);
        for (active, restarts) in [("active", 0), ("activating", 0), ("failed", 5)] {
            assert_eq!(found(true, active, restarts), None, "{active}");
        }
    }
}
