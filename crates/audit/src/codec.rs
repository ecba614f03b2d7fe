//! An entry as bytes: a CBOR map with the integer keys of docs/audit-format.md. The two hash fields are
//! the last keys, so that what the hash covers is the payload without its last 70 bytes.

use crate::cbor::{self, CborError, Reader};
use crate::entry::{Encoded, Entry, Kind, Part, Record, Status};
use crate::redact;
use data_encoding::HEXLOWER;
use kruxos_types::{Interface, Object, Principal, PrincipalKind, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::Write as _;

/// The version of the entry's layout, in every entry.
pub(crate) const SCHEMA_VERSION: u64 = 1;
/// Largest encoded entry: big enough for any input that a person reads, small enough that a reader can
/// refuse an absurd length without looking further. Larger parts become size and SHA-256.
pub const MAX_ENTRY_BYTES: usize = 256 * 1024;
/// Longest name, session id or capability that is kept; callers may have sent anything as a capability.
const MAX_NAME_BYTES: usize = 512;
/// Room for everything in an entry that is not a JSON part: fixed fields, names, hashes.
const FIXED_BYTES: usize = 8 * 1024;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

pub(crate) mod key {
    pub(crate) const SCHEMA_VERSION: u64 = 0;
    pub(crate) const ID: u64 = 1;
    pub(crate) const SEQ: u64 = 2;
    pub(crate) const TIMESTAMP: u64 = 3;
    pub(crate) const ACTOR: u64 = 4;
    pub(crate) const SESSION_ID: u64 = 5;
    pub(crate) const INTERFACE: u64 = 6;
    pub(crate) const KIND: u64 = 7;
    pub(crate) const CAPABILITY: u64 = 8;
    pub(crate) const INPUTS: u64 = 9;
    pub(crate) const OUTPUT_SUMMARY: u64 = 10;
    pub(crate) const STATUS: u64 = 11;
    pub(crate) const POLICY_DECISION: u64 = 12;
    pub(crate) const DURATION_US: u64 = 13;
    pub(crate) const RESOURCE_USAGE: u64 = 14;
    pub(crate) const METADATA: u64 = 15;
    // 16 to 21 are for later; a reader skips them.
    pub(crate) const PREVIOUS_HASH: u64 = 22;
    pub(crate) const ENTRY_HASH: u64 = 23;
}

/// Key, byte-string head and 32 bytes, twice.
const HASHES_BYTES: usize = 70;
const PREVIOUS_MARK: [u8; 3] = [key::PREVIOUS_HASH as u8, 0x58, 0x20];
const ENTRY_MARK: [u8; 3] = [key::ENTRY_HASH as u8, 0x58, 0x20];
/// schema_version, id, seq and timestamp come first and are the writer's.
const WRITER_FIELDS: u8 = 4;

/// A record, redacted and with its JSON parts encoded, ready to become one entry or two.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    actor: Principal,
    session_id: Option<String>,
    interface: Option<Interface>,
    kind: Kind,
    capability: Option<String>,
    inputs: Option<Vec<u8>>,
    policy_decision: Option<Encoded>,
    pub(crate) metadata: Object,
}

/// What one entry adds to a [`Prepared`].
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) kind: Kind,
    pub(crate) status: Status,
    pub(crate) output_summary: Option<Value>,
    pub(crate) duration_us: Option<u64>,
    pub(crate) resource_usage: Option<Value>,
}

/// The fields of an entry that its caller knows, encoded: keys 4 to 15.
#[derive(Debug)]
pub(crate) struct Body {
    fields: u8,
    bytes: Vec<u8>,
}

