//! Arguments and environment variables.

/// Strings in the form that guests expect: one after the other, each followed by a NUL byte.
#[derive(Default)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Strings {
    /// Adds one string, which is the concatenation of the parts.
    pub(super) fn push(&mut self, parts: &[&str]) {
        self.starts.push(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.bytes.push(0);
    }

    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The offset in the bytes where each string starts.
    pub(crate) fn starts(&self) -> &[usize] {
        &self.starts
    }
}
