//! Bare turmoil: what a simulation costs before one line of Kafka runs.
//!
//! The floor beside the turmoil engine's speed: the same number of hosts, ticks and messages of the
//! same size, moved by the plainest tasks there can be. Nothing is decoded, judged or recorded.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

/// How much is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BareLoad {
    /// Hosts; each sends to the next.
    pub hosts: u32,
    /// Steps of the simulation.
    pub ticks: u64,
    /// The length of a step, in simulated milliseconds.
    pub tick_ms: u64,
    /// Messages, all hosts together, spread evenly over the ticks.
    pub messages: u64,
    /// The length of a message in bytes.
    pub bytes: usize,
    /// Seeds turmoil's own draws.
    pub seed: u64,
}

const PORT: u16 = 9_092;
const TCP_CAPACITY: usize = 65_536;
const READ_BYTES: usize = 16 * 1024;

/// Moves the load and returns how many whole messages arrived; the caller has the clock.
///
/// # Panics
///
/// If turmoil fails.
#[must_use]
pub fn bare(load: BareLoad) -> u64 {
    let mut sim = turmoil::Builder::new()
        .rng_seed(load.seed)
        .epoch(std::time::UNIX_EPOCH)
        .tick_duration(Duration::from_millis(load.tick_ms))
        .simulation_duration(Duration::from_secs(u64::from(u32::MAX)))
        .max_message_latency(Duration::from_millis(load.tick_ms))
        .tcp_capacity(TCP_CAPACITY)
        .build();
    let arrived = Rc::new(Cell::new(0));
    for host in 0..load.hosts {
        let arrived = Rc::clone(&arrived);
        sim.host(name(host), move || {
            let arrived = Rc::clone(&arrived);
            async move {
                let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
                let listener = TcpListener::bind(everywhere).await?;
                tokio::task::spawn_local(send(load, host));
                loop {
                    let (stream, _) = listener.accept().await?;
                    tokio::task::spawn_local(receive(stream, Rc::clone(&arrived)));
                }
            }
        });
    }
    for _ in 0..load.ticks {
        sim.step().expect("bare hosts do not fail");
    }
    drop(sim);
    arrived.get() / u64::try_from(load.bytes.max(1)).expect("a length")
}

fn name(host: u32) -> String {
    format!("h{host}")
}

/// Sends this host's share to the next host.
async fn send(load: BareLoad, host: u32) -> std::io::Result<()> {
    // All hosts listen once the first step is over.
    tokio::time::sleep(Duration::from_millis(load.tick_ms * 2)).await;
    let next = name((host + 1) % load.hosts);
    let mut stream = TcpStream::connect((next.as_str(), PORT)).await?;
    let message = vec![7; load.bytes];
    let mut sent = 0;
    for tick in 1..=load.ticks {
        let due = load.messages * tick / load.ticks / u64::from(load.hosts);
        while sent < due {
            stream.write_all(&message).await?;
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(load.tick_ms)).await;
    }
    Ok(())
}

async fn receive(mut stream: TcpStream, arrived: Rc<Cell<u64>>) -> std::io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        arrived.set(arrived.get() + u64::try_from(read).expect("a length"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_every_message_arrives() {
        let load = BareLoad {
            hosts: 5,
            ticks: 1_000,
            tick_ms: 1,
            messages: 5_000,
            bytes: 200,
            seed: 1,
        };
        let arrived = bare(load);
        assert!((4_800..=5_000).contains(&arrived), "{arrived}");
    }
}
