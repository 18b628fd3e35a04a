//! Student's t distribution.

/// The t with P(|T| <= t) = 0.95, by bisection.
pub fn quantile(freedom: usize) -> f64 {
    let (mut low, mut high) = (1.0, 13.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if within(middle, freedom) < 0.95 { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// P(|T| <= t) with n degrees of freedom, by its finite series in theta = arctan(t / sqrt n) (Abramowitz and Stegun
/// 26.7.3 and 26.7.4).
pub fn within(t: f64, n: usize) -> f64 {
    let (sin, cos) = (t / (n as f64).sqrt()).atan().sin_cos();
    // 1 + cos^2 1/2 + cos^4 1/2 3/4 + ..., or cos + cos^3 2/3 + ...
    let odd = n % 2;
    let (mut term, mut sum) = if odd == 1 { (cos, cos) } else { (1.0, 1.0) };
    for k in (2 + odd..n - 1).step_by(2) {
        term *= cos * cos * (k - 1) as f64 / k as f64;
        sum += term;
    }
    match n {
        1 => 2.0 / std::f64::consts::PI * sin.atan2(cos),
        _ if odd == 1 => 2.0 / std::f64::consts::PI * (sin.atan2(cos) + sin * sum),
        _ => sin * sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (n, t) in [
            (1, 12.706205),
            (2, 4.302653),
            (3, 3.182446),
            (4, 2.776445),
            (5, 2.570582),
            (9, 2.262157),
            (30, 2.042272),
        ] {
            assert!((quantile(n) - t).abs() < 1e-6, "{n}: {}, not {t}", quantile(n));
        }
    }
}
