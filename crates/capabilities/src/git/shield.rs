//! Settings that stand over those of a repository, so that none of it runs a program, asks for a
//! password, weakens a connection or changes how answers look. What has a fixed name is in
//! [`SETTINGS`]; names that a repository makes up itself are masked one by one by [`masks`].
//!
//! The repository's settings can change between the look at them and the call. The box has the last
//! word then: what runs has no more rights than the agent's own programs.

use super::command::Setting;

/// Bytes of a repository's settings that are looked at: real ones have a few thousand.
pub(super) const MAX_LISTING: usize = 1 << 20;
/// Settings masked in one repository: each costs two variables of the environment.
pub(super) const MAX_MASKS: usize = 256;

/// What every command of git is told.
pub(super) const SETTINGS: [(&str, &str); 47] = [
    // Nothing of the repository's choice runs.
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.sshCommand", "false"),
    ("core.askPass", ""),
    ("core.editor", "false"),
    ("core.pager", "cat"),
    ("core.alternateRefsCommand", "true"),
    ("credential.helper", ""),
    ("credential.interactive", "false"),
    ("gpg.program", "false"),
    ("gpg.openpgp.program", "false"),
    ("gpg.x509.program", "false"),
    ("gpg.ssh.program", "false"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("push.gpgSign", "false"),
    ("log.showSignature", "false"),
    ("merge.verifySignatures", "false"),
    ("protocol.ext.allow", "never"),
    // A directory that looks like a repository inside another one is none.
    ("safe.bareRepository", "explicit"),
    // The box decides which files are the agent's; owners of mounts are others.
    ("safe.directory", "*"),
    // Submodules have settings of their own, which are not looked at: they are left alone.
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("diff.ignoreSubmodules", "dirty"),
    ("status.submoduleSummary", "false"),
    // Nothing goes on in the background.
    ("gc.auto", "0"),
    ("gc.autoDetach", "false"),
    ("maintenance.auto", "false"),
    // Connections.
    ("http.sslVerify", "true"),
    ("http.followRedirects", "initial"),
    ("http.cookieFile", ""),
    ("http.saveCookies", "false"),
    ("http.extraHeader", ""),
    ("http.curloptResolve", ""),
    ("http.delegation", "none"),
    ("transfer.bundleURI", "false"),
    ("push.pushOption", ""),
    // Effects and answers are the same in every repository.
    ("core.quotePath", "false"),
    ("diff.suppressBlankEmpty", "false"),
    ("i18n.commitEncoding", "UTF-8"),
    ("i18n.logOutputEncoding", "UTF-8"),
    ("rerere.enabled", "false"),
    ("merge.autoStash", "false"),
    ("merge.renormalize", "false"),
    ("checkout.workers", "1"),
    ("fetch.bundleURI", ""),
];

/// Why the settings of a repository cannot be masked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unmasked {
    #[error("the repository's configuration sets too much")]
    TooMany,
    #[error("the repository's configuration has a name that is not UTF-8")]
    NotUtf8,
}

/// Masks for what a repository sets under names of its own. `listing` is what `git config --list
/// --name-only -z` prints: names that end in NUL, first and last part in lower case.
pub(super) fn masks(listing: &[u8], proxy: &str) -> Result<Vec<Setting>, Unmasked> {
    let mut masks: Vec<Setting> = Vec::new();
    let names = listing.split(|&byte| byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        let Some((section, variable)) = ends(name) else {
            continue;
        };
        let harmless = |(key, _): &(&str, &str)| !key.is_empty();
        let values = mask(section, variable, proxy);
        for (key, value) in values.into_iter().filter(harmless) {
            let name = std::str::from_utf8(name).map_err(|_| Unmasked::NotUtf8)?;
            let before = name.len() - variable.len();
            let name = format!("{}{key}", name.get(..before).unwrap_or_default());
            if !masks.iter().any(|(known, _)| *known == name) {
                masks.push((name, value.to_owned()));
            }
        }
        if masks.len() > MAX_MASKS {
            return Err(Unmasked::TooMany);
        }
    }
    Ok(masks)
}

