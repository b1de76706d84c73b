//! Another port of the collector than the one that is asked.

use diagnosis::Expectation;
use mesh_collector::{Config, Http, Open, run};
use proto::transport::listen;

use crate::{
    program::ask,
    server::{KEY, key},
};

/// Where a whole collector has its plain port, and that with TLS.
fn web() -> [String; 2] {
    let mut config = Config::new(key(KEY), Expectation::default());
    let addresses = [Open::Gates, Open::Tls].map(|open| {
        let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        config.http.push(Http { listener, open });
        address
    });
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    tokio::spawn(run(listener, config, std::future::pending()));
    addresses
}

#[tokio::test]
async fn a_port_of_http_is_told_from_that_of_listen() {
    let [http, https] = web();
    for command in ["gate mesh", "status", "history", "gate graph", "bundle"] {
        let run = ask(&http, command).await;
        assert_eq!(run.code, 3, "{run:?}");
        let says = format!(
            "error: {http} was reached, but is no collector\n  because: {http} does not speak TLS\n"
        );
        assert!(run.stderr.starts_with(&says), "{run:?}");
        assert!(!run.stderr.contains("mesh key"), "{run:?}");
        let help = "help: this is not the port of mesh-collector --listen (21820 by default), which speaks TLS: is it that of --http?\n";
        assert!(run.stderr.ends_with(help), "{run:?}");

        let run = ask(&https, command).await;
        assert_eq!(run.code, 3, "{run:?}");
        let says = format!(
            "error: {https} was reached, but answers as a web server, and not as a collector\n"
        );
        assert!(run.stderr.starts_with(&says), "{run:?}");
        let help = "help: this is not the port of mesh-collector --listen (21820 by default), but one of HTTP, as --https has\n";
        assert!(run.stderr.ends_with(help), "{run:?}");
    }
}
