use autograd::{DType, Key};

use super::*;
use crate::models;
use crate::module::Module;

fn total(name: &str, twin: Twin) -> Cost {
    let model = models::build(name, [3, 224, 224], 1000, 1, Key::new(0), DType::F32).unwrap();
    let costs = costs(&model, twin);
    let mut total = Cost::default();
    costs.iter().for_each(|cost| total += cost);
    total
}

#[test]
fn operations_and_sizes_are_the_published_ones() {
    // FLOPs, binary operations, megabytes: arXiv 2106.06991, table 5.
    for (name, real, binary, size) in [
        ("basenet18-k1", 1.23e8, 1.76e9, 3.49),
        ("basenet18-k4", 1.23e8, 2.01e9, 3.56),
        ("boolnet18-k1", 1.26e8, 2.01e9, 3.71),
        ("boolnet18-k4", 1.26e8, 2.50e9, 3.84),
    ] {
        let cost = total(name, Twin::Binary);
        println!(
            "{name}: {:.3e} real, {:.3e} binary, {:.2} MB",
            cost.real_ops as f64,
            cost.binary_ops as f64,
            cost.weight_bits as f64 / 8e6
        );
        for (found, expected, tolerance) in [
            (cost.real_ops as f64, real, 0.04),
            (cost.binary_ops as f64, binary, 0.02),
            (cost.weight_bits as f64 / 8e6, size, 0.04),
        ] {
            assert!((found / expected - 1.0).abs() < tolerance, "{name}: {found:e}, published {expected:e}");
        }
    }
}

#[test]
fn energies_are_in_the_published_order() {
    let e = Coefficients::default();
    let energy = |name: &str, twin: Twin| total(name, twin).energy(&e).total() / 1e9;
    let found = [
        energy("basenet18-k1", Twin::Binary),
        energy("basenet18-k4", Twin::Binary),
        energy("boolnet18-k4", Twin::Binary),
        energy("boolnet18-k4", Twin::RealShortcuts),
    ];
    println!("{found:.2?} mJ");
    assert!(found.is_sorted());
    assert!(found[3] / found[2] > 2.0, "{found:?}");
    let small = |twin| {
        let model = models::build("boolnet-small-k4", [1, 14, 14], 10, 1, Key::new(0), DType::F32).unwrap();
        costs(&model, twin).iter().map(|cost| cost.energy(&e).total()).sum::<f64>()
    };
    assert!(small(Twin::Binary) < small(Twin::RealShortcuts));
}

#[test]
fn the_costs_of_real_networks_are_those_of_their_tables() {
    let model = models::build("resnet18", [3, 224, 224], 1000, 1, Key::new(0), DType::F32).unwrap();
    let cost = total("resnet18", Twin::Binary);
    assert_eq!(cost.weight_bits, 32 * model.parameter_count() as u64);
    assert_eq!(cost.real_ops, model.summary().rows.iter().map(|row| row.flops / 2).sum::<u64>());
    assert_eq!((cost.binary_ops, cost.compares), (0, 0));
}

#[test]
fn names_are_designs() {
    assert_eq!(Design::named("resnet18"), None);
    assert_eq!(Design::named("boolnet18-k3"), None);
    assert_eq!(Design::named("basenet18-star-k4"), None);
    let design = Design::named("boolnet18-star-k4").unwrap();
    let blocks = design.blocks(1);
    let strides: Vec<usize> = blocks.iter().map(|(_, spec)| spec.stride).collect();
    assert_eq!(strides, [1, 1, 2, 1, 2, 1, 1, 1]);
    assert_eq!(blocks[7].1.dilation, [2, 2]);
    let channels: Vec<usize> = blocks.iter().map(|(_, spec)| spec.channels).collect();
    assert_eq!(channels, [64, 64, 128, 128, 256, 256, 512, 512]);
}
