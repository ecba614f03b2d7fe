use super::build::{actor_number, kind_number, status_number};
use crate::entry::{Entry, Kind, Status};
use crate::frame;
use crate::log::{AuditError, decoded};
use kruxos_types::{PrincipalKind, Timestamp};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// Most entries in one page.
pub(crate) const MAX_LIMIT: usize = 10_000;

/// What to look for. Everything that is set must match.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Query {
    pub agent: Option<String>,
    pub user: Option<String>,
    /// A capability or a glob: `*`, `?`, `[…]`.
    pub capability: Option<String>,
    pub status: Option<Status>,
    pub session: Option<String>,
    pub kind: Option<Kind>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
    /// Entries in a page, at most 10,000.
    pub limit: usize,
    /// Only entries before this one: the cursor to the next page, newest first.
    pub before_seq: Option<u64>,
    /// Only entries after this one: the cursor to the next page, oldest first.
    pub after_seq: Option<u64>,
    pub newest_first: bool,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            agent: None,
            user: None,
            capability: None,
            status: None,
            session: None,
            kind: None,
            from: None,
            to: None,
            limit: 100,
            before_seq: None,
            after_seq: None,
            newest_first: true,
        }
    }
}

/// A page of entries.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// There are more. The sequence number of the last entry is the cursor to them.
    pub more: bool,
    /// Sequence numbers of entries that match but can no longer be read, because the log was damaged
    /// after they were indexed. `verify` says where.
    pub damaged: Vec<u64>,
}

#[derive(Default)]
struct Filter {
    sql: String,
    values: Vec<Sql>,
}

