//! What a gradient is: a constant or recorded, zero or missing, and refused where a user's operation is wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use autograd::{Custom, DType, Fused, Tensor, custom, fused, gradcheck, inspect, profile, transform};

/// The message of the panic of `f`.
#[track_caller]
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let error = catch_unwind(AssertUnwindSafe(|| drop(f()))).expect_err("a panic");
    match error.downcast::<String>() {
        Ok(message) => *message,
        Err(other) => other.downcast_ref::<&str>().expect("a message").to_string(),
    }
}

/// x^2, with a gradient that also uses a tensor that is tracked.
#[derive(Debug)]
struct Captures(Tensor);
impl Custom for Captures {
    const NAME: &'static str = "captures";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        &x[0] * &x[0]
    }
    fn gradient(&self, x: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(&x[0] * 2.0 * g * &self.0)]
    }
}

#[test]
fn an_unrecorded_pass_returns_constants() {
    let x = Tensor::from(0.5).requires_grad();
    let u = Tensor::from(1.0).requires_grad();
    let functions: [fn(&Tensor) -> Tensor; 4] = [
        |x| x + x.exp(),
        |x| x.reshape([1]).sum(..),
        |x| x.softplus() * x,
        |x| custom(Captures(Tensor::from(1.0).requires_grad()), &[x]),
    ];
    for f in functions {
        let y = f(&x);
        for cotangent in [u.clone(), &u * 1.0, u.detach()] {
            let g = y.vjp(&cotangent, &[&x]).remove(0);
            assert!(!g.is_tracked(), "{y:?}");
            let message = panic_of(|| g.grad(&[&u]));
            assert!(message.contains("does not depend on it"), "{message}");
        }
        assert!(!y.grad(&[&x])[0].is_tracked());
        assert!(!y.backward()[&x].is_tracked());
    }
    // The tensor itself gets the cotangent.
    assert!(!x.vjp(&u, &[&x])[0].is_tracked());
}

#[test]
fn a_recorded_vjp_has_the_gradient_by_its_cotangent() {
    let x = Tensor::from(0.5).requires_grad();
    let u = Tensor::from(1.0).requires_grad();
    let g = (&x + x.exp()).recorded().vjp(&u, &[&x]).remove(0);
    assert_eq!(g.grad(&[&u])[0].item(), 1.0 + 0.5f64.exp());
}

#[test]
fn a_recorded_gradient_that_is_constant_has_gradient_zero() {
    let x = Tensor::from([1.0, 2.0]).requires_grad();
    let w = Tensor::from(4.0).requires_grad();
    let h = &x * 3.0;
    let y = h.sum(..) + &w;
    let d = y.recorded().grad(&[&x, &w, &h, &y]);
    for d in &d {
        for by in [&x, &w, &h] {
            let zero = d.sum(..).grad(&[by]).remove(0);
            assert_eq!((zero.to_vec::<f64>(), zero.shape()), (vec![0.0; by.numel()], by.shape()));
        }
        // As a term among others it changes nothing.
        let loss = d.sum(..) * (&x * &x).sum(..);
        assert_eq!(loss.grad(&[&x])[0].to_vec::<f64>(), (&x * (2.0 * d.sum(..).item())).to_vec::<f64>());
    }
    let grads = y.recorded().backward();
    let second = grads[&x].sum(..).backward();
    assert!(second.get(&x).is_none());
    assert!(second.reason(&x).contains("does not depend on it"));
    // What y was not computed from is missing still.
    let other = Tensor::from(1.0).requires_grad();
    assert!(panic_of(|| d[0].sum(..).grad(&[&other])).contains("does not depend on it"));
}

