//! How notes about groups read in a trace.

use std::collections::BTreeSet;

use broker_model::note::{
    ClassicGroupChange, ConsumerGroupChange, CoordinatorChange, Note, OffsetsChange,
};
use broker_model::types::{StrBytes, TopicIdPartition};

use super::Names;

/// A verb and the rest, if the note is about a group.
pub(super) fn said(names: &Names, note: &Note) -> Option<(&'static str, String)> {
    match note {
        Note::ClassicGroup { group, change, .. } => {
            let (verb, what) = classic(change);
            Some((verb, format!("group {group} {what}")))
        }
        Note::Coordinator {
            partition,
            leader_epoch,
            change,
        } => {
            let (verb, what) = coordinator(change);
            let at = partition.partition;
            Some((verb, format!("coordinator {at} epoch {leader_epoch}{what}")))
        }
        Note::Offsets { group, change, .. } => {
            let (verb, what) = offsets(change);
            Some((verb, format!("group {group} {what}")))
        }
        Note::ConsumerGroup { group, change, .. } => {
            let (verb, what) = consumer(names, change);
            Some((verb, format!("group {group} {what}")))
        }
        _ => None,
    }
}

fn coordinator(change: &CoordinatorChange) -> (&'static str, String) {
    match change {
        CoordinatorChange::Loaded {
            log_end,
            high_watermark,
        } => (
            "load",
            format!(" log end {log_end} high watermark {high_watermark}"),
        ),
        CoordinatorChange::Serving => ("serve", String::new()),
        CoordinatorChange::Dropped => ("drop", String::new()),
        CoordinatorChange::Timer {
            group,
            member,
            timer,
            runs,
        } => {
            let verb = if *runs { "arm" } else { "disarm" };
            let member = member.as_ref().map(|member| format!(" of {member}"));
            let member = member.unwrap_or_default();
            (verb, format!(" group {group} {timer:?}{member}"))
        }
        CoordinatorChange::Failed => ("fail", String::new()),
        CoordinatorChange::Unloaded => ("unload", String::new()),
        CoordinatorChange::Written { last } => ("write", format!(" to {last}")),
        CoordinatorChange::Committed { up_to } => ("commit", format!(" up to {up_to}")),
    }
}

fn offsets(change: &OffsetsChange) -> (&'static str, String) {
    match change {
        OffsetsChange::Loaded { offsets } => {
            let offsets = offsets.iter();
            let offsets = offsets.map(|(partition, offset, _)| format!("{partition} {offset}"));
            let offsets = offsets.collect::<Vec<_>>().join(", ");
            ("load", format!("offsets [{offsets}]"))
        }
        OffsetsChange::Accepted {
            member,
            generation,
            partition,
            offset,
            ..
        } => (
            "accept",
            format!("{partition} offset {offset} of [{member}] in {generation}"),
        ),
        OffsetsChange::Refused {
            member,
            generation,
            error,
        } => (
            "refuse",
            format!("commit of [{member}] in {generation}: {error:?}"),
        ),
        OffsetsChange::Expired {
            partition,
            commit_timestamp,
            ..
        } => ("expire", format!("{partition} of {commit_timestamp}")),
        OffsetsChange::Deleted { partition } => ("delete", partition.to_string()),
    }
}

