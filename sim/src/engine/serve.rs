//! `serve`: combined nodes on real TCP and real files, for real clients.
//!
//! All nodes live in one process on one runtime, each with its own shell and directory. They talk to
//! each other over the same sockets that clients use. Ids come from the operating system here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use broker_model::bug::Bug;
use broker_model::client::command::Command;
use broker_model::config::{BROKER, BrokerConfig};
use broker_model::node::{NodeConfig, Voter};
use broker_model::types::{Endpoint, Listener, NodeId, StrBytes};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};

use self::directory::DataDirectory;
use super::catching::{Panic, catching};
use super::driver::{Driver, DriverClock};
use super::process::{Process, SharedProcess, SharedRecorder};
use super::transport::{Tcp, Transport};
use crate::recorder::Recorder;
use crate::seed::Seed;
use crate::shell::{Blueprint, Identity, Shell, ShellConfig};
use crate::wall::now_ms;

mod directory;

/// What is served, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServeOptions {
    /// How many nodes, each broker and controller.
    pub nodes: u16,
    /// The first node's broker port; the others' follow. Controllers listen [`CONTROLLER_PORTS`]
    /// above.
    pub port: u16,
    /// Where the nodes' directories lie. None: a temporary directory, gone at the end.
    pub data: Option<PathBuf>,
    /// Properties of every node.
    pub set: BTreeMap<String, String>,
    /// The historic bug that is switched on.
    pub bug: Option<Bug>,
}

/// A node's controller listener is so many ports above its broker listener.
pub const CONTROLLER_PORTS: u16 = 1_000;
/// Where listeners are reached. A number: no name has to be resolved, to one of two families.
const ADVERTISED_HOST: &str = "127.0.0.1";
/// Properties that follow from the other options.
const OWN_PROPERTIES: [&str; 3] = ["node.id", "process.roles", "broker.id"];
/// How often it is looked whether the cluster has formed.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a controlled shutdown may take; then the rest is killed.
const SHUTDOWN_BOUND: Duration = Duration::from_secs(10);

/// Serves until SIGINT or SIGTERM, then shuts down in order. `ready` is told where clients connect
/// to, when they may.
///
/// # Errors
///
/// One line: an option that makes no sense, a port in use, a directory that cannot be used.
///
/// # Panics
///
/// If a disk fails, and where the model contradicts itself.
pub fn serve(options: &ServeOptions, ready: impl FnOnce(&str)) -> Result<(), String> {
    check(options)?;
    let directory = DataDirectory::open(options.data.as_deref(), options.nodes)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    LocalSet::new().block_on(&runtime, async {
        let mut served = Served::start(options, &directory).await?;
        served.run(&bootstrap(options), ready).await
    })
}

fn check(options: &ServeOptions) -> Result<(), String> {
    let &ServeOptions { nodes, port, .. } = options;
    if nodes == 0 || CONTROLLER_PORTS < nodes {
        return Err(format!("--nodes {nodes}: not in 1..{CONTROLLER_PORTS}"));
    }
    let above = CONTROLLER_PORTS + nodes - 1;
    if port == 0 || port.checked_add(above).is_none() {
        let last = u16::MAX - above;
        return Err(format!("--port {port}: not in 1..{last}"));
    }
    if let Some(name) = OWN_PROPERTIES
        .iter()
        .find(|name| options.set.contains_key(**name))
    {
        return Err(format!("--set {name}: serve sets it itself"));
    }
    for (name, value) in &options.set {
        broker_model::config::parse(&BROKER, name, value).map_err(|error| error.to_string())?;
    }
    BrokerConfig::from_properties(&options.set).map_err(|error| error.to_string())?;
    Ok(())
}

/// What clients are told to connect to first.
fn bootstrap(options: &ServeOptions) -> String {
    let ports = options.port..options.port + options.nodes;
    let places: Vec<String> = ports.map(|port| format!("localhost:{port}")).collect();
    places.join(",")
}

/// The running nodes.
struct Served {
    processes: Vec<SharedProcess>,
    recorder: SharedRecorder,
    drivers: JoinSet<Result<(), Panic>>,
    clock: DriverClock,
}

impl Served {
    /// Opens every directory and port, then starts the nodes.
    async fn start(options: &ServeOptions, directory: &DataDirectory) -> Result<Self, String> {
        let clock = DriverClock::at(0);
        let wall_start_ms = now_ms();
        let mut seats = Vec::new();
        for node in 0..options.nodes {
            let disk = directory.node(node + 1)?;
            let identity = Identity {
                index: node,
                name: format!("n{}", node + 1),
                key: u64::from(node),
                node: Some(node_id(node)),
            };
            let shell = Shell::new(ShellConfig {
                identity,
                blueprint: Blueprint::Node(Box::new(node_config(options, directory, node))),
                disk: Box::new(disk),
                app: None,
                seed: entropy()?,
                flush_us: (0, 0),
                wall_start_ms,
                round_trip: false,
                pinned_timers: false,
            });
            let mut listeners = listen(options.port + node, Listener::Broker).await?;
            let controller = options.port + CONTROLLER_PORTS + node;
            listeners.extend(listen(controller, Listener::Controller).await?);
            seats.push((Process::new(shell), listeners));
        }
        let mut served = Served {
            processes: Vec::new(),
            recorder: Rc::new(RefCell::new(Recorder::new(None, None))),
            drivers: JoinSet::new(),
            clock,
        };
        let controllers = (0..options.nodes).map(|node| controller_endpoint(options, node));
        let controllers: Rc<BTreeSet<Endpoint>> = Rc::new(controllers.collect());
        for (process, listeners) in seats {
            served.drive(process, listeners, Rc::clone(&controllers));
        }
        Ok(served)
    }

