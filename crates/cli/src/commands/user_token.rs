//! `user-token …`.

use super::{Cx, items, text, text_or, time};
use crate::args::UserToken;
use crate::client::Url;
use crate::failure::Failure;
use crate::output::Look;
use http::Method;
use serde_json::json;

pub(super) async fn run(cx: &Cx<'_>, command: UserToken) -> Result<(), Failure> {
    match command {
        UserToken::Create { label } => {
            let made = cx
                .client
                .post("/user-tokens", json!({"label": label}))
                .await?;
            if cx.out.json {
                cx.out.value(&made);
                return Ok(());
            }
            cx.out.spans(&[(
                Look::Bold,
                &format!("User token '{label}', shown this once:"),
            )]);
            cx.out.text(&text(&made["token"]));
            Ok(())
        }
        UserToken::List => {
            let tokens = cx.client.get("/user-tokens").await?;
            if cx.out.json {
                cx.out.value(&tokens);
                return Ok(());
            }
            let rows = items(&tokens).map(|token| {
                let revoked = if token["revoked_at"].is_null() {
                    "-".to_owned()
                } else {
                    time(&token["revoked_at"])
                };
                vec![
                    text(&token["id"]),
                    text_or(&token["label"], "-"),
                    time(&token["created_at"]),
                    revoked,
                ]
            });
            cx.out
                .table(&["id", "label", "created", "revoked"], rows.collect());
            Ok(())
        }
        UserToken::Revoke { id, yes } => {
            cx.out.confirm(
                &format!("Revoke the User token '{id}'? Its clients stop working."),
                yes,
            )?;
            let url = Url::new(&["user-tokens", &id]);
            let gone = cx
                .client
                .send(Method::DELETE, url.as_str(), None)
                .await?
                .body;
            super::agent::said(cx, &gone, &format!("'{id}' is revoked."));
            Ok(())
        }
    }
}
