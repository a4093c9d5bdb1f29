//! Here-documents: which begin in a line, and where they end.
//!
//! Follows BuildKit's `heredocsFromLine` (`frontend/dockerfile/parser`) and its `shell.Lex`, which there
//! knows no variable and always takes `\` for the escape.

use std::iter::Peekable;
use std::str::Chars;

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heredoc {
    /// The line that ends it.
    pub end: String,
    /// `<<-`: tabs before the end count not.
    pub dashed: bool,
}

/// The here-documents that begin in the line of an instruction, in order.
///
/// # Errors
/// An end that cannot be read, as a fragment. A line that cannot be read has none.
pub(super) fn heredocs(line: &str) -> Result<Vec<Heredoc>, String> {
    let words = split(line, true).unwrap_or_default();
    words.iter().filter_map(|word| heredoc(word).transpose()).collect()
}

fn heredoc(word: &str) -> Result<Option<Heredoc>, String> {
    let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else {
        return Ok(None);
    };
    let (dashed, name) = match rest.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, rest),
    };
    if name.contains('<') {
        return Ok(None);
    }
    let mut ends = split(name, false)?.into_iter();
    match (ends.next(), ends.next()) {
        (Some(end), None) => Ok(Some(Heredoc { end, dashed })),
        _ => Ok(None),
    }
}

/// Splits at white space that is neither quoted nor escaped; quotes and escapes stay where `raw`.
fn split(text: &str, raw: bool) -> Result<Vec<String>, String> {
    let mut splitter = Splitter { rest: text.chars().peekable(), raw };
    Ok(splitter.until(None)?.1.finish())
}

#[derive(Default)]
struct Words {
    word: String,
    words: Vec<String>,
}

impl Words {
    fn add(&mut self, character: char) {
        if !character.is_whitespace() {
            self.word.push(character);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.add(' ');
        self.words
    }
}

struct Splitter<'t> {
    rest: Peekable<Chars<'t>>,
    raw: bool,
}

impl Splitter<'_> {
    /// Reads to the end, or over `stop`: the text, and its words.
    fn until(&mut self, stop: Option<char>) -> Result<(String, Words), String> {
        let (mut text, mut words) = (String::new(), Words::default());
        while let Some(character) = self.rest.next() {
            match character {
                c if Some(c) == stop => return Ok((text, words)),
                '\'' | '"' => {
                    let quoted = self.quoted(character)?;
                    text += &quoted;
                    words.word += &quoted;
                }
                '$' => {
                    let variable = self.variable()?;
                    text += &variable;
                    variable.chars().for_each(|c| words.add(c));
                }
                '\\' => {
                    let escape = self.raw.then_some('\\');
                    let both: String = escape.into_iter().chain(self.rest.next()).collect();
                    text += &both;
                    words.word += &both;
                }
                c => {
                    text.push(c);
                    words.add(c);
                }
            }
        }
        match stop {
            Some(stop) => Err(format!("`{stop}` is missing")),
            None => Ok((text, words)),
        }
    }

    /// What stands behind a quote, up to the next.
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        text.extend(self.raw.then_some(quote));
        loop {
            match self.rest.next().ok_or_else(|| format!("`{quote}` is not closed"))? {
                c if c == quote => {
                    text.extend(self.raw.then_some(quote));
                    return Ok(text);
                }
                '$' if quote == '"' => text += &self.variable()?,
                '\\' if quote == '"' => {
                    text.extend(self.raw.then_some('\\'));
                    text.push(self.rest.next_if(|c| matches!(c, '"' | '$' | '\\')).unwrap_or('\\'));
                }
                c => text.push(c),
            }
        }
    }

    /// What stands behind `$`, as it is written.
    fn variable(&mut self) -> Result<String, String> {
        if self.rest.next_if_eq(&'{').is_none() {
            return Ok(format!("${}", super::words::variable_name(&mut self.rest)));
        }
        let wrong = || "`${` has another form".to_owned();
        if matches!(self.rest.peek(), None | Some('{' | '}' | ':')) {
            return Err(wrong());
        }
        let name = super::words::variable_name(&mut self.rest);
        let mut operator = self.rest.next().ok_or_else(wrong)?.to_string();
        match operator.as_str() {
            "}" => return Ok(format!("${{{name}}}")),
            "/" => {
                operator.extend(self.rest.next_if_eq(&'/'));
                operator += &self.until(Some('/'))?.0;
                operator.push('/');
            }
            ":" => operator.push(self.rest.next().ok_or_else(wrong)?),
            "+" | "-" | "?" | "#" | "%" => {}
            _ => return Err(wrong()),
        }
        let word = self.until(Some('}'))?.0;
        Ok(format!("${{{name}{operator}{word}}}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn here_documents_are_words_of_their_own() {
        for (line, ends) in [
            ("RUN <<EOF cat", &["EOF"][..]),
            ("RUN cat <<A 3<<-'B c' <<\"D\"", &["A", "-B c", "D"]),
            ("RUN <<_EOF_ <<-EOF-1 <<E\"O\"F; x", &["_EOF_", "-EOF-1", "EOF;"]),
            ("RUN echo \"use cat <<EOF to write\"", &[]),
            ("RUN echo 'it <<EOF' \\<<EOF a<<EOF", &[]),
            ("RUN x <<<EOF << EOF <<'' <<- y", &[]),
            ("RUN echo it's <<EOF", &[]),
            ("RUN echo ${x^^} <<EOF", &[]),
            ("RUN echo ${x:-a b} \"${y}\" $1z $ ${z%%.*} ${z//a/b} <<EOF", &["EOF"]),
            ("RUN <<$x <<${y}", &["$x", "${y}"]),
            ("RUN \"a\\\"b\\c\" <<EOF\\ F", &["EOF F"]),
        ] {
            let found = heredocs(line).unwrap();
            let found = found.iter().map(|h| format!("{}{}", if h.dashed { "-" } else { "" }, h.end));
            assert_eq!(found.collect::<Vec<_>>(), ends, "{line}");
        }
    }
}
