//! How to make one instance.

use std::sync::Arc;

use crate::redirect::Redirections;
use crate::types::ExternType;

use super::{Context, Instance};

/// What an import is resolved to by [`InstanceConfig::with_import_resolver`].
///
/// ```
/// use precast_loader::runtime::{Instance, InstanceConfig, Target};
///
/// /// Takes what a module imports from `env` from an instance, which may be anonymous.
/// fn config(env: Instance) -> InstanceConfig {
///     InstanceConfig::new().with_import_resolver(move |_, module, name| {
///         (module == "env").then(|| Target::Instance(env.clone(), name.to_owned()))
///     })
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Target<T: Send + 'static = ()> {
    /// An item of the instance of a name: module name, item name.
    Named(String, String),
    /// An item of an instance, which may be anonymous.
    Instance(Instance<T>, String),
}

pub(super) type Resolver<T> =
    Arc<dyn Fn(&ExternType, &str, &str) -> Option<Target<T>> + Send + Sync>;

/// How to make one instance of a module: its name, where its imports come from, what is called
/// first.
///
/// ```
/// use precast_loader::runtime::InstanceConfig;
///
/// let config: InstanceConfig = InstanceConfig::new()
///     .with_name("guest")
///     .with_start_functions(["_initialize"])
///     .with_import("env", "abort", "assemblyscript", "abort");
/// ```
pub struct InstanceConfig<T: Send + 'static = ()> {
    pub(super) name: String,
    pub(super) start_functions: Vec<String>,
    pub(super) redirections: Redirections,
    pub(super) resolver: Option<Resolver<T>>,
    pub(super) shared_store: bool,
    pub(super) data: Option<T>,
    pub(super) context: Option<Context>,
}

impl<T: Send + 'static> Default for InstanceConfig<T> {
    fn default() -> Self {
        Self {
            name: String::new(),
            start_functions: vec!["_start".to_owned()],
            redirections: Redirections::new(),
            resolver: None,
            shared_store: false,
            data: None,
            context: None,
        }
    }
}

impl<T: Send + 'static> std::fmt::Debug for InstanceConfig<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceConfig")
            .field("name", &self.name)
            .field("start_functions", &self.start_functions)
            .field("redirections", &self.redirections)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> InstanceConfig<T> {
    /// An anonymous instance, imports resolved by name, `_start` called if there is one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name under which others import from it, unique among the open instances of a runtime.
    /// Empty: anonymous; it is closed when its last handle is dropped.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Exported functions without parameters and results to call first, in this order, instead of
    /// `_start`. Those that the module lacks are skipped.
    pub fn with_start_functions<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.start_functions = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// Adds a rule: the import `old_name` of `old_module` comes from `new_name` of `new_module`.
    /// See [`Redirections::item`].
    pub fn with_import(
        mut self,
        old_module: &str,
        old_name: &str,
        new_module: &str,
        new_name: &str,
    ) -> Self {
        self.redirections
            .item(old_module, old_name, new_module, new_name);
        self
    }

    /// Adds a rule: imports from `old` come from `new`. See [`Redirections::module`].
    pub fn with_import_module(mut self, old: &str, new: &str) -> Self {
        self.redirections.module(old, new);
        self
    }

    /// Asks a closure for the target of each import, by its type, module name and item name, after
    /// the rules have been applied. `None`: go by the names.
    pub fn with_import_resolver(
        mut self,
        resolver: impl Fn(&ExternType, &str, &str) -> Option<Target<T>> + Send + Sync + 'static,
    ) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Puts the instance into the store that all such instances of the runtime share, so that
    /// others can import from several of them. It must not import from instances elsewhere.
    pub fn with_shared_store(mut self) -> Self {
        self.shared_store = true;
        self
    }

    /// Ends the making of the instance and its start functions when the context is done. Later
    /// calls have their own, see [`Instance::with_context`].
    pub fn with_context(mut self, context: &Context) -> Self {
        self.context = Some(context.clone());
        self
    }

    /// The data of the instance's own store, instead of what the runtime makes. An error for an
    /// instance that joins the store of others.
    pub fn with_data(mut self, data: T) -> Self {
        self.data = Some(data);
        self
    }
}
