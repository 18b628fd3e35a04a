//! What every regulariser of directions and of orthogonality does not depend on, and where its bounds and optima are.

use autograd::{ConvOptions, DType, Index, Key, Tensor};
use comhe::peers::{
    decay, dso, mc, mgd, mhc, mhp, mhp_relaxed, mhs, mma, ocnn, orthoreg, so, sphereface_plus, srip,
};
use comhe::{Energy, Error, Projections};
use proptest::prelude::*;

/// Neurons (n x d), a pole (d) and the start of a power iteration (min(n, d)).
#[derive(Clone, Debug)]
struct Points {
    w: Tensor,
    v: Tensor,
    b: Tensor,
}

/// A regulariser, and what it depends on.
struct Peer {
    name: &'static str,
    f: fn(&Points) -> Result<Tensor, Error>,
    /// Not on the lengths of rows.
    scale_free: bool,
    /// Not on their signs.
    even: bool,
}

const fn peer(name: &'static str, traits: [bool; 2], f: fn(&Points) -> Result<Tensor, Error>) -> Peer {
    Peer { name, f, scale_free: traits[0], even: traits[1] }
}

const DIRECTIONS: [bool; 2] = [true, false];
const LINES: [bool; 2] = [true, true];
const FRAMES: [bool; 2] = [false, true];
const NEITHER: [bool; 2] = [false, false];

/// Without eps, so that properties hold up to rounding.
const PEERS: [Peer; 25] = [
    peer("mhe, s = 0", DIRECTIONS, |p| energy(0.0, false, false).of(&p.w)),
    peer("mhe, s = 1", DIRECTIONS, |p| energy(1.0, false, false).of(&p.w)),
    peer("mhe, s = 2", DIRECTIONS, |p| energy(2.0, false, false).of(&p.w)),
    peer("mhe, angles", DIRECTIONS, |p| energy(2.0, true, false).of(&p.w)),
    peer("hs-mhe, s = 0", LINES, |p| energy(0.0, false, true).of(&p.w)),
    peer("hs-mhe, s = 2", LINES, |p| energy(2.0, false, true).of(&p.w)),
    peer("mma", DIRECTIONS, |p| mma(&p.w, 0.0)),
    peer("mhs", DIRECTIONS, |p| mhs(&p.w, 0.0)),
    peer("mgd", DIRECTIONS, |p| mgd(&p.w, 1.0, 0.0)),
    peer("mhp", DIRECTIONS, |p| mhp(&p.w, &p.v, 0.0)),
    peer("mhc", DIRECTIONS, |p| mhc(&p.w, &p.v, 10.0, 0.0)),
    peer("sphereface-plus", DIRECTIONS, |p| sphereface_plus(&p.w, 0.0)),
    peer("orthoreg", DIRECTIONS, |p| orthoreg(&p.w, 10.0, 0.0)),
    peer("half-space mhs", LINES, |p| mhs(&both(&p.w), 0.0)),
    peer("half-space mgd", LINES, |p| mgd(&both(&p.w), 1.0, 0.0)),
    peer("half-space mhp", LINES, |p| mhp(&both(&p.w), &p.v, 0.0)),
    peer("half-space mhc", LINES, |p| mhc(&both(&p.w), &p.v, 10.0, 0.0)),
    peer("mc", LINES, |p| mc(&p.w, 0.0)),
    peer("so", FRAMES, |p| so(&p.w)),
    peer("dso", FRAMES, |p| dso(&p.w)),
    peer("srip", FRAMES, |p| srip(&p.w, &p.b)),
    peer("ocnn", FRAMES, |p| ocnn(&p.w, [1, 1])),
    peer("decay", FRAMES, |p| decay(&p.w)),
    peer("mhp-relaxed", NEITHER, |p| mhp_relaxed(&p.w)),
    // A convolution of 1 x 1 kernels is the matrix itself.
    peer("ocnn of 1 x 1 kernels", FRAMES, |p| {
        let [n, d] = [p.w.shape()[0], p.w.shape()[1]];
        ocnn(&p.w.reshape([n, d, 1, 1]), [1, 1])
    }),
];

