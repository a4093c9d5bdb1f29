//! `include`, `exclude` and `zip`: do they fit the axes of their image.

use std::collections::{BTreeMap, BTreeSet};

use globset::Glob;

use crate::manifest::nearest::did_you_mean;
use crate::manifest::{Axis, Diagnostic, Diagnostics, Image, Located, Location, Manifest, Row, Sources};

/// Checks the rows of every image. What is inherited is reported once, for the first image.
pub(in crate::manifest) fn rows(manifest: &Manifest, unsure: &BTreeSet<String>, problems: &mut Diagnostics) {
    let mut found = Diagnostics::default();
    for image in manifest.images.iter().filter(|image| !unsure.contains(&image.id.value)) {
        let axes: Vec<&Axis> = image
            .axes
            .iter()
            .filter_map(|name| manifest.axes.iter().find(|axis| axis.name.value == name.value))
            .collect();
        let rows = Rows { sources: &manifest.sources, image, axes };
        for row in &image.include {
            rows.include(row, &mut found);
        }
        for row in &image.exclude {
            rows.exclude(row, &mut found);
        }
        rows.zip(&mut found);
    }
    let mut reported = BTreeSet::new();
    for problem in found.0 {
        let place = problem.labels.first().map(|label| label.at);
        if reported.insert((problem.code, place)) {
            problems.push(problem);
        }
    }
}

struct Rows<'a> {
    sources: &'a Sources,
    image: &'a Image,
    axes: Vec<&'a Axis>,
}

