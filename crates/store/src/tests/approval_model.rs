//! The approval state machine, explored exhaustively against a model of a dozen lines.

use crate::approvals::machine::{self, Leave};
use crate::seal::{Bound, Part, Sealer};
use crate::{ApprovalState, migrate};
use ApprovalState::{Approved, Cancelled, Executed, Executing, Expired, Failed, Pending, Rejected};
use jiff::Timestamp;
use kruxos_types::ApprovalId;
use rusqlite::Connection;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// Steps in a row; more add nothing, since by then every reachable state was met with every step.
const DEPTH: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Accept,
    Reject,
    Cancel,
    TimePasses,
    Sweep,
    Claim,
    FinishWell,
    FinishBadly,
    CrashAndRecover,
    Take,
    /// The audit log has the entry of the state it is in.
    Audit,
}

const STEPS: [Step; 11] = [
    Step::Accept,
    Step::Reject,
    Step::Cancel,
    Step::TimePasses,
    Step::Sweep,
    Step::Claim,
    Step::FinishWell,
    Step::FinishBadly,
    Step::CrashAndRecover,
    Step::Take,
    Step::Audit,
];

/// The reference: what the request is, what has happened, and when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Model {
    state: ApprovalState,
    due: bool,
    audited: bool,
    claims: u32,
    taken: u32,
}

impl Model {
    /// Answers whether the step succeeds.
    fn step(&mut self, step: Step) -> bool {
        let (from, to) = match step {
            Step::TimePasses => {
                self.due = true;
                return true;
            }
            Step::Take => {
                let first = matches!(self.state, Executed | Failed) && self.taken == 0;
                self.taken += u32::from(first);
                return first;
            }
            Step::Audit => {
                let decided = self.state != Pending;
                self.audited |= decided;
                return decided;
            }
            Step::Claim if !self.audited => return false,
            Step::Accept if !self.due => (Pending, Approved),
            Step::Reject if !self.due => (Pending, Rejected),
            Step::Cancel if !self.due => (Pending, Cancelled),
            Step::Accept | Step::Reject | Step::Cancel => {
                self.change(Pending, Expired);
                return false;
            }
            Step::Sweep if self.due => (Pending, Expired),
            Step::Sweep => return false,
            Step::Claim => (Approved, Executing),
            Step::FinishWell => (Executing, Executed),
            Step::FinishBadly | Step::CrashAndRecover => (Executing, Failed),
        };
        let changed = self.change(from, to);
        self.claims += u32::from(changed && to == Executing);
        // That it failed with the process is news for the log.
        self.audited &= !(changed && step == Step::CrashAndRecover);
        changed
    }

    fn change(&mut self, from: ApprovalState, to: ApprovalState) -> bool {
        let applies = self.state == from;
        if applies {
            self.state = to;
        }
        applies
    }
}

struct World {
    conn: Connection,
    sealer: Sealer,
    id: ApprovalId,
    /// For each state of the world, with how many steps left it was explored.
    explored: HashMap<(Model, String), usize>,
    steps_taken: usize,
}

impl World {
    fn new() -> Self {
        let conn = Connection::open_in_memory().unwrap();
        migrate::migrate(&conn, Path::new("unused"), migrate::MIGRATIONS).unwrap();
        let sealer = Sealer::new(&mut [7; 32]);
        let bound = Bound {
            id: "ap_1",
            principal: "agent:a",
            capability: "c",
            digest: "d",
        };
        let inputs = sealer.seal(Part::Inputs, bound, &json!({"x": 1})).unwrap();
        let preview = sealer.seal(Part::Preview, bound, &json!(null)).unwrap();
        let sql = "INSERT INTO approvals (id, principal_kind, principal_name, session_id, interface, \
            capability, digest, created_at, expires_at, state, decision_audited, reason, rule, \
            risk_notes, shown_inputs, sealed_inputs, sealed_preview) VALUES ('ap_1', 'agent', 'a', \
            's', 'mcp', 'c', 'd', 0, 100, 'pending', 0, '', '{}', '[]', '{}', ?1, ?2)";
        conn.execute(sql, (inputs, preview)).unwrap();
        let id = ApprovalId::from_text("ap_1");
        Self {
            conn,
            sealer,
            id,
            explored: HashMap::new(),
            steps_taken: 0,
        }
    }

