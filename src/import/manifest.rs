//! A model as the text of a manifest.

use std::fmt::Write as _;

use super::model::{Content, Image, Layer, Model};

/// The manifest's text.
pub(super) fn write(model: &Model) -> String {
    let mut text = format!(
        "# Read from the pipeline {}. `railyard check` says whether it is whole, `railyard plan` what it makes.\nschema = 1\n\n\
         [project]\nname = {}\nrepository = {}\n",
        model.name.replace('\n', " "),
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
            let _ = writeln!(text, "extract = {{ members = [{}] }}\nmode = \"0755\"", quote(member));
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
        if !model.setup.is_empty() {
            text.push_str("setup = [\n");
            for (_, script) in &model.setup {
                let _ = writeln!(text, "  {{ user = \"root\", script = {} }},", quote(script));
            }
            text.push_str("]\n");
        }
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
            let _ = writeln!(text, "{name} = {}", quote(value));
        }
    }
    if at == 0 && !model.outputs.is_empty() {
        let _ = writeln!(text, "\n[images.{}.outputs]", image.id);
        for (name, value) in &model.outputs {
            let _ = writeln!(text, "{name} = {}", quote(value));
        }
    }
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A TOML string of one line.
fn quote(text: &str) -> String {
    toml::Value::String(text.replace('\t', " ")).to_string().replace("'''\n", "'''")
}

/// A TOML string of several lines.
fn block(text: &str) -> String {
    match text.contains(['\\', '"']) || !text.contains('\n') {
        true => quote(text),
        false => format!("\"\"\"\n{text}\n\"\"\""),
    }
}
