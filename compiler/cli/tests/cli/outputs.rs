//! Where outputs go: no output replaces an input or another output, whatever the paths look like,
//! and errors of standard output name it.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::{ADD, Dir, Ran};

const START: &str = r#"(module (func (export "_start")))"#;

impl Dir {
    /// Runs a script of bash, in which `precast` is the program.
    #[track_caller]
    pub(crate) fn bash(&self, script: &str) -> Ran {
        let precast = env!("CARGO_BIN_EXE_precast");
        let script = format!("precast() {{ '{precast}' \"$@\"; }}\n{script}");
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &script]).current_dir(self.0.path());
        Ran(bash.output().expect("runs"))
    }
}

#[test]
fn no_output_replaces_an_input_or_another_output() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    dir.write("start.wat", START);
    dir.artifact("a", ADD);
    dir.artifact("start", START);
    dir.precast(&["compile", "a.wasm", "--cpu", "x86-64-v3", "-o", "b.precast"])
        .is("", "", 0);
    assert_eq!(dir.precast(&["key", "k"]).0.status.code(), Some(0));
    dir.write("runner", "a runner");
    fs::create_dir(dir.path("sub")).expect("writable");
    symlink("a.precast", dir.path("link")).expect("writable");
    symlink("../new", dir.path("sub/dangling")).expect("writable");
    fs::hard_link(dir.path("k"), dir.path("hard")).expect("writable");
    for (out, function, module) in [
        ("prof", "add", "add.wasm"),
        ("start.prof", "_start", "start.wat"),
    ] {
        let mut run = vec![
            "run",
            "--no-cache",
            "--profile-out",
            out,
            "--invoke",
            function,
            module,
        ];
        if function == "add" {
            run.extend(["1", "2"]);
        }
        assert_eq!(dir.precast(&run).0.status.code(), Some(0));
    }
    let content = || {
        let names = dir.names().into_iter().filter(|name| name != "sub");
        let read = |name: String| (fs::read(dir.path(&name)).expect("readable"), name);
        names.map(read).collect::<Vec<_>>()
    };
    let before = content();
    for args in [
        &["strip", "a.precast", "--split-debug", "./a.precast"][..],
        &["strip", "a.precast", "--split-debug", "link"],
        &["strip", "link", "--split-debug", "sub/../a.precast"],
        &["strip", "a.precast", "-o", "new", "--split-debug", "./new"],
        &[
            "strip",
            "a.precast",
            "-o",
            "new",
            "--split-debug",
            "sub/dangling",
        ],
        &[
            "strip",
            "a.precast",
            "-o",
            "new",
            "--split-debug",
            "a.precast",
        ],
        &["compile", "add.wasm", "-o", "new", "--split-debug", "./new"],
        &[
            "compile",
            "add.wasm",
            "-o",
            "sub/dangling",
            "--split-debug",
            "new",
        ],
        &[
            "compile",
            "add.wasm",
            "-o",
            "new",
            "--split-debug",
            "sub/../add.wasm",
        ],
        &["compile", "start.wat", "-o", "./start.wat"],
        &["compile", "add.wasm", "--profile", "prof", "-o", "./prof"],
        &[
            "compile",
            "add.wasm",
            "--profile",
            "prof",
            "-o",
            "new",
            "--split-debug",
            "prof",
        ],
        &[
            "exe",
            "start.wat",
            "--profile",
            "start.prof",
            "-o",
            "start.prof",
        ],
        &["exe", "start.wat", "-o", "start.wat"],
        &["exe", "start.precast", "-o", "./start.precast"],
        &[
            "exe",
            "start.precast",
            "--runner",
            "runner",
            "-o",
            "sub/../runner",
        ],
        &["sign", "a.precast", "--key", "k", "-o", "./k"],
        &["sign", "a.precast", "--key", "k", "-o", "hard"],
        &["join", "a.precast", "b.precast", "-o", "link"],
    ] {
        let ran = dir.precast(args);
        assert!(
            ran.stderr().contains("are the same file"),
            "{args:?}: {}",
            ran.stderr()
        );
        assert_eq!(ran.0.status.code(), Some(2), "{args:?}");
        assert!(content() == before, "{args:?}");
    }
    let ran = dir.bash("precast compile /dev/stdin -o start.wat < start.wat");
    assert!(
        ran.stderr().contains("are the same file"),
        "{}",
        ran.stderr()
    );
    let ran = dir.bash("precast compile - -o start.wat < start.wat");
    assert!(
        ran.stderr().contains("are the same file"),
        "{}",
        ran.stderr()
    );
    assert!(content() == before);
    // What nothing can replace may be named twice, and a file may be replaced by what is made of
    // it.
    for args in [
        &[
            "compile",
            "add.wasm",
            "-o",
            "/dev/null",
            "--split-debug",
            "/dev/null",
        ][..],
        &["strip", "link", "-o", "a.precast"],
        &["sign", "a.precast", "--key", "k", "-o", "./a.precast"],
    ] {
        dir.precast(args).is("", "", 0);
    }
}

