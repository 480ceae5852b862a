//! How large the maps are made.

use vip_common::abi::{Capacity, MapSpec};

use crate::config::{Config, Steering};

/// Number of VIPs, instances and backends the maps have room for. Rounded up, so that a few more
/// in the configuration do not make the pinned maps unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    vips: u32,
    instances: u32,
    backends: u32,
}

impl Sizes {
    /// Room for this configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let vips = config
            .instances
            .iter()
            .map(|instance| instance.vips.len())
            .sum();
        let backends = config
            .instances
            .iter()
            .map(|instance| match &instance.steering {
                Steering::Local => 0,
                Steering::L2 { backends } => backends.len(),
            })
            .sum();
        Self {
            vips: room_for(vips),
            instances: room_for(config.instances.len()),
            backends: room_for(backends),
        }
    }

    /// Number of entries of a map.
    #[must_use]
    pub const fn entries(self, spec: &MapSpec) -> u32 {
        match spec.capacity {
            Capacity::Fixed(entries) => entries,
            Capacity::Vips => self.vips,
            Capacity::Instances => self.instances,
            Capacity::Backends => self.backends,
        }
    }
}

/// The next power of two with some slack, at least 64.
fn room_for(count: usize) -> u32 {
    let count = u32::try_from(count).unwrap_or(u32::MAX / 4);
    count.saturating_add(count / 4).next_power_of_two().max(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_room_for_some_more() {
        assert_eq!(room_for(0), 64);
        assert_eq!(room_for(60), 128);
        assert_eq!(room_for(1000), 2048);
        assert!(room_for(usize::MAX) >= u32::MAX / 4);
    }
}
