//! Runs the program and compares its whole output and exit code, so that messages are reviewed.

mod backtraces;
mod cache;
mod command_lines;
mod compile;
mod custom_sections;
mod exe;
mod exposure;
mod inspect;
mod outputs;
mod profile;
mod redirect;
mod run;
mod running;
mod signed;
mod strip;
mod threadless;
mod variants;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A temporary directory, which is removed at the end of the test. Commands run in it.
struct Dir(TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("writable");
    }

    /// Writes NAME.wasm from a module in the text format.
    fn wasm(&self, name: &str, wat: &str) {
        self.write(
            &format!("{name}.wasm"),
            wat::parse_str(wat).expect("valid text"),
        );
    }

    /// Writes NAME.wasm and compiles it to NAME.precast.
    fn artifact(&self, name: &str, wat: &str) {
        self.wasm(name, wat);
        self.precast(&["compile", &format!("{name}.wasm")])
            .is("", "", 0);
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("readable");
        let name = |e: fs::DirEntry| e.file_name().into_string().expect("UTF-8");
        let mut names: Vec<String> = entries.map(|e| name(e.expect("readable"))).collect();
        names.sort();
        names
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_precast"));
        command
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn precast(&self, args: &[&str]) -> Ran {
        Ran(self.command(args).output().expect("runs"))
    }
}

/// The output and exit code of a command.
struct Ran(Output);

impl Ran {
    #[track_caller]
    fn is(&self, stdout: &str, stderr: &str, code: i32) {
        same("standard error", &self.stderr(), stderr);
        same("standard output", &self.stdout(), stdout);
        assert_eq!(self.0.status.code(), Some(code));
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

#[track_caller]
fn same(what: &str, found: &str, expected: &str) {
    assert!(
        found == expected,
        "{what} is\n{found}\nexpected\n{expected}"
    );
}

/// The module that most tests use.
const ADD: &str = r#"(module $add
  (func $add (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))"#;
