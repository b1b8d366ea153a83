//! Guests that cargo builds.

use super::*;

#[test]
fn a_crate_is_built_by_cargo_if_the_target_is_installed() {
    let (directory, cargo) = environment(X86_64);
    let package = directory.path().join("plugin");
    fs::create_dir(&package).expect("writable");
    let module = || Module::from_crate(&package).uncached();
    assert!(refusal(module(), &cargo).contains("plugin/Cargo.toml"));
    fs::write(package.join("Cargo.toml"), "[package]").expect("writable");
    script(&directory, "rustc", "echo /nowhere/lib");
    let expected = "run `rustup target add wasm32-wasip1`";
    assert!(refusal(module(), &cargo).contains(expected));

    script(&directory, "rustc", &format!("echo {}", package.display()));
    // Writes the modules that $MODULES names.
    let build = |modules: &str| {
        let text = format!(
            r#"[ -f Cargo.toml ] || exit 2
            if [ "$1" = locate-project ]; then echo "$(dirname "$PWD")/Cargo.toml"; exit; fi
            [ "$1 $2 $3 $4" = "build --release --target wasm32-wasip1" ] || exit 3
            dir=$6/wasm32-wasip1/release; mkdir -p "$dir"
            for name in {modules}; do
                printf '\0asm\1\0\0\0' > "$dir/$name.wasm"
                echo "$dir/$name.wasm: /src/main.rs" > "$dir/$name.d"
            done"#
        );
        script(&directory, "cargo", &text);
    };
    build("plugin");
    let (built, directives) = module().compile_in(&cargo).expect("compiles");
    assert!(built.artifact.ends_with("out/plugin.precast"));
    assert!(directives.contains(&"rerun-if-changed=/src/main.rs".to_owned()));
    // The package is a member of a workspace.
    for name in ["Cargo.toml", "Cargo.lock"] {
        let path = directory.path().join(name);
        let changed = format!("rerun-if-changed={}", path.display());
        assert!(!directives.contains(&changed), "it does not exist");
        fs::write(&path, "").expect("writable");
        let (_, directives) = module().compile_in(&cargo).expect("compiles");
        assert!(directives.contains(&changed), "{directives:?}");
    }
    // Cargo looks for its configuration, and rustup for the toolchain, in all parent directories.
    let root = fs::canonicalize(directory.path()).expect("there");
    for name in [
        "plugin/.cargo/config",
        "plugin/.cargo/config.toml",
        ".cargo/config.toml",
        "plugin/rust-toolchain",
        "rust-toolchain.toml",
    ] {
        let path = root.join(name);
        let changed = format!("rerun-if-changed={}", path.display());
        assert!(!directives.contains(&changed), "it does not exist");
        fs::create_dir_all(path.parent().expect("there")).expect("writable");
        fs::write(&path, "").expect("writable");
        let (_, directives) = module().compile_in(&cargo).expect("compiles");
        assert!(directives.contains(&changed), "{directives:?}");
    }
    build("");
    assert!(refusal(module(), &cargo).contains("has nothing that could be the guest"));
    build("one two_b");
    let several = refusal(module(), &cargo);
    assert!(
        several.contains("has one, two_b that could be the guest; choose one"),
        "{several}"
    );
    let other = refusal(module().binary("three"), &cargo);
    assert!(
        other.contains("has no `three` that could be the guest, but one, two_b; choose"),
        "{other}"
    );
    module()
        .binary("two-b")
        .compile_in(&cargo)
        .expect("compiles");
}

/// A package `plugin` with a manifest, and a rustc that has every target.
fn package(directory: &TempDir) -> PathBuf {
    let package = directory.path().join("plugin");
    fs::create_dir(&package).expect("writable");
    fs::write(package.join("Cargo.toml"), "[package]").expect("writable");
    script(directory, "rustc", &format!("echo {}", package.display()));
    package
}

/// A cargo that makes an empty module, and runs `also` in the directory that it builds in.
fn building(also: &str) -> String {
    format!(
        r#"if [ "$1" = locate-project ]; then echo "$PWD/Cargo.toml"; exit; fi
        [ "$1" = build ] || exit 3
        place=$PWD; dir=$6/wasm32-wasip1/release; mkdir -p "$dir/deps" "$6/release/build/a-1"
        printf '\0asm\1\0\0\0' > "$dir/plugin.wasm"
        cd "$6"; {also}"#
    )
}

