//! `precast key`, `precast sign` and `precast verify`: signatures of artifacts.
//!
//! Keys are in files. A secret key is never an argument, because other users can see the arguments
//! of a program.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZero;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use precast_loader::{PublicKey, TrustedKeys};
use precast_signature::SecretKey;
use zeroize::Zeroizing;

use crate::artifact::{Bytes, Part};
use crate::{Failure, files, of_each, usage_error};

/// Maximum size of the file of a key in bytes. Such a file has about 120.
const MAX_KEY: u64 = 1 << 16;

#[derive(clap::Args)]
pub(crate) struct KeyArgs {
    /// Where to write the secret key, which only you may read; the public key is written beside it,
    /// as FILE.pub
    file: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct SignArgs {
    /// The artifact
    file: PathBuf,
    /// The file of the secret key, as `precast key` or `openssl genpkey -algorithm ed25519` writes
    /// it
    #[arg(long, value_name = "KEYFILE")]
    key: PathBuf,
    /// Where to write the signed artifact [default: FILE is replaced]
    #[arg(short, long)]
    output: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// The artifacts; of a file with several, each must be signed
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    trusted: Trusted,
}

/// Which keys are trusted.
#[derive(clap::Args)]
pub(crate) struct Trusted {
    /// The file of a public key that is trusted; may be repeated
    #[arg(long = "trusted-key", value_name = "KEYFILE")]
    keys: Vec<PathBuf>,
    /// Number of trusted keys that must have signed the artifact [default: 1]
    #[arg(
        long,
        value_name = "N",
        requires = "keys",
        allow_negative_numbers = true
    )]
    signatures: Option<NonZero<usize>>,
}

impl Trusted {
    /// The files of the keys.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.keys.iter().map(PathBuf::as_path)
    }

    /// The keys in the files; `None` if no file is given.
    pub(crate) fn keys(&self) -> Result<Option<TrustedKeys>> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let keys = self.keys.iter().map(|path| public(path));
        let keys = TrustedKeys::new(keys.collect::<Result<Vec<_>>>()?);
        Ok(Some(
            keys.require(self.signatures.unwrap_or(NonZero::<usize>::MIN)),
        ))
    }
}

pub(crate) fn make(args: KeyArgs) -> Result<ExitCode, Failure> {
    if args.file == Path::new("-") {
        let message = "a secret key is not printed: expected the name of a file";
        usage_error("key", message.to_owned());
    }
    let secret = SecretKey::generate().context("cannot get random numbers for a key")?;
    let mut beside = args.file.clone().into_os_string();
    beside.push(".pub");
    // The public key comes first: if it cannot be written, no useless secret key is left.
    let public = secret.public();
    write_new(&PathBuf::from(&beside), public.to_pem().as_bytes(), 0o644)?;
    if let Err(error) = write_new(&args.file, secret.to_pem().as_bytes(), 0o600) {
        std::fs::remove_file(&beside).ok();
        return Err(error.into());
    }
    files::print(format!("{}\n", public.id()))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn sign(args: SignArgs) -> Result<ExitCode, Failure> {
    if args.output.is_none() && args.file == Path::new("-") {
        let message = "standard input cannot be replaced: give --output";
        usage_error("sign", message.to_owned());
    }
    let output = args.output.as_ref().unwrap_or(&args.file);
    files::check_outputs(
        "sign",
        &[("the key", &args.key)],
        &[("the signed artifact", output)],
    );
    let secret = secret(&args.key)?;
    let bytes = Bytes::read_artifact(&args.file)?;
    let artifact = bytes.parse(&args.file)?;
    let signed = secret
        .sign_file(&artifact)
        .with_context(|| format!("cannot sign `{}`", args.file.display()))?;
    files::write(output, &signed)?;
    tracing::info!(
        "signed `{}` with key {}",
        args.file.display(),
        secret.public().id()
    );
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn verify(args: VerifyArgs) -> Result<ExitCode, Failure> {
    let Some(keys) = args.trusted.keys()? else {
        let message = "expected the public keys that you trust: give --trusted-key KEYFILE";
        usage_error("verify", message.to_owned());
    };
    of_each(&args.files, |file| {
        let mut text = String::new();
        Part::each(file, |part| {
            let signers = keys
                .verify(&part.artifact()?)
                .with_context(|| format!("cannot trust `{}`", part.path.display()))?;
            let line = |id| format!("{id}  {}\n", files::shown_path(&part.path));
            text.extend(signers.into_iter().map(line));
            Ok(())
        })?;
        Ok(text)
    })
}

/// Writes a new file, which only its owner may write to. A file that exists is never replaced:
/// it may be the only copy of a key.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let context = || format!("cannot write `{}`", path.display());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
            "`{}` exists already; a key is never replaced",
            path.display()
        ),
        opened => opened.with_context(context)?,
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // The file is new, and what is in it is no key.
        std::fs::remove_file(path).ok();
    }
    written.with_context(context)
}

fn public(path: &Path) -> Result<PublicKey> {
    let (text, _) = read(path)?;
    PublicKey::from_pem(&text).with_context(|| format!("cannot use `{}`", path.display()))
}

fn secret(path: &Path) -> Result<SecretKey> {
    let (text, mode) = read(path)?;
    let secret =
        SecretKey::from_pem(&text).with_context(|| format!("cannot use `{}`", path.display()))?;
    if mode & 0o077 != 0 {
        bail!(
            "others may read or write the secret key in `{path}` (mode {:03o}): take that from them \
             with `chmod 600 {path}`, or make a new key if they may have read it",
            mode & 0o777,
            path = path.display(),
        );
    }
    Ok(secret)
}

/// The text in the file of a key, and the file's mode.
fn read(path: &Path) -> Result<(Zeroizing<String>, u32)> {
    let read = || {
        let file = File::open(path)?;
        let mode = file.metadata()?.mode();
        // There is room for the whole key, because a string that grows leaves a copy of the secret
        // behind.
        let mut text = Zeroizing::new(String::with_capacity(4096));
        file.take(MAX_KEY).read_to_string(&mut text)?;
        Ok::<_, io::Error>((text, mode))
    };
    read().with_context(|| format!("cannot read the key in `{}`", path.display()))
}
