//! The configuration of one instance.

use std::sync::Arc;

use crate::redirect::Redirections;
use crate::types::ExternType;

use super::{Context, Instance};

/// The item that [`InstanceConfig::with_import_resolver`] chooses for an import.
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
    /// An item of the instance with a name: module name, item name.
    Named(String, String),
    /// An item of an instance, which may be anonymous.
    Instance(Instance<T>, String),
}

pub(super) type Resolver<T> =
    Arc<dyn Fn(&ExternType, &str, &str) -> Option<Target<T>> + Send + Sync>;

/// The configuration of one instance of a module: its name, the sources of its imports, and its
/// start functions.
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
    /// An anonymous instance whose imports are resolved by name, and whose `_start` is called if it
    /// exports one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name under which others import from the instance. Open instances of a runtime have
    /// different names. An empty name makes an anonymous instance, which is closed when its last
    /// handle is dropped.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the functions to call first, in this order, instead of `_start`. They have no
    /// parameters and no results. Names that the module does not export are skipped.
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

    /// Sets a closure that chooses the target of each import. It gets the type, the module name and
    /// the item name, to which the rules have been applied. After `None`, the import is resolved by
    /// these names.
    pub fn with_import_resolver(
        mut self,
        resolver: impl Fn(&ExternType, &str, &str) -> Option<Target<T>> + Send + Sync + 'static,
    ) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Puts the instance into the store that all such instances of the runtime share, so that
    /// others can import from several of them. It must not import from instances in other stores.
    pub fn with_shared_store(mut self) -> Self {
        self.shared_store = true;
        self
    }

    /// Sets a context for instantiation and the start functions, which end when it is done. Later
    /// calls have their own context, see [`Instance::with_context`].
    pub fn with_context(mut self, context: &Context) -> Self {
        self.context = Some(context.clone());
        self
    }

    /// Sets the data of the instance's own store, instead of the data that the runtime makes.
    /// Instantiation fails if the instance joins the store of others.
    pub fn with_data(mut self, data: T) -> Self {
        self.data = Some(data);
        self
    }
}
