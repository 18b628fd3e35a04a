//! The graph of one training step, as DOT, as a page, or as text.

use std::fmt::Write;
use std::path::Path;

use autograd::{Graph, GraphNode, Key, Tensor, inspect};
use nn::{Batch, Model, Module, write_atomic};

use crate::config::Config;
use crate::failure::Failure;
use crate::{memory, output, setup};

/// The look of the page.
const STYLE: &str = "body{font:14px sans-serif;margin:24px}div{display:flex}table{border-collapse:collapse}\
tr{height:24px}td,th{padding:0 10px;text-align:left;white-space:nowrap;line-height:24px;font-size:13px}\
td{font-family:monospace}.r{text-align:right}.leaf{background:#dcebff}.detach{background:#ffd9d9}tr:target{outline:2px solid #d55e00}\
tr:hover{background:#f4f4f4}i{display:inline-block;height:10px;background:#e69f00;margin-right:6px}\
path{fill:none;stroke:#0072b2;stroke-opacity:.55}a{color:#0072b2}svg{flex:none}";

/// Writes the graph in the form that the file's name asks for, and prints its totals and the path.
pub fn write(path: &Path, model: Model, config: &Config) -> Result<(), Failure> {
    let form = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if !["html", "dot", "txt"].contains(&form) {
        return Err(Failure::place(path, "is of no known kind: its name must end in .html, .dot or .txt"));
    }
    memory::check(&model, config.width, config.batch_size, setup::dtype(config))?;
    let title = format!("One training step of {}, {} images", model.name, config.batch_size);
    let (graph, names) = step(model, config)?;
    let text = match form {
        "html" => html(&title, &graph, &names),
        "dot" => dot(&graph, &names),
        _ => table(&graph, &names),
    };
    write_atomic(path, text.as_bytes())?;
    output::line(&format!(
        "{} nodes, {:.1} MiB kept for the reverse pass, {:.3} GFLOPs forward",
        graph.nodes.len(),
        mib(graph.kept_bytes()),
        graph.flops() as f64 / 1e9
    ))?;
    output::line(&path.display().to_string())
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / (1u64 << 20) as f64
}

/// The graph of the loss on random images, and a name for each node that is a parameter or works on one.
fn step(model: Model, config: &Config) -> Result<(Graph, Vec<String>), Failure> {
    let [c, h, w] = model.input;
    // Leaves of their own, made in the order of the names: the graph lists nodes by age.
    let mut names = Vec::new();
    let model = model.map(|name, t| {
        names.push(name.to_string());
        t.detach().requires_grad()
    });
    let n = config.batch_size;
    let images = Tensor::normal([n, c, h, w], setup::dtype(config), Key::new(config.seed).stream("inspect"));
    let labels: Vec<u32> = (0..n).map(|i| (i % model.classes) as u32).collect();
    let graph =
        inspect(&setup::trainer(model, config, None)?.batch_loss(&Batch::new(images, labels)).pass()?.loss);
    let mut parameters = names.into_iter();
    let mut of_leaf = |node: &GraphNode| if node.op == "leaf" { parameters.next() } else { None };
    let mut found: Vec<String> = Vec::new();
    for node in &graph.nodes {
        let own = of_leaf(node);
        // An operation is named after the layer whose parameters it takes.
        let taken = node.inputs.iter().find(|&&i| graph.nodes[i].op == "leaf").map(|&i| layer(&found[i]));
        found.push(own.or(taken).unwrap_or_default());
    }
    Ok((graph, found))
}

fn layer(parameter: &str) -> String {
    nn::instruments::layer_of(parameter).to_string()
}

