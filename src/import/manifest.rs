//! A model as the text of a manifest.

use std::fmt::Write as _;

use super::model::{Content, Image, Layer, Model, Setup};

/// The manifest's text.
pub(super) fn write(model: &Model) -> String {
    let mut text = format!(
        "# Read from the pipeline {}. `railyard check` says whether it is whole, `railyard plan` what it makes.\nschema = 1\n\n\
         [project]\nname = {}\nrepository = {}\n",
        model.name.replace(char::is_control, " "),
        quote(&model.name),
        quote(&model.repository)
    );
    if !model.vars.is_empty() {
        text += "\n[vars]\n";
        for (name, value) in &model.vars {
            let _ = writeln!(text, "{name} = {}", quote(value));
        }
    }
    let limits = [
        ("memory", model.memory.as_deref().map(quote)),
        ("cpus", model.cpus.clone()),
        ("timeout", model.timeout.as_deref().map(quote)),
    ];
    if limits.iter().any(|(_, value)| value.is_some()) {
        text += "\n[limits]\n";
        for (key, value) in limits.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text += "\n# More runtimes are more rows.\n[axes.runtime]\nvalues = [\n";
    for row in &model.rows {
        let attributes: String =
            row.attributes.iter().map(|(name, value)| format!(", {name} = {}", quote(value))).collect();
        let _ =
            writeln!(text, "  {{ name = {}, base = {}{attributes} }},", quote(&row.name), quote(&row.base));
    }
    text += "]\n";
    for (name, values) in &model.axes {
        let _ = writeln!(text, "\n[axes.{name}]\nvalues = {}", list(values));
    }
    for tool in &model.tools {
        let _ = writeln!(
            text,
            "\n[tools.{}]\nurls = {}\npath = {}",
            tool.name,
            list(&tool.urls),
            quote(&tool.path)
        );
        if let Some(member) = &tool.member {
            let _ = writeln!(text, "extract = {{ members = [{}] }}", quote(member));
        }
        // Tools are executable unless it is said; members keep the archive's modes.
        if tool.member.is_some() || tool.mode != "0755" {
            let _ = writeln!(text, "mode = {}", quote(&tool.mode));
        }
    }
    model.layers.iter().for_each(|one| layer(&mut text, one));
    for (name, script, expect) in &model.checks {
        let _ = writeln!(text, "\n[checks.{name}]\nscript = {}", quote(script));
        if let Some(expect) = expect {
            let _ = writeln!(text, "expect = {}", quote(expect));
        }
    }
    for (at, one) in model.images.iter().enumerate() {
        image(&mut text, model, one, at);
    }
    text
}

fn layer(text: &mut String, layer: &Layer) {
    let _ = write!(text, "\n[layers.{}]\n", layer.name);
    let _ = match &layer.content {
        Content::Copy { from, paths, executable } => {
            let chmod = if *executable { ", chmod = \"a+x\"" } else { "" };
            writeln!(text, "copy = [{{ from = {}, paths = {}{chmod} }}]", quote(from), list(paths))
        }
        Content::Tool(name) => writeln!(text, "tools = [{}]", quote(name)),
        Content::Directories(directories) => {
            text.push_str("dirs = [\n");
            for (path, mode) in directories {
                let mode = mode
                    .as_ref()
                    .map(|mode| format!(", mode = {}", quote(&format!("{mode:0>4}"))))
                    .unwrap_or_default();
                let _ = writeln!(text, "  {{ path = {}{mode} }},", quote(path));
            }
            writeln!(text, "]")
        }
        Content::Run { image, script, keep, reads } => {
            let reads = reads.as_ref().map(|path| format!("reads = [{}], ", quote(path))).unwrap_or_default();
            writeln!(
                text,
                "run = {{ image = {}, script = {}, {reads}cache = [\"/root/.npm\"], keep = {} }}",
                quote(image),
                block(script),
                list(keep)
            )
        }
    };
}

fn image(text: &mut String, model: &Model, image: &Image, at: usize) {
    let _ = write!(text, "\n[images.{}]\n", image.id);
    if at > 0 {
        let _ = writeln!(text, "extends = {}", quote(&model.images[0].id));
    }
    let _ = writeln!(text, "axes = {}", list(&image.axes));
    if at == 0 {
        let _ = writeln!(text, "name = {}", quote(&model.image));
    }
    let _ = writeln!(text, "tags = [{}]", quote(&image.tag));
    if at == 0 {
        text.push_str("base = \"{{ runtime.base }}\"\n");
    }
    let commands: Vec<&Setup> = model.setup.iter().filter(|setup| at > 0 || !setup.extended).collect();
    // The second image inherits those of the first unless it has some of its own.
    if !commands.is_empty() && (at == 0 || model.setup.iter().any(|setup| setup.extended)) {
        text.push_str("setup = [\n");
        for Setup { user, env, script, .. } in commands {
            let user = user.as_ref().map(|user| format!("user = {}, ", quote(user))).unwrap_or_default();
            let env: Vec<String> =
                env.iter().map(|(name, value)| format!("{} = {}", key(name), quote(value))).collect();
            let env =
                if env.is_empty() { String::new() } else { format!("env = {{ {} }}, ", env.join(", ")) };
            let _ = writeln!(text, "  {{ {user}{env}script = {} }},", quote(script));
        }
        text.push_str("]\n");
    }
    // In the order of the Dockerfile, which may put a conditional one between others.
    let layers: Vec<String> = model
        .layers
        .iter()
        .filter(|layer| at > 0 || !layer.extended)
        .map(|layer| layer.name.clone())
        .collect();
    let _ = writeln!(text, "layers = {}", list(&layers));
    if !image.path.is_empty() {
        let _ = writeln!(text, "path = {}", list(&image.path));
    }
    if let Some(user) = &image.user {
        let _ = writeln!(text, "user = {}", quote(user));
    }
    if let Some(entrypoint) = &image.entrypoint {
        let exec: Option<Vec<String>> = serde_json::from_str(entrypoint).ok();
        let exec = exec.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), entrypoint.clone()]);
        let _ = writeln!(text, "entrypoint = {}", list(&exec));
    }
    let mut checks = vec!["abi".to_owned()];
    let last = at + 1 == model.images.len();
    checks.extend(model.checks.iter().filter(|_| last).map(|(name, ..)| name.clone()));
    let _ = writeln!(text, "checks = {}", list(&checks));
    if !image.env.is_empty() {
        let _ = writeln!(text, "\n[images.{}.env]", image.id);
        for (name, value) in &image.env {
            let _ = writeln!(text, "{} = {}", key(name), quote(value));
        }
    }
    if at == 0 && !model.outputs.is_empty() {
        let _ = writeln!(text, "\n[images.{}.outputs]", image.id);
        for (name, value) in &model.outputs {
            let _ = writeln!(text, "{} = {}", key(name), quote(value));
        }
    }
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A key as it is, or in quotes.
fn key(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !text.is_empty() && text.chars().all(is_bare) { text.to_owned() } else { quote(text) }
}