    /// The same step in the database; whether it succeeded.
    fn step(&self, step: Step, now: Timestamp) -> bool {
        let (conn, sealer, id) = (&self.conn, &self.sealer, &self.id);
        let leave = |to| {
            let leave = Leave {
                to,
                scope: None,
                by: Some("ann".to_owned()),
                reason: None,
                remembered: None,
                edit: None,
            };
            machine::leave_pending(conn, sealer, id, &leave, now)
                .unwrap()
                .is_some()
        };
        let finish = |to| {
            machine::finish(conn, sealer, id, to, &json!("r"), now)
                .unwrap()
                .is_some()
        };
        match step {
            Step::Accept => leave(Approved),
            Step::Reject => leave(Rejected),
            Step::Cancel => leave(Cancelled),
            Step::TimePasses => true,
            Step::Sweep => {
                let due = machine::is_any_due(conn, now).unwrap();
                let swept = !machine::expire(conn, sealer, now).unwrap().is_empty();
                assert_eq!(due, swept);
                swept
            }
            Step::Claim => {
                let claimed = machine::claim(conn, sealer, id).unwrap();
                claimed.is_some_and(|claimed| claimed.exact_inputs()["x"] == 1)
            }
            Step::FinishWell => finish(Executed),
            Step::FinishBadly => finish(Failed),
            Step::CrashAndRecover => {
                let before = machine::find(conn, sealer, id).unwrap().unwrap().state;
                let (failed, approved) = machine::recover(conn, sealer, now).unwrap();
                assert_eq!(
                    !approved.is_empty(),
                    before == Approved,
                    "only these run after a crash"
                );
                !failed.is_empty()
            }
            Step::Take => machine::take_result(conn, id).unwrap(),
            Step::Audit => {
                let state = machine::find(conn, sealer, id).unwrap().unwrap().state;
                machine::audited(conn, id, state).unwrap()
            }
        }
    }

    /// Every column but the random bytes of the seals.
    fn fingerprint(&self) -> String {
        let sql = "SELECT concat_ws('|', state, decision_audited, decided_by, decided_at, scope, finished_at, \
            result_taken, sealed_result IS NULL) FROM approvals";
        self.conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn explore(&mut self, model: Model, left: usize) {
        let key = (model, self.fingerprint());
        if left == 0 || self.explored.get(&key).is_some_and(|known| *known >= left) {
            return;
        }
        self.explored.insert(key, left);
        for step in STEPS {
            self.conn.execute_batch("SAVEPOINT step").unwrap();
            let mut next = model;
            let expected = next.step(step);
            let now = if next.due { 100 } else { 99 };
            let now = Timestamp::from_microsecond(now).unwrap();
            assert_eq!(self.step(step, now), expected, "{step:?} in {model:?}");
            let found = machine::find(&self.conn, &self.sealer, &self.id)
                .unwrap()
                .unwrap();
            assert_eq!(found.state, next.state, "{step:?} in {model:?}");
            assert_eq!(
                found.result.is_some(),
                matches!(next.state, Executed | Failed)
            );
            assert!(next.claims <= 1 && next.taken <= 1, "{step:?} in {model:?}");
            let terminal = [Rejected, Expired, Cancelled, Executed, Failed];
            if terminal.contains(&model.state) {
                assert_eq!(found.state, model.state, "{step:?} left a terminal state");
            }
            self.steps_taken += 1;
            self.explore(next, left - 1);
            self.conn
                .execute_batch("ROLLBACK TO step; RELEASE step")
                .unwrap();
        }
    }
}

#[test]
fn no_interleaving_executes_twice_or_leaves_a_terminal_state() {
    let mut world = World::new();
    let start = Model {
        state: Pending,
        due: false,
        audited: false,
        claims: 0,
        taken: 0,
    };
    world.explore(start, DEPTH);
    let met: std::collections::HashSet<_> = world
        .explored
        .keys()
        .map(|(model, _)| model.state)
        .collect();
    assert_eq!(met.len(), 8, "every state was reached: {met:?}");
    assert!(world.steps_taken > 200, "{}", world.steps_taken);
}
