//! Errors of host functions.
//!
//! A host function may return any error that converts into `Box<dyn Error + Send + Sync>`: those of
//! the standard library, the host's own, and `anyhow::Error`. The caller of the wasm code gets the
//! error back as a whole. An [`Error`] that a host function got from a call of its own (a trap, an
//! exit) passes through unchanged, and a `Trap` becomes that trap.
//!
//! An `anyhow::Error` that is converted by `Into` hides the type of the error that it holds, so the
//! feature `anyhow` keeps the `anyhow::Error` itself.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;

use precast_artifact::TrapCode;

use super::Error;
use crate::backtrace::WasmBacktrace;

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// An error that a host function returned, and where the wasm code was.
///
/// It displays as the host function's error does, and has the same source. So a report of the whole
/// chain contains each message once.
///
/// ```
/// use precast_loader::Error;
///
/// let not_found = std::io::Error::from(std::io::ErrorKind::NotFound);
/// let Error::Host(error) = Error::host(not_found) else {
///     panic!("an error of the host");
/// };
/// let io: &std::io::Error = error.downcast_ref().expect("what it was made of");
/// assert_eq!(io.kind(), std::io::ErrorKind::NotFound);
/// ```
#[derive(Debug)]
pub struct HostError {
    error: BoxError,
    trace: WasmBacktrace,
}

impl HostError {
    /// The error that the host function returned.
    pub fn error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.error
    }

    /// The error that the host function returned.
    pub fn into_error(self) -> Box<dyn StdError + Send + Sync> {
        self.error
    }

    /// The error that the host function returned, if its type is `E`.
    pub fn downcast_ref<E: StdError + Send + Sync + 'static>(&self) -> Option<&E> {
        #[cfg(feature = "anyhow")]
        if let Some(Anyhow(error)) = self.error.downcast_ref() {
            return error.downcast_ref();
        }
        self.error.downcast_ref()
    }

    /// # Errors
    /// This error, if the type of what the host function returned is not `E`.
    pub(super) fn downcast<E: StdError + Send + Sync + 'static>(self) -> Result<E, Self> {
        let Self { error, trace } = self;
        #[cfg(feature = "anyhow")]
        let error = match error.downcast() {
            Ok(anyhow) => {
                let Anyhow(error) = *anyhow;
                return error.downcast().map_err(|error| Self {
                    error: Box::new(Anyhow(error)),
                    trace,
                });
            }
            Err(error) => error,
        };
        match error.downcast() {
            Ok(error) => Ok(*error),
            Err(error) => Err(Self { error, trace }),
        }
    }

    /// The `anyhow::Error` that the host function returned, if it did.
    #[cfg(feature = "anyhow")]
    pub fn as_anyhow(&self) -> Option<&anyhow::Error> {
        let Anyhow(error) = self.error.downcast_ref()?;
        Some(error)
    }

    /// The wasm frames that led to the host function.
    pub fn backtrace(&self) -> &WasmBacktrace {
        &self.trace
    }

    /// The same error with the frames that `change` makes of its own.
    pub(super) fn with_backtrace(
        mut self,
        change: impl FnOnce(WasmBacktrace) -> WasmBacktrace,
    ) -> Self {
        self.trace = change(self.trace);
        self
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for HostError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

/// The conversion of a host function's error.
pub(super) fn wrap<E: Into<BoxError> + 'static>(error: E) -> Error {
    let mut error = Some(error);
    let any: &mut dyn Any = &mut error;
    if let Some(own) = any.downcast_mut::<Option<Error>>().and_then(Option::take) {
        return own;
    }
    #[cfg(feature = "anyhow")]
    if let Some(error) = any
        .downcast_mut::<Option<anyhow::Error>>()
        .and_then(Option::take)
    {
        return match error.downcast::<Error>() {
            Ok(own) => own,
            Err(error) => match error.downcast::<TrapCode>() {
                Ok(trap) => trap.into(),
                Err(error) => of_host(Box::new(Anyhow(error))),
            },
        };
    }
    let Some(error) = error else {
        unreachable!("taken only where this has returned");
    };
    match error.into().downcast::<Error>() {
        Ok(own) => *own,
        Err(error) => match error.downcast::<TrapCode>() {
            Ok(trap) => (*trap).into(),
            Err(error) => of_host(error),
        },
    }
}

fn of_host(error: BoxError) -> Error {
    Error::Host(HostError {
        error,
        trace: WasmBacktrace::default(),
    })
}

/// An `anyhow::Error` as an error of the standard library's kind.
#[cfg(feature = "anyhow")]
#[derive(Debug)]
struct Anyhow(anyhow::Error);

#[cfg(feature = "anyhow")]
impl fmt::Display for Anyhow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(feature = "anyhow")]
impl StdError for Anyhow {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.chain().nth(1)
    }
}

#[cfg(feature = "anyhow")]
impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        wrap(error)
    }
}
