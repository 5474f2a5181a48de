//! Anything in any order, with a historic bug or none: the group never contradicts itself, nobody is answered twice, and when
//! everybody has fallen silent nothing is left.

use proptest::prelude::*;

use super::rig::{Rig, joining};
use crate::bug::Bug;
use crate::types::ResponseError;

#[derive(Clone, Debug)]
enum Op {
    Join(usize, Option<usize>, i16, usize),
    JoinNew(Option<usize>, i16, usize),
    Sync(usize, i32),
    Lead,
    Heartbeat(usize, Option<usize>),
    Leave(usize, Option<usize>),
    Commit(bool),
    Fire(usize),
    CommitOffsets(usize, Option<usize>),
    FailOver,
    MaxSize(usize),
}

const BUGS: &[Bug] = &[
    Bug::Kip345InstanceNotFenced,
    Bug::Kip345ReplaceOnlyStable,
    Bug::Kip345ReplacementNotPersisted,
];
const PROTOCOLS: [&[&str]; 5] = [&["a"], &["a", "b"], &["b", "a"], &["b"], &[]];

fn op() -> impl Strategy<Value = Op> {
    let instance = || prop::option::weighted(0.4, 0..3_usize);
    let version = || prop::sample::select(vec![0_i16, 3, 5, 9]);
    prop_oneof![
        4 => (0..8_usize, instance(), version(), 0..5_usize)
            .prop_map(|(who, instance, version, what)| Op::Join(who, instance, version, what)),
        4 => (instance(), version(), 0..5_usize)
            .prop_map(|(instance, version, what)| Op::JoinNew(instance, version, what)),
        3 => (0..8_usize, -1..2_i32).prop_map(|(who, lag)| Op::Sync(who, lag)),
        3 => Just(Op::Lead),
        1 => (0..8_usize, instance()).prop_map(|(who, instance)| Op::Heartbeat(who, instance)),
        1 => (0..8_usize, instance()).prop_map(|(who, instance)| Op::Leave(who, instance)),
        4 => prop::bool::weighted(0.8).prop_map(Op::Commit),
        6 => (0..12_usize).prop_map(Op::Fire),
        1 => (0..8_usize, instance())
            .prop_map(|(who, instance)| Op::CommitOffsets(who, instance)),
        1 => Just(Op::FailOver),
        1 => (1..4_usize).prop_map(Op::MaxSize),
    ]
}

fn instance(n: Option<usize>) -> Option<String> {
    n.map(|n| format!("i{n}"))
}

fn step(rig: &mut Rig, conn: u64, op: &Op) {
    match op {
        Op::Join(who, by, version, what) => {
            let mut joining = joining(&format!("m{}", who + 1)).version(*version);
            joining.instance = instance(*by);
            rig.join(conn, joining.protocols(PROTOCOLS[*what]));
        }
        Op::JoinNew(by, version, what) => {
            let mut joining = joining("").version(*version);
            joining.instance = instance(*by);
            rig.join(conn, joining.protocols(PROTOCOLS[*what]));
        }
        Op::Sync(who, lag) => {
            let generation = rig.group.generation + lag;
            rig.sync_with(conn, &format!("m{}", who + 1), generation, &["m1", "m2"]);
        }
        Op::Lead => {
            if let Some(leader) = rig.group.leader.clone() {
                let leader = rig.name(&leader);
                rig.sync_leading(conn, &leader);
            }
        }
        Op::Heartbeat(who, by) => {
            let generation = rig.group.generation;
            rig.heartbeat_with(
                &format!("m{}", who + 1),
                instance(*by).as_deref(),
                generation,
            );
        }
        Op::Leave(who, by) => {
            let by = instance(*by);
            let member = format!("m{}", who + 1);
            match by {
                Some(by) => rig.leave(&[&member, &format!("/{by}")]),
                None => rig.leave(&[&member]),
            };
        }
        Op::Commit(succeeds) => {
            if !rig.writing.is_empty() {
                rig.commit(
                    succeeds
                        .then_some(())
                        .ok_or(ResponseError::NotEnoughReplicas),
                );
            }
        }
        Op::Fire(nth) => {
            // The next timer that is due, mostly.
            let mut timers: Vec<_> = rig.timers.iter().map(|(key, when)| (*when, key)).collect();
            timers.sort();
            let nth = if *nth < timers.len() { *nth } else { 0 };
            if let Some((_, key)) = timers.get(nth) {
                let key = (*key).clone();
                rig.fire(&key);
            }
        }
        Op::CommitOffsets(who, by) => {
            let generation = rig.group.generation;
            let by = instance(*by);
            let _ = rig.commit_offsets(&format!("m{}", who + 1), by.as_deref(), generation);
        }
        Op::FailOver => {
            if !rig.log.is_empty() {
                rig.fail_over();
            }
        }
        Op::MaxSize(size) => rig.config.group_max_size = *size,
    }
}

proptest! {
    #[test]
    fn a_group_never_contradicts_itself(
        bug in prop::option::of(prop::sample::select(BUGS)),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut rig = Rig::new();
        rig.bug = bug;
        rig.slow = true;
        for (n, op) in ops.iter().enumerate() {
            step(&mut rig, 100 + n as u64, op);
        }
        rig.be_silent();
        prop_assert_eq!(rig.group.state_name(), "Empty");
        prop_assert!(rig.group.pending_join.is_empty());
    }
}
