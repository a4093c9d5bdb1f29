//! Whether `plan` names exactly the cells that a change concerns, by brute force: random matrices,
//! one random change each, everything built before and after, and the digests of all tags compared
//! with what `plan` had said.
//!
//! Every case is decided by its seed, which a failure names with both manifests. Cases are repeated,
//! and others tried (from 1000 on without commands, from 2000 on with), by
//! `RAILYARD_TEST_SEEDS="1017 2003" cargo test --test engine exact`.

// The tests' own data; each binary uses a part of the shared harness.
mod case;
mod change;
mod dice;
mod generate;
mod model;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::case::{Case, Judged};
use self::change::Kind;

/// A test's seeds and those that it may be given are the ones from its first one on.
const SEEDS: u64 = 1000;
/// Cases at a time: they wait for the registry half of the time.
const WORKERS: usize = 3;

#[test]
fn plan_names_exactly_the_cells_of_matrices_made_in_process() {
    let judged = all(1000..1080, &Kind::PARTS, false);
    if let Some(judged) = judged {
        let spared = judged.iter().filter(|judged| judged.spared > 0).count();
        assert!(spared * 10 <= judged.len(), "{spared} of {} cases are judged leniently", judged.len());
    }
}

#[test]
fn plan_names_the_cells_of_matrices_with_commands() {
    all(2000..2006, &Kind::RUNS, true);
}

/// Judges a case for each seed, in turn for each kind of change. `None` where the seeds were others.
fn all(seeds: std::ops::Range<u64>, kinds: &[Kind], runs: bool) -> Option<Vec<Judged>> {
    let first = seeds.start;
    let own = first..first + SEEDS;
    let chosen: Option<Vec<u64>> = std::env::var("RAILYARD_TEST_SEEDS").ok().map(|text| {
        text.split_whitespace().map(|seed| seed.parse().unwrap()).filter(|seed| own.contains(seed)).collect()
    });
    let seeds = chosen.clone().unwrap_or_else(|| seeds.collect());
    let (next, judged, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let mut case = Case::new(*seed, (seed - first) as usize, kinds, runs);
                    match catch_unwind(AssertUnwindSafe(|| case.judge())) {
                        Ok(done) => judged.lock().unwrap().push(done),
                        Err(_) => drop(failures.lock().unwrap().insert(*seed, case.describe())),
                    }
                }
            });
        }
    });
    let (judged, failures) = (judged.into_inner().unwrap(), failures.into_inner().unwrap());
    for (seed, text) in &failures {
        eprintln!("==== seed {seed} ====\n{text}");
    }
    assert!(failures.is_empty(), "seeds that failed: {:?}", failures.keys());
    chosen.is_none().then(|| {
        covered(&judged, kinds);
        judged
    })
}

/// Every kind of change was made and named cells where it can, and others stayed as they were.
fn covered(judged: &[Judged], kinds: &[Kind]) {
    let mut counts: BTreeMap<Kind, [usize; 4]> = BTreeMap::new();
    for case in judged {
        let sums = counts.entry(case.kind).or_default();
        for (sum, add) in sums.iter_mut().zip([1, case.cells, case.named, case.spared]) {
            *sum += add;
        }
    }
    println!("kind: cases, cells, cells named, named without a change of bytes");
    for (kind, sums) in &counts {
        println!("{kind:?}: {sums:?}");
    }
    for kind in kinds {
        let [cases, _, named, _] = counts.get(kind).copied().unwrap_or_default();
        assert!(cases > 0, "no case with {kind:?}");
        match kind {
            Kind::ValueRemoved => assert_eq!(named, 0, "cells of other values stay"),
            _ => assert!(named > 0, "no cell was ever named for {kind:?}"),
        }
    }
    let touched: usize = judged.iter().filter(|case| case.named == case.cells).count();
    assert!(touched * 2 < judged.len(), "{touched} of {} changes touched every cell", judged.len());
}
