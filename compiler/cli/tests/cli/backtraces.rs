//! What `precast run` prints of a trap.

use crate::Dir;

#[test]
fn backtraces_have_readable_names_and_the_lines_of_the_source() {
    let dir = Dir::new();
    dir.artifact(
        "names",
        r#"(module $guest
          (func $_RNvNtCset5xJoy1xWQ_3std7process5abort (try_table) (unreachable))
          (func (export "_start") (call $_RNvNtCset5xJoy1xWQ_3std7process5abort)))"#,
    );
    let ran = dir.precast(&["run", "names.precast"]);
    let stderr = ran.stderr();
    let first = stderr.lines().nth(2).expect("a frame");
    assert!(first.ends_with(" guest!std::process::abort"), "{stderr}");
    assert!(first.starts_with("   0:     0x"), "{stderr}");

    // A guest with DWARF: as a module, as an artifact that keeps it, and with its debug file.
    let guest = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/loader/lines/guest.wasm"
    );
    let compile = |options: &[&str]| {
        let compile = [&["compile", guest], options].concat();
        dir.precast(&compile).is("", "", 0);
    };
    let keep = ["--keep-custom-sections", "all"];
    compile(&[&keep[..], &["-o", "kept"]].concat());
    compile(&[&keep[..], &["-o", "app", "--split-debug", "app.debug"]].concat());
    compile(&["-o", "plain"]);
    let run = |args: &[&str]| {
        let ran = dir.precast(&[&["run", "--invoke", "run"], args, &["0"]].concat());
        assert_eq!(ran.0.status.code(), Some(134), "{}", ran.stderr());
        ran.stderr()
    };
    let lines = run(&[guest]);
    let expected = "error: wasm trap: ";
    assert!(lines.starts_with(expected), "{lines}");
    assert!(lines.contains("at /guest/guest.rs:15"), "{lines}");
    assert_eq!(run(&["kept"]), lines);
    // The lines are those of the artifact that runs: a variant, one from a pipe, a sealed copy.
    let variant = ["--variant", "riscv64gc-unknown-linux-gnu/baseline"];
    compile(&[&keep[..], &variant, &["-o", "both"]].concat());
    assert_eq!(run(&["both"]), lines);
    let sealed = run(&["--dir", ".", "kept"]);
    assert!(
        sealed.contains("a sealed copy") && sealed.ends_with(&lines),
        "{sealed}"
    );
    let piped = dir
        .command(&["run", "--invoke", "run", "-", "0"])
        .stdin(std::fs::File::open(dir.path("kept")).unwrap())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&piped.stderr), lines);
    assert_eq!(run(&["--debug-file", "app.debug", "app"]), lines);
    let without = run(&["plain"]);
    assert!(!without.contains("guest.rs"), "{without}");
    assert_eq!(without.lines().next(), lines.lines().next());
}