/// A TOML string of one line.
fn quote(text: &str) -> String {
    // As it is where nothing would have to be escaped but what is easier to read without.
    if text.contains(['"', '\\']) && !text.contains(|c: char| c == '\'' || c.is_control()) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A TOML string of several lines.
fn block(text: &str) -> String {
    let is_plain = |c: char| c == '\n' || !(c.is_control() || matches!(c, '\\' | '"'));
    match text.contains('\n') && text.chars().all(is_plain) {
        true => format!("\"\"\"\n{text}\n\"\"\""),
        false => quote(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_texts_are_read_back() {
        let texts = [
            "",
            "a",
            "a\"b",
            "\\d'\"",
            "'",
            "\n\na\tb\r",
            "\u{0}\u{7f}\u{85}é",
            "\u{27}\u{27}\u{27}",
            "\"\"\"",
            "a.b",
            "@a/b",
        ];
        for text in texts {
            let document = format!("{} = [{}, {}]\n", key(text), quote(text), block(text));
            let table: toml::Table = document.parse().unwrap_or_else(|e| panic!("{document}: {e}"));
            let values = table[text].as_array().unwrap();
            assert_eq!(values[0].as_str(), Some(text));
            assert_eq!(
                values[1].as_str().map(|read| read.trim_end_matches('\n')),
                Some(text.trim_end_matches('\n'))
            );
        }
    }
}
