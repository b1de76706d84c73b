//! `install plan`: what is printed can be followed, and is what Talos reads.

use serde_json::Value;

use crate::program::{bare, run};

const TYPED: [&str; 12] = [
    "install",
    "plan",
    "--talos",
    "1.13.9",
    "--extension",
    "registry.example.org/talos-mesh:v0.1.0",
    "--installer",
    "registry.example.org/installer",
    "--control-planes",
    "203.0.113.11,203.0.113.12",
    "--workers",
    "192.168.50.11,home-worker",
];

async fn plan(more: &[&str]) -> String {
    let mut command = bare();
    command.args(TYPED).args(more);
    let ran = run(command).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout
}

#[tokio::test]
async fn a_plan_can_be_followed_line_by_line() {
    insta::assert_snapshot!(plan(&[]).await);
}

#[tokio::test]
async fn every_document_of_a_plan_has_the_fields_that_talos_reads() {
    let elsewhere = ["--collectors", "192.168.50.11", "-o", "json"];
    let plan: Value = serde_json::from_str(&plan(&elsewhere).await).unwrap();
    assert_eq!(plan["kind"], "InstallPlan");
    let steps = plan["plan"]["steps"].as_array().unwrap();
    let files = steps.iter().filter_map(|step| step["files"].as_array());
    let contents: Vec<&str> = files
        .flatten()
        .map(|file| file["content"].as_str().unwrap())
        .collect();
    assert_eq!(contents.len(), 3);
    let kinds = |kind: &str| {
        let line = format!("kind: {kind}\n");
        let documents = contents.iter().flat_map(|text| text.split("---\n"));
        documents.filter(|text| text.contains(&line)).count()
    };
    assert_eq!(kinds("ExtensionServiceConfig"), 2);
    assert_eq!(kinds("NetworkRuleConfig"), 2);
    for document in contents.iter().flat_map(|text| text.split("---\n")) {
        let named =
            document.contains("\nname: mesh-") && document.starts_with("apiVersion: v1alpha1\n");
        assert!(named || document.starts_with("machine:\n"), "{document}");
    }
}

#[tokio::test]
async fn agents_are_told_of_collectors_only_where_talos_does_not_tell_them() {
    let on_control_planes = plan(&["--collectors", "203.0.113.12"]).await;
    assert!(!on_control_planes.contains("MESH_COLLECTORS"));
    let elsewhere = plan(&["--collectors", "203.0.113.12,192.168.50.11"]).await;
    let told = "  - MESH_COLLECTORS=203.0.113.12:21820,192.168.50.11:21820\n";
    assert!(elsewhere.contains(told), "{elsewhere}");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_printed() {
    let mut typed = TYPED;
    typed[3] = "v1.9.0";
    let mut command = bare();
    command.args(typed);
    let ran = run(command).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("too old"), "{}", ran.stderr);
}
