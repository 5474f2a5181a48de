//! The shape of a scenario file. Nothing here draws or checks names; see the parent module.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::value::{Count, Name, Setting, Time, Window};

/// A scenario file, as written.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// One line for lists.
    pub title: String,
    /// The bugs, KIPs and stories that it is about.
    pub why: Vec<String>,
    /// Rare states that a sweep of it must reach.
    #[serde(default)]
    pub probes: Vec<String>,
    /// The processes.
    #[serde(rename = "node")]
    pub nodes: Vec<Node>,
    /// The topics.
    #[serde(default, rename = "topic")]
    pub topics: Vec<Topic>,
    /// Who sends.
    #[serde(default, rename = "producer")]
    pub producers: Vec<Producer>,
    /// Who reads.
    #[serde(default, rename = "consumer")]
    pub consumers: Vec<Consumer>,
    /// Who deals with groups from outside.
    #[serde(default, rename = "admin")]
    pub admins: Vec<Admin>,
    /// What goes wrong.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
    /// How long, and over what.
    #[serde(default)]
    pub run: Run,
    /// What the application wrongly believed.
    #[serde(default)]
    pub expect: Expect,
}

/// `[[node]]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Node {
    /// How many alike.
    pub count: Count,
    /// The longest lag of a broker's metadata; drawn for each, mostly near the low end.
    #[serde(default)]
    pub metadata_lag: Option<Time>,
    /// server.properties
    #[serde(default)]
    pub config: Config,
}

/// `[[topic]]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: Count,
    /// How many replicas each.
    pub replication_factor: Count,
    /// Topic-level properties.
    #[serde(default)]
    pub config: Config,
}

/// `[[producer]]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Producer {
    /// `p` makes `p/0`, `p/1` …
    pub name: String,
    /// How many alike.
    #[serde(default = "one")]
    pub count: Count,
    /// Where it sends to.
    pub topic: String,
    /// Records a second, spread over the whole run.
    pub rate: Count,
    /// How many records it sends at one moment.
    #[serde(default = "one")]
    pub burst: Count,
    /// The length of each value in bytes.
    #[serde(default = "small_values")]
    pub value_bytes: Count,
    /// `explicit`, `keyed`, `partitioner`, or `mixed`: who chooses the partition.
    #[serde(default = "any_choice")]
    pub partition_by: Name,
    /// producer.properties
    #[serde(default)]
    pub config: Config,
}

/// `[[admin]]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Admin {
    /// `a` makes `a/0`, `a/1` …; each has a group of that name.
    pub name: String,
    /// How many alike.
    #[serde(default = "one")]
    pub count: Count,
    /// The topic of the offsets.
    pub topic: String,
    /// The time between two calls; drawn for each.
    #[serde(default = "call_times")]
    pub every: Time,
    /// The properties of `AdminClientConfig`.
    #[serde(default)]
    pub config: Config,
}

/// `[[consumer]]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Consumer {
    /// `c` makes `c/0`, `c/1` …
    pub name: String,
    /// How many alike.
    #[serde(default = "one")]
    pub count: Count,
    /// What it reads, if it assigns itself.
    #[serde(default)]
    pub topic: Option<String>,
    /// It assigns itself every partition of the topic.
    #[serde(default)]
    pub assign: bool,
    /// As a member of `group.id`, it subscribes to these topics.
    #[serde(default)]
    pub subscribe: Vec<String>,
    /// As a member of `group.id`, it subscribes to the topics that match this RE2 expression.
    #[serde(default)]
    pub pattern: Option<String>,
    /// How many `group.instance.id`s there are: the members take them in turn. None: dynamic members.
    #[serde(default, rename = "static")]
    pub instances: Option<Count>,
    /// When it begins.
    #[serde(default = "at_once")]
    pub from: Time,
    /// How long one poll waits.
    #[serde(default = "poll_times")]
    pub poll: Time,
    /// The pause between two polls.
    #[serde(default = "pause_times")]
    pub pause: Time,
    /// How often it seeks back to the beginning, if it assigns itself.
    #[serde(default = "rare_rewinds")]
    pub rewinds: Count,
    /// `auto`, `sync`, `async` or `none`: how a member commits.
    #[serde(default = "any_commit")]
    pub commit: Name,
    /// After how many records it commits.
    #[serde(default = "some_records")]
    pub commit_every: Count,
    /// How long it works at one record.
    #[serde(default = "quick_work")]
    pub process: Time,
    /// `in-poll` or `behind`: whether polls wait for the work.
    #[serde(default = "in_poll")]
    pub processing: Name,
    /// `at-least-once`, `at-most-once` or `none`: what it believes of deliveries.
    #[serde(default = "at_least_once")]
    pub delivery: Name,
    /// `none`, `plain` or `idempotent`: where its effects go.
    #[serde(default = "any_sink")]
    pub sink: Name,
    /// `any` or `once`: how often it believes that a record has its effect.
    #[serde(default = "any_effects")]
    pub effects: Name,
    /// How often its work takes much longer.
    #[serde(default = "none_at_all")]
    pub stalls: Count,
    /// How much longer.
    #[serde(default = "long_work")]
    pub stall: Time,
    /// How often it pauses one of its partitions.
    #[serde(default = "rare_rewinds")]
    pub pauses: Count,
    /// How often it asks what is committed.
    #[serde(default = "some_looks")]
    pub looks: Count,
    /// How often another thread wakes its consumer up.
    #[serde(default = "rare_wakes")]
    pub wakes: Count,
    /// Where records go that it cannot process.
    #[serde(default)]
    pub dead_letters: Option<DeadLetters>,
    /// consumer.properties
    #[serde(default)]
    pub config: Config,
}

