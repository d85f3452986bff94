//! What `init` asks on a terminal: at most six questions, each with what follows from it.

use matrix_podman_core::{
    config::{Config, Defaults, Override, init::user_id_preview},
    name::Domain,
};

use crate::{
    error::Error,
    output::{BOLD, styled},
    site::as_domain,
};

/// Who is asked.
pub trait Dialogue {
    /// Shows a line.
    fn say(&mut self, line: &str);
    /// Asks; `None` when nobody answers any more.
    fn ask(&mut self, question: &str) -> Result<Option<String>, Error>;
}

/// The ways in which people outside reach the server.
const ACCESS: [(&str, &str); 4] = [
    ("not yet", "people at home only; nothing is opened, and it can be added any day"),
    ("your own reverse proxy", "nginx, Caddy, HAProxy, Traefik: `edge show` prints what to write into it"),
    (
        "Cloudflare tunnel",
        "no port is opened; Cloudflare sees who speaks with whom, and unencrypted messages",
    ),
    ("Nginx Proxy Manager", "ports 80 and 443 of your router lead to it; it is set up by this program"),
];

/// What stands in front of the domain in the name of the server.
const HOST: &str = "matrix.";

/// Asks for what `given` leaves open; all that was chosen. What each answer makes of the config
/// is checked before the next question.
pub fn hold(
    person: &mut dyn Dialogue,
    given: Vec<Override>,
    defaults: &Defaults,
) -> Result<Vec<Override>, Error> {
    let mut talk = Talk { person, chosen: given, defaults };
    if !talk.is_given("domain") {
        talk.domain()?;
    }
    if !talk.is_given("server_name") {
        talk.user_ids()?;
    }
    talk.access()?;
    talk.backups()?;
    Ok(talk.chosen)
}

struct Talk<'a> {
    person: &'a mut dyn Dialogue,
    chosen: Vec<Override>,
    defaults: &'a Defaults,
}

