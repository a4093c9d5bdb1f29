//! Checks that need no container: `files` and `size` of `[checks.NAME]`.

use crate::manifest::reader::Fields;
use crate::manifest::{Chmod, Diagnostic, FileCheck, FileKind, Located, SizeBudget, grammar, values};

/// Keys that say how a script is run or judged.
const OF_SCRIPT: [&str; 10] =
    ["shell", "exit", "expect", "env", "user", "workdir", "memory", "cpus", "timeout", "network"];

/// Reports a check that has nothing to judge, or says how to judge what it does not have.
pub(super) fn complete(name: &Located<String>, fields: &Fields<'_>) {
    let reader = fields.reader();
    if !fields.lacks("script") {
        return;
    }
    let idle: Vec<&str> = OF_SCRIPT.into_iter().filter(|key| fields.key_at(key).is_some()).collect();
    let judges = !(fields.lacks("files") && fields.lacks("size"));
    if !judges && fields.others().next().is_none() {
        reader.push(
            Diagnostic::new("empty-check", name.at, format!("check `{}` has nothing to judge", name.value))
                .label("neither `script`, `files` nor `size`")
                .help("add `script = \"…\"`, `files = [{ path = \"…\" }]` or `size = { image = \"…\" }`"),
        );
    } else if let (Some(at), true) = (idle.first().and_then(|key| fields.key_at(key)), judges) {
        let (keys, verb) = (idle.join("`, `"), if idle.len() == 1 { "has" } else { "have" });
        let message = format!("`{keys}` {verb} no meaning in check `{}`: it has no `script`", name.value);
        reader
            .push(Diagnostic::new("check-without-script", at, message).help("add `script`, or remove this"));
    }
}

/// `files`.
pub(super) fn files(fields: &Fields<'_>) -> Vec<FileCheck> {
    fields.refuse_empty("files");
    fields.tables("files", &grammar::CHECK_FILE).unwrap_or_default().iter().map(file).collect()
}

fn file(fields: &Fields<'_>) -> FileCheck {
    let absent = fields.bool("absent").unwrap_or(false);
    let said = ["type", "mode", "owner"].into_iter().find_map(|key| Some((key, fields.key_at(key)?)));
    if let (true, Some((key, at)), Some(absent)) = (absent, said, fields.key_at("absent")) {
        fields.reader().push(
            Diagnostic::new("exclusive-keys", at, format!("`{key}` of a path that must be absent"))
                .label("what is not there has none")
                .also(absent, "absent")
                .help("remove one of the two"),
        );
    }
    let kind = fields.located("type").and_then(|kind| {
        [FileKind::File, FileKind::Directory, FileKind::Link].into_iter().find(|k| k.name() == kind.value)
    });
    let mode = fields.value("mode", values::octal).map(|mode| match mode.value {
        Chmod::Octal(bits) => bits,
        symbolic @ Chmod::Symbolic(_) => symbolic.apply(0, false),
    });
    FileCheck {
        path: fields.needed("path", values::path),
        kind,
        mode,
        owner: fields.value("owner", values::owner).map(|owner| owner.value),
        absent,
    }
}

/// `size`.
pub(super) fn size(fields: &Fields<'_>) -> SizeBudget {
    let Some(table) = fields.table("size", &grammar::CHECK_SIZE) else { return SizeBudget::default() };
    let limit = |key| table.value(key, values::size).map(|size| size.value);
    if table.lacks("image") && table.lacks("added") {
        table.reader().push(
            Diagnostic::new("missing-key", table.at(), "`size` has no limit")
                .label("`image` or `added` is missing here")
                .help("add `image = \"…\"` for all layers, `added = \"…\"` for those above the base"),
        );
    }
    SizeBudget { image: limit("image"), added: limit("added") }
}