#[test]
fn an_output_follows_a_link_to_a_file_that_does_not_exist() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    symlink("there", dir.path("link")).expect("writable");
    dir.precast(&["compile", "add.wasm", "-o", "link"])
        .is("", "", 0);
    assert!(dir.path("link").is_symlink() && dir.path("there").is_file());
    let long = "n".repeat(255);
    dir.precast(&["compile", "add.wasm", "-o", &long])
        .is("", "", 0);
    assert_eq!(dir.names(), ["add.wasm", "link", &long, "there"]);
}

#[test]
fn the_file_that_is_standard_output_is_not_replaced() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    dir.precast(&["compile", "add.wasm"]).is("", "", 0);
    let artifact = fs::read(dir.path("add.precast")).expect("written");
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "-"] {
        let script =
            format!("{{ echo head; precast compile add.wasm -o {name}; echo foot; }} > out");
        dir.bash(&script).is("", "", 0);
        let expected = [b"head\n", &artifact[..], b"foot\n"].concat();
        assert!(
            fs::read(dir.path("out")).expect("there") == expected,
            "{name}"
        );
    }
    // Another open file is written in place, as a shell would.
    dir.bash("exec 3> third; ln third same; precast compile add.wasm -o /dev/fd/3")
        .is("", "", 0);
    assert!(fs::read(dir.path("same")).expect("there") == artifact);
}

#[test]
fn errors_of_standard_output_name_it() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    dir.write("empty.wast", "(module)");
    for args in [
        &["compile", "add.wasm", "-o", "-"][..],
        &["compile", "add.wasm", "-o", "/dev/stdout"],
        &["inspect", "add.precast"],
        &["inspect", "--json", "add.precast"],
        &["objdump", "add.precast"],
        &["digest", "add.precast"],
        &["run", "--invoke", "add", "add.precast", "1", "2"],
        &["run", "--explain-imports", "--json", "add.precast"],
        &["completions", "bash"],
        &["cache", "--cache-dir", "none", "path"],
        &["wast", "empty.wast"],
        &["key", "k"],
    ] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("there");
        let output = dir.command(args).stdout(full).output().expect("runs");
        let expected = "error: cannot write to standard output\nCaused by:\n    No space left on \
                        device (os error 28)\n";
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            expected,
            "{args:?}"
        );
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn an_error_is_written_in_few_pieces_and_names_few_of_many_imports() {
    let dir = Dir::new();
    let imports: String = (0..1000)
        .map(|i| format!("(import \"host\" \"f{i}\" (func))"))
        .collect();
    dir.wasm(
        "imports",
        &format!("(module {imports} (func (export \"_start\")))"),
    );
    // Each write to this socket is a message of its own.
    let (stderr, messages) = UnixDatagram::pair().expect("a pair of sockets");
    let mut run = dir.command(&["run", "--no-cache", "imports.wasm"]);
    run.stderr(OwnedFd::from(stderr));
    let mut run = run.spawn().expect("runs");
    let timeout = Some(Duration::from_secs(60));
    messages.set_read_timeout(timeout).expect("not zero");
    let mut error = String::new();
    let mut buffer = vec![0; 100_000];
    for _ in 0..5 {
        let length = messages.recv(&mut buffer).expect("a message in time");
        error += str::from_utf8(&buffer[..length]).expect("UTF-8");
        if error.ends_with('\n') {
            break;
        }
    }
    drop(messages);
    let imports = (0..20).map(|i| {
        format!(
            "\n  import `host`.`f{i}`: unknown import: nothing is defined, expected func () -> ()"
        )
    });
    let imports: String = imports.collect();
    let expected = format!("error: cannot link the module:{imports}\n  and 980 more\n");
    assert_eq!(error, expected);
    assert_eq!(run.wait().expect("a child").code(), Some(1));
}

