//! Key-value state: of the session in memory, of the agent in the database.

pub(super) mod persistent;
pub(super) mod session;

use kruxos_types::CallError;
use serde_json::Value;

/// Bytes of a key or prefix (spec/state.md).
const MAX_KEY_BYTES: usize = 512;
/// Bytes of one value as JSON (spec/state.md: 10 MB).
const MAX_VALUE_BYTES: u64 = 10 * 1024 * 1024;
/// Entries of a listing; its count tells how many there are in all.
const MAX_ENTRIES: usize = 1000;

fn check_key(key: &str) -> Result<(), CallError> {
    if key.is_empty() {
        return Err(CallError::invalid_input(
            "key",
            "it is empty",
            "1 to 512 bytes",
        ));
    }
    check_text("key", key)
}

fn check_prefix(prefix: &str) -> Result<(), CallError> {
    check_text("prefix", prefix)
}

fn check_text(field: &str, text: &str) -> Result<(), CallError> {
    if text.len() > MAX_KEY_BYTES {
        let reason = format!("it has {} bytes", text.len());
        let expected = format!("at most {MAX_KEY_BYTES} bytes of UTF-8");
        return Err(CallError::invalid_input(field, &reason, &expected));
    }
    if text.contains('\0') {
        return Err(CallError::invalid_input(
            field,
            "it has a NUL",
            "text without NUL",
        ));
    }
    Ok(())
}

fn check_value(value: &Value) -> Result<(), CallError> {
    super::check_depth("value", value)?;
    let bytes = super::json_bytes(value)?;
    if bytes > MAX_VALUE_BYTES {
        let reason = format!("it has {bytes} bytes as JSON");
        let expected = format!("at most {MAX_VALUE_BYTES} bytes; keep larger things in files");
        return Err(CallError::invalid_input("value", &reason, &expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_in_bytes() {
        assert!(check_key("ä".repeat(256).as_str()).is_ok());
        assert!(check_key("ä".repeat(257).as_str()).is_err());
        assert!(check_key("").is_err());
        assert!(check_key("a\0b").is_err());
        assert!(check_prefix("").is_ok());
        assert!(check_prefix("\0").is_err());
    }

    #[test]
    fn values_are_counted_as_json() {
        let longest = usize::try_from(MAX_VALUE_BYTES).unwrap_or(usize::MAX) - 2;
        assert!(check_value(&Value::from("a".repeat(longest))).is_ok());
        assert!(check_value(&Value::from("a".repeat(longest + 1))).is_err());
        assert!(check_value(&Value::from("\n".repeat(longest / 2 + 1))).is_err());
    }
}
