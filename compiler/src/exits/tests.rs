use precast_artifact::Artifact;

use crate::settings::Passes;
use crate::{Compiler, Settings};

/// The code of the only function of a module for x86-64, with the pass or without.
fn code(wat: &str, exits: bool) -> Vec<u8> {
    let settings = Settings {
        target: Some("x86_64-unknown-linux-gnu".to_owned()),
        passes: Passes {
            exits,
            ..Passes::default()
        },
        ..Settings::default()
    };
    let wasm = wat::parse_str(wat).unwrap();
    let compiled = Compiler::new(settings).unwrap().compile(&wasm).unwrap();
    let artifact = Artifact::parse(&compiled.artifact, None).unwrap();
    let text = artifact.section(artifact.header().text);
    let function = &artifact.functions()[0];
    text[function.text_offset as usize..][..function.text_len as usize].to_vec()
}

/// Bytes from the target of the first jump back to the end of the jump.
fn loop_len(code: &[u8]) -> u64 {
    use iced_x86::{Decoder, DecoderOptions, OpKind};

    let instructions = Decoder::new(64, code, DecoderOptions::NONE);
    let mut loops = instructions.into_iter().filter_map(|instruction| {
        let is_jump = instruction.op0_kind() == OpKind::NearBranch64;
        let is_back = is_jump && instruction.near_branch_target() <= instruction.ip();
        is_back.then(|| instruction.next_ip() - instruction.near_branch_target())
    });
    loops.next().expect("a loop")
}

/// Code without jumps that is long.
fn work() -> String {
    "(local.set 1 (i32.xor (i32.mul (local.get 1) (i32.const 77)) (local.get 1)))".repeat(20)
}

/// A search for the last argument in memory, two words at a time, skipping some. What is done with
/// a word that was found is inside of the loop. `step` is how the loop goes on.
fn search(step: &str) -> String {
    let (found, work) = ("(br_if $found (i32.eq (local.tee 1 (i32.load", work());
    format!(
        "(module (memory 1) (func (export \"f\") (param i32 i32 i32) (result i32)
           (loop $next
             (block $no
               (block $found
                 (block $second
                   (br_if $second (i32.and (local.get 0) (i32.const 8)))
                   {found} (local.get 0))) (local.get 2))))
                 (br_if $no (i32.and (local.get 0) (i32.const 8)))
                 {found} offset=4 (local.get 0))) (local.get 2)))
                 (br $no))
               {work}
               (return (local.get 1)))
             {step})
           (local.get 1)))"
    )
}

#[test]
fn what_leaves_a_counted_loop_is_behind_it() {
    let counted = "(br_if $next (i32.ne (i32.const 4096)
        (local.tee 0 (i32.add (local.get 0) (i32.const 8)))))";
    let down = "(br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 8))))";
    for step in [counted, down] {
        let [with, without] = [true, false].map(|exits| loop_len(&code(&search(step), exits)));
        assert!(with < 80 && without > 150, "{with} {without}");
    }
}

#[test]
fn loops_that_do_not_count_stay_as_they_are() {
    // As in a search in a hash table: the next place is the one that this place names.
    let probing = "(br_if $next (local.tee 0 (i32.load offset=8 (local.get 0))))";
    let wat = search(probing);
    assert!(code(&wat, true) == code(&wat, false));
}

#[test]
fn long_loops_stay_as_they_are() {
    let blocks = |number: usize| {
        let step = "(br_if $next (i32.ne (i32.const 4096)
            (local.tee 0 (i32.add (local.get 0) (i32.const 8)))))";
        let other = "(if (i32.load8_u offset=9 (local.get 0)) (then (call 0 (local.get 0)
            (local.get 1) (local.get 2)) (local.set 1)))";
        let wat = search(&(other.repeat(number) + step));
        code(&wat, true) == code(&wat, false)
    };
    assert!(!blocks(3));
    assert!(blocks(12));
}

#[test]
fn loops_around_loops_stay_as_they_are() {
    let inner = "(loop (br_if 0 (local.tee 1 (i32.load (local.get 1)))))";
    let step = "(br_if $next (i32.ne (i32.const 4096)
        (local.tee 0 (i32.add (local.get 0) (i32.const 8)))))";
    let wat = search(&format!("{inner} {step}"));
    assert!(code(&wat, true) == code(&wat, false));
}
