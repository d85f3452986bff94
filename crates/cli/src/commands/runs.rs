//! What `status` and `doctor` say first: what is at work on the server, and that
//! the last `up` failed.

use jiff::{Timestamp, tz::TimeZone};
use matrix_podman_core::{
    missing::StillMissing,
    plan::Plan,
    resource::{ResourceId, Site, is_outside},
    status::{Row, Tone},
};
use matrix_podman_host::{
    journal::{self, RunAtWork, SiteRuns},
    world::World,
};

use crate::{output::one_line, site};

/// What this machine knows of the runs on the server of `world`.
pub fn of(world: &World) -> SiteRuns {
    let mut runs = SiteRuns::of(&site::state_folder(world.site()));
    if !is_outside(world.site()) {
        // The machine's `up`s are not in the guest's journal, so one there may be long overcome.
        runs.failed = None;
    }
    runs
}

/// What the server still lacks, once there is one, on the side that can tell.
pub fn missing(world: &World) -> Vec<StillMissing> {
    let site = world.site();
    let is_there = site::original(site).is_some();
    if is_there { missing_of(site) } else { Vec::new() }
}

/// What the server of `site` lacks, on the side that can tell: the guest's copy of the config says
/// nothing of the way in.
pub fn missing_of(site: &Site) -> Vec<StillMissing> {
    if is_outside(site) { StillMissing::of(&site.config) } else { Vec::new() }
}

/// What keeps people out, on the side that can tell.
pub fn missing_access(world: &World) -> Option<StillMissing> {
    missing_of(world.site()).into_iter().find(|missing| *missing == StillMissing::Access)
}

/// The line of `status`.
pub fn row(runs: &SiteRuns) -> Option<Row> {
    let at_work = runs.at_work.as_ref().map(|run| (Tone::Care, at_work(run)));
    let failed = || runs.failed.as_ref().map(|_| Tone::Bad).zip(failed(runs));
    at_work.or_else(failed).map(|(tone, words)| Row::new("now", tone, words))
}

/// `` `up` is at work, 12 of 33, since 17:38 ``
pub fn at_work(run: &RunAtWork) -> String {
    let steps = run.steps.map(|steps| format!(" {} of {steps},", run.done.min(steps))).unwrap_or_default();
    format!("`{}` is at work,{steps} since {}", run.command, clock(&run.since, Timestamp::now()))
}

/// `` the last `up` failed: could not …: the disk is full ``
pub fn failed(runs: &SiteRuns) -> Option<String> {
    let failed = runs.failed.as_ref()?;
    let at = clock(&failed.at, Timestamp::now());
    Some(format!("the last `up` failed ({at}): {}", one_line(&failed.why)))
}

/// How many steps a plan has, and about how long they take, where earlier runs tell it.
pub fn forecast(world: &World, plan: &Plan) -> String {
    let times = journal::last_times(&site::state_folder(world.site()).join("journal.jsonl"));
    let took = |id: &ResourceId| times.get(id.as_str()).copied();
    forecast_of(plan, &took)
}

fn forecast_of(plan: &Plan, took: &dyn Fn(&ResourceId) -> Option<u64>) -> String {
    let steps = plan.steps();
    let known: Vec<u64> = plan.changing().filter_map(took).collect();
    let count = if steps == 1 { "1 step".to_owned() } else { format!("{steps} steps") };
    match known.len() * 2 > steps {
        true => format!("{count}, about {}, going by earlier runs.", about(known.iter().sum())),
        false => format!("{count}."),
    }
}

fn about(millis: u64) -> String {
    match millis.div_ceil(1000) {
        seconds @ 0..90 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

/// The time of day where the operator is, with the day where that is not today.
fn clock(at: &str, now: Timestamp) -> String {
    let Ok(moment) = at.parse::<Timestamp>() else { return at.to_owned() };
    let (moment, now) = (moment.to_zoned(TimeZone::system()), now.to_zoned(TimeZone::system()));
    let form = if moment.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    moment.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::{
        ids,
        plan::Entry,
        resource::{Diff, Risk},
    };
    use matrix_podman_host::journal::FailedUp;

    use super::*;

    #[test]
    fn a_plan_says_how_long_it_takes_where_that_is_known() {
        let entry = |id: ResourceId| Entry {
            id,
            diff: Diff::later("Look", "it is not there yet"),
            can_lead_to: Risk::None,
        };
        let plan = Plan { entries: vec![entry(ids::LOCK), entry(ids::SECRETS)] };
        assert_eq!(forecast_of(&plan, &|_| None), "2 steps.");
        let words = forecast_of(&plan, &|_| Some(50_000));
        assert_eq!(words, "2 steps, about 2 min, going by earlier runs.");
        let one = Plan { entries: vec![entry(ids::LOCK)] };
        assert_eq!(forecast_of(&one, &|_| Some(900)), "1 step, about 1 s, going by earlier runs.");
    }

    #[test]
    fn what_is_at_work_says_how_far_it_is_and_what_failed_says_why() {
        let now = Timestamp::now().to_string();
        let run = |steps| RunAtWork { command: "up".to_owned(), since: now.clone(), done: 12, steps };
        let time = clock(&now, Timestamp::now());
        assert_eq!(at_work(&run(Some(33))), format!("`up` is at work, 12 of 33, since {time}"));
        assert_eq!(at_work(&run(None)), format!("`up` is at work, since {time}"));
        let failed = FailedUp { at: now.clone(), why: "could not write /a:\nthe disk is full".to_owned() };
        let runs = SiteRuns { failed: Some(failed), ..SiteRuns::default() };
        let row = row(&runs).unwrap();
        let words = format!("the last `up` failed ({time}): could not write /a: the disk is full");
        assert_eq!((row.pieces[0].tone, row.pieces[0].text.as_str()), (Tone::Bad, words.as_str()));
        assert_eq!(super::row(&SiteRuns::default()), None);
        assert_eq!(clock("long ago", Timestamp::now()), "long ago");
    }
}
