//! Reports in the XML that build servers read: one `testsuite` for each file, one `testcase` for each
//! case (the «JUnit» format as Jenkins and GitLab document it).

use super::Report;
use std::fmt::Write;

/// The reports of several files, by the files' names.
#[must_use]
pub fn junit(reports: &[(String, Report)]) -> String {
    let sum =
        |count: fn(&Report) -> usize| reports.iter().map(|(_, one)| count(one)).sum::<usize>();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        xml,
        "<testsuites tests=\"{}\" failures=\"{}\">",
        sum(|one| one.cases.len()),
        sum(|one| one.failed)
    );
    for (file, report) in reports {
        let file = escaped(file);
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{}\">",
            report.cases.len(),
            report.failed
        );
        for case in &report.cases {
            let name = escaped(&case.name);
            let _ = write!(xml, "    <testcase classname=\"{file}\" name=\"{name}\"");
            let _ = match &case.failure {
                None => writeln!(xml, "/>"),
                Some(failure) => writeln!(
                    xml,
                    ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
                    escaped(&failure.message),
                    escaped(&failure.to_string())
                ),
            };
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Text that XML 1.0 can hold: control characters have no spelling in it and become spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
