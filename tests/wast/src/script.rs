//! Executes the directives of a script.
//!
//! There are three name spaces: modules that are only defined, instances (`$name`), and instances
//! that are registered for import. A directive without a name refers to the latest instance.

use std::collections::{HashMap, HashSet};
use std::thread::{Scope, ScopedJoinHandle};

use precast_artifact::TrapCode;
use precast_loader::{Engine, Extern, Instance, Linker, Module, SharedMemory, Store, Val};
use wast::token::Id;
use wast::{QuoteWat, WastDirective, WastExecute, WastInvoke, WastRet, WastThread, Wat};

use crate::{Error, Failure, Modules, Rejected, Report, keyword, spectest, value};

pub(crate) struct Runner<'scope, 'env> {
    artifacts: &'env dyn Modules,
    text: &'env str,
    scope: &'scope Scope<'scope, 'env>,
    engine: Engine,
    store: Store<()>,
    spectest: HashMap<&'static str, Extern>,
    /// The modules that were defined without being instantiated, by name. The latest is also in
    /// `None`.
    modules: HashMap<Option<String>, Module>,
    /// The instances by name. The latest is also in `None`.
    instances: HashMap<Option<String>, Instance>,
    /// The instances that modules can import from.
    registered: HashMap<String, Exporter>,
    /// The module that the thread shares with the one that started it.
    shared: HashMap<String, SharedMemories>,
    /// The threads that nobody has waited for yet.
    threads: HashMap<String, ScopedJoinHandle<'scope, Result<Report, Error>>>,
}

/// The memories that an instance of another thread exports: all that threads can share.
type SharedMemories = HashMap<String, SharedMemory>;

/// What modules can import from.
enum Exporter {
    Instance(Instance),
    Shared(SharedMemories),
}

