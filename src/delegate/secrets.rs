//! Secrets in a manifest: which values are real, and the same text without them.

use base64::Engine as _;

use super::yaml::Node;

/// A value that must not be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RealSecret {
    /// What it is, for people: "`DELEGATE_TOKEN` of Secret `x`".
    pub subject: String,
    /// The value as it stands, without quotes.
    pub value: String,
    /// What is written in its place.
    pub placeholder: String,
    /// Where it stands, in bytes, without its anchor: an alias needs that.
    pub place: std::ops::Range<usize>,
    /// Whether it is the lines of a block, where quotes would be part of the text.
    pub block: bool,
}

/// The real secrets of a Kubernetes object: values of a Secret, and variables of containers and values of a
/// ConfigMap that are named like one.
pub(super) fn real(object: &Node) -> Vec<RealSecret> {
    let name = object.at(&["metadata", "name"]).and_then(Node::text).unwrap_or("?");
    let mut found = Vec::new();
    let kind = object.get("kind").and_then(Node::text).unwrap_or_default();
    if ["Secret", "ConfigMap"].contains(&kind) {
        for (key, value) in
            ["data", "stringData"].iter().flat_map(|key| object.get(key)).flat_map(Node::entries)
        {
            let key = key.text().unwrap_or("?");
            if kind == "Secret" || is_secret_name(key) {
                found.extend(judge(key, value, &format!("`{key}` of {kind} `{name}`")));
            }
        }
    }
    object.walk(&mut |node| {
        let (Some(key), Some(value)) = (node.get("name").and_then(Node::text), node.get("value")) else {
            return;
        };
        if is_secret_name(key) {
            found.extend(judge(key, value, &format!("variable `{key}` in `{name}`")));
        }
    });
    found
}

fn judge(key: &str, value: &Node, subject: &str) -> Option<RealSecret> {
    let (text, place, block) = match value {
        Node::Scalar { text: Some(text), place, content, block } => (text, *content..place.end, block),
        // The value stands where its anchor is.
        Node::Alias { scalar: Some(scalar), .. } => return judge(key, scalar, subject),
        _ => return None,
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    if is_placeholder(text) || decoded.as_deref().is_some_and(is_placeholder) {
        return None;
    }
    let words: String =
        key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    Some(RealSecret {
        subject: subject.to_owned(),
        value: text.clone(),
        placeholder: format!("YOUR_{words}"),
        place,
        block: *block,
    })
}

/// Whether a variable is named like a secret.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Whether a value stands for one that is put in later.
fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    text.is_empty()
        || ["YOUR_", "PUT_", "REPLACE", "PLACEHOLDER", "CHANGEME", "CHANGE_ME"]
            .iter()
            .any(|word| upper.starts_with(word))
        || (text.starts_with('<') && text.ends_with('>'))
        || ["${", "{{", "$("].iter().any(|mark| text.starts_with(mark))
}

/// A text without secrets, wherever they stand: as they are written, decoded from base64, encoded to it.
pub(super) fn without(text: &str, secrets: &[RealSecret]) -> String {
    let base64 = base64::engine::general_purpose::STANDARD;
    let mut forms: Vec<(String, &str)> = Vec::new();
    for secret in secrets {
        // A block is indented where it stands, so its lines count.
        if secret.value.trim().contains('\n') {
            forms.extend(secret.value.lines().map(|line| (line.to_owned(), secret.placeholder.as_str())));
        }
        forms.push((secret.value.clone(), &secret.placeholder));
        forms.push((base64.encode(&secret.value), &secret.placeholder));
        if let Some(decoded) = base64.decode(secret.value.trim()).ok().and_then(|b| String::from_utf8(b).ok())
        {
            forms.push((decoded, &secret.placeholder));
        }
    }
    // Very short values would shred ordinary words; at their own place they are replaced anyway.
    forms.retain(|(form, _)| form.trim().len() >= 6);
    forms.sort_by_key(|(form, _)| std::cmp::Reverse(form.len()));
    forms.iter().fold(text.to_owned(), |text, (form, placeholder)| text.replace(form.trim(), placeholder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_no_secrets() {
        for placeholder in
            ["", " ", "YOUR_DELEGATE_TOKEN", "<token>", "PUT_YOUR_TOKEN_HERE", "{{ token }}", "$(TOKEN)"]
        {
            assert!(is_placeholder(placeholder), "{placeholder}");
        }
        for real in ["ZGVhZGJlZWY=", "input_data_2024_real", "a-real-one-for-YOUR_TEAM"] {
            assert!(!is_placeholder(real), "{real}");
        }
    }
}
