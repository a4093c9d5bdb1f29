//! A plan as a page: one HTML file that fetches nothing and draws the plan's document by its own script.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use sha2::{Digest as _, Sha256};

use crate::plan::PlanDocument;

const PAGE: &str = include_str!("plan_page/page.html");
const STYLE: &str = include_str!("plan_page/style.css");
const SCRIPT: &str = concat!(
    include_str!("plan_page/document.js"),
    include_str!("plan_page/grid.js"),
    include_str!("plan_page/panel.js"),
    include_str!("plan_page/graph.js"),
    include_str!("plan_page/page.js"),
);

/// The page. Its policy lets the browser run its own script and style, by their hashes, and nothing else.
pub fn html(plan: &PlanDocument) -> String {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        source(SCRIPT),
        source(STYLE)
    );
    let title = escaped(&format!("{}: plan", plan.project));
    let (head, tail) = PAGE.split_once("@DOCUMENT@").expect("the page has a place for the document");
    let mut page =
        filled(head, &[("@POLICY@", &policy), ("@TITLE@", &title), ("@STYLE@", STYLE)]).into_bytes();
    embed(&mut page, plan);
    page.extend(filled(tail, &[("@SCRIPT@", SCRIPT)]).into_bytes());
    String::from_utf8(page).expect("JSON is UTF-8")
}

/// A part of the page with texts in place of its marks, which come in this order.
fn filled(part: &str, texts: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = part;
    for (mark, text) in texts {
        let (before, after) = rest.split_once(mark).expect("the page has every mark, in order");
        filled.push_str(before);
        filled.push_str(text);
        rest = after;
    }
    filled + rest
}

/// A hash source of a Content-Security-Policy.
fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// Text between tags.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Adds JSON that holds nothing which HTML or JavaScript could take for its own.
fn embed(page: &mut Vec<u8>, value: &impl Serialize) {
    let mut serializer = Serializer::with_formatter(page, Embedded);
    value.serialize(&mut serializer).expect("plans have string keys");
}

/// Compact JSON with `<`, `>`, `&` and the line separators U+2028 and U+2029 as escapes.
struct Embedded;

impl Formatter for Embedded {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, special) = rest.split_at(at);
            let special = special.chars().next().expect("something was found here");
            CompactFormatter.write_string_fragment(writer, before)?;
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_json_has_no_markup_and_means_the_same() {
        let hostile = ["</script><b>&amp;", "<!--", "a\u{2028}b\u{2029}c", "\"quoted\" \\ é", ""];
        let mut json = Vec::new();
        embed(&mut json, &hostile);
        let json = String::from_utf8(json).unwrap();
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{json}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), hostile);
    }

    #[test]
    fn no_part_of_the_page_ends_another() {
        for part in [STYLE, SCRIPT] {
            assert!(!part.contains("</"), "an end tag would end the element");
            assert!(!part.contains("<!--"));
        }
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("insertAdjacentHTML"));
    }

    #[test]
    fn the_page_names_nothing_to_fetch() {
        for part in [PAGE, STYLE, SCRIPT] {
            let found = part.replace("http://www.w3.org/2000/svg", "");
            assert!(!found.contains("://") && !found.contains("url(") && !found.contains("@import"));
        }
    }

    /// The script has a sentence for every kind of reason.
    #[test]
    fn every_reason_is_in_words() {
        for code in crate::plan::ReasonCode::ALL {
            assert!(SCRIPT.contains(&format!("\n  \"{}\": \"", code.name())), "{}", code.name());
        }
    }
}
