use crate::bed::{Bed, name, new_agent, new_approval, object};
use kruxos_store::{AgentPatch, AgentStatus, ApprovalState, StoreError, TokenOwner};
use kruxos_types::{ApprovalId, CallError, ErrorType, Principal};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn an_agent_is_registered_once_and_edited() {
    let bed = Bed::new();
    let created = bed.store.create_agent(new_agent("coder", 1)).await.unwrap();
    assert_eq!(
        (created.status, created.token_generation),
        (AgentStatus::Registered, 1)
    );
    assert_eq!(
        (created.created_at, created.last_seen_at),
        (bed.now(), None)
    );
    let twice = bed
        .store
        .create_agent(new_agent("coder", 2))
        .await
        .unwrap_err();
    assert!(matches!(&twice, StoreError::Exists(name) if name == "coder"));
    assert_eq!(
        CallError::from(twice).error_type(),
        ErrorType::ConflictError
    );

    let patch = AgentPatch {
        purpose: Some("new".to_owned()),
        ..AgentPatch::default()
    };
    let edited = bed.store.edit_agent(&name("coder"), patch).await.unwrap();
    assert_eq!(edited.purpose, "new");
    assert_eq!(
        (edited.policy_group.as_str(), &edited.settings),
        ("team-moderate", &created.settings)
    );
    let settings = object(json!({}));
    let patch = AgentPatch {
        settings: Some(settings.clone()),
        ..AgentPatch::default()
    };
    let edited = bed.store.edit_agent(&name("coder"), patch).await.unwrap();
    assert_eq!(
        (edited.settings, edited.purpose.as_str()),
        (settings, "new")
    );

    bed.store
        .create_agent(new_agent("archivist", 3))
        .await
        .unwrap();
    let bed = bed.reopen(crate::bed::options());
    let all = bed.store.agents().await.unwrap();
    assert_eq!(
        all.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(),
        ["archivist", "coder"]
    );
    assert_eq!(
        bed.store.agent(&name("coder")).await.unwrap().as_ref(),
        Some(&all[1])
    );
    assert_eq!(bed.store.agent(&name("nobody")).await.unwrap(), None);
}

#[tokio::test]
async fn being_seen_activates_but_does_not_undo_the_operator() {
    let bed = Bed::new();
    bed.store.create_agent(new_agent("coder", 1)).await.unwrap();
    bed.clock.advance(Duration::from_secs(60));
    let seen = bed.store.agent_seen(&name("coder")).await.unwrap();
    assert_eq!(
        (seen.status, seen.last_seen_at),
        (AgentStatus::Active, Some(bed.now()))
    );
    for status in [AgentStatus::Paused, AgentStatus::Revoked] {
        let set = bed
            .store
            .set_agent_status(&name("coder"), status)
            .await
            .unwrap();
        assert_eq!(set.status, status);
        assert_eq!(
            bed.store.agent_seen(&name("coder")).await.unwrap().status,
            status
        );
    }
}

#[tokio::test]
async fn what_is_unknown_is_not_found() {
    let bed = Bed::new();
    let nobody = name("nobody");
    let refusals = [
        bed.store
            .edit_agent(&nobody, AgentPatch::default())
            .await
            .map(drop),
        bed.store.rotate_agent(&nobody, [9; 32]).await.map(drop),
        bed.store
            .set_agent_status(&nobody, AgentStatus::Paused)
            .await
            .map(drop),
        bed.store.agent_seen(&nobody).await.map(drop),
        bed.store.delete_agent(&nobody).await,
        bed.store.revoke_user_token("nobody").await.map(drop),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Err(StoreError::NotFound(name)) if name == "nobody"));
    }
}

#[tokio::test]
async fn rotation_retires_the_old_token() {
    let bed = Bed::new();
    bed.store.create_agent(new_agent("coder", 1)).await.unwrap();
    let rotated = bed
        .store
        .rotate_agent(&name("coder"), [2; 32])
        .await
        .unwrap();
    assert_eq!(rotated.token_generation, 2);
    let owner = |status, generation| TokenOwner::Agent {
        name: name("coder"),
        status,
        generation,
    };
    let owners = bed.store.token_owners().await.unwrap();
    assert_eq!(owners, [([2; 32], owner(AgentStatus::Registered, 2))]);
    bed.store
        .set_agent_status(&name("coder"), AgentStatus::Revoked)
        .await
        .unwrap();
    let owners = bed.store.token_owners().await.unwrap();
    assert_eq!(owners, [([2; 32], owner(AgentStatus::Revoked, 2))]);
}

#[tokio::test]
async fn user_tokens_are_named_once_and_revoked_by_id_or_label() {
    let bed = Bed::new();
    let first = bed
        .store
        .create_user_token("laptop", [1; 32])
        .await
        .unwrap();
    let taken = bed
        .store
        .create_user_token("laptop", [2; 32])
        .await
        .unwrap_err();
    assert!(matches!(taken, StoreError::Exists(label) if label == "laptop"));
    bed.clock.advance(Duration::from_secs(1));
    let revoked = bed.store.revoke_user_token("laptop").await.unwrap();
    assert_eq!(
        (revoked.id.as_str(), revoked.revoked_at),
        (first.id.as_str(), Some(bed.now()))
    );
    bed.clock.advance(Duration::from_secs(1));
    let again = bed.store.revoke_user_token(&first.id).await.unwrap();
    assert_eq!(again, revoked, "the first time counts");
    assert!(
        bed.store.revoke_user_token("laptop").await.is_err(),
        "no live token of that label"
    );

    let second = bed
        .store
        .create_user_token("laptop", [3; 32])
        .await
        .unwrap();
    let all = bed.store.user_tokens().await.unwrap();
    assert_eq!(all, [second.clone(), revoked]);
    let owners = bed.store.token_owners().await.unwrap();
    let user = |id, revoked| TokenOwner::User {
        id,
        label: "laptop".to_owned(),
        revoked,
    };
    assert!(owners.contains(&([1; 32], user(first.id, true))));
    assert!(owners.contains(&([3; 32], user(second.id, false))));
}

#[tokio::test]
async fn a_deleted_agent_leaves_nothing_to_its_namesake() {
    let bed = Bed::new();
    let (agent, principal) = (name("tester"), Principal::agent("tester"));
    bed.store
        .create_agent(new_agent("tester", 1))
        .await
        .unwrap();
    bed.store.state_set(&agent, "k", json!(1)).await.unwrap();
    bed.store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    bed.store.delete_agent(&agent).await.unwrap();
    // A write that was under way comes in late.
    bed.store.state_set(&agent, "late", json!(1)).await.unwrap();

    bed.store
        .create_agent(new_agent("tester", 1))
        .await
        .unwrap();
    assert_eq!(bed.store.state_history(&agent, "k", 9).await.unwrap(), None);
    assert_eq!(
        bed.store.state_get(&agent, "late", None).await.unwrap(),
        None
    );
    assert_eq!(bed.store.state_quota(&agent).await.unwrap().used_bytes, 0);
    let since = jiff::Timestamp::MIN;
    assert_eq!(
        bed.store
            .matching_approval(&principal, "d1", since)
            .await
            .unwrap(),
        None
    );
    let old = bed
        .store
        .approval(&ApprovalId::from_text("ap_1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(old.state, ApprovalState::Cancelled);
}
