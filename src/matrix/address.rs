//! URLs whose query may hold credentials: how they are shown, recorded and locked.

use std::collections::BTreeMap;

/// A URL with the query of `masked`, the same one rendered with [`masks`]; without one where there is none.
pub(super) fn shown(url: &str, masked: Option<&str>) -> String {
    let (address, query) = divided(url);
    if query.is_empty() {
        return address.to_owned();
    }
    format!("{address}{}", masked.map_or("", |masked| divided(masked).1))
}

/// A URL up to its query or fragment, and the rest.
fn divided(url: &str) -> (&str, &str) {
    url.split_at(url.find(['?', '#']).unwrap_or(url.len()))
}

/// Variables whose values are their names: `$token`.
pub(super) fn masks<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<String, String> {
    names.map(|name| (name.clone(), format!("${name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_shown_as_it_is_masked() {
        let masked = Some("https://$host/f?v=1&sig=$token");
        assert_eq!(shown("https://host/f?v=1&sig=x", masked), "https://host/f?v=1&sig=$token");
        assert_eq!(shown("https://host/f", Some("https://host/f")), "https://host/f");
        assert_eq!(shown("https://host/f?sig=x", Some("https://host/f$query")), "https://host/f");
        assert_eq!(shown("https://host/f?sig=x", None), "https://host/f");
    }
}
