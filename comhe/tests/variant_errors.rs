//! What cannot be computed is said clearly, with layer, row and shape; what can be is never NaN.

use autograd::{DType, Key, Tensor};
use comhe::{
    Energy, Error, Grouping, Groups, InnerSteps, Learning, LowRank, Mode, Objective, Options, Preserve,
    Projections, Rate, adversarial_energy, angle_preserving_energy, bilateral_energy, group_energy,
    projected_energy,
};
use nn::{Regulariser, Step, Weight};

const EXACT: Energy = Energy {
    s: 2.0,
    angular: false,
    half_space: false,
    reduce: comhe::Reduce::Mean,
    eps: 0.0,
    floor: 1e-12,
    scale: comhe::Scale::Paper,
};

fn message(result: Result<Tensor, Error>) -> String {
    result.unwrap_err().to_string()
}

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Tensor::normal(shape, DType::F64, Key::new(seed))
}

const START: Step = Step { index: 0, lr: 0.1 };

#[test]
fn projections_of_the_wrong_shape() {
    let (w, energy, steps) = (normal(&[4, 6], 1), Energy::default(), InnerSteps::default());
    for p in [normal(&[3, 5], 2), normal(&[2, 3, 6], 2), normal(&[6], 2), normal(&[0, 6], 2)] {
        let wanted = format!("expected a projection of shape [k, 6] with k >= 1, found {}", p.shape());
        let ap = message(angle_preserving_energy(&energy, &w, &p, Preserve::Cosine, steps));
        assert_eq!(ap, format!("{wanted}: ap learns one projection"));
        let adv = message(adversarial_energy(&energy, &w, &p, steps));
        assert_eq!(adv, format!("{wanted}: adv learns one projection"));
    }
    let text =
        |p1: &[usize], p2: &[usize]| message(bilateral_energy(&energy, &w, &normal(p1, 1), &normal(p2, 2)));
    assert!(text(&[3, 5], &[4, 3]).contains("[k, 6] or [C, k, 6]"));
    let second = "expected a second projection of shape";
    assert!(text(&[3, 6], &[5, 3]).contains(&format!("{second} [4, 3] or [1, 4, 3], to go with")));
    assert!(
        text(&[2, 3, 6], &[4, 3])
            .contains(&format!("{second} [2, 4, 3], to go with the first of [2, 3, 6], found [4, 3]"))
    );
    let mut holed = normal(&[3, 6], 1);
    holed.update::<f64>(|p| p[3] = f64::NAN);
    assert!(message(adversarial_energy(&energy, &w, &holed, steps)).contains("not finite"));
    let single = normal(&[3, 6], 2).to_dtype(DType::F32);
    assert!(
        message(adversarial_energy(&energy, &w, &single, steps))
            .contains("expected a projection in f64, found f32")
    );
}

#[test]
fn zero_rows_without_eps() {
    let mut w = normal(&[3, 4], 1);
    w.update::<f64>(|w| w[4..8].fill(0.0));
    let p = normal(&[2, 4], 2);
    let ap = message(angle_preserving_energy(&EXACT, &w, &p, Preserve::Cosine, InnerSteps::default()));
    assert!(ap.starts_with("row 1 is zero"), "{ap}");
    let adv = message(adversarial_energy(&EXACT, &w, &p, InnerSteps::default()));
    assert!(adv.starts_with("row 1 is zero"), "{adv}");
    // Whatever the projection, a zero row is the weight's own.
    assert_eq!(message(projected_energy(&EXACT, &w, &p)), ap);
    assert_eq!(message(bilateral_energy(&EXACT, &w, &p, &normal(&[3, 2], 3))), ap);
    assert_eq!(message(group_energy(&EXACT, &w, &[vec![0, 1], vec![2, 3]])), ap);
    let zero = message(projected_energy(&EXACT, &normal(&[3, 4], 4), &Tensor::zeros([2, 4], DType::F64)));
    assert!(
        zero.starts_with("row 0 under projection 0 is zero") && zero.contains("another projection"),
        "{zero}"
    );
    // Only the third group of row 2 is zero; groups have sizes 2, 1, 1.
    let w = Tensor::from([[1.0, 2.0, 3.0, 4.0], [2.0, 1.0, -1.0, -2.0], [1.0, 1.0, 1.0, 0.0]]);
    let groups = Groups { count: 3, ..Groups::default() }.of(w.shape(), "", 0).unwrap();
    let group = message(group_energy(&EXACT, &w, &groups));
    assert!(group.starts_with("row 2 under projection 2 is zero"), "{group}");
    assert!(group_energy(&Energy::default(), &w, &groups).is_ok());
}

