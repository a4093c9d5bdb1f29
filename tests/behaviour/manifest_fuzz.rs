//! No text makes the parser or the renderer panic.

use proptest::prelude::*;
use railyard::manifest::{self, Sources};

const GOOD: &str = include_str!("../good/serverless.toml");
const SHARED: &str = include_str!("../good/shared.toml");

/// Parses and renders; what comes out does not matter, except that a mistake is always shown.
fn survive(text: &str) {
    manifest::imports(text);
    let mut sources = Sources::default();
    sources.add("a.toml", text);
    sources.add("b.toml", SHARED);
    if let Err((sources, problems)) = manifest::parse(sources) {
        assert!(!problems.is_empty());
        assert_eq!(manifest::render_plain(&sources, &problems).lines().count(), problems.0.len());
        assert!(!manifest::render(&sources, &problems, false, 80).is_empty());
    }
}

fn lines() -> Vec<&'static str> {
    GOOD.lines().collect()
}

/// Values of every type, to be put where others stand.
const VALUES: [&str; 14] = [
    "\"\"",
    "\"x\"",
    "\"é\\n\"",
    "3",
    "-1",
    "1.5",
    "nan",
    "true",
    "2020-01-01",
    "[]",
    "[[]]",
    "[\"...\"]",
    "{}",
    "{ x = { y = [1] } }",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn truncated(at in 0..GOOD.len()) {
        survive(&String::from_utf8_lossy(&GOOD.as_bytes()[..at]));
    }

    #[test]
    fn with_other_bytes(changes in prop::collection::vec((0..GOOD.len(), any::<u8>()), 1..6)) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        survive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn without_some_lines(drop in prop::collection::btree_set(0..lines().len(), 1..8)) {
        let kept: Vec<&str> =
            lines().into_iter().enumerate().filter(|(n, _)| !drop.contains(n)).map(|(_, line)| line).collect();
        survive(&kept.join("\n"));
    }

    #[test]
    fn with_lines_swapped(a in 0..lines().len(), b in 0..lines().len()) {
        let mut all = lines();
        all.swap(a, b);
        survive(&all.join("\r\n"));
    }

    #[test]
    fn with_values_of_other_types(changes in prop::collection::vec((0..lines().len(), 0..VALUES.len()), 1..8)) {
        let mut all: Vec<String> = lines().into_iter().map(str::to_owned).collect();
        for (line, value) in changes {
            // Whole values only, so that the text stays TOML and the decoder is reached.
            let Some((key, old)) = all[line].split_once(" = ") else { continue };
            let open = |c| old.matches(c).count();
            if open('[') == open(']') && open('{') == open('}') && open('"') % 2 == 0 && !old.contains("\"\"\"") {
                all[line] = format!("{key} = {}", VALUES[value]);
            }
        }
        survive(&all.join("\n"));
    }

    #[test]
    fn of_anything(text in prop::collection::vec(any::<char>(), 0..60)) {
        survive(&text.into_iter().collect::<String>());
    }
}