#[test]
fn variables_that_a_package_depends_on_are_tracked() {
    let (directory, cargo) = environment(X86_64);
    let package = package(&directory);
    let also = r#"
        printf 'x: /src/a.rs\n\n# env-dep:OWN=1\n# env-dep:CARGO_PKG_NAME=x\n' \
            > wasm32-wasip1/release/deps/plugin-1.d
        mkdir -p release/deps wasm32-wasip1/release/build/b-1
        printf '# env-dep:MACRO\n' > release/deps/macro.d
        printf '# env-dep:NO_NOTE\n' > release/deps/macro.txt
        printf 'cargo:rerun-if-env-changed=OLD\ncargo::rustc-env=NONE=1\n' \
            > release/build/a-1/output
        printf '\377\ncargo::rerun-if-env-changed=NEW\ncargo::rerun-if-env-changed=TARGET\n' \
            > wasm32-wasip1/release/build/b-1/output
        [ "$CARGO_BUILD_BUILD_DIR" = "$PWD" ] || exit 5"#;
    script(&directory, "cargo", &building(also));
    let module = Module::from_crate(&package).uncached();
    let (_, directives) = module.compile_in(&cargo).expect("compiles");
    let named = directives
        .iter()
        .filter_map(|d| d.strip_prefix("rerun-if-env-changed="));
    let named: Vec<_> = named.collect();
    assert_eq!(named, ["PRECAST_CACHE_DIR", "MACRO", "NEW", "OLD", "OWN"]);
}

/// A new lock file would be newer than the script's start, and cargo would run the script again.
#[test]
fn a_new_lock_file_is_as_old_as_the_manifest() {
    let (directory, cargo) = environment(X86_64);
    let package = package(&directory);
    let also = r#"[ -f "$place/Cargo.lock" ] || echo new > "$place/Cargo.lock""#;
    script(&directory, "cargo", &building(also));
    let time = |file: &str| {
        let found = fs::metadata(package.join(file)).expect("there");
        found.modified().expect("known")
    };
    let manifest = fs::File::options()
        .write(true)
        .open(package.join("Cargo.toml"));
    let an_hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let set = |file: fs::File, time| file.set_modified(time).expect("ours");
    set(manifest.expect("there"), an_hour_ago);
    let tracks = || {
        let module = Module::from_crate(&package).uncached();
        let (_, directives) = module.compile_in(&cargo).expect("compiles");
        let lock = package.join("Cargo.lock");
        directives.contains(&format!("rerun-if-changed={}", lock.display()))
    };
    assert!(tracks());
    assert_eq!(time("Cargo.lock"), time("Cargo.toml"));
    // One that was there keeps its time.
    let lock = fs::File::options()
        .write(true)
        .open(package.join("Cargo.lock"));
    let later = an_hour_ago + std::time::Duration::from_secs(60);
    set(lock.expect("there"), later);
    assert!(tracks());
    assert_eq!(time("Cargo.lock"), later);
}

#[test]
fn the_toolchain_file_of_a_package_chooses_the_toolchain() {
    let (directory, mut cargo) = environment(X86_64);
    let package = package(&directory);
    let proxies = ["proxy-cargo", "proxy-rustc"];
    let note = |who: &str| format!("echo {who} in $place >> {}/log", directory.path().display());
    script(&directory, "cargo", &building(&note("host")));
    script(&directory, proxies[0], &building(&note("rustup")));
    script(&directory, proxies[1], "pwd");
    let used = |cargo: &Environment| {
        let module = Module::from_crate(&package).uncached();
        module.compile_in(cargo).expect("compiles");
        let log = directory.path().join("log");
        let text = fs::read_to_string(&log).expect("written");
        fs::remove_file(log).expect("ours");
        text.split_once(" in ").expect("two").0.to_owned()
    };
    let file = package.join("rust-toolchain.toml");
    fs::write(&file, "").expect("writable");
    assert_eq!(used(&cargo), "host", "without rustup");
    cargo.proxies = Some(proxies.map(|name| directory.path().join(name).into()));
    assert_eq!(used(&cargo), "rustup");
    // The targets are those of that toolchain, too.
    script(&directory, proxies[1], "echo /nowhere/lib");
    let module = || Module::from_crate(&package).uncached();
    assert!(refusal(module(), &cargo).contains("is not installed"));
    // The host has the file, too, and another toolchain in spite of it.
    cargo.directory = package.join("src");
    fs::create_dir(&cargo.directory).expect("writable");
    assert_eq!(used(&cargo), "host");
    cargo.directory = directory.path().to_owned();
    fs::remove_file(&file).expect("there");
    assert_eq!(used(&cargo), "host", "no file");
    fs::write(directory.path().join("rust-toolchain"), "").expect("writable");
    assert_eq!(used(&cargo), "host", "a file for both");
}
