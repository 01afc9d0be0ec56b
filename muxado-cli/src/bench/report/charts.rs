//! The charts of a report, each a part of an SVG.

use std::fmt::{self, Display, Write};

use super::Escaped;
use crate::bench::{
    summary::Summary,
    text::{micros, rate},
};

/// A chart with its title and axes.
pub(super) struct Panel {
    title: &'static str,
    /// What is drawn in the frame.
    content: String,
    /// Places from the left, of 0 to 1, and what is there.
    x: Vec<(f64, String)>,
    /// Places from the bottom, of 0 to 1, and what is there.
    y: Vec<(f64, String)>,
    /// Places at the right side from the bottom, of 0 to 1, and what is there.
    right: Vec<(f64, String)>,
}

impl Panel {
    pub(super) const WIDTH: u32 = 800;
    pub(super) const HEIGHT: u32 = 260;
}

/// The frame in which something is drawn.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 720.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 220.0;

/// Returns where a share of the width or height is.
fn across(share: f64) -> f64 {
    LEFT + share * (RIGHT - LEFT)
}

fn up(share: f64) -> f64 {
    BOTTOM - share * (BOTTOM - TOP)
}

/// Calls a second, and the slowest call of each part of the time.
pub(super) fn course(summary: &Summary) -> Option<Panel> {
    let (first, last) = (summary.course.first()?, summary.course.last()?);
    if summary.course.len() < 2 {
        return None;
    }
    let span = last.at_s - first.at_s;
    let x = |at: f64| across((at - first.at_s) / span);
    let fastest = top(summary.course.iter().map(|part| part.calls_per_s));
    let slowest = top(summary.course.iter().map(|part| part.max_us));
    let points = |of: &dyn Fn(usize) -> f64| {
        let points = summary
            .course
            .iter()
            .enumerate()
            .map(|(index, part)| format!("{:.1},{:.1}", x(part.at_s), of(index)));
        points.collect::<Vec<_>>().join(" ")
    };
    let calls = points(&|index| up(summary.course[index].calls_per_s / fastest));
    let slow = points(&|index| up(summary.course[index].max_us / slowest));
    let mut content = format!(
        "<polyline class=\"slow\" points=\"{slow}\"/>\n<polyline class=\"line\" points=\"{calls}\"/>\n"
    );
    for part in summary.course.iter().filter(|part| part.failed > 0) {
        // Writing to a string cannot fail.
        _ = writeln!(
            content,
            "<circle class=\"failed\" cx=\"{:.1}\" cy=\"{BOTTOM}\" r=\"3\"><title>{} failed</title></circle>",
            x(part.at_s),
            part.failed
        );
    }
    let seconds =
        [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (share, format!("{:.1} s", first.at_s + share * span)));
    Some(Panel {
        title: "Calls a second (blue, left) and the slowest call (orange, right) over time",
        content,
        x: seconds.into(),
        y: marks(fastest, rate),
        right: marks(slowest, micros),
    })
}

/// How many calls took how long.
pub(super) fn histogram(summary: &Summary) -> Option<Panel> {
    let bins = &summary.histogram;
    if bins.is_empty() {
        return None;
    }
    let most = top(bins.iter().map(|bin| bin.calls as f64));
    let width = 1.0 / bins.len() as f64;
    let (mut content, mut x) = (String::new(), Vec::new());
    for (index, bin) in bins.iter().enumerate() {
        let (left, share) = (index as f64 * width, bin.calls as f64 / most);
        _ = writeln!(
            content,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{} .. {}: {}</title></rect>",
            across(left) + 1.0,
            up(share),
            across(width) - LEFT - 2.0,
            BOTTOM - up(share),
            micros(bin.from_us),
            micros(bin.to_us),
            bin.calls
        );
        // Every second edge, if there are many.
        if bins.len() <= 9 || index % 2 == 0 {
            x.push((left, micros(bin.from_us)));
        }
    }
    let y = marks(most, |calls| format!("{calls:.0}"));
    Some(Panel { title: "Calls by latency", content, x, y, right: Vec::new() })
}

/// The latency of each quantile: the further to the right, the rarer.
pub(super) fn quantiles(summary: &Summary) -> Option<Panel> {
    let rarest =
        -(1.0 / summary.latency_us.map(|_| (summary.calls + summary.unfinished).max(10))? as f64).log10();
    let nines = |quantile: f64| (-(1.0 - quantile).max(1e-12).log10()).min(rarest);
    let slowest = top(summary.quantiles.iter().map(|(_, micros)| *micros));
    let points = summary.quantiles.iter().map(|(quantile, micros)| {
        format!("{:.1},{:.1}", across(nines(*quantile) / rarest), up(micros / slowest))
    });
    let points = points.collect::<Vec<_>>().join(" ");
    let names =
        [(0.0, "0"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    let x = names
        .into_iter()
        .filter(|(quantile, _)| nines(*quantile) < rarest)
        .map(|(quantile, name)| (nines(quantile) / rarest, name.to_owned()));
    Some(Panel {
        title: "Latency by quantile",
        content: format!("<polyline class=\"line\" points=\"{points}\"/>\n"),
        x: x.collect(),
        y: marks(slowest, micros),
        right: Vec::new(),
    })
}

/// Returns the greatest; 1 if there is none, to divide by.
fn top(values: impl Iterator<Item = f64>) -> f64 {
    let top = values.fold(0.0, f64::max);
    if top > 0.0 { top } else { 1.0 }
}

fn marks(top: f64, name: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (share, name(share * top))).into()
}

impl Display for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}</text>", self.title)?;
        for (share, name) in &self.y {
            let y = up(*share);
            writeln!(f, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>")?;
            label(f, LEFT - 8.0, y + 4.0, "end", name)?;
        }
        for (share, name) in &self.right {
            label(f, RIGHT + 8.0, up(*share) + 4.0, "start", name)?;
        }
        for (share, name) in &self.x {
            let x = across(*share);
            writeln!(f, "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\"/>")?;
            label(f, x, BOTTOM + 18.0, "middle", name)?;
        }
        f.write_str(&self.content)?;
        writeln!(f, "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{BOTTOM}\"/>")
    }
}

fn label(f: &mut fmt::Formatter<'_>, x: f64, y: f64, anchor: &str, name: &str) -> fmt::Result {
    writeln!(f, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", Escaped(name))
}
