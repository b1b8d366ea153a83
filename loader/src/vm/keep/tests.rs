use super::*;

const HOLE: usize = SHORT_HOLE;

/// Scores of `pages` pages, of which these were written.
fn scores(pages: usize, written: &[usize]) -> Vec<u8> {
    let mut scores = vec![0; pages];
    written.iter().for_each(|page| scores[*page] = 1);
    scores
}

/// The plan's pages, as ranges that go together whatever they are filled from: first, one past the
/// last.
fn kept(plan: &Plan) -> Vec<(usize, usize)> {
    let size = page_size();
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for run in &plan.runs {
        let (first, end) = (run.start / size, run.end / size);
        match kept.last_mut().filter(|last| last.1 == first) {
            Some(last) => last.1 = end,
            None => kept.push((first, end)),
        }
    }
    kept
}

#[test]
fn short_holes_are_kept_and_long_ones_are_not() {
    let all = usize::MAX;
    let of = |pages, written: &[usize]| kept(&plan(&scores(pages, written), &[], all, false));
    assert_eq!(of(100, &[50]), [(50, 51)]);
    // At the start, between, at the end: at the bound and one past it.
    assert_eq!(of(100, &[HOLE - 1, 50]), [(0, HOLE), (50, 51)]);
    assert_eq!(of(100, &[HOLE, 50]), [(HOLE, HOLE + 1), (50, 51)]);
    assert_eq!(of(100, &[30, 30 + HOLE]), [(30, 31 + HOLE)]);
    assert_eq!(
        of(100, &[30, 31 + HOLE]),
        [(30, 31), (31 + HOLE, 32 + HOLE)]
    );
    assert_eq!(of(100, &[50, 100 - HOLE]), [(50, 51), (100 - HOLE, 100)]);
    assert_eq!(
        of(100, &[50, 99 - HOLE]),
        [(50, 51), (99 - HOLE, 100 - HOLE)]
    );
    assert_eq!(of(3, &[1]), [(0, 3)]);
    let every: Vec<usize> = (0..64).collect();
    assert_eq!(of(64, &every), [(0, 64)]);
}

/// Where the system can tell what was written, several holes are not discarded one by one, and no
/// hole is kept.
#[test]
fn the_system_is_asked_from_several_holes_on() {
    let of = |pages, written: &[usize]| {
        let plan = plan(&scores(pages, written), &[], usize::MAX, true);
        (plan.scans, kept(&plan))
    };
    // Holes before, between and behind; the one behind always counts.
    assert_eq!(
        of(100, &[0, 20, 40]),
        (false, vec![(0, 1), (20, 21), (40, 41)])
    );
    let four = vec![(1, 2), (20, 21), (40, 41)];
    assert_eq!(of(100, &[1, 20, 40]), (true, four));
    let apart: Vec<usize> = (0..4).map(|i| 2 * i).collect();
    assert_eq!(
        of(100, &apart),
        (true, vec![(0, 1), (2, 3), (4, 5), (6, 7)])
    );
    assert_eq!(of(100, &apart[..3]), (false, vec![(0, 5)]));
    let every: Vec<usize> = (0..64).collect();
    assert_eq!(of(64, &every), (false, vec![(0, 64)]));
}

/// An answer of the system counts only if it names the pages that were restored.
#[test]
fn only_a_right_answer_is_believed() {
    let size = page_size();
    let mut memory = Reservation::new(64 * size).unwrap();
    memory.commit(0, 64 * size).unwrap();
    if pages::own(memory.base(), size, &mut |_, _| {}) != Answer::Scan {
        eprintln!("skipped: this system does not tell");
        return;
    }
    let plan = plan(&scores(64, &[3, 20, 40, 60]), &[], usize::MAX, true);
    let high = 64 * size;
    let write = |memory: &Reservation, pages: &[usize]| {
        for page in pages {
            // SAFETY: accessible pages of our own.
            unsafe { memory.base().add(page * size).write(1) };
        }
    };
    let believed = |memory: &mut Reservation, restored: usize| {
        plan.discard_written(memory, high, restored * size, &[])
            .unwrap()
    };
    write(&memory, &[5, 63]);
    assert!(!believed(&mut memory, 0), "nothing was restored");
    assert!(
        !believed(&mut memory, 3),
        "nothing of the plan was restored"
    );
    assert!(!believed(&mut memory, 64), "a fresh slot");
    write(&memory, &[3, 20, 40]);
    assert!(!believed(&mut memory, 64), "one page is missing");
    assert!(believed(&mut memory, 60), "it was not restored");
    write(&memory, &[60, 1, 2, 4, 19, 21, 61, 62]);
    assert!(believed(&mut memory, 64));
    let mut left = Vec::new();
    pages::own(memory.base(), high, &mut |range, _| {
        left.extend(range.start / size..range.end / size);
    });
    assert_eq!(left, [3, 20, 40, 60], "all others were discarded");
}

