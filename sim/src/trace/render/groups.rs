//! How notes about groups read in a trace.

use broker_model::note::{ClassicGroupChange, CoordinatorChange, Note, OffsetsChange};

/// A verb and the rest, if the note is about a group.
pub(super) fn said(note: &Note) -> Option<(&'static str, String)> {
    match note {
        Note::ClassicGroup { group, change } => {
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
        Note::Offsets { group, change } => {
            let (verb, what) = offsets(change);
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
        CoordinatorChange::Failed => ("fail", String::new()),
        CoordinatorChange::Unloaded => ("unload", String::new()),
        CoordinatorChange::Written { last } => ("write", format!(" to {last}")),
        CoordinatorChange::Committed { up_to } => ("commit", format!(" up to {up_to}")),
    }
}

fn offsets(change: &OffsetsChange) -> (&'static str, String) {
    match change {
        OffsetsChange::Accepted {
            member,
            generation,
            partition,
            offset,
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
        } => {
            let protocol = protocol.as_deref().unwrap_or("-");
            let leader = leader.as_deref().unwrap_or("-");
            let members: Vec<&str> = members.iter().map(|(member, _)| &**member).collect();
            let members = members.join(", ");
            let what = format!("generation {generation} {protocol} leader {leader} [{members}]");
            ("decide", what)
        }
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
