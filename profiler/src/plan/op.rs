//! What is computed: an op that raptors-prof has, or a class in a Python file of the user's.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use clap::builder::{
    EnumValueParser, PossibleValue, StringValueParser, TypedValueParser, ValueParserFactory,
};
use clap::{Arg, Command, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Backend, Shape, name};

/// What is computed. In text, an own op has a colon and a built-in one has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Op {
    /// By NumPy and by the module `raptors`.
    BuiltIn(BuiltIn),
    /// By two methods of the user's.
    Own(OwnOp),
}

impl Op {
    /// The two backends: what is compared against, and what is judged.
    pub fn backends(&self) -> [Backend; 2] {
        match self {
            Op::BuiltIn(_) => [Backend::Numpy, Backend::Raptors],
            Op::Own(_) => [Backend::Baseline, Backend::Candidate],
        }
    }

    /// A name for files: `broadcast_add`, or the class alone.
    pub(super) fn file_name(&self) -> String {
        match self {
            Op::BuiltIn(op) => op.to_string(),
            Op::Own(op) => op.class.clone(),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::BuiltIn(op) => op.fmt(f),
            Op::Own(op) => op.fmt(f),
        }
    }
}

impl From<Op> for String {
    fn from(op: Op) -> String {
        op.to_string()
    }
}

impl TryFrom<String> for Op {
    type Error = String;

    fn try_from(text: String) -> Result<Op, String> {
        if looks_own(&text) {
            return text.parse().map(Op::Own);
        }
        let built_in = BuiltIn::from_str(&text, false).map(Op::BuiltIn);
        built_in.map_err(|_| format!("there is no op {text:?}"))
    }
}

impl ValueParserFactory for Op {
    type Parser = OpParser;

    fn value_parser() -> OpParser {
        OpParser
    }
}

/// Reads an [`Op`] from the command line.
#[derive(Debug, Clone, Copy)]
pub struct OpParser;

impl TypedValueParser for OpParser {
    type Value = Op;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Op, clap::Error> {
        if value.to_str().is_some_and(|text| !looks_own(text)) {
            let parser = EnumValueParser::<BuiltIn>::new();
            return parser.parse_ref(command, arg, value).map(Op::BuiltIn);
        }
        let parser = StringValueParser::new().try_map(|text| text.parse());
        parser.parse_ref(command, arg, value).map(Op::Own)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        EnumValueParser::<BuiltIn>::new()
            .possible_values()
            .map(|values| values.collect::<Vec<_>>().into_iter())
            .map(|values| Box::new(values) as Box<dyn Iterator<Item = PossibleValue>>)
    }
}

fn looks_own(text: &str) -> bool {
    text.contains([':', '/']) || text.ends_with(".py")
}

/// A class with the methods `baseline` and `candidate`, and maybe `setup`, in a Python file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnOp {
    file: String,
    class: String,
}

impl OwnOp {
    /// The file, as it was written.
    pub fn file(&self) -> &Path {
        Path::new(&self.file)
    }
}

impl FromStr for OwnOp {
    type Err = String;

    /// The last colon parts file and class: paths may have colons, classes have none.
    fn from_str(text: &str) -> Result<OwnOp, String> {
        match text.rsplit_once(':') {
            Some((file, class)) if !file.is_empty() && is_identifier(class) => Ok(OwnOp {
                file: file.to_owned(),
                class: class.to_owned(),
            }),
            _ => Err("an op of your own is FILE.py:CLASS, such as ops.py:Sum".to_owned()),
        }
    }
}

/// What Python takes as a name, but for letters of rare kinds.
fn is_identifier(text: &str) -> bool {
    let allowed = |letter: char| letter == '_' || letter.is_alphanumeric();
    text.chars().all(allowed) && text.chars().next().is_some_and(|first| !first.is_numeric())
}

impl fmt::Display for OwnOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.class)
    }
}

