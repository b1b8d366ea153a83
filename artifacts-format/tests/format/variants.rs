//! Files of several artifacts: the pieces of each make a whole artifact, the best is chosen, and
//! wrong records are errors.

use precast_artifact::variants::{MAX_PIECES, Piece, VariantRecord, choose, parse};
use precast_artifact::writer::join;
use precast_artifact::{Aligned, Artifact, Error, Host};

use crate::sample::{HOST, full};

/// The artifact of all tables, for these CPU features. The text depends on them.
fn artifact(cpu_features: u64) -> Aligned {
    with_image(cpu_features, 64 << 10)
}

/// The artifact of all tables, with an image of `image_len` bytes, which are whole pages, two at
/// least.
fn with_image(cpu_features: u64, image_len: u64) -> Aligned {
    let mut parts = full();
    parts.images[1].len = image_len - parts.images[1].offset;
    parts.images[1].guest -= parts.images[1].len;
    parts.cpu_features = cpu_features;
    parts.text.extend(cpu_features.to_le_bytes());
    Aligned::new(&parts.finish().expect("small"))
}

fn joined(features: &[u64]) -> Vec<u8> {
    let all: Vec<Aligned> = features.iter().map(|f| artifact(*f)).collect();
    let views: Vec<_> = all
        .iter()
        .map(|bytes| (Artifact::parse(bytes, None).expect("whole"), &bytes[..]))
        .collect();
    join(&views).expect("of one module")
}

fn records(file: &[u8]) -> Vec<VariantRecord> {
    let found = parse(file, file.len() as u64).expect("not damaged");
    found.expect("a file of variants")
}

fn bytes_of(file: &[u8], record: &VariantRecord) -> Aligned {
    let pieces = record.pieces().iter();
    let pieces = pieces.map(|p| &file[p.start as usize..][..p.len as usize]);
    Aligned::new(&pieces.collect::<Vec<_>>().concat())
}

