//! Runs `.wast` scripts, the format of the [official test suite], with precast. Every module is
//! compiled to an artifact, loaded, and called as the script says.
//!
//! [`run_with`] returns a [`Report`] on how many directives passed and which failed. The script
//! goes on after a directive that fails. A module that fails replaces the module before it, so that
//! the directives after it fail too, instead of testing the wrong module.
//!
//! - `script` executes the directives.
//! - `value` turns the script's constants into arguments, and compares results with its patterns.
//! - `legacy` rewrites the older form of exception handling, which the parser of scripts does not
//!   read.
//! - `spectest` is the host module that the suite imports.
//!
//! [official test suite]: https://github.com/WebAssembly/testsuite

#[cfg(feature = "compiler")]
mod compile;
mod legacy;
mod script;
mod spectest;
mod value;

use std::fmt;

#[cfg(feature = "compiler")]
pub use compile::run;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::{Wast, WastDirective};

/// The result of a script.
#[derive(Debug, Default)]
pub struct Report {
    /// How many directives passed.
    pub passed: usize,
    /// The directives that failed, in the order of the script.
    pub failures: Vec<Failure>,
}

/// A directive that failed.
#[derive(Debug)]
pub struct Failure {
    /// The line of the script, counted from 1.
    pub line: usize,
    /// The keyword of the directive.
    pub directive: &'static str,
    /// What happened, and what should have happened.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.line, self.directive, self.message)
    }
}

/// A script that cannot be run at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a script.
    #[error("cannot parse the script: line {line}, column {column}: {message}")]
    Parse {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// What was found and what was expected.
        message: String,
    },
    /// The settings cannot be used.
    #[cfg(feature = "compiler")]
    #[error(transparent)]
    Compiler(#[from] precast_compiler::Error),
    /// The `spectest` module could not be made.
    #[error("cannot make the module `spectest`: {0}")]
    Spectest(#[source] precast_loader::Error),
}

/// A source of the artifacts of a script's modules. Threads of the script use it too.
pub trait Modules: Sync {
    /// Returns the artifact of a module.
    ///
    /// # Errors
    /// The message of the compiler.
    fn artifact(&self, wasm: &[u8]) -> Result<Vec<u8>, String>;

    /// Checks that a module does not compile, for the right kind of reason; `expected` is the text
    /// of the script about the reason.
    ///
    /// # Errors
    /// What happened instead.
    fn rejects(&self, wasm: &[u8], kind: Rejected, expected: &str) -> Result<(), String>;
}

/// Why a module must not compile.
#[derive(Debug, Clone, Copy)]
pub enum Rejected {
    /// The module can be decoded, but it breaks a rule. It must not be rejected for the use of an
    /// unsupported proposal, unless that is the reason in the script.
    Invalid,
    /// The module cannot be decoded.
    Malformed,
}

/// Runs the script `text` with modules from `artifacts`, which must return artifacts that may run
/// in this process.
///
/// # Errors
/// When the script cannot be parsed.
pub fn run_with(text: &str, artifacts: &dyn Modules) -> Result<Report, Error> {
    with_script(text, |text, script| {
        std::thread::scope(|scope| {
            let mut runner = script::Runner::new(artifacts, text, scope)?;
            let mut report = Report::default();
            runner.directives(script.directives, &mut report);
            Ok(report)
        })
    })
}

/// Gives `then` the parsed script, and the text that its places are in.
fn with_script<R>(
    text: &str,
    then: impl FnOnce(&str, Wast<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let text = &*legacy::unfold(text);
    let parse_error = |error: wast::Error| {
        let (line, column) = error.span().linecol_in(text);
        Error::Parse {
            line: line + 1,
            column: column + 1,
            message: error.message(),
        }
    };
    let mut lexer = Lexer::new(text);
    // The suite contains names in right-to-left writing systems.
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).map_err(parse_error)?;
    then(
        text,
        parser::parse::<Wast<'_>>(&buffer).map_err(parse_error)?,
    )
}

fn keyword(directive: &WastDirective<'_>) -> &'static str {
    match directive {
        WastDirective::Module(_) => "module",
        WastDirective::ModuleDefinition(_) => "module definition",
        WastDirective::ModuleInstance { .. } => "module instance",
        WastDirective::AssertMalformed { .. } => "assert_malformed",
        WastDirective::AssertInvalid { .. } => "assert_invalid",
        WastDirective::AssertInvalidCustom { .. } => "assert_invalid_custom",
        WastDirective::AssertMalformedCustom { .. } => "assert_malformed_custom",
        WastDirective::Register { .. } => "register",
        WastDirective::Invoke(_) => "invoke",
        WastDirective::AssertTrap { .. } => "assert_trap",
        WastDirective::AssertReturn { .. } => "assert_return",
        WastDirective::AssertExhaustion { .. } => "assert_exhaustion",
        WastDirective::AssertUnlinkable { .. } => "assert_unlinkable",
        WastDirective::AssertException { .. } => "assert_exception",
        WastDirective::AssertSuspension { .. } => "assert_suspension",
        WastDirective::Thread(_) => "thread",
        WastDirective::Wait { .. } => "wait",
    }
}
