//! Every field of every available capability, with everything that is wrong, over both protocols.

use crate::answers::{
    Outcome, assert_fault, assert_names, assert_structured, from_mcp, from_rpc, message,
};
use crate::cases::{self, Case, Verdict};
use crate::stage::{SECRET, Stage};
use crate::wire::{Connection, post};
use kruxos_catalog::{Catalog, Definition, Status};
use serde_json::{Map, Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};

const POLICY: &str = "capabilities:\n  '*': {tier: autonomous}\n";
const REVISION: &str = "2026-07-28";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Rpc,
    Mcp,
}

struct Attack<'a> {
    stage: &'a Stage,
    connection: Option<Connection>,
    calls: u64,
    failures: Vec<String>,
}

impl Attack<'_> {
    /// Sends a call whose arguments are these bytes.
    fn call(&mut self, door: Door, definition: &Definition, arguments: &[u8]) -> (Outcome, String) {
        let request = match door {
            Door::Rpc => {
                let mut body = format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"capabilities.invoke","params":{{"capability":"{}","arguments":"#,
                    definition.name
                )
                .into_bytes();
                body.extend_from_slice(arguments);
                body.extend_from_slice(b"}}");
                post("/rpc", &self.stage.token, &[], &body)
            }
            Door::Mcp => {
                let meta = json!({
                    "io.modelcontextprotocol/protocolVersion": REVISION,
                    "io.modelcontextprotocol/clientCapabilities": {},
                    "io.modelcontextprotocol/clientInfo": {"name": "hostile", "version": "1"},
                });
                let tool = &definition.tool_name;
                let mut body = format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","_meta":{meta},"arguments":"#
                )
                .into_bytes();
                body.extend_from_slice(arguments);
                body.extend_from_slice(b"}}");
                let headers = [
                    ("MCP-Protocol-Version", REVISION),
                    ("Mcp-Method", "tools/call"),
                    ("Mcp-Name", tool.as_str()),
                ];
                post("/mcp", &self.stage.token, &headers, &body)
            }
        };
        self.calls += 1;
        let mut connection = self
            .connection
            .take()
            .unwrap_or_else(|| Connection::open(self.stage.address()));
        let answer = connection
            .exchange(&request)
            .unwrap_or_else(|error| panic!("{}: no answer: {error}", definition.name));
        assert!(
            answer.status < 500,
            "{}: {}",
            definition.name,
            answer.status
        );
        if !answer.closes {
            self.connection = Some(connection);
        }
        let text = String::from_utf8(answer.body).expect("answers are UTF-8");
        let message = message(text.as_bytes());
        let outcome = match door {
            Door::Rpc => from_rpc(message),
            Door::Mcp => from_mcp(message),
        };
        (outcome, text)
    }

    /// One attack. What is wrong with its answer is kept, so that a run shows every weak place.
    fn check(
        &mut self,
        door: Door,
        definition: &Definition,
        arguments: &[u8],
        case: (&str, Verdict, &str),
    ) {
        let tried = catch_unwind(AssertUnwindSafe(|| {
            self.attack(door, definition, arguments, case);
        }));
        if let Err(panic) = tried {
            let message = panic.downcast_ref::<String>().cloned();
            self.failures.push(message.unwrap_or_default());
            self.stage.restore("a failure");
        }
    }

    fn finish(self) {
        println!("{} calls", self.calls);
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n\n"));
    }

    fn attack(
        &mut self,
        door: Door,
        definition: &Definition,
        arguments: &[u8],
        (field, verdict, title): (&str, Verdict, &str),
    ) {
        let what = format!("{door:?} {} {field} {title}", definition.name);
        // Programs' paths are taken by their text, as policy reads them: back out of a link is inside.
        let by_text = matches!(definition.category, "git" | "process");
        let verdict = match by_text && title.starts_with("leak/..") {
            true => Verdict::Safe,
            false => verdict,
        };
        let (outcome, text) = self.call(door, definition, arguments);
        assert!(
            !text.contains(SECRET),
            "{what}: it reads outside the workspace"
        );
        match &outcome {
            Outcome::Done => assert_eq!(verdict, Verdict::Safe, "{what}: {text:.300}"),
            Outcome::Refused(error) => {
                let (data_dir, workspace) = (self.stage.data_dir(), self.stage.workspace());
                assert_structured(error, &data_dir, &workspace, &what);
                if verdict == Verdict::Named {
                    assert_names(error, field, &what);
                }
                assert!(
                    text.len() < 64 * 1024,
                    "{what}: an error of {} bytes",
                    text.len()
                );
            }
            Outcome::Fault(fault) => {
                assert_fault(fault, &what);
                assert_eq!(verdict, Verdict::Malformed, "{what}: {fault}");
            }
        }
        match outcome {
            Outcome::Done => self.stage.restore(&what),
            _ => self.stage.assert_untouched(&what),
        }
    }
}

