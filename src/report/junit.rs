//! JUnit XML: a test case a cell.

use std::fmt::Write as _;

use crate::event::{CellOutcome, Summary};

/// The report's text.
pub fn junit(summary: &Summary) -> String {
    let failed = summary.count(CellOutcome::Failed);
    let skipped = summary.count(CellOutcome::Skipped);
    let unmirrored = |outcome| summary.mirrors.iter().filter(|image| image.outcome == outcome).count();
    let (failed, skipped) = (failed + unmirrored("failed"), skipped + unmirrored("skipped"));
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        text,
        "<testsuites><testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\" time=\"{:.3}\">",
        escape(&summary.project),
        summary.cells.len() + summary.mirrors.len(),
        summary.seconds
    );
    for cell in &summary.cells {
        let name = escape(&cell.cell);
        let class = escape(&cell.image);
        let _ = write!(text, "<testcase classname=\"{class}\" name=\"{name}\"");
        let _ = match cell.outcome {
            CellOutcome::Built | CellOutcome::Current => writeln!(text, "/>"),
            CellOutcome::Skipped => writeln!(text, "><skipped/></testcase>"),
            CellOutcome::Failed => {
                let message = escape(cell.failure.as_deref().unwrap_or("failed"));
                writeln!(text, "><failure message=\"{message}\">{message}</failure></testcase>")
            }
        };
    }
    for image in &summary.mirrors {
        let (name, class) = (escape(&image.image), escape(&format!("mirror {}", image.mirror)));
        let _ = write!(text, "<testcase classname=\"{class}\" name=\"{name}\"");
        let _ = match image.outcome {
            "skipped" => writeln!(text, "><skipped/></testcase>"),
            "failed" => {
                let message = escape(image.failure.as_deref().unwrap_or("failed"));
                writeln!(text, "><failure message=\"{message}\">{message}</failure></testcase>")
            }
            _ => writeln!(text, "/>"),
        };
    }
    text.push_str("</testsuite></testsuites>\n");
    text
}

/// XML text; characters that XML 1.0 does not allow are dropped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            c if (c as u32) < 0x20 && c != '\t' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a<b>&\"c\"\u{1b}[1m\nd"), "a&lt;b&gt;&amp;&quot;c&quot;[1m&#10;d");
    }
}
