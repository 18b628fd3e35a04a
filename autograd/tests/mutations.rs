//! What gradcheck must catch: operations that are deliberately wrong, one for each way a rule can be wrong.
//! If one of them passes, gradcheck has a hole.

use autograd::{Custom, Fused, Input, Real, Report, Tensor, Unary, custom, fused, gradcheck};

fn check(f: impl Fn(&[Tensor]) -> Tensor, order: usize) -> Report {
    let x = Tensor::from([[0.4, -1.1, 0.7], [1.3, 0.2, -0.6]]);
    gradcheck(f, &[x], order)
}

#[track_caller]
fn caught_at(order: usize, f: impl Fn(&[Tensor]) -> Tensor) {
    let report = check(f, 2);
    assert!(report.orders[..order - 1].iter().all(|o| o.pass), "caught too early:\n{report}");
    assert!(!report.orders[order - 1].pass, "not caught at order {order}:\n{report}");
}

/// sin x, whose derivative is off by one part in a hundred thousand.
#[derive(Clone, Copy, Debug)]
struct SlightlyOff;
impl Unary for SlightlyOff {
    const NAME: &'static str = "slightly_off";
    #[inline(always)]
    fn f<R: Real>(&self, x: R) -> R {
        x.sin()
    }
    #[inline(always)]
    fn d<R: Real>(&self, x: R, _: R) -> R {
        x.c(1.00001) * x.cos()
    }
}

#[test]
fn a_derivative_that_is_slightly_off() {
    caught_at(1, |x| x[0].map(SlightlyOff));
}

/// x^2 with a choice of mistakes in the fused rule.
#[derive(Debug, Default)]
struct Square {
    /// The definition says x^2 + x.
    wrong_definition: bool,
    /// The kernel's gradient is 2 x + 1.
    wrong_kernel: bool,
    /// The kernel forgets to multiply by g.
    forgets_g: bool,
    /// The kernel's gradient is off by one part in a hundred million.
    imprecise_kernel: bool,
    /// The definition cuts the graph.
    detaches: bool,
}

impl Fused for Square {
    type Kept = ();
    const NAME: &'static str = "square";
    fn definition(&self, x: &[Tensor]) -> Tensor {
        let square = if self.detaches {
            &x[0] * x[0].detach() * 2.0 - (&x[0] * &x[0]).detach()
        } else {
            &x[0] * &x[0]
        };
        if self.wrong_definition { square + &x[0] } else { square }
    }
    fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
        (&x[0] * &x[0], ())
    }
    fn backward(&self, x: &[Tensor], (): &(), g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        let d = if self.wrong_kernel { &x[0] * 2.0 + 1.0 } else { &x[0] * 2.0 };
        let d = if self.imprecise_kernel { d * (1.0 + 1e-8) } else { d };
        vec![Some(if self.forgets_g { d } else { d * g })]
    }
}

#[test]
fn the_correct_square_passes() {
    check(|x| fused(Square::default(), &[&x[0]]), 3).assert();
}

#[test]
fn a_definition_that_differs_from_its_kernel() {
    caught_at(1, |x| fused(Square { wrong_definition: true, ..Default::default() }, &[&x[0]]));
}

#[test]
fn a_kernel_that_differs_from_its_definition() {
    caught_at(1, |x| fused(Square { wrong_kernel: true, ..Default::default() }, &[&x[0]]));
}

#[test]
fn a_kernel_that_is_less_precise_than_its_definition() {
    caught_at(1, |x| fused(Square { imprecise_kernel: true, ..Default::default() }, &[&x[0]]));
}

/// a scaled and b as they are, as one output.
fn uneven(a: &Tensor, b: &Tensor, scale: f64) -> Tensor {
    Tensor::concat(&[&(a * scale), b], 0)
}

#[test]
fn a_large_output_hides_no_small_one() {
    let [a, b] = [Tensor::from([0.4, -1.1]), Tensor::from([0.7, 1.3, 0.2])];
    let both = [Tensor::concat(&[&a, &b], 0)];
    let parts = |x: &Tensor| x.split(0, &[2, 3]);
    for scale in [1e-5, 1.0, 1e5] {
        // As two inputs, and as parts of one.
        let good = gradcheck(|x| uneven(&x[0], &x[1], scale), &[a.clone(), b.clone()], 2);
        let good_one = gradcheck(|x| uneven(&parts(&x[0])[0], &parts(&x[0])[1], scale), &both, 2);
        for good in [good, good_one] {
            assert!(good.pass() && good.orders[0].blind < good.orders[0].tolerance, "scale {scale}:\n{good}");
        }
        let bad = [
            gradcheck(|x| uneven(&x[0], &x[1].detach(), scale), &[a.clone(), b.clone()], 1),
            gradcheck(|x| uneven(&x[0].detach(), &x[1], scale), &[a.clone(), b.clone()], 1),
            gradcheck(|x| uneven(&parts(&x[0])[0], &parts(&x[0])[1].detach(), scale), &both, 1),
            gradcheck(|x| uneven(&parts(&x[0])[0].detach(), &parts(&x[0])[1], scale), &both, 1),
            gradcheck(|x| uneven(&x[0], &x[1].map(SlightlyOff), scale), &[a.clone(), b.clone()], 1),
            gradcheck(|x| uneven(&x[0].map(SlightlyOff), &x[1], scale), &[a.clone(), b.clone()], 1),
        ];
        for (i, bad) in bad.iter().enumerate() {
            assert!(!bad.pass(), "scale {scale}, case {i}:\n{bad}");
        }
    }
}

