//! The broker's life as the controller sees it: registered, fenced, running, stopping.
//!
//! Mirrors `BrokerLifecycleManager`. One conversation with the controller at a time: registration
//! until it succeeds, heartbeats from then on. A broker that the controller refuses, for whatever
//! reason (DUPLICATE_BROKER_REGISTRATION while its last incarnation's session still runs,
//! STALE_BROKER_EPOCH after another incarnation took its id), asks again after a heartbeat
//! interval and never registers twice. `initial.broker.registration.timeout.ms` is not enforced:
//! the process would exit and its supervisor would start it again.

use kafka_protocol::messages::broker_registration_request::{Feature, Listener};
use kafka_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerId, BrokerRegistrationRequest,
    RequestKind, ResponseKind,
};

use super::controller_channel::{ControllerChannel, Outcome};
use crate::client::network::Completion;
use crate::context::Context;
use crate::note::Note;
use crate::probe::Probe;
use crate::timer::{Channel, Timer};
use crate::types::{BrokerEpoch, Endpoint, NodeId, Offset, StrBytes, Uuid};
use crate::wire::versions::SUPPORTED_FEATURES;

/// What a broker says of itself when it registers.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// `node.id`.
    pub(crate) node: NodeId,
    /// `cluster.id`.
    pub(crate) cluster_id: StrBytes,
    /// `advertised.listeners`.
    pub(crate) endpoint: Endpoint,
    /// `broker.rack`.
    pub(crate) rack: Option<StrBytes>,
    /// The id of its only log directory.
    pub(crate) directory: Uuid,
    /// The registration that had stopped in order before this process, -1 if none did.
    pub(crate) previous_epoch: BrokerEpoch,
}

/// How far a broker has come (`BrokerState`). States only ever go down this list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum BrokerState {
    /// Catches up with the metadata as it was at its registration.
    Starting,
    /// Has caught up and waits to be unfenced.
    Recovery,
    /// Was unfenced once: serves clients.
    Running,
    /// Waits for the controller to move its leaderships away.
    PendingControlledShutdown,
    /// Stops.
    ShuttingDown,
}

/// What an answer of the controller changed for the rest of the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Nothing.
    Nothing,
    /// The broker has this epoch now.
    Registered(BrokerEpoch),
    /// The broker was unfenced for the first time.
    Running,
    /// The controller lets the broker go.
    Released,
}

/// The broker's side of registration and heartbeats.
#[derive(Debug)]
pub(crate) struct BrokerLifecycle {
    identity: Identity,
    heartbeat_interval_ms: u64,
    channel: ControllerChannel,
    incarnation: Uuid,
    epoch: BrokerEpoch,
    state: BrokerState,
    registered: bool,
    ready_to_unfence: bool,
    /// What the controller last said; fenced until it says otherwise.
    fenced: bool,
    in_flight: bool,
    /// Something happened while a request was in flight: the next one goes as soon as it is back.
    hurry: bool,
    /// A heartbeat that asked to shut down was answered.
    shutdown_heard: bool,
    next_token: u64,
}

impl BrokerLifecycle {
    /// A broker that did not say anything yet.
    pub(crate) fn new(identity: Identity, heartbeat_interval_ms: u64) -> Self {
        BrokerLifecycle {
            identity,
            heartbeat_interval_ms,
            channel: ControllerChannel::new(
                Channel::Heartbeat,
                Timer::Heartbeat,
                heartbeat_interval_ms,
            ),
            incarnation: Uuid::nil(),
            epoch: BrokerEpoch::UNKNOWN,
            state: BrokerState::Starting,
            registered: false,
            ready_to_unfence: false,
            fenced: true,
            in_flight: false,
            hurry: false,
            shutdown_heard: false,
            next_token: 0,
        }
    }

    /// The broker's epoch, -1 before its registration.
    pub(crate) fn epoch(&self) -> BrokerEpoch {
        self.epoch
    }

    /// How far the broker has come.
    pub(crate) fn state(&self) -> BrokerState {
        self.state
    }

    /// Whether the controller last said that the broker is fenced.
    pub(crate) fn fenced(&self) -> bool {
        self.fenced
    }

    /// The process runs: this incarnation gets its id and starts to register.
    pub(crate) fn start(&mut self, cx: &mut Context<'_>, directory: Uuid, applied: Offset) {
        self.identity.directory = directory;
        self.incarnation = cx.ids.next_uuid();
        self.communicate(cx, applied);
    }

    /// Raft learned of another active controller, or lost it.
    pub(crate) fn set_controller(&mut self, cx: &mut Context<'_>, known: Option<Endpoint>) {
        if self.state != BrokerState::ShuttingDown {
            self.channel.set_controller(cx, known);
        }
    }

