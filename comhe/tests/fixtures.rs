//! Energies and gradients against an independent implementation: 50-digit arithmetic by the definition, every option,
//! and rows that are nearly equal, opposite, tiny, huge, coinciding.

mod common;

use std::collections::BTreeMap;

use autograd::DType;
use comhe::{Energy, Reduce, projected_energy};

use common::{File, load};

/// `s0.5_ang_half_eps1e-4_mean`
fn parse(case: &str) -> Energy {
    let parts: Vec<&str> = case.split('_').collect();
    let number = |part: &str, prefix: &str| part.strip_prefix(prefix).unwrap().parse::<f64>().unwrap();
    Energy {
        s: number(parts[0], "s"),
        angular: parts[1] == "ang",
        half_space: parts[2] == "half",
        eps: number(parts[3], "eps"),
        reduce: if parts[4] == "sum" { Reduce::Sum } else { Reduce::Mean },
        ..Energy::default()
    }
}

/// The relative error of a value and of a gradient (against its largest element).
fn errors(file: &File, case: &str, dtype: DType) -> (f64, f64) {
    let (points, options) = case.rsplit_once('/').unwrap();
    let energy = parse(options);
    let w = file[&format!("{points}/w")].to_dtype(dtype).requires_grad();
    let value = match file.get(&format!("{points}/p")) {
        Some(p) => projected_energy(&energy, &w, &p.to_dtype(dtype)).unwrap(),
        None => energy.of(&w).unwrap(),
    };
    let (want, want_grad) = (file[&format!("{case}/energy")].item(), &file[&format!("{case}/grad")]);
    let value_error = (value.item() - want).abs() / want.abs().max(1e-300);
    let value_error = if value.item() == want { 0.0 } else { value_error };
    // Row by row: a tiny row has a huge gradient that would hide the others.
    let d = w.shape()[1];
    let grad = value.grad(&[&w]).remove(0).to_vec::<f64>();
    let mut grad_error = 0.0f64;
    // The gradient of a single neuron is 0 in theory, and rounding times the slope of a direction in practice.
    let negligible = if w.shape()[0] == 1 { 1e-8 } else { 0.0 };
    for (got, want) in grad.chunks(d).zip(want_grad.data::<f64>().chunks(d)) {
        let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let off = got.iter().zip(want).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(got.iter().all(|v| v.is_finite()), "{case}: {got:?}");
        grad_error = grad_error.max(if off == 0.0 { 0.0 } else { off / size.max(negligible) });
    }
    (value_error, grad_error)
}

#[test]
fn every_case_agrees() {
    let file = load("energy");
    let cases: Vec<&str> = file.keys().filter_map(|name| name.strip_suffix("/energy")).collect();
    assert!(cases.len() > 700, "{} cases", cases.len());
    let mut worst: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut failed = Vec::new();
    for case in &cases {
        let (value, grad) = errors(&file, case, DType::F64);
        let points = case.rsplit_once('/').unwrap().0;
        let entry = worst.entry(points).or_default();
        *entry = (entry.0.max(value), entry.1.max(grad));
        if !(value < 1e-9 && grad < 1e-7) {
            failed.push(format!("{case}: value off by {value:.1e}, gradient by {grad:.1e}"));
        }
    }
    for (points, (value, grad)) in &worst {
        println!("{points}: value {value:.1e}, gradient {grad:.1e}");
    }
    assert!(failed.is_empty(), "{} of {} failed\n{}", failed.len(), cases.len(), failed.join("\n"));
}
