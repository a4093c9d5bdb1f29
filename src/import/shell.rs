//! Shell text as far as RUN lines and build commands need it: words, redirections, branches.

use std::collections::BTreeMap;

/// A word without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    /// It holds nothing that the shell expands.
    pub plain: bool,
}

/// What stands before a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    Then,
    And,
    Or,
    Pipe,
}

/// A command without branches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Simple {
    pub words: Vec<Word>,
    /// The files that it writes, `/dev/null` left out.
    pub writes: Vec<Word>,
    pub join: Join,
    /// It runs only where a command before it failed.
    pub fallback: bool,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Simple(Simple),
    /// Conditions and what is done under them; what is done otherwise.
    If {
        arms: Vec<(Vec<Command>, Vec<Command>)>,
        otherwise: Vec<Command>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(Word),
    Operator(&'static str),
    /// A file that is written to.
    Write(Word),
}

const OPERATORS: &[&str] = &["&&", "||", ";", "(", ")", "|", "\n"];

/// The commands of a script with the values of these variables; `None` where the form is not known:
/// loops, functions, here-documents, jobs in the background.
pub(super) fn commands(text: &str, constants: &BTreeMap<String, String>) -> Option<Vec<Command>> {
    let tokens = tokens(text, constants)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let commands = parser.list(&[], false)?;
    (parser.at == tokens.len()).then_some(commands)
}

/// Characters of a value that mean nothing to the shell.
fn is_harmless(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_alphanumeric() || "._:/@+-,\u{1}\u{2}".contains(c))
}

struct Lexer<'t> {
    chars: std::iter::Peekable<std::str::Chars<'t>>,
    constants: &'t BTreeMap<String, String>,
}

fn tokens(text: &str, constants: &BTreeMap<String, String>) -> Option<Vec<Token>> {
    let mut lexer = Lexer { chars: text.chars().peekable(), constants };
    let mut tokens = Vec::new();
    while let Some(&c) = lexer.chars.peek() {
        match c {
            '\n' | ';' | '(' | ')' => {
                lexer.chars.next();
                if c == ';' && lexer.chars.peek() == Some(&';') {
                    return None;
                }
                tokens.push(Token::Operator(OPERATORS.iter().find(|o| o.starts_with(c))?));
            }
            '&' | '|' => {
                lexer.chars.next();
                match (c, lexer.chars.peek()) {
                    ('&', Some('&')) | ('|', Some('|')) => {
                        lexer.chars.next();
                        tokens.push(Token::Operator(if c == '&' { "&&" } else { "||" }));
                    }
                    ('&', Some('>')) => {}
                    ('|', _) => tokens.push(Token::Operator("|")),
                    _ => return None,
                }
            }
            '>' => {
                lexer.chars.next();
                // The number of a file descriptor belongs to the redirection.
                if let Some(Token::Word(word)) = tokens.last()
                    && text_before(text, &lexer).ends_with(|c: char| c.is_ascii_digit())
                    && word.text.bytes().all(|b| b.is_ascii_digit())
                {
                    tokens.pop();
                }
                let mut is_copy = false;
                while let Some(&c @ ('>' | '|' | '&')) = lexer.chars.peek() {
                    is_copy |= c == '&';
                    lexer.chars.next();
                }
                lexer.blanks();
                let target = lexer.word()?;
                let is_number = target.text == "-" || target.text.bytes().all(|b| b.is_ascii_digit());
                if target.text.is_empty() || (is_copy && !is_number) {
                    return None;
                }
                if !is_copy && target.text != "/dev/null" {
                    tokens.push(Token::Write(target));
                }
            }
            '<' => return None,
            '#' => while lexer.chars.next_if(|c| *c != '\n').is_some() {},
            c if c.is_whitespace() => lexer.blanks(),
            _ => tokens.push(Token::Word(lexer.word()?)),
        }
    }
    Some(tokens)
}

/// What stands before the operator that was just read.
fn text_before<'t>(text: &'t str, lexer: &Lexer<'_>) -> &'t str {
    let rest: usize = lexer.chars.clone().map(char::len_utf8).sum();
    &text[..text.len() - rest - 1]
}