#[test]
fn each_variant_is_whole_and_images_are_shared() {
    let features = [0, 0b111, 0b1];
    let file = joined(&features);
    let found = records(&file);
    let order: Vec<u64> = found.iter().map(|r| r.cpu_features).collect();
    assert_eq!(order, [0b111, 0b1, 0], "those with most features first");
    let image = Artifact::parse(&artifact(0), None).unwrap().header().image;
    assert!(image.len > 0);
    for record in &found {
        let bytes = bytes_of(&file, record);
        assert_eq!(bytes[..], artifact(record.cpu_features)[..]);
        assert_eq!(record.len(), bytes.len() as u64);
    }
    let shared = |r: &VariantRecord| r.pieces().len() == MAX_PIECES;
    assert_eq!(
        found.iter().map(shared).collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(found[1].piece[1], found[2].piece[1]);
    assert_eq!(found[1].piece[1].len, image.len);
}

#[test]
fn small_images_are_not_shared() {
    for (len, pieces) in [(8 << 10, 1), (60 << 10, 1), (64 << 10, 3), (68 << 10, 3)] {
        let all = [0, 1].map(|features| with_image(features, len));
        let views = all
            .each_ref()
            .map(|bytes| (Artifact::parse(bytes, None).expect("whole"), &bytes[..]));
        let file = join(&views).expect("of one module");
        let found = records(&file);
        assert_eq!(found[1].pieces().len(), pieces, "{len} bytes");
        assert_eq!(bytes_of(&file, &found[1])[..], all[0][..]);
    }
}

#[test]
fn the_best_that_fits_is_chosen() {
    let found = records(&joined(&[0b1, 0b11, 0b10000]));
    let on = |cpu_features| {
        let host = Host {
            cpu_features,
            ..HOST
        };
        choose(&found, &host).map(|r| r.cpu_features)
    };
    assert_eq!(on(0b111), Ok(0b11));
    assert_eq!(on(0b1), Ok(0b1));
    assert_eq!(on(0b10010), Ok(0b10000));
    let error = on(0b10).expect_err("none fits");
    assert!(matches!(error, Error::NoVariant { .. }));
    assert_eq!(
        error.to_string(),
        "the file has no variant for this host (x86_64-linux, pages of 4096 bytes, without CPU \
         features that all of its variants need); it has x86_64-linux with sse3, ssse3; \
         x86_64-linux with sse3; x86_64-linux with popcnt: compile for this host too"
    );
    let large = Host {
        page_size: 1 << 16,
        ..HOST
    };
    assert!(choose(&found, &large).is_err());
}

#[test]
fn different_modules_and_equal_targets_are_not_joined() {
    let one = artifact(1);
    let one = (Artifact::parse(&one, None).unwrap(), &one[..]);
    assert!(join(&[]).is_err());
    assert!(join(&[one, one]).is_err());
    let mut parts = full();
    parts.metadata.source_digest = [9; 32];
    let other = Aligned::new(&parts.finish().expect("small"));
    let other = (Artifact::parse(&other, None).unwrap(), &other[..]);
    assert!(join(&[one, other]).is_err());
}

/// What works on one machine must not fail on another because of its CPU.
#[test]
fn different_settings_are_not_joined() {
    let with = |cpu_features: u64, settings: &[(&str, &str)]| {
        let mut parts = full();
        parts.cpu_features = cpu_features;
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        parts.metadata.settings = settings.iter().map(owned).collect();
        Aligned::new(&parts.finish().expect("small"))
    };
    let settings = [("cpu", "baseline"), ("interruption", "epoch")];
    let one = with(0, &settings);
    let result = |other: &[(&str, &str)]| {
        let other = with(1, other);
        let views = [&one, &other].map(|bytes| (Artifact::parse(bytes, None).unwrap(), &bytes[..]));
        join(&views).map(drop).map_err(|error| error.to_string())
    };
    let expected = |what: &str| {
        Err(format!(
            "cannot join the artifacts: the setting {what} in another, and all settings but the \
             CPU must be the same"
        ))
    };
    assert_eq!(
        result(&[("interruption", "epoch"), ("cpu", "sse3")]),
        Ok(())
    );
    assert_eq!(
        result(&[("cpu", "sse3"), ("interruption", "none")]),
        expected("`interruption` is none in one and epoch")
    );
    let more = [&settings[..], &[("listeners", "true")]].concat();
    assert_eq!(
        result(&more),
        expected("`listeners` is true in one and not there")
    );
    assert_eq!(
        result(&settings[..1]),
        expected("`interruption` is not there in one and epoch")
    );
}

#[test]
fn records_that_lie_are_errors() {
    let file = joined(&[0, 1]);
    let len = file.len() as u64;
    for at in 0..file.len().min(16 + 2 * size_of::<VariantRecord>()) {
        let start = parse(&file[..at], len);
        assert_eq!(start.is_ok(), at < 8, "truncated to {at}");
        for change in [1, 0x80, 0xff] {
            let mut bad = file.clone();
            bad[at] ^= change;
            // Whatever the record says, all pieces are inside of the file.
            for record in parse(&bad, len).into_iter().flatten().flatten() {
                for Piece { start, len: piece } in record.pieces() {
                    assert!(start.checked_add(*piece).is_some_and(|end| end <= len));
                }
            }
        }
    }
    assert!(parse(&file, 8192).is_err(), "pieces behind the end");
    let error = Artifact::parse(&Aligned::new(&file), None).expect_err("not one artifact");
    assert!(error.to_string().contains("several artifacts"), "{error}");
}

#[test]
fn the_file_ends_with_its_last_variant() {
    let mut file = joined(&[0, 1]);
    let expected = file.len() as u64;
    file.push(0);
    let found = expected + 1;
    assert_eq!(
        parse(&file, found),
        Err(Error::TrailingBytes { found, expected })
    );
}
