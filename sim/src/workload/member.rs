//! A member of a consumer group: it subscribes, polls, works at what it got, commits, and lets its
//! effects go into a sink that outlives it. It dies, leaves and comes back as another actor.

mod commits;
mod looks;
mod rebalance;
mod work;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use broker_model::client::command::{
    CallbackId, ClientError, Command, CommitName, Event, GroupMember, OpId, ResetReason, StartFrom,
    Subscription,
};
use broker_model::types::{
    LeaderEpoch, ResponseError, StrBytes, TopicIdPartition, TopicPartition, Uuid,
};

pub(super) use self::commits::committed_offsets;
use super::consume::{polled, record_reset};
use super::dead_letters::{Desk, Letter};
use super::{App, Journal, Mortal, SentDirectory, Standing};
use crate::cluster::TopicFacts;
use crate::history::{Body, Er, Ev, Op, Res};
use crate::plan::{CommitStyle, MemberPlan};
use crate::recorder::Recorder;

/// What an idempotent sink has: the records whose effect it took.
pub type Taken = Rc<RefCell<BTreeSet<(TopicIdPartition, i64)>>>;

/// A member's application.
pub struct Member {
    journal: Journal,
    group: String,
    is_classic: bool,
    plan: MemberPlan,
    sent: SentDirectory,
    taken: Taken,
    desk: Desk,
    topics: BTreeMap<Uuid, (StrBytes, TopicFacts)>,
    start_us: Option<u64>,
    state: State,
    /// The rebalance listener's call that has not returned.
    callback: Option<Callback>,
    /// As whom the listener was called last.
    member: GroupMember,
    owned: BTreeMap<TopicIdPartition, Progress>,
    /// Counts assignments, so that work of an earlier one is known.
    assignments: u64,
    /// Batches that a worker behind the polls has, with the moments at which it is through.
    behind: VecDeque<(u64, Batch)>,
    /// Records that were processed since the last commit.
    since_commit: u64,
    /// Whether it polled since the last commit: one that failed is not repeated before.
    polled: bool,
    /// Commits under way, with what they write.
    committing: BTreeMap<CommitName, Commit>,
    paused: Option<(TopicPartition, u64)>,
    stalls: usize,
    pauses: usize,
    looks: usize,
    wakes: usize,
    commits: u64,
    leaving: bool,
    draining: bool,
}

/// Where the application's loop is.
#[derive(Clone, PartialEq, Debug)]
enum State {
    /// It was not told to begin, or is dead.
    Idle,
    /// The next turn comes then.
    Turn { at_us: u64 },
    /// A poll.
    Polling(OpId),
    /// It works until then.
    Working { until_us: u64, batch: Batch },
    /// It waits until its dead letters have arrived; it looks again then.
    Posting {
        at_us: u64,
        missing: BTreeSet<(TopicIdPartition, i64)>,
        batch: Batch,
    },
    /// `commitSync`, and then that batch is processed.
    Committing(OpId, Option<Batch>),
    /// `committed`.
    Looking(OpId),
    /// `position` of that partition.
    Asking(OpId, u32),
    /// `close`.
    Closing(OpId),
    /// It gave up, or closed.
    Over,
}

/// A call of the rebalance listener.
struct Callback {
    id: CallbackId,
    partitions: Vec<TopicPartition>,
    /// The commit that it waits for.
    commit: OpId,
}

/// A commit under way.
#[derive(Clone)]
struct Commit {
    /// In the history.
    op: OpId,
    offsets: Vec<(TopicIdPartition, i64)>,
}

/// How far a member is with a partition that it owns.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Which assignment gave it.
    assignment: u64,
    /// Where the next poll goes on, -1 while that is not known.
    position: i64,
    /// Everything before is processed, -1 for nothing yet.
    processed: i64,
    epoch: LeaderEpoch,
    /// What is committed as far as this member knows, -1 for nothing yet.
    committed: i64,
}

/// Records that were polled together.
#[derive(Clone, PartialEq, Debug, Default)]
struct Batch {
    /// Partition, assignment, next offset, leader epoch of the last record.
    upto: Vec<(TopicIdPartition, u64, i64, LeaderEpoch)>,
    records: Vec<(TopicIdPartition, i64)>,
    /// Those of the records that cannot be processed.
    letters: Vec<Letter>,
}

