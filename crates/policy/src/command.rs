//! Commands of mass destruction, found in what `process.run` is asked to run.
//!
//! A reading of shell text good enough for the common spellings: quotes, chained commands, wrappers
//! such as `sudo` and `env`, `sh -c` strings. It is one net among others: the sandbox is what keeps
//! a determined program from the machine.

use crate::facts::{NormalPath, is_below};
use smallvec::SmallVec;

/// `sh -c 'sh -c …'` deeper than this is nobody's honest command.
const MAX_NESTING: usize = 4;
/// Bytes of shell text that are looked at; longer text is treated as destructive if it is not read.
const MAX_SCRIPT: usize = 1 << 20;

type Word = SmallVec<[u8; 64]>;
type Words = SmallVec<[Word; 8]>;

/// What one run is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) workspace: &'a str,
    pub(crate) directory: Option<&'a str>,
}

impl Run<'_> {
    /// Whether `command` with `args` destroys whole directories, devices or the process table.
    pub(crate) fn destroys<'b>(
        &self,
        command: &str,
        args: impl Iterator<Item = &'b str>,
        stdin: Option<&str>,
    ) -> bool {
        // One plain word that names no program of interest is the usual case, and quickly told.
        if is_plain(command) && !is_interesting(base_name(command.as_bytes())) {
            return false;
        }
        let args: SmallVec<[&str; 8]> = args.collect();
        // The command may be a whole line; its words then come before the arguments.
        let mut parts = Script::split(command);
        let Some(mut last) = parts.pop() else {
            return false;
        };
        for arg in &args {
            last.push(Word::from_slice(arg.as_bytes()));
        }
        let feeds_shell = last.first().is_some_and(|head| is_shell(base_name(head)));
        is_fork_bomb(command)
            || parts.iter().any(|words| self.is_destructive(words, 0))
            || self.is_destructive(&last, 0)
            || (feeds_shell && stdin.is_some_and(|script| self.script_destroys(script, 1)))
    }

    fn script_destroys(&self, script: &str, nesting: usize) -> bool {
        nesting > MAX_NESTING
            || script.len() > MAX_SCRIPT
            || is_fork_bomb(script)
            || Script::split(script)
                .iter()
                .any(|words| self.is_destructive(words, nesting))
    }

    fn is_destructive(&self, words: &[Word], nesting: usize) -> bool {
        if words
            .iter()
            .zip(words.iter().skip(1))
            .any(|(mark, target)| mark.as_slice() == REDIRECT && is_device(target))
        {
            return true;
        }
        let words = without_wrappers(words);
        let Some((head, args)) = words.split_first() else {
            return false;
        };
        let name = base_name(head);
        let flag = |short: u8, long: &[u8]| {
            args.iter().any(|arg| match arg.strip_prefix(b"--") {
                Some(rest) => rest == long,
                None => arg
                    .strip_prefix(b"-")
                    .is_some_and(|flags| flags.contains(&short)),
            })
        };
        let recursive = flag(b'r', b"recursive") || flag(b'R', b"recursive");
        let hits_root = || {
            args.iter()
                .any(|arg| !arg.starts_with(b"-") && self.is_root_level(arg))
        };
        let hits_device = || args.iter().any(is_device);
        match name {
            b"rm" => {
                args.iter()
                    .any(|arg| arg.as_slice() == b"--no-preserve-root")
                    || (recursive && hits_root())
            }
            b"chmod" | b"chown" | b"chgrp" => recursive && hits_root(),
            b"find" => {
                let deletes = args
                    .iter()
                    .any(|arg| matches!(base_name(arg), b"-delete" | b"rm" | b"shred"));
                deletes
                    && args
                        .iter()
                        .take_while(|arg| !arg.starts_with(b"-"))
                        .any(|arg| self.is_root_level(arg))
            }
            b"dd" => args
                .iter()
                .filter_map(|arg| arg.strip_prefix(b"of="))
                .any(is_device),
            b"tee" | b"cp" | b"mv" | b"shred" | b"wipefs" | b"blkdiscard" | b"mkswap"
            | b"mke2fs" | b"fdisk" | b"sfdisk" | b"sgdisk" | b"parted" => hits_device(),
            b"eval" => {
                let mut script = Word::new();
                for arg in args {
                    script.extend_from_slice(arg);
                    script.push(b' ');
                }
                std::str::from_utf8(&script)
                    .is_ok_and(|script| self.script_destroys(script, nesting + 1))
            }
            _ if name.starts_with(b"mkfs") => hits_device(),
            _ if is_shell(name) => self.shell_destroys(args, nesting),
            _ => false,
        }
    }

    /// The scripts in the arguments of a shell: what follows `-c`.
    fn shell_destroys(&self, args: &[Word], nesting: usize) -> bool {
        let is_c = |arg: &Word| {
            arg.len() > 1 && arg.starts_with(b"-") && !arg.starts_with(b"--") && arg.contains(&b'c')
        };
        let Some(position) = args.iter().position(is_c) else {
            return false;
        };
        let rest = args
            .iter()
            .skip(position + 1)
            .filter(|arg| !arg.starts_with(b"-"));
        rest.take(1)
            .filter_map(|script| std::str::from_utf8(script).ok())
            .any(|script| self.script_destroys(script, nesting + 1))
    }

    /// The root, a directory right below it, everything in either, or a home directory; the
    /// contents of the workspace and of `/tmp` are the caller's own.
    fn is_root_level(&self, word: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(word) else {
            return false;
        };
        let home = ["~", "$HOME", "${HOME}"]
            .into_iter()
            .find_map(|home| text.strip_prefix(home));
        if let Some(rest) = home {
            return matches!(rest, "" | "/" | "/*" | "/.*");
        }
        // An unset variable is nothing: `rm -rf /$dir` empties the root.
        let text = match text.split_once('$') {
            Some((before, _)) if before.starts_with('/') => before,
            Some(_) => return false,
            None => text,
        };
        let (text, contents) = match text.rsplit_once('/') {
            Some((parent, last)) if last.contains(['*', '?', '[']) => {
                (if parent.is_empty() { "/" } else { parent }, true)
            }
            _ => (text, false),
        };
        let base = self
            .directory
            .map(|directory| NormalPath::new(self.workspace, directory, true));
        let base = base
            .as_ref()
            .and_then(|path| std::str::from_utf8(path.absolute()).ok());
        let path = match text.starts_with('/') {
            true => NormalPath::new("/workspace", text, true),
            false => NormalPath::new(base.unwrap_or(self.workspace), text, true),
        };
        let path = path.absolute();
        let depth = path.iter().filter(|byte| **byte == b'/').count();
        let own = [self.workspace.as_bytes(), b"/workspace", b"/tmp"]
            .into_iter()
            .any(|own| {
                !own.is_empty() && is_below(path, own) && (contents || path.len() > own.len())
            });
        depth <= 1 && !own
    }
}

