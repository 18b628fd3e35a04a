//! One module after another.

use autograd::{Shape, Tensor};

use crate::error::Error;
use crate::module::{Change, Context, Module, See, join};
use crate::summary::Summary;

/// Named modules, each applied to the output of the one before.
#[derive(Clone, Default)]
pub struct Sequential {
    children: Vec<(String, Box<dyn Module>)>,
}

impl Sequential {
    /// An empty sequence, the identity.
    pub fn new() -> Sequential {
        Sequential::default()
    }

    /// Adds a module at the end. Its tensors are named `name.weight` and so on.
    ///
    /// # Panics
    /// If another child has this name.
    #[track_caller]
    pub fn push(&mut self, name: impl Into<String>, module: impl Module + 'static) {
        let name = name.into();
        assert!(self.children.iter().all(|(n, _)| *n != name), "Sequential: two children are named {name:?}");
        self.children.push((name, Box::new(module)));
    }

    /// The same sequence with a module added at the end.
    ///
    /// # Panics
    /// As [`Sequential::push`].
    #[track_caller]
    pub fn with(mut self, name: impl Into<String>, module: impl Module + 'static) -> Sequential {
        self.push(name, module);
        self
    }

    /// The children, in order.
    pub fn children(&self) -> impl Iterator<Item = (&str, &dyn Module)> {
        self.children.iter().map(|(name, module)| (name.as_str(), &**module))
    }
}

impl Module for Sequential {
    fn forward(&mut self, x: &Tensor, cx: &mut Context) -> Tensor {
        let mut x = x.clone();
        for (name, module) in &mut self.children {
            x = cx.scope(name, |cx| module.forward(&x, cx));
        }
        x
    }

    fn visit<'a>(&'a self, see: See<'_, 'a>) {
        for (name, module) in &self.children {
            module.visit(&mut |inner, t, kind| see(&join(name, inner), t, kind));
        }
    }

    fn visit_mut<'a>(&'a mut self, change: Change<'_, 'a>) {
        for (name, module) in &mut self.children {
            module.visit_mut(&mut |inner, t, kind| change(&join(name, inner), t, kind));
        }
    }

    fn plan(&self, path: &str, input: &Shape, plan: &mut Summary) -> Result<Shape, Error> {
        self.children.iter().try_fold(*input, |x, (name, module)| module.plan(&join(path, name), &x, plan))
    }
}
