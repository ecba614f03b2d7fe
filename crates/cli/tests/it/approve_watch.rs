//! `approve watch` in a real pseudo-terminal, with a real gateway behind it.

use crate::support::{Ran, World};
use crate::terminal::Terminal;
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Child;

const CALM: &str = "Nothing waits for you.";

/// A gateway with an agent `a` whose writes wait.
fn world() -> World {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    world.hold_writes();
    world
}

fn watch(world: &World, size: (u16, u16)) -> Terminal {
    Terminal::kruxos(world.data_dir(), size, &["approve", "watch"], &[])
}

/// The agent's call, which waits for the decision.
fn write(world: &World, path: &str, content: &str) -> Child {
    let (path, content) = (format!("path={path}"), format!("content={content}"));
    let call = ["call", "filesystem.write", "--agent", "a", &path, &content];
    world.spawn(&[&call[..], &["--wait", "60s"]].concat())
}

fn ended(call: Child) -> Ran {
    Ran::of(call.wait_with_output().unwrap())
}

fn file(world: &World, name: &str) -> std::path::PathBuf {
    world.data_dir().join("workspaces/a").join(name)
}

#[test]
fn a_request_appears_is_approved_by_a_key_and_runs() {
    let world = world();
    let mut terminal = watch(&world, (100, 40));
    terminal.shows(CALM);
    assert!(!terminal.is_cooked());
    let call = write(&world, "plan.md", "line one\nline two\n");
    let parts = ["+line one", "+line two", "look first", "> ! ap_", "agent a"];
    for part in [&parts[..], &["expires       in"]].concat() {
        terminal.shows(part);
    }
    terminal.press("a");
    let done = ended(call);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let written = std::fs::read_to_string(file(&world, "plan.md")).unwrap();
    assert_eq!(written, "line one\nline two\n");
    terminal.shows(CALM);
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn what_was_not_read_is_asked_about_and_runs_after_yes() {
    let world = world();
    let mut terminal = watch(&world, (80, 24));
    terminal.shows(CALM);
    let call = write(&world, "long.txt", &"one more line\n".repeat(60));
    terminal.shows("+one more line");
    terminal.press("a");
    terminal.shows("were not on the screen");
    terminal.shows("y approve");
    assert!(!file(&world, "long.txt").exists());
    terminal.press("y");
    assert_eq!(ended(call).code, 0);
    assert!(file(&world, "long.txt").exists());
    terminal.press("\u{3}");
    assert_eq!(terminal.ended().exit_code(), 0, "Ctrl-C quits");
}

#[test]
fn a_reason_for_a_rejection_reaches_the_agent() {
    let world = world();
    let mut terminal = watch(&world, (80, 24));
    let call = write(&world, "x.txt", "x");
    terminal.shows("create /workspace/x.txt");
    terminal.press("r");
    terminal.shows("Why? The agent reads it");
    terminal.press("thrown away\u{1b}");
    terminal.until("the list without the prompt", |screen| {
        (!screen.contents().contains("Why?")).then_some(())
    });
    terminal.press("r");
    terminal.shows("Why? The agent reads it");
    terminal.press("wrong fule\u{7f}\u{7f}\u{7f}ile");
    terminal.shows("> wrong file");
    terminal.press("\r");
    let refused = ended(call);
    assert_eq!(refused.code, 6);
    assert!(refused.stderr.contains("wrong file"), "{}", refused.stderr);
    assert!(!file(&world, "x.txt").exists());
    terminal.shows("rejected");
    terminal.press("q");
    terminal.ended();
}

#[test]
fn the_screen_follows_its_terminals_size() {
    let world = world();
    let mut terminal = watch(&world, (80, 24));
    let mut call = write(&world, "x.txt", "x");
    terminal.shows("create /workspace/x.txt");
    terminal.resize(40, 20);
    terminal.until("a list of two columns", |screen| {
        let all = screen.contents();
        let line = all.lines().nth(1).unwrap_or_default();
        (line.trim_end().ends_with("EXPIRES") && line.len() <= 40).then_some(())
    });
    terminal.resize(20, 5);
    terminal.shows("is too");
    terminal.resize(100, 30);
    terminal.shows("create /workspace/x.txt");
    terminal.shows("AGENT");
    terminal.press("q");
    terminal.ended();
    call.kill().unwrap();
    call.wait().unwrap();
}

#[test]
fn a_terminated_watch_leaves_the_terminal_as_it_was() {
    let world = world();
    let mut terminal = watch(&world, (80, 24));
    terminal.shows(CALM);
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.ended().exit_code(), 143);
}

