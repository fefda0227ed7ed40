//! Whether a type or a function of a component is asynchronous. Must never know what an engine does about it.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentDefinedType, ComponentType, ComponentTypeDeclaration, ComponentValType,
    InstanceTypeDeclaration, PrimitiveValType,
};

/// True when `one`, or a type inside it, needs concurrency. The caller has bounded how deeply it is nested.
pub(crate) fn in_type(one: &ComponentType<'_>) -> bool {
    match one {
        ComponentType::Defined(defined) => in_defined(defined),
        ComponentType::Func(function) => {
            function.async_ || function.params.iter().map(|(_, value)| value).chain(&function.result).any(in_value)
        }
        ComponentType::Component(declarations) => declarations.iter().any(|declaration| match declaration {
            ComponentTypeDeclaration::Type(inner) => in_type(inner),
            _ => false,
        }),
        ComponentType::Instance(declarations) => declarations.iter().any(|declaration| match declaration {
            InstanceTypeDeclaration::Type(inner) => in_type(inner),
            _ => false,
        }),
        ComponentType::Resource { .. } => false,
    }
}

/// True when `one` needs concurrency.
pub(crate) fn in_function(one: &CanonicalFunction) -> bool {
    use CanonicalFunction as Function;
    match one {
        Function::Lift { options, .. } | Function::Lower { options, .. } => options.contains(&CanonicalOption::Async),
        Function::ResourceNew { .. }
        | Function::ResourceDrop { .. }
        | Function::ResourceRep { .. }
        | Function::ThreadSpawnRef { .. }
        | Function::ThreadSpawnIndirect { .. }
        | Function::ThreadAvailableParallelism => false,
        // Tasks, streams, futures, error contexts, waitables and the threads of a task.
        _ => true,
    }
}

fn in_defined(defined: &ComponentDefinedType<'_>) -> bool {
    match defined {
        ComponentDefinedType::Future(_) | ComponentDefinedType::Stream(_) => true,
        ComponentDefinedType::Primitive(primitive) => *primitive == PrimitiveValType::ErrorContext,
        ComponentDefinedType::Record(fields) => fields.iter().any(|(_, value)| in_value(value)),
        ComponentDefinedType::Tuple(values) => values.iter().any(in_value),
        ComponentDefinedType::Variant(cases) => cases.iter().filter_map(|case| case.ty.as_ref()).any(in_value),
        ComponentDefinedType::List(value) | ComponentDefinedType::Option(value) => in_value(value),
        ComponentDefinedType::Result { ok, err } => ok.iter().chain(err).any(in_value),
        // The others hold names or refer to types that stand for themselves.
        _ => false,
    }
}

/// A type that is referred to stands for itself.
fn in_value(value: &ComponentValType) -> bool {
    *value == ComponentValType::Primitive(PrimitiveValType::ErrorContext)
}
