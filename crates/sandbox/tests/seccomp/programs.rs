//! The programs that agents use, under both stages. One that is not installed is named and left out.

use kruxos_sandbox::seccomp::{Profile, stage1, stage2_over_stage1};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const JOBS: &[(&str, &str)] = &[
    (
        "bash",
        r#"set -euo pipefail; n=$(seq 1 100 | sort -rn | head -1); [ "$n" = 100 ]
           sleep 0 & wait $!; (trap 'exit 0' TERM; kill -TERM $BASHPID); cat <<<x >f; rm f
           read -r x < <(echo y); [ $x = y ]; [ "$(ulimit -n)" -gt 0 ]"#,
    ),
    (
        "cp",
        r"mkdir -p d/e; seq 1 50000 >d/e/x; cp -a d d2; mv d2 d3; ln -s x d3/e/y; ls -la d3/e
          touch -d 2001-01-01 d3/e/x; chmod 640 d3/e/x; stat d3/e/x; df . ; du -s d3; tail -n1 d3/e/x
          find d3 -type f -exec sha256sum {} +; dd if=d3/e/x of=z bs=4k; truncate -s 1M z; sync z
          tar cf d.tar d; mkfifo p; (echo 1 >p &) ; cat p; timeout 5 true; nice -n 5 true; rm -rf d d3; id",
    ),
    (
        "python3",
        r#"python3 - <<'EOF'
import asyncio, ctypes, json, multiprocessing, os, socket, sqlite3, ssl, subprocess, tempfile, threading
assert subprocess.run(["echo", "x"], capture_output=True, text=True).stdout == "x\n"
with multiprocessing.get_context("fork").Pool(2) as pool: assert pool.map(abs, [-1, 2]) == [1, 2]
threads = [threading.Thread(target=lambda: None) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); c.sendall(b"x")
assert s.accept()[0].recv(1) == b"x"
db = sqlite3.connect("t.db"); db.execute("create table a(b)"); db.commit()
async def main():
    p = await asyncio.create_subprocess_exec("true"); assert await p.wait() == 0
asyncio.run(main())
socket.getaddrinfo("127.0.0.1", 80)
with tempfile.TemporaryFile() as f: f.write(b"x")
EOF"#,
    ),
    (
        "git",
        r#"export HOME=$PWD; git init -q r; cd r; git config user.email a@b; git config user.name a
           for i in 1 2 3; do echo $i >f$i; git add .; git commit -qm $i; done
           git checkout -qb x; git gc -q; git clone -q . ../r2; git -C ../r2 fetch -q; git status; git log"#,
    ),
    (
        "node",
        r#"node -e '
const {execSync, spawn} = require("child_process"), {Worker} = require("worker_threads"), fs = require("fs");
if (execSync("echo x").toString() !== "x\n") process.exit(2);
fs.writeFileSync("n", "x"); fs.watch("n").close(); require("os").cpus();
require("net").createServer().listen(0, "127.0.0.1", function () { this.close(); });
new Worker("require(`fs`).readFileSync(`n`)", {eval: true}).on("exit", code => { if (code) process.exit(3) });
spawn("true").on("exit", code => { if (code !== 0) process.exit(4) });
new WebAssembly.Module(new Uint8Array([0,97,115,109,1,0,0,0]));
'"#,
    ),
    (
        "npm",
        "export HOME=$PWD NPM_CONFIG_OFFLINE=1 NPM_CONFIG_UPDATE_NOTIFIER=0; mkdir p; cd p; npm init -y; npm ls; npm pack",
    ),
    (
        "gcc",
        r"printf '#include <stdio.h>\nint main(void){puts(\x22x\x22);return 0;}' >a.c; gcc -O2 -pipe a.c -o a
          [ $(./a) = x ]; gcc -static a.c -o b; [ $(./b) = x ]",
    ),
    (
        "rustc",
        "echo 'fn main() { std::thread::spawn(|| println!(\"x\")).join().unwrap() }' >a.rs; rustc a.rs; [ $(./a) = x ]",
    ),
    (
        "cargo",
        "cargo new --vcs none c; cd c; CARGO_TARGET_DIR=t cargo build --offline",
    ),
    (
        "pip",
        "export HOME=$PWD; python3 -m venv --without-pip v; v/bin/python -c pass; pip --version; pip list",
    ),
    ("make", "printf 'a:\n\t@echo x\n' >Makefile; make -j2"),
    ("perl", "perl -e 'print `echo x`; fork; wait'"),
];

pub(crate) fn run() {
    // Made before any fork.
    let (first, second) = (stage1(), stage2_over_stage1(Profile::Default));
    for (program, script) in JOBS {
        if !is_installed(program) {
            print!("[{program}: skipped, not installed] ");
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("bash");
        command.args(["-ec", script]).current_dir(folder.path());
        let install = move || {
            crate::child::no_new_privs();
            first.install()?;
            second.install()
        };
        // SAFETY: between fork and exec only system calls are made; the filters exist already.
        unsafe { command.pre_exec(install) };
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{program}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        print!("[{program}] ");
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).exists())
}
