//! The failovers as a picture: bars on a logarithmic scale, readable on light and on dark.
#![expect(clippy::float_arithmetic, reason = "positions on a logarithmic scale")]

use std::fmt::Write as _;

use super::summary::{LOST, OWNERS, beside, by_case};
use crate::rows::{Row, Rows, machine};

/// Width of the picture; the scale begins and ends here; heights.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 260.0;
const RIGHT: f64 = 810.0;
const BAR: f64 = 13.0;
const STEP: f64 = 17.0;
const GAP: f64 = 14.0;
const TOP: f64 = 64.0;
/// Ends of the scale: powers of ten of milliseconds.
const DECADES: std::ops::RangeInclusive<i32> = -2..=4;

/// Words are of a grey that can be read on white and on black alike: which of them is behind a picture,
/// it cannot know.
const STYLE: &str = "<style>\
text{font:12px system-ui,sans-serif;fill:#75808c}\
.title{font-size:15px;font-weight:600}.case{font-weight:600}.end{text-anchor:end}\
.tick{text-anchor:middle;font-size:11px}.line{stroke:#8c959f;stroke-opacity:.35}\
.whisker{stroke:#8c959f;stroke-width:1.5}\
</style>";

/// Draws the medians, with a line to the 99th percentile. Empty but for the frame if nothing was
/// measured.
pub(crate) fn chart(rows: &Rows) -> String {
    let mut bars = String::new();
    let mut y = TOP;
    let mut case = "";
    for gap in by_case(rows) {
        if gap.case != case {
            y += GAP;
            case = &gap.case;
            text(&mut bars, "case", 12.0, y + 11.0, case);
        }
        bar(&mut bars, gap, y, &remark(rows, gap));
        y += STEP;
    }
    let bottom = y + GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n{STYLE}\n",
        height = bottom + 40.0
    );
    let title = "How long a client gets no answer: median, line to the 99th percentile";
    text(&mut svg, "title", 12.0, 24.0, title);
    text(&mut svg, "", 12.0, 44.0, &machine());
    for decade in DECADES {
        let x = position(10_f64.powi(decade));
        let name = match decade {
            ..0 => format!("{} µs", 10_f64.powi(decade + 3)),
            0..3 => format!("{} ms", 10_f64.powi(decade)),
            _ => format!("{} s", 10_f64.powi(decade - 3)),
        };
        line(&mut svg, "line", x, TOP, bottom);
        text(&mut svg, "tick", x, bottom + 16.0, &name);
    }
    svg + &bars + "</svg>\n"
}

/// What a bar does not tell: that nothing was lost, or that one was not enough to own the address.
fn remark(rows: &Rows, gap: &Row) -> String {
    let lossless = beside(rows, gap, LOST).is_some_and(|lost| lost.percentile(100) == 0);
    let owners = beside(rows, gap, OWNERS).map_or(1, |owners| owners.percentile(50));
    let lossless = if lossless { ", nothing lost" } else { "" };
    if owners > 1 {
        format!("{lossless}, {owners} nodes own it")
    } else {
        lossless.to_owned()
    }
}

/// A system's bar with its name before it and its median behind it.
fn bar(svg: &mut String, gap: &Row, y: f64, remark: &str) {
    let (median, high) = (position(gap.value(50)), position(gap.value(99)));
    let middle = y + BAR / 2.0;
    text(svg, "end", LEFT - 8.0, y + 11.0, &gap.system);
    // Writing to a string cannot fail.
    writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{}\"/>",
        (median - LEFT).max(1.5),
        colour(&gap.system),
    )
    .ok();
    writeln!(
        svg,
        "<path class=\"whisker\" d=\"M{median:.1} {middle:.1}H{high:.1}\"/>"
    )
    .ok();
    let label = format!("{} ms{remark}", rounded(gap.value(50)));
    text(svg, "", median.max(high) + 6.0, y + 11.0, &label);
}

/// Three significant digits or so.
fn rounded(value: f64) -> String {
    match value {
        ..1.0 => format!("{value:.2}"),
        1.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Where on the scale this many milliseconds are.
fn position(milliseconds: f64) -> f64 {
    let (first, last) = (f64::from(*DECADES.start()), f64::from(*DECADES.end()));
    let power = milliseconds.max(1e-9).log10().clamp(first, last);
    LEFT + (RIGHT - LEFT) * (power - first) / (last - first)
}

/// Ours are blue, the lighter the less like the default; theirs are orange.
fn colour(system: &str) -> &'static str {
    match system {
        "vip" => "#1f6feb",
        name if name.starts_with("vip") => "#54a3e8",
        name if name.ends_with("10ms") => "#e5984b",
        _ => "#bf5b1d",
    }
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, content: &str) {
    let content = content
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    // Writing to a string cannot fail.
    writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{content}</text>"
    )
    .ok();
}

fn line(svg: &mut String, class: &str, x: f64, from: f64, to: f64) {
    writeln!(
        svg,
        "<path class=\"{class}\" d=\"M{x:.1} {from:.1}V{to:.1}\"/>"
    )
    .ok();
}
