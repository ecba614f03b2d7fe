//! What an honest agent does works: shells, interpreters, compilers, git, local servers.

use crate::bed::{Bed, Mode, modes, run, shell};
use kruxos_sandbox::client::Outcome;
use std::path::Path;

/// Runs a line in a fresh box; what it printed.
async fn prints(mode: Mode, line: &str) -> String {
    let bed = Bed::new(mode);
    let agent = bed.agent("honest");
    let done = run(&agent, shell(line)).await;
    let all = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(
        done.ended.outcome,
        Outcome::Exited(0),
        "{mode:?}: {line}: {all}"
    );
    done.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_and_the_usual_tools() {
    for mode in modes() {
        let line = r#"set -e
            mkdir -p a/b && cp /etc/passwd a/p && mv a/p a/b/p && ln -s b/p a/l && ln a/b/p a/h
            chmod 700 a && touch -d 2020-01-01 a/b/p && rm a/h && find . -name p | sort
            tar czf t.tgz a && tar tzf t.tgz | wc -l
            seq 1 100 | sort -rn | head -1
            echo text > /tmp/file && cat /tmp/file && df /tmp > /dev/null
            head -c 8 /dev/urandom | wc -c && cat < /dev/null && echo gone > /dev/null
            echo to-stdout > /dev/stdout; echo to-stderr > /dev/stderr
            whoami; hostname; date > /dev/null; ls / | tr '\n' ' '; test -z "$(ls /mnt)"
            bash -c 'diff <(echo 1) <(echo 1) && [[ -e /proc/self/fd ]] && echo bash; ulimit -c'"#;
        let printed = prints(mode, line).await;
        let expected = "./a/b/p\n4\n100\ntext\n8\nto-stdout\nagent\nhonest\n";
        assert!(printed.starts_with(expected), "{printed}");
        assert!(printed.ends_with("bash\n0\n"), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_with_threads_processes_and_local_sockets() {
    if !Path::new("/usr/bin/python3").exists() {
        return;
    }
    let line = r#"/usr/bin/python3 - <<'END'
import os, socket, subprocess, sys, tempfile, threading, multiprocessing
seen = []
threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname()); peer, _ = server.accept()
client.sendall(b"ping")
with multiprocessing.get_context("fork").Pool(2) as pool: doubled = pool.map(abs, [-1, -2])
with tempfile.NamedTemporaryFile() as f: f.write(b"x"); f.flush(); size = os.stat(f.name).st_size
a, b = socket.socketpair(); a.send(b"pair")
print(len(seen), peer.recv(4), doubled, size, b.recv(4), subprocess.check_output(["echo", "sub"]), os.getuid(), len(os.urandom(8)))
END"#;
    for mode in modes() {
        let printed = prints(mode, line).await;
        assert_eq!(printed, "8 b'ping' [1, 2] 1 b'pair' b'sub\\n' 1000 8\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn git_and_a_compiler() {
    let line = r#"set -e
        git init -q -b main . && git config user.email a@b && git config user.name a
        echo one > file && git add file && git commit -q -m first && git log --oneline | wc -l
        git clone -q . copy && git -C copy status --short | wc -l && git diff --stat && git gc -q
        if command -v cc > /dev/null; then
            printf '#include <stdio.h>\nint main(void){puts("hello");return 0;}' > h.c
            cc -O1 -o h h.c && ./h
        else echo hello; fi"#;
    for mode in modes() {
        assert_eq!(prints(mode, line).await, "1\n0\nhello\n");
    }
}
