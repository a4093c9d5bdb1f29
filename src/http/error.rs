//! Why there is no answer, in one line.

/// An error with its causes, each said once; of an HTTP client's errors the outermost says little.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Chained {
        words: &'static str,
        source: Option<Box<Chained>>,
    }

    #[test]
    fn every_cause_is_said_once() {
        let chained = |words, source: Option<Chained>| Chained { words, source: source.map(Box::new) };
        let inner = chained("refused", None);
        let middle = chained("connect: refused", Some(inner));
        let outer = chained("request failed", Some(chained("request failed", Some(middle))));
        assert_eq!(causes(&outer), "request failed: connect: refused");
    }
}