    /// Somebody asked the broker to stop. True if it can at once: a broker that never ran leads
    /// nothing.
    pub(crate) fn begin_controlled_shutdown(
        &mut self,
        cx: &mut Context<'_>,
        applied: Offset,
    ) -> bool {
        match self.state {
            BrokerState::Running => {
                self.state = BrokerState::PendingControlledShutdown;
                self.communicate(cx, applied);
                false
            }
            BrokerState::PendingControlledShutdown => false,
            BrokerState::Starting | BrokerState::Recovery | BrokerState::ShuttingDown => true,
        }
    }

    /// From now on the broker says nothing.
    pub(crate) fn begin_shutdown(&mut self, cx: &mut Context<'_>) {
        self.state = BrokerState::ShuttingDown;
        cx.effects.disarm(Timer::Heartbeat);
    }

    /// `Timer::Heartbeat`: the next request is due, or the one that could not be sent.
    pub(crate) fn on_timer(&mut self, cx: &mut Context<'_>, applied: Offset) {
        if self.state == BrokerState::ShuttingDown {
            return;
        }
        if !self.in_flight {
            return self.communicate(cx, applied);
        }
        if !self.channel.on_timer(cx).is_empty() {
            self.in_flight = false;
            self.after_failure(cx);
        }
    }

    /// The controller answered, or nobody did. `applied` is the last metadata offset applied.
    pub(crate) fn on_completion(
        &mut self,
        cx: &mut Context<'_>,
        completion: Completion,
        applied: Offset,
    ) -> Change {
        let Some((_, outcome)) = self.channel.on_completion(cx, completion) else {
            return Change::Nothing;
        };
        self.in_flight = false;
        if self.state == BrokerState::ShuttingDown {
            return Change::Nothing;
        }
        match outcome {
            Outcome::Answered(body) => match *body {
                ResponseKind::BrokerRegistration(answer) if answer.error_code == 0 => {
                    self.registered(cx, BrokerEpoch(answer.broker_epoch), applied)
                }
                ResponseKind::BrokerHeartbeat(answer) if answer.error_code == 0 => {
                    self.heard(cx, &answer, applied)
                }
                _ => self.after_failure(cx),
            },
            Outcome::UnsupportedVersion => self.after_failure(cx),
        }
    }

    fn registered(&mut self, cx: &mut Context<'_>, epoch: BrokerEpoch, applied: Offset) -> Change {
        self.epoch = epoch;
        self.registered = true;
        self.fenced = true;
        cx.effects.note(Note::BrokerRegistered { epoch });
        self.communicate(cx, applied);
        Change::Registered(epoch)
    }

    /// A heartbeat was answered: the only thing that moves the state on.
    fn heard(
        &mut self,
        cx: &mut Context<'_>,
        answer: &BrokerHeartbeatResponse,
        applied: Offset,
    ) -> Change {
        if self.fenced != answer.is_fenced {
            self.fenced = answer.is_fenced;
            cx.effects.note(Note::BrokerFenced {
                epoch: self.epoch,
                fenced: self.fenced,
            });
        }
        match self.state {
            BrokerState::Starting if answer.is_caught_up => {
                // The logs were recovered before the process started, and the metadata up to the
                // registration is applied: nothing is left to wait for.
                self.state = BrokerState::Recovery;
                self.ready_to_unfence = true;
                self.communicate(cx, applied);
            }
            BrokerState::Starting => self.schedule(cx, CATCH_UP_INTERVAL_MS, applied),
            BrokerState::Recovery if !answer.is_fenced => {
                self.state = BrokerState::Running;
                self.schedule(cx, self.heartbeat_interval_ms, applied);
                return Change::Running;
            }
            BrokerState::PendingControlledShutdown if answer.should_shut_down => {
                cx.effects.probe(Probe::ControlledShutdown);
                return Change::Released;
            }
            BrokerState::PendingControlledShutdown if !self.shutdown_heard => {
                self.shutdown_heard = true;
                self.schedule(cx, FIRST_SHUTDOWN_INTERVAL_MS, applied);
            }
            BrokerState::Recovery
            | BrokerState::Running
            | BrokerState::PendingControlledShutdown => {
                self.schedule(cx, self.heartbeat_interval_ms, applied);
            }
            BrokerState::ShuttingDown => {}
        }
        Change::Nothing
    }

    /// Asks again after an interval, however much it hurries.
    fn after_failure(&mut self, cx: &mut Context<'_>) -> Change {
        self.hurry = false;
        cx.effects
            .arm_at(Timer::Heartbeat, self.heartbeat_interval_ms);
        Change::Nothing
    }