#[test]
fn a_key_that_cannot_be_written_leaves_no_file() {
    let dir = Dir::new();
    let ran = dir.bash("trap '' XFSZ; ulimit -f 0; precast key k");
    let expected = "error: cannot write `k.pub`\nCaused by:\n    File too large (os error 27)\n";
    ran.is("", expected, 1);
    assert_eq!(dir.names(), [""; 0]);
    assert_eq!(dir.precast(&["key", "k"]).0.status.code(), Some(0));
    let ran = dir.precast(&["key", "-"]);
    assert!(
        ran.stderr().contains("a secret key is not printed"),
        "{}",
        ran.stderr()
    );
    assert_eq!(ran.0.status.code(), Some(2));
    assert_eq!(dir.names(), ["k", "k.pub"]);
}

#[test]
fn what_is_no_key_is_not_called_one_that_others_may_read() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    assert_eq!(dir.precast(&["key", "k"]).0.status.code(), Some(0));
    for (key, cause) in [
        ("k.pub", "found a public key; expected a secret key"),
        ("/dev/null", "found no key; expected"),
    ] {
        let ran = dir.precast(&["sign", "add.precast", "--key", key]);
        let expected = format!("error: cannot use `{key}`\nCaused by:\n    {cause}");
        assert!(ran.stderr().starts_with(&expected), "{}", ran.stderr());
    }
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(dir.path("k"), open).expect("ours");
    let ran = dir.precast(&["sign", "add.precast", "--key", "k"]);
    let expected = "error: others may read or write the secret key in `k` (mode 644): take that \
                    from them with `chmod 600 k`, or make a new key if they may have read it\n";
    ran.is("", expected, 1);
}

#[test]
fn numbers_that_are_no_numbers_are_called_that() {
    let dir = Dir::new();
    for (args, expected) in [
        (
            &["run", "--fuel", "-1", "x"][..],
            "invalid value '-1' for '--fuel <N>': ",
        ),
        (
            &["run", "--max-memory", "-1", "x"],
            "'--max-memory <SIZE>': expected a number, or",
        ),
        (
            &["run", "--max-instances", "-1", "x"],
            "invalid value '-1' for ",
        ),
        (
            &["run", "--max-table-elements", "-1", "x"],
            "invalid value '-1' for ",
        ),
        (&["run", "--timeout", "-1", "x"], "invalid value '-1' for "),
        (
            &["compile", "--threads", "-1", "x"],
            "invalid value '-1' for ",
        ),
        (
            &["cache", "prune", "--max-bytes", "-1"],
            "invalid value '-1' for ",
        ),
        (
            &["compile", "--limit", "operators=-1", "x"],
            "'--limit <NAME=N>': expected a number, or a number with K, M, G or T",
        ),
    ] {
        let ran = dir.precast(args);
        assert!(
            ran.stderr().contains(expected),
            "{args:?}: {}",
            ran.stderr()
        );
        assert!(!ran.stderr().contains("tip:"), "{}", ran.stderr());
        assert_eq!(ran.0.status.code(), Some(2), "{args:?}");
    }
}