#[test]
fn gradcheck_of_a_function_that_takes_gradients() {
    let penalty = |x: &[Tensor]| {
        let y = x[0].sin() * &x[1];
        let d = y.sum(..).recorded().grad(&[&x[0], &x[1]]);
        (&d[0] * &d[0]).sum(..) + (&d[1] * &x[0]).sum(..)
    };
    let inputs = [Tensor::from([0.3, -0.8]), Tensor::from([1.2, 0.7])];
    gradcheck(penalty, &inputs, 2).assert();
    let linear = |x: &[Tensor]| (&x[0] * 3.0).sum(..).recorded().grad(&[&x[0]]).remove(0) * &x[1];
    gradcheck(linear, &inputs, 2).assert();
}

/// Gives no gradient for its second input: zero.
#[derive(Debug)]
struct First;
impl Custom for First {
    const NAME: &'static str = "first";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        &x[0] * 1.0
    }
    fn gradient(&self, _: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(g.clone()), None]
    }
}

#[test]
fn a_gradient_that_an_operation_does_not_give_is_zero() {
    let [a, b] = [Tensor::from([1.0, 2.0]).requires_grad(), Tensor::from([3.0]).requires_grad()];
    let g = custom(First, &[&a, &b]).sum(..).grad(&[&a, &b]);
    assert_eq!((g[0].to_vec::<f64>(), g[1].to_vec::<f64>()), (vec![1.0, 1.0], vec![0.0]));
}

#[test]
fn requires_grad_on_a_result_is_named_as_the_cut() {
    let x = Tensor::from([1.0, 2.0]).requires_grad();
    let y = x.exp().requires_grad();
    let line = line!() - 1;
    let cut = format!("the graph was cut by requires_grad at {}:{line}", file!());
    let z = (&y * &y).sum(..);
    for message in [
        panic_of(|| z.grad(&[&x])),
        panic_of(|| y.sum(..).grad(&[&x])),
        panic_of(|| y.vjp(&Tensor::from([1.0, 1.0]), &[&x])),
        z.recorded().backward().reason(&x),
        y.sum(..).backward().reason(&x),
        panic_of(|| (&y * &y).sum(..).backward()[&x].clone()),
    ] {
        assert!(message.contains(&cut), "{message}");
    }
    assert_eq!(
        inspect(&z).nodes.iter().map(|n| n.op).collect::<Vec<_>>(),
        ["requires_grad", "leaf", "mul", "sum"]
    );

    // Of a constant behind a cut, the first cut is the one.
    let y = x.exp().detach().requires_grad();
    let message = panic_of(|| (&y * &y).sum(..).grad(&[&x]));
    assert!(message.contains(&format!("cut by detach at {}:{}", file!(), line!() - 2)), "{message}");
    // Two cuts, each named once.
    let again = x.sin().requires_grad();
    let message = panic_of(|| (&y * &again * &y).sum(..).grad(&[&x]));
    assert_eq!(
        message.matches("detach at").count() + message.matches("requires_grad at").count(),
        2,
        "{message}"
    );
    // A leaf of a constant cuts nothing.
    let fresh = Tensor::from([1.0, 2.0]).requires_grad();
    assert!(panic_of(|| fresh.sum(..).grad(&[&x])).contains("nothing that was computed from it leads there"));
    assert_eq!(inspect(&fresh.sum(..)).nodes.len(), 2);
}

#[test]
fn a_detached_tensor_is_named_as_such() {
    let x = Tensor::from(2.0).requires_grad();
    let cut = x.detach();
    let line = line!() - 1;
    let message = panic_of(|| (&x * &cut).grad(&[&cut]));
    assert!(message.contains(&format!("it was detached at {}:{line}", file!())), "{message}");
}

#[test]
fn a_cotangent_is_like_the_tensor() {
    let x = Tensor::from([1.0, 2.0]).requires_grad();
    let y = &x * &x;
    let shapes = [Tensor::from(1.0), Tensor::from([[1.0, 1.0]]), Tensor::from([1.0; 3])];
    for cotangent in shapes.into_iter().chain([Tensor::from([1.0f32, 1.0])]) {
        let expected = format!(
            "vjp: the cotangent is {} {}, the tensor f64 [2]; they must be alike",
            cotangent.dtype(),
            cotangent.shape()
        );
        assert_eq!(panic_of(|| y.vjp(&cotangent, &[&x])), expected);
        assert_eq!(panic_of(|| y.recorded().vjp(&cotangent, &[&x])), expected);
        assert_eq!(
            panic_of(|| transform::vjp(|x| &x[0] * &x[0], std::slice::from_ref(&x), &cotangent)),
            expected
        );
    }
}

