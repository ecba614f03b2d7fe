//! The part of CBOR (RFC 8949) that the log uses, in its core deterministic form (section 4.2.1):
//! shortest heads, definite lengths, map keys sorted by their encoding, shortest floats. Written by
//! hand because a general reader accepts forms that would let two byte strings mean one entry.

use serde_json::{Map, Number, Value};

/// Deepest nesting that is written or read. JSON arrives with at most 128 levels (serde_json's limit);
/// a few more are ours.
pub(crate) const MAX_DEPTH: usize = 136;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;

fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let top = major << 5;
    let bytes = value.to_be_bytes();
    match value {
        0..=23 => out.push(top | value as u8),
        24..=0xff => out.extend_from_slice(&[top | 24, value as u8]),
        0x100..=0xffff => out.extend_from_slice(&[top | 25, bytes[6], bytes[7]]),
        0x1_0000..=0xffff_ffff => {
            out.push(top | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(top | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

pub(crate) fn unsigned(out: &mut Vec<u8>, value: u64) {
    head(out, UNSIGNED, value);
}

pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

pub(crate) fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    head(out, BYTES, value.len() as u64);
    out.extend_from_slice(value);
}

pub(crate) fn array_head(out: &mut Vec<u8>, items: usize) {
    head(out, ARRAY, items as u64);
}

/// Writes any JSON value. What nests deeper than [`MAX_DEPTH`] becomes the text `[TOO DEEP]`.
pub(crate) fn value(out: &mut Vec<u8>, json: &Value) {
    value_at(out, json, 0);
}

/// Writes a JSON object.
pub(crate) fn object(out: &mut Vec<u8>, json: &Map<String, Value>) {
    object_at(out, json, 0);
}

fn value_at(out: &mut Vec<u8>, json: &Value, depth: usize) {
    match json {
        Value::Null => out.push(0xf6),
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Number(number) => number_value(out, number),
        Value::String(string) => text(out, string),
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => text(out, "[TOO DEEP]"),
        Value::Array(items) => {
            array_head(out, items.len());
            for item in items {
                value_at(out, item, depth + 1);
            }
        }
        Value::Object(map) => object_at(out, map, depth),
    }
}

fn object_at(out: &mut Vec<u8>, map: &Map<String, Value>, depth: usize) {
    head(out, MAP, map.len() as u64);
    let order = |a: &str, b: &str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    // Sorting by length and then by bytes is the order of the encoded keys.
    if map.keys().is_sorted_by(|a, b| order(a, b).is_lt()) {
        for (key, item) in map {
            text(out, key);
            value_at(out, item, depth + 1);
        }
        return;
    }
    let mut members: Vec<(&String, &Value)> = map.iter().collect();
    members.sort_unstable_by(|a, b| order(a.0, b.0));
    for (key, item) in members {
        text(out, key);
        value_at(out, item, depth + 1);
    }
}

fn number_value(out: &mut Vec<u8>, number: &Number) {
    if let Some(value) = number.as_u64() {
        unsigned(out, value);
    } else if let Some(value) = number.as_i64() {
        head(out, NEGATIVE, !(value as u64));
    } else if let Some(value) = number.as_f64() {
        float(out, value);
    } else {
        text(out, &number.to_string());
    }
}

/// The shortest of half, single and double that keeps the value.
fn float(out: &mut Vec<u8>, value: f64) {
    let single = value as f32;
    if f64::from(single).to_bits() != value.to_bits() {
        out.push(0xfb);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Some(half) = half_of(single) {
        out.push(0xf9);
        out.extend_from_slice(&half.to_be_bytes());
    } else {
        out.push(0xfa);
        out.extend_from_slice(&single.to_be_bytes());
    }
}

fn half_of(single: f32) -> Option<u16> {
    let bits = single.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let exponent = ((bits >> 23) & 0xff) as i32 - 127;
    let mantissa = bits & 0x7f_ffff;
    match exponent {
        -127 if mantissa == 0 => Some(sign),
        -14..=15 if mantissa & 0x1fff == 0 => {
            Some(sign | ((exponent + 15) as u16) << 10 | (mantissa >> 13) as u16)
        }
        -24..=-15 => {
            // A subnormal half counts in units of 2^-24.
            let full = mantissa | 0x80_0000;
            let shift = (-exponent - 1) as u32;
            (full.trailing_zeros() >= shift).then(|| sign | (full >> shift) as u16)
        }
        _ => None,
    }
}

fn half_to_f64(half: u16) -> f64 {
    let exponent = i32::from(half >> 10 & 0x1f);
    let mantissa = f64::from(half & 0x3ff);
    let size = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
    };
    if half & 0x8000 == 0 { size } else { -size }
}

/// Why bytes are not CBOR as the log writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CborError {
    #[error("ends too early")]
    Short,
    #[error("not in deterministic form")]
    NotDeterministic,
    #[error("text is not UTF-8")]
    Utf8,
    #[error("nested too deeply")]
    Deep,
    #[error("a type that the log does not use here")]
    Type,
    #[error("map keys out of order or repeated")]
    KeyOrder,
}

type Result<T> = std::result::Result<T, CborError>;

/// Reads one deterministic CBOR item after the other from a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CborError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CborError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Major type, additional information and argument of the next head.
    #[inline]
    fn head(&mut self) -> Result<(u8, u8, u64)> {
        let [first] = self.fixed::<1>()?;
        let (major, info) = (first >> 5, first & 0x1f);
        let (value, least) = match info {
            0..=23 => return Ok((major, info, u64::from(info))),
            24 => (
                u64::from(self.fixed::<1>()?[0]),
                if major == SIMPLE { 32 } else { 24 },
            ),
            25 => (u64::from(u16::from_be_bytes(self.fixed()?)), 0x100),
            26 => (u64::from(u32::from_be_bytes(self.fixed()?)), 0x1_0000),
            27 => (u64::from_be_bytes(self.fixed()?), 0x1_0000_0000),
            _ => return Err(CborError::NotDeterministic),
        };
        // In floats the argument is the number itself, checked where it is read.
        if value < least && !(major == SIMPLE && info > 24) {
            return Err(CborError::NotDeterministic);
        }
        Ok((major, info, value))
    }

    fn expect_major(&mut self, wanted: u8) -> Result<u64> {
        let (major, _, value) = self.head()?;
        if major == wanted {
            Ok(value)
        } else {
            Err(CborError::Type)
        }
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64> {
        self.expect_major(UNSIGNED)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let length = self.expect_major(TEXT)?;
        self.text_of(length)
    }

    fn text_of(&mut self, length: u64) -> Result<&'a str> {
        let raw = self.take(usize::try_from(length).map_err(|_| CborError::Short)?)?;
        std::str::from_utf8(raw).map_err(|_| CborError::Utf8)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        if self.expect_major(BYTES)? != N as u64 {
            return Err(CborError::Type);
        }
        self.fixed()
    }

    pub(crate) fn array_head(&mut self) -> Result<u64> {
        self.expect_major(ARRAY)
    }

    pub(crate) fn map_head(&mut self) -> Result<u64> {
        self.expect_major(MAP)
    }

    /// Checks the next item and gives its bytes.
    pub(crate) fn raw(&mut self) -> Result<&'a [u8]> {
        let start = self.rest;
        self.skip(0)?;
        start
            .get(..start.len() - self.rest.len())
            .ok_or(CborError::Short)
    }

    fn skip(&mut self, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(CborError::Deep);
        }
        let (major, info, argument) = self.head()?;
        match major {
            UNSIGNED | NEGATIVE => {}
            TEXT => {
                self.text_of(argument)?;
            }
            ARRAY => {
                for _ in 0..argument {
                    self.skip(depth + 1)?;
                }
            }
            MAP => {
                let mut previous: Option<&str> = None;
                for _ in 0..argument {
                    previous = Some(self.next_key(previous)?);
                    self.skip(depth + 1)?;
                }
            }
            SIMPLE => {
                simple(info, argument)?;
            }
            _ => return Err(CborError::Type),
        }
        Ok(())
    }

    fn next_key(&mut self, previous: Option<&str>) -> Result<&'a str> {
        let key = self.text()?;
        let in_order = previous.is_none_or(|before| (before.len(), before) < (key.len(), key));
        if in_order {
            Ok(key)
        } else {
            Err(CborError::KeyOrder)
        }
    }

    /// The next item as JSON.
    pub(crate) fn value(&mut self) -> Result<Value> {
        self.value_at(0)
    }

    /// The next item as a JSON object.
    pub(crate) fn object(&mut self) -> Result<Map<String, Value>> {
        match self.value()? {
            Value::Object(map) => Ok(map),
            _ => Err(CborError::Type),
        }
    }

    fn value_at(&mut self, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(CborError::Deep);
        }
        let (major, info, argument) = self.head()?;
        Ok(match major {
            UNSIGNED => Value::from(argument),
            NEGATIVE => {
                let magnitude = i64::try_from(argument).map_err(|_| CborError::Type)?;
                Value::from(!magnitude)
            }
            TEXT => Value::from(self.text_of(argument)?),
            ARRAY => {
                // Not reserved ahead: the count is only a claim of the bytes.
                let mut items = Vec::new();
                for _ in 0..argument {
                    items.push(self.value_at(depth + 1)?);
                }
                Value::Array(items)
            }
            MAP => {
                let mut map = Map::new();
                let mut previous: Option<&str> = None;
                for _ in 0..argument {
                    let key = self.next_key(previous)?;
                    previous = Some(key);
                    map.insert(key.to_owned(), self.value_at(depth + 1)?);
                }
                Value::Object(map)
            }
            SIMPLE => simple(info, argument)?,
            _ => return Err(CborError::Type),
        })
    }
}

