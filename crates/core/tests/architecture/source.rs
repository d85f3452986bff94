//! Reads the product code of a crate: what its modules name, and what it declares.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What the test wants to know about a crate.
#[derive(Default)]
pub struct Crate {
    /// The top-level modules, each with the other ones that it names.
    pub modules: BTreeMap<String, BTreeSet<String>>,
    /// Each type name, once for every declaration.
    pub types: Vec<String>,
    /// The files that name a service of the stack, below the crate's sources.
    pub naming: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

use Token::{Mark, Text, Word};

#[expect(clippy::expect_used, reason = "a test")]
impl Crate {
    /// Reads `crates/NAME` of this workspace.
    pub fn read(name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let root = [source.join("lib.rs"), source.join("main.rs")];
        let root = root.iter().find(|file| file.exists()).expect("a lib.rs or a main.rs");
        let mut found = Self::default();
        let mut named = Vec::new();
        let rooms = rooms();
        found.module(root, &source, &[], &mut named, &rooms);
        found.naming =
            found.naming.iter().map(|file| file[source.to_string_lossy().len() + 1..].to_owned()).collect();
        for (from, to) in named {
            if from != to && found.modules.contains_key(&to) {
                found.modules.entry(from).or_default().insert(to);
            }
        }
        found
    }

    /// Reads one file and the files of its modules. `named` takes pairs of top-level
    /// modules: the one that names, and the name, which need not be a module.
    fn module(
        &mut self,
        file: &Path,
        folder: &Path,
        at: &[String],
        named: &mut Vec<(String, String)>,
        rooms: &[String],
    ) {
        let text = fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        let tokens = without_tests(&tokens(&text));
        self.types.extend(types(&tokens));
        if names_service(&tokens, rooms) {
            self.naming.insert(file.to_string_lossy().into_owned());
        }
        if let Some(top) = at.first() {
            self.modules.entry(top.clone()).or_default();
            named.extend(paths(&tokens, at.len()).into_iter().map(|to| (top.clone(), to)));
        }
        for (name, path) in files(&tokens) {
            let inside = [at, std::slice::from_ref(&name)].concat();
            let (file, folder): (PathBuf, PathBuf) = match path {
                Some(path) => (file.with_file_name(path), folder.join(&name)),
                None => {
                    let beside = folder.join(format!("{name}.rs"));
                    let file = if beside.exists() { beside } else { folder.join(&name).join("mod.rs") };
                    (file, folder.join(&name))
                }
            };
            self.module(&file, &folder, &inside, named, rooms);
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut found, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        let c = at(i);
        let word = |c: char| c.is_alphanumeric() || c == '_';
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
        } else if c == '"' {
            let from = i + 1;
            i = from;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            found.push(Text(chars[from..i.min(chars.len())].iter().collect()));
            i += 1;
        } else if c == '\'' {
            // A lifetime has no second quote behind its first letter.
            if at(i + 1) == '\\' {
                i += 3;
                while at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            } else if at(i + 2) == '\'' {
                i += 3;
            } else {
                i += 1;
            }
        } else if word(c) {
            let from = i;
            while word(at(i)) {
                i += 1;
            }
            let text: String = chars[from..i].iter().collect();
            if matches!(text.as_str(), "r" | "br" | "cr") && matches!(at(i), '"' | '#') {
                let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
                if at(i + hashes) == '"' {
                    let end: Vec<char> =
                        std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    i += hashes + 1;
                    while i < chars.len() && !chars[i..].starts_with(&end) {
                        i += 1;
                    }
                    i += end.len();
                    found.push(Text(String::new()));
                    continue;
                }
            }
            found.push(Word(text));
        } else {
            if !c.is_whitespace() {
                found.push(Mark(c));
            }
            i += 1;
        }
    }
    found
}

/// Whether the tokens begin with those of `wanted`.
fn is(tokens: &[Token], mut wanted: &str) -> bool {
    for token in tokens {
        let rest = match token {
            Word(word) => wanted.strip_prefix(word.as_str()),
            Mark(mark) => wanted.strip_prefix(*mark),
            Text(_) => None,
        };
        match rest {
            None => return false,
            Some("") => return true,
            Some(rest) => wanted = rest,
        }
    }
    false
}

/// How many tokens the bracketed group at the beginning has.
fn group(tokens: &[Token]) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Mark('(' | '[' | '{') => depth += 1,
            Mark(')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Leaves out every item with `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut i) = (Vec::new(), 0);
    while i < tokens.len() {
        if !is(&tokens[i..], "#[cfg(test)]") {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        while tokens.get(i) == Some(&Mark('#')) {
            i += 1 + group(&tokens[i + 1..]);
        }
        // Up to the end of the item: a semicolon or a block that is in no bracket.
        while i < tokens.len() {
            match &tokens[i] {
                Mark(';' | ',') => {
                    i += 1;
                    break;
                }
                Mark('{') => {
                    let used = is(&tokens[i.saturating_sub(2)..], "::");
                    i += group(&tokens[i..]);
                    if !used {
                        break;
                    }
                }
                Mark('(' | '[') => i += group(&tokens[i..]),
                _ => i += 1,
            }
        }
    }
    kept
}

/// The modules in files of their own, with the `#[path]` that says which.
fn files(tokens: &[Token]) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for (i, window) in tokens.windows(3).enumerate() {
        if let [Word(word), Word(name), Mark(';')] = window
            && word == "mod"
        {
            let path = (i >= 6 && is(&tokens[i - 6..], "#[path=")).then(|| &tokens[i - 2]);
            let path = path.and_then(|token| if let Text(path) = token { Some(path.clone()) } else { None });
            found.push((name.clone(), path));
        }
    }
    found
}

/// The names that stand right behind `crate::`, or behind as many `super::` as lead
/// from a module of this depth to the root.
fn paths(tokens: &[Token], depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Modules in this file: where each ends.
    let mut inline: Vec<usize> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        inline.retain(|end| *end > i);
        if let [Word(word), Word(_), Mark('{'), ..] = &tokens[i..]
            && word == "mod"
        {
            inline.push(i + 2 + group(&tokens[i + 2..]));
        }
        let start = if is(&tokens[i..], "crate::") {
            Some(i + 3)
        } else if is(&tokens[i..], "super::") {
            let mut end = i;
            while is(&tokens[end..], "super::") {
                end += 3;
            }
            let ups = (end - i) / 3;
            i = end - 1;
            (ups == depth + inline.len()).then_some(end)
        } else {
            None
        };
        if let Some(start) = start {
            found.extend(first_names(&tokens[start..]));
        }
        i += 1;
    }
    found
}

