//! The examples print exactly what their pages say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// Builds all examples once, with the features of the whole workspace. `cargo run -p NAME` for each
/// example would build the compiler again and again, with other features of its dependencies.
fn build() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args([
                "build",
                "--offline",
                "--quiet",
                "--release",
                "--workspace",
                "--bins",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        // The variables that cargo has set for this test's package must not reach the build.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
                cargo.env_remove(&variable);
            }
        }
        assert!(
            cargo.status().expect("cargo starts").success(),
            "the examples build"
        );
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
            PathBuf::from,
        );
        target.join("release")
    });
    &BUILT
}

/// Runs an example.
fn run(name: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut example = Command::new(build().join(name));
    example.args(args).envs(env.iter().copied());
    example.output().expect("the example starts")
}

/// Checks that an example succeeds and prints exactly `expected`.
#[track_caller]
fn prints(name: &str, args: &[&str], env: &[(&str, &str)], expected: &str) {
    let output = run(name, args, env);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{errors}",
        output.status
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{name}: {errors}"
    );
}

#[test]
fn age_calculator() {
    let expected = "println >> 21\nlog_i32 >> 21\n";
    prints(
        "age-calculator",
        &["2000"],
        &[("CURRENT_YEAR", "2021")],
        expected,
    );
}

#[test]
fn static_object() {
    let expected = "Hello from the text of the executable\n84 / 2 = 42\n1 / 0 traps\n";
    prints("static-object", &[], &[], expected);
}

#[test]
fn signed() {
    let expected = "signed by 1 trusted key; the answer is 42\nchanged by one bit: refused\n";
    prints("signed", &[], &[], expected);
}

#[test]
fn embedded() {
    let expected = "opening maps 0 parts of the executable\n\
        an instance maps 1 part, its memory\n\
        Hello from a page of the executable\n";
    prints("embedded", &[], &[], expected);
}

#[test]
fn build_script() {
    let expected = "750 cents, 3 sold\n100 cents, 5 sold\n\
        notes: 3 for 250 cents each; 2 for 100 cents each\n\
        level: Some(5)\n\
        100 cents are 150 yen\n";
    prints("build-script", &[], &[], expected);
}

#[test]
fn executable() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let greet = directory.path().join("greet");
    let runner = build().join("precast-runner");
    let paths = [&runner, &greet].map(|path| path.to_str().expect("UTF-8"));
    prints("executable", &paths, &[], "wrote a program that greets\n");
    let output = Command::new(&greet).arg("World").output().expect("starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello, World\n");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let output = Command::new(&greet).output().expect("starts");
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn variants() {
    prints(
        "variants",
        &[],
        &[],
        "the sum of the squares below 1000 is 332833500\n",
    );
}

#[test]
fn basic() {
    prints("basic", &["7", "9"], &[], "7 + 9 = 16\n");
}

#[test]
fn a_wrong_use_fails() {
    let output = run("basic", &["7"], &[]);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("usage: basic A B"), "{errors}");
}

#[test]
fn multiple_results() {
    let expected = "multi-value/wasm: age=37 errno=0\n\
        multi-value/imported_host: age=73 errno=0\n";
    prints("multiple-results", &[], &[], expected);
}

#[test]
fn concurrent_instantiation() {
    // Each of the instances 0 to 49 adds its number and 1.
    let expected = "50 instances, sum 1275\n";
    prints("concurrent-instantiation", &[], &[], expected);
}

#[test]
fn multiple_runtimes() {
    let expected = "m1 counter=0\nm2 counter=0\nm1 counter=1\nm2 counter=1\n";
    prints("multiple-runtimes", &[], &[], expected);
}

#[test]
fn replace_import() {
    prints(
        "replace-import",
        &[],
        &[],
        "module closed with exit_code(255)\n",
    );
}

#[test]
fn import_resolver() {
    let expected = "out0: Module instance #0\nout1: Module instance #1\nout2: Module instance #2\n";
    prints("import-resolver", &[], &[], expected);
}

#[test]
fn allocation() {
    let expected = "wasm >> Hello, wazero!\nhost >> Hello, wazero!\n";
    prints("allocation", &["wazero"], &[], expected);
}

#[test]
fn context_done() {
    let expected = "module closed with context deadline exceeded\n\
        module closed with context canceled\n\
        module closed with exit_code(1)\n";
    prints("context-done", &[], &[], expected);
}
