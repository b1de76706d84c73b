//! Scripts: those that are known as a whole, and others command by command.

use crate::sim::{
    nat::NatKind,
    time::{MILLI, Micros},
};

use super::{
    DeviceChange, Order, Place, Program, Script, SteerChange, VxlanChange, nft, seconds,
    tunnel_address,
};

/// Finds the agent's process on its node.
const FIND_AGENT: &str = r#"here=$(readlink /proc/self/ns/net)
for process in /proc/[0-9]*; do
  if [ "$(readlink "$process/ns/net")" = "$here" ] && [ "$(cat "$process/comm")" = mesh-agent ]; then "#;
/// A peer by the one thing that is known of it.
const BY_ENDPOINT: &str = "$(wg show kubespan endpoints | awk '/<>:/ { print $1 }')";
const BY_ADDRESS: &str = r"$(wg show kubespan allowed-ips | awk '/<>\/32/ { print $1 }')";
const SAVE: &str = "wg showconf kubespan > /run/whole";
const ALLOWED_IPS: &str = r#"ips=$(wg show kubespan allowed-ips | awk -v peer=$peer '$1 == peer { for (i = 2; i <= NF; i++) { printf "%s%s", sep, $i; sep = "," } }')"#;
const LIST_CHAINS: &str = "nft list table inet talos > /run/talos.nft";
/// Where weather and writers have their process ids.
const WEATHER: &str = "/run/weather";
const WRITER: &str = "/run/writer";

/// What a script does, or what in it is not known.
pub(super) fn read(place: &Place<'_>, script: &str) -> Result<Vec<Order>, String> {
    let script = script.trim();
    if script.contains("/run/machined") {
        return Err("it changes what Talos says, and no Talos is simulated".to_owned());
    }
    if script.contains("$LAB") {
        return Err("it starts a server of the lab's own program".to_owned());
    }
    let unknown = |what: String| format!("{what} on {} is not known to the simulator", place.host);
    if let Some(orders) = whole(place, script) {
        return orders.map_err(unknown);
    }
    let script = with_peer_address(place, script).map_err(unknown)?;
    let mut orders = Vec::new();
    for command in commands(&script) {
        orders.extend(one(place, &command).map_err(unknown)?);
    }
    Ok(orders)
}

/// One command of a script.
fn one(place: &Place<'_>, command: &str) -> Result<Vec<Order>, String> {
    if let Some(rest) = command.strip_prefix("nft ") {
        return nft::read(place, &rest.replace(['\'', '"'], ""));
    }
    let device = |change| {
        let node = place.own_node()?;
        Ok(vec![Order::Device { node, change }])
    };
    let steer = |change| {
        let node = place.own_node()?;
        Ok(vec![Order::Steer { node, change }])
    };
    match command {
        "conntrack -F" => return Ok(vec![Order::Forget(place.own_site()?)]),
        "ip link set eth0 down" => return link(place, false),
        "ip link set eth0 up" => return link(place, true),
        SAVE => return device(DeviceChange::Save),
        "wg addconf kubespan /run/whole" => return device(DeviceChange::AddSaved),
        "wg setconf kubespan /run/whole" => return device(DeviceChange::SetSaved),
        "ip rule del pref 32500" => return steer(SteerChange::Rule(false)),
        "ip rule add fwmark 0x40/0x60 table 180 pref 32500" => {
            return steer(SteerChange::Rule(true));
        }
        "ip route flush table 180" => return steer(SteerChange::Table(false)),
        "ip route add default dev kubespan table 180 metric 1 mtu 1420" => {
            return steer(SteerChange::Table(true));
        }
        "ip rule del pref 100" => return steer(SteerChange::Bypass(None)),
        // A file of the scenario's own.
        "rm /run/psk" => return Ok(Vec::new()),
        // The simulator's routes come and go with their link.
        _ if command.starts_with("ip route add default via ") => {
            return place.own_node().map(|_| Vec::new());
        }
        _ => {}
    }
    if let Some(found) = fits("ip route add <> dev eth0", command) {
        let [a, b, c, _] = place.plan.nodes[place.own_node()?].address.octets();
        if found[0] == format!("{a}.{b}.{c}.1") {
            return Ok(Vec::new());
        }
    }
    if let Some(found) = fits("ip rule add to <>/<> lookup main pref 100", command) {
        let network = found[0].parse().ok().zip(found[1].parse().ok());
        return steer(SteerChange::Bypass(network));
    }
    if let Some(found) = fits("ip link set eth0 mtu <>", command)
        && let Ok(bytes) = found[0].parse()
    {
        let node = place.own_node()?;
        return Ok(vec![Order::Mtu { node, bytes }]);
    }
    if let Some((name, change)) = vxlan(command) {
        let node = place.own_node()?;
        return Ok(vec![Order::Vxlan { node, name, change }]);
    }
    for peer in [BY_ENDPOINT, BY_ADDRESS] {
        let command_of = |rest: &str| format!("wg set kubespan peer {peer} {rest}");
        if let Some(found) = fits(&command_of("remove"), command) {
            return device(DeviceChange::Remove(place.node_at(&found[0])?));
        }
        if let Some(found) = fits(&command_of("endpoint <>:51820"), command)
            && let Ok(to) = format!("{}:51820", found[1]).parse()
        {
            let peer = place.node_at(&found[0])?;
            return device(DeviceChange::Endpoint { peer, to });
        }
    }
    for known_as in [WEATHER, WRITER] {
        if command == format!("kill $(cat {known_as})") {
            return Ok(vec![Order::End(script(place, known_as))]);
        }
    }
    Err(format!("`{}`", command.lines().next().unwrap_or_default()))
}

