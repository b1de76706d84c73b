//! The dashboard that we ship, before Grafana's own types: what they do not know, what they miss, and that they read what stands there.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{
    own,
    real::{build, versions},
    report::{Report, Row, Section},
};

const FILE: &str = "../docs/fleet/dashboard.json";

pub(crate) fn run(report: &mut Report) {
    let program = build("dashboard", ".", "dashboard");
    let folder = tempfile::tempdir().unwrap();
    let judge = |dashboard: &Value| {
        let path = folder.path().join("dashboard.json");
        fs::write(&path, dashboard.to_string()).unwrap();
        let output = Command::new(&program).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let shipped = fs::read_to_string(own().join(FILE)).unwrap();
    let shipped: Value = serde_json::from_str(&shipped).unwrap();
    report.sections.push(Section {
        title: "Dashboard".to_owned(),
        versions: versions("dashboard"),
        rows: vec![read(&shipped, &judge), refused(&shipped, &judge)],
    });
}

fn read(shipped: &Value, judge: &dyn Fn(&Value) -> Value) -> Row {
    let mut row = Row::named("`docs/fleet/dashboard.json`");
    let said = judge(shipped);
    row.expect("problems", &json!([]), &said["problems"]);
    row.expect("title", &shipped["title"], &said["title"]);
    let names = list(&shipped["templating"]["list"]).map(|one| one["name"].clone());
    row.expect("variables", &names.collect::<Value>(), &said["variables"]);
    let panels = list(&shipped["panels"]).zip(list(&said["panels"]));
    row.expect(
        "panels",
        &list(&shipped["panels"]).count(),
        &list(&said["panels"]).count(),
    );
    for (ours, read) in panels {
        let title = ours["title"].as_str().unwrap();
        row.expect(title, &ours["title"], &read["title"]);
        row.expect(title, &ours["type"], &read["kind"]);
        let unit = ours["fieldConfig"]["defaults"]["unit"].as_str();
        row.expect(
            title,
            unit.unwrap_or_default(),
            read["unit"].as_str().unwrap(),
        );
        let queries = list(&ours["targets"]).map(|target| target["expr"].clone());
        row.expect(title, &queries.collect::<Value>(), &read["queries"]);
    }
    row
}

/// Without their complaints here their silence above would prove nothing.
fn refused(shipped: &Value, judge: &dyn Fn(&Value) -> Value) -> Row {
    let mut row = Row::named("what is wrong is refused");
    for (place, value, told) in [
        (
            "/panels/0/options/colour",
            json!("red"),
            "unexpected field 'colour'",
        ),
        ("/panels/0/gridPos/w", json!("wide"), "panels[0].gridPos.w"),
        (
            "/panels/8/fieldConfig/defaults/unit",
            json!(5),
            "panels[8].fieldConfig",
        ),
        (
            "/panels/0/targets/0/query",
            json!("up"),
            "panels[0].targets[0]",
        ),
        (
            "/templating/list/0/current",
            json!({}),
            "templating.list[0].current.text",
        ),
    ] {
        let mut wrong = shipped.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        let parent = wrong.pointer_mut(parent).unwrap();
        parent
            .as_object_mut()
            .unwrap()
            .insert(key.to_owned(), value);
        let said = judge(&wrong)["problems"].to_string();
        row.expect(&format!("{place} ({said})"), &said.contains(told), &true);
    }
    row
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
