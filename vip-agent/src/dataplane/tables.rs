//! Which VIP belongs to which slot: the tables that are written when the configuration is applied.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use vip_common::abi::{VIPS_V4, VIPS_V6, VRIDS, VipEntry, VipKeyV4, VipKeyV6};

use crate::config::{Config, Steering};
use crate::error::RunError;

/// The indices of a configuration: instances, VIPs and backends are numbered in its order.
#[derive(Debug, Clone)]
pub struct Tables {
    instances: u32,
    /// By VRID: one more than the instance's index.
    vrids: BTreeMap<u8, u64>,
    v4: BTreeMap<VipKeyV4, VipEntry>,
    v6: BTreeMap<VipKeyV6, VipEntry>,
}

impl Tables {
    /// The tables of this configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mut tables = Self {
            instances: 0,
            vrids: BTreeMap::new(),
            v4: BTreeMap::new(),
            v6: BTreeMap::new(),
        };
        let mut stats = 0;
        for instance in &config.instances {
            for vip in &instance.vips {
                let slot = tables.instances;
                let entry = VipEntry {
                    instance: slot,
                    service: slot,
                    stats,
                    reserved: 0,
                };
                match vip {
                    IpAddr::V4(address) => {
                        tables.v4.insert(address.octets(), entry);
                    }
                    IpAddr::V6(address) => {
                        tables.v6.insert(address.octets(), entry);
                    }
                }
                stats += 1;
            }
            tables.instances += 1;
            let place = u64::from(tables.instances);
            tables.vrids.insert(instance.vrid.get(), place);
        }
        tables
    }

    /// Brings the maps in line; answers whether anything had to be changed.
    ///
    /// # Errors
    /// [`RunError::Dataplane`] with the map's name.
    pub fn write(&self, ebpf: &mut Ebpf) -> Result<bool, RunError> {
        let v4 = bring_in_line(ebpf, VIPS_V4, &self.v4)?;
        let v6 = bring_in_line(ebpf, VIPS_V6, &self.v6)?;
        self.write_vrids(ebpf)?;
        Ok(v4 || v6)
    }
}

impl Tables {
    fn write_vrids(&self, ebpf: &mut Ebpf) -> Result<(), RunError> {
        let what = || format!("writing {VRIDS}");
        let map = ebpf
            .map_mut(VRIDS)
            .ok_or_else(|| RunError::dataplane(what())("not in the object"))?;
        let mut map: Array<&mut MapData, u64> =
            Array::try_from(map).map_err(RunError::dataplane(what()))?;
        for vrid in 0..=u8::MAX {
            let place = self.vrids.get(&vrid).copied().unwrap_or(0);
            map.set(u32::from(vrid), place, 0)
                .map_err(RunError::dataplane(what()))?;
        }
        Ok(())
    }
}

/// Index of an instance's first backend in `BACKENDS`.
#[must_use]
pub fn first_backend(config: &Config, instance: usize) -> u32 {
    let before = config
        .instances
        .iter()
        .take(instance)
        .map(|instance| match &instance.steering {
            Steering::Local => 0,
            Steering::L2 { backends } => backends.len(),
        });
    u32::try_from(before.sum::<usize>()).unwrap_or(u32::MAX)
}

/// Statistics index of an instance's first VIP.
#[must_use]
pub fn first_vip(config: &Config, instance: usize) -> u32 {
    let before = config
        .instances
        .iter()
        .take(instance)
        .map(|instance| instance.vips.len());
    u32::try_from(before.sum::<usize>()).unwrap_or(u32::MAX)
}

fn bring_in_line<K: aya::Pod + Ord>(
    ebpf: &mut Ebpf,
    name: &str,
    wanted: &BTreeMap<K, VipEntry>,
) -> Result<bool, RunError> {
    let what = || format!("writing the VIP table {name}");
    let map = ebpf
        .map_mut(name)
        .ok_or_else(|| RunError::dataplane(what())("not in the object"))?;
    let mut map: HashMap<&mut MapData, K, VipEntry> =
        HashMap::try_from(map).map_err(RunError::dataplane(what()))?;
    let present: BTreeMap<K, VipEntry> = map
        .iter()
        .collect::<Result<_, MapError>>()
        .map_err(RunError::dataplane(what()))?;
    let mut changed = false;
    for key in present.keys().filter(|key| !wanted.contains_key(key)) {
        map.remove(key).map_err(RunError::dataplane(what()))?;
        changed = true;
    }
    for (key, entry) in wanted {
        if present.get(key) != Some(entry) {
            map.insert(*key, *entry, 0)
                .map_err(RunError::dataplane(what()))?;
            changed = true;
        }
    }
    Ok(changed)
}