    fn schedule(&mut self, cx: &mut Context<'_>, after_ms: u64, applied: Offset) {
        if std::mem::take(&mut self.hurry) {
            self.communicate(cx, applied);
        } else {
            cx.effects.arm_at(Timer::Heartbeat, after_ms);
        }
    }

    /// Sends the next request at once, or as soon as the one in flight is back.
    fn communicate(&mut self, cx: &mut Context<'_>, applied: Offset) {
        if self.in_flight {
            self.hurry = true;
            return;
        }
        self.in_flight = true;
        self.next_token += 1;
        let request = if self.registered {
            self.heartbeat(applied)
        } else {
            self.registration()
        };
        cx.effects.disarm(Timer::Heartbeat);
        self.channel.send(cx, self.next_token, request);
    }

    fn registration(&self) -> RequestKind {
        let Identity {
            node,
            cluster_id,
            endpoint,
            rack,
            directory,
            previous_epoch,
        } = &self.identity;
        let listener = Listener::default()
            .with_name(StrBytes::from_static_str(LISTENER_NAME))
            .with_host(endpoint.host.clone())
            .with_port(endpoint.port)
            .with_security_protocol(PLAINTEXT);
        let features = SUPPORTED_FEATURES.iter().map(|feature| {
            Feature::default()
                .with_name(StrBytes::from_static_str(feature.name))
                .with_min_supported_version(feature.min)
                .with_max_supported_version(feature.max)
        });
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(node.0))
            .with_cluster_id(cluster_id.clone())
            .with_incarnation_id(self.incarnation)
            .with_listeners(vec![listener])
            .with_features(features.collect())
            .with_rack(rack.clone())
            .with_log_dirs(vec![*directory])
            .with_previous_broker_epoch(previous_epoch.0);
        RequestKind::BrokerRegistration(request)
    }

    fn heartbeat(&self, applied: Offset) -> RequestKind {
        let wants_shutdown = self.state == BrokerState::PendingControlledShutdown;
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(self.identity.node.0))
            .with_broker_epoch(self.epoch.0)
            .with_current_metadata_offset(applied.0)
            .with_want_fence(!self.ready_to_unfence)
            .with_want_shut_down(wants_shutdown);
        RequestKind::BrokerHeartbeat(request)
    }
}

