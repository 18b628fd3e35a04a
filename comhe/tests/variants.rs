//! Every variant against an independent implementation, `tests/fixtures/variants.py`: values and gradients, for all
//! exponents, distances, spaces, eps, and rows that nearly coincide or oppose, tiny, huge and mixed ones.

mod common;

use std::collections::BTreeMap;

use autograd::{DType, Key, Tensor};
use comhe::{Energy, Groups, InnerSteps, Mode, Preserve, Reduce};

use common::{File, load};

/// `unrolled1`, `unrolled3`, `alternating2`: as the script has them.
fn steps(name: &str) -> InnerSteps {
    let (count, rate, mode) = match name {
        "unrolled" | "unrolled1" => (1, 0.1, Mode::Unrolled),
        "unrolled3" => (3, 0.05, Mode::Unrolled),
        "alternating" => (1, 0.1, Mode::Alternating),
        "alternating2" => (2, 0.1, Mode::Alternating),
        _ => panic!("{name}"),
    };
    InnerSteps { count, rate, mode, decay: 0.0 }
}

/// The energy of a variant, such as `ap_cosine_unrolled1`, at the weight of a case.
fn energy_of(variant: &str, energy: &Energy, w: &Tensor, given: impl Fn(&str) -> Tensor) -> Tensor {
    let parts: Vec<&str> = variant.split('_').collect();
    match parts[0] {
        "mhe" => energy.of(w),
        "rp" => comhe::projected_energy(
            energy,
            w,
            &comhe::explicit(&given("p"), w.shape()[1], w.dtype()).unwrap(),
        ),
        "ap" => {
            let objective: Preserve = parts[1].parse().unwrap();
            comhe::angle_preserving_energy(energy, w, &given("p"), objective, steps(parts[2]))
        }
        "adv" => comhe::adversarial_energy(energy, w, &given("p"), steps(parts[1])),
        "group" => {
            let groups = match parts.get(1) {
                Some(count) => {
                    let groups = Groups { count: count.parse().unwrap(), ..Groups::default() };
                    groups.of(w.shape(), "", 0).unwrap()
                }
                None => vec![vec![0, 1], vec![2, 3, 4]],
            };
            comhe::group_energy(energy, w, &groups)
        }
        "bilateral" => comhe::bilateral_energy(energy, w, &given("p1"), &given("p2")),
        _ => panic!("{variant}"),
    }
    .unwrap()
}

/// The option in row `i` of a case.
fn option(file: &File, case: &str, i: usize) -> Energy {
    let options = file[&format!("{case}/options")].to_vec::<f64>();
    let columns = options.len() / file[&format!("{case}/energy")].numel();
    let option = &options[columns * i..columns * (i + 1)];
    Energy {
        s: option[0],
        angular: option[1] == 1.0,
        half_space: option[2] == 1.0,
        eps: option[3],
        reduce: if option.get(4) == Some(&1.0) { Reduce::Sum } else { Reduce::Mean },
        // Below all the angles of the fixtures.
        floor: 1e-30,
        ..Energy::default()
    }
}

/// The energy and its gradient for option `i` of a case, computed in `dtype` from inputs that `stir` may change.
fn answer(
    file: &File,
    case: &str,
    i: usize,
    dtype: DType,
    stir: impl Fn(Tensor) -> Tensor,
) -> (f64, Vec<f64>) {
    let given = |name: &str| stir(file[&format!("{case}/{name}")].clone()).to_dtype(dtype);
    let w = given("w").requires_grad();
    let value = energy_of(case.split('/').next().unwrap(), &option(file, case, i), &w, given);
    let gradient = value.grad(&[&w]).remove(0).to_vec::<f64>();
    (value.item(), gradient)
}

/// The difference of two answers: of the values, relative to the value or 0.1, and of the gradients, the largest of the
/// rows, relative to the row's largest slope. A tiny row has a huge gradient that would hide the others.
fn difference(got: &(f64, Vec<f64>), want: &(f64, Vec<f64>), row: usize) -> (f64, f64) {
    let value = (got.0 - want.0).abs() / want.0.abs().max(0.1);
    let mut gradient = 0.0f64;
    for (got, want) in got.1.chunks(row).zip(want.1.chunks(row)) {
        let size = want.iter().fold(1e-300f64, |m, v| m.max(v.abs()));
        let off = got.iter().zip(want).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        gradient = gradient.max(if off.is_nan() { f64::INFINITY } else { off / size });
    }
    (if value.is_nan() { f64::INFINITY } else { value }, gradient)
}

/// What the fixture says of option `i` of a case.
fn expected(file: &File, case: &str, i: usize) -> (f64, Vec<f64>) {
    let gradients = file[&format!("{case}/grad")].to_vec::<f64>();
    let size = file[&format!("{case}/w")].numel();
    let values = file[&format!("{case}/energy")].to_vec::<f64>();
    (values[i], gradients[i * size..(i + 1) * size].to_vec())
}

