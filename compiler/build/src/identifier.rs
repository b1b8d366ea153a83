//! Identifiers of Rust for names of modules, which can be any text.

use std::collections::HashSet;

/// Words that cannot be identifiers.
const KEYWORDS: [&str; 54] = [
    "Self",
    "abstract",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "struct",
    "super",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "macro_rules",
];

/// Gives out identifiers, each once.
#[derive(Debug)]
pub(crate) struct Identifiers(HashSet<String>);

impl Identifiers {
    /// No name becomes one of the reserved identifiers.
    pub(crate) fn new(reserved: &[&str]) -> Self {
        Self(reserved.iter().map(|name| (*name).to_owned()).collect())
    }

    /// An identifier for a name: the name itself where it is one, otherwise with `_` for what
    /// cannot be in it, and a number behind it if it was given out already.
    pub(crate) fn give(&mut self, name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let mut identifier: String = name.chars().map(plain).collect();
        if identifier.chars().all(|c| c == '_') {
            identifier.push_str("unnamed");
        } else if identifier.starts_with(|c: char| c.is_ascii_digit()) {
            identifier.insert(0, '_');
        } else if KEYWORDS.contains(&&*identifier) {
            identifier.push('_');
        }
        let mut free = identifier.clone();
        let mut number = 2;
        while !self.0.insert(free.clone()) {
            free = format!("{identifier}_{number}");
            number += 1;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gets_an_identifier_of_its_own() {
        let mut identifiers = Identifiers::new(&["new", "instance"]);
        for (name, expected) in [
            ("add", "add"),
            ("add", "add_2"),
            ("getAge", "getAge"),
            ("_start", "_start"),
            ("a.b-c", "a_b_c"),
            ("a.b+c", "a_b_c_2"),
            ("1st", "_1st"),
            ("type", "type_"),
            ("self", "self_"),
            ("new", "new_2"),
            ("", "unnamed"),
            ("_", "_unnamed"),
            ("é", "_unnamed_2"),
            ("f() { evil", "f_____evil"),
        ] {
            assert_eq!(identifiers.give(name), expected, "{name:?}");
        }
    }
}
