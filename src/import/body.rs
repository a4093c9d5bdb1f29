//! The instructions behind the last FROM -> what the images have.

use super::RemarkKind;
use super::actions::{Action, Understood, is_below, understand};
use super::dockerfile::{DOLLAR, Instruction, pairs, script};
use super::expansion::{CLOSE, OPEN};
use super::images::{Builder, Role, fresh, literal, slug, sole};
use super::model::{Content, Layer, Setup, Tool};

impl Builder<'_, '_> {
    pub(super) fn body(&mut self, body: &[Instruction]) {
        for instruction in body {
            self.within.clone_from(&instruction.within);
            let at = usize::from(!instruction.conditions.is_empty() && self.model.images.len() > 1);
            match instruction.keyword.as_str() {
                "FROM" => {}
                "ARG" => self.arguments(instruction),
                "ENV" => self.env(instruction, at),
                "USER" => {
                    let user = self.with_constants(&instruction.rest);
                    if user.contains('$') {
                        self.left(instruction);
                        continue;
                    }
                    let user = self.render(instruction.line, &user);
                    self.user = Some(user.clone());
                    self.model.images[at].user = Some(user);
                }
                "ENTRYPOINT" => {
                    let entrypoint = self.render(instruction.line, &instruction.rest);
                    self.model.images[at].entrypoint = Some(entrypoint);
                }
                "COPY" => self.copy(instruction, at == 1),
                "RUN" => self.run(instruction, at == 1),
                _ => self.left(instruction),
            }
        }
    }

