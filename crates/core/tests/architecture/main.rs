//! What has to stay true of the shape of the code, read out of its source files.
#![expect(clippy::disallowed_methods, reason = "the sources are what is tested")]

mod names;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::Crate;

/// The crates that the program is made of, each with the modules that still import
/// each other in a circle. This list may only become shorter.
const CIRCLES: [(&str, &[&str]); 4] = [("core", &[]), ("images", &[]), ("host", &[]), ("cli", &[])];

/// The modules that can be reached from themselves.
fn circular(modules: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let reaches_itself = |start: &&String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![*start]);
        while let Some(module) = open.pop() {
            open.extend(modules[module].iter().filter(|next| seen.insert(*next)));
        }
        seen.contains(*start)
    };
    modules.keys().filter(reaches_itself).cloned().collect()
}

#[test]
fn top_level_modules_form_no_circle() {
    for (name, known) in CIRCLES {
        let found = Crate::read(name);
        assert!(found.modules.len() > 3, "{name}: the modules are not read: {:?}", found.modules);
        let circle = circular(&found.modules);
        let known: BTreeSet<String> = known.iter().map(|module| (*module).to_owned()).collect();
        let within = |module: &String| {
            let others: Vec<&String> = found.modules[module].intersection(&circle).collect();
            format!("  {module} imports {others:?}\n")
        };
        let new: String = circle.difference(&known).map(within).collect();
        assert!(new.is_empty(), "crates/{name}: these modules are in a circle of imports:\n{new}");
        let opened: Vec<&String> = known.difference(&circle).collect();
        assert!(
            opened.is_empty(),
            "crates/{name}: take these off the list, they are in no circle now: {opened:?}"
        );
    }
}

#[test]
fn a_circle_is_found_whatever_its_length() {
    let modules = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "d2"), ("d2", "a")];
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in modules {
        graph.entry(to.to_owned()).or_default();
        graph.entry(from.to_owned()).or_default().insert(to.to_owned());
    }
    assert_eq!(circular(&graph).into_iter().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn a_type_name_means_one_thing() {
    let mut declared: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in CIRCLES {
        for name in Crate::read(name).types {
            *declared.entry(name).or_default() += 1;
        }
    }
    assert!(declared.len() > 400, "the types are not read: {}", declared.len());
    let listed: BTreeMap<&str, usize> = names::SEVERAL
        .into_iter()
        .flat_map(|(count, names)| names.split_whitespace().map(move |name| (name, count)))
        .collect();
    let wrong: String = declared
        .iter()
        .filter(|(name, count)| **count != listed.get(name.as_str()).copied().unwrap_or(1))
        .map(|(name, count)| format!("  {name}: {count} declarations\n"))
        .chain(
            listed
                .keys()
                .filter(|name| !declared.contains_key(**name))
                .map(|name| format!("  {name}: none\n")),
        )
        .collect();
    assert!(
        wrong.is_empty(),
        "these differ from tests/architecture/names.rs; give a new type a name of its own, and take off the list \
         what is no longer needed:\n{wrong}"
    );
}

#[test]
fn few_files_name_a_service() {
    let found: BTreeSet<String> = CIRCLES
        .into_iter()
        .flat_map(|(name, _)| Crate::read(name).naming.into_iter().map(move |file| format!("{name}/{file}")))
        .filter(|file| !file.starts_with("core/stack/"))
        .collect();
    let known: BTreeSet<String> = names::NAMING.iter().map(|file| (*file).to_owned()).collect();
    let new: Vec<&String> = found.difference(&known).collect();
    assert!(
        new.is_empty(),
        "these name a service; have its room say what they want to know, for everybody who asks: {new:?}"
    );
    let freed: Vec<&String> = known.difference(&found).collect();
    assert!(freed.is_empty(), "take these off the list in tests/architecture/names.rs: {freed:?}");
    let text = include_str!("../../../../ARCHITECTURE.md");
    let unexplained: Vec<&String> =
        found.iter().filter(|file| !text.contains(&format!("`{file}`"))).collect();
    assert!(unexplained.is_empty(), "ARCHITECTURE.md does not say why these do: {unexplained:?}");
}