impl Body {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl Prepared {
    /// Redacts and encodes what the record holds; gives back what belongs to its ending.
    pub(crate) fn new(record: Record, include_content: bool) -> (Self, Ending) {
        let prepared = Self {
            actor: record.actor,
            session_id: record.session_id,
            interface: record.interface,
            kind: record.kind,
            capability: record.capability,
            inputs: record.inputs.map(|json| encoded(&json, include_content)),
            policy_decision: record
                .policy_decision
                .map(|part| part.encoded(include_content)),
            metadata: record.metadata,
        };
        let ending = Ending {
            kind: prepared.kind,
            status: record.status,
            output_summary: record.output_summary,
            duration_us: record.duration_us,
            resource_usage: record.resource_usage,
        };
        (prepared, ending)
    }

    /// The entry's body. Parts that would make it larger than [`MAX_ENTRY_BYTES`] are replaced by size
    /// and SHA-256, the largest first.
    pub(crate) fn body(&self, ending: Ending, include_content: bool) -> Body {
        let output = ending
            .output_summary
            .map(|json| encoded(&json, include_content));
        let usage = ending
            .resource_usage
            .map(|json| encoded(&json, include_content));
        let mut metadata = Vec::with_capacity(64);
        // The hashes of a break have the shape of a token, and are the whole point of its entry.
        let redacted = match self.kind {
            Kind::ChainBreak => None,
            _ => redact::object(&self.metadata, include_content),
        };
        cbor::object(&mut metadata, redacted.as_ref().unwrap_or(&self.metadata));
        let mut parts = [
            self.inputs.as_deref(),
            output.as_deref(),
            self.policy_decision.as_ref().map(|part| &*part.0),
            usage.as_deref(),
            Some(&metadata[..]),
        ];
        let summaries = shrink(&parts);
        for (part, summary) in parts.iter_mut().zip(&summaries) {
            if let Some(summary) = summary {
                *part = Some(summary);
            }
        }
        let [inputs, output, decision, usage, metadata] = parts;
        let length: usize = [inputs, output, decision, usage, metadata]
            .iter()
            .flatten()
            .map(|part| part.len())
            .sum();
        let mut writer = Fields {
            fields: 0,
            out: Vec::with_capacity(length + 192),
        };
        writer.actor(&self.actor);
        writer.text(key::SESSION_ID, self.session_id.as_deref());
        writer.text(key::INTERFACE, self.interface.map(Interface::as_str));
        writer.text(key::KIND, Some(ending.kind.as_str()));
        writer.text(key::CAPABILITY, self.capability.as_deref());
        writer.raw(key::INPUTS, inputs);
        writer.raw(key::OUTPUT_SUMMARY, output);
        writer.text(key::STATUS, Some(ending.status.as_str()));
        writer.raw(key::POLICY_DECISION, decision);
        writer.unsigned(key::DURATION_US, ending.duration_us);
        writer.raw(key::RESOURCE_USAGE, usage);
        writer.raw(key::METADATA, metadata);
        Body {
            fields: writer.fields,
            bytes: writer.out,
        }
    }
}

impl Part {
    fn encoded(self, include_content: bool) -> Encoded {
        match self {
            Part::Json(json) => Encoded(encoded(&json, include_content).into()),
            Part::Shared(encoded) => encoded,
        }
    }
}

pub(crate) fn encoded(json: &Value, include_content: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    match redact::value(json, include_content) {
        Some(redacted) => cbor::value(&mut out, &redacted),
        None => cbor::value(&mut out, json),
    }
    out
}

/// Replacements for the largest parts until the rest fits.
fn shrink(parts: &[Option<&[u8]>; 5]) -> [Option<Vec<u8>>; 5] {
    let mut summaries: [Option<Vec<u8>>; 5] = Default::default();
    let mut sizes = parts.map(|part| part.map_or(0, <[u8]>::len));
    while sizes.iter().sum::<usize>() > MAX_ENTRY_BYTES - FIXED_BYTES {
        let largest = sizes
            .iter()
            .enumerate()
            .max_by_key(|(_, size)| **size)
            .map_or(0, |(at, _)| at);
        let (Some(Some(part)), Some(summary), Some(size)) = (
            parts.get(largest),
            summaries.get_mut(largest),
            sizes.get_mut(largest),
        ) else {
            break;
        };
        let mut short = Object::new();
        short.insert("size".to_owned(), Value::from(part.len()));
        short.insert(
            "sha256".to_owned(),
            Value::from(HEXLOWER.encode(&Sha256::digest(part))),
        );
        short.insert("too_large".to_owned(), Value::Bool(true));
        let mut out = Vec::with_capacity(100);
        cbor::object(&mut out, &short);
        *size = out.len();
        *summary = Some(out);
    }
    summaries
}

struct Fields {
    fields: u8,
    out: Vec<u8>,
}

impl Fields {
    fn key(&mut self, key: u64) {
        self.fields += 1;
        cbor::unsigned(&mut self.out, key);
    }

