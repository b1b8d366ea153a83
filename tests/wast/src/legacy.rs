//! The older form of exception handling in scripts.
//!
//! The parser of scripts reads `try … catch … end` as a sequence of instructions. It does not read
//! the folded form `(try (do …) (catch …))` of the official scripts. [`unfold`] rewrites whole
//! functions with that form to sequences of instructions. Directives stay on their lines.

use std::borrow::Cow;

/// A piece of the text.
#[derive(Debug)]
enum Item<'a> {
    /// A word, a string or other text between parentheses and spaces, without comments, and its
    /// line.
    Atom(&'a str, usize),
    /// The items between two parentheses, and the line of the first parenthesis.
    List(Vec<Item<'a>>, usize),
}

/// Rewrites the folded instructions of functions that contain a folded `try`.
pub(crate) fn unfold(text: &str) -> Cow<'_, str> {
    if !text.contains("(do") || !text.contains("(try") {
        return Cow::Borrowed(text);
    }
    let mut tokens = tokens(text).into_iter().peekable();
    let mut out = Output::default();
    while let Some(item) = item(&mut tokens) {
        out.item(&item);
    }
    Cow::Owned(out.text)
}

/// The words, strings and parentheses of a text with their lines. Comments are left out.
fn tokens(text: &str) -> Vec<(&str, usize)> {
    let bytes = text.as_bytes();
    let (mut tokens, mut line, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let start = at;
        let (first, begun) = (bytes[at], line);
        match first {
            b'\n' => (line, at) = (line + 1, at + 1),
            b' ' | b'\t' | b'\r' => at += 1,
            b';' => at += bytes[at..].iter().take_while(|b| **b != b'\n').count(),
            b'(' if bytes[at..].starts_with(b"(;") => {
                let end = text[at..]
                    .find(";)")
                    .map_or(bytes.len(), |len| at + len + 2);
                line += text[at..end].matches('\n').count();
                at = end;
            }
            b'(' | b')' => {
                at += 1;
                tokens.push((&text[start..at], begun));
            }
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(bytes.len());
                tokens.push((&text[start..at], begun));
            }
            _ => {
                let is_end = |b: &u8| b" \t\r\n();\"".contains(b);
                at += bytes[at..].iter().take_while(|b| !is_end(b)).count();
                tokens.push((&text[start..at], begun));
            }
        }
    }
    tokens
}

type Tokens<'a> = std::iter::Peekable<std::vec::IntoIter<(&'a str, usize)>>;

fn item<'a>(tokens: &mut Tokens<'a>) -> Option<Item<'a>> {
    let (text, line) = tokens.next()?;
    if text != "(" {
        return Some(Item::Atom(text, line));
    }
    let mut items = Vec::new();
    while tokens.next_if(|(text, _)| *text == ")").is_none() {
        let Some(inner) = item(tokens) else { break };
        items.push(inner);
    }
    Some(Item::List(items, line))
}

impl Item<'_> {
    /// The first word of a list.
    fn head(&self) -> &str {
        match self {
            Self::List(items, _) => match items.first() {
                Some(Self::Atom(head, _)) => head,
                _ => "",
            },
            Self::Atom(..) => "",
        }
    }

    fn is(&self, heads: &[&str]) -> bool {
        heads.contains(&self.head())
    }
}

/// The lists that are parts of an instruction or a function and are not instructions.
const TYPES: &[&str] = &["type", "param", "result"];

#[derive(Default)]
struct Output {
    text: String,
    line: usize,
}

impl Output {
    fn word(&mut self, text: &str, line: usize) {
        while self.line < line {
            self.text.push('\n');
            self.line += 1;
        }
        self.text.push_str(text);
        self.text.push(' ');
        self.line += text.matches('\n').count();
    }

    fn item(&mut self, item: &Item<'_>) {
        match item {
            Item::Atom(text, line) => self.word(text, *line),
            Item::List(items, line) => {
                self.word("(", *line);
                let unfolds = item.head() == "func";
                for inner in items {
                    let is_header = inner.is(TYPES) || inner.is(&["local", "export", "import"]);
                    if unfolds && matches!(inner, Item::List(..)) && !is_header {
                        self.instruction(inner);
                    } else {
                        self.item(inner);
                    }
                }
                self.word(")", *line);
            }
        }
    }

    fn sequence(&mut self, items: &[Item<'_>]) {
        for item in items {
            self.instruction(item);
        }
    }

    fn instruction(&mut self, item: &Item<'_>) {
        let Item::List(items, line) = item else {
            return self.item(item);
        };
        let line = *line;
        let is_immediate = |item: &&Item<'_>| matches!(item, Item::Atom(..)) || item.is(TYPES);
        let immediates = items.iter().take_while(is_immediate).count();
        let (own, rest) = items.split_at(immediates);
        let own = |out: &mut Self| own.iter().for_each(|item| out.item(item));
        match item.head() {
            "block" | "loop" | "try_table" => {
                own(self);
                // A label and a type, followed by instructions that are not folded.
                self.sequence(rest);
                self.word("end", line);
            }
            "if" => {
                let arms = rest.iter().position(|i| i.is(&["then", "else"]));
                let (condition, arms) = rest.split_at(arms.unwrap_or(rest.len()));
                self.sequence(condition);
                own(self);
                for arm in arms {
                    if arm.is(&["else"]) {
                        self.word("else", line);
                    }
                    self.inside(arm, 1);
                }
                self.word("end", line);
            }
            "try" => {
                own(self);
                let mut is_delegated = false;
                for part in rest {
                    match part.head() {
                        "do" => self.inside(part, 1),
                        "catch" => {
                            self.start(part, 2);
                            self.inside(part, 2);
                        }
                        "catch_all" => {
                            self.start(part, 1);
                            self.inside(part, 1);
                        }
                        _ => {
                            is_delegated = true;
                            self.start(part, 2);
                        }
                    }
                }
                if !is_delegated {
                    self.word("end", line);
                }
            }
            _ => {
                self.sequence(rest);
                own(self);
            }
        }
    }

    /// Writes the first items of a list.
    fn start(&mut self, list: &Item<'_>, count: usize) {
        if let Item::List(items, _) = list {
            items.iter().take(count).for_each(|item| self.item(item));
        }
    }

    /// Writes all items of a list after the first ones. These are instructions.
    fn inside(&mut self, list: &Item<'_>, skipped: usize) {
        if let Item::List(items, _) = list {
            self.sequence(items.get(skipped..).unwrap_or(&[]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfolds_functions_and_nothing_else() {
        let text = "(module\n(tag $e)\n(func $f (result i32)\n (try (result i32) (do (throw $e))\n \
                    (catch $e (i32.add (i32.const 1) (i32.const 2))))))\n(assert_return (invoke \"f\"))";
        let found = unfold(text);
        let words: Vec<_> = found.split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "( module ( tag $e ) ( func $f ( result i32 ) try ( result i32 ) throw $e catch $e \
             i32.const 1 i32.const 2 i32.add end ) ) ( assert_return ( invoke \"f\" ) )"
        );
        assert_eq!(found.lines().count(), 6);
        assert!(found.lines().last().unwrap().contains("assert_return"));
        assert!(matches!(unfold("(module)"), Cow::Borrowed(_)));
    }
}
