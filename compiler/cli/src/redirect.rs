//! `precast run --redirect` and `--explain-imports`.

use std::io::{self, Write};

use anyhow::{Result, bail};
use precast_loader::{ExternType, Linker, Module, Redirections};

/// Parses rules of the form `OLD=NEW`, where both sides are `MODULE` or both are `MODULE::NAME`.
pub(crate) fn parse(rules: &[String]) -> Result<Redirections> {
    let mut redirections = Redirections::new();
    for rule in rules {
        let sides = rule.split_once('=');
        let sides = sides.map(|(old, new)| (old.split_once("::"), new.split_once("::"), old, new));
        match sides {
            Some((None, None, old, new)) if !old.is_empty() && !new.is_empty() => {
                redirections.module(old, new);
            }
            Some((Some((old_module, old_name)), Some((new_module, new_name)), ..)) => {
                redirections.item(old_module, old_name, new_module, new_name);
            }
            _ => bail!(
                "redirection `{rule}`: expected `MODULE=MODULE` or `MODULE::NAME=MODULE::NAME`"
            ),
        }
    }
    Ok(redirections)
}

/// Prints for each import where it is looked up, which rules redirected it, and what is defined
/// there; then prints the rules that match no import.
pub(crate) fn explain<T: 'static>(
    module: &Module,
    linker: &Linker<T>,
    redirections: &Redirections,
) -> Result<()> {
    let mut out = io::stdout().lock();
    for import in redirections.explain(module) {
        let (target_module, target_name) = &import.target;
        let found = linker.host_func(target_module, target_name).cloned();
        let found = match found.map(ExternType::Func) {
            None => "nothing is defined there".to_owned(),
            Some(ty) if ty == import.ty => "defined by the host".to_owned(),
            Some(ty) => format!("defined by the host as {ty}, which does not fit"),
        };
        writeln!(out, "{import}; {found}")?;
    }
    for rule in redirections.unmatched(module) {
        writeln!(out, "the redirection {rule} matches no import")?;
    }
    Ok(())
}