fn link(place: &Place<'_>, up: bool) -> Result<Vec<Order>, String> {
    let node = place.own_node()?;
    Ok(vec![Order::Link { node, up }])
}

fn script(place: &Place<'_>, known_as: &'static str) -> Script {
    Script {
        host: place.host.to_owned(),
        known_as,
    }
}

fn vxlan(command: &str) -> Option<(&'static str, VxlanChange)> {
    let (flannel, cilium) = ("flannel.1", "cilium_vxlan");
    match command {
        "ip link add cilium_vxlan type vxlan external dstport 8472" => {
            return Some((cilium, VxlanChange::Add(None)));
        }
        "ip link delete flannel.1" => return Some((flannel, VxlanChange::Delete)),
        _ => {}
    }
    let add = "ip link add flannel.1 type vxlan id 1 dstport 8472 local <> nolearning";
    if let Some(found) = fits(add, command) {
        return Some((flannel, VxlanChange::Add(Some(found[0].parse().ok()?))));
    }
    let found = fits("ip link set flannel.1 mtu <> up", command)?;
    let mtu = found[0].parse().ok()?;
    Some((flannel, VxlanChange::Up { mtu }))
}

/// Scripts that mean something as a whole; `None` if this is none of them.
fn whole(place: &Place<'_>, script: &str) -> Option<Result<Vec<Order>, String>> {
    device_script(place, script)
        .or_else(|| steering_script(place, script))
        .or_else(|| agent_script(place, script))
        .or_else(|| background_script(place, script))
}