/// The name of the listener for clients and brokers.
pub(crate) const LISTENER_NAME: &str = "PLAINTEXT";
/// `SecurityProtocol.PLAINTEXT`.
const PLAINTEXT: i16 = 0;
/// Between heartbeats of a broker that catches up (BrokerLifecycleManager).
const CATCH_UP_INTERVAL_MS: u64 = 10;
/// Before the second heartbeat that asks to shut down (BrokerLifecycleManager).
const FIRST_SHUTDOWN_INTERVAL_MS: u64 = 50;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerRegistrationResponse;

    use super::*;
    use crate::broker::rig::{Rig, answered, controller, failed};
    use crate::client::network::NetworkError;
    use crate::types::ResponseError;

    fn lifecycle() -> BrokerLifecycle {
        let identity = Identity {
            node: NodeId(1),
            cluster_id: StrBytes::from_static_str("c"),
            endpoint: controller().expect("any endpoint"),
            rack: None,
            directory: Uuid::nil(),
            previous_epoch: BrokerEpoch::UNKNOWN,
        };
        BrokerLifecycle::new(identity, 2_000)
    }

    fn started(rig: &mut Rig) -> BrokerLifecycle {
        let mut broker = lifecycle();
        rig.on(|cx| broker.set_controller(cx, controller()));
        rig.on(|cx| broker.start(cx, Uuid::from_u128(9), Offset::UNKNOWN));
        broker
    }

    fn hear(rig: &mut Rig, broker: &mut BrokerLifecycle, body: ResponseKind) -> Change {
        let completion = answered(Channel::Heartbeat, broker.next_token, body);
        rig.on(|cx| broker.on_completion(cx, completion, Offset(5)))
    }

    fn registered(error: i16) -> ResponseKind {
        let answer = BrokerRegistrationResponse::default()
            .with_error_code(error)
            .with_broker_epoch(41);
        ResponseKind::BrokerRegistration(answer)
    }

    fn beat(is_caught_up: bool, is_fenced: bool, should_shut_down: bool) -> ResponseKind {
        let answer = BrokerHeartbeatResponse::default()
            .with_is_caught_up(is_caught_up)
            .with_is_fenced(is_fenced)
            .with_should_shut_down(should_shut_down);
        ResponseKind::BrokerHeartbeat(answer)
    }

    fn running(rig: &mut Rig) -> BrokerLifecycle {
        let mut broker = started(rig);
        hear(rig, &mut broker, registered(0));
        hear(rig, &mut broker, beat(true, true, false));
        assert_eq!(
            hear(rig, &mut broker, beat(true, false, false)),
            Change::Running
        );
        broker
    }

    #[test]
    fn a_broker_registers_catches_up_and_is_unfenced() {
        let mut rig = Rig::new();
        let mut broker = started(&mut rig);
        let epoch = BrokerEpoch(41);
        assert_eq!(
            hear(&mut rig, &mut broker, registered(0)),
            Change::Registered(epoch)
        );
        assert_eq!(
            hear(&mut rig, &mut broker, beat(false, true, false)),
            Change::Nothing
        );
        assert_eq!(broker.state(), BrokerState::Starting);
        assert_eq!(rig.armed(Timer::Heartbeat), Some(10..=10));
        rig.on(|cx| broker.on_timer(cx, Offset(41)));
        assert_eq!(
            hear(&mut rig, &mut broker, beat(true, true, false)),
            Change::Nothing
        );
        assert_eq!(broker.state(), BrokerState::Recovery);
        assert_eq!(
            hear(&mut rig, &mut broker, beat(true, false, false)),
            Change::Running
        );
        assert_eq!(rig.armed(Timer::Heartbeat), Some(2_000..=2_000));
        assert!(!broker.fenced());
    }

    #[test]
    fn a_broker_that_is_taken_for_its_own_double_asks_again() {
        let mut rig = Rig::new();
        let mut broker = started(&mut rig);
        let double = registered(ResponseError::DuplicateBrokerRegistration.code());
        assert_eq!(hear(&mut rig, &mut broker, double), Change::Nothing);
        assert_eq!(broker.epoch(), BrokerEpoch::UNKNOWN);
        assert_eq!(rig.armed(Timer::Heartbeat), Some(2_000..=2_000));
        rig.on(|cx| broker.on_timer(cx, Offset::UNKNOWN));
        assert_eq!(
            hear(&mut rig, &mut broker, registered(0)),
            Change::Registered(BrokerEpoch(41))
        );
    }

    #[test]
    fn a_lost_controller_is_asked_again_until_the_interval_is_over() {
        let mut rig = Rig::new();
        let mut broker = started(&mut rig);
        let lost = failed(
            Channel::Heartbeat,
            broker.next_token,
            NetworkError::Disconnected,
        );
        rig.on(|cx| broker.on_completion(cx, lost, Offset::UNKNOWN));
        assert_eq!(rig.armed(Timer::Heartbeat), Some(40..=60));
        rig.now.mono_ms = 2_000;
        rig.on(|cx| broker.on_timer(cx, Offset::UNKNOWN));
        assert_eq!(rig.armed(Timer::Heartbeat), Some(2_000..=2_000));
        assert!(!broker.in_flight);
    }

    #[test]
    fn a_running_broker_waits_until_the_controller_lets_it_go() {
        let mut rig = Rig::new();
        let mut broker = running(&mut rig);
        assert!(!rig.on(|cx| broker.begin_controlled_shutdown(cx, Offset(7))));
        assert_eq!(
            hear(&mut rig, &mut broker, beat(true, false, false)),
            Change::Nothing
        );
        assert_eq!(rig.armed(Timer::Heartbeat), Some(50..=50));
        rig.on(|cx| broker.on_timer(cx, Offset(7)));
        assert_eq!(
            hear(&mut rig, &mut broker, beat(true, false, true)),
            Change::Released
        );
    }

    #[test]
    fn a_broker_that_never_ran_stops_at_once() {
        let mut rig = Rig::new();
        let mut broker = started(&mut rig);
        assert!(rig.on(|cx| broker.begin_controlled_shutdown(cx, Offset::UNKNOWN)));
    }

    #[test]
    fn a_request_in_flight_delays_what_is_urgent() {
        let mut rig = Rig::new();
        let mut broker = running(&mut rig);
        rig.on(|cx| broker.on_timer(cx, Offset(6)));
        assert_eq!(
            rig.outstanding(Channel::Heartbeat),
            4,
            "three are answered behind its back"
        );
        rig.on(|cx| broker.begin_controlled_shutdown(cx, Offset(6)));
        assert_eq!(rig.outstanding(Channel::Heartbeat), 4);
        hear(&mut rig, &mut broker, beat(true, false, false));
        assert_eq!(
            rig.armed(Timer::Heartbeat),
            None,
            "the next heartbeat went at once"
        );
        assert_eq!(rig.outstanding(Channel::Heartbeat), 5);
    }
}
