//! A new leader of the quorum holds everything that leaders of earlier epochs committed. Raft §5.4.
//!
//! "Earlier epochs", not "until now": votes may arrive late, and then a later epoch has committed
//! more already, which this leader can do no harm to.

use broker_model::note::{Note, RaftRole};
use broker_model::types::Offset;

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct LeaderCompleteness;

impl Check for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader-completeness/KR-6"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::RaftRole]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note {
            node,
            note:
                Note::RaftRole {
                    epoch,
                    role: RaftRole::Leader,
                    ..
                },
            ..
        } = event.fact
        else {
            return;
        };
        let committed = world.raft.committed_before(*epoch);
        let Some(leader) = world.raft.node(node) else {
            return;
        };
        if committed == Offset::ZERO {
            return;
        }
        if leader
            .log
            .agrees(&world.raft.arena, &world.raft.canon, committed)
        {
            sink.exercised();
            return;
        }
        let common = leader.log.common_end(&world.raft.arena, &world.raft.canon);
        sink.fail(
            Violation::new(format!(
                "n{node} leads the quorum without metadata that was committed"
            ))
            .fact("committed", event.t_us, format!("up to {committed}"))
            .fact(
                "elected",
                event.t_us,
                format!(
                    "n{node} in epoch {epoch}, log end {}, the same as the committed log up to {common}",
                    leader.log.end()
                ),
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::LeaderEpoch;

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn leads(epoch: i32) -> Note {
        Note::RaftRole {
            epoch: LeaderEpoch(epoch),
            role: RaftRole::Leader,
            leader: None,
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

    fn commits(epoch: i32, to: i64) -> Note {
        Note::RaftHighWatermark {
            high_watermark: Offset(to),
            leader: true,
            epoch: LeaderEpoch(epoch),
            epoch_start: Offset(0),
            log_end: Offset(to),
        }
    }

    fn after_commit_by_n1() -> Case {
        Case::of(make::<LeaderCompleteness>)
            .note(1, leads(1))
            .all(&[1, 2], &appends(1, 0))
            .note(1, commits(1, 1))
    }

    #[test]
    fn a_leader_without_a_committed_record_is_found() {
        after_commit_by_n1()
            .note(3, leads(2))
            .end()
            .fails("n3 leads the quorum without metadata");
        after_commit_by_n1()
            .note(3, appends(2, 0))
            .note(3, leads(3))
            .end()
            .fails("the same as the committed log up to 0");
    }

    #[test]
    fn a_leader_that_holds_it_passes() {
        after_commit_by_n1().note(2, leads(2)).end().passes();
    }

    #[test]
    fn a_leader_of_an_epoch_that_is_over_need_not_hold_what_later_ones_committed() {
        after_commit_by_n1()
            .note(2, leads(3))
            .note(2, appends(3, 1))
            .note(2, commits(3, 2))
            .note(1, leads(2))
            .end()
            .passes();
    }
}
