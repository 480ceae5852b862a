//! Stories as text for people and as JSON for programs: functions of the recording and a clock.
//! Colours are always in the text, and taken out where the output is no terminal.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use vip_proto::Instant;
use vip_proto::election::State;

use super::clock::WallClock;
use super::phrase;
use crate::config::duration::Human;
use crate::control::view::{reason_word, state_word};
use crate::flight::story::{Recording, Story};
use crate::flight::{Entry, Event};

const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const FAINT: Style = Style::new().dimmed();

/// The stories as text that ends with a newline.
pub(super) fn text(recording: &Recording, stories: &[Story], clock: WallClock) -> String {
    let mut text = format!(
        "{FAINT}Times of day are UTC, counted back from now by the monotonic clock; the others are \
         relative to the flip.{FAINT:#}\n"
    );
    for story in stories {
        text.push('\n');
        text.push_str(&story_text(recording, story, clock));
    }
    text
}

fn story_text(recording: &Recording, story: &Story, clock: WallClock) -> String {
    let Event::Transition {
        from, to, epoch, ..
    } = story.decision.event
    else {
        return String::new();
    };
    let style = match to {
        State::Active => GOOD,
        State::Backup => Style::new(),
        State::Initialize => DOUBTFUL,
    };
    let mut text = format!(
        "{HEADING}{}{HEADING:#}  {} → {style}{}{style:#}, epoch {epoch}, {}, {} ago\n  {}.\n",
        recording.name(story.vrid),
        phrase::state(from),
        phrase::state(to),
        clock.full(story.at),
        age(story.at, clock.now),
        phrase::sentence(story),
    );
    let decided = [story.decision];
    let mut shown: Vec<&Entry> = story
        .before
        .iter()
        .chain(&story.after)
        .chain(&decided)
        .collect();
    shown.sort_by_key(|entry| (entry.at, entry.number));
    for entry in shown {
        text.push_str(&format!(
            "  {FAINT}{}{FAINT:#} {:>14}  {}\n",
            clock.time(entry.at),
            phrase::relative(entry.at, story.at),
            phrase::line(entry, story.at),
        ));
    }
    text
}

/// How long ago something was: nobody needs more than three digits of it.
fn age(at: Instant, now: Instant) -> String {
    let span = now.saturating_since(at);
    match span.as_secs() {
        0 => Human(std::time::Duration::from_millis(
            u64::try_from(span.as_millis()).unwrap_or(0),
        ))
        .to_string(),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// The stories for programs.
pub(super) fn json(recording: &Recording, stories: &[Story], clock: WallClock) -> Vec<Value> {
    let story = |story: &Story| {
        let Event::Transition {
            from,
            to,
            reason,
            epoch,
            ..
        } = story.decision.event
        else {
            return Value::Null;
        };
        let events = |entries: &[Entry]| -> Vec<Value> {
            entries
                .iter()
                .map(|entry| event(entry, story.at, clock))
                .collect()
        };
        json!({
            "instance": recording.name(story.vrid),
            "vrid": story.vrid.get(),
            "from": state_word(from),
            "to": state_word(to),
            "reason": reason_word(reason),
            "epoch": epoch.0,
            "at": clock.full(story.at),
            "at_ns": story.at.as_nanos(),
            "decided_ns": story.decision.at.as_nanos(),
            "sentence": phrase::sentence(story),
            "before": events(&story.before),
            "after": events(&story.after),
        })
    };
    stories.iter().map(story).collect()
}

fn event(entry: &Entry, flip: Instant, clock: WallClock) -> Value {
    json!({
        "number": entry.number,
        "at": clock.full(entry.at),
        "at_ns": entry.at.as_nanos(),
        "after_flip_ns": i128::from(entry.at.as_nanos()) - i128::from(flip.as_nanos()),
        "kind": entry.event.record(entry.number, entry.at).kind,
        "peer": entry.peer,
        "times": entry.times,
        "last_ns": entry.last.as_nanos(),
        "what": phrase::line(entry, flip),
    })
}
