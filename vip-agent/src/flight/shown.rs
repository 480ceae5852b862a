//! Records as the control API shows them.

use vip_common::abi::FlightRecord;

use crate::api;
use crate::config::Config;
use crate::dataplane::flight::FlightRing;

impl api::Recording {
    /// What is in the ring now.
    #[must_use]
    pub fn of(config: &Config, ring: &FlightRing) -> Self {
        let instances = config.instances.iter();
        Self {
            node: config.node.name.clone(),
            instances: instances
                .map(|instance| api::InstanceName {
                    name: instance.name.clone(),
                    vrid: instance.vrid.get(),
                })
                .collect(),
            records: ring.records().iter().map(api::Record::from).collect(),
        }
    }
}

impl From<&FlightRecord> for api::Record {
    fn from(record: &FlightRecord) -> Self {
        Self {
            number: record.number,
            at_ns: record.at_ns,
            kind: record.kind,
            vrid: record.vrid,
            peer: record.peer.into(),
            details: record.details,
        }
    }
}

impl From<&api::Record> for FlightRecord {
    fn from(record: &api::Record) -> Self {
        Self {
            number: record.number,
            at_ns: record.at_ns,
            kind: record.kind,
            vrid: record.vrid,
            peer: record.peer.octets(),
            details: record.details,
        }
    }
}