const fn energy(s: f64, angular: bool, half_space: bool) -> Energy {
    Energy {
        s,
        angular,
        half_space,
        reduce: comhe::Reduce::Mean,
        eps: 0.0,
        floor: 1e-12,
        scale: comhe::Scale::Paper,
    }
}

fn both(w: &Tensor) -> Tensor {
    Tensor::cat(&[w, &-w], 0)
}

impl Peer {
    fn at(&self, p: &Points) -> f64 {
        (self.f)(p).unwrap_or_else(|e| panic!("{}: {e}", self.name)).item()
    }

    fn gradient(&self, p: &Points) -> Tensor {
        let w = p.w.requires_grad();
        (self.f)(&Points { w: w.clone(), ..p.clone() }).unwrap().grad(&[&w]).remove(0)
    }
}

fn normal(shape: impl Into<autograd::Shape>, seed: u64, stream: &str) -> Tensor {
    Tensor::normal(shape, DType::F64, Key::new(seed).stream(stream))
}

fn points(n: usize, d: usize, seed: u64) -> Points {
    Points { w: normal([n, d], seed, "w"), v: normal([d], seed, "v"), b: normal([n.min(d)], seed, "b") }
}

fn any_points() -> impl Strategy<Value = (Points, u64)> {
    (2..7usize, 2..8usize, any::<u64>()).prop_map(|(n, d, seed)| (points(n, d, seed), seed))
}

/// `rows` orthonormal rows of dimension d.
fn frame(rows: usize, d: usize, seed: u64) -> Tensor {
    let p = Projections::frame(rows, seed).draw("frame", 0, d, DType::F64).unwrap();
    p.reshape([rows, d]) * (rows as f64 / d as f64).sqrt()
}

/// N points with all cosines -1 / (N - 1), in N dimensions.
fn simplex(n: usize) -> Tensor {
    Tensor::eye(n, DType::F64) - 1.0 / n as f64
}

fn near(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1.0)
}

fn is_tall(p: &Points) -> bool {
    p.w.shape()[0] > p.w.shape()[1]
}

