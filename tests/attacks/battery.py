"""The attack list through the real gateway, by the official Python MCP client. Each attack is a real one
and must end as expected; its honest twin must succeed. Numbers are the rows of the list.

    battery.py GATEWAY_URL DATA_DIR KRUXOS
"""

import asyncio
import json
import os
import subprocess
import sys
import time

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from payloads import CALLS, SOCKETS

URL, DATA, KRUXOS = sys.argv[1] + "/mcp", sys.argv[2], sys.argv[3]
AGENT, OTHER = "attacker", "bystander"
# Reserved: nothing answers under it (RFC 2606).
ALLOWED = "git.example"
REFUSED = {"EPERM", "EACCES", "ENOSYS"}
UNSUPPORTED = {"EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EINVAL"}
RACE_ROUNDS = 100_000
failures, count = [], 0


def kruxos(*arguments):
    done = subprocess.run(
        [KRUXOS, "--data-dir", DATA, "--json", *arguments], capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.stdout.strip() else {"code": done.returncode, "stderr": done.stderr}


def processes(mark):
    """Command lines on the host that hold `mark`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in line and "battery.py" not in line:
            found.append(line)
    return found


class Agent:
    def __init__(self, client, name):
        self.client, self.name = client, name

    async def call(self, capability, /, **inputs):
        answer = await self.client.call_tool(capability.replace(".", "__"), inputs)
        return answer.structured_content

    async def run(self, command, /, *arguments, **more):
        return await self.call("process.run", command=command, args=list(arguments), **more)

    async def sh(self, line, **more):
        """What a script prints. As a file, so that policy's look at command lines is not what stops it."""
        await self.call("filesystem.write", path="line.sh", content=line + "\n")
        answer = await self.run("sh", "line.sh", **more)
        if "error_type" in answer:
            return answer["error_type"]
        return answer["stdout_summary"].strip()

    async def payload(self, kind, what="", **more):
        answer = await self.run("python3", "payloads.py", kind, str(what), **more)
        if "error_type" in answer:
            return answer["error_type"]
        return answer["stdout_summary"].strip() or f"exit {answer['exit_code']}: {answer['stderr_summary'][-200:]}"


def report(row, title, got, good, twin="ok", twin_good=True):
    global count
    count += 1
    got, twin = str(got).replace("\n", " ")[:60], str(twin).replace("\n", " ")[:60]
    mark = "ok  " if good and twin_good else "FAIL"
    print(f"{mark} {row:>3} {title}: {got} | twin {twin}", flush=True)
    if not (good and twin_good):
        failures.append(f"{row} {title}: {got} | twin {twin}")


def kind(answer):
    return answer.get("error_type", "done")


async def paths(agent):
    calls = {
        "filesystem.read": ["path"], "filesystem.list": ["path"], "filesystem.stat": ["path"],
        "filesystem.write": ["path"], "filesystem.append": ["path"], "filesystem.delete": ["path"],
        "filesystem.edit": ["path"], "filesystem.copy": ["source", "destination"],
        "filesystem.move": ["source", "destination"], "filesystem.search_content": ["path"],
    }
    others = {"content": "x", "pattern": "x", "replace": "y"}
    tools = {tool.name: tool for tool in await all_tools(agent.client)}
    await agent.call("filesystem.write", path="ok.txt", content="fine\n")
    twin = kind(await agent.call("filesystem.read", path="ok.txt"))
    os.makedirs(f"{DATA}/outside", exist_ok=True)
    await agent.sh("ln -sfn /etc/passwd leak; ln -sfn /etc leakdir; ln -sfn ok.txt inner; ln -sfn /proc/self/root root")
    for name, fields in calls.items():
        known = tools[name.replace(".", "__")].input_schema["properties"]
        for field in fields:
            for row, path in [(1, "../../etc/shadow"), (2, "/etc/passwd"), (4, "leakdir/passwd"), (7, "root/etc/passwd")]:
                inputs = {key: value for key, value in others.items() if key in known}
                inputs |= {one: "ok.txt" if one == "source" else "copy.txt" for one in fields}
                got = kind(await agent.call(name, **inputs | {field: path}))
                report(row, f"{name} {field}={path}", got, got in ("PathOutOfScope", "PolicyDenied"), twin, twin == "done")
    for title, path in [("NUL", "a\0b"), ("4,097 bytes", "n" * 4097), ("newlines", "a\n/../..//etc/passwd")]:
        got = kind(await agent.call("filesystem.read", path=path))
        twin = kind(await agent.call("filesystem.write", path="grüß 😀.txt", content="x"))
        report(3, f"a path with {title}", got, got not in ("done", "Internal"), twin, twin == "done")
    twin = (await agent.call("filesystem.read", path="inner")).get("content", "")
    for path in ("leak", "leakdir/hosts"):
        got = kind(await agent.call("filesystem.write", path=path, content="x"))
        report(14, f"write through a link, {path}", got, got in ("PathOutOfScope", "PolicyDenied"), twin, twin == "fine\n")


async def all_tools(client):
    page = await client.list_tools()
    tools = list(page.tools)
    while page.next_cursor:
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools


async def files(agent):
    ok = lambda answer: kind(answer) == "done"
    await agent.sh("mkfifo pipe; mkdir -p d; python3 -c 'import socket; socket.socket(1).bind(\"sock\")'")
    for row, title, path in [(10, "a FIFO", "pipe"), (11, "a socket", "sock"), (11, "a directory", "d")]:
        got = kind(await agent.call("filesystem.read", path=path))
        twin = await agent.call("filesystem.stat", path=path)
        report(row, f"reading {title}", got, got != "done", kind(twin), ok(twin))
    await agent.sh("truncate -s 3G sparse")
    got = await agent.call("filesystem.read", path="sparse", encoding="base64", limit=1000)
    report(12, "a sparse file of 3 GiB", f"truncated {got.get('truncated')}", got.get("truncated") is True)
    await agent.run("sh", "-c", "rm sparse; exec head -c 2000000000 /dev/zero | tr '\\0' x > grow", background=True, timeout=10)
    for _ in range(100):
        if (await agent.call("filesystem.stat", path="grow")).get("size"):
            break
        await asyncio.sleep(0.05)
    got = await agent.call("filesystem.read", path="grow", limit=1000)
    report(13, "a file that grows", f"{len(got.get('content', ''))} bytes", len(got.get("content", "")) == 1000)
    got = await agent.sh("mv ok.txt /usr/ 2>&1; touch /x /usr/y 2>&1; cp ok.txt copy.txt && echo twin")
    report(20, "writing to the system", got, "Read-only" in got and got.endswith("twin"), "twin" if "twin" in got else "no")
    twin = await agent.payload("unnamed", "/workspace")
    for where in ("/tmp", "/usr", "/"):
        got = await agent.payload("unnamed", where)
        report(15, f"O_TMPFILE and linkat into {where}", got, got in REFUSED | {"EXDEV", "EROFS"}, twin, twin == "ok")
    twin = await agent.payload("rename", "/workspace/renamed")
    for target in ("/tmp/renamed", "/workspace", "/etc/hosts", "/.kruxos/trash/x", "/mnt/x"):
        got = await agent.payload("rename", target)
        report(16, f"rename over {target}", got, got in REFUSED | {"EXDEV", "EROFS", "EBUSY", "EISDIR", "ENOENT"}, twin, twin == "ok")
    got = await agent.payload("xattr")
    report(19, "file capabilities", got, got in REFUSED | {"ENOTSUP"}, await agent.sh("chmod 755 ok.txt && echo ok"))
    got = await agent.payload("bytes", 200)
    twin = await agent.payload("bytes", 10)
    report(23, "200 MB in /tmp", got, got in ("ENOSPC", "ResourceLimitExceeded", "ENOMEM"), twin, twin == "ok")
    got, twin = await agent.payload("inodes", 20_000), await agent.payload("inodes", 500)
    report(22, "20,000 files in /tmp", got, got == "ENOSPC", twin, twin == "ok")
    got, twin = await agent.payload("big", 10 << 40), await agent.payload("big", 1 << 20)
    report(21, "a file of 10 TiB", got, got in ("EFBIG", "exit 153:", "ResourceLimitExceeded") or "153" in got, twin, twin == "ok")
    got = await agent.sh("i=0; p=.; while [ $i -lt 300 ]; do p=$p/d; i=$((i+1)); done; mkdir -p $p && seq 20000 | (mkdir -p many; cd many; xargs touch) && echo made")
    listed = await agent.call("filesystem.list", path=".", recursive=True, max_depth=10)
    report(24, "300 levels and 20,000 entries", f"{got}, list {kind(listed)}", len(json.dumps(listed)) < 8 << 20)
    await agent.sh("rm -rf d many grow")
    await agent.call("filesystem.write", path="\x1b[2J\u202eevil.txt", content="x")
    shown = subprocess.run([KRUXOS, "--data-dir", DATA, "audit", "query", "--limit", "5"], capture_output=True, check=False)
    report(25, "escapes in names on the operator's terminal", len(shown.stdout), b"\x1b[2J" not in shown.stdout and bool(shown.stdout))
    await agent.call("filesystem.write", path="aaa.txt", content="a" * 100_000 + "b")
    started = time.monotonic()
    for pattern in (r"(a|a)*$", r"(a+)+$", r"\pL{1000}{1000}"):
        got = kind(await agent.call("filesystem.search_content", path=".", pattern=pattern))
        report(29, f"search for {pattern}", got, got != "Internal" and time.monotonic() - started < 60)
    got = kind(await agent.call("filesystem.search", path=".", pattern="**/**/**/**/**/*x*y*z*"))
    report(30, "a glob that explodes", got, got != "Internal" and time.monotonic() - started < 60)
    got, twin = await agent.payload("inotify"), await agent.sh("ls >/dev/null && echo ok")
    report(31, "100,000 inotify instances", got, got in ("EMFILE", "ENFILE", "EPERM"), twin, twin == "ok")


async def kernel(agent):
    twin = await agent.payload("loopback")
    for name in CALLS:
        got = await agent.payload("call", name)
        row = {"chmod u+s": 17, "fchmodat g+s": 17, "open with setuid": 17, "mkdir with setgid": 17,
               "mknod of a device": 11}.get(name, 41)
        report(row, name, got, got in REFUSED or got == "other architecture" or got == "EINVAL" and name in ("setuid 0", "personality with executable reads"), twin, twin == "ok")
    for name in SOCKETS:
        got = await agent.payload("socket", name)
        report(57, f"socket {name}", got, got in REFUSED | UNSUPPORTED or got == "other architecture", twin, twin == "ok")
    got = await agent.payload("x32")
    report(54, "a number of the x32 table", got, got in ("SIGSYS", "refused", "other architecture"), twin, twin == "ok")
    for row, title, line, good in [
        (8, "descriptors of others", "ls /proc/self/fd | wc -l", lambda text: int(text) <= 4),
        (18, "su", "su -c id nobody </dev/null 2>&1; grep NoNewPrivs /proc/self/status", lambda text: text.endswith("1") and "uid=0" not in text),
        (32, "other processes' environment", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c KRUXOS", lambda text: text == "0"),
        (33, "the kernel's own files", "cat /proc/kallsyms /proc/cmdline /proc/mounts2 2>&1 | grep -vc 'No such'", lambda text: text == "0"),
        (34, "sysctls", "ls -d /proc/sys /proc/sysrq-trigger 2>&1 | grep -vc 'No such'", lambda text: text == "0"),
        (35, "oom_score_adj", "echo -1000 > /proc/self/oom_score_adj 2>/dev/null && echo set || echo refused", lambda text: text == "refused"),
        (36, "memory of pid 1", "head -c 1 /proc/1/mem 2>&1 | grep -c ELF", lambda text: text == "0"),
        (37, "its own id map", "echo 0 0 1 > /proc/self/uid_map 2>/dev/null && echo set || echo refused", lambda text: text == "refused"),
        (38, "/sys", "ls /sys 2>&1 | grep -vc 'No such'", lambda text: text == "0"),
        (39, "who the host is", "hostname; cat /etc/machine-id 2>/dev/null", lambda text: text == AGENT),
        (62, "capabilities", "grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/self/status | grep -vc 0000000000000000", lambda text: text == "0"),
        (81, "control groups", "ls /sys/fs/cgroup 2>&1 | grep -vc 'No such'", lambda text: text == "0"),
        (74, "more than it was given", "ulimit -n 999999 2>/dev/null && echo more; ulimit -c 1 2>/dev/null && echo cores; nice -n -5 true 2>&1 | head -1", lambda text: "more" not in text and "cores" not in text),
        (63, "a core file", "sh -c 'kill -SEGV $$'; ls core* 2>/dev/null | wc -l", lambda text: text.endswith("0")),
    ]:
        got = await agent.sh(line)
        report(row, title, got, good(got), twin, twin == "ok")
    for row, name in [(64, "LD_PRELOAD"), (64, "BASH_ENV"), (64, "GIT_SSH_COMMAND"), (64, "NODE_OPTIONS")]:
        got = kind(await agent.run("true", environment={name: "x"}))
        answer = await agent.run("sh", "-c", "echo $FINE", environment={"FINE": "yes"})
        report(row, f"{name} in the environment", got, got == "InvalidInput", answer["stdout_summary"], answer["stdout_summary"] == "yes\n")


async def resources(agent, other):
    async def beside():
        answer = await other.call("filesystem.read", path="mine.txt")
        return kind(answer)

    async def measured(row, title, work, good, clean=None):
        task = asyncio.create_task(work)
        twins = []
        while not task.done():
            twins.append(await beside())
            await asyncio.sleep(0.2)
        got = task.result()
        good = good(got) and (clean is None or not await gone(clean))
        report(row, title, got, good, f"{len(twins)} calls of another agent", all(one == "done" for one in twins))

    async def gone(mark):
        """What is left of a mark after a moment."""
        for _ in range(100):
            left = processes(mark)
            if not left:
                return []
            await asyncio.sleep(0.1)
        return left

    bounded = lambda text: text in ("ResourceLimitExceeded",) or "ork" in text or "limit" in text.lower()
    await measured(65, "a fork bomb", agent.sh("bomb() { bomb | bomb & }; bomb; sleep 3; echo alive", timeout=20),
                   lambda text: "alive" in text or "Resource" in text or "fork" in text, "line.sh")
    await measured(66, "a memory bomb", agent.run("python3", "-c", "x = []\nwhile True: x.append(bytearray(10 << 20))"),
                   lambda answer: kind(answer) == "ResourceLimitExceeded" or answer.get("exit_code") not in (0,))
    await measured(67, "a loop without an end", agent.run("sh", "-c", "while :; do :; done", timeout=2),
                   lambda answer: answer.get("state") == "timed_out" or kind(answer) == "ResourceLimitExceeded")
    await measured(69, "a child that wants to stay", agent.sh("(setsid sh -c 'trap \"\" TERM HUP; sleep 7712' &) ; echo left"),
                   lambda text: text == "left", "sleep 7712")
    await measured(70, "kill of everything", agent.sh("kill -9 -1; echo still"), lambda text: text in ("still", ""))
    await measured(71, "a flood", agent.run("sh", "-c", "yes | head -c 200000000"),
                   lambda answer: answer.get("exit_code") == 0 and len(answer["stdout_summary"]) < 2 << 20)
    started = time.monotonic()
    await measured(71, "output held open by a grandchild", agent.sh("sleep 7713 & echo done"),
                   lambda text: text == "done" and time.monotonic() - started < 20, "sleep 7713")
    await measured(72, "input that is not read", agent.run("sleep", "1", stdin="x" * (1 << 20)),
                   lambda answer: answer.get("exit_code") == 0)
    await measured(73, "an argument of 2 MB", agent.run("echo", "x" * (2 << 20)), lambda answer: kind(answer) == "InvalidInput")
    await measured(75, "100,000 descriptors", agent.payload("descriptors"), lambda text: text == "EMFILE")
    got = await agent.run("echo", "; touch pwned; $(touch pwned)")
    pwned = kind(await agent.call("filesystem.read", path="pwned"))
    report(108, "shell characters in arguments", pwned, pwned == "FileNotFound", got["stdout_summary"])
    mark = "7714"
    await agent.run("sleep", mark, background=True)
    kruxos("kill", AGENT, "--yes")
    left = await gone(f"sleep {mark}")
    kruxos("resume", AGENT)
    report(69, "a background program after kruxos kill", len(left), not left)


async def others(agent, other, secret):
    real = f"{DATA}/workspaces/{OTHER}/{secret}"
    got = kind(await agent.call("filesystem.read", path=real))
    twin = kind(await other.call("filesystem.read", path=secret))
    report(9, "another agent's file by its real path", got, got in ("PathOutOfScope", "PolicyDenied"), twin, twin == "done")
    hidden = f"{DATA}/w*/{OTHER}/*"
    got = await agent.sh(f"cat {hidden} 2>&1; ln {hidden} stolen 2>&1; echo end")
    report(9, "the same by a program, and a hard link", got, secret not in got.replace(OTHER, "") and "end" in got, twin, twin == "done")
    got = await agent.sh(f"ls {DATA}/ 2>&1; cat {DATA}/s*.db {DATA}/a*/* {DATA}/*.key 2>&1 | head -c 100; ls {DATA}/r*/ 2>&1")
    report(0, "the gateway's own data", got, "state.db" not in got and "control.sock" not in got and "SQLite" not in got)
    await other.run("python3", "-c", "import socket, time; s = socket.socket(1); s.bind('\\0bystander'); s.listen(); time.sleep(60)", background=True)
    for row, title, family, what in [
        (82, "an address of the world", "connect", "192.0.2.1:80"),
        (82, "the metadata address", "connect", "169.254.169.254:80"),
        (83, "IPv6", "connect", "2001:db8::1:80"),
        (84, "the gateway's own port", "connect", f"127.0.0.1:{URL.split(':')[2].split('/')[0]}"),
        (85, "another agent's abstract socket", "abstract", "bystander"),
        (86, "the control socket", "unix", f"{DATA}/run/control.sock"),
    ]:
        got = await agent.payload(family, what) if row != 86 else await agent.sh(f"ls {DATA}/r*/c*.sock 2>&1 | grep -c '^/'")
        twin = await agent.payload("loopback")
        report(row, title, got, got not in ("ok", "1"), twin, twin == "ok")


async def repositories(agent):
    await agent.call("git.init", path="repo")
    await agent.call("filesystem.write", path="repo/a.txt", content="a\n")
    traps = ["core.fsmonitor", "core.sshCommand", "core.pager", "diff.external", "gpg.program", "core.editor", "credential.helper", "filter.x.clean", "filter.x.smudge", "diff.x.textconv", "merge.x.driver", "core.hooksPath"]
    lines = "; ".join(f"git -C repo config {key} 'touch /workspace/trapped'" for key in traps)
    await agent.sh(f"{lines}; echo '* filter=x diff=x merge=x' > repo/.gitattributes; for h in pre-commit post-commit post-checkout reference-transaction; do printf '#!/bin/sh\\ntouch /workspace/trapped\\n' > repo/.git/hooks/$h; chmod +x repo/.git/hooks/$h; done")
    done = []
    for name, inputs in [("git.status", {}), ("git.diff", {}), ("git.commit", {"message": "m", "files": ["a.txt"]}), ("git.log", {}), ("git.branch", {"action": "create", "name": "b"}), ("git.diff", {})]:
        done.append(kind(await agent.call(name, path="repo", **inputs)))
    got = kind(await agent.call("filesystem.read", path="trapped"))
    report(101, "programs in a repository's configuration", got, got == "FileNotFound", " ".join(done), done == ["done"] * 6)
    # A host that policy allows and nobody resolves: the honest twin gets as far as git itself.
    answer = await agent.call("git.clone", url=f"https://{ALLOWED}/a.git", path="cloned")
    twin, reached = kind(answer), kind(answer) not in ("done", "InvalidInput", "PolicyDenied", "Internal")
    await agent.sh("printf '#!/bin/sh\\ntouch /workspace/trapped\\n' > trap.sh; chmod +x trap.sh")
    for row, url in [
        (102, "ext::/workspace/trap.sh"), (102, "ext::sh -c touch% /workspace/trapped"), (103, "--upload-pack=/workspace/trap.sh"),
        (105, "file:///workspace/repo"), (105, "/workspace/repo"), (107, "-oProxyCommand=/workspace/trap.sh"),
        (107, f"ssh://-oProxyCommand=/workspace/trap.sh@{ALLOWED}/a"), (107, f"https://{ALLOWED}@evil.example/a"),
    ]:
        got = kind(await agent.call("git.clone", url=url, path="cloned"))
        trapped = kind(await agent.call("filesystem.read", path="trapped"))
        report(row, f"git.clone {url}", got, got not in ("done", "Internal") and trapped == "FileNotFound", twin, reached)
    twin = kind(await agent.call("git.log", path="repo", branch="HEAD"))
    for field, value in [("branch", "--output=/workspace/trapped"), ("branch", "-O/etc/passwd"), ("author", "--output=/workspace/trapped"), ("since", "--output=/workspace/trapped")]:
        got = await agent.call("git.log", path="repo", **{field: value})
        trapped = kind(await agent.call("filesystem.read", path="trapped"))
        reaches = "no such field" not in json.dumps(got)
        report(107, f"git.log {field}={value}", kind(got), trapped == "FileNotFound" and reaches and "root:" not in json.dumps(got), twin, twin == "done")
    await agent.sh("git -C repo config include.path /etc/passwd")
    got = json.dumps(await agent.call("git.status", path="repo"))
    report(106, "include.path of a host's file", got, "root:" not in got)


async def race(agent):
    """Row 5: a program swaps a directory and a link to /etc while the client uses the path."""
    started = await agent.run("python3", "payloads.py", "swap", str(RACE_ROUNDS), background=True, timeout=120)
    calls = escapes = 0
    state = "running"
    while state == "running":
        for name, inputs in [
            ("filesystem.read", {"path": "race/inside/passwd"}), ("filesystem.list", {"path": "race/inside"}),
            ("filesystem.write", {"path": "race/inside/written", "content": "x"}), ("filesystem.stat", {"path": "race/inside/hosts"}),
        ]:
            answer = await agent.call(name, **inputs)
            calls += 1
            text = json.dumps(answer)
            escapes += "root:" in text or '"passwd"' in text and kind(answer) == "done"
        state = (await agent.call("process.monitor", process_id=started["process_id"])).get("state")
    report(5, f"a path swapped {RACE_ROUNDS} times", f"{calls} calls, {escapes} escapes, {state}", escapes == 0 and calls > 20 and state == "exited")


def token_of(name):
    made = kruxos("agent", "create", name, "--policy-group", "personal-permissive")
    return made["token"], made["workspace"]


def permit(name):
    directory = f"{DATA}/policies/agents"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/{name}.yaml", "w") as file:
        file.write('capabilities: {"*": {tier: autonomous}}\n')
        if name == AGENT:
            file.write(f"network: {{allow: [{ALLOWED}]}}\n")
    for _ in range(200):
        decision = kruxos("config", "check-policy", "--agent", name, "--capability", "process.run", "--input", "command=true")
        if decision.get("tier") == "autonomous":
            return
        time.sleep(0.05)
    raise SystemExit(f"FAILED: the policy is not in force: {decision}")


def connected(token):
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60)
    return Client(streamable_http_client(URL, http_client=http))


async def main():
    (token, workspace), (other_token, _) = token_of(AGENT), token_of(OTHER)
    permit(AGENT)
    permit(OTHER)
    with open(os.path.join(os.path.dirname(__file__), "payloads.py")) as file:
        payloads = file.read()
    async with connected(token) as first, connected(other_token) as second:
        agent, other = Agent(first, AGENT), Agent(second, OTHER)
        await agent.call("filesystem.write", path="payloads.py", content=payloads)
        await other.call("filesystem.write", path="mine.txt", content="mine\n")
        await paths(agent)
        await files(agent)
        await kernel(agent)
        await others(agent, other, "mine.txt")
        await repositories(agent)
        await race(agent)
        await resources(agent, other)
    verified = kruxos("audit", "verify")
    report(0, "the audit log after all that", f"{verified.get('entries')} entries", verified.get("ok") is True)
    print("not here yet: 26-28 archives, HTTP bodies; 87-100 the whole egress client; 109-110 the vault")
    print(f"{count} attacks, {len(failures)} failed")
    for failure in failures:
        print(f"  {failure}")
    raise SystemExit(1 if failures else 0)


asyncio.run(main())