    fn actor(&mut self, actor: &Principal) {
        self.key(key::ACTOR);
        cbor::array_head(&mut self.out, 2);
        cbor::text(&mut self.out, actor.kind.as_str());
        cbor::text(&mut self.out, bounded(&actor.name));
    }

    fn text(&mut self, key: u64, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key);
            cbor::text(&mut self.out, bounded(value));
        }
    }

    fn unsigned(&mut self, key: u64, value: Option<u64>) {
        if let Some(value) = value {
            self.key(key);
            cbor::unsigned(&mut self.out, value);
        }
    }

    fn raw(&mut self, key: u64, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.key(key);
            self.out.extend_from_slice(value);
        }
    }
}

fn bounded(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_NAME_BYTES))
        .unwrap_or(text)
}

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
pub(crate) fn timestamp_text(at: Timestamp) -> String {
    let civil = jiff::tz::Offset::UTC.to_datetime(at);
    let micros = civil.subsec_nanosecond() / 1000;
    let mut text = Vec::with_capacity(27);
    // Writing to a vector cannot fail.
    let written = write!(
        text,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{micros:06}Z",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second()
    );
    debug_assert!(written.is_ok());
    String::from_utf8(text).unwrap_or_default()
}

/// Appends the entry's payload to `out` and gives its hash.
pub(crate) fn seal(
    out: &mut Vec<u8>,
    id: &[u8; 16],
    seq: u64,
    at: Timestamp,
    body: &Body,
    previous: &Hash,
) -> Hash {
    let start = out.len();
    let hashed_fields = WRITER_FIELDS + body.fields;
    out.push(0xa0 | hashed_fields);
    cbor::unsigned(out, key::SCHEMA_VERSION);
    cbor::unsigned(out, SCHEMA_VERSION);
    cbor::unsigned(out, key::ID);
    cbor::bytes(out, id);
    cbor::unsigned(out, key::SEQ);
    cbor::unsigned(out, seq);
    cbor::unsigned(out, key::TIMESTAMP);
    cbor::text(out, &timestamp_text(at));
    out.extend_from_slice(&body.bytes);
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(out.get(start..).unwrap_or_default());
    let hash: Hash = hasher.finalize().into();
    if let Some(head) = out.get_mut(start) {
        *head = 0xa0 | (hashed_fields + 2);
    }
    out.extend_from_slice(&PREVIOUS_MARK);
    out.extend_from_slice(previous);
    out.extend_from_slice(&ENTRY_MARK);
    out.extend_from_slice(&hash);
    hash
}

/// What chains an entry to its neighbours, read without decoding the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) previous_hash: Hash,
    pub(crate) entry_hash: Hash,
}

impl Link {
    pub(crate) fn of(payload: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(payload);
        reader.map_head()?;
        for expected in [key::SCHEMA_VERSION, key::ID, key::SEQ] {
            if reader.unsigned()? != expected {
                return Err(CborError::KeyOrder);
            }
            match expected {
                key::SCHEMA_VERSION => {
                    reader.unsigned()?;
                }
                key::ID => {
                    reader.bytes::<16>()?;
                }
                _ => {}
            }
        }
        let seq = reader.unsigned()?;
        let (previous_hash, entry_hash) = trailing_hashes(payload).ok_or(CborError::Short)?;
        Ok(Self {
            seq,
            previous_hash,
            entry_hash,
        })
    }
}

