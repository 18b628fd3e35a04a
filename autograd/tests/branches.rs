//! Derivatives that choose a branch: where one is 0, nothing that arrives there gets through, at any order.

use autograd::{DType, Mask, Real, Tensor, Unary};
use proptest::prelude::*;

type Function = fn(&Tensor) -> Tensor;

/// Functions that are constant around -1, of which something with an infinite derivative is taken.
const FLAT: [(&str, Function); 16] = [
    ("sqrt(relu x)", |x| x.relu().sqrt()),
    ("log(relu x)", |x| x.relu().log()),
    ("1 / relu x", |x| 1.0 / x.relu()),
    ("relu x / relu x", |x| x.relu() / x.relu()),
    ("rsqrt(relu x)", |x| x.relu().rsqrt()),
    ("powf(relu x)", |x| x.relu().powf(0.3)),
    ("sqrt(clamp x)", |x| x.clamp(0.0, 2.0).sqrt()),
    ("sqrt(leaky_relu x)", |x| x.leaky_relu(0.0).sqrt()),
    ("sqrt(maximum(x, 0))", |x| x.maximum(&Tensor::scalar(0.0, x.dtype())).sqrt()),
    ("sqrt(maximum(0, x))", |x| Tensor::zeros(x.shape(), x.dtype()).maximum(x).sqrt()),
    ("sqrt(-minimum(-x, 0))", |x| (-(-x).minimum(&Tensor::scalar(0.0, x.dtype()))).sqrt()),
    ("log(1 / max(1e-20, x))", |x| (1.0 / x.maximum(&Tensor::scalar(1e-20, x.dtype()))).log()),
    ("sqrt(step x)", |x| x.step().sqrt()),
    ("log(1 + sign x)", |x| (x.sign() + 1.0).log()),
    ("sqrt(0 x)", |x| (x * 0.0).sqrt()),
    ("sqrt(x^0 - 1)", |x| (x.powf(0.0) - 1.0).sqrt()),
];

/// The gradient, fast and recorded, and the gradient of the recorded one.
fn gradients(f: Function, at: f64, dtype: DType) -> [f64; 3] {
    // Long enough for whole registers, and with a neighbour that does depend on x.
    let x = Tensor::from_fn([35], dtype, |i| if i % 2 == 0 { at } else { 1.5 }).requires_grad();
    let fast = f(&x).sum(..).grad(&[&x]).remove(0);
    let recorded = f(&x).sum(..).recorded().grad(&[&x]).remove(0);
    let second = recorded.sum(..).grad(&[&x]).remove(0);
    let again = (&recorded * &recorded).sum(..).grad(&[&x]).remove(0);
    assert_eq!(again.at(&[0]), second.at(&[0]) * 2.0 * recorded.at(&[0]));
    assert!(second.at(&[1]).is_finite() && fast.at(&[1]) == recorded.at(&[1]));
    [fast, recorded, second].map(|g| g.at(&[34]))
}

#[test]
fn an_input_that_plays_no_part_has_gradient_zero() {
    for (name, f) in FLAT {
        for dtype in [DType::F32, DType::F64] {
            assert_eq!(gradients(f, -1.0, dtype), [0.0; 3], "{name}, {dtype}");
        }
    }
}

#[test]
fn at_a_kink_the_stated_derivative_is_chosen() {
    for f in [(|x| x.relu().sqrt()) as Function, |x| x.abs().sqrt(), |x| x.clamp(0.0, 2.0).sqrt()] {
        assert_eq!(gradients(f, 0.0, DType::F64), [0.0; 3]);
    }
}

#[test]
fn a_derivative_that_happens_to_be_zero_is_multiplied_with() {
    let x = Tensor::from(0.0).requires_grad();
    assert!((&x * &x).sqrt().grad(&[&x])[0].item().is_nan());
    assert!(x.powi(2).log().grad(&[&x])[0].item().is_nan());
}

/// A user's own: 1 above 1, slope 0 below.
#[derive(Clone, Copy, Debug)]
struct Shelf;
impl Unary for Shelf {
    const NAME: &'static str = "shelf";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        (x.clone() - x.c(1.0)).relu()
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        (x.clone() - x.c(1.0)).step()
    }
}

#[test]
fn a_user_s_step_is_a_choice_too() {
    assert_eq!(gradients(|x| x.map(Shelf).sqrt(), -1.0, DType::F64), [0.0; 3]);
}

/// The slope at an element.
type Slope<'a> = dyn Fn(usize) -> f64 + 'a;

/// x, a second number, and what arrives.
fn numbers() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<f64>)> {
    let number = prop_oneof![4 => -3.0..3.0f64, 1 => Just(0.0), 1 => prop::sample::select(vec![-1.0, 1.0, 1e30, -1e30])];
    let arriving = prop_oneof![
        2 => -3.0..3.0f64,
        3 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0])
    ];
    (1..70usize).prop_flat_map(move |n| {
        let numbers = || prop::collection::vec(number.clone(), n);
        (numbers(), numbers(), prop::collection::vec(arriving.clone(), n))
    })
}

proptest! {
    #[test]
    fn whatever_arrives_a_branch_of_slope_zero_lets_nothing_through((x, other, g) in numbers()) {
        let [tx, other] = [&x, &other].map(|v| Tensor::new(v, [v.len()]));
        let (tx, g) = (tx.requires_grad(), Tensor::new(&g, [g.len()]));
        // A value of each operation, and the slope with which it follows x.
        let slopes: [(&str, Tensor, Box<Slope>); 6] = [
            ("relu", tx.relu(), Box::new(|i| f64::from(x[i] > 0.0))),
            ("clamp", tx.clamp(-1.0, 1.0), Box::new(|i| f64::from(x[i] > -1.0 && x[i] < 1.0))),
            ("leaky_relu", tx.leaky_relu(0.5), Box::new(|i| if x[i] > 0.0 { 1.0 } else { 0.5 })),
            ("abs", tx.abs(), Box::new(|i| if x[i] == 0.0 { 0.0 } else { x[i].signum() })),
            ("maximum", tx.maximum(&other), Box::new(|i| f64::from(x[i] >= other.at(&[i])))),
            ("minimum", other.minimum(&tx), Box::new(|i| f64::from(x[i] < other.at(&[i])))),
        ];
        for (name, y, slope) in slopes {
            let right = |i: usize| if slope(i) == 0.0 { 0.0 } else { slope(i) * g.at(&[i]) };
            let dx = y.vjp(&g, &[&tx]).remove(0).to_vec::<f64>();
            // Recorded, and its own gradient, which is the same map.
            let cotangent = g.requires_grad();
            let recorded = y.recorded().vjp(&cotangent, &[&tx]).remove(0);
            let twice = recorded.vjp(&g, &[&cotangent]).remove(0).to_vec::<f64>();
            for (i, found) in [dx, recorded.to_vec::<f64>(), twice].iter().flat_map(|v| v.iter().enumerate()) {
                let same = *found == right(i) || found.is_nan() && right(i).is_nan();
                prop_assert!(same, "{} at {} (x = {}, g = {}): {}", name, i, x[i], g.at(&[i]), found);
            }
        }
    }
}

#[test]
fn a_mask_chooses_as_well() {
    let x = Tensor::from([-1.0, 4.0]).requires_grad();
    let y = Mask::new(&[false, true], [2]).select(&x, &Tensor::from(0.0)).sqrt();
    assert_eq!(y.sum(..).grad(&[&x])[0].to_vec::<f64>(), [0.0, 0.25]);
}
