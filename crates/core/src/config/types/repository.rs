//! Repositories of backups, and when something is done with them.

use serde_json::{Map, Value as Json, json};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Flaw, Form, Int, TextType, TomlType, nearest, wrong_type};
use crate::{
    backup::{Location, Repository, RepositoryName, Schedule, Terms},
    config::Config,
    name::{AbsPath, Invalid},
    size::Rate,
};

impl TextType for Location {
    const NAMES_LOCAL: bool = true;

    fn wanted() -> String {
        "a folder, sftp:HOST:/FOLDER, s3:https://HOST/BUCKET/FOLDER or rclone:REMOTE:FOLDER".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        Ok(Self::parse(text)?)
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^(/|sftp:|s3:|rclone:)".to_owned())
    }
}

impl TextType for Schedule {
    fn wanted() -> String {
        "a time such as 03:30 or Sun 04:00 or 1 05:00 (the day of the month), or never".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        Ok(Self::parse(text)?)
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^(never|([A-Za-z,]+ +|[0-9]+ +)?[0-9]{2}:[0-9]{2})$".to_owned())
    }
}

/// How fast, or not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Limit(pub Option<Rate>);

impl Limit {
    const NONE: &'static str = "none";
}

impl TextType for Limit {
    fn wanted() -> String {
        "a rate such as 10M/s, or none".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if text == Self::NONE {
            return Ok(Self(None));
        }
        Ok(Self(Some(Rate::parse(text)?)))
    }
    fn to_text(&self) -> String {
        self.0.map_or_else(|| Self::NONE.to_owned(), |rate| rate.to_string())
    }
    fn pattern() -> Option<String> {
        Some("^(none|[0-9]+ *[KMGT]?B? */s)$".to_owned())
    }
}

/// The region of an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Region(pub String);

impl TextType for Region {
    fn wanted() -> String {
        "the name of a region".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !text.is_empty() && text.len() <= 64 && text.chars().all(good) {
            return Ok(Self(text.to_owned()));
        }
        Err(Flaw::from(Invalid::new("a region has letters, digits and dashes")))
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^[A-Za-z0-9_-]+$".to_owned())
    }
}

impl TextType for RepositoryName {
    fn wanted() -> String {
        "a name of small letters, digits and dashes".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if text == RepositoryName::MAIN {
            return Err(Flaw::new("that is what the repository of backup.repository is called")
                .hint("choose another name"));
        }
        Ok(Self::parse(text)?)
    }
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }
    fn pattern() -> Option<String> {
        Some("^[a-z][a-z0-9-]*$".to_owned())
    }
}

/// How many snapshots of a kind may be kept.
type Kept = Int<0, 1000>;

/// One repository of the list, before it is known what holds where it is silent.
#[derive(Debug, Clone, PartialEq)]
struct More {
    name: RepositoryName,
    location: Location,
    schedule: Option<Schedule>,
    drill: Option<Schedule>,
    daily: Option<Kept>,
    weekly: Option<Kept>,
    monthly: Option<Kept>,
    yearly: Option<Kept>,
    upload_limit: Option<Limit>,
    download_limit: Option<Limit>,
    s3_credentials: Option<AbsPath>,
    s3_region: Option<Region>,
}

/// The names in a repository's section.
const NAMES: [&str; 12] = [
    "name",
    "repository",
    "schedule",
    "drill",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "keep_yearly",
    "upload_limit",
    "download_limit",
    "s3_credentials",
    "s3_region",
];

/// The repositories besides that of `backup.repository`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::config) struct MoreRepositories(Vec<More>);

impl MoreRepositories {
    /// Those of a config, with all that holds for them.
    pub(in crate::config) fn of(config: &Config) -> Option<Self> {
        let more = config.backup.repositories.iter().filter(|repository| !repository.name.is_main());
        let list: Vec<More> = more
            .map(|Repository { name, location, terms }| More {
                name: name.clone(),
                location: location.clone(),
                schedule: Some(terms.schedule.clone()),
                drill: Some(terms.drill.clone()),
                daily: Some(Int(terms.keep.daily)),
                weekly: Some(Int(terms.keep.weekly)),
                monthly: Some(Int(terms.keep.monthly)),
                yearly: Some(Int(terms.keep.yearly)),
                upload_limit: Some(Limit(terms.limits.upload)),
                download_limit: Some(Limit(terms.limits.download)),
                s3_credentials: terms.s3_credentials.clone(),
                s3_region: terms.s3_region.clone().map(Region),
            })
            .collect();
        (!list.is_empty()).then_some(Self(list))
    }