impl Member {
    /// A member that does what the plan says.
    #[must_use]
    pub fn new(
        actor: u32,
        (group, is_classic): (&str, bool),
        plan: MemberPlan,
        sent: SentDirectory,
        (taken, desk): (Taken, Desk),
    ) -> Self {
        Member {
            journal: Journal::new(actor),
            group: group.to_owned(),
            is_classic,
            plan,
            sent,
            taken,
            desk,
            topics: BTreeMap::new(),
            start_us: None,
            state: State::Idle,
            callback: None,
            member: GroupMember::NONE,
            owned: BTreeMap::new(),
            assignments: 0,
            behind: VecDeque::new(),
            since_commit: 0,
            polled: false,
            committing: BTreeMap::new(),
            paused: None,
            stalls: 0,
            pauses: 0,
            looks: 0,
            wakes: 0,
            commits: 0,
            leaving: false,
            draining: false,
        }
    }

    fn named(&self, partition: TopicIdPartition) -> TopicPartition {
        TopicPartition {
            topic: self.topics[&partition.topic].0.clone(),
            partition: partition.partition,
        }
    }

    fn identified(&self, named: &TopicPartition) -> Option<TopicIdPartition> {
        let mut topics = self.topics.iter();
        let (&topic, _) = topics.find(|(_, (name, _))| *name == named.topic)?;
        Some(TopicIdPartition {
            topic,
            partition: named.partition,
        })
    }

    fn numbers(&self, partitions: &[TopicPartition], recorder: &Recorder) -> Vec<u32> {
        let known = partitions.iter().filter_map(|named| self.identified(named));
        known.filter_map(|id| recorder.partition(id)).collect()
    }

    /// The next thing that the application's loop does.
    fn turn(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        if self.leaving {
            self.close(now_us, recorder, calls);
            return;
        }
        if self.member == GroupMember::NONE && self.journal.is_fresh() {
            self.subscribe(now_us, recorder, calls);
        }
        self.pause_or_resume(now_us, recorder, calls);
        if self.wants_look(now_us) {
            self.look(now_us, recorder, calls);
        } else if self.wants_commit() {
            let offsets = self.uncommitted();
            let op = self.commit(now_us, &offsets, self.is_patient(), recorder, calls);
            if self.is_patient() {
                self.state = State::Committing(op, None);
            } else {
                self.poll(now_us, recorder, calls);
            }
        } else {
            self.poll(now_us, recorder, calls);
        }
    }

    fn subscribe(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        let text = |text: &String| StrBytes::from_string(text.clone());
        let to = match &self.plan.pattern {
            Some(pattern) => Subscription::Pattern(text(pattern)),
            None => Subscription::Topics(self.plan.topics.iter().map(text).collect()),
        };
        let op = Op::Subscribe {
            g: self.group.clone(),
            topics: self.plan.topics.clone(),
            pattern: self.plan.pattern.clone(),
        };
        let op = self.journal.invoke(now_us, recorder, op);
        self.journal.ok(now_us, recorder, op, Res::Unit);
        calls.push_back(Command::Subscribe { to });
    }

    fn poll(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        let op = self.journal.invoke(now_us, recorder, Op::Poll);
        self.state = State::Polling(op);
        calls.push_back(Command::Poll {
            op,
            timeout_ms: self.plan.poll_ms,
        });
    }

    fn close(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        let op = self.journal.invoke(now_us, recorder, Op::Close);
        self.state = State::Closing(op);
        calls.push_back(Command::Close { op });
    }

    /// Whether a moment of that list has come.
    fn is_due(&self, now_us: u64, at_ms: Option<u64>) -> bool {
        let start_us = self.start_us.unwrap_or(now_us);
        !self.draining && at_ms.is_some_and(|at_ms| start_us + at_ms * 1_000 <= now_us)
    }

    /// When another thread wakes its consumer up next.
    fn next_wakeup_us(&self) -> Option<u64> {
        let lives = !matches!(self.state, State::Idle | State::Closing(_) | State::Over);
        let at_ms = self.plan.wakes_ms.get(self.wakes)?;
        let start_us = self.start_us?;
        (lives && !self.draining && !self.leaving).then_some(start_us + at_ms * 1_000)
    }

