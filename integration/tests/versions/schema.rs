//! Other versions of our contract, made of it at test time: a later one has a field more in each message, a value more in each
//! enumeration and a case more in each union; an earlier one lacks what may be absent.

use std::collections::BTreeSet;

use prost::Message as _;
use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
    Value,
    prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
        FileDescriptorSet,
        field_descriptor_proto::{Label, Type},
    },
};

/// The number of everything that came later. No version of ours has it.
pub(crate) const LATER: i32 = 4711;
/// A field of the message's own type: what is nested is unknown, too.
const NESTED: i32 = LATER + 1;
/// The further case of the first union of a message.
const CASE: i32 = LATER + 2;

/// Our own contract.
pub(crate) fn ours() -> DescriptorPool {
    DescriptorPool::decode(proto::DESCRIPTORS).unwrap()
}

/// The one of the next minor version.
pub(crate) fn later() -> DescriptorPool {
    let mut set = FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
    for file in &mut set.file {
        let package = format!(".{}", file.package());
        for message in &mut file.message_type {
            grow(message, &package);
        }
        file.enum_type.iter_mut().for_each(grow_enum);
    }
    DescriptorPool::from_file_descriptor_set(set).unwrap()
}

fn grow(message: &mut DescriptorProto, parent: &str) {
    let path = format!("{parent}.{}", message.name());
    for nested in &mut message.nested_type {
        grow(nested, &path);
    }
    message.enum_type.iter_mut().for_each(grow_enum);
    let field = |name: &str, number, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    };
    message.field.push(field("later_text", LATER, Type::String));
    message.field.push(FieldDescriptorProto {
        type_name: Some(path),
        ..field("later_nested", NESTED, Type::Message)
    });
    let is_union =
        |field: &FieldDescriptorProto| field.oneof_index.is_some() && !field.proto3_optional();
    let union = message.field.iter().find(|field| is_union(field));
    if let Some(index) = union.and_then(|field| field.oneof_index) {
        message.field.push(FieldDescriptorProto {
            oneof_index: Some(index),
            ..field("later_case", CASE, Type::String)
        });
    }
}

fn grow_enum(values: &mut EnumDescriptorProto) {
    values.value.push(EnumValueDescriptorProto {
        name: Some(format!("{}_LATER", values.name())),
        number: Some(LATER),
        ..EnumValueDescriptorProto::default()
    });
}

/// Our message as `pool` sees it.
pub(crate) fn read(pool: &DescriptorPool, name: &str, bytes: &[u8]) -> DynamicMessage {
    let message = pool.get_message_by_name(&format!("mesh.v1.{name}"));
    DynamicMessage::decode(message.unwrap(), bytes).unwrap()
}

/// Calls `change` for a message and for all that are in it, the inner ones first.
pub(crate) fn each(message: &mut DynamicMessage, change: &mut dyn FnMut(&mut DynamicMessage)) {
    let set: Vec<FieldDescriptor> = message.fields().map(|(field, _)| field).collect();
    for field in set {
        match message.get_field_mut(&field) {
            Value::Message(inner) => each(inner, change),
            Value::List(items) => {
                for item in items {
                    if let Value::Message(inner) = item {
                        each(inner, change);
                    }
                }
            }
            _ => {}
        }
    }
    change(message);
}

/// Puts what came later into every message.
pub(crate) fn add_fields(message: &mut DynamicMessage) {
    each(message, &mut |inner| {
        let own = inner.descriptor();
        let mut nested = DynamicMessage::new(own);
        nested.set_field_by_number(number(LATER), Value::String("nested".to_owned()));
        inner.set_field_by_number(number(LATER), Value::String("later".to_owned()));
        inner.set_field_by_number(number(NESTED), Value::Message(nested));
    });
}

/// The union of this message takes the case that came later.
pub(crate) fn take_later_case(message: &mut DynamicMessage) {
    message.set_field_by_number(number(CASE), Value::String("later".to_owned()));
}

fn number(number: i32) -> u32 {
    u32::try_from(number).unwrap()
}

/// A field of a message, by their names.
pub(crate) type Place = (String, String);

fn place(message: &MessageDescriptor, field: &FieldDescriptor) -> Place {
    (message.name().to_owned(), field.name().to_owned())
}

/// Where in a message an enumeration is told.
pub(crate) fn enumerations(message: &DynamicMessage) -> BTreeSet<Place> {
    places(message, |field| matches!(field.kind(), Kind::Enum(_)))
}

/// What in a message may be absent: its absence is told apart from zero. Cases of unions are not meant.
pub(crate) fn optional(message: &DynamicMessage) -> BTreeSet<Place> {
    places(message, |field| {
        let is_case = field
            .containing_oneof()
            .is_some_and(|union| !union.is_synthetic());
        field.supports_presence() && !is_case
    })
}

fn places(message: &DynamicMessage, wanted: impl Fn(&FieldDescriptor) -> bool) -> BTreeSet<Place> {
    let mut found = BTreeSet::new();
    each(&mut message.clone(), &mut |inner| {
        let descriptor = inner.descriptor();
        let fields = inner.fields().map(|(field, _)| field);
        found.extend(
            fields
                .filter(|field| wanted(field))
                .map(|field| place(&descriptor, &field)),
        );
    });
    found
}

/// Gives an enumeration the value that came later, wherever it is told.
pub(crate) fn set_later(message: &mut DynamicMessage, (of, field): &Place) {
    each(message, &mut |inner| {
        if inner.descriptor().name() == of && inner.has_field_by_name(field) {
            inner.set_field_by_name(field, Value::EnumNumber(LATER));
        }
    });
}

/// Takes a field away, wherever it is.
pub(crate) fn clear(message: &mut DynamicMessage, (of, field): &Place) {
    each(message, &mut |inner| {
        if inner.descriptor().name() == of {
            inner.clear_field_by_name(field);
        }
    });
}