    fn drive(
        &mut self,
        process: SharedProcess,
        listeners: Vec<(TcpListener, Listener)>,
        controllers: Rc<BTreeSet<Endpoint>>,
    ) {
        let now_us = self.clock.now_us();
        process
            .borrow_mut()
            .act(&self.recorder, |shell, recorder, out| {
                shell.start(now_us, recorder, out);
            });
        let shared = (Rc::clone(&process), Rc::clone(&self.recorder));
        let mut driver = Driver::new(Tcp, shared, self.clock, controllers);
        for (listener, kind) in listeners {
            driver.listen(listener, kind);
        }
        self.drivers.spawn_local(catching(driver.run()));
        self.processes.push(process);
    }

    /// Until a signal comes or no node runs any more.
    async fn run(&mut self, bootstrap: &str, ready: impl FnOnce(&str)) -> Result<(), String> {
        let cannot = |error: io::Error| format!("cannot wait for signals: {error}");
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut ready = Some(ready);
        loop {
            tokio::select! {
                biased;
                ended = self.drivers.join_next() => match ended {
                    Some(ended) => raise(ended),
                    None => return Err("every node has stopped by itself".to_owned()),
                },
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = look.tick(), if ready.is_some() => {
                    if self.has_formed()
                        && let Some(ready) = ready.take()
                    {
                        ready(bootstrap);
                    }
                }
            }
        }
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = tokio::time::sleep(SHUTDOWN_BOUND) => {}
            () = self.shut_down() => {}
        }
        Ok(())
    }

    /// Whether every broker takes clients.
    fn has_formed(&self) -> bool {
        self.processes.iter().all(|process| {
            let process = process.borrow();
            let broker = process.shell.node().and_then(|node| node.view().broker());
            broker.is_some_and(|(_, fenced)| !fenced)
        })
    }

    async fn shut_down(&mut self) {
        let now_us = self.clock.now_us();
        for process in &self.processes {
            let mut process = process.borrow_mut();
            if process.shell.is_up() {
                process.act(&self.recorder, |shell, recorder, out| {
                    shell.command(now_us, Command::Shutdown, recorder, out);
                });
            }
        }
        while let Some(ended) = self.drivers.join_next().await {
            raise(ended);
        }
    }
}

/// Raises what a driver panicked with.
pub(super) fn raise(ended: Result<Result<(), Panic>, tokio::task::JoinError>) {
    if let Ok(Err(panic)) = ended {
        resume_unwind(panic);
    }
}

fn node_id(node: u16) -> NodeId {
    NodeId(i32::from(node) + 1)
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        host: StrBytes::from_static_str(ADVERTISED_HOST),
        port,
    }
}

fn controller_endpoint(options: &ServeOptions, node: u16) -> Endpoint {
    endpoint(options.port + CONTROLLER_PORTS + node)
}

fn node_config(options: &ServeOptions, directory: &DataDirectory, node: u16) -> NodeConfig {
    let voters = (0..options.nodes).map(|voter| Voter {
        id: node_id(voter),
        endpoint: controller_endpoint(options, voter),
    });
    NodeConfig {
        id: node_id(node),
        is_broker: true,
        is_controller: true,
        cluster_id: StrBytes::from_string(directory.cluster_id().to_owned()),
        voters: voters.collect(),
        broker_endpoint: endpoint(options.port + node),
        rack: options
            .set
            .get("broker.rack")
            .map(|rack| StrBytes::from_string(rack.clone())),
        properties: options.set.clone(),
        metadata_lag_max_ms: 0,
        bug: options.bug,
    }
}

/// Listens on loopback: on IPv4, and on IPv6 too where there is any.
async fn listen(port: u16, kind: Listener) -> Result<Vec<(TcpListener, Listener)>, String> {
    let first = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let listener = Tcp.bind(first).await.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "the port is in use".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        format!("cannot listen on {first}: {reason}")
    })?;
    let mut listeners = vec![(listener, kind)];
    let second = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    listeners.extend(Tcp.bind(second).await.ok().map(|listener| (listener, kind)));
    Ok(listeners)
}

/// 64 bits from the operating system: each process's ids derive from its own.
pub(super) fn entropy() -> Result<Seed, String> {
    let drawn = getrandom::u64();
    drawn
        .map(Seed)
        .map_err(|error| format!("the operating system gives no entropy: {error}"))
}