/// `[consumer.dead-letters]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeadLetters {
    /// The topic.
    pub topic: String,
    /// How many records of a hundred cannot be processed.
    pub poison: Count,
    /// Whether the member goes on, and commits, only when they are acknowledged.
    #[serde(default = "awaited")]
    pub awaited: bool,
    /// producer.properties
    #[serde(default)]
    pub config: Config,
}

/// `[run]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Run {
    /// How long the workload and the faults last.
    pub duration: Time,
    /// The least time that healing is given.
    pub heal: Time,
    /// One-way latency of each message.
    pub latency: Window,
    /// How long each flush takes.
    pub flush: Window,
    /// When the operating system writes a file back by itself.
    pub writeback: Window,
    /// The tick of the turmoil engine.
    pub tick: Time,
}

impl Default for Run {
    fn default() -> Self {
        const MS: u64 = 1_000;
        Run {
            duration: ms(20_000, 20_000),
            heal: ms(15_000, 15_000),
            latency: Window(vec![
                super::value::Window::of(200, 3 * MS).0[0],
                super::value::Window::of(100, MS).0[0],
                super::value::Window::of(MS, 20 * MS).0[0],
            ]),
            flush: Window::of(100, 5 * MS),
            writeback: Window::of(1_000 * MS, 30_000 * MS),
            tick: ms(1, 10),
        }
    }
}

/// `[expect]`
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Checks, by name, whose violation the configuration allows for.
    pub violates: Vec<String>,
}

/// `[[fault]]`
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// `kill -9`, then a restart.
    Kill(Stop),
    /// Power loss, then a restart.
    PowerLoss(Stop),
    /// The process does nothing for a while.
    Pause(Pause),
    /// No message passes between two groups.
    Partition(Partition),
    /// No message passes one way.
    OneWay(OneWay),
    /// Messages between two groups wait.
    Hold(Hold),
    /// One kind of RPC waits.
    HoldRpc(Rpc),
    /// One kind of RPC is lost.
    DropRpc(Rpc),
    /// Messages take longer.
    SlowLink(SlowLink),
    /// Leadership moves without a crash.
    LeadershipMove(LeadershipMove),
    /// Brokers restart in order, one after the other.
    RollingRestart(RollingRestart),
    /// A member of a group closes its consumer and comes back as another one.
    Leave(Leave),
}

impl Fault {
    /// The kind, as the file says it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        crate::fault::Fault::KINDS[self.kind_index()]
    }

    /// The kind's place among all kinds.
    #[must_use]
    pub fn kind_index(&self) -> usize {
        match self {
            Fault::Kill(_) => 0,
            Fault::PowerLoss(_) => 1,
            Fault::Pause(_) => 2,
            Fault::Partition(_) => 3,
            Fault::OneWay(_) => 4,
            Fault::Hold(_) => 5,
            Fault::HoldRpc(_) => 6,
            Fault::DropRpc(_) => 7,
            Fault::SlowLink(_) => 8,
            Fault::LeadershipMove(_) => 9,
            Fault::RollingRestart(_) => 10,
            Fault::Leave(_) => 11,
        }
    }

    /// How often in a run, and when.
    #[must_use]
    pub fn schedule(&self) -> (&Count, &Time) {
        match self {
            Fault::Kill(each) | Fault::PowerLoss(each) => (&each.times, &each.at),
            Fault::Pause(each) => (&each.times, &each.at),
            Fault::Partition(each) => (&each.times, &each.at),
            Fault::OneWay(each) => (&each.times, &each.at),
            Fault::Hold(each) => (&each.times, &each.at),
            Fault::HoldRpc(each) | Fault::DropRpc(each) => (&each.times, &each.at),
            Fault::SlowLink(each) => (&each.times, &each.at),
            Fault::LeadershipMove(each) => (&each.times, &each.at),
            Fault::RollingRestart(each) => (&each.times, &each.at),
            Fault::Leave(each) => (&each.times, &each.at),
        }
    }
}