/// The ops that raptors-prof has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum BuiltIn {
    /// Sum of all elements
    Sum,
    /// Mean of all elements
    Mean,
    /// Sum along the first axis
    #[value(name = "sum_axis0")]
    SumAxis0,
    /// Sum along the second axis
    #[value(name = "sum_axis1")]
    SumAxis1,
    /// Mean along the first axis
    #[value(name = "mean_axis0")]
    MeanAxis0,
    /// Mean along the second axis
    #[value(name = "mean_axis1")]
    MeanAxis1,
    /// Array + array
    Add,
    /// Array + row vector
    BroadcastAdd,
    /// Array * array
    Multiply,
    /// Array * 1.0009765625 (int32: * 2)
    Scale,
}

impl BuiltIn {
    pub(super) fn needs_two_axes(self) -> bool {
        matches!(
            self,
            BuiltIn::SumAxis1 | BuiltIn::MeanAxis1 | BuiltIn::BroadcastAdd
        )
    }

    /// Whether the op reads two arrays of the cell's shape.
    pub(super) fn reads_two(self) -> bool {
        matches!(self, BuiltIn::Add | BuiltIn::Multiply)
    }

    /// Whether the op adds elements up.
    pub(super) fn reduces(self) -> bool {
        use BuiltIn::{Add, BroadcastAdd, Multiply, Scale};
        !matches!(self, Add | BroadcastAdd | Multiply | Scale)
    }

    /// Elements of the result for an input of `shape`.
    pub(super) fn result_elements(self, shape: &Shape) -> u128 {
        use BuiltIn::{
            Add, BroadcastAdd, Mean, MeanAxis0, MeanAxis1, Multiply, Scale, Sum, SumAxis0, SumAxis1,
        };
        match self {
            Sum | Mean => 1,
            SumAxis0 | MeanAxis0 => shape.axis(1),
            SumAxis1 | MeanAxis1 => shape.axis(0),
            Add | BroadcastAdd | Multiply | Scale => shape.elements(),
        }
    }
}

impl fmt::Display for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(text: &str) -> Result<Op, String> {
        Op::try_from(text.to_owned())
    }

    #[test]
    fn the_last_colon_parts_file_and_class() {
        for (text, file, class) in [
            ("ops.py:Sum", "ops.py", "Sum"),
            ("a b/c:d.py:_Sum2", "a b/c:d.py", "_Sum2"),
            ("ops:Größe", "ops", "Größe"),
        ] {
            let Ok(Op::Own(own)) = op(text) else {
                panic!("{text}");
            };
            assert_eq!((own.file(), &*own.class), (Path::new(file), class));
            assert_eq!(own.to_string(), text);
        }
        for text in ["ops.py", "a/ops", "ops.py:", ":Sum", "a.py:2a", "a.py:b c"] {
            assert!(op(text).unwrap_err().contains("FILE.py:CLASS"), "{text}");
        }
        assert_eq!(op("summ"), Err("there is no op \"summ\"".to_owned()));
    }

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_json() {
        for built_in in BuiltIn::value_variants() {
            let json = serde_json::to_value(Op::BuiltIn(*built_in)).unwrap();
            assert_eq!(json, serde_json::Value::from(name(built_in)));
            let read: Op = serde_json::from_value(json).unwrap();
            assert_eq!(read, Op::BuiltIn(*built_in));
        }
    }

    #[test]
    fn results_have_the_length_that_numpy_gives() {
        let shape: Shape = "3x5".parse().unwrap();
        assert_eq!(BuiltIn::Sum.result_elements(&shape), 1);
        assert_eq!(BuiltIn::SumAxis0.result_elements(&shape), 5);
        assert_eq!(BuiltIn::MeanAxis1.result_elements(&shape), 3);
        assert_eq!(BuiltIn::Scale.result_elements(&shape), 15);
        assert_eq!(BuiltIn::SumAxis0.result_elements(&"7".parse().unwrap()), 1);
    }
}
