//! Operators of every library list, describe and delete groups, and alter their offsets.

use std::process::Stdio;

use super::group::PROPERTIES;
use super::port;
use super::programs::{node, python, stdout};
use super::served::{Scratch, Served};

#[test]
#[ignore = "needs confluent-kafka, kafka-python and kafkajs, and opens ports"]
fn operators_look_after_groups_with_every_library() {
    let data = Scratch::new("admin");
    let served = Served::start(&data.0, port::ADMIN, PROPERTIES);
    let programs = [
        ("confluent-kafka", python("admin/librdkafka.py")),
        ("kafka-python", python("admin/kafka_python.py")),
        ("kafkajs", node("admin/kafkajs.js")),
    ];
    let running = programs.map(|(library, mut command)| {
        command.arg(&served.brokers).stdin(Stdio::null());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        (library, command.spawn().expect("the program is there"))
    });
    for (library, child) in running {
        println!("{library}");
        print!(
            "{}",
            stdout(child.wait_with_output().expect("it was started"))
        );
    }
    served.stop_in_order();
}
