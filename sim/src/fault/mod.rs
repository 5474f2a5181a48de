//! What can go wrong. Faults are data: drawn, printed, shrunk and stored.

use kafka_protocol::messages::ApiKey;
use serde::{Deserialize, Serialize};

pub mod strike;
pub mod target;

/// A fault with every choice made but the targets, which are resolved when it strikes.
///
/// A target is `"leader of orders-0"`, `"follower of orders-0"`, `"controller leader"`, `"n2"`,
/// `"any broker"`, `"client p/0"`, `"rest"` …: see [`target`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// `kill -9`, then a restart.
    Kill {
        /// Whom.
        target: String,
        /// Milliseconds until the restart.
        restart_ms: u64,
    },
    /// Power loss, then a restart: what was not flushed may be gone.
    PowerLoss {
        /// Whom.
        target: String,
        /// Milliseconds until the restart.
        restart_ms: u64,
    },
    /// The process does nothing for a while; its clocks go on.
    Pause {
        /// Whom.
        target: String,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// No message passes between two groups, either way.
    Partition {
        /// Two targets.
        between: (String, String),
        /// Milliseconds until the heal.
        heal_ms: u64,
    },
    /// No message passes from the first group to the second.
    OneWay {
        /// From whom.
        from: String,
        /// To whom.
        to: String,
        /// Milliseconds until the heal.
        heal_ms: u64,
    },
    /// Messages between two groups wait until the end, then all arrive, in order.
    Hold {
        /// Two targets.
        between: (String, String),
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// One kind of RPC that a process sends waits until the end.
    HoldRpc {
        /// Whose outbox.
        target: String,
        /// The API's name: `Fetch`, `AlterPartition`, `Produce` …
        api: String,
        /// Whether requests or responses.
        side: Side,
        /// How many are held; later ones pass on connections that hold none.
        count: u32,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// One kind of RPC that a process sends is lost: its connection goes silent.
    DropRpc {
        /// Whose outbox.
        target: String,
        /// The API's name.
        api: String,
        /// Whether requests or responses.
        side: Side,
        /// How many are lost.
        count: u32,
        /// The fault ends after this many milliseconds even if fewer were.
        for_ms: u64,
    },
    /// Messages between two groups take longer.
    SlowLink {
        /// Two targets.
        between: (String, String),
        /// Added to each message, in milliseconds.
        extra_ms: u64,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// An operator moves a partition's leadership to another in-sync replica.
    LeadershipMove {
        /// `orders-0`; `*` picks any partition.
        partition: String,
    },
    /// Every broker is stopped in order and started again, one after the other.
    RollingRestart {
        /// Milliseconds a broker is down.
        down_ms: u64,
        /// Milliseconds between two brokers.
        gap_ms: u64,
    },
    /// A member of a consumer group closes its consumer, and comes back as another one.
    Leave {
        /// Whom.
        target: String,
        /// Milliseconds until it comes back.
        back_ms: u64,
    },
}

/// Which half of an RPC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// On its way to the server.
    Request,
    /// On its way back.
    Response,
}

impl Fault {
    /// Every kind, as scenario files say it.
    pub const KINDS: [&str; 12] = [
        "kill",
        "power-loss",
        "pause",
        "partition",
        "one-way",
        "hold",
        "hold-rpc",
        "drop-rpc",
        "slow-link",
        "leadership-move",
        "rolling-restart",
        "leave",
    ];

    /// One line for `sim list`.
    #[must_use]
    pub fn summary(kind: &str) -> &'static str {
        match kind {
            "kill" => "kill -9, then a restart; the page cache survives",
            "power-loss" => "power loss, then a restart: what was not flushed may be gone",
            "pause" => "the process does nothing for a while; its clocks go on",
            "partition" => "no message passes between two groups, either way",
            "one-way" => "no message passes from the one group to the other",
            "hold" => "messages between two groups wait, then all arrive in order",
            "hold-rpc" => "one kind of RPC that a process sends waits",
            "drop-rpc" => "one kind of RPC that a process sends is lost",
            "slow-link" => "messages between two groups take longer",
            "leadership-move" => "an operator moves leadership to another in-sync replica",
            "rolling-restart" => "brokers stop in order and start again, one after the other",
            "leave" => "a member closes its consumer and comes back as another one",
            _ => "",
        }
    }

    /// The kind, as scenario files say it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::PowerLoss { .. } => "power-loss",
            Fault::Pause { .. } => "pause",
            Fault::Partition { .. } => "partition",
            Fault::OneWay { .. } => "one-way",
            Fault::Hold { .. } => "hold",
            Fault::HoldRpc { .. } => "hold-rpc",
            Fault::DropRpc { .. } => "drop-rpc",
            Fault::SlowLink { .. } => "slow-link",
            Fault::LeadershipMove { .. } => "leadership-move",
            Fault::RollingRestart { .. } => "rolling-restart",
            Fault::Leave { .. } => "leave",
        }
    }
}

/// Every API's name, as Kafka spells it.
#[must_use]
pub fn api_names() -> Vec<String> {
    let keys = (0..128).filter_map(|key| ApiKey::try_from(key).ok());
    keys.map(|key| format!("{key:?}")).collect()
}

/// The API of that name (`Fetch`, `AlterPartition`), as Kafka spells it.
#[must_use]
pub fn api_named(name: &str) -> Option<ApiKey> {
    (0..i16::MAX)
        .map_while(|key| (key < 128).then_some(key))
        .filter_map(|key| ApiKey::try_from(key).ok())
        .find(|key| format!("{key:?}") == name)
}
