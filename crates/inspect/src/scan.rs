//! One pass over the sections of a file with wasmparser. Owns what is read and how far; must never judge what was found.

use wasmparser::{
    BinaryReader, ComponentAlias, ComponentExternName, ComponentExternalKind, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    CustomSectionReader, Encoding, InstanceTypeDeclaration, Parser, Payload, ProducersSectionReader, TypeBounds, Validator, WasmFeatures,
};

use crate::{
    Export, ExternKind, Import, concurrency,
    error::{CoreModule, InspectError, NotWasm},
    language,
    limits::{EXTERNS_MAX, NAME_BYTES_MAX, NESTED_TYPES_MAX, NESTING_MAX, PRODUCERS_MAX},
};

/// What the sections of a component say.
pub(crate) struct Found {
    pub(crate) imports: Vec<Import>,
    /// Which of `imports` only name types that are defined elsewhere: there is nothing in them that a host could provide.
    pub(crate) without_content: Vec<usize>,
    pub(crate) exports: Vec<Export>,
    pub(crate) language: Option<String>,
    /// Something inside is asynchronous: a type, an option of a lifted or lowered function, or what only concurrency needs.
    pub(crate) is_concurrent: bool,
    /// Its types are nested shallowly enough to be validated on this stack.
    pub(crate) is_shallow: bool,
    /// What ended the pass early; what was found before it stays.
    pub(crate) error: Option<InspectError>,
}

/// Reads the sections of `bytes`.
///
/// # Errors
/// It is no component at all. What is wrong inside a component is in [`Found::error`], with what was found before.
pub(crate) fn scan(bytes: &[u8]) -> Result<Found, InspectError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(InspectError::NotWasm(NotWasm::of(bytes)));
    }
    let mut pass = Pass::default();
    let mut error = None;
    for payload in Parser::new(0).parse_all(bytes) {
        if let Err(found) = payload.map_err(InspectError::from).and_then(|payload| pass.visit(bytes, &payload)) {
            error = Some(found);
            break;
        }
    }
    if let Some(kind) = pass.core_module() {
        return Err(InspectError::CoreModule(kind));
    }
    if pass.encoding.is_none() {
        return Err(error.unwrap_or(InspectError::NotWasm(NotWasm::Other)));
    }
    Ok(Found {
        imports: pass.imports,
        without_content: pass.without_content,
        exports: pass.exports,
        language: language::guess(&pass.notes),
        is_concurrent: pass.is_concurrent,
        is_shallow: pass.nested_types_max <= NESTED_TYPES_MAX,
        error,
    })
}

/// Checks the rules of the format except those about what stands inside functions: the compiler checks these anyway, and here they would take longer than
/// everything else that happens between `apply` and the first request.
///
/// # Errors
/// A rule is broken.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), InspectError> {
    // Every proposal: which of them the engine takes, the compiler says better.
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    for payload in Parser::new(0).parse_all(bytes) {
        validator.payload(&payload?)?;
    }
    Ok(())
}

/// What was gathered so far.
#[derive(Default)]
struct Pass {
    encoding: Option<Encoding>,
    depth: usize,
    /// Of each type of the component itself, in the order of their indices: it is an interface that only names types.
    names_only: Vec<bool>,
    imports: Vec<Import>,
    without_content: Vec<usize>,
    exports: Vec<Export>,
    notes: Vec<String>,
    nested_types_max: usize,
    is_concurrent: bool,
    imports_preview1: bool,
    exports_start: bool,
}