    /// The name of the one that is at a place.
    pub(in crate::config) fn at(&self, location: Option<&Location>) -> Option<&RepositoryName> {
        self.0.iter().find(|more| Some(&more.location) == location).map(|more| &more.name)
    }

    /// The repositories, with `terms` where they are silent.
    pub(in crate::config) fn with(self, terms: &Terms) -> impl Iterator<Item = Repository> {
        self.0.into_iter().map(|more| {
            let mut own = terms.clone();
            let kept = |own: &mut u32, more: Option<Kept>| *own = more.map_or(*own, |more| more.0);
            kept(&mut own.keep.daily, more.daily);
            kept(&mut own.keep.weekly, more.weekly);
            kept(&mut own.keep.monthly, more.monthly);
            kept(&mut own.keep.yearly, more.yearly);
            own.schedule = more.schedule.unwrap_or(own.schedule);
            own.drill = more.drill.unwrap_or(own.drill);
            own.limits.upload = more.upload_limit.map_or(own.limits.upload, |limit| limit.0);
            own.limits.download = more.download_limit.map_or(own.limits.download, |limit| limit.0);
            own.s3_credentials = more.s3_credentials.or(own.s3_credentials);
            own.s3_region = more.s3_region.map(|region| region.0).or(own.s3_region);
            Repository { name: more.name, location: more.location, terms: own }
        })
    }
}

/// The values of one section, with everything that is wrong with them.
struct Section<'a, 'b> {
    table: &'b DeTable<'a>,
    at: std::ops::Range<usize>,
    flaws: Vec<Flaw>,
}

impl Section<'_, '_> {
    fn value<T: TomlType>(&mut self, name: &str) -> Option<T> {
        let value = self.table.get(name)?;
        match T::from_toml(value) {
            Ok(value) => Some(value),
            Err(flaws) => {
                // A path may be a secret that somebody wrote in its place.
                let shown = if name == "s3_credentials" { self.at.clone() } else { value.span() };
                self.flaws.extend(flaws.into_iter().map(|flaw| Flaw {
                    span: Some(flaw.span.unwrap_or_else(|| shown.clone())),
                    problem: format!("{name}: {}", flaw.problem),
                    hint: flaw.hint.or_else(|| Some(format!("wanted is {}", T::wanted()))),
                }));
                None
            }
        }
    }

    fn required<T: TomlType>(&mut self, name: &str, example: &str) -> Option<T> {
        if self.table.get(name).is_none() {
            self.flaws.push(Flaw {
                span: Some(self.at.clone()),
                problem: format!("a repository needs a {name}"),
                hint: Some(format!("write {name} = {example} below [[backup.repositories]]")),
            });
        }
        self.value(name)
    }

    fn unknown(&mut self) {
        for (name, value) in self.table.iter().filter(|(name, _)| !NAMES.contains(&name.get_ref().as_ref())) {
            let hint = match nearest(name.get_ref(), NAMES) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known in [[backup.repositories]] are {}", NAMES.join(", ")),
            };
            self.flaws.push(Flaw {
                span: Some(value.span()),
                problem: format!("{}: unknown key", name.get_ref()),
                hint: Some(hint),
            });
        }
    }
}

