//! Scripts: `run` of layers, `setup` of images, `[checks.NAME]`.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::settings::step_limits;
use crate::manifest::grammar::Table;
use crate::manifest::reader::Fields;
use crate::manifest::values::{self, Fault};
use crate::manifest::{
    ABI_CHECK, Check, Command, Diagnostic, ImageSource, Located, Location, Run, Template, grammar,
};

/// A command; `cache` and `secrets` are read where the table may have them.
pub(super) fn command(fields: &Fields<'_>, spec: &'static Table) -> Command {
    let (cache, secrets) = if spec.key("secrets").is_some() {
        (fields.templates("cache", values::path).unwrap_or_default(), secrets(fields))
    } else {
        (Vec::new(), BTreeMap::new())
    };
    fields.refuse_empty("shell");
    Command {
        at: fields.at(),
        when: spec.key("when").and_then(|_| fields.condition("when")),
        script: fields.needed("script", values::anything),
        shell: fields.texts("shell").map(|shell| shell.into_iter().map(|word| word.value).collect()),
        env: fields
            .template_map("env", values::variable)
            .into_iter()
            .map(|(name, value)| (name.value, value))
            .collect(),
        user: fields.template("user", values::anything),
        workdir: fields.template("workdir", values::path),
        cache,
        secrets,
        limits: step_limits(fields),
    }
}

fn secrets(fields: &Fields<'_>) -> BTreeMap<String, Located<String>> {
    let reader = fields.reader();
    fields
        .map("secrets", values::secret_file)
        .filter_map(|(name, value)| {
            let variable = reader.plain(value)?;
            if let Err(fault) = values::variable(&variable.value) {
                reader.fault(variable.at, fault);
            }
            Some((name.value, variable))
        })
        .collect()
}

pub(super) fn run(fields: &Fields<'_>) -> Run {
    let keep = fields.some_templates("keep", values::path);
    if fields.lacks("keep") {
        fields.reader().push(
            Diagnostic::new("run-without-keep", fields.at(), "`run` keeps nothing")
                .label("`keep` is missing here")
                .help("add `keep = [\"/path\"]`: the paths that become the layer"),
        );
    }
    let image = fields.get("image").and_then(|value| source(fields, value, false));
    Run {
        at: fields.at(),
        image: image.unwrap_or(ImageSource::Scratch),
        keep: keep.unwrap_or_default(),
        reads: fields.some_templates("reads", values::path).unwrap_or_default(),
        command: command(fields, &grammar::RUN),
    }
}

/// Judges the name of a check.
pub(super) fn name(text: &str) -> Result<(), Fault> {
    if text == ABI_CHECK {
        return Err(Fault {
            code: "built-in-check",
            message: format!("the check `{text}` is built in"),
            help: format!("rename this one; `checks = [\"{text}\"]` needs no definition"),
        });
    }
    values::name("a check", text)
}

pub(super) fn check(name: Located<String>, fields: &Fields<'_>) -> Check {
    super::contents::complete(&name, fields);
    Check {
        name,
        command: (!fields.lacks("script")).then(|| command(fields, &grammar::CHECK)),
        exit: fields.integer("exit").unwrap_or(0),
        expect: fields.template("expect", values::anything),
        files: super::contents::files(fields),
        size: super::contents::size(fields),
    }
}

/// `base` and `run.image`: a text, or `{ image = "name" }`.
pub(super) fn source<'a>(
    fields: &Fields<'a>,
    value: &'a Spanned<DeValue<'a>>,
    scratch: bool,
) -> Option<ImageSource> {
    if let Some(table) = fields.inner(value, &grammar::MATRIX_IMAGE) {
        return table.located("image").map(ImageSource::Matrix);
    }
    if value.get_ref().as_str() == Some("scratch") {
        if !scratch {
            refuse_scratch(fields, fields.reader().at(&value.span()), "no command runs in an empty image");
        }
        return Some(ImageSource::Scratch);
    }
    let template: Template = fields.reader().template(value, values::reference)?;
    Some(ImageSource::Reference(template))
}

/// Reports `scratch` where an image with files is wanted.
pub(super) fn refuse_scratch(fields: &Fields<'_>, at: Location, why: &str) {
    fields.reader().push(
        Diagnostic::new("malformed-reference", at, format!("`scratch` cannot be used here: {why}"))
            .help("name an image that has files, by its reference or as `image` of the matrix"),
    );
}