    fn env(&mut self, instruction: &Instruction, at: usize) {
        let Some(pairs) = pairs(&instruction.rest) else { return self.left(instruction) };
        for (name, value) in pairs {
            if name == "PATH" {
                self.path(instruction, at, &value);
                continue;
            }
            let value = self.with_constants(&value);
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit());
            if value.contains('$') || !is_name || name.is_empty() {
                self.remark(instruction.line, RemarkKind::Left, format!("`ENV {name}={value}`"));
                continue;
            }
            let value = value.replace(DOLLAR, "$");
            let rendered = self.render(instruction.line, &value);
            self.constants.insert(name.clone(), value);
            let env = &mut self.model.images[at].env;
            env.retain(|(known, _)| *known != name);
            env.push((name, rendered));
        }
    }

    /// PATH: what is put before the base's.
    fn path(&mut self, instruction: &Instruction, at: usize, value: &str) {
        let line = instruction.line;
        let own = format!("{OPEN}PATH{CLOSE}");
        if value.contains(&own) {
            let text = "the PATH of the pipeline's step becomes part of the image's: write `\\${PATH}`";
            self.remark(line, RemarkKind::Fault, text);
        }
        let value = value.replace(&own, "$PATH").replace("${PATH}", "$PATH");
        let mut entries = Vec::new();
        let mut is_kept = false;
        for entry in value.split(':') {
            if entry == "$PATH" {
                is_kept = true;
                continue;
            }
            let entry = self.with_constants(entry);
            if !entry.starts_with('/') || entry.contains(['$', DOLLAR]) {
                self.remark(line, RemarkKind::Left, format!("the entry `{entry}` of PATH"));
                continue;
            }
            if is_kept {
                self.remark(line, RemarkKind::Note, format!("`{entry}` stands before the base's PATH now"));
            }
            entries.push(self.render(line, &entry));
        }
        if !is_kept {
            self.remark(line, RemarkKind::Note, "PATH keeps the entries of the base's behind these");
        }
        let path = &mut self.model.images[at].path;
        path.retain(|known| !entries.contains(known));
        entries.append(path);
        *path = entries;
    }

    fn copy(&mut self, instruction: &Instruction, extended: bool) {
        let line = instruction.line;
        let words: Vec<&str> = instruction.rest.split_whitespace().collect();
        let from = words.iter().find_map(|word| word.strip_prefix("--from="));
        let options = words.iter().filter(|word| word.starts_with("--"));
        let are_known = options.clone().all(|word| word.starts_with("--from=") || *word == "--link");
        let paths: Vec<&str> = words.iter().filter(|word| !word.starts_with("--")).copied().collect();
        let ([source, target], Some(from), true) = (paths.as_slice(), from, are_known) else {
            return self.left(instruction);
        };
        if source.trim_end_matches('/') != target.trim_end_matches('/') {
            let text = format!("a copy to another place: `COPY {}`", instruction.rest);
            return self.remark(line, RemarkKind::Left, text);
        }
        let is_plain =
            source.starts_with('/') && source.len() > 1 && !source.contains(['$', '*', '?', '[', '"']);
        if !is_plain || from.contains('$') {
            return self.left(instruction);
        }
        let (wanted, from) = match self.stages.get(from).cloned() {
            Some(Some(input)) => (slug(&from.replace(['_', '.'], "-")), self.template(&input)),
            Some(None) => return self.left(instruction),
            None => match sole(from).and_then(|name| self.input(name)) {
                Some(input) => ("plugin".to_owned(), self.template(&input)),
                None if from.contains(OPEN) => ("plugin".to_owned(), self.render(line, from)),
                None => {
                    let name = from.rsplit('/').next().unwrap_or(from);
                    (slug(name.split([':', '@']).next().unwrap_or(name)), literal(from))
                }
            },
        };
        let path = self.render(line, source);
        let at = self.copies_of(&from, &path, extended);
        match at.map(|at| &mut self.model.layers[at].content) {
            Some(Content::Copy { paths, .. }) => paths.push(path),
            _ => self.layer(&wanted, Content::Copy { from, paths: vec![path], executable: false }, extended),
        }
    }

    /// The layer of copies from an image that another one can go into: no layer behind it writes there.
    fn copies_of(&self, from: &str, path: &str, extended: bool) -> Option<usize> {
        for (at, layer) in self.model.layers.iter().enumerate().rev() {
            match &layer.content {
                Content::Copy { from: known, executable: false, .. }
                    if known == from && layer.extended == extended =>
                {
                    return Some(at);
                }
                content if self.writes(content, path) => return None,
                _ => {}
            }
        }
        None
    }

    /// Whether a layer may write what lies at a path, or is above it.
    fn writes(&self, content: &Content, path: &str) -> bool {
        let overlap = |other: &str| {
            let is_open = other.contains("{{") || path.contains("{{");
            is_open || is_below(other, path) || is_below(path, other)
        };
        match content {
            Content::Copy { paths, .. } => paths.iter().any(|path| overlap(path)),
            Content::Tool(name) => {
                self.model.tools.iter().any(|tool| tool.name == *name && overlap(&tool.path))
            }
            Content::Directories(paths) => paths.iter().any(|(path, _)| overlap(path)),
            Content::Run { keep, .. } => keep.iter().any(|path| overlap(path)),
        }
    }

    /// Adds a layer under a name like this one.
    fn layer(&mut self, name: &str, content: Content, extended: bool) {
        let layers = &self.model.layers;
        let name = fresh(&slug(name), '-', |name| layers.iter().any(|layer| layer.name == name));
        self.model.layers.push(Layer { name, content, extended });
    }

    fn run(&mut self, instruction: &Instruction, extended: bool) {
        let line = instruction.line;
        let Some(text) = script(&instruction.rest) else { return self.left(instruction) };
        let Some(Understood { mut actions, helpers, stubs, removed, is_tolerant, is_conditional }) =
            understand(&text, &self.constants)
        else {
            let script = self.render(line, &text);
            let mut env = Vec::new();
            for (name, value) in self.constants.clone() {
                if text.contains(&name) {
                    env.push((name, self.render(line, &value)));
                }
            }
            self.model.setup.push(Setup { user: self.user.clone(), env, script, extended });
            self.remark(
                line,
                RemarkKind::Note,
                "a command taken over as it is, as a setup step: it runs on the base, before the layers",
            );
            let mut words = text.split(|c: char| c.is_whitespace() || ";&|()".contains(c));
            if !self.model.layers.is_empty() && words.any(|word| matches!(word, "rm" | "rmdir" | "unlink")) {
                let text = "what this removes of the layers before it, which stays";
                self.remark(line, RemarkKind::Left, text);
            }
            return;
        };
        if !helpers.is_empty() {
            let text = format!("the packages `{}`, which only its downloads need", helpers.join(" "));
            self.remark(line, RemarkKind::Left, text);
        }
        for stub in stubs {
            let text =
                format!("what is written to `{stub}` where its download fails: the cell fails instead");
            self.remark(line, RemarkKind::Left, text);
        }
        for path in removed {
            let text = format!("the removal of `{path}` where something fails: the cell fails instead");
            self.remark(line, RemarkKind::Left, text);
        }
        if is_tolerant {
            let text = "going on where this fails (`|| true`): the cell fails instead";
            self.remark(line, RemarkKind::Left, text);
        }
        if is_conditional {
            let text = "what this does where a program is there is done always now";
            self.remark(line, RemarkKind::Note, text);
        }
        let user =
            self.user.clone().filter(|user| !matches!(user.as_str(), "root" | "0" | "0:0" | "root:root"));
        if let Some(user) = user.filter(|_| actions.iter().any(|action| !matches!(action, Action::Check(_))))
        {
            self.remark(line, RemarkKind::Note, format!("what `{user}` makes here belongs to root now"));
        }
        // What is downloaded is known before its mode is changed.
        actions.sort_by_key(|action| !matches!(action, Action::Download { .. }));
        for action in actions {
            self.action(line, action, extended);
        }
    }

    fn action(&mut self, line: usize, action: Action, extended: bool) {
        match action {
            Action::Directories { mode, paths } => {
                let mut made = Vec::new();
                for path in paths {
                    let path = self.render(line, path.trim_end_matches('/'));
                    made.push((path, mode.clone()));
                }
                let known = self.model.layers.iter_mut().find_map(|layer| match &mut layer.content {
                    Content::Directories(known) if layer.extended == extended => Some(known),
                    _ => None,
                });
                match known {
                    Some(known) => {
                        known.retain(|(path, _)| !made.iter().any(|(made, _)| made == path));
                        known.extend(made);
                    }
                    None => self.layer("directories", Content::Directories(made), extended),
                }
            }
            Action::Modes { mode, paths } => {
                for path in paths {
                    let path = self.render(line, &path);
                    let of_both = |layer: &Layer| !layer.extended && self.writes(&layer.content, &path);
                    if extended && self.model.layers.iter().any(of_both) {
                        let text = format!("`chmod {mode} {path}` has a condition, and holds in both images");
                        self.remark(line, RemarkKind::Note, text);
                    }
                    self.modes(line, &mode, &path);
                }
            }
            Action::Download { urls, path, member } => {
                let urls: Vec<String> = urls.iter().map(|url| self.render(line, url)).collect();
                let (path, member) =
                    (self.render(line, &path), member.map(|member| self.render(line, &member)));
                self.tool(line, Tool { urls, path, member, ..Tool::default() }, extended);
            }
            Action::Npm { packages, options, settings } => {
                for (package, version) in packages {
                    self.npm(line, (&package, &version), &options, &settings, extended);
                }
            }
            Action::Check(command) => {
                let name = command.split_whitespace().next().unwrap_or("smoke").to_owned();
                if !self.model.checks.iter().any(|(known, ..)| *known == name) {
                    self.model.checks.push((name, command, None));
                }
            }
        }
    }

    fn tool(&mut self, line: usize, mut tool: Tool, extended: bool) {
        let tools = &self.model.tools;
        let same = |known: &&Tool| {
            (&known.urls, &known.path, &known.member) == (&tool.urls, &tool.path, &tool.member)
        };
        if tools.iter().any(|known| same(&known)) {
            return;
        }
        let file = tool.path.rsplit('/').next().unwrap_or("tool");
        tool.name = fresh(&slug(file), '-', |name| tools.iter().any(|tool| tool.name == name));
        // A program of an archive is executable in it.
        tool.mode = if tool.member.is_some() { "0755" } else { "0644" }.to_owned();
        let text = format!("`{}` is a tool now: downloaded once, its sha256 pinned by the lock", tool.name);
        self.remark(line, RemarkKind::Note, text);
        let name = tool.name.clone();
        self.model.tools.push(tool);
        self.layer(&name.clone(), Content::Tool(name), extended);
    }

    fn npm(
        &mut self,
        line: usize,
        (package, version): (&str, &str),
        options: &[String],
        settings: &[String],
        extended: bool,
    ) {
        let mut script = Vec::new();
        for setting in settings {
            script.push(self.render(line, setting));
        }
        let mut install = "npm install -g --no-audit --no-fund".to_owned();
        for option in options {
            install += &format!(" {}", self.render(line, option));
        }
        let version = self.render(line, version);
        script.push(format!("{install} {package}@{version}"));
        // Where Node.js is copied from is where npm can run, once for all images.
        let builder = self.roles.values().find_map(|role| match role {
            Role::Attribute(name) => Some(format!("{{{{ runtime.{name} }}}}")),
            _ => None,
        });
        let path = self.model.images[0].path.first();
        let prefix = path.and_then(|path| path.strip_suffix("/bin")).unwrap_or("/usr/local").to_owned();
        let command = package.rsplit('/').next().unwrap_or(package);
        let programs = if package == "serverless" { vec!["serverless", "sls"] } else { vec![command] };
        let mut keep = vec![format!("{prefix}/lib/node_modules/{package}")];
        keep.extend(programs.iter().map(|program| format!("{prefix}/bin/{program}")));
        let text = format!("`{package}` is installed once for each Node.js and version; check `keep`");
        self.remark(line, RemarkKind::Note, text);
        let image = builder.unwrap_or_else(|| "{{ runtime.base }}".into());
        let content = Content::Run { image, script: script.join("\n"), keep, reads: Some(prefix) };
        self.layer(package, content, extended);
    }

    fn modes(&mut self, line: usize, mode: &str, path: &str) {
        let makes_executable = matches!(mode, "+x" | "a+x" | "ugo+x");
        let is_octal = mode.len() <= 4 && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let tools = self.model.tools.iter_mut().filter(|tool| tool.path == path);
        let mut is_tool = false;
        for tool in tools.filter(|_| makes_executable || is_octal) {
            tool.mode = if is_octal { format!("{mode:0>4}") } else { "0755".to_owned() };
            is_tool = true;
        }
        if is_tool {
            return;
        }
        let directory = self.model.layers.iter_mut().find_map(|layer| match &mut layer.content {
            Content::Directories(known) => {
                known.iter_mut().find(|(known, _)| known == path.trim_end_matches('/'))
            }
            _ => None,
        });
        if let Some((_, known)) = directory.filter(|_| is_octal) {
            *known = Some(mode.to_owned());
            return;
        }
        // Of copies that hold the path the innermost.
        let depth =
            |paths: &[String]| paths.iter().filter(|copied| is_below(path, copied)).map(String::len).max();
        let layers = self.model.layers.iter_mut().filter_map(|layer| match &mut layer.content {
            Content::Copy { paths, executable, .. } => Some((
                depth(paths)?,
                paths.iter().any(|copied| copied != path || copied.ends_with('/')),
                &layer.name,
                executable,
            )),
            _ => None,
        });
        match layers.max_by_key(|(depth, ..)| *depth) {
            Some((_, has_others, name, executable)) if makes_executable => {
                let text = format!("with `{path}` all that the layer `{name}` copies becomes executable");
                let was_executable = std::mem::replace(executable, true);
                if has_others && !was_executable {
                    self.remark(line, RemarkKind::Note, text);
                }
            }
            _ => self.remark(line, RemarkKind::Left, format!("`chmod {mode} {path}`")),
        }
    }
}
