//! Reports of made-up records.

use super::*;

/// Questions each millisecond; answers as (question, arrival in ms, name).
fn record(questions: u64, answers: &[(u64, u64, &str)]) -> Record {
    let mut record = Record::default();
    for number in 0..questions {
        let sent = Sent {
            at_ns: number * 1_000_000,
            late_ns: 0,
            refused: false,
            answered: false,
        };
        record.sent.push(sent);
    }
    for (number, at_ms, name) in answers {
        let datagram = [&number.to_be_bytes()[..], name.as_bytes()].concat();
        record.note(at_ms * 1_000_000, &datagram);
    }
    record
}

#[test]
fn a_handover_is_a_gap_between_two_names() {
    let record = record(10, &[(0, 0, "a"), (1, 1, "a"), (8, 8, "b"), (9, 9, "b")]);
    let report = record.report(0, 10_000_000);
    assert_eq!((report.sent, report.lost, report.duplicates), (10, 6, 0));
    assert_eq!(
        (report.gap_start_ns, report.gap_end_ns),
        (1_000_000, 8_000_000)
    );
    assert_eq!(report.gap_ns, 7_000_000);
    // The question after the last answered one was asked 1 ms later.
    assert_eq!(report.outage_ns, 6_000_000);
    assert_eq!(
        (report.before.as_deref(), report.after.as_deref()),
        (Some("a"), Some("b"))
    );
    assert_eq!(
        report.changes,
        [(0, "a".to_owned()), (8_000_000, "b".to_owned())]
    );
    assert_eq!(
        report.answers,
        BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 2)])
    );
}

#[test]
fn a_late_question_is_no_outage() {
    let mut record = record(4, &[(0, 0, "a"), (1, 1, "a"), (2, 9, "a"), (3, 10, "a")]);
    record.sent[2].at_ns = 9_000_000;
    record.sent[3].at_ns = 10_000_000;
    let report = record.report(0, 10_500_000);
    assert_eq!((report.gap_ns, report.outage_ns), (8_000_000, 500_000));
}

#[test]
fn a_gap_at_the_end_has_nobody_after_it() {
    let report = record(10, &[(0, 0, "a")]).report(0, 10_000_000);
    assert_eq!(report.gap_ns, 10_000_000);
    assert_eq!((report.before.as_deref(), report.after), (Some("a"), None));
}

#[test]
fn two_answers_to_one_question_are_counted() {
    let report = record(2, &[(0, 0, "a"), (0, 1, "b"), (1, 1, "b")]).report(0, 2_000_000);
    assert_eq!((report.lost, report.duplicates), (0, 1));
}

#[test]
fn an_interval_counts_only_its_own() {
    let record = record(10, &[(0, 0, "a"), (5, 5, "a"), (6, 6, "a"), (9, 9, "b")]);
    let report = record.report(5_000_000, 7_000_000);
    assert_eq!((report.sent, report.lost), (2, 0));
    // The gap reaches back to the last answer before the interval.
    assert_eq!(report.gap_ns, 5_000_000);
    assert_eq!(report.last.as_deref(), Some("a"));
}

#[test]
fn times_are_shown_in_milliseconds() {
    assert_eq!(milliseconds(12_345_678), "12.345");
    assert_eq!(milliseconds(999), "0.000");
}