    fn pause_or_resume(
        &mut self,
        now_us: u64,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        let over = |&(_, until_us): &(TopicPartition, u64)| until_us <= now_us || self.draining;
        if self.paused.as_ref().is_some_and(over) {
            let partitions: Vec<_> = self.paused.take().into_iter().map(|(p, _)| p).collect();
            let ps = self.numbers(&partitions, recorder);
            let op = self.journal.invoke(now_us, recorder, Op::Resume { ps });
            self.journal.ok(now_us, recorder, op, Res::Unit);
            calls.push_back(Command::Resume { partitions });
        }
        let next = self.plan.pauses_ms.get(self.pauses).copied();
        if self.paused.is_some() || !self.is_due(now_us, next.map(|(at_ms, _)| at_ms)) {
            return;
        }
        let (Some((_, for_ms)), Some(&first)) = (next, self.owned.keys().next()) else {
            return;
        };
        self.pauses += 1;
        let partitions = vec![self.named(first)];
        let ps = self.numbers(&partitions, recorder);
        let op = self.journal.invoke(now_us, recorder, Op::Pause { ps });
        self.journal.ok(now_us, recorder, op, Res::Unit);
        self.paused = Some((partitions[0].clone(), now_us + for_ms * 1_000));
        calls.push_back(Command::Pause { partitions });
    }

    /// A position was set.
    fn reset(
        &mut self,
        now_us: u64,
        reset: (TopicIdPartition, i64, i64, ResetReason),
        recorder: &mut Recorder,
    ) {
        let (partition, _, to, why) = reset;
        if let Some(progress) = self.owned.get_mut(&partition) {
            progress.position = to;
            if why == ResetReason::Committed {
                progress.committed = to;
                progress.processed = to;
            }
        }
        record_reset(&self.journal, now_us, reset, recorder);
    }

    fn tell(&self, now_us: u64, ev: Ev, recorder: &mut Recorder) {
        let a = self.journal.actor();
        recorder.line(now_us, Body::Ev { a, ev });
    }

    fn poll_failed(
        &mut self,
        now_us: u64,
        (op, error): (OpId, ClientError),
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        self.journal.fail(now_us, recorder, op, Er::new(error, 0));
        self.state = State::Turn {
            at_us: now_us + RETRY_US,
        };
        match error {
            // Another one has its place: two of the same name would take it from each other for ever. Or it
            // came back before the session of its predecessor was over, which the consumer protocol refuses;
            // or the group is gone. The consumer is of no use any more.
            ClientError::Broker(
                error @ (ResponseError::FencedInstanceId
                | ResponseError::UnreleasedInstanceId
                | ResponseError::GroupIdNotFound),
            ) => {
                let c = error.code();
                self.tell(now_us, Ev::Fenced { c }, recorder);
                self.state = State::Over;
            }
            ClientError::NoOffset => self.start_over(now_us, recorder, calls),
            _ => {}
        }
    }

    /// With `auto.offset.reset=none` the application says where to begin.
    fn start_over(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        let lost = self
            .owned
            .iter()
            .filter(|(_, progress)| progress.position < 0);
        let lost: Vec<TopicPartition> = lost.map(|(&id, _)| self.named(id)).collect();
        let to = self.numbers(&lost, recorder);
        let to = to.into_iter().map(|p| (p, BEGINNING)).collect();
        let op = self.journal.invoke(now_us, recorder, Op::Seek { to });
        self.journal.ok(now_us, recorder, op, Res::Unit);
        calls.extend(lost.into_iter().map(|partition| Command::Seek {
            partition,
            to: StartFrom::Beginning,
        }));
    }
}

/// Before a call that failed is made again, in microseconds.
const RETRY_US: u64 = 100_000;

/// `ListOffsets.EARLIEST_TIMESTAMP`, as the history names the beginning of a log.
const BEGINNING: i64 = -2;

impl App for Member {
    fn begin(&mut self, now_us: u64, topics: &BTreeMap<String, TopicFacts>) {
        let named = topics.iter();
        let named = named.map(|(name, facts)| {
            let name = StrBytes::from_string(name.clone());
            (facts.id, (name, *facts))
        });
        self.topics = named.collect();
        let first = self.start_us.is_none();
        self.start_us.get_or_insert(now_us);
        let wait_us = if first { self.plan.from_ms * 1_000 } else { 0 };
        self.state = State::Turn {
            at_us: now_us + wait_us,
        };
    }

    fn wake(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        while self
            .behind
            .front()
            .is_some_and(|(until_us, _)| *until_us <= now_us)
        {
            let (_, batch) = self.behind.pop_front().expect("just seen");
            self.processed(now_us, &batch, recorder);
        }
        if let State::Working { until_us, batch } = &self.state
            && *until_us <= now_us
        {
            let batch = batch.clone();
            self.worked(now_us, batch, recorder);
        }
        while self.next_wakeup_us().is_some_and(|at_us| at_us <= now_us) {
            self.wakes += 1;
            calls.push_back(Command::Wakeup);
        }
        self.hear_of_letters(now_us, recorder);
        if let State::Turn { at_us } = self.state
            && (at_us <= now_us || self.leaving)
        {
            self.turn(now_us, recorder, calls);
        }
    }