/// `false`, `true`, `null` and floats, each only in its shortest form.
fn simple(info: u8, argument: u64) -> Result<Value> {
    let (value, length) = match info {
        20 => return Ok(Value::Bool(false)),
        21 => return Ok(Value::Bool(true)),
        22 => return Ok(Value::Null),
        25 => (half_to_f64(argument as u16), 3),
        26 => (f64::from(f32::from_bits(argument as u32)), 5),
        27 => (f64::from_bits(argument), 9),
        _ => return Err(CborError::Type),
    };
    let number = Number::from_f64(value).ok_or(CborError::Type)?;
    let mut shortest = Vec::with_capacity(9);
    float(&mut shortest, value);
    if shortest.len() != length {
        return Err(CborError::NotDeterministic);
    }
    Ok(Value::Number(number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use serde_json::json;

    fn encoded(json: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        value(&mut out, json);
        out
    }

    #[test]
    fn encodes_the_examples_of_rfc_8949_appendix_a() {
        let cases = [
            (json!(0), "00"),
            (json!(23), "17"),
            (json!(24), "1818"),
            (json!(1000), "1903e8"),
            (json!(1_000_000), "1a000f4240"),
            (json!(1_000_000_000_000u64), "1b000000e8d4a51000"),
            (json!(u64::MAX), "1bffffffffffffffff"),
            (json!(-1), "20"),
            (json!(-1000), "3903e7"),
            (json!(0.0), "f90000"),
            (json!(-0.0), "f98000"),
            (json!(1.5), "f93e00"),
            (json!(65504.0), "f97bff"),
            (json!(100_000.0), "fa47c35000"),
            (json!(3.402_823_466_385_288_6e38), "fa7f7fffff"),
            (json!(1.1), "fb3ff199999999999a"),
            (json!(5.960_464_477_539_063e-8), "f90001"),
            (json!(0.000_061_035_156_25), "f90400"),
            (json!(-4.1), "fbc010666666666666"),
            (json!(true), "f5"),
            (json!(null), "f6"),
            (json!("\u{6c34}"), "63e6b0b4"),
            (json!([1, [2, 3]]), "8201820203"),
            (json!({"b": [2, 3], "a": 1}), "a26161016162820203"),
            (
                json!({"aa": 1, "b": 2}),
                "a26162026261610 1".replace(' ', "").leak() as &str,
            ),
        ];
        for (json, hex) in cases {
            assert_eq!(HEXLOWER.encode(&encoded(&json)), hex, "{json}");
        }
    }

    #[test]
    fn refuses_other_spellings_of_the_same_value() {
        for hex in [
            "1817",
            "190017",
            "fa3fc00000",
            "fb3ff8000000000000",
            "9f01ff",
            "a2616101616101",
            "a2616201616101",
            "7f6161ff",
            "f818",
            "c001",
        ] {
            let raw = HEXLOWER.decode(hex.as_bytes()).unwrap();
            assert!(Reader::new(&raw).value().is_err(), "{hex}");
            assert!(Reader::new(&raw).raw().is_err(), "{hex}");
        }
    }

    #[test]
    fn nesting_is_bounded_both_ways() {
        let mut deep = json!(1);
        for _ in 0..500 {
            deep = json!([deep]);
        }
        let raw = encoded(&deep);
        assert!(
            Reader::new(&raw)
                .value()
                .unwrap()
                .to_string()
                .contains("[TOO DEEP]")
        );
        let hostile = vec![0x81; 100_000];
        assert_eq!(Reader::new(&hostile).value(), Err(CborError::Deep));
        assert_eq!(Reader::new(&hostile).raw(), Err(CborError::Deep));
    }

    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<f32>().prop_map(Value::from),
            any::<i16>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,9}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(json in any_json()) {
            let raw = encoded(&json);
            let mut reader = Reader::new(&raw);
            prop_assert_eq!(reader.value().unwrap(), json);
            prop_assert_eq!(reader.remaining(), 0);
            prop_assert_eq!(Reader::new(&raw).raw().unwrap(), &raw[..]);
        }

        #[test]
        fn any_bytes_are_read_or_refused_alike_and_only_one_spelling_passes(
            raw in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut reader = Reader::new(&raw);
            let read = reader.value();
            if let Ok(json) = &read {
                let used = raw.len() - reader.remaining();
                prop_assert_eq!(encoded(json), &raw[..used]);
                prop_assert!(Reader::new(&raw).raw().is_ok());
            }
        }

        #[test]
        fn another_library_agrees(json in any_json()) {
            let raw = encoded(&json);
            let mut decoder = ciborium_ll::Decoder::from(&raw[..]);
            let mut open = 1usize;
            while open > 0 {
                open -= 1;
                match decoder.pull().unwrap() {
                    ciborium_ll::Header::Array(Some(n)) => open += n,
                    ciborium_ll::Header::Map(Some(n)) => open += 2 * n,
                    ciborium_ll::Header::Text(Some(length)) => {
                        let mut segments = decoder.text(Some(length));
                        while let Some(mut segment) = segments.pull().unwrap() {
                            while segment.pull(&mut [0; 64]).unwrap().is_some() {}
                        }
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(decoder.offset(), raw.len());
        }
    }
}
