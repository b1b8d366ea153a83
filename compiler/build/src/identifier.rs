//! Rust identifiers for names in modules, which can be any text.

use std::collections::HashMap;

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

/// Gives each name an identifier of its own. The map has the identifiers that are in use, each with
/// the number that the next name with the same identifier gets. A module may have any number of
/// such names, so counting from the start each time would take too long.
#[derive(Debug)]
pub(crate) struct Identifiers(HashMap<String, usize>);

impl Identifiers {
    /// Makes a map in which no name gets one of the reserved identifiers.
    pub(crate) fn new(reserved: &[&str]) -> Self {
        let reserved = reserved.iter().map(|name| ((*name).to_owned(), 2));
        Self(reserved.collect())
    }

    /// An identifier for a name: the name itself, with `_` in place of characters that an
    /// identifier cannot have, and with a number behind it if the identifier is in use already.
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
        let Some(mut number) = self.0.get(&identifier).copied() else {
            self.0.insert(identifier.clone(), 2);
            return identifier;
        };
        // Another name of the module may be this identifier with a number.
        let free = loop {
            let free = format!("{identifier}_{number}");
            number += 1;
            if !self.0.contains_key(&free) {
                break free;
            }
        };
        self.0.insert(identifier, number);
        self.0.insert(free.clone(), 2);
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

    #[test]
    fn names_that_look_like_given_identifiers_are_others() {
        let mut identifiers = Identifiers::new(&[]);
        let names = ["a_2", "a_3", "a", "a", "a", "a_2", "a_2_2", "a_4"];
        let given = names.map(|name| identifiers.give(name));
        let expected = ["a_2", "a_3", "a", "a_4", "a_5", "a_2_2", "a_2_2_2", "a_4_2"];
        assert_eq!(given, expected);
    }

    /// Counting from 2 for each name would take 20,000,000,000 steps.
    #[test]
    fn many_names_of_one_identifier_take_little_time() {
        let mut identifiers = Identifiers::new(&[]);
        for _ in 0..199_999 {
            identifiers.give("+");
        }
        assert_eq!(identifiers.give("-"), "_unnamed_200000");
    }
}
