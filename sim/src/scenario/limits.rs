//! Refuses what Kafka would not call a topic, and more of anything than a plan can hold.

use std::collections::BTreeSet;

use super::check::{GROUP_METADATA_TOPIC, most};
use super::file::{Admin, Consumer, Fault, File, Producer};
use super::value::Count;

/// Nodes of one table, and clients of one.
const NODES_MAX: u64 = 100;
const CLIENTS_MAX: u64 = 10_000;
/// Partitions of a topic.
const PARTITIONS_MAX: u64 = 10_000;
/// Records that one producer sends in a run, and at one moment.
const RECORDS_MAX: u64 = 10_000_000;
const BURST_MAX: u64 = 100_000;
/// How often a client does something in a run, and after how many records it commits.
const OFTEN_MAX: u64 = 10_000;
const COMMIT_EVERY_MAX: u64 = 1_000_000_000;
/// Messages that one fault holds up or drops.
const MESSAGES_MAX: u64 = 1_000_000;
/// A fault's id keeps two digits for its number, and two for its table among those of its kind.
pub(super) const TIMES_MAX: u64 = 99;
const TABLES_MAX: usize = 100;
/// `Topic.MAX_NAME_LENGTH`
const NAME_LEN_MAX: usize = 249;

/// Says what is too much or no topic, if something is.
pub(super) fn check(file: &File) -> Result<(), String> {
    for node in &file.nodes {
        at_most("[[node]]", "count", &node.count, NODES_MAX)?;
    }
    topics(file)?;
    for each in &file.producers {
        producer(file, each)?;
    }
    for each in &file.consumers {
        consumer(each)?;
    }
    for each in &file.admins {
        admin(file, each)?;
    }
    faults(&file.faults)
}

fn topics(file: &File) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for topic in &file.topics {
        let name = &topic.name;
        topic_name(name).map_err(|why| format!("[[topic]] {name:?}: {why}"))?;
        if !seen.insert(name) {
            return Err(format!(
                "two [[topic]] tables are named {name:?}: rename one, or make them one"
            ));
        }
        let place = format!("[[topic]] {name}");
        at_most(&place, "partitions", &topic.partitions, PARTITIONS_MAX)?;
    }
    Ok(())
}

/// What Kafka refuses as the name of a topic (`Topic.validate`), and the one that it makes itself.
fn topic_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        return Err("a topic needs a name".to_owned());
    }
    if [".", ".."].contains(&name) {
        return Err("Kafka takes neither \".\" nor \"..\" as a name".to_owned());
    }
    if let Some(wrong) = name.chars().find(|&c| !legal(c)) {
        return Err(format!(
            "{wrong:?} is not allowed in a name: say it with letters, digits, '.', '_' and '-'"
        ));
    }
    if NAME_LEN_MAX < name.len() {
        let len = name.len();
        return Err(format!(
            "the name has {len} characters: Kafka takes {NAME_LEN_MAX}"
        ));
    }
    if name == GROUP_METADATA_TOPIC {
        return Err("it exists once a group does: leave it out".to_owned());
    }
    Ok(())
}

fn producer(file: &File, producer: &Producer) -> Result<(), String> {
    let place = format!("[[producer]] {}", producer.name);
    at_most(&place, "count", &producer.count, CLIENTS_MAX)?;
    at_most(&place, "burst", &producer.burst, BURST_MAX)?;
    let lasts = file.run.duration.extremes().into_iter().max();
    let lasts_ms = lasts.map_or(0, |lasts| lasts.ms()).max(1);
    let rate_max = (RECORDS_MAX.saturating_mul(1_000) / lasts_ms).max(1);
    let rate = most(&producer.rate);
    if rate_max < rate {
        let lasts = crate::verdict::seconds(lasts_ms);
        return Err(format!(
            "{place}: rate {rate} for {lasts} is more than {RECORDS_MAX} records: at most {rate_max}"
        ));
    }
    Ok(())
}

fn admin(file: &File, admin: &Admin) -> Result<(), String> {
    let place = format!("[[admin]] {}", admin.name);
    at_most(&place, "count", &admin.count, CLIENTS_MAX)?;
    let lasts = file.run.duration.extremes().into_iter().max();
    let lasts_ms = lasts.map_or(0, |lasts| lasts.ms());
    let every = admin.every.extremes().into_iter().min();
    let every_ms = every.map_or(0, |every| every.ms());
    if every_ms == 0 {
        return Err(format!("{place}: every = 0 never ends: say 1ms or more"));
    }
    match lasts_ms / every_ms {
        calls if OFTEN_MAX < calls => Err(format!(
            "{place}: every {every_ms} ms makes {calls} calls, at most {OFTEN_MAX}"
        )),
        _ => Ok(()),
    }
}

fn consumer(consumer: &Consumer) -> Result<(), String> {
    let place = format!("[[consumer]] {}", consumer.name);
    at_most(&place, "count", &consumer.count, CLIENTS_MAX)?;
    if let Some(instances) = &consumer.instances {
        at_most(&place, "static", instances, CLIENTS_MAX)?;
    }
    let every = &consumer.commit_every;
    at_most(&place, "commit-every", every, COMMIT_EVERY_MAX)?;
    for (field, count) in [
        ("rewinds", &consumer.rewinds),
        ("stalls", &consumer.stalls),
        ("pauses", &consumer.pauses),
        ("looks", &consumer.looks),
        ("wakes", &consumer.wakes),
    ] {
        at_most(&place, field, count, OFTEN_MAX)?;
    }
    Ok(())
}

