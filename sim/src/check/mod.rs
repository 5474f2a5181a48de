//! The judge: what must be true of every run.
//!
//! The recorder hands each fact (a node's note, a history line, something done to the cluster) to
//! the [`Judge`] in its order `n`. The judge first lets the [`World`] take it in (ghost state: what
//! was committed, by whom, what may have been lost), then asks the checks that are concerned by
//! facts of that [`Kind`]. It is a pure observer: nothing of it reaches the run.
//!
//! One file a check, named `name/ID` after the catalogue in docs/invariants.md. A check says
//! [`Outcome::Exercised`] only where its premise arose from a recorded fact and was not trivially
//! true, and [`Outcome::Excused`] where Kafka does not promise what the check demands.

mod client;
mod group;
mod harness;
mod judge;
mod kind;
mod kraft;
mod liveness;
mod membership;
mod outcome;
pub mod page;
mod producer;
mod replication;
mod storage;
#[cfg(test)]
mod testing;
pub mod world;

pub use judge::{Judge, black_box, is_whole};
pub use kind::Kind;
pub use outcome::{Class, Judgement, Outcome, Sink, Violation};
pub use world::World;

use crate::observe::Observed;

/// A property of every run.
pub trait Check {
    /// Its name and its id in the catalogue: `leader-completeness/RP-8`.
    fn name(&self) -> &'static str;

    /// The kinds of facts that it looks at; [`Check::on`] is called for no others.
    fn wants(&self) -> &'static [Kind];

    /// Judges a fact. The world has taken it in already; what it replaced is in
    /// [`World::moment`].
    fn on(&mut self, _event: &Observed<'_>, _world: &World, _sink: &mut Sink) {}

    /// Judges the whole run.
    fn finish(&mut self, _world: &World, _sink: &mut Sink) {}
}

/// A check, as made for a run.
pub type Boxed = Box<dyn Check>;

/// Makes a check.
fn make<C: Check + Default + 'static>() -> Boxed {
    Box::<C>::default()
}

