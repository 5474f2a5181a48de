//! Brokers come, go, and come again.

use kafka_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerId, BrokerRegistrationResponse,
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};

use super::{Story, registration};
use crate::probe::Probe;
use crate::types::{NodeId, ResponseError, StrBytes};

fn fenced(story: &Story, broker: i32) -> bool {
    let registered = story.image().broker(NodeId(broker));
    registered.expect("the story registered it").fenced
}

#[test]
fn a_broker_is_unfenced_once_it_has_read_its_own_registration() {
    let mut story = Story::active();
    let answer = story.register(1, 1);
    assert_eq!(answer.error_code, 0);
    assert_eq!(answer.broker_epoch, story.broker_epoch(1));
    assert!(fenced(&story, 1));

    let behind = story
        .alive(1)
        .with_current_metadata_offset(answer.broker_epoch - 1);
    let told: BrokerHeartbeatResponse = story.call(1, behind);
    assert_eq!((told.is_caught_up, told.is_fenced), (false, true));
    let told = story.heartbeat(1);
    assert_eq!((told.is_caught_up, told.is_fenced), (true, false));
    assert!(!fenced(&story, 1));
}

#[test]
fn a_heartbeat_of_an_earlier_registration_is_stale() {
    let mut story = Story::with_brokers(1);
    let old = BrokerHeartbeatRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(story.broker_epoch(1) - 1);
    let told: BrokerHeartbeatResponse = story.call(1, old);
    assert_eq!(told.error_code, ResponseError::StaleBrokerEpoch.code());
}

#[test]
fn another_incarnation_waits_for_the_session_of_the_first_to_end() {
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[]);
    let duplicate = ResponseError::DuplicateBrokerRegistration.code();
    assert_eq!(story.register(1, 2).error_code, duplicate);
    assert_eq!(story.told("t"), "leader 1 epoch 0 isr 1,2");

    story.let_session_end(&[1], 2);
    assert!(story.reached(Probe::BrokerFenced));
    assert_eq!(story.told("t"), "leader 2 epoch 1 isr 2");
    let before = story.broker_epoch(1);
    assert_eq!(story.register(1, 2).error_code, 0);
    assert!(before < story.broker_epoch(1));
}

#[test]
fn the_same_incarnation_may_register_again_and_keeps_its_epoch() {
    let mut story = Story::with_brokers(1);
    let epoch = story.broker_epoch(1);
    assert_eq!(story.register(1, 1).broker_epoch, epoch);
    assert!(!fenced(&story, 1));
}

#[test]
fn a_new_incarnation_before_its_session_began_leaves_every_isr() {
    // n1 restarts so fast that a new controller has not heard of the old incarnation's end.
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[]);
    story.now_ms += 9_001;
    assert_eq!(story.register(1, 2).error_code, 0);
    assert!(story.reached(Probe::BrokerReregistered));
    assert_eq!(story.told("t"), "leader 2 epoch 1 isr 2");
}

#[test]
fn the_last_of_an_isr_stays_in_it_and_leads_again_when_it_is_back() {
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[]);
    story.let_session_end(&[2], 2);
    assert_eq!(story.told("t"), "leader 1 epoch 0 isr 1");
    story.let_session_end(&[1, 2], 2);
    assert_eq!(story.told("t"), "leader -1 epoch 1 isr 1");

    // n2 is back, but it may lack what was acknowledged.
    story.heartbeat(2);
    assert_eq!(story.told("t"), "leader -1 epoch 1 isr 1");
    story.heartbeat(1);
    assert_eq!(story.told("t"), "leader 1 epoch 2 isr 1");
}

#[test]
fn an_unclean_leader_is_elected_only_where_the_topic_allows_it() {
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[("unclean.leader.election.enable", "true")]);
    story.let_session_end(&[2], 2);
    story.let_session_end(&[1, 2], 2);
    assert_eq!(story.told("t"), "leader -1 epoch 1 isr 1");
    story.heartbeat(2);
    assert_eq!(story.told("t"), "leader 2 epoch 2 isr 2 recovering");
}

#[test]
fn a_broker_may_stop_when_others_have_heard_of_its_leaving() {
    let mut story = Story::with_brokers(3);
    story.create_on("t", &[1, 2, 3], &[]);
    let stop = |story: &mut Story| -> BrokerHeartbeatResponse {
        let request = story.alive(1).with_want_shut_down(true);
        story.call(1, request)
    };
    let told = stop(&mut story);
    assert!(!told.should_shut_down);
    assert_eq!(story.told("t"), "leader 2 epoch 1 isr 2,3");
    assert!(
        !stop(&mut story).should_shut_down,
        "n2 and n3 may not know yet"
    );
    story.heartbeat(2);
    assert!(!stop(&mut story).should_shut_down, "n3 may not know yet");
    story.heartbeat(3);
    assert!(stop(&mut story).should_shut_down);
    assert!(story.reached(Probe::ControlledShutdown));
    assert!(fenced(&story, 1));
}

#[test]
fn a_broker_without_leaderships_may_stop_at_once() {
    let mut story = Story::with_brokers(2);
    let request = story.alive(2).with_want_shut_down(true);
    let told: BrokerHeartbeatResponse = story.call(1, request);
    assert!(told.should_shut_down && told.is_fenced);
}

#[test]
fn registrations_that_make_no_sense_are_refused() {
    let mut story = Story::with_brokers(1);
    let cases = [
        (
            registration(2, 1).with_cluster_id(StrBytes::from_static_str("other")),
            ResponseError::InconsistentClusterId,
        ),
        (
            registration(2, 1).with_log_dirs(vec![]),
            ResponseError::InvalidRegistration,
        ),
        (
            registration(2, 1).with_log_dirs(vec![super::directory(1)]),
            ResponseError::InvalidRegistration,
        ),
        (
            registration(2, 1).with_features(vec![]),
            ResponseError::InvalidRegistration,
        ),
    ];
    for (request, error) in cases {
        let told: BrokerRegistrationResponse = story.call(4, request);
        assert_eq!(told.error_code, error.code());
    }
}

#[test]
fn a_broker_that_is_taken_out_leads_nothing_any_more() {
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[]);
    let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(1));
    let told: UnregisterBrokerResponse = story.call(0, request.clone());
    assert_eq!(told.error_code, 0);
    assert_eq!(story.told("t"), "leader 2 epoch 1 isr 2");
    let told: UnregisterBrokerResponse = story.call(0, request);
    assert_eq!(told.error_code, ResponseError::BrokerIdNotRegistered.code());
}
