//! Refuses a scenario that names what does not exist, before anything runs.

use broker_model::config::{self, ADMIN, BROKER, CONSUMER, PRODUCER, PropertyTable, TOPIC};
use broker_model::probe::Probe;

use super::file::{Config, Consumer, DeadLetters, Fault, File, Topic};
use super::limits;
use super::value::{Count, Name};
use crate::check::ALL;
use crate::fault::target::{PartitionName, Target};
use crate::fault::{api_named, api_names};
use crate::history::value::HEADER_LEN;
use crate::nearest::unknown;
use crate::plan::{CommitStyle, Delivery, Effects, Processing, Sink};

/// Says what is wrong with a file, if something is.
pub(super) fn check(file: &File) -> Result<(), String> {
    let checker = Checker { file };
    checker.nodes()?;
    limits::check(file)?;
    checker.topics()?;
    checker.clients()?;
    for fault in &file.faults {
        checker.fault(fault)?;
    }
    for probe in &file.probes {
        if Probe::from_id(probe).is_none() {
            let known = Probe::ALL.iter().map(|probe| probe.id());
            return Err(unknown("probe", probe, known));
        }
    }
    for check in &file.expect.violates {
        let known = check_names();
        if !known.contains(&check.as_str()) {
            return Err(format!("{} in [expect]", unknown("check", check, known)));
        }
    }
    Ok(())
}

/// The checks' names, without their ids.
pub(super) fn check_names() -> Vec<&'static str> {
    let name = |full: &'static str| full.split_once('/').map_or(full, |(name, _)| name);
    ALL.iter().map(|make| name(make().name())).collect()
}

/// Checks each value that a config table may take.
pub(super) fn config(table: &'static PropertyTable, config: &Config) -> Result<(), String> {
    for (name, setting) in &config.0 {
        for text in setting.0.extremes() {
            config::parse(table, name, &text).map_err(|error| error.to_string())?;
            simulated(table, name, &text)?;
        }
    }
    Ok(())
}

/// Refuses a setting that Kafka would act upon and the simulation would not.
fn simulated(table: &'static PropertyTable, name: &str, text: &str) -> Result<(), String> {
    let Some(what) = config::unsimulated(table, name) else {
        return Ok(());
    };
    let default = table.find(name).and_then(|property| property.default);
    let value = config::parse(table, name, text).map_err(|error| error.to_string())?;
    let is_default = default.is_some_and(|default| {
        config::parse(table, name, default).is_ok_and(|default| default == value)
    });
    if is_default {
        return Ok(());
    }
    let section = table.section;
    Err(format!(
        "{name} in [{section}]: Kafka {what}, the simulation does not yet: leave it out"
    ))
}

struct Checker<'a> {
    file: &'a File,
}