/// The two hashes at the end of a payload, or of a sealed segment.
pub(crate) fn trailing_hashes(payload: &[u8]) -> Option<(Hash, Hash)> {
    let tail = payload.last_chunk::<HASHES_BYTES>()?;
    let (previous, entry) = tail.split_at(HASHES_BYTES / 2);
    let previous = previous.strip_prefix(&PREVIOUS_MARK)?.try_into().ok()?;
    let entry = entry.strip_prefix(&ENTRY_MARK)?.try_into().ok()?;
    Some((previous, entry))
}

/// The hash that the entry should carry after `previous`. `None` when the payload is no entry.
pub(crate) fn computed_hash(payload: &[u8], previous: &Hash) -> Option<Hash> {
    let (head, rest) = payload.split_first()?;
    // A map of 2 to 23 pairs: its head is one byte that counts them.
    if !(0xa2..=0xb7).contains(head) {
        return None;
    }
    let fields = rest.get(..rest.len().checked_sub(HASHES_BYTES)?)?;
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update([head - 2]);
    hasher.update(fields);
    Some(hasher.finalize().into())
}

/// An entry read in place: names are slices of the payload, JSON parts are checked but not built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryRef<'a> {
    pub(crate) schema_version: u64,
    pub(crate) id: [u8; 16],
    pub(crate) seq: u64,
    pub(crate) timestamp: &'a str,
    pub(crate) actor_kind: PrincipalKind,
    pub(crate) actor_name: &'a str,
    pub(crate) session_id: Option<&'a str>,
    pub(crate) interface: Option<&'a str>,
    pub(crate) kind: Kind,
    pub(crate) capability: Option<&'a str>,
    pub(crate) inputs: Option<&'a [u8]>,
    pub(crate) output_summary: Option<&'a [u8]>,
    pub(crate) status: Status,
    pub(crate) policy_decision: Option<&'a [u8]>,
    pub(crate) duration_us: Option<u64>,
    pub(crate) resource_usage: Option<&'a [u8]>,
    pub(crate) metadata: Option<&'a [u8]>,
    pub(crate) previous_hash: Hash,
    pub(crate) entry_hash: Hash,
}

impl<'a> EntryRef<'a> {
    /// Reads a whole payload; nothing may follow the entry.
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(payload);
        let entry = Self::read(&mut reader)?;
        if reader.remaining() == 0 {
            Ok(entry)
        } else {
            Err(CborError::Type)
        }
    }

    /// Reads one entry from the front; `reader` then stands behind it.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, CborError> {
        let mut fields = Decoding::default();
        let mut next = 0u64;
        for _ in 0..reader.map_head()? {
            let key = reader.unsigned()?;
            if key < next {
                return Err(CborError::KeyOrder);
            }
            next = key.checked_add(1).ok_or(CborError::KeyOrder)?;
            fields.read(key, reader)?;
        }
        fields.entry().ok_or(CborError::Type)
    }

    /// The entry with everything in it.
    pub(crate) fn to_entry(self) -> Result<Entry, CborError> {
        let json = |raw: Option<&[u8]>| raw.map(|raw| Reader::new(raw).value()).transpose();
        Ok(Entry {
            id: uuid::Uuid::from_bytes(self.id).to_string(),
            seq: self.seq,
            timestamp: self.timestamp.to_owned(),
            actor: Principal {
                kind: self.actor_kind,
                name: self.actor_name.into(),
            },
            session_id: self.session_id.map(str::to_owned),
            interface: self.interface.map(str::to_owned),
            kind: self.kind,
            capability: self.capability.map(str::to_owned),
            inputs: json(self.inputs)?,
            output_summary: json(self.output_summary)?,
            status: self.status,
            policy_decision: json(self.policy_decision)?,
            duration_us: self.duration_us,
            resource_usage: json(self.resource_usage)?,
            metadata: self
                .metadata
                .map(|raw| Reader::new(raw).object())
                .transpose()?
                .unwrap_or_default(),
            schema_version: self.schema_version,
            previous_hash: HEXLOWER.encode(&self.previous_hash),
            entry_hash: HEXLOWER.encode(&self.entry_hash),
        })
    }
}

