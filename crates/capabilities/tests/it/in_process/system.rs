use super::bed::{Bed, healthy};
use serde_json::json;

#[test]
fn time_is_utc_unless_a_zone_is_asked_for() {
    let bed = Bed::new();
    let utc = bed.ok("system.time", json!({}));
    assert_eq!(utc["utc"], "2030-01-02T03:04:05.678Z");
    assert_eq!(utc["unix_epoch"], 1_893_553_445);
    assert_eq!(utc["unix_epoch_ms"], 1_893_553_445_678_i64);
    assert_eq!(utc["local"], "2030-01-02T03:04:05.678+00:00");
    assert_eq!(utc["timezone"], "UTC");

    let tokyo = bed.ok("system.time", json!({"timezone": "asia/tokyo"}));
    assert_eq!(tokyo["local"], "2030-01-02T12:04:05.678+09:00");
    assert_eq!(tokyo["timezone"], "Asia/Tokyo");
    assert_eq!(tokyo["utc"], utc["utc"]);

    // Half-hour offset, west, and summer time.
    bed.clock.set("2030-07-01T12:00:00Z".parse().unwrap());
    let newfoundland = bed.ok("system.time", json!({"timezone": "America/St_Johns"}));
    assert_eq!(newfoundland["local"], "2030-07-01T09:30:00.000-02:30");
}

#[test]
fn an_unknown_zone_is_answered_with_the_nearest() {
    let bed = Bed::new();
    let error = bed.fail(
        "system.time",
        json!({"timezone": "Europe/Berln"}),
        "InvalidTimezone",
    );
    assert_eq!(error["context"]["suggestions"][0], "Europe/Berlin");
    assert!(
        error["agent_description"]
            .as_str()
            .unwrap()
            .contains("Europe/Berlin")
    );
    for wrong in [
        "+02:00",
        "../../etc/passwd",
        "/etc/localtime",
        "Mars/Olympus",
    ] {
        bed.fail(
            "system.time",
            json!({ "timezone": wrong }),
            "InvalidTimezone",
        );
    }
}

#[test]
fn info_is_about_this_machine() {
    let bed = Bed::new();
    let info = bed.ok("system.info", json!({}));
    let number = |name: &str| info[name].as_u64().unwrap();
    assert_eq!(number("agent_count"), 3);
    assert!(number("cpu_count") >= 1);
    assert!(number("memory_total_bytes") >= number("memory_available_bytes"));
    assert!(number("disk_total_bytes") >= number("disk_available_bytes"));
    assert!(number("disk_total_bytes") > 0);
    assert!(info["os_version"].as_str().unwrap().contains("Linux"));
}

#[test]
fn health_is_the_gateways_report() {
    let bed = Bed::new();
    let health = bed.ok("system.health", json!({}));
    assert_eq!(health["overall_status"], "healthy");
    assert_eq!(health["services"][0]["name"], "audit");
    assert_eq!(health["resource_usage"]["cpu_percent"], 3);
    assert_eq!(
        health["queue_depths"],
        json!({"approvals": 2, "dead_letters": 0, "messages": 1})
    );

    let mut broken = healthy();
    broken["services"] = json!(null);
    *bed.host.health.lock().unwrap() = broken;
    bed.fail("system.health", json!({}), "HealthCheckError");
}

#[test]
fn metrics_take_a_window_of_up_to_a_day() {
    let bed = Bed::new();
    assert_eq!(bed.ok("system.metrics", json!({}))["window"], "5m");
    let metrics = bed.ok("system.metrics", json!({"window": "24h"}));
    assert_eq!(metrics["cpu"]["percent"], 12);
    assert!(metrics.get("something_else").is_none());
    for wrong in ["0s", "25h", "5", "m", "-1m", "1d", "five"] {
        let error = bed.fail("system.metrics", json!({ "window": wrong }), "InvalidInput");
        assert_eq!(error["context"]["field"], "window", "{wrong}");
    }
    assert_eq!(*bed.host.windows.lock().unwrap(), [300, 86_400]);
}
