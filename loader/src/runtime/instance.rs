//! Handles of instances: calls, closing.

use std::sync::Arc;

use precast_artifact::{Interruption, shown};

use crate::error::Error;
use crate::store::{AsContext, StoreContextMut};
use crate::typed::{WasmParams, WasmResults};
use crate::types::ExternType;
use crate::val::Val;
use crate::vm::interrupt;

use super::context::Context;
use super::group::{Ended, Group, State};
use super::lock;
use super::node::{Closing, Items, Node};

/// An instance of a runtime, guest or host module. Cheap to clone; clones are the same instance.
///
/// Threads may share it; calls on instances of one store wait for each other. Dropping the last
/// handle of an anonymous instance closes it.
///
/// ```
/// use precast_loader::runtime::Instance;
/// use precast_loader::Error;
///
/// fn use_once(instance: &Instance) -> Result<i32, Error> {
///     let result = instance.call_typed("answer", (1_i32, 2_i32))?;
///     instance.close_with_exit_code(0);
///     assert!(matches!(instance.call("answer", &[]), Err(Error::Closed { exit_code: 0, .. })));
///     Ok(result)
/// }
/// ```
pub struct Instance<T: Send + 'static = ()>(Arc<Handle<T>>);

/// What all handles of an instance share.
pub(super) struct Handle<T: Send + 'static>(Arc<Node<T>>);

impl<T: Send + 'static> Drop for Handle<T> {
    fn drop(&mut self) {
        if self.0.name.is_empty() {
            self.0.close(Closing::Exit(0));
        }
    }
}