#[derive(Default)]
struct Decoding<'a> {
    schema_version: Option<u64>,
    id: Option<[u8; 16]>,
    seq: Option<u64>,
    timestamp: Option<&'a str>,
    actor: Option<(PrincipalKind, &'a str)>,
    session_id: Option<&'a str>,
    interface: Option<&'a str>,
    kind: Option<Kind>,
    capability: Option<&'a str>,
    inputs: Option<&'a [u8]>,
    output_summary: Option<&'a [u8]>,
    status: Option<Status>,
    policy_decision: Option<&'a [u8]>,
    duration_us: Option<u64>,
    resource_usage: Option<&'a [u8]>,
    metadata: Option<&'a [u8]>,
    previous_hash: Option<Hash>,
    entry_hash: Option<Hash>,
}

impl<'a> Decoding<'a> {
    fn read(&mut self, key: u64, reader: &mut Reader<'a>) -> Result<(), CborError> {
        match key {
            key::SCHEMA_VERSION => self.schema_version = Some(reader.unsigned()?),
            key::ID => self.id = Some(reader.bytes()?),
            key::SEQ => self.seq = Some(reader.unsigned()?),
            key::TIMESTAMP => self.timestamp = Some(reader.text()?),
            key::ACTOR => self.actor = Some(read_actor(reader)?),
            key::SESSION_ID => self.session_id = Some(reader.text()?),
            key::INTERFACE => self.interface = Some(reader.text()?),
            key::KIND => self.kind = Some(Kind::from_name(reader.text()?).ok_or(CborError::Type)?),
            key::CAPABILITY => self.capability = Some(reader.text()?),
            key::INPUTS => self.inputs = Some(reader.raw()?),
            key::OUTPUT_SUMMARY => self.output_summary = Some(reader.raw()?),
            key::STATUS => {
                self.status = Some(Status::from_name(reader.text()?).ok_or(CborError::Type)?)
            }
            key::POLICY_DECISION => self.policy_decision = Some(reader.raw()?),
            key::DURATION_US => self.duration_us = Some(reader.unsigned()?),
            key::RESOURCE_USAGE => self.resource_usage = Some(reader.raw()?),
            key::METADATA => self.metadata = Some(reader.raw()?),
            key::PREVIOUS_HASH => self.previous_hash = Some(reader.bytes()?),
            key::ENTRY_HASH => self.entry_hash = Some(reader.bytes()?),
            _ => {
                reader.raw()?;
            }
        }
        Ok(())
    }

    fn entry(self) -> Option<EntryRef<'a>> {
        let (actor_kind, actor_name) = self.actor?;
        Some(EntryRef {
            schema_version: self.schema_version?,
            id: self.id?,
            seq: self.seq?,
            timestamp: self.timestamp?,
            actor_kind,
            actor_name,
            session_id: self.session_id,
            interface: self.interface,
            kind: self.kind?,
            capability: self.capability,
            inputs: self.inputs,
            output_summary: self.output_summary,
            status: self.status?,
            policy_decision: self.policy_decision,
            duration_us: self.duration_us,
            resource_usage: self.resource_usage,
            metadata: self.metadata,
            previous_hash: self.previous_hash?,
            entry_hash: self.entry_hash?,
        })
    }
}

fn read_actor<'a>(reader: &mut Reader<'a>) -> Result<(PrincipalKind, &'a str), CborError> {
    if reader.array_head()? != 2 {
        return Err(CborError::Type);
    }
    let kinds = [
        PrincipalKind::Agent,
        PrincipalKind::User,
        PrincipalKind::System,
    ];
    let name = reader.text()?;
    let kind = kinds
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .ok_or(CborError::Type)?;
    Ok((kind, reader.text()?))
}
