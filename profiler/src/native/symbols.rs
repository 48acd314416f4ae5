//! Names code addresses: function, module, and the part the function plays in a Python process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use cpp_demangle::DemangleOptions;

use super::imports::{ImportedNames, imported_names};
use super::inlines::Place;
use super::symbol_store::SymbolStore;
use super::symbol_table::Function;
use super::unwind::StackWalker;
use crate::merge::{NativeFrame, Role};

/// A kernel frame where the kernel does not show the addresses of its functions.
pub const HIDDEN: &str = "[unknown] [kernel]";

/// Names addresses of one process, each once.
pub struct Symbolizer<'a> {
    walker: StackWalker,
    store: &'a mut SymbolStore,
    imported: Option<ImportedNames>,
    known: HashMap<u64, Vec<NativeFrame>>,
    kernel: HashMap<u64, Arc<str>>,
}

impl<'a> Symbolizer<'a> {
    /// Names addresses in the files that `walker` met.
    pub fn new(walker: StackWalker, store: &'a mut SymbolStore) -> Symbolizer<'a> {
        Symbolizer {
            walker,
            store,
            imported: None,
            known: HashMap::new(),
            kernel: HashMap::new(),
        }
    }

    /// The frames of user-space addresses from leaf to root, from root to leaf.
    pub fn stack(&mut self, addresses: &[u64]) -> Vec<NativeFrame> {
        let mut frames = Vec::with_capacity(addresses.len());
        for &address in addresses.iter().rev() {
            frames.extend_from_slice(self.user(address));
        }
        frames
    }

    /// The frames of a user-space address: the function, and what was inlined there, outermost first.
    fn user(&mut self, address: u64) -> &[NativeFrame] {
        if !self.known.contains_key(&address) {
            let frames = self.look_up(address);
            self.known.insert(address, frames);
        }
        &self.known[&address]
    }

    fn look_up(&mut self, address: u64) -> Vec<NativeFrame> {
        let Some(file) = self.walker.file_at(address) else {
            return vec![NativeFrame::new(
                format!("{address:#x} [unknown]"),
                Role::Plain,
            )];
        };
        let module = module_name(&file.path);
        let in_file = address.wrapping_sub(file.bias);
        let symbols = self.store.of(&file);
        let table = symbols.as_ref().map(|symbols| &symbols.table);
        let function = match table.and_then(|table| table.function_at(in_file)) {
            Some(Function::Named(symbol)) => {
                let name = readable(&symbol.name);
                NativeFrame::new(format!("{name} [{module}]"), Role::of(&name, &module))
            }
            Some(Function::Nameless(start)) => self.nameless(start, file.bias, &module),
            None => NativeFrame::new(format!("{in_file:#x} [{module}]"), Role::Plain),
        };
        let role = function.role;
        let inlines = symbols.and_then(|symbols| Some(symbols.inlines.as_ref()?.at(in_file)));
        let Place { source, inlined } = inlines.unwrap_or_default();
        let mut frames = vec![NativeFrame { source, ..function }];
        frames.extend(inlined.into_iter().map(|(symbol, source)| {
            let name = readable(&symbol);
            let role = role.of_inlined(&name, &module);
            let name = format!("{} [{module}]", without_long_types(&name));
            NativeFrame {
                source,
                ..NativeFrame::new(name, role)
            }
        }));
        // GCC cuts rare parts off a function and inlines the rest into what keeps the name: to a reader they are one.
        frames.dedup_by(|inlined, outer| {
            let same = inlined.name == outer.name;
            if same {
                outer.source = inlined.source.take().or(outer.source.take());
            }
            same
        });
        frames
    }

    fn nameless(&mut self, start: u64, bias: u64, module: &str) -> NativeFrame {
        let imported = self
            .imported
            .get_or_insert_with(|| imported_names(&self.walker, self.store));
        if let Some(name) = imported.get(&start.wrapping_add(bias)) {
            return NativeFrame::new(format!("{name} [{module}]"), Role::Plain);
        }
        let role = if module.starts_with("libc.so") {
            Role::NamelessLibc
        } else {
            Role::Plain
        };
        NativeFrame::new(format!("fn@{start:#x} [{module}]"), role)
    }

    /// The frame of a kernel address.
    pub fn kernel(&mut self, address: u64) -> Arc<str> {
        let frame =
            self.kernel
                .entry(address)
                .or_insert_with(|| match self.store.kernel().find(address) {
                    Some(name) => format!("{name} [kernel]").into(),
                    None => HIDDEN.into(),
                });
        Arc::clone(frame)
    }
}

/// Rust names without their hash, C++ names without parameters; the compiler's suffixes of C names (`.cold`,
/// `.constprop.0`) stay, they tell something.
fn readable(symbol: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        return format!("{rust:#}");
    }
    let options = DemangleOptions::new().no_params().no_return_type();
    cpp_demangle::Symbol::new(symbol)
        .ok()
        .and_then(|cpp| cpp.demangle_with_options(&options).ok())
        .unwrap_or_else(|| symbol.to_owned())
}

