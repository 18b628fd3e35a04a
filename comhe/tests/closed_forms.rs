//! Energies that are known exactly: optimal configurations, random ones, the degenerate sizes.

use autograd::{DType, Key, Tensor};
use comhe::{Energy, Problem, Reduce, Scale};

fn exact(s: f64) -> Energy {
    Energy { s, eps: 0.0, ..Energy::default() }
}

/// N points with all cosines -1 / (N - 1): unit vectors less their mean.
fn simplex(n: usize, dtype: DType) -> Tensor {
    Tensor::from_fn([n, n], dtype, |i| f64::from(u8::from(i / n == i % n)) - 1.0 / n as f64)
}

#[test]
fn the_regular_simplex() {
    for dtype in [DType::F64, DType::F32] {
        let tolerance = if dtype == DType::F64 { 1e-14 } else { 1e-6 };
        for n in [2usize, 3, 10, 100] {
            let square = 2.0 * n as f64 / (n as f64 - 1.0);
            for s in [0.0, 0.5, 1.0, 2.0, 3.0] {
                let w = simplex(n, dtype).requires_grad();
                let e = exact(s).of(&w).unwrap();
                let want = if s == 0.0 { -0.5 * square.ln() } else { square.powf(-s / 2.0) };
                assert!((e.item() - want).abs() < tolerance, "n {n}, s {s}: {}, not {want}", e.item());
                // An optimum: no force is left.
                let force = e.backward()[&w].to_vec::<f64>().iter().fold(0.0f64, |m, v| m.max(v.abs()));
                assert!(force < tolerance, "n {n}, s {s}: force {force}");
            }
        }
    }
    // The head of the published network: 100 classes, weight 10.
    assert!((10.0 * exact(2.0).of(&simplex(100, DType::F64)).unwrap().item() - 4.95).abs() < 1e-12);
}

#[test]
fn the_orthonormal_frame_in_half_space() {
    for n in [1usize, 2, 5, 40] {
        for s in [0.0, 1.0, 2.0] {
            let w = Tensor::eye(n, DType::F64).requires_grad();
            let e = Energy { half_space: true, ..exact(s) }.of(&w).unwrap();
            let (opposite, other) = if s == 0.0 {
                (-(2f64.ln()), -0.5 * 2f64.ln())
            } else {
                (2f64.powf(-s), 2f64.powf(-s / 2.0))
            };
            let pairs = (n * (2 * n - 1)) as f64;
            let want = (n as f64 * opposite + (pairs - n as f64) * other) / pairs;
            assert!((e.item() - want).abs() < 1e-14, "n {n}, s {s}: {}, not {want}", e.item());
            assert!(e.backward()[&w].to_vec::<f64>().iter().all(|g| g.abs() < 1e-15));
        }
    }
}

#[test]
fn angles_of_the_frame_and_the_published_constants() {
    let w = Tensor::eye(3, DType::F64);
    let right = std::f64::consts::FRAC_PI_2;
    let of = |s, angular, scale| Energy { angular, scale, ..exact(s) }.of(&w).unwrap().item();
    for (s, angular, scale, want) in [
        (2.0, true, Scale::Paper, right.powi(-2)),
        (0.0, true, Scale::Paper, -right.ln()),
        (2.0, true, Scale::Code, 0.1 * 0.5001f64.powi(-2)),
        (1.0, true, Scale::Code, 0.1 / 0.5001),
        (0.0, true, Scale::Code, -(0.5001f64.ln())),
        (0.0, false, Scale::Paper, -0.5 * 2f64.ln()),
        (0.0, false, Scale::Code, -(2f64.ln())),
        (2.0, false, Scale::Code, 0.5),
    ] {
        let got = of(s, angular, scale);
        assert!((got - want).abs() < 1e-14, "s {s}, angular {angular}, {scale:?}: {got}, not {want}");
    }
    let code = Energy { angular: true, scale: Scale::Code, reduce: Reduce::Sum, ..exact(0.0) };
    assert!((code.of(&w).unwrap().item() + 6.0 * 0.5001f64.ln()).abs() < 1e-13);
}

