//! Load for a server of guests: `edge-load [OPTIONS] -- SERVER [ARGUMENT…]`.
//!
//! | option | what |
//! |---|---|
//! | `--seconds N` | for how long there are mixed requests; 60 if not given |
//! | `--busy N` | connections that make mixed requests with pauses; 120 if not given |
//! | `--parked N` | connections whose guests wait for half a second; 2,000 if not given |
//! | `--echo N` | connections that send a request while they read the answer; 20 if not given |
//! | `--strict` | fail if the 99th percentile is later than the deadline and 5 ms |
//! | `--rate` | instead, how many requests a second 64 connections without pauses get answered |
//! | `--waiting N` | instead, what the server holds for each of N guests that wait |
//!
//! The server is started as a child that prints `http://ADDRESS`. What it holds (mappings,
//! descriptors, resident memory) is read from the kernel when nothing is on its way, after each
//! quarter of the time. A wrong answer is a failure, and so are more mappings, descriptors or
//! memory in the end than after half of the time.

use std::error::Error as StdError;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edge_server::{DEADLINE, KINDS, PAGES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Failed = Box<dyn StdError + Send + Sync>;

/// How long a busy connection waits between two requests.
const PAUSE: Duration = Duration::from_millis(40);

/// How long a parked guest waits, in milliseconds.
const PARKED: u64 = 500;

/// How much later than the deadline answers may be.
const SLACK: Duration = Duration::from_millis(5);

/// How many parts the load has. What the server holds is compared after half of them and in the
/// end.
const PARTS: usize = 4;

/// The kinds of [`KINDS`], and `echo`.
const ALL_KINDS: usize = KINDS.len() + 1;
const PARK: usize = KINDS.len() - 1;
const ECHO: usize = KINDS.len();

/// What was measured of the requests of each kind.
type Latencies = [Vec<Duration>; ALL_KINDS];

struct Options {
    seconds: f64,
    busy: u64,
    parked: u64,
    echo: u64,
    strict: bool,
    rate: bool,
    waiting: u64,
    server: Vec<String>,
}

fn options() -> Result<Options, Failed> {
    let mut options = Options {
        seconds: 60.0,
        busy: 120,
        parked: 2000,
        echo: 20,
        strict: false,
        rate: false,
        waiting: 0,
        server: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().ok_or_else(|| format!("{arg} needs a number"));
        match arg.as_str() {
            "--seconds" => options.seconds = number()?.parse()?,
            "--busy" => options.busy = number()?.parse()?,
            "--parked" => options.parked = number()?.parse()?,
            "--echo" => options.echo = number()?.parse()?,
            "--waiting" => options.waiting = number()?.parse()?,
            "--strict" => options.strict = true,
            "--rate" => options.rate = true,
            "--" => options.server = args.by_ref().collect(),
            _ => return Err(format!("unknown option {arg}").into()),
        }
    }
    if options.server.is_empty() {
        return Err("usage: edge-load [OPTIONS] -- SERVER [ARGUMENT…]".into());
    }
    Ok(options)
}

/// The server, which ends with this.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(command: &[String]) -> Result<Self, Failed> {
        let (program, args) = command.split_first().ok_or("there is no server")?;
        let mut child = Command::new(program)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix("http://").map(str::parse);
        let Some(Ok(address)) = address else {
            child.kill().ok();
            return Err(format!("the server printed {line:?}, expected http://ADDRESS").into());
        };
        Ok(Self { child, address })
    }

    fn held(&self) -> std::io::Result<Held> {
        let proc = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{proc}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
        let maps = std::fs::read_to_string(format!("{proc}/maps"))?;
        Ok(Held {
            mappings: maps.lines().count(),
            descriptors: std::fs::read_dir(format!("{proc}/fd"))?.count(),
            resident_kib: resident.unwrap_or(0),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    mappings: usize,
    descriptors: usize,
    resident_kib: u64,
}

impl Held {
    /// Fails if this is more than what was held earlier, when there had been load for `warm`. A few
    /// mappings and some memory come and go with the allocator.
    fn check(self, earlier: Self, warm: Duration) -> Result<(), Failed> {
        let mappings = earlier.mappings + earlier.mappings / 20 + 64;
        // The loader keeps 1,024 stacks, and up to 32 KiB of each as they are used.
        let settling = if warm < Duration::from_secs(20) {
            32
        } else {
            4
        };
        let resident = earlier.resident_kib + earlier.resident_kib / 10 + settling * 1024;
        let few = self.mappings <= mappings
            && self.descriptors <= earlier.descriptors
            && self.resident_kib <= resident;
        match few {
            true => Ok(()),
            false => Err(format!("a leak: {earlier:?}, later {self:?}").into()),
        }
    }
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// A request, and the status and body that it is to be answered with.
struct Exchange {
    kind: usize,
    path: String,
    status: u16,
    body: String,
}

impl Exchange {
    fn new(kind: usize, n: u64) -> Self {
        let fib = |n: u64| (0..n).fold((0_u64, 1), |(a, b), _| (b, a + b)).0;
        let (status, body) = match KINDS[kind] {
            "good" => (200, fib(n).to_string()),
            "slow" | "park" => (200, format!("slept {n}")),
            "trap" => (500, "the guest trapped".to_owned()),
            "hungry" => (200, format!("pages {PAGES}")),
            _ => (504, "the guest took too long".to_owned()),
        };
        Self {
            kind,
            path: format!("/{}/{n}", KINDS[kind]),
            status,
            body,
        }
    }

    /// Of 200 requests, 150 compute, 38 wait, and the others are of guests that do harm: 5 trap, 5
    /// take all memory, 2 never end.
    fn mixed(random: &mut Random) -> Self {
        let n = random.next();
        match random.next() % 200 {
            0..150 => Self::new(0, n % 21),
            150..188 => Self::new(1, n % 50),
            188..193 => Self::new(2, 0),
            193..198 => Self::new(3, 0),
            _ => Self::new(4, 0),
        }
    }

    /// Sends the request and checks the answer. Returns how long that took.
    async fn run(&self, stream: &mut TcpStream) -> Result<Duration, Failed> {
        let start = Instant::now();
        let found = get(stream, &self.path).await?;
        let time = start.elapsed();
        // On a machine that has more to do than it can, any guest may take too long.
        let late = found.0 == 504 && time >= DEADLINE && self.kind != PARK;
        if (found.0, &*found.1) != (self.status, &*self.body) && !late {
            let (path, status, body) = (&self.path, self.status, &self.body);
            return Err(format!("{path}: found {found:?}, expected {status} {body:?}").into());
        }
        Ok(time)
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request and reads its answer, which has a length.
async fn get(stream: &mut TcpStream, path: &str) -> std::io::Result<(u16, String)> {
    let text = format!("GET {path} HTTP/1.1\r\nHost: edge\r\n\r\n");
    stream.write_all(text.as_bytes()).await?;
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 1024];
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
            let status = head.split_whitespace().nth(1);
            let status = status.and_then(|word| word.parse().ok());
            return Ok((status.unwrap_or(0), body.to_owned()));
        }
    }
}

/// Sends a request in pieces, and only sends the next one when the answer to the one before has
/// come.
async fn echo(address: SocketAddr, random: &mut Random) -> Result<Duration, Failed> {
    let start = Instant::now();
    let mut stream = connect(address).await?;
    let pieces: Vec<String> = (0..3)
        .map(|_| format!("number {}, ", random.next()).repeat(1 + random.next() as usize % 300))
        .collect();
    let length: usize = pieces.iter().map(String::len).sum();
    // The answer has no length, so that the connection ends with it.
    let head = format!("POST /echo HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    let (mut sent, mut at) = (0, None);
    for piece in &pieces {
        stream.write_all(piece.as_bytes()).await?;
        sent += piece.len();
        while at.is_none_or(|at| answer.len() < at + sent) {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                return Err("/echo: the answer ends too early".into());
            }
            answer.extend(&buffer[..read]);
            let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            at = head.map(|head| head + 4);
        }
    }
    stream.read_to_end(&mut answer).await?;
    let body = at.and_then(|at| answer.get(at..)).unwrap_or_default();
    if body != pieces.concat().to_ascii_uppercase().as_bytes() {
        let body = String::from_utf8_lossy(body);
        return Err(format!("/echo: found {body:?}, expected {pieces:?} in capitals").into());
    }
    Ok(start.elapsed())
}

/// What all connections of a load share.
struct Load {
    address: SocketAddr,
    until: Instant,
    latencies: Mutex<Latencies>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl Load {
    fn new(address: SocketAddr, duration: Duration) -> Arc<Self> {
        Arc::new(Self {
            address,
            until: Instant::now() + duration,
            latencies: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        })
    }

    fn over(&self) -> bool {
        Instant::now() >= self.until
    }

    async fn time(
        &self,
        kind: usize,
        request: impl Future<Output = Result<Duration, Failed>>,
    ) -> Result<(), Failed> {
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_in_flight.fetch_max(now, Ordering::Relaxed);
        let time = request.await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Ok(mut latencies) = self.latencies.lock() {
            latencies[kind].push(time?);
        }
        Ok(())
    }

    async fn busy(self: Arc<Self>, number: u64, pause: Duration) -> Result<(), Failed> {
        let mut random = Random::new(number);
        let mut stream = connect(self.address).await?;
        while !self.over() {
            let exchange = Exchange::mixed(&mut random);
            self.time(exchange.kind, exchange.run(&mut stream)).await?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    async fn rate(self: Arc<Self>, number: u64) -> Result<(), Failed> {
        let mut stream = connect(self.address).await?;
        let exchange = Exchange::new(0, number % 10);
        while !self.over() {
            self.time(0, exchange.run(&mut stream)).await?;
        }
        Ok(())
    }

    async fn parked(self: Arc<Self>, number: u64) -> Result<(), Failed> {
        let mut random = Random::new(number);
        let mut stream = connect(self.address).await?;
        while !self.over() {
            let exchange = Exchange::new(PARK, PARKED + random.next() % PARKED);
            self.time(PARK, exchange.run(&mut stream)).await?;
        }
        Ok(())
    }

    async fn echo(self: Arc<Self>, number: u64) -> Result<(), Failed> {
        let mut random = Random::new(number);
        while !self.over() {
            self.time(ECHO, echo(self.address, &mut random)).await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// Runs mixed load, and waits until everything has been answered.
async fn mixed(server: &Server, options: &Options, seconds: f64) -> Result<Arc<Load>, Failed> {
    let load = Load::new(server.address, Duration::from_secs_f64(seconds));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..options.busy {
        clients.spawn(Arc::clone(&load).busy(number, PAUSE));
    }
    for number in 0..options.parked {
        clients.spawn(Arc::clone(&load).parked(number));
    }
    for number in 0..options.echo {
        clients.spawn(Arc::clone(&load).echo(number));
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    // The server has yet to see that connections are closed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(load)
}

fn report(loads: &[Arc<Load>], seconds: f64) -> Result<Duration, Failed> {
    let mut latencies = Latencies::default();
    for load in loads {
        let mut part = load.latencies.lock().map_err(|_| "a client panicked")?;
        for (all, times) in latencies.iter_mut().zip(part.iter_mut()) {
            all.append(times);
        }
    }
    let most = loads
        .iter()
        .map(|load| load.most_in_flight.load(Ordering::Relaxed));
    let total: usize = latencies.iter().map(Vec::len).sum();
    println!(
        "{total} answers, all right; {:.0} a second; at most {} in flight",
        total as f64 / seconds,
        most.max().unwrap_or(0)
    );
    let print = |name: &str, times: &mut Vec<Duration>| {
        times.sort_unstable();
        let at = |part: f64| {
            let index = (times.len() as f64 * part) as usize;
            let index = index.min(times.len().saturating_sub(1));
            times.get(index).copied().unwrap_or_default()
        };
        let count = times.len();
        let (middle, late, last) = (at(0.5), at(0.99), at(1.0));
        println!(
            "{name:>12}: {count:>7} answers, p50 {middle:>9.3?}, p99 {late:>9.3?}, last {last:>9.3?}"
        );
        late
    };
    let mut with_deadline = Vec::new();
    let names = KINDS.iter().chain(&["echo"]);
    for (kind, (name, times)) in names.zip(latencies.iter_mut()).enumerate() {
        if times.is_empty() {
            continue;
        }
        if kind < PARK {
            with_deadline.extend_from_slice(times);
        }
        if kind == PARK {
            // Each waits for another time, of which the answer knows.
            println!("{name:>12}: {:>7} answers", times.len());
        } else {
            print(name, times);
        }
    }
    Ok(print("deadline", &mut with_deadline))
}

async fn under_load(server: &Server, options: &Options) -> Result<(), Failed> {
    println!("in the beginning: {:?}", server.held()?);
    let part = options.seconds / PARTS as f64;
    let (mut helds, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..PARTS {
        loads.push(mixed(server, options, part).await?);
        let held = server.held()?;
        println!("later:            {held:?}");
        helds.push(held);
    }
    let late = report(&loads, options.seconds)?;
    let warm = Duration::from_secs_f64(options.seconds / 2.0);
    // A busy server sees late that connections are closed. A leak stays.
    let (start, mut last) = (Instant::now(), helds[PARTS - 1]);
    while let Err(leak) = last.check(helds[PARTS / 2 - 1], warm) {
        if start.elapsed() > Duration::from_secs(20) {
            return Err(leak);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        last = server.held()?;
    }
    if options.strict && late > DEADLINE + SLACK {
        return Err(
            format!("the 99th percentile is {late:?}, expected {DEADLINE:?} and 5 ms").into(),
        );
    }
    Ok(())
}

async fn rate(server: &Server, options: &Options) -> Result<(), Failed> {
    for seconds in [options.seconds / 4.0, options.seconds] {
        let load = Load::new(server.address, Duration::from_secs_f64(seconds));
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..64 {
            clients.spawn(Arc::clone(&load).rate(number));
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        if seconds == options.seconds {
            report(&[load], seconds)?;
        }
    }
    Ok(())
}

/// Compares guests that wait with requests that wait without a guest.
async fn waiting(server: &Server, options: &Options) -> Result<(), Failed> {
    let mut helds = Vec::new();
    // The first time is for what the server only needs once.
    for path in ["/wait/8000", "/wait/8000", "/park/8000"] {
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..options.waiting {
            let mut stream = connect(server.address).await?;
            clients.spawn(async move { get(&mut stream, path).await });
        }
        // The server has a descriptor for each connection, once it has accepted them all.
        let start = Instant::now();
        while (server.held()?.descriptors as u64) < options.waiting {
            if start.elapsed() > Duration::from_secs(5) {
                return Err("the server does not accept so many connections".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        helds.push(server.held()?);
        while let Some(client) = clients.join_next().await {
            let answer = client??;
            if answer != (200, "slept 8000".to_owned()) {
                return Err(format!("{path}: found {answer:?}").into());
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (without, with) = (helds[1], helds[2]);
    let each = |a: f64, b: f64| (a - b) / options.waiting as f64;
    println!(
        "{} waiting guests: {:.1} KiB and {:.2} mappings each ({without:?}, {with:?})",
        options.waiting,
        each(with.resident_kib as f64, without.resident_kib as f64),
        each(with.mappings as f64, without.mappings as f64),
    );
    Ok(())
}

fn main() -> Result<(), Failed> {
    let options = options()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let server = Server::start(&options.server)?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine: {}", load.trim());
    runtime.block_on(async {
        if options.waiting > 0 {
            waiting(&server, &options).await
        } else if options.rate {
            rate(&server, &options).await
        } else {
            under_load(&server, &options).await
        }
    })
}
