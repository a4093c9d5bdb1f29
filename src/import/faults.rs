//! Mistakes that scripts of build pipelines are known for, by line.

use std::sync::LazyLock;

use regex::Regex;

use super::{Remark, RemarkKind};

/// A mistake: a pattern, what makes it none, and what there is to say.
struct Fault {
    pattern: Regex,
    unless: Option<Regex>,
    text: &'static str,
}

fn fault(pattern: &str, unless: Option<&str>, text: &'static str) -> Fault {
    let regex = |pattern: &str| Regex::new(pattern).expect("a pattern");
    Fault { pattern: regex(pattern), unless: unless.map(regex), text }
}

static FAULTS: LazyLock<Vec<Fault>> = LazyLock::new(|| {
    let secret = r"(?i)(PASSWORD|PASSWD|TOKEN|SECRET|API_?KEY)";
    vec![
        fault(
            r"docker\s+login\b.*\s(-p|--password)[ =]",
            None,
            "`docker login -p` shows the password to every process of the machine; railyard reads Docker's configuration",
        ),
        fault(
            &format!(r#"^\s*echo\s+.*\$\{{?\w*{secret}"#),
            Some(r"\|\s*docker\s+login\b.*--password-stdin"),
            "a secret is printed to the log",
        ),
        fault(
            r"\bcurl\s",
            Some(r"\bcurl\s+(\S+\s+)*?(-[a-zA-Z]*f[a-zA-Z]*|--fail(-with-body)?)\s|^\s*#"),
            "`curl` without `--fail` keeps an error page as the file; railyard checks what it downloads by sha256",
        ),
        fault(
            r"\buntil\s+docker\s+info\b",
            Some(r"^\s*#"),
            "waits for the engine without an end; `railyard build --wait-engine 60s` has one",
        ),
        fault(r"\bdockerd\s*&", None, "starts an engine inside the step, whose failure nobody sees"),
        fault(
            r"echo\s+'#!/bin/(ba)?sh'\s*>",
            None,
            "writes a stub in the place of a program that could not be downloaded; with railyard the cell fails",
        ),
        fault(
            r#"^\s*echo\s+.*(?i:status).*SUCCESS"#,
            None,
            "says success whatever happened; railyard's exit code and table say what did",
        ),
        fault(
            r#"IMAGE=["']?[a-z0-9]+([._-][a-z0-9]+)*/[a-z0-9._/-]+:\$"#,
            None,
            "the repository that is pushed to is written into the script",
        ),
        fault(
            r#"=["']?\$\(echo .*\|\s*sed\s"#,
            None,
            "a part of a reference is cut out by `sed`, which gives nonsense for a reference of another form",
        ),
    ]
});

/// Adds the mistakes of a script.
pub(super) fn find(lines: &[(usize, String)], remarks: &mut Vec<Remark>) {
    for (line, text) in lines {
        for fault in FAULTS.iter() {
            if fault.pattern.is_match(text)
                && !fault.unless.as_ref().is_some_and(|unless| unless.is_match(text))
            {
                remarks.push(Remark { line: *line, kind: RemarkKind::Fault, text: fault.text.to_owned() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(line: &str) -> usize {
        let mut remarks = Vec::new();
        find(&[(1, line.to_owned())], &mut remarks);
        remarks.len()
    }

    #[test]
    fn mistakes_are_told_from_what_is_right() {
        for bad in [
            "docker login -u \"$U\" -p $P",
            "echo \"${DOCKER_PASSWORD}\"",
            "curl -L -o /x https://example.com/x",
            "RUN curl -s -L -o /x https://example.com/x",
            "until docker info; do sleep 1; done",
            "dockerd &",
            "echo \" Push status: SUCCESS\"",
            "FINAL_IMAGE=\"somebody/plugin-test:${RUNTIME}\"",
            "X=$(echo \"${Y}\" | sed 's|a|b|')",
        ] {
            assert_eq!(count(bad), 1, "{bad}");
        }
        for good in [
            "echo \"${DOCKER_PASSWORD}\" | docker login -u x --password-stdin",
            "curl -fsSL -o /x https://example.com/x",
            "curl --fail -o /x https://example.com/x",
            "echo \"VERSION: $VERSION\"",
            "FINAL_IMAGE=\"${TARGET_REPO}:${VERSION}\"",
        ] {
            assert_eq!(count(good), 0, "{good}");
        }
    }
}
