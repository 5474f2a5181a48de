//! Groups as cases say them: one group `g`, whose coordinator has `orders-0` as its log.

use std::collections::BTreeSet;

use broker_model::note::{
    ClassicGroupChange, ClassicGroupState, ConsumerGroupChange, ConsumerMemberState,
    CoordinatorChange, CoordinatorTimer, MemberRemoved, MetadataReader, Note, OffsetsChange,
};
use broker_model::types::{LeaderEpoch, Offset, StrBytes, TopicIdPartition, TopicPartition, Uuid};
use bytes::{BufMut, Bytes, BytesMut};

use super::{Case, committed, partition};
use crate::history::{Body, Ev, Part};

pub(in crate::check) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// `reads-n`, of a topic that groups read.
pub(in crate::check) fn part(n: i32) -> TopicIdPartition {
    TopicIdPartition {
        topic: Uuid::from_u128(9),
        partition: n,
    }
}

pub(in crate::check) fn parts(ns: &[i32]) -> BTreeSet<TopicIdPartition> {
    ns.iter().map(|&n| part(n)).collect()
}

/// `reads-n` by name.
pub(in crate::check) fn named(n: i32) -> TopicPartition {
    TopicPartition {
        topic: text("reads"),
        partition: n,
    }
}

pub(in crate::check) fn coordinator(epoch: i32, change: CoordinatorChange) -> Note {
    Note::Coordinator {
        partition: partition(),
        leader_epoch: LeaderEpoch(epoch),
        change,
    }
}

pub(in crate::check) fn classic(change: ClassicGroupChange) -> Note {
    Note::ClassicGroup {
        partition: 0,
        group: text("g"),
        change,
    }
}

pub(in crate::check) fn consumer(change: ConsumerGroupChange) -> Note {
    Note::ConsumerGroup {
        partition: 0,
        group: text("g"),
        change,
    }
}

pub(in crate::check) fn offsets(change: OffsetsChange) -> Note {
    Note::Offsets {
        partition: 0,
        group: text("g"),
        change,
    }
}

/// The log was read, with its end and its high watermark.
pub(in crate::check) fn loaded(epoch: i32, log_end: i64, high_watermark: i64) -> Note {
    coordinator(
        epoch,
        CoordinatorChange::Loaded {
            log_end: Offset(log_end),
            high_watermark: Offset(high_watermark),
        },
    )
}

pub(in crate::check) fn serves(epoch: i32) -> Note {
    coordinator(epoch, CoordinatorChange::Serving)
}

pub(in crate::check) fn unloaded(epoch: i32) -> Note {
    coordinator(epoch, CoordinatorChange::Unloaded)
}

pub(in crate::check) fn written(epoch: i32, last: i64) -> Note {
    let last = Offset(last);
    coordinator(epoch, CoordinatorChange::Written { last })
}

pub(in crate::check) fn committed_to(epoch: i32, up_to: i64) -> Note {
    let up_to = Offset(up_to);
    coordinator(epoch, CoordinatorChange::Committed { up_to })
}

/// A timer of `g` runs or does not.
pub(in crate::check) fn timer(timer: CoordinatorTimer, member: Option<&str>, runs: bool) -> Note {
    coordinator(
        1,
        CoordinatorChange::Timer {
            group: text("g"),
            member: member.map(text),
            timer,
            runs,
        },
    )
}

/// A commit of `reads-0` was accepted, at that offset.
pub(in crate::check) fn accepted(member: &str, generation: i32, offset: i64) -> Note {
    offsets(OffsetsChange::Accepted {
        member: text(member),
        generation,
        partition: named(0),
        offset: Offset(offset),
        commit_timestamp: 1_000,
    })
}

/// A classic group goes from state to state.
pub(in crate::check) fn turns(
    from: ClassicGroupState,
    to: ClassicGroupState,
    generation: i32,
) -> Note {
    classic(ClassicGroupChange::State {
        from,
        to,
        generation,
    })
}

pub(in crate::check) fn joins(member: &str, instance: Option<&str>) -> Note {
    classic(ClassicGroupChange::Joined {
        member: text(member),
        instance: instance.map(text),
    })
}

/// A join phase ended with these members; they read `reads`.
pub(in crate::check) fn generation(generation: i32, members: &[&str]) -> Note {
    classic(ClassicGroupChange::Generation {
        generation,
        protocol: Some(text("range")),
        leader: members.first().map(|id| text(id)),
        members: members.iter().map(|id| (text(id), None)).collect(),
        topics: Some([text("reads")].into()),
    })
}

/// What a classic group leaves in the log: members and their parts of `reads`.
pub(in crate::check) fn stores(generation: i32, members: &[(&str, &[i32])]) -> Note {
    let members = members.iter();
    classic(ClassicGroupChange::Stored {
        generation,
        members: members
            .map(|(id, ns)| (text(id), None, embedded(ns)))
            .collect(),
    })
}

/// Everybody hears of their part.
pub(in crate::check) fn hands_out(generation: i32, members: &[(&str, &[i32])]) -> Note {
    let members = members.iter();
    classic(ClassicGroupChange::Assigned {
        generation,
        assignment: members.map(|(id, ns)| (text(id), embedded(ns))).collect(),
    })
}