impl Lexer<'_> {
    fn blanks(&mut self) {
        while self.chars.next_if(|c| c.is_whitespace() && *c != '\n').is_some() {}
    }

    fn word(&mut self) -> Option<Word> {
        let mut word = Word { text: String::new(), plain: true };
        while let Some(&c) = self.chars.peek() {
            match c {
                '\'' => {
                    self.chars.next();
                    loop {
                        match self.chars.next()? {
                            '\'' => break,
                            c => word.text.push(c),
                        }
                    }
                }
                '"' => {
                    self.chars.next();
                    loop {
                        match self.chars.next()? {
                            '"' => break,
                            '\\' => match self.chars.next()? {
                                c @ ('"' | '\\' | '$' | '`') => word.text.push(c),
                                c => word.text.extend(['\\', c]),
                            },
                            '$' => self.variable(&mut word)?,
                            c => {
                                word.plain &= c != '`';
                                word.text.push(c);
                            }
                        }
                    }
                }
                '\\' => {
                    self.chars.next();
                    word.text.extend(self.chars.next());
                }
                '$' => {
                    self.chars.next();
                    self.variable(&mut word)?;
                }
                c if c.is_whitespace() || ";&|()<>".contains(c) => break,
                c => {
                    self.chars.next();
                    let is_test = c == '[' && word.text.is_empty() && self.chars.peek() == Some(&' ');
                    word.plain &= is_test || !"`*?[{~".contains(c);
                    word.text.push(c);
                }
            }
        }
        Some(word)
    }

    /// What stands behind a `$`.
    fn variable(&mut self, word: &mut Word) -> Option<()> {
        let mut raw = String::from("$");
        let mut name = String::new();
        match self.chars.peek() {
            Some('(') => {
                let mut depth = 0;
                loop {
                    let c = self.chars.next()?;
                    raw.push(c);
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    if depth == 0 {
                        break;
                    }
                }
            }
            Some('{') => {
                loop {
                    let c = self.chars.next()?;
                    raw.push(c);
                    if c == '}' {
                        break;
                    }
                }
                name = raw[2..raw.len() - 1].to_owned();
            }
            _ => {
                while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                raw += &name;
            }
        }
        match self.constants.get(&name).filter(|value| is_harmless(value)) {
            Some(value) => word.text += value,
            None => {
                word.plain = false;
                word.text += &raw;
            }
        }
        Some(())
    }
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
}

