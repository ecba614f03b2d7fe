//! `system.metrics`: how busy the machine was over a window.

use crate::Cx;
use kruxos_types::{CallError, ErrorType};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest window: a day.
const MAX_SECONDS: u64 = 24 * 3600;
/// What the gateway measures and the capability answers.
const PARTS: [&str; 4] = ["cpu", "memory", "disk_io", "network_io"];

#[derive(Deserialize)]
pub(crate) struct Inputs {
    window: String,
}

pub(crate) async fn run(inputs: Inputs, cx: &Cx) -> Result<Value, CallError> {
    let seconds = seconds(&inputs.window).ok_or_else(|| {
        let reason = format!("'{}' is not a window", inputs.window);
        CallError::invalid_input("window", &reason, "1s to 24h, such as 30s, 5m or 1h")
    })?;
    let mut measured = cx.host.resource_metrics(seconds).await;
    let mut output = Map::new();
    output.insert("window".to_owned(), inputs.window.into());
    for part in PARTS {
        let value = measured.get_mut(part).map(Value::take).ok_or_else(|| {
            CallError::new(ErrorType::MetricsError).internal(format!("{part} is not measured"))
        })?;
        output.insert(part.to_owned(), value);
    }
    Ok(Value::Object(output))
}

fn seconds(window: &str) -> Option<u64> {
    let unit = window.chars().next_back()?;
    let number = window.strip_suffix(unit)?;
    let number: u64 = number
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| number.parse().ok())
        .flatten()?;
    let scale = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    number
        .checked_mul(scale)
        .filter(|seconds| (1..=MAX_SECONDS).contains(seconds))
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn windows_from_a_second_to_a_day() {
        for (text, expected) in [
            ("1s", 1),
            ("5m", 300),
            ("1h", 3600),
            ("24h", 86_400),
            ("1440m", 86_400),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "s",
            "0s",
            "25h",
            "86401s",
            "-1s",
            "+1s",
            "1.5h",
            "5",
            "5 m",
            "5M",
            "1d",
            "99999999999999999999h",
            "5é",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
