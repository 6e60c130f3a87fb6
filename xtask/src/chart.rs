//! Charts as SVG, for pages that stand alone. Colours are the page's: `var(--line)`, `var(--grid)`, `var(--soft)`.

use std::fmt::Write;

/// Narrow enough that its words can be read on a telephone.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 34.0;
const BAR_HEIGHT: f64 = 22.0;
const BAR_NAME_WIDTH: f64 = 98.0;
const BAR_VALUE_WIDTH: f64 = 92.0;

/// How values become places along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By powers of ten.
    Log,
    /// Shares below 1, each nine as wide as the one before: 0.9, 0.99, 0.999.
    Nines,
}

/// One axis of a chart.
#[derive(Debug, Clone, Copy)]
pub struct Axis<'a> {
    pub label: &'a str,
    pub scale: Scale,
}

/// One bar: whose it is, how long, and what stands behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    pub name: String,
    pub value: f64,
    pub shown: String,
    /// Whether it is the one that others are compared with.
    pub is_ours: bool,
}

/// A line through `points`, with both axes; nothing when there is no line to draw.
pub fn line(title: &str, x: Axis<'_>, y: Axis<'_>, points: &[(f64, f64)]) -> String {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    if points.len() < 2 {
        return String::new();
    }
    let across = Span::of(x.scale, points.iter().map(|point| point.0), (LEFT, WIDTH - RIGHT));
    let up = Span::of(y.scale, points.iter().map(|point| point.1), (HEIGHT - BOTTOM, TOP));
    let mut svg = begin(title, HEIGHT);
    for (value, text) in up.ticks() {
        let at = up.place(value);
        let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}"/>"#, WIDTH - RIGHT);
        let _ = write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#, LEFT - 5.0, at + 3.5);
    }
    for (value, text) in across.ticks() {
        let (at, below) = (across.place(value), HEIGHT - BOTTOM + 14.0);
        let _ = write!(svg, r#"<text x="{at:.1}" y="{below:.1}" text-anchor="middle">{text}</text>"#);
    }
    let (middle, low) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 5.0);
    let _ = write!(svg, r#"<text x="{middle:.1}" y="{low:.1}" text-anchor="middle">{}</text>"#, escape(x.label));
    let places: Vec<String> =
        points.iter().map(|point| format!("{:.1},{:.1}", across.place(point.0), up.place(point.1))).collect();
    let _ = write!(svg, r#"<polyline class="line" points="{}"/></svg>"#, places.join(" "));
    format!("<figure><figcaption>{} <small>{}</small></figcaption>{svg}</figure>", escape(title), escape(y.label))
}

/// Bars from the left, each with its value behind it.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.value).filter(|value| value.is_finite()).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let mut svg = begin(title, bars.len() as f64 * BAR_HEIGHT + 4.0);
    let room = WIDTH - BAR_NAME_WIDTH - BAR_VALUE_WIDTH;
    for (number, bar) in bars.iter().enumerate() {
        let top = number as f64 * BAR_HEIGHT + 4.0;
        let length = (bar.value / most * room).max(1.0);
        let (class, text) = (if bar.is_ours { "bar ours" } else { "bar" }, top + 13.0);
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{text:.1}" text-anchor="end">{}</text>"#,
            BAR_NAME_WIDTH - 6.0,
            escape(&bar.name)
        );
        let _ = write!(
            svg,
            r#"<rect class="{class}" x="{BAR_NAME_WIDTH}" y="{top:.1}" width="{length:.1}" height="16" rx="2"/>"#
        );
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{text:.1}">{}</text>"#,
            BAR_NAME_WIDTH + length + 5.0,
            escape(&bar.shown)
        );
    }
    svg.push_str("</svg>");
    format!("<figure><figcaption>{} <small>{}</small></figcaption>{svg}</figure>", escape(title), escape(unit))
}

fn begin(title: &str, height: f64) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, escape(title))
}

