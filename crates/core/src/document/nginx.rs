//! nginx configuration as a typed tree, and its text.
//!
//! Grammar: nginx.org, "Beginner's Guide", "Configuration File's Structure";
//! tokens as `ngx_conf_read_token` reads them.

/// One directive of an nginx configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// `name arguments;`
    Simple(&'static str, Vec<String>),
    /// `name arguments { … }`
    Block(&'static str, Vec<String>, Vec<Directive>),
}

impl Directive {
    /// `name arguments;`
    pub fn simple<const N: usize>(name: &'static str, arguments: [&str; N]) -> Self {
        Self::Simple(name, arguments.map(str::to_owned).to_vec())
    }

    /// `name arguments { … }`
    pub fn block<const N: usize>(name: &'static str, arguments: [&str; N], inside: Vec<Directive>) -> Self {
        Self::Block(name, arguments.map(str::to_owned).to_vec(), inside)
    }
}

/// The text of `directives`, below a comment.
pub fn to_string(header: &str, directives: &[Directive]) -> String {
    let mut text = format!("# {header}\n");
    for directive in directives {
        write(&mut text, directive, 0);
    }
    text
}

fn write(text: &mut String, directive: &Directive, depth: usize) {
    let indent = "    ".repeat(depth);
    let (name, arguments) = match directive {
        Directive::Simple(name, arguments) | Directive::Block(name, arguments, _) => (name, arguments),
    };
    text.push_str(&indent);
    text.push_str(name);
    for argument in arguments {
        text.push(' ');
        text.push_str(&word(argument));
    }
    match directive {
        Directive::Simple(..) => text.push_str(";\n"),
        Directive::Block(_, _, inside) => {
            text.push_str(" {\n");
            for directive in inside {
                write(text, directive, depth + 1);
            }
            text.push_str(&indent);
            text.push_str("}\n");
        }
    }
}

fn word(text: &str) -> String {
    let special = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, ';' | '{' | '}' | '"' | '\'' | '\\' | '#')
    };
    if !text.is_empty() && !text.contains(special) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        let tree = [Directive::block(
            "server",
            [],
            vec![
                Directive::simple("listen", ["8080"]),
                Directive::simple("add_header", ["X", "a 'b' \"c\"; \\d"]),
            ],
        )];
        assert_eq!(
            to_string("why", &tree),
            "# why\nserver {\n    listen 8080;\n    add_header X \"a 'b' \\\"c\\\"; \\\\d\";\n}\n"
        );
    }
}
