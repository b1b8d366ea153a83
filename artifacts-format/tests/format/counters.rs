//! Counters and the order of functions: they are found where they are, and damaged ones are errors
//! or nothing.

use precast_artifact::counters::{self, CountersRecord};
use precast_artifact::profile::{Profile, Target};
use precast_artifact::{Aligned, Artifact, Error};

use crate::sample::full;

/// The sample with counters of two places and one site, from the end of its VM context on.
fn with_counters(change: impl FnOnce(&mut CountersRecord, &mut Vec<u32>)) -> Aligned {
    let mut b = full();
    let vm_offset = b.vm.size;
    b.vm.size += 32;
    let encoded = counters::encode([9; 32], vm_offset, &[10, 20], &[15]);
    let (record, offsets) = encoded.split_at(size_of::<CountersRecord>());
    let mut record: CountersRecord = bytemuck::pod_read_unaligned(record);
    let mut offsets: Vec<u32> = offsets
        .as_chunks::<4>()
        .0
        .iter()
        .map(|offset| u32::from_le_bytes(*offset))
        .collect();
    change(&mut record, &mut offsets);
    b.counters = [bytemuck::bytes_of(&record), bytemuck::cast_slice(&offsets)].concat();
    Aligned::new(&b.finish().expect("small enough"))
}

#[test]
fn counters_make_profiles() {
    let bytes = with_counters(|_, _| ());
    let artifact = Artifact::parse(&bytes, None).unwrap();
    let counters = artifact.counters().unwrap().expect("there are some");
    let end = counters.vm_offset() as usize + 8 * counters.words();
    assert_eq!(end, artifact.header().vm.size as usize);
    let target = Target { index: 4, votes: 3 };
    let expected = Profile::of([9; 32], [(10, 5), (20, 6)], [(15, target)]);
    assert_eq!(counters.profile(&[5, 6, 4, 3]), expected);
    // Missing and additional words do no harm.
    let expected = Profile::of([9; 32], [(10, 5)], []);
    assert_eq!(counters.profile(&[5, 0, 4]), expected);
    assert_eq!(counters.profile(&[]), Profile::new([9; 32]));
    assert_eq!(counters.profile(&[5, 0, 0, 0, 9, 9, 9]), expected);
    let plain = Aligned::new(&full().finish().expect("small enough"));
    let artifact = Artifact::parse(&plain, None).unwrap();
    assert!(artifact.counters().unwrap().is_none());
}

#[test]
fn damaged_counters_are_errors() {
    type Change = fn(&mut CountersRecord, &mut Vec<u32>);
    let changes: [Change; 9] = [
        |record, _| record.vm_offset += 8,
        |record, _| record.vm_offset += 4,
        |record, _| record.vm_offset = 16,
        |record, _| record.vm_offset = u32::MAX - 7,
        |record, _| record.places += 1,
        |record, _| (record.places, record.sites) = (u32::MAX, u32::MAX),
        |record, _| record.reserved = 1,
        |_, offsets| offsets.push(30),
        |_, offsets| offsets.clear(),
    ];
    for change in changes {
        let bytes = with_counters(change);
        let artifact = Artifact::parse(&bytes, None).unwrap();
        let error = artifact.counters().unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    let mut b = full();
    b.counters = vec![1; 47];
    let bytes = Aligned::new(&b.finish().expect("small enough"));
    let artifact = Artifact::parse(&bytes, None).unwrap();
    assert!(artifact.counters().is_err());
}

#[test]
fn functions_are_found_in_the_order_of_their_code() {
    let mut b = full();
    let (first, second) = b.functions.split_at_mut(1);
    std::mem::swap(&mut first[0].text_offset, &mut second[0].text_offset);
    std::mem::swap(&mut first[0].text_len, &mut second[0].text_len);
    let mut bytes = Aligned::new(&b.finish().expect("small enough"));
    let artifact = Artifact::parse(&bytes, None).unwrap();
    assert_eq!(artifact.order(), [1, 0]);
    let function = |at| artifact.function_at(at).map(|(i, _)| i);
    assert_eq!(
        [function(0), function(3), function(4)],
        [Some(1), Some(1), None]
    );
    assert_eq!(
        [function(16), function(17), function(18)],
        [Some(0), Some(0), None]
    );
    // The order is not covered by the checksum, and may say anything.
    let start = (artifact.header().order.start as usize) + precast_artifact::HEADER_OFFSET;
    for order in [[0, 0], [0, 1], [1, 1], [7, u32::MAX], [1, 9], [u32::MAX, 0]] {
        let place = &mut bytes[start..start + 8];
        place.copy_from_slice(bytemuck::cast_slice(&order));
        let artifact = Artifact::parse(&bytes, None).unwrap();
        for at in 0..48 {
            // What is found has the code.
            if let Some((_, function)) = artifact.function_at(at) {
                let end = function.text_offset + function.text_len;
                assert!((function.text_offset..end).contains(&at));
            }
        }
    }
}
