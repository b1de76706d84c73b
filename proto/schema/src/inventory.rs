//! The promises of a schema as lines, each complete in itself, so that a lost one can be named.

use protox::prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

pub(super) fn lines(pool: &DescriptorPool) -> Vec<String> {
    let mut lines: Vec<_> = pool
        .all_messages()
        .flat_map(|message| message_lines(&message))
        .chain(pool.all_enums().flat_map(|values| enum_lines(&values)))
        .chain(pool.services().flat_map(|service| call_lines(&service)))
        .collect();
    lines.sort();
    lines
}

/// A message without fields is a promise as well.
fn message_lines(message: &MessageDescriptor) -> Vec<String> {
    let name = message.full_name();
    let header = format!("message {name}");
    let fields = message.fields();
    std::iter::once(header)
        .chain(fields.map(|field| field_line(name, &field)))
        .collect()
}

fn field_line(message: &str, field: &FieldDescriptor) -> String {
    let oneof = field.containing_oneof();
    let (label, suffix) = match oneof {
        Some(oneof) if oneof.is_synthetic() => ("optional ", String::new()),
        Some(oneof) => ("", format!(" in oneof {}", oneof.name())),
        None if field.is_list() => ("repeated ", String::new()),
        None => ("", String::new()),
    };
    let (number, name, kind) = (field.number(), field.name(), field.kind());
    format!("message {message} {number:>2} {name}: {label}{kind:?}{suffix}")
}

fn enum_lines(values: &EnumDescriptor) -> Vec<String> {
    let name = values.full_name();
    values
        .values()
        .map(|value| format!("enum {name} {:>2} {}", value.number(), value.name()))
        .collect()
}

fn call_lines(service: &ServiceDescriptor) -> Vec<String> {
    let name = service.full_name();
    service
        .methods()
        .map(|call| call_line(name, &call))
        .collect()
}

fn call_line(service: &str, call: &MethodDescriptor) -> String {
    let stream = |streams: bool| if streams { "stream " } else { "" };
    let (asks, gets) = (
        stream(call.is_client_streaming()),
        stream(call.is_server_streaming()),
    );
    let (input, output) = (call.input(), call.output());
    format!(
        "service {service} {}({asks}{}) -> {gets}{}",
        call.name(),
        input.full_name(),
        output.full_name()
    )
}
