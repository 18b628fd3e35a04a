//! The table of a network's layers, made without computing anything.

use std::fmt;

use autograd::Shape;

use crate::error::Error;
use crate::module::Module;

/// One line per layer, in the order of the forward pass. Shapes and FLOPs are those of the batch it was made for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The lines.
    pub rows: Vec<Row>,
}

/// A line of a [`Summary`].
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The layer's path in the model.
    pub name: String,
    /// The type of the layer.
    pub layer: String,
    /// The output shape.
    pub output: Shape,
    /// The number of learned elements.
    pub parameters: usize,
    /// Floating-point operations of its forward pass; a multiplication and an addition are two.
    pub flops: u64,
    /// The stride of a convolution, (height, width); 1 for other layers.
    pub stride: [usize; 2],
}

impl Summary {
    /// Adds the line of a layer and returns its output shape.
    pub fn row(
        &mut self,
        module: &dyn Module,
        path: &str,
        layer: impl Into<String>,
        output: Shape,
        flops: u64,
    ) -> Result<Shape, Error> {
        let parameters = module.parameter_count();
        self.rows.push(Row {
            name: path.to_string(),
            layer: layer.into(),
            output,
            parameters,
            flops,
            stride: [1, 1],
        });
        Ok(output)
    }

    /// The shape that the last layer gives.
    pub fn output(&self) -> Option<&Shape> {
        self.rows.last().map(|row| &row.output)
    }

    /// The number of learned elements.
    pub fn parameters(&self) -> usize {
        self.rows.iter().map(|row| row.parameters).sum()
    }

    /// Floating-point operations of the forward pass.
    pub fn flops(&self) -> u64 {
        self.rows.iter().map(|row| row.flops).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |head: &str, text: fn(&Row) -> usize| self.rows.iter().map(text).fold(head.len(), usize::max);
        let name = width("name", |r| r.name.chars().count());
        let layer = width("layer", |r| r.layer.chars().count());
        let shape = width("output", |r| r.output.to_string().len());
        let line = |f: &mut fmt::Formatter<'_>, a: &str, b: &str, c: &str, d: &str, e: &str| {
            writeln!(f, "{a:<name$}  {b:<layer$}  {c:<shape$}  {d:>12}  {e:>14}")
        };
        line(f, "name", "layer", "output", "parameters", "FLOPs")?;
        for r in &self.rows {
            let parameters = r.parameters.to_string();
            line(f, &r.name, &r.layer, &r.output.to_string(), &parameters, &r.flops.to_string())?;
        }
        line(f, "total", "", "", &self.parameters().to_string(), &self.flops().to_string())
    }
}