fn table(graph: &Graph, names: &[String]) -> String {
    let mut text = String::new();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let _ = writeln!(
        text,
        "{:>4}  {:<24} {:<width$} {:<20} {:>12} {:>14}  {:<16} made at",
        "", "operation", "of", "shape", "kept bytes", "FLOPs", "from"
    );
    for (i, (node, name)) in graph.nodes.iter().zip(names).enumerate() {
        let GraphNode { op, shape, kept_bytes, flops, site, inputs } = node;
        let (shape, from) = (shape.to_string(), format!("{inputs:?}"));
        let _ = writeln!(
            text,
            "{i:>4}  {op:<24} {name:<width$} {shape:<20} {kept_bytes:>12} {flops:>14}  {from:<16} {}:{}",
            site.file(),
            site.line()
        );
    }
    text + &format!("total: {} bytes kept, {} FLOPs forward\n", graph.kept_bytes(), graph.flops())
}

fn dot(graph: &Graph, names: &[String]) -> String {
    let mut dot = String::from("digraph step {\n  rankdir=BT; node [shape=box, fontname=\"monospace\"];\n");
    for (i, (node, name)) in graph.nodes.iter().zip(names).enumerate() {
        let colour = match node.op {
            "leaf" => ", style=filled, fillcolor=\"#dcebff\"",
            "detach" => ", style=filled, fillcolor=\"#ffd9d9\"",
            _ => "",
        };
        let _ = writeln!(
            dot,
            "  n{i} [label=\"{} {name}\\n{}\\nkeeps {} bytes, {} FLOPs\\n{}:{}\"{colour}];",
            node.op,
            node.shape,
            node.kept_bytes,
            node.flops,
            node.site.file(),
            node.site.line()
        );
        node.inputs.iter().for_each(|j| {
            let _ = writeln!(dot, "  n{j} -> n{i};");
        });
    }
    dot + "}\n"
}

/// A row a node, newest last, with arcs from what it was computed from.
fn html(title: &str, graph: &Graph, names: &[String]) -> String {
    const ROW: usize = 24;
    const ARCS: f64 = 150.0;
    let n = graph.nodes.len();
    let middle = |i: usize| (i * ROW) as f64 + ROW as f64 / 2.0;
    let most = graph.nodes.iter().map(|node| node.kept_bytes).max().unwrap_or(1).max(1);
    let (mut arcs, mut rows) = (String::new(), String::new());
    for (i, (node, name)) in graph.nodes.iter().zip(names).enumerate() {
        for &j in &node.inputs {
            let (from, to) = (middle(j), middle(i));
            // The farther apart, the wider the arc.
            let reach = ARCS - ((i - j) as f64).sqrt() * (ARCS - 12.0) / (n as f64).sqrt();
            let _ = writeln!(arcs, "<path d=\"M{ARCS} {from} C{reach} {from} {reach} {to} {ARCS} {to}\"/>");
        }
        let inputs: Vec<String> = node.inputs.iter().map(|j| format!("<a href=\"#n{j}\">{j}</a>")).collect();
        let _ = writeln!(
            rows,
            "<tr id=\"n{i}\" class=\"{}\"><td>{i}<td>{}<td>{name}<td>{}<td>{}<td class=\"r\"><i style=\"width:{:.0}px\"></i>{}\
             <td class=\"r\">{}<td>{}:{}</tr>",
            node.op,
            node.op,
            node.shape,
            inputs.join(" "),
            60.0 * node.kept_bytes as f64 / most as f64,
            node.kept_bytes,
            node.flops,
            node.site.file(),
            node.site.line()
        );
    }
    let (kept, flops, height) = (mib(graph.kept_bytes()), graph.flops() as f64 / 1e9, n * ROW);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n<style>{}</style>\n<h1>{title}</h1>\n\
         <p>{n} nodes; {kept:.1} MiB kept for the reverse pass; {flops:.3} GFLOPs forward. Blue rows are parameters; arcs lead \
         from what an operation was computed from.</p>\n<div><svg width=\"{ARCS}\" height=\"{height}\" style=\"margin-top:{ROW}px\">\
         {arcs}</svg>\n<table><tr><th>#<th>operation<th>of<th>shape<th>from<th>kept bytes<th>FLOPs<th>made at</tr>\n{rows}</table></div></html>\n",
        STYLE
    )
}