/// The mean and its standard error of the energies of independent normal layers.
fn monte_carlo(energy: &Energy, n: usize, d: usize, layers: u64) -> (f64, f64) {
    let draw = |i| energy.of(&Tensor::normal([n, d], DType::F64, Key::new(2024).step(i))).unwrap().item();
    let values: Vec<f64> = (0..layers).map(draw).collect();
    let mean = values.iter().sum::<f64>() / layers as f64;
    let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
    (mean, (square / (layers * (layers - 1)) as f64).sqrt())
}

#[test]
fn normal_layers_start_at_the_energy_of_the_uniform_distribution() {
    // d = 27: E |u - v|^-s = 2^(25 - s) Gamma(27/2) Gamma((26 - s)/2) / (sqrt pi Gamma(26 - s/2)), and its logarithm.
    for (s, want) in [(0.0, -0.33677), (1.0, 0.71779), (2.0, 25.0 / 48.0)] {
        let (mean, error) = monte_carlo(&exact(s), 64, 27, 400);
        println!("s = {s}: {mean:.6} +- {error:.6}, expected {want:.6}");
        assert!(error < 3e-4, "the standard error {error} is small enough to tell");
        assert!((mean - want).abs() < 4.0 * error + 5e-6, "s {s}: {mean} +- {error}, expected {want}");
    }
    // A control: in another dimension the mean is another, and the test would see it. E |u - v|^-2 = (n - 1) / (2 n - 4), n = d - 1.
    let (mean, error) = monte_carlo(&exact(2.0), 64, 24, 200);
    assert!((mean - 25.0 / 48.0).abs() > 4.0 * error + 5e-6);
    assert!((mean - 22.0 / 42.0).abs() < 4.0 * error);
}

#[test]
fn degenerate_sizes() {
    for dtype in [DType::F32, DType::F64] {
        let one = Tensor::ones([1, 4], dtype).requires_grad();
        let e = Energy::default().of(&one).unwrap();
        assert_eq!((e.item(), e.backward()[&one].to_vec::<f64>()), (0.0, vec![0.0; 4]));
        let e = Energy { half_space: true, eps: 0.0, ..Energy::default() }.of(&one).unwrap();
        assert_eq!((e.item(), e.backward()[&one].to_vec::<f64>()), (0.25, vec![0.0; 4]));
        let none = Tensor::zeros([0, 4], dtype).requires_grad();
        let e = Energy::default().of(&none).unwrap();
        assert_eq!((e.item(), e.backward()[&none].numel()), (0.0, 0));
    }
}

#[test]
fn unusable_weights_are_named() {
    let fails = |w: Tensor, eps: f64| Energy { eps, ..Energy::default() }.of(&w).unwrap_err();
    let zero = Tensor::from([[1.0, 0.0], [0.0, 0.0]]);
    assert_eq!(fails(zero.clone(), 0.0).problem, Problem::ZeroRow { row: 1, projection: None });
    assert!(Energy::default().of(&zero).is_ok(), "with eps a zero row is a point at the centre");
    let mut holed = Tensor::ones([2, 3, 2, 2], DType::F32);
    holed.update::<f32>(|w| w[17] = f32::INFINITY);
    let expected = Problem::NotFinite { index: vec![1, 1, 0, 1], value: f64::INFINITY, projection: None };
    assert_eq!(fails(holed, 1e-4).problem, expected);
    let text = fails(Tensor::zeros([3, 2, 2], DType::F32), 1e-4).to_string();
    assert_eq!(text, "expected a weight of shape [N, d] or [C_out, C_in, kh, kw], found [3, 2, 2]");
    assert!(fails(Tensor::zeros([3, 0], DType::F32), 1e-4).to_string().contains("at least one element"));
    for energy in [
        Energy { s: -1.0, ..Energy::default() },
        Energy { s: f64::NAN, ..Energy::default() },
        Energy { eps: -1.0, ..Energy::default() },
        Energy { floor: 0.0, ..Energy::default() },
    ] {
        assert!(matches!(energy.of(&zero).unwrap_err().problem, Problem::Option(_)), "{energy:?}");
    }
}

