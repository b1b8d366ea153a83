//! The command line of a fuzzer: `TARGET [--count N | --seconds N] [--seed S] [--failures N]
//! [--verbose]`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::driver::{self, Plan};
use crate::{SELF_TEST, Target};

/// The targets of a program, and how to repeat a case of them.
#[derive(Clone, Copy)]
pub struct Program {
    /// The command that runs the program.
    pub command: &'static str,
    /// Its targets.
    pub targets: &'static [Target],
}

impl Program {
    /// Does what the arguments of the process say.
    pub fn main(self) -> ExitCode {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let result = match args.first().map(String::as_str) {
            Some("child") => self.child(&args[1..]),
            Some(name) if !name.starts_with('-') => self.run(name, &args[1..]),
            _ => Err(self.usage()),
        };
        result.unwrap_or_else(|message| {
            eprintln!("error: {message}");
            ExitCode::from(2)
        })
    }

    /// The target with this name.
    pub fn target(self, name: &str) -> Option<&'static Target> {
        let known = self.targets.iter().chain([&SELF_TEST]);
        known.into_iter().find(|target| target.name == name)
    }

    fn usage(self) -> String {
        let mut text = format!(
            "usage: {} TARGET [--count N | --seconds N] [--seed S] [--failures N] [--verbose], \
             where TARGET is",
            self.command
        );
        for target in self.targets {
            text.push_str(&format!("\n  {:20} {}", target.name, target.about));
        }
        text
    }

    fn known(self, name: &str) -> Result<&'static Target, String> {
        self.target(name)
            .ok_or_else(|| format!("there is no target `{name}`; {}", self.usage()))
    }

    fn run(self, name: &str, args: &[String]) -> Result<ExitCode, String> {
        let target = self.known(name)?;
        let mut plan = Plan {
            seed: 0,
            count: None,
            time: None,
            failures: 1,
            verbose: false,
        };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            match option.as_str() {
                "--count" => plan.count = Some(number(args.next(), option)?),
                "--seconds" => {
                    plan.time = Some(Duration::from_secs(number(args.next(), option)?));
                }
                "--seed" => plan.seed = number(args.next(), option)?,
                "--failures" => plan.failures = number(args.next(), option)?,
                "--verbose" => plan.verbose = true,
                _ => return Err(format!("unknown option `{option}`; {}", self.usage())),
            }
        }
        if plan.count.is_none() && plan.time.is_none() {
            plan.time = Some(Duration::from_secs(10));
        }
        let exe = std::env::current_exe().map_err(|error| error.to_string())?;
        let outcome =
            driver::run(&exe, self.command, target, &plan).map_err(|error| error.to_string())?;
        println!(
            "{name}: {} cases from seed {} on in {:.1} s, {} failed",
            outcome.cases,
            plan.seed,
            outcome.time.as_secs_f64(),
            outcome.failed.len(),
        );
        Ok(ExitCode::from(u8::from(!outcome.failed.is_empty())))
    }

    /// The driver starts this as `child TARGET PROGRESS SEED END MILLISECONDS VERBOSE`.
    fn child(self, args: &[String]) -> Result<ExitCode, String> {
        let [name, progress, seed, end, millis, verbose] = args else {
            return Err("only the driver can use `child`".to_owned());
        };
        let target = self.known(name)?;
        let seeds = (number(Some(seed), "SEED")?, number(Some(end), "END")?);
        let time = Duration::from_millis(number(Some(millis), "MILLISECONDS")?);
        let verbose = verbose == "true";
        let code = driver::child(target, Path::new(progress), seeds, time, verbose)
            .map_err(|error| error.to_string())?;
        // Returning would drop values that threads of a failed case may still use.
        std::process::exit(code)
    }
}

fn number(text: Option<&String>, what: &str) -> Result<u64, String> {
    let text = text.ok_or_else(|| format!("{what} needs a number"))?;
    let parsed = text.parse();
    parsed.map_err(|_| format!("{what} needs a number, but `{text}` is not one"))
}
