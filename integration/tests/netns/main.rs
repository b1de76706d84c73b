//! Labs with real packets: each test starts the `lab` program and looks at it from outside.
//!
//! A machine that cannot stage a lab skips loudly, unless `REQUIRE_STAGE` contains `netns`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "a test harness reports on standard output"
)]

mod adhoc;
mod agents;
mod container;
mod direct;
mod extension;
mod judging;
mod lifecycle;
mod network;
mod node_echo;
mod remains;
mod routers;
mod scenarios;
mod support;
mod uplinks;

use std::{env, panic, process::ExitCode, sync::Mutex, thread, time::Instant};

/// Scenarios wait most of the time: six labs are not all that two processors can do, and a busy machine is no excuse.
const SCENARIOS_AT_A_TIME: usize = 6;

/// A test with a name of its own.
struct Test {
    name: String,
    run: Box<dyn Fn() + panic::RefUnwindSafe + Send>,
    /// Whether it may run while others do.
    beside_others: bool,
}

const LAB_TESTS: &[(&str, fn())] = &[
    (
        "all_pairs_answer_inside_the_tunnel",
        network::all_pairs_answer_inside_the_tunnel,
    ),
    (
        "node_addresses_are_steered_into_the_tunnel",
        network::node_addresses_are_steered_into_the_tunnel,
    ),
    (
        "the_home_router_hides_its_lan",
        network::the_home_router_hides_its_lan,
    ),
    (
        "a_routed_site_can_be_dialled",
        network::a_routed_site_can_be_dialled,
    ),
    (
        "a_blocked_node_cannot_be_reached_until_healed",
        network::a_blocked_node_cannot_be_reached_until_healed,
    ),
    (
        "data_is_dropped_while_handshakes_pass",
        network::data_is_dropped_while_handshakes_pass,
    ),
    (
        "loss_is_on_one_direction_only",
        network::loss_is_on_one_direction_only,
    ),
    (
        "nothing_of_a_home_gets_out_when_its_router_blocks",
        network::nothing_of_a_home_gets_out_when_its_router_blocks,
    ),
    (
        "a_host_firewall_drops_what_arrived",
        network::a_host_firewall_drops_what_arrived,
    ),
    (
        "an_unknown_host_is_named_with_the_known_ones",
        network::an_unknown_host_is_named_with_the_known_ones,
    ),
    ("lab_down_leaves_nothing", remains::lab_down_leaves_nothing),
    (
        "killing_the_starter_leaves_nothing",
        remains::killing_the_starter_leaves_nothing,
    ),
    (
        "interrupting_the_starter_leaves_nothing",
        remains::interrupting_the_starter_leaves_nothing,
    ),
    (
        "killing_the_warden_leaves_no_process",
        remains::killing_the_warden_leaves_no_process,
    ),
    (
        "eight_nodes_on_two_sites_make_one_mesh",
        network::eight_nodes_on_two_sites_make_one_mesh,
    ),
    (
        "two_implementations_make_one_mesh",
        network::two_implementations_make_one_mesh,
    ),
    (
        "an_expected_verdict_passes_and_recovery_is_timed",
        judging::an_expected_verdict_passes_and_recovery_is_timed,
    ),
    (
        "a_wrong_accusation_fails_with_both_names",
        judging::a_wrong_accusation_fails_with_both_names,
    ),
    (
        "a_killed_agent_and_collector_come_back_when_healed",
        judging::a_killed_agent_and_collector_come_back_when_healed,
    ),
    (
        "agents_change_nothing_and_show_no_key",
        agents::agents_change_nothing_and_show_no_key,
    ),
    (
        "probes_stay_within_their_budget",
        agents::probes_stay_within_their_budget,
    ),
    (
        "every_direction_is_proved_by_an_echo_through_a_firewall_that_blocks_by_default",
        node_echo::every_direction_is_proved_by_an_echo_through_a_firewall_that_blocks_by_default,
    ),
    (
        "no_gate_opens_while_a_pair_is_broken",
        agents::no_gate_opens_while_a_pair_is_broken,
    ),
    (
        "killing_any_one_process_shuts_the_gate_until_it_is_back",
        agents::killing_any_one_process_shuts_the_gate_until_it_is_back,
    ),
    (
        "bad_input_is_answered_by_name",
        agents::bad_input_is_answered_by_name,
    ),
    (
        "the_path_mtu_is_measured_beside_the_tunnel_and_through_it",
        adhoc::the_path_mtu_is_measured_beside_the_tunnel_and_through_it,
    ),
    (
        "an_agent_without_raw_sockets_says_so_and_still_reports",
        agents::an_agent_without_raw_sockets_says_so_and_still_reports,
    ),
    (
        "a_talos_that_misbehaves_costs_its_own_facts_and_nothing_else",
        agents::a_talos_that_misbehaves_costs_its_own_facts_and_nothing_else,
    ),
    (
        "agents_answer_for_the_mesh_when_no_collector_lives",
        direct::agents_answer_for_the_mesh_when_no_collector_lives,
    ),
    (
        "an_agent_whose_way_past_the_tunnel_is_shut_reports_through_it_and_says_so",
        uplinks::an_agent_whose_way_past_the_tunnel_is_shut_reports_through_it_and_says_so,
    ),
    (
        "the_services_of_the_extension_report_from_their_containers",
        extension::the_services_of_the_extension_report_from_their_containers,
    ),
    (
        "a_machined_that_comes_later_and_a_socket_made_anew_are_found",
        lifecycle::a_machined_that_comes_later_and_a_socket_made_anew_are_found,
    ),
    (
        "kubespan_that_is_enabled_after_the_agents_started_makes_the_mesh_ready",
        lifecycle::kubespan_that_is_enabled_after_the_agents_started_makes_the_mesh_ready,
    ),
    (
        "a_node_with_new_keys_or_a_new_name_is_taken_as_it_is_and_nobody_is_accused",
        lifecycle::a_node_with_new_keys_or_a_new_name_is_taken_as_it_is_and_nobody_is_accused,
    ),
    (
        "the_routers_of_the_machines_route_translate_and_are_made_anew",
        routers::the_routers_of_the_machines_route_translate_and_are_made_anew,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for test in tests() {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = support::cannot_stage() {
        return support::skip("all tests with namespaces", &reason);
    }
    let wanted = |name: &str| {
        let mut filters = arguments
            .iter()
            .filter(|argument| !argument.starts_with('-'))
            .peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    let chosen: Vec<Test> = tests()
        .into_iter()
        .filter(|test| wanted(&test.name))
        .collect();
    let count = chosen.len();
    let failed = failures(chosen);
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {} passed; {} failed",
        count - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Runs what looks at the whole machine one by one, and scenarios, which mostly wait, some at a time.
fn failures(tests: Vec<Test>) -> Vec<String> {
    let (scenarios, labs): (Vec<Test>, Vec<Test>) =
        tests.into_iter().partition(|test| test.beside_others);
    let failed = labs.iter().filter(|test| !passes(test));
    let failed: Vec<String> = failed.map(|test| test.name.clone()).collect();
    let (queue, failed) = (Mutex::new(scenarios.into_iter()), Mutex::new(failed));
    let next = || queue.lock().ok()?.next();
    thread::scope(|scope| {
        for _ in 0..SCENARIOS_AT_A_TIME {
            scope.spawn(|| {
                while let Some(test) = next() {
                    if !passes(&test)
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push(test.name);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_default()
}

/// The tests of the lab, then one for each scenario file.
fn tests() -> Vec<Test> {
    let labs = LAB_TESTS.iter().map(|(name, run)| Test {
        name: (*name).to_owned(),
        run: Box::new(run),
        beside_others: false,
    });
    let scenarios = scenarios::files().into_iter().map(|file| Test {
        name: format!(
            "scenario_{}",
            file.file_stem().unwrap_or_default().display()
        ),
        run: Box::new(move || scenarios::holds(&file)),
        beside_others: true,
    });
    labs.chain(scenarios).collect()
}

fn passes(test: &Test) -> bool {
    let name = &test.name;
    let begin = Instant::now();
    let passed = panic::catch_unwind(|| (test.run)()).is_ok();
    let mark = if passed { "ok" } else { "FAILED" };
    println!(
        "test {name} ... {mark} ({:.1} s)",
        begin.elapsed().as_secs_f64()
    );
    passed
}
