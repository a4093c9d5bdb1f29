//! `[mirrors.NAME]`.

use crate::manifest::reader::Fields;
use crate::manifest::{Diagnostic, Located, Mirror, values};

pub(super) fn mirror(name: Located<String>, fields: &Fields<'_>) -> Mirror {
    let images = fields.some_templates("images", values::mirrored).unwrap_or_default();
    let file = fields.template("file", values::file);
    if fields.lacks("images") && fields.lacks("file") {
        fields.reader().push(
            Diagnostic::new("missing-key", name.at, format!("mirror `{}` lists no images", name.value))
                .label("neither `images` nor `file` is written here")
                .help("add `images = [\"harness/ci-addon:1.14.4\"]`, or `file` with a reference a line"),
        );
    }
    Mirror {
        images,
        file,
        from: fields.template("from", values::repository_prefix),
        to: fields.needed("to", values::repository_prefix),
        referrers: fields.bool("referrers").unwrap_or(false),
        name,
    }
}