fn faults(faults: &[Fault]) -> Result<(), String> {
    for fault in faults {
        let kind = fault.kind();
        let place = format!("[[fault]] {kind}");
        at_most(&place, "times", fault.schedule().0, TIMES_MAX)?;
        if let Fault::HoldRpc(rpc) | Fault::DropRpc(rpc) = fault {
            at_most(&place, "count", &rpc.count, MESSAGES_MAX)?;
        }
        let alike = faults.iter().filter(|other| other.kind() == kind).count();
        if TABLES_MAX < alike {
            return Err(format!("{place}: {alike} tables, at most {TABLES_MAX}"));
        }
    }
    Ok(())
}

fn at_most(place: &str, field: &str, count: &Count, limit: u64) -> Result<(), String> {
    match most(count) {
        most if limit < most => Err(format!("{place}: {field} = {most}, at most {limit}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;

    const TEXT: &str = "title = \"t\"\nwhy = [\"w\"]\n[[node]]\ncount = 3\n[[topic]]\nname = \"orders\"\n\
        partitions = 2\nreplication-factor = 3\n[[producer]]\nname = \"p\"\ntopic = \"orders\"\nrate = 10\n\
        burst = 1\n[[admin]]\nname = \"a\"\ntopic = \"orders\"\nevery = \"1s\"\n[[consumer]]\nname = \"c\"\ntopic = \"orders\"\nassign = true\nlooks = 1\n\
        [[fault]]\nkind = \"kill\"\ntimes = 1\nat = \"1s\"\ntarget = \"any node\"\nrestart = \"1s\"\n";

    fn told(from: &str, to: &str) -> String {
        assert!(TEXT.contains(from), "{from}");
        match Scenario::parse("t", "t.toml", &TEXT.replace(from, to)) {
            Ok(_) => "nothing".to_owned(),
            Err(told) => told,
        }
    }

    #[test]
    fn topics_are_named_as_kafka_names_them() {
        assert_eq!(told("\"orders\"", "\"a.b_C-9\""), "nothing");
        assert_eq!(
            told("\"orders\"", &format!("{:?}", "x".repeat(249))),
            "nothing"
        );
        for (name, why) in [
            ("a b", "' ' is not allowed"),
            ("orders-*", "'*' is not allowed"),
            ("größe", "'ö' is not allowed"),
            ("", "needs a name"),
            (".", "neither"),
            ("..", "neither"),
            ("__consumer_offsets", "leave it out"),
        ] {
            let told = told("\"orders\"", &format!("{name:?}"));
            assert!(told.contains(why), "{name}: {told}");
        }
        let long = told("\"orders\"", &format!("{:?}", "x".repeat(250)));
        assert!(
            long.ends_with("the name has 250 characters: Kafka takes 249"),
            "{long}"
        );
    }

    #[test]
    fn two_topics_have_two_names() {
        let again =
            "[[topic]]\nname = \"orders\"\npartitions = 1\nreplication-factor = 1\n[[producer]]";
        assert_eq!(
            told("[[producer]]", again),
            "t.toml: two [[topic]] tables are named \"orders\": rename one, or make them one"
        );
    }

    #[test]
    fn there_is_a_limit_to_everything() {
        assert_eq!(
            told("partitions = 2", "partitions = 5000000000"),
            "t.toml: [[topic]] orders: partitions = 5000000000, at most 10000"
        );
        assert_eq!(
            told("times = 1", "times = \"1..200\""),
            "t.toml: [[fault]] kill: times = 200, at most 99"
        );
        assert_eq!(
            told("rate = 10", "rate = 9223372036854775807"),
            "t.toml: [[producer]] p: rate 9223372036854775807 for 20.000s is more than 10000000 records: \
             at most 500000"
        );
        for (from, to) in [
            ("count = 3", "count = 101"),
            ("burst = 1", "burst = \"1..100001\""),
            ("looks = 1", "looks = [1, 10001]"),
            ("every = \"1s\"", "every = \"1ms..1s\""),
        ] {
            let told = told(from, to);
            assert!(told.contains(", at most "), "{told}");
        }
    }

    #[test]
    fn an_admin_pauses_between_its_calls() {
        assert_eq!(
            told("every = \"1s\"", "every = \"0s..1s\""),
            "t.toml: [[admin]] a: every = 0 never ends: say 1ms or more"
        );
    }

    #[test]
    fn somebody_controls() {
        let roles = |roles: &str| {
            told(
                "count = 3",
                &format!("count = 3\nconfig = {{ \"process.roles\" = {roles} }}"),
            )
        };
        assert_eq!(roles("\"broker,controller\""), "nothing");
        let all_brokers = roles("\"broker\"");
        assert!(
            all_brokers.contains("there may be no controller"),
            "{all_brokers}"
        );
        let perhaps = roles("[\"broker\", \"broker,controller\"]");
        assert!(perhaps.contains("there may be no controller"), "{perhaps}");
    }
}
