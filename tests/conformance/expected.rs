//! What is expected to fail, and why. Each entry is tested: it must fail.

/// What is expected of a script.
#[derive(Clone, Copy)]
pub(crate) enum Expected {
    /// That all of it passes.
    Nothing,
    /// That something in it fails, for this reason.
    Script(&'static str),
    /// That the directives on these lines fail, each for its reason, and nothing else.
    Lines(&'static [(usize, &'static str)]),
}

impl Expected {
    /// Whether the directive on this line may fail.
    pub(crate) fn allows(self, line: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Script(_) => true,
            Self::Lines(lines) => lines.iter().any(|(listed, _)| *listed == line),
        }
    }
}

/// What is expected of the script of this name.
pub(crate) fn of(name: &str) -> Expected {
    if let Some((_, reason)) = SCRIPTS.iter().find(|(listed, _)| *listed == name) {
        return Expected::Script(reason);
    }
    match LINES.iter().find(|(listed, _)| *listed == name) {
        Some((_, lines)) => Expected::Lines(lines),
        None => Expected::Nothing,
    }
}

/// Names of all scripts of which something is expected to fail.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let scripts = SCRIPTS.iter().map(|(name, _)| *name);
    scripts.chain(LINES.iter().map(|(name, _)| *name))
}

const SCRIPTS: &[(&str, &str)] = &[];

const LINES: &[(&str, &[(usize, &str)])] = &[];
