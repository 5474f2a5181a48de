//! The driver without a cluster: panics are raised again, slow peers block nobody.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use broker_model::client::command::{Command, Event, OpId};
use broker_model::client::{ClientConfig, ClientKind};
use broker_model::config::AdminConfig;
use broker_model::types::{ConnectionId, Endpoint, StrBytes};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::connection::{Happened, talk};
use super::{Driver, DriverClock, Transport};
use crate::cluster::TopicFacts;
use crate::disk::SimDisk;
use crate::engine::catching::{Panic, catching};
use crate::engine::process::Process;
use crate::recorder::Recorder;
use crate::seed::Seed;
use crate::shell::{Blueprint, Identity, Shell, ShellConfig};
use crate::workload::App;

/// A network in which connecting panics, in the connection's own task.
#[derive(Clone)]
struct Haunted;

impl Transport for Haunted {
    type Listener = ();
    type Stream = DuplexStream;

    async fn bind(&self, _addr: SocketAddr) -> io::Result<()> {
        Ok(())
    }

    async fn accept(&self, (): &()) -> io::Result<(DuplexStream, SocketAddr)> {
        pending().await
    }

    async fn connect(&self, addr: (&str, u16)) -> io::Result<DuplexStream> {
        panic!("the socket to {}:{} is haunted", addr.0, addr.1)
    }
}

/// An application that wants one topic, so that its client connects.
struct OneTopic;

impl App for OneTopic {
    fn begin(&mut self, _now_us: u64, _topics: &BTreeMap<String, TopicFacts>) {}

    fn wake(&mut self, _now_us: u64, _recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        calls.push_back(Command::CreateTopic {
            op: OpId(1),
            name: StrBytes::from_static_str("orders"),
            partitions: 1,
            replication_factor: 1,
            configs: Vec::new(),
        });
    }

    fn on_event(
        &mut self,
        _now_us: u64,
        _event: Event,
        _recorder: &mut Recorder,
        _calls: &mut VecDeque<Command>,
    ) {
    }

    fn next_wake_us(&self) -> Option<u64> {
        None
    }

    fn drain(&mut self) {}

    fn is_done(&self) -> bool {
        false
    }

    fn waits_for(&self) -> String {
        String::new()
    }
}

fn admin_shell() -> Shell {
    let bootstrap = vec![Endpoint {
        host: StrBytes::from_static_str("n1"),
        port: 9_092,
    }];
    let client = ClientConfig {
        bootstrap,
        client_id: StrBytes::from_static_str("admin"),
        kind: ClientKind::Admin(AdminConfig::default()),
        bug: None,
    };
    Shell::new(ShellConfig {
        identity: Identity {
            index: 0,
            name: "admin".to_owned(),
            key: 1,
            node: None,
        },
        blueprint: Blueprint::Client(Box::new(client)),
        disk: Box::new(SimDisk::new(Seed(1), 1, (1, 1))),
        app: Some(Box::new(OneTopic)),
        seed: Seed(1),
        flush_us: (0, 0),
        wall_start_ms: 0,
        round_trip: false,
        pinned_timers: false,
    })
}

/// Runs something on a runtime whose clock jumps.
fn on_paused_time<R>(act: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets");
    LocalSet::new().block_on(&runtime, act)
}

fn text(panic: &Panic) -> &str {
    panic
        .downcast_ref::<String>()
        .expect("a panic with a formatted text")
}

#[test]
fn a_panic_in_a_connection_task_ends_the_driver_with_its_text() {
    let recorder = Rc::new(RefCell::new(Recorder::new(None, None)));
    let process = Process::new(admin_shell());
    let ended = on_paused_time(async {
        process.borrow_mut().act(&recorder, |shell, recorder, out| {
            shell.start(0, recorder, out);
        });
        let shared = (Rc::clone(&process), Rc::clone(&recorder));
        let controllers = Rc::new(BTreeSet::new());
        let driver = Driver::new(Haunted, shared, DriverClock::at(0), controllers);
        tokio::time::timeout(Duration::from_secs(60), catching(driver.run())).await
    });
    let panic = ended
        .expect("the client connects within a minute")
        .expect_err("its connection panics");
    assert_eq!(text(&panic), "the socket to n1:9092 is haunted");
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).expect("short");
    [&length.to_be_bytes()[..], body].concat()
}

/// A conversation on one end of a pipe; the other end, what to send, and what is heard.
struct Talk {
    peer: DuplexStream,
    outgoing: mpsc::UnboundedSender<Bytes>,
    heard: mpsc::Receiver<Happened<DuplexStream>>,
}

fn start_talk(conn: ConnectionId, pipe_bytes: usize) -> Talk {
    let (ours, peer) = duplex(pipe_bytes);
    let (outgoing, to_send) = mpsc::unbounded_channel();
    let (queue, heard) = mpsc::channel(16);
    tokio::task::spawn_local(talk(ours, conn, to_send, queue));
    Talk {
        peer,
        outgoing,
        heard,
    }
}

const INBOUND: ConnectionId = ConnectionId(1);

async fn next_frame(talk: &mut Talk) -> Option<Bytes> {
    match talk.heard.recv().await {
        Some(Happened::Frame(INBOUND, frame)) => Some(frame),
        Some(Happened::Closed(INBOUND)) => None,
        _ => panic!("a conversation tells of frames and its end"),
    }
}

#[test]
fn frames_are_cut_wherever_the_stream_was() {
    on_paused_time(async {
        let mut talk = start_talk(INBOUND, 7);
        let stream = [frame(b"one"), frame(b"a longer second"), frame(b"3")].concat();
        talk.peer
            .write_all(&stream)
            .await
            .expect("the pipe is open");
        for expected in [&b"one"[..], b"a longer second", b"3"] {
            assert_eq!(next_frame(&mut talk).await.as_deref(), Some(expected));
        }
        talk.peer
            .write_all(&(-1i32).to_be_bytes())
            .await
            .expect("the pipe is open");
        assert_eq!(next_frame(&mut talk).await, None);
    });
}

#[test]
fn a_server_reads_nothing_from_a_peer_that_takes_no_answers() {
    on_paused_time(async {
        let mut talk = start_talk(INBOUND, 64);
        let answer = Bytes::from(vec![7; 1_000]);
        talk.outgoing.send(answer).expect("the task runs");
        tokio::time::sleep(Duration::from_millis(1)).await;
        talk.peer
            .write_all(&frame(b"one more request"))
            .await
            .expect("it fits into the pipe");
        let second = Duration::from_secs(1);
        let early = tokio::time::timeout(second, next_frame(&mut talk)).await;
        assert!(early.is_err(), "{early:?}");
        let mut taken = vec![0; 1_000];
        talk.peer
            .read_exact(&mut taken)
            .await
            .expect("the answer arrives");
        let request = next_frame(&mut talk).await;
        assert_eq!(request.as_deref(), Some(&b"one more request"[..]));
    });
}

#[test]
fn what_was_sent_before_a_close_still_leaves() {
    on_paused_time(async {
        let mut talk = start_talk(INBOUND, 64);
        for _ in 0..10 {
            let answer = Bytes::from(vec![7; 100]);
            talk.outgoing.send(answer).expect("the task runs");
        }
        drop(talk.outgoing);
        let mut taken = Vec::new();
        let read = talk.peer.read_to_end(&mut taken).await;
        assert_eq!(read.expect("the end is in order"), 1_000);
    });
}