impl Talk<'_> {
    fn is_given(&self, key: &str) -> bool {
        self.chosen.iter().any(|given| given.key == key)
    }

    fn explain(&mut self, title: &str, lines: &[&str]) {
        self.person.say("");
        self.person.say(&styled(BOLD, title));
        for line in lines {
            self.person.say(line);
        }
    }

    fn domain(&mut self) -> Result<(), Error> {
        self.explain(
            "Domain",
            &[
                "The server becomes matrix.DOMAIN, the web client chat.DOMAIN. The name stays for the server's whole life.",
                "To try it out, any name below home.arpa works, such as family.home.arpa: at home only.",
            ],
        );
        loop {
            let Some(answer) = self.person.ask("Your domain: ")? else {
                return Err(Error::usage("no domain was given", "add --domain YOUR.DOMAIN"));
            };
            let typed = as_domain(&answer);
            match Domain::parse(&typed) {
                Ok(domain) => {
                    if domain.as_str() != typed {
                        self.person.say(&format!("  In DNS, and in user ids, that is {domain}."));
                    }
                    let domain = self.without_host(domain)?;
                    self.chosen.insert(0, Override::new("domain", domain.as_str(), "domain"));
                    return Ok(());
                }
                Err(why) => self.person.say(&format!("  {why}")),
            }
        }
    }

    /// The domain itself, where somebody typed the server's name.
    fn without_host(&mut self, typed: Domain) -> Result<Domain, Error> {
        let below = typed.as_str().strip_prefix(HOST);
        let Some(domain) = below.and_then(|rest| Domain::parse(rest).ok()) else { return Ok(typed) };
        self.person
            .say(&format!("  1) {domain}: the server is matrix.{domain}, the web client chat.{domain}"));
        self.person.say(&format!("  2) {typed}: the server is matrix.{typed}, the web client chat.{typed}"));
        Ok(if self.choose("Which domain is meant [1]: ", 2)? == 2 { typed } else { domain })
    }

    /// The one decision that can never be changed.
    fn user_ids(&mut self) -> Result<(), Error> {
        let config = Config::parse_with("", "init", &self.chosen, self.defaults)?;
        let choices = user_id_preview(&config.domain);
        self.explain(
            "What should user ids look like? This can never be changed.",
            &["Friends, rooms and other servers know people by them. Another id means a new server, and starting over."],
        );
        for (number, choice) in choices.iter().enumerate() {
            let id = styled(BOLD, &choice.user_id);
            self.person.say(&format!("  {}) {id}   {}", number + 1, choice.needs));
        }
        if self.choose("Choose [1]: ", choices.len())? == 2 {
            let name = choices[1].server_name.as_str();
            self.chosen.push(Override::new("server_name", name, "server_name"));
        }
        Ok(())
    }

    fn access(&mut self) -> Result<(), Error> {
        self.explain(
            "Public access",
            &["How do people and servers outside of your network reach this one? HTTPS ends there."],
        );
        for (number, (name, consequence)) in ACCESS.iter().enumerate() {
            self.person.say(&format!("  {}) {}: {consequence}", number + 1, styled(BOLD, name)));
        }
        match self.choose("Public access [1]: ", ACCESS.len())? {
            2 => self.value(
                "Its address, as the guest sees it, such as 192.168.1.5/32 (empty: decide later): ",
                &|address| vec![set("edge.proxies", address)],
            ),
            3 => {
                self.value(
                    "Where the tunnel delivers: your reverse proxy, such as https://192.168.1.5 (empty: decide later): ",
                    &|service| {
                        vec![
                            set("edge.cloudflare.tunnel", "matrix"),
                            set("edge.cloudflare.create_tunnel", "true"),
                            set("edge.cloudflare.service", service),
                        ]
                    },
                )?;
                self.later("edge.cloudflare.tunnel", "edge.cloudflare.token_file", "CLOUDFLARE_API_TOKEN");
                Ok(())
            }
            4 => {
                self.value(
                    "Its administration and your login there, such as http://192.168.1.5:81 you@example.org (empty: \
                     decide later): ",
                    &|answer| {
                        let (address, identity) = answer.split_once(' ').unwrap_or((answer, ""));
                        vec![set("edge.npm.address", address), set("edge.npm.identity", identity.trim())]
                    },
                )?;
                self.later("edge.npm.address", "edge.npm.secret_file", "NPM_PASSWORD");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Says where a secret is wanted, which nobody is asked for here.
    fn later(&mut self, chosen: &str, key: &str, variable: &str) {
        if self.is_given(chosen) {
            self.person.say(&format!(
                "  The secret is not asked for: put it into a file that only root reads and name it as {key} in \
                 matrix.toml, or into the environment as {variable}."
            ));
        }
    }

    fn backups(&mut self) -> Result<(), Error> {
        self.explain(
            "Backups",
            &[
                "Encrypted, every night, into a place that the guest cannot reach. Without them a broken disk takes all of",
                "it: messages, pictures, and the key by which other servers know this one.",
            ],
        );
        self.value(
            "A folder on another disk, sftp:HOST:/FOLDER or s3:https://HOST/BUCKET/FOLDER (empty: none yet): ",
            &|place| vec![set("backup.repository", place)],
        )
    }

    /// A number from 1 to `most`; 1 where nobody says anything.
    fn choose(&mut self, question: &str, most: usize) -> Result<usize, Error> {
        loop {
            let Some(answer) = self.person.ask(question)? else { return Ok(1) };
            match answer.trim() {
                "" => return Ok(1),
                number => match number.parse::<usize>() {
                    Ok(number) if (1..=most).contains(&number) => return Ok(number),
                    _ => self.person.say(&format!("  type a number from 1 to {most}, or nothing for 1")),
                },
            }
        }
    }

    /// An answer that says something about keys; empty for nothing. It is asked for again until
    /// the config with it is good.
    fn value(&mut self, question: &str, keys: &dyn Fn(&str) -> Vec<Override>) -> Result<(), Error> {
        loop {
            let answer = self.person.ask(question)?.unwrap_or_default();
            if answer.trim().is_empty() {
                return Ok(());
            }
            let mut wanted = self.chosen.clone();
            wanted.extend(keys(answer.trim()));
            match Config::parse_with("", "init", &wanted, self.defaults) {
                Ok(_) => {
                    self.chosen = wanted;
                    return Ok(());
                }
                Err(mistakes) => {
                    for mistake in mistakes.list() {
                        let hint = mistake.hint.as_deref().unwrap_or("try another answer");
                        self.person.say(&format!("  {}; {hint}", mistake.problem));
                    }
                }
            }
        }
    }
}

fn set(key: &str, value: &str) -> Override {
    Override::new(key, value, key)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use matrix_podman_core::config::init::{InitAnswers, render_init};

    use super::*;

    /// Somebody who answers from a list, and then no more.
    #[derive(Default)]
    struct Scripted {
        answers: VecDeque<&'static str>,
        shown: String,
        asked: Vec<String>,
    }

    impl Dialogue for Scripted {
        fn say(&mut self, line: &str) {
            self.shown.push_str(line);
            self.shown.push('\n');
        }

        fn ask(&mut self, question: &str) -> Result<Option<String>, Error> {
            self.asked.push(question.to_owned());
            Ok(self.answers.pop_front().map(str::to_owned))
        }
    }

    fn talk(answers: &[&'static str], given: Vec<Override>) -> (Scripted, Result<Config, Error>) {
        let mut person = Scripted { answers: answers.iter().copied().collect(), ..Scripted::default() };
        let chosen = hold(&mut person, given, &Defaults::default());
        let config = chosen.map(|chosen| {
            let config = Config::parse_with("", "init", &chosen, &Defaults::default()).unwrap();
            let keys = chosen.iter().map(|given| given.key.clone()).collect();
            // What is written is what was chosen.
            let text = render_init(&InitAnswers { config: config.clone(), chosen: keys });
            assert_eq!(Config::parse(&text, "matrix.toml").unwrap(), config, "{text}");
            config
        });
        (person, config)
    }

    #[test]
    fn enter_alone_gives_a_good_config_once_there_is_a_domain() {
        let (person, config) = talk(&["chat.home.arpa", "", "", ""], Vec::new());
        assert_eq!(config.unwrap(), Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap());
        assert_eq!(person.asked.len(), 4);
        for consequence in
            ["can never be changed", "starting over", "nothing is opened", "a broken disk takes all"]
        {
            assert!(person.shown.contains(consequence), "{consequence}: {}", person.shown);
        }
    }

    #[test]
    fn a_domain_is_taken_as_people_type_it() {
        let domain = |answers: &[&'static str]| {
            let (person, config) = talk(answers, Vec::new());
            (config.unwrap().domain.to_string(), person.shown)
        };
        for typed in ["Family.Home.Arpa", " family.home.arpa. ", "https://family.home.arpa/"] {
            let typed: &'static str = typed;
            assert_eq!(domain(&[typed]).0, "family.home.arpa", "{typed}");
        }
        let (name, shown) = domain(&["Müller.home.arpa"]);
        assert_eq!(name, "xn--mller-kva.home.arpa");
        assert!(shown.contains("that is xn--mller-kva.home.arpa"), "{shown}");
        let (name, shown) = domain(&["matrix.family.home.arpa"]);
        assert_eq!(name, "family.home.arpa");
        assert!(shown.contains("the server is matrix.matrix.family.home.arpa"), "{shown}");
        assert_eq!(domain(&["matrix.family.home.arpa", "2"]).0, "matrix.family.home.arpa");
        // Nothing is left to ask about.
        assert_eq!(domain(&["chat.home.arpa"]).0, "chat.home.arpa");
        for wrong in ["", "two words.home.arpa", "family"] {
            let wrong: &'static str = wrong;
            assert_eq!(domain(&[wrong, "family.home.arpa"]).0, "family.home.arpa", "{wrong:?}");
        }
    }

    #[test]
    fn every_way_in_takes_at_most_six_questions() {
        for (way, answer, more) in [
            ("2", "192.168.1.5/32", "edge.proxies"),
            ("3", "https://192.168.1.5", "edge.cloudflare.token_file"),
            ("4", "http://192.168.1.5:81 anna@chat.home.arpa", "edge.npm.secret_file"),
        ] {
            let answers = ["chat.home.arpa", "2", way, answer, "/mnt/disk2/matrix-backup"];
            let (person, config) = talk(&answers, Vec::new());
            let config = config.unwrap();
            assert!(person.asked.len() <= 6, "{:?}", person.asked);
            assert_eq!(config.server_name.to_string(), "chat.home.arpa");
            assert!(config.backup.main().is_some(), "{way}");
            let edge = &config.edge;
            match way {
                "2" => assert_eq!(edge.proxies.len(), 1),
                "3" => assert!(edge.cloudflare.as_ref().is_some_and(|cloudflare| cloudflare.create_tunnel)),
                _ => assert!(edge.npm.as_ref().is_some_and(|npm| npm.identity == "anna@chat.home.arpa")),
            }
            let told = person.shown.contains(more);
            assert_eq!(told, way != "2", "{}", person.shown);
        }
    }

    #[test]
    fn a_wrong_answer_is_explained_and_asked_again() {
        let answers =
            ["example.com", "chat.home.arpa", "3", "1", "4", "no address", "", "not a place", "/srv/backup"];
        let (person, config) = talk(&answers, Vec::new());
        assert_eq!(config.unwrap().edge.npm, None);
        assert!(person.shown.contains("placeholder"), "{}", person.shown);
        assert!(person.shown.contains("a number from 1 to 2"), "{}", person.shown);
        assert_eq!(person.asked.iter().filter(|question| question.starts_with("A folder")).count(), 2);
    }

    #[test]
    fn flags_are_not_asked_for_again_and_nothing_is_made_of_no_domain() {
        let (person, config) =
            talk(&[], vec![set("domain", "chat.home.arpa"), set("server_name", "chat.home.arpa")]);
        assert_eq!(config.unwrap().server_name.to_string(), "chat.home.arpa");
        assert_eq!(person.asked.len(), 2, "{:?}", person.asked);
        let (_, nobody) = talk(&[], Vec::new());
        assert!(nobody.unwrap_err().hint().unwrap().contains("--domain"));
    }
}
