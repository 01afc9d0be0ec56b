//! A measurement as a file for a browser: one HTML page, or one SVG, with nothing outside of it.

mod charts;

use std::{
    fmt::{self, Display, Write},
    path::{Path, PathBuf},
};

use self::charts::Panel;
use super::{
    summary::Summary,
    text::{micros, rate, text},
};
use crate::exit::Failure;

/// A file that a measurement is drawn into.
#[derive(Clone, Debug)]
pub(crate) struct ReportFile {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Svg,
}

impl ReportFile {
    /// Reads the name of a file, whose end says what it is to hold.
    pub(crate) fn parse(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let format = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Format::Html,
            Some("svg") => Format::Svg,
            _ => return Err("a report is a file whose name ends with .html or .svg".to_owned()),
        };
        Ok(Self { path, format })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file, empty, so that a name that cannot be is known before the measurement.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        self.put("")
    }

    /// Writes the report.
    pub(crate) fn write(&self, summary: &Summary) -> Result<(), Failure> {
        self.put(&match self.format {
            Format::Html => html(summary),
            Format::Svg => svg(summary),
        })
    }

    fn put(&self, text: &str) -> Result<(), Failure> {
        std::fs::write(&self.path, text).map_err(|error| {
            Failure::other(format!("cannot write the report {}: {error}", self.path.display()))
        })
    }
}

/// Draws all panels, one below the other.
fn svg(summary: &Summary) -> String {
    let panels = panels(summary);
    let height = TITLE + panels.iter().map(|_| Panel::HEIGHT).sum::<u32>();
    let width = Panel::WIDTH;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <style>{COLORS}</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\">{}</text>\n",
        Escaped(&title(summary))
    );
    for (panel, at) in panels.iter().zip(0..) {
        // Writing to a string cannot fail.
        _ = writeln!(svg, "<g transform=\"translate(0 {})\">\n{panel}</g>", TITLE + at * Panel::HEIGHT);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Height of the title of an SVG.
const TITLE: u32 = 36;

fn title(summary: &Summary) -> String {
    let setup = &summary.setup;
    format!("{}: {}, {} in flight, {}", setup.method, rate(summary.calls_per_s), setup.in_flight, setup.codec)
}

/// The panels for which there is something to draw.
fn panels(summary: &Summary) -> Vec<Panel> {
    [charts::course(summary), charts::histogram(summary), charts::quantiles(summary)]
        .into_iter()
        .flatten()
        .collect()
}

fn html(summary: &Summary) -> String {
    let title = Escaped(&summary.setup.method).to_string();
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}: muxado bench</title>\n\
         <style>{COLORS}{PAGE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    // Writing to a string cannot fail.
    _ = body(&mut page, summary);
    page
}

fn body(page: &mut String, summary: &Summary) -> fmt::Result {
    let latency = summary.latency_us;
    let setup = &summary.setup;
    writeln!(
        page,
        "<p>at {}, in {}</p>\n<div class=\"figures\">",
        Escaped(&setup.address),
        Escaped(&setup.codec)
    )?;
    figure(page, "calls", &rate(summary.calls_per_s))?;
    if let Some(latency) = latency {
        figure(page, "50 %", &micros(latency.p50))?;
        figure(page, "99 %", &micros(latency.p99))?;
        figure(page, "99.9 %", &micros(latency.p999))?;
    }
    figure(page, "failed", &summary.failed.to_string())?;
    writeln!(page, "</div>")?;
    for panel in panels(summary) {
        let (width, height) = (Panel::WIDTH, Panel::HEIGHT);
        writeln!(page, "<svg viewBox=\"0 0 {width} {height}\" font-size=\"12\">\n{panel}</svg>")?;
    }
    writeln!(page, "<h2>All figures</h2>\n<pre>{}</pre>", Escaped(&text(summary)))?;
    writeln!(page, "<p><small>muxado bench {}</small></p>\n</body>\n</html>", env!("CARGO_PKG_VERSION"))
}

fn figure(page: &mut String, name: &str, value: &str) -> fmt::Result {
    writeln!(page, "<div><b>{}</b><span>{}</span></div>", Escaped(value), Escaped(name))
}

/// Light or dark, as the reader has it.
const COLORS: &str = ":root{color-scheme:light dark}.ground{fill:#fff}text{fill:#222}.axis{stroke:#999}\
     .grid{stroke:#8883}.bar{fill:#3b7dd8}.line{stroke:#3b7dd8;fill:none;stroke-width:1.5}\
     .slow{stroke:#d9822b;fill:none;stroke-width:1.5}.failed{fill:#d33}\
     @media(prefers-color-scheme:dark){.ground{fill:#1b1b1b}text{fill:#ddd}}";

const PAGE: &str = "body{font-family:system-ui,sans-serif;max-width:860px;margin:2em auto;padding:0 1em}\
     h1{margin-bottom:0}svg{width:100%;height:auto}pre{overflow:auto}\
     .figures{display:flex;flex-wrap:wrap;gap:2em}.figures b{font-size:1.6em;display:block}";

/// A text between tags or quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            // Not to be in XML, whatever it is written as.
            char if char.is_control() && char != '\n' => f.write_char('\u{fffd}'),
            char => f.write_char(char),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_name_says_what_a_report_is() {
        assert_eq!(ReportFile::parse("a/b.HTML").unwrap().format, Format::Html);
        assert_eq!(ReportFile::parse("b.svg").unwrap().format, Format::Svg);
        assert!(ReportFile::parse("b.pdf").is_err());
        assert!(ReportFile::parse("svg").is_err());
    }

    #[test]
    fn names_cannot_become_tags() {
        assert_eq!(Escaped("<a&\"b\"\u{1b}>").to_string(), "&lt;a&amp;&quot;b&quot;\u{fffd}&gt;");
    }
}
