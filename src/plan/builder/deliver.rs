//! What comes behind a finished image: judgement by its files, push or load, checks, tags.

use super::Builder;
use crate::matrix::{Cell, CellId};
use crate::plan::key;
use crate::plan::step::*;

impl Builder<'_> {
    /// The gate, push or load, checks, tags: returns the last steps.
    pub(super) fn deliver(&mut self, id: CellId, steps: &CellSteps) -> Vec<StepId> {
        let matrix = self.matrix;
        let cell = &matrix.cells[id.0];
        let delivery = self.inputs.delivery;
        let tagged = !(cell.references.is_empty() && cell.stamped.is_empty());
        let push = delivery.push && cell.push && tagged;
        let checks = delivery.checks && cell.checks.iter().any(|check| check.command.is_some());
        let provisional = self.provisional(steps.assemble);
        let mut finished = vec![steps.assemble];
        let mut last = vec![steps.assemble];
        if delivery.checks && cell.abi {
            let abi = self.abi(id, cell, steps);
            finished.push(abi);
            last.push(abi);
        }
        // What is judged by the files alone is judged before anything is delivered.
        for (position, check) in cell.checks.iter().enumerate().filter(|_| delivery.checks) {
            if check.command.is_none() {
                let step = self.check(id, steps, position, Class::Cpu, &[steps.assemble]);
                finished.push(step);
                last.push(step);
            }
        }
        let mut ready = steps.assemble;
        if push {
            ready = self.per_cell(id, "push", Class::Transfer, provisional, &finished);
            last[0] = ready;
        }
        let mut before_tags = vec![ready];
        let mut loaded = None;
        if delivery.load || (checks && !push) {
            let load = self.per_cell(id, "load", Class::Transfer, provisional, &finished);
            last.push(load);
            loaded = Some(load);
        }
        if checks {
            let needs: Vec<StepId> = [Some(ready), loaded].into_iter().flatten().collect();
            let run = cell.checks.iter().enumerate().filter(|(_, check)| check.command.is_some());
            for (position, _) in run {
                let step = self.check(id, steps, position, Class::Container, &needs);
                before_tags.push(step);
                last.push(step);
            }
        }
        if push {
            last.push(self.per_cell(id, "tag", Class::Transfer, provisional, &before_tags));
        }
        last
    }

    fn check(
        &mut self,
        id: CellId,
        steps: &CellSteps,
        position: usize,
        class: Class,
        needs: &[StepId],
    ) -> StepId {
        let matrix = self.matrix;
        let cell = &matrix.cells[id.0];
        let check = &cell.checks[position];
        let mut key = self.key("check");
        key.digest(&steps.build_id);
        key::check(&mut key, check);
        if class == Class::Container {
            // It comes behind the cell's own delivery, which another cell's must not decide.
            key.text(&cell.name);
        }
        let kind = StepKind::Check { cell: id, position };
        let provisional = self.provisional(steps.assemble);
        let label = || format!("{} {}", check.name, cell.name);
        self.step(key.finish(), kind, class, provisional, needs, label)
    }

    /// The built-in check, which needs the finished image and nothing but its files.
    fn abi(&mut self, id: CellId, cell: &Cell, steps: &CellSteps) -> StepId {
        let mut key = self.key("abi");
        key.digest(&steps.build_id).number(u64::from(key::ABI_VERSION));
        let provisional = self.provisional(steps.assemble);
        let label = || cell.name.clone();
        self.step(key.finish(), StepKind::Abi(id), Class::Cpu, provisional, &[steps.assemble], label)
    }

    fn per_cell(
        &mut self,
        id: CellId,
        kind: &'static str,
        class: Class,
        provisional: bool,
        needs: &[StepId],
    ) -> StepId {
        let matrix = self.matrix;
        let mut key = self.key(kind);
        key.number(id.0 as u64);
        let kind = match kind {
            "push" => StepKind::Push(id),
            "load" => StepKind::Load(id),
            _ => StepKind::Tag(id),
        };
        self.step(key.finish(), kind, class, provisional, needs, || matrix.cells[id.0].name.clone())
    }
}
