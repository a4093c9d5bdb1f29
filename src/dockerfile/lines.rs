//! A Dockerfile's text -> instructions: directives, comments, continued lines, here-documents.
//!
//! Follows BuildKit's parser (`frontend/dockerfile/parser`).

use super::heredoc::heredocs;
use super::instruction::{Instruction, Word};
use super::parse::DockerfileError;

/// The directives and instructions of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    /// Escapes characters and line ends: `\` or `` ` ``.
    pub escape: char,
    /// `# syntax=`: the image of the frontend.
    pub syntax: Option<Word>,
    /// The instructions, in order.
    pub instructions: Vec<Instruction>,
    /// Here-documents that do not end, or whose end cannot be read.
    pub mistakes: Vec<DockerfileError>,
}

/// A line of the file without its end.
#[derive(Clone, Copy)]
struct Line<'t> {
    text: &'t str,
    start: usize,
}

pub(super) fn read(text: &str) -> Lines {
    // A byte order mark is no part of the first line.
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut start = text.len() - body.len();
    let lines: Vec<Line<'_>> = body
        .split_inclusive('\n')
        .map(|whole| {
            let line = Line { text: whole.trim_end_matches(['\n', '\r']), start };
            start += whole.len();
            line
        })
        .collect();
    let (escape, syntax) = directives(&lines);
    let (mut instructions, mut mistakes) = (Vec::new(), Vec::new());
    let mut rest = lines.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if first.text.trim().is_empty() || is_comment(first.text) {
            continue;
        }
        // The characters of the instruction, each with its place.
        let mut characters: Vec<(usize, char)> = Vec::new();
        let mut line = *first;
        loop {
            let continued = continuation(line.text, escape);
            let end = continued.unwrap_or(line.text.len());
            characters.extend(line.text[..end].char_indices().map(|(i, c)| (line.start + i, c)));
            if continued.is_none() {
                break;
            }
            let next = loop {
                match rest.split_first() {
                    Some((next, behind)) => {
                        rest = behind;
                        if !next.text.trim().is_empty() && !is_comment(next.text) {
                            break Some(*next);
                        }
                    }
                    None => break None,
                }
            };
            match next {
                Some(next) => line = next,
                None => break,
            }
        }
        let Some(instruction) = Instruction::of(&characters) else { continue };
        rest = behind_heredocs(&instruction, &Word::of(&characters), rest, &mut mistakes);
        instructions.push(instruction);
    }
    Lines { escape, syntax, instructions, mistakes }
}

/// The lines behind the here-documents that begin in an instruction, whose whole text is `whole`.
fn behind_heredocs<'l, 't>(
    instruction: &Instruction,
    whole: &Word,
    mut rest: &'l [Line<'t>],
    mistakes: &mut Vec<DockerfileError>,
) -> &'l [Line<'t>] {
    let inner = instruction.inner().filter(|_| instruction.name == "ONBUILD");
    let inner = inner.as_ref().unwrap_or(instruction);
    if !matches!(inner.name.as_str(), "RUN" | "COPY" | "ADD") || inner.arguments.is_json() {
        return rest;
    }
    let mut mistake = |message, help: &str| {
        mistakes.push(DockerfileError { message, help: help.to_owned(), at: instruction.at.clone() });
    };
    let found = heredocs(&whole.text).unwrap_or_else(|message| {
        mistake(format!("the end of a here-document: {message}"), "name it by a plain word, as in `<<EOF`");
        Vec::new()
    });
    for heredoc in found {
        let is_end = |line: &Line<'_>| {
            let text = if heredoc.dashed { line.text.trim_start_matches('\t') } else { line.text };
            text == heredoc.end
        };
        let Some(end) = rest.iter().position(is_end) else {
            let message = format!("the here-document does not end: no line is `{}`", heredoc.end);
            mistake(message, "write that line behind it; quote `<<` where no here-document is meant");
            return &[];
        };
        rest = &rest[end + 1..];
    }
    rest
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Where a line's text ends that is continued on the next.
fn continuation(line: &str, escape: char) -> Option<usize> {
    let trimmed = line.trim_end_matches([' ', '\t']);
    let before = trimmed.strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before.len())
}

/// `# name=value` lines before anything else.
///
/// `syntax` is looked for further than others: past names that are no directives, as older engines do,
/// and behind `#!`, as newer ones do.
fn directives(lines: &[Line<'_>]) -> (char, Option<Word>) {
    let (mut escape, mut syntax) = ('\\', None);
    let shebang = lines.first().is_some_and(|line| line.text.starts_with("#!"));
    let mut ended = shebang;
    for line in lines.iter().skip(usize::from(shebang)) {
        let Some((name, value)) = line.text.trim().strip_prefix('#').and_then(|rest| rest.split_once('='))
        else {
            break;
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        match name.as_str() {
            _ if name.is_empty() || value.is_empty() => break,
            "escape" if value == "`" && !ended => escape = '`',
            "escape" | "check" => {}
            "syntax" if syntax.is_none() => {
                let start = line.start + (value.as_ptr() as usize - line.text.as_ptr() as usize);
                let placed = value.char_indices().map(|(at, character)| (start + at, character));
                // BuildKit takes the first word for the image.
                let word: Vec<(usize, char)> = placed.take_while(|(_, c)| !c.is_whitespace()).collect();
                syntax = Some(Word::of(&word));
            }
            "syntax" => {}
            _ if name.bytes().all(|b| b.is_ascii_alphanumeric()) => ended = true,
            _ => break,
        }
    }
    (escape, syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |i: &Instruction| {
            let words: Vec<String> = i.arguments.words().into_iter().map(|word| word.text).collect();
            format!("{} {}", i.name, words.join("|"))
        };
        read(text).instructions.iter().map(show).collect()
    }

    #[test]
    fn lines_are_continued_over_comments_and_blank_lines() {
        let text = "FROM a\\\n  :1\nrun x \\  \n# comment\n\n  y\\\\\nCMD z\n";
        assert_eq!(shown(text), ["FROM a|:1", "RUN x|y\\\\", "CMD z"]);
    }

    #[test]
    fn another_escape_and_a_syntax() {
        let text = "# syntax = docker/dockerfile:1 x\n# escape=`\n\nFROM a `\n b\nRUN c:\\\nCMD d\n";
        assert_eq!(shown(text), ["FROM a|b", "RUN c:\\", "CMD d"]);
        let syntax = read(text).syntax.unwrap();
        assert_eq!((syntax.text.as_str(), &text[syntax.at]), ("docker/dockerfile:1", "docker/dockerfile:1"));
        assert_eq!(read("FROM a\n# syntax=b\n").syntax, None, "only before the first instruction");
        let text = "\u{feff}#!/x\n# other=1\n# syntax=s\n# escape=`\nFROM a\n";
        let found = read(text);
        assert_eq!((&text[found.syntax.unwrap().at], found.escape), ("s", '\\'));
    }

    #[test]
    fn here_documents_are_passed_over() {
        let text = "FROM a\nRUN <<EOF cat <<-'B'\nFROM no\nEOF\nFROM no\n\tB\nCOPY 3<<X /y\n# no comment\nX\nUSER b\n";
        assert_eq!(shown(text), ["FROM a", "RUN <<EOF|cat|<<-'B'", "COPY 3<<X|/y", "USER b"]);
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "FROM \\\r\n  ünit AS x\n";
        let word = &read(text).instructions[0].arguments.words()[0];
        assert_eq!(&text[word.at.clone()], "ünit");
    }
}