/// Every check, in the order of the catalogue.
pub const ALL: &[fn() -> Boxed] = &[
    make::<kraft::one_leader::OneLeader>,
    make::<kraft::one_vote::OneVote>,
    make::<kraft::epoch_monotonic::EpochMonotonic>,
    make::<kraft::append_only::AppendOnly>,
    make::<kraft::log_matching::LogMatching>,
    make::<kraft::leader_completeness::LeaderCompleteness>,
    make::<kraft::majority::MajorityHasCommitted>,
    make::<kraft::high_watermark::HighWatermarkMonotonic>,
    make::<kraft::truncation::NoCommittedTruncation>,
    make::<replication::one_leader::OneLeader>,
    make::<replication::epoch_monotonic::EpochMonotonic>,
    make::<replication::well_formed::WellFormed>,
    make::<replication::quorums::QuorumsOverlap>,
    make::<replication::high_watermark_rule::HighWatermarkRule>,
    make::<replication::in_sync_complete::InSyncComplete>,
    make::<replication::leader_completeness::LeaderCompleteness>,
    make::<replication::log_matching::LogMatching>,
    make::<replication::high_watermark::HighWatermarkMonotonic>,
    make::<replication::isr_expansion::IsrExpansion>,
    make::<replication::alter_partition::AlterPartitionFencing>,
    make::<replication::truncation::NoCommittedTruncation>,
    make::<replication::ack_rule::AckRule>,
    make::<replication::acked_durable::AckedDurable>,
    make::<replication::committed_exists::CommittedExists>,
    make::<replication::fetch_bound::FetchBound>,
    make::<replication::unclean_excluded::UncleanExcluded>,
    make::<replication::metadata_prefix::MetadataPrefix>,
    make::<replication::stale_leader::StaleLeader>,
    make::<storage::batch_shape::BatchShape>,
    make::<storage::log_bounds::LogBounds>,
    make::<storage::epoch_cache::EpochCache>,
    make::<storage::crash_recovery::CrashRecovery>,
    make::<producer::contiguity::Contiguity>,
    make::<producer::uniqueness::Uniqueness>,
    make::<producer::state::ProducerState>,
    make::<producer::duplicate_answer::DuplicateAnswer>,
    make::<group::transitions::LegalTransitions>,
    make::<group::target::TargetAssignment>,
    make::<group::partition_epoch::PartitionEpoch>,
    make::<group::member_epoch::MemberEpoch>,
    make::<group::stable::StableGroup>,
    make::<group::double_assignment::DoubleAssignment>,
    make::<group::commit_fence::CommitFence>,
    make::<group::state_fold::StateFold>,
    make::<group::one_coordinator::OneCoordinator>,
    make::<group::expiry::OffsetExpiry>,
    make::<group::static_member::StaticMember>,
    make::<group::timers::MemberTimers>,
    make::<group::migration::ProtocolMigration>,
    make::<client::committed_immutable::CommittedImmutable>,
    make::<client::no_duplicates::NoDuplicates>,
    make::<client::ack_offset::AckOffset>,
    make::<client::realtime_order::RealtimeOrder>,
    make::<client::in_order::InOrder>,
    make::<client::future_read::FutureRead>,
    make::<client::garbage::Garbage>,
    make::<client::acked_complete::AckedComplete>,
    make::<client::acked_partial::AckedPartial>,
    make::<client::read_durable::ReadDurable>,
    make::<client::failed_absent::FailedAbsent>,
    make::<client::nonmonotonic::Nonmonotonic>,
    make::<client::skip::Skip>,
    make::<client::jump::Jump>,
    make::<membership::owned_poll::OwnedPoll>,
    make::<membership::legal_reset::LegalReset>,
    make::<membership::one_owner::OneOwner>,
    make::<membership::one_assignment::OneAssignment>,
    make::<membership::zombie_commit::ZombieCommit>,
    make::<membership::register::Register>,
    make::<membership::resume_point::ResumePoint>,
    make::<membership::coverage::Coverage>,
    make::<membership::at_least_once::AtLeastOnce>,
    make::<membership::at_most_once::AtMostOnce>,
    make::<membership::generations::Generations>,
    make::<membership::sane_commit::SaneCommit>,
    make::<membership::static_member::StaticMember>,
    make::<membership::effects::EffectComplete>,
    make::<membership::effects::EffectOnce>,
    make::<liveness::every_op::EveryOp>,
    make::<liveness::leader::Leader>,
    make::<liveness::availability::Availability>,
    make::<liveness::catch_up::CatchUp>,
    make::<liveness::groups_settle::GroupsSettle>,
    make::<liveness::replication_heals::ReplicationHeals>,
    make::<liveness::stuck_fencing::StuckFencing>,
    make::<harness::order::Order>,
    make::<harness::lives::Lives>,
    make::<harness::halts::Halts>,
    make::<harness::disk::Disk>,
    // Needs what all others excused.
    make::<harness::excuses::Excuses>,
];

/// Those of [`ALL`] that need nothing but a client history.
pub const BLACK_BOX: &[fn() -> Boxed] = &[
    make::<client::committed_immutable::CommittedImmutable>,
    make::<client::no_duplicates::NoDuplicates>,
    make::<client::ack_offset::AckOffset>,
    make::<client::realtime_order::RealtimeOrder>,
    make::<client::in_order::InOrder>,
    make::<client::future_read::FutureRead>,
    make::<client::garbage::Garbage>,
    make::<client::acked_complete::AckedComplete>,
    make::<client::acked_partial::AckedPartial>,
    make::<client::read_durable::ReadDurable>,
    make::<client::failed_absent::FailedAbsent>,
    make::<client::nonmonotonic::Nonmonotonic>,
    make::<client::skip::Skip>,
    make::<client::jump::Jump>,
    make::<membership::owned_poll::OwnedPoll>,
    make::<membership::legal_reset::LegalReset>,
    make::<membership::one_owner::OneOwner>,
    make::<membership::one_assignment::OneAssignment>,
    make::<membership::zombie_commit::ZombieCommit>,
    make::<membership::register::Register>,
    make::<membership::resume_point::ResumePoint>,
    make::<membership::coverage::Coverage>,
    make::<membership::at_least_once::AtLeastOnce>,
    make::<membership::at_most_once::AtMostOnce>,
    make::<membership::generations::Generations>,
    make::<membership::sane_commit::SaneCommit>,
    make::<membership::static_member::StaticMember>,
    make::<membership::effects::EffectComplete>,
    make::<membership::effects::EffectOnce>,
    make::<liveness::every_op::EveryOp>,
    make::<liveness::catch_up::CatchUp>,
    make::<liveness::groups_settle::GroupsSettle>,
    make::<liveness::stuck_fencing::StuckFencing>,
    make::<harness::order::Order>,
    make::<harness::lives::Lives>,
];