fn device_script(place: &Place<'_>, script: &str) -> Option<Result<Vec<Order>, String>> {
    let device = |changes: Vec<DeviceChange>| {
        let node = place.own_node()?;
        let orders = changes.into_iter();
        Ok(orders
            .map(|change| Order::Device { node, change })
            .collect())
    };
    let of_node = |address: &str, then: &dyn Fn(usize) -> Vec<DeviceChange>| {
        place.node_at(address).and_then(|node| device(then(node)))
    };
    let peer = format!("peer={BY_ENDPOINT}\n{ALLOWED_IPS}\n");
    let psk = format!(
        "{peer}(umask 077; wg genpsk > /run/psk)\nwg set kubespan peer $peer remove\n\
         wg set kubespan peer $peer preshared-key /run/psk endpoint <>:51820 persistent-keepalive 25 allowed-ips $ips"
    );
    let key = format!(
        "{peer}wg show kubespan preshared-keys | awk -v peer=$peer '$1 == peer {{ print $2 }}' > /run/psk\n\
         wg set kubespan peer $peer remove\nwg set kubespan peer $(wg genkey | wg pubkey) preshared-key /run/psk \
         endpoint <>:51820 persistent-keepalive 25 allowed-ips $ips"
    );
    for (template, change) in [
        (&psk, DeviceChange::OtherPsk as fn(usize) -> DeviceChange),
        (&key, DeviceChange::OtherKey),
    ] {
        for saves in [true, false] {
            let template = if saves {
                format!("{SAVE}\n{template}")
            } else {
                template.clone()
            };
            if let Some(found) = fits(&template, script).filter(|found| found[0] == found[1]) {
                let first = saves.then_some(DeviceChange::Save);
                return Some(of_node(&found[0], &|node| {
                    first.into_iter().chain([change(node)]).collect()
                }));
            }
        }
    }
    let before = "wg show kubespan allowed-ips | grep -F <>/32 > /run/before\n\
                  wg set kubespan peer $(cut -f1 /run/before) allowed-ips ";
    let lost = format!("{before}$(grep -o 'fd[0-9a-f:]*/128' /run/before)");
    if let Some(found) = fits(&lost, script) {
        return Some(of_node(&found[0], &|node| {
            vec![DeviceChange::NodeAddressLost(node)]
        }));
    }
    let kept = format!("{before}<>/32");
    if let Some(found) = fits(&kept, script).filter(|found| found[0] == found[1]) {
        return Some(of_node(&found[0], &|node| {
            vec![DeviceChange::TunnelAddressLost(node)]
        }));
    }
    let moved = r#"wg show kubespan allowed-ips > /run/before
to=$(awk '/<>\/32/ { print $1 }' /run/before)
all=$(awk '/<>\/32/ || /<>\/32/ { for (i = 2; i <= NF; i++) { printf "%s%s", sep, $i; sep = "," } }' /run/before)
wg set kubespan peer $to allowed-ips $all"#;
    if let Some(found) = fits(moved, script).filter(|found| found[0] == found[1]) {
        let ends = place.node_at(&found[2]).and_then(|from| {
            let to = place.node_at(&found[0])?;
            device(vec![DeviceChange::AddressesMoved { from, to }])
        });
        return Some(ends);
    }
    let again =
        "wg set kubespan peer $(cut -f1 /run/before) allowed-ips $(cut -f2 /run/before | tr ' ' ,)";
    (script == again).then(|| device(vec![DeviceChange::AddressesAgain]))
}

fn steering_script(place: &Place<'_>, script: &str) -> Option<Result<Vec<Order>, String>> {
    let unmarked = |address| {
        let node = place.own_node()?;
        let change = SteerChange::Unmarked(address);
        Ok(vec![Order::Steer { node, change }])
    };
    let without = format!(
        "{LIST_CHAINS}\n{{ echo delete table inet talos; sed 's/, <>//; s/<>, //' /run/talos.nft; }} | nft -f -"
    );
    if let Some(found) = fits(&without, script).filter(|found| found[0] == found[1]) {
        return Some(unmarked(found[0].parse().ok()));
    }
    let again = "{ echo delete table inet talos; cat /run/talos.nft; } | nft -f -";
    if script == again {
        return Some(unmarked(None));
    }
    let cone = r"nft -f - <<'EOF'
table ip cone {
  map owner { type inet_service : ipv4_addr; flags dynamic,timeout; timeout 5m; }
  chain out { type filter hook postrouting priority srcnat - 1; oifname wan update @owner { udp sport : ip saddr }; }
  chain in { type nat hook prerouting priority dstnat; iifname wan dnat to udp dport map @owner; }
}
EOF
for try in $(seq 50); do nft list map ip cone owner | grep -q <> && break; sleep 0.1; done
conntrack -F";
    let translate = |nat| {
        let site = place.own_site()?;
        Ok(vec![Order::Translate { site, nat }, Order::Forget(site)])
    };
    if fits(cone, script).is_some() {
        return Some(translate(NatKind::FullCone));
    }
    // What was translated goes on as it was.
    (script == "nft delete table ip cone").then(|| {
        let (site, nat) = (place.own_site()?, place.nat);
        Ok(vec![Order::Translate { site, nat }])
    })
}