#[test]
fn options_out_of_range() {
    let fails = |name: &str, options: Options| match Objective::new(name, &options) {
        Ok(_) => panic!("{name} was accepted"),
        Err(e) => e.to_string(),
    };
    let learning = |learning| Options { learning, ..Options::default() };
    for name in ["ap", "adv"] {
        assert!(fails(name, learning(Learning { k: 0, ..Learning::default() })).contains("k = 0"));
        let negative = Learning { rate: Rate::Fixed(-1.0), ..Learning::default() };
        assert!(fails(name, learning(negative)).contains("inner rate = -1"));
        let nan = Learning { decay: f64::NAN, ..Learning::default() };
        assert!(fails(name, learning(nan)).contains("inner decay = NaN"));
    }
    let none = Groups { count: 0, ..Groups::default() };
    assert!(fails("group", Options { groups: none, ..Options::default() }).contains("groups = 0"));
    assert!(fails("bilateral", Options { redraw: 0, ..Options::default() }).contains("redraw = 0"));
    let no_r = Projections { k: 0, ..Projections::default() };
    assert!(fails("bilateral", Options { projections: no_r, ..Options::default() }).contains("k = 0"));
    let groups = |kind| Groups { count: 7, kind, seed: 0 };
    let many = |kind| groups(kind).of(&[2, 3, 1, 2], "", 0).unwrap_err().to_string();
    assert!(many(Grouping::Strided).contains("groups = 7: a weight of shape [2, 3, 1, 2] has 6 coordinates"));
    assert!(many(Grouping::Channels).contains("has 3 input channels, so there can be at most 3"));
    assert!("chanels".parse::<Grouping>().unwrap_err().to_string().contains("did you mean channels"));
    assert!("angles".parse::<Preserve>().unwrap_err().to_string().contains("did you mean angle"));
}

#[test]
fn a_bad_weight_is_named_with_its_layer() {
    let mut w = normal(&[4, 50], 1);
    w.update::<f64>(|w| w[60] = f64::INFINITY);
    for name in ["ap", "adv", "group", "bilateral"] {
        let mut objective = Objective::new(name, &Options::default()).unwrap();
        let error = objective.penalty(&[Weight::new("fc1.weight", &w)], START).err().unwrap().to_string();
        assert_eq!(error, "fc1.weight: element [1, 10] is inf; all must be finite", "{name}");
    }
}

#[test]
fn singular_cores_are_refused() {
    let (y1, mut y2, p1) = (normal(&[3, 5], 1), normal(&[6, 3], 2), normal(&[3, 6], 3));
    let error = LowRank::new(&y1, &y2, &p1.transpose(0, 1)).unwrap_err().to_string();
    assert!(error.contains("Y2 of shape [6, 3] and P1 of shape [3, 6]"), "{error}");
    // The last column is twice the first, up to rounding.
    y2.update::<f64>(|y| (0..6).for_each(|i| y[3 * i + 2] = 2.0 * y[3 * i]));
    for dtype in [DType::F64, DType::F32] {
        let [y1, y2, p1] = [&y1, &y2, &p1].map(|t| t.to_dtype(dtype));
        let error = LowRank::new(&y1, &y2, &p1).unwrap_err().to_string();
        assert!(error.starts_with("P1 Y2 of shape [3, 3] is singular: its column 2"), "{error}");
    }
    // A weight of rank 1 has no parametrisation of rank 2.
    let flat = normal(&[4, 1], 1).matmul(&normal(&[1, 6], 2));
    assert!(LowRank::near(&flat, 2, 0).unwrap_err().to_string().contains("is singular"));
    assert!(LowRank::near(&flat, 1, 0).is_ok());
}

