//! What clients see (ORD, DUR, CON): judged from the history alone, simulated or recorded.

use super::World;
use super::world::clients::{Clients, Seen, ValueFacts};
use crate::history::P;

pub(super) mod ack_offset;
pub(super) mod acked_complete;
pub(super) mod acked_partial;
pub(super) mod committed_immutable;
pub(super) mod failed_absent;
pub(super) mod future_read;
pub(super) mod garbage;
pub(super) mod in_order;
pub(super) mod jump;
pub(super) mod no_duplicates;
pub(super) mod nonmonotonic;
pub(super) mod read_durable;
pub(super) mod realtime_order;
pub(super) mod skip;

/// An excuse: what lay there was lost with nobody to blame (invariants.md §0.4).
pub(super) const DESTROYED: &str = "committed records were destroyed with nobody to blame";
/// An excuse: without acks=all an acknowledgement promises nothing across a change of leader.
pub(super) const ACKS: &str = "acks is not all";
/// An excuse: retention, compaction or DeleteRecords may have removed it.
pub(super) const REMOVED: &str = "records of the topic may be removed on purpose";
/// An excuse: a disk lost what was not flushed, and there is no telling how much.
pub(super) const LOSSY: &str = "a disk was lost in a real cluster";

/// Why a value that should be at that offset may be gone: whatever it was, it came after the send.
fn may_be_gone(clients: &Clients, value: &ValueFacts, p: P, offset: i64) -> Option<&'static str> {
    if clients.is_void(value, p, offset) {
        Some(DESTROYED)
    } else if clients.part(p).is_some_and(|part| part.loses_records) {
        Some(REMOVED)
    } else if clients.real && clients.lossy_faults > 0 {
        Some(LOSSY)
    } else {
        None
    }
}

/// Who sent a value, when, and how that ended.
fn sent(world: &World, value: &ValueFacts) -> String {
    let clients = &world.clients;
    let acks = match clients.gates_of(value).map(|gates| gates.acks) {
        Some(-1) => "acks=all",
        Some(1) => "acks=1",
        Some(_) => "acks=0",
        None => "acks unknown",
    };
    format!(
        "value {:#x} by {}, {acks}, {} attempts",
        value.v,
        clients.who(value.actor),
        value.att
    )
}

/// What was read there, when.
fn read(seen: &Seen) -> String {
    match seen.epoch {
        Some(epoch) => format!("value {:#x} of epoch {epoch}", seen.v),
        None => format!("value {:#x}", seen.v),
    }
}