impl<T: Send + 'static> Clone for Instance<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static> std::fmt::Debug for Instance<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.name())
            .field("exit_code", &self.exit_code())
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Instance<T> {
    /// The handle of an instance: one more of those that there are, so that only the last one of
    /// all closes an anonymous instance.
    pub(super) fn new(node: Arc<Node<T>>) -> Self {
        let mut handle = lock(&node.handle);
        if let Some(handle) = handle.upgrade() {
            return Self(handle);
        }
        let new = Arc::new(Handle(Arc::clone(&node)));
        *handle = Arc::downgrade(&new);
        Self(new)
    }

    pub(super) fn node(&self) -> &Arc<Node<T>> {
        &self.0.0
    }

    /// How messages name it.
    pub(super) fn label(node: &Node<T>) -> String {
        match node.name.as_str() {
            "" => format!("anonymous instance #{}", node.seq),
            name => format!("`{}`", shown(name)),
        }
    }

    /// The name; empty if it is anonymous.
    pub fn name(&self) -> &str {
        &self.node().name
    }

    /// The exit code, if it is closed.
    pub fn exit_code(&self) -> Option<u32> {
        self.node().exit_code()
    }

    /// [`Instance::close_with_exit_code`] with 0.
    pub fn close(&self) {
        self.close_with_exit_code(0);
    }

    /// Closes the instance, from anywhere: its name is free, later use of it is
    /// [`Error::Closed`], and a call in flight ends with that too. Does nothing if it is closed
    /// already. What is freed when is said in the [module's documentation](super).
    pub fn close_with_exit_code(&self, exit_code: u32) {
        self.node().close(Closing::Exit(exit_code));
    }

    /// Rules of redirection that matched none of its imports.
    pub fn unmatched_redirections(&self) -> &[String] {
        &self.node().unmatched
    }

    /// Names and types of what it exports; of a host module, functions and constants only.
    pub fn exports(&self) -> Vec<(String, ExternType)> {
        match &self.node().items {
            Items::Guest(_, module) => {
                let exports = module.exports();
                exports.map(|(name, ty)| (name.to_owned(), ty)).collect()
            }
            Items::Host(items) => items
                .iter()
                .filter_map(|(name, item)| Some((name.clone(), item.ty()?)))
                .collect(),
        }
    }

    fn guest(&self) -> Result<(crate::Instance, &Arc<Group<T>>), Error> {
        match (&self.node().items, &self.node().group) {
            (Items::Guest(instance, _), Some(group)) => Ok((*instance, group)),
            _ => Err(Error::HostModule {
                instance: Self::label(self.node()),
            }),
        }
    }

    /// The instance, for calls that end when the context is done: the instance is closed then. A
    /// context that is done already closes it too.
    ///
    /// Code compiled with [`Interruption::Epoch`](crate::Interruption::Epoch) ends promptly wherever
    /// it is, other code when a host function returns to it: so a context with a deadline is an
    /// [`Error::Interruption`] for other code. Waiting for the store ends too, and what host functions
    /// wait for in other instances, or with [`InterruptHandle::wait`](crate::InterruptHandle::wait).
    pub fn with_context<'a>(&'a self, context: &'a Context) -> InstanceIn<'a, T> {
        InstanceIn {
            instance: self,
            context: Some(context),
        }
    }

    fn without_context(&self) -> InstanceIn<'_, T> {
        InstanceIn {
            instance: self,
            context: None,
        }
    }

    /// Uses the instance's store, and ends as a call does: an exit closes the instance.
    ///
    /// # Errors
    /// What `f` gives; [`Error::Closed`], [`Error::DeadlineExceeded`], [`Error::Canceled`];
    /// [`Error::InUse`] from inside of a call in the same store.
    pub fn with<R>(
        &self,
        f: impl FnOnce(StoreContextMut<'_, State<T>>, crate::Instance) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.without_context().with(f)
    }

    /// The instance as one of the store that a host function is called from.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::DifferentStores`] if it lives elsewhere, so that
    /// [`Instance::call`] is the way.
    pub fn within(
        &self,
        store: &impl AsContext<Data = State<T>>,
    ) -> Result<crate::Instance, Error> {
        let (instance, group) = self.guest()?;
        self.node().check()?;
        let here = store.as_context().data().group();
        if here.is_some_and(|here| Arc::ptr_eq(&here, group)) {
            Ok(instance)
        } else {
            Err(Error::DifferentStores {
                first: Self::label(self.node()),
                second: "the caller".into(),
            })
        }
    }

    /// Calls an exported function.
    ///
    /// # Errors
    /// [`Error::NoExport`], [`Error::Type`], those of [`Instance::with`], and what ended the call.
    pub fn call(&self, name: &str, params: &[Val]) -> Result<Vec<Val>, Error> {
        self.without_context().call(name, params)
    }

    /// Calls an exported function whose type is known when the host is compiled.
    ///
    /// # Errors
    /// As for [`Instance::call`].
    pub fn call_typed<P: WasmParams, R: WasmResults>(
        &self,
        name: &str,
        params: P,
    ) -> Result<R, Error> {
        self.without_context().call_typed(name, params)
    }

    /// Calls the start functions that there are. One that exits with code 0 is a success, and the last.
    pub(super) fn start(&self, names: &[String], context: Option<&Context>) -> Result<(), Error> {
        let this = InstanceIn {
            instance: self,
            context,
        };
        for name in names {
            let Items::Guest(_, module) = &self.node().items else {
                break;
            };
            if !matches!(module.export(name), Some(ExternType::Func(_))) {
                continue;
            }
            let ended = this.run(|mut store, instance| {
                let func = instance.get_typed_func::<(), ()>(&mut store, name)?;
                func.call(&mut store, ())
            })?;
            // Closed by somebody else with code 0 is another thing.
            let exited = matches!(ended.result, Err(Error::Exit(0)));
            if exited && self.exit_code() == Some(0) {
                break;
            }
            self.node().check()?;
            ended.into_result()?;
        }
        Ok(())
    }
}

/// An [`Instance`] and the context of the calls to make, see [`Instance::with_context`].
///
/// ```
/// use precast_loader::runtime::{Context, Instance};
/// use precast_loader::Error;
///
/// fn answer_in_time(instance: &Instance) -> Result<i32, Error> {
///     let context = Context::with_timeout(std::time::Duration::from_millis(50));
///     instance.with_context(&context).call_typed("answer", ())
/// }
/// ```
#[derive(Debug)]
pub struct InstanceIn<'a, T: Send + 'static = ()> {
    instance: &'a Instance<T>,
    context: Option<&'a Context>,
}