#[test]
fn no_finite_weight_gives_nan() {
    // Coinciding, opposite, tiny and huge rows at once, to the ends of the exponents.
    for (dtype, tiny, huge) in [(DType::F64, 1e-300, 1e300), (DType::F32, 1e-35, 1e35)] {
        let rows =
            [[huge, huge], [huge, huge], [tiny, tiny], [-tiny, -tiny], [tiny, -huge], [1.0, 1.0 + 1e-6]];
        let w = Tensor::from(rows).to_dtype(dtype).requires_grad();
        for s in [0.0, 1.0, 2.0, 3.0, 12.0, 20.0] {
            for (angular, half_space) in [(false, false), (false, true), (true, false), (true, true)] {
                for (eps, floor) in [(0.0, 1e-12), (1e-4, 1e-12), (1e-4, 1e-300)] {
                    let energy = Energy { s, angular, half_space, eps, floor, ..Energy::default() };
                    let e = energy.of(&w).unwrap();
                    assert!(e.item().is_finite(), "{energy:?} {dtype}");
                    let g = e.backward()[&w].to_vec::<f64>();
                    assert!(g.iter().all(|v| !v.is_nan()), "{energy:?} {dtype}: {g:?}");
                }
            }
        }
    }
}

#[test]
fn the_floor_is_raised_only_where_sums_would_overflow() {
    let equal = |dtype| Tensor::from([[2.0, 0.0]; 4]).to_dtype(dtype).requires_grad();
    let energy = |s, floor| Energy { floor, ..exact(s) };
    // f(floor) wherever twelve of them can be added.
    for (s, floor, dtype, want) in [
        (40.0, 1e-12, DType::F64, 1e240),
        (2.0, 1e-300, DType::F64, 1e300),
        (5.0, 1e-12, DType::F32, 1e30),
        (0.0, 1e-300, DType::F64, 345.387_763_949_107),
    ] {
        let (w, energy) = (equal(dtype), energy(s, floor));
        for e in [energy.of(&w).unwrap(), energy.definition(&w).unwrap()] {
            assert!((e.item() / want - 1.0).abs() < 1e-5, "{:e}, not {want:e}", e.item());
            assert!(e.backward()[&w].to_vec::<f64>().iter().all(|&g| g == 0.0));
        }
    }
    // And beyond: everything stays finite, however near the rows are, with what they lack to length 1 as well.
    for (dtype, most) in [(DType::F64, 200.0), (DType::F32, 20.0)] {
        for nearness in [0, 2, 3, 5, 7, 10, 14] {
            let a = 10f64.powi(-nearness);
            let rows = [[1.0, 0.0, 0.0], [1.0, a, 0.0], [1.0, 0.0, a], [-1.0, a, a], [1e9, a, 0.0]];
            let w = Tensor::from(rows).to_dtype(dtype).requires_grad();
            for (s, scale) in
                [(3.0, Scale::Paper), (0.2 * most, Scale::Code), (most, Scale::Paper), (most, Scale::Code)]
            {
                for (angular, half_space) in [(false, false), (false, true), (true, false), (true, true)] {
                    for (eps, floor) in [(0.0, 1e-12), (1e-4, 1e-300)] {
                        let reduce = Reduce::Sum;
                        let energy = Energy { s, angular, half_space, reduce, eps, floor, scale };
                        let e = energy.of(&w).unwrap();
                        let g = e.recorded().grad(&[&w]).remove(0);
                        let fast = e.grad(&[&w]).remove(0);
                        assert!(
                            e.item().is_finite() && g.is_finite() && fast.is_finite(),
                            "{a} {energy:?} {dtype}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn huge_and_tiny_rows_have_the_energy_of_their_directions() {
    let w = Tensor::normal([6, 5], DType::F64, Key::new(8));
    for (dtype, scale, tolerance) in
        [(DType::F64, 1e-290, 1e-13), (DType::F64, 1e290, 1e-13), (DType::F32, 1e30, 1e-5)]
    {
        let scaled = (&w * scale).to_dtype(dtype).requires_grad();
        let e = exact(2.0).of(&scaled).unwrap();
        let want = exact(2.0).of(&w).unwrap().item();
        assert!((e.item() / want - 1.0).abs() < tolerance, "{dtype} {scale}");
        assert!(e.backward()[&scaled].is_finite());
    }
}
