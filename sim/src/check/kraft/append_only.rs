//! A leader never cuts or overwrites its log within its epoch, and appends in its own epoch at its
//! log's end. Raft §5.3 (Leader Append-Only).

use broker_model::note::{Note, RaftRole};

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct AppendOnly;

impl Check for AppendOnly {
    fn name(&self) -> &'static str {
        "leader-append-only/KR-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::RaftAppend, Kind::RaftTruncate]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { node, note, .. } = event.fact else {
            return;
        };
        let before = &world.moment.raft;
        if before.role != Some(RaftRole::Leader) {
            return;
        }
        match *note {
            Note::RaftTruncate { to, log_end } => sink.fail(
                Violation::new(format!("n{node} cut its metadata log while it led"))
                    .fact("leads", event.t_us, format!("in epoch {}", before.epoch))
                    .fact("cut", event.t_us, format!("from {log_end} to {to}")),
            ),
            Note::RaftAppend { epoch, base, .. } => {
                if epoch != before.epoch || base != before.log_end {
                    sink.fail(
                        Violation::new(format!(
                            "n{node} led and did not append at the end of its metadata log"
                        ))
                        .fact(
                            "leads",
                            event.t_us,
                            format!("in epoch {}, log end {}", before.epoch, before.log_end),
                        )
                        .fact(
                            "appends",
                            event.t_us,
                            format!("in epoch {epoch} at {base}"),
                        ),
                    );
                } else {
                    sink.exercised();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::{LeaderEpoch, NodeId, Offset};

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn role(role: RaftRole, epoch: i32) -> Note {
        Note::RaftRole {
            epoch: LeaderEpoch(epoch),
            role,
            leader: Some(NodeId(1)),
            voted: None,
            log_end: Offset(0),
        }
    }

    fn appends(epoch: i32, base: i64) -> Note {
        Note::RaftAppend {
            epoch: LeaderEpoch(epoch),
            base: Offset(base),
            last: Offset(base),
            crc: 1,
        }
    }

    const CUT: Note = Note::RaftTruncate {
        to: Offset(0),
        log_end: Offset(1),
    };

    #[test]
    fn a_leader_that_cuts_its_log_is_found() {
        Case::of(make::<AppendOnly>)
            .note(1, role(RaftRole::Leader, 4))
            .note(1, appends(4, 0))
            .note(1, CUT)
            .end()
            .fails("cut its metadata log while it led");
    }

    #[test]
    fn a_leader_that_appends_in_another_epoch_is_found() {
        Case::of(make::<AppendOnly>)
            .note(1, role(RaftRole::Leader, 4))
            .note(1, appends(3, 0))
            .end()
            .fails("did not append at the end");
    }

    #[test]
    fn a_leader_that_stepped_down_may_cut() {
        Case::of(make::<AppendOnly>)
            .note(1, role(RaftRole::Leader, 4))
            .note(1, appends(4, 0))
            .note(1, role(RaftRole::Follower, 5))
            .note(1, CUT)
            .end()
            .passes();
    }
}
