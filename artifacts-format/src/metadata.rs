//! Cold metadata: what people and tools ask about an artifact. Running an artifact never reads it.
//!
//! This module is the only user of bincode. The decoder has a limit on the bytes that it may claim,
//! so hostile input takes limited memory and ends in an error. Names of functions are only in
//! `.strtab`.

use bincode::config::{self, Config};
use bincode::{Decode, Encode};

/// Maximum number of bytes that decoding may claim, including the lengths of collections.
const LIMIT: usize = 1 << 20;

/// Where an artifact comes from and how it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Metadata {
    /// What wrote the artifact, such as `precast 0.1.0`.
    pub producer: String,
    /// Target triple that the module was compiled for.
    pub target: String,
    /// Name of the module, from its name section.
    pub module_name: Option<String>,
    /// All compile settings: name and value.
    pub settings: Vec<(String, String)>,
    /// The module's producers section: field, then name and version of each value.
    pub producers: Vec<(String, Vec<(String, String)>)>,
    /// Length of the WebAssembly module in bytes.
    pub source_len: u64,
    /// BLAKE3 of the WebAssembly module.
    pub source_digest: [u8; 32],
}

/// Bytes that are not metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the artifact's metadata is damaged: {0}")]
pub struct MetadataError(String);

fn configuration() -> impl Config {
    config::standard().with_limit::<LIMIT>()
}

impl Metadata {
    /// Encodes the metadata. Texts that would make it larger than a reader accepts are dropped:
    /// `producers` first, then `module_name`.
    pub fn encode(&self) -> Vec<u8> {
        // Encoding strings and numbers into a vector cannot fail.
        let encode = |m: &Self| bincode::encode_to_vec(m, configuration()).unwrap_or_default();
        let mut fitting = self.clone();
        let mut bytes = encode(&fitting);
        if Self::decode(&bytes).is_err() {
            fitting.producers.clear();
            bytes = encode(&fitting);
        }
        if Self::decode(&bytes).is_err() {
            fitting.module_name = None;
            bytes = encode(&fitting);
        }
        bytes
    }

    /// Decodes what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`MetadataError`] for any other bytes, and for bytes that follow the metadata.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetadataError> {
        let (metadata, used) = bincode::decode_from_slice(bytes, configuration())
            .map_err(|e| MetadataError(e.to_string()))?;
        if used != bytes.len() {
            return Err(MetadataError(format!(
                "{} bytes after its end",
                bytes.len() - used
            )));
        }
        Ok(metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Metadata {
        Metadata {
            producer: "precast 0.1.0".into(),
            target: "x86_64-unknown-linux-gnu".into(),
            module_name: Some("hello".into()),
            settings: vec![("opt-level".into(), "speed".into())],
            producers: vec![("language".into(), vec![("Rust".into(), "2024".into())])],
            source_len: 1 << 40,
            source_digest: [7; 32],
        }
    }

    #[test]
    fn reads_what_was_written() {
        let metadata = sample();
        assert_eq!(Metadata::decode(&metadata.encode()), Ok(metadata));
    }

    #[test]
    fn large_texts_of_the_module_are_dropped() {
        let mut large = sample();
        large.producers[0].1[0].0 = "x".repeat(LIMIT);
        assert_eq!(
            Metadata::decode(&large.encode()),
            Ok(Metadata {
                producers: vec![],
                ..sample()
            })
        );
        large.module_name = Some("y".repeat(LIMIT));
        let expected = Metadata {
            producers: vec![],
            module_name: None,
            ..sample()
        };
        assert_eq!(Metadata::decode(&large.encode()), Ok(expected));
    }

    #[test]
    fn damaged_bytes_are_errors_or_other_metadata() {
        let good = sample().encode();
        for len in 0..good.len() {
            assert!(Metadata::decode(&good[..len]).is_err(), "{len}");
        }
        let longer = [&good[..], &[0]].concat();
        assert!(Metadata::decode(&longer).is_err());
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0x80, 251, 252, 253, 254, 255] {
                let mut bad = good.clone();
                bad[at] = byte;
                // It is enough that decoding returns and allocates no more than the limit.
                drop(Metadata::decode(&bad));
            }
        }
        // A length of 2^60 elements.
        let huge = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0x10];
        assert!(Metadata::decode(&huge).is_err());
    }
}
