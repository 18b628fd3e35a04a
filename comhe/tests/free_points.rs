//! N free points in R^d under each regulariser: the smallest angle between vectors, and between lines, after 300 steps of
//! momentum from N(0, 1). With `--nocapture` the whole table is printed.

use autograd::{DType, Key, Tensor};
use comhe::peers::{PeerOptions, peer};
use comhe::{Objective, Options, Preset, smallest_angle};
use nn::{Regulariser, Step, Weight};

const SHAPES: [[usize; 2]; 4] = [[4, 3], [6, 3], [10, 16], [20, 8]];
const SEEDS: u64 = 2;

/// The regularisers of the table. Soft orthogonality, which grows with the fourth power of lengths, diverges at weight 1.
fn regularisers() -> Vec<(&'static str, Box<dyn Regulariser>)> {
    let energy = |name: &str, s| {
        let energy = comhe::Energy { s, ..comhe::Energy::default() };
        let objective = Objective::new(name, &Options { energy, ..Options::default() });
        Box::new(objective.unwrap()) as Box<dyn Regulariser>
    };
    // With the published weight of the classifier, where the code's factor of 0.1 is lost.
    let a2 = Options { weight: 10.0, ..(Preset::named("mhe-a2").unwrap().options)() };
    let of = |name: &'static str, half_space| {
        peer(name, &PeerOptions { half_space, ..PeerOptions::default() }).unwrap()
    };
    let mut list = vec![
        ("start", energy("none", 2.0)),
        ("mhe, s = 0", energy("mhe", 0.0)),
        ("mhe, s = 2", energy("mhe", 2.0)),
        ("mhe-a2", Box::new(Objective::new("mhe", &a2).unwrap()) as Box<dyn Regulariser>),
        ("hs-mhe, s = 2", energy("hs-mhe", 2.0)),
        ("mhs, half-space", of("mhs", true)),
        ("mgd, half-space", of("mgd", true)),
        ("mhp, half-space", of("mhp", true)),
        ("mhc, half-space", of("mhc", true)),
    ];
    let light = |name| {
        let objective = Objective::new(name, &Options { weight: 0.01, ..Options::default() });
        (name, Box::new(objective.unwrap()) as Box<dyn Regulariser>)
    };
    let heavy = ["so", "dso", "srip"];
    list.extend(heavy.map(light));
    list.extend(
        comhe::peers::names().filter(|name| !heavy.contains(name)).map(|name| (name, of(name, false))),
    );
    list
}

/// Mean angles in degrees between vectors and between lines, or `None` if a run diverges.
fn angles(regulariser: &dyn Regulariser, [n, d]: [usize; 2]) -> Option<[f64; 2]> {
    let mut sum = [0.0; 2];
    for seed in 0..SEEDS {
        let mut regulariser = regulariser.clone_regulariser();
        let mut w = Tensor::normal([n, d], DType::F64, Key::new(seed).stream("points")).requires_grad();
        let mut velocity = Tensor::zeros([n, d], DType::F64);
        for index in 0..300 {
            let lr = if index < 200 { 0.05 } else { 0.005 };
            let penalty = regulariser.penalty(&[Weight::new("points", &w)], Step { index, lr }).ok()?;
            if penalty.is_tracked() {
                velocity = velocity * 0.9 + penalty.grad(&[&w]).remove(0);
                w = (w.detach() - &velocity * lr).requires_grad();
            }
        }
        let smallest = |w: &Tensor| smallest_angle(w).ok().flatten().map(f64::to_degrees);
        sum[0] += smallest(&w)?;
        sum[1] += smallest(&Tensor::cat(&[&w, &-&w], 0))?;
    }
    Some(sum.map(|s| s / SEEDS as f64))
}

#[test]
fn full_space_losses_align_antipodes_and_half_space_ones_spread_lines() {
    let mut rows = Vec::new();
    for (name, regulariser) in regularisers() {
        let row = SHAPES.map(|shape| angles(&*regulariser, shape));
        let cell = |a: &Option<[f64; 2]>| a.map_or("diverged".into(), |[v, l]| format!("{v:.1} / {l:.1}"));
        println!("| {name} | {} |", row.iter().map(cell).collect::<Vec<_>>().join(" | "));
        rows.push((name, row));
    }
    let of = |name: &str, shape: [usize; 2]| {
        let (_, row) = rows.iter().find(|(n, _)| *n == name).unwrap();
        row[SHAPES.iter().position(|s| *s == shape).unwrap()].unwrap_or_else(|| panic!("{name} diverged"))
    };
    let [vectors, lines] = [0, 1];
    // Four points in R^3: the tetrahedron, 109.5 degrees, and the lines of an octahedron's faces, 70.5.
    for name in ["mhe, s = 0", "mhe, s = 2", "mma", "mhs"] {
        assert!(of(name, [4, 3])[vectors] > 108.0, "{name}");
    }
    for name in ["hs-mhe, s = 2", "mgd, half-space"] {
        assert!(of(name, [4, 3])[lines] > 70.0, "{name}");
    }
    // Six points in R^3: an octahedron, whose lines coincide in pairs; in half-space an icosahedron's lines, 63.4.
    for name in ["mma", "mhs"] {
        assert!(of(name, [6, 3])[vectors] > 85.0 && of(name, [6, 3])[lines] < 12.0, "{name}");
    }
    for name in ["mhs, half-space", "mgd, half-space"] {
        assert!(of(name, [6, 3])[lines] > 62.0, "{name}");
    }
    // The determinant ends short of the simplex, 96.4 degrees.
    assert!((90.0..96.0).contains(&of("mgd", [10, 16])[vectors]));
    // Mean energies converge slowly in more dimensions, unless their weight is large; the largest margin fast.
    for shape in [[10, 16], [20, 8]] {
        for fast in ["mhe-a2", "mma", "mhs"] {
            assert!(of(fast, shape)[vectors] > of("mhe, s = 2", shape)[vectors] + 10.0, "{fast}");
        }
        assert!(of("mhs, half-space", shape)[lines] > of("hs-mhe, s = 2", shape)[lines] + 10.0);
    }
    // With more points than dimensions soft orthogonality stalls.
    assert!(of("so", [20, 8])[vectors] < of("mhs", [20, 8])[vectors] - 20.0);
}
