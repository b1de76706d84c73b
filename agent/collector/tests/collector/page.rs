//! The status page: who is told what, and that it says what every other surface says.

use crate::{
    fixture::{API, Collector, MESH, key, peer},
    web::{Answer, ask, get, get_tls, request},
};
use evidence::Moment;

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let lines = answer.head.lines();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let mut wanted = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    wanted.next().map(|(_, value)| value)
}

/// What the row of a level says: ready, may start.
fn row(page: &str, level: &str) -> (String, String) {
    let begin = format!("<th scope=\"row\">{level}</th>");
    let row = page.split(&begin).nth(1).unwrap();
    let row = row.split("</tr>").next().unwrap();
    let word = |title: &str| {
        let cell = row.split(&format!("data-title=\"{title}\">")).nth(1);
        let cell = cell.unwrap().split("</td>").next().unwrap();
        let word = cell.strip_suffix("</span>").unwrap();
        word.rsplit_once("</span> ").unwrap().1.to_owned()
    };
    (word("Ready"), word("May start"))
}

/// The same words of what `/gate/LEVEL` answers.
async fn gate(collector: &Collector, level: &str) -> (String, String) {
    let ask = async |path: String| {
        let document = get(collector.detailed, &path).await.json();
        document["answer"].as_str().unwrap().to_owned()
    };
    let ready = ask(format!("/gate/{level}")).await.replace('-', " ");
    let may_start = match ask(format!("/gate/{level}/may-start")).await.as_str() {
        "ready" => "yes",
        "not-ready" => "no",
        other => return (ready, other.to_owned()),
    };
    (ready, may_start.to_owned())
}

#[tokio::test]
async fn the_page_says_of_each_level_what_every_gate_says() {
    let collector = Collector::start();
    let mut agents = Vec::new();
    for nodes in 0..3 {
        collector
            .until(|verdict| verdict.nodes.len() == nodes)
            .await;
        for level in [MESH, API] {
            let said = gate(&collector, level).await;
            for page in [
                get(collector.bare, "/").await,
                get(collector.detailed, "/").await,
                get_tls(collector.https, "/").await,
            ] {
                assert_eq!(page.status, 200, "{page:?}");
                assert_eq!(row(&page.body, level), said, "{level}");
            }
        }
        agents.push(collector.reporting(&format!("vps-{nodes}")).await);
    }
}

#[tokio::test]
async fn without_credentials_the_page_tells_phases_alone() {
    let collector = Collector::start();
    let _agent = collector.reporting("vps-1").await;
    collector.until(|verdict| !verdict.nodes.is_empty()).await;
    for path in ["/", "/?from=vps-1&to=vps-2"] {
        let bare = get(collector.bare, path).await;
        assert!(!bare.body.contains("1 nodes report"), "{bare:?}");
        assert!(!bare.body.contains("vps-1</"), "{bare:?}");
    }
    let told = get_tls(collector.https, "/").await;
    for text in ["1 nodes report", "vps-1", "id=\"nodes\"", "id=\"history\""] {
        assert!(told.body.contains(text), "{text}: {told:?}");
    }
}

#[tokio::test]
async fn a_browser_is_forbidden_to_run_load_keep_or_frame_anything() {
    let collector = Collector::start();
    let page = get(collector.detailed, "/").await;
    let policy = header(&page, "content-security-policy").unwrap();
    for part in [
        "default-src 'none'; style-src 'sha256-",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(header(&page, name), Some(value), "{name}");
    }
    let head = ask(collector.detailed, &request("HEAD", "/")).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(header(&head, "content-security-policy"), Some(policy));
    let posted = ask(collector.detailed, &request("POST", "/")).await;
    assert_eq!(posted.status, 405);
}

/// What a browser would let a page read that has given its own name the address of loopback.
#[tokio::test]
async fn details_on_loopback_are_told_under_no_other_name() {
    let collector = Collector::start();
    let named = |host: &str, path: &str| {
        request("GET", path).replace("Host: 127.0.0.1", &format!("Host: {host}"))
    };
    for path in ["/", "/mesh", "/metrics"] {
        let rebound = ask(collector.detailed, &named("rebound.example:21880", path)).await;
        assert_eq!(rebound.status, 421, "{rebound:?}");
        let local = ask(collector.detailed, &named("localhost:21880", path)).await;
        assert_eq!(local.status, 200, "{local:?}");
    }
    let bare = ask(collector.bare, &named("rebound.example", "/gates")).await;
    assert_eq!(bare.status, 200, "{bare:?}");
}

#[tokio::test]
async fn a_cell_of_the_matrix_leads_to_its_ladder_and_an_unknown_one_to_none() {
    let collector = Collector::start();
    let mut agent = collector.reporting("vps-1").await;
    let fact = peer(7, Moment::from_millis(-5_000_001_000));
    agent.delta(vec![fact], Vec::new()).await;
    collector.until(|verdict| !verdict.pairs.is_empty()).await;
    let page = get(collector.detailed, "/").await.body;
    let mut links = page.split("href=\"?from=vps-1&amp;to=").skip(1);
    let to = links.find_map(|rest| rest.split('"').next()).unwrap();
    let ladder = get(collector.detailed, &format!("/?from=vps-1&to={to}")).await;
    assert_eq!(ladder.status, 200, "{ladder:?}");
    let title = format!("vps-1 \u{2192} peer {}..</h2>", key(7).short());
    assert!(ladder.body.contains(&title), "{ladder:?}");
    let none = get(collector.detailed, "/?from=vps-1&to=%3Cscript%3E").await;
    assert_eq!(none.status, 404);
    assert!(!none.body.contains("<script"), "{none:?}");
    assert!(
        none.body
            .contains("no direction vps-1 \u{2192} &lt;script&gt; is known")
    );
    let wrong = get(collector.detailed, "/?form=vps-1").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("known fields: from, to, refresh"));
}
