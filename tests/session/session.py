"""See run.sh. Speaks MCP 2026-07-28 as an agent's client and the `kruxos` command as the operator."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

# The daemon refuses KRUXOS_* variables that are no keys, and the tests have some of their own.
for variable in [name for name in os.environ if name.startswith("KRUXOS_")]:
    del os.environ[variable]

ROOT, BIN = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
VERSION = "2026-07-28"
POLICY = """
name: repository work
capabilities:
  "*": {tier: autonomous}
  filesystem.delete: {tier: approval_required, reason: Deleting source needs a second look}
rules:
  - match: {capability: filesystem.*}
    conditions: {path_prefix: /workspace/repo/LICENSE}
    tier: blocked
    reason: The licence is not for agents
"""


def check(condition, what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")
    if isinstance(what, str):
        print(f"  ok: {what}")


class Gateway:
    def __init__(self, data):
        self.data = data
        self.process = subprocess.Popen(
            [BIN / "kruxosd", "up", "--json", "--port", "0", "--health-port", "0", "--data-dir", data],
            stdout=subprocess.PIPE, stderr=(data.parent / "log").open("ab"), text=True,
        )
        self.up = json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.terminate()
        check(self.process.wait(30) == 0, "SIGTERM ends it cleanly")

    def kruxos(self, *arguments, code=0):
        command = [BIN / "kruxos", "--data-dir", self.data, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != code:
            raise SystemExit(f"FAILED: {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    def tool(self, token, name, arguments):
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "session-test", "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                   "params": {"name": name, "arguments": arguments, "_meta": meta}}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json",
                   "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": VERSION,
                   "Mcp-Method": "tools/call", "Mcp-Name": name}
        request = urllib.request.Request(self.up["gateway"] + "/mcp", json.dumps(message).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read().decode()
        if text.startswith(("event:", "data:", ":", "id:")):
            text = [line[5:] for line in text.splitlines() if line.startswith("data:")][-1]
        result = json.loads(text)["result"]
        return result.get("isError", False), result["structuredContent"]


def wait_for(what, probe):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.02)
    raise SystemExit(f"FAILED: {what} did not happen within 30 s")


def work(gateway, token):
    ok = lambda name, **arguments: (lambda answer: answer[1] if not answer[0] else check(False, answer))(
        gateway.tool(token, name, arguments))
    found = ok("filesystem__search_content", path="repo", pattern="async fn spine", include_glob="**/*.rs")
    check(found["total_matches"] >= 1, "search_content finds the spine")
    path = found["matches"][0]["path"]
    check(path.endswith("crates/gateway/src/call.rs"), f"it is in {path}")
    check("spine" in ok("filesystem__read", path=path)["content"], "read shows it")
    edited = ok("filesystem__edit", path=path, pattern="async fn spine", replace="async fn backbone",
                expected_replacements=1)
    check("+async fn backbone" in edited["diff"], "edit answers a unified diff")
    refused, error = gateway.tool(token, "filesystem__edit",
                                  {"path": path, "pattern": "spine", "replace": "x", "expected_replacements": 99})
    check(refused and error["error_type"] == "MatchCountMismatch", "a wrong match count changes nothing")
    ok("filesystem__write", path="repo/notes/plan.md", content="# Plan\n", create_parents=True)
    check(ok("filesystem__search", path="repo", pattern="**/*.rs")["total_matches"] > 50, "search counts the sources")
    refused, error = gateway.tool(token, "filesystem__read", {"path": "/workspace/repo/LICENSE"})
    check(refused and error["error_type"] == "PolicyDenied", "the blocked rule holds")
    check("licence" in error["description"], "and gives its reason")
    refused, error = gateway.tool(token, "filesystem__read", {"path": "repo/../../../state.db"})
    check(refused and error["error_type"] == "PathOutOfScope", "no way out of the workspace")


def approval(gateway, token):
    answers = []
    call = lambda: answers.append(gateway.tool(token, "filesystem__delete", {"path": "repo/notes/plan.md"}))
    agent = threading.Thread(target=call)
    agent.start()
    waiting = wait_for("the request", lambda: gateway.kruxos("approve", "list", "--json"))
    check(waiting[0]["capability"] == "filesystem.delete", "the operator sees the held delete")
    check("plan.md" in gateway.kruxos("approve", "show", waiting[0]["id"]), "with a preview")
    check(not answers, "the agent waits")
    gateway.kruxos("approve", "accept", waiting[0]["id"])
    agent.join(30)
    check(answers and not answers[0][0], "the held call is answered with its result")
    trash = answers[0][1]["trash_path"]
    workspace = pathlib.Path(gateway.up["workspace"])
    check(not (workspace / "repo/notes/plan.md").exists(), "the file is gone")
    failed, restored = gateway.tool(token, "filesystem__restore", {"trash_path": trash})
    check(not failed and (workspace / "repo/notes/plan.md").read_text() == "# Plan\n", "restore brings it back")
    gateway.kruxos("approve", "accept", waiting[0]["id"], code=6)
    check(True, "deciding twice is refused")


def flip_one_byte(data):
    log = sorted((data / "audit").glob("audit-*.log"))[0]
    content = bytearray(log.read_bytes())
    place = content.find(b"filesystem.edit")
    check(place > 0, "the log has the edit in it")
    content[place] ^= 1
    log.write_bytes(content)


def main():
    with tempfile.TemporaryDirectory() as directory:
        data = pathlib.Path(directory) / "data"
        gateway = Gateway(data)
        try:
            session(gateway, data)
        finally:
            gateway.process.kill()


def session(gateway, data):
    token = gateway.up["agent"]["token"]
    subprocess.run(["git", "clone", "--quiet", ROOT, gateway.up["workspace"] + "/repo"], check=True)
    (data / "policies/agents/default-agent.yaml").write_text(POLICY)
    tier = lambda: gateway.kruxos("config", "check-policy", "--agent", "default-agent",
                                  "--capability", "filesystem.delete", "--json")["tier"]
    wait_for("the reload of the policy", lambda: tier() == "approval_required")
    work(gateway, token)
    approval(gateway, token)
    report = gateway.kruxos("audit", "verify", "--json")
    check(report["ok"] and report["entries"] > 10, f"audit verify passes on {report['entries']} entries")
    gateway.stop()
    flip_one_byte(data)
    report = gateway.kruxos("audit", "verify", "--json", code=1)
    check(not report["ok"] and report["breaks"], f"one flipped byte is found: {report['breaks'][0]}")
    again = Gateway(data)
    try:
        failed, _ = again.tool(token, "system__time", {})
        check(not failed, "the gateway starts and goes on in a new chain")
        report = again.kruxos("audit", "verify", "--json", code=1)
        check(report["breaks"], "the break stays on record")
        check(any("chain" in alert["message"] for alert in again.kruxos("alerts", "--json")), "and raised an alert")
        again.stop()
    finally:
        again.process.kill()
    print("session: 1 passed, 0 failed")


main()
