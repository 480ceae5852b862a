//! End-to-end tests: real programs on real (virtual) wires. They need root; without it they fail.

mod announce;
mod conflict;
mod election;
mod failover;
mod frames;
mod host;
mod inputs;
mod lab_itself;
mod lab_node;
mod link;
mod liveness;
mod planned;
mod refusals;
mod reload;
mod reload_changes;
mod restart;
mod steering;
mod support;
mod traffic;
mod vlan;
mod vmac;
mod why;