/// How many elements of a gradient are measured together.
fn row(file: &File, case: &str) -> usize {
    let w = &file[&format!("{case}/w")];
    // Sums of rows lose the tiny ones' digits.
    if case == "bilateral/mixed" { w.numel() } else { w.shape()[1] }
}

/// Checks every option of every case of a fixture; `bounds` says what value and gradient are held to.
fn check(name: &str, least: usize, dtype: DType, bounds: impl Fn(&File, &str, usize) -> (f64, f64)) {
    let file = load(name);
    let cases: Vec<&str> = file.keys().filter_map(|name| name.strip_suffix("/energy")).collect();
    assert!(cases.len() >= least, "{} cases", cases.len());
    let mut failed = Vec::new();
    // By variant: the largest errors, and the largest parts of their bounds.
    let mut worst: BTreeMap<&str, [f64; 4]> = BTreeMap::new();
    for case in cases {
        for i in 0..file[&format!("{case}/energy")].numel() {
            let got = answer(&file, case, i, dtype, |x| x);
            let (value, gradient) = difference(&got, &expected(&file, case, i), row(&file, case));
            let bound = bounds(&file, case, i);
            let entry = worst.entry(case.split('/').next().unwrap()).or_default();
            let now = [value, gradient, value / bound.0, gradient / bound.1];
            *entry = std::array::from_fn(|k| entry[k].max(now[k]));
            if !(value < bound.0 && gradient < bound.1) {
                let energy = option(&file, case, i);
                failed.push(format!(
                    "{case}: value off by {value:.1e} of {:.1e}, gradient by {gradient:.1e} of {:.1e}; {energy:?}",
                    bound.0, bound.1
                ));
            }
        }
    }
    for (name, [value, gradient, of_value, of_gradient]) in worst {
        println!(
            "{name}: value {value:.1e} ({of_value:.2} of its bound), gradient {gradient:.1e} ({of_gradient:.2})"
        );
    }
    assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_variant_agrees_in_double_precision() {
    check("variants", 100, DType::F64, |_, _, _| (1e-9, 1e-7));
}

/// Single precision answers for inputs that are wrong by a few units of rounding, so that much its answers may be off:
/// the largest change, in double precision, when all inputs move by 2^-24 at random, for each of the some hundred
/// roundings between inputs and answer.
#[test]
fn every_variant_agrees_in_single_precision() {
    const UNIT: f64 = 1.0 / (1 << 24) as f64;
    check("variants", 100, DType::F32, |file, case, i| {
        let want = expected(file, case, i);
        let mut worst = (UNIT, UNIT);
        for draw in 0..8 {
            let stir = |x: Tensor| {
                let signs = Tensor::normal(x.shape(), DType::F64, Key::new(draw)).sign();
                &x * &(signs * UNIT + 1.0)
            };
            let (value, gradient) =
                difference(&answer(file, case, i, DType::F64, stir), &want, row(file, case));
            worst = (worst.0.max(value), worst.1.max(gradient));
        }
        // Where single precision has no digits left the answer is finite, and that is all. Gradients through steps have
        // slopes of slopes by cosines, which lose e / a^2 at angle a: 6 % at a thousandth. Ascent then drives such
        // neurons on to coincide. Rows of 1e-8 have cosines of 1e-6 beside eps, where the slopes of a pair and of
        // its antipode cancel to as little; and sums of rows of 1e-8 to 1e8 are one row.
        let (variant, points) = case.split_once('/').unwrap();
        let coincide = points.ends_with("1e-3") && (variant.starts_with("adv") || variant.starts_with("ap"));
        let no_value = coincide && variant.starts_with("adv") || case == "bilateral/mixed";
        let bound = |lost: bool, worst: f64| if lost { f64::INFINITY } else { 512.0 * worst };
        (bound(no_value, worst.0), bound(coincide || points == "mixed", worst.1))
    });
}

/// Rows nearer than a thousandth, from 80 digits, in `tests/fixtures/near.py`. The fixture knows what rounding the inputs
/// does to its answers; the contract's bounds hold up to a few times that.
///
/// It knows it from two random roundings, which may happen to cancel (in one case they do, to 1e-15, where others change
/// the answer by 1e-6). Chords and angles are functions of one another, as well conditioned: the larger of both counts.
#[test]
fn nearly_coinciding_rows_keep_what_their_condition_allows() {
    check("near", 40, DType::F64, |file, case, i| {
        let condition = file[&format!("{case}/condition")].to_vec::<f64>();
        let n = file[&format!("{case}/w")].shape()[0];
        let other = |j: usize| Energy { angular: false, ..option(file, case, j) };
        let mut worst = (0.0f64, 0.0f64);
        for (j, own) in condition.chunks(n + 1).enumerate().filter(|&(j, _)| other(j) == other(i)) {
            worst.0 = worst.0.max(own[0]);
            worst.1 = own[1..].iter().fold(worst.1, |m, &c| m.max(c));
            assert!(own.iter().all(|c| c.is_finite()), "{case}, option {j}");
        }
        (worst.0.mul_add(16.0, 1e-9), worst.1.mul_add(16.0, 1e-7))
    });
}
