//! Import redirection: rules that give imports other targets, for one instantiation.
//!
//! A *module rule* replaces the module name of imports. An *item rule* replaces both names of one
//! import. Module rules apply first, and item rules match the module name that they gave. If there
//! are several rules for the same name, the last one counts. At most one rule of either sort
//! applies to an import, so rules do not chain, and the order of imports does not matter.

use std::fmt;

use precast_artifact::shown;

use crate::module::Module;
use crate::types::ExternType;

/// Rules that give imports other targets.
///
/// ```
/// # use precast_loader::Redirections;
/// let mut rules = Redirections::new();
/// rules.module("wasi_unstable", "wasi_snapshot_preview1");
/// rules.item("env", "abort", "assemblyscript", "abort");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Redirections {
    modules: Vec<ModuleRule>,
    items: Vec<ItemRule>,
}

/// Imports of module `old` are looked up in `new`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ModuleRule {
    old: String,
    new: String,
}

/// The import `old` is looked up as `new`; both are module and item.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ItemRule {
    old: (String, String),
    new: (String, String),
}

impl fmt::Display for ModuleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` -> `{}`", self.old, self.new)
    }
}

impl fmt::Display for ItemRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((m, n), (new_m, new_n)) = (&self.old, &self.new);
        write!(f, "`{m}`.`{n}` -> `{new_m}`.`{new_n}`")
    }
}

/// Where an import is looked up, and the rules that decided it.
///
/// ```
/// use precast_loader::{Module, Redirections};
///
/// fn explain(rules: &Redirections, module: &Module) {
///     for import in rules.explain(module) {
///         println!("{import}");
///     }
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Redirected {
    /// Module name that the module asks for.
    pub module: String,
    /// Item name that the module asks for.
    pub name: String,
    /// Type that the module expects.
    pub ty: ExternType,
    /// Module name and item name to look up. They are the import's own if no rule applied.
    pub target: (String, String),
    /// The rules that applied, in their order and as text; at most two.
    pub rules: Vec<String>,
}

impl fmt::Display for Redirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (module, name) = &self.target;
        let Self { ty, .. } = self;
        write!(
            f,
            "`{}`.`{}` ({ty})",
            shown(&self.module),
            shown(&self.name)
        )?;
        write!(
            f,
            " is looked up as `{}`.`{}`: ",
            shown(module),
            shown(name)
        )?;
        if self.rules.is_empty() {
            f.write_str("no rule matches")
        } else {
            write!(f, "{}", shown(&self.rules.join(", then ")))
        }
    }
}

impl Redirections {
    /// No rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a module rule: imports of `old` are looked up in `new`.
    pub fn module(&mut self, old: &str, new: &str) -> &mut Self {
        let (old, new) = (old.to_owned(), new.to_owned());
        self.modules.push(ModuleRule { old, new });
        self
    }

    /// Adds an item rule: the import `old_name` of `old_module` is looked up as `new_name` of
    /// `new_module`. `old_module` is the name that module rules have given.
    pub fn item(
        &mut self,
        old_module: &str,
        old_name: &str,
        new_module: &str,
        new_name: &str,
    ) -> &mut Self {
        self.items.push(ItemRule {
            old: (old_module.to_owned(), old_name.to_owned()),
            new: (new_module.to_owned(), new_name.to_owned()),
        });
        self
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty() && self.items.is_empty()
    }

    /// Module name and item name to look up for an import.
    pub fn target<'a>(&'a self, module: &'a str, name: &'a str) -> (&'a str, &'a str) {
        let (by_module, by_item) = self.rules(module, name);
        match (by_module, by_item) {
            (_, Some(i)) => (&self.items[i].new.0, &self.items[i].new.1),
            (Some(i), None) => (&self.modules[i].new, name),
            (None, None) => (module, name),
        }
    }

    /// The rules that apply to an import.
    fn rules(&self, module: &str, name: &str) -> (Option<usize>, Option<usize>) {
        let by_module = self.modules.iter().rposition(|rule| rule.old == module);
        let module = by_module.map_or(module, |i| &self.modules[i].new);
        let matches = |rule: &ItemRule| rule.old.0 == module && rule.old.1 == name;
        (by_module, self.items.iter().rposition(matches))
    }

    /// Says for each import of a module where it is looked up and why, in the module's order.
    pub fn explain(&self, module: &Module) -> Vec<Redirected> {
        let imports = module.imports().map(|import| {
            let (module, name) = (import.module(), import.name());
            let (by_module, by_item) = self.rules(module, name);
            let by_module = by_module.map(|i| self.modules[i].to_string());
            let by_item = by_item.map(|i| self.items[i].to_string());
            let (target_module, target_name) = self.target(module, name);
            Redirected {
                module: module.to_owned(),
                name: name.to_owned(),
                ty: import.ty(),
                target: (target_module.to_owned(), target_name.to_owned()),
                rules: by_module.into_iter().chain(by_item).collect(),
            }
        });
        imports.collect()
    }

    /// The rules that apply to no import of a module, as text: rules with a mistyped name, and
    /// rules that a later rule for the same name replaces.
    pub fn unmatched(&self, module: &Module) -> Vec<String> {
        let mut modules = vec![false; self.modules.len()];
        let mut items = vec![false; self.items.len()];
        for import in module.imports() {
            let (module, name) = (import.module(), import.name());
            let (by_module, by_item) = self.rules(module, name);
            if let Some(i) = by_module {
                modules[i] = true;
            }
            if let Some(i) = by_item {
                items[i] = true;
            }
        }
        let modules = self.modules.iter().zip(modules);
        let items = self.items.iter().zip(items);
        let modules = modules
            .filter(|(_, used)| !used)
            .map(|(r, _)| r.to_string());
        modules
            .chain(items.filter(|(_, used)| !used).map(|(r, _)| r.to_string()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_first_then_items_of_the_new_name_and_the_last_counts() {
        let mut rules = Redirections::new();
        rules.module("a", "b").module("b", "c");
        rules.item("a", "f", "never", "f");
        rules.item("b", "f", "first", "f").item("b", "f", "x", "g");
        // Renamed once only: rules do not chain.
        assert_eq!(rules.target("a", "h"), ("b", "h"));
        assert_eq!(rules.target("b", "h"), ("c", "h"));
        assert_eq!(rules.target("a", "f"), ("x", "g"));
        // `b` is `c` by the time that item rules look at it.
        assert_eq!(rules.target("b", "f"), ("c", "f"));
        assert_eq!(rules.target("z", "f"), ("z", "f"));
        rules.module("a", "d");
        assert_eq!(rules.target("a", "f"), ("d", "f"));
    }
}