/// `ConsumerProtocolAssignment` of `reads`, version 0.
pub(in crate::check) fn embedded(ns: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    bytes.put_i16(5);
    bytes.put_slice(b"reads");
    bytes.put_i32(i32::try_from(ns.len()).expect("few"));
    for &n in ns {
        bytes.put_i32(n);
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

/// A member of a consumer group reads `reads`.
pub(in crate::check) fn subscribes(member: &str, instance: Option<&str>) -> Note {
    subscribes_as(member, instance, false)
}

pub(in crate::check) fn subscribes_as(member: &str, instance: Option<&str>, classic: bool) -> Note {
    consumer(ConsumerGroupChange::Subscribed {
        member: text(member),
        instance: instance.map(text),
        topics: [text("reads")].into(),
        regex: None,
        classic,
    })
}

pub(in crate::check) fn epoch(epoch: i32) -> Note {
    consumer(ConsumerGroupChange::Epoch { epoch })
}

pub(in crate::check) fn target_epoch(epoch: i32) -> Note {
    consumer(ConsumerGroupChange::TargetEpoch { epoch })
}

pub(in crate::check) fn target(member: &str, ns: &[i32]) -> Note {
    consumer(ConsumerGroupChange::Target {
        member: text(member),
        partitions: parts(ns),
    })
}

/// A member has these partitions, and has to give those up: then it is unrevoked, else stable.
pub(in crate::check) fn has(member: &str, epoch: i32, ns: &[i32], pending: &[i32]) -> Note {
    consumer(ConsumerGroupChange::Assigned {
        member: text(member),
        epoch,
        previous_epoch: epoch - 1,
        state: if pending.is_empty() {
            ConsumerMemberState::Stable
        } else {
            ConsumerMemberState::UnrevokedPartitions
        },
        assigned: parts(ns),
        pending_revocation: parts(pending),
    })
}

pub(in crate::check) fn reports(member: &str, ns: &[i32]) -> Note {
    consumer(ConsumerGroupChange::Reported {
        member: text(member),
        owned: parts(ns),
    })
}

pub(in crate::check) fn removed(member: &str) -> Note {
    consumer(ConsumerGroupChange::Removed {
        member: text(member),
        why: MemberRemoved::SessionExpired,
    })
}

pub(in crate::check) fn replaces(previous: &str, member: &str) -> Note {
    consumer(ConsumerGroupChange::Replaced {
        instance: text("i"),
        previous: text(previous),
        member: text(member),
    })
}

impl Case {
    /// The notes of one node.
    pub(in crate::check) fn notes(self, node: i32, notes: impl IntoIterator<Item = Note>) -> Self {
        let mut notes = notes.into_iter();
        notes
            .by_ref()
            .fold(self, |case, note| case.note(node, note))
    }

    /// A node coordinates from now on, from an empty log, in epoch 1.
    pub(in crate::check) fn coordinates(self, node: i32) -> Self {
        self.notes(node, [loaded(1, 0, 0), serves(1)])
    }

    /// There is a topic `reads` with so many partitions, and all brokers know it.
    pub(in crate::check) fn reads(self, partitions: i32) -> Self {
        let topic = Note::TopicCommitted {
            offset: Offset(10),
            topic: part(0).topic,
            name: "reads".into(),
            removed: false,
        };
        let case = (0..partitions).fold(self.note(1, topic), |case, n| {
            let Note::PartitionCommitted { state, .. } = committed(0, 1, (0, 0), &[1]) else {
                unreachable!("a committed partition");
            };
            let made = Note::PartitionCommitted {
                offset: Offset(11 + i64::from(n)),
                partition: part(n),
                state,
            };
            case.note(1, made)
        });
        let applied = Note::MetadataApplied {
            by: MetadataReader::Broker,
            offset: Offset(100),
            hash: 1,
        };
        case.all(&[1, 2, 3], &applied)
    }

    /// The history knows `reads-n` by its number.
    pub(in crate::check) fn part_reads(self, n: u32) -> Self {
        let id = part(i32::try_from(n).expect("few"));
        let part = Part::new(n, "reads", id, crate::history::Cfg::new());
        self.line(Body::Part(part))
    }

    /// A member gets partitions.
    pub(in crate::check) fn gets(self, a: u32, mid: &str, generation: i32, ps: &[u32]) -> Self {
        let ev = Ev::Assigned {
            g: "g".to_owned(),
            mid: mid.to_owned(),
            generation,
            ps: ps.iter().map(|&p| (p, -1)).collect(),
        };
        self.line(Body::Ev { a, ev })
    }

    /// A member has given partitions up.
    pub(in crate::check) fn gives(self, a: u32, mid: &str, generation: i32, ps: &[u32]) -> Self {
        let ev = Ev::Revoked {
            g: "g".to_owned(),
            mid: mid.to_owned(),
            generation,
            ps: ps.to_vec(),
        };
        self.line(Body::Ev { a, ev })
    }
}
