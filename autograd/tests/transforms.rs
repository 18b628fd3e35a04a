//! Transforms of functions: what they capture, what they return, and how they nest.

use autograd::transform::{grad, hessian, hvp, jacobian, jvp, per_sample_grad, value_and_grad, vjp};
use autograd::{Tensor, gradcheck, parallel_map};

type Transform = fn(&dyn Fn(&[Tensor]) -> Tensor, &Tensor) -> Tensor;

/// Every transform of a scalar function of one tensor, as a scalar.
fn transforms() -> [(&'static str, Transform); 8] {
    [
        ("grad", |f, x| grad(f, std::slice::from_ref(x)).remove(0).sum(..)),
        ("value_and_grad", |f, x| {
            let (y, g) = value_and_grad(f, std::slice::from_ref(x));
            y + g[0].sum(..)
        }),
        ("vjp", |f, x| {
            let (y, g) = vjp(f, std::slice::from_ref(x), &Tensor::from(1.5));
            y + g[0].sum(..)
        }),
        ("jvp", |f, x| {
            let (y, t) = jvp(f, std::slice::from_ref(x), &[x.detach() * 0.5 + 1.0]);
            y + t
        }),
        ("hvp", |f, x| hvp(f, std::slice::from_ref(x), &[x.detach() * 0.5 + 1.0]).remove(0).sum(..)),
        ("jacobian", |f, x| jacobian(f, x).sum(..)),
        ("hessian", |f, x| hessian(f, x).sum(..)),
        ("per_sample_grad", |f, x| {
            let loss = |x: &[Tensor], i: usize| f(x) * (i + 1) as f64;
            per_sample_grad(loss, std::slice::from_ref(x), 2).remove(0).sum(..)
        }),
    ]
}

/// A function of x and of what it captures.
fn function(w: &Tensor, x: &Tensor) -> Tensor {
    ((w * x).sin() + w * x * x).sum(..)
}

#[test]
fn a_captured_tensor_has_its_gradient() {
    let w = Tensor::from(3.0).requires_grad();
    let s = grad(|x| &w * &x[0], &[Tensor::from(2.0)]).remove(0);
    assert_eq!((&w * &w + &s * &s).backward()[&w].item(), 12.0);

    // The same through every transform, against differences: of leaves, of results, on other threads.
    for (name, transform) in transforms() {
        let x = Tensor::from([0.4, -0.9]);
        let through = |w: &Tensor| transform(&|x: &[Tensor]| function(w, &x[0]), &x);
        let report = gradcheck(|w| through(&w[0]), &[Tensor::from([0.7, 1.3])], 2);
        assert!(report.pass(), "{name}:\n{report}");
        let report = gradcheck(|w| through(&(&w[0] * 2.0)), &[Tensor::from([0.7, 1.3])], 1);
        assert!(report.pass(), "{name} of a result:\n{report}");
        let w = Tensor::from([0.7, 1.3]).requires_grad();
        let expected = through(&w).grad(&[&w]).remove(0).to_vec::<f64>();
        let found = parallel_map(3, |_| through(&w).grad(&[&w]).remove(0).to_vec::<f64>());
        assert!(found.iter().all(|g| *g == expected), "{name}: {found:?}, {expected:?}");
    }
}

#[test]
fn a_transform_of_constants_is_a_constant() {
    let (w, x) = (Tensor::from([0.7, 1.3]), Tensor::from([0.4, -0.9]));
    for (name, transform) in transforms() {
        assert!(!transform(&|x| function(&w, &x[0]), &x).is_tracked(), "{name}");
        // Nested: the inner one captures the input of the outer one, which is a constant.
        for (outer_name, outer) in transforms() {
            let nested = outer(&|w| transform(&|x| function(&w[0], &x[0]), &x), &w);
            assert!(!nested.is_tracked(), "{name} in {outer_name}");
        }
    }
}

#[test]
fn nested_transforms_that_capture_are_those_of_the_formula() {
    // s(w) = d/dx (w^2 x^3) = 3 w^2 x^2, so d/dw s = 6 w x^2.
    let x = [Tensor::from(2.0)];
    let slope = |w: &[Tensor]| grad(|x| w[0].powi(2) * x[0].powi(3), &x).remove(0);
    assert_eq!(grad(slope, &[Tensor::from(5.0)])[0].item(), 6.0 * 5.0 * 4.0);
    assert_eq!(hessian(slope, &Tensor::from(5.0)).item(), 6.0 * 4.0);
}

#[test]
fn a_tracked_cotangent_or_tangent_has_its_gradient() {
    let x = [Tensor::from([0.4, -0.9])];
    let v = [Tensor::from([1.0, 2.0]).requires_grad()];
    let f = |x: &[Tensor]| x[0].powi(2);
    let (_, g) = vjp(f, &x, &v[0]);
    assert_eq!(g[0].sum(..).grad(&[&v[0]])[0].to_vec::<f64>(), [0.8, -1.8]);
    let (_, t) = jvp(f, &x, &v);
    assert_eq!(t.sum(..).grad(&[&v[0]])[0].to_vec::<f64>(), [0.8, -1.8]);
    let h = hvp(|x| x[0].powi(3).sum(..), &x, &v);
    assert_eq!(h[0].sum(..).grad(&[&v[0]])[0].to_vec::<f64>(), [6.0 * 0.4, 6.0 * -0.9]);
}

#[test]
fn the_gradient_of_a_transform_that_is_constant_is_zero() {
    let x = Tensor::from([0.4, -0.9]).requires_grad();
    let constants: [(&str, Transform); 3] = [
        ("linear", |_, x| grad(|x| (&x[0] * 3.0).sum(..), std::slice::from_ref(x)).remove(0)),
        ("unused", |_, x| grad(|_| Tensor::from(1.0), std::slice::from_ref(x)).remove(0)),
        ("jacobian", |_, x| jacobian(|x| &x[0] * 3.0, x)),
    ];
    for (name, f) in constants {
        let d = f(&|x| x[0].sum(..), &x).sum(..);
        assert_eq!(d.grad(&[&x])[0].to_vec::<f64>(), [0.0, 0.0], "{name}");
    }
}

#[test]
fn a_transformed_function_leaves_no_leaf_of_its_own() {
    let w = Tensor::from(3.0).requires_grad();
    let s = grad(|x| &w * x[0].powi(2), &[Tensor::from(2.0)]).remove(0);
    let grads = s.backward();
    assert_eq!((grads.len(), grads[&w].item()), (1, 4.0));
}
