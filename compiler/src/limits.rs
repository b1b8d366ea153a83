//! What a compilation may take, for hosts that compile strangers' modules.
//!
//! Time and memory grow nearly linearly with a module (`tests/growth.py` shows that), so a limit on
//! the module's size limits both. The other limits are for what grows otherwise: a single function,
//! which only one thread compiles, and an artifact that is far larger than its module.

use crate::Error;

/// Bytes of an artifact that [`Limits::artifact_growth`] always allows.
const FREE: u64 = 64 << 20;

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

    /// Checks an artifact, or a part of one, that was made of a module of `module` bytes.
    pub(crate) fn check_artifact(&self, size: usize, module: usize) -> Result<(), Error> {
        let what = || "the size of the artifact in bytes".to_owned();
        check("artifact-size", what, size as u64, self.artifact_size)?;
        let what = || {
            let times = self.artifact_growth;
            format!("the size of the artifact in bytes, limited to {times} times the module's,")
        };
        let most = (module as u64).saturating_mul(self.artifact_growth);
        check("artifact-growth", what, size as u64, most.max(FREE))
    }
}

fn check(
    name: &'static str,
    what: impl FnOnce() -> String,
    found: u64,
    most: u64,
) -> Result<(), Error> {
    if found <= most {
        return Ok(());
    }
    let what = what();
    Err(Error::Limit {
        name,
        what,
        found,
        most,
    })
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn artifacts_are_limited() {
        let small = "(module (func))";
        assert!(compile("artifact-size", 1000, small).contains("`artifact-size`"));
        assert_eq!(compile("artifact-size", 1 << 20, small), "");
        // A small artifact of an even smaller module is nobody's problem.
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
