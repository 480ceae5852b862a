use super::*;

fn pace(interval: u64, factor: u8) -> Pace {
    Pace {
        interval: Duration::from_micros(interval),
        factor,
    }
}

#[test]
fn the_lease_always_ends_before_anybody_takes_over() {
    for interval in [1_000, 10_000, 100_000, 1_000_000, 40_950_000] {
        for factor in 2..=10 {
            let pace = pace(interval, factor);
            let guard = soonest_takeover(pace).checked_sub(pace.lease() + pace.delay());
            assert!(
                guard >= Some(pace.interval / 8),
                "{interval} us, factor {factor}: {guard:?}"
            );
        }
    }
}

#[test]
fn no_priority_takes_over_sooner_than_the_soonest() {
    for factor in 2..=10 {
        let pace = pace(100_000, factor);
        let missed = if factor > 2 {
            pace.interval
        } else {
            Duration::ZERO
        };
        for priority in (1..=254).filter_map(Priority::new) {
            let takeover = pace.down_interval(priority) - missed;
            assert!(takeover >= soonest_takeover(pace));
        }
    }
}

#[test]
fn silence_is_judged_an_interval_after_the_last_probe_that_proves_it() {
    let probes = Probes {
        interval: Duration::from_millis(1),
        misses: 3,
    };
    assert_eq!(probes.silence(), Duration::from_millis(4));
    assert_eq!(probes.lease_seen_over(), Duration::from_millis(2));
}
