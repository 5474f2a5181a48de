//! Who may commit and delete; what is told about the group.

use super::rig::{Rig, SESSION_MS, joining, str_bytes};
use crate::coordinator::offsets::ExpirySince;
use crate::types::ResponseError;

#[test]
fn a_member_of_the_generation_commits_and_lives() {
    let mut rig = Rig::stable(2);
    rig.wait(9000);
    assert_eq!(rig.commit_offsets("m1", None, 1), Ok(()));
    assert_eq!(rig.due_in(&rig.session("m1")), Some(SESSION_MS as u64));
    assert_eq!(rig.due_in(&rig.session("m2")), Some(1000));
    let illegal = Err(ResponseError::IllegalGeneration);
    assert_eq!(rig.commit_offsets("m1", None, 2), illegal);
    assert_eq!(rig.commit_offsets("m1", None, -1), illegal);
    let unknown = Err(ResponseError::UnknownMemberId);
    assert_eq!(rig.commit_offsets("nobody", None, 1), unknown);
    assert_eq!(
        rig.commit_offsets("", None, -1),
        unknown,
        "the group is in use"
    );
    assert_eq!(rig.commit_offsets("m1", Some("i"), 1), unknown);
}

#[test]
fn the_last_generation_commits_while_the_next_one_joins_but_not_before_it_is_assigned() {
    let mut rig = Rig::stable(2);
    rig.join(1, joining("m1"));
    assert_eq!(rig.commit_offsets("m2", None, 1), Ok(()));
    rig.join(2, joining("m2"));
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
    assert_eq!(
        rig.commit_offsets("m2", None, 1),
        Err(ResponseError::IllegalGeneration)
    );
    assert_eq!(
        rig.commit_offsets("m2", None, 2),
        Err(ResponseError::RebalanceInProgress)
    );
    rig.sync_all();
    assert_eq!(rig.commit_offsets("m2", None, 2), Ok(()));
}

#[test]
fn anybody_commits_to_an_empty_group() {
    let mut rig = Rig::new();
    assert_eq!(rig.commit_offsets("", None, -1), Ok(()));
    assert_eq!(rig.commit_offsets("x", None, -1), Ok(()));
    assert_eq!(
        rig.commit_offsets("x", None, 0),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn a_group_with_offsets_is_not_written_when_somebody_joins() {
    let mut rig = Rig::new();
    rig.commit_offsets("", None, -1).expect("it is empty");
    assert_eq!(rig.join(1, joining("")), ["c1 join MemberIdRequired m1"]);
}

#[test]
fn a_group_is_deleted_only_when_it_is_empty() {
    let mut rig = Rig::new();
    assert_eq!(rig.group.validate_delete_group(), Ok(()));
    assert_eq!(rig.group.delete_records().len(), 1);
    rig.join(1, joining("").version(3));
    let busy = Err(ResponseError::NonEmptyGroup);
    assert_eq!(rig.group.validate_delete_group(), busy);
    rig.fire_join();
    assert_eq!(rig.group.validate_delete_group(), busy);
    rig.sync_all();
    assert_eq!(rig.group.validate_delete_group(), busy);
    assert_eq!(rig.group.validate_offset_delete(), Ok(()), "topic by topic");
    assert_eq!(rig.group.validate_offset_fetch(None, -1), Ok(()));
    rig.unload();
    let gone = Err(ResponseError::GroupIdNotFound);
    assert_eq!(rig.group.validate_delete_group(), gone);
    assert_eq!(rig.group.validate_offset_delete(), gone);
    assert_eq!(rig.group.validate_offset_fetch(None, -1), gone);
    assert_eq!(
        rig.commit_offsets("m1", None, 1),
        Err(ResponseError::CoordinatorNotAvailable)
    );
}

#[test]
fn offsets_of_others_than_consumers_are_deleted_only_without_members() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3).protocol_type("connect"));
    rig.fire_join();
    rig.sync_all();
    assert_eq!(
        rig.group.validate_offset_delete(),
        Err(ResponseError::NonEmptyGroup)
    );
    assert!(!rig.group.is_subscribed_to("orders"));
    assert_eq!(rig.group.expiry(), None);
}

#[test]
fn what_is_read_is_known_if_it_can_be_understood() {
    let mut rig = Rig::stable(1);
    assert!(rig.group.is_subscribed_to("orders"));
    assert!(!rig.group.is_subscribed_to("order"));
    assert_eq!(rig.group.expiry(), Some(ExpirySince::Commit));
    rig.join(1, joining("m1").metadata(b"?"));
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
    assert_eq!(rig.group.expiry(), None);
    rig.sync_all();
    assert!(rig.group.is_subscribed_to("anything"));
    assert_eq!(rig.group.expiry(), None, "nobody knows what is still read");
}

#[test]
fn offsets_age_from_when_the_group_became_empty() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.group.expiry(),
        Some(ExpirySince::Commit),
        "a simple group"
    );
    rig.join(1, joining("").version(3));
    assert_eq!(rig.group.expiry(), None);
    rig.leave(&["m1"]);
    rig.fire_join();
    assert_eq!(rig.group.expiry(), Some(ExpirySince::Empty(1_003_000)));
    assert!(!rig.group.is_subscribed_to("orders"));
}

#[test]
fn metadata_is_told_only_of_a_stable_group() {
    let mut rig = Rig::new();
    assert_eq!(&*rig.group.describe().group_state, "Empty");
    rig.join(1, joining("").version(3).instance("i"));
    rig.fire_join();
    let described = rig.group.describe();
    assert_eq!(&*described.group_state, "CompletingRebalance");
    assert_eq!(
        (&*described.protocol_type, &*described.protocol_data),
        ("consumer", "")
    );
    assert!(described.members[0].member_metadata.is_empty());
    assert_eq!(described.members[0].group_instance_id, Some(str_bytes("i")));
    rig.sync_all();
    let described = rig.group.describe();
    assert_eq!(
        (&*described.group_state, &*described.protocol_data),
        ("Stable", "range")
    );
    let member = &described.members[0];
    assert_eq!(
        (&*member.client_id, &*member.client_host),
        ("app", "/10.0.0.1")
    );
    assert_eq!(&member.member_assignment[..], b"part of m1");
    assert!(!member.member_metadata.is_empty());
}
