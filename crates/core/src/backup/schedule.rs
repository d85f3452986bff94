//! When something runs automatically.

use std::fmt;

use crate::name::Invalid;

const DAY: u64 = 24 * 3600;
/// How late something may be: timers wait for chance, and for a repository that is away.
const GRACE: u64 = 26 * 3600;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weekday {
    /// Monday
    Mon,
    /// Tuesday
    Tue,
    /// Wednesday
    Wed,
    /// Thursday
    Thu,
    /// Friday
    Fri,
    /// Saturday
    Sat,
    /// Sunday
    Sun,
}

impl Weekday {
    /// All of them, from Monday on.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "Mon",
            Self::Tue => "Tue",
            Self::Wed => "Wed",
            Self::Thu => "Thu",
            Self::Fri => "Fri",
            Self::Sat => "Sat",
            Self::Sun => "Sun",
        }
    }
}

/// On which days.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    All,
    Week(Vec<Weekday>),
    OfMonth(u8),
}

/// When something runs automatically: on some days at a time of the machine's clock, or never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Option<(Days, u8, u8)>);

impl Schedule {
    /// It is not done automatically.
    pub const NEVER: Self = Self(None);

    /// Each day at a time.
    pub const fn daily(hour: u8, minute: u8) -> Self {
        Self(Some((Days::All, hour, minute)))
    }

    /// On a day of each month, from the 1st to the 28th, at a time.
    pub const fn monthly(day: u8, hour: u8, minute: u8) -> Self {
        Self(Some((Days::OfMonth(day), hour, minute)))
    }

    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "never" {
            return Ok(Self::NEVER);
        }
        let (days, time) = match text.split_once(' ') {
            Some((days, time)) => (self::days(days)?, time.trim()),
            None => (Days::All, text),
        };
        let two = |text: &str, most: u8| {
            let number = (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten();
            number.filter(|number| *number <= most && text.chars().all(|c| c.is_ascii_digit()))
        };
        let time = time.split_once(':').and_then(|(hour, minute)| Some((two(hour, 23)?, two(minute, 59)?)));
        let (hour, minute) = time.ok_or_else(|| {
            Invalid::new("a time looks like \"03:30\", \"Sun 04:00\" or \"1 05:00\", or it is \"never\"")
        })?;
        Ok(Self(Some((days, hour, minute))))
    }

    /// Whether it is not done automatically.
    pub fn is_never(&self) -> bool {
        self.0.is_none()
    }

    /// Hour and minute.
    pub fn time(&self) -> Option<(u8, u8)> {
        self.0.as_ref().map(|(_, hour, minute)| (*hour, *minute))
    }

    /// Whether a day is one of its days.
    pub fn falls_on(&self, weekday: Weekday, day_of_month: u8) -> bool {
        match &self.0 {
            None => false,
            Some((Days::All, ..)) => true,
            Some((Days::Week(days), ..)) => days.contains(&weekday),
            Some((Days::OfMonth(day), ..)) => *day == day_of_month,
        }
    }

    /// How many days there are at most from one time to the next.
    pub fn longest_pause(&self) -> Option<u8> {
        self.0.as_ref().map(|(days, ..)| match days {
            Days::All => 1,
            Days::OfMonth(_) => 31,
            Days::Week(days) => {
                let numbers: Vec<u8> =
                    (0u8..).zip(Weekday::ALL).filter(|(_, day)| days.contains(day)).map(|(n, _)| n).collect();
                let next = numbers.iter().cycle().skip(1);
                numbers.iter().zip(next).map(|(day, next)| (next + 7 - day - 1) % 7 + 1).max().unwrap_or(7)
            }
        })
    }

    /// After how many seconds without one it shows that one was missed.
    pub fn missed_after(&self) -> Option<u64> {
        self.longest_pause().map(|days| u64::from(days) * DAY + GRACE)
    }

