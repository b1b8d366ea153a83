//! The options of all commands that compile modules.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use precast_artifact::{Interruption, Strategy};
use precast_compiler::{Cpu, CustomSections, Inline, Limits, OptLevel, Passes, Settings};

use crate::files::Named;
use crate::{profile, quantity};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to optimise for: none, speed or size (0 to 3 and s are accepted, too) [default: speed]
    #[arg(short = 'O', long, value_name = "LEVEL", value_parser = opt_level)]
    opt_level: Option<OptLevel>,
    /// CPU to compile for: baseline, native, x86-64-v2, x86-64-v3, x86-64-v4, armv8.1-a, armv8.4-a
    /// or armv9-a, followed by any number of `,+feature` and `,-feature` [default: baseline]
    #[arg(long, allow_hyphen_values = true)]
    cpu: Option<Cpu>,
    /// How memory accesses are kept in bounds: `guarded` by guard pages and signals, `checked` by
    /// explicit checks [default: guarded]
    #[arg(long, value_parser = strategy)]
    strategy: Option<Strategy>,
    /// Proposals that the module may not use (`-proposal`), separated by commas; a later
    /// `+proposal` allows one again [default: all that are supported are allowed]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = feature, allow_hyphen_values = true)]
    features: Vec<(String, bool)>,
    /// Let functions call the host's function listener, for tracing and profiles: the code is
    /// slower, even without a listener
    #[arg(long)]
    listeners: bool,
    /// Optimise for what the module did in earlier runs: a profile that `precast run --profile-out`
    /// wrote
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Custom sections of the module to keep in the artifact for hosts that ask for them, by their
    /// names, separated by commas, or `all` [default: none]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    keep_custom_sections: Vec<String>,
    /// Limit for what the module may take to compile; NAME is module-size, functions, operators (of
    /// one function), artifact-size or artifact-growth (artifacts beyond 64 MiB: how many times
    /// their module's size) [default: artifact-growth=100]
    #[arg(long = "limit", value_name = "NAME=N", value_parser = limit)]
    limits: Vec<(String, u64)>,
    /// Which parts of the compiler's middle end run, for measurements: `inline=never`,
    /// `inline=always`, `products=never`, `switches=never`, `variables=never`, `loops=never`,
    /// `exits=never`, `jumps=never`, `dispatches=never`
    #[arg(long, value_name = "LIST", value_parser = passes, hide = true)]
    passes: Option<Passes>,
}

impl Args {
    /// The settings for these options, with the profile read.
    pub(crate) fn settings(&self, interruption: Interruption) -> Result<Settings> {
        let default = Settings::default();
        let mut limits = default.limits;
        for (name, value) in &self.limits {
            limits.set(name, *value).expect("the parser knows the name");
        }
        let profile = self.profile.as_deref().map(profile::read).transpose()?;
        Ok(Settings {
            opt_level: self.opt_level.unwrap_or(default.opt_level),
            cpu: self.cpu.clone().unwrap_or(default.cpu),
            strategy: self.strategy.unwrap_or(default.strategy),
            interruption,
            features: self.features.clone(),
            listeners: self.listeners,
            counters: false,
            profile: profile.map(Arc::new),
            custom_sections: self.custom_sections(),
            limits,
            target: None,
            threads: None,
            passes: self.passes.unwrap_or_default(),
        })
    }

    /// The files that the settings are read from, by what they are.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = Named<'_>> {
        self.profile
            .iter()
            .map(|path| ("the profile", path.as_path()))
    }

    fn custom_sections(&self) -> CustomSections {
        let names = &self.keep_custom_sections;
        if names.is_empty() {
            CustomSections::None
        } else if names.iter().any(|name| name == "all") {
            CustomSections::All
        } else {
            CustomSections::Named(names.clone())
        }
    }

    /// An option that was given, if there is one.
    pub(crate) fn given(&self) -> Option<&'static str> {
        if self.opt_level.is_some() {
            Some("--opt-level")
        } else if self.cpu.is_some() {
            Some("--cpu")
        } else if self.strategy.is_some() {
            Some("--strategy")
        } else if !self.features.is_empty() {
            Some("--features")
        } else if self.listeners {
            Some("--listeners")
        } else if self.profile.is_some() {
            Some("--profile")
        } else if !self.keep_custom_sections.is_empty() {
            Some("--keep-custom-sections")
        } else if !self.limits.is_empty() {
            Some("--limit")
        } else if self.passes.is_some() {
            Some("--passes")
        } else {
            None
        }
    }
}

pub(crate) fn feature(text: &str) -> Result<(String, bool), String> {
    match text.split_at_checked(1) {
        Some(("+", name)) => Ok((name.to_owned(), true)),
        Some(("-", name)) => Ok((name.to_owned(), false)),
        _ => Err("expected `+proposal` or `-proposal`".to_owned()),
    }
}

fn limit(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("expected `name=number`")?;
    let value = quantity::size(value)?;
    match Limits::default().set(name, value) {
        Ok(()) => Ok((name.to_owned(), value)),
        Err(error) => Err(error.to_string()),
    }
}

fn passes(text: &str) -> Result<Passes, String> {
    let mut passes = Passes::default();
    for part in text.split(',') {
        match part {
            "inline=never" => passes.inline = Inline::Never,
            "inline=always" => passes.inline = Inline::Always,
            "products=never" => passes.products = false,
            "switches=never" => passes.switches = false,
            "variables=never" => passes.variables = false,
            "loops=never" => passes.loops = false,
            "exits=never" => passes.exits = false,
            "jumps=never" => passes.jumps = false,
            "dispatches=never" => passes.dispatches = false,
            _ => {
                return Err(
                    "expected inline=never, inline=always, products=never, switches=never, \
                     variables=never, loops=never, exits=never, jumps=never or dispatches=never"
                        .to_owned(),
                );
            }
        }
    }
    Ok(passes)
}

fn opt_level(text: &str) -> Result<OptLevel, String> {
    match text {
        "0" | "none" => Ok(OptLevel::None),
        "1" | "2" | "3" | "speed" => Ok(OptLevel::Speed),
        "s" | "z" | "size" => Ok(OptLevel::Size),
        _ => Err("expected none, speed or size (or 0 to 3, s)".to_owned()),
    }
}

pub(crate) fn strategy(text: &str) -> Result<Strategy, String> {
    Strategy::ALL
        .iter()
        .copied()
        .find(|strategy| strategy.text() == text)
        .ok_or_else(|| "expected guarded or checked".to_owned())
}

pub(crate) fn interruption(text: &str) -> Result<Interruption, String> {
    Interruption::ALL
        .iter()
        .copied()
        .find(|interruption| interruption.text() == text)
        .ok_or_else(|| "expected none, fuel, epoch or fuel+epoch".to_owned())
}