/// The mark that stands for `>`, `>>` and `>|`; no word of a script can contain a NUL byte.
const REDIRECT: &[u8] = b"\0>";

/// Splits shell text into commands and words.
struct Script {
    commands: SmallVec<[Words; 4]>,
    words: Words,
    word: Word,
    /// A quoted empty string is a word too.
    begun: bool,
}

impl Script {
    fn split(text: &str) -> SmallVec<[Words; 4]> {
        let mut script = Script {
            commands: SmallVec::new(),
            words: Words::new(),
            word: Word::new(),
            begun: false,
        };
        let mut bytes = text.bytes().filter(|byte| *byte != 0).peekable();
        let mut double = false;
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => {
                    // A backslash before a newline joins the lines.
                    if let Some(next) = bytes.next().filter(|next| *next != b'\n') {
                        script.push(next);
                    }
                }
                b'"' => {
                    double = !double;
                    script.begun = true;
                }
                b'\'' if !double => {
                    script.begun = true;
                    bytes
                        .by_ref()
                        .take_while(|byte| *byte != b'\'')
                        .for_each(|byte| script.push(byte));
                }
                b'`' => script.end_command(),
                b'$' if bytes.peek() == Some(&b'(') => {
                    bytes.next();
                    script.end_command();
                }
                _ if double => script.push(byte),
                b' ' | b'\t' | b'\r' => script.end_word(),
                b'\n' | b';' | b'|' | b'&' | b'(' | b')' => script.end_command(),
                b'>' => {
                    while bytes
                        .next_if(|next| matches!(next, b'>' | b'|' | b'&'))
                        .is_some()
                    {}
                    script.end_word();
                    script.words.push(Word::from_slice(REDIRECT));
                }
                _ => script.push(byte),
            }
        }
        script.end_command();
        if script.commands.is_empty() {
            script.commands.push(Words::new());
        }
        script.commands
    }

    fn push(&mut self, byte: u8) {
        self.begun = true;
        self.word.push(byte);
    }

    fn end_word(&mut self) {
        if self.begun {
            self.words.push(std::mem::take(&mut self.word));
            self.begun = false;
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}

/// Programs that run the command in their arguments.
const WRAPPERS: [&[u8]; 19] = [
    b"sudo", b"doas", b"env", b"nohup", b"exec", b"command", b"builtin", b"time", b"nice",
    b"ionice", b"busybox", b"toybox", b"xargs", b"timeout", b"setsid", b"stdbuf", b"chroot",
    b"then", b"do",
];

/// The words from the program that does the work: without assignments, wrappers, their flags and
/// plain numbers.
fn without_wrappers(words: &[Word]) -> &[Word] {
    let mut rest = words;
    let mut wrapped = false;
    while let Some((head, tail)) = rest.split_first() {
        let assigns = head
            .iter()
            .position(|byte| *byte == b'=')
            .is_some_and(|equals| {
                let name = head.get(..equals).unwrap_or_default();
                !name.is_empty()
                    && name
                        .iter()
                        .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            });
        let opens = matches!(
            head.as_slice(),
            b"{" | b"!" | b"if" | b"while" | b"until" | b"else" | b"elif"
        );
        let is_wrapper = WRAPPERS.contains(&base_name(head));
        let belongs_to_wrapper =
            wrapped && (head.starts_with(b"-") || head.first().is_some_and(u8::is_ascii_digit));
        if !(assigns || opens || is_wrapper || belongs_to_wrapper) {
            break;
        }
        wrapped |= is_wrapper;
        rest = tail;
    }
    rest
}

/// Whether shell text is a single word without quotes or operators.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte))
}