/// DWARF names a function with all its type parameters; of those that are longer than the name is useful, `…` is left.
fn without_long_types(name: &str) -> String {
    match name.find('<') {
        Some(at) if at > 0 && name.len() > USEFUL_BYTES => format!("{}<…>", &name[..at]),
        _ => name.to_owned(),
    }
}

/// Nobody reads a longer name.
const USEFUL_BYTES: usize = 80;

/// A module's short name: the path below `site-packages` for Python packages, else the file's name;
/// the platform part of an extension module's name (`.cpython-311-x86_64-linux-gnu`, `.abi3`) is left out.
fn module_name(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let package = parts
        .iter()
        .rposition(|part| part == "site-packages" || part == "dist-packages");
    let start = package.map_or(parts.len().saturating_sub(1), |at| at + 1);
    let name = parts[start..].join("/");
    let name = name.trim_matches(['[', ']']);
    if name.is_empty() {
        return "anonymous".to_owned();
    }
    let tag = name.find(".cpython-").or_else(|| name.find(".abi3.so"));
    match (tag, name.strip_suffix(".so")) {
        (Some(tag), Some(_)) => format!("{}.so", &name[..tag]),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_are_short_and_tell_the_package() {
        let name = |path: &str| module_name(Path::new(path));
        assert_eq!(
            name(
                "/v/lib/python3.11/site-packages/numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so"
            ),
            "numpy/_core/_multiarray_umath.so"
        );
        assert_eq!(
            name("/v/site-packages/raptors/_avx2.abi3.so"),
            "raptors/_avx2.so"
        );
        assert_eq!(name("/lib/x86_64-linux-gnu/libc.so.6"), "libc.so.6");
        assert_eq!(name("[vdso]"), "vdso");
        assert_eq!(name(""), "anonymous");
    }

    #[test]
    fn long_types_are_left_out() {
        assert_eq!(without_long_types("sum_block<f32>"), "sum_block<f32>");
        let long = format!("catch_unwind<{}>", "core::".repeat(20));
        assert_eq!(without_long_types(&long), "catch_unwind<…>");
        let method = format!("<{} as Fn>::call", "core::".repeat(20));
        assert_eq!(without_long_types(&method), method);
    }

    #[test]
    fn rust_and_cpp_names_are_readable() {
        assert_eq!(
            readable("_ZN15raptors_kernels3add17h0123456789abcdefE"),
            "raptors_kernels::add"
        );
        assert_eq!(
            readable("_Z10aheapsort_IN3npy10double_tagEdEiPT0_Pll"),
            "aheapsort_<npy::double_tag, double>"
        );
        assert_eq!(readable("FLOAT_add"), "FLOAT_add");
        assert_eq!(readable("run_mod.constprop.0"), "run_mod.constprop.0");
    }
}
