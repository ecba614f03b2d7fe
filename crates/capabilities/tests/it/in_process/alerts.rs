use super::bed::Bed;
use kruxos_types::Principal;
use serde_json::json;

#[test]
fn an_alert_is_sent_listed_and_closed() {
    let bed = Bed::new();
    let sent = bed.ok(
        "alerts.send",
        json!({"message": "disk?", "severity": "warning", "context": {"left": 3}}),
    );
    assert_eq!(sent["severity"], "warning");
    assert_eq!(sent["delivered_to"], "operator");
    let id = &sent["alert_id"];
    let open = bed.ok("alerts.list", json!({"status": "open"}));
    let alert = &open["alerts"][0];
    assert_eq!(alert["alert_id"], *id);
    assert_eq!(alert["source"], "agent:tester");
    assert_eq!(alert["context"], json!({"left": 3}));
    assert_eq!(alert["acknowledged_by"], json!(null));

    bed.ok(
        "alerts.acknowledge",
        json!({"alert_id": id, "acknowledged_by": "operator"}),
    );
    assert_eq!(bed.ok("alerts.list", json!({"status": "open"}))["total"], 0);
    let closed = bed.ok("alerts.list", json!({"status": "acknowledged"}));
    // The true caller stands first: nobody signs with another's name.
    assert_eq!(
        closed["alerts"][0]["acknowledged_by"],
        "agent:tester for operator"
    );
}

#[test]
fn agents_see_and_close_only_their_own() {
    let bed = Bed::new();
    let sent = bed.ok("alerts.send", json!({"message": "mine"}));
    let other = Principal::agent("other");
    assert_eq!(
        bed.ok_as(other.clone(), "alerts.list", json!({}))["total"],
        0
    );
    let id = json!({"alert_id": sent["alert_id"]});
    bed.fail_as(other, "alerts.acknowledge", id.clone(), "AlertNotFound");
    // An agent that has the name of a person is still another source.
    bed.ok_as(
        Principal::agent("ada"),
        "alerts.send",
        json!({"message": "hers"}),
    );

    let person = Principal::user("ada");
    assert_eq!(
        bed.ok_as(person.clone(), "alerts.list", json!({}))["total"],
        2
    );
    bed.ok_as(person, "alerts.acknowledge", id);
    assert_eq!(bed.ok("alerts.list", json!({"status": "open"}))["total"], 0);
}

#[test]
fn what_an_alert_holds_is_bounded() {
    let bed = Bed::new();
    let fits = "é".repeat(2048);
    bed.ok("alerts.send", json!({ "message": fits }));
    for (field, inputs) in [
        ("message", json!({"message": format!("{fits}x")})),
        ("message", json!({"message": " \n "})),
        ("message", json!({"message": ""})),
        (
            "context",
            json!({"message": "m", "context": {"a": "x".repeat(16 * 1024)}}),
        ),
        (
            "severity",
            json!({"message": "m", "severity": "catastrophic"}),
        ),
    ] {
        let error = bed.fail("alerts.send", inputs, "InvalidInput");
        assert_eq!(error["context"]["field"], field);
    }
    bed.fail(
        "alerts.acknowledge",
        json!({"alert_id": "nothing"}),
        "AlertNotFound",
    );
}
