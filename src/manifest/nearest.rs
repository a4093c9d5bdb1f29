//! "Did you mean": the nearest of the known names.

/// The known name that is nearest to what was written, where one is near enough.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        // The first of equally near names, for the same message on every run.
        .fold(None, |best: Option<(f64, &str)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        })
        .map(|(_, name)| name)
}

/// A remedy for an unknown name: the nearest one, or all of them.
pub(super) fn did_you_mean<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
    what: &str,
) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(written, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => format!("there are no {what} yet"),
        None => {
            let shown: Vec<String> = known.iter().take(20).map(|name| format!("`{name}`")).collect();
            let more = if known.len() > 20 { ", …" } else { "" };
            format!("known {what}: {}{more}", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_proposed_and_far_ones_are_listed() {
        assert_eq!(nearest("tgas", ["name", "tags", "base"]), Some("tags"));
        assert_eq!(nearest("zzz", ["name", "tags"]), None);
        assert_eq!(did_you_mean("zzz", ["a", "b"], "axes"), "known axes: `a`, `b`");
        assert_eq!(did_you_mean("zzz", [], "axes"), "there are no axes yet");
    }
}