/// Text as it may stand in HTML and in an attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number with as many digits as say something.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let digits = if size >= 100.0 || size == 0.0 || (size >= 10.0 && size.fract() == 0.0) {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 0.1 {
        2
    } else {
        4
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// From values to places along one axis.
struct Span {
    scale: Scale,
    least: f64,
    greatest: f64,
    places: (f64, f64),
}

impl Span {
    fn of(scale: Scale, values: impl Iterator<Item = f64>, places: (f64, f64)) -> Self {
        let values: Vec<f64> = values.map(|value| scaled(scale, value)).collect();
        let greatest = values.iter().copied().fold(f64::MIN, f64::max);
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        let (least, greatest) = match scale {
            Scale::Linear => (0.0, greatest * 1.05),
            Scale::Log => (least.floor(), greatest.ceil()),
            Scale::Nines => (0.0, greatest),
        };
        // A line along the axis still has a place.
        let greatest = if greatest > least { greatest } else { least + 1.0 };
        Self { scale, least, greatest, places }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (scaled(self.scale, value) - self.least) / (self.greatest - self.least);
        self.places.0 + share * (self.places.1 - self.places.0)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.greatest);
                let count = (self.greatest / step).floor() as u32;
                (0..=count).map(|at| (f64::from(at) * step, number(f64::from(at) * step))).collect()
            }
            Scale::Log => {
                let powers = self.least as i32..=self.greatest as i32;
                powers.map(|power| (10_f64.powi(power), number(10_f64.powi(power)))).collect()
            }
            Scale::Nines => [(0.0, "0"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")]
                .into_iter()
                .filter(|(share, _)| scaled(Scale::Nines, *share) <= self.greatest)
                .map(|(share, text)| (share, text.to_owned()))
                .collect(),
        }
    }
}

fn scaled(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Linear => value,
        Scale::Log => value.max(1e-3).log10(),
        Scale::Nines => -(1.0 - value).max(1e-9).log10(),
    }
}

/// A round step that makes three to six of them.
fn step(greatest: f64) -> f64 {
    let power = 10_f64.powf((greatest / 4.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| greatest / step <= 5.5)
        .unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Axis<'_> = Axis { label: "seconds", scale: Scale::Linear };

    #[test]
    fn a_line_goes_where_its_points_are() {
        let svg = line("a < b", SECONDS, Axis { label: "ms", scale: Scale::Log }, &[(0.0, 1.0), (10.0, 100.0)]);
        assert!(svg.contains("a &lt; b") && !svg.contains("a < b"), "{svg}");
        // From the bottom left to the top, 5 % short of the right.
        assert!(svg.contains(r#"points="40.0,166.0 331.4,10.0""#), "{svg}");
        for label in [">1<", ">10<", ">100<", ">seconds<"] {
            assert!(svg.contains(label), "{label}: {svg}");
        }
        assert_eq!(line("t", SECONDS, SECONDS, &[(1.0, 1.0)]), "", "one point is no line");
        assert!(!line("t", SECONDS, SECONDS, &[(1.0, 0.0), (2.0, 0.0), (3.0, f64::NAN)]).contains("NaN"));
    }

    #[test]
    fn nines_are_equally_far_apart() {
        let span = Span::of(Scale::Nines, [0.5, 0.999].into_iter(), (0.0, 300.0));
        let places: Vec<i64> = span.ticks().iter().map(|(share, _)| span.place(*share).round() as i64).collect();
        assert_eq!(places, [0, 100, 200, 300]);
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar = |value, is_ours| Bar { name: "n".to_owned(), value, shown: "v".to_owned(), is_ours };
        let svg = bars("t", "us", &[bar(2.0, true), bar(1.0, false)]);
        assert!(svg.contains(r#"class="bar ours" x="98" y="4.0" width="170.0""#), "{svg}");
        assert!(svg.contains(r#"class="bar" x="98" y="26.0" width="85.0""#), "{svg}");
        assert_eq!(bars("t", "us", &[bar(0.0, true)]), "");
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        let shown = [0.0, 0.1234, 2.5, 2.0, 12.34, 40.0, 123.4, 0.001].map(number);
        assert_eq!(shown, ["0", "0.12", "2.5", "2", "12.3", "40", "123", "0.001"]);
        assert_eq!([4.2, 9.0, 100.0, 0.3].map(step), [1.0, 2.0, 20.0, 0.1]);
    }
}
