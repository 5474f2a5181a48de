//! The programs of an ordinary tutorial: a producer with keys and zstd, a consumer that commits every
//! 100 records and sends what it cannot read to a dead letter queue, and who looks through that queue.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::port;
use super::programs::{python, run, stdout, until};
use super::served::{Scratch, Served};

const ORDERS: usize = 10_000;
/// Every so many-th record is no order.
const BAD_EVERY: usize = 250;
const BAD: usize = ORDERS / BAD_EVERY;
const GOOD: usize = ORDERS - BAD;

#[test]
#[ignore = "needs confluent-kafka, and opens ports"]
fn the_programs_of_a_tutorial_run_unmodified() {
    let data = Scratch::new("tutorial");
    // With the default properties, as in a tutorial.
    let served = Served::start(&data.0, port::TUTORIAL, &[]);
    served.create_topic("orders", 6);
    served.create_topic("orders.dead", 3);
    let output = data.0.join("processed");
    let mut first = consumer(&served, &output);
    let mut producer = python("tutorial/producer.py");
    producer.args([&served.brokers, "orders", &ORDERS.to_string()]);
    let said = stdout(run(&mut producer, ""));
    assert_eq!(said, format!("{ORDERS} delivered, 0 failed\n"));
    until("the consumer gets going", || {
        1_000 <= processed(&output).len()
    });
    stop(&mut first);
    let between = processed(&output).len();
    assert!(
        between < GOOD,
        "the first consumer was too fast to be stopped in the middle"
    );
    let mut second = consumer(&served, &output);
    until("every order is processed", || {
        GOOD <= processed(&output).len()
    });
    stop(&mut second);
    let orders = processed(&output);
    assert_once_and_in_order(&orders);
    assert_nothing_lags(&served);
    assert_dead_letters(&served, &orders);
    println!(
        "{between} orders by the first consumer, {} by the second",
        GOOD - between
    );
    served.stop_in_order();
}

/// An order that was processed.
struct Order {
    key: String,
    number: usize,
    partition: usize,
    offset: usize,
}

fn consumer(served: &Served, output: &Path) -> Child {
    let mut command = python("tutorial/consumer.py");
    command.args([&served.brokers, "orders", "orders.dead", "billing"]);
    command.arg(output).stdin(Stdio::null());
    command.spawn().expect("a Python")
}

/// SIGTERM, as every supervisor of processes does it.
fn stop(child: &mut Child) {
    let sent = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(sent.expect("kill exists").success());
    assert!(
        child.wait().expect("it was started").success(),
        "the consumer failed"
    );
}

fn processed(output: &Path) -> Vec<Order> {
    let text = fs::read_to_string(output).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let order = |line: &str| {
        let mut words = line.split(' ');
        let key = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some(Order {
            key,
            number: number()?,
            partition: number()?,
            offset: number()?,
        })
    };
    let orders = whole.lines().map(|line| {
        let order = order(line);
        order.unwrap_or_else(|| panic!("the consumer wrote {line:?}"))
    });
    orders.collect()
}

fn assert_once_and_in_order(orders: &[Order]) {
    let numbers: BTreeSet<_> = orders.iter().map(|it| it.number).collect();
    let expected = (0..ORDERS).filter(|number| number % BAD_EVERY != BAD_EVERY - 1);
    let missing: Vec<_> = expected.filter(|it| !numbers.contains(it)).collect();
    assert!(
        missing.is_empty(),
        "orders that nobody processed: {missing:?}"
    );
    assert_eq!(orders.len(), GOOD, "some orders were processed twice");
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for order in orders {
        let before = last.insert(&order.key, order.number);
        let key = &order.key;
        assert!(
            before < Some(order.number),
            "{key}: {} after {before:?}",
            order.number
        );
    }
}

fn assert_nothing_lags(served: &Served) {
    let mut command = python("offsets.py");
    command.args([&served.brokers, "billing", "orders"]);
    let said = stdout(run(&mut command, ""));
    let offsets: Vec<(i64, i64)> = serde_json::from_str(&said).expect("pairs");
    assert!(
        offsets.iter().all(|(end, committed)| end == committed),
        "there is lag: [end, committed] {offsets:?}"
    );
}

/// Each dead letter says where it came from: a record that is not among the orders.
fn assert_dead_letters(served: &Served, orders: &[Order]) {
    let mut command = python("tutorial/dlq_consumer.py");
    command.args([&served.brokers, "orders.dead", "looking"]);
    let said = stdout(run(&mut command, ""));
    let processed: BTreeSet<_> = orders.iter().map(|it| (it.partition, it.offset)).collect();
    let mut places = BTreeSet::new();
    for line in said.lines() {
        let letter: Value = serde_json::from_str(line).expect("a line of JSON");
        let field = |name: &str| {
            letter[name]
                .as_str()
                .unwrap_or_else(|| panic!("{line}: no {name}"))
        };
        assert_eq!(field("value"), "this is no JSON");
        assert_eq!(field("dlq.topic"), "orders");
        assert!(
            field("dlq.error").starts_with("JSONDecodeError: "),
            "{line}"
        );
        assert!(field("key").starts_with("customer-"), "{line}");
        let number = |name: &str| field(name).parse::<usize>().expect("a number");
        let place = (number("dlq.partition"), number("dlq.offset"));
        assert!(!processed.contains(&place), "{line}: that was an order");
        assert!(places.insert(place), "{line}: twice");
    }
    assert_eq!(places.len(), BAD, "dead letters are missing: {said}");
}
