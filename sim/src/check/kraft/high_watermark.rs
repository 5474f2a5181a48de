//! A node's raft high watermark never goes back within an incarnation, and never passes its log's
//! end. Kafka's simulation: MonotonicHighWatermark. (A restarted node, or a leader of an epoch that
//! is over, may know of less than was committed.)

use broker_model::note::Note;

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct HighWatermarkMonotonic;

impl Check for HighWatermarkMonotonic {
    fn name(&self) -> &'static str {
        "high-watermark-monotonic/KR-8"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::RaftHighWatermark]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note {
            node,
            note: Note::RaftHighWatermark { high_watermark, .. },
            ..
        } = event.fact
        else {
            return;
        };
        let before = &world.moment.raft;
        if *high_watermark < before.high_watermark {
            sink.fail(
                Violation::new(format!("the raft high watermark of n{node} went back"))
                    .fact("before", event.t_us, before.high_watermark.to_string())
                    .fact("now", event.t_us, high_watermark.to_string()),
            );
        } else if *high_watermark > before.log_end {
            sink.fail(
                Violation::new(format!(
                    "the raft high watermark of n{node} is behind its log's end"
                ))
                .fact("log end", event.t_us, before.log_end.to_string())
                .fact("now", event.t_us, high_watermark.to_string()),
            );
        } else {
            sink.exercised();
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::{LeaderEpoch, Offset};

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::observe::Stop;

    fn knows(high_watermark: i64) -> Note {
        Note::RaftHighWatermark {
            high_watermark: Offset(high_watermark),
            leader: false,
            epoch: LeaderEpoch(1),
            epoch_start: Offset(0),
            log_end: Offset(2),
        }
    }

    fn case() -> Case {
        let append = Note::RaftAppend {
            epoch: LeaderEpoch(1),
            base: Offset(0),
            last: Offset(1),
            crc: 1,
        };
        Case::of(make::<HighWatermarkMonotonic>)
            .note(1, append)
            .note(1, knows(2))
    }

    #[test]
    fn a_high_watermark_that_goes_back_is_found() {
        case().note(1, knows(1)).end().fails("n1 went back");
    }

    #[test]
    fn a_high_watermark_behind_the_log_is_found() {
        case().note(1, knows(3)).end().fails("behind its log's end");
    }

    #[test]
    fn a_restarted_node_learns_it_anew() {
        case()
            .stops(1, Stop::Killed)
            .note(1, knows(1))
            .end()
            .passes();
    }
}
