//! What the bytes of an artifact depend on besides the module that it is compiled from.
//!
//! A cache that compares all of this, and the module's bytes, never returns code that the current
//! compiler would not write. The settings are those that the artifact's metadata records. `threads`
//! and `limits` are missing on purpose, because the bytes do not depend on them. The list
//! destructures [`Settings`] without `..`, so that a new setting cannot be forgotten here.

use std::collections::BTreeSet;

use precast_artifact::reader::{feature_names, hex};
use precast_artifact::{ABI, FORMAT};

use crate::Compiler;
use crate::settings::{CustomSections, OptLevel, Passes, Settings};
use crate::target::Target;

/// Name and version of this compiler.
pub(crate) const PRODUCER: &str = concat!("precast ", env!("CARGO_PKG_VERSION"));

/// What an artifact depends on besides the module; see [`Compiler::identity`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// [`Metadata::producer`](precast_artifact::metadata::Metadata::producer) of this compiler's
    /// artifacts.
    pub producer: &'static str,
    /// Hash of the compiler's sources, because development changes them without a new version.
    pub sources: &'static str,
    /// [`FORMAT`].
    pub format: u32,
    /// [`ABI`].
    pub abi: u32,
    /// Target triple.
    pub target: String,
    /// Settings, as in the metadata of this compiler's artifacts, with CPU features resolved.
    pub settings: Vec<(String, String)>,
}

impl Compiler {
    /// Everything that the bytes of this compiler's artifacts depend on besides the module.
    pub fn identity(&self) -> Identity {
        Identity {
            producer: PRODUCER,
            sources: env!("PRECAST_COMPILER_SOURCES"),
            format: FORMAT,
            abi: ABI,
            target: self.target.isa.triple().to_string(),
            settings: settings(&self.target, &self.settings),
        }
    }
}

/// Name and value of every setting that changes the bytes of an artifact.
pub(crate) fn settings(target: &Target, settings: &Settings) -> Vec<(String, String)> {
    let Settings {
        opt_level,
        target: _,
        cpu: _,
        strategy,
        interruption,
        features,
        listeners,
        counters,
        profile,
        custom_sections,
        limits: _,
        threads: _,
        passes,
    } = settings;
    let opt_level = match opt_level {
        OptLevel::None => "none",
        OptLevel::Speed => "speed",
        OptLevel::Size => "size",
    };
    let cpu = match feature_names(target.arch, target.cpu_features) {
        none if none.is_empty() => "baseline".to_owned(),
        names => names.replace(' ', ""),
    };
    let features: Vec<_> = features
        .iter()
        .map(|(name, on)| format!("{}{name}", if *on { '+' } else { '-' }))
        .collect();
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut list = vec![
        setting("opt-level", opt_level),
        setting("cpu", &cpu),
        setting("strategy", strategy.text()),
        setting("interruption", interruption.text()),
    ];
    if !features.is_empty() {
        list.push(setting("features", &features.join(",")));
    }
    if *listeners {
        list.push(setting("listeners", "true"));
    }
    if *counters {
        list.push(setting("counters", "true"));
    }
    if let Some(profile) = profile {
        list.push(setting("profile", &hex(&profile.digest())));
    }
    match custom_sections {
        CustomSections::None => {}
        CustomSections::Named(names) => {
            let names: BTreeSet<_> = names.iter().collect();
            list.push(setting("custom-sections", &format!("{names:?}")));
        }
        CustomSections::All => list.push(setting("custom-sections", "all")),
    }
    if *passes != Passes::default() {
        list.push(setting("passes", &format!("{passes:?}")));
    }
    list.push(setting("cranelift", cranelift_codegen::VERSION));
    list
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use precast_artifact::Profile;

    use super::*;

    fn identity(change: impl FnOnce(&mut Settings)) -> Identity {
        let mut settings = Settings {
            target: Some("x86_64-unknown-linux-gnu".to_owned()),
            ..Settings::default()
        };
        change(&mut settings);
        Compiler::new(settings).unwrap().identity()
    }

    #[test]
    fn identities_differ_if_and_only_if_the_output_does() {
        let base = identity(|_| ());
        assert_eq!(base.sources.len(), 16);
        assert_eq!(base, identity(|s| s.threads = Some(1)));
        assert_eq!(base, identity(|s| s.limits.operators = 1000));
        assert_eq!(base, identity(|s| s.cpu = "+sse3,-sse3".parse().unwrap()));
        let keep = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            identity(|s| s.custom_sections = CustomSections::Named(names))
        };
        assert_eq!(keep(&["a", "b"]), keep(&["b", "a", "b"]));
        let others = [
            identity(|s| s.listeners = true),
            identity(|s| s.counters = true),
            identity(|s| s.profile = Some(Arc::new(Profile::new([0; 32])))),
            identity(|s| s.profile = Some(Arc::new(Profile::new([1; 32])))),
            keep(&["a", "b"]),
            keep(&["a\", \"b"]),
            keep(&["a, b"]),
            keep(&["all"]),
            identity(|s| s.custom_sections = CustomSections::All),
            identity(|s| s.opt_level = OptLevel::Size),
            identity(|s| s.strategy = precast_artifact::Strategy::Checked),
            identity(|s| s.interruption = precast_artifact::Interruption::Fuel),
            identity(|s| s.interruption = precast_artifact::Interruption::Epoch),
            identity(|s| s.cpu = "x86-64-v3".parse().unwrap()),
            identity(|s| s.passes.inline = crate::Inline::Always),
            identity(|s| s.features.push(("simd".to_owned(), false))),
            identity(|s| s.target = Some("aarch64-unknown-linux-gnu".to_owned())),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_ne!(&base, other);
            assert!(others[..i].iter().all(|earlier| earlier != other));
        }
    }
}
