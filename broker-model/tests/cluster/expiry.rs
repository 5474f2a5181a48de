//! Offsets expire (KIP-211): when, and what members and operators see of it.

use broker_model::client::ClientKind;
use broker_model::client::command::{
    ClientError, Command, Event, OffsetAndMetadata, OpId, Subscription,
};
use broker_model::config::{ConsumerConfig, Given};
use broker_model::types::{LeaderEpoch, Offset, ResponseError, StrBytes, TopicPartition};

use crate::world::{Actor, World, combined};
use crate::{Cluster, TOPIC};

const CLASSIC: (&str, &str) = ("group.protocol", "classic");
const CONSUMER: (&str, &str) = ("group.protocol", "consumer");

/// A cluster that keeps offsets for a minute.
struct Aging {
    cluster: Cluster,
    calls: u64,
    seen: usize,
}

impl Aging {
    fn new() -> Self {
        let node = |id| {
            let mut node = combined(id);
            for (name, value) in [
                ("offsets.retention.minutes", "1"),
                ("offsets.retention.check.interval.ms", "1000"),
                ("offsets.topic.num.partitions", "1"),
                ("group.initial.rebalance.delay.ms", "0"),
            ] {
                node.properties.insert(name.to_owned(), value.to_owned());
            }
            node
        };
        Aging {
            cluster: Cluster::of((1..=3).map(node).collect(), 0),
            calls: 0,
            seen: 0,
        }
    }

    /// A consumer that has the group and is no member.
    fn outsider(&mut self, protocol: (&str, &str)) -> Actor {
        let given = [
            protocol,
            ("group.id", "g"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let given: Given = given.into_iter().map(own).collect();
        let config = ConsumerConfig::from_properties(&given).expect("a test's own");
        self.cluster.client(ClientKind::Consumer(config))
    }

    /// A member that has its part.
    fn member(&mut self, protocol: (&str, &str)) -> Actor {
        let member = self.outsider(protocol);
        let to = Subscription::Topics(vec![StrBytes::from_static_str(TOPIC)]);
        self.cluster
            .world
            .command(member, Command::Subscribe { to });
        self.live(member, 8);
        member
    }

    /// A member polls for so many seconds.
    fn live(&mut self, member: Actor, seconds: u32) {
        for _ in 0..seconds {
            self.calls += 1;
            let (op, timeout_ms) = (OpId(self.calls), 900);
            let world = &mut self.cluster.world;
            world.command(member, Command::Poll { op, timeout_ms });
            for _ in 0..10 {
                self.cluster.world.run_for(100);
                self.listen();
            }
        }
    }

    /// Rebalance listeners return.
    fn listen(&mut self) {
        let events = self.cluster.world.events[self.seen..].to_vec();
        self.seen += events.len();
        for (actor, event) in events {
            if let Event::Rebalance { callback, .. } = event {
                let done = Command::CallbackDone { callback };
                self.cluster.world.command(actor, done);
            }
        }
    }

    fn close(&mut self, member: Actor) {
        let op = OpId(0);
        self.cluster.world.command(member, Command::Close { op });
        for _ in 0..20 {
            self.cluster.world.run_for(50);
            self.listen();
        }
    }

    /// Commits 5 for the first partition.
    fn commit(&mut self, actor: Actor) -> Result<(), ClientError> {
        self.calls += 1;
        let op = OpId(self.calls);
        let five = OffsetAndMetadata {
            offset: Offset(5),
            leader_epoch: LeaderEpoch::NONE,
            metadata: StrBytes::default(),
        };
        let commit = Command::Commit {
            op,
            offsets: Some(vec![(first(), five)]),
            sync: true,
        };
        self.call(actor, commit, |event| match event {
            Event::Committed { result, .. } => Some(result.map(|_| ())),
            _ => None,
        })
    }

    fn committed(&mut self, asks: Actor) -> Option<i64> {
        self.calls += 1;
        let op = OpId(self.calls);
        let partitions = vec![first()];
        let question = Command::Committed { op, partitions };
        let found = self.call(asks, question, |event| match event {
            Event::CommittedOffsets { result, .. } => Some(result.clone()),
            _ => None,
        });
        let found = found.expect("no error");
        found[0].1.as_ref().map(|it| it.offset.0)
    }

    /// Gives a client a command and waits for its end.
    fn call<T>(&mut self, actor: Actor, command: Command, ends: impl Fn(&Event) -> Option<T>) -> T {
        let seen = self.cluster.world.events.len();
        let ended = |world: &World| {
            let mut events = world.events[seen..].iter();
            events.find_map(|(who, event)| ends(event).filter(|_| *who == actor))
        };
        let world = &mut self.cluster.world;
        world.command(actor, command);
        world.run_until(10_000, "end of a call", |world| ended(world).is_some());
        ended(world).expect("just seen")
    }
}

fn first() -> TopicPartition {
    TopicPartition {
        topic: StrBytes::from_static_str(TOPIC),
        partition: 0,
    }
}

#[test]
fn who_assigns_itself_has_an_offset_for_so_long_after_its_commit() {
    let mut aging = Aging::new();
    let alone = aging.outsider(CLASSIC);
    aging.cluster.world.run_for(1_000);
    for _ in 0..2 {
        assert_eq!(aging.commit(alone), Ok(()));
        aging.cluster.world.run_for(50_000);
        assert_eq!(aging.committed(alone), Some(5));
    }
    aging.cluster.world.run_for(12_000);
    assert_eq!(aging.committed(alone), None);
}

#[test]
fn what_a_member_reads_does_not_age() {
    for protocol in [CLASSIC, CONSUMER] {
        let mut aging = Aging::new();
        let member = aging.member(protocol);
        assert_eq!(aging.commit(member), Ok(()));
        aging.live(member, 70);
        let asks = aging.outsider(protocol);
        assert_eq!(aging.committed(asks), Some(5), "{protocol:?}");
    }
}

#[test]
fn a_group_keeps_its_offsets_for_so_long_after_its_last_member() {
    let mut aging = Aging::new();
    let member = aging.member(CLASSIC);
    assert_eq!(aging.commit(member), Ok(()));
    aging.live(member, 40);
    aging.close(member);
    let asks = aging.outsider(CLASSIC);
    aging.cluster.world.run_for(50_000);
    assert_eq!(aging.committed(asks), Some(5), "it was empty for 51 s");
    aging.cluster.world.run_for(12_000);
    assert_eq!(aging.committed(asks), None);
}

#[test]
fn a_group_of_the_consumer_protocol_keeps_them_after_their_commit() {
    let mut aging = Aging::new();
    let member = aging.member(CONSUMER);
    assert_eq!(aging.commit(member), Ok(()));
    aging.live(member, 70);
    aging.close(member);
    let asks = aging.outsider(CONSUMER);
    aging.cluster.world.run_for(2_000);
    assert_eq!(aging.committed(asks), None, "the commit is older");
}

#[test]
fn an_operator_sets_the_offsets_of_an_empty_group_only() {
    for protocol in [CLASSIC, CONSUMER] {
        let mut aging = Aging::new();
        let member = aging.member(protocol);
        let operator = aging.outsider(protocol);
        let refused = ClientError::Broker(ResponseError::UnknownMemberId);
        let said = aging.commit(operator);
        let is_refused = said == Err(refused) || said == Err(ClientError::NotMember);
        assert!(is_refused, "{protocol:?}: {said:?}");
        assert_eq!(aging.committed(operator), None);
        aging.close(member);
        assert_eq!(aging.commit(operator), Ok(()));
        assert_eq!(aging.committed(operator), Some(5));
    }
}