/// The sum of two inputs, with the gradients that it is given.
#[derive(Debug)]
struct Given {
    gradients: Vec<Option<Tensor>>,
    recorded: bool,
    definition: Option<Tensor>,
}
impl Given {
    fn new(gradients: Vec<Option<Tensor>>, recorded: bool) -> Given {
        Given { gradients, recorded, definition: None }
    }
}
impl Custom for Given {
    const NAME: &'static str = "given";
    fn forward(&self, x: &[Tensor]) -> Tensor {
        &x[0] + &x[1]
    }
    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> Vec<Option<Tensor>> {
        self.gradients.clone()
    }
}
impl Fused for Given {
    type Kept = ();
    const NAME: &'static str = "given";
    fn definition(&self, x: &[Tensor]) -> Tensor {
        self.definition.clone().unwrap_or_else(|| &x[0] + &x[1])
    }
    fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
        (&x[0] + &x[1], ())
    }
    fn backward(&self, _: &[Tensor], (): &(), _: &Tensor, _: &[bool]) -> Vec<Option<Tensor>> {
        self.gradients.clone()
    }
    fn recorded(&self, _: &[Tensor], (): &(), _: &Tensor, _: &[bool]) -> Option<Vec<Option<Tensor>>> {
        self.recorded.then(|| self.gradients.clone())
    }
}

#[test]
fn a_user_s_gradient_is_like_its_input() {
    let [a, b] = [0, 1].map(|_| Tensor::from([1.0, 2.0]).requires_grad());
    let good = || Some(Tensor::from([1.0, 1.0]));
    let cases = [
        (vec![good()], "returned 1 gradients for 2 inputs"),
        (vec![good(), good(), good()], "returned 3 gradients for 2 inputs"),
        (vec![], "returned 0 gradients for 2 inputs"),
        (
            vec![good(), Some(Tensor::zeros([3, 2], DType::F64))],
            "returned a gradient f64 [3, 2] for input 1, which is f64 [2]",
        ),
        (vec![Some(Tensor::from(1.0)), good()], "returned a gradient f64 [] for input 0, which is f64 [2]"),
        (
            vec![good(), Some(Tensor::from([1.0f32, 1.0]))],
            "returned a gradient f32 [2] for input 1, which is f64 [2]",
        ),
    ];
    for (gradients, expected) in cases {
        let given = |recorded| Given::new(gradients.clone(), recorded);
        let line = line!() + 2;
        let [in_plain, in_fused, in_recorded] =
            [custom(given(false), &[&a, &b]), fused(given(false), &[&a, &b]), fused(given(true), &[&a, &b])]
                .map(|y| y.sum(..));
        let named = |method: &str, message: String| {
            assert!(message.starts_with(&format!("given: {method}() {expected}")), "{message}");
            assert!(message.contains(&format!("given called at {}:", file!())), "{message}");
            let _ = line;
        };
        named("gradient", panic_of(|| in_plain.grad(&[&a, &b])));
        named("gradient", panic_of(|| in_plain.recorded().grad(&[&a, &b])));
        named("backward", panic_of(|| in_fused.grad(&[&a, &b])));
        named("recorded", panic_of(|| in_recorded.recorded().grad(&[&a, &b])));
    }
    let definition = Some(Tensor::from([[1.0, 2.0]]));
    let y = fused(Given { definition, ..Given::new(vec![good(), good()], false) }, &[&a, &b]).sum(..);
    assert_eq!(y.grad(&[&a])[0].to_vec::<f64>(), [1.0, 1.0]);
    let message = panic_of(|| y.recorded().grad(&[&a]));
    assert!(message.starts_with("given: definition() gives f64 [1, 2], forward() f64 [2]"), "{message}");
}

