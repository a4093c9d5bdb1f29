//! Lists of images: a file of lines, a catalog.

use serde_json::Value;

/// A name out of a list, with its place for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// Where it stands, e.g. `images.txt:3`.
    pub place: String,
}

/// One reference a line; blank lines and what follows a `#` are passed over.
pub fn read_list(text: &str, place: &str) -> Vec<Listed> {
    let lines = text.lines().enumerate().map(|(at, line)| {
        let name = line.split_once('#').map_or(line, |(name, _)| name).trim();
        Listed { name: name.to_owned(), place: format!("{place}:{}", at + 1) }
    });
    lines.filter(|listed| !listed.name.is_empty()).collect()
}

/// The names of a catalog: `{"repositories": […]}` as the distribution specification has it,
/// `{"images": […]}`, an envelope with either under `data`, an array of texts, or lines. A name may
/// lack its tag.
///
/// # Errors
/// In words, when it is none of these.
pub fn read_catalog(text: &str, place: &str) -> Result<Vec<Listed>, String> {
    if !text.trim_start().starts_with(['{', '[']) {
        if text.trim_start().starts_with('<') {
            return Err("it is a web page, no catalog".into());
        }
        return Ok(read_list(text, place));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let names = names(&value).ok_or("it has no list under `repositories`, `images` or `data`")?;
    let listed = names.iter().enumerate().map(|(at, name)| match name.as_str() {
        Some(name) => Ok(Listed { name: name.to_owned(), place: format!("{place} [{at}]") }),
        None => Err(format!("entry {at} is no text: {name}")),
    });
    listed.collect()
}

fn names(value: &Value) -> Option<&Vec<Value>> {
    if let Some(list) = value.as_array() {
        return Some(list);
    }
    let list = ["repositories", "images"].iter().find_map(|key| value.get(key)?.as_array());
    list.or_else(|| names(value.get("data")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(text: &str) -> Vec<String> {
        read_catalog(text, "x").unwrap().into_iter().map(|listed| listed.name).collect()
    }

    #[test]
    fn lines_have_comments_and_places() {
        let listed = read_list("# ours\n\n harness/ci-addon:1 # new\r\nplugins/s3:2", "a.txt");
        let found: Vec<_> = listed.iter().map(|l| (l.name.as_str(), l.place.as_str())).collect();
        assert_eq!(found, [("harness/ci-addon:1", "a.txt:3"), ("plugins/s3:2", "a.txt:4")]);
    }

    #[test]
    fn catalogs_come_in_several_forms() {
        let want = ["a/b", "c/d:1"];
        for text in [
            r#"{"repositories":["a/b","c/d:1"]}"#,
            r#"{"images":["a/b","c/d:1"],"more":1}"#,
            r#"{"status":"SUCCESS","data":{"repositories":["a/b","c/d:1"]}}"#,
            r#"{"data":["a/b","c/d:1"]}"#,
            r#" ["a/b","c/d:1"]"#,
            "a/b\nc/d:1\n",
        ] {
            assert_eq!(catalog(text), want, "{text}");
        }
        for text in ["{}", "[1]", "{", "<html>"] {
            assert!(read_catalog(text, "x").is_err(), "{text}");
        }
    }
}
