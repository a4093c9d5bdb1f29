//! Views of a plan document: table, Graphviz, Mermaid.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::estimate;
use crate::plan::{Action, PlanDocument, StepDocument, UNRECORDED, WhatIf};

/// Cells and distinct steps for people.
pub fn table(plan: &PlanDocument) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} for {}", plan.project, plan.platform);
    if let Some(supposed) = &plan.what_if {
        what_if(&mut text, supposed);
    }
    let _ = writeln!(text, "\nCELLS");
    for cell in plan.cells.iter() {
        let reference = cell.references.first().map(String::as_str).unwrap_or("-");
        let action = match plan.steps[cell.assemble as usize].action {
            Action::Run => "build",
            Action::Reuse => "known",
            Action::Skip => "skip",
        };
        let note = if cell.chosen { "" } else { "  (needed by others)" };
        match cell.status {
            None => {
                let _ = writeln!(text, "{action:<5}  {}  {reference}{note}", cell.name);
            }
            Some(status) => {
                let _ = writeln!(text, "{:<8} {}  {reference}{note}", status.name(), cell.name);
            }
        }
        for reason in &cell.reasons {
            let _ = writeln!(text, "         {reason}");
        }
    }
    if !plan.mirrors.is_empty() {
        let _ = writeln!(text, "\nMIRRORED IMAGES");
    }
    for image in &plan.mirrors {
        let _ = writeln!(text, "{:<8} {}  {}", image.action.name(), image.image, image.target);
        if let Some(reason) = &image.reason {
            let _ = writeln!(text, "         {reason}");
        }
    }
    let _ = writeln!(text, "\nSTEPS");
    let mut shown: Vec<&StepDocument> = plan
        .steps
        .iter()
        .filter(|s| matches!(s.kind, "resolve" | "index" | "artifact" | "dockerfile" | "setup" | "check"))
        .collect();
    shown.sort_by_key(|s| (rank(s.kind), s.id));
    for step in shown.iter().filter(|s| s.kind != "check") {
        let action = match step.action {
            Action::Run => "run",
            Action::Reuse => "reuse",
            Action::Skip => "skip",
        };
        let pending = if step.provisional { "  (not locked yet)" } else { "" };
        let _ = writeln!(text, "{action:<5}  {:<8}  x{:<4} {}{pending}", step.kind, step.asked, step.label);
        if step.action == Action::Run && !step.provisional && step.reason != UNRECORDED {
            let _ = writeln!(text, "                       {}", step.reason);
        }
    }
    let totals = &plan.totals;
    let _ = writeln!(text, "\nTOTALS");
    let _ = writeln!(
        text,
        "{} cells ask for {} steps; {} are distinct, {} to run, {} to reuse",
        totals.cells, totals.asked, totals.steps, totals.run, totals.reuse
    );
    let kinds: Vec<String> = totals
        .by_kind
        .iter()
        .map(|(kind, n)| format!("{kind} {}/{n}", totals.run_by_kind.get(kind).copied().unwrap_or(0)))
        .collect();
    let _ = writeln!(text, "to run of distinct: {}", kinds.join(", "));
    let _ = writeln!(text, "\nCRITICAL PATH");
    for id in &plan.critical_path {
        let step = &plan.steps[*id as usize];
        let _ = writeln!(text, "{:<8}  {}", step.kind, step.label);
    }
    let _ = writeln!(text, "\nestimate: {}", estimate(&plan.estimate));
    text
}

/// What supposed changes touch.
fn what_if(text: &mut String, supposed: &WhatIf) {
    let _ = writeln!(text, "\nIF {}", supposed.changes.join(" and "));
    let _ = writeln!(
        text,
        "{} cells would be other images, {} would come, {} would go, {} would stay",
        supposed.changed.len(),
        supposed.added.len(),
        supposed.removed.len(),
        supposed.untouched
    );
    let lists = [("change", &supposed.changed), ("come", &supposed.added), ("go", &supposed.removed)];
    for (word, cell) in lists.iter().flat_map(|(word, cells)| cells.iter().map(move |cell| (word, cell))) {
        let _ = writeln!(text, "{word:<8} {cell}");
    }
}

fn rank(kind: &str) -> u8 {
    match kind {
        "resolve" => 0,
        "index" => 1,
        "artifact" => 2,
        "setup" => 3,
        _ => 4,
    }
}

/// The DAG for Graphviz.
pub fn dot(plan: &PlanDocument) -> String {
    let mut text =
        String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for step in &plan.steps {
        let label = format!("{}\\n{}", step.kind, step.label.replace('\\', "\\\\").replace('"', "\\\""));
        let style = match step.action {
            Action::Run => "solid",
            Action::Reuse => "dashed",
            Action::Skip => "dotted",
        };
        let _ = writeln!(text, "  s{} [label=\"{label}\", style={style}];", step.id);
        for need in &step.needs {
            let _ = writeln!(text, "  s{need} -> s{};", step.id);
        }
    }
    text.push_str("}\n");
    text
}

/// The DAG for Mermaid.
pub fn mermaid(plan: &PlanDocument) -> String {
    let mut text = String::from("flowchart LR\n");
    let classes: BTreeMap<Action, &str> =
        [(Action::Run, "run"), (Action::Reuse, "reuse"), (Action::Skip, "skip")].into();
    for step in &plan.steps {
        let label = step.label.replace('"', "#quot;").replace(['<', '>'], "");
        let _ = writeln!(text, "  s{}[\"{}: {label}\"]:::{}", step.id, step.kind, classes[&step.action]);
        for need in &step.needs {
            let _ = writeln!(text, "  s{need} --> s{}", step.id);
        }
    }
    text.push_str(
        "  classDef reuse stroke-dasharray: 4 4\n  classDef skip stroke-dasharray: 1 4,color:#888\n",
    );
    text
}
