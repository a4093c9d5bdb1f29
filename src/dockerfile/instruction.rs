//! An instruction's characters -> name, flags, arguments.
//!
//! Follows BuildKit's `split_command.go` and `line_parsers.go` (`frontend/dockerfile/parser`).

use std::ops::Range;

/// A character with its place in the file.
pub(super) type Placed = (usize, char);

/// A part of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Its text.
    pub text: String,
    /// Where it stands in the file, with what lies between its characters there.
    pub at: Range<usize>,
    characters: Vec<Placed>,
}

/// An instruction with all its continued lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Its name in upper case.
    pub name: String,
    /// Where the name stands in the file.
    pub at: Range<usize>,
    /// `--name=value` before the arguments, without quotes and escapes.
    pub flags: Vec<Word>,
    /// The arguments as they are written.
    pub arguments: Word,
}

impl Word {
    /// Characters in the order of the file; an empty word stands nowhere.
    pub fn of(characters: &[Placed]) -> Self {
        let start = characters.first().map_or(0, |(place, _)| *place);
        let end = characters.last().map_or(0, |(place, last)| place + last.len_utf8());
        let text = characters.iter().map(|(_, character)| character).collect();
        Self { text, at: start..end, characters: characters.to_vec() }
    }

    /// The parts between commas.
    pub fn fields(&self) -> Vec<Self> {
        self.characters.split(|(_, character)| *character == ',').map(Self::of).collect()
    }

    /// What is before and behind the first `=`.
    pub fn pair(&self) -> Option<(&str, Self)> {
        let (name, _) = self.text.split_once('=')?;
        Some((name, Self::of(&self.characters[name.chars().count() + 1..])))
    }

    /// The words between white space.
    pub fn words(&self) -> Vec<Self> {
        let words = self.characters.split(|(_, character)| is_space(*character));
        words.filter(|word| !word.is_empty()).map(Self::of).collect()
    }

    /// The words between white space that is not quoted, with their quotes and escapes.
    pub fn quoted_words(&self, escape: char) -> Vec<Self> {
        let (mut words, mut word, mut quote) = (Vec::new(), Vec::new(), None);
        let mut rest = self.characters.iter().copied();
        while let Some((place, character)) = rest.next() {
            match quote {
                None if character.is_whitespace() => words.push(std::mem::take(&mut word)),
                _ => {
                    quote = match quote {
                        None => Some(character).filter(|c| matches!(c, '\'' | '"')),
                        open => open.filter(|open| *open != character),
                    };
                    word.push((place, character));
                    if character == escape && quote != Some('\'') {
                        match rest.next() {
                            Some(next) => word.push(next),
                            None => drop(word.pop()),
                        }
                    }
                }
            }
        }
        words.push(word);
        words.iter().filter(|word| !word.is_empty()).map(|word| Self::of(word)).collect()
    }

    /// Whether it is a JSON array of texts, the exec form.
    pub fn is_json(&self) -> bool {
        let mut values = serde_json::Deserializer::from_str(&self.text).into_iter::<Vec<String>>();
        self.text.starts_with('[') && matches!(values.next(), Some(Ok(_)))
    }
}

impl Instruction {
    /// The instruction that these characters are; nothing where all are white space.
    pub fn of(characters: &[Placed]) -> Option<Self> {
        let characters = trimmed(characters);
        let end = characters.iter().position(|(_, c)| is_space(*c)).unwrap_or(characters.len());
        let name = Word::of(&characters[..end]);
        if name.text.is_empty() {
            return None;
        }
        let (flags, arguments) = flags(&characters[end..]);
        let arguments = Word::of(trimmed(arguments));
        Some(Self { name: name.text.to_ascii_uppercase(), at: name.at, flags, arguments })
    }

    /// The instruction that ONBUILD puts off.
    pub fn inner(&self) -> Option<Self> {
        Self::of(&self.arguments.characters)
    }
}

/// What separates an instruction's name from the rest, and plain words.
fn is_space(character: char) -> bool {
    matches!(character, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn trimmed(characters: &[Placed]) -> &[Placed] {
    let wanted = |(_, character): &Placed| !character.is_whitespace();
    match (characters.iter().position(wanted), characters.iter().rposition(wanted)) {
        (Some(first), Some(last)) => &characters[first..=last],
        _ => &[],
    }
}

/// The words that begin with `--`, and what follows them.
fn flags(characters: &[Placed]) -> (Vec<Word>, &[Placed]) {
    let mut flags = Vec::new();
    let mut rest = characters;
    loop {
        let first = rest.iter().position(|(_, character)| !character.is_whitespace());
        rest = &rest[first.unwrap_or(rest.len())..];
        if !matches!(rest, [(_, '-'), (_, '-'), ..]) {
            return (flags, rest);
        }
        let (mut word, mut quote, mut end) = (Vec::new(), None, 0);
        while let Some((place, character)) = rest.get(end).copied() {
            match (quote, character) {
                (None, c) if c.is_whitespace() => break,
                (None, '\'' | '"') => quote = Some(character),
                (Some(open), c) if c == open => quote = None,
                (_, '\\') => {
                    end += 1;
                    word.extend(rest.get(end));
                }
                _ => word.push((place, character)),
            }
            end += 1;
        }
        rest = &rest[end.min(rest.len())..];
        let word = Word::of(&word);
        if word.text == "--" {
            return (flags, rest);
        }
        flags.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(text: &str) -> Instruction {
        Instruction::of(&text.char_indices().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn flags_end_at_the_first_argument_and_lose_their_quotes() {
        for (text, flags, arguments) in [
            ("copy --from=a  --link /x --from=b", &["--from=a", "--link"][..], "/x --from=b"),
            ("COPY -- --from=b /x", &[], "--from=b /x"),
            ("RUN --mount=\"type=bind,from=x y\" z", &["--mount=type=bind,from=x y"], "z"),
            ("RUN --a=\\\"b\\ c' d'\\", &["--a=\"b c d"], ""),
            ("RUN - --a=b", &[], "- --a=b"),
            ("RUN", &[], ""),
        ] {
            let instruction = instruction(text);
            let found: Vec<&str> = instruction.flags.iter().map(|flag| flag.text.as_str()).collect();
            assert_eq!((found.as_slice(), instruction.arguments.text.as_str()), (flags, arguments), "{text}");
        }
    }

    #[test]
    fn values_have_their_place_within_quotes() {
        let text = "RUN --mount=\"type=bind,from='x',target=/y\" z";
        let flag = &instruction(text).flags[0];
        let (name, value) = flag.pair().unwrap();
        assert_eq!(name, "--mount");
        let fields = value.fields();
        let (name, value) = fields[1].pair().unwrap();
        assert_eq!((name, value.text.as_str(), &text[value.at]), ("from", "'x'", "'x'"));
    }

    #[test]
    fn words_keep_quotes_and_what_is_between_them() {
        let arguments = instruction(r#"ARG A="b c"  D='e\' F=g\ h I="j\" k" \"#).arguments;
        let words: Vec<String> = arguments.quoted_words('\\').into_iter().map(|word| word.text).collect();
        assert_eq!(words, [r#"A="b c""#, r"D='e\'", r"F=g\ h", r#"I="j\" k""#]);
    }

    #[test]
    fn the_exec_form_is_an_array_of_texts() {
        for (text, is_json) in
            [(r#"["a", "<<b"]"#, true), ("[ -f a ] && b", false), ("[1]", false), ("a", false)]
        {
            assert_eq!(instruction(&format!("RUN {text}")).arguments.is_json(), is_json, "{text}");
        }
    }
}
