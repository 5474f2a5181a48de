//! kcat writes and reads, and every node is killed in between.

use std::process::{Command, Output};

use super::port;
use super::programs::{binary, run, stdout};
use super::served::{Scratch, Served};

const RECORDS: usize = 10_000;
const PARTITIONS: usize = 3;

#[test]
#[ignore = "needs kcat and confluent-kafka, and opens ports"]
fn real_clients_lose_nothing_when_every_node_is_killed() {
    let data = Scratch::new("records");
    let served = Served::start(&data.0, port::RECORDS, &[]);
    served.create_topic("orders", PARTITIONS);
    let listed = stdout(kcat(&served, &["-L"]));
    assert!(
        listed.contains("topic \"orders\" with 3 partitions"),
        "{listed}"
    );
    produce(&served, "orders");
    let read = consume(&served, "orders");
    assert_all_there_in_order(&read);
    served.kill();
    let served = Served::start(&data.0, port::RECORDS, &[]);
    assert_eq!(
        consume(&served, "orders"),
        read,
        "kill -9 lost what was acknowledged"
    );
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

fn produce(served: &Served, topic: &str) {
    let lines: Vec<String> = (0..RECORDS)
        .map(|n| format!("key-{}:value-{n}", n % 100))
        .collect();
    let mut command = Command::new("kcat");
    command.args(["-b", &served.brokers, "-P", "-t", topic, "-K", ":"]);
    command.args(["-X", "acks=all", "-X", "enable.idempotence=true"]);
    stdout(run(&mut command, &lines.join("\n")));
}

/// Every record as `partition offset value`, sorted by partition and offset.
fn consume(served: &Served, topic: &str) -> Vec<(usize, usize, String)> {
    let args = [
        "-C",
        "-e",
        "-t",
        topic,
        "-o",
        "beginning",
        "-f",
        "%p %o %s\n",
    ];
    let read = stdout(kcat(served, &args));
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

fn kcat(served: &Served, args: &[&str]) -> Output {
    let mut command = Command::new("kcat");
    run(command.args(["-b", &served.brokers]).args(args), "")
}
