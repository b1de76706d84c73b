//! What is wrong with a fact about VXLAN devices is refused by its name.

use proto::{
    convert::ConvertError,
    wire::{self, fact::Fact as WireFact},
};

use crate::sample;

fn with_device(spoil: impl FnOnce(&mut wire::VxlanDevice)) -> ConvertError {
    let mut vxlan = sample::vxlan();
    spoil(&mut vxlan.devices[0]);
    sample::fact(WireFact::Vxlan(vxlan)).unwrap_err()
}

#[test]
fn each_field_of_a_device_that_is_wrong_is_refused_by_its_name() {
    let cases = [
        (
            "vxlan.name",
            with_device(|device| device.name = "a\u{1b}b".to_owned()),
        ),
        (
            "vxlan.name",
            with_device(|device| device.name = "x".repeat(17)),
        ),
        ("vxlan.port", with_device(|device| device.port = 65_536)),
        (
            "vxlan.local",
            with_device(|device| device.local = vec![1; 5]),
        ),
        (
            "vxlan.remote",
            with_device(|device| device.remote = vec![1; 5]),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
    }
}
