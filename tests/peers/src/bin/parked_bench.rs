//! Benchmark of the memory that parked instances hold: `parked-bench`.
//!
//! A thousand instances write to 256 pages each and are dropped, three times. Then all of them are
//! parked in the pool of their runtime. Each side runs in a process of its own, which reads how
//! many private pages it has more than before the first instance: at once, and ten seconds later,
//! in which it does nothing. The times of the last of the three rounds show what the memory is
//! kept for.
//!
//! precast has a pool for all thousand, once with its default bound of resident bytes and once
//! with room for everything, where its host also releases twice what is idle. Wasmtime has its pool
//! with several settings.

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use precast_peers::peers::{Peer, Precast, Wasmtime, settings};
use precast_peers::subjects::{Subject, written_pages};
use precast_peers::{Result, private_kib};

/// The first argument of a process that measures itself.
const CHILD: &str = "memory-of";

const INSTANCES: u32 = 1000;
const PAGES: usize = 256;
const IDLE: Duration = Duration::from_secs(10);

/// precast with its default bounds, and with room for all pages.
const BOUNDED: &str = "precast";
const UNBOUNDED: &str = "precast, no bound";

/// precast with room for all pages, and a host that releases what is idle.
const RELEASED: &str = "precast, no bound, released";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => bench(),
        [CHILD, side] => measure(side),
        _ => Err("usage: parked-bench".into()),
    }
}

fn bench() -> Result<()> {
    println!(
        "{INSTANCES} parked instances that wrote to {PAGES} pages each; {}",
        precast_peers::machine()
    );
    println!(
        "{:<32} {:>12} {:>16} {:>24}",
        "", "private, KiB", "after 10 s, KiB", "instance + call, drop, µs"
    );
    let mut sides = vec![BOUNDED, UNBOUNDED, RELEASED];
    sides.extend(
        settings()
            .iter()
            .map(|s| s.name)
            .filter(|name| name.starts_with("pool, ")),
    );
    for side in sides {
        let status = Command::new(std::env::current_exe()?)
            .args([CHILD, side])
            .status()?;
        if !status.success() {
            return Err(format!("{side} ended with {status}").into());
        }
    }
    Ok(())
}

fn measure(side: &str) -> Result<()> {
    let subject = written_pages(PAGES);
    let instances = INSTANCES as usize;
    match side {
        BOUNDED => parked(side, &Precast::keeping(instances, None)?, &subject),
        UNBOUNDED | RELEASED => {
            parked(side, &Precast::keeping(instances, Some(4 << 30))?, &subject)
        }
        _ => {
            let setting = settings().into_iter().find(|known| known.name == side);
            let setting = setting.ok_or("no such setting")?.with_slots(INSTANCES);
            parked(side, &Wasmtime::new(setting)?, &subject)
        }
    }
}

fn parked<P: Peer>(side: &str, peer: &P, subject: &Subject) -> Result<()> {
    let module = peer.open(&subject.artifact(P::EXTENSION)?)?;
    let linked = peer.link(&peer.linker(&module)?, &module)?;
    let before = private_kib()?;
    let mut times = (Duration::ZERO, Duration::ZERO);
    for _ in 0..3 {
        let start = Instant::now();
        let mut live = Vec::new();
        for _ in 0..INSTANCES {
            let mut one = peer.instantiate(&linked)?;
            let f = peer.func(&mut one, "f")?;
            black_box(peer.call(&mut one, &f, black_box(7))?);
            live.push(one);
        }
        let made = Instant::now();
        drop(live);
        times = (made - start, made.elapsed());
    }
    let above = || Ok::<_, Box<dyn std::error::Error>>(private_kib()?.saturating_sub(before));
    let at_once = above()?;
    for _ in 0..2 {
        if side == RELEASED {
            precast_loader::Engine::release_idle();
        }
        std::thread::sleep(IDLE / 2);
    }
    let later = above()?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(INSTANCES);
    println!(
        "{side:<32} {at_once:>12} {later:>16} {:>14.1} {:>9.1}",
        each(times.0),
        each(times.1)
    );
    Ok(())
}
