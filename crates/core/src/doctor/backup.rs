//! Whether backups are made, and whether they would help.

use serde::de::DeserializeOwned;

use super::{Case, Found, Mend};
use crate::{
    backup::{Drilled, News, Record, Repository, news_file},
    fact::Side,
    ids, layout,
    name::AbsPath,
    observed::Seen,
    render::backups::{Chore, cron_lines},
    resource::is_outside,
};

const DAY: u64 = 24 * 3600;

/// What stands in a file on the machine, and how many seconds ago it was written.
fn remembered<T: DeserializeOwned>(case: &Case<'_>, path: &AbsPath) -> Seen<Option<(T, u64)>> {
    let state = case.seen.file(Side::Machine, path)?;
    Ok(state.and_then(|state| {
        Some((serde_json::from_str(state.content.as_deref().unwrap_or_default()).ok()?, state.age))
    }))
}

fn repositories<'a>(case: &'a Case<'_>) -> &'a [Repository] {
    if is_outside(case.site) { &case.site.config.backup.repositories } else { &[] }
}

fn record(case: &Case<'_>, at: &Repository) -> Seen<Option<(Record, u64)>> {
    remembered(case, &layout::backup_record(case.site.config.site(), &at.name))
}

/// A repository with how its last backup went, and how many seconds ago.
type Remembered<'a> = (&'a Repository, Option<(Record, u64)>);

/// All are asked before the first answer is looked at.
fn records<'a>(case: &'a Case<'_>) -> Seen<Vec<Remembered<'a>>> {
    let asked: Vec<_> = repositories(case).iter().map(|at| (at, record(case, at))).collect();
    asked.into_iter().map(|(at, record)| Ok((at, record?))).collect()
}

fn again(command: &str, at: &Repository) -> Mend {
    Mend::Type(format!("matrix-podman backup {command} --repository {}", at.name))
}

/// The last backup failed because the repository could not be reached.
pub(super) fn unreachable(case: &Case<'_>) -> Found {
    broken(case, true, |at| format!("The repository {} cannot be reached: no backup was made.", at.name))
}

/// The last backup failed.
pub(super) fn failed(case: &Case<'_>) -> Found {
    if !is_outside(case.site) {
        return guest(case);
    }
    broken(case, false, |at| format!("The last backup into the repository {} failed.", at.name))
}

fn broken(case: &Case<'_>, unreachable: bool, what: impl Fn(&Repository) -> String) -> Found {
    for (at, record) in records(case)? {
        if let Some((Record { why: Some(why), at: when, unreachable: away, .. }, _)) = record
            && away == unreachable
        {
            return Ok(Some((what(at), vec![format!("{when}: {why}")], again("now", at))));
        }
    }
    Ok(None)
}

/// In the guest, what it was told.
fn guest(case: &Case<'_>) -> Found {
    let file = case.seen.file(Side::Guest, &news_file())?;
    let news = file.and_then(|f| News::parse(f.content.as_deref().unwrap_or_default())).unwrap_or_default();
    Ok(news.into_iter().find(|news| news.failed || news.drill_failed).map(|news| {
        (
            "The last backup, or the last drill with one, failed.".to_owned(),
            // Doctor has no clock; what was missed is told on the machine.
            vec![news.line("")],
            Mend::Type("matrix-podman status   # typed on the machine that this guest runs on".to_owned()),
        )
    }))
}

/// None was made, or the last one is too old.
pub(super) fn old(case: &Case<'_>) -> Found {
    for (at, record) in records(case)? {
        let Some((record, age)) = record else {
            let what = format!("No backup was made yet into the repository {}.", at.name);
            return Ok(Some((what, Vec::new(), again("init", at))));
        };
        let Some(missed) = at.terms.schedule.missed_after() else { continue };
        if record.why.is_none() && age > missed {
            let what = format!("The last backup into the repository {} is too old.", at.name);
            let due =
                format!("made at {}, {} days ago; due is one at {}", record.at, age / DAY, at.terms.schedule);
            return Ok(Some((what, vec![due], again("now", at))));
        }
    }
    Ok(None)
}