macro_rules! fault_tables {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            /// How often in a run.
            #[serde(default = "one")]
            pub times: Count,
            /// When, from the run's start.
            pub at: Time,
            $($(#[$field_doc])* pub $field: $type,)*
        })*
    };
}

fault_tables! {
    /// `kill` and `power-loss`.
    Stop {
        /// Whom.
        target: Name,
        /// How long until it is started again.
        restart: Time,
    }
    /// `pause`
    Pause {
        /// Whom.
        target: Name,
        /// For how long.
        lasts: Time,
    }
    /// `partition`
    Partition {
        /// Two groups.
        between: [String; 2],
        /// How long until it heals.
        heal: Time,
    }
    /// `one-way`
    OneWay {
        /// From whom.
        from: Name,
        /// To whom.
        to: Name,
        /// How long until it heals.
        heal: Time,
    }
    /// `hold`
    Hold {
        /// Two groups.
        between: [String; 2],
        /// For how long.
        lasts: Time,
    }
    /// `hold-rpc` and `drop-rpc`.
    Rpc {
        /// Who sends it.
        target: Name,
        /// The API.
        api: Name,
        /// `request` or `response`.
        side: Name,
        /// How many messages.
        count: Count,
        /// For how long at most.
        lasts: Time,
    }
    /// `slow-link`
    SlowLink {
        /// Two groups.
        between: [String; 2],
        /// How much longer each message takes.
        extra: Time,
        /// For how long.
        lasts: Time,
    }
    /// `leadership-move`
    LeadershipMove {
        /// `orders-0` or `orders-*`.
        partition: Name,
    }
    /// `rolling-restart`
    RollingRestart {
        /// How long a broker is down.
        down: Time,
        /// How long until the next one.
        gap: Time,
    }
    /// `leave`
    Leave {
        /// Whom.
        target: Name,
        /// How long until it comes back.
        back: Time,
    }
}

/// Properties under Kafka's names. Bare dotted keys nest in TOML; they are joined back here.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Config(pub BTreeMap<String, Setting>);

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(from)?;
        let mut settings = BTreeMap::new();
        join(&mut settings, "", table).map_err(de::Error::custom)?;
        Ok(Config(settings))
    }
}

fn join(
    into: &mut BTreeMap<String, Setting>,
    prefix: &str,
    table: toml::Table,
) -> Result<(), String> {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            toml::Value::Table(nested) => join(into, &format!("{name}."), nested)?,
            value => {
                let setting = Setting::deserialize(value)
                    .map_err(|error| format!("{name}: {}", error.message()))?;
                if into.insert(name.clone(), setting).is_some() {
                    return Err(format!("{name} is given twice"));
                }
            }
        }
    }
    Ok(())
}

fn ms(low: u64, high: u64) -> Time {
    use super::value::Micros;
    if low == high {
        return Time::Fixed(Micros(low * 1_000));
    }
    Time::Range(Micros(low * 1_000), Micros(high * 1_000))
}

fn one() -> Count {
    Count::Fixed(1)
}

fn small_values() -> Count {
    Count::Range(24, 96)
}

fn any_choice() -> Name {
    let choices = ["mixed", "explicit", "keyed", "partitioner"];
    Name(super::value::Open::Pick(
        choices.map(str::to_owned).to_vec(),
    ))
}

fn at_once() -> Time {
    ms(0, 2_000)
}

fn poll_times() -> Time {
    ms(200, 2_000)
}

fn call_times() -> Time {
    ms(100, 1_500)
}

fn pause_times() -> Time {
    ms(0, 400)
}

fn rare_rewinds() -> Count {
    Count::Pick(vec![0, 0, 0, 1])
}

fn none_at_all() -> Count {
    Count::Fixed(0)
}

fn some_looks() -> Count {
    Count::Range(0, 2)
}

fn awaited() -> bool {
    true
}

fn rare_wakes() -> Count {
    Count::Pick(vec![0, 0, 0, 1, 3])
}

fn some_records() -> Count {
    Count::Pick(vec![1, 5, 20, 100])
}

fn quick_work() -> Time {
    use super::value::Micros;
    Time::Range(Micros(0), Micros(4_000))
}

fn long_work() -> Time {
    ms(1_000, 20_000)
}

fn picked(names: &[&str]) -> Name {
    let names = names.iter().map(|&name| name.to_owned());
    Name(super::value::Open::Pick(names.collect()))
}

fn any_commit() -> Name {
    picked(&["auto", "sync", "async"])
}

fn in_poll() -> Name {
    picked(&["in-poll"])
}

fn at_least_once() -> Name {
    picked(&["at-least-once"])
}

fn any_sink() -> Name {
    picked(&["none", "plain", "idempotent"])
}

fn any_effects() -> Name {
    picked(&["any"])
}
