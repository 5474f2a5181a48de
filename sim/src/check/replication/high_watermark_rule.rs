//! A leader moves the high watermark only while its ISR is large enough, and only over what each member
//! of the maximal ISR has proven by a fetch in this leader epoch, and never past its log's end.
//! KIP-101, KIP-497, KIP-966; `Partition.maybeIncrementLeaderHW`.

use broker_model::note::Note;

use super::{about, list};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct HighWatermarkRule;

impl Check for HighWatermarkRule {
    fn name(&self) -> &'static str {
        "high-watermark-rule/RP-6"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::HighWatermark]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((
            node,
            Note::HighWatermark {
                as_leader: true,
                leader_epoch,
                high_watermark,
                ..
            },
            partition,
            replica,
        )) = about(event, world)
        else {
            return;
        };
        let Some(leadership) = &replica.leadership else {
            return;
        };
        if *high_watermark <= world.moment.high_watermark {
            return;
        }
        let missing = leadership.maximal.iter().find(|&&member| {
            member != node
                && leadership
                    .proven(member)
                    .is_none_or(|end| end < *high_watermark)
        });
        let large = leadership.isr.len() >= leadership.min_isr && leadership.isr_known;
        let inside = *high_watermark <= replica.log.end();
        if missing.is_none() && large && inside && leadership.epoch == *leader_epoch {
            sink.exercised();
            return;
        }
        let mut violation = Violation::new(format!(
            "n{node} moved the high watermark of {} too far",
            partition.name
        ))
        .fact(
            "moved",
            event.t_us,
            format!(
                "from {} to {high_watermark} in epoch {leader_epoch}, log end {}",
                world.moment.high_watermark,
                replica.log.end()
            ),
        )
        .fact(
            "waits for",
            event.t_us,
            format!(
                "{}, confirmed {}, at least {}",
                list(&leadership.maximal),
                list(&leadership.isr),
                leadership.min_isr
            ),
        );
        for (follower, end) in &leadership.fetched {
            violation = violation.fact("proven", event.t_us, format!("n{follower} up to {end}"));
        }
        sink.fail(violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, fetched, leader_hw, leader_isr, leads};

    fn case(isr: &[i32], maximal: &[i32]) -> Case {
        Case::of(make::<HighWatermarkRule>)
            .note(1, leads(4, 0, 0))
            .note(1, leader_isr(4, isr, maximal))
            .note(1, TestBatch::at(0, 2, 4).led())
    }

    #[test]
    fn a_member_that_has_not_proven_it_is_found() {
        case(&[1, 2], &[1, 2])
            .note(1, fetched(4, 2, 1))
            .note(1, leader_hw(4, 2, 2))
            .end()
            .fails("too far");
    }

    #[test]
    fn a_proposed_member_counts() {
        case(&[1, 2], &[1, 2, 3])
            .note(1, fetched(4, 2, 2))
            .note(1, leader_hw(4, 2, 2))
            .end()
            .fails("waits for");
    }

    #[test]
    fn a_proof_of_an_earlier_epoch_does_not_count() {
        case(&[1, 2], &[1, 2])
            .note(1, fetched(3, 2, 2))
            .note(1, leader_hw(4, 2, 2))
            .end()
            .fails("too far");
    }

    #[test]
    fn an_isr_below_its_minimum_commits_nothing() {
        case(&[1], &[1])
            .note(1, leader_hw(4, 2, 2))
            .end()
            .fails("at least 2");
    }

    #[test]
    fn what_all_have_proven_is_committed() {
        case(&[1, 2], &[1, 2])
            .note(1, fetched(4, 2, 2))
            .note(1, leader_hw(4, 2, 2))
            .end()
            .passes();
    }
}
