//! Checks a whole log without its writer, and names every place where it does not hold.

use crate::codec::{self, EntryRef, Hash};
use crate::entry::Kind;
use crate::frame::{self, Frames, Next, Tail};
use crate::log::AuditError;
use crate::recovery::ChainBreak;
use crate::segment;
use data_encoding::HEXLOWER;
use serde::Serialize;
use std::fs::File;
use std::io;
use std::path::Path;

/// Most breaks that are listed; a log that is rewritten has one for each entry.
const MAX_BREAKS: usize = 1_000;

/// What verification found. `ok` only without any break.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Report {
    pub ok: bool,
    pub entries: u64,
    pub files: u64,
    /// Signed tree heads that were checked.
    pub checkpoints: u64,
    pub breaks: Vec<ChainBreak>,
    /// A torn write at the very end: it will be cut off by the next start and is no break.
    pub torn_bytes: u64,
    /// The list of breaks was cut at 1,000.
    pub more_breaks: bool,
    pub last_seq: Option<u64>,
}

/// Verifies the log in `dir`: frames, checksums, encoding, sequence and chain, from the first file to
/// the end of the last. Works while a writer appends: what comes into segments that are made after the
/// start is not looked at.
///
/// # Errors
/// The files cannot be read.
pub fn verify(dir: &Path) -> Result<Report, AuditError> {
    let fail = |source| AuditError::Io {
        context: format!("cannot verify {}", dir.display()),
        source,
    };
    let segments = segment::list(dir).map_err(fail)?;
    let mut chain = Chain::default();
    for (at, (name, path)) in segments.iter().enumerate() {
        let newest = at + 1 == segments.len();
        let file = File::open(path).map_err(fail)?;
        chain
            .segment(&name.to_string(), &file, newest)
            .map_err(fail)?;
        chain.report.files += 1;
    }
    let mut report = chain.report;
    report.ok = report.breaks.is_empty();
    Ok(report)
}

#[derive(Debug, Default)]
struct Chain {
    report: Report,
    last_hash: Option<Hash>,
    next_seq: u64,
    /// Frames before this one are damaged: its link is not theirs to break again.
    after_damage: bool,
}

impl Chain {
    fn note(
        &mut self,
        file: &str,
        offset: u64,
        seq: Option<u64>,
        kind: &str,
        expected: Option<String>,
        found: Option<String>,
    ) {
        if self.report.breaks.len() >= MAX_BREAKS {
            self.report.more_breaks = true;
            return;
        }
        let kind = kind.to_owned();
        self.report.breaks.push(ChainBreak {
            file: file.to_owned(),
            seq,
            offset,
            kind,
            expected,
            found,
        });
    }

    fn segment(&mut self, name: &str, file: &File, newest: bool) -> io::Result<()> {
        let mut frames = Frames::new(file, 0, frame::READ_BYTES);
        let mut at_start = true;
        loop {
            let (offset, kind, expected, found) = match frames.next()? {
                Next::Frame { offset, payload } => {
                    self.entry(name, offset, payload, at_start);
                    at_start = false;
                    continue;
                }
                Next::End { offset } => (offset, "frame", None, None),
                Next::Bad {
                    offset,
                    kind,
                    expected,
                    found,
                } => (offset, kind, expected, found),
            };
            let hex = |number: Option<u32>| number.map(|number| format!("{number:08x}"));
            let next = match frame::tail(file, offset)? {
                Tail::Clean => return Ok(()),
                Tail::Torn { bytes } if newest => {
                    self.report.torn_bytes = bytes;
                    return Ok(());
                }
                Tail::Torn { .. } => {
                    self.note(
                        name,
                        offset,
                        Some(self.next_seq),
                        "truncated",
                        hex(expected),
                        hex(found),
                    );
                    None
                }
                // A writer at work: what was not there a moment ago is there now, and in order. It writes
                // from front to back, so a place before what `tail` saw is complete when read after it.
                Tail::Damaged { .. } if newest && frames.good_at(offset)? => continue,
                Tail::Damaged { next } => {
                    self.note(
                        name,
                        offset,
                        Some(self.next_seq),
                        kind,
                        hex(expected),
                        hex(found),
                    );
                    next
                }
            };
            self.after_damage = true;
            match next {
                Some(next) => frames.jump(next),
                None => return Ok(()),
            }
        }
    }

    fn entry(&mut self, name: &str, offset: u64, payload: &[u8], at_start: bool) {
        self.report.entries += 1;
        let entry = match EntryRef::decode(payload) {
            Ok(entry) => entry,
            Err(error) => {
                self.note(
                    name,
                    offset,
                    Some(self.next_seq),
                    "decode",
                    None,
                    Some(error.to_string()),
                );
                self.after_damage = true;
                return;
            }
        };
        let computed = codec::computed_hash(payload, &entry.previous_hash);
        if computed != Some(entry.entry_hash) {
            let expected = computed.map(|hash| HEXLOWER.encode(&hash));
            let found = Some(HEXLOWER.encode(&entry.entry_hash));
            self.note(
                name,
                offset,
                Some(entry.seq),
                "hash_mismatch",
                expected,
                found,
            );
        }
        self.link(name, offset, &entry, at_start);
        self.last_hash = Some(entry.entry_hash);
        self.next_seq = entry.seq.saturating_add(1);
        self.report.last_seq = self.report.last_seq.max(Some(entry.seq));
        self.after_damage = false;
    }

    /// The entry's place after the one before it.
    fn link(&mut self, name: &str, offset: u64, entry: &EntryRef<'_>, at_start: bool) {
        if at_start && entry.kind == Kind::ChainBreak {
            // The log went on after damage that a start had found. It stays on record for good.
            let expected = self.last_hash.map(|hash| HEXLOWER.encode(&hash));
            let found = Some(HEXLOWER.encode(&entry.previous_hash));
            self.note(
                name,
                offset,
                Some(entry.seq),
                "chain_break",
                expected,
                found,
            );
            return;
        }
        let seq = (self.next_seq.to_string(), entry.seq.to_string());
        if self.after_damage {
            return;
        }
        if entry.seq != self.next_seq {
            // Whole files are missing where the gap lies between two, single entries where inside one.
            let kind = if at_start && entry.seq > self.next_seq {
                "missing_file"
            } else {
                "sequence"
            };
            self.note(
                name,
                offset,
                Some(entry.seq),
                kind,
                Some(seq.0),
                Some(seq.1),
            );
            return;
        }
        if let Some(last) = self.last_hash.filter(|last| *last != entry.previous_hash) {
            let (expected, found) = (
                HEXLOWER.encode(&last),
                HEXLOWER.encode(&entry.previous_hash),
            );
            self.note(
                name,
                offset,
                Some(entry.seq),
                "previous_hash",
                Some(expected),
                Some(found),
            );
        }
    }
}
