//! A consumer of ours and two of librdkafka's in one group.

use super::group::{Group, PROPERTIES, Way};
use super::member::Library;
use super::port;
use super::served::{Scratch, Served};

const RECORDS: usize = 3_000;

#[test]
#[ignore = "needs confluent-kafka, and opens ports"]
fn a_client_of_ours_shares_a_group_with_those_of_librdkafka() {
    let data = Scratch::new("mixed");
    let served = Served::start(&data.0, port::MIXED, PROPERTIES);
    for assignor in ["range", "cooperative-sticky"] {
        let times = [
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "1000"),
        ];
        let way = |library, assignor| {
            Way::new(library, &times).with("partition.assignment.strategy", assignor)
        };
        let theirs = way(Library::Librdkafka, assignor);
        let class = match assignor {
            "range" => "org.apache.kafka.clients.consumer.RangeAssignor",
            _ => "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        };
        share(&served, assignor, &theirs, &way(Library::Ours, class));
    }
    let config = [
        ("group.protocol", "consumer"),
        ("group.remote.assignor", "uniform"),
    ];
    let [theirs, ours] =
        [Library::Librdkafka, Library::Ours].map(|library| Way::new(library, &config));
    share(&served, "consumer", &theirs, &ours);
    served.stop_in_order();
}

fn share(served: &Served, name: &str, theirs: &Way, ours: &Way) {
    let mut group = Group::new(served, &format!("mixed-{name}"));
    group.produce(RECORDS);
    let our = group.join(ours);
    let their = [group.join(theirs), group.join(theirs)];
    group.until_shared();
    group.until_all_is_read();
    // One of theirs dies while it reads: ours hears of it and takes over its share.
    let moved = group.kill_while_it_reads(their[0], RECORDS, 1);
    group.until_all_is_read();
    group.until_nothing_lags();
    let again = group.read_again();
    assert!(0 < again, "it had committed: {}", group.describe());
    // Ours leaves: theirs goes on exactly where ours has committed, and the other way round.
    group.leave(our);
    group.until_shared();
    group.produce(RECORDS);
    group.until_all_is_read();
    group.until_nothing_lags();
    group.leave(their[1]);
    group.produce(RECORDS);
    group.join(ours);
    group.until_shared();
    group.until_all_is_read();
    group.until_nothing_lags();
    group.leave_all();
    assert_eq!(
        group.read_again(),
        again,
        "read again: {}",
        group.describe()
    );
    let name = &group.name;
    println!("{name}: moved after {moved:?}, {again} records read again");
}
