//! Lengths of time as people type them: `90s`, `15m`, `1h`, `7d`, `1h30m`.

use std::time::Duration;

/// Longest span: what a log can reach back.
const MAX_SECONDS: u64 = 100 * 365 * 86_400;

/// Text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a length of time; write 30s, 15m, 1h, 7d or 1h30m")]
pub(crate) struct NotASpan(String);

/// Parses a length of time. A bare number is refused: nobody can tell its unit.
pub(crate) fn parse(text: &str) -> Result<Duration, NotASpan> {
    let wrong = || NotASpan(text.to_owned());
    let mut total = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let unit = tail.chars().next().ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number
            .checked_mul(seconds)
            .and_then(|more| total.checked_add(more))
            .filter(|all| *all <= MAX_SECONDS)
            .ok_or_else(wrong)?;
        rest = tail.get(unit.len_utf8()..).unwrap_or_default();
    }
    Ok(Duration::from_secs(total))
}

/// A length of time for a table: its two largest units.
pub(crate) fn show(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn units_add_up_and_anything_else_is_refused() {
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in [
            "",
            "1",
            "h",
            "1x",
            "1h30",
            "-1h",
            "99999999999999999999d",
            "1ä",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(show(90), "1m30s");
        assert_eq!(show(90_000), "1d1h");
    }
}
