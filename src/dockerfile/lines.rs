//! A Dockerfile's text -> instructions: directives, comments, continued lines, here-documents.
//!
//! Follows BuildKit's parser (`frontend/dockerfile/parser`).

use std::ops::Range;

/// An instruction with all its continued lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Its name in upper case.
    pub name: String,
    /// Where the name stands in the file.
    pub at: Range<usize>,
    /// The words behind the name.
    pub words: Vec<Word>,
}

/// A word of an instruction, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Its text, quotes and all.
    pub text: String,
    /// Where it stands in the file.
    pub at: Range<usize>,
}

impl Word {
    /// The word without its first `skip` bytes.
    pub fn behind(&self, skip: usize) -> Self {
        Self { text: self.text[skip..].to_owned(), at: self.at.start + skip..self.at.end }
    }
}

/// The directives and instructions of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    /// Escapes characters and line ends: `\` or `` ` ``.
    pub escape: char,
    /// `# syntax=`: the image of the frontend.
    pub syntax: Option<Word>,
    /// The instructions, in order.
    pub instructions: Vec<Instruction>,
}

/// A line of the file without its end.
#[derive(Clone, Copy)]
struct Line<'t> {
    text: &'t str,
    start: usize,
}

pub(super) fn read(text: &str) -> Lines {
    let mut start = 0;
    let lines: Vec<Line<'_>> = text
        .split_inclusive('\n')
        .map(|whole| {
            let line = Line { text: whole.trim_end_matches(['\n', '\r']), start };
            start += whole.len();
            line
        })
        .collect();
    let (escape, syntax) = directives(&lines);
    let mut instructions = Vec::new();
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
        let mut words = split(&characters).into_iter();
        let Some(name) = words.next() else { continue };
        let instruction =
            Instruction { name: name.text.to_ascii_uppercase(), at: name.at, words: words.collect() };
        for (end, dashed) in heredocs(&instruction) {
            while let Some((line, behind)) = rest.split_first() {
                rest = behind;
                let text = if dashed { line.text.trim_start_matches('\t') } else { line.text };
                if text == end {
                    break;
                }
            }
        }
        instructions.push(instruction);
    }
    Lines { escape, syntax, instructions }
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
fn directives(lines: &[Line<'_>]) -> (char, Option<Word>) {
    let (mut escape, mut syntax) = ('\\', None);
    for line in lines {
        let Some((name, value)) = line.text.trim().strip_prefix('#').and_then(|rest| rest.split_once('='))
        else {
            break;
        };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "escape" if value == "`" => escape = '`',
            "escape" | "check" => {}
            "syntax" if !value.is_empty() => {
                // BuildKit takes the first word for the image.
                let word = value.split_whitespace().next().unwrap_or(value);
                let start = line.start + line.text.find(word).unwrap_or(0);
                syntax = Some(Word { text: word.to_owned(), at: start..start + word.len() });
            }
            _ => break,
        }
    }
    (escape, syntax)
}

/// Splits at white space.
fn split(characters: &[(usize, char)]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut open = false;
    for (place, character) in characters {
        if character.is_whitespace() {
            open = false;
            continue;
        }
        let end = place + character.len_utf8();
        match words.last_mut().filter(|_| open) {
            Some(word) => {
                word.text.push(*character);
                word.at.end = end;
            }
            None => words.push(Word { text: character.to_string(), at: *place..end }),
        }
        open = true;
    }
    words
}

/// The ends of the here-documents that begin in an instruction, with whether tabs before them count not.
fn heredocs(instruction: &Instruction) -> Vec<(String, bool)> {
    if !matches!(instruction.name.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    instruction
        .words
        .iter()
        .filter_map(|word| {
            let digits = word.text.trim_start_matches(|c: char| c.is_ascii_digit());
            let rest = digits.strip_prefix("<<")?;
            let (dashed, name) = match rest.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, rest),
            };
            let bare = ['"', '\'']
                .iter()
                .find_map(|quote| name.strip_prefix(*quote)?.strip_suffix(*quote))
                .unwrap_or(name);
            let named = bare.starts_with(|c: char| c.is_ascii_alphabetic())
                && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            named.then(|| (bare.to_owned(), dashed))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |i: &Instruction| {
            let words: Vec<&str> = i.words.iter().map(|w| w.text.as_str()).collect();
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
    }

    #[test]
    fn here_documents_are_passed_over() {
        let text = "FROM a\nRUN <<EOF cat <<-'B'\nFROM no\nEOF\nFROM no\n\tB\nCOPY 3<<X /y\n# no comment\nX\nUSER b\n";
        assert_eq!(shown(text), ["FROM a", "RUN <<EOF|cat|<<-'B'", "COPY 3<<X|/y", "USER b"]);
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "FROM \\\r\n  ünit AS x\n";
        let word = &read(text).instructions[0].words[0];
        assert_eq!(&text[word.at.clone()], "ünit");
    }
}
