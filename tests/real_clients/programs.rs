//! The programs that the tests run, and how they are run.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sim::wall::Stopwatch;

/// A Python program of `tests/clients`.
pub(crate) fn python(script: &str) -> Command {
    let python = setting("KAFKA_SIM_PYTHON").unwrap_or_else(|| "python3".to_owned());
    let mut command = Command::new(python);
    command.arg(client(script));
    command
}

/// A JavaScript program of `tests/clients`.
pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    if let Some(modules) = setting("KAFKA_SIM_NODE_MODULES") {
        command.env("NODE_PATH", modules);
    }
    command.arg(client(script));
    command
}

fn client(script: &str) -> String {
    format!("{}/clients/{script}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program to its end with that input.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    let program = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin
        .write_all(input.as_bytes())
        .expect("the program reads its input");
    drop(stdin);
    child.wait_with_output().expect("it was started")
}

/// What a program printed that ended well.
pub(crate) fn stdout(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{printed}");
    printed
}

/// Waits until something is so that other programs bring about.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let watch = Stopwatch::start();
    while !is_so() {
        assert!(watch.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}");
        pause();
    }
}

/// After that long a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "other programs take real time")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Builds the release binary and tells where it is.
pub(crate) fn binary() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "sim"])
        .status()
        .expect("cargo runs this test");
    assert!(built.success());
    let here = std::env::current_exe().expect("a test is a file");
    // …/target/<profile>/deps/real_clients-…
    let target = here
        .ancestors()
        .nth(3)
        .expect("a test lies in the target directory");
    target.join("release/sim")
}

#[expect(
    clippy::disallowed_methods,
    reason = "these tests run real programs; where they are is said from outside"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
