//! `system.time`: now, in UTC and in a zone.

use crate::Cx;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Value, json};

/// How many names an unknown zone is answered with.
const SUGGESTIONS: usize = 3;
/// Similarity (Jaro-Winkler, 0 to 1) below which a name is no help.
const SIMILAR: f64 = 0.7;

#[derive(Deserialize)]
pub(crate) struct Inputs {
    timezone: Option<String>,
}

pub(crate) fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let now = cx.clock.now();
    match inputs.timezone {
        None => Ok(at(now, Offset::UTC, "UTC")),
        Some(name) => {
            let zone = find(&name)?;
            let offset = zone.to_offset(now);
            Ok(at(now, offset, zone.iana_name().unwrap_or(&name)))
        }
    }
}

fn at(now: Timestamp, offset: Offset, zone: &str) -> Value {
    json!({
        "utc": format!("{now:.3}"),
        "unix_epoch": now.as_second(),
        "unix_epoch_ms": now.as_millisecond(),
        "local": format!("{:.3}", now.display_with_offset(offset)),
        "timezone": zone,
    })
}

fn find(name: &str) -> Result<TimeZone, CallError> {
    jiff::tz::db().get(name).map_err(|_| {
        let nearest = nearest(name);
        let unknown = CallError::new(ErrorType::InvalidTimezone)
            .with("timezone", name)
            .with("suggestions", nearest.clone());
        match nearest.as_slice() {
            [] => unknown,
            names => unknown.detail(format!("Did you mean {}?", names.join(" or "))),
        }
    })
}

/// Names like this one, also if it is only the city or was written with blanks.
fn nearest(wrong: &str) -> Vec<String> {
    let wanted = wrong.to_lowercase().replace(' ', "_");
    let score = |name: &str| {
        let name = name.to_lowercase();
        let city = name.rsplit('/').next().unwrap_or(&name);
        strsim::jaro_winkler(&name, &wanted).max(strsim::jaro_winkler(city, &wanted))
    };
    let mut names: Vec<(f64, String)> = jiff::tz::db()
        .available()
        .map(|name| (score(name.as_str()), name.as_str().to_owned()))
        .filter(|(score, _)| *score >= SIMILAR)
        .collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    names.truncate(SUGGESTIONS);
    names.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_a_typo_and_a_blank_lead_to_the_zone() {
        for (wrong, right) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("berlin", "Europe/Berlin"),
            ("America/New York", "America/New_York"),
        ] {
            assert!(
                nearest(wrong).iter().any(|name| name == right),
                "{wrong}: {:?}",
                nearest(wrong)
            );
        }
        assert!(nearest("\u{1f980}").is_empty());
    }
}
