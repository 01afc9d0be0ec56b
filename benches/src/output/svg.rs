//! Bar charts as SVG, readable on light and dark pages, with nothing but the fonts of the system.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
/// Where bars begin, and the longest ends; what follows is for the number.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 780.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;
const SECTION: f64 = 34.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 34.0;

/// With a larger span the scale is logarithmic.
const LINEAR_SPAN: f64 = 20.0;

const STYLE: &str = "\
text { font-family: system-ui, -apple-system, sans-serif; font-size: 13px; fill: #1f2328 }
.title { font-size: 18px; font-weight: 600 }
.section { font-weight: 600 }
.note, .tick { font-size: 12px; fill: #59636e }
.name, .ours-name { text-anchor: end }
.ours-name, .ours-value { font-weight: 700 }
.tick { text-anchor: middle }
.page { fill: #ffffff }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.bar { fill: #9aa5b1 }
.ours { fill: #0b6bcb }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.note, .tick { fill: #9198a1 }
.page { fill: #0d1117 }
.grid { stroke: #30363d }
.bar { fill: #5b6672 }
.ours { fill: #4493f8 }
}
";

/// One picture.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    /// What the numbers are.
    pub(crate) note: String,
    pub(crate) sections: Vec<Section>,
}

/// Bars under a heading, drawn in this order.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    /// More than 0.
    pub(crate) value: f64,
    pub(crate) ours: bool,
}

/// From values to places.
enum Scale {
    Linear { most: f64 },
    Logarithmic { least: f64, most: f64 },
}

impl Scale {
    fn of(chart: &Chart) -> Self {
        let values = || chart.sections.iter().flat_map(|section| &section.bars).map(|bar| bar.value);
        let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        if most <= least * LINEAR_SPAN {
            return Self::Linear { most };
        }
        // A decade begins below the least, so that its bar can be seen.
        Self::Logarithmic { least: 10_f64.powf((least / 2.0).log10().floor()), most }
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { most } => value / most,
            Self::Logarithmic { least, most } => (value / least).log10() / (most / least).log10(),
        };
        LEFT + share * (RIGHT - LEFT)
    }

    /// Values at which there is a line.
    fn ticks(&self) -> Vec<f64> {
        match *self {
            Self::Linear { most } => {
                let step = 10_f64.powf(most.log10().floor());
                let step = if most / step < 2.5 { step / 2.0 } else { step };
                (0_u8..).map(|n| f64::from(n) * step).take_while(|&tick| tick <= most).collect()
            }
            Self::Logarithmic { least, most } => {
                (0..).map(|n| least * 10_f64.powi(n)).take_while(|&tick| tick <= most).collect()
            }
        }
    }
}

/// The whole file.
pub(crate) fn draw(chart: &Chart) -> String {
    let bars: usize = chart.sections.iter().map(|section| section.bars.len()).sum();
    let end = TOP + SECTION * chart.sections.len() as f64 + STEP * bars as f64;
    let (height, scale) = (end + BOTTOM, Scale::of(chart));
    let logarithmic = if matches!(scale, Scale::Linear { .. }) { "" } else { "; logarithmic scale" };
    let mut elements = format!(
        "<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n{}{}",
        text("title", 16.0, 28.0, &chart.title),
        text("note", 16.0, 48.0, &format!("{}{logarithmic}", chart.note)),
    );
    for tick in scale.ticks() {
        let x = scale.place(tick);
        elements.push_str(&format!(
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{end}\"/>\n{}",
            text("tick", x, end + 18.0, &short(tick)),
        ));
    }
    let mut y = TOP;
    for section in &chart.sections {
        elements.push_str(&text("section", 16.0, y + SECTION - 12.0, &section.title));
        y += SECTION;
        for bar in &section.bars {
            elements.push_str(&draw_bar(bar, &scale, y));
            y += STEP;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{}\">\n<style>\n{STYLE}</style>\n{elements}</svg>\n",
        escaped(&chart.title)
    )
}

fn draw_bar(bar: &Bar, scale: &Scale, y: f64) -> String {
    let end = scale.place(bar.value);
    let (name, class, value) =
        if bar.ours { ("ours-name", "ours", "ours-value") } else { ("name", "bar", "value") };
    let baseline = y + BAR - 4.5;
    format!(
        "{}<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\n{}",
        text(name, LEFT - 8.0, baseline, &bar.name),
        (end - LEFT).max(1.0),
        text(value, end + 6.0, baseline, &short(bar.value)),
    )
}

fn text(class: &str, x: f64, y: f64, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>\n", escaped(text))
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
        escaped
    })
}

/// A number to three digits: `0.65`, `13.9k`, `2.3M`.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let digits = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> Chart {
        let bar = |&value: &f64| Bar { name: format!("<{value}>"), value, ours: value > 50.0 };
        let section = Section { title: "a & b".to_owned(), bars: values.iter().map(bar).collect() };
        Chart { title: "title".to_owned(), note: "calls/s".to_owned(), sections: vec![section] }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (0.65, "0.65"), (16.0, "16"), (580.4, "580"), (13_912.0, "13.9k"), (2.3e6, "2.3M")]
        {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let scale = Scale::of(&chart(&[100.0, 50.0]));
        assert!((scale.place(100.0) - RIGHT).abs() < 0.01);
        assert!((scale.place(50.0) - f64::midpoint(LEFT, RIGHT)).abs() < 0.01);
        assert_eq!(scale.ticks(), [0.0, 50.0, 100.0]);
    }

    #[test]
    fn a_wide_span_has_a_logarithmic_scale() {
        let scale = Scale::of(&chart(&[1000.0, 10.0]));
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((scale.place(10.0) - (LEFT + (RIGHT - LEFT) / 3.0)).abs() < 0.01);
        assert!(draw(&chart(&[1000.0, 10.0])).contains("logarithmic"));
    }

    #[test]
    fn names_are_escaped_and_ours_stands_out() {
        let svg = draw(&chart(&[100.0, 50.0]));
        assert!(svg.contains("&lt;100&gt;") && svg.contains("a &amp; b"));
        assert_eq!(svg.matches("class=\"ours\"").count(), 1);
        assert_eq!(svg.matches("class=\"bar\"").count(), 1);
    }
}
