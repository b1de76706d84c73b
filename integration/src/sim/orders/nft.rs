//! Commands of `nft` for tables of a scenario's own.

use std::net::IpAddr;

use crate::sim::{
    firewall::{Change, Condition, Heading, Hook, Rule},
    nat::NatKind,
    orders::{Order, Place},
};

/// One command, without its first word and without quotes.
pub(super) fn read(place: &Place<'_>, text: &str) -> Result<Vec<Order>, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let firewall = |change| Ok(vec![place.firewall(change)]);
    match words[..] {
        ["delete", "table", "inet", table] => firewall(Change::Delete(table.to_owned())),
        ["add", "table", "inet", table] => firewall(Change::Table(table.to_owned())),
        ["add", "chain", "inet", table, chain, ..] => {
            let (_, body) = text.split_once('{').ok_or("a chain without a body")?;
            let (hook, rest) = head(body.trim().trim_end_matches('}'))?;
            if !rest.trim().is_empty() {
                return Err(format!("`{}` in a chain's head", rest.trim()));
            }
            firewall(Change::Chain {
                table: table.to_owned(),
                chain: chain.to_owned(),
                hook,
            })
        }
        ["add", "rule", "inet", table, chain, ref conditions @ ..] => firewall(Change::Rule {
            table: table.to_owned(),
            chain: chain.to_owned(),
            rule: rule(conditions)?,
        }),
        ["table", "inet", table, "{", "chain", chain, "{", ..] => {
            let (_, body) = text.rsplit_once('{').ok_or("a chain without a body")?;
            whole(place, table, chain, body)
        }
        ["flush", "chain", "ip", "nat", "postrouting"] => Ok(vec![Order::Translate {
            site: place.own_site()?,
            nat: NatKind::None,
        }]),
        [
            "add",
            "rule",
            "ip",
            "nat",
            "postrouting",
            "oifname",
            "wan",
            "masquerade",
            "fully-random",
        ] => Ok(vec![Order::Translate {
            site: place.own_site()?,
            nat: NatKind::Symmetric,
        }]),
        _ => Err(format!("`nft {text}`")),
    }
}

/// A table with one chain and its rules.
fn whole(place: &Place<'_>, table: &str, chain: &str, body: &str) -> Result<Vec<Order>, String> {
    let (hook, rules) = head(body)?;
    let (table, chain) = (table.to_owned(), chain.to_owned());
    let mut changes = vec![
        Change::Table(table.clone()),
        Change::Chain {
            table: table.clone(),
            chain: chain.clone(),
            hook,
        },
    ];
    let statements = rules.split(';').map(str::trim);
    for statement in statements.filter(|statement| !statement.is_empty() && *statement != "}") {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let closed = words.iter().all(|word| *word == "}");
        if !closed {
            changes.push(Change::Rule {
                table: table.clone(),
                chain: chain.clone(),
                rule: rule(&words)?,
            });
        }
    }
    Ok(changes
        .into_iter()
        .map(|change| place.firewall(change))
        .collect())
}

/// `type filter hook HOOK priority PRIORITY;` and what follows. All that is dropped here is dropped by some rule, so that priorities
/// decide nothing.
fn head(body: &str) -> Result<(Hook, &str), String> {
    let (head, rest) = body.split_once(';').ok_or("a chain without a head")?;
    let words: Vec<&str> = head.split_whitespace().collect();
    let ["type", "filter", "hook", hook, "priority", _] = words[..] else {
        return Err(format!("a chain of `{}`", head.trim()));
    };
    let hook = match hook {
        "input" => Hook::Input,
        "output" => Hook::Output,
        "forward" => Hook::Forward,
        _ => return Err(format!("a chain at the hook {hook}")),
    };
    Ok((hook, rest))
}

fn rule(words: &[&str]) -> Result<Rule, String> {
    let mut conditions = Vec::new();
    let mut left = words;
    loop {
        left = match left {
            ["drop"] => return Ok(Rule(conditions)),
            ["ip" | "ip6", "saddr", address, rest @ ..] => {
                conditions.push(Condition::From(parsed::<IpAddr>(address)?));
                rest
            }
            ["ip" | "ip6", "daddr", address, rest @ ..] => {
                conditions.push(Condition::To(parsed::<IpAddr>(address)?));
                rest
            }
            ["udp", "dport", port, rest @ ..] => {
                conditions.push(Condition::ToPort(parsed(port)?));
                rest
            }
            ["udp", "sport", port, rest @ ..] => {
                conditions.push(Condition::FromPort(parsed(port)?));
                rest
            }
            // All that is simulated as packets is UDP.
            ["meta", "l4proto", "udp", rest @ ..] => rest,
            ["meta", "length", ">" | "\\>", bytes, rest @ ..] => {
                conditions.push(Condition::LongerThan(parsed(bytes)?));
                rest
            }
            ["iifname", "lan0", "oifname", "wan", rest @ ..] => {
                conditions.push(Condition::Heading(Heading::Outward));
                rest
            }
            ["@th,64,8", byte, rest @ ..] => {
                conditions.push(Condition::FirstByte(parsed(byte)?));
                rest
            }
            ["numgen", "random", "mod", "100", "<", percent, rest @ ..] => {
                conditions.push(Condition::Share(parsed(percent)?));
                rest
            }
            // No run lasts a day: the burst is all there is.
            [
                "limit",
                "rate",
                "1/day",
                "burst",
                packets,
                "packets",
                rest @ ..,
            ] => {
                conditions.push(Condition::First(parsed(packets)?));
                rest
            }
            _ => return Err(format!("`{}` in a rule", left.join(" "))),
        };
    }
}

fn parsed<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` in a rule"))
}