fn agent_script(place: &Place<'_>, script: &str) -> Option<Result<Vec<Order>, String>> {
    let agent = |change| place.own_node().map(|node| Order::Agent { node, change });
    let found = script.strip_prefix(FIND_AGENT)?;
    let each = |order: Result<Order, String>| Some(order.map(|order| vec![order]));
    match found {
        "kill -STOP \"${process#/proc/}\"; fi\ndone" => each(agent(Program::Freeze)),
        "kill -CONT \"${process#/proc/}\"; fi\ndone" => each(agent(Program::Thaw)),
        "pid=${process#/proc/}; fi\ndone\n(for i in $(seq 40); do kill -STOP $pid; sleep 0.8; kill -CONT $pid; sleep 0.2; done) >/dev/null 2>&1 &" => {
            Some(agent(Program::Freeze).and_then(|freeze| {
                let thaw = agent(Program::Thaw)?;
                let round = |number: i64| {
                    let at = number * seconds(10);
                    [(at, freeze.clone()), (at + seconds(8), thaw.clone())]
                };
                Ok(vec![Order::Later {
                    script: self::script(place, ""),
                    orders: (0..40).flat_map(round).collect(),
                }])
            }))
        }
        _ => None,
    }
}

fn background_script(place: &Place<'_>, script: &str) -> Option<Result<Vec<Order>, String>> {
    let overwritten = format!(
        "peer={BY_ADDRESS}\n[ -n \"$peer\" ] || exit 1\n(\n  for round in 1 2 3 4 5 6 7 8 9 10; do\n    wg set kubespan peer $peer endpoint <>:51820\n    \
         sleep <>\n    wg set kubespan peer $peer endpoint <>:51820\n    sleep <>\n  done\n) > /dev/null 2>&1 &\necho $! > {WRITER}"
    );
    if let Some(found) = fits(&overwritten, script) {
        return Some(overwrites(place, &found));
    }
    let [table, times, rest] = split(
        script,
        &[
            "\n(\n  for round in 1 2 3 4; do\n    for times in ",
            "; do\n      set -- $times\n      nft ",
        ],
    )?;
    let rules = rest.strip_suffix(
        "\n      sleep $1\n      nft flush chain inet weather forward\n      sleep $2\n    done\n  done\n) > /dev/null 2>&1 &\necho $! > /run/weather",
    )?;
    Some(weather(place, table, times, rules))
}

/// Ten rounds of one endpoint and another.
fn overwrites(place: &Place<'_>, found: &[String]) -> Result<Vec<Order>, String> {
    let node = place.own_node()?;
    let peer = place.node_at(&found[0])?;
    let number = |word: &String| {
        word.parse::<Micros>()
            .map_err(|_| format!("`sleep {word}`"))
    };
    let (first, second) = (number(&found[2])?, number(&found[4])?);
    let set = |address: &String| {
        let to = format!("{address}:51820").parse();
        let to = to.map_err(|_| format!("`endpoint {address}`"))?;
        let change = DeviceChange::Endpoint { peer, to };
        Ok::<_, String>(Order::Device { node, change })
    };
    let (away, back) = (set(&found[1])?, set(&found[3])?);
    let round = |number: Micros| {
        let at = number * (first + second) * 1000 * MILLI;
        [
            (at, away.clone()),
            (at + first * 1000 * MILLI, back.clone()),
        ]
    };
    Ok(vec![Order::Later {
        script: script(place, WRITER),
        orders: (0..10).flat_map(round).collect(),
    }])
}

