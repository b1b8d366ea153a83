//! `precast-fuzz TARGET [--count N | --seconds N] [--seed S] [--failures N] [--verbose]`

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use precast_fuzz::driver::{self, Plan};
use precast_fuzz::{TARGETS, Target, target};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("child") => child(&args[1..]),
        Some(name) if !name.starts_with('-') => run(name, &args[1..]),
        _ => Err(usage()),
    };
    result.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::from(2)
    })
}

fn usage() -> String {
    let mut text = "usage: precast-fuzz TARGET [--count N | --seconds N] [--seed S] \
                    [--failures N] [--verbose], where TARGET is"
        .to_owned();
    for target in TARGETS {
        text.push_str(&format!("\n  {:20} {}", target.name, target.about));
    }
    text
}

fn known(name: &str) -> Result<&'static Target, String> {
    target(name).ok_or_else(|| format!("there is no target `{name}`; {}", usage()))
}

fn number(text: Option<&String>, what: &str) -> Result<u64, String> {
    let text = text.ok_or_else(|| format!("{what} needs a number"))?;
    let parsed = text.parse();
    parsed.map_err(|_| format!("{what} needs a number, but `{text}` is not one"))
}

fn run(name: &str, args: &[String]) -> Result<ExitCode, String> {
    let target = known(name)?;
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
            _ => return Err(format!("unknown option `{option}`; {}", usage())),
        }
    }
    if plan.count.is_none() && plan.time.is_none() {
        plan.time = Some(Duration::from_secs(10));
    }
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let outcome = driver::run(&exe, target, &plan).map_err(|error| error.to_string())?;
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
fn child(args: &[String]) -> Result<ExitCode, String> {
    let [name, progress, seed, end, millis, verbose] = args else {
        return Err("only the driver can use `child`".to_owned());
    };
    let target = known(name)?;
    let seeds = (number(Some(seed), "SEED")?, number(Some(end), "END")?);
    let time = Duration::from_millis(number(Some(millis), "MILLISECONDS")?);
    let verbose = verbose == "true";
    let code = driver::child(target, Path::new(progress), seeds, time, verbose)
        .map_err(|error| error.to_string())?;
    // Returning would drop values that threads of a failed case may still use.
    std::process::exit(code)
}