fn classic(change: &ClassicGroupChange) -> (&'static str, String) {
    match change {
        ClassicGroupChange::Loaded {
            state,
            generation,
            members,
            ..
        } => {
            let count = members.len();
            let state = state.name();
            (
                "load",
                format!("{state} generation {generation} members {count}"),
            )
        }
        ClassicGroupChange::State {
            from,
            to,
            generation,
        } => {
            let (from, to) = (from.name(), to.name());
            (
                "become",
                format!("{to} from {from} generation {generation}"),
            )
        }
        ClassicGroupChange::Generation {
            generation,
            protocol,
            leader,
            members,
            ..
        } => {
            let protocol = protocol.as_deref().unwrap_or("-");
            let leader = leader.as_deref().unwrap_or("-");
            let members: Vec<&str> = members.iter().map(|(member, _)| &**member).collect();
            let members = members.join(", ");
            let what = format!("generation {generation} {protocol} leader {leader} [{members}]");
            ("decide", what)
        }
        ClassicGroupChange::Stored {
            generation,
            members,
        } => {
            let members: Vec<&str> = members.iter().map(|(member, ..)| &**member).collect();
            let members = members.join(", ");
            ("store", format!("generation {generation} [{members}]"))
        }
        ClassicGroupChange::Deleted => ("delete", "group".to_owned()),
        ClassicGroupChange::Assigned {
            generation,
            assignment,
        } => {
            let parts = assignment.iter();
            let parts = parts.map(|(member, part)| format!("{member} {} bytes", part.len()));
            let parts = parts.collect::<Vec<_>>().join(", ");
            ("assign", format!("generation {generation} [{parts}]"))
        }
        ClassicGroupChange::Pending { member } => ("expect", member.to_string()),
        ClassicGroupChange::Joined { member, instance } => {
            let instance = instance.as_ref().map(|instance| format!(" as {instance}"));
            ("join", format!("{member}{}", instance.unwrap_or_default()))
        }
        ClassicGroupChange::Removed { member, why } => ("remove", format!("{member} {why:?}")),
        ClassicGroupChange::Replaced {
            instance,
            previous,
            member,
        } => ("replace", format!("{instance} {previous} by {member}")),
    }
}

fn consumer(names: &Names, change: &ConsumerGroupChange) -> (&'static str, String) {
    use ConsumerGroupChange as Change;
    let list = |partitions: &BTreeSet<TopicIdPartition>| {
        let named = partitions
            .iter()
            .map(|&partition| names.partition(partition));
        named.collect::<Vec<_>>().join(", ")
    };
    match change {
        Change::Loaded {
            epoch,
            target_epoch,
        } => ("load", format!("epoch {epoch} target {target_epoch}")),
        Change::Epoch { epoch } => ("become", format!("epoch {epoch}")),
        Change::Target { member, partitions } => {
            ("decide", format!("{member} [{}]", list(partitions)))
        }
        Change::TargetEpoch { epoch } => ("decide", format!("target {epoch}")),
        Change::Subscribed { .. } => ("join", subscribed(change)),
        Change::Reported { member, owned } => ("hear", format!("{member} [{}]", list(owned))),
        Change::Assigned {
            member,
            epoch,
            state,
            assigned,
            pending_revocation,
            ..
        } => {
            let (assigned, revoked) = (list(assigned), list(pending_revocation));
            let mut what = format!("{member} epoch {epoch} {state:?} [{assigned}]");
            if !revoked.is_empty() {
                what += &format!(" not [{revoked}]");
            }
            ("assign", what)
        }
        Change::Resolved { regex, topics } => ("resolve", format!("{regex} [{}]", all(topics))),
        Change::Forgotten { regex } => ("forget", regex.to_string()),
        Change::Deleted => ("delete", "group".to_owned()),
        Change::Replaced {
            instance,
            previous,
            member,
        } => ("replace", format!("{instance} {previous} by {member}")),
        Change::Removed { member, why } => ("remove", format!("{member} {why:?}")),
        Change::Downgraded => ("become", "classic".to_owned()),
        Change::Upgraded => ("become", "consumer".to_owned()),
    }
}

fn subscribed(change: &ConsumerGroupChange) -> String {
    let ConsumerGroupChange::Subscribed {
        member,
        instance,
        topics,
        regex,
        classic,
    } = change
    else {
        return String::new();
    };
    let instance = instance.as_ref().map(|instance| format!(" as {instance}"));
    let regex = regex.as_ref().map(|regex| format!(" /{regex}/"));
    let classic = if *classic { " classic" } else { "" };
    let (instance, regex) = (instance.unwrap_or_default(), regex.unwrap_or_default());
    format!("{member}{instance} [{}]{regex}{classic}", all(topics))
}

fn all(topics: &BTreeSet<StrBytes>) -> String {
    let topics: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    topics.join(", ")
}
