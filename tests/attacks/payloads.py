"""Runs inside a box: one hostile system call, or its honest twin. Prints `ok`, or the errno's name."""

import ctypes
import errno
import os
import platform
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
POINTER = ctypes.create_string_buffer(4096)
FILE = b"/workspace/payload-file"

# Numbers of x86_64; the filter's own tests cover other architectures.
CALLS = {
    "mount": (165, b"none", b"/workspace", b"tmpfs", 0, 0),
    "umount2": (166, b"/tmp", 2),
    "pivot_root": (155, b"/workspace", b"/workspace"),
    "chroot": (161, b"/workspace"),
    "fsopen": (430, b"tmpfs", 0),
    "open_tree": (428, -100, b"/", 1),
    "move_mount": (429, -100, b"/tmp", -100, b"/workspace", 0),
    "mount_setattr": (442, -100, b"/", 0, POINTER, 32),
    "statmount": (457, POINTER, POINTER, 512, 0),
    "unshare a user namespace": (272, 0x10000000),
    "unshare a mount namespace": (272, 0x00020000),
    "setns": (308, 0, 0),
    "clone3": (435, POINTER, 88),
    "io_uring_setup": (425, 8, POINTER),
    "userfaultfd": (323, 1),
    "bpf": (321, 0, POINTER, 48),
    "perf_event_open": (298, POINTER, 0, -1, -1, 0),
    "add_key": (248, b"user", b"a", b"b", 1, -3),
    "request_key": (249, b"user", b"a", 0, 0),
    "keyctl": (250, 0, -3, 0, 0, 0),
    "ptrace": (101, 16, 1, 0, 0),
    "process_vm_readv": (310, 1, POINTER, 1, POINTER, 1, 0),
    "pidfd_getfd": (438, 3, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0),
    "init_module": (175, POINTER, 0, b""),
    "finit_module": (313, 0, b"", 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "reboot": (169, 0xFEE1DEAD, 672274793, 0, 0),
    "swapon": (167, FILE, 0),
    "acct": (163, FILE),
    "quotactl": (179, 0, 0, 0, 0),
    "personality without address randomisation": (135, 0x0040000),
    "personality with executable reads": (135, 0x0400000),
    "modify_ldt": (154, 1, POINTER, 16),
    "seccomp with a listener": (317, 1, 8, POINTER),
    "vmsplice": (278, 1, POINTER, 1, 0),
    "clock_settime": (227, 0, POINTER),
    "adjtimex": (159, POINTER),
    "sethostname": (170, b"x", 1),
    "setuid 0": (105, 0),
    "setgroups": (116, 1, POINTER),
    "open_by_handle_at": (304, -100, POINTER, 0),
    "fanotify_init": (300, 0, 0),
    "mknod of a device": (133, b"/workspace/device", 0o020666, 0x0103),
    "chmod u+s": (90, FILE, 0o4755),
    "fchmodat g+s": (268, -100, FILE, 0o2755),
    "open with setuid": (2, b"/workspace/setuid", os.O_CREAT | os.O_WRONLY, 0o4755),
    "mkdir with setgid": (83, b"/workspace/setgid", 0o2755),
    "ioctl TIOCSTI": (16, 0, 0x5412, b"x"),
    "ioctl TIOCSTI with high bits": (16, 0, 0x1_0000_5412, b"x"),
    "ioctl TIOCLINUX": (16, 0, 0x541C, b"\x03"),
    "sched_setscheduler FIFO": (144, 0, 1, (1).to_bytes(4, "little")),
    "setpriority -20": (141, 0, 0, -20),
}

SOCKETS = {
    "AF_NETLINK": (16, 3, 0),
    "AF_PACKET": (17, 3, 0),
    "AF_VSOCK": (40, 1, 0),
    "AF_ALG": (38, 5, 0),
    "AF_XDP": (44, 3, 0),
    "AF_BLUETOOTH": (31, 3, 0),
    "AF_INET raw": (2, 3, 1),
    "MPTCP": (2, 1, 262),
    "SCTP": (2, 1, 132),
    "UDPLITE": (2, 2, 136),
    "AF_PACKET with high bits": (0x1_0000_0011, 3, 0),
}


def raw(number, *arguments):
    ctypes.set_errno(0)
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer = libc.syscall(ctypes.c_long(number), *wide)
    return "ok" if answer >= 0 else errno.errorcode[ctypes.get_errno()]


def in_child(work):
    child = os.fork()
    if child == 0:
        os._exit(0 if work() == "ok" else 1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return "ok" if os.WEXITSTATUS(status) == 0 else "refused"


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(5)
        try:
            one.connect(address)
        except OSError as error:
            return errno.errorcode.get(error.errno, "timeout")
    return "ok"


def fill(directory, bytes_each, count):
    made = 0
    try:
        for made in range(count):
            with open(f"{directory}/fill-{made}", "wb") as file:
                file.write(b"x" * bytes_each)
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        for name in range(made + 1):
            try:
                os.unlink(f"{directory}/fill-{name}")
            except OSError:
                pass
    return "ok"


def limit(work):
    try:
        work()
    except (OSError, ValueError) as error:
        return errno.errorcode.get(getattr(error, "errno", None), "refused")
    return "ok"


def loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return connect(socket.AF_INET, server.getsockname())


def inotify():
    for _ in range(100_000):
        answer = raw(294, 0)
        if answer != "ok":
            return answer
    return "ok"


def descriptors():
    held = []
    try:
        while len(held) < 100_000:
            held.append(os.dup(0))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"


def memfd_exec():
    fd = os.memfd_create("x")
    with open("/bin/true", "rb") as program:
        os.write(fd, program.read())
    return in_child(lambda: limit(lambda: os.execve(fd, ["x"], {})))


def swap(rounds):
    """Swaps a directory and a link that leads out, as fast as it can."""
    os.makedirs("/workspace/race/inside", exist_ok=True)
    with open("/workspace/race/inside/file", "w") as file:
        file.write("inside")
    if not os.path.islink("/workspace/race/out"):
        os.symlink("/etc", "/workspace/race/out")
    here, there = b"/workspace/race/inside", b"/workspace/race/out"
    for _ in range(rounds):
        libc.renameat2(-100, here, -100, there, 2)
    return f"ok {rounds}"


def unnamed(where):
    """Gives a file without a name one in the directory `where`."""
    file = os.open("/workspace", os.O_TMPFILE | os.O_RDWR)
    os.write(file, b"x")
    ctypes.set_errno(0)
    there = f"{where}/unnamed-{os.getpid()}".encode()
    # AT_SYMLINK_FOLLOW, as open(2) says of O_TMPFILE.
    answer = libc.linkat(-100, f"/proc/self/fd/{file}".encode(), -100, there, 0x400)
    return "ok" if answer == 0 else errno.errorcode[ctypes.get_errno()]


def attempt(kind, what):
    match kind:
        case "unnamed":
            return unnamed(what)
        case "rename":
            return limit(lambda: os.rename(FILE, what))
        case "call":
            open(FILE, "w").close()
            return raw(*CALLS[what])
        case "socket":
            return raw(41, *SOCKETS[what])
        case "x32":
            return in_child(lambda: raw(0x40000000 | 39))
        case "connect":
            host, port = what.rsplit(":", 1)
            return connect(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, int(port)))
        case "abstract":
            return connect(socket.AF_UNIX, "\0" + what)
        case "unix":
            return connect(socket.AF_UNIX, what)
        case "loopback":
            return loopback()
        case "bytes":
            return fill("/tmp", 1 << 20, int(what))
        case "inodes":
            return fill("/tmp", 0, int(what))
        case "inotify":
            return inotify()
        case "descriptors":
            return descriptors()
        case "memfd":
            return memfd_exec()
        case "xattr":
            return limit(lambda: os.setxattr(FILE, "security.capability", b"\1\0\0\2" + b"\xff" * 16))
        case "big":
            return limit(lambda: os.truncate(FILE, int(what)))
        case "swap":
            return swap(int(what))
    raise SystemExit(f"no payload {kind}")


if __name__ == "__main__":
    if platform.machine() != "x86_64" and sys.argv[1] in ("call", "socket", "x32", "inotify"):
        print("other architecture")
    else:
        open(FILE, "a").close()
        print(attempt(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