#[test]
fn a_plan_keeps_to_its_bound() {
    let size = page_size();
    let every: Vec<usize> = (0..64).collect();
    for max_pages in [0, 1, 31, 32, 33, 63, 64, 65] {
        let plan = plan(&scores(64, &every), &[], max_pages * size + size / 2, true);
        let bytes: usize = plan.runs.iter().map(|run| run.end - run.start).sum();
        assert_eq!(bytes, max_pages.min(64) * size);
    }
}

/// Pages that are not written any more leave after as many samples as their score allows, and
/// samples become rare while nothing changes.
#[test]
fn what_was_learned_is_forgotten() {
    let learned = Learned::new(usize::MAX);
    let mut found = Found::default();
    let mut written = vec![false; 100];
    written[40] = true;
    for _ in 0..20 {
        learned.add(&mut found, &written, &[]);
    }
    assert_eq!(kept(&found.plan), [(40, 41)]);
    assert_eq!(learned.interval.load(Ordering::Relaxed), RAREST);
    let generation = learned.generation.load(Ordering::Relaxed);
    assert_eq!(generation, 1);
    written[40] = false;
    let mut samples = 0;
    while !found.plan.runs.is_empty() {
        learned.add(&mut found, &written, &[]);
        samples += 1;
    }
    assert_eq!(samples, BEST);
    assert_eq!(learned.generation.load(Ordering::Relaxed), 2);
    assert!(learned.interval.load(Ordering::Relaxed) < RAREST);
}

/// Whatever the plan says, nothing is left of what was written.
#[test]
fn any_plan_restores() {
    const PAGES: usize = 64;
    let size = page_size();
    let content: Vec<u64> = (1..).take(8 * size / 8).collect();
    let bytes: &[u8] = bytemuck::cast_slice(&content);
    // Of a memory that is zero: as an image it only decides what kept pages are filled with.
    let zeros = vec![0_u64; 8 * size / 8];
    let zeros: &[u8] = bytemuck::cast_slice(&zeros);
    let image = |bytes: &[u8]| Image {
        guest: 16 * size,
        bytes: NonNull::from(bytes),
        offset: 0,
    };
    let mut random = 7_u64;
    let mut next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize
    };
    for images in [vec![], vec![image(zeros)]] {
        for round in 0..200 {
            let mut memory = Reservation::new(2 * PAGES * size).unwrap();
            // What is accessible, and what earlier tenants had.
            let (len, high) = (1 + next() % PAGES, PAGES + next() % 20);
            memory.commit(0, len * size).unwrap();
            let written: Vec<usize> = (0..next() % 40).map(|_| next() % (PAGES + 20)).collect();
            let plan = plan(
                &scores(PAGES + 20, &written),
                &images,
                next() % PAGES * size,
                round % 4 > 0,
            );
            let base = memory.base();
            let mut restored = 0;
            for tenant in 0..3 {
                for _ in 0..next() % 100 {
                    // SAFETY: accessible bytes of our own.
                    unsafe { base.add(next() % (len * size)).write(0xaa) };
                }
                // SAFETY: nobody else uses the memory.
                let kept = unsafe {
                    plan.restore(&mut memory, len * size, high * size, restored, &images)
                };
                assert!(kept.unwrap() <= plan.runs.iter().map(|r| r.end - r.start).sum());
                restored = (1 + next() % len) * size;
                for page in 0..len {
                    // SAFETY: accessible pages of our own.
                    let zero = unsafe { is_zero(base.add(page * size)) };
                    assert!(zero, "round {round}, tenant {tenant}: page {page}");
                }
            }
            memory.commit(0, 2 * PAGES * size).unwrap();
            for page in 0..2 * PAGES {
                // SAFETY: accessible pages of our own.
                let zero = unsafe { is_zero(base.add(page * size)) };
                assert!(zero, "round {round}: page {page}");
            }
        }
    }
    // Kept pages are filled with their image, also where only a part of the memory is accessible.
    let images = [image(bytes)];
    let every: Vec<usize> = (0..PAGES).collect();
    let plan = plan(&scores(PAGES, &every), &images, usize::MAX, false);
    for len in [15, 16, 17, 20, 24, 25, 64] {
        let mut memory = Reservation::new(PAGES * size).unwrap();
        memory.commit(0, len * size).unwrap();
        // SAFETY: nobody else uses the memory.
        let found = unsafe {
            plan.restore(&mut memory, len * size, len * size, 0, &images)
                .unwrap();
            std::slice::from_raw_parts(memory.base().as_ptr(), len * size)
        };
        let mut expected = vec![0; PAGES * size];
        expected[16 * size..24 * size].copy_from_slice(bytes);
        assert!(found == &expected[..len * size], "{len}");
    }
}
