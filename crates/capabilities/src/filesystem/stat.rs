use super::Scope;
use super::fault::type_name;
use super::text::{instant, permissions};
use kruxos_types::CallError;
use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    const DO: &str = "stat";
    let place = scope.files.roots.locate("path", &args.path)?;
    let opened = match place.open(OFlags::PATH) {
        // A link that leads nowhere is there itself.
        Err(Errno::NOENT) => place.open(OFlags::PATH | OFlags::NOFOLLOW),
        other => other,
    };
    let handle = match opened {
        Ok(handle) => handle,
        Err(Errno::NOENT | Errno::NOTDIR) => {
            return Ok(json!({
                "exists": false, "type": null, "size": null, "modified": null,
                "created": null, "permissions": null, "owner": null,
            }));
        }
        Err(errno) => return Err(place.fault(errno, DO)),
    };
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let facts = rustix::fs::statx(&handle, "", AtFlags::EMPTY_PATH, wanted)
        .map_err(|errno| place.fault(errno, DO))?;
    let time =
        |at: rustix::fs::StatxTimestamp| instant(at.tv_sec, i64::from(at.tv_nsec)).to_string();
    let mode = u32::from(facts.stx_mode);
    let has_birth = StatxFlags::from_bits_retain(facts.stx_mask).contains(StatxFlags::BTIME);
    Ok(json!({
        "exists": true,
        "type": type_name(FileType::from_raw_mode(mode)),
        "size": facts.stx_size,
        "modified": time(facts.stx_mtime),
        "created": has_birth.then(|| time(facts.stx_btime)),
        "permissions": permissions(mode),
        "owner": format!("{}:{}", facts.stx_uid, facts.stx_gid),
    }))
}
