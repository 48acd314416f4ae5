//! What has to be the same for the times of two runs to mean the same, and how two differ in it.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::plan::Plan;

/// The machine of a run and the library that is measured against. What could not be found out is None.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Model of the CPU.
    pub cpu: Option<String>,
    /// Logical CPUs that the run may use.
    pub cores: Option<usize>,
    /// `none`, or which kind of container.
    pub container: String,
    /// Version of NumPy.
    pub numpy: Option<String>,
}

impl From<&Environment> for Fingerprint {
    fn from(environment: &Environment) -> Fingerprint {
        Fingerprint {
            cpu: environment.cpu.clone(),
            cores: environment.cores,
            container: environment.container.clone(),
            numpy: environment.numpy.clone(),
        }
    }
}

/// One thing that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What: `CPU`, `cores`, `container`, `NumPy`, `threads`, `SIMD`.
    pub what: &'static str,
    /// How it was in the old run.
    pub old: String,
    /// How it is in the new one.
    pub new: String,
}

impl Difference {
    /// How `what` differs; None where it does not, or where one side is not known.
    pub fn find<T: PartialEq + Display>(
        what: &'static str,
        old: Option<&T>,
        new: Option<&T>,
    ) -> Option<Difference> {
        let (old, new) = (old?, new?);
        (old != new).then(|| Difference {
            what,
            old: old.to_string(),
            new: new.to_string(),
        })
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} -> {}", self.what, self.old, self.new)
    }
}

impl Fingerprint {
    /// This machine, before NumPy is known.
    pub fn here(plan: &Plan) -> Fingerprint {
        Fingerprint::from(&Environment::look(plan, None, None, &[]))
    }

    /// What is not the same in `new`.
    pub fn differences(&self, new: &Fingerprint) -> Vec<Difference> {
        let container = (Some(&self.container), Some(&new.container));
        [
            Difference::find("CPU", self.cpu.as_ref(), new.cpu.as_ref()),
            Difference::find("cores", self.cores.as_ref(), new.cores.as_ref()),
            Difference::find("container", container.0, container.1),
            Difference::find("NumPy", self.numpy.as_ref(), new.numpy.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Several differences in one line.
pub fn list(differences: &[Difference]) -> String {
    let told: Vec<String> = differences.iter().map(Difference::to_string).collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_no_difference() {
        let old = Fingerprint {
            cpu: Some("A".to_owned()),
            cores: Some(2),
            container: "none".to_owned(),
            numpy: None,
        };
        assert_eq!(old.differences(&old), []);
        let new = Fingerprint {
            cores: Some(8),
            container: "docker".to_owned(),
            numpy: Some("2.0".to_owned()),
            ..old.clone()
        };
        let differences = old.differences(&new);
        assert_eq!(list(&differences), "cores 2 -> 8, container none -> docker");
    }
}
