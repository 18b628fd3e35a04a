//! The HTML page, with its style, pictures and tables inside.

use crate::picture::escaped;

/// A section of the page.
pub struct Part {
    pub heading: &'static str,
    pub words: Vec<String>,
    pub remarks: Vec<String>,
    /// Pictures as SVG, in rows as wide as the page.
    pub pictures: Vec<String>,
    /// Tables as HTML.
    pub tables: Vec<String>,
}

/// A light and a dark colour scheme. The colours of curves are those of Okabe and Ito, lighter in the dark scheme.
const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ground: #f6f7f9; --ink: #282c34; --pale: #7d8593; --grid: #e3e6ea;
  --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #cc79a7; --s4: #e69f00; --s5: #56b4e9; --s6: #000000; }
@media (prefers-color-scheme: dark) { :root { --paper: #1b1e24; --ground: #14161a; --ink: #dfe3ea; --pale: #8d96a5;
  --grid: #333842; --s0: #4aa3dd; --s1: #f0813a; --s2: #2fc295; --s3: #e09bc4; --s4: #f2b632; --s5: #8fd0f5; --s6: #f0f0f0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, 'Segoe UI',
  Roboto, 'Helvetica Neue', sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 36px 28px 64px; }
h1 { font-size: 27px; font-weight: 650; letter-spacing: -0.01em; margin: 0 0 4px; }
h2 { font-size: 19px; font-weight: 620; margin: 44px 0 6px; }
p { margin: 4px 0; max-width: 78ch; }
.lead, .note { color: var(--pale); }
.note { font-size: 14px; }
nav { margin: 14px 0 0; font-size: 14px; }
nav a { color: var(--s0); text-decoration: none; margin-right: 16px; white-space: nowrap; }
nav a:hover { text-decoration: underline; }
.pictures { display: flex; flex-wrap: wrap; gap: 18px; margin-top: 14px; align-items: flex-start; }
figure { margin: 0; background: var(--paper); border: 1px solid var(--grid); border-radius: 10px; padding: 8px 4px;
  flex: 0 1 auto; max-width: 100%; overflow: hidden; }
figure svg { display: block; max-width: 100%; height: auto; }
svg text { font-family: inherit; }
.table { overflow-x: auto; margin-top: 14px; background: var(--paper); border: 1px solid var(--grid); border-radius: 10px; }
table { border-collapse: collapse; font-size: 13.5px; width: 100%; }
th, td { text-align: left; padding: 8px 11px; white-space: nowrap; }
th { font-weight: 600; color: var(--pale); border-bottom: 1px solid var(--grid); }
tbody tr + tr td { border-top: 1px solid var(--grid); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
footer { margin-top: 52px; color: var(--pale); font-size: 13px; }
@media print { body { background: none; } figure, .table { break-inside: avoid; } }
";

/// The page.
pub fn html(title: &str, lead: &[String], parts: &[Part], footer: &str) -> String {
    let lead: String = lead.iter().map(|line| format!("<p class=\"lead\">{}</p>\n", escaped(line))).collect();
    let link = |(i, part): (usize, &Part)| format!("<a href=\"#part{i}\">{}</a>\n", escaped(part.heading));
    let links: String = parts.iter().enumerate().map(link).collect();
    let body: String = parts.iter().enumerate().map(|(i, p)| part(i, p)).collect();
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{lead}\
         <nav>\n{links}</nav>\n{body}<footer>{}</footer>\n</main>\n</body>\n</html>\n",
        escaped(footer)
    )
}

fn part(i: usize, part: &Part) -> String {
    let lines = |class: &str, lines: &[String]| -> String {
        lines.iter().map(|line| format!("<p{class}>{}</p>\n", escaped(line))).collect()
    };
    let figures: String = part.pictures.iter().map(|svg| format!("<figure>\n{svg}</figure>\n")).collect();
    let figures =
        if figures.is_empty() { figures } else { format!("<div class=\"pictures\">\n{figures}</div>\n") };
    format!(
        "<section id=\"part{i}\">\n<h2>{}</h2>\n{}{}{}{figures}</section>\n",
        escaped(part.heading),
        lines("", &part.words),
        part.tables.concat(),
        lines(" class=\"note\"", &part.remarks),
    )
}
