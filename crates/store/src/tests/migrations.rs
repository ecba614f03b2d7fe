use crate::migrate::{backup_path, migrate};
use crate::{StoreError, db};
use rusqlite::Connection;

const FIRST: &str = "CREATE TABLE a (x); INSERT INTO a VALUES (1);";
const SECOND: &str = "CREATE TABLE b (y); INSERT INTO b SELECT x + 1 FROM a;";

fn number(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn an_older_database_is_copied_and_then_brought_forward() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let conn = db::open_writer(&path).unwrap();
    migrate(&conn, &path, &[FIRST]).unwrap();
    assert!(!backup_path(&path, 0).exists(), "nothing to copy yet");
    migrate(&conn, &path, &[FIRST]).unwrap();
    conn.execute_batch("UPDATE a SET x = 41").unwrap();

    migrate(&conn, &path, &[FIRST, SECOND]).unwrap();
    assert_eq!(number(&conn, "PRAGMA user_version"), 2);
    assert_eq!(number(&conn, "SELECT y FROM b"), 42);
    let copy = Connection::open(backup_path(&path, 1)).unwrap();
    assert_eq!(number(&copy, "PRAGMA user_version"), 1);
    assert_eq!(
        number(&copy, "SELECT x FROM a"),
        41,
        "what was only in the log is in the copy"
    );
    let refused = migrate(&conn, &path, &[FIRST]).unwrap_err();
    assert!(matches!(
        refused,
        StoreError::NewerSchema { found: 2, known: 1 }
    ));
}

#[test]
fn a_migration_that_fails_leaves_the_database_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let conn = db::open_writer(&path).unwrap();
    migrate(&conn, &path, &[FIRST]).unwrap();
    let broken = "INSERT INTO a VALUES (2); CREATE TABLE a (z);";
    migrate(&conn, &path, &[FIRST, SECOND, broken]).unwrap_err();
    assert_eq!(number(&conn, "PRAGMA user_version"), 1);
    assert_eq!(number(&conn, "SELECT count(*) FROM a"), 1);
    migrate(&conn, &path, &[FIRST, SECOND]).expect("and can be tried again");
}