impl Rows<'_> {
    fn include(&self, row: &Row, problems: &mut Diagnostics) {
        for (axis, value) in self.known_axes(row, problems) {
            if !axis.values.iter().any(|v| v.name.value == value.value) {
                self.unknown_value(axis, value, problems);
            }
        }
        let missing: Vec<&str> = self
            .image
            .axes
            .iter()
            .map(|axis| axis.value.as_str())
            .filter(|axis| !row.values.contains_key(*axis))
            .collect();
        if !missing.is_empty() && !row.values.is_empty() {
            let missing = missing.join("`, `");
            let message = format!("this row of `include` leaves out `{missing}`");
            problems.push(Diagnostic::new("incomplete-row", row.at, message).label("not a whole cell").help(
                format!(
                    "an added cell has a value for each axis of `{}`: add `{missing}`",
                    self.image.id.value
                ),
            ));
        }
        self.refuse_empty(row, "include", problems);
    }

    fn exclude(&self, row: &Row, problems: &mut Diagnostics) {
        for (axis, value) in self.known_axes(row, problems) {
            match Glob::new(&value.value) {
                Err(error) => problems.push(
                    Diagnostic::new("malformed-glob", value.at, format!("malformed glob: {}", error.kind()))
                        .help("`*` is any text, `?` one character, `[ab]` one of these, `{a,b}` one of these texts"),
                ),
                Ok(glob) => {
                    let matcher = glob.compile_matcher();
                    // Versions come and go: a row that excludes one may match nothing today.
                    let any = axis.discovery.is_some() || axis.values.iter().any(|v| v.name.value == value.value || matcher.is_match(&v.name.value));
                    if !any {
                        self.unknown_value(axis, value, problems);
                    }
                }
            }
        }
        self.refuse_empty(row, "exclude", problems);
    }

    fn refuse_empty(&self, row: &Row, key: &str, problems: &mut Diagnostics) {
        // A row of texts alone has been reported; only `{ }` is empty.
        let text = self.sources.text(row.at.file).get(row.at.range()).unwrap_or("");
        let blank = text.chars().all(|c| c.is_whitespace() || matches!(c, '{' | '}'));
        if row.values.is_empty() && blank {
            problems.push(
                Diagnostic::new("empty-row", row.at, format!("this row of `{key}` names no axis"))
                    .label("nothing in it")
                    .help("write `{ axis = \"value\" }`, or remove the row"),
            );
        }
    }

    /// The values of a row whose axis the image has; others are reported.
    fn known_axes<'r>(
        &'r self,
        row: &'r Row,
        problems: &mut Diagnostics,
    ) -> Vec<(&'r Axis, &'r Located<String>)> {
        let mut known = Vec::new();
        for (name, value) in &row.values {
            match self.axes.iter().find(|axis| axis.name.value == *name) {
                Some(axis) => known.push((*axis, value)),
                None => self.unknown_axis(name, self.key_place(row, name, value), problems),
            }
        }
        known
    }

    /// Where the name of an axis stands in a row: before its value.
    fn key_place(&self, row: &Row, name: &str, value: &Located<String>) -> Location {
        let between = self.sources.text(row.at.file).get(row.at.start as usize..value.at.start as usize);
        match between.and_then(|text| text.rfind(name)) {
            Some(offset) => {
                let start = row.at.start + offset as u32;
                Location { start, end: start + name.len() as u32, ..row.at }
            }
            None => value.at,
        }
    }

    fn unknown_axis(&self, name: &str, at: Location, problems: &mut Diagnostics) {
        let own = self.image.axes.iter().map(|axis| axis.value.as_str());
        problems.push(
            Diagnostic::new(
                "unknown-axis",
                at,
                format!("image `{}` has no axis `{name}`", self.image.id.value),
            )
            .label("not one of its axes")
            .help(did_you_mean(name, own, "axes of this image")),
        );
    }

    fn unknown_value(&self, axis: &Axis, value: &Located<String>, problems: &mut Diagnostics) {
        if axis.values.is_empty() {
            return;
        }
        let known = axis.values.iter().map(|v| v.name.value.as_str());
        let message = format!("axis `{}` has no value `{}`", axis.name.value, value.value);
        let help = did_you_mean(&value.value, known, "values");
        let problem = Diagnostic::new("unknown-value", value.at, message).label("matches no value");
        problems.push(match &axis.discovery {
            None => problem.help(help),
            Some(found) => problem
                .also(found.at, "what the lock has found for this")
                .help(format!("{help}, or run `railyard update {}`", axis.name.value)),
        });
    }

    fn zip(&self, problems: &mut Diagnostics) {
        let mut seen: BTreeMap<&str, Location> = BTreeMap::new();
        for group in &self.image.zip {
            for name in group {
                let listed = self.image.axes.iter().any(|axis| axis.value == name.value);
                if !listed {
                    self.unknown_axis(&name.value, name.at, problems);
                }
                if let Some(first) = seen.insert(&name.value, name.at) {
                    let message = format!("axis `{}` stands twice in `zip`", name.value);
                    problems.push(
                        Diagnostic::new("zipped-twice", name.at, message)
                            .label("again here")
                            .also(first, "first here")
                            .help("an axis advances in one group: make one group of both, or remove it from one"),
                    );
                }
            }
            self.unequal(group, problems);
            if let [only] = group.as_slice() {
                problems.push(
                    Diagnostic::new("short-zip", only.at, "a group of `zip` needs two axes")
                        .label("alone in its group")
                        .help("add the axis that advances with it, or remove the group"),
                );
            }
        }
    }

    fn unequal(&self, group: &[Located<String>], problems: &mut Diagnostics) {
        let axes: Vec<(&Axis, &Located<String>)> = group
            .iter()
            .filter_map(|name| {
                self.axes.iter().find(|axis| axis.name.value == name.value).map(|a| (*a, name))
            })
            .filter(|(axis, _)| !axis.values.is_empty())
            .collect();
        let Some(((first, first_name), others)) = axes.split_first() else { return };
        if others.iter().all(|(axis, _)| axis.values.len() == first.values.len()) {
            return;
        }
        let count = |axis: &Axis| match axis.values.len() {
            1 => "1 value".to_owned(),
            n => format!("{n} values"),
        };
        let lengths: Vec<String> =
            axes.iter().map(|(axis, _)| format!("`{}` has {}", axis.name.value, count(axis))).collect();
        let problem = Diagnostic::new(
            "unequal-zip",
            first_name.at,
            format!("zipped axes differ in length: {}", lengths.join(", ")),
        )
        .label(count(first))
        .help("axes that advance together have one value for each step: add or remove values");
        problems
            .push(others.iter().fold(problem, |problem, (axis, name)| problem.also(name.at, count(axis))));
    }
}