/// First and last part of `section.what.ever.variable`; `None` without a part between them.
fn ends(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = name.iter().position(|&byte| byte == b'.')?;
    let last = name.iter().rposition(|&byte| byte == b'.')?;
    (first < last).then_some((name.get(..first)?, name.get(last + 1..)?))
}

/// The variables to set instead, in the same subsection; an empty name stands for none.
fn mask<'p>(section: &[u8], variable: &[u8], proxy: &'p str) -> [(&'static str, &'p str); 2] {
    const NONE: (&str, &str) = ("", "");
    match (section, variable) {
        // Without a command a filter that is not required lets everything through.
        (b"filter", b"clean") => [("clean", ""), ("required", "false")],
        (b"filter", b"smudge") => [("smudge", ""), ("required", "false")],
        (b"filter", b"process") => [("process", ""), ("required", "false")],
        // What git does where no driver is set.
        (b"merge", b"driver") => [("driver", "git merge-file %A %O %B"), NONE],
        (b"branch", b"mergeoptions") => [("mergeOptions", ""), NONE],
        (b"credential", b"helper") => [("helper", ""), NONE],
        (b"remote", b"uploadpack") => [("uploadpack", "git-upload-pack"), NONE],
        (b"remote", b"receivepack") => [("receivepack", "git-receive-pack"), NONE],
        (b"remote", b"proxy") => [("proxy", proxy), NONE],
        (b"http", b"proxy") => [("proxy", proxy), NONE],
        (b"http", b"sslverify") => [("sslVerify", "true"), NONE],
        (b"http", b"extraheader") => [("extraHeader", ""), NONE],
        (b"http", b"cookiefile") => [("cookieFile", ""), NONE],
        (b"http", b"savecookies") => [("saveCookies", "false"), NONE],
        (b"http", b"followredirects") => [("followRedirects", "initial"), NONE],
        (b"http", b"curloptresolve") => [("curloptResolve", ""), NONE],
        (b"http", b"delegation") => [("delegation", "none"), NONE],
        (b"submodule", b"ignore") => [("ignore", "dirty"), NONE],
        (b"submodule", b"fetchrecursesubmodules") => [("fetchRecurseSubmodules", "false"), NONE],
        (b"hook", _) => [("enabled", "false"), ("command", "true")],
        _ => [NONE, NONE],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn made_up_names_are_masked_and_others_stay() {
        let listing = b"core.bare\0filter.a.b=c.smudge\0user.name\0http.https://x.y/.proxy\0merge.m.driver\0filter.a.b=c.clean\0merge.m.name\0";
        let masks = masks(listing, "http://proxy").unwrap();
        let masks: Vec<(&str, &str)> = masks.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(
            masks,
            [
                ("filter.a.b=c.smudge", ""),
                ("filter.a.b=c.required", "false"),
                ("http.https://x.y/.proxy", "http://proxy"),
                ("merge.m.driver", "git merge-file %A %O %B"),
                ("filter.a.b=c.clean", ""),
            ]
        );
    }

    #[test]
    fn what_cannot_be_masked_is_not_let_through() {
        assert_eq!(masks(b"filter.\xff.clean\0", ""), Err(Unmasked::NotUtf8));
        assert_eq!(masks(b"user.\xff.x\0", ""), Ok(Vec::new()));
        let many: String = (0..=MAX_MASKS)
            .map(|n| format!("credential.{n}.helper\0"))
            .collect();
        assert_eq!(masks(many.as_bytes(), ""), Err(Unmasked::TooMany));
    }

    proptest! {
        #[test]
        fn no_listing_breaks_it(listing in prop::collection::vec(any::<u8>(), 0..300), head in "(filter|http|hook)\\.") {
            let mut named = head.into_bytes();
            named.extend(&listing);
            prop_assert!(masks(&listing, "").is_ok() || !listing.is_empty());
            for (name, _) in masks(&named, "").unwrap_or_default() {
                prop_assert!(!name.contains('\0'));
            }
        }
    }
}
