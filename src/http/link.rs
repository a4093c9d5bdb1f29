//! The `Link` header by which servers page (RFC 8288).

use url::Url;

/// The page after `at`: the target of the link with `rel="next"`, on `at`'s own host whatever host
/// the header names, as servers behind proxies often name the wrong one.
pub(crate) fn next_page(header: &str, at: &Url) -> Option<Url> {
    let target = next_target(header)?;
    let found = at.join(target).ok()?;
    let mut next = at.clone();
    next.set_path(found.path());
    next.set_query(found.query());
    Some(next)
}

fn next_target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let (target, after) = rest[start + 1..].split_once('>')?;
        // Parameters end at the next link, which starts with `<`.
        let parameters = &after[..after.find('<').unwrap_or(after.len())];
        let is_next = parameters.split([';', ',']).any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|relation| relation.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(header: &str) -> Option<String> {
        let at = Url::parse("https://r.example:5000/v2/a/b/tags/list?n=2").unwrap();
        next_page(header, &at).map(String::from)
    }

    #[test]
    fn next_is_found_relative_absolute_and_among_others() {
        let want = Some("https://r.example:5000/v2/a/b/tags/list?last=x&n=2".to_owned());
        for header in [
            r#"</v2/a/b/tags/list?last=x&n=2>; rel="next""#,
            r#"<http://inner:80/v2/a/b/tags/list?last=x&n=2>;rel=next"#,
            r#"</first>; rel="prev first", </v2/a/b/tags/list?last=x&n=2>; title="a"; REL="last next""#,
        ] {
            assert_eq!(next(header), want, "{header}");
        }
    }

    #[test]
    fn anything_else_is_no_next() {
        for header in ["", "nonsense", r#"</a>; rel="prev""#, "</a", r#"</a>; title="rel=next""#] {
            assert_eq!(next(header), None, "{header}");
        }
    }
}
