//! Runs a target on generated inputs for some time, without libFuzzer.
//!
//! ```text
//! --seconds N    how long (30)
//! --seed N       where inputs begin; the same seed gives the same inputs in the same order (1)
//! --input HEX    run this one input and nothing else
//! ```
//!
//! The inputs are run by a second process of the same program, so that one that aborts it is known, too.

mod aborts;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fastrand::Rng;

use self::aborts::Note;

/// A fuzz target and what makes inputs for it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The program's name.
    pub name: &'static str,
    /// Panics if an invariant breaks.
    pub run: fn(&[u8]),
    /// Makes an input.
    pub generate: fn(&mut Rng) -> Vec<u8>,
}

/// Where inputs begin if nothing else is said: every run tries the same ones.
const SEED: u64 = 1;

/// Time after which one input is held to run for ever.
const HANG: Duration = Duration::from_secs(20);

/// Tries to make a failing input smaller.
const TRIES: usize = 20_000;

/// Time for that.
const SHRINK_FOR: Duration = Duration::from_secs(30);

/// Between two lines that say how it goes.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// What the program does. It fails if the target did, or on a wrong argument.
pub fn run(target: &Target) -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{}: {error}; --seconds N, --seed N or --input HEX", target.name);
            return ExitCode::from(2);
        }
    };
    match arguments.input {
        Some(input) => {
            (target.run)(&input);
            println!("{}: {} bytes, no failure", target.name, input.len());
            ExitCode::SUCCESS
        }
        None => match aborts::note() {
            Some(note) => fuzz(target, &arguments, note),
            None => aborts::supervise(target),
        },
    }
}

struct Arguments {
    seconds: u64,
    seed: u64,
    input: Option<Vec<u8>>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self { seconds: 30, seed: SEED, input: None };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{value} is no number"));
            match word.as_str() {
                "--seconds" => arguments.seconds = number()?,
                "--seed" => arguments.seed = number()?,
                "--input" => arguments.input = Some(muxado_tests::hex(&value)),
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        Ok(arguments)
    }
}

fn fuzz(target: &Target, arguments: &Arguments, mut note: Note) -> ExitCode {
    let (name, seconds, seed) = (target.name, arguments.seconds, arguments.seed);
    println!("{name}: seed {seed}, {seconds} s");
    let start = Instant::now();
    let current = watch(name, seed);
    let (mut executions, mut bytes, mut reported) = (0_u64, 0_u64, start);
    while start.elapsed() < Duration::from_secs(seconds) {
        // Each input has a seed of its own, so that it does not depend on those before.
        note.write(seed.wrapping_add(executions));
        let input = (target.generate)(&mut Rng::with_seed(seed.wrapping_add(executions)));
        bytes += input.len() as u64;
        *lock(&current) = Some((Instant::now(), input.clone()));
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            *lock(&current) = None;
            report(target, &input, seed.wrapping_add(executions));
            return ExitCode::FAILURE;
        }
        executions += 1;
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            println!("{name}: {} s, {executions} executions", start.elapsed().as_secs());
        }
    }
    println!("{name}: no failure in {executions} executions, {bytes} bytes of input, seed {seed}");
    ExitCode::SUCCESS
}

type Current = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

fn lock(current: &Current) -> std::sync::MutexGuard<'_, Option<(Instant, Vec<u8>)>> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the program if one input takes too long.
fn watch(name: &'static str, seed: u64) -> Current {
    let current = Current::default();
    let watched = Arc::clone(&current);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if let Some((since, input)) = &*lock(&watched)
                && since.elapsed() > HANG
            {
                println!("{name}: no end within {HANG:?}, seed {seed}; run it again with");
                println!("  --input {}", hex(input));
                std::process::exit(1);
            }
        }
    });
    current
}

fn report(target: &Target, input: &[u8], seed: u64) {
    print_failed(target, input, seed);
    let small = shrink(target, input);
    print_smaller(target, &small);
    catch_unwind(AssertUnwindSafe(|| (target.run)(&small))).ok();
}

fn print_failed(target: &Target, input: &[u8], seed: u64) {
    println!("{}: FAILED, seed {seed}, {} bytes of input:", target.name, input.len());
    println!("  --input {}", hex(input));
}

fn print_smaller(target: &Target, small: &[u8]) {
    println!("{}: the same smaller, {} bytes:", target.name, small.len());
    println!("  --input {}", hex(small));
}

/// Leaves pieces out, and makes bytes 0, as long as the input still fails at the same place.
fn shrink(target: &Target, input: &[u8]) -> Vec<u8> {
    let place = Arc::new(Mutex::new(None));
    let (noted, hook) = (Arc::clone(&place), take_hook());
    set_hook(Box::new(move |panic| {
        *noted.lock().unwrap_or_else(PoisonError::into_inner) = panic.location().map(ToString::to_string);
    }));
    let fails_at = |input: &[u8]| {
        catch_unwind(AssertUnwindSafe(|| (target.run)(input))).err()?;
        place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    };
    let first = fails_at(input);
    let small = shrink_while(input, |input| first.is_some() && fails_at(input) == first);
    set_hook(hook);
    small
}

fn shrink_while(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut best, mut tries, start) = (input.to_vec(), 0, Instant::now());
    let mut piece = best.len() / 2;
    while piece > 0 && tries < TRIES && start.elapsed() < SHRINK_FOR {
        let (mut at, before) = (0, best.len());
        while at < best.len() && tries < TRIES && start.elapsed() < SHRINK_FOR {
            tries += 1;
            let end = (at + piece).min(best.len());
            let mut shorter = best.clone();
            shorter.drain(at..end);
            let mut plainer = best.clone();
            plainer[at..end].fill(0);
            if fails(&shorter) {
                best = shorter;
            } else {
                if plainer != best && fails(&plainer) {
                    best = plainer;
                }
                at = end;
            }
        }
        if piece > 1 || best.len() == before {
            piece /= 2;
        }
    }
    best
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