fn more(value: &Spanned<DeValue<'_>>) -> Result<More, Vec<Flaw>> {
    let DeValue::Table(table) = value.get_ref() else {
        let flaw = Flaw::new("each repository is a section of its own")
            .hint("write [[backup.repositories]], and below it name = \"…\" and repository = \"…\"");
        return Err(vec![Flaw { span: Some(value.span()), ..flaw }]);
    };
    let mut section = Section { table, at: value.span(), flaws: Vec::new() };
    section.unknown();
    let (name, location) = (
        section.required("name", "\"away\""),
        section.required("repository", "\"sftp:backup@nas:/srv/matrix\""),
    );
    let more = |name, location, section: &mut Section<'_, '_>| More {
        name,
        location,
        schedule: section.value("schedule"),
        drill: section.value("drill"),
        daily: section.value("keep_daily"),
        weekly: section.value("keep_weekly"),
        monthly: section.value("keep_monthly"),
        yearly: section.value("keep_yearly"),
        upload_limit: section.value("upload_limit"),
        download_limit: section.value("download_limit"),
        s3_credentials: section.value("s3_credentials"),
        s3_region: section.value("s3_region"),
    };
    // What stands in for a name that is wrong is not used.
    let place = location.unwrap_or_else(|| Location::Folder(AbsPath::known("/")));
    let more = more(name.unwrap_or_else(RepositoryName::main), place, &mut section);
    if section.flaws.is_empty() { Ok(more) } else { Err(section.flaws) }
}

impl TomlType for MoreRepositories {
    const FORM: Form = Form::List;
    const LOCAL: bool = true;

    fn wanted() -> String {
        "sections [[backup.repositories]], each with name and repository".to_owned()
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Flaw>> {
        let DeValue::Array(items) = value.get_ref() else {
            let flaw = wrong_type::<Self>(value.get_ref());
            return Err(vec![flaw.hint("with two brackets on each side: [[backup.repositories]]")]);
        };
        let mut good: Vec<More> = Vec::new();
        let mut flaws = Vec::new();
        for item in items.iter() {
            match more(item) {
                Ok(more) => {
                    let twice = |what: &str| Flaw {
                        span: Some(item.span()),
                        problem: format!("two repositories have the same {what}"),
                        hint: Some(format!("give each a {what} of its own")),
                    };
                    if good.iter().any(|other| other.name == more.name) {
                        flaws.push(twice("name"));
                    }
                    if good.iter().any(|other| other.location == more.location) {
                        flaws.push(twice("place"));
                    }
                    good.push(more);
                }
                Err(wrong) => flaws.extend(wrong),
            }
        }
        if flaws.is_empty() { Ok(Self(good)) } else { Err(flaws) }
    }

    fn to_toml(&self) -> toml::Value {
        fn put<T: TomlType>(table: &mut toml::Table, name: &str, value: Option<&T>) {
            if let Some(value) = value {
                table.insert(name.to_owned(), value.to_toml());
            }
        }
        let section = |more: &More| {
            let mut table = toml::Table::new();
            put(&mut table, "name", Some(&more.name));
            put(&mut table, "repository", Some(&more.location));
            put(&mut table, "schedule", more.schedule.as_ref());
            put(&mut table, "drill", more.drill.as_ref());
            put(&mut table, "keep_daily", more.daily.as_ref());
            put(&mut table, "keep_weekly", more.weekly.as_ref());
            put(&mut table, "keep_monthly", more.monthly.as_ref());
            put(&mut table, "keep_yearly", more.yearly.as_ref());
            put(&mut table, "upload_limit", more.upload_limit.as_ref());
            put(&mut table, "download_limit", more.download_limit.as_ref());
            put(&mut table, "s3_credentials", more.s3_credentials.as_ref());
            put(&mut table, "s3_region", more.s3_region.as_ref());
            toml::Value::Table(table)
        };
        toml::Value::Array(self.0.iter().map(section).collect())
    }

    fn schema() -> Json {
        let kept = Kept::schema();
        let kinds = [
            RepositoryName::schema(),
            Location::schema(),
            Schedule::schema(),
            Schedule::schema(),
            kept.clone(),
            kept.clone(),
            kept.clone(),
            kept,
            Limit::schema(),
            Limit::schema(),
            AbsPath::schema(),
            Region::schema(),
        ];
        let properties: Map<String, Json> = NAMES.into_iter().map(str::to_owned).zip(kinds).collect();
        json!({
            "type": "array",
            "items": {
                "type": "object",
                "properties": properties,
                "required": ["name", "repository"],
                "additionalProperties": false,
            },
        })
    }
}