#[test]
fn a_small_term_of_an_output_is_hidden_only_where_the_report_says_so() {
    let inputs = [Tensor::from([0.4, -1.1]), Tensor::from([0.7, 1.3])];
    for scale in [1.0, 1e3, 1e6, 1e9, 1e12] {
        let good = gradcheck(|x| &x[0] * scale + x[1].sin(), &inputs, 1);
        let bad = gradcheck(|x| &x[0] * scale + x[1].map(SlightlyOff), &inputs, 1);
        assert!(good.pass(), "scale {scale}:\n{good}");
        // SlightlyOff is off by 1e-5.
        assert!(
            !bad.pass() || bad.orders[0].blind > 1e-6,
            "scale {scale}: blind {}\n{bad}",
            bad.orders[0].blind
        );
    }
}

#[test]
fn a_kernel_that_forgets_the_incoming_gradient() {
    caught_at(1, |x| fused(Square { forgets_g: true, ..Default::default() }, &[&x[0]]));
}

#[test]
fn a_definition_that_loses_the_second_order() {
    caught_at(2, |x| fused(Square { detaches: true, ..Default::default() }, &[&x[0]]));
}

/// x^3 whose gradient is written with constants: right once, wrong when differentiated.
#[derive(Debug)]
struct ConstantGradient;
impl Custom for ConstantGradient {
    const NAME: &'static str = "constant_gradient";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        x[0].powi(3)
    }
    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(x[0].detach().powi(2) * 3.0 * g)]
    }
}

#[test]
fn a_gradient_that_is_a_constant() {
    caught_at(2, |x| custom(ConstantGradient, &[&x[0]]));
}

/// x^3 whose gradient ignores how g depends on x.
#[derive(Debug)]
struct DetachedCotangent;
impl Custom for DetachedCotangent {
    const NAME: &'static str = "detached_cotangent";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        x[0].powi(3)
    }
    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(x[0].powi(2) * 3.0 * g.detach())]
    }
}

#[test]
fn a_gradient_that_drops_its_own_cotangent() {
    // <w, y> + <v, y^2> makes g depend on x, so the second order sees it.
    caught_at(2, |x| custom(DetachedCotangent, &[&x[0]]));
}

/// A linear map (reversal) whose adjoint is the map shifted by one.
#[derive(Debug)]
struct WrongAdjoint;
impl Custom for WrongAdjoint {
    const NAME: &'static str = "wrong_adjoint";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        x[0].reshape([3, 2])
    }
    fn gradient(&self, _: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(g.transpose(0, 1))]
    }
}

#[test]
fn an_adjoint_with_elements_in_the_wrong_places() {
    caught_at(1, |x| custom(WrongAdjoint, &[&x[0]]));
}

/// a + b where both get the whole gradient twice: double counting.
#[derive(Debug)]
struct CountsTwice;
impl Fused for CountsTwice {
    type Kept = ();
    const NAME: &'static str = "counts_twice";
    fn definition(&self, x: &[Tensor]) -> Tensor {
        &x[0] + &x[1]
    }
    fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
        (&x[0] + &x[1], ())
    }
    fn backward(&self, _: &[Tensor], (): &(), g: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        vec![Some(g * 2.0), Some(g * 2.0)]
    }
}

#[test]
fn a_gradient_that_is_counted_twice() {
    caught_at(1, |x| {
        let rows = x[0].sum(1);
        fused(CountsTwice, &[&rows, &(&rows * &rows)])
    });
}

/// Two inputs; the second gets no gradient although the value depends on it.
#[derive(Debug)]
struct ForgetsAnInput;
impl Custom for ForgetsAnInput {
    const NAME: &'static str = "forgets_an_input";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        &x[0] * &x[1]
    }
    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(&x[1] * g), None]
    }
}

#[test]
fn an_input_without_gradient() {
    caught_at(1, |x| custom(ForgetsAnInput, &[&x[0], &x[0].sin()]));
}

/// The value itself is not what the gradient belongs to: not a number somewhere.
#[test]
fn a_gradient_that_is_not_a_number() {
    let report = check(|x| (&x[0] - &x[0]).sqrt() + &x[0], 1);
    assert!(!report.pass(), "{report}");
}

#[test]
fn the_report_names_the_worst_entry() {
    let x = Tensor::from([1.0, 2.0, 3.0]);
    let report = gradcheck(|x| custom(WrongThird, &[&x[0]]), &[x], 1);
    let worst = report.orders[0].worst.clone().unwrap();
    assert_eq!((worst.input, worst.index), (0, vec![2]));
    assert!(report.to_string().contains("worst at input 0 [2]"), "{report}");
}

/// The identity, but the gradient of element 2 is doubled.
#[derive(Debug)]
struct WrongThird;
impl Custom for WrongThird {
    const NAME: &'static str = "wrong_third";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        &x[0] * 1.0
    }
    fn gradient(&self, _: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(g * Tensor::from([1.0, 1.0, 2.0]))]
    }
}

#[test]
fn a_large_input_is_checked_along_random_directions_and_the_culprit_is_found() {
    let x = Input::normal([40, 30]);
    let sample = autograd::Sample::new("slightly_off", "large", [x], |x| x[0].map(SlightlyOff));
    let report = sample.check(autograd::DType::F64, 1);
    assert!(!report.pass());
    assert!(report.orders[0].worst.is_some());
    let good = autograd::Sample::new("sin", "large", [Input::normal([40, 30])], |x| x[0].sin());
    good.check(autograd::DType::F64, 2).assert();
}