/// Programs that destroy, and those that run others.
fn is_interesting(name: &[u8]) -> bool {
    const DESTROYERS: [&[u8]; 18] = [
        b"rm",
        b"chmod",
        b"chown",
        b"chgrp",
        b"find",
        b"dd",
        b"eval",
        b"tee",
        b"cp",
        b"mv",
        b"shred",
        b"wipefs",
        b"blkdiscard",
        b"mkswap",
        b"mke2fs",
        b"fdisk",
        b"sfdisk",
        b"sgdisk",
    ];
    DESTROYERS.contains(&name)
        || name == b"parted"
        || name.starts_with(b"mkfs")
        || is_shell(name)
        || WRAPPERS.contains(&name)
}

fn base_name(word: &[u8]) -> &[u8] {
    word.rsplit(|byte| *byte == b'/').next().unwrap_or(word)
}

fn is_shell(name: &[u8]) -> bool {
    matches!(
        name,
        b"sh" | b"bash" | b"dash" | b"zsh" | b"ksh" | b"ash" | b"fish" | b"mksh"
    )
}

/// A path in `/dev` that is not one of the harmless ones.
fn is_device(word: impl AsRef<[u8]>) -> bool {
    const HARMLESS: [&[u8]; 11] = [
        b"null", b"zero", b"full", b"stdin", b"stdout", b"stderr", b"tty", b"random", b"urandom",
        b"fd", b"shm",
    ];
    let Ok(text) = std::str::from_utf8(word.as_ref()) else {
        return false;
    };
    if !text.starts_with('/') {
        return false;
    }
    let path = NormalPath::new("/workspace", text, true);
    let below = path.absolute().strip_prefix(b"/dev/");
    let first = below.and_then(|rest| rest.split(|byte| *byte == b'/').next());
    first.is_some_and(|name| !HARMLESS.contains(&name))
}

/// `name(){ name|name& };name` in any spacing, and loops of other languages that only fork.
fn is_fork_bomb(script: &str) -> bool {
    if script.len() > MAX_SCRIPT {
        return true;
    }
    let tight: SmallVec<[u8; 256]> = script
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let has = |needle: &[u8]| tight.windows(needle.len()).any(|window| window == needle);
    if [
        &b"$0|$0"[..],
        b"$0&$0",
        b"forkwhilefork",
        b"os.fork()whileTrue",
        b"whileTrue:os.fork()",
        b"while1:os.fork()",
    ]
    .into_iter()
    .any(has)
    {
        return true;
    }
    let opens = b"(){";
    tight
        .windows(opens.len())
        .enumerate()
        .filter(|(_, window)| window == opens)
        .any(|(at, _)| {
            let before = tight.get(..at).unwrap_or_default();
            let part_of_name = |byte: &u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.' | b'-')
            };
            let start = before
                .iter()
                .rposition(|byte| !part_of_name(byte))
                .map_or(0, |end| end + 1);
            let name = before.get(start..).unwrap_or_default();
            let body = tight.get(at + opens.len()..).unwrap_or_default();
            let body = body.split(|byte| *byte == b'}').next().unwrap_or_default();
            // `function` is glued to its name once spaces are gone.
            let name = name
                .strip_prefix(b"function")
                .filter(|rest| !rest.is_empty())
                .unwrap_or(name);
            !name.is_empty()
                && [b'|', b'&'].into_iter().any(|join| {
                    let mut twice: SmallVec<[u8; 32]> = SmallVec::from_slice(name);
                    twice.push(join);
                    twice.extend_from_slice(name);
                    body.windows(twice.len())
                        .any(|window| window == twice.as_slice())
                })
        })
}