    /// The same as systemd writes it.
    pub fn on_calendar(&self) -> Option<String> {
        self.0.as_ref().map(|(days, hour, minute)| match days {
            Days::All => format!("*-*-* {hour:02}:{minute:02}:00"),
            Days::Week(days) => format!("{} *-*-* {hour:02}:{minute:02}:00", names(days)),
            Days::OfMonth(day) => format!("*-*-{day:02} {hour:02}:{minute:02}:00"),
        })
    }

    /// The same as cron writes it.
    pub fn cron(&self) -> Option<String> {
        self.0.as_ref().map(|(days, hour, minute)| match days {
            Days::All => format!("{minute} {hour} * * *"),
            Days::Week(days) => format!("{minute} {hour} * * {}", names(days)),
            Days::OfMonth(day) => format!("{minute} {hour} {day} * *"),
        })
    }
}

fn names(days: &[Weekday]) -> String {
    days.iter().map(|day| day.as_str()).collect::<Vec<_>>().join(",")
}

fn days(text: &str) -> Result<Days, Invalid> {
    if let Ok(day) = text.parse::<u8>() {
        return match day {
            1..=28 => Ok(Days::OfMonth(day)),
            _ => Err(Invalid::new("a day of the month is a number from 1 to 28, which every month has")),
        };
    }
    let mut days = Vec::new();
    for name in text.split(',') {
        let found = Weekday::ALL.into_iter().find(|day| day.as_str().eq_ignore_ascii_case(name));
        days.push(found.ok_or_else(|| {
            Invalid::new(format!("{name:?} is no day: write Mon, Tue, Wed, Thu, Fri, Sat or Sun"))
        })?);
    }
    days.sort_unstable();
    days.dedup();
    Ok(Days::Week(days))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("never"),
            Some((Days::All, hour, minute)) => write!(f, "{hour:02}:{minute:02}"),
            Some((Days::Week(days), hour, minute)) => write!(f, "{} {hour:02}:{minute:02}", names(days)),
            Some((Days::OfMonth(day), hour, minute)) => write!(f, "{day} {hour:02}:{minute:02}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_and_are_told_to_systemd_and_cron() {
        for (text, calendar, cron) in [
            ("03:30", "*-*-* 03:30:00", "30 3 * * *"),
            ("Sun 04:05", "Sun *-*-* 04:05:00", "5 4 * * Sun"),
            ("Mon,Thu 23:59", "Mon,Thu *-*-* 23:59:00", "59 23 * * Mon,Thu"),
            ("1 05:00", "*-*-01 05:00:00", "0 5 1 * *"),
        ] {
            let schedule = Schedule::parse(text).unwrap();
            assert_eq!(schedule.to_string(), text);
            assert_eq!(schedule.on_calendar().as_deref(), Some(calendar));
            assert_eq!(schedule.cron().as_deref(), Some(cron));
        }
        assert_eq!(Schedule::parse("thu,mon,Mon 01:00").unwrap().to_string(), "Mon,Thu 01:00");
        assert!(Schedule::parse("never").unwrap().is_never());
        assert_eq!(Schedule::NEVER.on_calendar(), None);
    }

    #[test]
    fn days() {
        let sunday = Schedule::parse("Sun 04:00").unwrap();
        assert!(sunday.falls_on(Weekday::Sun, 3) && !sunday.falls_on(Weekday::Mon, 3));
        let first = Schedule::monthly(1, 5, 0);
        assert!(first.falls_on(Weekday::Tue, 1) && !first.falls_on(Weekday::Tue, 2));
        assert!(Schedule::daily(3, 30).falls_on(Weekday::Fri, 9));
        assert!(!Schedule::NEVER.falls_on(Weekday::Fri, 9));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("daily", "looks like"),
            ("3:30", "looks like"),
            ("24:00", "looks like"),
            ("+1:00", "looks like"),
            ("Sun", "looks like"),
            ("Son 04:00", "is no day"),
            ("29 04:00", "from 1 to 28"),
            ("0 04:00", "from 1 to 28"),
        ] {
            let said = Schedule::parse(text).unwrap_err().to_string();
            assert!(said.contains(word), "{text}: {said}");
        }
    }
}
