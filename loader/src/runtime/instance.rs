//! Handles of instances: calls and closing.

use std::sync::Arc;

use precast_artifact::{Interruption, shown};

use crate::error::Error;
use crate::lock::lock;
use crate::store::{AsContext, StoreContextMut};
use crate::typed::{WasmParams, WasmResults};
use crate::types::ExternType;
use crate::val::Val;
use crate::vm::interrupt;

use super::closing::Closing;
use super::context::Context;
use super::group::{Ended, Group, State};
use super::member::{Exports, Member};

/// An instance of a runtime, which is a guest or a host module. Clones are cheap and are the same
/// instance.
///
/// Threads may share it. Calls on instances of one store wait for each other. Dropping the last
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
pub(super) struct Handle<T: Send + 'static>(Arc<Member<T>>);

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
    /// A handle of an instance. All handles share one value, so that only the last one closes an
    /// anonymous instance.
    pub(super) fn new(member: Arc<Member<T>>) -> Self {
        let mut handle = lock(&member.handle);
        if let Some(handle) = handle.upgrade() {
            return Self(handle);
        }
        let new = Arc::new(Handle(Arc::clone(&member)));
        *handle = Arc::downgrade(&new);
        Self(new)
    }

    pub(super) fn member(&self) -> &Arc<Member<T>> {
        &self.0.0
    }

    /// The name of the instance in messages.
    pub(super) fn label(member: &Member<T>) -> String {
        match member.name.as_str() {
            "" => format!("anonymous instance #{}", member.seq),
            name => format!("`{}`", shown(name)),
        }
    }

    /// The name; empty for an anonymous instance.
    pub fn name(&self) -> &str {
        &self.member().name
    }

    /// The exit code, if it is closed.
    pub fn exit_code(&self) -> Option<u32> {
        self.member().exit_code()
    }

    /// [`Instance::close_with_exit_code`] with 0.
    pub fn close(&self) {
        self.close_with_exit_code(0);
    }

    /// Closes the instance, from anywhere. Its name becomes free, and later uses of it and a
    /// running call end with [`Error::Closed`]. Does nothing if it is closed already. The
    /// [module's documentation](super) says what is freed, and when.
    pub fn close_with_exit_code(&self, exit_code: u32) {
        self.member().close(Closing::Exit(exit_code));
    }

    /// Redirection rules that matched none of its imports.
    pub fn unmatched_redirections(&self) -> &[String] {
        &self.member().unmatched
    }

    /// Names and types of its exports. For a host module, these are only its functions, constants
    /// and shared memories.
    pub fn exports(&self) -> Vec<(String, ExternType)> {
        match &self.member().items {
            Exports::Guest(_, module, _) => {
                let exports = module.exports();
                exports.map(|e| (e.name().to_owned(), e.ty())).collect()
            }
            Exports::Host(items) => items
                .iter()
                .filter_map(|(name, item)| Some((name.clone(), item.ty()?)))
                .collect(),
        }
    }

    fn guest(&self) -> Result<(crate::Instance, &Arc<Group<T>>), Error> {
        match (&self.member().items, &self.member().group) {
            (Exports::Guest(instance, ..), Some(group)) => Ok((*instance, group)),
            _ => Err(Error::HostModule {
                instance: Self::label(self.member()),
            }),
        }
    }

    /// The instance, for calls with a context. When the context is done, the call ends and the
    /// instance is closed. A context that is done already closes it at once.
    ///
    /// Code compiled with [`Interruption::Epoch`](crate::Interruption::Epoch) ends within
    /// microseconds wherever it is, and other code ends when a host function returns to it. So a
    /// context with a deadline is an [`Error::Interruption`] for other code. A wait for the store
    /// ends too, and so do waits of host functions in other instances or with
    /// [`InterruptHandle::wait`](crate::InterruptHandle::wait).
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

    /// Calls a closure with the instance's store. This ends like a call of the guest: an exit
    /// closes the instance.
    ///
    /// # Errors
    /// The error of `f`; [`Error::Closed`], [`Error::DeadlineExceeded`] or [`Error::Canceled`] for
    /// an instance that is closed; [`Error::InUse`] inside of a call in the same store.
    pub fn with<R>(
        &self,
        f: impl FnOnce(StoreContextMut<'_, State<T>>, crate::Instance) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.without_context().with(f)
    }

    /// The instance in the store of a host function's caller.
    ///
    /// # Errors
    /// [`Error::Closed`], and [`Error::DifferentStores`] if the instance is in another store. Use
    /// [`Instance::call`] for such an instance.
    pub fn within(
        &self,
        store: &impl AsContext<Data = State<T>>,
    ) -> Result<crate::Instance, Error> {
        let (instance, group) = self.guest()?;
        self.member().check()?;
        let here = store.as_context().data().group();
        if here.is_some_and(|here| Arc::ptr_eq(&here, group)) {
            Ok(instance)
        } else {
            Err(Error::DifferentStores {
                first: Self::label(self.member()),
                second: "the caller".into(),
            })
        }
    }

    /// Calls an exported function.
    ///
    /// # Errors
    /// [`Error::NoExport`], [`Error::Type`], the errors of [`Instance::with`], and the error that
    /// ended the call.
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

    /// Calls those of the start functions that the module exports. A function that exits with code
    /// 0 is a success, and no other is called after it.
    pub(super) fn start(&self, names: &[String], context: Option<&Context>) -> Result<(), Error> {
        let this = InstanceIn {
            instance: self,
            context,
        };
        for name in names {
            let Exports::Guest(_, module, _) = &self.member().items else {
                break;
            };
            if !matches!(module.get_export(name), Some(ExternType::Func(_))) {
                continue;
            }
            let ended = this.run(|mut store, instance| {
                let func = instance.get_typed_func::<(), ()>(&mut store, name)?;
                func.call(&mut store, ())
            })?;
            // An instance that another thread has closed with code 0 is no success.
            let exited = matches!(ended.result, Err(Error::Exit(0)));
            if exited && self.exit_code() == Some(0) {
                break;
            }
            self.member().check()?;
            ended.into_result()?;
        }
        Ok(())
    }
}

