//! Keys, signing, and what is refused because nobody who is trusted has signed it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use crate::{ADD, Dir};

/// A directory with an artifact, two pairs of keys `a` and `b`, and the artifact signed by `a`.
fn prepared() -> (Dir, [String; 2]) {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    let ids = ["a", "b"].map(|key| {
        let made = dir.precast(&["key", key]);
        assert_eq!(
            (made.stderr().as_str(), made.0.status.code()),
            ("", Some(0))
        );
        made.stdout().trim().to_owned()
    });
    dir.precast(&["sign", "add.precast", "--key", "a", "-o", "signed"])
        .is("", "", 0);
    (dir, ids)
}

#[test]
fn keys_are_for_their_owner() {
    let (dir, [a, b]) = prepared();
    assert_ne!(a, b);
    assert!(
        a.len() == 32 && a.bytes().all(|c| c.is_ascii_hexdigit()),
        "{a}"
    );
    let mode = |name: &str| fs::metadata(dir.path(name)).expect("there").mode() & 0o777;
    assert_eq!(mode("a"), 0o600);
    assert_eq!(mode("a.pub") & 0o022, 0);
    let text = fs::read_to_string(dir.path("a.pub")).expect("text");
    assert!(text.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{text}");

    let secret = fs::read(dir.path("a")).expect("there");
    dir.precast(&["key", "a"]).is(
        "",
        "error: `a.pub` exists already; a key is never replaced\n",
        1,
    );
    fs::remove_file(dir.path("a.pub")).expect("there");
    dir.precast(&["key", "a"]).is(
        "",
        "error: `a` exists already; a key is never replaced\n",
        1,
    );
    assert_eq!(fs::read(dir.path("a")).expect("there"), secret);
    assert!(!dir.path("a.pub").exists());
}

#[test]
fn a_signed_artifact_is_run_by_who_trusts_the_key() {
    let (dir, [a, b]) = prepared();
    dir.precast(&["verify", "signed", "--trusted-key", "a.pub"])
        .is(&format!("{a}  signed\n"), "", 0);
    let run = |file, key| {
        dir.precast(&[
            "run",
            "--trusted-key",
            key,
            "--invoke",
            "add",
            file,
            "3",
            "4",
        ])
    };
    run("signed", "a.pub").is("7\n", "", 0);
    run("signed", "b.pub").is(
        "",
        &format!(
            "error: cannot run `signed`\nCaused by:\n    \
             the artifact has valid signatures of 0 trusted keys, expected 1:\n      \
             signature of key {a}: not a trusted key\n"
        ),
        1,
    );
    run("add.precast", "a.pub").is(
        "",
        "error: cannot run `add.precast`\nCaused by:\n    the artifact is not signed; expected a \
         signature of a trusted key: use `precast sign`\n",
        1,
    );
    run("add.wasm", "a.pub").is(
        "",
        "error: cannot run `add.wasm`: it is a WebAssembly module, which has no signature; \
         expected an artifact\n",
        1,
    );
    // A signature does not keep anybody from running the artifact, or from reading it.
    dir.precast(&["run", "--invoke", "add", "signed", "3", "4"])
        .is("7\n", "", 0);
    let shown = dir.precast(&["inspect", "signed"]).stdout();
    assert!(shown.contains(&format!("signature    key {a}, not checked\n")));
    // The size is that of the file, with its signature.
    let size = fs::metadata(dir.path("signed")).expect("there").len();
    assert!(shown.contains(&format!("file         signed, {size} bytes\n")));
    let json = dir.precast(&["inspect", "--json", "signed"]).stdout();
    assert!(json.contains(&format!("\"file_size\": {size},")), "{json}");
    let digest = |file| dir.precast(&["digest", file]).stdout()[..64].to_owned();
    assert_eq!(digest("signed"), digest("add.precast"));

    // A second signature is added in place, and both can be required.
    dir.precast(&["sign", "signed", "--key", "b"]).is("", "", 0);
    let both = [
        "verify",
        "signed",
        "--trusted-key",
        "a.pub",
        "--trusted-key",
        "b.pub",
    ];
    let mut ids = [a, b].map(|id| format!("{id}  signed\n"));
    ids.sort();
    dir.precast(&[&both[..], &["--signatures", "2"]].concat())
        .is(&ids.concat(), "", 0);
    let three = dir.precast(&[&both[..], &["--signatures", "3"]].concat());
    assert!(
        three
            .stderr()
            .contains("signatures of 2 trusted keys, expected 3")
    );
}

#[test]
fn one_bad_file_does_not_hide_the_others() {
    let (dir, [a, _]) = prepared();
    fs::copy(dir.path("signed"), dir.path("last")).expect("writable");
    dir.write("bad", "no artifact");
    let refused = "error: cannot use `bad`\nCaused by:\n    expected a precast artifact, found a \
                   file that starts with 6e 6f 20 61\n";
    let verify = ["verify", "--trusted-key", "a.pub"];
    dir.precast(&[&verify[..], &["signed", "bad", "missing", "last"]].concat())
        .is(
            &format!("{a}  signed\n{a}  last\n"),
            &format!(
                "{refused}error: cannot read `missing`\nCaused by:\n    No such file or directory \
                 (os error 2)\n"
            ),
            1,
        );
    let line = |file| dir.precast(&["digest", file]).stdout();
    let both = line("signed") + &line("last");
    dir.precast(&["digest", "signed", "bad", "last"])
        .is(&both, refused, 1);
    // A reader that has gone away does not make that a success.
    let mut command = dir.command(&["digest", "signed", "bad"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ran = command.stdout(writer).output().expect("runs");
    assert_eq!(ran.status.code(), Some(1));
}

#[test]
fn damaged_files_and_wrong_keys_are_named() {
    let (dir, [a, _]) = prepared();
    let mut bytes = fs::read(dir.path("signed")).expect("there");
    *bytes.last_mut().expect("bytes") ^= 1;
    dir.write("damaged", &bytes);
    dir.precast(&["verify", "damaged", "--trusted-key", "a.pub"])
        .is(
            "",
            &format!(
                "error: cannot trust `damaged`\nCaused by:\n    \
             the artifact has valid signatures of 0 trusted keys, expected 1:\n      \
             signature of key {a}: not a signature of this artifact by this key\n"
            ),
            1,
        );
    let sign = |key| dir.precast(&["sign", "add.precast", "--key", key]);
    fs::set_permissions(dir.path("a.pub"), Permissions::from_mode(0o600)).expect("ours");
    sign("a.pub").is(
        "",
        "error: cannot use `a.pub`\nCaused by:\n    found a public key; expected a secret key, \
         `-----BEGIN PRIVATE KEY-----`\n",
        1,
    );
    dir.precast(&["verify", "signed", "--trusted-key", "a"]).is(
        "",
        "error: cannot use `a`\nCaused by:\n    found a secret key; expected a public key, \
         `-----BEGIN PUBLIC KEY-----`\n",
        1,
    );
    dir.precast(&["verify", "signed", "--trusted-key", "add.wasm"])
        .is(
            "",
            "error: cannot use `add.wasm`\nCaused by:\n    found no key; expected the text that \
         `precast key` writes, `-----BEGIN … KEY-----`\n",
            1,
        );
    let none = dir.precast(&["verify", "signed"]);
    assert_eq!(none.0.status.code(), Some(2));
    assert!(none.stderr().contains("give --trusted-key KEYFILE"));
}

/// Keys and signatures are those of the standards, so other tools make and check them too.
#[test]
fn openssl_makes_keys_and_checks_signatures() {
    let (dir, _) = prepared();
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(dir.path(".")).output()
    };
    let Ok(made) = openssl(&["genpkey", "-algorithm", "ed25519", "-out", "own"]) else {
        eprintln!("skipped openssl_makes_keys_and_checks_signatures: there is no openssl");
        return;
    };
    assert!(made.status.success());
    fs::set_permissions(dir.path("own"), Permissions::from_mode(0o600)).expect("ours");
    dir.precast(&["sign", "add.precast", "--key", "own"])
        .is("", "", 0);
    let public = openssl(&["pkey", "-in", "own", "-pubout", "-out", "own.pub"]);
    assert!(public.expect("starts").status.success());
    let verified = dir.precast(&["verify", "add.precast", "--trusted-key", "own.pub"]);
    assert_eq!(verified.0.status.code(), Some(0), "{}", verified.stderr());

    let digest = dir.precast(&["digest", "add.precast"]).stdout();
    let digit = |i: usize| u8::from_str_radix(&digest[2 * i..2 * i + 2], 16).expect("a digit");
    let digest: Vec<u8> = (0..32).map(digit).collect();
    dir.write(
        "message",
        [b"precast artifact, BLAKE3 digest:", &digest[..]].concat(),
    );
    let signed = fs::read(dir.path("add.precast")).expect("there");
    dir.write("signature", &signed[signed.len() - 64..]);
    let check = [
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "own.pub",
        "-rawin",
        "-in",
        "message",
        "-sigfile",
        "signature",
    ];
    let checked = openssl(&check).expect("starts");
    assert!(checked.status.success(), "{checked:?}");
}