/// Words that begin or end what is no simple command.
const KEYWORDS: &[&str] =
    &["if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "{", "}"];

impl Parser<'_> {
    /// The keyword that comes next.
    fn keyword(&self) -> Option<&str> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => KEYWORDS.iter().find(|keyword| **keyword == word.text).copied(),
            Some(Token::Operator(")")) => Some(")"),
            _ => None,
        }
    }

    /// Commands up to one of these words, which is not taken.
    fn list(&mut self, ends: &[&str], fallback: bool) -> Option<Vec<Command>> {
        let mut commands = Vec::new();
        let mut join = Join::Then;
        while let Some(token) = self.tokens.get(self.at) {
            if self.keyword().is_some_and(|keyword| ends.contains(&keyword)) {
                break;
            }
            let fallback = fallback || join == Join::Or;
            match token {
                Token::Operator("(") => {
                    self.at += 1;
                    commands.extend(self.list(&[")"], fallback)?);
                    self.take(")")?;
                }
                Token::Operator(operator) => {
                    join = match *operator {
                        "&&" => Join::And,
                        "||" => Join::Or,
                        "|" => Join::Pipe,
                        ")" => return None,
                        // `&&` goes on behind the end of a line.
                        "\n" if join != Join::Then => join,
                        _ => Join::Then,
                    };
                    self.at += 1;
                    continue;
                }
                Token::Word(_) if self.keyword() == Some("{") => {
                    self.at += 1;
                    commands.extend(self.list(&["}"], fallback)?);
                    self.take("}")?;
                }
                // What an `if` does where another command failed is not told from what it always does.
                Token::Word(_) if self.keyword() == Some("if") && !fallback && join == Join::Then => {
                    commands.push(self.branches()?)
                }
                Token::Word(_) if self.keyword().is_some() => return None,
                _ => commands.push(Command::Simple(self.simple(join, fallback))),
            }
            join = Join::Then;
            // What a group or `if` writes as a whole, or words behind it.
            if !matches!(self.tokens.get(self.at), None | Some(Token::Operator(_)))
                && self.keyword().is_none_or(|keyword| !ends.contains(&keyword))
            {
                return None;
            }
        }
        Some(commands)
    }

    fn take(&mut self, keyword: &str) -> Option<()> {
        (self.keyword() == Some(keyword)).then(|| self.at += 1)
    }

    fn simple(&mut self, join: Join, fallback: bool) -> Simple {
        let mut simple = Simple { words: Vec::new(), writes: Vec::new(), join, fallback };
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Word(word) => simple.words.push(word.clone()),
                Token::Write(word) => simple.writes.push(word.clone()),
                Token::Operator(_) => break,
            }
            self.at += 1;
        }
        simple
    }

    fn branches(&mut self) -> Option<Command> {
        self.take("if")?;
        let mut arms = Vec::new();
        loop {
            let condition = self.list(&["then"], false)?;
            self.take("then")?;
            arms.push((condition, self.list(&["elif", "else", "fi"], false)?));
            if self.take("elif").is_none() {
                break;
            }
        }
        let otherwise = match self.take("else") {
            Some(()) => self.list(&["fi"], false)?,
            None => Vec::new(),
        };
        self.take("fi")?;
        Some(Command::If { arms, otherwise })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple(text: &str) -> Vec<Simple> {
        let constants = BTreeMap::from([("V".to_owned(), "1.2".to_owned()), ("W".into(), "a b".into())]);
        let found = commands(text, &constants).unwrap_or_else(|| panic!("{text}"));
        let simple = found.into_iter().map(|command| match command {
            Command::Simple(simple) => simple,
            other => panic!("{other:?}"),
        });
        simple.collect()
    }

    #[test]
    fn words_are_without_quotes_and_with_constants() {
        let found = simple("a 'b c' \"$V-${V}\" '$V' $W x* 2>/dev/null");
        let words: Vec<(&str, bool)> =
            found[0].words.iter().map(|word| (word.text.as_str(), word.plain)).collect();
        assert_eq!(
            words,
            [("a", true), ("b c", true), ("1.2-1.2", true), ("$V", true), ("$W", false), ("x*", false)]
        );
        assert!(found[0].writes.is_empty());
    }

    #[test]
    fn what_is_written_is_told_from_what_is_only_passed_on() {
        let writes = |text: &str| -> Vec<String> {
            simple(text).into_iter().flat_map(|s| s.writes).map(|word| word.text).collect()
        };
        assert_eq!(writes("echo a >/x 2>&1 && cat b 3 >> \"/y z\""), ["/x", "/y z"]);
        assert_eq!(writes("echo a >/dev/null 2>&1 || echo '>' \\> >&2"), [""; 0]);
        assert_eq!(writes("a &>/log"), ["/log"]);
        assert_eq!(simple("echo 3 > /x")[0].words.len(), 2, "the number is a word of its own");
        assert_eq!(simple("echo 2> /x")[0].words.len(), 1);
    }

    #[test]
    fn what_runs_after_a_failure_is_marked() {
        let found = simple("a && b || (c && d) || { e; } ; f");
        let marks: Vec<(&str, bool)> = found.iter().map(|s| (s.words[0].text.as_str(), s.fallback)).collect();
        assert_eq!(marks, [("a", false), ("b", false), ("c", true), ("d", true), ("e", true), ("f", false)]);
    }

    #[test]
    fn forms_that_are_not_known_are_nothing() {
        for text in [
            "for x in a; do b; done",
            "a <<EOF",
            "a &",
            "echo 'open",
            "(a",
            "a )",
            "if a; then b",
            "f() { a; }",
            "(a) > /x",
            "case $a in b) c;; esac",
        ] {
            assert_eq!(commands(text, &BTreeMap::new()), None, "{text}");
        }
    }
}
