//! A message of ours against what the real side wrote down, field by field: the schema itself says what there is to compare.

use std::{fmt::Write as _, time::UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use protox::prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value as Field};
use serde_json::Value;

use crate::report::Row;

/// Where our name of a field is not the real one with other capitals.
const RENAMED: [(&str, &str); 4] = [
    ("ntp_servers", "timeServers"),
    ("destination", "dst"),
    ("api_server_port", "port"),
    ("source", "src"),
];

/// Fields of ours that a later version has.
const LATER: [(&str, &str); 1] = [("DiscoveryConfig", "service_endpoints")];

/// Compares every field that our schema names, and notes what it does not.
pub(crate) fn message(ours: &DynamicMessage, real: &Value, path: &str, row: &mut Row) {
    let Some(keys) = real.as_object() else {
        row.differences.push(format!("{path}: {real} is no object"));
        return;
    };
    let mut named = Vec::new();
    for field in ours.descriptor().fields() {
        let name = format!("{path}{}", field.name());
        let Some((key, expected)) = keys.iter().find(|(key, _)| same(field.name(), key)) else {
            let later = LATER.contains(&(ours.descriptor().name(), field.name()));
            if !later {
                row.differences
                    .push(format!("{name}: the real one has no such field"));
            }
            continue;
        };
        named.push(key);
        value(&ours.get_field(&field), &field.kind(), expected, &name, row);
    }
    let unread = keys.keys().filter(|key| !named.contains(key));
    let unread = unread.map(|key| format!("{path}{key}"));
    for key in unread {
        if !row.unread.contains(&key) {
            row.unread.push(key);
        }
    }
}

fn same(ours: &str, real: &str) -> bool {
    let bare = |name: &str| name.replace('_', "").to_lowercase();
    bare(ours) == bare(real) || RENAMED.contains(&(ours, real))
}

fn value(ours: &Field, kind: &Kind, real: &Value, name: &str, row: &mut Row) {
    match (ours, real) {
        (Field::List(list), Value::Array(expected)) => {
            row.expect(&format!("{name} (length)"), &list.len(), &expected.len());
            for (ours, real) in list.iter().zip(expected) {
                value(ours, kind, real, name, row);
            }
        }
        (Field::Message(inner), real) => match scalar(inner) {
            Some(text) => row.expect(name, &Some(text.as_str()), &real.as_str()),
            None => message(inner, real, &format!("{name}."), row),
        },
        (Field::EnumNumber(number), real) => {
            row.expect(name, &Some((*number).into()), &number_of(real));
            row.expect(
                name,
                &plain_name(kind, *number),
                &real["name"].as_str().map(plain),
            );
        }
        (Field::Bytes(bytes), real) => {
            let ours = in_the_form_of(real, bytes);
            row.expect(name, &Some(ours.as_str()), &real.as_str());
        }
        (Field::String(text), real) => row.expect(name, &Some(text.as_str()), &real.as_str()),
        (Field::Bool(truth), real) => row.expect(name, &Some(*truth), &real.as_bool()),
        (Field::I32(number), real) => row.expect(name, &Some((*number).into()), &number_of(real)),
        (Field::I64(number), real) => row.expect(name, &Some(*number), &number_of(real)),
        (Field::U32(number), real) => row.expect(name, &Some((*number).into()), &number_of(real)),
        (ours, real) => row
            .differences
            .push(format!("{name}: {ours:?} and {real} cannot be compared")),
    }
}

/// A number, with its name or without.
fn number_of(real: &Value) -> Option<i64> {
    real.as_i64().or_else(|| real["number"].as_i64())
}

/// Names as they are without capitals, marks and the word that tells the zeros of our enums apart.
fn plain(name: &str) -> String {
    name.to_lowercase().replace([' ', '_'], "")
}

fn plain_name(kind: &Kind, number: i32) -> Option<String> {
    let Kind::Enum(names) = kind else { return None };
    let value = names.get_value(number)?;
    Some(enum_name(value.name()))
}

/// The zero of an enum carries its prefix, since names of one file must differ.
pub(crate) fn enum_name(ours: &str) -> String {
    let bare = ["MACHINE_", "STAGE_"]
        .iter()
        .find_map(|prefix| ours.strip_prefix(prefix).filter(|rest| *rest == "UNKNOWN"));
    plain(bare.unwrap_or(ours))
}

pub(crate) fn real_enum_name(real: &str) -> String {
    plain(real)
}

/// Addresses and times, which the real side writes as text.
fn scalar(message: &DynamicMessage) -> Option<String> {
    let bytes = || {
        let field = message.get_field_by_name("ip")?;
        field.as_bytes().map(|bytes| bytes.to_vec())
    };
    let number = |name: &str| {
        message
            .get_field_by_name(name)
            .and_then(|field| field.as_i32())
    };
    match message.descriptor().name() {
        "NetIP" => Some(address(&bytes()?)?.to_string()),
        "NetIPPort" => {
            let port = number("port")?.try_into().ok()?;
            Some(std::net::SocketAddr::new(address(&bytes()?)?, port).to_string())
        }
        "NetIPPrefix" => Some(format!(
            "{}/{}",
            address(&bytes()?)?,
            number("prefix_length")?
        )),
        "Timestamp" => {
            let seconds = message
                .get_field_by_name("seconds")?
                .as_i64()?
                .try_into()
                .ok()?;
            let nanos = number("nanos")?.try_into().ok()?;
            let time = UNIX_EPOCH + std::time::Duration::new(seconds, nanos);
            Some(humantime::format_rfc3339_nanos(time).to_string())
        }
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(Into::into),
        16 => <[u8; 16]>::try_from(bytes).ok().map(Into::into),
        _ => None,
    }
}

/// Our bytes in the form that the real side chose: hexadecimal, or base64 where it is protobuf's own JSON.
fn in_the_form_of(real: &Value, bytes: &[u8]) -> String {
    let base64 = STANDARD.encode(bytes);
    if real.as_str() == Some(&base64) {
        base64
    } else {
        hex(bytes)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
