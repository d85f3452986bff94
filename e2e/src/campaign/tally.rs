//! What a campaign found.

use std::{collections::BTreeMap, fmt, time::Duration};

/// One time that something was cut off, and what came of it.
#[derive(Debug, Clone)]
struct Trial {
    act: String,
    took: Duration,
    acknowledged: usize,
    lost: usize,
    wrong: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    trials: Vec<Trial>,
}

impl Tally {
    /// Notes one: what it cut off, how long the next `up` took, how many events had
    /// been acknowledged, how many of them are lost, and what else is wrong.
    pub fn note(
        &mut self,
        act: &str,
        took: Duration,
        acknowledged: usize,
        lost: usize,
        wrong: Option<String>,
    ) {
        if let Some(wrong) = &wrong {
            println!("  WRONG after {act}: {wrong}");
        }
        println!(
            "  [{}] {act}: back after {:.1} s, {acknowledged} acknowledged, {lost} lost",
            self.trials.len() + 1,
            took.as_secs_f32()
        );
        self.trials.push(Trial { act: act.to_owned(), took, acknowledged, lost, wrong });
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.trials.len()
    }

    /// How many events were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.trials.iter().map(|trial| trial.acknowledged).sum()
    }

    /// What went wrong.
    pub fn wrongs(&self) -> Vec<String> {
        let lost = |trial: &Trial| {
            (trial.lost > 0).then(|| format!("{}: {} events are lost", trial.act, trial.lost))
        };
        let wrong = |trial: &Trial| trial.wrong.as_ref().map(|wrong| format!("{}: {wrong}", trial.act));
        self.trials.iter().flat_map(|trial| [wrong(trial), lost(trial)]).flatten().collect()
    }

    /// Fails when anything went wrong.
    #[track_caller]
    pub fn is_clean(&self) {
        let wrongs = self.wrongs();
        assert!(wrongs.is_empty(), "{}\n{self}", wrongs.join("\n"));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<&str, Vec<&Trial>> = BTreeMap::new();
        for trial in &self.trials {
            kinds.entry(trial.act.split(',').next().unwrap_or_default()).or_default().push(trial);
        }
        writeln!(
            f,
            "| cut off | times | healthy after one run | acknowledged | lost | median s | longest s |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        let all: Vec<&Trial> = self.trials.iter().collect();
        for (kind, trials) in kinds.into_iter().chain([("all", all)]) {
            let mut seconds: Vec<f32> = trials.iter().map(|trial| trial.took.as_secs_f32()).collect();
            seconds.sort_by(f32::total_cmp);
            writeln!(
                f,
                "| {kind} | {} | {} | {} | {} | {:.1} | {:.1} |",
                trials.len(),
                trials.iter().filter(|trial| trial.wrong.is_none()).count(),
                trials.iter().map(|trial| trial.acknowledged).sum::<usize>(),
                trials.iter().map(|trial| trial.lost).sum::<usize>(),
                seconds.get(seconds.len() / 2).copied().unwrap_or_default(),
                seconds.last().copied().unwrap_or_default(),
            )?;
        }
        for wrong in self.wrongs() {
            writeln!(f, "- {wrong}")?;
        }
        Ok(())
    }
}