impl Checker<'_> {
    fn nodes(&self) -> Result<(), String> {
        if self.file.nodes.iter().all(|node| least(&node.count) == 0) {
            return Err("there may be no [[node]] at all".to_owned());
        }
        for node in &self.file.nodes {
            config(&BROKER, &node.config)?;
            if node.config.0.contains_key("node.id") {
                return Err("node.id in [node.config]: nodes are numbered from 1".to_owned());
            }
        }
        if self.at_least("controller") == 0 {
            return Err(
                "there may be no controller: give a [[node]] process.roles = \"controller\" or \
                 \"broker,controller\""
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The fewest nodes with that role that a draw may give.
    fn at_least(&self, role: &str) -> u64 {
        let nodes = self.file.nodes.iter().filter(|node| {
            let roles = node.config.0.get("process.roles");
            roles.is_none_or(|roles| roles.0.extremes().iter().all(|text| text.contains(role)))
        });
        let counts = nodes.map(|node| least(&node.count));
        counts.fold(0, u64::saturating_add)
    }

    fn topics(&self) -> Result<(), String> {
        let brokers = self.at_least("broker");
        for topic in &self.file.topics {
            config(&TOPIC, &topic.config)?;
            let (name, replicas) = (&topic.name, most(&topic.replication_factor));
            if brokers < replicas {
                return Err(format!(
                    "[[topic]] {name}: {replicas} replicas do not fit on {brokers} brokers"
                ));
            }
            if least(&topic.partitions) == 0 || least(&topic.replication_factor) == 0 {
                return Err(format!("[[topic]] {name}: no partitions or no replicas"));
            }
        }
        Ok(())
    }

    fn clients(&self) -> Result<(), String> {
        let mut names: Vec<&str> = Vec::new();
        for producer in &self.file.producers {
            let place = format!("[[producer]] {}", producer.name);
            names.push(&producer.name);
            self.topic(&producer.topic, &place)?;
            config(&PRODUCER, &producer.config)?;
            if usize::try_from(least(&producer.value_bytes)).is_ok_and(|least| least < HEADER_LEN) {
                return Err(format!(
                    "{place}: value-bytes below {HEADER_LEN}, which a value's header takes"
                ));
            }
            if most(&producer.value_bytes) > VALUE_BYTES_MAX {
                return Err(format!("{place}: value-bytes above {VALUE_BYTES_MAX}"));
            }
            for choice in producer.partition_by.0.extremes() {
                if !PARTITION_CHOICES.contains(&choice.as_str()) {
                    let what = unknown("partition-by", &choice, PARTITION_CHOICES);
                    return Err(format!("{place}: {what}"));
                }
            }
        }
        for consumer in &self.file.consumers {
            let place = format!("[[consumer]] {}", consumer.name);
            names.push(&consumer.name);
            config(&CONSUMER, &consumer.config)?;
            match &consumer.topic {
                Some(topic) => self.assigns(consumer, topic, &place)?,
                None => self.joins(consumer, &place)?,
            }
        }
        for admin in &self.file.admins {
            names.push(&admin.name);
            config(&ADMIN, &admin.config)?;
            let place = format!("[[admin]] {}", admin.name);
            self.topic(&admin.topic, &place)?;
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("two clients are named {:?}", pair[0])),
            None => Ok(()),
        }
    }

    /// A consumer that assigns itself a topic.
    fn assigns(&self, consumer: &Consumer, topic: &str, place: &str) -> Result<(), String> {
        self.topic(topic, place)?;
        if !consumer.assign || !consumer.subscribe.is_empty() || consumer.pattern.is_some() {
            return Err(format!(
                "{place}: topic goes with assign = true; a member of a group says subscribe or \
                 pattern instead"
            ));
        }
        Ok(())
    }

    /// A consumer that is a member of a group.
    fn joins(&self, consumer: &Consumer, place: &str) -> Result<(), String> {
        let wants = usize::from(!consumer.subscribe.is_empty())
            + usize::from(consumer.pattern.is_some())
            + usize::from(consumer.assign);
        if wants != 1 || consumer.assign {
            return Err(format!(
                "{place}: it needs assign = true with a topic, or subscribe, or pattern"
            ));
        }
        for topic in &consumer.subscribe {
            self.topic(topic, place)?;
        }
        let given = &consumer.config.0;
        if !given.contains_key("group.id") {
            return Err(format!(
                "{place}: a member needs a group.id in [consumer.config]"
            ));
        }
        for (name, instead) in [
            ("enable.auto.commit", "commit = \"auto\" or another one"),
            ("group.instance.id", "static = 2, or however many there are"),
        ] {
            if given.contains_key(name) {
                return Err(format!("{name} in {place}: say {instead}"));
            }
        }
        let spelled: [(&str, &Name, &[&str]); 5] = [
            ("commit", &consumer.commit, CommitStyle::NAMES),
            ("processing", &consumer.processing, Processing::NAMES),
            ("delivery", &consumer.delivery, Delivery::NAMES),
            ("sink", &consumer.sink, Sink::NAMES),
            ("effects", &consumer.effects, Effects::NAMES),
        ];
        for (field, name, known) in spelled {
            for text in name.0.extremes() {
                if !known.contains(&text.as_str()) {
                    let what = unknown(field, &text, known.iter().copied());
                    return Err(format!("{place}: {what}"));
                }
            }
        }
        if let Some(letters) = &consumer.dead_letters {
            self.sorts_out(consumer, letters, place)?;
        }
        let before = consumer.delivery.0.extremes();
        let commits = consumer.commit.0.extremes();
        if before.iter().any(|text| text == "at-most-once")
            && commits.iter().any(|text| text != "sync")
        {
            return Err(format!("{place}: at-most-once needs commit = \"sync\""));
        }
        Ok(())
    }

    /// A member that puts records aside.
    fn sorts_out(
        &self,
        consumer: &Consumer,
        letters: &DeadLetters,
        place: &str,
    ) -> Result<(), String> {
        let place = format!("[consumer.dead-letters] of {place}");
        self.topic(&letters.topic, &place)?;
        if consumer.subscribe.contains(&letters.topic) {
            let topic = &letters.topic;
            return Err(format!("{place}: the member reads {topic:?} itself"));
        }
        if most(&letters.poison) > 100 {
            return Err(format!("{place}: poison is of a hundred records"));
        }
        let processing = consumer.processing.0.extremes();
        if processing.iter().any(|text| text != "in-poll") {
            return Err(format!("{place}: it needs processing = \"in-poll\""));
        }
        // Whoever dies before it commits sends its letters again.
        let effects = consumer.effects.0.extremes();
        if effects.iter().any(|text| text == "once") {
            return Err(format!(
                "{place}: effects = \"once\" cannot be: a letter may come twice"
            ));
        }
        config(&PRODUCER, &letters.config)
    }

    fn topic(&self, name: &str, place: &str) -> Result<&Topic, String> {
        let topics = &self.file.topics;
        topics
            .iter()
            .find(|topic| topic.name == name)
            .ok_or_else(|| {
                let known = topics.iter().map(|topic| topic.name.as_str());
                unknown_in("topic", name, place, known)
            })
    }

    fn fault(&self, fault: &Fault) -> Result<(), String> {
        let kind = fault.kind();
        let place = |field: &str| format!("[[fault]] {kind} {field}");
        match fault {
            Fault::Kill(stop) => {
                self.targets(&stop.target, &place("target"))?;
                self.members(&stop.target, &place("target"))
            }
            Fault::PowerLoss(stop) => self.targets(&stop.target, &place("target")),
            Fault::Pause(pause) => self.targets(&pause.target, &place("target")),
            Fault::Partition(partition) => self.groups(&partition.between, &place("between")),
            Fault::OneWay(one_way) => {
                self.targets(&one_way.from, &place("from"))?;
                self.targets(&one_way.to, &place("to"))
            }
            Fault::Hold(hold) => self.groups(&hold.between, &place("between")),
            Fault::HoldRpc(rpc) | Fault::DropRpc(rpc) => {
                self.targets(&rpc.target, &place("target"))?;
                for api in rpc.api.0.extremes() {
                    if api_named(&api).is_none() {
                        let known = api_names();
                        let known = known.iter().map(String::as_str);
                        return Err(unknown_in("API", &api, &place("api"), known));
                    }
                }
                let sides = ["request", "response"];
                let wrong = rpc.side.0.extremes().into_iter();
                match wrong
                    .into_iter()
                    .find(|side| !sides.contains(&side.as_str()))
                {
                    Some(side) => Err(unknown_in("side", &side, &place("side"), sides)),
                    None => Ok(()),
                }
            }
            Fault::SlowLink(slow) => self.groups(&slow.between, &place("between")),
            Fault::LeadershipMove(moves) => {
                for name in moves.partition.0.extremes() {
                    self.partition(&name, &place("partition"))?;
                }
                Ok(())
            }
            Fault::RollingRestart(_) => Ok(()),
            Fault::Leave(leave) => {
                let place = place("target");
                self.targets(&leave.target, &place)?;
                self.members(&leave.target, &place)
            }
        }
    }

    fn groups(&self, between: &[String; 2], place: &str) -> Result<(), String> {
        between.iter().try_for_each(|text| self.target(text, place))
    }

    fn targets(&self, name: &Name, place: &str) -> Result<(), String> {
        name.0
            .extremes()
            .iter()
            .try_for_each(|text| self.target(text, place))
    }

    fn target(&self, text: &str, place: &str) -> Result<(), String> {
        let target: Target = text.parse().map_err(|_| {
            let topics = self.file.topics.iter().flat_map(|topic| {
                ["leader", "follower"].map(|role| format!("{role} of {}-0", topic.name))
            });
            let forms: Vec<String> = topics.chain(TARGETS.map(str::to_owned)).collect();
            unknown_in("target", text, place, forms.iter().map(String::as_str))
        })?;
        match target {
            Target::Leader(name) | Target::Follower(name) => self.in_topic(&name, place),
            Target::Client(name) => self.client(&name, place),
            Target::Node(id) => {
                let nodes: u64 = self.file.nodes.iter().map(|node| most(&node.count)).sum();
                match u64::try_from(id) {
                    Ok(id) if (1..=nodes).contains(&id) => Ok(()),
                    _ => Err(format!("there is no node n{id} in {place}: {nodes} nodes")),
                }
            }
            Target::ControllerLeader
            | Target::AnyNode
            | Target::AnyBroker
            | Target::Clients
            | Target::Rest
            | Target::Everyone => Ok(()),
        }
    }

    /// Of clients, only members of groups come back after their death.
    fn members(&self, name: &Name, place: &str) -> Result<(), String> {
        for text in name.0.extremes() {
            let Some(client) = text.strip_prefix("client ") else {
                continue;
            };
            let base = client.split_once('/').map_or(client, |(base, _)| base);
            let base = base.trim_end_matches('*');
            let mut members = self.file.consumers.iter();
            if !members.any(|each| each.name == base && each.topic.is_none()) {
                return Err(format!(
                    "{base} in {place} is no member of a group: only those come back"
                ));
            }
        }
        Ok(())
    }

    fn client(&self, name: &str, place: &str) -> Result<(), String> {
        let producers = self.file.producers.iter().map(|each| each.name.as_str());
        let consumers = self.file.consumers.iter().map(|each| each.name.as_str());
        let known: Vec<&str> = producers.chain(consumers).collect();
        let (base, which) = name.split_once('/').unwrap_or((name, ""));
        if which.contains('/') {
            let member = name.rsplit_once('/').map_or(name, |(member, _)| member);
            return Err(format!(
                "{name:?} in {place} is one with {member:?}: say that"
            ));
        }
        if known.contains(&base.trim_end_matches('*')) {
            return Ok(());
        }
        Err(unknown_in("client", base, place, known))
    }

    fn partition(&self, text: &str, place: &str) -> Result<(), String> {
        let name: PartitionName = text
            .parse()
            .map_err(|error| format!("{error} in {place}"))?;
        self.in_topic(&name, place)
    }

    fn in_topic(&self, name: &PartitionName, place: &str) -> Result<(), String> {
        if name.topic == GROUP_METADATA_TOPIC {
            return Ok(());
        }
        let topic = self.topic(&name.topic, place)?;
        let partitions = most(&topic.partitions);
        match name.partition {
            Some(index) if u64::try_from(index).is_ok_and(|index| index < partitions) => Ok(()),
            None => Ok(()),
            Some(index) => Err(format!(
                "there is no partition {}-{index} in {place}: {partitions} partitions",
                name.topic
            )),
        }
    }
}

/// It exists once a group does, whatever a scenario says (`Topic.GROUP_METADATA_TOPIC_NAME`).
pub(crate) const GROUP_METADATA_TOPIC: &str = "__consumer_offsets";

/// Who may choose the partition of a record.
pub(super) const PARTITION_CHOICES: [&str; 4] = ["mixed", "explicit", "keyed", "partitioner"];

/// A batch with a longer value would not fit `message.max.bytes` by default.
const VALUE_BYTES_MAX: u64 = 900_000;

/// Targets that name no topic.
const TARGETS: [&str; 8] = [
    "controller leader",
    "any node",
    "any broker",
    "clients",
    "rest",
    "everyone",
    "client p/0",
    "n1",
];

fn unknown_in<'a>(
    what: &str,
    name: &str,
    place: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    let told = unknown(what, name, known);
    match told.split_once(';') {
        Some((what, hint)) => format!("{what} in {place};{hint}"),
        None => format!("{told} in {place}"),
    }
}

pub(super) fn least(count: &Count) -> u64 {
    count.extremes().into_iter().min().unwrap_or(0)
}

pub(super) fn most(count: &Count) -> u64 {
    count.extremes().into_iter().max().unwrap_or(0)
}