#[test]
fn a_fused_operation_may_write_its_recorded_gradient() {
    // A gradient that differs from the definition's, to see which is used.
    let x = Tensor::from([1.0, 2.0]).requires_grad();
    let given = vec![Some(Tensor::from([5.0, 6.0])), None];
    for (recorded, expected) in [(true, [5.0, 6.0]), (false, [2.0, 2.0])] {
        let y = fused(Given::new(given.clone(), recorded), &[&x, &x]).sum(..);
        assert_eq!(y.recorded().grad(&[&x])[0].to_vec::<f64>(), expected);
    }
}

#[test]
#[should_panic(expected = "captures: the function uses a tracked tensor that is not among its inputs")]
fn a_custom_operation_does_not_capture() {
    #[derive(Debug)]
    struct Adds(Tensor);
    impl Custom for Adds {
        const NAME: &'static str = "captures";
        fn forward(&self, x: &[Tensor]) -> Tensor {
            &x[0] + &self.0
        }
        fn gradient(&self, _: &[Tensor], _: &Tensor, g: &Tensor) -> Vec<Option<Tensor>> {
            vec![Some(g.clone())]
        }
    }
    let _ = custom(Adds(Tensor::from(1.0).requires_grad()), &[&Tensor::from(1.0)]);
}

/// a + b, whose kernel is told which gradients are wanted.
#[derive(Debug)]
struct Wants([bool; 2]);
impl Fused for Wants {
    type Kept = ();
    const NAME: &'static str = "wants";
    fn definition(&self, x: &[Tensor]) -> Tensor {
        &x[0] + &x[1]
    }
    fn forward(&self, x: &[Tensor]) -> (Tensor, ()) {
        (&x[0] + &x[1], ())
    }
    fn backward(&self, _: &[Tensor], (): &(), g: &Tensor, wants: &[bool]) -> Vec<Option<Tensor>> {
        assert_eq!(wants, self.0);
        vec![Some(g.clone()), Some(g.clone())]
    }
}

#[test]
fn a_kernel_is_told_which_gradients_are_wanted() {
    let [a, b] = [1.0, 2.0].map(|v| Tensor::from(v).requires_grad());
    fused(Wants([true, true]), &[&a, &b]).grad(&[&a, &b]);
    fused(Wants([true, false]), &[&a, &b]).grad(&[&a]);
    fused(Wants([false, true]), &[&a, &b]).grad(&[&b]);
    let _ = fused(Wants([true, false]), &[&a, &b.detach()]).backward();
    let _ = fused(Wants([false, true]), &[&Tensor::from(1.0), &b]).backward();
}

#[test]
fn what_leads_to_no_input_is_not_visited() {
    let [w, x] = [2.0, 3.0].map(|v| Tensor::from(v).requires_grad());
    let (g, profile) = profile(|| transform::grad(|_| w.sqrt(), std::slice::from_ref(&x)));
    assert_eq!(g[0].item(), 0.0);
    assert!(profile.rows.iter().all(|row| !row.backward), "{profile}");
}

#[test]
fn a_cut_is_named_once() {
    let x = Tensor::from(2.0).requires_grad();
    let w = Tensor::from(3.0).requires_grad();
    let mut y = w.clone();
    for _ in 0..3 {
        let cut = x.sin().detach();
        y = y * &cut * &cut;
    }
    for message in [panic_of(|| y.grad(&[&x])), y.recorded().backward().reason(&x), y.backward().reason(&x)] {
        assert_eq!(message.matches("detach at").count(), 1, "{message}");
    }
    let message = (&w * &w).backward().reason(&x);
    assert!(
        message.ends_with("does not depend on it; nothing that was computed from it leads there"),
        "{message}"
    );
}
