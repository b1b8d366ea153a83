//! Executables: a runner (loader and WASI, without a program) with an artifact as one more segment.
//!
//! ```text
//!   file:    | runner's segments, with the payload record | artifact | options | names |
//!   memory:  |            as linked            | (free)   | artifact | options |
//! ```
//!
//! The system maps the artifact together with the runner, so starting opens no file for code. The
//! runner finds the artifact through the [`PayloadRecord`], which is a constant of the runner: in a
//! section of its own. `precast_object::executable` looks for that section and fills the record in.
//!
//! [`PAYLOAD_VERSION`] counts changes of the record and of the options.
//! `precast_object::executable` writes executables; `precast_runner` reads them.

use bytemuck::{Pod, Zeroable};

/// The section of the runner that holds the record.
pub const PAYLOAD_SECTION: &str = ".precast.payload";

/// Starts every record.
pub const PAYLOAD_MAGIC: [u8; 8] = *b"precast\x7f";

/// Version of the record and of the options.
pub const PAYLOAD_VERSION: u32 = 1;

/// Where the program of an executable is: a constant of the runner that is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PayloadRecord {
    /// [`PAYLOAD_MAGIC`].
    pub magic: [u8; 8],
    /// [`PAYLOAD_VERSION`].
    pub version: u32,
    /// [`Arch`](crate::target::Arch) of the runner.
    pub arch: u32,
    /// [`FORMAT`](crate::FORMAT) of artifacts that the runner reads.
    pub format: u32,
    /// [`ABI`](crate::ABI) of code that the runner runs.
    pub abi: u32,
    /// Distance in memory from the record to the artifact, in bytes; zero in a runner without one.
    pub artifact: u64,
    /// Bytes of the artifact.
    pub artifact_len: u64,
    /// Distance in memory from the record to the options, in bytes.
    pub options: u64,
    /// Bytes of the options.
    pub options_len: u64,
}

impl PayloadRecord {
    /// The record of a runner without a program.
    pub const fn empty(arch: u32) -> Self {
        Self {
            magic: PAYLOAD_MAGIC,
            version: PAYLOAD_VERSION,
            arch,
            format: crate::FORMAT,
            abi: crate::ABI,
            artifact: 0,
            artifact_len: 0,
            options: 0,
            options_len: 0,
        }
    }
}

/// What the guest gets in addition to what the system gives the executable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The guest's own name; if `None`, the name with which the executable was started.
    pub argv0: Option<String>,
    /// Arguments in front of those that the executable is started with.
    pub args: Vec<String>,
    /// Environment variables: `NAME=VALUE`, or `NAME` to pass on the executable's variable.
    pub env: Vec<String>,
    /// Directories.
    pub dirs: Vec<Directory>,
}

/// A directory for the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The host's path. A relative path starts at the working directory of the executable.
    pub host: String,
    /// The guest's path.
    pub guest: String,
    /// Whether the guest can only read.
    pub read_only: bool,
}

/// Kinds of texts in the encoded options.
mod tag {
    pub(super) const ARGV0: u8 = 0;
    pub(super) const ARG: u8 = 1;
    pub(super) const ENV: u8 = 2;
    /// The host's path of a directory; the guest's path follows as [`GUEST`] or
    /// [`READ_ONLY_GUEST`].
    pub(super) const HOST: u8 = 3;
    pub(super) const GUEST: u8 = 4;
    pub(super) const READ_ONLY_GUEST: u8 = 5;
}

impl Options {
    /// The options as bytes: texts, each with its kind and its length in front.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut text = |tag: u8, text: &str| {
            bytes.push(tag);
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        if let Some(argv0) = &self.argv0 {
            text(tag::ARGV0, argv0);
        }
        for arg in &self.args {
            text(tag::ARG, arg);
        }
        for env in &self.env {
            text(tag::ENV, env);
        }
        for dir in &self.dirs {
            text(tag::HOST, &dir.host);
            let guest = match dir.read_only {
                true => tag::READ_ONLY_GUEST,
                false => tag::GUEST,
            };
            text(guest, &dir.guest);
        }
        bytes
    }

    /// Reads what [`Options::encode`] wrote. `None` for anything else.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        let mut host = None;
        while let Some((tag, rest)) = bytes.split_first() {
            let (len, rest) = rest.split_first_chunk()?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            bytes = rest;
            let text = core::str::from_utf8(text).ok()?.to_owned();
            match *tag {
                tag::ARGV0 => options.argv0 = Some(text),
                tag::ARG => options.args.push(text),
                tag::ENV => options.env.push(text),
                tag::HOST => host = Some(text),
                tag::GUEST | tag::READ_ONLY_GUEST => options.dirs.push(Directory {
                    host: host.take()?,
                    guest: text,
                    read_only: *tag == tag::READ_ONLY_GUEST,
                }),
                _ => return None,
            }
        }
        host.is_none().then_some(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back() {
        let options = Options {
            argv0: Some("app".to_owned()),
            args: vec!["-c".to_owned(), String::new()],
            env: vec!["LANG=C".to_owned(), "HOME".to_owned()],
            dirs: vec![
                Directory {
                    host: ".".to_owned(),
                    guest: "/".to_owned(),
                    read_only: true,
                },
                Directory {
                    host: "/tmp".to_owned(),
                    guest: "/tmp".to_owned(),
                    read_only: false,
                },
            ],
        };
        let bytes = options.encode();
        assert_eq!(Options::decode(&bytes), Some(options));
        assert_eq!(Options::decode(&[]), Some(Options::default()));
        // Truncated bytes are refused, or are valid options with fewer texts.
        for len in 0..bytes.len() {
            if let Some(shorter) = Options::decode(&bytes[..len]) {
                assert_eq!(shorter.encode(), bytes[..len], "{len}");
            }
        }
        for tag in [6, 255] {
            assert_eq!(Options::decode(&[tag, 0, 0, 0, 0]), None);
        }
        assert_eq!(Options::decode(&[tag::GUEST, 0, 0, 0, 0]), None, "no host");
        assert_eq!(
            Options::decode(&[tag::ARG, 1, 0, 0, 0, 0xff]),
            None,
            "no text"
        );
    }
}