impl Filter {
    fn add(&mut self, sql: &str, value: impl Into<Sql>) {
        self.sql.push_str(if self.sql.is_empty() {
            " WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(sql);
        self.values.push(value.into());
    }

    /// A column whose index leaves out zero: SQLite takes such an index only when the query says so in
    /// the index's own words (sqlite.org/partialindex.html).
    fn rare(&mut self, column: &str, number: i64) {
        self.add(&format!("{column} = ?"), number);
        if number != 0 {
            self.sql.push_str(&format!(" AND {column} <> 0"));
        }
    }
}

fn filter(query: &Query) -> Filter {
    let mut filter = Filter::default();
    let actors = [
        (&query.agent, PrincipalKind::Agent),
        (&query.user, PrincipalKind::User),
    ];
    for (name, kind) in actors {
        if let Some(name) = name {
            filter.add("actor_kind = ?", actor_number(kind));
            filter.add("actor = (SELECT id FROM name WHERE text = ?)", name.clone());
        }
    }
    if let Some(capability) = &query.capability {
        let is_glob = capability.contains(['*', '?', '[']);
        let sql = if is_glob {
            "capability IN (SELECT id FROM name WHERE text GLOB ?)"
        } else {
            "capability = (SELECT id FROM name WHERE text = ?)"
        };
        filter.add(sql, capability.clone());
    }
    if let Some(session) = &query.session {
        filter.add(
            "session = (SELECT id FROM name WHERE text = ?)",
            session.clone(),
        );
    }
    if let Some(status) = query.status {
        filter.rare("status", status_number(status));
    }
    if let Some(kind) = query.kind {
        filter.rare("kind", kind_number(kind));
    }
    if let Some(from) = query.from {
        filter.add("at >= ?", from.as_microsecond());
    }
    if let Some(to) = query.to {
        filter.add("at <= ?", to.as_microsecond());
    }
    let seq = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    if let Some(before) = query.before_seq {
        filter.add("seq < ?", seq(before));
    }
    if let Some(after) = query.after_seq {
        filter.add("seq > ?", seq(after));
    }
    filter
}

pub(super) fn run(connection: &Connection, dir: &Path, query: &Query) -> Result<Page, AuditError> {
    let limit = query.limit.min(MAX_LIMIT);
    let mut filter = filter(query);
    let order = if query.newest_first { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT segment.text, offset, seq FROM (SELECT seq, segment, offset FROM entry{} ORDER BY seq {order} LIMIT ?) \
         JOIN name AS segment ON segment.id = segment ORDER BY seq {order}",
        filter.sql
    );
    // One more than asked for tells whether there is another page.
    filter.values.push(Sql::from(limit as i64 + 1));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(filter.values))?;
    let mut reader = EntryReader {
        dir,
        files: HashMap::new(),
    };
    let mut page = Page {
        entries: Vec::new(),
        more: false,
        damaged: Vec::new(),
    };
    while let Some(row) = rows.next()? {
        if page.entries.len() + page.damaged.len() == limit {
            page.more = true;
            break;
        }
        let (segment, offset, seq): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        match reader.read(&segment, offset) {
            Ok(entry) => page.entries.push(entry),
            Err(error) => {
                tracing::warn!(%error, seq, "an audit entry cannot be read");
                page.damaged.push(seq.unsigned_abs());
            }
        }
    }
    Ok(page)
}

pub(super) fn show(
    connection: &Connection,
    dir: &Path,
    id_or_seq: &str,
) -> Result<Option<Entry>, AuditError> {
    const PLACE: &str =
        "SELECT segment.text, offset FROM entry JOIN name AS segment ON segment.id = segment WHERE";
    let place = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    let found = if let Ok(seq) = id_or_seq.parse::<i64>() {
        connection
            .prepare_cached(&format!("{PLACE} seq = ?1"))?
            .query_row([seq], place)
            .optional()?
    } else if let Ok(id) = id_or_seq.parse::<uuid::Uuid>() {
        // A UUIDv7 starts with its millisecond, so the index on time finds it.
        let bytes = id.into_bytes();
        let from = bytes
            .iter()
            .take(6)
            .fold(0i64, |millis, byte| millis << 8 | i64::from(*byte))
            * 1000;
        let sql = format!("{PLACE} at BETWEEN ?1 AND ?2 AND entry.id = ?3");
        connection
            .prepare_cached(&sql)?
            .query_row((from, from + 999, bytes), place)
            .optional()?
    } else {
        None
    };
    let mut reader = EntryReader {
        dir,
        files: HashMap::new(),
    };
    found
        .map(|(segment, offset)| reader.read(&segment, offset))
        .transpose()
}

pub(super) fn count(connection: &Connection) -> Result<u64, AuditError> {
    let count: i64 = connection.query_row("SELECT count(*) FROM entry", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Reads entries by place; keeps the segments of one query open.
struct EntryReader<'d> {
    dir: &'d Path,
    files: HashMap<String, File>,
}

impl EntryReader<'_> {
    fn read(&mut self, segment: &str, offset: i64) -> Result<Entry, AuditError> {
        let fail = |source| AuditError::Io {
            context: format!("cannot read an entry of {segment} at {offset}"),
            source,
        };
        if !self.files.contains_key(segment) {
            let file = File::open(self.dir.join(segment)).map_err(fail)?;
            self.files.insert(segment.to_owned(), file);
        }
        let payload = match self.files.get(segment) {
            Some(file) => frame::read_one(file, offset.unsigned_abs()).map_err(fail)?,
            None => None,
        };
        let damaged = || {
            fail(std::io::Error::other(
                "its checksum does not hold; run 'kruxos audit verify'",
            ))
        };
        decoded(&payload.ok_or_else(damaged)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// The plan that SQLite makes for a query, as text.
    fn plan(query: &Query) -> String {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(super::super::build::SCHEMA)
            .unwrap();
        let filter = filter(query);
        let sql = format!("EXPLAIN QUERY PLAN SELECT seq FROM entry{}", filter.sql);
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement
            .query_map(params_from_iter(filter.values), |row| {
                row.get::<_, String>(3)
            })
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn rare_kinds_and_states_are_found_by_their_index() {
        let by_kind = plan(&Query {
            kind: Some(Kind::PathEscape),
            ..Query::default()
        });
        assert!(by_kind.contains("entry_kind"), "{by_kind}");
        let by_status = plan(&Query {
            status: Some(Status::Denied),
            ..Query::default()
        });
        assert!(by_status.contains("entry_status"), "{by_status}");
    }
}
