//! log start ≤ last stable offset ≤ high watermark ≤ log end, and the log's start never goes back within
//! an incarnation. After a restart it may: its checkpoint is written lazily. It is 0 where nothing may remove
//! records on purpose.

use broker_model::note::Note;
use broker_model::types::Offset;

use crate::check::replication::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct LogBounds;

impl Check for LogBounds {
    fn name(&self) -> &'static str {
        "log-bounds/ST-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::HighWatermark, Kind::LogStart, Kind::LogRecovered]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        match about(event, world) {
            Some((_, Note::HighWatermark { .. }, ..)) => told(event, world, sink),
            Some((_, Note::LogStart { log_start, .. }, ..)) => {
                moved(event, world, (*log_start, world.moment.log_start), sink);
            }
            Some((_, Note::LogRecovered { log_start, .. }, ..)) => {
                moved(event, world, (*log_start, Offset::ZERO), sink);
            }
            _ => {}
        }
    }
}

/// A replica told all its offsets.
fn told(event: &Observed<'_>, world: &World, sink: &mut Sink) {
    let Some((
        node,
        Note::HighWatermark {
            log_start,
            last_stable,
            high_watermark,
            log_end,
            ..
        },
        partition,
        replica,
    )) = about(event, world)
    else {
        return;
    };
    let ordered =
        log_start <= last_stable && last_stable <= high_watermark && high_watermark <= log_end;
    let start = world.moment.log_start;
    if ordered && *log_end == replica.log.end() && *log_start >= start {
        sink.exercised();
        return;
    }
    sink.fail(
        Violation::new(format!(
            "the offsets of {} on n{node} are out of order",
            partition.name
        ))
        .fact(
            "told",
            event.t_us,
            format!(
                "log start {log_start}, last stable {last_stable}, high watermark {high_watermark}, log end {log_end}"
            ),
        )
        .fact(
            "known",
            event.t_us,
            format!("log start {start}, log end {}", replica.log.end()),
        ),
    );
}

/// A replica told its log's start; it may be no less than `least`.
fn moved(event: &Observed<'_>, world: &World, (to, least): (Offset, Offset), sink: &mut Sink) {
    let Some((node, _, partition, _)) = about(event, world) else {
        return;
    };
    let headline = if to < least {
        format!("the start of {} on n{node} went back", partition.name)
    } else if to > Offset::ZERO && !world.may_start_late(partition) {
        format!("the start of {} on n{node} moved by itself", partition.name)
    } else {
        return;
    };
    sink.fail(
        Violation::new(headline)
            .fact("before", event.t_us, least.to_string())
            .fact("now", event.t_us, to.to_string()),
    );
}

#[cfg(test)]
mod tests {
    use broker_model::types::LeaderEpoch;

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, partition, recovers};
    use crate::observe::Stop;

    fn offsets(log_start: i64, last_stable: i64, high_watermark: i64, log_end: i64) -> Note {
        Note::HighWatermark {
            partition: partition(),
            as_leader: false,
            leader_epoch: LeaderEpoch(4),
            log_start: Offset(log_start),
            last_stable: Offset(last_stable),
            high_watermark: Offset(high_watermark),
            log_end: Offset(log_end),
        }
    }

    fn starts(log_start: i64) -> Note {
        Note::LogStart {
            partition: partition(),
            log_start: Offset(log_start),
        }
    }

    fn case() -> Case {
        Case::of(make::<LogBounds>)
            .part_with(&[("retention.ms", "1000")])
            .note(1, TestBatch::at(0, 4, 4).followed())
    }

    #[test]
    fn offsets_out_of_order_are_found() {
        for (log_start, last_stable, high_watermark, log_end) in
            [(3, 2, 3, 4), (1, 3, 2, 4), (1, 2, 5, 4), (1, 2, 3, 3)]
        {
            case()
                .note(1, offsets(log_start, last_stable, high_watermark, log_end))
                .end()
                .fails("out of order");
        }
    }

    #[test]
    fn a_log_start_that_goes_back_is_found() {
        case()
            .note(1, offsets(2, 3, 3, 4))
            .note(1, offsets(1, 3, 3, 4))
            .end()
            .fails("known");
    }

    #[test]
    fn a_log_start_that_goes_back_as_the_model_tells_it_is_found() {
        case()
            .note(1, starts(2))
            .note(1, offsets(2, 3, 3, 4))
            .note(1, starts(1))
            .note(1, offsets(1, 3, 3, 4))
            .end()
            .fails("went back");
        case()
            .note(1, starts(1))
            .note(1, offsets(1, 3, 3, 4))
            .note(1, starts(2))
            .note(1, offsets(2, 3, 3, 4))
            .end()
            .passes();
    }

    #[test]
    fn a_log_start_that_nobody_may_move_is_found() {
        let case = || {
            Case::of(make::<LogBounds>)
                .part()
                .note(1, TestBatch::at(0, 4, 4).followed())
        };
        case().note(1, starts(1)).end().fails("moved by itself");
        case().note(1, offsets(0, 3, 3, 4)).end().passes();
    }

    #[test]
    fn a_log_start_may_be_forgotten_by_a_crash() {
        case()
            .note(1, offsets(2, 3, 3, 4))
            .stops(1, Stop::PowerLoss)
            .note(1, recovers(4, &[(4, 0)]))
            .note(1, offsets(0, 3, 3, 4))
            .end()
            .passes();
    }
}
