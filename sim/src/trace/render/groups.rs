//! How notes about groups read in a trace.

use broker_model::note::{ClassicGroupChange, Note};

/// A verb and the rest, if the note is about a group.
pub(super) fn said(note: &Note) -> Option<(&'static str, String)> {
    match note {
        Note::ClassicGroup { group, change } => {
            let (verb, what) = classic(change);
            Some((verb, format!("group {group} {what}")))
        }
        _ => None,
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