/// Why an execution stopped.
enum Stop {
    /// An error of the loader, such as a trap, which the script may expect.
    Loader(precast_loader::Error),
    /// An error that no script expects.
    Other(String),
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Other(message)
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loader(error) => write!(f, "{error}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl<'scope, 'env: 'scope> Runner<'scope, 'env> {
    /// Runs directives of `text`, whose threads belong to `scope`.
    pub(crate) fn new(
        artifacts: &'env dyn Modules,
        text: &'env str,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<Self, Error> {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        // The code may have been compiled to count fuel.
        store.set_fuel(u64::MAX).unwrap();
        let spectest = spectest::define(&mut store).map_err(Error::Spectest)?;
        Ok(Self {
            artifacts,
            text,
            scope,
            engine,
            store,
            spectest,
            modules: HashMap::new(),
            instances: HashMap::new(),
            registered: HashMap::new(),
            shared: HashMap::new(),
            threads: HashMap::new(),
        })
    }

    /// Executes directives, and waits for the threads that they have started and not waited for.
    pub(crate) fn directives(&mut self, directives: Vec<WastDirective<'env>>, report: &mut Report) {
        for directive in directives {
            let keyword = keyword(&directive);
            let line = directive.span().linecol_in(self.text).0 + 1;
            let thread = match &directive {
                WastDirective::Wait { thread, .. } => Some(thread.name().to_owned()),
                _ => None,
            };
            let outcome = match thread {
                Some(thread) => self.wait(&thread, report),
                None => self.directive(directive),
            };
            match outcome {
                Ok(()) => report.passed += 1,
                Err(message) => report.failures.push(Failure {
                    line,
                    directive: keyword,
                    message,
                }),
            }
        }
        let left: Vec<_> = self.threads.keys().cloned().collect();
        for thread in left {
            if let Err(message) = self.wait(&thread, report) {
                report.failures.push(Failure {
                    line: 0,
                    directive: "thread",
                    message,
                });
            }
        }
    }

    /// Starts a thread that executes directives of its own.
    fn thread(&mut self, thread: WastThread<'env>) -> Result<(), String> {
        let name = thread.name.name();
        if self.threads.contains_key(name) {
            return Err(format!(
                "found another thread `{name}` that runs, expected another name"
            ));
        }
        let mut shared = HashMap::new();
        if let Some(module) = thread.shared_module {
            let exports = self.instance(Some(module))?.exports(&mut self.store);
            let memories = exports.filter_map(|export| {
                let name = export.name().to_owned();
                Some((name, export.into_shared_memory()?))
            });
            shared.insert(module.name().to_owned(), memories.collect());
        }
        let (artifacts, text, scope) = (self.artifacts, self.text, self.scope);
        let handle = scope.spawn(move || {
            let mut runner = Runner::new(artifacts, text, scope)?;
            runner.shared = shared;
            let mut report = Report::default();
            runner.directives(thread.directives, &mut report);
            Ok(report)
        });
        self.threads.insert(name.to_owned(), handle);
        Ok(())
    }

    /// Waits for the end of a thread, and adds what its directives did to `report`.
    fn wait(&mut self, thread: &str, report: &mut Report) -> Result<(), String> {
        let handle = self.threads.remove(thread);
        let handle = handle.ok_or_else(|| no_such("thread", Some(thread)))?;
        let done = handle
            .join()
            .map_err(|_| format!("the thread `{thread}` panicked"))?;
        let done = done.map_err(|error| error.to_string())?;
        report.passed += done.passed;
        report.failures.extend(done.failures);
        Ok(())
    }

    /// Executes a directive that is not `wait`. The error says what went wrong.
    fn directive(&mut self, directive: WastDirective<'env>) -> Result<(), String> {
        use WastDirective as D;
        match directive {
            D::Module(wat) => self.module(wat),
            D::ModuleDefinition(wat) => self.module_definition(wat),
            D::ModuleInstance {
                instance, module, ..
            } => self.module_instance(instance, module),
            D::Register { name, module, .. } => self.register(name, module),
            D::Invoke(invoke) => self
                .invoke(&invoke)
                .map(drop)
                .map_err(|stop| stop.to_string()),
            D::AssertReturn { exec, results, .. } => self.assert_return(exec, &results),
            D::AssertTrap { exec, message, .. } => {
                let outcome = self.execute(exec);
                assert_trap(outcome, message)
            }
            D::AssertExhaustion { call, message, .. } => {
                let outcome = self.invoke(&call);
                assert_trap(outcome, message)
            }
            D::AssertInvalid {
                module, message, ..
            } => self.assert_rejected(module, Rejected::Invalid, message),
            D::AssertMalformed {
                module, message, ..
            } => self.assert_rejected(module, Rejected::Malformed, message),
            D::AssertUnlinkable {
                module, message, ..
            } => self.assert_unlinkable(module, message),
            D::AssertInvalidCustom { module, .. } | D::AssertMalformedCustom { module, .. } => {
                self.assert_ignored(module)
            }
            D::AssertException { exec, .. } => match self.execute(exec) {
                Err(Stop::Loader(precast_loader::Error::Exception { .. })) => Ok(()),
                Err(other) => Err(format!("found \"{other}\", expected an exception")),
                Ok(values) => Err(format!(
                    "found the results {values:x?}, expected an exception"
                )),
            },
            D::AssertSuspension { .. } => Err("stack switching is not supported".to_owned()),
            D::Thread(thread) => self.thread(thread),
            D::Wait { thread, .. } => Err(no_such("thread", Some(thread.name()))),
        }
    }

    /// Compiles, loads and instantiates a module. If that fails, there is no latest instance.
    fn module(&mut self, wat: QuoteWat<'_>) -> Result<(), String> {
        let name = owned(wat.name());
        self.instances.remove(&None);
        self.instances.remove(&name);
        let module = self.load(wat)?;
        let instance = self
            .instantiate(&module)
            .map_err(|error| error.to_string())?;
        self.name_instance(name, instance);
        Ok(())
    }

    fn module_definition(&mut self, wat: QuoteWat<'_>) -> Result<(), String> {
        let name = owned(wat.name());
        self.modules.remove(&None);
        self.modules.remove(&name);
        let module = self.load(wat)?;
        self.modules.insert(None, module.clone());
        self.modules.insert(name, module);
        Ok(())
    }

    fn module_instance(
        &mut self,
        instance: Option<Id<'_>>,
        module: Option<Id<'_>>,
    ) -> Result<(), String> {
        self.instances.remove(&None);
        let name = owned(module);
        let module = self.modules.get(&name).cloned();
        let module = module.ok_or_else(|| no_such("module definition", name.as_deref()))?;
        let made = self
            .instantiate(&module)
            .map_err(|error| error.to_string())?;
        self.name_instance(owned(instance), made);
        Ok(())
    }

    fn name_instance(&mut self, name: Option<String>, instance: Instance) {
        self.instances.insert(None, instance);
        self.instances.insert(name, instance);
    }

    fn register(&mut self, name: &str, module: Option<Id<'_>>) -> Result<(), String> {
        let shared = module.and_then(|module| self.shared.get(module.name()));
        let exporter = match shared {
            Some(shared) => Exporter::Shared(shared.clone()),
            None => Exporter::Instance(self.instance(module)?),
        };
        self.registered.insert(name.to_owned(), exporter);
        Ok(())
    }

    fn instance(&self, name: Option<Id<'_>>) -> Result<Instance, String> {
        let name = owned(name);
        let instance = self.instances.get(&name).copied();
        instance.ok_or_else(|| no_such("instance", name.as_deref()))
    }

    fn load(&self, mut wat: QuoteWat<'_>) -> Result<Module, String> {
        let wasm = wat
            .encode()
            .map_err(|error| format!("cannot encode: {error}"))?;
        self.load_binary(&wasm)
    }

    fn load_binary(&self, wasm: &[u8]) -> Result<Module, String> {
        let artifact = self.artifacts.artifact(wasm)?;
        // SAFETY: the caller of `run_with` guarantees that the artifacts may run in this process.
        let module = unsafe { Module::from_bytes(&self.engine, &artifact) };
        module.map_err(|error| error.to_string())
    }

    /// Instantiates a module with imports from `spectest` and the registered instances. The linker
    /// reports imports that are missing there.
    fn instantiate(&mut self, module: &Module) -> Result<Instance, precast_loader::Error> {
        let mut linker = Linker::new(&self.engine);
        let mut seen = HashSet::new();
        for import in module.imports() {
            let (from, name) = (import.module(), import.name());
            if !seen.insert((from, name)) {
                continue;
            }
            let item = match self.registered.get(from) {
                Some(Exporter::Instance(instance)) => instance.get_export(&mut self.store, name),
                Some(Exporter::Shared(memories)) => memories.get(name).cloned().map(Extern::from),
                None if from == "spectest" => self.spectest.get(name).cloned(),
                None => None,
            };
            if let Some(item) = item {
                linker.define(&self.store, from, name, item)?;
            }
        }
        linker.instantiate(&mut self.store, module)
    }

    fn execute(&mut self, execute: WastExecute<'_>) -> Result<Vec<Val>, Stop> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(wat) => {
                let module = self.load(QuoteWat::Wat(wat))?;
                self.instantiate(&module).map_err(Stop::Loader)?;
                Ok(Vec::new())
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module)?;
                let global = instance
                    .get_global(&mut self.store, global)
                    .ok_or_else(|| no_such("exported global", Some(global)))?;
                Ok(vec![global.get(&mut self.store)])
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Vec<Val>, Stop> {
        let instance = self.instance(invoke.module)?;
        let func = instance
            .get_func(&mut self.store, invoke.name)
            .ok_or_else(|| no_such("exported function", Some(invoke.name)))?;
        let arguments = invoke
            .args
            .iter()
            .map(value::argument)
            .collect::<Result<Vec<_>, String>>()?;
        let ty = func.ty(&self.store);
        let mut results: Vec<_> = ty
            .results()
            .iter()
            .map(|ty| Val::default_for(*ty))
            .collect();
        func.call(&mut self.store, &arguments, &mut results)
            .map_err(Stop::Loader)?;
        Ok(results)
    }

    fn assert_return(
        &mut self,
        execute: WastExecute<'_>,
        expected: &[WastRet<'_>],
    ) -> Result<(), String> {
        let found = self.execute(execute).map_err(|stop| stop.to_string())?;
        value::compare(&found, expected)
    }

    /// Checks that a module does not compile. The reason is not compared, because every validator
    /// words it differently.
    fn assert_rejected(
        &self,
        mut module: QuoteWat<'_>,
        kind: Rejected,
        expected: &str,
    ) -> Result<(), String> {
        let Ok(wasm) = module.encode() else {
            return Ok(());
        };
        self.artifacts
            .rejects(&wasm, kind, expected)
            .map_err(|found| format!("{found}, expected \"{expected}\""))
    }

    /// Checks that a module compiles although a custom section, or an annotation that stands for
    /// one, is malformed. A text that cannot be encoded at all is fine, too.
    fn assert_ignored(&self, mut module: QuoteWat<'_>) -> Result<(), String> {
        match module.encode() {
            Ok(wasm) => self.load_binary(&wasm).map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Checks that a module compiles, and that linking it fails for the reason in the script.
    fn assert_unlinkable(&mut self, wat: Wat<'_>, expected: &str) -> Result<(), String> {
        let module = self.load(QuoteWat::Wat(wat))?;
        match self.instantiate(&module) {
            Err(precast_loader::Error::Link(errors)) => {
                let found = errors
                    .iter()
                    .map(|error| error.to_string())
                    .collect::<Vec<_>>();
                if found.iter().any(|found| found.contains(expected)) {
                    return Ok(());
                }
                Err(format!(
                    "found \"{}\", expected \"{expected}\"",
                    found.join("; ")
                ))
            }
            Err(other) => Err(format!("found \"{other}\", expected \"{expected}\"")),
            Ok(_) => Err(format!(
                "the module was instantiated, expected \"{expected}\""
            )),
        }
    }
}

/// Checks that an execution trapped with this message. Scripts add details, such as an index, to
/// the messages of [`TrapCode::text`].
fn assert_trap(outcome: Result<Vec<Val>, Stop>, expected: &str) -> Result<(), String> {
    match outcome {
        Err(Stop::Loader(precast_loader::Error::Trap { trap, .. })) => {
            let found = TrapCode::text(trap);
            if expected.starts_with(found) || found.starts_with(expected) {
                return Ok(());
            }
            Err(format!(
                "found the trap \"{found}\", expected \"{expected}\""
            ))
        }
        Err(other) => Err(format!(
            "found \"{other}\", expected the trap \"{expected}\""
        )),
        Ok(values) => Err(format!(
            "found the results {values:x?}, expected the trap \"{expected}\""
        )),
    }
}

fn owned(name: Option<Id<'_>>) -> Option<String> {
    name.map(|id| id.name().to_owned())
}

fn no_such(what: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("there is no {what} `{name}`"),
        None => format!("there is no {what}"),
    }
}
