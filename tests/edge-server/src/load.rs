//! Load for the server: many connections with mixed requests, whose answers are checked.
//!
//! It reports requests per second, latencies by kind, and what the process holds in the end
//! compared with after the first seconds.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{DEADLINE, KINDS, PAGES};

/// Connections that are open at the same time, each with one request at a time.
const CONNECTIONS: usize = 200;

/// How long a connection waits between two requests.
const PAUSE: Duration = Duration::from_millis(40);

/// What was measured of the requests of each kind.
type Latencies = [Vec<Duration>; KINDS.len()];

/// What the process holds.
#[derive(Debug)]
struct Held {
    mappings: usize,
    descriptors: usize,
    resident_kib: u64,
}

impl Held {
    fn now() -> std::io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
        Ok(Self {
            mappings: std::fs::read_to_string("/proc/self/maps")?.lines().count(),
            descriptors: std::fs::read_dir("/proc/self/fd")?.count(),
            resident_kib: resident.unwrap_or(0),
        })
    }
}

/// A request, and the status and body that it is to be answered with.
fn request(seed: u64) -> (usize, String, u16, String) {
    let fib = |n: u64| (0..n).fold((0_u64, 1), |(a, b), _| (b, a + b)).0;
    // Of twenty requests, thirteen compute, four wait, and one each is of the other kinds.
    let (kind, n) = match seed % 20 {
        0..13 => (0, seed % 21),
        13..17 => (1, seed % 50),
        17 => (2, 0),
        18 => (3, 0),
        _ => (4, 0),
    };
    let (status, body) = match kind {
        0 => (200, fib(n).to_string()),
        1 => (200, format!("slept {n}")),
        2 => (500, "wasm trap: unreachable".to_owned()),
        3 => (200, format!("pages {PAGES}")),
        _ => (504, "the guest took too long".to_owned()),
    };
    (kind, format!("/{}/{n}", KINDS[kind]), status, body)
}

/// Sends a request and reads its answer.
async fn exchange(stream: &mut TcpStream, path: &str) -> std::io::Result<(u16, String)> {
    let text = format!("GET {path} HTTP/1.1\r\nHost: edge\r\n\r\n");
    stream.write_all(text.as_bytes()).await?;
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        if Some(body.len()) == length {
            let status = head
                .split_whitespace()
                .nth(1)
                .and_then(|word| word.parse().ok());
            return Ok((status.unwrap_or(0), body.to_owned()));
        }
    }
}

async fn client(
    address: SocketAddr,
    number: u64,
    until: Instant,
    latencies: Arc<Mutex<Latencies>>,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while Instant::now() < until {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (kind, path, status, body) = request(seed >> 33);
        let start = Instant::now();
        let found = exchange(&mut stream, &path).await?;
        let time = start.elapsed();
        // A machine with more to do than it can may let any guest take too long.
        let late = found.0 == 504 && time >= DEADLINE;
        if found != (status, body.clone()) && !late {
            let text = format!("{path}: found {found:?}, expected {status} {body:?}");
            return Err(std::io::Error::other(text));
        }
        if let Ok(mut latencies) = latencies.lock() {
            latencies[kind].push(time);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Runs the load on a thread of its own, and reports.
pub(crate) fn run(address: SocketAddr, duration: Duration) -> Result<(), Box<dyn StdError>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let latencies = Arc::new(Mutex::new(Latencies::default()));
    let (before, after) = runtime.block_on(async {
        let until = Instant::now() + duration;
        let clients: Vec<_> = (0..CONNECTIONS as u64)
            .map(|number| tokio::spawn(client(address, number, until, Arc::clone(&latencies))))
            .collect();
        tokio::time::sleep(duration / 4).await;
        let before = Held::now()?;
        tokio::time::sleep(until.saturating_duration_since(Instant::now())).await;
        let after = Held::now()?;
        for client in clients {
            client.await.map_err(std::io::Error::other)??;
        }
        Ok::<_, std::io::Error>((before, after))
    })?;
    let mut latencies = latencies.lock().map_err(|_| "a client panicked")?;
    let total: usize = latencies.iter().map(Vec::len).sum();
    println!(
        "{total} answers, all right; {:.0} a second",
        total as f64 / duration.as_secs_f64()
    );
    for (kind, times) in KINDS.iter().zip(latencies.iter_mut()) {
        times.sort_unstable();
        let at = |part: f64| {
            let index = (times.len() as f64 * part) as usize;
            times
                .get(index.min(times.len().saturating_sub(1)))
                .copied()
                .unwrap_or_default()
        };
        println!(
            "{kind:>8}: {:>6} answers, p50 {:>9.3?}, p99 {:>9.3?}",
            times.len(),
            at(0.5),
            at(0.99)
        );
    }
    println!("after a quarter: {before:?}\nin the end:      {after:?}");
    Ok(())
}
