//! Real clients against `serve`: confluent-kafka's AdminClient makes a topic, kcat writes and reads, members
//! of librdkafka's share partitions by both group protocols.
//!
//! Ignored unless asked for (`cargo test --test real_clients -- --ignored`): they need kcat and a Python
//! that has confluent-kafka (`KAFKA_SIM_PYTHON` names another than `python3`), build the release binary and
//! open ports.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

const RECORDS: usize = 10_000;
const PARTITIONS: usize = 3;
const PORT: u16 = 39_092;
/// One at a time has the ports.
static TURN: Mutex<()> = Mutex::new(());
const BROKERS: &str = "localhost:39092,localhost:39093,localhost:39094";

#[test]
#[ignore = "needs kcat and confluent-kafka, and opens ports"]
fn real_clients_lose_nothing_when_every_node_is_killed() {
    let _turn = TURN.lock();
    let data = Scratch::new("records");
    let served = Served::start(&data.0);
    create_topic("orders");
    let listed = stdout(kcat(&["-L"]));
    assert!(
        listed.contains("topic \"orders\" with 3 partitions"),
        "{listed}"
    );
    produce("orders");
    let read = consume("orders");
    assert_all_there_in_order(&read);
    served.kill();
    let served = Served::start(&data.0);
    assert_eq!(
        consume("orders"),
        read,
        "kill -9 lost what was acknowledged"
    );
    served.stop_in_order();
}

#[test]
#[ignore = "needs confluent-kafka, and opens ports"]
fn groups_of_real_clients_lose_nothing_when_a_member_dies() {
    let _turn = TURN.lock();
    let data = Scratch::new("groups");
    let served = Served::start(&data.0);
    let ways = [
        ("classic", "range"),
        ("classic", "cooperative-sticky"),
        ("consumer", "uniform"),
    ];
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/groups.py");
    for (protocol, assignor) in ways {
        let mut command = python();
        command.args([script, BROKERS, protocol, assignor]);
        print!("{}", stdout(run(&mut command, "")));
    }
    served.stop_in_order();
}

#[test]
#[ignore = "builds the release binary, and opens ports"]
fn a_port_in_use_is_said_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    // The controller port must exist, too: any port that leaves room above will do.
    let port = port.min(64_000);
    let output = Command::new(binary())
        .args(["serve", "--port", &port.to_string()])
        .output()
        .expect("the binary was built");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("in use"), "{said}");
}

fn create_topic(name: &str) {
    let script = format!(
        "from confluent_kafka.admin import AdminClient, NewTopic\n\
         admin = AdminClient({{'bootstrap.servers': '{BROKERS}'}})\n\
         made = admin.create_topics([NewTopic('{name}', {PARTITIONS}, 3)])\n\
         made['{name}'].result(30)\n"
    );
    stdout(run(python().args(["-c", &script]), ""));
}

fn python() -> Command {
    Command::new(setting("KAFKA_SIM_PYTHON").unwrap_or_else(|| "python3".to_owned()))
}

fn produce(topic: &str) {
    let lines: Vec<String> = (0..RECORDS)
        .map(|n| format!("key-{}:value-{n}", n % 100))
        .collect();
    let mut command = Command::new("kcat");
    command.args(["-b", BROKERS, "-P", "-t", topic, "-K", ":"]);
    command.args(["-X", "acks=all", "-X", "enable.idempotence=true"]);
    stdout(run(&mut command, &lines.join("\n")));
}

/// Every record as `partition offset value`, sorted by partition and offset.
fn consume(topic: &str) -> Vec<(usize, usize, String)> {
    let read = stdout(kcat(&[
        "-C",
        "-e",
        "-t",
        topic,
        "-o",
        "beginning",
        "-f",
        "%p %o %s\n",
    ]));
    let mut records: Vec<_> = read
        .lines()
        .map(|line| {
            let mut fields = line.splitn(3, ' ');
            let mut number = || fields.next()?.parse::<usize>().ok();
            let place = number().zip(number()).expect("kcat prints what it is told");
            (place.0, place.1, fields.next().expect("a value").to_owned())
        })
        .collect();
    records.sort();
    records
}

fn assert_all_there_in_order(records: &[(usize, usize, String)]) {
    assert_eq!(records.len(), RECORDS);
    for partition in 0..PARTITIONS {
        let here = records.iter().filter(|(at, ..)| *at == partition);
        let mut before = None;
        for (expected, (_, offset, value)) in here.enumerate() {
            assert_eq!(*offset, expected, "a hole in partition {partition}");
            let number: usize = value
                .strip_prefix("value-")
                .and_then(|number| number.parse().ok())
                .expect("a value of ours");
            assert!(before < Some(number), "{value} after {before:?}");
            before = Some(number);
        }
    }
}

fn kcat(args: &[&str]) -> Output {
    run(Command::new("kcat").args(["-b", BROKERS]).args(args), "")
}

/// Runs a program to its end with that input.
fn run(command: &mut Command, input: &str) -> Output {
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

fn stdout(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("text")
}

/// A running `serve`.
struct Served(Child);

impl Served {
    /// Starts three nodes and waits for them.
    fn start(data: &Path) -> Self {
        let mut child = Command::new(binary())
            .args(["serve", "--nodes", "3", "--port", &PORT.to_string()])
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        let stdout = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("serve prints text");
        assert_eq!(line.trim_end(), format!("ready: {BROKERS}"));
        Served(child)
    }

    /// `kill -9`, all nodes at once.
    fn kill(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it was started");
    }

    /// SIGTERM.
    fn stop_in_order(mut self) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill exists").success());
        assert!(self.0.wait().expect("it was started").success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Over already, unless an assertion failed.
        drop(self.0.kill());
    }
}

/// Builds the release binary and tells where it is.
fn binary() -> PathBuf {
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

/// A directory that goes when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("kafka-sim-{name}-{}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this test runs real programs; whether it may is said from outside"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
