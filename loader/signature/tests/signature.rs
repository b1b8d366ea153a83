//! Signed artifacts, and signatures that must not count.

use std::num::NonZero;

use precast_artifact::target::{Arch, Os};
use precast_artifact::trailer::{FileSignature, encode};
use precast_artifact::writer::ArtifactBuilder;
use precast_artifact::{Aligned, Artifact, Strategy};
use precast_signature::{Error, KeyId, SecretKey, State, TrustedKeys};

/// Bytes that records can be read from in place.
fn aligned(bytes: &[u8]) -> &'static [u8] {
    Aligned::new(bytes).leak()
}

fn parse(bytes: &[u8]) -> Artifact<'static> {
    Artifact::parse(aligned(bytes), None).expect("an artifact")
}

/// An artifact with this text.
fn artifact(text: &[u8]) -> Artifact<'static> {
    let mut parts = ArtifactBuilder::new(Arch::X86_64, Os::Linux, Strategy::Checked);
    parts.text = text.to_vec();
    parse(&parts.finish().expect("a small artifact"))
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn trusting(keys: &[&SecretKey]) -> TrustedKeys {
    TrustedKeys::new(keys.iter().map(|key| key.public()))
}

/// The file of an artifact with these signatures.
fn file(artifact: &Artifact<'_>, signatures: &[FileSignature]) -> Artifact<'static> {
    let mut bytes = artifact.bytes().to_vec();
    bytes.extend(encode(bytes.len() as u64, 4096, signatures));
    parse(&bytes)
}

fn states(found: Result<Vec<KeyId>, Error>) -> Vec<State> {
    match found {
        Err(Error::NotTrusted { found, .. }) => found.iter().map(|(_, state)| *state).collect(),
        other => panic!("expected signatures that are not trusted, found {other:?}"),
    }
}

#[test]
fn only_trusted_keys_count() {
    let plain = artifact(b"\xc3");
    let (a, b) = (key(1), key(2));
    assert_eq!(trusting(&[&a]).verify(&plain), Err(Error::NotSigned));
    let signed = parse(&a.sign_file(&plain).unwrap());
    assert_eq!(signed.bytes(), plain.bytes());
    let id = a.public().id();
    assert_eq!(trusting(&[&a]).verify(&signed), Ok(vec![id]));
    assert_eq!(trusting(&[&b, &a]).verify(&signed), Ok(vec![id]));
    assert_eq!(states(trusting(&[&b]).verify(&signed)), [State::Unknown]);
    assert_eq!(states(trusting(&[]).verify(&signed)), [State::Unknown]);
    // A signature that names another key is not checked with the key that made it.
    let renamed = FileSignature {
        key: b.sign(&plain).unwrap().key,
        ..a.sign(&plain).unwrap()
    };
    let renamed = file(&plain, &[renamed]);
    let all = trusting(&[&a, &b]);
    assert_eq!(states(all.verify(&renamed)), [State::Invalid]);
    let message = all.verify(&renamed).unwrap_err().to_string();
    let expected = format!(
        "the artifact has valid signatures of 0 trusted keys, expected 1:\n  \
         signature of key {}: not a signature of this artifact by this key",
        b.public().id()
    );
    assert_eq!(message, expected);
}

#[test]
fn every_damaged_bit_is_noticed() {
    let plain = artifact(b"\xc3");
    let secret = key(1);
    let good = secret.sign(&plain).unwrap();
    let keys = trusting(&[&secret]);
    keys.verify(&file(&plain, &[good])).unwrap();
    for bit in 0..512 {
        let mut bad = good;
        bad.signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(states(keys.verify(&file(&plain, &[bad]))), [State::Invalid]);
    }
    // The signature of another artifact.
    let other = secret.sign(&artifact(b"\x90")).unwrap();
    assert_eq!(
        states(keys.verify(&file(&plain, &[other]))),
        [State::Invalid]
    );
    // A bit of the artifact that no checksum covers: its text.
    let signed = file(&plain, &[good]);
    let mut bytes = secret.sign_file(&signed).unwrap();
    let text = 512 + signed.header().text.start as usize;
    assert_eq!(bytes[text], 0xc3);
    bytes[text] = 0xcc;
    let found = keys.verify(&parse(&bytes));
    assert!(matches!(found, Err(Error::Artifact(_))), "{found:?}");
}

#[test]
fn several_keys_can_be_required() {
    let plain = artifact(b"\xc3");
    let (a, b, c) = (key(1), key(2), key(3));
    let two = NonZero::new(2).unwrap();
    let keys = trusting(&[&a, &b, &b]).require(two);
    let by = |secrets: &[&SecretKey]| {
        let all: Vec<_> = secrets.iter().map(|s| s.sign(&plain).unwrap()).collect();
        file(&plain, &all)
    };
    let mut expected = vec![a.public().id(), b.public().id()];
    expected.sort();
    assert_eq!(keys.verify(&by(&[&c, &b, &a])), Ok(expected));
    // One key counts once, however often it signs.
    let once = states(keys.verify(&by(&[&a, &a, &c])));
    assert_eq!(once, [State::Valid, State::Valid, State::Unknown]);
}

#[test]
fn a_file_keeps_one_signature_of_each_key() {
    let plain = artifact(b"\xc3");
    let (a, b) = (key(1), key(2));
    let mut signed = parse(&a.sign_file(&plain).unwrap());
    signed = parse(&b.sign_file(&signed).unwrap());
    signed = parse(&a.sign_file(&signed).unwrap());
    let ids: Vec<KeyId> = signed
        .file_signatures()
        .unwrap()
        .iter()
        .map(KeyId::of)
        .collect();
    assert_eq!(ids, [b.public().id(), a.public().id()]);
    for number in 3..65 {
        signed = parse(&key(number).sign_file(&signed).unwrap());
    }
    assert_eq!(signed.file_signatures().unwrap().len(), 64);
    assert_eq!(key(65).sign_file(&signed), Err(Error::TooMany));
    // A key that has signed can do so again.
    a.sign_file(&signed).unwrap();
    trusting(&[&key(64)]).verify(&signed).unwrap();
}

#[test]
fn keys_survive_their_text() {
    let secret = SecretKey::generate().unwrap();
    let again = SecretKey::from_pem(&secret.to_pem()).unwrap();
    assert_eq!(again.public(), secret.public());
    assert_ne!(SecretKey::generate().unwrap().public(), secret.public());
    let shown = format!("{secret:?}");
    assert_eq!(shown, format!("SecretKey({})", secret.public().id()));
}