/// 2 - 2c of all ordered pairs.
fn distances(w: &Tensor) -> Vec<f64> {
    let (u, n) = (w.normalize_rows(0.0), w.shape()[0]);
    let q: Vec<f64> = (2.0 - u.matmul_nt(&u) * 2.0).to_vec();
    (0..n * n).filter(|i| i / n != i % n).map(|i| q[i]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lengths_do_not_count_for_directions_and_do_for_orthogonality((p, seed) in any_points()) {
        let n = p.w.shape()[0];
        let lengths = normal([n, 1], seed, "lengths").exp();
        for peer in &PEERS {
            if peer.scale_free {
                let scaled = Points { w: &p.w * &lengths, v: &p.v * 3.0, ..p.clone() };
                prop_assert!(near(peer.at(&scaled), peer.at(&p), 1e-8), "{}", peer.name);
                // So the gradient is orthogonal to every row, relative to its length and the row's.
                let g = peer.gradient(&p);
                let torque = (&g * &p.w).sum(1).to_vec::<f64>();
                let size = ((&g * &g).sum(1) * (&p.w * &p.w).sum(1)).sqrt().max(..).item();
                prop_assert!(torque.iter().all(|t| t.abs() <= 1e-9 * size.max(1.0)), "{}: {torque:?}", peer.name);
            } else {
                let twice = Points { w: &p.w * 2.0, ..p.clone() };
                prop_assert!(!near(peer.at(&twice), peer.at(&p), 1e-6), "{}", peer.name);
            }
        }
        // With eps a distance 2 - 2c changes by at most eps / |w_i|^2 + eps / |w_j|^2, and so does a (soft) minimum.
        let eps = 1e-4;
        let least = |t: &Tensor| -(-(t * t).sum(1)).max(..).item();
        let row = p.v.reshape([1, p.v.numel()]);
        let bound = 2.0 * eps / least(&p.w).min(least(&row)) + 1e-12;
        prop_assert!((mhs(&p.w, eps).unwrap().item() - mhs(&p.w, 0.0).unwrap().item()).abs() <= bound);
        let soft = |eps| mhc(&p.w, &p.v, 10.0, eps).unwrap().item();
        prop_assert!((soft(eps) - soft(0.0)).abs() <= bound);
    }

    #[test]
    fn rotations_orders_and_signs((p, seed) in any_points()) {
        let [n, d] = [p.w.shape()[0], p.w.shape()[1]];
        let r = frame(d, d, seed);
        let turn = |v: &Tensor| v.reshape([1, d]).matmul(&r).reshape([d]);
        let b = if is_tall(&p) { turn(&p.b) } else { p.b.clone() };
        let rotated = Points { w: p.w.matmul(&r), v: turn(&p.v), b };
        let order: Vec<usize> = (0..n).map(|i| (i + 1) % n).collect();
        let order = Index::new(&order, [n]);
        let b = if is_tall(&p) { p.b.clone() } else { p.b.index_select(0, &order) };
        let permuted = Points { w: p.w.index_select(0, &order), b, ..p.clone() };
        let signs = Tensor::from_fn([n, 1], DType::F64, |i| if seed >> i & 1 == 0 { 1.0 } else { -1.0 });
        let b = if is_tall(&p) { p.b.clone() } else { &p.b * signs.reshape([n]) };
        let flipped = Points { w: &p.w * &signs, b, ..p.clone() };
        for peer in &PEERS {
            let value = peer.at(&p);
            prop_assert!(near(peer.at(&rotated), value, 1e-7), "{} rotated", peer.name);
            prop_assert!(near(peer.at(&permuted), value, 1e-8), "{} permuted", peer.name);
            if peer.even {
                prop_assert!(near(peer.at(&flipped), value, 1e-8), "{} flipped", peer.name);
            }
        }
    }

    #[test]
    fn a_rotation_of_input_channels_leaves_a_convolution_as_orthogonal(seed: u64, stride in 1..3usize) {
        let k = normal([3, 4, 3, 3], seed, "kernel");
        // Channels last, so that they are the columns.
        let turned = k.permute([0, 2, 3, 1]).reshape([27, 4]).matmul(&frame(4, 4, seed));
        let turned = turned.reshape([3, 3, 3, 4]).permute([0, 3, 1, 2]);
        let value = |k: &Tensor| ocnn(k, [stride, stride]).unwrap().item();
        prop_assert!(near(value(&turned), value(&k), 1e-10));
        // A control: positions of a kernel are no channels.
        let mixed = k.reshape([12, 9]).matmul(&frame(9, 9, seed)).reshape([3, 4, 3, 3]);
        prop_assert!(!near(value(&mixed), value(&k), 1e-6));
    }

    #[test]
    fn distances_lie_between_their_bounds((p, _) in any_points()) {
        let n = p.w.shape()[0] as f64;
        let q = distances(&p.w);
        let mean = q.iter().sum::<f64>() / q.len() as f64;
        let least = -mhs(&p.w, 0.0).unwrap().item();
        prop_assert!(near(least, q.iter().copied().fold(f64::MAX, f64::min), 1e-12));
        prop_assert!(least <= mean + 1e-12 && mean <= 2.0 * n / (n - 1.0) + 1e-12);
        // The soft minimum of the distances to the pole, for every gamma.
        let unit = p.v.reshape([1, p.v.numel()]).normalize_rows(0.0);
        let q = (2.0 - p.w.normalize_rows(0.0).matmul_nt(&unit) * 2.0).to_vec::<f64>();
        let (least, mean) = (q.iter().copied().fold(f64::MAX, f64::min), q.iter().sum::<f64>() / n);
        for gamma in [0.1, 1.0, 10.0, 1000.0] {
            let soft = mhc(&p.w, &p.v, gamma, 0.0).unwrap().item();
            let most = mean.min(least + n.ln() / gamma);
            prop_assert!((least - 1e-12..=most + 1e-12).contains(&soft), "{least} {soft} {most}");
        }
    }

    #[test]
    fn srip_rises_to_the_largest_eigenvalue(d in 2..8usize, seed: u64) {
        // Two neurons: the eigenvalues of G - I in closed form.
        let w = normal([2, d], seed, "w");
        let g = w.matmul_nt(&w).to_vec::<f64>();
        let (middle, gap) = (0.5 * (g[0] + g[3]) - 1.0, (0.5 * (g[0] - g[3])).hypot(g[1]));
        let (large, small) = ((middle + gap).abs().max((middle - gap).abs()), (middle + gap).abs().min((middle - gap).abs()));
        prop_assume!(small < 0.97 * large);
        let mut b = normal([2], seed, "b");
        let mut last = 0.0;
        for _ in 0..500 {
            let value = srip(&w, &b).unwrap().item();
            prop_assert!(value >= last * (1.0 - 1e-12) && value <= large * large * (1.0 + 1e-12));
            last = value;
            let off = w.matmul_nt(&w) - Tensor::eye(2, DType::F64);
            b = b.reshape([1, 2]).matmul(&off).normalize_rows(0.0).reshape([2]);
        }
        prop_assert!(near(last, large * large, 1e-9));
    }

    #[test]
    fn the_determinant_is_bounded_and_survives_duplicates((p, _) in any_points()) {
        let n = p.w.shape()[0] as f64;
        // Hadamard: the determinant is at most the product of the diagonal, 1 + 1e-6 each.
        prop_assert!(mgd(&p.w, 1.0, 0.0).unwrap().item() >= -n * 1e-6f64.ln_1p() - 1e-12);
        let w = p.w.requires_grad();
        let y = mgd(&Tensor::cat(&[&w, &w], 0), 1.0, 0.0).unwrap();
        prop_assert!(y.item().is_finite() && y.grad(&[&w]).remove(0).is_finite());
    }

    #[test]
    fn a_convolution_of_1x1_kernels_is_a_matrix((p, _) in any_points()) {
        let [n, d] = [p.w.shape()[0], p.w.shape()[1]];
        let kernel = p.w.reshape([n, d, 1, 1]);
        let root = so(&p.w).unwrap().item().sqrt();
        prop_assert!(near(ocnn(&kernel, [1, 1]).unwrap().item(), root, 1e-10));
        let overlaps = kernel.conv2d(&kernel, ConvOptions::default()).reshape([n, n]);
        let off = overlaps - Tensor::eye(n, DType::F64);
        prop_assert!(near(off.norm(..).item(), root, 1e-10));
        // The other side, if there are not more neurons than dimensions: |W' W - I|^2 = |W W' - I|^2 + d - n.
        if n <= d {
            let square = so(&p.w.transpose(0, 1)).unwrap().item();
            prop_assert!(near(square, root * root + (d - n) as f64, 1e-10));
        }
    }

    #[test]
    fn the_simplex_is_best(n in 2..6usize, more in 0..3usize, seed: u64) {
        let d = n + more;
        let w = simplex(n).matmul(&frame(n, d, seed));
        let optimum = Points { w, ..points(n, d, seed) };
        let other = points(n, d, seed ^ 1);
        let c = -1.0 / (n as f64 - 1.0);
        prop_assert!(distances(&optimum.w).iter().all(|q| near(*q, 2.0 - 2.0 * c, 1e-12)));
        prop_assert!(mhp_relaxed(&optimum.w).unwrap().item() < 1e-12, "balanced");
        for peer in PEERS.iter().filter(|peer| peer.scale_free && !peer.even) {
            // Poles are elsewhere for every pair of a simplex and a pole.
            let pole = ["mhp", "mhc"].contains(&peer.name);
            // Opposite neurons have no direction to leave in, and a direction of rounding errors for their angle.
            let ends = n == 2 && peer.name == "mhe, angles";
            // One pair alone, of those that tie, receives the gradient.
            let one = ["mma", "mhs"].contains(&peer.name);
            if !pole && !ends && !one {
                let g = peer.gradient(&optimum).abs().max(..).item();
                prop_assert!(g < 1e-6, "{}: gradient {g:e}", peer.name);
            }
            if peer.name.starts_with("mhe") || one {
                prop_assert!(peer.at(&optimum) <= peer.at(&other) + 1e-9, "{}", peer.name);
            }
        }
    }
}

#[test]
fn orthonormal_rows_have_the_values_of_a_right_angle() {
    for (n, d) in [(2, 2), (3, 3), (4, 9)] {
        let w = frame(n, d, 1);
        let pairs = (n * (n - 1)) as f64;
        let right = std::f64::consts::FRAC_PI_2;
        let found = [
            mma(&w, 0.0),
            mhs(&w, 0.0),
            sphereface_plus(&w, 0.0),
            orthoreg(&w, 10.0, 0.0),
            mc(&w, 0.0),
            so(&w),
        ];
        let want = [-right, -2.0, right.powi(-2), pairs * (-10f64).exp().ln_1p(), 0.0, 0.0];
        for (found, want) in found.into_iter().zip(want) {
            assert!(near(found.unwrap().item(), want, 1e-13));
        }
        // A pole across all of them is at the distance of a right angle from each.
        if n < d {
            let across = frame(n + 1, d, 1);
            let (w, v) = (across.slice_axis(0, ..n), across.slice_axis(0, n..).reshape([d]));
            assert!(near(mhp(&w, &v, 0.0).unwrap().item(), -0.5, 1e-13));
            assert!(near(mhc(&w, &v, 10.0, 0.0).unwrap().item(), 2.0, 1e-13));
        }
    }
}

#[test]
fn a_pole_on_a_neuron_is_finite_at_every_order() {
    let w = normal([4, 3], 7, "w");
    let v = w.slice_axis(0, 1..2).reshape([3]);
    for eps in [0.0, 1e-4] {
        for (scale, dtype) in [(1.0, DType::F64), (1.0, DType::F32), (1e3, DType::F32)] {
            let [w, v] = [&w, &v].map(|t| (t * scale).to_dtype(dtype).requires_grad());
            for y in [mhp(&w, &v, eps).unwrap(), mhc(&w, &v, 10.0, eps).unwrap()] {
                assert!(y.item().is_finite(), "eps {eps}, {dtype}");
                let first = y.recorded().grad(&[&w, &v]);
                let sum = first.iter().map(|g| g.sum(..)).reduce(|a, b| a + b).unwrap();
                assert!(
                    first.iter().chain(&sum.grad(&[&w, &v])).all(Tensor::is_finite),
                    "eps {eps}, {dtype}"
                );
            }
        }
    }
    // Closed forms: MHP at a neuron of unit length, whose distance is eps up to rounding and whose potential is the sum.
    let w = Tensor::from([[1.0, 0.0]]);
    let v = Tensor::from([1.0, 0.0]);
    let q = 2.0 - 2.0 / (1.0 + 1e-4);
    assert!(near(mhp(&w, &v, 1e-4).unwrap().item(), -1.0 / q, 1e-9));
    assert!(near(mhc(&w, &v, 10.0, 1e-4).unwrap().item(), q, 1e-9));
}

#[test]
fn poles_of_another_shape_are_refused() {
    let w = normal([4, 3], 7, "w");
    let message = mhp(&w, &Tensor::ones([4], DType::F64), 0.0).unwrap_err().to_string();
    assert_eq!(message, "expected a pole of shape [3] and dtype f64, found [4]");
    assert!(mhc(&w, &Tensor::ones([3], DType::F32), 1.0, 0.0).is_err());
    for gamma in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let message = mhc(&w, &Tensor::ones([3], DType::F64), gamma, 0.0).unwrap_err().to_string();
        assert!(message.starts_with("sharpness = "), "{message}");
        assert!(orthoreg(&w, gamma, 0.0).is_err());
    }
}
