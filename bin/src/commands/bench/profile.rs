//! `comhe bench step --profile`: where the time of a step goes.

use autograd::{DType, Profile};
use serde_json::{Value, json};

use super::peak::Peak;
use crate::output::Table;

/// An object an operation.
pub fn rows(profile: &Profile) -> Vec<Value> {
    let row = |row: &autograd::ProfileRow| {
        json!({
            "op": row.op,
            "backward": row.backward,
            "calls": row.calls,
            "ms": 1e3 * row.time.as_secs_f64(),
            "bytes": row.bytes,
            "flops": row.flops,
        })
    };
    profile.rows.iter().map(row).collect()
}

/// The same as a table, beside what the machine could do.
pub fn table(profile: &Profile, peak: &Peak, dtype: DType) -> String {
    let head =
        ["operation", "pass", "calls", "ms", "% of step", "MB", "GB/s", "MFLOP", "GFLOP/s", "% of peak"];
    let mut table = Table::new(head);
    for row in &profile.rows {
        let seconds = row.time.as_secs_f64();
        let (gb_s, gflops) = (row.bytes as f64 / seconds / 1e9, row.flops as f64 / seconds / 1e9);
        // An operation is bound by what it comes closer to.
        let of_peak = (gb_s / peak.gb_s).max(gflops / peak.gflops(dtype));
        let between = row.op == "-";
        let number = |v: f64, digits: usize| if between { String::new() } else { format!("{v:.digits$}") };
        table.row([
            if between { "between operations (optimiser)".into() } else { row.op.to_string() },
            match (between, row.backward) {
                (true, _) => "",
                (_, true) => "backward",
                _ => "forward",
            }
            .into(),
            number(row.calls as f64, 0),
            format!("{:.3}", 1e3 * seconds),
            format!("{:.1}", 100.0 * seconds / profile.total.as_secs_f64()),
            number(row.bytes as f64 / 1e6, 1),
            number(gb_s, 1),
            number(row.flops as f64 / 1e6, 1),
            number(gflops, 0),
            number(100.0 * of_peak, 0),
        ]);
    }
    format!("{}\n\n{:.3} ms in all; peak: {peak}", table.text(), 1e3 * profile.total.as_secs_f64())
}
