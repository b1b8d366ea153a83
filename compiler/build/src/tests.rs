//! Build scripts in an environment that a test makes.

mod packages;

use std::fs;

use tempfile::TempDir;

use super::*;

const GUEST: &str = r#"(module
    (import "env" "log" (func (param i32)))
    (import "other" "log" (func (param i64) (result f32 f64)))
    (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 0) "image")
    (global (export "level") i32 (i32.const 1))
    (func $add (export "add") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1))))"#;

/// A temporary directory, and an environment whose paths are in it.
fn environment(target: &str) -> (TempDir, Environment) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out_dir = directory.path().join("out");
    fs::create_dir(&out_dir).expect("writable");
    let cargo = Environment {
        target: target.to_owned(),
        features: "fxsr,sse,sse2".to_owned(),
        out_dir,
        package: "my-host".to_owned(),
        directory: directory.path().to_owned(),
        tools: ["cargo", "rustc"].map(|name| directory.path().join(name).into()),
        proxies: None,
    };
    (directory, cargo)
}

const X86_64: &str = "x86_64-unknown-linux-gnu";

/// Writes an executable script. Another process writes it: a process that another test has just
/// forked would have it open for writing, and it could not be started.
fn script(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    let mut shell = std::process::Command::new("sh");
    shell.args([
        "-c",
        r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#,
        "sh",
    ]);
    let written = shell
        .arg(&path)
        .arg(text)
        .status()
        .expect("there is a shell");
    assert!(written.success());
    path
}

fn guest(directory: &TempDir, text: &str) -> Module {
    let file = directory.path().join("guest.wat");
    fs::write(&file, text).expect("writable");
    Module::new(file).uncached()
}

fn refusal(module: Module, cargo: &Environment) -> String {
    module.compile_in(cargo).expect_err("refused").to_string()
}

#[test]
fn writes_what_the_macros_include() {
    let (directory, cargo) = environment(X86_64);
    let module = guest(&directory, GUEST);
    let (built, directives) = module.compile_in(&cargo).expect("compiles");
    let wat = directory.path().join("guest.wat");
    assert!(directives.contains(&format!("rerun-if-changed={}", wat.display())));
    assert!(directives.contains(&"rerun-if-env-changed=PRECAST_CACHE_DIR".to_owned()));
    let bytes = fs::read(&built.artifact).expect("written");
    assert_eq!(built.digest, precast_artifact::digest(&bytes));
    let read = |name: &str| fs::read_to_string(cargo.out_dir.join(name)).expect("written");
    let assembly = read("guest.s");
    assert!(assembly.contains(".balign 4096"), "{assembly}");
    let function = "\"my_host::guest::add\", STT_FUNC";
    assert!(assembly.contains(function), "{assembly}");
    assert!(read("guest.embedded.rs").contains("precast_my_host_guest_"));
    let bindings = read("guest.bindings.rs");
    for expected in [
        "fn env_log(caller: ::precast_loader::Caller<'_, Self>, p0: i32)",
        "fn other_log(caller: ::precast_loader::Caller<'_, Self>, p0: i64)",
        "-> ::core::result::Result<(f32, f64), ::precast_loader::Error>;",
        "pub fn add(&self, store: impl ::precast_loader::AsContextMut, p0: i32, p1: i32)",
        "pub fn memory(&self) -> &::precast_loader::Memory",
        "pub fn level(&self) -> &::precast_loader::Global",
    ] {
        assert!(bindings.contains(expected), "{expected} in\n{bindings}");
    }
    assert!(!bindings.contains("fd_close"), "{bindings}");
}

#[test]
fn names_of_the_module_stay_text() {
    let (directory, cargo) = environment(X86_64);
    let evil = r#"(module (import "a\"b" "x\22) { evil(); } //\0a" (func))
        (func $x (export "y\"\\\n}{") ) (func (export "type")) (func (export "new"))
        (func (export "into")) (func (export "try_into")))"#;
    guest(&directory, evil)
        .compile_in(&cargo)
        .expect("compiles");
    let bindings = fs::read_to_string(cargo.out_dir.join("guest.bindings.rs")).expect("written");
    assert!(
        bindings.contains(r#""x\") { evil(); } //\n""#),
        "{bindings}"
    );
    assert!(bindings.contains("pub fn type_(") && bindings.contains("pub fn new_2("));
    // `exports.into()` would be `Into::into`.
    assert!(bindings.contains("pub fn into_2(") && bindings.contains("pub fn try_into_2("));
    // The text of a name is only in string literals.
    let outside: String = bindings
        .lines()
        .filter(|line| !line.contains('"'))
        .collect();
    assert!(!outside.contains("evil();"), "{outside}");
}

