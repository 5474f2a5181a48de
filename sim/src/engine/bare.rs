//! Turmoil with nothing of ours on it: the floor that the turmoil engine is measured against.
//!
//! The same hosts and ticks, and as many messages of the same mean size, as requests and answers on one
//! connection between each two hosts.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::seed::{Purpose, Seed};

/// What a run of ours did, for turmoil alone to do as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burden {
    /// Seeds turmoil.
    pub seed: Seed,
    /// Processes and clients.
    pub hosts: u16,
    /// The tick, in milliseconds.
    pub tick_ms: u64,
    /// One-way latency, in microseconds: least and most.
    pub latency_us: (u64, u64),
    /// Simulated time of the whole run, in milliseconds.
    pub simulated_ms: u64,
    /// Messages of the whole run.
    pub messages: u64,
    /// Bytes of all of them.
    pub message_bytes: u64,
}

const PORT: u16 = 9_092;

/// Moves as many messages for as long, and returns how many there were.
///
/// # Errors
///
/// When turmoil ends the simulation by itself.
pub fn carry(burden: Burden) -> Result<u64, String> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(burden.seed.draw(Purpose::Turmoil, [0; 3]))
        .epoch(std::time::UNIX_EPOCH)
        .tick_duration(Duration::from_millis(burden.tick_ms))
        .simulation_duration(Duration::from_secs(u64::from(u32::MAX)))
        .min_message_latency(Duration::from_micros(burden.latency_us.0))
        .max_message_latency(Duration::from_micros(burden.latency_us.1))
        .tcp_capacity(65_536)
        .build();
    let pace = Pace::of(burden);
    let moved = Rc::new(Cell::new(0));
    for host in 0..burden.hosts {
        let moved = Rc::clone(&moved);
        sim.host(name(host), move || {
            let moved = Rc::clone(&moved);
            async move {
                for other in 0..host {
                    tokio::spawn(ask(other, pace));
                }
                answer(pace, &moved).await?;
                Ok(())
            }
        });
    }
    while sim.elapsed() < Duration::from_millis(burden.simulated_ms) {
        sim.step().map_err(|error| error.to_string())?;
    }
    Ok(moved.get())
}

/// How each connection is used.
#[derive(Clone, Copy)]
struct Pace {
    /// Bytes of a message.
    bytes: usize,
    /// Between two requests.
    pause: Duration,
}

impl Pace {
    fn of(burden: Burden) -> Self {
        let hosts = u64::from(burden.hosts);
        let connections = (hosts * (hosts - 1) / 2).max(1);
        let requests = (burden.messages / 2 / connections).max(1);
        let bytes = burden.message_bytes / burden.messages.max(1);
        Pace {
            bytes: usize::try_from(bytes)
                .expect("a message fits into memory")
                .max(1),
            pause: Duration::from_millis(burden.simulated_ms)
                / u32::try_from(requests).unwrap_or(u32::MAX),
        }
    }
}

fn name(host: u16) -> IpAddr {
    let [high, low] = host.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(192, 168, high, low + 1))
}

async fn ask(other: u16, pace: Pace) -> io::Result<()> {
    let mut stream = loop {
        match TcpStream::connect((name(other), PORT)).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(pace.pause).await,
        }
    };
    let mut message = vec![0; pace.bytes];
    let mut tick = tokio::time::interval(pace.pause);
    loop {
        tick.tick().await;
        stream.write_all(&message).await?;
        stream.read_exact(&mut message).await?;
    }
}

async fn answer(pace: Pace, moved: &Rc<Cell<u64>>) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let moved = Rc::clone(moved);
        tokio::task::spawn_local(async move {
            let mut message = vec![0; pace.bytes];
            while stream.read_exact(&mut message).await.is_ok() {
                moved.set(moved.get() + 2);
                if stream.write_all(&message).await.is_err() {
                    break;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_moves_what_it_is_asked_to() {
        let burden = Burden {
            seed: Seed(1),
            hosts: 4,
            tick_ms: 1,
            latency_us: (200, 3_000),
            simulated_ms: 5_000,
            messages: 2_400,
            message_bytes: 240_000,
        };
        let moved = carry(burden).expect("nothing goes wrong");
        assert!((2_200..=2_500).contains(&moved), "{moved}");
    }
}