/// An [`Instance`] and the context for its calls, see [`Instance::with_context`].
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
    /// [`Instance::with`] with the context.
    ///
    /// # Errors
    /// As for [`Instance::with`].
    pub fn with<R>(
        &self,
        f: impl FnOnce(StoreContextMut<'_, State<T>>, crate::Instance) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let ended = self.run(f)?;
        // If the instance is closed, the call fails with the reason for that, however the call
        // ended.
        self.instance.member().check()?;
        ended.into_result()
    }

    /// [`InstanceIn::with`], which also returns the result of a call that was ended.
    ///
    /// # Errors
    /// An error if no call is made.
    fn run<R>(
        &self,
        f: impl FnOnce(StoreContextMut<'_, State<T>>, crate::Instance) -> Result<R, Error>,
    ) -> Result<Ended<R>, Error> {
        let member = self.instance.member();
        let (instance, group) = self.instance.guest()?;
        member.check()?;
        let watch = self.context.map(|context| {
            let member = Arc::downgrade(member);
            context.watch(move |done| {
                let member = member.upgrade();
                member.map(|member| (member.end(Closing::Done(done)), member))
            })
        });
        let watch = watch.transpose()?;
        let has_deadline = self.context.is_some_and(|c| c.deadline().is_some());
        let is_open = || member.check();
        let ended = group.enter(member.seq, self.context, is_open, |mut store| {
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
            member.close(Closing::Exit(exit_code.cast_unsigned()));
        }
        Ok(ended)
    }

    /// [`Instance::call`] with the context.
    ///
    /// # Errors
    /// As for [`Instance::call`].
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

    /// [`Instance::call_typed`] with the context.
    ///
    /// # Errors
    /// As for [`Instance::call_typed`].
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
    /// The instance that called. `None` if the call came from the host or through a table, or from
    /// the start function in the specification's sense, which runs before the runtime knows the
    /// instance.
    pub fn calling_instance(&mut self) -> Option<Instance<T>> {
        let instance = self.instance()?;
        let group = self.data().group()?;
        group.member(instance).map(Instance::new)
    }

    /// The context of the host's call that led here, if it has one. Calls of other instances can
    /// use it, so that those instances are closed, too, when the context is done. (Their calls end
    /// even without it: to end a call ends the calls that its host functions make.)
    pub fn context(&self) -> Option<Context> {
        self.data().group()?.gate.context()
    }

    /// Closes the instance that called. The host function must return the error, so that the guest
    /// runs no further.
    pub fn exit(&mut self, exit_code: u32) -> Error {
        let group = self.data().group();
        let caller = group.zip(self.instance());
        if let Some(member) = caller.and_then(|(group, caller)| group.member(caller)) {
            member.close(Closing::Exit(exit_code));
        }
        Error::Exit(exit_code.cast_signed())
    }
}
