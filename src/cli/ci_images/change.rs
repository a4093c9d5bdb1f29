//! `ci-images update` and `reset`: shown, sent with --apply, and confirmed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::connection::failed;
use super::{Desk, pretty};
use crate::ci_images::{Change, Config, ConfigApi, resets, updates};
use crate::cli::DocumentFormat;
use crate::cli::exit::{Exit, first_of, print, say};
use crate::oci::Reference;

impl Desk<'_> {
    /// `railyard ci-images update`.
    pub(super) async fn update(&self, given: &[String], qualified: bool, apply: bool) -> Result<(), Exit> {
        let given = parse_changes(given)?;
        let (defaults, overrides) = self.configs().await?;
        for field in given.keys() {
            if !defaults.fields.contains_key(field) && !self.facts.fields.contains_key(field) {
                say(&format!(
                    "note: `{field}` is no field of the defaults, nor one that is known; it is set as it stands"
                ));
            }
        }
        let wanted: Vec<(String, String)> = match given.is_empty() {
            false => given.into_iter().collect(),
            true => defaults
                .fields
                .keys()
                .filter_map(|field| Some((field.clone(), defaults.image(field)?.to_owned())))
                .collect(),
        };
        let mut changes = Vec::new();
        let mut left_out = Vec::new();
        for (field, image) in wanted {
            let value = match self.mirror.filter(|_| qualified) {
                Some(mirror) => mirror.place(&image).map_or(image.clone(), |place| place.to_string()),
                None => image.clone(),
            };
            match self.mirror {
                Some(mirror) if mirror.has(&image).await? != Some(true) => {
                    left_out.push(json!({ "field": field, "value": value, "why": "not mirrored" }));
                }
                _ => changes.push(Change { field, value }),
            }
        }
        let changes = updates(&changes, &overrides);
        let kept = kept(&overrides, &defaults);
        let body = ConfigApi::update_body(&changes);
        let shown = self.show("update-config", &body, &left_out, &kept, apply);
        if apply && !changes.is_empty() {
            self.api.update(&changes).await.map_err(failed)?;
            let after = self.api.customer(false).await.map_err(failed)?;
            let wrong = changes.iter().filter(|c| after.image(&c.field) != Some(c.value.as_str()));
            self.confirm(wrong.map(|change| change.field.clone()).collect(), changes.len())?;
        }
        let is_good = !apply || left_out.is_empty();
        first_of([if is_good { Ok(()) } else { Err(Exit::Failed) }, shown])
    }

    /// `railyard ci-images reset`.
    pub(super) async fn reset(&self, named: &[String], apply: bool) -> Result<(), Exit> {
        let (defaults, overrides) = self.configs().await?;
        let fields = resets(named, &overrides);
        for field in named.iter().filter(|field| !fields.contains(field)) {
            let why = match defaults.fields.contains_key(field) {
                true => "has its default already",
                false => "is no field of the account's configuration",
            };
            say(&format!("note: `{field}` {why}"));
        }
        let body = ConfigApi::reset_body(&fields);
        let shown = self.show("reset-config", &body, &[], &[], apply);
        if apply && !fields.is_empty() {
            self.api.reset(&fields).await.map_err(failed)?;
            let after = self.api.customer(true).await.map_err(failed)?;
            let wrong = resets(&fields, &after);
            self.confirm(wrong, fields.len())?;
        }
        shown
    }

    /// The request's body, and what is not in it.
    fn show(
        &self,
        request: &str,
        body: &Value,
        left_out: &[Value],
        kept: &[String],
        apply: bool,
    ) -> Result<(), Exit> {
        if self.format == DocumentFormat::Json {
            return print(&pretty(&json!({
                "request": format!("POST {}", self.api.address(request)),
                "body": body, "left_out": left_out, "kept": kept, "applied": apply,
            })));
        }
        let mut text = String::new();
        if body.as_array().is_none_or(Vec::is_empty) {
            text.push_str("nothing to change\n");
        } else {
            let verb = if apply { "sending" } else { "would send" };
            text.push_str(&format!("{verb} POST {}\n{}", self.api.address(request), pretty(body)));
        }
        for entry in left_out {
            let word = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            text.push_str(&format!("left out {}={}: {}\n", word("field"), word("value"), word("why")));
        }
        for field in kept {
            text.push_str(&format!("kept     {field}: set, and no field of the defaults\n"));
        }
        if !apply && body.as_array().is_some_and(|list| !list.is_empty()) {
            text.push_str("nothing was sent; --apply sends it\n");
        }
        print(&text)
    }

    /// Says whether the account has what was sent.
    fn confirm(&self, wrong: Vec<String>, sent: usize) -> Result<(), Exit> {
        if wrong.is_empty() {
            say(&format!("the account has all {sent} changes"));
            return Ok(());
        }
        Err(Exit::Environment(format!(
            "error: the API took the request, but the account does not show it for {}\n  help: look again with `railyard ci-images diff`",
            wrong.join(", ")
        )))
    }
}

/// Fields that are set and that the defaults lack.
fn kept(overrides: &Config, defaults: &Config) -> Vec<String> {
    let fields = overrides.fields.iter().filter(|(_, value)| !value.is_null()).map(|(field, _)| field);
    fields.filter(|field| !defaults.fields.contains_key(*field)).cloned().collect()
}

fn parse_changes(texts: &[String]) -> Result<BTreeMap<String, String>, Exit> {
    let mut changes = BTreeMap::new();
    let mut problems = Vec::new();
    for text in texts {
        match text.split_once('=') {
            Some((field, image)) if !field.is_empty() => match image.parse::<Reference>() {
                Ok(reference) if reference.tag.is_none() && reference.digest.is_none() => {
                    problems.push(format!("`{text}`: the image has no tag"));
                }
                Ok(_) => {
                    if changes.insert(field.to_owned(), image.to_owned()).is_some() {
                        problems.push(format!("`{field}` is given twice"));
                    }
                }
                Err(error) => problems.push(error.to_string()),
            },
            _ => problems.push(format!("`{text}` is not FIELD=IMAGE")),
        }
    }
    if problems.is_empty() {
        return Ok(changes);
    }
    Err(Exit::Usage(format!(
        "error: {}\n  help: write e.g. `gitCloneTag=harness/drone-git:1.1.0-rootless`",
        problems.join("\n  ")
    )))
}
