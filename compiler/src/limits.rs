//! What a compilation may take, for hosts that compile strangers' modules.
//!
//! Time and memory grow nearly linearly with a module (`tests/growth.py` shows that, and the README
//! what grows with the square of a single function, within bounds), so a limit on the module's size
//! limits both. The other limits are for what grows otherwise: a single function, which only one
//! thread compiles, and an artifact that is far larger than its module.

use crate::Error;

/// Bytes of an artifact that [`Limits::artifact_growth`] always allows.
const FREE: u64 = 64 << 20;

/// Values that the code of a function may have for each operator that [`Limits::operators`] allows.
/// Code of compilers has one to ten, even with bounds checks and interruption.
const VALUES: u64 = 16;

/// Values that the code of a function may have whatever its size. So many take the compiler up to
/// a gigabyte.
const FREE_VALUES: u64 = 1 << 21;

/// Values for each byte of its body that a larger function may have. Code of compilers has one to
/// ten. A call of two bytes may have a thousand results: 45 KB of such calls took 3 GB.
const VALUES_PER_BYTE: u64 = 64;

/// Limits of a [`Compiler`](crate::Compiler). A module that exceeds one is refused with
/// [`Error::Limit`], which has the limit's name. Limits do not change what is compiled, so a cache
/// may return an artifact that was compiled under higher ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `module-size`: bytes of a module. Validation allows less than 4 GiB.
    pub module_size: u64,
    /// `functions`: functions that a module defines. Validation allows 1,000,000.
    pub functions: u64,
    /// `operators`: operators of one function. Validation allows as many as fit in 7,654,321 bytes.
    /// The values of one function are also limited, to 16 times this number, because a branch of
    /// two bytes may pass 1,000 values, and takes the compiler as much memory as 1,000 other
    /// operators.
    pub operators: u64,
    /// `artifact-size`: bytes of an artifact.
    pub artifact_size: u64,
    /// `artifact-growth`: how many times as large as its module an artifact may be, if it is larger
    /// than 64 MiB. The default is 100. Programs have 0.5 to 2.
    pub artifact_growth: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            module_size: u64::MAX,
            functions: u64::MAX,
            operators: u64::MAX,
            artifact_size: u64::MAX,
            artifact_growth: 100,
        }
    }
}

impl Limits {
    /// The names of all limits, which [`Limits::set`] takes.
    pub const NAMES: [&'static str; 5] = [
        "module-size",
        "functions",
        "operators",
        "artifact-size",
        "artifact-growth",
    ];

    /// Sets the limit of this name.
    ///
    /// # Errors
    /// [`Error::Setting`] if no limit has this name.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), Error> {
        let limit = match name {
            "module-size" => &mut self.module_size,
            "functions" => &mut self.functions,
            "operators" => &mut self.operators,
            "artifact-size" => &mut self.artifact_size,
            "artifact-growth" => &mut self.artifact_growth,
            _ => {
                return Err(Error::Setting {
                    setting: "limit",
                    found: name.to_owned(),
                    expected: Self::NAMES.join(", "),
                });
            }
        };
        *limit = value;
        Ok(())
    }

    pub(crate) fn check_module(&self, size: usize) -> Result<(), Error> {
        let what = || "its size in bytes".to_owned();
        check("module-size", what, size as u64, self.module_size)
    }

    pub(crate) fn check_functions(&self, count: usize) -> Result<(), Error> {
        let what = || "the number of its functions".to_owned();
        check("functions", what, count as u64, self.functions)
    }

    pub(crate) fn check_operators(&self, function: u32, count: u64) -> Result<(), Error> {
        let what = || format!("the number of operators in function {function}");
        check("operators", what, count, self.operators)
    }

    /// Checks the number of values that the code of a function with a body of `bytes` bytes defines
    /// and passes, as far as it is translated.
    pub(crate) fn check_values(&self, function: u32, bytes: u64, count: u64) -> Result<(), Error> {
        let supported = FREE_VALUES.max(bytes.saturating_mul(VALUES_PER_BYTE));
        if count > supported {
            return Err(Error::TooLarge {
                what: format!("the number of values in function {function}"),
                found: count,
                limit: supported,
            });
        }
        let what = || {
            format!(
                "the number of values in function {function}, limited to {VALUES} times the \
                 operators that are allowed,"
            )
        };
        let max = self.operators.saturating_mul(VALUES);
        check("operators", what, count, max)
    }

    /// Checks an artifact that was made of a module of `module` bytes.
    pub(crate) fn check_artifact(&self, size: usize, module: usize) -> Result<(), Error> {
        self.check_size("size", size as u64, module)
    }

    /// Checks the size of the code that was compiled so far of a module of `module` bytes. How much
    /// that is depends on the threads that compile, so the error says only that it is too much.
    pub(crate) fn check_code(&self, size: usize, module: usize) -> Result<(), Error> {
        let max = self.artifact_size.min(self.max_of_growth(module));
        let least = (size as u64).min(max.saturating_add(1));
        self.check_size("least size", least, module)
    }

    fn check_size(&self, kind: &str, size: u64, module: usize) -> Result<(), Error> {
        let what = || format!("the {kind} of the artifact in bytes");
        check("artifact-size", what, size, self.artifact_size)?;
        let what = || {
            let times = self.artifact_growth;
            format!("the {kind} of the artifact in bytes, limited to {times} times the module's,")
        };
        check("artifact-growth", what, size, self.max_of_growth(module))
    }

    /// The size that [`Limits::artifact_growth`] allows.
    fn max_of_growth(&self, module: usize) -> u64 {
        let max = (module as u64).saturating_mul(self.artifact_growth);
        max.max(FREE)
    }
}