    fn on_event(
        &mut self,
        now_us: u64,
        event: Event,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        match event {
            Event::Polled { op, parts } => {
                assert_eq!(self.state, State::Polling(op), "each poll ends once");
                let facts = |id| self.topics.get(&id).map(|(_, facts)| *facts);
                let result = polled(&parts, facts, &self.sent, recorder);
                self.journal.ok(now_us, recorder, op, result);
                self.take(now_us, &parts, recorder, calls);
            }
            Event::PollFailed { op, error } => {
                self.poll_failed(now_us, (op, error), recorder, calls);
            }
            Event::Rebalance {
                callback,
                what,
                partitions,
                member,
            } => {
                self.member = member;
                self.rebalance(now_us, callback, what, partitions, recorder, calls);
            }
            Event::Reset {
                partition,
                from,
                to,
                why,
            } => self.reset(now_us, (partition, from.0, to.0, why), recorder),
            Event::Committing {
                commit: name @ CommitName::Auto(_),
                offsets,
            } => self.commits_by_itself(now_us, name, &offsets, recorder),
            Event::Committed {
                commit,
                member,
                result,
                attempts,
                definite,
            } => {
                let outcome = (attempts, definite);
                self.committed(now_us, (commit, &member), result, outcome, recorder, calls);
            }
            Event::CommittedOffsets { op, result } => self.looked(now_us, op, result, recorder),
            Event::Position { op, result } => self.answered(now_us, op, result, recorder),
            Event::Done { op, result } => {
                match result {
                    Ok(()) => self.journal.ok(now_us, recorder, op, Res::Unit),
                    Err(error) => self.journal.fail(now_us, recorder, op, Er::new(error, 0)),
                }
                if self.state == State::Closing(op) {
                    self.state = State::Over;
                }
            }
            // What it committed by a call is in the history since then.
            Event::Committing { .. }
            | Event::Sent { .. }
            | Event::Offsets { .. }
            | Event::Group { .. } => {}
        }
    }

    fn next_wake_us(&self) -> Option<u64> {
        let turn = match &self.state {
            State::Turn { at_us } => Some(*at_us),
            State::Posting { at_us, .. } => Some(*at_us),
            State::Working { until_us, .. } => Some(*until_us),
            _ => None,
        };
        let behind = self.behind.front().map(|(until_us, _)| *until_us);
        let wakeup = self.next_wakeup_us();
        [turn, behind, wakeup].into_iter().flatten().min()
    }

    /// One that waits for its moment begins.
    fn release(&mut self, _calls: u32) {
        if let State::Turn { at_us } = &mut self.state {
            *at_us = 0;
        }
    }

    fn drain(&mut self) {
        self.draining = true;
    }

    /// A member follows for as long as there is a log; it never holds a run up by itself.
    fn is_done(&self) -> bool {
        true
    }

    fn waits_for(&self) -> String {
        format!("{:?}", self.state)
    }

    fn standing(&self) -> Option<Standing<'_>> {
        let lives = !matches!(self.state, State::Idle | State::Over);
        let owned = self.owned.iter().map(|(&id, progress)| {
            let commits = self.plan.commit != CommitStyle::None;
            let committed = if commits && progress.committed < progress.processed {
                progress.committed
            } else {
                progress.position
            };
            (id, (progress.position, committed))
        });
        Some(Standing {
            group: &self.group,
            topics: &self.plan.topics,
            pattern: self.plan.pattern.as_deref(),
            lives,
            owned: owned.collect(),
            busy: !self.behind.is_empty()
                || matches!(
                    self.state,
                    State::Working { .. } | State::Posting { .. } | State::Committing(_, Some(_))
                ),
            generation: self.member.generation,
            is_classic: self.is_classic,
        })
    }

    fn mortal(&mut self) -> Option<&mut dyn Mortal> {
        Some(self)
    }
}

impl Mortal for Member {
    fn actor(&self) -> u32 {
        self.journal.actor()
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn owns(&self) -> bool {
        !self.owned.is_empty()
    }

    fn leave(&mut self) {
        self.leaving = true;
    }

    fn rise(&mut self, actor: u32) {
        self.journal = Journal::new(actor);
        self.state = State::Idle;
        self.callback = None;
        self.member = GroupMember::NONE;
        self.owned.clear();
        self.behind.clear();
        self.desk.clear();
        self.since_commit = 0;
        self.committing.clear();
        self.paused = None;
        self.leaving = false;
        self.commits = 0;
    }
}