/// The folders of the rooms, which are their modules in `stack`.
#[expect(clippy::expect_used, reason = "a test")]
fn rooms() -> Vec<String> {
    let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stack");
    let entries = fs::read_dir(stack).expect("the folder of the rooms");
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What `stack` calls services by what they are.
const ROLES: [&str; 2] = ["DATABASE_SERVER", "HOMESERVER"];
/// Services' names that are no words besides.
const NAMES: [&str; 2] = ["postgres_db", "element-web"];

/// Whether a service is named: by its room, by what `stack` calls it, or by its name.
fn names_service(tokens: &[Token], rooms: &[String]) -> bool {
    let is_one = |name: &String| ROLES.contains(&name.as_str()) || rooms.contains(name);
    tokens.iter().enumerate().any(|(i, token)| match token {
        Text(text) => NAMES.contains(&text.as_str()),
        Word(word) if word == "stack" && is(&tokens[i + 1..], "::") => {
            first_names(&tokens[i + 3..]).iter().any(is_one)
        }
        _ => false,
    })
}

/// `a::b` begins with `a`; `{a::b, c}` with `a` and `c`.
fn first_names(tokens: &[Token]) -> Vec<String> {
    match tokens.first() {
        Some(Word(name)) => vec![name.clone()],
        Some(Mark('{')) => {
            let inside = &tokens[1..group(tokens) - 1];
            let (mut names, mut i, mut begins) = (Vec::new(), 0, true);
            while i < inside.len() {
                match &inside[i] {
                    Word(name) if begins => names.push(name.clone()),
                    Mark('{') => {
                        i += group(&inside[i..]);
                        continue;
                    }
                    _ => {}
                }
                begins = inside[i] == Mark(',');
                i += 1;
            }
            names
        }
        _ => Vec::new(),
    }
}

/// The types that are declared; associated types are none of them.
fn types(tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    // For each open block whether it is that of an `impl` or a `trait`.
    let (mut blocks, mut next) = (Vec::new(), false);
    for (i, token) in tokens.iter().enumerate() {
        let begins =
            matches!(i.checked_sub(1).map(|before| &tokens[before]), None | Some(Mark(';' | '}' | ']')));
        match token {
            Mark('{') => blocks.push(std::mem::take(&mut next)),
            Mark('}') => {
                blocks.pop();
            }
            Mark(';') => next = false,
            Word(word) => {
                let name = match tokens.get(i + 1) {
                    Some(Word(name)) => Some(name),
                    _ => None,
                };
                match (word.as_str(), name) {
                    ("impl", _) if begins => next = true,
                    ("trait", Some(name)) => {
                        next = true;
                        found.push(name.clone());
                    }
                    ("struct" | "enum" | "union", Some(name)) => found.push(name.clone()),
                    ("type", Some(name)) if blocks.last() != Some(&true) => found.push(name.clone()),
                    ("checked_string", _) if is(&tokens[i + 1..], "!(") => {
                        if let Some(Word(name)) = tokens.get(i + 3) {
                            found.push(name.clone());
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn services_are_found_by_what_they_are_called() {
    let rooms = ["redis".to_owned()];
    for (text, wanted) in [
        ("use crate::stack::{self, redis};", true),
        ("use core::{lock, stack::{Data, HOMESERVER}};", true),
        ("let id = stack::redis::ID;", true),
        ("let unit = \"element-web\";", true),
        ("use crate::redis::ping; let folder = \"redis\"; // stack::redis::ID", false),
        ("#[cfg(test)]\nmod tests { use crate::stack::redis; }", false),
        ("let all = stack::ALL;", false),
    ] {
        assert_eq!(names_service(&without_tests(&tokens(text)), &rooms), wanted, "{text}");
    }
}

#[test]
fn code_is_read_as_it_is_meant() {
    let text = "use crate::{a::{b, c}, d, e as f}; // crate::comment\n\
        const S: &str = \"crate::text { \"; const R: &str = r#\"crate::\"raw\"#; const C: char = '{'; \n\
        fn x<'a>(y: &'a str) { super::g::h(crate::i::J) }\n\
        mod in_here { use super::super::k::L; }\n\
        impl T for U { type Item = u8; }\ntype V = u8;\nstruct W;\n\
        #[cfg(test)]\nuse crate::t::{u, v};\n\
        #[cfg(test)]\nmod tests { use crate::only_tests; struct X; }\n\
        #[cfg(test)]\nmod far;\nmod near;\n#[path = \"else.rs\"]\nmod other;\n";
    let tokens = without_tests(&tokens(text));
    let names = |depth| paths(&tokens, depth).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(names(1), "a d e g i k");
    assert_eq!(names(2), "a d e i");
    assert_eq!(types(&tokens), ["V", "W"]);
    assert_eq!(files(&tokens), [("near".to_owned(), None), ("other".to_owned(), Some("else.rs".to_owned()))]);
}