/// A block of code in documentation is a test, which `cargo test` of the host would run.
#[test]
fn names_of_the_module_do_not_leave_their_code_in_documentation() {
    let (directory, cargo) = environment(X86_64);
    let evil = r#"x\0a\0a```\0aevil()\0a```\0d\e2\80\a8~~~`<b>"#;
    let text = format!(
        r#"(module (import "m{evil}" "i{evil}" (func)) (memory (export "m{evil}") 1)
            (func (export "{evil}")))"#
    );
    let module = guest(&directory, &text);
    module.compile_in(&cargo).expect("compiles");
    let bindings = fs::read_to_string(cargo.out_dir.join("guest.bindings.rs")).expect("written");
    let docs: Vec<&str> = bindings
        .lines()
        .filter_map(|line| line.trim().strip_prefix("#[doc = "))
        .collect();
    assert_eq!(docs.len(), 3, "{bindings}");
    for line in docs {
        // Only the escapes that `shown` writes are left, in one pair of backticks.
        let text = line.replace(r"\\u{", "");
        assert!(!text.contains('\\'), "{line}");
        assert_eq!(text.matches('`').count(), 2, "{line}");
        assert!(text.contains("<b>`"), "{line}");
    }
}

#[test]
fn cpu_features_and_target_are_those_of_the_host() {
    let features = |target: &str, features: &str, module: fn(Module) -> Module| {
        let (directory, mut cargo) = environment(target);
        cargo.features = features.to_owned();
        let module = module(guest(&directory, "(module)"));
        let (built, _) = module.compile_in(&cargo).expect("compiles");
        let bytes = Aligned::new(&fs::read(built.artifact).expect("written"));
        let artifact = Artifact::parse(&bytes, None).expect("whole");
        let header = artifact.header();
        let arch = precast_artifact::target::Arch::from_number(header.arch).expect("known");
        let names = arch.features().iter().enumerate();
        let names = names.filter(|(i, _)| header.cpu_features & (1 << i) != 0);
        let names: Vec<_> = names.map(|(_, name)| *name).collect();
        (arch.name(), names.join(","))
    };
    let same = |module: Module| module;
    assert_eq!(
        features(X86_64, "fxsr,sse2,f16c", same),
        ("x86_64", String::new())
    );
    let aarch64 = "aarch64-unknown-linux-gnu";
    assert_eq!(features(aarch64, "neon", same).0, "aarch64");
    // An artifact names the features that its code may use.
    let cpu = |module: Module| module.cpu("x86-64-v3".parse().expect("known"));
    let (_, found) = features(X86_64, "", cpu);
    assert_eq!(
        features(X86_64, "sse3,avx2,popcnt", same).1.is_empty(),
        found.is_empty()
    );
}

#[test]
fn a_guest_for_another_architecture_is_a_warning() {
    let warning = |host: &str, target: &str| {
        let (directory, cargo) = environment(host);
        let settings = Settings {
            target: Some(target.to_owned()),
            ..Settings::default()
        };
        let module = guest(&directory, "(module)").settings(settings);
        let (_, directives) = module.compile_in(&cargo).expect("compiles");
        let mut warnings = directives.iter().filter_map(|d| d.strip_prefix("warning="));
        warnings.next().map(str::to_owned)
    };
    let aarch64 = "aarch64-unknown-linux-gnu";
    let text = warning(X86_64, aarch64).expect("a warning");
    let expected = "the guest `guest` is compiled for aarch64, and its host for x86_64-unknown-";
    assert!(text.starts_with(expected), "{text}");
    assert!(warning(aarch64, X86_64).is_some());
    for (host, target) in [
        (X86_64, X86_64),
        (X86_64, "x86_64-unknown-linux-musl"),
        (
            "riscv64a23-unknown-linux-gnu",
            "riscv64gc-unknown-linux-gnu",
        ),
    ] {
        assert_eq!(warning(host, target), None, "{host} {target}");
    }
}

