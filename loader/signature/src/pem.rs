//! The text form of keys: PEM around the DER of RFC 8410, as OpenSSL writes it.
//!
//! Each kind of ed25519 key has one DER form of a fixed length, whose first bytes are constant. So
//! there is no parser here: the constant bytes are compared.

/// Why a text is not a key. The text itself is never shown, because it may be a secret.
///
/// ```
/// use precast_signature::{NotAKey, PublicKey};
///
/// assert_eq!(PublicKey::from_pem("ssh-ed25519 AAAA"), Err(NotAKey::NoPem));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAKey {
    /// A public key where a secret one is needed.
    #[error("found a public key; expected a secret key, `-----BEGIN PRIVATE KEY-----`")]
    Public,
    /// A secret key where a public one is needed.
    #[error("found a secret key; expected a public key, `-----BEGIN PUBLIC KEY-----`")]
    Secret,
    /// Some other text.
    #[error("found no key; expected the text that `precast key` writes, `-----BEGIN … KEY-----`")]
    NoPem,
    /// A key of another algorithm, or a damaged key.
    #[error(
        "found a damaged key or one of another kind; expected an ed25519 key, as `precast key` and \
         `openssl genpkey -algorithm ed25519` make"
    )]
    OtherKind,
    /// Bytes that are no point of the curve.
    #[error("found bytes that no public ed25519 key has; is the key damaged?")]
    NoPoint,
    /// A key with which anybody can make signatures.
    #[error("found a weak public key, with which anybody could make signatures; expected another")]
    Weak,
}

const PUBLIC: Kind = Kind {
    label: "PUBLIC KEY",
    prefix: &[
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ],
};

const SECRET: Kind = Kind {
    label: "PRIVATE KEY",
    prefix: &[
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ],
};

/// A kind of key.
struct Kind {
    /// The words between the dashes.
    label: &'static str,
    /// DER in front of the 32 bytes of the key.
    prefix: &'static [u8],
}

pub(crate) fn encode_public(key: &[u8; 32]) -> String {
    encode(&PUBLIC, key)
}

pub(crate) fn decode_public(text: &str) -> Result<[u8; 32], NotAKey> {
    decode(&PUBLIC, text, NotAKey::Secret, &SECRET)
}

#[cfg(feature = "sign")]
pub(crate) fn encode_secret(key: &[u8; 32]) -> String {
    encode(&SECRET, key)
}

#[cfg(feature = "sign")]
pub(crate) fn decode_secret(text: &str) -> Result<[u8; 32], NotAKey> {
    decode(&SECRET, text, NotAKey::Public, &PUBLIC)
}

fn encode(kind: &Kind, key: &[u8; 32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let label = kind.label;
    // Room for all of it, so that no copy of a secret is left behind by growing.
    let mut text = String::with_capacity(192);
    text += "-----BEGIN ";
    text += label;
    text += "-----\n";
    let byte = |i: usize| match i.checked_sub(kind.prefix.len()) {
        None => Some(kind.prefix[i]),
        Some(i) => key.get(i).copied(),
    };
    for group in (0..kind.prefix.len() + key.len()).step_by(3) {
        let bytes = [0, 1, 2].map(|i| byte(group + i));
        let bits = bytes
            .iter()
            .fold(0_u32, |bits, b| bits << 8 | u32::from(b.unwrap_or(0)));
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let is_padding = i > 1 && bytes[i - 1].is_none();
            let digit = char::from(DIGITS[(bits >> shift & 63) as usize]);
            text.push(if is_padding { '=' } else { digit });
        }
    }
    text += "\n-----END ";
    text += label;
    text += "-----\n";
    text
}

fn decode(kind: &Kind, text: &str, opposite: NotAKey, other: &Kind) -> Result<[u8; 32], NotAKey> {
    let is = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    let body = match between(text, kind.label) {
        Some(body) => body,
        None if is(other.label) => return Err(opposite),
        None if text.contains("-----BEGIN ") => return Err(NotAKey::OtherKind),
        None => return Err(NotAKey::NoPem),
    };
    let len = kind.prefix.len() + 32;
    let mut digits = body.bytes().filter(|b| !b.is_ascii_whitespace());
    let mut key = [0; 32];
    let (mut bits, mut held, mut at) = (0_u32, 0, 0);
    // Each byte takes eight bits, and the last digit's unused bits are zero.
    while at < len {
        if held < 8 {
            let digit = digits.next().and_then(value).ok_or(NotAKey::OtherKind)?;
            bits = bits << 6 | digit;
            held += 6;
            continue;
        }
        held -= 8;
        let byte = (bits >> held) as u8;
        bits &= (1 << held) - 1;
        match at.checked_sub(kind.prefix.len()) {
            None if byte != kind.prefix[at] => return Err(NotAKey::OtherKind),
            None => {}
            Some(i) => key[i] = byte,
        }
        at += 1;
    }
    let padding = (3 - len % 3) % 3;
    if bits != 0 || !digits.eq(core::iter::repeat_n(b'=', padding)) {
        return Err(NotAKey::OtherKind);
    }
    Ok(key)
}

/// The text between the first line and the last line of a key, which must be all there is.
fn between<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let text = text.trim().strip_prefix("-----BEGIN ")?;
    let text = text.strip_prefix(label)?.strip_prefix("-----")?;
    let text = text.strip_suffix("-----")?.strip_suffix(label)?;
    text.strip_suffix("-----END ")
}

/// The value of a digit of base 64.
fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of RFC 8410, 10.1 and 10.3.
    const RFC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn reads_and_writes_the_key_of_the_rfc() {
        let key = decode_public(RFC_PUBLIC).unwrap();
        assert_eq!(key[..4], [0x19, 0xbf, 0x44, 0x09]);
        assert_eq!(encode_public(&key), RFC_PUBLIC);
        let windows = RFC_PUBLIC.replace('\n', "\r\n");
        assert_eq!(decode_public(&windows), Ok(key));
    }

    #[cfg(feature = "sign")]
    #[test]
    fn reads_and_writes_the_secret_key_of_the_rfc() {
        let text = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let key = decode_secret(text).unwrap();
        assert_eq!(key[..4], [0xd4, 0xee, 0x72, 0xdb]);
        assert_eq!(encode_secret(&key), text);
        assert_eq!(decode_secret(RFC_PUBLIC), Err(NotAKey::Public));
        assert_eq!(decode_public(text), Err(NotAKey::Secret));
    }

    #[test]
    fn other_texts_are_errors() {
        let changed = |from: &str, to: &str| decode_public(&RFC_PUBLIC.replacen(from, to, 1));
        assert_eq!(decode_public(""), Err(NotAKey::NoPem));
        assert_eq!(decode_public("19bf4409"), Err(NotAKey::NoPem));
        assert_eq!(changed("PUBLIC", "RSA PUBLIC"), Err(NotAKey::OtherKind));
        for (from, to) in [
            ("MCow", "MCox"),
            ("MCow", "MCo"),
            ("MCow", "MC-w"),
            ("ZuE=", "ZuE"),
            ("ZuE=", "ZuE=="),
            ("ZuE=", "ZuEA"),
            // The last digit has two bits that no byte has.
            ("ZuE=", "ZuF="),
            ("-----END PUBLIC", "-----END PRIVATE"),
            ("KEY-----\nMC", "KEY-----\nx\nMC"),
        ] {
            assert_eq!(changed(from, to), Err(NotAKey::OtherKind), "{from} {to}");
        }
        let twice = [RFC_PUBLIC, RFC_PUBLIC].concat();
        assert_eq!(decode_public(&twice), Err(NotAKey::OtherKind));
    }
}
