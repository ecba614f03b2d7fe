//! Grants, and what a decision puts in the place of what was asked for.

use crate::bed::{Bed, name, new_agent, new_approval, object};
use kruxos_store::{Approval, ApprovalState, Decision, Edit, GrantScope, NewGrant, Remember};
use kruxos_types::{GrantId, Principal, SessionId};
use serde_json::json;
use std::time::Duration;

fn grant(id: &str) -> NewGrant {
    NewGrant {
        id: GrantId::from_text(id),
        scope: GrantScope::Task,
        granted_by: "ann".to_owned(),
        conditions: object(json!({"input_equals": {"path": "a secret name"}})),
        shown: json!({"input_equals": {"path": "…"}}),
        rule_digest: "r".to_owned(),
        uses: Some(10),
        expires_at: None,
    }
}

fn accept(remember: Remember, edit: Option<Edit>) -> Decision {
    Decision::Accept {
        by: "ann".to_owned(),
        reason: None,
        remember,
        edit,
    }
}

/// A request that was decided with a grant.
async fn granted(bed: &Bed, request: &str, grant: NewGrant) -> Approval {
    let asked = bed
        .store
        .create_approval(new_approval(request, None))
        .await
        .unwrap();
    let remember = Remember::Grant(Box::new(grant));
    bed.store
        .decide_approval(&asked.id, accept(remember, None))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_never_get_one_use_too_many() {
    let bed = Bed::new();
    let decided = granted(&bed, "ap_1", grant("gr_1")).await;
    assert_eq!(decided.scope.as_deref(), Some("task"));
    let remembered = decided.remembered.as_ref().unwrap();
    assert_eq!(remembered["grant_id"], "gr_1");
    assert!(!remembered.to_string().contains("secret"), "{remembered}");

    let live = bed
        .store
        .live_grants(&decided.principal, &decided.capability)
        .await
        .unwrap();
    let (found, conditions) = live.first().unwrap();
    assert_eq!(found.approval_id, decided.id);
    assert_eq!(conditions["input_equals"]["path"], "a secret name");

    let uses = (0..64).map(|_| {
        let (store, id) = (bed.store.clone(), found.id.clone());
        tokio::spawn(async move { store.use_grant(&id).await.unwrap().is_some() })
    });
    let mut counted = 0;
    for used in uses.collect::<Vec<_>>() {
        counted += u32::from(used.await.unwrap());
    }
    assert_eq!(counted, 10);
    let live = bed
        .store
        .live_grants(&decided.principal, &decided.capability)
        .await
        .unwrap();
    assert!(live.is_empty());
    let all = bed
        .store
        .grants(Some(&decided.principal), false, 10)
        .await
        .unwrap();
    assert_eq!((all[0].used, all[0].uses), (10, Some(10)));
}

#[tokio::test]
async fn a_grant_ends_by_time_by_hand_with_its_session_and_with_its_principal() {
    let bed = Bed::new();
    bed.store
        .create_agent(new_agent("tester", 1))
        .await
        .unwrap();
    let in_an_hour = "2030-01-01T01:00:00Z".parse().unwrap();
    let timed = NewGrant {
        expires_at: Some(in_an_hour),
        ..grant("gr_timed")
    };
    let ending = NewGrant {
        scope: GrantScope::Session,
        ..grant("gr_session")
    };
    let session = granted(&bed, "ap_1", timed).await.session_id;
    for (number, one) in [ending, grant("gr_by_hand"), grant("gr_stays")]
        .into_iter()
        .enumerate()
    {
        granted(&bed, &format!("ap_more_{number}"), one).await;
    }
    let usable = async |id: &str| {
        let id = GrantId::from_text(id);
        bed.store.use_grant(&id).await.unwrap().is_some()
    };
    assert!(usable("gr_timed").await);
    bed.clock.advance(Duration::from_secs(3600));
    assert!(!usable("gr_timed").await);

    assert!(usable("gr_session").await);
    let others = SessionId::from_text("ses_other");
    assert_eq!(bed.store.end_session_grants(&others).await.unwrap(), 0);
    let session = SessionId::from_text(&session);
    assert_eq!(bed.store.end_session_grants(&session).await.unwrap(), 1);
    assert!(!usable("gr_session").await);

    let by_hand = GrantId::from_text("gr_by_hand");
    let revoked = bed.store.revoke_grant(&by_hand, "bob").await.unwrap();
    assert_eq!(revoked.revoked_by.as_deref(), Some("bob"));
    assert!(bed.store.revoke_grant(&by_hand, "bob").await.is_err());
    assert!(!usable("gr_by_hand").await);

    assert!(usable("gr_stays").await);
    assert_eq!(bed.store.grants(None, true, 10).await.unwrap().len(), 1);
    bed.store.delete_agent(&name("tester")).await.unwrap();
    assert!(!usable("gr_stays").await);
    assert!(
        bed.store
            .grants(Some(&Principal::agent("tester")), false, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_grant_that_lost_the_decision_is_not_there() {
    let bed = Bed::new();
    let asked = bed
        .store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    let reject = Decision::Reject {
        by: "bob".to_owned(),
        reason: None,
    };
    bed.store.decide_approval(&asked.id, reject).await.unwrap();
    let late = accept(Remember::Grant(Box::new(grant("gr_late"))), None);
    bed.store
        .decide_approval(&asked.id, late)
        .await
        .unwrap_err();
    assert!(bed.store.grants(None, false, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_edited_runs_and_exact_inputs_go_with_the_end() {
    let bed = Bed::new();
    let asked = bed
        .store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    let (_, exact) = bed.store.approval_inputs(&asked.id).await.unwrap().unwrap();
    let edit = Edit {
        exact_inputs: object(json!({"path": "elsewhere"})),
        shown_inputs: json!({"path": "elsewhere"}),
    };
    assert_ne!(edit.exact_inputs, exact);
    let decided = accept(Remember::Once, Some(edit.clone()));
    let decided = bed.store.decide_approval(&asked.id, decided).await.unwrap();
    assert_eq!(decided.edited_inputs, Some(edit.shown_inputs));
    assert_eq!(decided.inputs, asked.inputs);
    bed.store
        .decision_audited(&asked.id, ApprovalState::Approved)
        .await
        .unwrap();
    let claimed = bed.store.claim_approval(&asked.id).await.unwrap();
    assert_eq!(claimed.exact_inputs(), &edit.exact_inputs);
    bed.store
        .finish_approval(&asked.id, Ok(json!({})))
        .await
        .unwrap();
    assert!(
        bed.store
            .approval_inputs(&asked.id)
            .await
            .unwrap()
            .is_none()
    );
}
