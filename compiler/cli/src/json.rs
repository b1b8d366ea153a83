//! JSON as all commands print it.

use std::fmt::Write;

use serde_json::Value;

/// A value in indented lines. Text in the value may come from a module, and JSON does not have to
/// escape DEL and the control characters behind it, which terminals obey. So they are escaped here.
pub(crate) fn text(value: &Value) -> String {
    let plain = format!("{value:#}\n");
    let mut text = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            // Only strings have such characters.
            '\u{7f}'..='\u{9f}' => write!(text, "\\u{:04x}", u32::from(c)).unwrap_or(()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left_but_line_breaks() {
        let all: String = ('\0'..'\u{100}').collect();
        let mut named = serde_json::Map::new();
        named.insert(all.clone(), Value::from(all));
        let value = Value::Object(named);
        let text = text(&value);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
        assert!(text.contains("\\u009b") && text.contains('\u{a0}'));
        let read: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, value);
    }
}
