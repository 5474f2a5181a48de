//! What members of the group `g` do, as cases say it.

use broker_model::note::{CoordinatorChange, Note};
use broker_model::types::{LeaderEpoch, Offset, TopicIdPartition, Uuid};

use super::Case;
use crate::history::{A, Body, Er, Ev, Op, P, Res, Role};

const GROUP: &str = "g";

/// A broker coordinates the group from now on.
pub(in crate::check) fn coordinates() -> Note {
    let offset = Offset(9);
    Note::Coordinator {
        partition: TopicIdPartition {
            topic: Uuid::from_u128(8),
            partition: 0,
        },
        leader_epoch: LeaderEpoch(1),
        change: CoordinatorChange::Loaded {
            log_end: offset,
            high_watermark: offset,
        },
    }
}

/// As whom a member of that number acts in that generation.
fn mid(a: A) -> String {
    format!("m{a}")
}

impl Case {
    /// A member of the group with these properties; it subscribes to `orders`.
    pub(in crate::check) fn member(self, a: A, cfg: &[(&str, &str)]) -> Self {
        let mut all = vec![("group.id", GROUP), ("auto.offset.reset", "earliest")];
        all.extend(cfg);
        let op = Op::Subscribe {
            g: GROUP.to_owned(),
            topics: vec!["orders".to_owned()],
            pattern: None,
        };
        self.actor(a, Role::Consumer, &all).calls(a, op)
    }

    /// Something that is answered at once.
    pub(in crate::check) fn calls(self, a: A, op: Op) -> Self {
        let o = 3_000_000 + self.n;
        let r = Res::Unit;
        self.line(Body::I { a, o, op }).line(Body::Ok { a, o, r })
    }

    fn hears(self, a: A, ev: Ev) -> Self {
        self.line(Body::Ev { a, ev })
    }

    /// Partition 0 is assigned to a member.
    pub(in crate::check) fn owns(self, a: A, generation: i32) -> Self {
        self.hears_assigned(a, generation, &[0])
    }

    /// The assigned listener is called.
    pub(in crate::check) fn hears_assigned(self, a: A, generation: i32, ps: &[P]) -> Self {
        let ev = Ev::Assigned {
            g: GROUP.to_owned(),
            generation,
            mid: mid(a),
            ps: ps.iter().map(|&p| (p, -1)).collect(),
        };
        self.hears(a, ev)
    }

    /// A member gives partition 0 up in order.
    pub(in crate::check) fn revokes(self, a: A, generation: i32) -> Self {
        let ev = Ev::Revoked {
            g: GROUP.to_owned(),
            generation,
            mid: mid(a),
            ps: vec![0],
        };
        self.hears(a, ev)
    }

    /// A member hears that partition 0 is lost.
    pub(in crate::check) fn loses(self, a: A, generation: i32) -> Self {
        let ev = Ev::Lost {
            g: GROUP.to_owned(),
            generation,
            mid: mid(a),
            ps: vec![0],
        };
        self.hears(a, ev)
    }

    /// A member dies.
    pub(in crate::check) fn dies(self, a: A) -> Self {
        self.hears(a, Ev::Died)
    }

    /// A member was fenced, and gives up.
    pub(in crate::check) fn hears_fenced(self, a: A) -> Self {
        self.hears(a, Ev::Fenced { c: 82 })
    }

    /// Effects of records of partition 0 are in the sink.
    pub(in crate::check) fn has_effects(self, a: A, offsets: &[i64]) -> Self {
        let rs = offsets.iter().map(|&offset| (0, offset)).collect();
        self.hears(a, Ev::Effect { rs })
    }

    /// A member starts to commit an offset of partition 0; the writer's id is the operation, too.
    pub(in crate::check) fn begins_commit(self, a: A, generation: i32, w: u64, to: i64) -> Self {
        let op = Op::CommitOffsets {
            g: GROUP.to_owned(),
            generation,
            mid: mid(a),
            w,
            offs: vec![(0, to)],
            auto: false,
        };
        self.line(Body::I { a, o: w, op })
    }

    /// The commit was made, as that generation.
    pub(in crate::check) fn committed_as(self, a: A, generation: i32, w: u64) -> Self {
        let mid = mid(a);
        let r = Res::As { generation, mid };
        self.line(Body::Ok { a, o: w, r })
    }

    /// A whole commit.
    pub(in crate::check) fn commits(self, a: A, generation: i32, w: u64, to: i64) -> Self {
        let case = self.begins_commit(a, generation, w, to);
        case.committed_as(a, generation, w)
    }

    /// The commit certainly had no effect.
    pub(in crate::check) fn refused(self, a: A, w: u64, c: i16) -> Self {
        let e = Er { c, att: 1 };
        self.line(Body::Fail { a, o: w, e })
    }

    /// An automatic commit of partition 0.
    pub(in crate::check) fn auto_commits(self, a: A, generation: i32, to: i64) -> Self {
        let o = 2_000_000 + self.n;
        let op = Op::CommitOffsets {
            g: GROUP.to_owned(),
            generation,
            mid: mid(a),
            w: 0,
            offs: vec![(0, to)],
            auto: true,
        };
        let r = Res::As {
            generation,
            mid: mid(a),
        };
        self.line(Body::I { a, o, op }).line(Body::Ok { a, o, r })
    }

    /// Somebody reads what is committed for partition 0.
    pub(in crate::check) fn looks(self, a: A, offset: i64, w: u64) -> Self {
        let o = 2_000_000 + self.n;
        let op = Op::FetchOffsets {
            g: GROUP.to_owned(),
            ps: vec![0],
        };
        let r = Res::Committed(vec![(0, offset, w)]);
        self.line(Body::I { a, o, op }).line(Body::Ok { a, o, r })
    }
}
