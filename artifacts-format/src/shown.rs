//! Escapes text that comes from modules before people see it.
//!
//! The author of a module chooses its names, which may hold escape sequences that a terminal obeys,
//! line breaks that forge lines of a backtrace, and marks that change the direction of the text
//! after them. This module has the only rule for such text, which is applied wherever the text gets
//! into a message, a listing or a log. What programs read (names of frames and exports, symbols) is
//! not escaped, and JSON escapes by its own rules.

use core::fmt::{self, Write};

/// Text whose [`Display`](fmt::Display) is harmless.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    text: &'a str,
    /// Whether line breaks and tabs stay.
    has_lines: bool,
}

/// Escapes `text`: each character that does not show as itself is written as `\u{…}`. These are
/// control characters, line breaks, marks of direction and invisible characters.
///
/// ```
/// let name = precast_artifact::shown("f\u{1b}[2J\n");
/// assert_eq!(name.to_string(), "f\\u{1b}[2J\\u{a}");
/// ```
pub const fn shown(text: &str) -> Shown<'_> {
    Shown {
        text,
        has_lines: false,
    }
}

/// Escapes a message of several lines like [`shown()`], except for its line breaks and tabs. This
/// is for messages that quote the lines of a file.
///
/// ```
/// let message = precast_artifact::shown_lines("line 1:\n\tf\u{1b}[2J");
/// assert_eq!(message.to_string(), "line 1:\n\tf\\u{1b}[2J");
/// ```
pub const fn shown_lines(text: &str) -> Shown<'_> {
    Shown {
        text,
        has_lines: true,
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            let is_layout = self.has_lines && matches!(c, '\n' | '\t');
            match is_layout || is_harmless(c) {
                true => f.write_char(c)?,
                false => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        Ok(())
    }
}

fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_does_not_show_as_itself_is_written_out() {
        for (text, expected) in [
            ("", ""),
            (
                "_ZN4core3fmt9Formatter3pad17h0E",
                "_ZN4core3fmt9Formatter3pad17h0E",
            ),
            (
                "naïve 名前 λ 🦀 <a, b>::c$1 \\n",
                "naïve 名前 λ 🦀 <a, b>::c$1 \\n",
            ),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{9b}31mred", "\\u{9b}31mred"),
            ("a\nb\r\tc\0\u{7f}", "a\\u{a}b\\u{d}\\u{9}c\\u{0}\\u{7f}"),
            (
                "a\u{202e}b\u{2066}c\u{200f}d",
                "a\\u{202e}b\\u{2066}c\\u{200f}d",
            ),
            ("a\u{2028}b\u{85}c\u{feff}", "a\\u{2028}b\\u{85}c\\u{feff}"),
            ("a\u{200b}b\u{e0041}", "a\\u{200b}b\\u{e0041}"),
        ] {
            assert_eq!(shown(text).to_string(), expected);
        }
    }
}
