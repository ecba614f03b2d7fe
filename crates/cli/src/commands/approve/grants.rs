//! `approve grants` and `approve revoke`.

use crate::client::Url;
use crate::commands::{Cx, items, text, text_or, time};
use crate::failure::Failure;
use http::Method;

pub(super) async fn list(cx: &Cx<'_>, agent: Option<String>, all: bool) -> Result<(), Failure> {
    let url = Url::new(&["grants"])
        .with("agent", agent)
        .with("all", all.then_some(true));
    let grants = cx.client.get(url.as_str()).await?;
    if cx.out.json {
        cx.out.value(&grants);
        return Ok(());
    }
    if grants.as_array().is_some_and(Vec::is_empty) {
        cx.out.note("no grants");
        return Ok(());
    }
    let rows = items(&grants).map(|one| {
        let uses = text_or(&one["uses"], "any");
        vec![
            text(&one["id"]),
            text(&one["scope"]),
            text(&one["principal"]["name"]),
            text(&one["capability"]),
            one["conditions"].to_string().chars().take(60).collect(),
            format!("{} of {uses}", text(&one["used"])),
            text_or(&one["expires_at"], "")
                .chars()
                .take(19)
                .collect::<String>()
                .replace('T', " "),
            text(&one["granted_by"]),
            match one["revoked_at"].is_null() {
                true => String::new(),
                false => time(&one["revoked_at"]),
            },
        ]
    });
    let header = [
        "id",
        "scope",
        "agent",
        "capability",
        "for",
        "used",
        "expires",
        "by",
        "revoked",
    ];
    cx.out.table(&header, rows.collect());
    Ok(())
}

pub(super) async fn revoke(cx: &Cx<'_>, id: &str) -> Result<(), Failure> {
    let url = Url::new(&["grants", id]);
    let revoked = cx.client.send(Method::DELETE, url.as_str(), None).await?;
    crate::commands::agent::said(cx, &revoked.body, &format!("{id} covers no call any more."));
    Ok(())
}