#[test]
fn an_object_is_a_library_for_the_linker() {
    let (directory, cargo) = environment(X86_64);
    let module = guest(&directory, "(module (func (export \"f\")))").as_object();
    let (_, directives) = module.compile_in(&cargo).expect("compiles");
    let library = directives
        .iter()
        .find_map(|d| d.strip_prefix("rustc-link-lib=static="));
    let symbol = library.expect("linked");
    let search = format!("rustc-link-search=native={}", cargo.out_dir.display());
    assert!(directives.contains(&search), "{directives:?}");
    let path = cargo.out_dir.join(format!("lib{symbol}.a"));
    // For programs of the package that do not use its library.
    let argument = format!("rustc-link-arg={}", path.display());
    assert!(directives.contains(&argument), "{directives:?}");
    let library = fs::read(path).expect("written");
    assert!(library.starts_with(b"!<arch>\n/ "));
    // The index leads to the header of the object, and all members start at even offsets.
    let at = u32::from_be_bytes(library[72..76].try_into().expect("four bytes")) as usize;
    assert!(library[at..].starts_with(b"guest.o/ "), "{at}");
    assert!(library[at + 60..].starts_with(b"\x7fELF") && at.is_multiple_of(2));
    let expression = cargo.out_dir.join("guest.embedded.rs");
    let expression = fs::read_to_string(expression).expect("written");
    assert!(expression.contains(symbol) && !expression.contains("global_asm"));
}

