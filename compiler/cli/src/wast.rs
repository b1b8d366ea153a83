//! `precast wast`: runs scripts of the official test suite.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use precast_artifact::{Interruption, Strategy, shown_lines};
use precast_compiler::{Cpu, OptLevel, Settings};

use crate::{Failure, files, settings};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scripts (.wast)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How memory accesses are kept in bounds: guarded or checked [default: both, one after the
    /// other]
    #[arg(long, value_parser = settings::strategy)]
    strategy: Option<Strategy>,
    /// How code can be stopped: none, fuel, epoch or fuel+epoch
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = settings::interruption)]
    interruption: Interruption,
    /// What to optimise for: none, speed or size
    #[arg(long, value_name = "LEVEL", default_value = "speed")]
    opt_level: OptLevel,
    /// CPU that the code may use, as for `compile`
    #[arg(long, default_value = "baseline", allow_hyphen_values = true)]
    cpu: Cpu,
    /// Proposals that modules may not use, as for `compile`: those that came after a script
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = settings::feature, allow_hyphen_values = true)]
    features: Vec<(String, bool)>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let strategies = match args.strategy {
        Some(strategy) => vec![strategy],
        None => Strategy::ALL.to_vec(),
    };
    let (mut passed, mut failed) = (0, 0);
    for file in &args.files {
        let name = files::shown_path(file);
        let text = String::from_utf8(files::read(file)?)
            .map_err(|_| anyhow!("`{name}` is not text: expected a script (.wast)"))?;
        for strategy in &strategies {
            let settings = Settings {
                strategy: *strategy,
                interruption: args.interruption,
                opt_level: args.opt_level,
                cpu: args.cpu.clone(),
                features: args.features.clone(),
                ..Settings::default()
            };
            let report = precast_wast::run(&text, &settings)
                .with_context(|| format!("cannot run `{name}`"))?;
            passed += report.passed;
            failed += report.failures.len();
            for failure in report.failures {
                // Messages have names of the script, and may have several lines.
                let failure = shown_lines(&failure.to_string()).to_string();
                let failure = failure.replace('\n', "\n    ");
                files::print(format!("{name}:{failure} ({strategy})\n"))?;
            }
        }
    }
    files::print(format!("{passed} passed, {failed} failed\n"))?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
