//! Tables as CSV, LaTeX, Markdown and HTML, with special characters escaped.

use crate::output::Table;
use crate::picture::escaped;

/// CSV as in RFC 4180.
pub fn csv(table: &Table) -> String {
    let cell = |cell: &String| {
        let quoted = cell.contains([',', '"', '\n', '\r']);
        if quoted { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.clone() }
    };
    let line = |cells: &[String]| cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\n";
    line(table.head()) + &table.rows().iter().map(|row| line(row)).collect::<String>()
}

/// A LaTeX tabular with the rules of the booktabs package.
pub fn latex(table: &Table) -> String {
    let columns: String = numeric(table).into_iter().map(|n| if n { 'r' } else { 'l' }).collect();
    let line = |cells: &[String]| cells.iter().map(|c| tex(c)).collect::<Vec<_>>().join(" & ") + " \\\\\n";
    let rows: String = table.rows().iter().map(|row| line(row)).collect();
    format!(
        "% \\usepackage{{booktabs}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{}\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n",
        line(table.head())
    )
}

/// A text for LaTeX: special characters as commands, arrows and minus signs in math mode.
fn tex(text: &str) -> String {
    let mut out = String::new();
    for letter in text.replace("->", "\u{2192}").chars() {
        match letter {
            '\u{2192}' => out.push_str("$\\to$"),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', letter]),
            // LaTeX reads a bracket after \\ as its optional argument.
            '[' => out.push_str("{[}"),
            '-' if out.is_empty() || out.ends_with([' ', ']']) || out.ends_with("{[}") => out.push_str("$-$"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// [`Table::markdown`] with escaped cells.
pub fn markdown(table: &Table) -> String {
    let cell = |cell: &String| {
        let mut out = String::new();
        for letter in cell.chars() {
            match letter {
                '|' | '\\' | '`' | '*' | '_' => out.extend(['\\', letter]),
                '<' => out.push_str("&lt;"),
                '&' => out.push_str("&amp;"),
                c if c.is_control() => out.push(' '),
                c => out.push(c),
            }
        }
        out
    };
    let mut escaped = Table::new(table.head().iter().map(cell));
    table.rows().iter().for_each(|row| escaped.row(row.iter().map(cell)));
    escaped.markdown() + "\n"
}

/// An HTML table that scrolls horizontally where the page is too narrow.
pub fn html(table: &Table) -> String {
    let numeric = numeric(table);
    let class = |i: usize| if numeric[i] { " class=\"number\"" } else { "" };
    let line = |tag: &str, cells: &[String]| {
        let cell = |(i, c): (usize, &String)| {
            format!("<{tag}{}>{}</{tag}>", class(i), escaped(c).replace("-&gt;", "\u{2192}"))
        };
        format!("<tr>{}</tr>\n", cells.iter().enumerate().map(cell).collect::<String>())
    };
    format!(
        "<div class=\"table\"><table>\n<thead>{}</thead>\n<tbody>\n{}</tbody></table></div>\n",
        line("th", table.head()),
        table.rows().iter().map(|row| line("td", row)).collect::<String>()
    )
}

/// Whether each column has only numbers and gaps.
fn numeric(table: &Table) -> Vec<bool> {
    let number =
        |cell: &String| cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    (0..table.head().len()).map(|i| table.rows().iter().all(|row| number(&row[i]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_letters_are_escaped() {
        let mut table = Table::new(["a_b", "50 %"]);
        table.row(["x,\"y\"<z>|&", "0.5 -> -1 [-2, 3]"]);
        assert_eq!(csv(&table), "a_b,50 %\n\"x,\"\"y\"\"<z>|&\",\"0.5 -> -1 [-2, 3]\"\n");
        let tex = latex(&table);
        assert!(tex.contains("a\\_b & 50 \\% \\\\\n\\midrule\nx,\"y\"\\textless{}z\\textgreater{}|\\& & 0.5 $\\to$ $-$1 {[}$-$2, 3] \\\\"), "{tex}");
        assert!(tex.contains("{lr}") && tex.contains("\\toprule"));
        assert!(markdown(&table).contains("x,\"y\"&lt;z>\\|&amp;"));
        assert!(
            html(&table)
                .contains("<td>x,&quot;y&quot;&lt;z&gt;|&amp;</td><td class=\"number\">0.5 \u{2192} -1")
        );
    }
}