#[test]
fn errors_name_the_guest() {
    let (directory, cargo) = environment(X86_64);
    let missing = Module::new(directory.path().join("missing.wasm"));
    assert!(refusal(missing, &cargo).contains("cannot read `"));
    let text = refusal(guest(&directory, "(module (func (foo)))"), &cargo);
    assert!(text.contains("guest.wat") && text.contains("foo"), "{text}");
    let text = refusal(
        guest(&directory, "(module\n\t(func (\u{1b}[2Jfoo)))"),
        &cargo,
    );
    assert!(
        text.contains("\n") && text.contains("\\u{1b}[2Jfoo"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
    let invalid = refusal(guest(&directory, "(module (func (result i32)))"), &cargo);
    assert!(
        invalid.starts_with("cannot compile the guest `"),
        "{invalid}"
    );
    let (named, _) = guest(&directory, "(module)")
        .name("a/b")
        .compile_under_own_name(&cargo);
    let named = named.expect_err("refused").to_string();
    assert!(
        named.contains("`a/b` is not a valid module name"),
        "{named}"
    );
    let (directory, cargo) = environment("x86_64-pc-windows-msvc");
    let target = refusal(guest(&directory, "(module)"), &cargo);
    assert!(target.contains("x86_64-pc-windows-msvc"), "{target}");
    let debug = format!(
        "{:?}",
        Error::Name {
            found: "x".to_owned()
        }
    );
    assert!(
        debug.contains("is not a valid module name"),
        "what `main` of a build script prints"
    );
}

#[test]
fn a_second_module_of_one_name_is_refused() {
    let (directory, cargo) = environment(X86_64);
    let compile = |name: &str, cargo: &Environment| {
        let module = guest(&directory, "(module)").name(name);
        let (made, _) = module.compile_under_own_name(cargo);
        made.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(compile("guest", &cargo), Ok(()));
    assert_eq!(compile("other", &cargo), Ok(()));
    let expected = "two modules have the name `guest`, so that one would replace the other: give \
                    one another name by `Module::name`";
    // The second refusal shows that the first one did not free the name.
    for _ in 0..2 {
        assert_eq!(compile("guest", &cargo), Err(expected.to_owned()));
    }
    // The script of another package, which only a test has in this process.
    let (_directory, other) = environment(X86_64);
    assert_eq!(compile("guest", &other), Ok(()));
}

#[test]
fn another_module_can_take_the_place_of_one_that_fails() {
    let (directory, cargo) = environment(X86_64);
    let file = directory.path().join("guest.c");
    fs::write(&file, "").expect("writable");
    guest(&directory, "(module)")
        .compile_in(&cargo)
        .expect("the script ran before");
    let included = cargo.out_dir.join("guest.embedded.rs");
    assert!(included.exists());
    let failing = Module::from_c(&file, ["no-such-compiler"]);
    let (made, directives) = failing.compile_under_own_name(&cargo);
    assert!(made.is_err());
    assert_eq!(directives, [format!("rerun-if-changed={}", file.display())]);
    assert!(!included.exists(), "the host would have the old guest");
    let missing = Module::new(directory.path().join("guest.wasm"));
    let (made, directives) = missing.compile_under_own_name(&cargo);
    assert!(made.is_err() && directives.is_empty(), "{directives:?}");
    let (made, _) = guest(&directory, "(module)").compile_under_own_name(&cargo);
    assert!(made.is_ok(), "{made:?}");
}

#[test]
fn a_c_guest_is_built_by_its_compiler() {
    let (directory, cargo) = environment(X86_64);
    let file = directory.path().join("guest.c");
    fs::write(&file, "int f;").expect("writable");
    // Writes an empty module, and says that it read a header.
    let compiler = script(
        &directory,
        "cc",
        r#"[ -z "$TARGET$OUT_DIR" ] || exit 3
        [ "$1 $2 $3" = "-O2 -MD -MF" ] || exit 4
        echo "x: $5 /usr/include/a\ b.h" > "$4"
        printf '\0asm\1\0\0\0' > "$7""#,
    );
    let command = || [compiler.display().to_string(), "-O2".to_owned()];
    let module = Module::from_c(&file, command()).uncached();
    let (_, directives) = module.compile_in(&cargo).expect("compiles");
    assert!(directives.contains(&"rerun-if-changed=/usr/include/a b.h".to_owned()));
    assert!(directives.contains(&format!("rerun-if-changed={}", file.display())));

    script(
        &directory,
        "cc",
        "echo 'guest.c:1: no such thing' >&2; exit 1",
    );
    let failed = refusal(Module::from_c(&file, command()), &cargo);
    assert!(
        failed.contains("no such thing") && failed.contains("exit status: 1"),
        "{failed}"
    );
    let absent = refusal(Module::from_c(&file, ["no-such-compiler"]), &cargo);
    assert!(absent.contains("could not be started"), "{absent}");
    assert!(refusal(Module::from_c(&file, [""; 0]), &cargo).contains("names no compiler"));
}

#[test]
fn a_rust_file_is_a_program_or_a_library() {
    let (directory, cargo) = environment(X86_64);
    let file = directory.path().join("guest.rs");
    fs::write(&file, "").expect("writable");
    let rustc = r#"if [ "$1" = --print ]; then echo /; exit; fi
        echo "$*" > "$(dirname "$0")/arguments"
        for a; do case $a in --emit=*) a=${a#--emit=link=}; printf '\0asm\1\0\0\0' > "${a%%,*}" ;; esac; done"#;
    script(&directory, "rustc", rustc);
    for (target, kind) in [
        ("wasm32-wasip1", "bin"),
        ("wasm32-unknown-unknown", "cdylib"),
    ] {
        let module = Module::from_rust(&file).wasm_target(target).uncached();
        module.compile_in(&cargo).expect("compiles");
        let given = fs::read_to_string(directory.path().join("arguments")).expect("called");
        assert!(given.contains(&format!("--target {target}")), "{given}");
        assert!(given.contains(&format!("--crate-type {kind}")), "{given}");
    }
}

#[test]
fn variables_of_a_rust_file_are_tracked_and_are_no_files() {
    let (directory, cargo) = environment(X86_64);
    let file = directory.path().join("guest.rs");
    fs::write(&file, "").expect("writable");
    let rustc = r#"if [ "$1" = --print ]; then echo /; exit; fi
        for a; do case $a in --emit=*)
            a=${a#--emit=link=}; printf '\0asm\1\0\0\0' > "${a%%,*}"
            printf 'x: /src/a.rs\n\n# env-dep:XX=a: zork\n# env-dep:YY\n# env-dep:OUT_DIR\n' \
                > "${a##*=}" ;;
        esac; done"#;
    script(&directory, "rustc", rustc);
    let module = Module::from_rust(&file).uncached();
    let (_, directives) = module.compile_in(&cargo).expect("compiles");
    for name in ["env-changed=XX", "env-changed=YY", "changed=/src/a.rs"] {
        assert!(directives.contains(&format!("rerun-if-{name}")), "{name}");
    }
    let others = ["zork", "OUT_DIR", "build.rs"];
    assert!(
        !directives
            .iter()
            .any(|d| others.iter().any(|other| d.ends_with(other))),
        "{directives:?}"
    );
}

/// A guest with threads exports the shared memory that it imports or defines.
#[test]
fn an_exported_shared_memory_is_one_in_rust() {
    let (directory, cargo) = environment(X86_64);
    let text = r#"(module (import "env" "memory" (memory 1 4 shared))
        (memory 1 2 shared) (memory 1)
        (export "imported" (memory 0)) (export "defined" (memory 1)) (export "own" (memory 2)))"#;
    guest(&directory, text)
        .compile_in(&cargo)
        .expect("compiles");
    let bindings = fs::read_to_string(cargo.out_dir.join("guest.bindings.rs")).expect("written");
    for expected in [
        "f0: ::precast_loader::SharedMemory,",
        "instance.get_shared_memory(&mut store, \"imported\")",
        "pub fn imported(&self) -> &::precast_loader::SharedMemory {",
        "#[doc = \"The shared memory `defined`.\"]",
        "pub fn defined(&self) -> &::precast_loader::SharedMemory {",
        "instance.get_memory(&mut store, \"own\")",
        "pub fn own(&self) -> &::precast_loader::Memory {",
    ] {
        assert!(bindings.contains(expected), "{expected} in\n{bindings}");
    }
}

/// Rust has no types for references to functions of one type only, and the loader would refuse a
/// more general one.
#[test]
fn functions_without_a_type_in_rust_leave_the_others_usable() {
    let (directory, cargo) = environment(X86_64);
    let text = r#"(module (type $t (func (result i32)))
        (import "m" "typed" (func (param (ref null $t))))
        (import "m" "none" (func (result (ref null nofunc))))
        (import "m" "plain" (func (param funcref) (result (ref func))))
        (func (export "ok") (result i32) (i32.const 7))
        (func (export "bad") (param (ref null $t)))
        (func (export "host") (param (ref extern)))
        (func (export "gives") (result (ref null $t)) (ref.null $t)))"#;
    guest(&directory, text)
        .compile_in(&cargo)
        .expect("compiles");
    let bindings = fs::read_to_string(cargo.out_dir.join("guest.bindings.rs")).expect("written");
    for expected in [
        "#[doc = \"- `m.typed`: (",
        "#[doc = \"- `m.none`: (",
        "fn plain(caller: ::precast_loader::Caller<'_, Self>, p0: \
         ::core::option::Option<::precast_loader::Func>)",
        "f0: ::precast_loader::TypedFunc<(), i32>,",
        "f1: ::precast_loader::Func,",
        "f2: ::precast_loader::Func,",
        "f3: ::precast_loader::TypedFunc<(), ::core::option::Option<::precast_loader::Func>>,",
        "pub fn bad(&self, store: impl ::precast_loader::AsContextMut, params: \
         &[::precast_loader::Val], results: &mut [::precast_loader::Val])",
    ] {
        assert!(bindings.contains(expected), "{expected} in\n{bindings}");
    }
    assert!(
        !bindings.contains("fn typed(") && !bindings.contains("fn none("),
        "{bindings}"
    );
    // The module chooses names and types, so that lints about them would blame the host.
    for item in [
        "pub trait",
        "pub fn add_to_linker",
        "pub struct",
        "impl Exports",
    ] {
        let (before, _) = bindings.split_once(&format!("\n{item}")).expect("there");
        let attributes = before.rsplit("\n\n").next().unwrap_or_default();
        for lint in ["clippy::all", "unreachable_pub"] {
            assert!(attributes.contains(lint), "{item}: {attributes}");
        }
    }
}

#[test]
fn each_function_has_a_symbol_of_its_own() {
    let (directory, cargo) = environment(X86_64);
    let text = r#"(module (func (@name "f#2")) (func (@name "f")) (func (@name "f"))
        (func (@name "f")) (func (@name "f#3")) (func (@name "f#2#2")))"#;
    guest(&directory, text)
        .compile_in(&cargo)
        .expect("compiles");
    let assembly = fs::read_to_string(cargo.out_dir.join("guest.s")).expect("written");
    let symbols = assembly.lines().filter(|line| line.starts_with(".set "));
    let symbols: Vec<_> = symbols.filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(symbols.len(), 6);
    let all: std::collections::HashSet<_> = symbols.iter().collect();
    assert_eq!(all.len(), 6, "{symbols:?}");
}