impl Pass {
    fn visit(&mut self, bytes: &[u8], payload: &Payload<'_>) -> Result<(), InspectError> {
        match payload {
            Payload::Version { encoding, .. } if self.encoding.is_none() => self.encoding = Some(*encoding),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.depth += 1;
                limit("components in components", self.depth, NESTING_MAX)?;
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == "producers" => self.read_notes(section),
            Payload::ComponentTypeSection(section) => {
                let nested = nested_types(bytes.get(section.range()).unwrap_or_default());
                self.nested_types_max = self.nested_types_max.max(nested);
                // What is nested too deeply to be read here is left to the engine that takes everything.
                if nested > NESTED_TYPES_MAX {
                    self.is_concurrent = true;
                    return Ok(());
                }
                for one in section.clone().into_iter().flatten() {
                    self.is_concurrent |= concurrency::in_type(&one);
                    self.add_type(names_only(&one));
                }
            }
            Payload::ComponentAliasSection(section) => {
                section.clone().into_iter().flatten().filter(is_alias_of_type).for_each(|_| self.add_type(false));
            }
            Payload::ComponentCanonicalSection(section) => {
                self.is_concurrent |= section.clone().into_iter().flatten().any(|one| concurrency::in_function(&one));
            }
            Payload::ComponentImportSection(section) if self.depth == 0 => {
                for import in section.clone() {
                    let import = import?;
                    match import.ty {
                        ComponentTypeRef::Instance(index) if self.names_only.get(to_usize(index)) == Some(&true) => {
                            self.without_content.push(self.imports.len());
                        }
                        ComponentTypeRef::Type(_) => self.add_type(false),
                        _ => {}
                    }
                    self.imports.push(Import { name: full_name(&import.name)?, kind: kind_of_reference(import.ty) });
                    limit("imports", self.imports.len(), EXTERNS_MAX)?;
                }
            }
            Payload::ComponentExportSection(section) if self.depth == 0 => {
                for export in section.clone() {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Type {
                        self.add_type(false);
                    }
                    self.exports.push(Export { name: full_name(&export.name)?, kind: kind_of_export(export.kind) });
                    limit("exports", self.exports.len(), EXTERNS_MAX)?;
                }
            }
            Payload::ImportSection(section) if self.depth == 0 => {
                let mut imports = section.clone().into_imports();
                self.imports_preview1 |= imports.any(|import| import.is_ok_and(|import| import.module == "wasi_snapshot_preview1"));
            }
            Payload::ExportSection(section) if self.depth == 0 => {
                self.exports_start |= section.clone().into_iter().any(|export| export.is_ok_and(|export| export.name == "_start"));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_type(&mut self, names_only: bool) {
        if self.depth == 0 {
            self.names_only.push(names_only);
        }
    }

    /// What kind of core module the file is; none for a component.
    fn core_module(&self) -> Option<CoreModule> {
        let kind = match (self.imports_preview1, self.exports_start) {
            (true, true) => CoreModule::Preview1Command,
            (true, false) => CoreModule::Preview1Reactor,
            (false, _) => CoreModule::Plain,
        };
        (self.encoding == Some(Encoding::Module)).then_some(kind)
    }

    /// Reads the names of languages and tools. A damaged note is no reason to refuse a component.
    fn read_notes(&mut self, section: &CustomSectionReader<'_>) {
        let Ok(fields) = ProducersSectionReader::new(BinaryReader::new(section.data(), section.data_offset())) else { return };
        let values = fields.into_iter().flatten().flat_map(|field| field.values.into_iter().flatten());
        for value in values.take(PRODUCERS_MAX.saturating_sub(self.notes.len())) {
            self.notes.push(value.name.chars().take(NAME_BYTES_MAX).collect());
        }
    }
}

/// True for an interface that has types, but no function and no resource of its own.
fn names_only(one: &ComponentType<'_>) -> bool {
    let ComponentType::Instance(declarations) = one else { return false };
    let mut exports = declarations.iter().filter_map(|declaration| match declaration {
        InstanceTypeDeclaration::Export { ty, .. } => Some(ty),
        InstanceTypeDeclaration::Type(_) | InstanceTypeDeclaration::CoreType(_) | InstanceTypeDeclaration::Alias(_) => None,
    });
    let is_name = |ty: &ComponentTypeRef| matches!(ty, ComponentTypeRef::Type(TypeBounds::Eq(_)));
    exports.next().is_some_and(is_name) && exports.all(is_name)
}

fn is_alias_of_type(alias: &ComponentAlias<'_>) -> bool {
    match alias {
        ComponentAlias::InstanceExport { kind, .. } => *kind == ComponentExternalKind::Type,
        ComponentAlias::Outer { kind, .. } => *kind == ComponentOuterAliasKind::Type,
        ComponentAlias::CoreInstanceExport { .. } => false,
    }
}

fn to_usize(index: u32) -> usize {
    usize::try_from(index).expect("32 bits fit")
}

fn limit(what: &'static str, count: usize, max: usize) -> Result<(), InspectError> {
    if count > max { Err(InspectError::TooMany { what, max }) } else { Ok(()) }
}

fn full_name(name: &ComponentExternName<'_>) -> Result<String, InspectError> {
    let full = format!("{}{}", name.name, name.version_suffix.unwrap_or_default());
    limit("bytes in the name of an import or export", full.len(), NAME_BYTES_MAX)?;
    Ok(full)
}

/// A bound on how deeply the types of a section are nested: a nested one starts with the bytes of a type declaration and of a component or instance type.
fn nested_types(section: &[u8]) -> usize {
    section.windows(2).filter(|pair| matches!(pair, [0x01, 0x41 | 0x42])).count()
}

fn kind_of_reference(reference: ComponentTypeRef) -> ExternKind {
    match reference {
        ComponentTypeRef::Instance(_) => ExternKind::Instance,
        ComponentTypeRef::Func(_) => ExternKind::Function,
        ComponentTypeRef::Type(TypeBounds::Eq(_) | TypeBounds::SubResource) => ExternKind::Type,
        ComponentTypeRef::Module(_) | ComponentTypeRef::Value(_) | ComponentTypeRef::Component(_) => ExternKind::Other,
    }
}

fn kind_of_export(kind: ComponentExternalKind) -> ExternKind {
    match kind {
        ComponentExternalKind::Instance => ExternKind::Instance,
        ComponentExternalKind::Func => ExternKind::Function,
        ComponentExternalKind::Type => ExternKind::Type,
        ComponentExternalKind::Module | ComponentExternalKind::Value | ComponentExternalKind::Component => ExternKind::Other,
    }
}

impl From<wasmparser::Error> for InspectError {
    fn from(error: wasmparser::Error) -> Self {
        let offset = u64::try_from(error.offset()).expect("an offset into memory fits 64 bits");
        if error.message().contains("unexpected end") {
            Self::Truncated { offset }
        } else {
            Self::Invalid { message: error.message().to_owned(), offset }
        }
    }
}
