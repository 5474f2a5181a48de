//! A running `serve`, and where its nodes keep their data.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::programs::{binary, python, run, stdout};

/// A running `serve`.
pub(crate) struct Served {
    child: Child,
    /// Ends it with this test, however that ends.
    guard: Child,
    /// `bootstrap.servers`.
    pub(crate) brokers: String,
}

impl Served {
    /// Starts three nodes with those properties and waits for them.
    pub(crate) fn start(data: &Path, port: u16, set: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary());
        command.args(["serve", "--nodes", "3", "--port", &port.to_string()]);
        command.arg("--data").arg(data);
        for (name, value) in set {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        let spawned = command.stdout(Stdio::piped()).spawn();
        let mut child = spawned.expect("the binary was built");
        let guard = guard(&child);
        let stdout = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("serve prints text");
        let places: Vec<_> = (port..port + 3)
            .map(|port| format!("localhost:{port}"))
            .collect();
        let brokers = places.join(",");
        assert_eq!(line.trim_end(), format!("ready: {brokers}"));
        Served {
            child,
            guard,
            brokers,
        }
    }

    /// confluent-kafka's AdminClient makes a topic with three replicas.
    pub(crate) fn create_topic(&self, name: &str, partitions: usize) {
        let mut command = python("create_topic.py");
        command.args([&self.brokers, name, &partitions.to_string()]);
        stdout(run(&mut command, ""));
    }

    /// `kill -9`, all nodes at once.
    pub(crate) fn kill(mut self) {
        self.dismiss_guard();
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started");
    }

    /// SIGTERM.
    pub(crate) fn stop_in_order(mut self) {
        self.dismiss_guard();
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill exists").success());
        assert!(self.child.wait().expect("it was started").success());
    }

    /// Before anybody waits for the nodes: then their process id is somebody else's.
    fn dismiss_guard(&mut self) {
        drop(self.guard.kill());
        drop(self.guard.wait());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Over already, unless an assertion failed.
        self.dismiss_guard();
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A test that is killed runs no destructor, but its end of a pipe is closed.
fn guard(of: &Child) -> Child {
    let script = "read -r _; kill -9 \"$0\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, &of.id().to_string()]);
    let spawned = command.stdin(Stdio::piped()).spawn();
    spawned.expect("there is a shell")
}

/// A directory that goes when the test is over.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("kafka-sim-{name}-{}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
