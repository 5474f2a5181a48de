//! How commands and files read in a trace, and what topics are called there.

use std::collections::BTreeMap;

use broker_model::client::command::{Command, GroupCall};
use broker_model::effect::{File, Write};
use broker_model::note::Note;
use broker_model::types::{TopicIdPartition, TopicPartition, Uuid};

mod groups;
mod notes;

/// The names of topics, as far as the run has told them.
#[derive(Default, Debug)]
pub(super) struct Names {
    topics: BTreeMap<Uuid, String>,
}

impl Names {
    pub(super) fn learn(&mut self, note: &Note) {
        if let Note::TopicCommitted {
            topic,
            name,
            removed: false,
            ..
        } = note
        {
            self.topics.insert(*topic, name.to_string());
        }
    }

    /// Lends a lookup of topic names.
    pub(super) fn say<R>(&self, tell: impl FnOnce(&dyn Fn(Uuid) -> Option<String>) -> R) -> R {
        tell(&|topic| self.topics.get(&topic).cloned())
    }

    pub(super) fn partition(&self, partition: TopicIdPartition) -> String {
        let index = partition.partition;
        match self.topics.get(&partition.topic) {
            Some(name) => format!("{name}-{index}"),
            None => format!("{:.4}-{index}", partition.topic.simple().to_string()),
        }
    }

    pub(super) fn file(&self, file: File) -> String {
        match file {
            File::MetaProperties => "meta.properties".to_owned(),
            File::QuorumState => "quorum-state".to_owned(),
            File::MetadataLog => "__cluster_metadata-0".to_owned(),
            File::PartitionLog(partition) => self.partition(partition),
            File::HighWatermarks => "replication-offset-checkpoint".to_owned(),
            File::LogStarts => "log-start-offset-checkpoint".to_owned(),
            File::CleanShutdown => ".kafka_cleanshutdown".to_owned(),
        }
    }

    pub(super) fn write(&self, file: File, write: &Write) -> String {
        let file = self.file(file);
        match write {
            Write::Append(bytes) => format!("{file} +{} bytes", bytes.len()),
            Write::Truncate { len } => format!("{file} cut to {len} bytes"),
            Write::Replace(bytes) => format!("{file} = {} bytes", bytes.len()),
            Write::Delete => format!("{file} deleted"),
        }
    }

    pub(super) fn command(&self, command: &Command) -> String {
        match command {
            Command::Send {
                op,
                topic,
                partition,
                value,
                ..
            } => {
                let to = partition.map_or_else(|| "?".to_owned(), |index| index.to_string());
                format!("send #{} {topic}-{to} {} bytes", op.0, value.len())
            }
            Command::Assign { partitions } => format!("assign {} partitions", partitions.len()),
            Command::Seek { partition, to } => format!("seek {partition} {to:?}"),
            Command::Poll { op, timeout_ms } => format!("poll #{} {timeout_ms} ms", op.0),
            Command::EndOffsets { op, .. } => format!("end-offsets #{}", op.0),
            Command::Subscribe { to } => format!("subscribe {to:?}"),
            Command::Unsubscribe { op } => format!("unsubscribe #{}", op.0),
            Command::Commit { op, offsets, sync } => {
                let how = if *sync { "sync" } else { "async" };
                let what = offsets.as_ref().map_or_else(
                    || "positions".to_owned(),
                    |some| format!("{} offsets", some.len()),
                );
                format!("commit #{} {how} {what}", op.0)
            }
            Command::Committed { op, .. } => format!("committed #{}", op.0),
            Command::Position { op, partition } => format!("position #{} of {partition}", op.0),
            Command::Pause { partitions } => format!("pause {} partitions", partitions.len()),
            Command::Resume { partitions } => format!("resume {} partitions", partitions.len()),
            Command::CallbackDone { callback } => format!("callback {} done", callback.0),
            Command::EnforceRebalance => "enforce-rebalance".to_owned(),
            Command::Wakeup => "wakeup".to_owned(),
            Command::CreateTopic {
                op,
                name,
                partitions,
                replication_factor,
                ..
            } => {
                format!(
                    "create-topic #{} {name} {partitions} x {replication_factor}",
                    op.0
                )
            }
            Command::Group { op, call } => format!("group #{} {}", op.0, group_call(call)),
            Command::Close { op } => format!("close #{}", op.0),
            Command::Shutdown => "shutdown".to_owned(),
            Command::MoveLeader { partition, to } => {
                format!("move-leader {} to n{to}", self.partition(*partition))
            }
        }
    }
}

fn group_call(call: &GroupCall) -> String {
    let group = call.group();
    let listed = |partitions: &[TopicPartition]| {
        let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        names.join(" ")
    };
    match call {
        GroupCall::AlterOffsets { offsets, .. } => {
            let to = offsets
                .iter()
                .map(|(name, to)| format!("{name} {}", to.offset));
            format!("{group} alter {}", to.collect::<Vec<_>>().join(" "))
        }
        GroupCall::ListOffsets { partitions, .. } => {
            format!("{group} list {} offsets", partitions.len())
        }
        GroupCall::DeleteOffsets { partitions, .. } => {
            format!("{group} delete {}", listed(partitions))
        }
        GroupCall::Delete { .. } => format!("{group} delete"),
        GroupCall::Describe { .. } => format!("{group} describe"),
    }
}