/// Four rounds of rules that come and go, at the times of a list.
fn weather(place: &Place<'_>, table: &str, times: &str, rules: &str) -> Result<Vec<Order>, String> {
    let mut orders = one(place, table)?;
    let rules = rules.replace(['\'', '"'], "");
    let rules = rules.split(';').map(str::trim);
    let rules: Result<Vec<_>, _> = rules.map(|rule| nft::read(place, rule)).collect();
    let rules = rules?.concat();
    // To empty a chain is to make its table anew.
    let mut anew = one(place, "nft delete table inet weather")?;
    anew.extend(orders.clone());
    let mut later = Vec::new();
    let mut at = 0;
    for _ in 0..4 {
        for pair in times
            .split('\'')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
        {
            let (shut, open) = pair.split_once(' ').ok_or_else(|| format!("`{pair}`"))?;
            let number = |word: &str| word.parse::<Micros>().map_err(|_| format!("`{pair}`"));
            let (shut, open) = (number(shut)?, number(open)?);
            later.extend(rules.iter().map(|rule| (at, rule.clone())));
            at += shut * 1000 * MILLI;
            later.extend(anew.iter().map(|order| (at, order.clone())));
            at += open * 1000 * MILLI;
        }
    }
    orders.push(Order::Later {
        script: script(place, WEATHER),
        orders: later,
    });
    Ok(orders)
}

/// The script with the one variable that is known filled in: the address in the tunnel of the peer with a node address.
fn with_peer_address(place: &Place<'_>, script: &str) -> Result<String, String> {
    let assignment = r"from=$(wg show kubespan allowed-ips | sed -n 's/.*\(fd[0-9a-f:]*\)\/128.*<>\/32.*/\1/p; s/.*<>\/32.*\(fd[0-9a-f:]*\)\/128.*/\1/p')";
    let Some((first, rest)) = script.split_once('\n') else {
        return Ok(script.to_owned());
    };
    match fits(assignment, first).filter(|found| found[0] == found[1]) {
        None => Ok(script.to_owned()),
        Some(found) => {
            let node = place.node_at(&found[0])?;
            let address = tunnel_address(place.plan, node);
            Ok(rest.replace("$from", &address.to_string()))
        }
    }
}

/// The commands of a script: at ends of lines, `;` and `&&`, outside of quotes and of what is in brackets.
fn commands(script: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let (mut quote, mut depth) = (None, 0_u32);
    let mut letters = script.chars().peekable();
    while let Some(letter) = letters.next() {
        let outside = quote.is_none() && depth == 0;
        match letter {
            '\'' | '"' if quote.is_none() => quote = Some(letter),
            _ if quote == Some(letter) => quote = None,
            '(' | '{' if quote.is_none() => depth += 1,
            ')' | '}' if quote.is_none() => depth = depth.saturating_sub(1),
            _ => {}
        }
        let both = letter == '&' && letters.peek() == Some(&'&');
        if outside && (both || matches!(letter, '\n' | ';')) {
            if both {
                letters.next();
            }
            commands.push(String::new());
        } else if let Some(last) = commands.last_mut() {
            last.push(letter);
        }
    }
    let trimmed = commands.iter().map(|command| command.trim().to_owned());
    trimmed.filter(|command| !command.is_empty()).collect()
}

/// What stands at the places `<>` of the template: numbers and IPv4 addresses, also as an expression has them (`1\.2`).
fn fits(template: &str, text: &str) -> Option<Vec<String>> {
    let mut parts = template.split("<>");
    let mut left = text.strip_prefix(parts.next()?)?;
    let mut found = Vec::new();
    for part in parts {
        let mut value = String::new();
        loop {
            let bare = left.strip_prefix('\\').filter(|rest| rest.starts_with('.'));
            let next = bare.unwrap_or(left);
            let letter = next.chars().next();
            let Some(letter) = letter.filter(|letter| letter.is_ascii_digit() || *letter == '.')
            else {
                break;
            };
            value.push(letter);
            left = &next[1..];
        }
        if value.is_empty() {
            return None;
        }
        found.push(value);
        left = left.strip_prefix(part)?;
    }
    left.is_empty().then_some(found)
}

/// The text before, between and after two separators.
fn split<'a>(text: &'a str, at: &[&str; 2]) -> Option<[&'a str; 3]> {
    let (first, rest) = text.split_once(at[0])?;
    let (second, third) = rest.split_once(at[1])?;
    Some([first, second, third])
}