#[test]
fn a_single_neuron_has_no_energy_but_that_of_its_antipode() {
    let (w, p) = (normal(&[1, 6], 1).requires_grad(), normal(&[3, 6], 2));
    let p2 = Tensor::from([[1.0, 0.5, -1.0]]);
    for (half_space, own) in [(false, 0.0), (true, 0.25)] {
        let energy = Energy { half_space, ..EXACT };
        for mode in [Mode::Unrolled, Mode::Alternating] {
            let steps = InnerSteps { mode, ..InnerSteps::default() };
            let found = [
                angle_preserving_energy(&energy, &w, &p, Preserve::Cosine, steps),
                angle_preserving_energy(&energy, &w, &p, Preserve::Angle, steps),
                adversarial_energy(&energy, &w, &p, steps),
                group_energy(&energy, &w, &[vec![0, 1], vec![2, 3, 4, 5]]),
            ];
            for e in found {
                let e = e.unwrap();
                assert!((e.item() - own).abs() < 1e-15, "{}", e.item());
                assert!(e.grad(&[&w])[0].to_vec::<f64>().iter().all(|g| g.abs() < 1e-15));
            }
        }
    }
    // The other side has three combinations of the one neuron: on one line, and at the floor.
    let e = bilateral_energy(&Energy { floor: 0.1, ..EXACT }, &w, &p, &p2).unwrap();
    assert!(e.item().is_finite() && e.grad(&[&w])[0].is_finite());
}

#[test]
fn no_finite_weight_gives_nan() {
    // Coinciding, opposite, zero, tiny and huge rows at once.
    for (dtype, tiny, huge) in [(DType::F64, 1e-300, 1e200), (DType::F32, 1e-35, 1e25)] {
        let rows = [
            [huge, huge, huge],
            [huge, huge, huge],
            [tiny, tiny, -tiny],
            [-tiny, -tiny, tiny],
            [1.0, 1.0 + 1e-6, 0.0],
            [1.0, 1.0, 0.0],
            [0.0, 0.0, 0.0],
        ];
        let w = Tensor::from(rows).to_dtype(dtype).requires_grad();
        let p = normal(&[3, 3], 4).to_dtype(dtype);
        for s in [0.0, 2.0] {
            for (angular, half_space) in [(false, false), (false, true), (true, false), (true, true)] {
                let energy = Energy { s, angular, half_space, ..Energy::default() };
                for mode in [Mode::Unrolled, Mode::Alternating] {
                    let steps = InnerSteps { count: 2, mode, ..InnerSteps::default() };
                    let found = [
                        angle_preserving_energy(&energy, &w, &p, Preserve::Cosine, steps),
                        angle_preserving_energy(&energy, &w, &p, Preserve::Angle, steps),
                        adversarial_energy(&energy, &w, &p, steps),
                        group_energy(&energy, &w, &[vec![0], vec![2, 1]]),
                    ];
                    for (which, found) in found.into_iter().enumerate() {
                        // A step may leave the range of finite numbers, which is an error.
                        let e = match found {
                            Ok(e) => e,
                            Err(e) => {
                                assert!(e.to_string().contains("must be finite"), "{e}");
                                continue;
                            }
                        };
                        assert!(e.item().is_finite(), "{which} {energy:?} {steps:?} {dtype}");
                        let g = e.grad(&[&w]).remove(0).to_vec::<f64>();
                        assert!(g.iter().all(|v| !v.is_nan()), "{which} {energy:?} {steps:?} {dtype}: {g:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn lengths_beyond_the_type() {
    // Every element is a number, the length of the row is not: its direction would be 0, silently.
    let long = Tensor::from([[1.0f32, 0.0], [3e38, 3e38]]);
    for eps in [0.0, 1e-4] {
        let energy = Energy { eps, ..EXACT };
        let said = message(energy.of(&long));
        assert_eq!(said, "row 1 has a length beyond f32; scale the weight or take f64");
        assert!(energy.of(&long.to_dtype(DType::F64)).is_ok());
        let said = message(energy.of(&Tensor::from([[1.5e308, 1.5e308], [1.0, 0.0]])));
        assert_eq!(said, "row 0 has a length beyond f64; scale the weight");
    }
    // An eps below what can be divided by is none.
    let short = Tensor::from([[0.0f32, 0.0], [1.0, 0.0]]);
    let said = message(Energy { eps: 1e-90, ..EXACT }.of(&short));
    assert!(said.starts_with("row 0 is zero or too short") && said.ends_with("take a larger eps"), "{said}");
}
