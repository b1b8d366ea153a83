//! Redirected imports, and resolvers that decide for each instance.

use precast_loader::runtime::{HostModule, InstanceConfig, Target};
use precast_loader::{Engine, ExternType};

use super::{compile, message, named, runtime};

#[test]
fn redirection() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    for (name, value) in [("env", 1), ("other", 2), ("third", 3)] {
        HostModule::builder(name)
            .func("f", move || value)
            .func("g", move || value * 10)
            .func("wrong", || 1_i64)
            .instantiate(&runtime)
            .unwrap();
    }
    let wat = r#"(module (import "env" "f" (func $f (result i32)))
        (import "env" "g" (func $g (result i32)))
        (func (export "f") (result i32) (call $f)) (func (export "g") (result i32) (call $g)))"#;
    let guest = compile(&engine, wat);
    let run = |config: InstanceConfig| {
        let instance = runtime.instantiate(&guest, config).unwrap();
        let call = |name| instance.call_typed::<(), i32>(name, ()).unwrap();
        let unmatched = instance.unmatched_redirections().to_vec();
        ((call("f"), call("g")), unmatched)
    };
    let new = InstanceConfig::new;
    assert_eq!(run(new()), ((1, 10), vec![]));
    assert_eq!(
        run(new().with_import("env", "f", "other", "g")),
        ((20, 10), vec![])
    );
    assert_eq!(
        run(new().with_import_module("env", "third")),
        ((3, 30), vec![])
    );
    let both = new()
        .with_import("other", "g", "env", "f")
        .with_import_module("env", "other");
    assert_eq!(run(both), ((2, 1), vec![]));
    let last = new()
        .with_import("env", "f", "other", "f")
        .with_import("env", "f", "third", "f")
        .with_import("env", "typo", "third", "f");
    let unmatched = ["`env`.`f` -> `other`.`f`", "`env`.`typo` -> `third`.`f`"];
    assert_eq!(run(last), ((3, 10), unmatched.map(str::to_owned).to_vec()));

    let missing = new().with_import("env", "f", "other", "h");
    let error = message(runtime.instantiate(&guest, missing));
    let expected = "import `env`.`f`: incompatible import type: found nothing at `other`.`h`, \
        where it is redirected to, expected func () -> (i32)";
    assert!(error.contains(expected), "{error}");
    let wrong = new().with_import("env", "f", "other", "wrong");
    let error = message(runtime.instantiate(&guest, wrong));
    let expected = "found func () -> (i64) at `other`.`wrong`, where it is redirected to, expected \
        func () -> (i32)";
    assert!(error.contains(expected), "{error}");
    let nowhere = new().with_import_module("env", "nowhere");
    let error = message(runtime.instantiate(&guest, nowhere));
    assert_eq!(error, "module[nowhere] not instantiated");
    // These are names that no module has.
    let long = "long".repeat(50_000);
    for (name, shown) in [("", ""), ("\u{0}", r"\u{0}"), (&*long, &*long)] {
        let odd = new().with_import("env", "f", "other", name);
        let error = message(runtime.instantiate(&guest, odd));
        let expected = format!("found nothing at `other`.`{shown}`, where");
        assert!(error.contains(&expected), "{} bytes", error.len());
    }
}

#[test]
fn redirection_to_another_kind_or_type() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let library = r#"(module
        (func (export "f")) (memory (export "m") 1 2) (table (export "t") 3 funcref)
        (global (export "g") i32 (i32.const 1)) (global (export "v") (mut i64) (i64.const 1)))"#;
    let library = compile(&engine, library);
    runtime.instantiate(&library, named("lib")).unwrap();
    for (import, target, found, expected) in [
        ("(func)", "m", "memory", "func"),
        ("(func)", "g", "global", "func"),
        ("(memory 1)", "f", "func", "memory"),
        ("(memory 2)", "m", "memory", "memory"),
        ("(table 1 externref)", "t", "table", "table"),
        ("(table 1 funcref)", "m", "memory", "table"),
        ("(global (mut i32))", "g", "global", "global"),
        ("(global i64)", "v", "global", "global"),
    ] {
        let guest = compile(&engine, &format!("(module (import \"a\" \"b\" {import}))"));
        let config = InstanceConfig::new().with_import("a", "b", "lib", target);
        let error = message(runtime.instantiate(&guest, config));
        let start = format!("import `a`.`b`: incompatible import type: found {found}");
        let end = format!(" at `lib`.`{target}`, where it is redirected to, expected {expected}");
        assert!(error.contains(&start) && error.contains(&end), "{error}");
    }
}

#[test]
fn resolvers_reach_anonymous_instances() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let library = r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "next") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#;
    let library = compile(&engine, library);
    let user = r#"(module (import "lib" "f" (func $f (result i32)))
        (func (export "run") (result i32) (call $f)))"#;
    let user = compile(&engine, user);
    let mut users = Vec::new();
    for _ in 0..3 {
        let lib = runtime
            .instantiate(&library, InstanceConfig::new())
            .unwrap();
        let config = InstanceConfig::new().with_import_resolver(move |ty, module, name| {
            assert!(matches!(ty, ExternType::Func(_)));
            assert_eq!((module, name), ("lib", "f"));
            Some(Target::Instance(lib.clone(), "next".into()))
        });
        users.push(runtime.instantiate(&user, config).unwrap());
    }
    for n in 1..3 {
        for user in &users {
            assert_eq!(user.call_typed::<(), i32>("run", ()).unwrap(), n);
        }
    }
    let closed = runtime
        .instantiate(&library, InstanceConfig::new())
        .unwrap();
    closed.close_with_exit_code(2);
    let config = InstanceConfig::new()
        .with_import_resolver(move |_, _, _| Some(Target::Instance(closed.clone(), "next".into())));
    let error = message(runtime.instantiate(&user, config));
    assert_eq!(error, "module closed with exit_code(2)");
}
