//! `WWW-Authenticate`: what a registry wants to see before it answers (RFC 9110, 11.6.1).

/// How a registry wants to be authenticated with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from a token service.
    Bearer(Bearer),
}

/// Where tokens are had and for what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bearer {
    /// URL of the token service.
    pub(super) realm: String,
    /// What the service calls the registry.
    pub(super) service: Option<String>,
    /// Scopes the refused request wanted, separated by spaces.
    pub(super) scope: Option<String>,
}

/// Picks the challenge to answer from the headers of a 401: Bearer before Basic.
pub(super) fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for (scheme, parameters) in headers.into_iter().flat_map(parse) {
        if scheme.eq_ignore_ascii_case("bearer") {
            let get = |name: &str| {
                parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
            };
            if let Some(realm) = get("realm") {
                return Some(Challenge::Bearer(Bearer {
                    realm,
                    service: get("service"),
                    scope: get("scope").filter(|scope| !scope.is_empty()),
                }));
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

type Parameters = Vec<(String, String)>;

/// Splits a header into schemes and their parameters. Never fails: what it cannot read it skips.
fn parse(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        if rest.is_empty() {
            return found;
        }
        let end = rest.find(|c: char| c == '=' || c == ',' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        rest = match value {
            Some(value) => {
                let (value, after) = read_value(value);
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_owned(), value));
                }
                after
            }
            None => {
                found.push((word.to_owned(), Vec::new()));
                after
            }
        };
    }
}

/// Reads a token or a quoted string from the front of `text`.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_keeps_commas_inside_quotes() {
        let header = r#"Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push repository:c:pull",error="invalid_token""#;
        assert_eq!(
            choose([header]),
            Some(Challenge::Bearer(Bearer {
                realm: "https://auth.example/token".into(),
                service: Some("reg".into()),
                scope: Some("repository:a/b:pull,push repository:c:pull".into()),
            }))
        );
    }

    #[test]
    fn bearer_wins_over_basic_in_any_order_and_spelling() {
        for headers in [
            vec![r#"Basic realm="x""#, r#"bearer realm=r"#],
            vec![r#"Basic realm="a, Bearer b", BEARER realm = "r""#],
            vec![r#"Bearer realm="r", Basic realm="x""#, "Negotiate"],
        ] {
            let want = Challenge::Bearer(Bearer { realm: "r".into(), ..Bearer::default() });
            assert_eq!(choose(headers.clone()), Some(want), "{headers:?}");
        }
    }

    #[test]
    fn basic_and_nothing() {
        assert_eq!(choose([r#"Basic realm="https://x.example/",service="ecr""#]), Some(Challenge::Basic));
        for header in ["", "Negotiate", "Bearer", "Bearer scope=\"x\"", "realm=\"x\"", "\"", "===", ", ,"] {
            assert_eq!(choose([header]), None, "{header}");
        }
    }

    #[test]
    fn escapes_and_open_quotes_end() {
        let want = |realm: &str| Some(Challenge::Bearer(Bearer { realm: realm.into(), ..Bearer::default() }));
        assert_eq!(choose([r#"Bearer realm="a\"b""#]), want(r#"a"b"#));
        assert_eq!(choose([r#"Bearer realm="open"#]), want("open"));
    }
}
