use crate::bed::{Bed, name, new_agent, new_approval, options};
use kruxos_store::{
    AgentStatus, Approval, ApprovalState, ClaimedApproval, Decision, NewApproval, Remember,
    Requested, Store, StoreError, TransitionError,
};
use kruxos_types::{ApprovalId, CallError, Principal};
use serde_json::json;
use std::time::Duration;

fn accept(by: &str) -> Decision {
    Decision::Accept {
        by: by.to_owned(),
        reason: Some("fine".to_owned()),
        remember: Remember::Once,
        edit: None,
    }
}

fn id(text: &str) -> ApprovalId {
    ApprovalId::from_text(text)
}

/// Claims a request whose decision the audit log has by now.
async fn claim(store: &Store, id: &ApprovalId) -> Result<ClaimedApproval, TransitionError> {
    store
        .decision_audited(id, ApprovalState::Approved)
        .await
        .unwrap();
    store.claim_approval(id).await
}

fn conflict<T: std::fmt::Debug>(result: Result<T, TransitionError>) -> ApprovalState {
    match result {
        Err(TransitionError::Conflict(current)) => current.state,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

#[tokio::test]
async fn a_request_goes_from_pending_to_executed_once() {
    let bed = Bed::new();
    let created = bed
        .store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    assert_eq!(created.state_name(), "pending");
    assert_eq!(
        bed.store.approval(&created.id).await.unwrap().as_ref(),
        Some(&created)
    );
    let used = bed
        .store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap_err();
    assert!(matches!(used, StoreError::Exists(_)));
    assert_eq!(
        conflict(claim(&bed.store, &created.id).await),
        ApprovalState::Pending
    );

    let approved = bed
        .store
        .decide_approval(&created.id, accept("ann"))
        .await
        .unwrap();
    assert_eq!(approved.decided_by.as_deref(), Some("ann"));
    assert_eq!(approved.decided_at, Some(bed.now()));
    assert_eq!(approved.scope.as_deref(), Some("once"));
    assert_eq!(approved.decision_reason.as_deref(), Some("fine"));
    assert_eq!(
        conflict(bed.store.decide_approval(&created.id, accept("bob")).await),
        ApprovalState::Approved
    );

    let claimed = claim(&bed.store, &created.id).await.unwrap();
    assert_eq!(claimed.exact_inputs()["token"], "exact-secret");
    assert_eq!(claimed.approval().state, ApprovalState::Executing);
    assert_eq!(
        conflict(claim(&bed.store, &created.id).await),
        ApprovalState::Executing
    );
    assert!(
        !bed.store.take_approval_result(&created.id).await.unwrap(),
        "nothing to take yet"
    );

    let done = bed
        .store
        .finish_approval(&created.id, Ok(json!({"deleted": true})))
        .await
        .unwrap();
    assert_eq!(
        (done.state, &done.result),
        (ApprovalState::Executed, &Some(json!({"deleted": true})))
    );
    assert_eq!(
        conflict(bed.store.finish_approval(&created.id, Err(json!(1))).await),
        ApprovalState::Executed
    );
    assert!(bed.store.take_approval_result(&created.id).await.unwrap());
    assert!(!bed.store.take_approval_result(&created.id).await.unwrap());
    let read = bed.store.approval(&created.id).await.unwrap().unwrap();
    assert!(read.result_taken);
    assert_eq!(read.result, done.result);
    let unknown = claim(&bed.store, &id("ap_none")).await;
    assert!(matches!(unknown, Err(TransitionError::NotFound(_))));
}

#[tokio::test]
async fn deciding_after_expiry_expires_the_request_and_says_so() {
    let bed = Bed::new();
    let later = bed.now() + Duration::from_secs(60);
    for id in ["ap_1", "ap_2", "ap_3", "ap_4"] {
        bed.store
            .create_approval(new_approval(id, Some(later)))
            .await
            .unwrap();
    }
    bed.store
        .create_approval(new_approval("ap_ever", None))
        .await
        .unwrap();
    bed.clock.advance(Duration::from_secs(59));
    bed.store
        .decide_approval(&id("ap_4"), accept("ann"))
        .await
        .expect("in time");
    assert_eq!(bed.store.expire_approvals().await.unwrap(), []);
    bed.clock.advance(Duration::from_secs(1));
    assert_eq!(
        bed.store.pending_approvals(None).await.unwrap(),
        1,
        "the due ones count no more"
    );
    assert_eq!(
        conflict(bed.store.decide_approval(&id("ap_1"), accept("ann")).await),
        ApprovalState::Expired
    );
    assert_eq!(
        conflict(bed.store.cancel_approval(&id("ap_2")).await),
        ApprovalState::Expired
    );
    let swept = bed.store.expire_approvals().await.unwrap();
    assert_eq!(
        swept
            .iter()
            .map(|a| (a.id.as_str(), a.state))
            .collect::<Vec<_>>(),
        [("ap_3", ApprovalState::Expired)]
    );
    assert_eq!(bed.store.expire_approvals().await.unwrap(), []);
    let first = bed.store.approval(&id("ap_1")).await.unwrap().unwrap();
    assert_eq!(
        (first.state, first.decided_by, first.decided_at),
        (ApprovalState::Expired, None, Some(bed.now()))
    );
    let _ = claim(&bed.store, &id("ap_4"))
        .await
        .expect("an approved request does not expire");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_deciders_one_wins_and_of_many_claimers_one() {
    let bed = Bed::new();
    for round in 0..8 {
        let id = id(&format!("ap_{round}"));
        bed.store
            .create_approval(new_approval(id.as_str(), None))
            .await
            .unwrap();
        let mut deciders = tokio::task::JoinSet::new();
        for n in 0..16 {
            let (store, id) = (bed.store.clone(), id.clone());
            deciders.spawn(async move {
                let by = format!("op{n}");
                let decision = if n % 2 == 0 {
                    accept(&by)
                } else {
                    Decision::Reject { by, reason: None }
                };
                let won = match store.decide_approval(&id, decision).await {
                    Ok(approval) => Some(approval.decided_by),
                    Err(TransitionError::Conflict(_)) => None,
                    Err(error) => panic!("{error}"),
                };
                (won, usize::from(claim(&store, &id).await.is_ok()))
            });
        }
        let outcomes = deciders.join_all().await;
        let winners: Vec<_> = outcomes.iter().filter_map(|(won, _)| won.clone()).collect();
        assert_eq!(winners.len(), 1);
        let now = bed.store.approval(&id).await.unwrap().unwrap();
        assert_eq!(now.decided_by, winners[0]);
        let claims: usize = outcomes.iter().map(|(_, claims)| claims).sum();
        assert_eq!(
            claims,
            usize::from(now.state == ApprovalState::Executing),
            "{:?}",
            now.state
        );
    }
}

#[tokio::test]
async fn the_same_call_finds_its_request_until_the_result_was_taken() {
    let bed = Bed::new();
    let tester = Principal::agent("tester");
    let found = async || {
        let since = bed.now() - Duration::from_secs(600);
        let found = bed
            .store
            .matching_approval(&tester, "d1", since)
            .await
            .unwrap();
        found.map(|approval| approval.id.to_string())
    };
    assert_eq!(found().await, None);
    let expiry = bed.now() + Duration::from_secs(3600);
    bed.store
        .create_approval(new_approval("ap_1", Some(expiry)))
        .await
        .unwrap();
    assert_eq!(found().await.as_deref(), Some("ap_1"));
    for (who, digest) in [
        (Principal::user("tester"), "d1"),
        (tester.clone(), "d2"),
        (Principal::agent("other"), "d1"),
    ] {
        let other = bed
            .store
            .matching_approval(&who, digest, bed.now())
            .await
            .unwrap();
        assert_eq!(other, None);
    }
    bed.store
        .decide_approval(&id("ap_1"), accept("ann"))
        .await
        .unwrap();
    assert_eq!(found().await.as_deref(), Some("ap_1"));
    let _ = claim(&bed.store, &id("ap_1")).await.unwrap();
    assert_eq!(found().await.as_deref(), Some("ap_1"));
    bed.store
        .finish_approval(&id("ap_1"), Ok(json!(1)))
        .await
        .unwrap();
    assert_eq!(found().await.as_deref(), Some("ap_1"));
    bed.clock.advance(Duration::from_secs(601));
    assert_eq!(found().await, None, "a result waits ten minutes");
    bed.clock.advance(Duration::from_secs(3600));

    bed.store
        .create_approval(new_approval("ap_2", Some(expiry)))
        .await
        .unwrap();
    assert_eq!(
        found().await,
        None,
        "a request that is due is not waited on"
    );
    bed.store
        .create_approval(new_approval("ap_3", None))
        .await
        .unwrap();
    bed.store
        .decide_approval(&id("ap_3"), accept("ann"))
        .await
        .unwrap();
    let _ = claim(&bed.store, &id("ap_3")).await.unwrap();
    bed.store
        .finish_approval(&id("ap_3"), Err(json!({"error_type": "Internal"})))
        .await
        .unwrap();
    assert_eq!(found().await.as_deref(), Some("ap_3"));
    assert!(bed.store.take_approval_result(&id("ap_3")).await.unwrap());
    assert_eq!(found().await, None);
    bed.store
        .create_approval(new_approval("ap_4", None))
        .await
        .unwrap();
    let reject = Decision::Reject {
        by: "ann".to_owned(),
        reason: None,
    };
    bed.store
        .decide_approval(&id("ap_4"), reject)
        .await
        .unwrap();
    assert_eq!(found().await, None, "a refused call may be asked for again");
}

#[tokio::test]
async fn after_a_crash_what_had_begun_fails_and_what_had_not_is_returned() {
    let bed = Bed::new();
    for id in ["ap_pending", "ap_approved", "ap_executing"] {
        bed.store
            .create_approval(new_approval(id, None))
            .await
            .unwrap();
    }
    for known in ["ap_approved", "ap_executing"] {
        bed.store
            .decide_approval(&id(known), accept("ann"))
            .await
            .unwrap();
    }
    let _ = claim(&bed.store, &id("ap_executing")).await.unwrap();
    let bed = bed.reopen(options());
    let (failed, approved) = bed.store.recover_approvals().await.unwrap();
    let ids = |list: &[Approval]| list.iter().map(|a| a.id.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&failed), ids(&approved)),
        (
            vec!["ap_executing".to_owned()],
            vec!["ap_approved".to_owned()]
        )
    );
    assert_eq!(failed[0].state, ApprovalState::Failed);
    let error = CallError::from_json(failed[0].result.as_ref().unwrap());
    assert!(
        error.description().contains("not run again"),
        "{}",
        error.description()
    );
    assert_eq!(
        conflict(claim(&bed.store, &id("ap_executing")).await),
        ApprovalState::Failed
    );
    let _ = claim(&bed.store, &id("ap_approved")).await.unwrap();
    assert_eq!(
        bed.store
            .approvals(Some(ApprovalState::Pending), None, 9)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn listings_are_oldest_first_while_pending_and_by_principal() {
    let bed = Bed::new();
    for id in ["ap_1", "ap_2", "ap_3"] {
        bed.store
            .create_approval(new_approval(id, None))
            .await
            .unwrap();
    }
    let mut other = new_approval("ap_4", None);
    other.principal = Principal::user("tester");
    bed.store.create_approval(other).await.unwrap();
    bed.store.cancel_approval(&id("ap_2")).await.unwrap();
    let list = async |state, principal: Option<Principal>, limit| {
        let found = bed
            .store
            .approvals(state, principal.as_ref(), limit)
            .await
            .unwrap();
        found.iter().map(|a| a.id.to_string()).collect::<Vec<_>>()
    };
    let agent = Some(Principal::agent("tester"));
    assert_eq!(
        list(Some(ApprovalState::Pending), None, 2).await,
        ["ap_1", "ap_3"]
    );
    assert_eq!(list(None, None, 9).await, ["ap_4", "ap_3", "ap_2", "ap_1"]);
    assert_eq!(list(None, agent.clone(), 1).await, ["ap_3"]);
    assert_eq!(
        list(Some(ApprovalState::Cancelled), agent.clone(), 9).await,
        ["ap_2"]
    );
    assert_eq!(bed.store.pending_approvals(None).await.unwrap(), 3);
    assert_eq!(
        bed.store.pending_approvals(agent.as_ref()).await.unwrap(),
        2
    );
}

#[tokio::test]
async fn what_a_request_holds_is_not_readable_in_the_file() {
    let bed = Bed::new();
    bed.store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    bed.store
        .decide_approval(&id("ap_1"), accept("ann"))
        .await
        .unwrap();
    let _ = claim(&bed.store, &id("ap_1")).await.unwrap();
    bed.store
        .finish_approval(&id("ap_1"), Ok(json!("result-content")))
        .await
        .unwrap();
    let bed = bed.reopen(options());
    let contains = |needle: &str| {
        let files = std::fs::read_dir(bed.dir.path()).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .any(|bytes| {
                bytes
                    .windows(needle.len())
                    .any(|window| window == needle.as_bytes())
            })
    };
    assert!(contains("[REDACTED:token]"), "the search works");
    for hidden in ["exact-secret", "preview-content", "result-content"] {
        assert!(!contains(hidden), "{hidden}");
    }
    assert!(
        !format!("{:?} {:?}", options(), bed.store).contains("7, 7"),
        "nor the key in a log"
    );
}

#[tokio::test]
async fn with_another_key_nothing_runs_and_lists_still_work() {
    let bed = Bed::new();
    for known in ["ap_1", "ap_2"] {
        bed.store
            .create_approval(new_approval(known, None))
            .await
            .unwrap();
    }
    bed.store
        .decide_approval(&id("ap_1"), accept("ann"))
        .await
        .unwrap();
    let mut options = options();
    options.approval_key = [8; 32];
    let bed = bed.reopen(options);
    let claimed = claim(&bed.store, &id("ap_1")).await;
    assert!(
        matches!(claimed, Err(TransitionError::Store(StoreError::Corrupt(_)))),
        "{claimed:?}"
    );
    let (failed, approved) = bed.store.recover_approvals().await.unwrap();
    assert_eq!((failed.len(), approved.len()), (1, 0));
    assert!(matches!(
        bed.store.approval(&id("ap_2")).await,
        Err(StoreError::Corrupt(_))
    ));
    let listed = bed.store.approvals(None, None, 9).await.unwrap();
    assert_eq!(
        listed.iter().map(|a| a.state).collect::<Vec<_>>(),
        [ApprovalState::Pending, ApprovalState::Failed]
    );
    assert_eq!(listed[0].preview, json!(null));
}

#[tokio::test]
async fn a_sealed_part_does_not_open_in_another_request() {
    let bed = Bed::new();
    for known in ["ap_1", "ap_2"] {
        bed.store
            .create_approval(new_approval(known, None))
            .await
            .unwrap();
        bed.store
            .decide_approval(&id(known), accept("ann"))
            .await
            .unwrap();
    }
    let swap = "UPDATE approvals SET sealed_inputs = \
        (SELECT sealed_inputs FROM approvals WHERE id = 'ap_2') WHERE id = 'ap_1'";
    rusqlite::Connection::open(bed.path())
        .unwrap()
        .execute_batch(swap)
        .unwrap();
    let claimed = claim(&bed.store, &id("ap_1")).await;
    assert!(
        matches!(claimed, Err(TransitionError::Store(StoreError::Corrupt(_)))),
        "{claimed:?}"
    );
    let _ = claim(&bed.store, &id("ap_2"))
        .await
        .expect("the untouched one");
}

#[tokio::test]
async fn results_go_after_a_week_and_ended_requests_beyond_ten_thousand() {
    let bed = Bed::new();
    bed.store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    bed.store
        .decide_approval(&id("ap_1"), accept("ann"))
        .await
        .unwrap();
    let _ = claim(&bed.store, &id("ap_1")).await.unwrap();
    bed.store
        .finish_approval(&id("ap_1"), Ok(json!("r")))
        .await
        .unwrap();
    bed.store
        .create_approval(new_approval("ap_open", None))
        .await
        .unwrap();
    bed.clock.advance(Duration::from_secs(7 * 86_400));
    bed.store.expire_approvals().await.unwrap();
    assert!(
        bed.store
            .approval(&id("ap_1"))
            .await
            .unwrap()
            .unwrap()
            .result
            .is_some()
    );
    bed.clock.advance(Duration::from_secs(1));
    bed.store.expire_approvals().await.unwrap();
    assert_eq!(
        bed.store
            .approval(&id("ap_1"))
            .await
            .unwrap()
            .unwrap()
            .result,
        None
    );

    let jump = "UPDATE sqlite_sequence SET seq = 10010 WHERE name = 'approvals'";
    rusqlite::Connection::open(bed.path())
        .unwrap()
        .execute_batch(jump)
        .unwrap();
    for known in ["ap_2", "ap_3"] {
        bed.store
            .create_approval(new_approval(known, None))
            .await
            .unwrap();
    }
    assert_eq!(bed.store.approval(&id("ap_1")).await.unwrap(), None);
    assert!(
        bed.store.approval(&id("ap_open")).await.unwrap().is_some(),
        "it still waits"
    );
}

#[tokio::test]
async fn a_decision_stays_unaudited_until_the_log_has_it() {
    let bed = Bed::new();
    let soon = bed.now() + Duration::from_secs(60);
    for (known, expiry) in [("ap_1", None), ("ap_2", None), ("ap_3", Some(soon))] {
        bed.store
            .create_approval(new_approval(known, expiry))
            .await
            .unwrap();
    }
    let unaudited = async || {
        let found = bed.store.unaudited_decisions().await.unwrap();
        let told = found
            .iter()
            .map(|found| (found.id.to_string(), found.state));
        told.collect::<Vec<_>>()
    };
    assert_eq!(unaudited().await, []);
    bed.store
        .decide_approval(&id("ap_1"), accept("ann"))
        .await
        .unwrap();
    bed.store.cancel_approval(&id("ap_2")).await.unwrap();
    // An expiry that shows only when somebody decides too late is a decision as well.
    bed.clock.advance(Duration::from_secs(61));
    let late = bed.store.decide_approval(&id("ap_3"), accept("ann")).await;
    assert_eq!(conflict(late), ApprovalState::Expired);
    let all = [
        ("ap_1".to_owned(), ApprovalState::Approved),
        ("ap_2".to_owned(), ApprovalState::Cancelled),
        ("ap_3".to_owned(), ApprovalState::Expired),
    ];
    assert_eq!(unaudited().await, all);
    bed.store
        .decision_audited(&id("ap_1"), ApprovalState::Approved)
        .await
        .unwrap();
    assert_eq!(unaudited().await, all[1..]);
    // A crash while it ran: the log has to learn how it ended.
    bed.store
        .decision_audited(&id("ap_2"), ApprovalState::Cancelled)
        .await
        .unwrap();
    bed.store
        .decision_audited(&id("ap_3"), ApprovalState::Expired)
        .await
        .unwrap();
    let _ = claim(&bed.store, &id("ap_1")).await.unwrap();
    bed.store.recover_approvals().await.unwrap();
    assert_eq!(
        unaudited().await,
        [("ap_1".to_owned(), ApprovalState::Failed)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_at_the_same_time_make_one_request_and_never_one_too_many() {
    let bed = Bed::new();
    let since = bed.now();
    let ask = |n: usize, digest: String| {
        let store = bed.store.clone();
        async move {
            let mut new = new_approval(&format!("ap_{n}"), None);
            new.digest = digest;
            store
                .request_approval(new, since, 5, || true)
                .await
                .unwrap()
        }
    };
    let mut same = tokio::task::JoinSet::new();
    for n in 0..16 {
        same.spawn(ask(n, "same".to_owned()));
    }
    let answers = same.join_all().await;
    let created = |answer: &&Requested| matches!(answer, Requested::Created(_));
    assert_eq!(answers.iter().filter(created).count(), 1);
    let mut others = tokio::task::JoinSet::new();
    for n in 16..48 {
        others.spawn(ask(n, format!("d{n}")));
    }
    let answers = others.join_all().await;
    assert_eq!(answers.iter().filter(created).count(), 4);
    let full = answers
        .iter()
        .filter(|answer| **answer == Requested::Full(5));
    assert_eq!(full.count(), 28);
}

#[tokio::test]
async fn a_revoked_user_token_leaves_nothing_to_a_later_one_of_its_label() {
    let bed = Bed::new();
    let first = bed.store.create_user_token("ann", [1; 32]).await.unwrap();
    let request = |known: &str| NewApproval {
        principal: Principal::user("ann"),
        digest: known.to_owned(),
        ..new_approval(known, None)
    };
    for known in ["ap_pending", "ap_approved", "ap_done"] {
        bed.store.create_approval(request(known)).await.unwrap();
    }
    for known in ["ap_approved", "ap_done"] {
        bed.store
            .decide_approval(&id(known), accept("op"))
            .await
            .unwrap();
    }
    let _ = claim(&bed.store, &id("ap_done")).await.unwrap();
    bed.store
        .finish_approval(&id("ap_done"), Ok(json!(1)))
        .await
        .unwrap();
    bed.store.revoke_user_token(&first.id).await.unwrap();
    let state = async |known: &str| {
        let found = bed.store.approval(&id(known)).await.unwrap();
        found.unwrap().state
    };
    assert_eq!(state("ap_pending").await, ApprovalState::Cancelled);
    assert_eq!(state("ap_approved").await, ApprovalState::Cancelled);
    let since = jiff::Timestamp::MIN;
    let who = Principal::user("ann");
    let inherited = bed.store.matching_approval(&who, "ap_done", since).await;
    assert_eq!(inherited.unwrap(), None);

    // Revoking the old one again touches nothing of the new one.
    bed.store.create_user_token("ann", [2; 32]).await.unwrap();
    bed.store.create_approval(request("ap_new")).await.unwrap();
    bed.store.revoke_user_token(&first.id).await.unwrap();
    assert_eq!(state("ap_new").await, ApprovalState::Pending);
}

#[tokio::test]
async fn nothing_runs_that_the_log_does_not_know_or_whose_agent_is_paused() {
    let bed = Bed::new();
    bed.store
        .create_agent(new_agent("tester", 1))
        .await
        .unwrap();
    bed.store.create_agent(new_agent("other", 2)).await.unwrap();
    bed.store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    let logged = async || {
        let state = ApprovalState::Approved;
        bed.store
            .decision_audited(&id("ap_1"), state)
            .await
            .unwrap()
    };
    assert!(!logged().await, "there is no decision yet");
    bed.store
        .decide_approval(&id("ap_1"), accept("ann"))
        .await
        .unwrap();
    let early = bed.store.claim_approval(&id("ap_1")).await;
    assert_eq!(conflict(early), ApprovalState::Approved);
    assert!(logged().await);
    let set = async |agent: &str, status| {
        let agent = name(agent);
        bed.store.set_agent_status(&agent, status).await.unwrap();
    };
    set("other", AgentStatus::Paused).await;
    set("tester", AgentStatus::Paused).await;
    let paused = bed.store.claim_approval(&id("ap_1")).await;
    assert_eq!(conflict(paused), ApprovalState::Approved);
    set("tester", AgentStatus::Active).await;
    let _ = bed.store.claim_approval(&id("ap_1")).await.unwrap();
}

#[tokio::test]
async fn what_was_decided_after_the_entry_was_written_is_still_to_be_written() {
    let bed = Bed::new();
    bed.store
        .create_agent(new_agent("tester", 1))
        .await
        .unwrap();
    bed.store
        .create_approval(new_approval("ap_1", None))
        .await
        .unwrap();
    bed.store
        .decide_approval(&id("ap_1"), accept("ann"))
        .await
        .unwrap();
    let read = bed.store.unaudited_decisions().await.unwrap();
    // The entry «approved» is being written while the agent goes.
    bed.store.delete_agent(&name("tester")).await.unwrap();
    let marked = bed.store.decision_audited(&id("ap_1"), read[0].state).await;
    assert!(!marked.unwrap());
    let left = bed.store.unaudited_decisions().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].state, ApprovalState::Cancelled);
    assert_eq!(
        left[0].decision_reason.as_deref(),
        Some("the agent was deleted")
    );
    assert_eq!(left[0].decided_by.as_deref(), Some("ann"));
}

#[tokio::test]
async fn a_later_agent_of_the_name_sees_nothing_of_the_requests_before_it() {
    let bed = Bed::new();
    bed.store
        .create_agent(new_agent("tester", 1))
        .await
        .unwrap();
    for known in ["ap_done", "ap_runs"] {
        bed.store
            .create_approval(new_approval(known, None))
            .await
            .unwrap();
        bed.store
            .decide_approval(&id(known), accept("ann"))
            .await
            .unwrap();
        let _ = claim(&bed.store, &id(known)).await.unwrap();
    }
    let finish = async |known: &str| {
        let finished = bed.store.finish_approval(&id(known), Ok(json!(1))).await;
        finished.unwrap();
    };
    finish("ap_done").await;
    let tester = Principal::agent("tester");
    let own = async |known: &str| {
        let found = bed.store.approval_of(&id(known), &tester).await;
        found.unwrap().is_some()
    };
    assert!(own("ap_done").await);
    bed.store.delete_agent(&name("tester")).await.unwrap();
    bed.store
        .create_agent(new_agent("tester", 2))
        .await
        .unwrap();
    // It was running and ends only now.
    finish("ap_runs").await;
    for known in ["ap_done", "ap_runs"] {
        assert!(!own(known).await, "{known}");
        assert!(bed.store.approval(&id(known)).await.unwrap().is_some());
    }
    let since = jiff::Timestamp::MIN;
    let inherited = bed.store.matching_approval(&tester, "d1", since).await;
    assert_eq!(inherited.unwrap(), None);
    let stranger = Principal::agent("other");
    let other = bed.store.approval_of(&id("ap_done"), &stranger).await;
    assert_eq!(other.unwrap(), None);
}

#[tokio::test]
async fn whoever_may_not_ask_any_more_leaves_no_request() {
    let bed = Bed::new();
    let new = new_approval("ap_1", None);
    let asked = bed.store.request_approval(new, bed.now(), 5, || false);
    assert_eq!(asked.await.unwrap(), Requested::Gone);
    assert_eq!(bed.store.approval(&id("ap_1")).await.unwrap(), None);
}

#[tokio::test]
async fn an_ended_request_that_the_log_does_not_know_is_not_pruned() {
    let bed = Bed::new();
    for known in ["ap_1", "ap_2"] {
        bed.store
            .create_approval(new_approval(known, None))
            .await
            .unwrap();
        bed.store.cancel_approval(&id(known)).await.unwrap();
    }
    let ended = id("ap_2");
    let logged = bed.store.decision_audited(&ended, ApprovalState::Cancelled);
    assert!(logged.await.unwrap());
    let jump = "UPDATE sqlite_sequence SET seq = 10010 WHERE name = 'approvals'";
    rusqlite::Connection::open(bed.path())
        .unwrap()
        .execute_batch(jump)
        .unwrap();
    for known in ["ap_3", "ap_4"] {
        bed.store
            .create_approval(new_approval(known, None))
            .await
            .unwrap();
    }
    assert!(bed.store.approval(&id("ap_1")).await.unwrap().is_some());
    assert_eq!(bed.store.approval(&id("ap_2")).await.unwrap(), None);
}
