//! `precast run --redirect` and `--explain-imports`.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use precast_artifact::shown;
use precast_loader::{Linker, Module, Redirections, Store};
use serde_json::json;

use crate::files;

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
    store: &mut Store<T>,
    redirections: &Redirections,
    as_json: bool,
) -> Result<()> {
    let mut imports = Vec::new();
    let mut text = String::new();
    for import in redirections.explain(module) {
        let (target_module, target_name) = &import.target;
        let found = linker.get(&mut *store, target_module, target_name);
        let found = found.map(|item| item.ty(&*store));
        let fits = found.as_ref() == Some(&import.ty);
        // Writing to a string cannot fail.
        writeln!(
            text,
            "{}.{} {}",
            shown(&import.module),
            shown(&import.name),
            import.ty
        )?;
        if !import.rules.is_empty() {
            let (module, name) = (shown(target_module), shown(target_name));
            let rules = import.rules.join(", then ");
            let rules = shown(&rules);
            writeln!(text, "    looked up as {module}.{name}, by {rules}")?;
        }
        match &found {
            None => writeln!(text, "    nothing is defined there")?,
            Some(_) if fits => writeln!(text, "    defined by the host")?,
            Some(ty) => writeln!(text, "    defined by the host as {ty}, which does not fit")?,
        }
        imports.push(json!({
            "module": import.module,
            "name": import.name,
            "type": import.ty.to_string(),
            "target": { "module": target_module, "name": target_name },
            "rules": import.rules,
            "found": found.map(|ty| ty.to_string()),
            "fits": fits,
        }));
    }
    let unmatched = redirections.unmatched(module);
    for rule in &unmatched {
        writeln!(text, "the redirection {} matches no import", shown(rule))?;
    }
    if as_json {
        let value = json!({ "imports": imports, "unmatched_redirections": unmatched });
        text = crate::json::text(&value);
    }
    files::print(text)
}
