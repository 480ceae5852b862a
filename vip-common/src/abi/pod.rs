//! `aya::Pod` for the map types: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe marker trait")]

use super::{
    AgentSlot, BackendEntry, FlightRecord, InstanceSlot, LivenessSlot, ServiceSlot, Stats,
    VipEntry, VipSeen,
};

// SAFETY: `bytemuck::Pod` (derived) proves what `aya::Pod` asks for: any bit pattern is valid and
// there is no padding.
unsafe impl aya::Pod for VipEntry {}
// SAFETY: as for `VipEntry`.
unsafe impl aya::Pod for InstanceSlot {}
// SAFETY: as for `VipEntry`.
unsafe impl aya::Pod for ServiceSlot {}
// SAFETY: as for `VipEntry`.
unsafe impl aya::Pod for BackendEntry {}
// SAFETY: as for `VipEntry`.
unsafe impl aya::Pod for Stats {}
// SAFETY: as for `VipEntry`.
unsafe impl aya::Pod for AgentSlot {}
// SAFETY: as for `VipEntry`.
unsafe impl aya::Pod for LivenessSlot {}
// SAFETY: as for `VipEntry`.
unsafe impl aya::Pod for VipSeen {}
// SAFETY: as for `VipEntry`.
unsafe impl aya::Pod for FlightRecord {}