fn check(
    name: &'static str,
    what: impl FnOnce() -> String,
    found: u64,
    max: u64,
) -> Result<(), Error> {
    if found <= max {
        return Ok(());
    }
    let what = what();
    Err(Error::Limit {
        name,
        what,
        found,
        max,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{Compiler, Settings};

    /// The message of the error, or "" if there is none, of compiling with one limit changed.
    fn compile(name: &str, value: u64, wat: &str) -> String {
        let mut settings = Settings::default();
        settings.limits.set(name, value).unwrap();
        let wasm = wat::parse_str(wat).unwrap();
        let compiled = Compiler::new(settings).unwrap().compile(&wasm);
        compiled.map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn each_limit_holds_at_its_bound() {
        let wat = r#"(module (import "a" "b" (func)) (func)
                (func (export "f") nop (block nop) unreachable nop))"#;
        let size = wat::parse_str(wat).unwrap().len() as u64;
        // The operators of the last function: nop, block, nop, end, unreachable, nop, end.
        for (name, bound, what) in [
            ("module-size", size, "its size in bytes"),
            ("functions", 2, "the number of its functions"),
            ("operators", 7, "the number of operators in function 2"),
        ] {
            assert_eq!(compile(name, bound, wat), "", "{name}");
            let found = compile(name, bound - 1, wat);
            assert_eq!(
                found,
                format!(
                    "the module exceeds the limit `{name}`: {what} is {bound}, at most {} is allowed",
                    bound - 1
                )
            );
        }
    }

    /// Each of these modules has few operators, and would take the compiler 40 MB and more without
    /// the limit.
    #[test]
    fn values_are_limited() {
        let many = "i32 ".repeat(1000);
        let constants = "i32.const 0 ".repeat(1000);
        let with = |body: &str| {
            format!(
                "(module (type $t (func (param {many}) (result {many}))) (type $r (func (result {many})))
                    (tag $e (param {many})) (func $v (export \"v\") (result {many}) {constants})
                    (func $w (export \"w\") (param {many}))
                    (func $f (export \"f\") (param $p i32) (result {many}) {body}))"
            )
        };
        let times = |count: usize, text: &str| text.repeat(count);
        for (what, body) in [
            ("few", constants.clone()),
            (
                "loops",
                constants.clone() + &times(1000, "(loop (type $t)) "),
            ),
            (
                "branches",
                constants.clone() + &times(1000, "(br_if 0 (local.get $p)) "),
            ),
            (
                "ifs",
                constants.clone()
                    + &times(1000, "local.get $p if (type $t) ")
                    + &times(1000, "end "),
            ),
            ("calls", times(1000, "call $v call $w ") + &constants),
            // The following modules have many values because of one operator.
            (
                "table",
                times(1000, "(block (type $r) ")
                    + &constants
                    + "local.get $p (br_table "
                    + &(0..1000).map(|i| format!("{i} ")).collect::<String>()
                    + ")"
                    + &times(1000, ")"),
            ),
            (
                "clauses",
                format!(
                    "(block (type $r) (try_table {}) {constants})",
                    times(1000, "(catch $e 0) ")
                ),
            ),
        ] {
            let found = compile("operators", 50_000, &with(&body));
            match what {
                "few" => assert_eq!(found, ""),
                _ => assert!(
                    found.contains("the number of values in function"),
                    "{what}: {found}"
                ),
            }
        }
    }

    /// Without any limit in the settings, too, a small function has a bounded number of values.
    #[test]
    fn values_are_bounded_for_each_byte() {
        let wat = format!(
            "(module (import \"h\" \"f\" (func $f (result {})))
                (func (export \"f\") {} unreachable))",
            "i32 ".repeat(1000),
            "call $f ".repeat(2200)
        );
        let wasm = wat::parse_str(wat).unwrap();
        let compiled = Compiler::new(Settings::default()).unwrap().compile(&wasm);
        let error = compiled.map(drop).unwrap_err().to_string();
        assert!(error.contains("values in function 1 is"), "{error}");
        let limits = Limits::default();
        limits.check_values(3, 10, FREE_VALUES).unwrap();
        limits
            .check_values(3, FREE_VALUES, VALUES_PER_BYTE * FREE_VALUES)
            .unwrap();
        let error = limits.check_values(3, 10, FREE_VALUES + 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the module is too large: the number of values in function 3 is 2097153, at most \
             2097152 is supported"
        );
    }

    /// What is inlined into a function counts there.
    #[test]
    fn an_error_about_values_names_the_function_that_has_them() {
        let wat = format!(
            "(module (func $g (param i32) (block (result {}) {} {}) {})
                (func (export \"f\") (param i32) {}))",
            "i32 ".repeat(100),
            "i32.const 0 ".repeat(100),
            "(br_if 0 (local.get 0))".repeat(10),
            "drop ".repeat(100),
            "(call $g (local.get 0))".repeat(20)
        );
        let mut settings = Settings::default();
        settings.passes.inline = crate::settings::Inline::Always;
        settings.limits.operators = 250;
        let wasm = wat::parse_str(wat).unwrap();
        let error = Compiler::new(settings).unwrap().compile(&wasm);
        let error = error.map_or_else(|error| error.to_string(), |_| String::new());
        assert!(error.contains("values in function 1,"), "{error}");
    }

    #[test]
    fn artifacts_are_limited() {
        let small = "(module (func))";
        assert!(compile("artifact-size", 1000, small).contains("`artifact-size`"));
        assert_eq!(compile("artifact-size", 1 << 20, small), "");
        // A small artifact is allowed even if its module is far smaller.
        assert_eq!(compile("artifact-growth", 0, small), "");
        let limits = Limits::default();
        limits.check_artifact(FREE as usize, 1).unwrap();
        limits.check_artifact(200 << 20, 2 << 20).unwrap();
        let error = limits.check_artifact((200 << 20) + 1, 2 << 20).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the module exceeds the limit `artifact-growth`: the size of the artifact in bytes, \
             limited to 100 times the module's, is 209715201, at most 209715200 is allowed"
        );
    }

    /// Compiling ends when there is more code than the artifact may have, before everything is
    /// compiled. The error does not say how much there was, because that depends on the threads.
    #[test]
    fn too_much_code_ends_the_compilation() {
        let functions = r#"(func (export "NAME") (result i64) i64.const 81985529216486895)"#;
        let functions = (0..1000).map(|i| functions.replace("NAME", &i.to_string()));
        let wasm = wat::parse_str(format!("(module {})", functions.collect::<String>())).unwrap();
        let mut settings = Settings::default();
        settings.limits.artifact_size = 500;
        let done = AtomicUsize::new(0);
        let compiled = Compiler::new(settings)
            .unwrap()
            .compile_with_progress(&wasm, &|_, _| {
                done.fetch_add(1, Ordering::Relaxed);
            });
        assert_eq!(
            compiled.map(drop).unwrap_err().to_string(),
            "the module exceeds the limit `artifact-size`: the least size of the artifact in bytes \
             is 501, at most 500 is allowed"
        );
        let done = done.into_inner();
        assert!((5..200).contains(&done), "{done} functions");
        let error = Limits::default().check_code(usize::MAX, 1).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("is 67108865, at most 67108864"), "{error}");
    }

    #[test]
    fn every_name_is_a_limit() {
        let mut limits = Limits::default();
        for (i, name) in (0..).zip(Limits::NAMES) {
            limits.set(name, i).unwrap();
        }
        let Limits {
            module_size,
            functions,
            operators,
            artifact_size,
            artifact_growth,
        } = limits;
        let found = [
            module_size,
            functions,
            operators,
            artifact_size,
            artifact_growth,
        ];
        assert_eq!(found, [0, 1, 2, 3, 4]);
        let error = limits.set("operator", 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "limit `operator` is not supported; expected module-size, functions, operators, \
             artifact-size, artifact-growth"
        );
    }
}