#[test]
fn a_decision_made_elsewhere_is_told_whichever_came_first() {
    let world = world();
    let mut terminal = watch(&world, (100, 30));
    let call = write(&world, "x.txt", "x");
    terminal.shows("create /workspace/x.txt");
    // The key and the news of the decision wait for it together.
    terminal.signal(Signal::STOP);
    let id = world.json(&["approve", "list"])[0]["id"].clone();
    world.json(&["approve", "reject", id.as_str().unwrap()]);
    terminal.press("a");
    terminal.signal(Signal::CONT);
    terminal.shows("rejected by operator");
    assert_eq!(ended(call).code, 6);
    assert!(!file(&world, "x.txt").exists());
    terminal.press("q");
    terminal.ended();
}

#[test]
fn a_gateway_that_goes_and_comes_back_is_told() {
    let world = world();
    let mut terminal = watch(&world, (100, 40));
    terminal.shows(CALM);
    let directory = world.stop();
    terminal.shows("gateway away, trying again");
    let world = World::on(directory);
    terminal.shows("the gateway is back");
    let call = write(&world, "x.txt", "x");
    terminal.shows("expires       in");
    terminal.press("a");
    assert_eq!(ended(call).code, 0);
    terminal.press("q");
    terminal.ended();
}

#[test]
fn nothing_of_an_agents_reaches_the_terminal_but_text() {
    let world = world();
    let mut terminal = watch(&world, (100, 40));
    let evil = "\u{1b}]0;taken\u{7}\u{1b}[2J\u{202e}safe\u{200b}\u{9b}31m";
    let mut call = write(&world, "x.txt", evil);
    terminal.shows("safe");
    terminal.press("q");
    terminal.ended();
    let bytes = String::from_utf8(terminal.bytes()).unwrap();
    for part in ["\u{1b}]0;", "\u{202e}", "\u{200b}", "\u{9b}", "\u{7}"] {
        assert!(!bytes.contains(part), "{part:?} came through");
    }
    call.kill().unwrap();
    call.wait().unwrap();
}

#[test]
fn without_colours_there_are_none() {
    let world = world();
    let mut call = write(&world, "x.txt", "x");
    let data_dir = world.data_dir();
    let no_color: (&[&str], &[(&str, &str)]) = (&["--no-color", "approve", "watch"], &[]);
    let environment: (&[&str], &[(&str, &str)]) = (&["approve", "watch"], &[("NO_COLOR", "1")]);
    let colourful: (&[&str], &[(&str, &str)]) = (&["approve", "watch"], &[]);
    for (at, (arguments, set)) in [no_color, environment, colourful].into_iter().enumerate() {
        let mut terminal = Terminal::kruxos(data_dir, (80, 24), arguments, set);
        terminal.shows("q quit");
        let styled = terminal.until("a screen", |screen| {
            let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
            let mut cells = cells.filter_map(|(row, column)| screen.cell(row, column));
            Some(cells.any(|cell| {
                cell.fgcolor() != vt100::Color::Default || cell.bold() || cell.inverse()
            }))
        });
        assert_eq!(styled, at == 2, "{arguments:?} {set:?}");
        terminal.press("q");
        terminal.ended();
    }
    call.kill().unwrap();
    call.wait().unwrap();
}

#[test]
fn without_a_terminal_it_says_what_works_instead() {
    let world = world();
    let ran = world.run(&["approve", "watch"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.is_empty());
    assert!(ran.stderr.contains("--json") && ran.stderr.contains("approve list"));
}

#[test]
fn in_a_pipe_each_change_is_a_line_of_json() {
    let world = world();
    let mut watching = world.spawn(&["--json", "approve", "watch"]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let call = write(&world, "x.txt", "x");
    let asked = next();
    assert_eq!(asked["change"], "requested");
    assert_eq!(asked["approval"]["capability"], "filesystem.write");
    let id = asked["approval"]["id"].as_str().unwrap();
    world.json(&["approve", "accept", id]);
    let mut states = Vec::new();
    while states.last().is_none_or(|state| state != "executed") {
        let change = next();
        assert_eq!(change["change"], "resolved", "{change}");
        assert_eq!(change["approval"]["id"], id);
        states.push(change["approval"]["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(ended(call).code, 0);
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn a_gateway_that_was_never_there_is_an_ordinary_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::kruxos(directory.path(), (80, 24), &["approve", "watch"], &[]);
    assert_eq!(terminal.ended().exit_code(), 5);
}
