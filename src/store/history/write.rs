//! Writing of runs, and the end of old ones.

use rusqlite::{Connection, params};

use super::{CellRow, RunNumber, RunRow, StepRow};
use crate::oci::Digest;
use crate::store::{Store, StoreError, database};

/// Runs that are kept if they changed something, or did not end well.
const KEPT: u32 = 200;

/// Runs that are kept whatever they did.
const KEPT_UNCHANGED: u32 = 50;

/// Steps and cells beyond which older runs go.
const KEPT_ROWS: u64 = 1_000_000;

impl Store {
    /// Records the beginning of a run, and deletes the oldest.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_run(&self, run: &RunRow) -> Result<RunNumber, StoreError> {
        self.in_transaction(|connection| {
            let arguments = serde_json::to_string(&run.arguments).expect("texts are serialisable");
            connection
                .prepare_cached(
                    "INSERT INTO runs (id, project, manifest, version, arguments, estimated, started)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    run.id,
                    run.project,
                    run.manifest,
                    run.version,
                    arguments,
                    run.estimated,
                    run.started
                ])?;
            let number = RunNumber(connection.last_insert_rowid());
            trim(connection)?;
            Ok(number)
        })
    }

    /// Records how far a run is: its sums, and the steps and cells that are new or other than before.
    ///
    /// # Errors
    /// When the database fails.
    pub fn record_run(
        &self,
        number: RunNumber,
        run: &RunRow,
        steps: &[&StepRow],
        cells: &[CellRow],
    ) -> Result<(), StoreError> {
        self.in_transaction(|connection| {
            update_run(connection, number, run)?;
            for step in steps {
                put_step(connection, number, &run.project, step)?;
            }
            cells.iter().try_for_each(|cell| put_cell(connection, number, cell))
        })
    }

    fn in_transaction<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = || {
            let mut connection = self.connection();
            // A transaction that only later turns out to write could not wait for another process.
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run().map_err(database("record a run"))
    }
}

/// Deletes the runs that are too old, or too many.
fn trim(connection: &Connection) -> rusqlite::Result<()> {
    let old: Vec<i64> = connection
        .prepare_cached(
            "SELECT number FROM (
                SELECT number, sum(cells + steps) OVER (ORDER BY number DESC) AS total FROM runs
             ) WHERE total > ?1 OR (
                number NOT IN (SELECT number FROM runs ORDER BY number DESC LIMIT ?2)
                AND number NOT IN (
                    SELECT number FROM runs WHERE built + failed + skipped > 0 OR ended IS NULL
                    ORDER BY number DESC LIMIT ?3
                )
             )",
        )?
        .query_map(params![KEPT_ROWS, KEPT_UNCHANGED, KEPT], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for number in old {
        for delete in [
            "DELETE FROM run_steps WHERE run = ?1",
            "DELETE FROM run_cells WHERE run = ?1",
            "DELETE FROM runs WHERE number = ?1",
        ] {
            connection.prepare_cached(delete)?.execute(params![number])?;
        }
    }
    Ok(())
}

fn update_run(connection: &Connection, number: RunNumber, run: &RunRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE runs SET ended = ?2, outcome = ?3, interrupted = ?4, cells = ?5, built = ?6,
                 current = ?7, failed = ?8, skipped = ?9, steps = ?10, steps_reused = ?11,
                 steps_skipped = ?12, sent = ?13, fetched = ?14
             WHERE number = ?1",
        )?
        .execute(params![
            number.0,
            run.ended,
            run.outcome,
            run.interrupted,
            run.cells,
            run.built,
            run.current,
            run.failed,
            run.skipped,
            run.steps,
            run.steps_reused,
            run.steps_skipped,
            run.sent,
            run.fetched
        ])?;
    Ok(())
}

fn put_step(
    connection: &Connection,
    number: RunNumber,
    project: &str,
    step: &StepRow,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO run_steps (run, step, project, key, kind, name, label, class, outcome,
                 queued, started, ended, sent, fetched, attempts, failure, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(params![
            number.0,
            step.step,
            project,
            step.key.as_bytes(),
            step.kind,
            step.name,
            step.label,
            step.class,
            step.outcome,
            step.queued,
            step.started,
            step.ended,
            step.sent,
            step.fetched,
            step.attempts,
            step.failure,
            step.digest.as_ref().map(Digest::as_bytes)
        ])?;
    Ok(())
}

fn put_cell(connection: &Connection, number: RunNumber, cell: &CellRow) -> rusqlite::Result<()> {
    let references = serde_json::to_string(&cell.references).expect("texts are serialisable");
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO run_cells (run, cell, image, outcome, reason, failure, digest, previous, refs)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            number.0,
            cell.cell,
            cell.image,
            cell.outcome,
            cell.reason,
            cell.failure,
            cell.digest.as_ref().map(Digest::as_bytes),
            cell.previous.as_ref().map(Digest::as_bytes),
            references
        ])?;
    Ok(())
}
