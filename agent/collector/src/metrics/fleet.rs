//! What `docs/fleet` asks Prometheus for is what collectors export.

use std::collections::BTreeSet;

use diagnosis::hold::Hold;
use evidence::Moment;
use serde_json::Value;

use super::*;

const RULES: &str = include_str!("../../../../docs/fleet/rules.yml");
const RULES_TEST: &str = include_str!("../../../../docs/fleet/rules_test.yml");
const FEDERATE: &str = include_str!("../../../../docs/fleet/federate.yml");
const PROMETHEUS: &str = include_str!("../../../../docs/fleet/prometheus.yml");
const DASHBOARD: &str = include_str!("../../../../docs/fleet/dashboard.json");

/// Names as Prometheus has them: of collectors, and, with colons, of recording rules.
fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(|c| !is_name(c))
        .filter(|word| word.starts_with("mesh_") || word.contains(":mesh_"))
        // A pattern ends in the middle of a name.
        .filter(|word| !word.ends_with(['_', ':']))
        .collect()
}

fn exported() -> BTreeSet<String> {
    let judged = Judged {
        verdict: Verdict::default(),
        at: Moment::ZERO,
        revision: 1,
        hold: Hold::new(std::time::Duration::ZERO),
    };
    let text = table(Some(&judged), &Counters::default(), Some(1)).text();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    families
        .filter_map(|rest| rest.split(' ').next())
        .map(str::to_owned)
        .collect()
}

fn recorded() -> BTreeSet<String> {
    let rules = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "));
    rules.map(str::to_owned).collect()
}

#[test]
fn every_metric_of_rules_and_dashboard_is_exported_or_recorded() {
    let (exported, recorded) = (exported(), recorded());
    assert!(exported.len() > 30 && recorded.len() > 5, "{recorded:?}");
    for (file, text) in [
        ("rules.yml", RULES),
        ("rules_test.yml", RULES_TEST),
        ("federate.yml", FEDERATE),
        ("dashboard.json", DASHBOARD),
    ] {
        for name in names(text) {
            let known = exported.contains(name) || recorded.contains(name);
            assert!(known, "{file} asks for {name}, which nobody exports");
        }
    }
    let used = names(DASHBOARD);
    let alerts = RULES.split("- name: mesh-alerts").nth(1).unwrap();
    for name in &recorded {
        let used = used.contains(name.as_str()) || names(alerts).contains(name.as_str());
        assert!(used, "nobody asks for {name}");
    }
}

#[test]
fn every_alert_is_tested_when_it_fires_and_when_not() {
    let alerts = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        let silent = format!("alertname: {alert}}}");
        assert!(RULES_TEST.contains(&fires), "{alert} never fires");
        assert!(RULES_TEST.contains(&silent), "{alert} is never silent");
    }
}

#[test]
fn the_scrape_trusts_the_name_that_collectors_have() {
    let name = format!("server_name: {}}}", proto::trust::COLLECTOR_NAME);
    assert_eq!(PROMETHEUS.matches(&name).count(), 10, "{name}");
}

#[test]
fn the_dashboard_asks_the_chosen_prometheus_about_the_chosen_clusters() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert_eq!(dashboard["editable"], false);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|one| &one["name"]).collect();
    assert_eq!(variables, ["datasource", "cluster"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
            let asks = target["expr"].as_str().unwrap();
            assert!(asks.contains("cluster=~\"$cluster\""), "{asks}");
            // A fixed range is too short for one who scrapes seldom, and Grafana knows how often that is.
            let rates = asks.matches("rate(").count();
            assert_eq!(asks.matches("[$__rate_interval]").count(), rates, "{asks}");
        }
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        let named = panel["type"] == "state-timeline" || unit.is_string();
        assert!(named, "{panel}");
    }
}
