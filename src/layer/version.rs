//! Symbol versions: `GLIBC_2.28` is the family `GLIBC` and the numbers 2 and 28.

/// The family of a symbol version and its numbers, which are empty where it has none
/// (`GLIBC_PRIVATE`, `GLIBC_ABI_DT_RELR`).
pub(crate) fn parts(version: &str) -> (&str, Vec<u32>) {
    let Some((family, number)) = version.rsplit_once('_') else { return (version, Vec::new()) };
    match number.split('.').map(|n| n.parse().ok()).collect::<Option<Vec<u32>>>() {
        Some(numbers) => (family, numbers),
        None => (version, Vec::new()),
    }
}

/// The newest version of a family; versions without numbers do not count.
pub(crate) fn newest<'v>(versions: impl IntoIterator<Item = &'v String>, family: &str) -> Option<&'v str> {
    let numbered = versions.into_iter().filter(|version| {
        let (own, numbers) = parts(version);
        own == family && !numbers.is_empty()
    });
    numbered.max_by_key(|version| parts(version).1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let versions = ["GLIBC_2.9", "GLIBC_2.28", "GLIBC_PRIVATE", "GLIBC_2.2.5", "GCC_3.0"];
        let versions = versions.map(str::to_owned);
        assert_eq!(newest(&versions, "GLIBC"), Some("GLIBC_2.28"));
        assert_eq!(newest(&versions, "GLIBCXX"), None);
        assert_eq!(parts("CXXABI_1.3.13"), ("CXXABI", vec![1, 3, 13]));
        assert_eq!(parts("CXXABI_TM_1"), ("CXXABI_TM", vec![1]));
        assert_eq!(parts("GLIBC_ABI_DT_RELR"), ("GLIBC_ABI_DT_RELR", vec![]));
    }
}
