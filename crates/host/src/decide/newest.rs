//! Which tag of a registry an update goes to.

use matrix_podman_core::{
    effect::ImageSource,
    fact::Fact,
    observed::{Observed, Seen},
    resource::Site,
    stack,
    update::{Request, Wanted, newest_tag},
};

/// From where the image of each request comes; why it cannot be had, and what to do.
/// All is asked before the first answer is looked at.
pub fn wanted(
    site: &Site,
    requests: &[Request],
    seen: &Observed,
) -> Seen<Vec<Result<Wanted, (String, String)>>> {
    let all: Vec<_> = requests
        .iter()
        .map(|request| Ok(Wanted::of(site, request, seen)?.map(|wanted| newest(wanted, request, seen))))
        .collect();
    all.into_iter().collect()
}

/// A registry's newer tag of the same kind, where no version was asked for. Another major
/// version of what keeps data is never silent.
fn newest(mut wanted: Wanted, request: &Request, seen: &Observed) -> Wanted {
    let (ImageSource::Registry(reference), None) = (&wanted.from, &request.version) else { return wanted };
    let Some(tag) = reference.tag() else { return wanted };
    let within_major = stack::room(wanted.service).image().within_major;
    if let Ok(tags) = seen.lines(Fact::RegistryTags(reference.repository()))
        && let Some(newer) = newest_tag(tag, tags.iter().map(String::as_str), within_major)
        && let Ok(newer) = format!("{}:{newer}", reference.repository()).parse()
    {
        wanted.from = ImageSource::Registry(newer);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::{
        fact::{Side, Value},
        observed::Answer,
        service::Service,
    };

    use super::*;

    /// What `service`, of which the config names `tag`, is updated to in a registry with these.
    fn goes_to(service: Service, tag: &str, version: Option<&str>, tags: &[&str]) -> String {
        let from = ImageSource::Registry(format!("docker.io/some/image:{tag}").parse().unwrap());
        let wanted = Wanted { service, from, words: String::new(), major: None };
        let request = Request { service, version: version.map(str::to_owned) };
        let mut seen = Observed::default();
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let fact = Fact::RegistryTags("docker.io/some/image".to_owned());
        seen.insert(Side::Guest, fact, Answer::Known(Value::Lines(tags)));
        match newest(wanted, &request, &seen).from {
            ImageSource::Registry(reference) => reference.tag().unwrap_or_default().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_newest_tag_of_the_same_kind_is_taken() {
        let synapse = ["v1.120.0", "v1.121.0", "v1.122.0rc1", "latest", "v2.0.0"];
        assert_eq!(goes_to(stack::synapse::ID, "v1.120.0", None, &synapse), "v2.0.0");
        let postgres = ["17.2-alpine", "17.5-alpine", "18.1-alpine", "17.6"];
        assert_eq!(goes_to(stack::postgres::ID, "17.2-alpine", None, &postgres), "17.5-alpine");
    }

    #[test]
    fn what_was_asked_for_stays() {
        let tags = ["v1.120.0", "v1.121.0"];
        assert_eq!(goes_to(stack::synapse::ID, "v1.120.0", Some("v1.120.0"), &tags), "v1.120.0");
        assert_eq!(goes_to(stack::synapse::ID, "v1.121.0", None, &tags[..1]), "v1.121.0");
    }
}
