//! Says in the log what the election reports.

use tracing::{debug, info, warn};
use vip_proto::Vrid;
use vip_proto::election::State;
use vip_proto::node::Report;

use crate::config::Config;
use crate::control::view::{reason_word, state_word};

/// Name of the instance, for people.
fn name(config: &Config, vrid: Vrid) -> &str {
    config
        .instances
        .iter()
        .find(|instance| instance.vrid == vrid)
        .map_or("?", |instance| instance.name.as_str())
}

/// Logs one report.
pub(super) fn log(config: &Config, report: &Report) {
    match *report {
        Report::Transition {
            vrid,
            from,
            to,
            reason,
            epoch,
        } => {
            let instance = name(config, vrid);
            let (from, to) = (state_word(from), state_word(to));
            info!(
                instance,
                from,
                to,
                reason = reason_word(reason),
                epoch = epoch.0,
                "state changed"
            );
            if to == state_word(State::Active) {
                info!(instance, "this node answers for the VIPs now");
            }
        }
        Report::PeerUp { peer } => info!(%peer, "peer heard"),
        Report::PeerDown { peer } => warn!(%peer, "peer not heard for its down interval"),
        Report::SplitBrain { vrid, peer, kept } => warn!(
            instance = name(config, vrid),
            %peer,
            this_node = if kept { "stays active" } else { "gives way" },
            "two nodes were active at once"
        ),
        Report::VipsDiffer { vrid, peer } => warn!(
            instance = name(config, vrid),
            %peer,
            "the peer has other VIPs configured for this instance"
        ),
        Report::OwnStall { late } => {
            info!(
                ?late,
                "this agent was late for a liveness probe: no verdict without new answers"
            );
        }
        Report::AgentLate { peer } => warn!(
            %peer,
            "no adverts come from it, but its data plane is active with a valid lease: its agent is late, \
             or the way of the adverts is cut: no failover"
        ),
        Report::ProbesUnanswered { peer, count } => {
            info!(%peer, count, "liveness probes are not answered");
        }
        Report::AdvertMissed { peer, since: _ } => debug!(%peer, "an advert is overdue"),
        Report::LeaseBegun { .. } => debug!("a new lease has begun"),
        Report::LeaseEnded { told, .. } => warn!(
            told_to_a_peer = told,
            "the lease is over: this agent was stopped or late"
        ),
        Report::HandoverFailed { vrid, peer } => warn!(
            instance = name(config, vrid),
            %peer,
            "the peer did not take over: this node stays active"
        ),
        Report::Rejected { from, reason } => {
            warn!(%from, %reason, "advert not accepted (said once per sender and reason)");
        }
    }
}
