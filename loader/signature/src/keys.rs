//! Public keys, and their ids.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use precast_artifact::reader::hex;
use precast_artifact::trailer::{FileSignature, message};

use crate::pem::{self, NotAKey};

/// The name of a public key: the first 16 bytes of its BLAKE3 hash, and as text 32 hexadecimal
/// digits. It says which key made a signature, and proves nothing.
///
/// ```
/// use precast_signature::{NotAKey, PublicKey};
///
/// let key = PublicKey::from_pem(
///     "-----BEGIN PUBLIC KEY-----\n\
///      MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
///      -----END PUBLIC KEY-----\n",
/// )?;
/// assert_eq!(key.id().to_string(), "b78f6b3770eaececab0944c1ace27496");
/// # Ok::<(), NotAKey>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; 16]);

impl KeyId {
    /// The id in a signature's record.
    pub fn of(signature: &FileSignature) -> Self {
        Self(signature.key)
    }

    pub(crate) fn of_key(key: &[u8; 32]) -> Self {
        let hash: [u8; 32] = blake3::hash(key).into();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A public key, with which signatures are checked.
///
/// ```
/// use precast_signature::{NotAKey, PublicKey};
///
/// fn copy(key: &PublicKey) -> Result<PublicKey, NotAKey> {
///     PublicKey::from_pem(&key.to_pem())
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key from text: PEM (RFC 7468) with a `SubjectPublicKeyInfo` of ed25519 (RFC
    /// 8410), as `precast key` and `openssl pkey -pubout` write it.
    ///
    /// # Errors
    /// [`NotAKey`] for anything else, also for keys with which anybody could make signatures.
    pub fn from_pem(text: &str) -> Result<Self, NotAKey> {
        Self::from_bytes(&pem::decode_public(text)?)
    }

    /// The public key with these bytes, of RFC 8032.
    ///
    /// # Errors
    /// [`NotAKey`] if the bytes are no point of the curve, or a key with which anybody could make
    /// signatures.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, NotAKey> {
        match VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            Ok(_) => Err(NotAKey::Weak),
            Err(_) => Err(NotAKey::NoPoint),
        }
    }

    /// The key's text form, which [`from_pem`](Self::from_pem) reads.
    pub fn to_pem(&self) -> String {
        pem::encode_public(self.0.as_bytes())
    }

    /// The bytes of the key, of RFC 8032.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key's name.
    pub fn id(&self) -> KeyId {
        KeyId::of_key(self.0.as_bytes())
    }

    /// Whether this key signed the artifact with this digest.
    pub(crate) fn has_signed(&self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        // The strict check refuses what RFC 8032 leaves open: other forms of a signature, and
        // points of small order.
        self.0.verify_strict(&message(digest), &signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

#[cfg(feature = "sign")]
impl From<VerifyingKey> for PublicKey {
    fn from(key: VerifyingKey) -> Self {
        Self(key)
    }
}

#[cfg(all(test, feature = "sign"))]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digit = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
        assert_eq!(hex.len(), 2 * N);
        core::array::from_fn(digit)
    }

    /// The tests 1, 2 and 3 of RFC 8032, 7.1: seed, public key, message, signature.
    const RFC: [[&str; 4]; 3] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
    ];

    #[test]
    fn the_vectors_of_the_rfc() {
        for [seed, public, message, signature] in RFC {
            let secret = SigningKey::from_bytes(&bytes(seed));
            let key = PublicKey::from_bytes(&bytes(public)).unwrap();
            assert_eq!(PublicKey::from(secret.verifying_key()), key);
            let message: Vec<u8> = (0..message.len() / 2)
                .map(|i| u8::from_str_radix(&message[2 * i..2 * i + 2], 16).unwrap())
                .collect();
            let signature = bytes::<64>(signature);
            assert_eq!(secret.sign(&message).to_bytes(), signature);
            let found = key
                .0
                .verify_strict(&message, &Signature::from_bytes(&signature));
            found.unwrap();
        }
    }

    /// Adds the order of the group to the second half of a signature: the same number for code that
    /// does not check the range.
    fn with_another_form(signature: &[u8; 64]) -> [u8; 64] {
        let order: [u8; 32] =
            bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut other = *signature;
        let mut carry = 0;
        for (byte, add) in other[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(carry, 0, "still 32 bytes");
        other
    }

    #[test]
    fn a_signature_has_one_form() {
        let secret = SigningKey::from_bytes(&[7; 32]);
        let key = PublicKey::from(secret.verifying_key());
        for n in 0..50 {
            let digest = [n; 32];
            let good = secret.sign(&message(&digest)).to_bytes();
            assert!(key.has_signed(&digest, &good));
            assert!(!key.has_signed(&[n + 1; 32], &good));
            assert!(!key.has_signed(&digest, &with_another_form(&good)));
            // The sign bits of both points of the curve.
            for at in 0..64 {
                let mut bad = good;
                bad[at] ^= 0x80;
                assert!(!key.has_signed(&digest, &bad), "{at}");
            }
        }
        // A signature of the digest without the text in front is not valid.
        let other = secret.sign(&[1; 32]).to_bytes();
        assert!(!key.has_signed(&[1; 32], &other));
    }

    /// The points of small order in their canonical forms, and some in other forms. For the first
    /// ones, a signature of zeros would be valid for one message in eight or more.
    const WEAK: [&str; 8] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];

    #[test]
    fn weak_and_impossible_keys_are_refused() {
        for key in WEAK {
            assert_eq!(PublicKey::from_bytes(&bytes(key)), Err(NotAKey::Weak));
        }
        assert_eq!(PublicKey::from_bytes(&[2; 32]), Err(NotAKey::NoPoint));
        // A signature whose first half is a point of small order is refused, whoever made it.
        let key = PublicKey::from_bytes(&bytes(RFC[0][1])).unwrap();
        for point in WEAK {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&bytes::<32>(point));
            assert!(!key.has_signed(&[0; 32], &signature));
        }
    }
}
