//! Starts the worker as the main job does, and looks at it: version, modules, stacks, files.

use std::path::Path;

use super::access;
use super::facts::{Access, CodeFile, Interpreter, Problem};
use crate::native::debug_files;
use crate::native::layout::CodeLayout;
use crate::native::maps::Maps;
use crate::native::symbol_table::SymbolTable;
use crate::plan::{Backend, Plan};
use crate::python::PythonReader;
use crate::worker::{Ready, Worker, WorkerError};

/// Looks at a stack until our own reading of it is confirmed.
const LOOKS: u32 = 50;

/// The interpreter of `plan`, or why there is none, and what was tried on it (or, without one, on this process).
///
/// # Errors
/// [`WorkerError::Interrupted`].
pub(super) fn look(plan: &Plan) -> Result<(Result<Interpreter, String>, Access), WorkerError> {
    let (mut worker, hello) = match Worker::start(plan) {
        Ok(started) => started,
        Err(WorkerError::Interrupted) => return Err(WorkerError::Interrupted),
        Err(error) => {
            let access = access::attempt(std::process::id(), "raptors-prof itself");
            return Ok((Err(error.to_string()), access));
        }
    };
    let access = access::attempt(hello.pid, "the Python worker");
    let python = &hello.executable;
    let mut version = |backend, of: fn(&Ready) -> Option<String>| {
        let ready = worker.set_up(&plan.cell, &[backend], 0);
        import(ready, python, backend, of)
    };
    let numpy = version(Backend::Numpy, |ready| ready.numpy.clone())?;
    let raptors = version(Backend::Raptors, |ready| {
        ready.config.as_ref().map(|config| config.version.clone())
    })?;
    let interpreter = Interpreter {
        version: hello.python,
        numpy,
        raptors,
        stacks: stacks(hello.pid),
        files: files(hello.pid),
        path: hello.executable,
    };
    Ok((Ok(interpreter), access))
}

/// The version of the module behind `backend`.
fn import(
    ready: Result<Ready, WorkerError>,
    python: &str,
    backend: Backend,
    version: impl Fn(&Ready) -> Option<String>,
) -> Result<Result<String, Problem>, WorkerError> {
    Ok(match ready {
        Ok(ready) => Ok(version(&ready).unwrap_or_else(|| "unknown version".to_owned())),
        Err(WorkerError::Interrupted) => return Err(WorkerError::Interrupted),
        Err(WorkerError::Missing { module, mend, .. }) => Err(Problem {
            what: match module == backend.name() {
                true => "not installed".to_owned(),
                false => format!("needs {module}, which is not installed"),
            },
            mend,
        }),
        Err(error) => Err(Problem {
            what: one_line(&error.to_string()),
            mend: format!("see what {python} -c 'import {}' says", backend.name()),
        }),
    })
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// Whether our own layout reads the stacks of process `pid`, which waits in Python code; else py-spy does.
fn stacks(pid: u32) -> Result<bool, String> {
    let mut reader = PythonReader::new(pid, 5)?;
    let mut seen = false;
    for _ in 0..LOOKS {
        reader.refresh();
        seen |= reader.look(pid, None).is_ok_and(|stack| !stack.is_empty());
        if seen && reader.is_own() {
            break;
        }
    }
    match seen {
        true => Ok(reader.is_own()),
        false => Err("its stack was empty at every look".to_owned()),
    }
}

/// The files of NumPy, raptors and the interpreter that process `pid` has mapped.
fn files(pid: u32) -> Vec<CodeFile> {
    let Ok(maps) = Maps::read(pid) else {
        return Vec::new();
    };
    let find = |matches: fn(&str, &str) -> bool| {
        let mut paths = maps.iter().map(|mapping| &mapping.path);
        let found = paths.find(|path| matches(&name(path.parent()), &name(Some(path))));
        found.map(|path| path.to_path_buf())
    };
    let interpreter = find(|_, file| file.starts_with("libpython3"))
        .or_else(|| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
    let owners = [
        ("Python's code", interpreter),
        (
            "numpy's code",
            find(|_, file| file.starts_with("_multiarray_umath")),
        ),
        (
            "raptors' code",
            find(|directory, file| directory == "raptors" && file.contains(".so")),
        ),
    ];
    owners
        .into_iter()
        .filter_map(|(owner, path)| code_file(owner, &path?))
        .collect()
}

fn name(path: Option<&Path>) -> String {
    let name = path.and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn code_file(owner: &'static str, path: &Path) -> Option<CodeFile> {
    let bytes = std::fs::read(path).ok()?;
    let table = SymbolTable::parse(&bytes).ok()?;
    let debug = debug_files::find(path, &table).map(|(_, debug)| debug);
    Some(CodeFile {
        owner,
        path: path.to_owned(),
        symbols: !table.is_stripped() || debug.is_some(),
        lines: table.has_dwarf() || debug.is_some_and(|debug| debug.has_dwarf()),
        unwind: CodeLayout::parse(&bytes).is_ok_and(|layout| layout.has_unwind_tables()),
    })
}