/// No snapshot was ever tried out, or the last drill failed or is too old.
pub(super) fn undrilled(case: &Case<'_>) -> Found {
    let site = case.site.config.site();
    let asked: Vec<_> = repositories(case)
        .iter()
        .map(|at| (at, remembered::<Drilled>(case, &layout::backup_drill(site, &at.name))))
        .collect();
    for (at, drilled) in asked {
        let mend = again("drill", at);
        match (drilled?, at.terms.drill.missed_after()) {
            (Some((drilled, _)), _) if !drilled.wrong.is_empty() => {
                let what = format!("A snapshot in the repository {} did not come back whole.", at.name);
                let wrong = drilled.wrong.into_iter().take(5).collect();
                return Ok(Some((what, wrong, mend)));
            }
            (Some((drilled, age)), Some(missed)) if age > missed => {
                let what = format!("The last drill with the repository {} is too long ago.", at.name);
                return Ok(Some((
                    what,
                    vec![format!("held at {}, {} days ago", drilled.at, age / DAY)],
                    mend,
                )));
            }
            // Where no backup was made, that is told.
            (None, Some(_)) if record(case, at)?.is_some_and(|(record, _)| record.snapshot.is_some()) => {
                let what = format!("No snapshot in the repository {} was ever tried out.", at.name);
                return Ok(Some((what, vec!["whether it would help is not known".to_owned()], mend)));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Nothing makes backups automatically.
pub(super) fn timer(case: &Case<'_>) -> Found {
    if repositories(case).is_empty() || cron_lines(&case.site.config).is_empty() {
        return Ok(None);
    }
    let config = &case.site.config;
    let evidence = if case.seen.system(Side::Machine)?.systemd {
        let wanted: Vec<String> = Chore::WORK
            .into_iter()
            .filter(|chore| chore.is_wanted(config))
            .map(|chore| chore.timer(config))
            .collect();
        let states = case.seen.units(Side::Machine, wanted.iter().map(String::as_str))?;
        let waits = |unit: &String| states.get(unit).is_some_and(|state| state.active == "active");
        wanted.into_iter().filter(|unit| !waits(unit)).map(|unit| format!("{unit} does not wait")).collect()
    } else {
        match case.seen.commands(Side::Machine, ["cron", "crond"])?.is_empty() {
            true => vec!["this machine has neither systemd nor cron".to_owned()],
            false => Vec::new(),
        }
    };
    if evidence.is_empty() {
        return Ok(None);
    }
    let mend = match case.drifts(&ids::MACHINE_BACKUPS) {
        true => Mend::Up,
        false => Mend::Type("apt-get install cron && matrix-podman up".to_owned()),
    };
    Ok(Some(("Nothing makes backups automatically.".to_owned(), evidence, mend)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        fact::{Fact, FileKind, FileState, Value},
        name::{Mode, Owner},
        observed::{Answer, Observed},
        plan::Plan,
        resource::{BackendId, Site},
    };

    const RECORD: &str = r#"{"at":"2026-01-02T03:30:00Z","why":WHY,"unreachable":AWAY,"snapshot":
        {"id":"0","time":"2026-01-02T03:30:00Z","server_name":"x","bytes":1,"added":1}}"#;

    /// What is found when the files on the machine say this, so many seconds ago.
    fn found(
        cause: fn(&Case<'_>) -> Found,
        record: Option<(&str, bool, u64)>,
        drill: Option<(&str, u64)>,
    ) -> Option<(String, String)> {
        let text = "domain = \"chat.home.arpa\"\n[backup]\nrepository = \"/mnt/b\"";
        let site = Site::new(Config::parse(text, "matrix.toml").unwrap(), BackendId::Lxc);
        let mut seen = Observed::default();
        let name = site.config.backup.repositories[0].name.clone();
        let state = |content: String, age: u64| FileState {
            kind: FileKind::File,
            mode: Mode(0o600),
            owner: Owner::ROOT,
            content: Some(content),
            digest: None,
            target: None,
            age,
        };
        let record = record.map(|(why, away, age)| {
            state(RECORD.replace("WHY", why).replace("AWAY", &away.to_string()), age)
        });
        let drill = drill.map(|(wrong, age)| {
            state(format!(r#"{{"at":"2026-01-01T05:00:00Z","wrong":[{wrong}],"seconds":9}}"#), age)
        });
        for (path, state) in [
            (layout::backup_record(site.config.site(), &name), record),
            (layout::backup_drill(site.config.site(), &name), drill),
        ] {
            seen.insert(Side::Machine, Fact::File(path), Answer::Known(Value::File(state)));
        }
        let plan = Plan::make(&[], &seen);
        let case = Case { site: &site, seen: &seen, plan: &plan, found: &[], stopped: &[] };
        cause(&case).unwrap().map(|(what, evidence, mend)| (format!("{what} {evidence:?}"), mend.command()))
    }

    #[test]
    fn each_way_in_which_backups_are_of_no_use() {
        let good = Some(("null", false, 3600));
        for cause in [unreachable, failed, old, undrilled] {
            assert_eq!(found(cause, good, Some(("", 3600))), None);
        }
        let (what, mend) = found(failed, Some(("\"the disk is full\"", false, 60)), None).unwrap();
        assert!(what.contains("failed") && what.contains("the disk is full"), "{what}");
        assert_eq!(mend, "matrix-podman backup now --repository main");
        let away = Some(("\"no such folder\"", true, 60));
        assert!(found(unreachable, away, None).unwrap().0.contains("cannot be reached"));
        assert_eq!(found(failed, away, None), None);
        assert!(found(old, None, None).unwrap().1.contains("backup init"));
        assert!(found(old, Some(("null", false, 3 * DAY)), None).unwrap().0.contains("3 days ago"));
        assert_eq!(found(undrilled, None, None), None);
        assert!(found(undrilled, good, None).unwrap().0.contains("was ever tried out"));
        assert!(
            found(undrilled, good, Some(("\"a table is empty\"", 60)))
                .unwrap()
                .0
                .contains("a table is empty")
        );
        assert!(found(undrilled, good, Some(("", 40 * DAY))).unwrap().0.contains("40 days ago"));
    }
}