impl<T: Send + 'static> InstanceIn<'_, T> {
    /// [`Instance::with`] in the context.
    ///
    /// # Errors
    /// As there.
    pub fn with<R>(
        &self,
        f: impl FnOnce(StoreContextMut<'_, State<T>>, crate::Instance) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let ended = self.run(f)?;
        // Its own exit code, whatever else came to an end with it.
        self.instance.node().check()?;
        ended.into_result()
    }

    /// [`InstanceIn::with`] that tells what the call gave, even if it was ended.
    ///
    /// # Errors
    /// If it comes to no call.
    fn run<R>(
        &self,
        f: impl FnOnce(StoreContextMut<'_, State<T>>, crate::Instance) -> Result<R, Error>,
    ) -> Result<Ended<R>, Error> {
        let node = self.instance.node();
        let (instance, group) = self.instance.guest()?;
        node.check()?;
        let watch = self.context.map(|context| {
            let node = Arc::downgrade(node);
            context.watch(move |done| {
                let node = node.upgrade();
                node.map(|node| (node.end(Closing::Done(done)), node))
            })
        });
        let watch = watch.transpose()?;
        let has_deadline = self.context.is_some_and(|c| c.deadline().is_some());
        let is_open = || node.check();
        let ended = group.enter(node.seq, self.context, is_open, |mut store| {
            if has_deadline {
                store
                    .core()
                    .require_of_all(Interruption::Epoch, interrupt::CONTEXT)?;
            }
            f(store, instance)
        });
        drop(watch);
        let ended = ended?;
        if let (Err(Error::Exit(exit_code)), None) = (&ended.result, ended.stopped) {
            node.close(Closing::Exit(exit_code.cast_unsigned()));
        }
        Ok(ended)
    }

    /// [`Instance::call`] in the context.
    ///
    /// # Errors
    /// As there.
    pub fn call(&self, name: &str, params: &[Val]) -> Result<Vec<Val>, Error> {
        self.with(|mut store, instance| {
            let func = instance.get_func(&mut store, name);
            let func = func.ok_or_else(|| no_function(name))?;
            let results = func.ty(&store);
            let results = results.results().iter().copied();
            let mut results: Vec<_> = results.map(Val::default_for).collect();
            func.call(&mut store, params, &mut results)?;
            Ok(results)
        })
    }

    /// [`Instance::call_typed`] in the context.
    ///
    /// # Errors
    /// As there.
    pub fn call_typed<P: WasmParams, R: WasmResults>(
        &self,
        name: &str,
        params: P,
    ) -> Result<R, Error> {
        self.with(|mut store, instance| {
            let func = instance.get_typed_func::<P, R>(&mut store, name)?;
            func.call(&mut store, params)
        })
    }
}

fn no_function(name: &str) -> Error {
    Error::NoExport {
        kind: "function",
        name: name.into(),
    }
}

impl<T: Send + 'static> crate::Caller<'_, State<T>> {
    /// The instance that called, if the call came from one that is made (its start function, in
    /// the sense of the specification, runs before).
    pub fn calling_instance(&mut self) -> Option<Instance<T>> {
        let instance = self.instance()?;
        let group = self.data().group()?;
        group.member(instance).map(Instance::new)
    }

    /// The context of the host's call that led here, if it has one: for calls of other instances that are
    /// to end when this one does. (They do so even without: what ends a call ends those that its host
    /// functions make. With the context, the other instances are closed, too.)
    pub fn context(&self) -> Option<Context> {
        self.data().group()?.gate.context()
    }

    /// Closes the instance that called, and gives the error to return, so that nothing of the guest
    /// runs any more.
    pub fn exit(&mut self, exit_code: u32) -> Error {
        let group = self.data().group();
        let caller = group.zip(self.instance());
        if let Some(node) = caller.and_then(|(group, caller)| group.member(caller)) {
            node.close(Closing::Exit(exit_code));
        }
        Error::Exit(exit_code.cast_signed())
    }
}