/// `{…base, "field": RAW}`.
fn arguments(base: &Map<String, Value>, field: &str, raw: &[u8]) -> Vec<u8> {
    let mut rest = base.clone();
    rest.remove(field);
    let mut text = json!(rest).to_string().into_bytes();
    text.pop();
    if !rest.is_empty() {
        text.push(b',');
    }
    text.extend_from_slice(format!("{}:", json!(field)).as_bytes());
    text.extend_from_slice(raw);
    text.push(b'}');
    text
}

fn available() -> impl Iterator<Item = &'static Definition> {
    let all = Catalog::builtin().all().iter();
    all.filter(|one| one.status == Status::Available)
}

fn base(definition: &Definition) -> Map<String, Value> {
    definition.patterns[0].inputs.clone()
}

#[test]
fn every_field_with_every_bad_value() {
    let stage = Stage::new(POLICY);
    let mut attack = Attack {
        stage: &stage,
        connection: None,
        calls: 0,
        failures: Vec::new(),
    };
    let mut fields = 0;
    for definition in available() {
        for field in &definition.inputs {
            fields += 1;
            for Case {
                title,
                raw,
                verdict,
            } in cases::of(field)
            {
                let arguments = arguments(&base(definition), &field.name, &raw);
                for door in [Door::Rpc, Door::Mcp] {
                    let case = (field.name.as_str(), verdict, title.as_str());
                    attack.check(door, definition, &arguments, case);
                }
            }
        }
    }
    assert!(fields > 50, "the catalogue has {fields} fields");
    attack.finish();
    stage.finish();
}

#[test]
fn ten_megabytes_in_every_text_field() {
    let stage = Stage::new(POLICY);
    let mut attack = Attack {
        stage: &stage,
        connection: None,
        calls: 0,
        failures: Vec::new(),
    };
    let huge = cases::huge();
    // Either door in turn: the bytes are many and admission is one.
    let mut doors = [Door::Rpc, Door::Mcp].into_iter().cycle();
    for definition in available() {
        for field in definition.inputs.iter().filter(|one| cases::is_text(one)) {
            let arguments = arguments(&base(definition), &field.name, &huge.raw);
            let case = (field.name.as_str(), huge.verdict, huge.title.as_str());
            attack.check(doors.next().unwrap(), definition, &arguments, case);
        }
    }
    attack.finish();
    stage.finish();
}

#[test]
fn missing_unknown_and_misshapen_arguments() {
    let stage = Stage::new(POLICY);
    let mut attack = Attack {
        stage: &stage,
        connection: None,
        calls: 0,
        failures: Vec::new(),
    };
    for definition in available() {
        for door in [Door::Rpc, Door::Mcp] {
            let base = base(definition);
            for name in ["zz_unknown", "agent", "__proto__", "", "a\0b"] {
                let arguments = arguments(&base, name, b"\"x\"");
                let case = (name, Verdict::Named, "unknown");
                attack.check(door, definition, &arguments, case);
            }
            for field in definition.inputs.iter().filter(|one| one.required) {
                let mut short = base.clone();
                short.remove(&field.name);
                let arguments = json!(short).to_string();
                let case = (field.name.as_str(), Verdict::Named, "missing");
                attack.check(door, definition, arguments.as_bytes(), case);
            }
            for field in &definition.inputs {
                let wrong_case = field.name.to_uppercase();
                let arguments = arguments(&base, &wrong_case, b"\"x\"");
                let case = (wrong_case.as_str(), Verdict::Named, "in capitals");
                attack.check(door, definition, &arguments, case);
            }
            for raw in ["5", "\"x\"", "[]", "true", "[{}]", "{\"a\":1"] {
                let case = ("arguments", Verdict::Malformed, raw);
                attack.check(door, definition, raw.as_bytes(), case);
            }
            let deep = cases::nested(100_000);
            let case = ("arguments", Verdict::Malformed, "100,000 levels");
            attack.check(door, definition, deep.as_bytes(), case);
        }
    }
    attack.finish();
    stage.finish();
}
