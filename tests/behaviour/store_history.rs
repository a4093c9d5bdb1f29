//! The store's record of runs: the migration from the first format, what is kept, what is typical.

use railyard::oci::{Descriptor, DiffId, Digest};
use railyard::store::{CellRow, LayerRecord, Record, RunRow, StepRow, Store};

/// The tables of format 1, as the first railyard made them.
const FIRST_FORMAT: &str = "
    CREATE TABLE records (
        key BLOB PRIMARY KEY,
        value TEXT NOT NULL,
        created INTEGER NOT NULL DEFAULT (unixepoch())
    ) WITHOUT ROWID;
    CREATE TABLE indexes (
        blob BLOB PRIMARY KEY,
        diff_id BLOB NOT NULL,
        entries BLOB NOT NULL
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;
";

#[test]
fn a_store_of_the_first_format_keeps_its_records_and_gets_a_history() {
    let directory = tempfile::tempdir().unwrap();
    let (key, blob) = (Digest::of(b"key"), Digest::of(b"blob"));
    let record = Record::Layer(Box::new(LayerRecord {
        blob: Some(Descriptor::new("application/vnd.oci.image.layer.v1.tar+gzip", blob, 7)),
        diff_id: Some(DiffId(Digest::of(b"tar"))),
        millis: 12,
        made: 0,
        outputs: None,
    }));
    {
        let old = rusqlite::Connection::open(directory.path().join("store.sqlite")).unwrap();
        old.execute_batch(FIRST_FORMAT).unwrap();
        let text = serde_json::to_string(&record).unwrap();
        old.execute("INSERT INTO records (key, value) VALUES (?1, ?2)", (key.as_bytes(), text)).unwrap();
        let index = (blob.as_bytes(), key.as_bytes(), b"entries".as_slice());
        old.execute("INSERT INTO indexes VALUES (?1, ?2, ?3)", index).unwrap();
    }
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.record(&key).unwrap(), Some(record));
    assert_eq!(store.index(&blob).unwrap(), Some((key, b"entries".to_vec())));
    assert_eq!(store.runs(10).unwrap(), []);
    assert!(!store.has_history().unwrap());
    record_run(&store, "first", |_| {});
    assert_eq!(store.runs(10).unwrap()[0].id, "first");
}

#[test]
fn a_new_store_can_be_opened_by_several_at_once() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::thread::scope(|scope| {
            let open = || scope.spawn(|| Store::open(path).map(drop));
            let threads: Vec<_> = (0..8).map(|_| open()).collect();
            for thread in threads {
                thread.join().unwrap().unwrap();
            }
        });
    }
}

fn record_run(store: &Store, id: &str, change: impl FnOnce(&mut RunRow)) {
    let mut run = RunRow { id: id.into(), project: "t".into(), started: 1000, ..RunRow::default() };
    let number = store.begin_run(&run).unwrap();
    run.ended = Some(2000);
    run.outcome = Some("succeeded".into());
    change(&mut run);
    let cell = CellRow { cell: "app".into(), outcome: "current".into(), ..CellRow::default() };
    store.record_run(number, &run, &[&step(1, "a", 10)], &[cell]).unwrap();
}

fn step(number: u32, name: &str, micros: u64) -> StepRow {
    StepRow {
        step: number,
        key: Digest::of(name.as_bytes()),
        kind: "artifact".into(),
        name: name.into(),
        label: name.into(),
        class: "container".into(),
        outcome: Some("succeeded".into()),
        queued: 0,
        started: 5,
        ended: Some(5 + micros),
        sent: 3,
        fetched: 4,
        attempts: 1,
        failure: None,
        digest: None,
    }
}

#[test]
fn old_runs_go_with_their_rows_and_changes_outlive_runs_that_changed_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for n in 0..210 {
        record_run(&store, &format!("changed-{n}"), |run| run.built = 1);
    }
    for n in 0..100 {
        record_run(&store, &format!("idle-{n}"), |_| {});
    }
    let ids: Vec<String> = store.runs(1000).unwrap().into_iter().map(|run| run.id).collect();
    // The one that is begun counts as one that changed something until it has ended.
    assert_eq!(ids.iter().filter(|id| id.starts_with("changed")).count(), 199);
    assert_eq!(ids.iter().filter(|id| id.starts_with("idle")).count(), 50);
    assert_eq!((ids[0].as_str(), ids[248].as_str()), ("idle-99", "changed-11"));
    assert_eq!(store.run_steps("changed-10").unwrap(), []);
    assert_eq!(store.run_steps("changed-11").unwrap().len(), 1);
    assert_eq!(store.cell_changes("app", true, 1000).unwrap().len(), 249);
}

#[test]
fn the_last_success_under_a_key_and_recent_ones_of_a_group_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let record = |id: &str, project: &str, steps: &[StepRow]| {
        let run = RunRow { id: id.into(), project: project.into(), ..RunRow::default() };
        let number = store.begin_run(&run).unwrap();
        store.record_run(number, &run, &steps.iter().collect::<Vec<_>>(), &[]).unwrap();
    };
    record("1", "t", &[step(1, "a", 10), step(2, "b", 20)]);
    record("2", "t", &[step(1, "a", 30)]);
    record("3", "other", &[step(1, "a", 50)]);
    let failed = StepRow { outcome: Some("failed".into()), ..step(1, "a", 70) };
    let open = StepRow { outcome: None, ended: None, ..step(2, "b", 0) };
    record("4", "t", &[failed, open]);
    let micros = |name: &str| store.last_cost(&Digest::of(name.as_bytes())).unwrap().map(|c| c.micros);
    assert_eq!((micros("a"), micros("b"), micros("c")), (Some(50), Some(20), None));
    let recent = |name: &str| -> Vec<u64> {
        store.recent_costs("t", "artifact", name).unwrap().iter().map(|c| c.micros).collect()
    };
    assert_eq!((recent("a"), recent("b")), (vec![30, 10], vec![20]));
    assert_eq!(store.recent_costs("t", "check", "a").unwrap(), []);
}

#[test]
fn a_run_goes_on_as_long_as_it_is_guarded() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let guard = store.guard_run("1").unwrap();
    store.begin_run(&RunRow { id: "1".into(), ..RunRow::default() }).unwrap();
    let other = Store::open(directory.path()).unwrap();
    assert!(other.run("1").unwrap().unwrap().running);
    drop(guard);
    assert!(!other.run("1").unwrap().unwrap().running);
    assert_eq!(std::fs::read_dir(directory.path().join("runs")).unwrap().count(), 0);
}
