//! Reading of runs.

use rusqlite::{OptionalExtension, Row, params};

use super::{CellChange, CellRow, RunRow, StepCost, StepRow};
use crate::oci::Digest;
use crate::store::{Store, StoreError, database};

/// How many recent steps of a group say what is typical of it.
const SAMPLE: u32 = 128;

impl Store {
    /// The last runs, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn runs(&self, most: u32) -> Result<Vec<RunRow>, StoreError> {
        let runs = self.rows("SELECT * FROM runs ORDER BY number DESC LIMIT ?1", params![most], run_row)?;
        Ok(runs.into_iter().map(|run| RunRow { running: self.goes_on(&run), ..run }).collect())
    }

    /// A run by its id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn run(&self, id: &str) -> Result<Option<RunRow>, StoreError> {
        let run = self.rows("SELECT * FROM runs WHERE id = ?1", params![id], run_row)?.pop();
        Ok(run.map(|run| RunRow { running: self.goes_on(&run), ..run }))
    }

    /// The steps of a run that were begun, in order of their beginning.
    ///
    /// # Errors
    /// When the database fails.
    pub fn run_steps(&self, id: &str) -> Result<Vec<StepRow>, StoreError> {
        let query = "SELECT s.* FROM run_steps s JOIN runs r ON r.number = s.run WHERE r.id = ?1
                     ORDER BY s.started, s.step";
        self.rows(query, params![id], step_row)
    }

    /// Name and image of each cell that was ever recorded.
    ///
    /// # Errors
    /// When the database fails.
    pub fn recorded_cells(&self) -> Result<Vec<(String, String)>, StoreError> {
        let query = "SELECT DISTINCT cell, image FROM run_cells ORDER BY cell";
        self.rows(query, params![], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// What happened to a cell, newest first; runs in which it was current only with `all`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cell_changes(&self, cell: &str, all: bool, most: u32) -> Result<Vec<CellChange>, StoreError> {
        let query = "
            SELECT r.id, r.project, r.started, c.cell, c.image, c.outcome, c.reason, c.failure, c.digest,
                coalesce(c.previous, (
                    SELECT p.digest FROM run_cells p JOIN runs q ON q.number = p.run
                    WHERE p.cell = c.cell AND p.run < c.run AND q.project = r.project
                        AND p.outcome IN ('built', 'current')
                    ORDER BY p.run DESC LIMIT 1
                )), c.refs
            FROM run_cells c JOIN runs r ON r.number = c.run
            WHERE c.cell = ?1 AND (?2 OR c.outcome <> 'current')
            ORDER BY c.run DESC LIMIT ?3";
        self.rows(query, params![cell, all, most], |row| {
            Ok(CellChange {
                run: row.get(0)?,
                project: row.get(1)?,
                started: row.get(2)?,
                cell: cell_row(row)?,
            })
        })
    }

    /// Whether any step was ever recorded.
    ///
    /// # Errors
    /// When the database fails.
    pub fn has_history(&self) -> Result<bool, StoreError> {
        self.connection()
            .prepare_cached("SELECT 1 FROM run_steps LIMIT 1")
            .and_then(|mut statement| statement.exists([]))
            .map_err(database("read the history"))
    }

    /// What the last step with this key took that succeeded.
    ///
    /// # Errors
    /// When the database fails.
    pub fn last_cost(&self, key: &Digest) -> Result<Option<StepCost>, StoreError> {
        self.connection()
            .prepare_cached(
                "SELECT ended - started, sent, fetched FROM run_steps
                 WHERE key = ?1 AND outcome = 'succeeded' ORDER BY run DESC LIMIT 1",
            )
            .and_then(|mut statement| statement.query_row(params![key.as_bytes()], cost).optional())
            .map_err(database("read the history"))
    }

    /// What the last steps of a group took that succeeded.
    ///
    /// # Errors
    /// When the database fails.
    pub fn recent_costs(&self, project: &str, kind: &str, name: &str) -> Result<Vec<StepCost>, StoreError> {
        let query = "SELECT ended - started, sent, fetched FROM run_steps
                     WHERE project = ?1 AND kind = ?2 AND name = ?3 AND outcome = 'succeeded'
                     ORDER BY run DESC LIMIT ?4";
        self.rows(query, params![project, kind, name, SAMPLE], cost)
    }

    fn rows<T>(
        &self,
        query: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.connection()
            .prepare_cached(query)
            .and_then(|mut statement| statement.query_map(parameters, read)?.collect())
            .map_err(database("read the history"))
    }
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        id: row.get("id")?,
        project: row.get("project")?,
        manifest: row.get("manifest")?,
        version: row.get("version")?,
        arguments: texts(&row.get::<_, String>("arguments")?),
        estimated: row.get("estimated")?,
        started: row.get("started")?,
        ended: row.get("ended")?,
        outcome: row.get("outcome")?,
        running: false,
        interrupted: row.get("interrupted")?,
        cells: row.get("cells")?,
        built: row.get("built")?,
        current: row.get("current")?,
        failed: row.get("failed")?,
        skipped: row.get("skipped")?,
        steps: row.get("steps")?,
        steps_reused: row.get("steps_reused")?,
        steps_skipped: row.get("steps_skipped")?,
        sent: row.get("sent")?,
        fetched: row.get("fetched")?,
    })
}

fn step_row(row: &Row<'_>) -> rusqlite::Result<StepRow> {
    Ok(StepRow {
        step: row.get("step")?,
        key: Digest::from(row.get::<_, [u8; 32]>("key")?),
        kind: row.get("kind")?,
        name: row.get("name")?,
        label: row.get("label")?,
        class: row.get("class")?,
        outcome: row.get("outcome")?,
        queued: row.get("queued")?,
        started: row.get("started")?,
        ended: row.get("ended")?,
        sent: row.get("sent")?,
        fetched: row.get("fetched")?,
        attempts: row.get("attempts")?,
        failure: row.get("failure")?,
        digest: row.get::<_, Option<[u8; 32]>>("digest")?.map(Digest::from),
    })
}

fn cell_row(row: &Row<'_>) -> rusqlite::Result<CellRow> {
    Ok(CellRow {
        cell: row.get(3)?,
        image: row.get(4)?,
        outcome: row.get(5)?,
        reason: row.get(6)?,
        failure: row.get(7)?,
        digest: row.get::<_, Option<[u8; 32]>>(8)?.map(Digest::from),
        previous: row.get::<_, Option<[u8; 32]>>(9)?.map(Digest::from),
        references: texts(&row.get::<_, String>(10)?),
    })
}

fn texts(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}

fn cost(row: &Row<'_>) -> rusqlite::Result<StepCost> {
    Ok(StepCost { micros: row.get(0)?, sent: row.get(1)?, fetched: row.get(2)? })
}
