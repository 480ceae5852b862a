//! The object file contains exactly the maps that the agent expects. Needs no privileges.

use std::collections::BTreeSet;

use aya_obj::Object;
use vip_agent::dataplane::object::OBJECT;
use vip_common::abi::{Capacity, MAPS, MapKind, PROGRAM, globals};

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;
/// The map through which aya-log hands out its records; not part of the ABI.
const LOG_MAP: &str = "AYA_LOGS";

#[expect(
    clippy::expect_used,
    reason = "without the object there is nothing to test"
)]
fn object() -> Object {
    Object::parse(OBJECT).expect("the object file parses")
}

/// The kernel's number of a map type.
const fn kernel_type(kind: MapKind) -> u32 {
    match kind {
        MapKind::Hash => 1,
        // A memory-mapped array is an ordinary array with a flag.
        MapKind::MmapArray => 2,
        MapKind::PerCpuArray => 6,
        MapKind::RingBuf => 27,
    }
}

#[test]
fn the_object_has_the_maps_of_the_abi_and_no_others() {
    let object = object();
    let found: BTreeSet<_> = object
        .maps
        .keys()
        .map(String::as_str)
        .filter(|name| !name.starts_with('.') && *name != LOG_MAP)
        .collect();
    let expected: BTreeSet<_> = MAPS.iter().map(|spec| spec.name).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_map_has_the_type_and_sizes_of_the_abi() {
    let object = object();
    for spec in &MAPS {
        let map = &object.maps[spec.name];
        assert_eq!(
            map.map_type(),
            kernel_type(spec.kind),
            "type of {}",
            spec.name
        );
        assert_eq!(
            map.key_size() as usize,
            spec.key_size,
            "key of {}",
            spec.name
        );
        assert_eq!(
            map.value_size() as usize,
            spec.value_size,
            "value of {}",
            spec.name
        );
        if let Capacity::Fixed(entries) = spec.capacity {
            assert_eq!(map.max_entries(), entries, "entries of {}", spec.name);
        }
    }
}

#[test]
fn arrays_that_the_agent_writes_can_be_mapped_into_memory() {
    let object = object();
    for spec in &MAPS {
        let mappable = object.maps[spec.name].map_flags() & MMAPABLE != 0;
        assert_eq!(
            mappable,
            spec.kind == MapKind::MmapArray,
            "flags of {}",
            spec.name
        );
    }
}

#[test]
fn the_program_and_the_globals_are_there() {
    let mut object = object();
    assert_eq!(object.programs.keys().collect::<Vec<_>>(), [PROGRAM]);
    let globals = [
        (globals::COARSE_TICK_NS, (&[0; size_of::<u64>()][..], true)),
        (globals::LIVENESS_PORT, (&[0; size_of::<u16>()][..], true)),
        (globals::LOG_LEVEL, (&[0; size_of::<u8>()][..], true)),
    ];
    object
        .patch_map_data(globals.into())
        .expect("globals of these names and sizes");
}

#[test]
fn the_licence_opens_the_helpers_of_the_kernel() {
    assert_eq!(object().license.to_str(), Ok("Dual MIT/GPL"));
}
