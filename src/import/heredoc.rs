//! Here-documents of a script, and the files that a pipeline of railyard's own carries in them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::shell::{self, Command, Simple};

static HEREDOC: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(^|[^<])<<-?\s*(['"]?)(\w+)['"]?"#).expect("a pattern"));

/// A here-document on a line: the file that it is written to, if it is, and whether it adds to it;
/// whether the text is taken as it is; its end.
pub(super) struct HereDocument {
    pub file: Option<(String, bool)>,
    pub is_verbatim: bool,
    pub end: String,
}

pub(super) fn here_document(line: &str) -> Option<HereDocument> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let found = HEREDOC.captures(line)?;
    let whole = found.get(0)?;
    // What stands around it is the command.
    let command = format!("{}{} {}", &line[..whole.start()], &found[1], &line[whole.end()..]);
    let commands = shell::commands(command.trim(), &BTreeMap::new()).unwrap_or_default();
    let file = commands.iter().find_map(|command| {
        let Command::Simple(Simple { words, writes, .. }) = command else { return None };
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        match (words.as_slice(), writes.as_slice()) {
            (["cat"], [file]) => Some((file.text.clone(), line.contains(">>"))),
            (["tee", file], []) => Some(((*file).to_owned(), false)),
            (["tee", "-a", file], []) => Some(((*file).to_owned(), true)),
            _ => None,
        }
    });
    Some(HereDocument { file, is_verbatim: !found[2].is_empty(), end: found[3].to_owned() })
}

/// What a pipeline of railyard's own has in its script.
#[derive(Debug, Clone, Default)]
pub(super) struct Carried {
    /// The files of the manifest: path and text.
    pub files: Vec<(String, String)>,
    /// The other lines.
    pub others: Vec<(usize, String)>,
}

/// The line that runs railyard.
pub(super) fn runs_railyard(lines: &[(usize, String)]) -> Option<usize> {
    lines.iter().find(|(_, line)| line.trim_start().starts_with("railyard build")).map(|(line, _)| *line)
}

/// The files of a manifest that a pipeline of railyard's own carries along.
pub(super) fn carried(lines: &[(usize, String)]) -> Carried {
    let mut carried = Carried::default();
    let mut rest = lines.iter();
    while let Some((line, text)) = rest.next() {
        let Some(HereDocument { file: Some((file, _)), end, .. }) = here_document(text) else {
            carried.others.push((*line, text.clone()));
            continue;
        };
        let text: String =
            rest.by_ref().take_while(|(_, line)| *line != end).map(|(_, line)| format!("{line}\n")).collect();
        carried.files.push((file, text));
    }
    carried
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carried_files_may_have_blanks_in_their_names() {
        let lines = ["set -e", "cat >'ctx/a b.txt' <<'END'", "docker login -p x", "END", "railyard build"];
        let lines: Vec<(usize, String)> =
            lines.iter().enumerate().map(|(n, line)| (n + 1, (*line).to_owned())).collect();
        let carried = carried(&lines);
        assert_eq!(carried.files, [("ctx/a b.txt".to_owned(), "docker login -p x\n".to_owned())]);
        assert_eq!(carried.others.len(), 2);
        assert_eq!(runs_railyard(&lines), Some(5));
    }
}
